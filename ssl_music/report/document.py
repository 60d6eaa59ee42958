"""One HTML file with everything inside: style, script, figures and sounds."""

from collections.abc import Sequence
from importlib.resources import files

from ssl_music.report import palette
from ssl_music.report.text import escaped

#: the browser itself sees to it that nothing is fetched
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src data:"


def document(parts: Sequence[str], *, title: str, own: str | None = None) -> str:
    """The page that holds `parts`, in light and dark; `own` names a `.css` and a `.js` of this page alone.

    >>> document(["<h1>Hello</h1>"], title="Hello").splitlines()[0]
    '<!doctype html>'
    """
    names = ["page"] if own is None else ["page", own]
    style, script = ("".join(_text(f"{name}.{ending}") for name in names) for ending in ("css", "js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escaped(title)}</title>
<style>
{palette.css()}
{style}</style>
</head>
<body>
<main>
{chr(10).join(part for part in parts if part)}
</main>
<script>
{script}</script>
</body>
</html>
"""


def _text(name: str) -> str:
    return (files("ssl_music.report") / name).read_text(encoding="utf-8")
