"""The verb `report`."""

from __future__ import annotations

from pathlib import Path


def report(
    runs: list[Path],
    out: Path | None = None,
    encoder: str | None = None,
    songs: list[str] | None = None,
    title: str | None = None,
) -> None:
    """Write one page of everything that runs and evaluations found: numbers, curves, maps, songs, provenance.

    Writes page.html, which needs no network; MODEL_CARD.md of the same data; and figures/ with every figure as PNG
    and every table as CSV.

    Args:
        runs: folders of quickstart, bench, pretrain or embed, or with evaluations; or single .json files of those.
        out: the folder to write; by default the first run.
        encoder: whose tags, map and card to show; by default the quickstart's, else the best.
        songs: ids of tracks to show over time; by default three of the test split.
        title: of the page and of the card.
    """
    from ssl_music import report as reporting

    page = reporting.page(*runs, out=out, encoder=encoder, songs=songs or (), title=title)
    print(f"page: {page}")
    print(f"card: {page.parent / 'MODEL_CARD.md'}")
