"""The fingerprints of a catalog on disk: 10 KB for half a minute of music, made once."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_music._ledger import Ledger, LedgerWriter, Row
from ssl_music.audio import AudioError, Stream
from ssl_music.catalogs import Catalog, Track
from ssl_music.errors import UserError
from ssl_music.fingerprint.bits import HOP_SECONDS, WINDOW_SECONDS, fingerprint
from ssl_music.pack import Pack

#: changes when the same audio would give other bits
METHOD = "haitsma-kalker/1"
#: what files are decoded to: the rate of the paper's frames, 2,048 samples of 0.37 s
SAMPLE_RATE = 5512
BLOCK_SECONDS = 30


class Fingerprints(Mapping[str, np.ndarray]):
    """What `fingerprint_catalog` wrote: sub-fingerprints (F,) uint32 by the id of the track, from a memory map."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._ledger = Ledger(self.root)
        if self._ledger.header.get("kind") != "fingerprints":
            raise UserError(f"{root}: holds something else than fingerprints; delete it, or give another folder")
        self._rows = {row.id: row for row in self._ledger.rows if row.status == "ok"}
        #: (id, reason) of tracks that have none
        self.broken = [(row.id, row.reason) for row in self._ledger.rows if row.status != "ok"]

    def __getitem__(self, id: str) -> np.ndarray:
        return self._ledger.span(self._rows[id].offset, self._rows[id].count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def fingerprint_catalog(catalog: Catalog, root: Path | str, *, progress: bool = True) -> Fingerprints:
    """Writes the fingerprints of every track to the directory `root`; goes on where it was, and does nothing twice.

    A file that cannot be read, or is too short, is noted with its reason. Fingerprints of another catalog in `root`
    are an error.

    >>> import tempfile
    >>> from ssl_music.catalogs import Synthetic
    >>> folder = Path(tempfile.mkdtemp())
    >>> prints = fingerprint_catalog(Synthetic(folder / "music", pieces=2, seconds=2.0), folder / "p", progress=False)
    >>> {id: len(prints[id]) for id in prints}
    {'00000.wav': 140, '00001.wav': 140}
    """
    header = {"kind": "fingerprints", "method": METHOD, "catalog_fingerprint": catalog.fingerprint()}
    with LedgerWriter(root, header=header, dtype=np.uint32, rows_per_shard=1 << 28) as writer:
        left = [(number, track) for number, track in enumerate(catalog.tracks) if track.id not in writer.done]
        bar = tqdm(
            left, total=len(catalog.tracks), initial=len(writer.done), unit="track", desc="fingerprints",
            disable=None if progress and left else True,
        )  # fmt: skip
        for number, track in bar:
            try:
                prints = fingerprint(*_audio(catalog, number, track))
            except AudioError as error:
                writer.quarantine(Row.of(track), error.reason)
                continue
            if len(prints):
                writer.append(Row.of(track, seconds=len(prints) * HOP_SECONDS), [prints])
            else:
                writer.quarantine(Row.of(track), f"shorter than {WINDOW_SECONDS + 2 * HOP_SECONDS:.2f} s")
        writer.finish()
    return Fingerprints(root)


def _audio(catalog: Catalog, number: int, track: Track) -> tuple[Iterable[np.ndarray], int]:
    """Blocks of float32 and their rate: from the pack's memory map, or decoded from the file."""
    if not isinstance(catalog, Pack):
        return Stream(track.path, SAMPLE_RATE, block_seconds=BLOCK_SECONDS), SAMPLE_RATE
    rate = catalog.sample_rate
    blocks = catalog.blocks(number, BLOCK_SECONDS * rate)
    return (block.astype(np.float32) / 32768 for block in blocks), rate
