"""The verbs of `ssl-music`, each one typed function. Heavy modules are imported inside, when a verb runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ssl_music._files import made_folder
from ssl_music.cli.benching import bench_probe
from ssl_music.cli.exporting import export
from ssl_music.cli.importing import import_
from ssl_music.cli.listening import listen
from ssl_music.cli.pooling import bench_pooling
from ssl_music.cli.probing import probe, score
from ssl_music.cli.reporting import report
from ssl_music.cli.robust import robustness
from ssl_music.cli.show import print_rows, shown, strongest
from ssl_music.cli.taggrams import taggram
from ssl_music.cli.training import pretrain, tell_duplicates
from ssl_music.errors import UserError

if TYPE_CHECKING:
    from ssl_music.catalogs import Catalog
    from ssl_music.methods import Method


def check(directory: Path) -> int:
    """Verify the checksums of a pack, or of a directory of vectors.

    Args:
        directory: what `ssl-music pack` or `ssl-music embed` wrote.
    """
    from ssl_music.pack import verify

    problems = verify(directory)
    for problem in problems:
        print(problem)
    print(f"{directory}: {len(problems)} problems" if problems else f"{directory}: every checksum is right")
    return 1 if problems else 0


def pack(
    catalog: Catalog,
    out: Path,
    sample_rate: int = 22050,
    workers: int | None = None,
    export: Path | None = None,
) -> None:
    """Decode a catalog once into a memory-mapped store that training reads at memory speed.

    Args:
        catalog: what music there is; Folder, Table or Synthetic.
        out: the directory to write; run again and it goes on where it was.
        sample_rate: Hz; take the rate of the encoder to be trained (SampleCNN 22050).
        workers: decoding processes; every core by default.
        export: also write the table of tracks there, as .csv or .parquet.
    """
    from ssl_music import pack as packing

    packed = packing.pack(catalog, out, sample_rate=sample_rate, workers=workers)
    print(packed.summary())
    if export is not None:
        packing.export(out, export)
        print(f"table: {export}")


def embed(
    checkpoint: Path,
    catalog: Catalog,
    out: Path,
    hop_seconds: float | None = None,
    batch_size: int = 16,
    device: str = "auto",
) -> None:
    """Turn every track of a catalog into vectors: one per chunk and one per track.

    Args:
        checkpoint: the .safetensors file of an encoder or a tagger, or the .onnx file that export made of it.
        catalog: Folder, Table, Synthetic or Pack.
        out: the directory to write; run again and it goes on where it was.
        hop_seconds: distance of chunk starts; by default one clip, so that chunks do not overlap.
        batch_size: chunks in one forward pass.
        device: auto, cpu, cuda, cuda:1 …
    """
    from ssl_music.embed import embed as run
    from ssl_music.export import encoder_in

    encoder = encoder_in(checkpoint)
    tell_duplicates(catalog)
    vectors = run(
        catalog,
        encoder,
        out,
        hop_seconds=hop_seconds,
        batch_size=batch_size,
        device=device,
    )
    print(vectors.summary())


def index(vectors: Path, out: Path | None = None, kind: Literal["auto", "exact", "ivf"] = "auto") -> None:
    """Build a search index over vectors; exact for small catalogs.

    Args:
        vectors: what `ssl-music embed` wrote.
        out: the directory to write; by default `index` inside the vectors' directory.
        kind: exact, ivf (approximate with an exact second look), or auto: exact up to 50,000 tracks.
    """
    from ssl_music import index as indexing
    from ssl_music.vectors import Vectors

    print(indexing.build(Vectors(vectors), out or vectors / "index", kind=kind).summary())


def search(
    query: str,
    index: Path,
    checkpoint: Path | None = None,
    k: int = 10,
    start_seconds: float | None = None,
    seconds: float | None = None,
    exclude_artist: bool = False,
    exclude_group: bool = False,
    format: Literal["table", "csv", "json"] = "table",
) -> None:
    """Find the nearest songs to a file, to a track of the catalog, or to a passage of either.

    Args:
        query: an audio file, or the id of a track in the index.
        index: what `ssl-music index` wrote.
        checkpoint: the weights that made the vectors, or their .onnx file; needed for a file.
        k: how many songs.
        start_seconds: where the passage begins.
        seconds: how long the passage is.
        exclude_artist: leave out songs by the query's artist (for a track of the catalog).
        exclude_group: leave out songs of the query's group (for a track of the catalog).
        format: of the output.
    """
    from ssl_music import index as indexing

    found = indexing.Index(index)
    hits = _hits(found, query, checkpoint, k, start_seconds, seconds, exclude_artist, exclude_group)
    rows = [
        {
            "rank": number,
            "similarity": round(hit.similarity, 4),
            "title": hit.title,
            "artist": hit.artist,
            "at_seconds": round(hit.at_seconds, 1),
            "id": hit.id,
        }
        for number, hit in enumerate(hits, 1)
    ]
    print_rows(rows, format)


def _hits(
    found: Any,
    query: str,
    checkpoint: Path | None,
    k: int,
    start_seconds: float | None,
    seconds: float | None,
    exclude_artist: bool,
    exclude_group: bool,
) -> list[Any]:
    if query in found.vectors.row_of and not Path(query).is_file():
        return found.search_track(
            query,
            k,
            start_seconds=start_seconds,
            seconds=seconds,
            exclude_artist=exclude_artist,
            exclude_group=exclude_group,
        )
    if not Path(query).exists():
        from ssl_music.errors import unknown_name

        raise unknown_name("track id (and no such file)", query, sorted(found.vectors.row_of)[:10])
    if checkpoint is None:
        raise UserError("a file has to be embedded first: give --checkpoint, the weights that made the vectors")
    if exclude_artist or exclude_group:
        raise UserError(
            f"{query}: artist and group are only known for tracks of the catalog; give a track id, "
            "or leave --exclude_artist and --exclude_group out"
        )
    from ssl_music.embed import embed_file
    from ssl_music.export import encoder_in

    encoder = encoder_in(checkpoint)
    _, chunks = embed_file(Path(query), encoder, start_seconds=start_seconds or 0.0, seconds=seconds)
    return found.search(chunks.mean(axis=0), k, digest=encoder.digest())


def tag(
    files: list[Path],
    checkpoint: Path,
    top: int = 5,
    hop_seconds: float | None = None,
    pooling: Literal["mean", "vote", "softmax", "max"] = "mean",
    device: str = "auto",
    format: Literal["table", "csv", "json"] = "table",
    out: Path | None = None,
) -> int:
    """Tag files: the probability of every tag a trained tagger knows, averaged over the song or pooled otherwise.

    Args:
        files: audio files, or folders of them.
        checkpoint: the .safetensors file of a tagger, or the .onnx file that export made of it.
        top: how many tags a file gets in the table; csv and json give every tag.
        hop_seconds: distance of chunk starts; by default one clip.
        pooling: of the chunks' probabilities to the song's; `bench pooling` compares them.
        device: auto, cpu, cuda …
        format: of the output.
        out: write there instead of printing.
    """
    from ssl_music.audio import AudioError
    from ssl_music.embed import tag_files
    from ssl_music.export import tagger_in

    if out is not None:
        made_folder(out.parent)
    tagger = tagger_in(checkpoint)
    heard = list(tag_files(files, tagger, pooling=pooling, hop_seconds=hop_seconds, device=device))
    tagged = [(path, found) for path, found in heard if not isinstance(found, AudioError)]
    if format == "table":
        rows: list[dict[str, Any]] = [
            {"file": shown(path), "tags": strongest(tagger.tags, row, top)} for path, row in tagged
        ]
    else:
        rows = [
            {"file": str(path), **{tag: round(float(p), 4) for tag, p in zip(tagger.tags, row, strict=True)}}
            for path, row in tagged
        ]
    print_rows(rows, format, out)
    broken = [found for _, found in heard if isinstance(found, AudioError)]
    for error in broken:
        print(f"not tagged: {error}", file=sys.stderr)
    return 1 if broken else 0


def quickstart(
    catalog: Any,
    method: Method,
    training: dict[str, Any],
    out: Path = Path("runs/quickstart"),
    pieces: int = 400,
    columns: list[str] | None = None,
    seed: int = 42,
    *,
    config: dict[str, Any],
) -> None:
    """The whole way, once: pack, pretrain, embed, probe, index, search, and a page to look at.

    Without --catalog.root it renders its own music and needs nothing else. It trains by recipes/clmr_small.yaml.

    Args:
        catalog: your own folder of music, with labels if you have them.
        method: from the recipe.
        training: from the recipe.
        out: run folder; run again and it goes on where it was.
        pieces: how many pieces of built-in music to render where no folder is given.
        columns: label columns to probe; by default every one.
        seed: of the built-in music, the weights, the crops and the views.
    """
    from ssl_music import quickstart as first_run
    from ssl_music import report

    if catalog is None:
        from ssl_music.catalogs import Synthetic

        catalog = Synthetic(out / "music", pieces=pieces, seed=seed)
    results = first_run.run(catalog, method, training=training, out=out, columns=columns, seed=seed, recipe=config)
    page = report.page(out)
    print_rows([dict(zip(results["table"][0], line, strict=True)) for line in results["table"][1:]], "table")
    print(
        "\n".join(["", *results["verdict"], "", f"page: {page}", "", "next, with your own music:", *results["next"]])
    )


VERBS: dict[str, Callable[..., int | None]] = {
    "quickstart": quickstart,
    "check": check,
    "pack": pack,
    "listen": listen,
    "pretrain": pretrain,
    "embed": embed,
    "probe": probe,
    "score": score,
    "index": index,
    "search": search,
    "tag": tag,
    "taggram": taggram,
    "bench probe": bench_probe,
    "bench pooling": bench_pooling,
    "robustness": robustness,
    "report": report,
    "export": export,
    "import": import_,
}
