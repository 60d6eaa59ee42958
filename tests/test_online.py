"""The probe beside a training: what it answers, and that the training does not notice it."""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training_toy import RATE, Tones, run_program, tiny_encoder, tiny_training

from ssl_music import checkpoint
from ssl_music.catalogs import Track
from ssl_music.cli import parse, verbs
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods.train.embedded import embedded, evaluating, evenly_spaced
from ssl_music.methods.train.online import Online, OnlineProbe
from ssl_music.methods.train.throughput import Throughput
from ssl_music.probe.neighbours import neighbour_scores

#: of the toy's 18 tracks to train on, six vote
SIX = {"neighbours": 6, "every_epochs": 1}


def asked(probe: OnlineProbe, catalog: Tones | None = None) -> Online:
    catalog = catalog or Tones()
    return Online(probe, catalog, catalog, batch_size=4, average=None, throughput=Throughput(clips_per_batch=4))


def table(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as handle:
        return list(csv.DictReader(handle))


class Loudness(Encoder):
    """The energy of a clip below and above 400 Hz and 1100 Hz: enough to tell the toy's pitches apart."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.input_samples, self.embedding_dim = RATE, 800, 3
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wave[:, 0]).abs()  # 10 Hz apart
        parts = (spectrum[:, :40], spectrum[:, 40:110], spectrum[:, 110:])
        return self.scale * torch.stack([part.square().sum(dim=1) for part in parts], dim=1).log()


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_an_encoder_that_hears_the_labels_and_one_that_does_not(kind: str) -> None:
    pitch = asked(OnlineProbe("pitch", kind, neighbours=3))
    assert pitch.answer(Loudness()) == {f"valid/{kind}_accuracy": 1.0, f"valid/{kind}_balanced_accuracy": 1.0}
    deaf = Loudness()
    nn.init.zeros_(deaf.scale)
    assert pitch.answer(deaf)[f"valid/{kind}_balanced_accuracy"] == pytest.approx(1 / 3)
    traits = asked(OnlineProbe("traits", kind, neighbours=3))
    assert traits.answer(Loudness()).keys() == {f"valid/{kind}_roc_auc"}
    assert traits.answer(Loudness())[f"valid/{kind}_roc_auc"] > 0.8
    assert traits.answer(deaf)[f"valid/{kind}_roc_auc"] == pytest.approx(0.5)


def test_neighbours_against_a_double_loop() -> None:
    rng = np.random.default_rng(0)
    known, queries, targets = rng.normal(size=(9, 4)), rng.normal(size=(5, 4)), rng.integers(2, size=(9, 3))
    middle = [sum(row[axis] for row in known) / 9 for axis in range(4)]

    def cosine(a: Sequence[float], b: Sequence[float]) -> float:
        a, b = ([value - centre for value, centre in zip(row, middle, strict=True)] for row in (a, b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(
            sum(x * x for x in a) * sum(y * y for y in b)
        )

    scores = neighbour_scores(known, targets, queries, 4)
    for row, query in enumerate(queries):
        near = sorted(((cosine(query, one), number) for number, one in enumerate(known)), reverse=True)[:4]
        weights = [math.exp(similarity / 0.07) for similarity, _ in near]
        for tag in range(3):
            share = sum(w * targets[number, tag] for w, (_, number) in zip(weights, near, strict=True)) / sum(weights)
            assert scores[row, tag] == pytest.approx(share, abs=1e-12)


def test_evenly_spaced_clips() -> None:
    class Ramps:
        sample_rate, samples = RATE, np.array([100, 4, 10])

        def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
            return (1000 * rows[:, None] + starts[:, None] + np.arange(count)).astype(np.int16)

    (middle,) = evenly_spaced(Ramps(), np.array([0]), 1, 10)
    assert middle.tolist() == list(range(45, 55))
    found = evenly_spaced(Ramps(), np.array([0, 1, 2]), 2, 10)
    assert found[:, 0].tolist() == [22, 67, 1000, 1000, 2000, 2000]
    assert found[2].tolist() == [1000, 1001, 1002, 1003, 1000, 1001, 1002, 1003, 1000, 1001]


def test_the_mean_of_the_clips_of_each_track() -> None:
    encoder, tones, rows = tiny_encoder("batch").eval(), Tones(), np.array([5, 2, 11])
    wave = torch.from_numpy(evenly_spaced(tones, rows, 3, 243)).float()[:, None] / 32768
    alone = encoder(wave).detach().double().view(3, 3, -1).mean(dim=1).numpy()
    np.testing.assert_allclose(embedded(encoder, tones, rows, 3, batch_size=2), alone, atol=1e-6)


def test_nothing_is_left_behind() -> None:
    encoder = nn.Sequential(tiny_encoder("batch"), nn.Dropout(0.5))
    encoder.input_samples = 243
    encoder.train()
    encoder[0].eval()
    modes = [part.training for part in encoder.modules()]
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    torch.manual_seed(5)
    first = embedded(encoder, Tones(), np.arange(6), 1, 4)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    assert np.array_equal(first, embedded(encoder, Tones(), np.arange(6), 1, 4))  # no dropout
    assert [part.training for part in encoder.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    with pytest.raises(RuntimeError, match="inside"), evaluating(encoder):
        raise RuntimeError("inside")
    assert [part.training for part in encoder.modules()] == modes


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "batch"},
        {"kind": "traits", "norm": "batch"},
        {"kind": "MoCo", "ema_decay": 0.9},
        {"trainer": {"accumulate_grad_batches": 2}},
    ],
    ids=str,
)
def test_the_training_does_not_notice(settings: dict, tmp_path: Path) -> None:
    probe = OnlineProbe("pitch", **SIX)
    weights, without = (
        tiny_training(tmp_path / "a", online=probe, **settings),
        tiny_training(tmp_path / "b", **settings),
    )
    ours, theirs = load_file(weights), load_file(without)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    rows = [row for row in table(weights.parent) if not row["valid/knn_accuracy"]]
    names = table(without.parent)[0].keys()
    assert [{name: row[name] for name in names} for row in rows] == table(without.parent)
    states = [
        torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (weights.parent, without.parent)
    ]
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())


@pytest.mark.parametrize(
    ("often", "steps"),
    [
        ({"every_epochs": 1}, [0, 4, 8, 12]),
        ({"every_epochs": 2}, [0, 8, 12]),
        ({"every_epochs": 9}, [0, 12]),
        ({"every_steps": 3}, [0, 3, 6, 9, 12]),
        ({"every_steps": 5}, [0, 5, 10, 12]),
    ],
    ids=str,
)
def test_when_it_asks(often: dict, steps: list[int], tmp_path: Path) -> None:
    probe = OnlineProbe("pitch", neighbours=6, **often)
    weights = tiny_training(tmp_path, online=probe, trainer={"max_epochs": 3})
    rows = [row for row in table(tmp_path) if row["valid/knn_accuracy"]]
    assert [int(row["step"]) for row in rows] == steps
    final = asked(probe).answer(checkpoint.load(weights))
    assert float(rows[-1]["valid/knn_accuracy"]) == pytest.approx(final["valid/knn_accuracy"], rel=1e-6)


def test_the_average_is_asked_where_there_is_one(tmp_path: Path) -> None:
    probe = OnlineProbe("traits", kind="linear", **SIX)
    weights = tiny_training(tmp_path, online=probe, ema_decay=0.9)
    final = asked(probe).answer(checkpoint.load(weights))["valid/linear_roc_auc"]
    assert float(table(tmp_path)[-1]["valid/linear_roc_auc"]) == pytest.approx(final, rel=1e-6)


RESUMED = {
    "every epoch": ({"online": {"every_epochs": 1}}, [["batch", 0, 3], ["valid", 0, 0], ["batch", 1, 1]]),
    "every second epoch, not validated": (
        {"online": {"every_epochs": 2}, "valid_split": None, "trainer": {"max_epochs": 3}},
        [["batch", 1, 3], ["epoch", 2, 0], ["batch", 2, 1], ["batch", 2, 3]],
    ),
    "every third step": (
        {"online": {"every_steps": 3}, "checkpoint_every_steps": 1, "ema_decay": 0.9},
        [["batch", 0, 2], ["batch", 0, 3], ["valid", 0, 0], ["batch", 1, 1], ["batch", 1, 2], ["valid", 1, 0]],
    ),
    "accumulation": (
        {"online": {"every_steps": 1}, "checkpoint_every_steps": 1, "trainer": {"accumulate_grad_batches": 2}},
        [["batch", 0, 1], ["batch", 0, 2], ["batch", 1, 0]],
    ),
}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name in RESUMED for place in RESUMED[name][1]], ids=str
)
def test_a_run_that_resumes_answers_the_same(name: str, place: list, tmp_path: Path) -> None:
    settings = {**RESUMED[name][0]}
    settings["online"] = OnlineProbe("pitch", neighbours=6, **settings["online"])
    whole = tiny_training(tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "run", stop=place, **settings)
    weights = tiny_training(tmp_path / "run", **settings)
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
    assert checkpoint.load(weights).digest() == checkpoint.load(whole).digest()


def test_a_run_may_resume_with_another_probe(tmp_path: Path) -> None:
    for number, recipe in enumerate((None, {"online": {"column": "pitch"}})):
        with pytest.raises(RuntimeError, match="stopped by the test"):
            tiny_training(
                tmp_path / str(number), stop=["batch", 1, 0], online=OnlineProbe("pitch", **SIX), recipe=recipe
            )
        tiny_training(tmp_path / str(number), online=None, recipe=recipe and {"online": None})
        run = json.loads((tmp_path / str(number) / "run.json").read_text())
        assert [session["step"] for session in run["sessions"]] == [0, 4]


def test_two_processes_do_not_wait_for_ever(tmp_path: Path) -> None:
    trainer = {"devices": 2, "strategy": "ddp_fork"}
    settings = {"batch_size": 3, "norm": "batch", "trainer": trainer, "ema_decay": 0.9}
    weights = []
    for name, online in (("with", {"column": "pitch", **SIX}), ("without", None)):
        program = run_program(tmp_path / name, {**settings, "online": online})
        assert program.returncode == 0, program.stderr
        weights.append(load_file(tmp_path / name / "encoder.safetensors"))
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())
    answers = [row for row in table(tmp_path / "with") if row["valid/knn_accuracy"]]
    assert [int(row["step"]) for row in answers] == [0, 3, 6]  # once, not once in each process


class Labelled(Tones):
    """Tones with labels of the test's own: a function of a track's number, its split and its pitch."""

    def __init__(self, **columns: object) -> None:
        super().__init__()
        self.columns = dict.fromkeys(columns, False)
        self._tracks = [
            Track(track.id, track.path, labels={name: (tag,) for name, of in columns.items() if (tag := of(track))},
                  split=track.split)
            for track in self._tracks
        ]  # fmt: skip


def pitch_of(track: Track) -> str:
    return track.labels["pitch"][0]


def test_tags_that_cannot_be_scored_are_left_out() -> None:
    """A pitch that only the valid split has can never be answered; its tracks are not asked about."""
    tones = Labelled(
        pitch=lambda track: "" if track.split == "train" and pitch_of(track) == "low" else pitch_of(track)
    )
    online = asked(OnlineProbe("pitch", neighbours=3), tones)
    assert (len(online.known), len(online.asked)) == (12, 6)
    assert online.answer(Loudness())["valid/knn_accuracy"] == 1.0


def test_at_most_so_many_tracks_and_always_the_same() -> None:
    online, again = (asked(OnlineProbe("pitch", neighbours=3, tracks=7)) for _ in range(2))
    assert len(online.known) == 7 and len(online.asked) == 4  # no "high" among the seven: nobody is asked about it
    assert set(online.asked % 3) == set(online.known % 3) == {1, 2}
    assert online.known.tolist() == again.known.tolist() != list(range(7))
    tones = Tones()
    truth = tones.targets([tones.tracks[row] for row in online.known], "pitch")
    assert np.array_equal(online.targets, truth[:, truth.any(axis=0)])


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"column": "genre"}, "unknown label column 'genre'"),
        ({"column": None}, "which label column"),
        ({"column": "pitch", "neighbours": 19}, "online.neighbours 19: the split 'train' has only 18 tracks"),
        ({"column": "pitch", "valid_split": "train"}, "the splits 'train' and 'train' share tracks"),
        ({"column": "pitch", "split": "all"}, "the splits 'all' and 'valid' share tracks"),
        ({"column": "pitch", "valid_split": "test"}, "unknown split 'test'"),
    ],
    ids=str,
)
def test_what_is_refused_before_anything_is_written(probe: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        tiny_training(tmp_path / "run", online=OnlineProbe(**probe))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda track: "" if track.split == "valid" else "a", "no track of the split 'valid' has a tag"),
        (lambda track: "" if track.split == "train" else "a", "no track of the split 'train' has a tag"),
        (lambda track: "a", "no tag of the column 'mood' can be scored"),
        (lambda track: track.split + track.id[-1], "no tag of the column 'mood' can be scored"),
    ],
    ids=["none to ask about", "none known", "one tag", "no tag in both"],
)
def test_labels_that_cannot_be_asked_about(labels: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        asked(OnlineProbe("mood", neighbours=3), Labelled(mood=labels))


def test_numbers_that_make_no_sense() -> None:
    for name in ("every_epochs", "every_steps", "neighbours", "clips", "tracks"):
        with pytest.raises(UserError, match=rf"online\.{name} 0; wanted 1 or more"):
            OnlineProbe("pitch", **{name: 0})
    with pytest.raises(UserError, match="unknown kind of online probe 'kn'; did you mean 'knn'"):
        OnlineProbe("pitch", kind="kn")


def test_the_bar_shows_the_last_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    tiny_training(tmp_path, online=OnlineProbe("pitch", **SIX))
    answers = [row["valid/knn_accuracy"] for row in table(tmp_path) if row["valid/knn_accuracy"]]
    last = screen.getvalue().split("\r")[-1]
    assert (
        "8/8" in last and f" knn_accuracy={float(answers[1]):.3f}" in last
    )  # the one at the end comes behind the bar


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    words = ["--recipe", "clmr_small", "--catalog", "Synthetic", "--catalog.root", str(tmp_path)]
    words += ["--catalog.pieces", "50", "--catalog.seconds", "3"]
    assert parse.arguments(verbs.pretrain, words)["online"] is None
    built = parse.arguments(verbs.pretrain, [*words, "--online.column", "genre", "--online.every_steps", "50"])
    assert built["online"] == OnlineProbe("genre", every_steps=50)
    assert built["config"]["online"]["every_steps"] == 50
    with pytest.raises(UserError, match=r"unknown argument.* 'colum'; did you mean 'column'"):
        parse.arguments(verbs.pretrain, [*words, "--online.colum", "genre"])
