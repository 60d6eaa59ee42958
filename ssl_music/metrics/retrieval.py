"""How good lists of neighbours are: what the nearest songs have in common with the query.

`targets` is (N, K), the tags of all items that could be found; `queries` (Q,) and `neighbours` (Q, k) are row numbers
into it, neighbours nearest first. −1 stands behind the last neighbour where a filter left fewer than k. A query is
never its own neighbour. `weights` say how often each *query* counts, (Q,) or (R, Q).

`excluded` names a group per item (an artist, a composition): items of the query's own group are no candidates, as in
a search that leaves them out; an empty name excludes only the query itself.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics import base
from ssl_music.metrics.base import binary, units_of, weighted_mean, weighting


def precision_at_k(
    targets: np.ndarray, queries: np.ndarray, neighbours: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean over queries of the share of their neighbours that have a tag in common with them. Shape: → (), or (R,).

    A −1 is not counted; a query with no neighbour at all is left out.

    >>> float(precision_at_k(np.array([[1, 0], [1, 0], [0, 1]]), np.array([0, 1]), np.array([[1, 2], [0, -1]])))
    0.75
    """
    targets, queries, neighbours = _lists(targets, queries, neighbours)
    there = neighbours >= 0
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no neighbour, no share
        shares = (_in_common(targets, queries, neighbours) > 0).sum(axis=1) / there.sum(axis=1)
    return weighted_mean(shares, weighting(weights, len(queries)))


def precision_chance(
    targets: np.ndarray,
    queries: np.ndarray,
    *,
    excluded: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """`precision_at_k` of neighbours drawn at random from all candidates. Shape: → (), or (R,).

    >>> float(precision_chance(np.array([[1, 0], [1, 0], [0, 1]]), np.array([0, 1])))
    0.5
    """
    targets, queries = binary("targets", targets), np.asarray(queries)
    _check_rows("queries", queries, len(targets))
    groups = _groups(excluded, len(targets))
    shares = np.empty(len(queries))
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no candidate, no share
        for rows, common in _candidates(targets, queries, groups):
            shares[rows] = (common > 0).sum(axis=1) / (common >= 0).sum(axis=1)
    return weighted_mean(shares, weighting(weights, len(queries)))


def mean_average_precision(
    targets: np.ndarray,
    queries: np.ndarray,
    neighbours: np.ndarray,
    *,
    excluded: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """MAP@k: the mean over queries of Σ_i P(i) rel(i) / min(k, relevant candidates). Shape: → (), or (R,).

    rel(i) is 1 where neighbour i has a tag in common with the query, P(i) the precision of the first i neighbours
    (Manning, Raghavan & Schütze, Introduction to Information Retrieval, 2008, eq. 8.8, cut off at k: so that a list
    of nothing but relevant songs has 1). Queries without a relevant candidate are left out.

    >>> float(mean_average_precision(np.array([[1], [0], [1], [1]]), np.array([0]), np.array([[1, 2]])))
    0.25
    """
    targets, queries, neighbours = _lists(targets, queries, neighbours, excluded, distinct=True)
    relevant = _in_common(targets, queries, neighbours) > 0
    precision = np.cumsum(relevant, axis=1) / np.arange(1, neighbours.shape[1] + 1)
    best = np.empty(len(queries))
    for rows, common in _candidates(targets, queries, _groups(excluded, len(targets))):
        best[rows] = np.minimum(neighbours.shape[1], (common > 0).sum(axis=1))
    with np.errstate(invalid="ignore"):  # 0/0 is meant: there was nothing to find
        return weighted_mean((precision * relevant).sum(axis=1) / best, weighting(weights, len(queries)))


def ndcg(
    targets: np.ndarray,
    queries: np.ndarray,
    neighbours: np.ndarray,
    *,
    excluded: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """nDCG@k: the mean over queries of Σ_i gain(i) / log2(i + 1), as a share of the greatest possible one.

    Järvelin & Kekäläinen, ACM TOIS 20(4), 2002, with the discount of all ranks from the first (as scikit-learn). The
    gain is the number of tags in common. Queries without a relevant candidate are left out. Shape: → (), or (R,).

    >>> float(ndcg(np.array([[1, 1], [1, 0], [1, 1]]), np.array([0]), np.array([[1, 2]])))
    0.8597
    """
    targets, queries, neighbours = _lists(targets, queries, neighbours, excluded, distinct=True)
    k = neighbours.shape[1]
    discount = 1 / np.log2(np.arange(2, k + 2))
    gained = np.maximum(_in_common(targets, queries, neighbours), 0) @ discount
    best = np.empty(len(queries))
    for rows, common in _candidates(targets, queries, _groups(excluded, len(targets))):
        most = min(k, common.shape[1])
        top = -np.sort(np.partition(-common, most - 1, axis=1)[:, :most], axis=1)
        best[rows] = np.maximum(top, 0) @ discount[:most]
    with np.errstate(invalid="ignore"):  # 0/0 is meant: there was nothing to find
        return weighted_mean(gained / best, weighting(weights, len(queries)))


def recall_at_k(
    targets: np.ndarray, queries: np.ndarray, neighbours: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Multi-label recall@k: the mean over queries of |labels(q) ∩ ∪ labels(neighbours)| / |labels(q)|.

    So it is the share of the query's tags that one neighbour or another has, not the share of relevant items that
    are found. Queries without a tag are left out. Shape: → (), or (R,).

    >>> float(recall_at_k(np.array([[1, 1], [1, 0], [1, 0]]), np.array([0, 1]), np.array([[1, 2], [0, 2]])))
    0.75
    """
    targets, queries, neighbours = _lists(targets, queries, neighbours)
    found = np.zeros((len(queries), targets.shape[1]), bool)
    for column in neighbours.T:
        found |= (targets[column] > 0) & (column >= 0)[:, None]
    own = targets[queries]
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no tags to find
        return weighted_mean((own * found).sum(axis=1) / own.sum(axis=1), weighting(weights, len(queries)))


def _lists(
    targets: np.ndarray,
    queries: np.ndarray,
    neighbours: np.ndarray,
    excluded: Sequence[str] | None = None,
    *,
    distinct: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All three, checked: row numbers that exist, nobody his own neighbour nor of an excluded group, none twice."""
    targets, queries, neighbours = binary("targets", targets), np.asarray(queries), np.asarray(neighbours)
    _check_rows("queries", queries, len(targets))
    if neighbours.ndim != 2 or len(neighbours) != len(queries) or not neighbours.size:
        raise UserError(f"neighbours must be ({len(queries)}, k), one row a query; came {neighbours.shape}")
    _check_rows("neighbours", neighbours, len(targets), lowest=-1)
    groups = _groups(excluded, len(targets))
    own = (groups[neighbours] == groups[queries][:, None]) & (neighbours >= 0)
    if own.any():
        row, rank = np.argwhere(own)[0]
        who = "itself" if neighbours[row, rank] == queries[row] else f"item {neighbours[row, rank]} of its own group"
        raise UserError(f"query {queries[row]} has {who} among its neighbours; leave these out of the search")
    ranked = np.sort(neighbours, axis=1)
    if distinct and ((ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)).any():
        raise UserError("neighbours hold an item twice for one query; every rank must be another item")
    return targets, queries, neighbours


def _check_rows(name: str, rows: np.ndarray, count: int, lowest: int = 0) -> None:
    if rows.dtype.kind not in "iu" or not rows.size or (name == "queries" and rows.ndim != 1):
        raise UserError(f"{name} must be row numbers into targets; came {rows.dtype} of shape {rows.shape}")
    if rows.min() < lowest or rows.max() >= count:
        raise UserError(f"{name} from {rows.min()} to {rows.max()} came, but targets have rows 0 to {count - 1}")


def _groups(excluded: Sequence[str] | None, count: int) -> np.ndarray:
    """A number per item, equal for items of one group. Shape: (N,)."""
    if excluded is None:
        return np.arange(count)
    if len(excluded) != count:
        raise UserError(f"excluded must name a group for each of the {count} items; came {len(excluded)}")
    return units_of(excluded)


def _in_common(targets: np.ndarray, queries: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """How many tags each neighbour has in common with its query, −1 where there is no neighbour. Shape: (Q, k)."""
    own = targets[queries]
    common = np.stack([np.einsum("qt,qt->q", own, targets[column]) for column in neighbours.T], axis=1)
    return np.where(neighbours >= 0, common, -1.0)


def _candidates(targets: np.ndarray, queries: np.ndarray, groups: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Block by block of queries, how many tags each item has in common, −1 for items that are no candidates."""
    block = max(1, base.BLOCK_NUMBERS // len(targets))
    for start in range(0, len(queries), block):
        asked = queries[start : start + block]
        own = groups[asked][:, None] == groups
        yield slice(start, start + block), np.where(own, -1.0, targets[asked] @ targets.T)  # (B, N)
