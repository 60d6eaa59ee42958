"""Which recordings of a test split were met in pretraining: by file, by sound, by name.

A score on music that the encoder has heard says less about music that it has not. Labels need not have leaked for
that: a self-supervised encoder can know a recording by heart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_music.catalogs import Catalog, Track, file_duplicates
from ssl_music.fingerprint import Match, fingerprint_catalog, near_duplicates


class Leak(NamedTuple):
    """A track of a test split, and what of the pretraining catalog it was met in. Seconds from the beginnings."""

    track: str
    split: str
    how: str  #: same file, same audio, same id, or same group
    met_in: str  #: a track of the pretraining catalog
    seconds: float | None = None  #: of audio that both share, as far as their fingerprints tell
    track_seconds: float | None = None
    met_seconds: float | None = None
    bit_error_rate: float | None = None


def leaks(
    pretrained_on: Catalog,
    tested: Catalog,
    cache: Path | str,
    *,
    pretrained_split: str = "train",
    tested_splits: Sequence[str] = ("test",),
    progress: bool = True,
) -> list[Leak]:
    """One `Leak` for every track of the tested splits that was met in pretraining, by the strongest evidence.

    Files of the same bytes; fingerprints that share three seconds or more (`fingerprint.near_duplicates`: found
    through other codecs, levels and cuts, not in another tempo or key; tracks shorter than two seconds are compared
    by their bytes alone). Where some track is the same under the same id, the two catalogs give the same names to the
    same things, and equal ids and groups count too; names of unrelated collections mean nothing to each other.
    Fingerprints are kept in `cache`, by the fingerprints of the catalogs.

    >>> import tempfile
    >>> from ssl_music.catalogs import Synthetic
    >>> folder = Path(tempfile.mkdtemp())
    >>> music = Synthetic(folder / "music", pieces=3, seconds=4.0)
    >>> leaks(music, music, folder / "cache", progress=False)
    []
    >>> [(leak.track, leak.how) for leak in leaks(music, music, folder, pretrained_split="all", progress=False)]
    [('00001.wav', 'same file')]
    """
    heard = pretrained_on.split(pretrained_split)
    scored = [track for split in tested_splits for track in tested.split(split)]
    known = {track.id: track for track in heard}
    found: dict[str, Leak] = {}
    for track, met in _same_files(scored, heard):
        found.setdefault(track.id, Leak(track.id, track.split, "same file", met.id))
    left = {track.id: track for track in scored if track.id not in found}
    prints = {
        catalog.fingerprint(): fingerprint_catalog(catalog, Path(cache) / catalog.fingerprint(), progress=progress)
        for catalog in ([pretrained_on, tested] if left and heard else [])
    }
    if prints:
        ours, theirs = prints[tested.fingerprint()], prints[pretrained_on.fingerprint()]
        queries = {id: ours[id] for id in left if id in ours}
        references = {id: theirs[id] for id in known if id in theirs}
        for match in near_duplicates(queries, references, progress=progress):  # best first
            found.setdefault(match.query, _by_audio(match, left[match.query].split))
    if any(leak.track == leak.met_in for leak in found.values()) or _one_collection(tested, pretrained_on):
        groups = {track.group: track.id for track in reversed(heard) if track.group}
        for track in scored:
            if track.id in known:
                found.setdefault(track.id, Leak(track.id, track.split, "same id", track.id))
            elif track.group in groups:
                found.setdefault(track.id, Leak(track.id, track.split, "same group", groups[track.group]))
    return [found[track.id] for track in scored if track.id in found]


def leak_rows(found: Mapping[str, Sequence[Leak]]) -> list[dict[str, Any]]:
    """Leaks by catalog as rows for a record: what is not known is left out."""
    return [
        {"catalog": catalog, **{key: value for key, value in leak._asdict().items() if value is not None}}
        for catalog, some in found.items()
        for leak in some
    ]


def _same_files(scored: Sequence[Track], heard: Sequence[Track]) -> list[tuple[Track, Track]]:
    """Tracks of both whose files are the same or hold the same bytes; a pack may have outlived its files."""
    by_path = {track.path.absolute(): track for track in heard}
    same = [(track, by_path[path]) for track in scored if (path := track.path.absolute()) in by_path]
    ours = [track for track in scored if track.path.absolute() not in by_path and track.path.is_file()]
    theirs = [track for track in heard if track.path.is_file()]
    mine = {id(track) for track in ours}
    for group in file_duplicates([*ours, *theirs]):
        met = next((track for track in group if id(track) not in mine), None)
        same += [(track, met) for track in group if met is not None and id(track) in mine]
    return same


def _by_audio(match: Match, split: str) -> Leak:
    places = (match.seconds, match.query_seconds, match.reference_seconds)
    return Leak(match.query, split, "same audio", match.reference, *places, match.bit_error_rate)


def _one_collection(tested: Catalog, pretrained_on: Catalog) -> bool:
    """Whether a file stands in both under the same id."""
    paths = {(track.id, track.path.absolute()) for track in pretrained_on.tracks}
    return any((track.id, track.path.absolute()) in paths for track in tested.tracks)
