"""Figures of predictions: curves with the areas of the metrics beside them, squares with the counts of them."""

from typing import Any

import numpy as np
import pytest
from matplotlib.patches import PathPatch
from report_figures_toy import ENCODERS, HOSTILE, assert_legible, letters, predictions, record
from scipy.integrate import trapezoid

from ssl_music import metrics
from ssl_music.errors import UserError
from ssl_music.probe import Predictions
from ssl_music.report.calibration import calibration_figure, calibration_rows
from ssl_music.report.confused import confused, confused_figure, confused_rows
from ssl_music.report.confusion import confusion_figure, confusion_rows, soft_confusion_figure, soft_confusion_rows
from ssl_music.report.curves import (
    GRID,
    precision_at_grid,
    precision_recall_figure,
    precision_recall_rows,
    roc_at_grid,
    roc_figure,
    roc_rows,
)
from ssl_music.report.figures import svg
from ssl_music.report.matrix import NAMED, alike_together

DRAWINGS = (roc_figure, precision_recall_figure, calibration_figure)


def words(figure: Any) -> str:
    return "\n".join(text for text, _ in letters(figure))


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize(("tags", "encoders"), [(2, 1), (9, 4), (70, 1), (3, 15)])
def test_curves_are_legible(kind: str, tags: int, encoders: int) -> None:
    records = {
        name: record([predictions(tags, kind=kind, seed=seed, skill=1 - seed / 20)], name=name)
        for seed, name in enumerate(ENCODERS[:encoders])
    }
    for drawing in DRAWINGS:
        figure = drawing(records)
        assert_legible(figure)
        text = svg(figure, "what it shows")
        assert "#" not in text.replace("url(#", "").replace('href="#', "")


def test_areas_under_the_mean_curves_are_the_macro_metrics() -> None:
    """So the lines and the numbers beside them say the same."""
    own = predictions(12, items=2000)
    records = {"CLMR": record([own])}
    at, mean = np.array([list(row.values()) for row in roc_rows(records)]).T
    assert trapezoid(mean, at) == pytest.approx(np.mean(metrics.roc_auc(own.targets, own.scores)), abs=2e-3)
    recall, precision = np.array([list(row.values()) for row in precision_recall_rows(records)]).T
    assert recall[0] == GRID[1] and recall[-1] == 1
    expected = np.mean(metrics.average_precision(own.targets, own.scores))
    assert precision.mean() == pytest.approx(expected, abs=5e-3)  # steps of equal width
    (line,) = [line for line in roc_figure(records).axes[1].lines if line.get_linewidth() == 1.5]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), mean)


def test_rates_at_the_grid_against_a_naive_loop() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 60)
    scores = generator.integers(0, 9, 60) / 9  # with ties
    precisions, recalls = [], []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        said = scores >= threshold
        precisions.append(truth[said].mean())
        recalls.append(truth[said].sum() / truth.sum())
    for at, found in zip(GRID[1:], precision_at_grid(truth, scores)[1:], strict=True):
        assert found == next(p for p, r in zip(precisions, recalls, strict=True) if r >= at - 1e-12)
    perfect = roc_at_grid(np.array([0, 1]), np.array([0.1, 0.9]))
    np.testing.assert_array_equal(perfect, np.ones(len(GRID)))
    np.testing.assert_allclose(roc_at_grid(np.array([0, 1]), np.array([0.5, 0.5])), GRID)


def test_several_runs_are_averaged_and_a_tag_without_tracks_is_left_out() -> None:
    runs = [predictions(5, seed=seed) for seed in range(3)]
    alone = [np.array([row["a"] for row in roc_rows({"a": record([run])})]) for run in runs]
    np.testing.assert_allclose([row["a"] for row in roc_rows({"a": record(runs)})], np.mean(alone, axis=0))
    targets = runs[0].targets.copy()
    targets[:, 0] = 0
    lacking = Predictions("mood", "multi", runs[0].tags, runs[0].ids, runs[0].groups, targets, runs[0].scores)
    assert "mean over 4 tags" in words(roc_figure({"a": record([lacking])}))
    assert all(np.isfinite(row["a"]) for row in roc_rows({"a": record([lacking])}))


def test_the_diagram_adds_up_to_the_calibration_error() -> None:
    own = predictions(4, kind="single", items=800)
    rows = calibration_rows({"CLMR": record([own])})
    gap = sum(row["predictions"] * abs(row["mean probability"] - row["share that has the tag"]) for row in rows)
    expected = float(metrics.top_label_calibration_error(own.targets, own.scores))
    assert gap / 800 == pytest.approx(expected) == rows[0]["calibration error of all"]
    assert f"ECE {expected:.3f}" in words(calibration_figure({"CLMR": record([own])}))
    assert sum(row["predictions"] for row in rows) == 800
    pairs = calibration_rows({"CLMR": record([predictions(4, items=200)])})
    assert sum(row["predictions"] for row in pairs) == 4 * 200


def test_curves_of_different_questions_are_refused() -> None:
    one, other = predictions(4), predictions(5)
    with pytest.raises(UserError, match="other tracks or tags"):
        roc_figure({"a": record([one]), "b": record([other])})
    with pytest.raises(UserError, match="no records"):
        roc_figure({})
    numbers = Predictions("bpm", "numbers", ["bpm"], ["1", "2", "3"], [""] * 3, np.eye(3)[:, :1], np.ones((3, 1)))
    for refused in (roc_figure, lambda records: confusion_figure(records["a"])):
        with pytest.raises(UserError, match="numbers"):
            refused({"a": record([numbers])})


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("tags", [2, 8, 9, 21, 60, 130])
def test_squares_are_legible(kind: str, tags: int) -> None:
    own = record([predictions(tags, kind=kind, items=3 * tags + 20)], name=ENCODERS[5])
    figures = [soft_confusion_figure(own)] + ([confusion_figure(own)] if kind == "single" else [])
    for figure in figures:
        assert_legible(figure)
        assert len([patch for patch in figure.axes[1].patches if isinstance(patch, PathPatch)]) <= 60
        told = words(figure)
        assert "predicted →" in told and "true ↓" in told
        assert (f"{tags - NAMED + 1} other tags" in told) == (tags > NAMED)
    listed = confused_figure(own)
    if listed is not None:
        assert_legible(listed)


def test_confusions_are_counted_by_name_and_numbered_in_the_square() -> None:
    own = predictions(6, kind="single", items=300)
    expected = metrics.confusion_matrix(own.targets.argmax(axis=1), own.scores.argmax(axis=1), 6)
    rows = confusion_rows(record([own]))
    for row in rows:
        place = own.tags.index(row["true"]), own.tags.index(row["predicted"])
        assert row["tracks called so"] == expected[place]
        assert row["share"] == expected[place] / expected[place[0]].sum()
        assert row["tracks of the true tag"] == own.targets[:, place[0]].sum()
    assert sum(row["tracks called so"] for row in rows) == 300
    figure = confusion_figure(record([own]), order="support")
    numbers = sorted(int(text.get_text()) for text in figure.axes[1].texts)
    assert numbers == sorted(expected[expected > 0].tolist())
    names = [text for text, _ in letters(figure) if text in own.tags]
    support = own.targets.sum(axis=0)
    assert names[0] == own.tags[int(support.argmax())]


def test_shades_stand_where_the_shares_are() -> None:
    own = predictions(30, kind="single", items=300)
    shares = {(row["true"], row["predicted"]): row["share"] for row in soft_confusion_rows(record([own]))}
    figure = soft_confusion_figure(record([own]), order="support")
    order = [own.tags[place] for place in np.argsort(-own.targets.sum(axis=0), kind="stable")]
    most = max(shares.values())
    shade = np.zeros((30, 30))
    for patch in figure.axes[1].patches:
        for (begin, middle), (end, _) in patch.get_path().vertices.reshape(-1, 2, 2):
            shade[int(middle), round(begin) : round(end)] += patch.get_alpha()
    expected = np.array([[shares[true, predicted] / most for predicted in order] for true in order])
    np.testing.assert_allclose(shade, expected, atol=0.04)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_soft_confusion_is_that_of_the_metric_turned_over(kind: str) -> None:
    own = predictions(5, kind=kind)
    rows = soft_confusion_rows(record([own]))
    expected = metrics.soft_confusion_matrix(own.targets, own.scores).T
    found = np.array([row["share"] for row in rows]).reshape(5, 5)
    np.testing.assert_allclose(found, expected)
    assert [row["true"] for row in rows[:5]] == [own.tags[0]] * 5


def test_of_many_classes_rows_keep_their_sums() -> None:
    own = predictions(NAMED + 40, kind="single", items=400)
    figure = confusion_figure(record([own]))
    tracks = [int(text) for text, _ in letters(figure) if text.isdigit()]
    assert sum(tracks) == 400
    assert len(confusion_rows(record([own]))) >= NAMED + 40  # the CSV has them all


def test_several_tags_a_track_have_no_hard_confusion() -> None:
    with pytest.raises(UserError, match="ask for the soft confusion matrix"):
        confusion_figure(record([predictions(3)]))


def test_confused_tags_stand_together() -> None:
    """Blocks of classes that are confused, in a shuffled order, are found again."""
    generator = np.random.default_rng(0)
    block = np.repeat(np.arange(4), 5)
    shuffled = generator.permutation(20)
    shares = np.where(block[:, None] == block, 0.2, 0.0)[np.ix_(shuffled, shuffled)]
    order = alike_together(shares + generator.uniform(0, 0.01, shares.shape))
    assert sorted(order) == list(range(20))
    turns = np.diff(block[shuffled][order]) != 0
    assert turns.sum() == 3
    assert sorted(alike_together(np.full((4, 4), np.nan))) == [0, 1, 2, 3]
    assert alike_together(np.eye(1)).tolist() == [0]


def test_the_planted_confusion_is_the_first_in_the_list() -> None:
    for kind in ("single", "multi"):
        own = predictions(8, kind=kind, items=400, skill=3)
        scores = own.scores.copy()
        taken = (own.targets[:, 2] > 0) & (own.targets[:, 5] == 0)
        scores[taken, 5] = scores[taken].max(axis=1) + 1e-6 if kind == "single" else 0.99
        planted = Predictions("mood", own.kind, own.tags, own.ids, own.groups, own.targets, scores)
        first = confused(record([planted]))[0]
        assert (first.true, first.predicted) == (HOSTILE[2], HOSTILE[5])
        assert first.tracks == taken.sum()
        given = (scores.argmax(axis=1) == 5).astype(float) if kind == "single" else scores[:, 5]
        assert first.share == pytest.approx(given[taken].mean())
        assert first.usual == pytest.approx(given[own.targets[:, 5] == 0].mean())
        assert confused_rows(record([planted]))[0] == first._asdict()


def test_nothing_is_confused_where_all_is_right() -> None:
    own = predictions(4, kind="single")
    right = Predictions("mood", "single", own.tags, own.ids, own.groups, own.targets, own.targets)
    assert confused(record([right])) == [] and confused_figure(record([right])) is None
