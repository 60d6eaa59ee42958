"""Two encoders on the same tracks: how far apart they are, and whether that can be told."""

from collections.abc import Sequence

from ssl_music import metrics
from ssl_music.errors import UserError, unknown_name
from ssl_music.metrics import Interval
from ssl_music.probe.draws import Drawn, averaged, difference
from ssl_music.probe.result import ProbeResult
from ssl_music.probe.scoring import drawn

#: of a result that two must have in common
COMPARED = ("column", "kind", "tracks")


def paired(a: ProbeResult, b: ProbeResult, metric: str | None = None) -> Interval:
    """How much higher `a` scores than `b`, with a 95 % interval from draws of the same tracks, or groups, for both.

    What both find hard does not widen it, so two encoders whose intervals overlap may differ for sure. Tracks and
    tags are matched by name. Results of other tracks are an error that names the difference.
    """
    return difference(*drawn_together([a, b], metric or a.primary))


def drawn_together(results: Sequence[ProbeResult], metric: str) -> list[Drawn]:
    """What each result reaches on all tracks and in the same draws of them, the mean over its runs.

    Any two of these have a `draws.difference`: of many results, cheaper than `paired` of each two.
    """
    first = results[0]
    for result in results:
        check_comparable(first, result)
        _check_metric(metric, result)
    seen = first.test[0]
    weights = metrics.bootstrap_weights(seen.groups, draws=first.bootstrap, seed=first.seed)
    return [
        averaged([drawn(run.matched(seen.tags, seen.ids), metric, weights) for run in result.test])
        for result in results
    ]


def intervals_apart(a: ProbeResult, b: ProbeResult, metric: str) -> bool:
    """Whether the intervals of two results do not touch: a difference that no reader need doubt.

    Stricter than `paired`: intervals that overlap a little may still differ.
    """
    for result in (a, b):
        _check_metric(metric, result)
    first, second = a.metrics[metric], b.metrics[metric]
    return first.low > second.high or second.low > first.high


def check_comparable(a: ProbeResult, b: ProbeResult) -> None:
    """Raises UserError where two results are not of the same tracks, tags and split."""
    facts = {
        **{name: (getattr(a, name), getattr(b, name)) for name in COMPARED},
        "split_name": (a.origin.split_name, b.origin.split_name),
        "catalog_fingerprint": (a.origin.catalog_fingerprint, b.origin.catalog_fingerprint),
        "tags": (sorted(a.tags), sorted(b.tags)),
        "tracks that were scored": (sorted(a.test[0].ids), sorted(b.test[0].ids)),
    }
    for fact, (mine, theirs) in facts.items():
        if mine != theirs:
            told = "differ" if fact == "tracks that were scored" else f"is {mine} and {theirs}"
            raise UserError(f"{a.name} and {b.name} are not comparable: {fact} {told}")


def _check_metric(metric: str, result: ProbeResult) -> None:
    if metric not in result.metrics:
        raise unknown_name("metric", metric, list(result.metrics))
