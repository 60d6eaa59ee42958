"""The verb `taggram`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from ssl_music.cli.show import print_rows, shown, strongest, write_rows
from ssl_music.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from ssl_music.catalogs import Track
    from ssl_music.taggram import Taggram

#: tags of a song in the printed table
PRINTED = 5
#: names of the tables and pictures of all songs together, which no song's files may have
OWN = ("songs", "artist", "album")


def taggram(
    files: list[Path],
    checkpoint: Path,
    *,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    pooling: Literal["mean", "vote", "softmax", "max"] = "mean",
    top: int = 20,
    by: Literal["artist", "album"] | None = None,
    labels: Path | None = None,
    device: str = "auto",
    out: Path = Path("runs/taggrams"),
) -> int:
    """See what a tagger says over time: a picture of tags × time, a table and a record of each song.

    Each window of a song is tagged by itself; the song as a whole is what --pooling makes of its windows. Writes
    SONG.png, SONG.csv and SONG.json for each, and songs.csv with all of them; --by adds artist.csv and artist.png.

    Args:
        files: audio files, or folders of them.
        checkpoint: the .safetensors file of a tagger, or the .onnx file that export made of it.
        window_seconds: length of the windows; by default the clip that the tagger was trained on.
        hop_seconds: distance of window starts; by default one window.
        pooling: of the windows' probabilities to the song's. In vote a window votes for the tag that it gives the
            highest probability, or, where tags go together, for each of 0.5 or more.
        top: how many tags the pictures show, the song's strongest first; the tables hold all.
        by: also average the songs of each artist, or album.
        labels: a CSV or Parquet table of the folders' files with artist, album or title, as of a Folder; by default
            the files' own tags say these.
        device: auto, cpu, cuda …
        out: the folder to write; a song that is there already, tagged and drawn as is asked, is not heard again.
    """
    from importlib.metadata import version

    from ssl_music.audio import AudioError
    from ssl_music.embed import taggrams
    from ssl_music.export import tagger_in

    tagger = tagger_in(checkpoint)
    tracks = _tracks(files, labels)
    if by and not any(getattr(track, by) for track in tracks):
        raise UserError(f"no file has an {by} in its own tags; give --labels with a column {by}, or leave --by out")
    names = _names(tracks)
    asked = {"version": version("ssl-music"), "tagger": tagger.digest(), "window_seconds": window_seconds,
             "hop_seconds": hop_seconds, "pooling": pooling, "top": top}  # fmt: skip
    every = [asked | _of_track(track) for track in tracks]
    kept = [_kept(out / name, its) for name, its in zip(names, every, strict=True)]
    heard = taggrams(
        [track.path for track, whole in zip(tracks, kept, strict=True) if whole is None],
        tagger,
        window_seconds=window_seconds,
        hop_seconds=hop_seconds,
        device=device,
    )
    broken, songs = [], list[tuple["Track", "np.ndarray"]]()
    for track, name, its, before in zip(tracks, names, every, kept, strict=True):
        if before is not None:
            songs.append((track, before))
            continue
        _, found = next(heard)
        if isinstance(found, AudioError):
            broken.append(found)
            continue
        whole = found.pooled(pooling)
        facts = {"pooling": pooling, "hop_seconds": hop_seconds or found.window_seconds, "tagger": tagger.digest()}
        _write_song(out / name, track, found, whole, facts={**facts, "asked": its}, top=top)
        songs.append((track, whole))
    if songs:
        write_rows([_song_row(track, tagger.tags, whole) for track, whole in songs], "csv", out / "songs.csv")
        print_rows(
            [{"file": shown(track.path), "tags": strongest(tagger.tags, whole, PRINTED)} for track, whole in songs],
            "table",
        )
        if by:
            _write_groups(out, by, songs, tagger.tags, top=top)
        count = "1 song" if len(songs) == 1 else f"{len(songs)} songs"
        print(f"{count}, {pooling} of their windows: pictures, tables and records in {out}")
    for error in broken:
        print(f"not tagged: {error}", file=sys.stderr)
    return 1 if broken else 0


def _tracks(files: Sequence[Path], labels: Path | None) -> list[Track]:
    from ssl_music.catalogs import Folder, Track
    from ssl_music.catalogs.folder import file_tags

    tracks = []
    for file in files:
        if file.is_dir():
            tracks += Folder(file, labels=labels, columns=None if labels is None else []).tracks
        elif labels is not None:
            raise UserError(f"{file}: --labels is a table of the files of a folder; give the folder in its place")
        else:
            known = file_tags(file)
            artist, album, title = (known.get(fact, "") for fact in ("artist", "album", "title"))
            tracks.append(Track(file.name, file, artist=artist, album=album, title=title))
    return tracks


def _names(tracks: Sequence[Track]) -> list[str]:
    """What each song's files are called below the folder: as the song, and where two would be called the same, with
    its ending, or a number."""
    bare = [str(PurePosixPath(track.id).with_suffix("")) for track in tracks]
    several = Counter(bare)
    names, taken = [], Counter(OWN)
    for track, plain in zip(tracks, bare, strict=True):
        name = plain if several[plain] == 1 else track.id
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return names


def _of_track(track: Track) -> dict[str, str]:
    """What a song's files are made of, besides what is asked: its audio, and what it is called."""
    from ssl_music.catalogs.base import content_digest

    try:
        audio = content_digest(track.path)[:16]
    except OSError:  # told when it is heard
        audio = ""
    return {"file": str(track.path), "audio": audio, "title": track.title, "artist": track.artist}


def _kept(place: Path, asked: dict[str, Any]) -> np.ndarray | None:
    """The scores of a song whose files are there, made as is asked; None where they are to be made."""
    from ssl_music._records import read_record

    if not all(_beside(place, ending).is_file() for ending in (".png", ".csv", ".json")):
        return None
    try:
        record = read_record(_beside(place, ".json"))
    except UserError:  # cut short, or none of ours
        return None
    return record.arrays["song_scores"] if record.facts.get("asked") == asked else None


def _write_song(
    place: Path, track: Track, found: Taggram, whole: np.ndarray, *, facts: dict[str, Any], top: int
) -> None:
    from ssl_music._records import write_record
    from ssl_music.report.figures import save
    from ssl_music.report.taggrams import taggram_figure

    title = track.title or PurePosixPath(track.id).stem
    figure = taggram_figure(
        found.tags,
        found.starts_seconds,
        found.window_seconds,
        found.scores,
        title=f"{title} — {track.artist}" if track.artist else title,
        top=top,
        song_scores=whole,
    )
    save(figure, _beside(place, ".png"))
    write_rows(found.rows(), "csv", _beside(place, ".csv"))
    known = {"file": str(track.path), "title": title, "artist": track.artist, "tags": found.tags}
    own = {"multi_label": found.multi_label, "window_seconds": found.window_seconds}
    arrays = {"starts_seconds": found.starts_seconds, "scores": found.scores, "song_scores": whole}
    write_record(_beside(place, ".json"), "taggram", known | own | facts, arrays)


def _beside(place: Path, ending: str) -> Path:
    """The ending behind all of the name: a song may be called `No. 1`."""
    return place.with_name(place.name + ending)


def _write_groups(
    out: Path, by: str, songs: Sequence[tuple[Track, np.ndarray]], tags: Sequence[str], *, top: int
) -> None:
    """The mean of the songs' scores for each artist or album: printed, as a table and as a picture."""
    import numpy as np

    from ssl_music.report.figures import save
    from ssl_music.report.taggrams import group_figure

    groups: dict[str, list[np.ndarray]] = {}
    for track, whole in songs:
        groups.setdefault(getattr(track, by), []).append(whole)
    nameless = len(groups.pop("", ()))
    if nameless:
        print(f"{nameless} of {len(songs)} songs have no {by}, and are in no average", file=sys.stderr)
    if not groups:
        return
    names = sorted(groups)
    means = np.array([np.mean(groups[name], axis=0) for name in names])
    rows = [{by: name, "songs": len(groups[name])} for name in names]
    print_rows(
        [row | {"tags": strongest(tags, mean, PRINTED)} for row, mean in zip(rows, means, strict=True)], "table"
    )
    write_rows([row | _scores(tags, mean) for row, mean in zip(rows, means, strict=True)], "csv", out / f"{by}.csv")
    counts = [len(groups[name]) for name in names]
    save(group_figure(names, counts, tags, means, title=f"Tags by {by}", top=top), out / f"{by}.png")


def _song_row(track: Track, tags: Sequence[str], whole: np.ndarray) -> dict[str, Any]:
    return {"file": str(track.path), "title": track.title, "artist": track.artist} | _scores(tags, whole)


def _scores(tags: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    return {tag: round(float(score), 4) for tag, score in zip(tags, scores, strict=True)}
