"""The probe: known separability, scikit-learn at the same penalty, intervals, refusals, printing."""

import json
import time
import warnings
from pathlib import Path

import numpy as np
import probe_toy
import pytest
from probe_toy import SHARES, gaussian
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_music.errors import UserError
from ssl_music.probe import ProbeResult, compare, intervals_apart, probe, table
from ssl_music.probe.fitted import L2_STRENGTHS
from ssl_music.probe.gradient import fit_mlp
from ssl_music.probe.linear import linear_path
from ssl_music.vectors import Vectors


def store(
    root: Path, features: np.ndarray, labels: list[tuple[str, ...]], *, multi_label: bool = False, **how
) -> Vectors:
    """A store with one column, "kind"."""
    return probe_toy.store(root, features, {"kind": labels}, multi=["kind"] if multi_label else (), **how)


def independent_tags(count: int, *, seed: int = 0) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Three tags, each readable along its own axis, less and less well."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 6))
    has = features[:, :3] + random.normal(size=(count, 3)) * [0.3, 1.0, 3.0] > 0.5
    names = np.array(["clear", "fair", "hidden"])
    return features, [tuple(names[row]) or ("none",) for row in has]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_two_gaussians_are_read_as_well_as_they_can_be(tmp_path: Path, kind) -> None:
    features, labels = gaussian(2000, distance=2.0)
    result = probe(store(tmp_path / "v", features, labels), protocol=kind)
    best = norm.cdf(1.0)  # of two unit Gaussians 2 apart, the best rule errs beyond one deviation: .841
    for name in ("balanced_accuracy", "accuracy"):
        assert result.metrics[name].low < best < result.metrics[name].high
    area = norm.cdf(2.0 / np.sqrt(2))  # the difference of two projections: N(2, 2)
    assert result.metrics["roc_auc"].low < area < result.metrics["roc_auc"].high
    assert result.metrics["balanced_accuracy"].high - result.metrics["balanced_accuracy"].low < 0.1


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_noise_gives_chance_inside_the_interval(tmp_path: Path, kind) -> None:
    inside = dict.fromkeys(("balanced_accuracy", "roc_auc"), 0)
    for seed in range(8):
        features, labels = gaussian(500, classes=4, distance=0.0, seed=seed)
        result = probe(store(tmp_path / f"{seed}", features, labels), "kind", protocol=kind, bootstrap=300)
        assert result.chance["balanced_accuracy"] == 0.25
        for name in inside:
            inside[name] += result.metrics[name].low < result.chance[name] < result.metrics[name].high
    assert min(inside.values()) >= 6  # of 8 intervals of 95 %: fewer happens about once in 200 times


def test_many_tags_at_once(tmp_path: Path) -> None:
    features, labels = independent_tags(2000)
    for kind in ("linear", "mlp"):
        result = probe(store(tmp_path / kind, features, labels, multi_label=True), protocol=kind)
        areas = {tag.tag: tag.scores["roc_auc"].value for tag in result.per_tag}
        assert areas["clear"] > areas["fair"] > areas["hidden"] > 0.5
        assert list(result.metrics) == ["roc_auc", "pr_auc"]
        assert result.metrics["roc_auc"].value == pytest.approx(np.mean(list(areas.values())))
        assert result.chance["roc_auc"] == 0.5
        shares = [tag.support / result.tracks["test"] for tag in result.per_tag]
        assert result.chance["pr_auc"] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("l2", [1.0, 0.01, 0.0001])
def test_linear_equals_scikit_learn(l2: float) -> None:
    features, labels = gaussian(300, classes=3, distance=2.0)
    rare = np.random.default_rng(1).random(300) < 0.8
    keep = [row for row in range(300) if labels[row] != ("class 2",) or not rare[row]]
    features, labels = features[keep], [labels[row] for row in keep]
    features = features * np.arange(1, 9) + 5  # other scales and means than 1 and 0
    truth = np.array([int(label[0][-1]) for label in labels])
    scaled = StandardScaler().fit(features)
    strength = 1 / (l2 * len(features))
    (score,) = linear_path(features, np.eye(3)[truth], kind="single", l2_strengths=[l2])
    theirs = LogisticRegression(C=strength, class_weight="balanced", tol=1e-10, max_iter=5000)
    theirs.fit(scaled.transform(features), truth)
    np.testing.assert_allclose(score(features), theirs.predict_proba(scaled.transform(features)), atol=1e-3)

    targets = np.stack([truth == 0, features[:, 3] + features[:, 4] > 12], axis=1).astype(np.float32)
    (score,) = linear_path(features, targets, kind="multi", l2_strengths=[l2])
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=5000)
    for tag in range(2):
        theirs.fit(scaled.transform(features), targets[:, tag])
        expected = theirs.predict_proba(scaled.transform(features))[:, 1]
        np.testing.assert_allclose(score(features)[:, tag], expected, atol=2e-3)


def test_a_path_of_penalties_ends_where_each_alone_ends() -> None:
    features, labels = gaussian(200, classes=3, distance=1.0)
    targets = np.eye(3)[[int(label[0][-1]) for label in labels]]
    path = list(linear_path(features, targets, kind="single", l2_strengths=L2_STRENGTHS))
    for l2, score in zip(L2_STRENGTHS, path, strict=True):
        (alone,) = linear_path(features, targets, kind="single", l2_strengths=[l2])
        np.testing.assert_allclose(score(features), alone(features), atol=1e-3)


def test_noisy_features_ask_for_a_stronger_penalty(tmp_path: Path) -> None:
    features, labels = gaussian(300, distance=1.5)
    wide = np.concatenate([features, np.random.default_rng(1).normal(size=(300, 300))], axis=1)
    result = probe(store(tmp_path / "wide", wide, labels))
    assert result.settings["l2"] >= 0.1
    assert result.metrics["roc_auc"].low > 0.5


def test_constant_and_huge_features_do_no_harm(tmp_path: Path) -> None:
    features, labels = gaussian(500, distance=2.0)
    plain = probe(store(tmp_path / "plain", features, labels))
    more = np.concatenate([features, np.full((500, 1), 0.1), np.zeros((500, 1))], axis=1)
    more[:, 0] *= 1e6
    changed = probe(store(tmp_path / "more", more, labels))
    assert changed.metrics["roc_auc"].value == pytest.approx(plain.metrics["roc_auc"].value, abs=1e-3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_twice_gives_the_same_and_touches_no_global_state(tmp_path: Path, kind) -> None:
    import torch

    vectors = store(tmp_path / "v", *gaussian(300, classes=3, distance=1.0))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = probe(vectors, protocol=kind, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert probe(vectors, protocol=kind, seed=1) == first
    other = probe(vectors, protocol=kind, seed=2)
    assert other.metrics != first.metrics  # at least the bootstrap


def test_order_of_tracks_does_not_matter(tmp_path: Path) -> None:
    features, labels = gaussian(300, classes=3, distance=1.0)
    splits = np.repeat(list(SHARES), [180, 60, 60])
    order = np.random.default_rng(0).permutation(300)
    first = probe(store(tmp_path / "a", features, labels, splits=splits.tolist()))
    shuffled = [labels[row] for row in order]
    second = probe(store(tmp_path / "b", features[order], shuffled, splits=splits[order].tolist()))
    for name in first.metrics:
        assert second.metrics[name].value == pytest.approx(first.metrics[name].value, abs=1e-3)


def test_clips_of_one_group_widen_the_interval(tmp_path: Path) -> None:
    features, labels = gaussian(500, distance=1.5)
    repeated, names = np.repeat(features, 4, axis=0), [label for label in labels for _ in range(4)]
    splits = np.repeat(list(SHARES), [1200, 400, 400]).tolist()
    groups = [f"work {row // 4}" for row in range(2000)]
    alone = probe(store(tmp_path / "alone", features, labels))
    by_track = probe(store(tmp_path / "tracks", repeated, names, splits=splits))
    by_group = probe(store(tmp_path / "groups", repeated, names, splits=splits, groups=groups))
    assert (by_track.unit, by_track.units) == ("tracks", 400)
    assert (by_group.unit, by_group.units) == ("groups", 100)
    for name in by_group.metrics:
        width = {run: result.metrics[name].high - result.metrics[name].low for run, result in
                 (("alone", alone), ("track", by_track), ("group", by_group))}  # fmt: skip
        assert width["group"] > 1.6 * width["track"]  # four copies: twice as wide
        assert width["group"] == pytest.approx(width["alone"], rel=0.2)


def test_a_leak_is_named(tmp_path: Path) -> None:
    features, labels = gaussian(100, distance=2.0)
    groups = [f"work {row}" for row in range(100)]
    groups[90], groups[95], groups[97] = groups[3], groups[3], groups[70]  # test: 80 …, valid: 60 …
    vectors = store(tmp_path / "v", features, labels, groups=groups)
    told = r"2 groups have tracks in 'test'.*the first is 'work 3'"
    with pytest.raises(UserError, match=told + ".*shared_groups allow"):
        probe(vectors)
    with pytest.warns(UserWarning, match=told):
        result = probe(vectors, shared_groups="allow")
    assert result.shared_groups == ["work 3", "work 70"]
    assert "LEAK: 2 groups" in table(result)


def test_a_tag_missing_in_test_is_named_and_not_scored(tmp_path: Path) -> None:
    features, labels = gaussian(200, classes=3, distance=3.0)
    splits = np.repeat(list(SHARES), [120, 40, 40]).tolist()
    splits = [
        "train" if labels[row] == ("class 2",) and split == "test" else split for row, split in enumerate(splits)
    ]
    vectors = store(tmp_path / "v", features, labels, splits=splits)
    with pytest.warns(UserWarning, match="not scored in 'test'.*class 2"):
        result = probe(vectors)
    assert result.left_out == {"valid": [], "test": ["class 2"]}
    assert [tag.tag for tag in result.per_tag] == ["class 0", "class 1"]
    assert result.chance["balanced_accuracy"] == 0.5
    assert result.metrics["balanced_accuracy"].value > 0.8
    assert "not scored in test: class 2" in table(result)
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_tag_missing_in_train_is_one_clear_error(tmp_path: Path, multi_label: bool) -> None:
    features, labels = gaussian(200, classes=3, distance=3.0)
    splits = np.repeat(list(SHARES), [120, 40, 40]).tolist()
    splits = ["test" if label == ("class 2",) and split == "train" else split
              for label, split in zip(labels, splits, strict=True)]  # fmt: skip
    vectors = store(tmp_path / "v", features, labels, splits=splits, multi_label=multi_label)
    in_valid = sum(label == ("class 2",) and split == "valid" for label, split in zip(labels, splits, strict=True))
    expected = rf"no track of the train split 'train'.*class 2: {in_valid} in 'valid', .* drop=\['class 2'\]"
    with pytest.raises(UserError, match=expected):
        probe(vectors)
    result = probe(vectors, drop=["class 2"])
    assert result.tags == ["class 0", "class 1"]
    total = 200 if multi_label else sum(label != ("class 2",) for label in labels)
    assert sum(result.tracks.values()) == total


def test_a_tag_of_other_splits_is_no_part_of_the_task(tmp_path: Path) -> None:
    features, labels = gaussian(200, distance=3.0)
    labels[50:60] = [("elsewhere",)] * 10
    splits = np.repeat(list(SHARES), [120, 40, 40]).tolist()
    splits[50:60] = ["unused"] * 10
    result = probe(store(tmp_path / "v", features, labels, splits=splits))
    assert result.tags == ["class 0", "class 1"]


def test_refusals(tmp_path: Path) -> None:
    features, labels = gaussian(100, distance=1.0)
    vectors = store(tmp_path / "v", features, labels)
    with pytest.raises(UserError, match="did you mean 'linear'"):
        probe(vectors, protocol="liner")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="did you mean 'kind'"):
        probe(vectors, "knd")
    with pytest.raises(UserError, match="did you mean 'test'"):
        probe(vectors, test="tset")
    with pytest.raises(UserError, match="did you mean 'class 1'"):
        probe(vectors, drop=["class1"])
    with pytest.raises(UserError, match="share tracks"):
        probe(vectors, valid="test")
    with pytest.raises(UserError, match="one tag only, 'class 1'"):
        probe(vectors, drop=["class 0"])
    with pytest.raises(UserError, match="one draw or more"):
        probe(vectors, bootstrap=0)
    empty = [*labels[:80], *[()] * 20]
    with pytest.raises(UserError, match="no track of the test split 'test' has a tag"):
        probe(store(tmp_path / "e", features, empty))
    several = [("class 0", "class 1"), *labels[1:]]
    with pytest.raises(UserError, match="single-label, but 1 tracks have more than one"):
        probe(store(tmp_path / "s", features, several))
    everywhere = [(*label, "always") for label in labels]
    with pytest.raises(UserError, match=r"every track of the train split.*drop=\['always'\]"):
        probe(store(tmp_path / "a", features, everywhere, multi_label=True))
    features[7, 3] = np.nan
    with pytest.raises(UserError, match="1 of 100 tracks have vectors with NaN or Inf, the first is '00007'"):
        probe(store(tmp_path / "n", features, labels))


def test_what_is_printed(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", *gaussian(200, classes=3, distance=2.0))
    result = probe(vectors)
    text = table(result)
    for fact in (
        "by hand",
        "fedcba9876543210",
        "0123456789abcdef",
        "my_pkg.MyEncoder",
        "120 train / 40 valid",
    ):
        assert fact in text
    for name in ("balanced accuracy", "ROC-AUC", "PR-AUC", "recall", "chance"):
        assert name in text
    value, low, high = result.metrics["balanced_accuracy"]
    assert f"{value:.3f}  [{low:.3f}, {high:.3f}]   0.333" in text
    assert f"protocol linear (l2 {result.settings['l2']:g}), mean vector of each track" in text
    facts = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert facts["metrics"]["balanced_accuracy"] == [value, low, high]
    assert facts["per_tag"][0]["tag"] == "class 0"


def test_encoders_side_by_side(tmp_path: Path) -> None:
    results: list[ProbeResult] = []
    for name, distance in (("good", 4.0), ("poor", 1.0), ("alike", 1.05)):
        results.append(probe(store(tmp_path / name, *gaussian(500, distance=distance), digest=name)))
    text = compare(results)
    assert "by hand" in text and "fedcba9876543210" in text
    assert [line.split()[0] for line in text.splitlines()[3:7]] == ["good", "poor", "alike", "chance"]
    by_name = {result.name: result for result in results}
    assert intervals_apart(by_name["good"], by_name["poor"], "balanced_accuracy")
    assert intervals_apart(by_name["poor"], by_name["good"], "roc_auc")
    assert not intervals_apart(by_name["poor"], by_name["alike"], "balanced_accuracy")
    with pytest.raises(UserError, match="did you mean 'roc_auc'"):
        intervals_apart(by_name["poor"], by_name["good"], "roc-auc")
    with pytest.raises(UserError, match="no results"):
        compare([])
    features, labels = gaussian(100, distance=1.0)
    with pytest.raises(UserError, match="other and good are not comparable: tracks"):
        compare([*results, probe(store(tmp_path / "other", features, labels))])


def test_the_best_epoch_is_kept() -> None:
    """With labels that are noise the loss on valid soon rises: what is kept is near the base rate, not overfitted."""
    random = np.random.default_rng(0)
    features, targets = random.normal(size=(400, 20)), np.eye(2)[random.integers(0, 2, 400)]
    parts = (features[:200], targets[:200]), (features[200:], targets[200:])
    score = fit_mlp(*parts, kind="single", hidden_dim=64, seed=0).score
    own = -np.log((score(features[:200]) * targets[:200]).sum(axis=1)).mean()
    assert own > 0.55  # memorised it would be near 0; log 2 = .69 knows nothing


def test_probing_is_fast(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    features, labels = gaussian(1000, classes=6, distance=1.0)
    wide = np.concatenate([features, random.normal(size=(1000, 248))], axis=1)
    vectors = store(tmp_path / "v", wide, labels)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # every fit converges
        probe(vectors)
    assert time.perf_counter() - start < 8
