"""From vectors to a map: a place for each song by t-SNE, and its class in each label column.

t-SNE (van der Maaten & Hinton, JMLR 9, 2008) keeps neighbours together; distances between far groups, and the size
of a group, mean nothing. Vectors are first centred, scaled and brought to unit length as the search does it, so that
near on the map is near in the search, and reduced to 50 dimensions by PCA, as the paper does in its section 4.2.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # scikit-learn brings it

from ssl_music._ledger import Row
from ssl_music.report.palette import CLASSES
from ssl_music.vectors import Vectors

MOST_POINTS = 5000  # 34 s of one core, random vectors; 833 take 4 s
PERPLEXITY = 30.0  # "typical values are between 5 and 50"
FEWEST = 5  # below it t-SNE has no neighbours to speak of
COMPONENTS = 50
OTHER, UNLABELLED = -1, -2  # instead of a class number


class Colouring(NamedTuple):
    """One way of colouring the map: a label column, its most frequent tags, and which of these each song has.

    `classes` holds for each song the positions in `tags` of its tags, or OTHER or UNLABELLED alone. Where songs have
    several tags (`multi`), one tag is shown at a time and `first` before any is picked; else all are.
    """

    name: str
    multi: bool
    tags: list[str]
    counts: list[int]
    others: int  #: tags that are not shown
    classes: list[tuple[int, ...]]

    @property
    def first(self) -> int | None:
        """The most frequent tag that no more than half of the songs have: the one that tells most at a glance."""
        if not self.multi:
            return None
        seldom = [number for number, count in enumerate(self.counts) if 2 * count <= len(self.classes)]
        return seldom[0] if seldom else len(self.tags) - 1

    def shown(self, point: int) -> int:
        """The class that a song is drawn in at first."""
        own = self.classes[point]
        if self.first is None or own[0] < 0:
            return own[0]
        return self.first if self.first in own else OTHER


def drawn_rows(vectors: Vectors) -> np.ndarray:
    """The rows that have a place on the map: finite and not zero, and of a very large catalog 5,000 drawn by lot."""
    usable = np.flatnonzero(np.isfinite(vectors.pooled).all(axis=1) & vectors.pooled.any(axis=1))
    if len(usable) > MOST_POINTS:
        usable = np.sort(np.random.default_rng(0).permutation(usable)[:MOST_POINTS])
    return usable


def coordinates(pooled: np.ndarray) -> np.ndarray:
    """A place for each vector, in units without meaning, the longer side across. Shape: (N, D) → (N, 2).

    The same vectors give the same map.

    >>> coordinates(np.random.default_rng(0).normal(size=(20, 8))).shape
    (20, 2)
    """
    count = len(pooled)
    if not count:
        return np.zeros((0, 2))
    values = np.asarray(pooled, np.float64) - np.mean(pooled, axis=0, dtype=np.float64)
    deviation = values.std(axis=0)
    # a dimension in which all songs agree is noise once it is scaled up
    varies = deviation > 1e-6 * np.abs(pooled).max(initial=1e-6)
    values = values[:, varies] / deviation[varies]
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    if not values.size:
        return np.zeros((count, 2))
    reduced = PCA(min(COMPONENTS, *values.shape), random_state=0).fit_transform(values)
    reduced = np.pad(reduced, [(0, 0), (0, max(0, 2 - reduced.shape[1]))])
    if count < FEWEST:
        return _upright(reduced[:, :2])
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    # two threads on two busy cores took twelve times as long as one: they wait for each other in every small step
    with threadpool_limits(1):
        return _upright(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced))


def colourings(rows: Sequence[Row], columns: dict[str, bool]) -> list[Colouring]:
    """A colouring for each label column that has tags, and one by artist if artists recur.

    >>> rows = [Row("a", artist="Ada"), Row("b", artist="Ada"), Row("c", artist="Bo")]
    >>> colourings(rows, {})
    [Colouring(name='artist', multi=False, tags=['Ada', 'Bo'], counts=[2, 1], others=0, classes=[(0,), (0,), (1,)])]
    """
    found = [_colouring(name, multi, [row.labels.get(name, ()) for row in rows]) for name, multi in columns.items()]
    found = [colouring for colouring in found if colouring.tags]
    by_artist = _colouring("artist", False, [(row.artist,) if row.artist else () for row in rows])
    recurs = by_artist.counts and by_artist.counts[0] > 1
    return [*found, by_artist] if recurs and "artist" not in columns else found


def _colouring(name: str, multi: bool, tags_of: Sequence[Sequence[str]]) -> Colouring:
    counted = Counter(tag for tags in tags_of for tag in tags)
    ordered = sorted(counted, key=lambda tag: (-counted[tag], tag))
    shown = ordered[:CLASSES]
    number = {tag: position for position, tag in enumerate(shown)}
    classes: list[tuple[int, ...]] = []
    for tags in tags_of:
        known = tuple(sorted(number[tag] for tag in tags if tag in number))
        classes.append(known or ((OTHER,) if tags else (UNLABELLED,)))
    return Colouring(name, multi, shown, [counted[tag] for tag in shown], len(ordered) - len(shown), classes)


def _upright(places: np.ndarray) -> np.ndarray:
    """Centred, and turned so that the most spread lies across; t-SNE's own axes mean nothing."""
    places = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(places, full_matrices=False)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    return places @ axes.T
