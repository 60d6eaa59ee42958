"""Pseudo-labels: what a teacher believes of clean music, kept on disk under the teacher's digest."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from ssl_music._files import replacing
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Waves, waves
from ssl_music.embed.stream import choose_device
from ssl_music.encoders import Encoder, parameter_count
from ssl_music.encoders.folding import folded
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

FORMAT = "ssl_music.pseudo_labels/1"
#: how often what is done is kept
KEEP_SECONDS = 30.0


def pseudo_labels(
    teacher: Tagger,
    catalog: Catalog,
    tracks: Sequence[Track],
    file: Path | str,
    *,
    chunks_per_track: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> np.ndarray:
    """The teacher's probabilities for each of `tracks`, from `file` where it labelled them before.

    A track's are the mean over evenly spaced chunks of clean audio: 16 of them in the 2020 comparison (Won et al.,
    arXiv 2006.00751). One track is in memory at a time. `file` is written whole when all tracks are done; until then
    what is done is kept beside it, and labelling that was interrupted goes on there (after a kill, with at most
    `KEEP_SECONDS` done again). A file of another teacher, or of other music, is an error. The teacher itself stays as
    it is; a copy of it listens, in evaluation mode.

    With several processes the first one labels and writes; the others wait for the file, wherever each of them stands
    (torch.distributed need not have begun).

    Shape: → (N, K) float32, in the order of `tracks` and of the teacher's tags.
    """
    file = Path(file)
    facts = {
        "format": FORMAT,
        "teacher": teacher.digest(),
        "catalog": catalog.fingerprint(),
        "chunks_per_track": chunks_per_track,
        "tags": teacher.tags,
        "tracks": [track.id for track in tracks],
    }
    wait_for(file)
    if file.is_file():
        return _read(file, facts)
    row = {track.id: number for number, track in enumerate(catalog.tracks)}
    source, place = waves(catalog, teacher.encoder.sample_rate), choose_device(device)
    listener = folded(teacher).to(place)
    kept = file.with_name(f"{file.stem}.partial.npz")
    done = _kept(kept, facts)  # (n, K)
    probabilities = np.concatenate([done, np.empty((len(tracks) - len(done), len(teacher.tags)), np.float32)])
    number, saved = len(done), time.monotonic()
    bar = tqdm(
        total=len(tracks), initial=number, desc="pseudo-labels", unit="track", disable=None if progress else True
    )
    try:
        while number < len(tracks):
            wave = _chunks(source, row[tracks[number].id], teacher.encoder.input_samples, chunks_per_track)
            with torch.inference_mode():
                clips = torch.from_numpy(wave).to(place).float().mul_(1 / 32768).unsqueeze(1)  # (n, 1, T)
                probabilities[number] = listener.probabilities(clips).mean(dim=0).cpu().numpy()
            number += 1
            bar.update()
            if time.monotonic() - saved > KEEP_SECONDS:
                _write(kept, probabilities[:number], facts)
                saved = time.monotonic()
    except BaseException:
        _write(kept, probabilities[:number], facts)
        raise
    finally:
        bar.close()
    _write(file, probabilities, facts)
    kept.unlink(missing_ok=True)
    return probabilities


def wait_for(file: Path) -> None:
    """In any process but the first: returns when the first one has written `file`.

    Where the process that started this one has died, nobody will write it.
    """
    parent = os.getppid()
    while getattr(rank_zero_only, "rank", 0) and not file.is_file():
        if os.getppid() != parent:
            raise RuntimeError(f"{file} was not written: the process that was to do it has ended")
        time.sleep(0.2)


def as_targets(
    probabilities: np.ndarray, *, multi_label: bool, soft: bool, least_confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """What a student learns from a teacher's probabilities, and which rows the teacher is sure enough of.

    Soft targets are the probabilities. Hard ones are 0 or 1: each tag from one half on, or the likeliest of one-of-K
    tags alone. The confidence of a row is its highest probability; where no row has enough of it, that is an error.

    Shape: (N, K) → (N, K) float32, (N,) bool.

    >>> as_targets(np.array([[0.7, 0.3], [0.4, 0.2]]), multi_label=True, soft=False, least_confidence=0.5)
    (array([[1., 0.],
            [0., 0.]], dtype=float32), array([ True, False]))
    """
    sure = probabilities.max(axis=1) >= least_confidence
    if not sure.any():
        raise UserError(
            f"least_confidence {least_confidence}: the teacher is as sure of none of {len(sure)} unlabelled tracks, "
            f"its highest probability is {probabilities.max():.2f}; ask for less"
        )
    if soft:
        return probabilities.astype(np.float32), sure
    chosen = probabilities >= 0.5
    if not multi_label:
        chosen = np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)]
    return chosen.astype(np.float32), sure


def check_sizes(student: Encoder, teacher: Encoder, form: Literal["expansion", "distillation"]) -> None:
    """The error for a student that is too small for an expansion, or too large for a distillation."""
    ours, theirs = parameter_count(student), parameter_count(teacher)
    if form == "expansion" and ours < theirs:
        raise UserError(
            f"form expansion: the student's encoder has {ours:,} weights, the teacher's {theirs:,}; give the student "
            "at least as many, or take form distillation"
        )
    if form == "distillation" and ours >= theirs:
        raise UserError(
            f"form distillation: the student's encoder has {ours:,} weights, the teacher's {theirs:,}; give the "
            "student fewer, or take form expansion"
        )


def check_tags(teacher: Tagger, tags: Sequence[str], *, column: str, multi_label: bool) -> None:
    """The error for a teacher of other tags than the student's."""
    if teacher.tags != list(tags) or teacher.multi_label != multi_label:
        raise UserError(
            f"the teacher knows {len(teacher.tags)} tags of the column {teacher.column!r} ({_few(teacher.tags)}), "
            f"and the student is to learn {len(tags)} of {column!r} ({_few(tags)}); give a teacher of the same tags, "
            "or none"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def even_starts(samples: int, input_samples: int, count: int) -> np.ndarray:
    """Where `count` chunks begin that lie evenly from the beginning of a track to its end, each place once.

    >>> even_starts(100, 40, 4), even_starts(41, 40, 4), even_starts(10, 40, 4)
    (array([ 0, 20, 40, 60]), array([0, 1]), array([0]))
    """
    return np.unique(np.linspace(0, max(0, samples - input_samples), count).astype(np.int64))


def _chunks(source: Waves, row: int, input_samples: int, count: int) -> np.ndarray:
    """Chunks of one track, (n, T) int16; a track shorter than one is looped, as wherever a whole track is heard."""
    samples = int(source.samples[row])
    if samples < input_samples:
        whole = source.gather(np.array([row]), np.zeros(1, np.int64), samples)[0]
        return np.resize(whole, (1, input_samples))
    starts = even_starts(samples, input_samples, count)
    return source.gather(np.full(len(starts), row), starts, input_samples)


def _write(file: Path, probabilities: np.ndarray, facts: dict[str, Any]) -> None:
    with replacing(file) as temporary, temporary.open("wb") as handle:
        np.savez(handle, probabilities=probabilities, facts=np.array(json.dumps(facts)))


def _kept(file: Path, facts: dict[str, Any]) -> np.ndarray:
    """What an interrupted labelling had done, if it was this one: (n, K)."""
    if file.is_file():
        with np.load(file, allow_pickle=False) as opened:
            if json.loads(opened["facts"].item()) == facts:
                return opened["probabilities"]
    return np.empty((0, len(facts["tags"])), np.float32)


def _read(file: Path, facts: dict[str, Any]) -> np.ndarray:
    again = "delete the file to label anew, or give another out"
    try:
        with np.load(file, allow_pickle=False) as opened:
            stored, probabilities = json.loads(opened["facts"].item()), opened["probabilities"]
    except (BadZipFile, EOFError, KeyError, ValueError) as error:
        raise UserError(f"{file}: no pseudo-labels that can be read ({error}); {again}") from error
    differing = [name for name in facts if stored.get(name) != facts[name]]
    if "teacher" in differing:
        raise UserError(
            f"{file}: pseudo-labels of the teacher {stored.get('teacher')}, but the teacher now is "
            f"{facts['teacher']}; {again}"
        )
    if differing:
        came = ", ".join(f"{name} {_shown(stored.get(name))}, wanted {_shown(facts[name])}" for name in differing)
        raise UserError(f"{file}: other pseudo-labels ({came}); {again}")
    return probabilities


def _shown(value: Any) -> str:
    return f"{len(value)} of them" if isinstance(value, list) else repr(value)
