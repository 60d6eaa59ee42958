"""Records of evaluations with hostile and long names, and a look at where the letters of a figure lie."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ssl_music._records import Record
from ssl_music.probe import Origin, Predictions, ProbeResult, assembled
from ssl_music.report.figures import styled

ENCODERS = [
    "simclr-clmr",
    "moco-v2",
    "random initialisation",
    "log-mel statistics",
    "日本語のエンコーダー事前学習",
    "a very long name of an encoder: CLMR, 1000 h, SampleCNN with squeeze and excitation, seed 3, batch 512",
    "_hidden",
    "$\\frac{",
    "العربية",
    *(f"encoder {number}" for number in range(6)),
]
HOSTILE = [
    "</script>",
    "$\\frac{",
    "_hidden",
    "日本のポップス",
    "العربية",
    "two\nlines",
    "very slow drum and bass with orchestral strings, choir and a glockenspiel",
    "\udcff",
]


def tags(count: int) -> list[str]:
    return [*HOSTILE, *(f"tag {number}" for number in range(count))][:count]


def predictions(
    count: int, *, kind: str = "multi", items: int = 120, seed: int = 0, skill: float = 1.0
) -> Predictions:
    """Targets that depend on `count` alone; scores that know `skill` of them."""
    generator, noise = np.random.default_rng(count), np.random.default_rng(seed)
    ranks = np.arange(count)
    if kind == "single":
        drawn = np.concatenate([ranks, (generator.random(items - count) ** 2 * count).astype(int)])
        targets = np.eye(count)[drawn]
    else:
        targets = (generator.random((items, count)) < 0.5 / (1 + ranks / 4)).astype(float)
        targets[:count] = np.maximum(targets[:count], np.eye(count))
        targets[-1] = 0
    logits = skill * 2 * targets + noise.normal(size=targets.shape)
    scores = 1 / (1 + np.exp(-logits))
    if kind == "single":
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = [str(item) for item in range(items)]
    return Predictions("mood <b>", kind, tags(count), ids, [""] * items, targets, scores)  # type: ignore[arg-type]


def record(runs: Sequence[Predictions], *, name: str = "CLMR", bootstrap: int = 10) -> Record:
    """As `ProbeResult.save` leaves it, without the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a tag may lack in some draws
        result = assembled(
            list(runs),
            [],
            name=name,
            protocol="linear",
            pool="vectors",
            settings={},
            train_targets=runs[0].targets,
            tracks={"train": 500, "valid": 99, "test": len(runs[0].ids)},
            left_out={"valid": [], "test": []},
            shared_groups=[],
            origin=Origin("toy", "11", "toy.Encoder", "00"),
            seed=0,
            bootstrap=bootstrap,
        )
    return as_record(result)


def as_record(result: ProbeResult) -> Record:
    first = result.test[0]
    arrays = {
        "ids": np.array(first.ids),
        "groups": np.array(first.groups),
        "targets": first.targets,
        "scores": np.stack([run.scores for run in result.test]),
    }
    return Record(Path("toy.json"), "probe", result.as_dict(), arrays)


def tag_facts(count: int, *, seed: int = 0, missing: Sequence[str] = ()) -> dict[str, Any]:
    """Facts of a probe of many tags, without its predictions."""
    generator = np.random.default_rng(seed)
    support = 600 // (1 + np.arange(count))[::-1] + 1  # the rarest first
    values = generator.uniform(0.5, 0.9, count)
    per_tag = [
        {
            "tag": tag,
            "support": int(have),
            "units": int(have),
            "scores": {"roc_auc": [value, value - 0.05, value + 0.05], "pr_auc": [value / 2, value / 4, value]},
        }
        for tag, have, value in zip(tags(count), support, values.tolist(), strict=True)
    ]
    return {
        "column": "mood",
        "chance": {"roc_auc": 0.5},
        "per_tag": per_tag,
        "tracks": {"train": 9000, "test": 2000},
        "left_out": {"valid": ["?"], "test": list(missing)},
    }


def letters(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, and the pixels that it takes."""
    with styled():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        texts: list[Text] = list(figure.texts)
        for axes in figure.axes:
            texts += axes.texts
            if not axes.axison:
                continue
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
                texts += [axis.label, *(label for tick in ticks for label in (tick.label1, tick.label2))]
        drawn = [text for text in texts if text.get_visible() and text.get_text().strip()]
        return [(text.get_text(), text.get_window_extent(renderer)) for text in drawn]


def assert_legible(figure: Figure, *, pixels: float = 1.5) -> None:
    """No text lies on another, none is cut off at the edge of the figure."""
    found = letters(figure)
    assert found
    edges = np.array([box.extents for _, box in found])
    width, height = figure.bbox.size
    cut = (edges[:, :2] < -pixels).any(axis=1) | (edges[:, 2:] > np.add([width, height], pixels)).any(axis=1)
    assert not cut.any(), [found[number][0] for number in np.flatnonzero(cut)]
    for number, (text, box) in enumerate(found):
        for other, beside in found[number + 1 :]:
            across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            down = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            assert across <= pixels or down <= pixels, f"{text!r} lies on {other!r}"
