"""A catalog that needs no music: a few hundred short pieces, composed and rendered with numpy, fully labelled.

Ten genres, eighty artists, fourteen instruments. The pieces are a learning problem of their own: rhythm, harmony
and articulation make the genre while artists differ in sound, so that what is asked has to be learned.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import wave
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from ssl_music._files import replacing
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.catalogs.synthesis import MUSIC_VERSION
from ssl_music.catalogs.synthesis.instruments import SAMPLE_RATE
from ssl_music.catalogs.synthesis.plan import plan
from ssl_music.catalogs.synthesis.render import render
from ssl_music.errors import UserError

SETTINGS_FILE = "synthetic.json"
SHORTEST_SECONDS = 1.0
#: below this many pieces starting processes costs more than they save
WORTH_A_POOL = 24


class Synthetic(Catalog):
    """Rendered pieces, 16-bit mono 22,050 Hz wav files, labelled with genre, instruments, tempo and artist.

    Splits are artist-disjoint, 62/13/25 %; from eighty pieces on every genre and every instrument is in every split.
    (An artist is in one split only: the label `artist` suits search, not a probe on these splits.)
    A piece is a pure function of (seed, index, seconds). The first use of `tracks` calls `render`, which writes the
    pieces that are not there yet; so an interrupted rendering goes on where it was.

    Args:
        root: the folder of the pieces: new, empty, or rendered before with the same settings.
        pieces: how many; artists take turns, so that eighty neighbours hold every artist once.
        seconds: the length of every piece.
        seed: another seed is another catalog: other artists, other music.
        workers: processes that render; None is one a core.

    >>> import tempfile
    >>> catalog = Synthetic(Path(tempfile.mkdtemp()) / "pieces", pieces=3, seconds=1.0)
    >>> [track.split for track in catalog.tracks], catalog.tracks[1].labels["genre"]
    (['train', 'test', 'valid'], ('techno',))
    """

    def __init__(
        self, root: Path, *, pieces: int = 400, seconds: float = 12.0, seed: int = 0, workers: int | None = None
    ) -> None:
        if pieces < 1:
            raise UserError(f"pieces={pieces}: a catalog needs at least one piece")
        if seconds < SHORTEST_SECONDS:
            raise UserError(f"seconds={seconds}: a piece lasts at least {SHORTEST_SECONDS} seconds")
        if seed < 0:
            raise UserError(f"seed={seed}: give a whole number from 0 up")
        if workers is not None and workers < 1:
            raise UserError(f"workers={workers}: give at least one, or none for one a core")
        self.root = Path(root)
        self.pieces = pieces
        self.seconds = seconds
        self.seed = seed
        self.workers = workers
        self.columns = {"genre": False, "instruments": True, "tempo": False, "artist": False}
        self.split_name = f"synthetic, artist-disjoint, seed {seed}"

    @property
    def tracks(self) -> list[Track]:
        """Every piece, sorted by id; renders what is missing when first asked."""
        return self._tracks

    @cached_property
    def _tracks(self) -> list[Track]:
        self.render()
        return [_track(self.root, self.seed, index) for index in range(self.pieces)]

    def render(self, *, progress: bool = True) -> int:
        """Writes the pieces that are not there yet, on all workers; returns how many it wrote."""
        size = 44 + 2 * round(self.seconds * SAMPLE_RATE)
        try:
            self._claim_root()
            missing = [index for index in range(self.pieces) if _size(_path(self.root, index)) != size]
            silent = None if progress and missing else True
            with tqdm(total=len(missing), desc="rendering", unit=" pieces", disable=silent) as bar:
                for _ in self._rendered(missing):
                    bar.update()
        except OSError as error:
            raise UserError(f"{self.root}: cannot write the pieces: {error.strerror or error}") from error
        return len(missing)

    def _claim_root(self) -> None:
        """Refuses a folder that holds something else, so that pieces never mix with music or with other settings."""
        wanted = {"music": MUSIC_VERSION, "pieces": self.pieces, "seconds": self.seconds, "seed": self.seed}
        settings = self.root / SETTINGS_FILE
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root}: a file, but the pieces need a folder; give another root")
        if settings.is_file():
            try:
                found = json.loads(settings.read_text())
            except ValueError as error:
                raise UserError(f"{settings}: not JSON ({error}); delete the folder and render again") from error
            if found != wanted:
                raise UserError(
                    f"{settings}: these pieces were rendered with {found}, wanted {wanted}; "
                    "give another root or delete this folder"
                )
        elif self.root.is_dir() and any(self.root.iterdir()):
            raise UserError(f"{self.root}: not empty and not rendered by Synthetic; give a new or empty folder")
        else:
            with replacing(settings) as temporary:
                temporary.write_text(json.dumps(wanted))

    def _rendered(self, missing: list[int]) -> Iterator[int]:
        workers = min(self.workers or os.cpu_count() or 1, len(missing))
        if workers <= 1 or len(missing) < WORTH_A_POOL:
            for index in missing:
                yield _write(self.root, self.seed, index, self.seconds)
            return
        # spawn: forking a process that runs threads (torch, tqdm) can lock up
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
        try:
            with _interrupts_held(), _script_hidden():
                futures = [pool.submit(_write, self.root, self.seed, index, self.seconds) for index in missing]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{self.root}: a rendering process was killed, perhaps for want of memory; "
                "run again to go on, or give workers=1"
            ) from error
        finally:
            # what is being written is finished, what waits is dropped
            pool.shutdown(wait=True, cancel_futures=True)


def _path(root: Path, index: int) -> Path:
    return root / f"{index:05d}.wav"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _track(root: Path, seed: int, index: int) -> Track:
    piece, path = plan(seed, index), _path(root, index)
    return Track(
        id=path.name,
        path=path,
        artist=piece.artist.name,
        title=piece.title,
        group=path.stem,
        labels=piece.labels(),
        split=piece.artist.split,
    )


def _write(root: Path, seed: int, index: int, seconds: float) -> int:
    samples = np.round(render(seed, index, seconds) * 32767).astype("<i2")
    with replacing(_path(root, index)) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return index


def _start_worker() -> None:
    """A worker leaves Ctrl-C to its parent, and goes when the parent is gone, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the block is done. Processes started inside inherit the block: a worker that is interrupted
    while still importing would print a stack trace."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Processes started inside do not run the user's script again, as spawned ones do where it lacks
    `if __name__ == "__main__":` (and fail where there is no file, in `python -`). Our workers need nothing of it."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
