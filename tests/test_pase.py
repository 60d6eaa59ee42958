"""PASE: its pairs, its targets, its gradients, on one process and on two, interrupted or not."""

import csv
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from training_toy import RATE, run_program, tiny_encoder, tiny_training

from ssl_music.augment import Augmentation, Gain, PolarityInversion
from ssl_music.clips import Clips
from ssl_music.errors import UserError
from ssl_music.methods import PASE
from ssl_music.methods.parts.worker_targets import Targets
from ssl_music.methods.parts.workers import standardised

WORKERS = ["waveform", "spectrum", "mfcc", "prosody", "local", "global"]


def method_for(segments: int = 2, augment: list[Augmentation] | None = None, **arguments: object) -> PASE:
    torch.manual_seed(0)
    return PASE(tiny_encoder("layer"), augment or [], segments=segments, **arguments).double()


def clips_for(method: PASE, tracks: int = 5) -> Clips:
    generator = torch.Generator().manual_seed(1)
    wave = 0.1 * torch.randn(2, tracks, 1, method.input_samples, generator=generator)
    return Clips(wave, rows=torch.arange(tracks))


@pytest.mark.parametrize("segments", [2, 3])
def test_every_worker_against_a_naive_loop(segments: int) -> None:
    method = method_for(segments)
    clips = clips_for(method)
    losses = method.losses(clips)
    cut = {
        (crop, track, segment): clips.wave[crop, track, :, segment * 243 : (segment + 1) * 243].double()
        for crop in range(2)
        for track in range(5)
        for segment in range(segments)
    }
    latents = {place: method.encoder(wave[None])[0] for place, wave in cut.items()}
    naive, trivial = {}, {"local": math.log(2), "global": math.log(2)}
    targets = Targets(RATE, 243).double()
    for name in WORKERS[:4]:
        wanted = standardised(torch.cat([targets(wave[None])[name] for wave in cut.values()]))
        told = torch.stack([method.regression[name].network(latent) for latent in latents.values()])
        off = (told - wanted).abs() if name == "waveform" else (told - wanted) ** 2
        naive[name] = off.mean()
        trivial[name] = (wanted.abs() if name == "waveform" else wanted**2).mean().item()

    def belief(worker: torch.nn.Module, anchor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(worker.network(torch.cat([anchor, other]))[0])

    own, foreign = [], []
    for (crop, track, segment), anchor in latents.items():
        for other in range(5):
            if segment + 1 < segments:
                sure = belief(method.local_information, anchor, latents[crop, other, segment + 1])
                (own if track == other else foreign).append(-torch.log(sure if track == other else 1 - sure))
    naive["local"] = (torch.stack(own).mean() + torch.stack(foreign).mean()) / 2
    means = {
        (crop, track): torch.stack([latents[crop, track, segment] for segment in range(segments)]).mean(dim=0)
        for crop in range(2)
        for track in range(5)
    }
    own, foreign = [], []
    for track in range(5):
        for other in range(5):
            sure = belief(method.global_information, means[0, track], means[1, other])
            (own if track == other else foreign).append(-torch.log(sure if track == other else 1 - sure))
    naive["global"] = (torch.stack(own).mean() + torch.stack(foreign).mean()) / 2

    assert list(losses) == ["loss", "loss_over_trivial", *WORKERS]
    for name in WORKERS:
        torch.testing.assert_close(losses[name], naive[name].detach(), msg=name)
    loss = torch.stack(list(naive.values())).mean()
    torch.testing.assert_close(losses["loss"], loss)
    assert losses["loss_over_trivial"].item() == pytest.approx(6 * loss.item() / sum(trivial.values()))


def test_every_worker_teaches_the_encoder() -> None:
    method, found = method_for(), {}
    for name, worker in [*method.regression.items(), ("local", None), ("global", None)]:
        module = worker or getattr(method, f"{name}_information")
        module.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out[0]))
    losses = method.losses(clips_for(method))
    for name in WORKERS:
        assert torch.equal(losses[name], found[name].detach())
        gradients = torch.autograd.grad(
            found[name], list(method.encoder.parameters()), retain_graph=True, allow_unused=True
        )
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), name


def test_workers_are_asked_about_the_clean_wave() -> None:
    """The encoder hears the polarity turned and a gain; targets are those of the wave itself, without gradient."""
    heard, asked = [], []
    method = method_for(augment=[PolarityInversion(p=1.0), Gain(p=1.0)])
    method.encoder.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    method.targets.register_forward_hook(lambda _, given, out: asked.append((given[0], out)))
    clips = clips_for(method)
    method._seed("train", 0, 0)
    method.losses(clips)
    (wave, targets) = asked[0]
    clean = torch.cat([clips.view(0), clips.view(1)]).reshape(20, 1, 243)
    assert torch.equal(wave, clean)
    assert (heard[0] * clean).sum() < 0 and heard[0].shape == clean.shape
    assert not any(rows.requires_grad for rows in targets.values())


def test_embeddings_are_watched_crop_by_crop() -> None:
    method = method_for()
    clips = clips_for(method)
    clips.wave[1] = clips.wave[0]
    method.losses(clips)
    first, second = method.watched["embedding"].chunk(2)
    assert first.shape == (10, 16) and torch.equal(first, second) and not first.requires_grad


def test_segments_are_the_encoders_clips_or_as_long_as_told() -> None:
    method = method_for(3)
    assert (method.input_samples, method.views, method.crops) == (729, 6, 2)
    method = method_for(2, segment_seconds=0.25)
    assert method.input_samples == 4000 and method.losses(clips_for(method))["loss"].isfinite()


def test_defaults_are_the_papers() -> None:
    method = PASE(tiny_encoder())
    assert method.learning_rate == 5e-4 and method.weight_decay == 0
    for worker in [*method.regression.values(), method.local_information, method.global_information]:
        first, between, last = worker.network
        assert first.out_features == last.in_features == 256 and isinstance(between, torch.nn.ReLU)
    assert method.regression["waveform"].error is functional.l1_loss
    assert {method.regression[name].error for name in WORKERS[1:4]} == {functional.mse_loss}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segments": 1}, "segments=1"),
        ({"segment_seconds": 0.01}, "segment_seconds=0.01"),
        ({"learning_rate": 0.0}, "0"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PASE(tiny_encoder(), **arguments)


def test_a_batch_of_one_is_an_error() -> None:
    method = method_for()
    with pytest.raises(UserError, match="2 or more"):
        method.losses(clips_for(method, tracks=1))


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Steps of Adam in float64 on two gloo processes, against one process with the same batches of 6 tracks."""
    settings = {"kind": "PASE", "augment": False, "trainer": {"precision": "64-true"}}
    alone = load_file(tiny_training(tmp_path / "one", batch_size=6, **settings))
    settings["trainer"] |= {"devices": 2, "strategy": "ddp_fork"}
    program = run_program(tmp_path / "two", {"batch_size": 3, **settings})
    assert program.returncode == 0, program.stderr
    together = load_file(tmp_path / "two" / "encoder.safetensors")
    assert max((alone[name] - tensor).abs().max() for name, tensor in tiny_encoder().state_dict().items()) > 1e-3
    assert max((alone[name] - together[name]).abs().max() for name in alone) <= 1e-8
    tables = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("one", "two")]
    for name in ["loss", *WORKERS]:
        one, two = ([float(row[f"train/{name}"]) for row in table if row[f"train/{name}"]] for table in tables)
        assert len(one) > 3 and one == pytest.approx(two, abs=1e-9), name


@pytest.mark.parametrize("place", [["batch", 0, 1], ["valid", 0, 0], ["batch", 1, 2]])
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(place: list, tmp_path: Path) -> None:
    settings = {"kind": "PASE", "norm": "batch", "checkpoint_every_steps": 1}
    whole = tiny_training(tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "again", stop=place, **settings)
    again = tiny_training(tmp_path / "again", **settings)
    ours, theirs = load_file(again), load_file(whole)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (tmp_path / "whole" / "metrics.csv").read_text() == (tmp_path / "again" / "metrics.csv").read_text()
