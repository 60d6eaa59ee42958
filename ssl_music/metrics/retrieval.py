"""How good a list of neighbours is: what the nearest songs have in common with the query."""

from collections.abc import Sequence

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import matrix


def precision_at_k(targets: np.ndarray, queries: np.ndarray, neighbours: np.ndarray) -> float:
    """Mean over queries of the share of their neighbours that have a tag in common with them.

    `neighbours` are row numbers into `targets`, (Q, k); −1 stands where a filter left fewer than k, and is not
    counted; a query with no neighbour at all is left out.

    >>> precision_at_k(np.array([[1, 0], [1, 0], [0, 1]]), np.array([0, 1]), np.array([[1, 2], [0, -1]]))
    0.75
    """
    queries, neighbours = np.asarray(queries), np.asarray(neighbours)
    targets = matrix("targets", targets)
    if neighbours.ndim != 2 or len(neighbours) != len(queries):
        raise UserError(f"neighbours must be ({len(queries)}, k), one row a query; came {neighbours.shape}")
    there = neighbours >= 0
    alike = np.einsum("qk,qnk->qn", targets[queries], targets[neighbours]) > 0
    asked = there.any(axis=1)
    if not asked.any():
        return float("nan")
    return float(np.mean((alike & there).sum(axis=1)[asked] / there.sum(axis=1)[asked]))


def precision_chance(targets: np.ndarray, queries: np.ndarray, *, excluded: Sequence[str] | None = None) -> float:
    """`precision_at_k` of neighbours drawn at random from all items but the query.

    `excluded` names a group per item (an artist, a composition): items of the query's own group are no candidates,
    as in a search that leaves them out; an empty name excludes only the query itself.

    >>> precision_chance(np.array([[1, 0], [1, 0], [0, 1]]), np.array([0, 1]))
    0.5
    """
    targets = matrix("targets", targets)
    names = np.array([""] * len(targets) if excluded is None else list(excluded), dtype=object)
    if len(names) != len(targets):
        raise UserError(f"excluded must name a group for each of the {len(targets)} items; came {len(names)}")
    shares = []
    for query in np.asarray(queries):
        candidate = names != names[query] if names[query] else np.ones(len(targets), bool)
        candidate[query] = False
        if candidate.any():
            shares.append(np.mean(targets[candidate] @ targets[query] > 0))
    return float(np.mean(shares)) if shares else float("nan")
