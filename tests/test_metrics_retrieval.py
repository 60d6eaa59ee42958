"""Lists of neighbours, and lists of tags: naive loops, scikit-learn, chance levels."""

import itertools

import numpy as np
import pytest
from sklearn import metrics as reference

from ssl_music import metrics
from ssl_music.errors import UserError

LISTS = [metrics.precision_at_k, metrics.mean_average_precision, metrics.ndcg, metrics.recall_at_k]


def searched(seed: int, *, items: int = 30, k: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tags (some items have none), queries, and other items at random, of which one list is short."""
    random = np.random.default_rng(seed)
    targets = (random.random((items, 5)) < 0.25).astype(float)
    targets[4] = 0
    queries = random.permutation(items)[:12]
    queries[0] = 4
    neighbours = np.stack([random.permutation(np.delete(np.arange(items), query))[:k] for query in queries])
    neighbours[3, 4:] = -1
    return targets, queries, neighbours


def test_precision_at_k_equals_the_loop() -> None:
    random = np.random.default_rng(7)
    targets = (random.random((30, 6)) < 0.3).astype(np.float32)
    queries = random.permutation(30)[:12]
    neighbours = (queries[:, None] + random.integers(1, 30, size=(12, 5))) % 30
    neighbours[3, 3:] = -1
    expected = []
    for query, found in zip(queries, neighbours, strict=True):
        shared = [bool((targets[query] * targets[row]).sum()) for row in found if row >= 0]
        expected.append(np.mean(shared))
    assert metrics.precision_at_k(targets, queries, neighbours) == pytest.approx(np.mean(expected))


def test_precision_of_random_neighbours_is_the_chance_level() -> None:
    random = np.random.default_rng(8)
    targets = np.eye(3)[random.integers(0, 3, 60)]
    artists = [f"artist {row % 7}" for row in range(60)]
    queries = np.arange(60)
    for excluded in (None, artists):
        neighbours = np.empty((60, 2000), int)
        for row in range(60):
            candidates = [o for o in range(60) if o != row and (excluded is None or artists[o] != artists[row])]
            neighbours[row] = random.choice(candidates, 2000)
        chance = metrics.precision_chance(targets, queries, excluded=excluded)
        assert metrics.precision_at_k(targets, queries, neighbours) == pytest.approx(chance, abs=0.01)
    assert metrics.precision_chance(targets, queries, excluded=[""] * 60) == metrics.precision_chance(
        targets, queries
    )


def test_mean_average_precision_equals_the_loop() -> None:
    for seed in range(4):
        targets, queries, neighbours = searched(seed)
        expected = []
        for query, found in zip(queries, neighbours, strict=True):
            relevant = {other for other in range(30) if other != query and targets[other] @ targets[query] > 0}
            hits, total = 0, 0.0
            for rank, other in enumerate(found, start=1):
                if other in relevant:
                    hits += 1
                    total += hits / rank
            if relevant:
                expected.append(total / min(6, len(relevant)))
        assert metrics.mean_average_precision(targets, queries, neighbours) == pytest.approx(np.mean(expected))


def test_average_precision_of_a_whole_ranking_is_that_of_scikit_learn() -> None:
    targets, _, _ = searched(1)
    distance = np.random.default_rng(1).random(29)
    others = np.arange(1, 30)
    ours = metrics.mean_average_precision(targets, np.array([0]), others[np.argsort(distance)][None])
    theirs = reference.average_precision_score(targets[others] @ targets[0] > 0, -distance)
    assert ours == pytest.approx(theirs)


def test_ndcg_equals_scikit_learn() -> None:
    for seed in range(4):
        targets, queries, neighbours = searched(seed)
        neighbours[3] = [other for other in range(30) if other != queries[3]][:6]
        expected = []
        for query, found in zip(queries, neighbours, strict=True):
            gains = np.delete(targets @ targets[query], query)
            if gains.any():
                score = np.zeros(30)
                score[found] = np.arange(6, 0, -1)
                expected.append(reference.ndcg_score([gains], [np.delete(score, query)], k=6))
        assert metrics.ndcg(targets, queries, neighbours) == pytest.approx(np.mean(expected))


def test_recall_at_k_equals_the_sets() -> None:
    for seed in range(4):
        targets, queries, neighbours = searched(seed)
        labels = [{tag for tag in range(5) if row[tag]} for row in targets]
        expected = []
        for query, found in zip(queries, neighbours, strict=True):
            union = set().union(*(labels[other] for other in found if other >= 0))
            if labels[query]:
                expected.append(len(labels[query] & union) / len(labels[query]))
        assert metrics.recall_at_k(targets, queries, neighbours) == pytest.approx(np.mean(expected))


def test_the_best_list_has_one_and_the_worst_zero() -> None:
    targets = np.eye(3)[np.array([0, 0, 0, 1, 1, 1, 2])]
    queries = np.array([0, 3])
    for metric in LISTS:
        assert metric(targets, queries, np.array([[1, 2], [4, 5]])) == 1
        assert metric(targets, queries, np.array([[3, 4], [0, 1]])) == 0
    assert metrics.mean_average_precision(targets, queries, np.array([[1, 2, 6], [4, 5, -1]])) == 1


def test_excluded_groups_are_no_candidates() -> None:
    targets = np.ones((4, 1))
    artists = ["a", "a", "b", ""]
    queries, neighbours = np.array([0]), np.array([[2, 3, -1]])
    for metric in (metrics.mean_average_precision, metrics.ndcg):
        assert metric(targets, queries, neighbours, excluded=artists) == 1  # item 1 could not be found
        assert metric(targets, queries, neighbours) < 1
        with pytest.raises(UserError, match="query 0 has item 1 of its own group"):
            metric(targets, queries, np.array([[2, 1]]), excluded=artists)


@pytest.mark.parametrize("metric", LISTS)
def test_weights_count_like_repeated_queries_whatever_the_blocks(metric, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queries, neighbours = searched(5)
    times = np.random.default_rng(5).integers(0, 4, size=(4, len(queries)))
    drawn = metric(targets, queries, neighbours, weights=times)
    monkeypatch.setattr(metrics.base, "BLOCK_NUMBERS", 2 * len(targets))
    for draw in range(4):
        rows = np.repeat(np.arange(len(queries)), times[draw])
        assert drawn[draw] == pytest.approx(float(metric(targets, queries[rows], neighbours[rows])))


@pytest.mark.parametrize("metric", LISTS)
def test_order_of_items_tags_and_queries_does_not_matter(metric) -> None:
    targets, queries, neighbours = searched(6)
    random = np.random.default_rng(6)
    items, tags, asked = random.permutation(30), random.permutation(5), random.permutation(12)
    place = np.append(np.argsort(items), -1)  # the last is for −1
    moved = metric(targets[items][:, tags], place[queries][asked], place[neighbours][asked])
    assert moved == pytest.approx(float(metric(targets, queries, neighbours)))


@pytest.mark.parametrize("metric", LISTS)
def test_wrong_lists_are_refused(metric) -> None:
    targets = np.eye(3)
    for queries, neighbours, match in [
        (np.arange(2), np.zeros((3, 1), int), "one row a query"),
        (np.arange(2), np.array([[1], [1]]), "query 1 has itself among its neighbours"),
        (np.array([3]), np.array([[1]]), "queries from 3 to 3 came, but targets have rows 0 to 2"),
        (np.array([0]), np.array([[-2]]), "neighbours from -2"),
        (np.array([0]), np.array([[1.0]]), "row numbers"),
        (np.zeros((1, 1), int), np.array([[1]]), "row numbers"),
    ]:
        with pytest.raises(UserError, match=match):
            metric(targets, queries, neighbours)
    with pytest.raises(UserError, match="0 and 1 only"):
        metric(targets / 2, np.array([0]), np.array([[1]]))
    with pytest.raises(UserError, match="weights must be"):
        metric(targets, np.array([0]), np.array([[1]]), weights=np.ones(3))


def test_a_neighbour_that_comes_twice_is_refused_where_ranks_count() -> None:
    for metric in (metrics.mean_average_precision, metrics.ndcg):
        with pytest.raises(UserError, match="twice"):
            metric(np.eye(3), np.array([0]), np.array([[1, 1]]))
    with pytest.raises(UserError, match="excluded"):
        metrics.precision_chance(np.eye(3), np.arange(2), excluded=["a"])


def drawn_top(targets: np.ndarray, scores: np.ndarray, k: int) -> tuple[float, float]:
    """MTA and MSTA as the mean over every order of the columns, which settles every tie in every way."""
    every, some = [], []
    for order in map(np.array, itertools.permutations(range(scores.shape[1]))):
        for true, score in zip(targets, scores, strict=True):
            if true.any():
                top = order[np.argsort(-score[order], kind="stable")[:k]]
                every.append(set(np.flatnonzero(true)) <= set(top))
                some.append(bool(true[top].any()))
    return float(np.mean(every)), float(np.mean(some))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_top_k_equals_the_mean_over_all_ways_to_settle_ties(k: int, decimals: int) -> None:
    random = np.random.default_rng(k)
    targets = (random.random((15, 5)) < 0.35).astype(float)
    targets[0] = 0
    scores = np.round(random.random((15, 5)), decimals)
    ours = metrics.multi_tag_accuracy(targets, scores, k), metrics.soft_multi_tag_accuracy(targets, scores, k)
    np.testing.assert_allclose(ours, drawn_top(targets, scores, k), atol=1e-12)


def test_top_k_of_single_labels_is_that_of_scikit_learn_and_of_no_opinion_is_chance() -> None:
    random = np.random.default_rng(9)
    truth, scores = random.integers(0, 6, 80), random.random((80, 6))
    for k in (1, 3):
        expected = reference.top_k_accuracy_score(truth, scores, k=k, labels=range(6))
        for metric in (metrics.multi_tag_accuracy, metrics.soft_multi_tag_accuracy):
            assert metric(np.eye(6)[truth], scores, k) == pytest.approx(expected)
            assert metric(np.eye(6)[truth], np.zeros((80, 6)), k) == pytest.approx(k / 6)
    many = np.zeros((1, 3000))
    many[0, :2] = 1  # both of 2 among 1500 of 3000 at random
    assert metrics.multi_tag_accuracy(many, many * 0, 1500) == pytest.approx(0.5 * 1499 / 2999, rel=1e-9)
    assert metrics.multi_tag_accuracy(np.ones((1, 3)), np.eye(3)[:1], 2) == 0  # three tags do not fit into two places
    assert np.isnan(metrics.multi_tag_accuracy(np.zeros((1, 3)), np.eye(3)[:1], 2))
    for k in (0, 4):
        with pytest.raises(UserError, match="k must be from 1 to the 3 tags"):
            metrics.multi_tag_accuracy(np.eye(3), np.eye(3), k)


def test_average_cosine_similarity_equals_scikit_learn() -> None:
    random = np.random.default_rng(10)
    targets, scores = (random.random((40, 5)) < 0.4).astype(float), random.random((40, 5))
    targets[0], scores[1] = 0, 0
    targets[1, 0] = 1
    kept = targets.any(axis=1)
    expected = np.diag(reference.pairwise.cosine_similarity(targets[kept], scores[kept]))
    assert metrics.average_cosine_similarity(targets, scores) == pytest.approx(expected.mean())
    assert metrics.average_cosine_similarity(targets, 3 * targets) == pytest.approx(1)
    assert metrics.average_cosine_similarity(targets, 1 - targets) == pytest.approx(0)
    assert np.isnan(metrics.average_cosine_similarity(np.zeros((2, 2)), np.ones((2, 2))))


@pytest.mark.parametrize(
    "metric",
    [
        lambda *given, **weights: metrics.multi_tag_accuracy(*given, 2, **weights),
        lambda *given, **weights: metrics.soft_multi_tag_accuracy(*given, 2, **weights),
        metrics.average_cosine_similarity,
    ],
)
def test_scores_of_items_are_weighted_and_know_no_order(metric) -> None:
    random = np.random.default_rng(11)
    targets, scores = (random.random((40, 5)) < 0.4).astype(float), np.round(random.random((40, 5)), 1)
    times = random.integers(0, 4, size=(4, 40))
    drawn = metric(targets, scores, weights=times)
    for draw in range(4):
        rows = random.permutation(np.repeat(np.arange(40), times[draw]))
        tags = random.permutation(5)
        assert drawn[draw] == pytest.approx(float(metric(targets[rows][:, tags], scores[rows][:, tags])))
