"""The page of a run: one HTML file with everything inside, and its figures as PNG beside it."""

from pathlib import Path

from matplotlib.figure import Figure

from ssl_music._files import replacing
from ssl_music.report import sections
from ssl_music.report.document import document
from ssl_music.report.figures import loss_figure, rank_figure, save, score_figure, similarity_figure
from ssl_music.report.map import colourings, coordinates, drawn_rows
from ssl_music.report.run import Run
from ssl_music.report.scatter import map_figure, scatter
from ssl_music.report.songs import neighbours
from ssl_music.report.text import paragraph, section


def page(run: Path | str) -> Path:
    """Writes `page.html` into the run folder of a quickstart, with `loss.png`, `similarity.png`, `rank.png`,
    `scores.png` and `map.png` beside it, and returns its path.

    It is made from what lies in the folder, so it can be made again at any time; the same folder gives the same page.
    """
    facts = Run(run)
    curves = {
        "loss": loss_figure(facts.curves, facts.trivial_loss),
        "similarity": similarity_figure(facts.curves),
        "rank": rank_figure(facts.curves),
        "scores": score_figure(facts.scores) if facts.scores else None,
    }
    figures = {name: figure for name, figure in curves.items() if figure is not None}
    the_map, figures["map"] = _map(facts)
    parts = [
        sections.opening(facts),
        sections.verdict(facts),
        sections.scores(facts),
        the_map,
        neighbours(facts),
        sections.training(facts, figures),
        sections.tags(facts),
        sections.timing(facts),
        sections.provenance(facts),
        sections.commands(facts),
    ]
    path = facts.root / "page.html"
    with replacing(path) as temporary:
        # names of files may hold bytes that are no text
        temporary.write_bytes(document(parts, title="ssl_music run").encode(errors="replace"))
    for name, figure in figures.items():
        save(figure, facts.root / f"{name}.png")
    return path


def _map(facts: Run) -> tuple[str, Figure]:
    """The section of the map, and the map as a figure."""
    numbers = drawn_rows(facts.vectors)
    rows = [facts.vectors.rows[number] for number in numbers]
    places = coordinates(facts.vectors.pooled[numbers])
    colours = colourings(rows, facts.columns)
    queries = [query["id"] for query in facts.results.get("neighbours", [])]
    marked = {point: str(queries.index(row.id) + 1) for point, row in enumerate(rows) if row.id in queries}
    left_out = len(facts.vectors) - len(rows)
    note = (
        "Each point is a song; songs that the encoder finds alike lie together (t-SNE of the pretrained embeddings, "
        "which saw no label). Distances between far groups mean nothing. Point at a song for its name, at the legend "
        "to single a class out; the rings are the songs to listen to below."
        + (f" {left_out:,} of {len(facts.vectors):,} songs are not drawn." if left_out else "")
    )
    drawn = scatter(places, rows, colours, marked=marked)
    figure = map_figure(places, colours[0] if colours else None, title=f"{len(rows):,} songs, t-SNE of embeddings")
    return section("Map of the catalog", paragraph(note, kind="note"), drawn, id="map"), figure
