"""Scores as pure functions: NumPy arrays in, numbers out.

base         Macro and macro, the mean over tags; Interval; units of items; the checks of what comes in
ranking      areas under the ROC and the precision-recall curve, per tag and micro
curves       the points of these curves
decisions    accuracy, balanced accuracy, precision, recall, F-beta: of class numbers, or of 0/1 decisions per tag
thresholds   from scores to such decisions, by thresholds chosen on validation scores
confusion    which tags are taken for which: counted, and by scores
topk         whether the true tags are among the K best scored
calibration  whether probabilities mean what they say
agreement    cosine similarity of prediction and tags
regression   R² and mean absolute error
retrieval    what neighbours have in common with the query
intervals    over items by bootstrap, of a difference, over runs by Student's t

`targets` is (N, K), 1 where item n has tag k; `scores` is (N, K), higher where the tag is likelier. `weights` says
how often each item counts: (N,), or (R, N) for R weightings at once, which is what a bootstrap is: a draw with
replacement is a weighting by how often each item was drawn. Functions of tags answer one number a tag, NaN where the
tag has no positive or no negative item: such a tag has no score, and zero would be a lie. `macro` averages the rest
and names those left out. NaN in the input, other shapes and targets that are not 0 or 1 are refused.
"""

from ssl_music.metrics.agreement import average_cosine_similarity
from ssl_music.metrics.base import Interval, Macro, macro, macro_draws, units_of
from ssl_music.metrics.calibration import (
    Reliability,
    expected_calibration_error,
    reliability_diagram,
    top_label,
    top_label_calibration_error,
)
from ssl_music.metrics.confusion import confusion_matrix, soft_confusion_matrix
from ssl_music.metrics.curves import PrecisionRecallCurve, RocCurve, precision_recall_curve, roc_curve
from ssl_music.metrics.decisions import (
    accuracy,
    balanced_accuracy,
    f_beta,
    precision,
    recall,
    tag_accuracy,
    tag_balanced_accuracy,
)
from ssl_music.metrics.intervals import bootstrap_weights, paired_interval, percentile_interval, student_t_interval
from ssl_music.metrics.ranking import (
    average_precision,
    micro_average_precision,
    micro_ranking_scores,
    micro_roc_auc,
    ranking_scores,
    roc_auc,
)
from ssl_music.metrics.regression import mean_absolute_error, r2
from ssl_music.metrics.retrieval import (
    mean_average_precision,
    ndcg,
    precision_at_k,
    precision_chance,
    recall_at_k,
)
from ssl_music.metrics.thresholds import decide, thresholds_for_f_beta, thresholds_for_precision
from ssl_music.metrics.topk import multi_tag_accuracy, soft_multi_tag_accuracy

__all__ = [
    "Interval",
    "Macro",
    "PrecisionRecallCurve",
    "Reliability",
    "RocCurve",
    "accuracy",
    "average_cosine_similarity",
    "average_precision",
    "balanced_accuracy",
    "bootstrap_weights",
    "confusion_matrix",
    "decide",
    "expected_calibration_error",
    "f_beta",
    "macro",
    "macro_draws",
    "mean_absolute_error",
    "mean_average_precision",
    "micro_average_precision",
    "micro_ranking_scores",
    "micro_roc_auc",
    "multi_tag_accuracy",
    "ndcg",
    "paired_interval",
    "percentile_interval",
    "precision",
    "precision_at_k",
    "precision_chance",
    "precision_recall_curve",
    "r2",
    "ranking_scores",
    "recall",
    "recall_at_k",
    "reliability_diagram",
    "roc_auc",
    "roc_curve",
    "soft_confusion_matrix",
    "soft_multi_tag_accuracy",
    "student_t_interval",
    "tag_accuracy",
    "tag_balanced_accuracy",
    "thresholds_for_f_beta",
    "thresholds_for_precision",
    "top_label",
    "top_label_calibration_error",
    "units_of",
]
