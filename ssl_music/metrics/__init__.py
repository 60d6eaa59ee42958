"""Scores as pure functions: NumPy arrays in, numbers out.

base       Macro and macro, the mean over tags; Interval; the checks of what comes in
ranking    areas under the ROC and the precision-recall curve
decisions  accuracy, balanced accuracy, recall, confusion matrix
retrieval  what neighbours have in common with the query
intervals  bootstrap draws and the intervals of them

`targets` is (N, K), 1 where item n has tag k; `scores` is (N, K), higher where the tag is likelier. `weights` says
how often each item counts: (N,), or (R, N) for R weightings at once, which is what a bootstrap is: a draw with
replacement is a weighting by how often each item was drawn. Functions of tags answer one number a tag, NaN where the
tag has no positive or no negative item: such a tag has no score, and zero would be a lie. `macro` averages the rest
and names those left out.
"""

from ssl_music.metrics.base import Interval, Macro, macro
from ssl_music.metrics.decisions import accuracy, balanced_accuracy, confusion_matrix, recall
from ssl_music.metrics.intervals import bootstrap_weights, percentile_interval
from ssl_music.metrics.ranking import average_precision, ranking_scores, roc_auc
from ssl_music.metrics.retrieval import precision_at_k, precision_chance

__all__ = [
    "Interval",
    "Macro",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "bootstrap_weights",
    "confusion_matrix",
    "macro",
    "percentile_interval",
    "precision_at_k",
    "precision_chance",
    "ranking_scores",
    "recall",
    "roc_auc",
]
