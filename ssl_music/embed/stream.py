"""Many tracks through one network: chunks of neighbouring tracks share full batches; decoding runs ahead."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_music.audio import AudioError
from ssl_music.embed.chunks import Chunks
from ssl_music.errors import UserError

#: a track: a function that begins its decoding, blocks of (n,) float32 at the encoder's rate
Source = Callable[[], Iterable[np.ndarray]]
AHEAD_SECONDS = 60.0  # of audio that one decoding thread may be ahead, whatever the track's length
POLL_SECONDS = 0.2  # how soon a decoding thread notices that nobody listens any more


class Heard(NamedTuple):
    """The network's outputs for the chunks of one track: (n, D), or why there are none."""

    outputs: np.ndarray
    samples: int
    error: AudioError | None


def hear(
    sources: Sequence[Source],
    network: Callable[[Tensor], Tensor],
    *,
    sample_rate: int,
    input_samples: int,
    hop_samples: int,
    batch_size: int,
    device: torch.device,
) -> Iterator[Heard]:
    """One `Heard` a source, in their order. Shape: the network is given (batch_size, 1, input_samples) float32."""
    ahead = max(batch_size, int(AHEAD_SECONDS * sample_rate / input_samples))
    waiting: list[np.ndarray] = []  # chunks that no batch has taken yet
    owners: list[list[np.ndarray]] = []  # for each of them, where its output goes
    tracks: deque[tuple[list[np.ndarray], list]] = deque()  # outputs so far; the end marker once it came

    def forward() -> None:
        wave = torch.from_numpy(np.stack(waiting)).unsqueeze(1)  # (B, 1, T)
        if device.type == "cuda":
            wave = wave.pin_memory().to(device, non_blocking=True)
        for owner, output in zip(owners, network(wave).float().cpu().numpy(), strict=True):
            owner.append(output)
        waiting.clear()
        owners.clear()

    def finished() -> Iterator[Heard]:
        unheard = {id(owner) for owner in owners}
        while tracks and tracks[0][1] and id(tracks[0][0]) not in unheard:
            outputs, (end,) = tracks.popleft()
            if isinstance(end, AudioError):
                yield Heard(np.empty((0, 0), np.float32), 0, end)
            else:
                yield Heard(np.stack(outputs), end, None)

    jobs = [_cutting(source, input_samples, hop_samples) for source in sources]
    with torch.inference_mode():
        for item in _in_order(jobs, ahead=ahead):
            if item is None:  # a new track begins
                tracks.append(([], []))
            elif isinstance(item, np.ndarray):
                waiting.append(item)
                owners.append(tracks[-1][0])
                if len(waiting) == batch_size:
                    forward()
                    yield from finished()
            else:
                tracks[-1][1].append(item)
                yield from finished()
        if waiting:
            forward()
        yield from finished()


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one; any other name is taken at its word.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not there ({error}); take auto, cpu or cuda") from error
    return device


def _cutting(source: Source, input_samples: int, hop_samples: int) -> Source:
    """The source's chunks, then its length in samples, or the error that ended it."""

    def run() -> Iterator:
        try:
            chunks = Chunks(source(), input_samples=input_samples, hop_samples=hop_samples)
            yield from chunks
            yield chunks.samples
        except AudioError as error:
            yield error

    return run


def _in_order(jobs: Sequence[Source], *, ahead: int) -> Iterator:
    """The items of every job, job after job, a None before each; a few jobs run ahead in threads.

    libsndfile and soxr release the interpreter, so threads decode while the network computes.
    """
    stopped = threading.Event()
    lines: deque[queue.Queue] = deque()
    remaining = iter(jobs)

    def work(job: Source, line: queue.Queue) -> None:
        try:
            for item in job():
                _put(line, (item, None), stopped)
            _put(line, (None, StopIteration()), stopped)
        except BaseException as error:  # crosses the thread: raised again where the items are taken
            _put(line, (None, error), stopped)

    def start() -> None:
        for job in remaining:
            line: queue.Queue = queue.Queue(maxsize=ahead)
            lines.append(line)
            threading.Thread(target=work, args=(job, line), daemon=True).start()
            return

    try:
        for _ in range(min(4, os.cpu_count() or 1)):
            start()
        while lines:
            yield None
            while True:
                item, error = lines[0].get()
                if isinstance(error, StopIteration):
                    break
                if error is not None:
                    raise error
                yield item
            lines.popleft()
            start()
    finally:
        stopped.set()


def _put(line: queue.Queue, item: tuple, stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            line.put(item, timeout=POLL_SECONDS)
            return
        except queue.Full:
            continue
