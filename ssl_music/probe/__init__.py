"""What can be read from vectors by a small classifier that sees nothing else: the measure of an encoder.

features     what the classifiers share
linear       logistic and ridge regression for each strength of the penalty
axes         the items along the principal axes of their features, where these are quickly solved
logistic     the objective of logistic regression and its derivatives
newton       where it is lowest
blocks       sums over items, a block at a time
gradient     `paper` and `mlp`, trained by gradient steps
neighbours   the vote of the nearest
task         which tracks and tags take part
checks       what is checked before anything is fitted
fitted       the protocols: what is fitted on train, what is chosen on valid
predictions  what was predicted for one split, matched by name
scoring      predictions → metrics with intervals
draws        a metric in the draws of a bootstrap
chance       what is reached without hearing anything
protocol     `probe`: all of it, one result
result       `ProbeResult` and its record on disk
paired       two results on the same tracks
tables       results as text
outside      predictions from elsewhere, as a table, scored against a catalog
"""

from ssl_music.probe.fitted import PROTOCOLS, Fitted, fit
from ssl_music.probe.outside import read_table, score_table
from ssl_music.probe.paired import intervals_apart, paired
from ssl_music.probe.predictions import Predictions
from ssl_music.probe.protocol import assembled, probe
from ssl_music.probe.result import Origin, ProbeResult
from ssl_music.probe.scoring import TagScore
from ssl_music.probe.tables import NAMES, compare, difference_line, table

__all__ = [
    "NAMES",
    "PROTOCOLS",
    "Fitted",
    "Origin",
    "Predictions",
    "ProbeResult",
    "TagScore",
    "assembled",
    "compare",
    "difference_line",
    "fit",
    "intervals_apart",
    "paired",
    "probe",
    "read_table",
    "score_table",
    "table",
]
