"""NoisyStudent: teacher, pseudo-labels, student, in one run that can be killed anywhere and costs nothing twice."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import semi_toy
import torch
from semi_toy import PartlyLabelled, semi_method, semi_training
from training_toy import Tones, tiny_encoder

from ssl_music import checkpoint
from ssl_music.catalogs import Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods import Method, NoisyStudent, Supervised
from ssl_music.methods.parts.tagging import labelled_examples

TWO_ROUNDS = {"method": {"rounds": 2}}
#: what there is to kill of a run of two rounds, in the order of time
PLACES = [
    {"place": ["teacher", 1, 0]},
    {"stop_at": 5},  # the labels for round 1
    {"place": ["round-1", 1, 2]},
    {"stop_at": 15},  # those for the last round
    {"place": ["run", 0, 5]},
    {"place": ["run", 1, 1]},
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return semi_training(tmp_path_factory.mktemp("whole") / "run", **TWO_ROUNDS)


class Stages:
    """Stages that are said to have been run already, with `weights` for all of them; what was asked for is noted."""

    device = "cpu"

    def __init__(self, out: Path, weights: Path) -> None:
        self.out, self.weights = out, weights
        self.asked: list[tuple[str, Method]] = []

    def __call__(self, method: Method, name: str) -> Path:
        self.asked.append((name, method))
        return self.weights


def saved_teacher(folder: Path, *, width: int = 4, column: str = "traits") -> Path:
    method = Supervised(tiny_encoder(width=width), column)
    method.prepare(Tones(), Tones().tracks)
    checkpoint.save(folder / "given.safetensors", method.artefact(), provenance={})
    return folder / "given.safetensors"


def test_the_whole_of_it_runs_from_a_catalog_with_few_labels(uninterrupted: Path) -> None:
    out = uninterrupted.parent
    for folder in (out, out / "teacher", out / "round-1"):
        assert json.loads((folder / "run.json").read_text())["finished"]
    steps = [json.loads((folder / "run.json").read_text())["steps"] for folder in (out / "teacher", out / "round-1")]
    assert steps == [2, 12]  # one batch of labelled tracks an epoch, and six of both kinds
    digests = [checkpoint.load_tagger(file).digest() for file in out.rglob("tagger.safetensors")]
    assert len(set(digests)) == 3
    for folder, teacher in ((out, out / "round-1"), (out / "round-1", out / "teacher")):
        listener = checkpoint.load_tagger(teacher / "tagger.safetensors")
        music = PartlyLabelled()
        found = np.load(folder / "pseudo_labels.npz")["probabilities"]
        wave = torch.from_numpy(music._waves[6].astype(np.float32) / 32768)
        starts = np.linspace(0, 4000 - 243, 16).astype(int)
        clips = torch.stack([wave[start : start + 243] for start in starts])[:, None]
        np.testing.assert_allclose(found[0], listener.probabilities(clips).mean(0).detach(), atol=1e-6)


@pytest.mark.parametrize("stopped", PLACES, ids=str)
def test_resumes_in_every_stage(stopped: dict, uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped by the test"):
        semi_training(tmp_path / "run", **TWO_ROUNDS, **stopped)
    same_run(semi_training(tmp_path / "run", **TWO_ROUNDS), uninterrupted)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of POSIX")
@pytest.mark.parametrize("stopped", [PLACES[1], PLACES[-1]], ids=str)
def test_resumes_after_kill_9(stopped: dict, uninterrupted: Path, tmp_path: Path) -> None:
    settings = json.dumps({**TWO_ROUNDS, **stopped, "how": "kill"})
    killed = subprocess.run(
        [sys.executable, semi_toy.__file__, str(tmp_path / "run"), settings],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not list(tmp_path.rglob(".*partial*"))
    same_run(semi_training(tmp_path / "run", **TWO_ROUNDS), uninterrupted)


def same_run(weights: Path, whole: Path) -> None:
    for name in (".", "teacher", "round-1"):
        ours, theirs = (file.parent / name / "tagger.safetensors" for file in (weights, whole))
        assert checkpoint.load_tagger(ours).digest() == checkpoint.load_tagger(theirs).digest()
        assert (ours.parent / "metrics.csv").read_text() == (theirs.parent / "metrics.csv").read_text()


def test_a_finished_stage_costs_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="stopped by the test"):
        semi_training(tmp_path / "run", place=["run", 1, 1])
    music, times = PartlyLabelled(), (tmp_path / "run" / "teacher" / "run.json").stat().st_mtime_ns
    weights = semi_training(tmp_path / "run", music=music)
    assert music.labelled_tracks == 0
    assert (tmp_path / "run" / "teacher" / "run.json").stat().st_mtime_ns == times
    monkeypatch.setattr(NoisyStudent, "precede", lambda *_: pytest.fail("finished runs have no stages"))
    assert semi_training(tmp_path / "run") == weights


def test_labels_of_another_teacher_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped by the test"):
        semi_training(tmp_path / "run", place=["run", 1, 1])
    file = tmp_path / "run" / "teacher" / "tagger.safetensors"
    before, other = checkpoint.load_tagger(file).digest(), checkpoint.load_tagger(saved_teacher(tmp_path))
    checkpoint.save(file, other, provenance={})
    with pytest.raises(UserError, match=f"teacher {before}, but the teacher now is {other.digest()}"):
        semi_training(tmp_path / "run")


def preceded(folder: Path, music: PartlyLabelled | None = None, **arguments) -> tuple[NoisyStudent, Stages]:
    music = music or PartlyLabelled()
    stages = Stages(folder, saved_teacher(folder))
    method = semi_method(**arguments)
    assert isinstance(method, NoisyStudent)
    method.precede(music, music.split("train"), stages)
    method.prepare(music, method.examples(music, music.split("train"))[0])
    return method, stages


def test_examples_have_true_labels_or_the_teachers(tmp_path: Path) -> None:
    music = PartlyLabelled()
    method, _ = preceded(tmp_path, music)
    tracks, targets = method.examples(music, music.split("train"))
    assert targets is not None and targets.shape == (18, 4) and len(tracks) == 18
    np.testing.assert_array_equal(targets[:6], music.targets(music.tracks[:6], "traits"))
    beliefs = np.load(tmp_path / "pseudo_labels.npz")["probabilities"]
    np.testing.assert_array_equal(targets[6:], beliefs)
    halves = method.halves(music, tracks)
    assert halves is not None and halves.tolist() == [True] * 6 + [False] * 12
    valid, truths = method.valid_examples(music, music.split("valid"))
    assert truths is not None and [track.id for track in valid] == [f"{number:03d}" for number in range(18, 24)]
    np.testing.assert_array_equal(truths, music.targets(valid, "traits"))


def test_what_the_teacher_is_not_sure_of_is_left_out(tmp_path: Path) -> None:
    music = PartlyLabelled()
    preceded(tmp_path)
    beliefs = np.load(tmp_path / "pseudo_labels.npz")["probabilities"].max(axis=1)
    least = float(np.sort(beliefs)[-4:-2].mean())  # three are as sure
    method, _ = preceded(tmp_path, least_confidence=least, soft=False)
    tracks, targets = method.examples(music, music.split("train"))
    assert targets is not None and len(tracks) == 6 + 3 and set(np.unique(targets)) <= {0.0, 1.0}
    assert {int(track.id) - 6 for track in tracks[6:]} == set(np.argsort(beliefs)[-3:])
    with pytest.raises(UserError, match=r"sure of none of 12 unlabelled tracks"):
        preceded(tmp_path, least_confidence=0.999)


@pytest.mark.parametrize("column", ["traits", "pitch"])
def test_the_loss_is_the_mean_over_true_and_believed(column: str, tmp_path: Path) -> None:
    method = semi_method(column=column, rounds=0, dropout=0.0)
    method.prepare(PartlyLabelled(), PartlyLabelled().split("train"))
    tagger = method.eval().artefact()
    generator = torch.Generator().manual_seed(0)
    wave, count = torch.randn(1, 4, 1, 243, generator=generator) / 10, len(tagger.tags)
    targets = torch.rand(4, count, generator=generator)
    targets[:2] = torch.eye(count)[:2]
    if column == "pitch":
        targets /= targets.sum(dim=1, keepdim=True)
    logits = tagger(wave[0]).detach().double().numpy()
    total = 0.0
    for row in range(4):
        for tag in range(count):
            truth, logit = float(targets[row, tag]), logits[row, tag]
            if column == "traits":
                said = 1 / (1 + np.exp(-logit))
                total -= (truth * np.log(said) + (1 - truth) * np.log(1 - said)) / count / 4
            else:
                total -= truth * np.log(np.exp(logit) / np.exp(logits[row]).sum()) / 4
    losses = method.losses(Clips(wave, torch.arange(4), targets))
    assert losses["loss"].item() == pytest.approx(total, abs=1e-6)
    assert set(losses) == {"loss", "loss_over_trivial"} | ({"accuracy"} if column == "pitch" else set())


def test_the_best_constant_answer_is_over_equal_halves(tmp_path: Path) -> None:
    method, _ = preceded(tmp_path)
    music = PartlyLabelled()
    _, targets = method.examples(music, music.split("train"))
    assert targets is not None
    rates = (targets[:6].mean(axis=0) + targets[6:].mean(axis=0)) / 2
    assert method.trivial == pytest.approx(np.mean(-rates * np.log(rates) - (1 - rates) * np.log(1 - rates)))


def test_unlabelled_music_in_no_split_is_heard() -> None:
    class InNoSplit(PartlyLabelled):
        @property
        def tracks(self) -> list[Track]:
            return [replace(track, split=track.split if track.labels else "") for track in super().tracks]

    music = InNoSplit()
    for kind in ("student", "consistency"):
        heard = semi_method(kind).training_tracks(music, "train")
        assert [int(track.id) for track in heard] == [*range(18), 24, 25, 26]
    labelled_elsewhere = semi_method(column="pitch", tags=["high"]).training_tracks(music, "train")
    assert not {track.id for track in labelled_elsewhere} & {track.id for track in music.split("valid")}


def test_the_student_hears_noise_the_teacher_is_no_part_of_it(tmp_path: Path) -> None:
    encoder: Encoder = tiny_encoder(width=4)
    method = semi_method(teacher_encoder=encoder, rounds=0)
    assert not {id(weight) for weight in encoder.parameters()} & {id(weight) for weight in method.parameters()}
    assert not any("teacher" in name for name in method.state_dict())
    method.prepare(PartlyLabelled(), PartlyLabelled().split("train"))
    heard: list[torch.Tensor] = []
    method.encoder.register_forward_pre_hook(lambda _, wave: heard.append(wave[0]))
    clips = Clips(torch.randn(1, 8, 1, 243) / 10, torch.arange(8), torch.zeros(8, 4))
    for mode in (True, False):
        method.train(mode).losses(clips)
    assert not torch.equal(heard[0], clips.view()) and torch.equal(heard[1], clips.view())


def test_stages_of_rounds_and_what_they_are(tmp_path: Path) -> None:
    _, stages = preceded(tmp_path, rounds=3, least_confidence=0.1, dropout=0.25)
    assert [name for name, _ in stages.asked] == ["teacher", "round-1", "round-2"]
    methods = [method for _, method in stages.asked]
    assert all(isinstance(method, NoisyStudent) for method in methods)
    assert [method.rounds for method in methods] == [0, 1, 1]
    assert [method.teacher for method in methods] == [None, stages.weights, stages.weights]
    assert {method.dropout for method in methods} == {0.25}
    assert len({id(method.encoder) for method in methods}) == 3
    music = PartlyLabelled()
    teacher, truths = methods[0].examples(music, music.split("train"))
    expected = labelled_examples(music, music.split("train"), "traits")
    assert [track.id for track in teacher] == [track.id for track in expected[0]]
    np.testing.assert_array_equal(truths, expected[1])
    assert methods[0].halves(music, teacher) is None
    assert [type(effect).__name__ for effect in methods[0].augment] == ["Gain", "Noise"]


def test_a_given_teacher_is_taken_and_left_as_it_is(tmp_path: Path) -> None:
    given = saved_teacher(tmp_path)
    before = given.read_bytes()
    out = semi_training(tmp_path / "run", method={"teacher": given}).parent
    assert given.read_bytes() == before and not (out / "teacher").exists()
    assert (out / "pseudo_labels.npz").exists()


def test_distillation_trains_a_larger_teacher_first(tmp_path: Path) -> None:
    method = {"form": "distillation", "teacher_encoder": tiny_encoder(width=8)}
    weights = semi_training(tmp_path / "run", method=method)
    teacher, student = (checkpoint.load_tagger(file) for file in (tmp_path / "run/teacher" / weights.name, weights))
    assert (teacher.encoder.width, student.encoder.width) == (8, 4)


def test_sizes_are_checked_before_anything_is_trained(tmp_path: Path) -> None:
    music, stages = PartlyLabelled(), Stages(tmp_path, tmp_path / "none")
    for arguments, message in (
        ({"teacher_encoder": tiny_encoder(width=8)}, "form expansion"),
        ({"teacher_encoder": tiny_encoder(width=4), "form": "distillation"}, "form distillation"),
    ):
        with pytest.raises(UserError, match=message):
            semi_method(**arguments).precede(music, music.split("train"), stages)
    assert not stages.asked
    given = saved_teacher(tmp_path, width=8)
    with pytest.raises(UserError, match="form expansion"):
        semi_method(teacher=given).precede(music, music.split("train"), stages)


def test_a_teacher_of_another_column_is_refused(tmp_path: Path) -> None:
    given, music = saved_teacher(tmp_path, column="pitch"), PartlyLabelled()
    with pytest.raises(UserError, match=r"knows 3 tags of the column 'pitch' .* 4 of 'traits'"):
        semi_method(teacher=given).precede(music, music.split("train"), Stages(tmp_path, given))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": -1}, "rounds -1"),
        ({"least_confidence": 1.0}, "least_confidence 1.0"),
        ({"chunks_per_track": 0}, "chunks_per_track 0"),
        ({"form": "expanson"}, "did you mean 'expansion'"),
        ({"form": "distillation"}, "a distillation is one round from a larger teacher"),
        ({"form": "distillation", "teacher": Path("a"), "rounds": 2}, r"rounds 1 \(came 2\)"),
        ({"teacher": Path("a"), "teacher_encoder": tiny_encoder()}, "give one"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        semi_method(**arguments)


def test_a_catalog_of_labels_alone_and_one_without_any(tmp_path: Path) -> None:
    stages = Stages(tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"all 18 tracks to train on have labels.* take Supervised"):
        semi_method().precede(Tones(), Tones().split("train"), stages)
    music = PartlyLabelled()
    with pytest.raises(UserError, match="none of 3 tracks has a tag"):
        semi_method().precede(music, music.tracks[6:9], stages)
    with pytest.raises(UserError, match="no pseudo-labels yet"):
        semi_method().examples(music, music.tracks)
