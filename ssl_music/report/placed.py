"""The part of the page with the map of the catalog."""

from ssl_music.report.beside import Beside
from ssl_music.report.findings import Findings
from ssl_music.report.map import colourings, coordinates, drawn_rows
from ssl_music.report.scatter import map_figure, scatter
from ssl_music.report.text import escaped, paragraph, section


def placed(findings: Findings, beside: Beside) -> str:
    """The map of the encoder that the page is about; nothing without its vectors."""
    store = findings.store
    if store is None:
        return ""
    numbers = drawn_rows(store)
    rows = [store.rows[number] for number in numbers]
    places = coordinates(store.pooled[numbers])
    columns = findings.columns(store)
    colours = colourings(rows, columns)
    queries = [query["id"] for query in findings.results.get("neighbours", [])]
    marked = {point: str(queries.index(row.id) + 1) for point, row in enumerate(rows) if row.id in queries}
    left_out = len(store) - len(rows)
    whose = f"of <b>{escaped(findings.featured)}</b>" if findings.featured else f"in {escaped(store.root.name)}"
    note = (
        "Each point is a song; songs that the encoder finds alike lie together (t-SNE of the embeddings "
        f"{whose}). Distances between far groups mean nothing. Point at a song for its name, at the legend to single "
        "a class out."
        + (" The rings are the songs to listen to below." if marked else "")
        + (f" {left_out:,} of {len(store):,} songs are not drawn." if left_out else "")
    )
    inside = beside.within("map")
    inside.rows(
        "map",
        [
            {"id": row.id, "title": row.title, "artist": row.artist, "split": row.split, "x": float(x), "y": float(y)}
            | {column: ", ".join(row.labels.get(column, ())) for column in columns}
            for row, (x, y) in zip(rows, places, strict=True)
        ],
    )
    for colouring in colours:
        title = f"{len(rows):,} songs, t-SNE of embeddings"
        inside.picture(colouring.name, map_figure(places, colouring, title=title))
    return section(
        "Map of the catalog", paragraph(note, kind="note"), scatter(places, rows, colours, marked=marked), id="map"
    )
