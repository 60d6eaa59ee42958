"""The protocols: what is fitted on train, what is chosen on valid.

paper   CLMR's: one linear layer, Adam 1e-3, at most 200 epochs, stopped early by the loss on valid
linear  logistic regression (ridge regression of numbers) to its optimum on standardised features; the strength of its
        penalty is the one that scores best on valid; then fitted again on train and valid together
mlp     one hidden layer of 512 on standardised features, stopped early by the loss on valid
knn     a vote of the nearest tracks of train by cosine of standardised features; how many is chosen on valid
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_music import metrics
from ssl_music.errors import UserError, unknown_name
from ssl_music.probe.checks import check_train
from ssl_music.probe.features import Scorer, TaskKind, standardiser
from ssl_music.probe.gradient import Trained, fit_mlp, fit_paper
from ssl_music.probe.linear import linear_path
from ssl_music.probe.neighbours import neighbour_scores
from ssl_music.probe.predictions import Predictions
from ssl_music.probe.task import Part, Task, build_task, part, targets_of
from ssl_music.vectors import Vectors

#: penalties tried, strong to weak, in the units of `linear_path`
L2_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
#: numbers of neighbours tried
NEIGHBOURS = (1, 3, 5, 10, 20, 50)
#: that give another answer for another seed
SEEDED = ("paper", "mlp")


class Chosen(NamedTuple):
    """What a protocol fitted, what it chose, and its scores (N, K) on valid of when valid was only chosen on."""

    score: Scorer
    settings: dict[str, float]
    valid_scores: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """A classifier that was fitted to one column of a store, and whom to ask: features (M, D) → scores (M, K)."""

    protocol: str
    pool: str
    task: Task
    settings: dict[str, float]
    score: Scorer
    valid: Predictions

    @property
    def tags(self) -> list[str]:
        """The columns of the scores."""
        return self.task.tags

    def tracks(self, features: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """The mean of the scores of each track's lines of features. Shape: (M, D), (M,) → (N, K)."""
        return track_means(self.score(features), owners)

    def predictions(self, vectors: Vectors, rows: np.ndarray) -> Predictions:
        """What it says of these rows of a store: of the one it was fitted to, or of others by the same encoder."""
        task = self.task
        targets = targets_of(vectors, rows, task.column, task.kind, task.tags)
        lines = part(vectors, rows, targets, self.pool)
        return predicted(task, vectors, lines, self.tracks(lines.features, lines.owners))


def fit(
    vectors: Vectors,
    column: str | Sequence[str] | None = None,
    *,
    protocol: str = "linear",
    pool: str = "vectors",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    seed: int = 0,
    drop: Sequence[str] = (),
    among: set[str] | None = None,
    refit: bool = True,
    shared_groups: str = "refuse",
) -> Fitted:
    """Fits a protocol to a column of a store; nothing of the test split is seen but which tags it has.

    `pool="vectors"` hears the mean vector of each track, `pool="scores"` each of its chunks, whose scores are then
    averaged. `among` names the tracks of train that may be used. Without `refit` the penalty chosen on valid serves
    the fit on train alone. `probe` says what else the arguments mean and which errors there are.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, list(PROTOCOLS))
    splits = {"train": train, "valid": valid, "test": test}
    task = build_task(
        vectors, column, splits=splits, drop=drop, pool=pool, regression=regression, shared_groups=shared_groups
    )
    if among is not None:
        task = restricted(vectors, task, splits, among)
    fold, held = task.parts["train"], task.parts["valid"]
    chosen = PROTOCOLS[protocol](fold, held, task.kind, seed, refit)
    told = predicted(task, vectors, held, chosen.valid_scores)
    return Fitted(protocol, pool, task, chosen.settings, chosen.score, told)


def criterion(kind: TaskKind, targets: np.ndarray, scores: np.ndarray) -> float:
    """What is chosen by: balanced accuracy of single-label tags, macro ROC-AUC of several tags, mean R² of numbers.

    >>> criterion("single", np.eye(2), np.array([[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """
    if kind == "multi":
        return metrics.macro(metrics.roc_auc(targets, scores)).value
    if kind == "numbers":
        return metrics.macro(metrics.r2(targets, scores)).value
    return float(metrics.balanced_accuracy(targets.argmax(axis=1), scores.argmax(axis=1)))


def _linear(train: Part, valid: Part, kind: TaskKind, seed: int, refit: bool) -> Chosen:
    path = linear_path(train.features, train.targets[train.owners], kind=kind, l2_strengths=L2_STRENGTHS)
    best = -np.inf
    for strength, candidate in zip(L2_STRENGTHS, path, strict=True):
        scores = track_means(candidate(valid.features), valid.owners)
        reached = criterion(kind, valid.targets, scores)
        if reached > best:  # of equals, the stronger penalty
            best, l2, score, valid_scores = reached, strength, candidate, scores
    if refit:
        features = np.concatenate([train.features, valid.features])
        targets = np.concatenate([train.targets[train.owners], valid.targets[valid.owners]])
        (score,) = linear_path(features, targets, kind=kind, l2_strengths=[l2])
    return Chosen(score, {"l2": l2}, valid_scores)


def _paper(train: Part, valid: Part, kind: TaskKind, seed: int, refit: bool) -> Chosen:
    trained = fit_paper(_lines(train), _lines(valid), kind=kind, seed=seed)
    return _stopped(trained, valid)


def _mlp(train: Part, valid: Part, kind: TaskKind, seed: int, refit: bool) -> Chosen:
    trained = fit_mlp(_lines(train), _lines(valid), kind=kind, seed=seed)
    return _stopped(trained, valid)


def _stopped(trained: Trained, valid: Part) -> Chosen:
    valid_scores = track_means(trained.score(valid.features), valid.owners)
    return Chosen(trained.score, {"epochs": trained.epochs}, valid_scores)


def _knn(train: Part, valid: Part, kind: TaskKind, seed: int, refit: bool) -> Chosen:
    standardise = standardiser(train.features)
    known, targets = standardise(train.features), train.targets[train.owners]

    def voting(neighbours: int) -> Scorer:
        def score(features: np.ndarray) -> np.ndarray:
            found = neighbour_scores(known, targets, standardise(features), neighbours)
            return found if kind == "numbers" else np.minimum(found, 1.0)  # shares that sum to 1 but for rounding

        return score

    best = -np.inf
    for neighbours in [count for count in NEIGHBOURS if count <= len(known)]:
        scores = track_means(voting(neighbours)(valid.features), valid.owners)
        reached = criterion(kind, valid.targets, scores)
        if reached > best:  # of equals, the fewer neighbours
            best, chosen, valid_scores = reached, neighbours, scores
    return Chosen(voting(chosen), {"neighbours": chosen}, valid_scores)


PROTOCOLS: dict[str, Callable[[Part, Part, TaskKind, int, bool], Chosen]] = {
    "paper": _paper,
    "linear": _linear,
    "mlp": _mlp,
    "knn": _knn,
}


def restricted(vectors: Vectors, task: Task, splits: dict[str, str], among: set[str]) -> Task:
    """The task with only the tracks of train whose ids are `among`; each tag must still have one of them."""
    whole = task.parts["train"]
    chosen = np.array([vectors.rows[row].id in among for row in whole.rows], bool)
    strange = among - {vectors.rows[row].id for row in whole.rows}
    if strange or not chosen.any():
        came = f"{sorted(strange)[0]!r} is not" if strange else "none is"
        raise UserError(f"{vectors.root}: of {len(among)} tracks to learn from {came} a labelled track of train")
    parts = {**task.parts, "train": whole.among(chosen)}
    if task.kind != "numbers":
        where = f"{vectors.root}: column {task.column!r}, {int(chosen.sum())} of {len(chosen)} tracks of train"
        check_train(where, splits, {role: one.targets for role, one in parts.items()}, task.tags)
    return task._replace(parts=parts)


def predicted(task: Task, vectors: Vectors, lines: Part, scores: np.ndarray) -> Predictions:
    """Scores (N, K) of the tracks of a part, by their names in the store."""
    rows = [vectors.rows[row] for row in lines.rows]
    ids, groups = [row.id for row in rows], [row.group for row in rows]
    return Predictions(task.column, task.kind, task.tags, ids, groups, lines.targets, scores)


def _lines(part: Part) -> tuple[np.ndarray, np.ndarray]:
    return part.features, part.targets[part.owners]


def track_means(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Means over the lines of each owner; owners are numbered from 0 and come in order. Shape: (M, K) → (N, K)."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.add.reduceat(scores, starts, axis=0) / np.bincount(owners)[:, None]
