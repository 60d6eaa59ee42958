"""Pseudo-labels: the teacher's mean belief about clean music, kept under its digest, refused to any other."""

import copy
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from semi_toy import PartlyLabelled
from training_toy import tiny_encoder

from ssl_music.errors import UserError
from ssl_music.methods.parts import pseudo
from ssl_music.methods.parts.pseudo import as_targets, check_sizes, check_tags, even_starts, pseudo_labels
from ssl_music.tagger import Tagger

TAGS = ["high", "low", "middle", "trembling"]


def some_teacher(seed: int = 0, *, multi_label: bool = True) -> Tagger:
    torch.manual_seed(seed)
    tagger = Tagger(tiny_encoder("batch"), TAGS, column="traits", multi_label=multi_label, dropout=0.5)
    with torch.no_grad():
        tagger.encoder(torch.randn(8, 1, 243))  # statistics that are not those of a fresh one
    return tagger.eval()


def labels_of(teacher: Tagger, file: Path, music: PartlyLabelled | None = None, **choices) -> np.ndarray:
    music = music or PartlyLabelled()
    tracks = choices.pop("tracks", music.split("train")[6:])
    return pseudo_labels(teacher, music, tracks, file, **{"device": "cpu", "progress": False, **choices})


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_track_is_the_mean_of_its_evenly_spaced_chunks(multi_label: bool, tmp_path: Path) -> None:
    teacher, music = some_teacher(multi_label=multi_label), PartlyLabelled()
    found = labels_of(teacher, tmp_path / "labels", chunks_per_track=5)
    assert found.shape == (12, 4) and found.dtype == np.float32
    for row in (6, 17):
        total = np.zeros(4)
        for number in range(5):
            start = int(number * (4000 - 243) / 4)
            wave = music._waves[row, start : start + 243].astype(np.float32) / 32768
            total += teacher.probabilities(torch.from_numpy(wave).view(1, 1, 243)).detach().double().numpy()[0]
        np.testing.assert_allclose(found[row - 6], total / 5, atol=1e-6)


def test_starts_are_even_and_each_once() -> None:
    assert even_starts(1000, 100, 4).tolist() == [0, 300, 600, 900]
    assert even_starts(102, 100, 16).tolist() == [0, 1, 2]
    assert even_starts(100, 100, 16).tolist() == even_starts(7, 100, 3).tolist() == [0]


def test_a_track_shorter_than_a_clip_is_looped(tmp_path: Path) -> None:
    class Short(PartlyLabelled):
        def __init__(self) -> None:
            super().__init__()
            self.samples = self.samples.copy()
            self.samples[6] = 100

    teacher, music = some_teacher(), Short()
    found = labels_of(teacher, tmp_path / "labels", music)
    wave = torch.from_numpy(np.resize(music._waves[6, :100], 243).astype(np.float32) / 32768).view(1, 1, 243)
    np.testing.assert_allclose(found[0], teacher.probabilities(wave)[0].detach(), atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_teacher_hears_clean_music_in_evaluation_mode_and_stays_as_it_is(training: bool, tmp_path: Path) -> None:
    teacher, heard = some_teacher().train(training), []
    teacher.encoder.register_forward_pre_hook(lambda listener, wave: heard.append((listener.training, wave[0])))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    music = PartlyLabelled()
    labels_of(teacher, tmp_path / "labels", chunks_per_track=2)
    assert teacher.training == training and len(heard) == 12
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    for row, (mode, wave) in enumerate(heard, 6):
        assert not mode
        clean = np.stack([music._waves[row, :243], music._waves[row, 4000 - 243 :]])
        assert torch.equal(wave[:, 0], torch.from_numpy(clean.astype(np.float32) / 32768))


def test_labels_on_disk_are_read_and_the_teacher_is_not_asked(tmp_path: Path) -> None:
    teacher, music = some_teacher(), PartlyLabelled()
    first = labels_of(teacher, tmp_path / "labels", music)
    assert music.labelled_tracks == 12
    np.testing.assert_array_equal(labels_of(copy.deepcopy(teacher), tmp_path / "labels", music), first)
    assert music.labelled_tracks == 12


def test_another_teachers_labels_are_refused(tmp_path: Path) -> None:
    one, other = some_teacher(0), some_teacher(1)
    labels_of(one, tmp_path / "labels")
    with pytest.raises(
        UserError, match=f"of the teacher {one.digest()}, but the teacher now is {other.digest()}; del"
    ):
        labels_of(other, tmp_path / "labels")


def test_labels_of_other_tracks_or_chunks_are_refused(tmp_path: Path) -> None:
    teacher, file = some_teacher(), tmp_path / "labels"
    labels_of(teacher, file)
    with pytest.raises(UserError, match=r"\(chunks_per_track 16, wanted 3\); delete the file"):
        labels_of(teacher, file, chunks_per_track=3)
    with pytest.raises(UserError, match=r"\(tracks 12 of them, wanted 1 of them\)"):
        labels_of(teacher, file, tracks=PartlyLabelled().tracks[:1])
    file.write_bytes(b"half")
    with pytest.raises(UserError, match="no pseudo-labels that can be read"):
        labels_of(teacher, file)


def test_interrupted_labelling_goes_on(tmp_path: Path) -> None:
    teacher, music = some_teacher(), PartlyLabelled()
    whole = labels_of(teacher, tmp_path / "whole", music)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        labels_of(teacher, tmp_path / "labels", PartlyLabelled(stop_at=7))
    assert {file.name for file in tmp_path.iterdir()} == {"whole", "labels.partial.npz"}
    again = PartlyLabelled()
    np.testing.assert_array_equal(labels_of(teacher, tmp_path / "labels", again), whole)
    assert 0 < again.labelled_tracks < music.labelled_tracks
    assert {file.name for file in tmp_path.iterdir()} == {"whole", "labels"}


def test_what_was_done_by_another_teacher_is_no_help(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped by the test"):
        labels_of(some_teacher(1), tmp_path / "labels", PartlyLabelled(stop_at=7))
    music = PartlyLabelled()
    labels_of(some_teacher(), tmp_path / "labels", music)
    assert music.labelled_tracks == len(music.split("train")[6:])


def test_what_is_done_is_kept_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo, "KEEP_SECONDS", 0.0)
    written = []
    write = pseudo._write
    monkeypatch.setattr(pseudo, "_write", lambda *told: (written.append(len(told[1])), write(*told)))
    labels = labels_of(some_teacher(), tmp_path / "labels")
    assert written == [*range(1, len(labels) + 1), len(labels)]


def test_other_processes_wait_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, music = some_teacher(), PartlyLabelled()
    whole = labels_of(teacher, tmp_path / "elsewhere")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    writer = threading.Timer(0.5, (tmp_path / "elsewhere").rename, [tmp_path / "labels"])
    writer.start()
    began = time.monotonic()
    np.testing.assert_array_equal(labels_of(teacher, tmp_path / "labels", music), whole)
    assert music.labelled_tracks == 0 and time.monotonic() - began > 0.4


BELIEFS = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.5, 0.5, 0.0], [0.1, 0.05, 0.2]])


def test_soft_hard_and_unsure_against_hand_values() -> None:
    soft, sure = as_targets(BELIEFS, multi_label=True, soft=True, least_confidence=0.4)
    np.testing.assert_array_equal(soft, BELIEFS.astype(np.float32))
    assert sure.tolist() == [True, True, True, False]
    hard, sure = as_targets(BELIEFS, multi_label=True, soft=False, least_confidence=0.0)
    assert hard.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]] and sure.all()
    hard, sure = as_targets(BELIEFS[:3], multi_label=False, soft=False, least_confidence=0.45)
    assert hard.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]] and sure.tolist() == [True, False, True]
    with pytest.raises(UserError, match=r"least_confidence 0.9: .*none of 4 .* is 0.70; ask for less"):
        as_targets(BELIEFS, multi_label=True, soft=True, least_confidence=0.9)


def test_students_that_are_too_small_or_too_large() -> None:
    small, large = tiny_encoder(width=4), tiny_encoder(width=8)
    for form, student, teacher in (("expansion", large, small), ("expansion", small, small)):
        check_sizes(student, teacher, form)  # type: ignore[arg-type]
    check_sizes(small, large, "distillation")
    ours, theirs = (f"{sum(weight.numel() for weight in its.parameters()):,}" for its in (small, large))
    with pytest.raises(
        UserError, match=f"expansion: the student's encoder has {ours} .* teacher's {theirs}; .*least"
    ):
        check_sizes(small, large, "expansion")
    for student in (large, small):
        with pytest.raises(UserError, match=r"form distillation: .* fewer, or take form expansion"):
            check_sizes(student, small, "distillation")


def test_a_teacher_of_other_tags() -> None:
    with pytest.raises(
        UserError, match=r"knows 4 tags of the column 'traits' .high, low, middle, …., .* 1 of 'pitch'"
    ):
        check_tags(some_teacher(), ["high"], column="pitch", multi_label=True)
    with pytest.raises(UserError, match="give a teacher of the same tags"):
        check_tags(some_teacher(), TAGS, column="traits", multi_label=False)
