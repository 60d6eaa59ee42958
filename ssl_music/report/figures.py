"""Figures of a run. Matplotlib without pyplot: nothing global stays changed.

They are drawn once, in the light colours; `svg` puts the page's variables and fonts in place of these, `save` writes
a PNG to paste elsewhere.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music._files import replacing
from ssl_music.report.palette import LIGHT, as_variables
from ssl_music.report.trainings import Curve

WIDTH, HEIGHT = (
    3.6,
    2.4,
)  # inches; at 72 points each, type of 9 points is read at its own size in a column of the page
DPI = 200
FONT = "DejaVu Sans"  # Matplotlib brings it
SMOOTH_FROM = 60  # points; fewer are shown as they are
_STYLE: Any = {
    "font.family": [FONT],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "#ffffff",
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.6,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a tag may hold a dollar sign
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.labelcolor": LIGHT["muted"],
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "ssl_music",  # the same figure is the same file
}


def loss_figure(curves: Mapping[str, Curve], trivial_loss: float | None) -> Figure | None:
    """The losses over training steps, and what guessing costs; None where no loss was logged.

    >>> loss_figure({}, None) is None
    True
    """
    if "train/loss" not in curves:
        return None
    with drawing() as (figure, axes):
        axes.set_title("Loss")
        _line(axes, curves["train/loss"], "train", "hue-0")
        if "valid/loss" in curves:
            steps, values = curves["valid/loss"]
            axes.plot(steps, values, "o-", color=LIGHT["hue-4"], markersize=3, linewidth=1, label="valid")
            axes.legend(loc="lower left")
        if trivial_loss is not None:
            axes.axhline(trivial_loss, color=LIGHT["muted"], linestyle=(0, (4, 3)), linewidth=1)
            axes.annotate(
                f"guessing: {trivial_loss:.2f}", (1, trivial_loss), (0, 3), ha="right", fontsize=8,
                color=LIGHT["muted"], xycoords=("axes fraction", "data"), textcoords="offset points",
            )  # fmt: skip
            axes.set_ylim(top=max(axes.get_ylim()[1], trivial_loss * 1.08))
        axes.set_xlabel("step")
    return figure


def similarity_figure(curves: Mapping[str, Curve]) -> Figure | None:
    """Mean similarity of two views of one song, and of different songs: collapsed where they meet."""
    named = {"train/positive_similarity": "same song", "train/negative_similarity": "different songs"}
    if not all(name in curves for name in named):
        return None
    with drawing() as (figure, axes):
        axes.set_title("Cosine similarity of projections")
        for (name, label), colour in zip(named.items(), ("hue-2", "hue-4"), strict=True):
            _line(axes, curves[name], label, colour)
        axes.legend(loc="best")
        axes.set_xlabel("step")
    return figure


def rank_figure(curves: Mapping[str, Curve]) -> Figure | None:
    """Effective rank: over how many dimensions the embeddings of a batch spread; collapsed where it falls to 1."""
    prefix = "train/effective_rank_"
    named = sorted(name for name in curves if name.startswith(prefix))
    if not named:
        return None
    with drawing() as (figure, axes):
        axes.set_title("Effective rank")
        for name, colour in zip(named, ("hue-0", "hue-1", "hue-3"), strict=False):
            _line(axes, curves[name], name.removeprefix(prefix), colour)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        axes.legend(loc="best")
        axes.set_xlabel("step")
    return figure


@contextmanager
def drawing(width: float = WIDTH, height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    """A figure of so many inches with one panel, to be drawn in the style of the rest."""
    with styled():
        figure = Figure((width, height), dpi=DPI, layout="constrained")
        yield figure, figure.add_subplot()


def svg(figure: Figure, label: str) -> str:
    """The figure for inside a page: its colours and fonts are the page's; `label` says in words what it shows."""
    buffer = StringIO()
    with styled():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # the style would hold for the whole page; the sizes are the page's business
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = as_variables(text.replace(f"'{FONT}'", "var(--sans)"))
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def save(figure: Figure, path: Path) -> None:
    """The figure as PNG, whole or absent."""
    with styled(), replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight", pad_inches=0.15)


def _line(axes: Axes, curve: Curve, label: str, colour: str) -> None:
    """A curve; a long one pale, under its running mean."""
    steps, values = curve
    if len(values) < SMOOTH_FROM:
        axes.plot(steps, values, color=LIGHT[colour], label=label)
        return
    axes.plot(steps, values, color=LIGHT[colour], alpha=0.25, linewidth=0.8)
    width = max(3, len(values) // 25) | 1
    reach = width // 2
    sums = np.cumsum(np.concatenate([[0.0], values]))
    first = np.maximum(np.arange(len(values)) - reach, 0)
    behind = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    axes.plot(steps, (sums[behind] - sums[first]) / (behind - first), color=LIGHT[colour], label=label)


def drawable(text: str) -> str:
    """A name from outside as Matplotlib can draw it: on one line, and it leaves out what begins with an underscore.

    >>> drawable("_a\\n\\udcff")
    ' _a ?'
    """
    text = " ".join(text.encode(errors="replace").decode().split())
    return f" {text}" if text.startswith("_") else text


@contextmanager
def styled() -> Iterator[None]:
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name in a script the font lacks
        yield
