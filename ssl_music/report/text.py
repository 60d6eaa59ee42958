"""Small pieces of HTML. Whatever comes from users passes through `escaped`."""

import html
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from ssl_music._ledger import Row
from ssl_music.metrics import Interval


class Cell(NamedTuple):
    """A cell of a table that stands out: best, level, or nothing."""

    text: str
    kind: str = ""


def escaped(value: object) -> str:
    """Text that stands for itself in HTML, in elements and in quoted attributes.

    >>> escaped("</script> & \\"co\\"")
    '&lt;/script&gt; &amp; &quot;co&quot;'
    """
    return html.escape(str(value), quote=True)


def titled(row: Row) -> str:
    """The title of a song, or the name of its file.

    >>> titled(Row("a/1.ogg", title="Blue")), titled(Row("a/1.ogg"))
    ('Blue', '1')
    """
    return row.title or PurePath(row.id).stem or row.id


def named(row: Row) -> str:
    """What people call a song: title and artist.

    >>> named(Row("a/1.ogg", title="Blue", artist="Ada"))
    'Blue — Ada'
    """
    return f"{titled(row)} — {row.artist}" if row.artist else titled(row)


def shown_labels(labels: Mapping[str, Sequence[str]]) -> list[str]:
    """One line a label column.

    >>> shown_labels({"genre": ("folk",), "mood": ("calm", "dark"), "key": ()})
    ['genre: folk', 'mood: calm, dark']
    """
    return [f"{column}: {', '.join(tags)}" for column, tags in labels.items() if tags]


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(75.2)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def section(title: str, *parts: str, id: str) -> str:
    """A part of the page with its heading; without parts, nothing."""
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{id}"><h2>{escaped(title)}</h2>\n{inside}\n</section>' if inside else ""


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph of HTML that is escaped already."""
    return f'<p class="{kind}">{text}</p>' if kind else f"<p>{text}</p>"


def spelled(interval: Interval | Sequence[float] | None, *, signed: bool = False) -> str:
    """A value with its interval; without one where there is none, and a dash for nothing.

    >>> spelled(Interval(0.5, 0.25, 0.75)), spelled([-0.5, float("nan"), float("nan")]), spelled(None)
    ('0.500 [0.250, 0.750]', '−0.500', '–')
    >>> spelled(Interval(0.05, -0.01, 0.11), signed=True)
    '+0.050 [−0.010, +0.110]'
    """
    if interval is None or interval[0] != interval[0]:
        return "–"
    form = "{:+.3f}" if signed else "{:.3f}"
    value, low, high = (form.format(round(number, 3) + 0.0).replace("-", "−") for number in interval)
    return value if interval[1] != interval[1] else f"{value} [{low}, {high}]"


def table(
    heading: Sequence[str],
    lines: Sequence[Sequence[str | Cell]],
    *,
    foot: Sequence[Sequence[str]] = (),
    kind: str = "",
    caption: str = "",
) -> str:
    """A table of plain texts: names to the left, numbers to the right; it scrolls by itself where it is too wide.

    `caption` is read out before it; `foot` are lines that belong to the columns, not to the rows.
    """
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in heading)
    body = "".join(f"<tr>{_first(line[0])}{''.join(map(_cell, line[1:]))}</tr>" for line in lines)
    below = "".join(f"<tr>{_first(line[0])}{''.join(map(_cell, line[1:]))}</tr>" for line in foot)
    above = f"<caption>{escaped(caption)}</caption>" if caption else ""
    below = f"<tfoot>{below}</tfoot>" if below else ""
    return (
        f'<div class="scrolls"><table class="{kind}">{above}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{below}</table></div>"
    )


def _first(cell: str | Cell) -> str:
    return f'<th scope="row">{escaped(cell.text if isinstance(cell, Cell) else cell)}</th>'


def _cell(cell: str | Cell) -> str:
    text, kind = cell if isinstance(cell, Cell) else (cell, "")
    inside = escaped(text)
    if "[" in text:  # an interval that does not fit its column goes to the next line as a whole
        inside = inside.replace(", ", ",&nbsp;")
    return f"<td{f' class={kind}' if kind else ''}>{inside}</td>"


def folded(title: str, small: str, *parts: str, opened: bool = False, kind: str = "") -> str:
    """A part that is opened by a press on its title; nothing of nothing.

    `kind` is "task" where the title is a heading of its own, "long" where paper can do without what is folded.
    """
    inside = "\n".join(part for part in parts if part)
    summary = f"<h3>{escaped(title)}</h3>" if kind == "task" else escaped(title)
    summary += f" <small>{escaped(small)}</small>" if small else ""
    opens = f"{f' class={kind}' if kind else ''}{' open' if opened else ''}"
    return f"<details{opens}><summary>{summary}</summary>\n{inside}\n</details>" if inside else ""


def facts(pairs: Mapping[str, object]) -> str:
    """Names and what they are; empty ones are left out."""
    lines = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in pairs.items()
        if value not in (None, "")
    )
    return f"<dl>{lines}</dl>"


def bar(share: float) -> str:
    """A bar of a share of its width, 0 to 1."""
    return f'<span class="bar"><i style="width: {100 * min(max(share, 0.0), 1.0):.1f}%"></i></span>'
