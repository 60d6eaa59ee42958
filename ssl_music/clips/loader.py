"""Batches of crops for Lightning: order and crops are functions of (seed, epoch), so any batch can be made anew."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch

from ssl_music.clips import draws
from ssl_music.clips.batch import Clips
from ssl_music.clips.files import Waves
from ssl_music.clips.halves import interleaved
from ssl_music.errors import UserError, unknown_name

SHORT = ("pad", "loop", "drop")
EPOCHS = ("tracks", "seconds")
#: batches made ahead of the one being trained on
AHEAD = 2


class ClipLoader:
    """Crops of `rows` in batches, given to Lightning as it is (not wrapped in a torch DataLoader).

    A batch is `batch_size` examples with `crops` independent crops each. With several devices, global batch k is
    `world_size · batch_size` examples long and each rank takes its own slice of it: together they visit what one
    device would, each example once. Where the last batch is kept, shares of it may differ by one.

    `short` decides about tracks shorter than a crop: "loop" repeats them from a drawn point on, "pad" puts silence
    behind them, "drop" leaves them out (`dropped` says how many). `epoch_of="tracks"` visits each track once an
    epoch, "seconds" once per whole crop length in it, so that long tracks count for more.
    Without `shuffle` every epoch is the same, crops included, so that validation losses can be compared.
    `halves`, a bool a row, makes each batch of equal parts: half its examples from the rows with True and half from
    those with False, in turns, on every rank. An epoch visits the larger kind once and repeats the smaller.

    The position is part of the checkpoint: Lightning saves `state_dict()`, and after `load_state_dict` the next
    iteration begins with the batch that would have come next.

    >>> class Ramps:
    ...     sample_rate, samples = 8000, np.array([9, 12, 30])
    ...     def gather(self, rows, starts, count):
    ...         return (starts[:, None] + np.arange(count)).astype(np.int16)
    >>> loader = ClipLoader(Ramps(), np.arange(3), input_samples=8, batch_size=3, crops=2, seed=1)
    >>> [clips.wave.shape for clips in loader]
    [torch.Size([2, 3, 1, 8])]
    """

    batch_sampler = None  # Lightning asks for it where there is a `sampler`

    def __init__(
        self,
        waves: Waves,
        rows: np.ndarray,
        *,
        input_samples: int,
        batch_size: int,
        seed: int,
        crops: int = 1,
        targets: np.ndarray | None = None,
        halves: np.ndarray | None = None,
        short: Literal["pad", "loop", "drop"] = "loop",
        epoch_of: Literal["tracks", "seconds"] = "tracks",
        shuffle: bool = True,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        if short not in SHORT:
            raise unknown_name("choice for short tracks (short)", short, list(SHORT))
        if epoch_of not in EPOCHS:
            raise unknown_name("kind of epoch (epoch_of)", epoch_of, list(EPOCHS))
        self.waves = waves
        self.input_samples = input_samples
        self.batch_size = batch_size
        self.seed = seed
        self.crops = crops
        self.short = short
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self._whole = batch_size * world_size

        rows = np.asarray(rows, np.int64)
        kept = np.ones(len(rows), bool)
        if short == "drop":
            kept = waves.samples[rows] >= input_samples
        self.dropped = int((~kept).sum())
        self.rows = rows[kept]
        self.targets = None if targets is None else np.asarray(targets, np.float32)[kept]
        visits = np.ones(len(self.rows), np.int64)
        if epoch_of == "seconds":
            visits = np.maximum(1, waves.samples[self.rows] // input_samples)
        #: for each example of an epoch, before the order is drawn, its place in `rows`
        self._examples = np.repeat(np.arange(len(self.rows)), visits)
        self.halves = None if halves is None else np.asarray(halves, bool)[kept]
        #: for each kind, which of `_examples` are of it
        self._kinds: list[np.ndarray] = []
        if self.halves is not None:
            in_first = self.halves[self._examples]
            self._kinds = [np.flatnonzero(in_first), np.flatnonzero(~in_first)]
        self._check_sizes()
        self._epoch = 0
        self._handed_out = 0
        self._resume_at = 0
        self.waited_seconds = 0.0  #: that whoever iterates has waited for batches so far
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        full, rest = divmod(self._slots_an_epoch, self._whole)
        # a rest that does not give every rank something goes into the last batch
        return full + (not self.drop_last and rest >= (1 if self._kinds else self.world_size))

    def __iter__(self) -> Iterator[Clips]:
        """A generator: it asks where to begin at its first step, since Lightning sets the epoch after `iter`."""
        first, self._resume_at = self._resume_at, 0
        epoch, self._handed_out = self._epoch, first
        numbers = iter(range(first, len(self)))
        pool = ThreadPoolExecutor(1, thread_name_prefix="clips")
        try:
            ahead: deque[Future[Clips]] = deque()
            ahead.extend(pool.submit(self.batch, epoch, number) for number in islice(numbers, AHEAD))
            while ahead:
                asked = time.monotonic()
                clips = ahead.popleft().result()
                self.waited_seconds += time.monotonic() - asked
                ahead.extend(pool.submit(self.batch, epoch, number) for number in islice(numbers, 1))
                self._handed_out += 1
                yield clips
        finally:
            pool.shutdown(cancel_futures=True)

    def batch(self, epoch: int, number: int) -> Clips:
        """Batch `number` of an epoch as this rank gets it: a pure function."""
        epoch = epoch if self.shuffle else 0
        slots = self._slots(epoch, number)
        places = self._examples[slots % len(self._examples)]
        rows = self.rows[places]
        wave = np.stack([self._crops(rows, epoch, slots, view) for view in range(self.crops)])
        targets = None if self.targets is None else torch.from_numpy(self.targets[places])
        return Clips(torch.from_numpy(wave[:, :, None]), torch.from_numpy(rows), targets)

    def set_epoch(self, epoch: int) -> None:
        """Another epoch starts with its first batch; the same epoch leaves a loaded position alone."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._handed_out = self._resume_at = 0

    @property
    def sampler(self) -> "ClipLoader":
        """Lightning looks for `set_epoch` on a loader's sampler only."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """Where this loader stands: the epoch, the batches of it handed out, and what these numbers depend on."""
        return {"epoch": self._epoch, "batch": self._handed_out, "batches": len(self), **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next iteration begins behind the batches already handed out."""
        identity = self._identity()
        differing = [key for key in identity if state[key] != identity[key]]
        if differing and 0 < state["batch"] < state["batches"]:
            was = ", ".join(f"{key} {state[key]}" for key in differing)
            now = ", ".join(f"{key} {identity[key]}" for key in differing)
            raise UserError(
                f"the checkpoint stands in the middle of an epoch of other batches: {was}, now {now}. "
                "Resume with the settings it was made with"
            )
        self._epoch = state["epoch"]
        self._handed_out = self._resume_at = state["batch"]

    def _identity(self) -> dict[str, int]:
        halved = {"first_half": len(self._kinds[0])} if self._kinds else {}
        return {"seed": self.seed, "examples": len(self._examples), "global_batch": self._whole, **halved}

    @property
    def _slots_an_epoch(self) -> int:
        return 2 * max(map(len, self._kinds)) if self._kinds else len(self._examples)

    def _check_sizes(self) -> None:
        if not len(self._examples):
            why = (
                f"all {self.dropped} are shorter than a clip; use short=loop or pad"
                if self.dropped
                else "choose more"
            )
            raise UserError(f"no track to train on: {why}")
        if self._kinds and not all(map(len, self._kinds)):
            counts = " and ".join(str(len(kind)) for kind in self._kinds)
            raise UserError(
                f"half of each batch shall be of one kind, half of the other, but of these kinds there are {counts} "
                "clips: give some of both"
            )
        if self._kinds and self.batch_size % 2:
            raise UserError(
                f"batch_size {self.batch_size}: half of each batch is of one kind, half of the other; take an even "
                f"number, such as {self.batch_size + 1}"
            )
        have = self._slots_an_epoch
        if have < self.world_size:
            raise UserError(
                f"{have} clips for {self.world_size} devices, and each wants one: use fewer, or add music"
            )
        if self.drop_last and have < self._whole:
            devices = f" on each of {self.world_size} devices" if self.world_size > 1 else ""
            most = have // self.world_size
            raise UserError(
                f"a batch of {self.batch_size}{devices} needs {self._whole} clips, but an epoch has {have}: set "
                f"batch_size to at most {most - most % (2 if self._kinds else 1)}, add music, or choose epoch_of "
                "seconds"
            )

    def _slots(self, epoch: int, number: int) -> np.ndarray:
        """The slots of this rank in batch `number`."""
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._ordered(epoch))
        last = number == len(self) - 1 and not self.drop_last
        slots = self._order[1][number * self._whole : None if last else (number + 1) * self._whole]
        if last and self._kinds:  # what is missing of equal shares, half of each kind, is filled from the front
            parts = self.world_size * 2
            slots = np.resize(slots, -(-len(slots) // parts) * parts)
        return np.array_split(slots, self.world_size)[self.rank]

    def _ordered(self, epoch: int) -> np.ndarray:
        """Every slot of an epoch. Without halves a slot is the number of an example."""
        if self._kinds:
            return interleaved(*self._kinds, seed=self.seed, epoch=epoch, shuffle=self.shuffle)
        count = len(self._examples)
        return draws.permutation(count, self.seed, draws.ORDER, epoch) if self.shuffle else np.arange(count)

    def _crops(self, rows: np.ndarray, epoch: int, slots: np.ndarray, view: int) -> np.ndarray:
        """One crop of each row. Shape: (B,) -> (B, T) int16."""
        count = self.input_samples
        samples = self.waves.samples[rows]
        whole = samples >= count
        # of a repeated short track every sample may come first
        places = np.where(whole, samples - count + 1, samples)
        starts = draws.below(places, self.seed, draws.CROP, epoch, slots, view)
        if whole.all():
            return self.waves.gather(rows, starts, count)
        wave = np.zeros((len(rows), count), np.int16)
        if whole.any():
            wave[whole] = self.waves.gather(rows[whole], starts[whole], count)
        for at in np.flatnonzero(~whole):
            track = self.waves.gather(rows[at : at + 1], np.zeros(1, np.int64), int(samples[at]))[0]
            if self.short == "pad":
                wave[at, : len(track)] = track
            else:
                wave[at] = track[(starts[at] + np.arange(count)) % len(track)]
        return wave
