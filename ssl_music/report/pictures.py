"""Pictures of sounds: the waveform over its log-mel spectrogram, on scales that many sounds share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music.encoders.spectrogram import LogMel
from ssl_music.report.figures import DPI, styled
from ssl_music.report.palette import LIGHT

WIDTH, HEIGHT = 5.0, 2.5  # inches; read at 1.3 to 1.8 times this size on a wide screen, at its own on a phone
#: where both panels lie, as shares of the width: a page that moves a line over them has to know
LEFT, RIGHT = 0.13, 0.985
COLUMNS = 600  #: of the waveform's envelope
BANDS = 80
RANGE_DB = 80.0  #: from the brightest to black
WINDOW_SECONDS = 0.05  #: tells tones of 40 Hz apart, and drum strokes of a twentieth of a second
COLOURS = "magma"  #: light stands for loud on a light page and on a dark one


class Scale(NamedTuple):
    """What the pictures of a page have in common, so that they can be compared."""

    sample_rate: int
    amplitude: float
    loudest_db: float


def log_mels(waves: Sequence[np.ndarray], sample_rate: int) -> list[np.ndarray]:
    """The log-mel spectrogram of each wave in dB. Shape: (T,) each → (bands, F) each.

    >>> [mel.shape for mel in log_mels([np.zeros(22050)], 22050)]
    [(80, 87)]
    """
    # the power of two that is nearest to the window; of a very short wave the longest that fits
    nearest = 2 ** round(np.log2(WINDOW_SECONDS * sample_rate))
    n_fft = min(nearest, 2 ** int(np.log2(min(map(len, waves)))))
    front_end = LogMel(sample_rate, n_fft=n_fft, hop=max(1, n_fft // 4), bands=BANDS)
    return [front_end(torch.as_tensor(wave, dtype=torch.float32)[None, None])[0, 0].numpy() for wave in waves]


def common_scale(waves: Sequence[np.ndarray], mels: Sequence[np.ndarray], sample_rate: int) -> Scale:
    """The scale on which all of them are seen whole."""
    amplitude = max(float(np.abs(wave).max()) for wave in waves)
    return Scale(sample_rate, amplitude or 1.0, max(float(mel.max()) for mel in mels))


def picture(wave: np.ndarray, mel: np.ndarray, scale: Scale, *, colour: str = "accent") -> Figure:
    """Waveform above, log-mel below, over one axis of seconds."""
    seconds = len(wave) / scale.sample_rate
    with styled():
        figure = Figure((WIDTH, HEIGHT), dpi=DPI)
        above = figure.add_axes((LEFT, 0.70, RIGHT - LEFT, 0.27))
        below = figure.add_axes((LEFT, 0.17, RIGHT - LEFT, 0.49))
        for axes in (above, below):
            axes.tick_params(labelsize=8, pad=3)
            axes.grid(False)
            axes.spines["bottom"].set_visible(False)
        _waveform(above, wave, seconds, scale.amplitude, colour)
        below.imshow(
            mel, origin="lower", aspect="auto", interpolation="none", cmap=COLOURS,
            extent=(0.0, seconds, 0.0, len(mel)), vmin=scale.loudest_db - RANGE_DB, vmax=scale.loudest_db,
        )  # fmt: skip
        ticks = [hz for hz in (125, 500, 2000, 8000) if hz < 0.45 * scale.sample_rate]
        below.set_yticks([_band(hz, scale.sample_rate, len(mel)) for hz in ticks], [f"{hz:,}" for hz in ticks])
        below.set_ylabel("Hz", fontsize=8)
        below.set_xlabel("seconds", fontsize=8, labelpad=2)
        below.set_xlim(0.0, seconds)
    return figure


def colour_key() -> Figure:
    """The colours of the log-mel pictures and what they stand for."""
    with styled():
        figure = Figure((2.6, 0.42), dpi=DPI)
        axes = figure.add_axes((0.10, 0.62, 0.80, 0.34))
        axes.imshow(
            np.linspace(0.0, 1.0, 128)[None], aspect="auto", interpolation="none", cmap=COLOURS,
            extent=(-RANGE_DB, 0.0, 0.0, 1.0),
        )  # fmt: skip
        axes.set_yticks([])
        ticks = np.linspace(-RANGE_DB, 0.0, 5)
        axes.set_xticks(ticks, [f"{tick:.0f} dB".replace("-", "−") for tick in ticks])
        axes.tick_params(labelsize=8, pad=3)
        axes.grid(False)
    return figure


def _waveform(axes: Axes, wave: np.ndarray, seconds: float, amplitude: float, colour: str) -> None:
    """The envelope from the least to the greatest sample of each column."""
    count = min(COLUMNS, len(wave))
    starts = np.arange(count) * len(wave) // count
    time = (np.arange(count) + 0.5) * seconds / count
    low, high = np.minimum.reduceat(wave, starts), np.maximum.reduceat(wave, starts)
    axes.fill_between(time, low, high, color=LIGHT[colour], linewidth=0.4)
    axes.set_xlim(0.0, seconds)
    axes.set_ylim(-1.05 * amplitude, 1.05 * amplitude)
    step = next(step for step in (1.0, 0.5, 0.2, 0.1, 10.0 ** np.floor(np.log10(amplitude))) if step <= amplitude)
    axes.set_yticks([-step, 0.0, step], [f"−{step:g}", "0", f"{step:g}"])
    axes.set_xticks([])
    axes.axhline(0.0, color=LIGHT["line"], linewidth=0.6, zorder=0)


def _band(hz: float, sample_rate: int, bands: int) -> float:
    """Where a frequency lies among mel bands, in bands from the lower edge of the picture (HTK's mel)."""
    mel = np.log10(1 + np.array([hz, sample_rate / 2]) / 700)
    return float(mel[0] / mel[1] * (bands + 1) - 0.5)
