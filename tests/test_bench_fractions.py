"""Label efficiency: subsets that keep the shares, the same for all; labels so few that a tag is lost; resuming."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_toy import packed
from training_toy import tiny_encoder

from ssl_music._ledger import Row
from ssl_music._records import read_record
from ssl_music.bench import curves
from ssl_music.bench.curves import Trained
from ssl_music.bench.fractions import efficiency_table, label_efficiency
from ssl_music.bench.subsets import check_fractions, nested_subsets
from ssl_music.bench.training import Training
from ssl_music.embed import embed
from ssl_music.errors import UserError
from ssl_music.metrics import balanced_accuracy, student_t_interval
from ssl_music.probe import fit
from ssl_music.probe.fitted import criterion
from ssl_music.vectors import Vectors, VectorsWriter

FRACTIONS = (0.05, 0.1, 0.3, 1.0)


def several_tags(count: int, rates: list[float], seed: int = 0) -> np.ndarray:
    targets = (np.random.default_rng(seed).random((count, len(rates))) < rates).astype(float)
    targets[~targets.any(axis=1), 0] = 1
    return targets


def drawn(targets: np.ndarray, fractions=FRACTIONS, seed: int = 0, ids=None, groups=None) -> list[np.ndarray]:
    ids = [f"{number:05d}" for number in range(len(targets))] if ids is None else ids
    groups = [""] * len(targets) if groups is None else groups
    tags = [f"tag {number}" for number in range(targets.shape[1])]
    return nested_subsets(targets, ids, groups, tags=tags, fractions=fractions, seed=seed, where="music")


def test_single_label_tags_keep_their_share_to_the_track() -> None:
    sizes = [400, 210, 90, 30]
    genre = np.eye(4)[np.repeat(np.arange(4), sizes)]
    for seed in range(3):
        for fraction, mask in zip(FRACTIONS, drawn(genre, seed=seed), strict=True):
            wanted = np.floor(fraction * np.array(sizes) + 0.5)
            extra = max(0, np.floor(fraction * 730 + 0.5) - wanted.sum())  # what rounding lost is drawn from any tag
            have = genre[mask].sum(axis=0)
            assert (have >= wanted).all() and have.sum() == wanted.sum() + extra


def test_several_tags_keep_their_shares() -> None:
    """And are nearer to them than subsets drawn without looking."""
    targets = several_tags(2000, [0.5, 0.3, 0.2, 0.1, 0.05, 0.02])
    blind = []
    for seed in range(5):
        masks = drawn(targets, seed=seed)
        for fraction, mask in zip(FRACTIONS, masks, strict=True):
            wanted = np.floor(fraction * targets.sum(axis=0) + 0.5 + 1e-9)
            have = targets[mask].sum(axis=0)
            assert (have >= wanted).all() and (have <= wanted + np.maximum(2, 0.06 * wanted)).all()
            assert abs(mask.sum() - fraction * 2000) <= max(4, 0.05 * fraction * 2000)
        rows = np.random.default_rng(seed).permutation(2000)[:100]
        blind.append(np.abs(targets[rows].mean(axis=0) - targets.mean(axis=0)).max())
        ours = np.abs(targets[masks[0]].mean(axis=0) - targets.mean(axis=0)).max()
        assert ours < 0.02 < max(blind)


@pytest.mark.parametrize("several", [False, True])
def test_a_smaller_fraction_lies_within_a_larger_one(several: bool) -> None:
    targets = several_tags(500, [0.5, 0.2, 0.1]) if several else np.eye(3)[np.arange(500) % 3]
    masks = drawn(targets, seed=4)
    for small, large in pairwise(masks):
        assert (small <= large).all() and small.sum() < large.sum()
    assert masks[-1].all()
    # in any order, and whatever larger ones are asked for too
    shuffled = drawn(targets, fractions=[1.0, 0.1, 0.05], seed=4)
    assert (shuffled[1] == masks[1]).all() and (shuffled[2] == masks[0]).all()


def test_the_draw_is_of_the_seed_and_the_tracks_not_of_their_order() -> None:
    targets = several_tags(300, [0.5, 0.2, 0.1])
    ids = [f"{number:05d}" for number in range(300)]
    groups = [f"group {number // 3}" if number % 2 else "" for number in range(300)]
    order = np.random.default_rng(1).permutation(300)
    ours = drawn(targets, ids=ids, groups=groups)
    theirs = drawn(targets[order], ids=[ids[row] for row in order], groups=[groups[row] for row in order])
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine[order] == other).all()
    assert any((mine != other).any() for mine, other in zip(ours, drawn(targets, seed=1), strict=True))


def test_every_track_is_drawn_as_often_as_its_share() -> None:
    """Tracks of one tag alone are alike: over many seeds each comes as often as another."""
    genre = np.eye(2)[[0] * 30 + [1] * 10]
    times = np.sum([drawn(genre, fractions=[0.2], seed=seed)[0] for seed in range(400)], axis=0)
    assert np.abs(times / 400 - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / 400)


def test_a_tenth_of_the_labels_comes_from_a_tenth_of_the_groups() -> None:
    """Shares of tags are kept to the track, and nearly every group is there with all its tracks or with none."""
    pieces = np.repeat(np.arange(150), 4)  # four takes of each piece, which have the same tags
    genre = np.eye(3)[np.array([0, 0, 0, 1, 1, 2])[pieces % 6]]
    several = several_tags(150, [0.5, 0.3, 0.1])[pieces]
    for targets, cut in ((genre, 3), (several, 4)):
        masks = drawn(targets, groups=[f"{piece}" for piece in pieces])
        for fraction, mask in zip(FRACTIONS, masks, strict=True):
            wanted = np.floor(fraction * targets.sum(axis=0) + 0.5 + 1e-9)
            assert (targets[mask].sum(axis=0) >= wanted).all()
            assert mask.sum() <= fraction * 600 + 6
            by_group = mask.reshape(150, 4)
            assert (by_group.any(axis=1) & ~by_group.all(axis=1)).sum() <= cut  # one cut short for each tag
            assert by_group.any(axis=1).mean() <= fraction + cut / 150
    apart = drawn(genre)[1].reshape(150, 4)  # as if they were no groups: from three times as many pieces
    assert apart.any(axis=1).mean() > 0.25


def test_without_tags_tracks_are_drawn_evenly() -> None:
    masks = drawn(np.empty((200, 0)))
    assert [mask.sum() for mask in masks] == [10, 20, 60, 200]


def test_a_fraction_that_loses_a_tag_is_an_error_that_says_where_to_begin() -> None:
    genre = np.eye(4)[[0] * 80 + [3] * 60 + [1] * 40 + [2] * 30]
    told = (
        r"music: a fraction of 0.01 of 210 .* leaves no track with 'tag 1' \(40 there\), with 'tag 2' \(30 there\); "
    )
    with pytest.raises(UserError, match=told + r"begin with 0.0167, or leave tags out: drop=\['tag 1', 'tag 2'\]"):
        drawn(genre, fractions=[0.01, 1])
    assert [genre[mask].sum(axis=0).min() for mask in drawn(genre, fractions=[0.0167])] == [1]
    with pytest.raises(UserError, match=r"a fraction of 0.001 of 200 labelled tracks leaves no track at all"):
        drawn(np.empty((200, 0)), fractions=[0.001])


def test_a_tag_that_most_have_keeps_tracks_without_it() -> None:
    common = np.ones((400, 2))
    common[:20, 0], common[:200, 1] = 0, 0
    for seed in range(5):
        (mask,) = drawn(common, fractions=[0.05], seed=seed)
        assert (1 - common[mask]).sum(axis=0).tolist() == [1, 10] and mask.sum() == 20
    with pytest.raises(UserError, match=r"leaves no track without 'tag 0' \(20 there\); begin with 0.025"):
        drawn(common, fractions=[0.02])


@pytest.mark.parametrize("fractions", [[], [0.1, 0.1], [0.0, 1], [-0.1], [float("nan")], [5, 10]])
def test_fractions_that_are_none(fractions: list[float]) -> None:
    with pytest.raises(UserError, match="wanted shares above 0 and up to 1"):
        check_fractions(fractions)


def store(root: Path, *, strength: float, column: str = "mood", changed: str = "", seed: int = 0) -> Vectors:
    """240 tracks of three moods (or several traits, or a speed) that show in the vectors more or less."""
    columns = {"mood": False, "traits": True, "speed": False}
    header: dict[str, Any] = {
        "digest": f"{strength}", "encoder": "a.B", "embedding_dim": 6, "sample_rate": 9, "input_samples": 9,
        "hop_samples": 9, "split_name": "by hand", "catalog_fingerprint": "11", "columns": columns,
    }  # fmt: skip
    generator = np.random.default_rng(seed)
    with VectorsWriter(root, header=header) as writer:
        for number in range(240):
            split, mood = ("train", "train", "valid", "test")[number % 4], number // 4 % 3
            traits = tuple(trait for at, trait in enumerate(("dry", "loud")) if (number // 12 + at) % 3)
            name = f"{number:03d}"
            labels = {"mood": (("calm", "dark", "gay")[mood if name != changed else (mood + 1) % 3],)}
            labels |= {"traits": traits, "speed": (f"{100 + number % 7}",)}
            vector = np.r_[np.eye(3)[mood], "dry" in traits, "loud" in traits, number % 7 / 7] * strength
            row = Row(name, labels=labels, split=split, seconds=1.0)
            writer.append(row, [(vector + generator.standard_normal(6))[None].astype(np.float32)])
        return writer.finish()


def test_curves_of_two_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, poor = store(tmp_path / "good", strength=3.0), store(tmp_path / "poor", strength=0.3, seed=1)
    asked: list[frozenset[str]] = []
    score = curves.Probed.score
    monkeypatch.setattr(
        curves.Probed, "score", lambda self, chosen, seed: asked.append(chosen) or score(self, chosen, seed)
    )
    arguments: dict[str, Any] = {"fractions": (0.1, 0.3, 1), "seeds": 3, "progress": False}
    facts = label_efficiency({"good": good, "poor": poor}, "mood", out=tmp_path / "out", **arguments)
    assert facts["metric"] == "balanced_accuracy" and facts["chance"] == pytest.approx(1 / 3)
    assert facts["labels"] == {"0.1": 12, "0.3": 36, "1": 120} and facts["drawn"] == "tracks"
    assert asked[:7] == asked[7:]  # both encoders had the same labels
    for curve in facts["curves"].values():
        assert [len(point["runs"]) for point in curve] == [3, 3, 1] and curve[-1]["low"] is None
        for point in curve[:-1]:
            assert [point[name] for name in ("value", "low", "high")] == list(student_t_interval(point["runs"]))
    better = [ours["value"] > theirs["value"] for ours, theirs in zip(*facts["curves"].values(), strict=True)]
    assert all(better) and facts["curves"]["good"][0]["value"] > 0.7
    # the record holds which labels were used
    record = read_record(tmp_path / "out" / "fractions.json")
    assert record.kind == "fractions" and record.facts == json.loads(json.dumps(facts))
    ids, masks = record.arrays["ids"], record.arrays["drawn"]  # (N,), (F, S, N)
    assert masks.shape == (3, 3, 120) and set(ids[masks[0, 2]]) == asked[2]
    # a second run asks nothing again, a further fraction only what is new
    asked.clear()
    assert label_efficiency({"good": good, "poor": poor}, "mood", out=tmp_path / "out", **arguments) == facts
    assert not asked
    more = label_efficiency(
        {"good": good}, "mood", out=tmp_path / "out", **{**arguments, "fractions": (0.1, 0.3, 0.6, 1)}
    )
    assert len(asked) == 3 and [more["curves"]["good"][number] for number in (0, 1, 3)] == facts["curves"]["good"]


def test_fraction_one_is_the_probe_without_refit(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", strength=1.0)
    facts = label_efficiency({"a": vectors}, "mood", out=tmp_path / "out", fractions=[1], seeds=2, progress=False)
    fitted = fit(vectors, "mood", refit=False)
    told = fitted.predictions(vectors, vectors.split("test"))
    by_hand = float(balanced_accuracy(told.targets.argmax(axis=1), told.scores.argmax(axis=1)))
    assert facts["curves"]["a"][0]["runs"] == [by_hand] == [criterion("single", told.targets, told.scores)]
    again = fit(vectors, "mood").predictions(vectors, vectors.split("test"))
    assert not np.array_equal(again.scores, told.scores)  # with refit it is another classifier


def test_seeds_of_a_protocol_with_randomness_are_runs_at_fraction_one(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", strength=0.5)
    facts = label_efficiency(
        {"a": vectors}, "traits", out=tmp_path / "out", fractions=[1], seeds=2, protocol="mlp", progress=False
    )
    (point,) = facts["curves"]["a"]
    assert len(point["runs"]) == 2 and point["runs"][0] != point["runs"][1] and facts["metric"] == "roc_auc"
    assert facts["chance"] == 0.5 and point["low"] < point["value"] < point["high"]


def test_numbers(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", strength=3.0)
    facts = label_efficiency(
        {"a": vectors}, "speed", out=tmp_path / "out", fractions=[0.1, 1], seeds=2, regression=True, progress=False
    )
    assert facts["metric"] == "r2" and facts["chance"] == 0 and facts["labels"] == {"0.1": 12, "1": 120}
    first, last = facts["curves"]["a"]
    assert first["value"] < last["value"] < 1


def test_the_table(tmp_path: Path) -> None:
    vectors = store(tmp_path / "v", strength=1.0)
    facts = label_efficiency({"mine": vectors}, "mood", out=tmp_path, fractions=[0.1, 1], seeds=2, progress=False)
    lines = efficiency_table(facts).splitlines()
    first, last = facts["curves"]["mine"]
    assert "balanced accuracy" in lines[0] and "protocol linear" in lines[0] and "by hand" in lines[1]
    assert "2 draws of labels, track by track" in lines[1] and "120 train / 60 valid / 60 test" in lines[1]
    assert lines[3].split() == ["labels", "10", "%", "(12)", "100", "%", "(120)"]
    cells = [f"{first['value']:.3f}", f"[{first['low']:.3f},", f"{first['high']:.3f}]", f"{last['value']:.3f}"]
    assert lines[4].split() == ["mine", *cells]
    assert lines[5].split() == ["chance", "0.333", "0.333"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    ours, theirs = store(tmp_path / "a", strength=1.0), store(tmp_path / "b", strength=1.0, changed="004")
    with pytest.raises(UserError, match=r"b and a are not of the same music .*\(1 tracks of train differ, .*'004'\)"):
        label_efficiency({"a": ours, "b": theirs}, "mood", out=tmp_path / "out", progress=False)
    with pytest.raises(UserError, match="wanted one store of vectors or more"):
        label_efficiency({}, "mood", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"leaves no track with 'calm'.*begin with 0.0125$"):
        label_efficiency({"a": ours}, "mood", out=tmp_path / "out", fractions=[0.01, 1])
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "points.json").write_text("{")
    with pytest.raises(UserError, match=r"points.json: cannot be read"):
        label_efficiency({"a": ours}, "mood", out=tmp_path / "out", fractions=[1], progress=False)


def test_networks_that_learn_the_same_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    music, encoder = packed(tmp_path), tiny_encoder("batch")
    vectors = embed(music, encoder, tmp_path / "vectors", progress=False)
    quick = Training(epochs=2, batch_size=8, learning_rate=0.01)
    scratch = Trained("supervised from scratch", encoder, music, training=quick, device="cpu")
    asked: dict[str, list] = {"mine": [], scratch.name: []}
    for kind in (curves.Probed, curves.Learnt):
        monkeypatch.setattr(
            kind,
            "score",
            lambda self, chosen, seed, score=kind.score: (
                asked[self.name].append((chosen, seed)) or score(self, chosen, seed)
            ),
        )
    arguments: dict[str, Any] = {"fractions": [0.5, 1], "seeds": 2, "trained": [scratch], "progress": False}
    facts = label_efficiency({"mine": vectors}, "pitch", out=tmp_path / "out", **arguments)
    assert asked["mine"][:2] == asked[scratch.name][:2] and len(asked["mine"]) == 3
    assert asked[scratch.name][3][1] == 1  # at fraction 1 the weights still differ between seeds
    assert [len(point["runs"]) for point in facts["curves"][scratch.name]] == [2, 2]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trained").rglob("*")}
    assert label_efficiency({"mine": vectors}, "pitch", out=tmp_path / "out", **arguments) == facts
    assert before == {path: path.stat().st_mtime_ns for path in before}
    other = packed(tmp_path / "other", count=60)
    arguments["trained"] = [Trained(scratch.name, encoder, other, training=quick, device="cpu")]
    with pytest.raises(UserError, match=r"not the same; give the catalog that was embedded|is not a labelled track"):
        label_efficiency({"mine": vectors}, "pitch", out=tmp_path / "out", **arguments)
    with pytest.raises(UserError, match="supervised from scratch: networks learn tags here, not numbers"):
        label_efficiency({"mine": vectors}, "pitch", out=tmp_path / "out", regression=True, **arguments)
