"""The map: every song has a place near its like, and a class in each label column."""

from pathlib import Path

import numpy as np
import pytest

from ssl_music._ledger import Row
from ssl_music.report.figures import save
from ssl_music.report.map import OTHER, UNLABELLED, colourings, coordinates
from ssl_music.report.scatter import fitted, map_figure, scatter


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 40])
def test_places_of_few_and_many(count: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 7)).astype(np.float32)
    places = coordinates(vectors)
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert np.array_equal(places, coordinates(vectors))
    at, height = fitted(places)
    assert ((at >= 0) & (at <= [960, height])).all()


def test_collapsed_vectors_have_a_map() -> None:
    assert not coordinates(np.ones((20, 4), np.float32)).any()
    one_differs = np.ones((20, 4), np.float32)
    one_differs[0] = 2
    assert np.isfinite(coordinates(one_differs)).all()


def test_clusters_stay_together() -> None:
    generator = np.random.default_rng(0)
    kinds = np.repeat(np.arange(3), 30)
    places = coordinates(5 * generator.normal(size=(3, 64))[kinds] + generator.normal(size=(90, 64)))
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (kinds[distances.argmin(axis=1)] == kinds).mean() > 0.95


def test_colourings() -> None:
    labels = [{"genre": (f"g{min(n, 14):02d}",), "mood": ("calm", "dark") if n % 3 else ("calm",)} for n in range(20)]
    rows = [Row(str(n), labels=own) for n, own in enumerate([*labels, {}])]
    genre, mood = colourings(rows, {"genre": False, "mood": True, "empty": False})
    assert genre.tags[0] == "g14" and genre.counts[0] == 6 and len(genre.tags) == 12 and genre.others == 3
    assert genre.shown(19) == 0 and genre.shown(13) == OTHER and genre.shown(20) == UNLABELLED
    assert mood.tags == ["calm", "dark"] and mood.first == 1  # every song is calm, which tells nothing
    assert [mood.shown(n) for n in (0, 1, 20)] == [OTHER, 1, UNLABELLED]
    assert colourings([Row("a", artist="Ada"), Row("b", artist="Bo")], {}) == []


def test_a_large_map_stays_small() -> None:
    rows = [Row(str(n), title="A title of usual length", artist="Some artist") for n in range(5000)]
    places = np.random.default_rng(0).normal(size=(5000, 2))
    assert len(scatter(places, rows, [], marked={0: "1"})) < 1.5e6


def test_names_that_matplotlib_dislikes(tmp_path: Path) -> None:
    rows = [Row(str(n), labels={"$x$": (["_a", "b\udcff", "c\nd", "$y"][n % 4],)}) for n in range(8)]
    (colouring,) = colourings(rows, {"$x$": False})
    save(
        map_figure(coordinates(np.random.default_rng(0).normal(size=(8, 3))), colouring, title="t"),
        tmp_path / "a.png",
    )
