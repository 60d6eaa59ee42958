"""Small pieces of HTML. Whatever comes from users passes through `escaped`."""

import html
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from ssl_music._ledger import Row


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


def table(heading: Sequence[str], lines: Sequence[Sequence[str]], *, foot: Sequence[str] = (), kind: str = "") -> str:
    """A table of plain texts: names to the left, numbers to the right; it scrolls by itself where it is too wide."""
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in heading)
    body = "".join(
        f'<tr><th scope="row">{escaped(line[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in lines
    )
    below = f"<tfoot><tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in foot)}</tr></tfoot>" if foot else ""
    return (
        f'<div class="scrolls"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody>{below}</table></div>"
    )


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
