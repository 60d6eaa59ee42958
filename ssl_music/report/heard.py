"""Songs over time: what a classifier on the stored vectors says of each passage of chosen songs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_music._records import Record
from ssl_music.errors import UserError, unknown_name
from ssl_music.probe import Fitted, fit
from ssl_music.report.beside import Beside
from ssl_music.report.findings import Findings
from ssl_music.report.taggrams import taggram_figure
from ssl_music.report.tasks import Task
from ssl_music.report.text import escaped, named, paragraph, section
from ssl_music.vectors import Vectors

SONGS = 3
TOP = 12  #: tags of a picture, those with the highest scores
FITTED_ON = 2000  #: tracks of train, drawn by lot where there are more: for pictures, not for numbers
PASSAGE = 3  #: chunks that a change has to last, on both sides


class Question(NamedTuple):
    """The task whose tags are shown over time, its encoder, and that encoder's vectors."""

    task: Task
    encoder: str
    store: Vectors


class Told(NamedTuple):
    """What was said of one song over time. Shape: (n,) starts, (n, K) scores."""

    tags: Sequence[str]
    starts_seconds: np.ndarray
    window_seconds: float
    scores: np.ndarray
    whole: np.ndarray | None = None  #: of the song, where it is not the mean


def heard(findings: Findings, beside: Beside, *, songs: Sequence[str] = ()) -> str:
    """Taggrams of these songs, or of those of the test split that change most; then those that were evaluated."""
    question = _question(findings)
    if songs and question is None:
        raise UserError(
            f"songs {', '.join(songs)}: tags over time are read from vectors, and there are none of an encoder that "
            "was probed for tags; also give the folder that ssl-music embed or bench wrote"
        )
    parts = _from_vectors(question, beside, songs) if question is not None else []
    for record in findings.records("taggram"):
        parts.append(_from_record(record, beside))
    return section("Songs over time", *parts, id="taggrams")


def _question(findings: Findings) -> Question | None:
    """The first task with several tags a song, else the first of tags, of which the vectors are at hand."""
    tagging = [task for task in findings.tasks if task.first.kind != "numbers"]
    for task in sorted(tagging, key=lambda task: task.first.kind != "multi"):
        encoder = findings.shown(task)
        store = findings.store_of(task.results[encoder])
        if store is not None and task.first.column in store.header["columns"] and len(task.first.tracks) == 3:
            return Question(task, encoder, store)
    return None


def _from_vectors(question: Question, beside: Beside, songs: Sequence[str]) -> list[str]:
    task, encoder, store = question
    rows = _rows(store, task, songs)
    if not songs:
        rows = [row for row in rows if _chunks(store, row) >= 2 * PASSAGE]
    if not rows:
        return []
    fitted = _fitted(question)
    scores = {row: fitted.score(store.chunks[slice(*store.chunk_range(row))]) for row in rows}
    if not songs:
        rows = sorted(rows, key=lambda row: -change(scores[row]))[:SONGS]
    window_seconds = store.header["input_samples"] / store.header["sample_rate"]
    whose = "the songs asked for" if songs else f"the {len(rows)} songs of the test split that change most"
    note = (
        f"What a linear classifier of <b>{escaped(task.name)}</b> on the vectors of <b>{escaped(encoder)}</b> says "
        f"of each {window_seconds:.1f} seconds: {whose}. It was fitted on the training split, chunk by chunk."
    )
    drawn = []
    for row in rows:
        name = named(store.rows[row])
        truth = ", ".join(store.rows[row].labels.get(task.first.column, ()))
        told = Told(fitted.tags, store.chunk_seconds(row), window_seconds, scores[row])
        caption = f"labelled {task.first.column}: {truth}" if truth else ""
        drawn.append(_taggram(beside, name, told, title=name, caption=caption))
    return [paragraph(note, kind="note"), *drawn]


def _rows(store: Vectors, task: Task, songs: Sequence[str]) -> list[int]:
    if not songs:
        test = list(task.first.tracks)[-1]
        return store.labelled(store.split(test), task.first.column).tolist()
    for song in songs:
        if song not in store.row_of:
            raise unknown_name(f"song in {store.root}:", song, sorted(store.row_of)[:10])
    return [store.row_of[song] for song in songs]


def _fitted(question: Question) -> Fitted:
    task, _, store = question
    train, valid, test = task.first.tracks
    known = store.labelled(store.split(train), task.first.column)
    among = None
    if len(known) > FITTED_ON:
        among = {store.rows[row].id for row in np.random.default_rng(0).permutation(known)[:FITTED_ON]}
    tags = set(store.tags(task.first.column))
    return fit(
        store,
        task.first.column,
        pool="scores",
        train=train,
        valid=valid,
        test=test,
        drop=sorted(tags - set(task.first.tags)),
        among=among,
        refit=False,
        shared_groups="allow",
    )


def change(scores: np.ndarray) -> float:
    """How much a song changes: the largest distance of the mean scores before and after one moment. Shape: (n, K).

    Half the sum of absolute differences of the tags; on both sides lie three chunks or more, for one odd chunk is no
    change. 0 of a song too short to tell.

    >>> change(np.repeat(np.eye(2), 5, axis=0)), change(np.full((10, 2), 0.5))
    (1.0, 0.0)
    """
    count = len(scores)
    if count < 2 * PASSAGE:
        return 0.0
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores, axis=0)])
    at = np.arange(PASSAGE, count - PASSAGE + 1)[:, None]
    before, after = sums[at[:, 0]] / at, (sums[-1] - sums[at[:, 0]]) / (count - at)
    return float(0.5 * np.abs(before - after).sum(axis=1).max())


def _from_record(record: Record, beside: Beside) -> str:
    facts, arrays = record.facts, record.arrays
    title = facts.get("title") or facts.get("file") or record.path.stem
    name = f"{title} — {facts['artist']}" if facts.get("artist") else str(title)
    starts, scores, whole = arrays["starts_seconds"], arrays["scores"], arrays.get("song_scores")
    told = Told(facts["tags"], starts, facts["window_seconds"], scores, whole)
    return _taggram(beside, record.path.stem, told, title=name, caption=str(facts.get("file", "")))


def _taggram(beside: Beside, name: str, told: Told, *, title: str, caption: str) -> str:
    inside = beside.within("taggrams")
    inside.rows(
        name,
        [
            {"start_seconds": round(float(start), 3), **dict(zip(told.tags, line.tolist(), strict=True))}
            for start, line in zip(told.starts_seconds, np.round(told.scores.astype(float), 4), strict=True)
        ],
    )
    figure = taggram_figure(*told[:4], title=title, top=TOP, song_scores=told.whole)
    return inside.figure(name, figure, label=f"tags over the time of {title}", caption=caption)


def _chunks(store: Vectors, row: int) -> int:
    first, behind = store.chunk_range(row)
    return behind - first
