"""What can be read from vectors by a small classifier that sees nothing else: the measure of an encoder.

classifiers  the two that are fitted: linear, and one hidden layer
task         which tracks and tags take part, checked before anything is fitted
protocol     `probe`: what is fitted on, chosen on and scored on what
result       `ProbeResult`, its printed table, and the comparison of several
"""

from ssl_music.probe.protocol import probe
from ssl_music.probe.result import ProbeResult, TagScore, compare, intervals_apart, table

__all__ = ["ProbeResult", "TagScore", "compare", "intervals_apart", "probe", "table"]
