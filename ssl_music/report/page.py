"""The report of one or more runs: one HTML file with everything inside, its figures and tables beside it, a card."""

import json
from collections.abc import Sequence
from pathlib import Path

from ssl_music._files import replacing
from ssl_music.report import sections
from ssl_music.report.beside import Beside
from ssl_music.report.card import model_card
from ssl_music.report.document import document
from ssl_music.report.findings import Findings
from ssl_music.report.heard import heard
from ssl_music.report.placed import placed
from ssl_music.report.provenance import provenance
from ssl_music.report.scores import scores, verdict
from ssl_music.report.songs import neighbours
from ssl_music.report.studies import fractions, pooling, robustness
from ssl_music.report.taskwise import taskwise

FIGURES = "figures"  #: the folder beside the page


def page(
    *runs: Path | str,
    out: Path | str | None = None,
    encoder: str | None = None,
    songs: Sequence[str] = (),
    title: str | None = None,
) -> Path:
    """Writes `page.html`, `MODEL_CARD.md` and `figures/` (each figure as PNG, each table as CSV); returns the page.

    It is made from what lies in the RUN folders, so it can be made again at any time; the same folders give the same
    bytes. `out` is the first of them unless given; `encoder` is whose tags are shown, by default the one that a
    quickstart trained, else the best of each task; `songs` are ids of tracks to look at over time.
    """
    options = {
        "--out": None if out is None else str(out),
        "--encoder": encoder,
        "--songs": json.dumps(list(songs)) if songs else None,
        "--title": title,
    }
    findings = Findings(
        runs, encoder=encoder, options={name: value for name, value in options.items() if value is not None}
    )
    first = findings.runs[0]
    folder = Path(out) if out is not None else first if first.is_dir() else first.parent
    beside = Beside(folder / FIGURES)
    parts = {
        "Verdict": verdict(findings),
        "Scores": scores(findings, beside),
        "Task by task": taskwise(findings, beside),
        "With few labels": fractions(findings, beside),
        "When the sound changes": robustness(findings, beside),
        "From segments to a song": pooling(findings, beside),
        "Map": placed(findings, beside),
        "Songs over time": heard(findings, beside, songs=songs),
        "Listen": neighbours(findings),
        "Training": sections.training(findings, beside),
        "Time": sections.timing(findings),
        "Provenance": provenance(findings, beside),
        "Next": sections.commands(findings),
    }
    whole = [sections.opening(findings, title=title), sections.contents(parts), *parts.values()]
    written = folder / "page.html"
    with replacing(written) as temporary:
        # names of files may hold bytes that are no text
        temporary.write_bytes(document(whole, title=title or "ssl_music report").encode(errors="replace"))
    with replacing(folder / "MODEL_CARD.md") as temporary:
        temporary.write_bytes(model_card(findings, title=title).encode(errors="replace"))
    return written
