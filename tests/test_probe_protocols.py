"""The protocols: what each fits and chooses, chunks, numbers, several seeds, comparisons, records."""

import json
from pathlib import Path

import numpy as np
import pytest
from probe_toy import gaussian, store
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import f1_score, r2_score
from sklearn.neighbors import KNeighborsClassifier

from ssl_music._records import gather_records
from ssl_music.errors import UserError
from ssl_music.probe import PROTOCOLS, Predictions, ProbeResult, compare, difference_line, fit, paired, probe, table

ALL = list(PROTOCOLS)


@pytest.mark.parametrize("protocol", ALL)
def test_two_gaussians_are_read_nearly_as_well_as_they_can_be(tmp_path: Path, protocol: str) -> None:
    features, labels = gaussian(1500, distance=3.0)
    result = probe(store(tmp_path / "v", features, {"kind": labels}), protocol=protocol)
    best = stats.norm.cdf(1.5)  # beyond half the distance the best rule errs: .933
    assert result.protocol == protocol and result.primary == "balanced_accuracy"
    assert result.metrics["accuracy"].value == pytest.approx(best, abs=0.04)
    assert table(result).startswith(f"kind: protocol {protocol}")


@pytest.mark.parametrize("protocol", ALL)
def test_order_of_tracks_does_not_matter(tmp_path: Path, protocol: str) -> None:
    """Another order gives the same scores; of gradient steps, which come in another order too, nearly the same."""
    features, labels = gaussian(300, classes=3, distance=2.0)
    first = probe(store(tmp_path / "a", features, {"kind": labels}), protocol=protocol)
    order = np.random.default_rng(0).permutation(300)
    second = probe(store(tmp_path / "b", features, {"kind": labels}, order=order), protocol=protocol)
    close = 0.03 if protocol in ("paper", "mlp") else 1e-3
    for name in first.metrics:
        assert second.metrics[name].value == pytest.approx(first.metrics[name].value, abs=close)
    theirs = second.test[0].matched(first.tags, first.test[0].ids)
    np.testing.assert_array_equal(theirs.targets, first.test[0].targets)
    np.testing.assert_allclose(theirs.scores, first.test[0].scores, atol=20 * close)


def test_knn_votes_as_scikit_learn_does(tmp_path: Path) -> None:
    features, labels = gaussian(500, classes=3, distance=2.0)
    fitted = fit(store(tmp_path / "v", features, {"kind": labels}), protocol="knn")
    assert fitted.settings["neighbours"] > 1
    train, test = fitted.task.parts["train"], fitted.task.parts["test"]
    mean, deviation = train.features.mean(axis=0), train.features.std(axis=0)
    units = [(part.features - mean) / deviation for part in (train, test)]
    units = [unit / np.linalg.norm(unit, axis=1, keepdims=True) for unit in units]
    theirs = KNeighborsClassifier(
        int(fitted.settings["neighbours"]),
        metric="cosine",
        weights=lambda distances: np.exp((1 - distances) / 0.07),
        algorithm="brute",
    ).fit(units[0], train.targets.argmax(axis=1))
    np.testing.assert_allclose(fitted.tracks(test.features, test.owners), theirs.predict_proba(units[1]), atol=1e-5)


def test_paper_learns_on_features_as_they_are(tmp_path: Path) -> None:
    """CLMR's probe does not standardise: on features of a thousandth it is far from done after 200 epochs."""
    features, labels = gaussian(600, distance=3.0)
    small = store(tmp_path / "small", features / 1000, {"kind": labels})
    whole = store(tmp_path / "whole", features, {"kind": labels})
    spread = {
        name: np.ptp(fit(vectors, protocol="paper").valid.scores)
        for name, vectors in (("small", small), ("whole", whole))
    }
    assert spread["small"] < 0.1
    assert spread["whole"] > 0.7
    same = [fit(vectors, protocol="linear").valid.scores for vectors in (small, whole)]
    np.testing.assert_allclose(same[0], same[1], atol=1e-3)


def test_scores_of_chunks_are_averaged(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 200)
    chunks = [random.normal(size=(random.integers(1, 9), 4)) + 1.5 * label for label in truth]
    vectors = store(tmp_path / "v", chunks, {"kind": [(f"class {label}",) for label in truth]})
    fitted = fit(vectors, pool="scores")
    test = fitted.task.parts["test"]
    assert len(test.features) == sum(len(chunks[int(vectors.rows[row].id)]) for row in test.rows)
    expected = np.stack(
        [fitted.score(np.asarray(chunks[int(vectors.rows[row].id)], np.float32)).mean(axis=0) for row in test.rows]
    )
    np.testing.assert_allclose(fitted.predictions(vectors, test.rows).scores, expected, atol=1e-6)
    by_scores, by_vectors = (probe(vectors, pool=pool) for pool in ("scores", "vectors"))
    assert by_scores.metrics["accuracy"].value > 0.85 and by_vectors.metrics["accuracy"].value > 0.85
    assert by_scores.test[0].scores.tolist() != by_vectors.test[0].scores.tolist()
    with pytest.raises(UserError, match="did you mean 'scores'"):
        probe(vectors, pool="score")


def test_numbers_are_read_with_r2(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(500, 6))
    arousal = 3 * features[:, 0] + random.normal(size=500)
    valence = features[:, 1] + random.normal(size=500)
    columns = {
        name: [(f"{value:.4f}",) for value in values] for name, values in (("arousal", arousal), ("valence", valence))
    }
    vectors = store(tmp_path / "v", features, columns)
    result = probe(vectors, ["arousal", "valence"], regression=True)
    assert (result.kind, result.column, list(result.metrics)) == (
        "numbers",
        "arousal, valence",
        ["r2", "mean_absolute_error"],
    )
    by_column = {tag.tag: tag.scores["r2"] for tag in result.per_tag}
    # of 9 + 1 parts of variance one is noise, and of 1 + 1
    assert by_column["arousal"].low < 0.9 < by_column["arousal"].high
    assert by_column["valence"].low < 0.5 < by_column["valence"].high
    assert result.metrics["r2"].value == pytest.approx(np.mean([one.value for one in by_column.values()]))
    test = result.test[0]
    assert by_column["arousal"].value == pytest.approx(r2_score(test.targets[:, 0], test.scores[:, 0]), abs=1e-6)
    standard = (features[:400] - features[:400].mean(axis=0)) / features[:400].std(axis=0)
    ridge = Ridge(alpha=result.settings["l2"] * 400).fit(standard, arousal[:400] / arousal[:400].std())
    asked = (features[400:] - features[:400].mean(axis=0)) / features[:400].std(axis=0)
    assert np.corrcoef(ridge.predict(asked), test.scores[:, 0])[0, 1] > 0.9999
    assert result.chance["r2"] == 0
    for protocol in ("mlp", "knn", "paper"):
        assert probe(vectors, "arousal", regression=True, protocol=protocol).metrics["r2"].value > 0.5
    with pytest.raises(UserError, match=r"'00000' has 'class .*wants one number"):
        labels = gaussian(50, distance=1.0)[1]
        probe(store(tmp_path / "w", features[:50], {"kind": labels}), regression=True)
    with pytest.raises(UserError, match="are for regression"):
        probe(vectors, ["arousal", "valence"])


def test_several_seeds_give_two_intervals(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", *_labelled(gaussian(300, classes=3, distance=1.5)))
    result = probe(vectors, protocol="mlp", seeds=3, seed=5)
    alone = [probe(vectors, protocol="mlp", seed=seed) for seed in (5, 6, 7)]
    reached = [run.metrics["roc_auc"].value for run in alone]
    assert [run["roc_auc"] for run in result.runs] == pytest.approx(reached)
    assert result.metrics["roc_auc"].value == pytest.approx(np.mean(reached))
    half = stats.t.ppf(0.975, 2) * np.std(reached, ddof=1) / np.sqrt(3)
    assert result.over_runs["roc_auc"].high - np.mean(reached) == pytest.approx(half)
    accuracy = result.per_tag[0].over_runs["tag_accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high
    assert "over 3 seeds" in table(result) and "3 seeds" in table(result).splitlines()[0]
    with pytest.raises(UserError, match="linear gives the same for every seed"):
        probe(vectors, seeds=2)
    with pytest.raises(UserError, match="seeds 0"):
        probe(vectors, seeds=0)


def test_thresholds_are_chosen_on_valid(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(1000, 6))
    has = features[:, :3] + random.normal(size=(1000, 3)) * [0.3, 1.0, 3.0] > [0.0, 1.0, 1.5]
    names = np.array(["often", "seldom", "hidden"])
    labels = [tuple(names[row]) or ("none",) for row in has]
    result = probe(store(tmp_path / "v", features, {"kind": labels}, multi=["kind"]))
    for tag in result.per_tag:
        column = result.tags.index(tag.tag)
        valid, test = result.valid[0], result.test[0]
        limits = np.unique(valid.scores[:, column])
        best = max(f1_score(valid.targets[:, column], valid.scores[:, column] >= limit) for limit in limits)
        assert tag.threshold is not None
        chosen = f1_score(valid.targets[:, column], valid.scores[:, column] >= tag.threshold)
        assert chosen == pytest.approx(best)
        expected = f1_score(test.targets[:, column], test.scores[:, column] >= tag.threshold)
        assert tag.scores["f1"].value == pytest.approx(expected)
    assert "threshold" in table(result)
    precise = probe(store(tmp_path / "p", features, {"kind": labels}, multi=["kind"]), target_precision=0.8)
    assert "threshold for precision 0.8" in table(precise) and precise.test[0].scores.tolist() == test.scores.tolist()
    often = next(tag for tag in precise.per_tag if tag.tag == "often")
    column = precise.tags.index("often")
    reached = valid.targets[valid.scores[:, column] >= often.threshold, column]
    assert reached.mean() >= 0.8
    lower = valid.scores[:, column][valid.scores[:, column] < often.threshold].max()
    assert valid.targets[valid.scores[:, column] >= lower, column].mean() < 0.8
    with pytest.raises(UserError, match=r"target_precision 0\.8: 'kind' has no thresholds"):
        probe(store(tmp_path / "s", *_labelled(gaussian(100, distance=3.0))), target_precision=0.8)
    assert result.further["f1"] == pytest.approx(np.mean([tag.scores["f1"].value for tag in result.per_tag]))


def test_a_paired_difference_is_narrower_than_two_intervals(tmp_path: Path) -> None:
    """The same noise makes the same tracks hard for both: the difference is sure where the intervals overlap."""
    features, labels = gaussian(1000, classes=2, distance=1.6)
    worse = features + 0.6 * np.random.default_rng(1).normal(size=features.shape)
    good = probe(store(tmp_path / "good", features, {"kind": labels}), bootstrap=500)
    # the same tracks in another order, with the classes in another place
    order = np.random.default_rng(2).permutation(1000)
    poor = probe(store(tmp_path / "poor", worse, {"kind": labels}, order=order), bootstrap=500)
    found = paired(good, poor, "roc_auc")
    assert found.value == pytest.approx(good.metrics["roc_auc"].value - poor.metrics["roc_auc"].value)
    assert found.low > 0
    assert good.metrics["roc_auc"].low < poor.metrics["roc_auc"].high  # these overlap
    back = paired(poor, good, "roc_auc")
    assert (back.value, back.low) == pytest.approx((-found.value, -found.high), abs=0.01)
    assert paired(good, good).value == paired(good, good).low == paired(good, good).high == 0
    said = difference_line(poor, good, "roc_auc")
    assert said.startswith("good is better than poor by 0.") and "paired bootstrap over 200 tracks" in said
    assert "not distinguishable" in difference_line(good, good)
    assert "good is better than poor" in compare([good, poor]) or "not distinguishable" in compare([good, poor])


def test_paired_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Two readers of the same 60 tracks, one with more noise: their true difference by 400,000 tracks."""
    random = np.random.default_rng(0)

    def both(count: int) -> list[Predictions]:
        truth = random.integers(0, 2, count)
        common = truth + random.normal(size=count)
        scores = [common + noise * random.normal(size=count) for noise in (0.3, 1.0)]
        ids = [str(row) for row in range(count)]
        return [
            Predictions("kind", "multi", ["yes"], ids, [""] * count, truth[:, None], stats.norm.cdf(score)[:, None])
            for score in scores
        ]

    from ssl_music import metrics

    first, second = both(400_000)
    truth = float(metrics.roc_auc(first.targets, first.scores)[0] - metrics.roc_auc(second.targets, second.scores)[0])
    held = 0
    for _ in range(200):
        a, b = both(60)
        weights = metrics.bootstrap_weights([""] * 60, draws=300, seed=1)
        drawn = [metrics.roc_auc(one.targets, one.scores, weights=weights)[:, 0] for one in (a, b)]
        values = [float(metrics.roc_auc(one.targets, one.scores)[0]) for one in (a, b)]
        interval = metrics.paired_interval(values[0], values[1], drawn[0], drawn[1])
        held += interval.low <= truth <= interval.high
    assert 0.90 <= held / 200 <= 0.99


def test_a_record_gives_the_result_back(tmp_path: Path) -> None:
    vectors = store(
        tmp_path / "v",
        *_labelled(gaussian(300, classes=3, distance=1.5)),
        groups=[f"{row // 2}" for row in range(300)],
    )
    result = probe(vectors, protocol="mlp", seeds=2, name="mine")
    result.save(tmp_path / "out" / "kind.json")
    again = ProbeResult.load(tmp_path / "out" / "kind.json")
    assert again == result and table(again) == table(result)
    np.testing.assert_array_equal(again.test[1].scores, result.test[1].scores)
    np.testing.assert_array_equal(again.valid[1].targets, result.valid[1].targets)
    assert again.test[0].groups == result.test[0].groups
    assert paired(again, result).value == 0
    (record,) = gather_records(tmp_path)
    assert record.kind == "probe" and record.facts["metrics"]["roc_auc"] == list(result.metrics["roc_auc"])
    json.dumps(record.facts, allow_nan=False)
    (tmp_path / "out" / "kind.npz").unlink()
    with pytest.raises(UserError, match=r"kind\.npz: the arrays of kind\.json cannot be read"):
        ProbeResult.load(tmp_path / "out" / "kind.json")


def test_a_record_that_was_changed_is_told(tmp_path: Path) -> None:
    features, labels = gaussian(60, distance=2.0)
    probe(store(tmp_path / "v", features, {"kind": labels}), bootstrap=20).save(tmp_path / "r" / "kind.json")
    (record,) = gather_records(tmp_path / "r")
    for missing in ("metrics", "digest", "per_tag"):
        facts = {name: value for name, value in record.facts.items() if name != missing}
        with pytest.raises(UserError, match=rf"kind\.json: not as ssl_music writes the record .*'{missing}'"):
            ProbeResult.of(record._replace(facts=facts))
    with pytest.raises(UserError, match=r"kind\.txt: the name of a record ends in \.json.*call it kind\.json"):
        ProbeResult.load(tmp_path / "r" / "kind.json").save(tmp_path / "kind.txt")


def test_some_tracks_of_train_alone(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", *_labelled(gaussian(300, classes=2, distance=3.0)))
    train = [row.id for row in vectors.rows if row.split == "train"]
    labels = {row.id: row.labels["kind"][0] for row in vectors.rows}
    few = {*[id for id in train if labels[id] == "class 0"][:5], *[id for id in train if labels[id] == "class 1"][:5]}
    fitted = fit(vectors, among=few, refit=False)
    assert {vectors.rows[row].id for row in fitted.task.parts["train"].rows} == few
    assert len(fitted.task.parts["train"].features) == 10
    with pytest.raises(UserError, match=r"5 of 180 tracks of train: no track of the train split.*class 1"):
        fit(vectors, among={id for id in few if labels[id] == "class 0"})
    with pytest.raises(UserError, match="'nobody' is not a labelled track of train"):
        fit(vectors, among={"nobody"})


def test_predictions_are_matched_by_name() -> None:
    ids, tags = ["a", "b", "c"], ["calm", "dark"]
    scores = np.arange(6).reshape(3, 2) / 10
    first = Predictions("mood", "multi", tags, ids, ["", "", "x"], np.eye(3, 2), scores)
    turned = first.matched(tags[::-1], ids[::-1])
    np.testing.assert_array_equal(turned.scores, scores[::-1, ::-1])
    assert turned.groups == ["x", "", ""] and turned.matched(tags, ids).scores.tolist() == scores.tolist()
    with pytest.raises(UserError, match=r"lack 1 of 2 tags: 'loud'.*by name, never by position"):
        first.matched(["calm", "loud"], ids)
    with pytest.raises(UserError, match=r"lack 1 of 2 tracks: 'd'"):
        first.matched(tags, ["a", "d"])
    with pytest.raises(UserError, match=r"1 of 3 tracks hold NaN or Inf, the first is 'b'"):
        Predictions("mood", "multi", tags, ids, [""] * 3, np.eye(3, 2), np.where(scores == 0.2, np.nan, scores))
    with pytest.raises(UserError, match=r"labels are \(3, 3\), wanted \(3, 2\): one row for each of 3 tracks"):
        Predictions("mood", "multi", tags, ids, [""] * 3, np.eye(3), scores)
    with pytest.raises(UserError, match="1 tags come twice, the first is 'calm'"):
        Predictions("mood", "multi", ["calm", "calm"], ids, [""] * 3, np.eye(3, 2), scores)


def _labelled(made: tuple[np.ndarray, list[tuple[str]]]) -> tuple[np.ndarray, dict[str, list[tuple[str]]]]:
    features, labels = made
    return features, {"kind": labels}
