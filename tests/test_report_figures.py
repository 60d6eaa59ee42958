"""Figures of tags, tasks, few labels and altered sound: they hold what they were given, every letter is legible."""

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from report_figures_toy import ENCODERS, assert_legible, letters, tag_facts, tags

from ssl_music.errors import UserError
from ssl_music.report.bars import tag_figures, tag_rows
from ssl_music.report.comparison import (
    bench_figures,
    bench_rows,
    difference_figure,
    difference_rows,
)
from ssl_music.report.efficiency import efficiency_figure, efficiency_rows
from ssl_music.report.figures import svg
from ssl_music.report.lettering import apart, flowed, shortened, width_inches
from ssl_music.report.palette import LIGHT, encoder_colours
from ssl_music.report.robust import robustness_figures, robustness_rows
from ssl_music.report.sheet import looks


def words(figures: list) -> str:
    return "\n".join(text for figure in figures for text, _ in letters(figure))


@pytest.mark.parametrize(("count", "encoders"), [(1, 1), (2, 2), (24, 4), (25, 1), (130, 3), (300, 1)])
def test_tags_are_legible_by_two_and_by_hundreds(count: int, encoders: int) -> None:
    results = {name: tag_facts(count, seed=number) for number, name in enumerate(ENCODERS[:encoders])}
    figures = tag_figures(results)
    for figure in figures:
        assert_legible(figure)
        assert figure.get_figheight() <= 11.8  # a page
    told = words(figures)
    for number in range(len(tags(8)), count - 1):
        assert f"tag {number - 8}\n" in told
    assert told.count("2,000") == 0  # support, not the size of the split


def test_tags_with_most_tracks_come_first_and_dots_stand_at_their_scores() -> None:
    facts = tag_facts(30)
    (figure,) = tag_figures({"CLMR": facts})
    left, right = figure.axes[1:]
    drawn = np.concatenate([axes.lines[0].get_xdata() for axes in (left, right)])  # type: ignore[arg-type]
    expected = sorted(facts["per_tag"], key=lambda tag: -tag["support"])
    np.testing.assert_allclose(drawn, [tag["scores"]["roc_auc"][0] for tag in expected])
    whiskers = [line for line in left.collections if isinstance(line, LineCollection)][-1].get_segments()
    np.testing.assert_allclose(
        [segment[:, 0] for segment in whiskers], [tag["scores"]["roc_auc"][1:] for tag in expected[:15]]
    )


def test_a_score_that_is_no_number_is_not_drawn() -> None:
    facts = tag_facts(3)
    facts["per_tag"][0]["scores"]["roc_auc"] = [None, None, None]
    facts["per_tag"][1]["units"] = 1
    (figure,) = tag_figures({"CLMR": facts})
    full, hollow, _ = figure.axes[1].lines
    assert np.isfinite(np.asarray(full.get_xdata(), float)).sum() == 1
    assert len(np.asarray(hollow.get_xdata())) == 1 and hollow.get_markerfacecolor() == LIGHT["paper"]
    rows = tag_rows({"CLMR": facts})
    assert rows[-1]["CLMR"] is None and rows[-1]["tag"] == facts["per_tag"][0]["tag"]


def test_chance_of_a_tag_depends_on_the_metric() -> None:
    facts = tag_facts(3)
    rows = tag_rows({"CLMR": facts}, "pr_auc")
    assert [row["chance"] for row in rows] == [row["tracks"] / 2000 for row in rows]
    assert {row["chance"] for row in tag_rows({"CLMR": facts}, "roc_auc")} == {0.5}


def test_rows_of_tags_hold_every_number_and_tags_that_were_not_scored() -> None:
    results = {name: tag_facts(4, seed=seed, missing=["never heard"]) for seed, name in enumerate("ab")}
    rows = tag_rows(results)
    assert [row["scored"] for row in rows] == ["yes"] * 4 + ["no"] and rows[-1]["tag"] == "never heard"
    for row in rows[:-1]:
        for name, facts in results.items():
            (tag,) = [tag for tag in facts["per_tag"] if tag["tag"] == row["tag"]]
            assert [row[name], row[f"{name} low"], row[f"{name} high"]] == tag["scores"]["roc_auc"]
            assert row["tracks"] == tag["support"]
    assert len({tuple(row) for row in rows}) == 1  # the same columns in each
    assert "never heard" in words(tag_figures(results))
    many = [f"rare tag number {number}" for number in range(400)]
    (figure,) = tag_figures({"a": tag_facts(4, missing=many)})
    assert_legible(figure)
    assert "more" in words([figure])


def test_numbers_may_be_far_below_chance_and_above_one() -> None:
    """R² has no lower end: an arrow stands for what goes on; an error in beats per minute has no upper one."""
    facts = {**tag_facts(2), "chance": {"r2": 0.0}}
    for tag, value in zip(facts["per_tag"], (-7.0, 0.6), strict=True):
        tag["scores"] = {"r2": [value, value - 0.1, value + 0.1], "mean_absolute_error": [12.0, 9.0, 14.0]}
    (figure,) = tag_figures({"CLMR": facts})
    assert_legible(figure)
    inside, _, arrow = figure.axes[1].lines
    assert arrow.get_marker() == "<" and np.ravel(arrow.get_xdata()).tolist() == [-1.0]
    assert np.ravel(inside.get_xdata()).tolist() == [0.6]
    assert [row["CLMR"] for row in tag_rows({"CLMR": facts})] == [0.6, -7.0]
    (figure,) = tag_figures({"CLMR": facts}, "mean_absolute_error")
    assert figure.axes[1].get_xlim()[1] >= 14


def test_no_tags_no_figure_and_unknown_names_are_told() -> None:
    assert tag_figures({}) == [] and tag_rows({}) == []
    assert tag_figures({"a": {**tag_facts(1), "per_tag": []}}) == []
    with pytest.raises(UserError, match="metric of tags 'roc_auk'; did you mean 'roc_auc'"):
        tag_figures({"a": tag_facts(2)}, "roc_auk")
    with pytest.raises(UserError, match="unknown encoder 'b'"):
        tag_figures({"a": tag_facts(2)}, shown=["b"])


def fractions(encoders: int, shares: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 1.0)) -> dict[str, Any]:
    curves = {}
    for number, name in enumerate(ENCODERS[:encoders]):
        values = [0.9 - 0.002 * number + 0.1 * math.log10(share) for share in shares]
        curves[name] = [
            {
                "fraction": share,
                "tracks": round(8000 * share),
                "runs": [value - 0.01, value + 0.01],
                "value": value,
                "low": None if share == 1 else value - 0.5,
                "high": None if share == 1 else value + 0.5,
            }
            for share, value in zip(shares, values, strict=True)
        ]
    labels = {f"{share:g}": round(8000 * share) for share in shares}
    return {
        "column": "mood",
        "metric": "roc_auc",
        "chance": 0.5,
        "fractions": list(shares),
        "labels": labels,
        "curves": curves,
    }


@pytest.mark.parametrize("encoders", [1, 4, 15])
@pytest.mark.parametrize("shares", [(0.1,), (0.01, 0.02, 0.05, 0.1, 1.0), tuple(np.arange(1, 13) / 12)])
def test_label_efficiency_is_legible(encoders: int, shares: tuple[float, ...]) -> None:
    facts = fractions(encoders, shares)
    figure = efficiency_figure(facts)
    assert_legible(figure)
    panel = figure.axes[1]
    assert panel.get_xscale() == "log"
    for points, line in zip(facts["curves"].values(), panel.lines, strict=False):
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [point["value"] for point in points])
    assert panel.get_xticklabels()[-1].get_text().startswith(f"{100 * shares[-1]:g} %")


def test_label_efficiency_as_rows_and_without_a_curve() -> None:
    facts = fractions(2)
    rows = efficiency_rows(facts)
    assert len(rows) == 10
    assert [row["value"] for row in rows[:5]] == [point["value"] for point in facts["curves"][ENCODERS[0]]]
    assert [float(run) for run in rows[0]["runs"].split()] == pytest.approx(facts["curves"][ENCODERS[0]][0]["runs"])
    assert rows[4]["low"] is None
    with pytest.raises(UserError, match="no curve has a point"):
        efficiency_figure({**facts, "curves": {}})


def test_chance_far_below_is_told_and_not_drawn() -> None:
    facts = fractions(1)
    assert "chance: 0.010, below" in words([efficiency_figure({**facts, "chance": 0.01})])
    assert "dashed: chance" in words([efficiency_figure({**facts, "chance": 0.68})])


def robustness(encoders: int, effects: int, *, scored: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, name in enumerate(ENCODERS[:encoders]):
        found[name] = {}
        for effect in range(effects):
            strengths = [0.0, *(-1000.0 * 1.5**step for step in range(3 + effect % 5))]
            found[name][f"effect {effect} of a very long name indeed" if effect == 1 else f"effect {effect}"] = [
                {
                    "strength": strength,
                    "unit": "semitones per second" if effect else "Hz",
                    "score": [0.9 - 0.05 * step - 0.01 * number, 0.3, 0.95] if scored else None,
                    "cosine": [1 - 0.1 * step, None, None] if step else [1.0, 1.0, 1.0],
                }
                for step, strength in enumerate(strengths)
            ]
    return {
        "column": "mood" if scored else "",
        "metric": "roc_auc",
        "chance": 0.5 if scored else None,
        "encoders": found,
    }


@pytest.mark.parametrize(("encoders", "effects", "scored"), [(1, 1, True), (3, 13, True), (15, 4, False)])
def test_robustness_is_legible(encoders: int, effects: int, scored: bool) -> None:
    facts = robustness(encoders, effects, scored=scored)
    figures = robustness_figures(facts)
    for figure in figures:
        assert_legible(figure)
    panels = [axes for figure in figures for axes in figure.axes[1:]]
    assert len(panels) == effects * (1 + scored)
    assert len({axes.get_ylim() for axes in panels}) == 1 + scored  # scales are shared
    assert {axes.get_xticklabels()[0].get_text() for axes in panels} <= {"clean", ""}
    curve = panels[0].lines[1 if scored else 0]  # behind the line of chance
    first = facts["encoders"][ENCODERS[0]]["effect 0"]
    measure = "score" if scored else "cosine"
    np.testing.assert_allclose(np.asarray(curve.get_ydata(), float), [point[measure][0] for point in first])
    rows = robustness_rows(facts)
    assert len(rows) == sum(len(curve) for own in facts["encoders"].values() for curve in own.values())
    assert rows[1]["strength"] == -1000 and rows[1]["cosine"] == 0.9 and rows[1]["cosine low"] is None


def test_robustness_of_nothing() -> None:
    assert robustness_figures({"column": "", "metric": "", "encoders": {}}) == []
    with pytest.raises(UserError, match="unknown encoder 'x'"):
        robustness_figures(robustness(1, 1), shown=["x"])


@pytest.mark.parametrize("count", [1, 5, 14])
def test_differences_are_sorted_and_those_that_hold_zero_are_hollow(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count) * 0.05
    differences = {
        name: [value, value - 0.04, value + 0.04] for name, value in zip(ENCODERS[1:], values.tolist(), strict=False)
    }
    figure = difference_figure(differences, reference=ENCODERS[5], metric="roc_auc")
    assert_legible(figure)
    dots = [line for line in figure.axes[1].lines if line.get_marker() != "None"]
    np.testing.assert_allclose([float(np.ravel(dot.get_xdata())[0]) for dot in dots], -np.sort(-values))
    hollow = [dot.get_markerfacecolor() == LIGHT["paper"] for dot in dots]
    assert hollow == [abs(value) <= 0.04 for value in -np.sort(-values)]
    rows = difference_rows(differences, reference="CLMR")
    assert [row["difference"] for row in rows] == sorted(values, reverse=True)
    assert [row["holds zero"] == "yes" for row in rows] == hollow


def bench(encoders: int, tasks: int) -> dict[str, Any]:
    names = ENCODERS[:encoders]
    return {
        "table": {
            f"task {task}" + " of a very long name" * (task % 2): {
                name: [0.9 - 0.03 * number, 0.8 - 0.03 * number, 1 - 0.03 * number]
                for number, name in enumerate(names)
            }
            for task in range(tasks)
        },
        "best": {"task 0": names[0]},
        "ties": {"task 0": names[1:2]},
        "mean_rank": {name: float(number + 1) for number, name in enumerate(names)},
    }


@pytest.mark.parametrize(("encoders", "tasks"), [(1, 1), (4, 9), (15, 14)])
def test_a_bench_is_legible(encoders: int, tasks: int) -> None:
    facts = bench(encoders, tasks)
    figures = bench_figures(facts)
    for figure in figures:
        assert_legible(figure)
    panels = [axes for figure in figures for axes in figure.axes[1:]]
    assert len(panels) == tasks
    dots = panels[0].lines
    assert [float(np.ravel(dot.get_xdata())[0]) for dot in dots] == [
        own[0] for own in facts["table"]["task 0"].values()
    ]
    full = [dot.get_markerfacecolor() != LIGHT["paper"] for dot in dots]
    assert full == [True, True][:encoders] + [False] * (encoders - 2)
    rows = bench_rows(facts)
    assert [row["mean rank"] for row in rows] == sorted(facts["mean_rank"].values())
    assert rows[0]["task 0 low"] == 0.8


def test_an_encoder_that_lacks_a_task_has_no_dot_there() -> None:
    facts = bench(3, 2)
    del facts["table"]["task 0"][ENCODERS[1]]
    (figure,) = bench_figures(facts)
    assert math.isnan(float(np.ravel(figure.axes[1].lines[1].get_xdata())[0]))
    assert bench_rows(facts)[1]["task 0"] is None


def test_colours_are_the_palettes_alone() -> None:
    """Only those follow the reader into the dark."""
    drawn = [
        *tag_figures({name: tag_facts(30, seed=number) for number, name in enumerate(ENCODERS[:3])}),
        efficiency_figure(fractions(8)),
        *robustness_figures(robustness(3, 2)),
        difference_figure({"a": [0.1, 0.0, 0.2]}, reference="b", metric="accuracy"),
        *bench_figures(bench(9, 2)),
    ]
    for figure in drawn:
        text = svg(figure, "what it shows")
        assert "#" not in text.replace("url(#", "").replace('href="#', ""), text


def test_an_encoder_looks_the_same_in_every_figure() -> None:
    colours = encoder_colours(ENCODERS)
    assert [colours[name] for name in ENCODERS[2:4]] == ["muted", "muted"]
    hues = [colour for colour in colours.values() if colour.startswith("hue")]
    assert len(hues) == len(set(hues)) == 6
    whole = looks(ENCODERS, colours)
    assert looks(ENCODERS[3:], colours) == {name: whole[name] for name in ENCODERS[3:]}
    assert len({(look.colour, look.marker) for look in whole.values()}) == len(ENCODERS)


def test_shortened_names_fit_and_keep_both_ends() -> None:
    for name in ENCODERS:
        for inches in (0.3, 1.0, 3.0):
            short = shortened(name, inches=inches, points=9)
            assert width_inches(short, points=9) <= inches or len(short) <= 2
    assert shortened("abcdefghijklmnopqrstuvwxyz", inches=1, points=9).startswith("a")
    assert shortened("abcdefghijklmnopqrstuvwxyz", inches=1, points=9).endswith("z")
    for line in flowed([f"tag {n}" for n in range(90)], inches=2.0, points=9, lines=4):
        assert width_inches(line, points=9) <= 2.0


def test_labels_move_apart_as_little_as_can_be() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        wanted = generator.uniform(0, 10, 8)
        placed = apart(wanted, gap=1.0, low=-1.0, high=11.0)
        inorder = np.sort(placed)
        assert (np.diff(inorder) >= 1 - 1e-9).all() and inorder[0] >= -1 - 1e-9 and inorder[-1] <= 11 + 1e-9
        np.testing.assert_array_equal(np.argsort(placed), np.argsort(wanted))
        worse = [np.sort(wanted) * share + np.linspace(-1, 11, 8) * (1 - share) for share in np.linspace(0, 1, 11)]
        allowed = [other for other in worse if (np.diff(other) >= 1).all()]
        cost = ((placed - wanted) ** 2).sum()
        assert all(((other - np.sort(wanted)) ** 2).sum() >= cost - 1e-9 for other in allowed)
