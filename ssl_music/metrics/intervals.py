"""How far a score may be trusted: bootstrap draws and the intervals of them."""

from collections.abc import Sequence

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import Interval


def bootstrap_weights(groups: Sequence[str], *, draws: int, seed: int) -> np.ndarray:
    """How often each item occurs in each of `draws` drawings with replacement of whole groups. Shape: (draws, N).

    Clips of one composition are no independent witnesses, so items of one group are drawn together; an item with an
    empty name is its own group.

    >>> bootstrap_weights(["a", "a", "", ""], draws=2, seed=0).shape
    (2, 4)
    """
    if draws < 1 or not len(groups):
        raise UserError(f"a bootstrap wants one draw or more of one item or more; came {draws} of {len(groups)}")
    names = [name or f"\0{row}" for row, name in enumerate(groups)]
    _, member = np.unique(names, return_inverse=True)
    count = int(member.max()) + 1
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    drawn += np.arange(draws)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
    return times[:, member].astype(np.float32)  # small counts: exact


def percentile_interval(value: float, drawn: np.ndarray, *, coverage: float = 0.95) -> Interval:
    """`value` between the percentiles of its bootstrap draws; draws without a score (NaN) are left out.

    >>> percentile_interval(0.5, np.linspace(0, 1, 1001))
    Interval(value=0.5, low=0.025, high=0.975)
    """
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Interval(float(value), float(low), float(high))
