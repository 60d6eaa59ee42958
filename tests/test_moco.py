"""MoCo against its parts: loss, keys, queue, what is frozen, what batch norm sees."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training_toy import RATE, Tones, run_program, tiny_encoder, tiny_training

from ssl_music.clips import ClipLoader, Clips
from ssl_music.encoders import SampleCNN, ShortChunk
from ssl_music.errors import UserError
from ssl_music.losses import similarity_statistics
from ssl_music.methods import MoCo


def some_clips(tracks: int = 5, crops: int = 2, seed: int = 0) -> Clips:
    wave = torch.randn(crops, tracks, 1, 243, generator=torch.Generator().manual_seed(seed))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def tiny(norm: str = "layer", **arguments) -> MoCo:
    torch.manual_seed(1)
    return MoCo(tiny_encoder(norm), **{"queue_size": 7, "projection_dim": 6, **arguments})


def trained(method: MoCo, *batches: Clips) -> None:
    """One optimizer step on these batches, as Lightning makes it."""
    optimizer = torch.optim.SGD([weight for weight in method.parameters() if weight.requires_grad], lr=0.1)
    optimizer.zero_grad()
    for clips in batches:
        method.losses(clips)["loss"].backward()
    optimizer.step()
    method.stepped()


def naive_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> float:
    """He et al. 2020, equation 1, number by number."""

    def cosine(a: Tensor, b: Tensor) -> float:
        dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))

    total = 0.0
    for one, own in zip(query, key, strict=True):
        own_score = math.exp(cosine(one, own) / temperature)
        total -= math.log(own_score / (own_score + sum(math.exp(cosine(one, row) / temperature) for row in queue)))
    return total / len(query)


def test_the_loss_of_queries_keys_and_queue() -> None:
    method = tiny(temperature=0.3).double()
    trained(method, some_clips(seed=3))  # momentum copies that are not the online network
    clips = some_clips()
    with torch.no_grad():
        query = method.projector(method.encoder(clips.view(0).double()))
        key = method.momentum_projector(method.momentum_encoder(clips.view(1).double()))
    losses = method.losses(clips)
    wanted = naive_loss(query, key, method.queue, 0.3)
    assert losses["loss"].item() == pytest.approx(wanted, abs=1e-12)
    assert losses["loss_over_trivial"].item() == pytest.approx(wanted / math.log(8), abs=1e-12)
    torch.testing.assert_close(method.watched["projection"], query)
    torch.testing.assert_close(torch.stack(method.pairs), torch.stack([query, key]))


def test_parallel_embeddings_cost_what_a_guess_costs() -> None:
    method = tiny()
    with torch.no_grad():
        for projector in (method.projector, method.momentum_projector):
            projector[-1].weight.zero_()
            projector[-1].bias.fill_(1.0)
        method.queue.fill_(6**-0.5)
    assert method.losses(some_clips())["loss_over_trivial"].item() == pytest.approx(1.0, abs=1e-6)


def test_nothing_flows_into_keys_queue_and_momentum_network() -> None:
    method, clips = tiny("batch", norm_splits=2), some_clips()
    clips.wave.requires_grad_()
    method.augmented = lambda wave: wave  # the chain itself lets no gradient through
    method.losses(clips)["loss"].backward()
    assert clips.wave.grad[0].abs().max() > 0 and not clips.wave.grad[1].any()
    assert all(weight.grad is None for weight in method.momentum_encoder.parameters())
    assert all(weight.grad is None and not weight.requires_grad for weight in method.momentum_projector.parameters())
    assert method.queue.grad is None and not method.queue.requires_grad and not method.pairs[1].requires_grad


def test_the_momentum_network_moves_by_the_formula_only() -> None:
    method = tiny("batch", momentum=0.9)
    for step in range(3):
        before = {name: weight.clone() for name, weight in method.momentum_encoder.named_parameters()}
        heads = {name: weight.clone() for name, weight in method.momentum_projector.named_parameters()}
        method.losses(some_clips(seed=step))
        assert all(torch.equal(before[name], now) for name, now in method.momentum_encoder.named_parameters())
        trained(method, some_clips(seed=step))
        for was, mine, theirs in (
            (before, method.momentum_encoder, method.encoder),
            (heads, method.momentum_projector, method.projector),
        ):
            for name, weight in mine.named_parameters():
                wanted = 0.9 * was[name] + 0.1 * theirs.get_parameter(name).detach()
                torch.testing.assert_close(weight, wanted, rtol=1e-6, atol=1e-7)
    assert 0 < method.measures()["momentum_drift"] < 1


def test_losses_change_nothing() -> None:
    method, clips = tiny(), some_clips()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    first, again = (method.losses(clips)["loss"] for _ in range(2))
    assert torch.equal(first, again)
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())


def naive_queue(queue: list[Tensor], pointer: int, keys: Tensor) -> int:
    """One key after the other into the place of the oldest; returns the place of the next."""
    for key in keys:
        queue[pointer] = key / key.norm()
        pointer = (pointer + 1) % len(queue)
    return pointer


@pytest.mark.parametrize("size", [1, 2, 5, 7, 10, 11])
def test_the_order_of_the_queue(size: int) -> None:
    """Batches of 5 into queues that 5 does not divide, that are as long, and that are shorter."""
    method = tiny(queue_size=size)
    queue, pointer = list(method.queue.clone()), 0
    for step in range(5):
        method.losses(some_clips(seed=step))
        keys = method.pairs[1]
        method.stepped()
        pointer = naive_queue(queue, pointer, keys)
        torch.testing.assert_close(method.queue, torch.stack(queue))
        assert method.queue_pointer == pointer
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(size))


def test_batches_of_one_step_go_in_in_their_order() -> None:
    """Gradient accumulation: two batches, then the step; and nothing is left for the next."""
    method, keys = tiny(), []
    queue = list(method.queue.clone())
    for seed in (0, 1):
        method.losses(some_clips(seed=seed))
        keys.append(method.pairs[1])
        assert method.queue_pointer == 0
    method.stepped()
    assert method.queue_pointer == naive_queue(queue, 0, torch.cat(keys)) == 10 % 7
    torch.testing.assert_close(method.queue, torch.stack(queue))
    method.stepped()
    assert method.queue_pointer == 3


def test_validation_leaves_the_queue_alone() -> None:
    method = tiny("batch").eval()
    method.losses(some_clips(tracks=3))  # of any size: running statistics need no groups
    before = method.queue.clone()
    method.stepped()
    assert torch.equal(method.queue, before) and method.queue_pointer == 0


def test_the_first_queue_comes_from_the_seed() -> None:
    assert torch.equal(tiny().queue, tiny().queue)
    torch.testing.assert_close(tiny().queue.norm(dim=1), torch.ones(7))


def test_its_state_is_in_the_checkpoint() -> None:
    method, again = tiny("batch"), tiny("batch")
    trained(method, some_clips(), some_clips(seed=1))
    assert {"queue", "queue_pointer"} <= method.state_dict().keys()
    again.load_state_dict(method.state_dict())
    for module in (method, again):
        module._seed("train", 0, 0)
        trained(module, some_clips(seed=2))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in method.state_dict().items())


def test_half_precision_keys_fit_the_queue() -> None:
    method = tiny()
    with torch.autocast("cpu", torch.bfloat16):
        method.losses(some_clips())
    method.stepped()
    assert method.queue.dtype == torch.float32
    torch.testing.assert_close(method.queue[:5].norm(dim=1), torch.ones(5))


class Watched(nn.Module):
    """An encoder's batches, as they pass."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.batches: list[Tensor] = []
        encoder.register_forward_pre_hook(lambda _, wave: self.batches.append(wave[0].detach().clone()))


def test_batch_norms_see_groups_and_those_of_keys_are_shuffled() -> None:
    method, clips = tiny("batch", norm_splits=3), some_clips(tracks=9)
    queries, keys = Watched(method.encoder), Watched(method.momentum_encoder)
    orders = set()
    for step in range(4):
        queries.batches.clear(), keys.batches.clear()
        method._seed("train", 0, step)
        method.losses(clips)
        assert [len(batch) for batch in queries.batches + keys.batches] == [3] * 6
        assert torch.equal(torch.cat(queries.batches), clips.view(0))
        rows = [int((clips.view(1) == wave).all(dim=(1, 2)).nonzero()) for wave in torch.cat(keys.batches)]
        assert sorted(rows) == list(range(9))
        orders.add(tuple(rows))
        # each key is that of its own group, and stands in its own row again
        groups = [method.momentum_encoder(batch) for batch in list(keys.batches)]
        torch.testing.assert_close(method.pairs[1][rows], method.momentum_projector(torch.cat(groups)))
    assert len(orders) == 4


def depends_on(method: MoCo, clips: Clips) -> tuple[set[int], set[int]]:
    """The tracks that the query and the key of track 0 depend on, by changing one track at a time."""

    def both(clips: Clips) -> Tensor:
        method._seed("train", 0, 0)
        method.losses(clips)
        return torch.stack([rows[0] for rows in method.pairs])

    before, found = both(clips), (set(), set())
    for track in range(len(clips)):
        wave = clips.wave.clone()
        wave[:, track] *= -3
        moved = (both(Clips(wave, clips.rows)) - before).abs().amax(dim=1) > 1e-6
        for number in (0, 1):
            if moved[number]:
                found[number].add(track)
    return found


def test_query_and_key_know_each_other_by_the_batch_only_without_splits() -> None:
    """With batch norm in one group both depend on every track; in four groups of two they share their own alone."""
    clips = some_clips(tracks=8)
    everyone = set(range(8))
    assert depends_on(tiny("batch", norm_splits=1), clips) == (everyone, everyone)
    query, key = depends_on(tiny("batch", norm_splits=4), clips)
    assert query == {0, 1} and len(key) == 2 and query & key == {0}
    assert depends_on(tiny("layer", norm_splits=4), clips) == ({0}, {0})


def test_groups_are_those_of_chunks_too() -> None:
    """Gradient caching inside a group: with a norm of single clips, the same loss and gradient."""
    whole, chunked = tiny("layer"), tiny("layer")
    chunked.chunk_size = 2
    for method in (whole, chunked):
        method.losses(some_clips())["loss"].backward()
    for one, other in zip(whole.parameters(), chunked.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad)


def test_other_weights_of_the_encoder_reach_its_copy() -> None:
    """`init_from` fills the encoder when the method has been made."""
    method = tiny("batch")
    method.encoder.load_state_dict(tiny_encoder("batch").state_dict())
    method.prepare(Tones(), Tones().tracks)
    assert method.measures()["momentum_drift"] == 0


def test_a_queue_longer_than_the_catalog_is_told() -> None:
    with pytest.warns(UserWarning, match="100 keys of 27 tracks.*queue_size well below 27"):
        tiny(queue_size=100).prepare(Tones(), Tones().tracks)


def test_the_projector_is_that_of_the_paper() -> None:
    first, between, last = MoCo(SampleCNN(), queue_size=1).projector
    assert isinstance(between, nn.ReLU) and first.bias is not None and last.bias is not None
    assert first.weight.shape == (512, 512) and last.weight.shape == (128, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crops": 3}, "crops=3"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"momentum": 1.1}, r"momentum=1\.1"),
        ({"queue_size": 0}, "queue_size=0"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"norm_splits": 0}, "norm_splits=0"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(**arguments)


def test_a_batch_too_small_for_its_groups_is_an_error() -> None:
    with pytest.raises(UserError, match=r"5 clips in norm_splits=3 groups.*batch_size of 6"):
        tiny("batch", norm_splits=3).losses(some_clips())
    tiny("layer", norm_splits=3).losses(some_clips())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_resumes_with_its_queue(accumulate: int, tmp_path: Path) -> None:
    settings = {"kind": "MoCo", "norm": "batch", "checkpoint_every_steps": 1, "valid_split": None}
    settings["trainer"] = {"accumulate_grad_batches": accumulate, "max_epochs": 3}
    whole = tiny_training(tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "run", stop=["batch", 1, 2], **settings)
    resumed = tiny_training(tmp_path / "run", **settings)
    assert all(torch.equal(tensor, load_file(resumed)[name]) for name, tensor in load_file(whole).items())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"]


def test_two_processes_have_the_queue_of_one(tmp_path: Path) -> None:
    """Nine steps in float64 on two gloo processes: batches of 6 into a queue of 10, whose order decides what goes."""
    settings = {
        "kind": "MoCo",
        "augment": False,
        "valid_split": None,
        "trainer": {"precision": "64-true", "max_epochs": 3},
    }
    alone = load_file(tiny_training(tmp_path / "one", batch_size=6, **settings))
    settings["trainer"] |= {"devices": 2, "strategy": "ddp_fork"}
    program = run_program(tmp_path / "two", {"batch_size": 3, **settings})
    assert program.returncode == 0, program.stderr
    together = load_file(tmp_path / "two" / "encoder.safetensors")
    assert max((alone[name] - together[name]).abs().max() for name in alone) <= 1e-8
    losses = []
    for run in ("one", "two"):
        header, *lines = (tmp_path / run / "metrics.csv").read_text().splitlines()
        losses.append([float(line.split(",")[header.split(",").index("train/loss")]) for line in lines])
    assert len(losses[0]) == 9 and losses[0] == pytest.approx(losses[1], abs=2e-6)


def test_learns_to_tell_tones_apart() -> None:
    """Forty steps bring the crops of one tone together and push those of other tones away."""
    torch.manual_seed(0)
    encoder = ShortChunk(width=8, depth=3, bands=32, sample_rate=RATE, input_samples=2048)
    method = MoCo(encoder, queue_size=12, momentum=0.9, projection_dim=16, learning_rate=3e-3)
    loader = ClipLoader(Tones(train=24), np.arange(24), input_samples=2048, batch_size=12, crops=2, seed=0)
    optimizer, leads = method.configure_optimizers(), []
    for epoch in range(20):
        loader.set_epoch(epoch)
        for number, clips in enumerate(loader):
            method._seed("train", epoch, number)
            optimizer.zero_grad()
            method.losses(clips.float())["loss"].backward()
            optimizer.step()
            method.stepped()
            own, others = similarity_statistics(*method.pairs)
            leads.append(own - others)
    assert leads[0] < 0.3 and min(leads[-4:]) > 0.5
