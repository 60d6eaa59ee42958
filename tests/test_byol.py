"""BYOL against its equations: the loss from both directions, the target that nothing but the average moves."""

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
from ssl_music.losses import effective_rank, similarity_statistics
from ssl_music.methods import BYOL


def some_clips(tracks: int = 5, crops: int = 2, seed: int = 0) -> Clips:
    wave = torch.randn(crops, tracks, 1, 243, generator=torch.Generator().manual_seed(seed))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def tiny(norm: str = "layer", **arguments) -> BYOL:
    torch.manual_seed(1)
    return BYOL(tiny_encoder(norm), **{"projection_dim": 6, "hidden_dim": 12, **arguments})


def trained(method: BYOL, clips: Clips) -> None:
    """One optimizer step, as Lightning makes it."""
    optimizer = torch.optim.SGD([weight for weight in method.parameters() if weight.requires_grad], lr=0.1)
    optimizer.zero_grad()
    method.losses(clips)["loss"].backward()
    optimizer.step()
    method.stepped()


def squared_distance(predictions: Tensor, targets: Tensor) -> float:
    """Equation 2, number by number: |p/|p| − z/|z||²."""
    total = 0.0
    for p, z in zip(predictions, targets, strict=True):
        p_size, z_size = (math.sqrt(sum(float(x) ** 2 for x in row)) for row in (p, z))
        total += sum((float(x) / p_size - float(y) / z_size) ** 2 for x, y in zip(p, z, strict=True))
    return total / len(predictions)


def test_the_loss_of_both_directions() -> None:
    method = tiny().double()
    trained(method, some_clips(seed=3))  # a target that is not the online network
    views = [some_clips().view(number).double() for number in (0, 1)]
    with torch.no_grad():
        predictions = [method.predictor(method.projector(method.encoder(view))) for view in views]
        targets = [method.momentum_projector(method.momentum_encoder(view)) for view in views]
    wanted = squared_distance(predictions[0], targets[1]) + squared_distance(predictions[1], targets[0])
    losses = method.losses(some_clips())
    assert list(losses) == ["loss"] and losses["loss"].item() == pytest.approx(wanted, abs=1e-12)


def test_predictions_that_hit_cost_nothing_and_opposite_ones_eight() -> None:
    method = tiny()
    for module, sign in ((method.predictor, 1.0), (method.momentum_projector, 1.0), (method.predictor, -1.0)):
        with torch.no_grad():
            module[-1].weight.zero_()
            module[-1].bias.fill_(sign)
    assert method.losses(some_clips())["loss"].item() == pytest.approx(8.0, abs=1e-5)
    with torch.no_grad():
        method.predictor[-1].bias.fill_(2.0)
    assert method.losses(some_clips())["loss"].item() == pytest.approx(0.0, abs=1e-5)


def test_the_heads_are_those_of_the_paper() -> None:
    """ "A linear layer with output size 4096 followed by batch normalization, ReLU, and a final linear layer"."""
    method = BYOL(SampleCNN())
    for head, width in ((method.projector, 512), (method.predictor, 256)):
        first, norm, relu, last = head
        assert isinstance(norm, nn.BatchNorm1d) and isinstance(relu, nn.ReLU)
        assert first.weight.shape == (4096, width) and last.weight.shape == (256, 4096)


def test_nothing_flows_into_the_target() -> None:
    """Neither into its weights nor through it into the waves: a predictor that says one thing lets none arrive."""
    method, clips = tiny("batch"), some_clips()
    clips.wave.requires_grad_()
    method.augmented = lambda wave: wave  # the chain itself lets no gradient through
    method.losses(clips)["loss"].backward()
    frozen = [*method.momentum_encoder.parameters(), *method.momentum_projector.parameters()]
    assert all(weight.grad is None and not weight.requires_grad for weight in frozen)
    assert clips.wave.grad.abs().amax(dim=(1, 2, 3)).min() > 0  # both views are online once
    with torch.no_grad():
        method.predictor[-1].weight.zero_()
    clips.wave.grad = None
    method.losses(clips)["loss"].backward()
    assert not clips.wave.grad.any()


def test_the_target_moves_by_the_formula_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.9 on its way to 1, at the start, a third and two thirds of a run (section 3.3)."""
    method = tiny("batch", momentum=0.9)
    for step, progress in enumerate((0, 1 / 3, 2 / 3)):
        monkeypatch.setattr(method, "progress", lambda progress=progress: progress)
        parts = [
            (method.momentum_encoder, method.encoder),
            (method.momentum_projector, method.projector),
        ]
        before = [{name: weight.clone() for name, weight in mine.named_parameters()} for mine, _ in parts]
        method.losses(some_clips(seed=step))
        for was, (mine, _) in zip(before, parts, strict=True):
            assert all(torch.equal(was[name], now) for name, now in mine.named_parameters())
        trained(method, some_clips(seed=step))
        decay = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2
        for was, (mine, theirs) in zip(before, parts, strict=True):
            for name, weight in mine.named_parameters():
                wanted = decay * was[name] + (1 - decay) * theirs.get_parameter(name).detach()
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
        ({"momentum": -0.1}, r"momentum=-0\.1"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"projection_dim": 0}, "projection_dim=0"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(**arguments)


def test_a_batch_of_one_is_an_error() -> None:
    with pytest.raises(UserError, match="2 tracks or more"):
        tiny().losses(some_clips(tracks=1))


def test_a_run_without_a_known_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="BYOL has a schedule over the whole run"):
        tiny_training(tmp_path, kind="BYOL", trainer={"max_epochs": -1, "max_time": "00:00:01:00"})


def test_resumes_within_its_schedule(tmp_path: Path) -> None:
    settings = {"kind": "BYOL", "norm": "batch", "checkpoint_every_steps": 1, "valid_split": None}
    whole = tiny_training(tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "run", stop=["batch", 1, 1], **settings)
    resumed = tiny_training(tmp_path / "run", **settings)
    assert all(torch.equal(tensor, load_file(resumed)[name]) for name, tensor in load_file(whole).items())


def test_learns_what_the_crops_of_a_tone_have_in_common() -> None:
    """Without negatives: crops of one tone come together, and the embeddings keep more than one direction."""
    torch.manual_seed(0)
    encoder = ShortChunk(width=8, depth=3, bands=32, sample_rate=RATE, input_samples=2048)
    method = BYOL(encoder, momentum=0.9, projection_dim=16, hidden_dim=64, learning_rate=3e-3)
    loader = ClipLoader(Tones(train=24), np.arange(24), input_samples=2048, batch_size=12, crops=2, seed=0)
    optimizer, losses, leads = method.configure_optimizers(), [], []
    for epoch in range(20):
        loader.set_epoch(epoch)
        for clips in loader:
            optimizer.zero_grad()
            loss = method.losses(clips.float())["loss"]
            loss.backward()
            optimizer.step()
            method.stepped()
            losses.append(loss.item())
            own, others = similarity_statistics(*method.pairs)
            leads.append(own - others)
    assert max(losses[-4:]) < 0.5 * losses[0] and min(leads[-4:]) > 0.1
    assert effective_rank(method.watched["embedding"]) > 2
