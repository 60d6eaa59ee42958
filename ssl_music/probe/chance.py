"""What answers reach that know nothing of the vectors: the level to hold every metric against."""

import numpy as np

from ssl_music import metrics
from ssl_music.probe.features import TaskKind


def chance(kind: TaskKind, targets: np.ndarray, train_targets: np.ndarray | None = None) -> dict[str, float]:
    """Metric → its chance level for the tracks that are scored. Shape: targets (N, K).

    Balanced accuracy: one tag for all, 1 / tags. Accuracy: always the most frequent tag of train. ROC-AUC: one half.
    PR-AUC: the share of tracks with the tag. R²: 0 and the mean absolute error of the median of train. All over the
    tags that the scored tracks have. What `train_targets` would say is left out where there are none.

    >>> chance("single", np.eye(3)[[0, 0, 1, 1]])
    {'balanced_accuracy': 0.5, 'roc_auc': 0.5, 'pr_auc': 0.5}
    """
    if kind == "numbers":
        if train_targets is None:
            return {"r2": 0.0}
        guess = np.broadcast_to(np.median(train_targets, axis=0), targets.shape)
        error = metrics.macro(metrics.mean_absolute_error(targets, guess))
        return {"r2": 0.0, "mean_absolute_error": error.value}
    share = targets.mean(axis=0)
    scored = (share > 0) & (share < 1)
    areas = {"roc_auc": 0.5, "pr_auc": float(share[scored].mean()) if scored.any() else float("nan")}
    if kind == "multi":
        return areas
    common = {} if train_targets is None else {"accuracy": float(share[train_targets.sum(axis=0).argmax()])}
    return {"balanced_accuracy": 1 / int((share > 0).sum()), **common, **areas}
