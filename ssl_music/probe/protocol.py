"""What a probe is fitted on, chosen on and scored on.

Nothing of the test split is seen before the scores are computed. `linear` fits on train once for each L2 strength,
chooses the strength that scores best on valid, and fits again with it on train and valid together. `mlp` fits on
train and stops by the loss on valid.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ssl_music import metrics
from ssl_music.errors import unknown_name
from ssl_music.metrics import Interval
from ssl_music.probe.classifiers import Scorer, fit_mlp, linear_path
from ssl_music.probe.result import ProbeResult, TagScore
from ssl_music.probe.task import Part, build_task
from ssl_music.vectors import Vectors

#: penalties tried, strong to weak, in the units of `linear_path`
L2_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)


def probe(
    vectors: Vectors,
    column: str | None = None,
    *,
    kind: Literal["linear", "mlp"] = "linear",
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    seed: int = 0,
    bootstrap: int = 1000,
    drop: Sequence[str] = (),
    hidden_dim: int = 512,
) -> ProbeResult:
    """How well the tags of a column are read from stored vectors, pooled per track, by a small classifier.

    Only tracks that have a tag in the column take part. A tag that occurs in valid or test and not in train is an
    error; `drop` leaves tags out of the task. A tag that test lacks is named in the result and not scored. Intervals
    are over groups where the tracks carry any (clips of one composition are not independent), over tracks otherwise.
    `seed` is that of the bootstrap and of the hidden layer; `hidden_dim` is the width of `mlp`.
    """
    if kind not in ("linear", "mlp"):
        raise unknown_name("kind of probe", kind, ["linear", "mlp"])
    column = vectors.column(column)
    multi_label = vectors.multi_label(column)
    task = build_task(vectors, column, splits={"train": train, "valid": valid, "test": test}, drop=drop)
    parts = task.parts
    if kind == "linear":
        score, l2 = _chosen_linear(parts["train"], parts["valid"], multi_label)
    else:
        fitted, watched = (parts[role][1:] for role in ("train", "valid"))
        score, l2 = fit_mlp(fitted, watched, multi_label=multi_label, hidden_dim=hidden_dim, seed=seed), None

    rows, features, targets = parts["test"]
    groups = [vectors.rows[row].group for row in rows]
    weights = metrics.bootstrap_weights(groups, draws=bootstrap, seed=seed)
    whole, per_tag = _scores(targets, score(features), weights, multi_label, task.tags)
    independent = len({group or f"\0{number}" for number, group in enumerate(groups)})
    return ProbeResult(
        column=column,
        multi_label=multi_label,
        kind=kind,
        tags=task.tags,
        metrics=whole,
        chance=_chance(parts["train"][2], targets, multi_label),
        per_tag=per_tag,
        tracks={name: len(part.rows) for name, part in zip((train, valid, test), parts.values(), strict=True)},
        unit="tracks" if independent == len(rows) else "groups",
        units=independent,
        left_out=task.left_out,
        shared_groups=task.shared_groups,
        l2=l2,
        seed=seed,
        bootstrap=bootstrap,
        split_name=vectors.header["split_name"],
        catalog_fingerprint=vectors.header["catalog_fingerprint"],
        encoder=vectors.header["encoder"],
        digest=vectors.header["digest"],
    )


def _chosen_linear(train: Part, valid: Part, multi_label: bool) -> tuple[Scorer, float]:
    """The scorer fitted on train and valid with the L2 strength that scored best on valid, and that strength.

    Best is by balanced accuracy for single-label columns and by macro ROC-AUC for multi-label ones; of equals, the
    stronger penalty.
    """
    path = linear_path(train.features, train.targets, multi_label=multi_label, l2_strengths=L2_STRENGTHS)
    reached = []
    for score in path:
        scores = score(valid.features)
        if multi_label:
            reached.append(metrics.macro(metrics.roc_auc(valid.targets, scores)).value)
        else:
            reached.append(float(metrics.balanced_accuracy(valid.targets.argmax(axis=1), scores.argmax(axis=1))))
    l2 = L2_STRENGTHS[int(np.argmax(reached))]
    features = np.concatenate([train.features, valid.features])
    targets = np.concatenate([train.targets, valid.targets])
    (score,) = linear_path(features, targets, multi_label=multi_label, l2_strengths=[l2])
    return score, l2


def _scores(
    targets: np.ndarray, scores: np.ndarray, weights: np.ndarray, multi_label: bool, tags: list[str]
) -> tuple[dict[str, Interval], list[TagScore]]:
    """Every metric with its interval, over the column and for each tag that can be scored."""
    interval = metrics.percentile_interval
    whole: dict[str, Interval] = {}
    per_tag: dict[str, list[Interval]] = {}  # metric → one interval a tag
    areas = metrics.ranking_scores(targets, scores)  # (K,) each
    drawn = metrics.ranking_scores(targets, scores, weights=weights)  # (R, K) each
    if not multi_label:
        truth, predicted = targets.argmax(axis=1), scores.argmax(axis=1)
        for name, metric in (("balanced_accuracy", metrics.balanced_accuracy), ("accuracy", metrics.accuracy)):
            value = float(metric(truth, predicted))
            whole[name] = interval(value, metric(truth, predicted, weights=weights))
    for name, area, draws in zip(("roc_auc", "pr_auc"), areas, drawn, strict=True):
        whole[name] = interval(metrics.macro(area).value, _row_means(draws))
        per_tag[name] = [interval(value, draws[:, index]) for index, value in enumerate(area)]
    if not multi_label:
        found, draws = (metrics.recall(truth, predicted, len(tags), weights=times) for times in (None, weights))
        per_tag["recall"] = [interval(value, draws[:, index]) for index, value in enumerate(found)]
    support = targets.sum(axis=0)
    return whole, [
        TagScore(tag, int(support[index]), {name: intervals[index] for name, intervals in per_tag.items()})
        for index, tag in enumerate(tags)
        if not np.isnan(areas[0][index])
    ]


def _row_means(draws: np.ndarray) -> np.ndarray:
    """The mean of each draw over the tags that have a score in it, NaN where none has. Shape: (R, K) → (R,)."""
    scored = ~np.isnan(draws)
    with np.errstate(invalid="ignore"):
        return np.where(scored, draws, 0.0).sum(axis=1) / scored.sum(axis=1)


def _chance(train: np.ndarray, targets: np.ndarray, multi_label: bool) -> dict[str, float]:
    """What answers that know nothing of the vectors reach: the level to hold every metric against.

    Balanced accuracy: one tag for all, 1 / tags. Accuracy: always the most frequent tag of train. ROC-AUC: one half.
    PR-AUC: the share of tracks with the tag. All over the tags that the test split has.
    """
    share = targets.mean(axis=0)
    scored = (share > 0) & (share < 1)
    areas = {"roc_auc": 0.5, "pr_auc": float(share[scored].mean())}
    if multi_label:
        return areas
    return {"balanced_accuracy": 1 / int(scored.sum()), "accuracy": float(share[train.sum(axis=0).argmax()]), **areas}
