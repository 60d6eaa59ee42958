"""Audio → 32 bits a frame that stay what they are under re-encoding, gain and resampling (Haitsma & Kalker 2002)."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from scipy.fft import next_fast_len, rfft
from scipy.signal import firwin, upfirdn

from ssl_music.errors import UserError

#: section 4.2: frames of 0.37 s under a Hanning window that overlap by 31/32, so one every 11.6 ms; exactly, 2,048
#: samples at 5,512.5 Hz
WINDOW_SECONDS = 2048 / 5512.5
HOP_SECONDS = WINDOW_SECONDS / 32
#: section 4.2: 33 non-overlapping bands between 300 and 2000 Hz with a logarithmic spacing give 32 bits
BANDS = 33
LOW_HZ, HIGH_HZ = 300.0, 2000.0
#: audio is brought down to at least this rate before the transforms; the paper uses 5 kHz
WORKING_HZ = 5000
#: differences of energies below this share of the energy are rounding: nothing is heard to change
STILL = 1e-5
FRAMES_AT_ONCE = 512


def fingerprint(blocks: Iterable[np.ndarray], sample_rate: float) -> np.ndarray:
    """The sub-fingerprints of a stream of blocks, each (n,) float32. Shape: (F,) uint32, one every 11.6 ms.

    Bit m of frame n is 1 where E(n, m) − E(n, m+1) − (E(n−1, m) − E(n−1, m+1)) > 0, E the energy of a band (equation
    1). So a gain changes nothing. Zero stands for a frame with nothing to compare, silence or a tone that stays: they
    would be like any other. One block is held at a time. A stream shorter than 0.38 s has no frame.

    >>> noise = np.random.default_rng(0).normal(size=22050).astype(np.float32)
    >>> prints = fingerprint([noise], 22050)
    >>> len(prints), bool((fingerprint([0.5 * noise[:9000], 0.5 * noise[9000:]], 22050) == prints).all())
    (53, True)
    >>> int(fingerprint([np.zeros(22050, np.float32)], 22050).any())
    0
    """
    if sample_rate <= 2 * HIGH_HZ:
        raise UserError(
            f"{sample_rate} Hz: fingerprints are of the bands up to {HIGH_HZ:g} Hz; give audio of more than "
            f"{2 * HIGH_HZ:g} Hz"
        )
    factor = max(1, math.floor(sample_rate / WORKING_HZ))
    before = np.empty((0, BANDS - 1), np.float32)
    found = [np.empty(0, np.uint32)]
    for energies in _energies(_decimated(blocks, factor, sample_rate), sample_rate / factor):
        between = np.concatenate([before, energies[:, :-1] - energies[:, 1:]])  # over bands (F, 32)
        change, before = np.diff(between, axis=0), between[-1:]  # and over time
        bits = np.packbits(change > 0, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
        still = np.abs(change).max(axis=1, initial=0) <= STILL * energies[len(energies) - len(change) :].sum(axis=1)
        found.append(np.where(still, np.uint32(0), bits))
    return np.concatenate(found)


def _decimated(blocks: Iterable[np.ndarray], factor: int, sample_rate: float) -> Iterator[np.ndarray]:
    """Every `factor`-th sample of the low-passed stream; what is left at the end is less than the filter is long."""
    if factor == 1:
        yield from blocks
        return
    # flat to 2 kHz, and down by 60 dB where what lies above would be mirrored below it
    high, nyquist = sample_rate / factor - HIGH_HZ, sample_rate / 2
    delay = math.ceil(1.8 * sample_rate / (high - HIGH_HZ) / factor)
    taps = firwin(2 * delay * factor + 1, (high + HIGH_HZ) / 2 / nyquist, window=("kaiser", 5.65)).astype(np.float32)
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        count = (len(held) - len(taps)) // factor + 1
        if count > 0:
            yield upfirdn(taps, held, 1, factor)[2 * delay : 2 * delay + count]
            held = held[count * factor :]


def _energies(blocks: Iterable[np.ndarray], sample_rate: float) -> Iterator[np.ndarray]:
    """Energies of the bands, frame after frame, in portions. Shape: (n, 33) float32."""
    size = round(WINDOW_SECONDS * sample_rate)
    length = next_fast_len(size, real=True)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    bins, bands = _bands(sample_rate, length)
    held, begins, frame = np.empty(0, np.float32), 0, 0  # held[0] is sample number `begins`
    for block in blocks:
        held = np.concatenate([held, block])
        ready = math.floor((begins + len(held) - size + 0.5) / (HOP_SECONDS * sample_rate))
        starts = np.round(np.arange(frame, max(frame, ready + 1)) * HOP_SECONDS * sample_rate).astype(np.int64)
        starts = starts[starts + size <= begins + len(held)]
        if not len(starts):
            continue
        frames = np.lib.stride_tricks.sliding_window_view(held, size)
        for first in range(0, len(starts), FRAMES_AT_ONCE):
            some = frames[starts[first : first + FRAMES_AT_ONCE] - begins] * window  # (n, size)
            spectrum = rfft(some, length, axis=1)[:, bins]
            yield (spectrum.real**2 + spectrum.imag**2) @ bands
        frame += len(starts)
        # whatever the rounding, the next frame begins behind this one
        held, begins = held[starts[-1] + 1 - begins :], int(starts[-1]) + 1


def _bands(sample_rate: float, length: int) -> tuple[slice, np.ndarray]:
    """The bins of the transform that are used, and how much of each belongs to each band (bins, 33).

    A bin counts by the share of its width that lies within a band, so that bands are the same at any rate.
    """
    width = sample_rate / length
    edges = np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 1) / width
    bins = slice(math.floor(edges[0] - 0.5), math.ceil(edges[-1] + 0.5) + 1)
    centre = np.arange(bins.start, bins.stop)[:, None]
    inside = np.minimum(edges[1:], centre + 0.5) - np.maximum(edges[:-1], centre - 0.5)
    return bins, np.clip(inside, 0, 1).astype(np.float32)
