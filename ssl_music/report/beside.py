"""The files beside a page, under names that stay: figures as PNG, tables as CSV; and what the page shows of them."""

import base64
import copy
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ssl_music._files import replacing, slug
from ssl_music.report.figures import save, svg
from ssl_music.report.text import escaped

WIDE_INCHES = 6.0  #: from here on a figure takes the whole width of the page
LARGEST_SVG = 300_000  #: bytes; a drawing of more parts is shown as PNG, which has no parts
ROOM = 8_000_000  #: bytes of figures in one page; what finds no room any more is only beside it


class Beside:
    """Writes figures and tables into a folder, and says how the page shows them.

    >>> import tempfile
    >>> beside = Beside(Path(tempfile.mkdtemp()))
    >>> beside.within("genre").rows("tags", [{"tag": "folk", "ROC-AUC": 0.9}])
    >>> (beside.folder / "genre" / "tags.csv").read_text().splitlines()
    ['tag,ROC-AUC', 'folk,0.9']
    """

    def __init__(self, folder: Path, *, room: int = ROOM) -> None:
        self.root = self.folder = folder
        self._room = [room]  # shared with the folders inside
        self.written: list[Path] = []

    def within(self, name: str) -> "Beside":
        """The folder inside for one task, training or song."""
        inner = copy.copy(self)
        inner.folder = self.folder / slug(name)
        return inner

    def figure(self, name: str, figure: Figure | None, *, label: str, caption: str = "") -> str:
        """Writes the figure as NAME.png; its HTML, with `label` for those who cannot see it. Nothing of nothing."""
        if figure is None:
            return ""
        path = self.picture(name, figure)
        kind = ' class="wide"' if figure.get_figwidth() >= WIDE_INCHES else ""
        below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
        return f"<figure{kind}>{self._inside(figure, path, label)}{below}</figure>"

    def figures(self, name: str, figures: Sequence[Figure], *, label: str, caption: str = "") -> str:
        """The same of a figure in several sheets, numbered where there are more than one."""
        several = len(figures) > 1
        return "".join(
            self.figure(
                f"{name}-{number}" if several else name,
                figure,
                label=f"{label}, {number} of {len(figures)}" if several else label,
                caption=caption if number == len(figures) else "",
            )
            for number, figure in enumerate(figures, 1)
        )

    def picture(self, name: str, figure: Figure) -> Path:
        """Writes NAME.png alone, for what the page shows in its own way."""
        path = self._path(name, "png")
        save(figure, path)
        return path

    def rows(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Writes rows of the same keys as NAME.csv; none write nothing."""
        if not rows:
            return
        # names of files may hold bytes that are no text
        path = self._path(name, "csv")
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="replace") as handle,
        ):
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _inside(self, figure: Figure, path: Path, label: str) -> str:
        drawn = svg(figure, label)
        if len(drawn) > LARGEST_SVG:
            held = base64.b64encode(path.read_bytes()).decode()
            drawn = f'<img alt="{escaped(label)}" src="data:image/png;base64,{held}">'
        if len(drawn) > self._room[0]:
            return f'<p class="note">{escaped(label)}: {escaped(path.relative_to(self.root.parent))}</p>'
        self._room[0] -= len(drawn)
        return drawn

    def _path(self, name: str, ending: str) -> Path:
        """A file of its own for each name; of the same name again, numbered."""
        stem, number = slug(name), 1
        path = self.folder / f"{stem}.{ending}"
        while path in self.written:
            number += 1
            path = self.folder / f"{stem}-{number}.{ending}"
        self.written.append(path)
        return path
