"""MoCo v3 against its algorithm: the loss from both directions, what is frozen, the momentum's schedule."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training_toy import RATE, Tones, tiny_encoder, tiny_training

from ssl_music.clips import ClipLoader, Clips
from ssl_music.encoders import SampleCNN, ShortChunk
from ssl_music.errors import UserError
from ssl_music.losses import similarity_statistics
from ssl_music.methods import MoCoV3


def some_clips(tracks: int = 5, crops: int = 2, seed: int = 0) -> Clips:
    wave = torch.randn(crops, tracks, 1, 243, generator=torch.Generator().manual_seed(seed))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def tiny(norm: str = "layer", **arguments) -> MoCoV3:
    torch.manual_seed(1)
    return MoCoV3(tiny_encoder(norm), **{"projection_dim": 6, "hidden_dim": 12, **arguments})


def trained(method: MoCoV3, clips: Clips) -> None:
    """One optimizer step, as Lightning makes it."""
    optimizer = torch.optim.SGD([weight for weight in method.parameters() if weight.requires_grad], lr=0.1)
    optimizer.zero_grad()
    method.losses(clips)["loss"].backward()
    optimizer.step()
    method.stepped()


def ctr(queries: Tensor, keys: Tensor, temperature: float) -> float:
    """Algorithm 1's function of that name, number by number."""

    def cosine(a: Tensor, b: Tensor) -> float:
        dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))

    total = 0.0
    for row, query in enumerate(queries):
        scores = [math.exp(cosine(query, key) / temperature) for key in keys]
        total -= math.log(scores[row] / sum(scores))
    return 2 * temperature * total / len(queries)


def test_the_loss_of_both_directions() -> None:
    method = tiny(temperature=0.3).double()
    trained(method, some_clips(seed=3))  # a momentum network that is not the online one
    views = [some_clips().view(number).double() for number in (0, 1)]
    with torch.no_grad():
        queries = [method.predictor(method.projector(method.encoder(view))) for view in views]
        keys = [method.momentum_projector(method.momentum_encoder(view)) for view in views]
    wanted = ctr(queries[0], keys[1], 0.3) + ctr(queries[1], keys[0], 0.3)
    losses = method.losses(some_clips())
    assert losses["loss"].item() == pytest.approx(wanted, abs=1e-12)
    assert losses["loss_over_trivial"].item() == pytest.approx(wanted / (4 * 0.3 * math.log(5)), abs=1e-12)


def test_embeddings_that_are_all_the_same_cost_what_a_guess_costs() -> None:
    method = tiny()
    with torch.no_grad():  # a norm makes zeros of rows that are all the same: no row is like any other
        method.predictor[0].weight.zero_()
    assert method.losses(some_clips())["loss_over_trivial"].item() == pytest.approx(1.0, abs=1e-6)


def test_the_heads_are_those_of_the_paper() -> None:
    method = MoCoV3(SampleCNN())
    sizes = [tuple(layer.weight.shape) for layer in method.projector if isinstance(layer, nn.Linear)]
    assert sizes == [(4096, 512), (4096, 4096), (256, 4096)]
    assert [tuple(method.predictor[number].weight.shape) for number in (0, 3)] == [(4096, 256), (256, 4096)]
    for head, norms in ((method.projector, 3), (method.predictor, 2)):
        found = [layer for layer in head if isinstance(layer, nn.BatchNorm1d)]
        assert len(found) == norms and [norm.affine for norm in found] == [True] * (norms - 1) + [False]
    resnet = MoCoV3(SampleCNN(width=4), projector_layers=2, hidden_dim=8)
    assert sum(isinstance(layer, nn.Linear) for layer in resnet.projector) == 2


def test_nothing_flows_into_the_momentum_network() -> None:
    method = tiny("batch")
    method.losses(some_clips())["loss"].backward()
    frozen = [*method.momentum_encoder.parameters(), *method.momentum_projector.parameters()]
    assert all(weight.grad is None and not weight.requires_grad for weight in frozen)
    assert all(weight.grad is not None for weight in method.predictor.parameters())


@pytest.mark.parametrize("side", ["queries", "keys"])
def test_the_gradient_is_that_of_queries_alone(side: str) -> None:
    """By differences: moving the network of the keys changes the loss too, and no gradient says so."""
    method, clips = tiny().double(), some_clips()
    loss = method.losses(clips)["loss"]
    loss.backward()
    weight = method.projector[0].weight
    place = divmod(int(weight.grad.abs().argmax()), weight.shape[1])
    moved = weight if side == "queries" else method.momentum_projector[0].weight
    differences = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            moved[place] += step
            differences.append(method.losses(clips)["loss"].item())
            moved[place] -= step
    slope = (differences[0] - differences[1]) / 2e-6
    if side == "queries":
        assert weight.grad[place].item() == pytest.approx(slope, rel=1e-5)
    else:
        assert abs(slope) > 1e-6 and moved.grad is None


def test_the_momentum_network_moves_by_the_formula_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.9 on its way to 1, at the start, a third and two thirds of a run."""
    method = tiny("batch", momentum=0.9)
    for step, progress in enumerate((0, 1 / 3, 2 / 3)):
        monkeypatch.setattr(method, "progress", lambda progress=progress: progress)
        before = {name: weight.clone() for name, weight in method.momentum_encoder.named_parameters()}
        method.losses(some_clips(seed=step))
        assert all(torch.equal(before[name], now) for name, now in method.momentum_encoder.named_parameters())
        trained(method, some_clips(seed=step))
        decay = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2
        assert decay == pytest.approx([0.9, 0.925, 0.975][step])
        for name, weight in method.momentum_encoder.named_parameters():
            wanted = decay * before[name] + (1 - decay) * method.encoder.get_parameter(name).detach()
            torch.testing.assert_close(weight, wanted, rtol=1e-6, atol=1e-7)
    assert 0 < method.measures()["momentum_drift"] < 1


def test_losses_change_nothing_but_running_statistics() -> None:
    method, clips = tiny("batch"), some_clips()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    first, again = (method.losses(clips)["loss"] for _ in range(2))
    assert torch.equal(first, again)
    changed = {name for name, tensor in method.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed and all("running_" in name or "num_batches" in name for name in changed)


def test_chunks_give_the_same_gradient() -> None:
    whole, chunked = tiny().double(), tiny().double()
    chunked.chunk_size = 3
    for method in (whole, chunked):
        method.losses(some_clips())["loss"].backward()
    for one, other in zip(whole.parameters(), chunked.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-11)


def test_other_weights_of_the_encoder_reach_its_copy() -> None:
    method = tiny("batch")
    method.encoder.load_state_dict(tiny_encoder("batch").state_dict())
    method.prepare(Tones(), Tones().tracks)
    assert method.measures()["momentum_drift"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crops": 3}, "crops=3"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"momentum": 1.1}, r"momentum=1\.1"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"projector_layers": 0}, "projector_layers=0"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(**arguments)


def test_a_batch_of_one_is_an_error() -> None:
    with pytest.raises(UserError, match="2 or more"):
        tiny().losses(some_clips(tracks=1))


def test_resumes_within_its_schedule(tmp_path: Path) -> None:
    settings = {"kind": "MoCoV3", "norm": "batch", "checkpoint_every_steps": 1, "valid_split": None}
    whole = tiny_training(tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "run", stop=["batch", 1, 1], **settings)
    resumed = tiny_training(tmp_path / "run", **settings)
    assert all(torch.equal(tensor, load_file(resumed)[name]) for name, tensor in load_file(whole).items())


def test_learns_to_tell_tones_apart() -> None:
    """Forty steps bring the crops of one tone together and push those of other tones away."""
    torch.manual_seed(0)
    encoder = ShortChunk(width=8, depth=3, bands=32, sample_rate=RATE, input_samples=2048)
    method = MoCoV3(encoder, momentum=0.9, projection_dim=16, hidden_dim=64, learning_rate=3e-3)
    loader = ClipLoader(Tones(train=24), np.arange(24), input_samples=2048, batch_size=12, crops=2, seed=0)
    optimizer, leads = method.configure_optimizers(), []
    for epoch in range(20):
        loader.set_epoch(epoch)
        for clips in loader:
            optimizer.zero_grad()
            losses = method.losses(clips.float())
            losses["loss"].backward()
            optimizer.step()
            method.stepped()
            own, others = similarity_statistics(*method.pairs)
            leads.append(own - others)
    assert losses["loss_over_trivial"] < 0.7 and min(leads[-4:]) > leads[0] + 0.2
