"""What PASE's regression workers want to know of a wave: summaries of its samples, spectrum, cepstrum and prosody."""

import math
import warnings

import torch
from torch import Tensor, nn

from ssl_music._torchaudio import torchaudio
from ssl_music.errors import UserError
from ssl_music.losses.base import at_least_float32

#: power of 1e-10 is the floor, -100 dB, as in the log-mel front end
FLOOR = 1e-10
#: waves whose spectra are in memory at once
ROWS = 8
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
CEPSTRA, MEL_BANDS = 20, 40
#: so many numbers of the waveform, each the mean of a block of samples, about so many in a second
EXCERPT_NUMBERS, EXCERPT_RATE = 256, 4000
#: a frame holds three periods of the lowest pitch, as in Boersma 1993: that is 60 Hz
FRAME_SECONDS, HIGHEST_HZ = 0.050, 1000.0
#: lags of the autocorrelation in a second, at least
LAG_RATE = 32000
#: what a longer period costs per octave, and the correlation from which on a frame has a pitch: Praat's defaults
OCTAVE_COST, VOICED = 0.01, 0.45


class Targets(nn.Module):
    """What the regression workers want to know of waves of `samples` samples; nothing here learns.

    waveform   the middle of the wave: 256 means of blocks of samples, at about 4000 a second (64 ms)
    spectrum   log-power spectrum in dB: mean and standard deviation over time of each bin
    mfcc       20 cepstral coefficients of 40 mel bands: their means, and how much their deltas vary
    prosody    ln F0 (interpolated where there is no pitch), voicing, zero-crossing rate, energy in dB: mean and
               standard deviation over frames of 50 ms

    Kinds, 20 of 40 and 10 ms are PASE's; its window of 25 ms is here the next power of two of samples, without
    padding to 2048. F0 comes from the autocorrelation of each frame (Boersma 1993, "Accurate short-term analysis of
    the fundamental frequency"), between 60 and 1000 Hz; of many notes at once that is the strongest common period.

    Shape: wave (N, 1, T) → name → (N, numbers), at least float32.

    >>> targets = Targets(16000, 8000)
    >>> {name: rows.shape[1] for name, rows in targets(torch.zeros(2, 1, 8000)).items()}
    {'waveform': 256, 'spectrum': 514, 'mfcc': 40, 'prosody': 8}
    """

    window: Tensor
    filterbank: Tensor
    dct: Tensor

    def __init__(self, sample_rate: int, samples: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.samples = samples
        self.n_fft = 2 ** math.ceil(math.log2(WINDOW_SECONDS * sample_rate))
        self.hop = round(HOP_SECONDS * sample_rate)
        if samples <= self.n_fft // 2:
            raise UserError(
                f"a segment of {samples} samples at {sample_rate} Hz is too short for a spectrum: "
                f"{self.n_fft // 2 + 1} or more are wanted; make segments longer"
            )
        with warnings.catch_warnings():
            # 40 bands from few points leave some low bands empty: always at the floor, which costs nothing
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            filterbank = torchaudio.functional.melscale_fbanks(
                self.n_fft // 2 + 1, 0.0, sample_rate / 2, MEL_BANDS, sample_rate
            )
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.register_buffer("filterbank", filterbank, persistent=False)
        self.register_buffer("dct", torchaudio.functional.create_dct(CEPSTRA, MEL_BANDS, "ortho"), persistent=False)
        #: how many numbers each target has
        self.numbers = {name: rows.shape[1] for name, rows in self(torch.zeros(1, 1, samples)).items()}

    @torch.no_grad()
    def forward(self, wave: Tensor) -> dict[str, Tensor]:
        if wave.dim() != 3 or wave.shape[1:] != (1, self.samples):
            raise UserError(f"Targets: waves (N, 1, {self.samples}) are wanted; came {tuple(wave.shape)}")
        with torch.autocast(wave.device.type, enabled=False):
            parts = [self._of(part) for part in wave[:, 0].split(ROWS)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _of(self, wave: Tensor) -> dict[str, Tensor]:
        wave, window, filterbank, dct = at_least_float32(wave, self.window, self.filterbank, self.dct)
        transform = torch.stft(wave, self.n_fft, self.hop, window=window, return_complex=True)
        power = transform.real.square() + transform.imag.square()  # (R, bins, F)
        cepstrum = dct.T @ _decibels(filterbank.T @ power)  # (R, 20, F)
        deltas = torchaudio.functional.compute_deltas(cepstrum)
        return {
            "waveform": excerpt(wave, self.sample_rate),
            "spectrum": _summary(_decibels(power)),
            "mfcc": torch.cat([cepstrum.mean(dim=2), deltas.std(dim=2, correction=0)], dim=1),
            "prosody": _summary(prosody(wave, self.sample_rate)),
        }


def excerpt(wave: Tensor, sample_rate: int) -> Tensor:
    """The middle of each wave at about 4000 means of samples a second: (R, T) → (R, 256), or fewer of a short one.

    >>> excerpt(torch.arange(16.0)[None], 16000)
    tensor([[ 1.5000,  5.5000,  9.5000, 13.5000]])
    """
    block = max(1, round(sample_rate / EXCERPT_RATE))
    count = max(1, min(EXCERPT_NUMBERS, wave.shape[1] // block))
    first = (wave.shape[1] - count * block) // 2
    return wave[:, first : first + count * block].unflatten(1, (count, block)).mean(dim=2)


def prosody(wave: Tensor, sample_rate: int) -> Tensor:
    """ln F0, voicing in [0, 1], zero-crossing rate in [0, 1], energy in dB, of frames beside each other.

    Shape: wave (R, T) → (R, 4, F).

    >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(8000) / 16000)
    >>> log_f0, voicing, crossings, energy = prosody(tone[None], 16000).mean(dim=2)[0].tolist()
    >>> round(math.exp(log_f0)), round(voicing, 2), round(8000 * crossings, -1), round(energy, 1)
    (440, 1.0, 440.0, -3.0)
    """
    size = min(round(FRAME_SECONDS * sample_rate), wave.shape[1])
    frames = wave[:, : wave.shape[1] // size * size].unflatten(1, (-1, size))  # (R, F, size)
    log_f0, voicing = _pitch(frames, sample_rate)
    above = frames >= 0
    crossings = (above[..., 1:] != above[..., :-1]).to(wave.dtype).mean(dim=2)
    energy = _decibels(frames.square().mean(dim=2))
    return torch.stack([_interpolated(log_f0, voicing > VOICED), voicing, crossings, energy], dim=1)


def _pitch(frames: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """ln F0 of the best period and its correlation, 0 where there is none: (R, F, size) → (R, F) each."""
    size = frames.shape[2]
    # finer lags, through a longer inverse transform: few samples a period would favour multiples that fall on one
    finer = max(1, 2 ** math.ceil(math.log2(LAG_RATE / sample_rate)))
    shortest = max(2, math.floor(finer * sample_rate / HIGHEST_HZ))
    longest = max(finer * size // 3, shortest)
    lags = torch.arange(shortest, longest + 1, device=frames.device)  # (L,)
    window = torch.hann_window(size, dtype=frames.dtype, device=frames.device)
    n_fft = 2 ** math.ceil(math.log2(size + longest // finer + 2))

    def correlation(signal: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(signal, n_fft)
        return torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), finer * n_fft)[..., : longest + 2]

    of_window = correlation(window)
    whole = correlation((frames - frames.mean(dim=2, keepdim=True)) * window)
    # a window makes every correlation fall with the lag; its own correlation says how much (Boersma, equation 9)
    r = whole / whole[..., :1].clamp(min=FLOOR) * of_window[0] / of_window
    before, here, after = (r[..., lags + step] for step in (-1, 0, 1))
    # between the lags: the top of the parabola through three of them
    bend = (before - 2 * here + after).clamp(max=-FLOOR)
    shift = (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
    height = here - 0.25 * (before - after) * shift
    longer = torch.log2(lags / shortest)
    peak = (here >= before) & (here >= after) & (here > 0)
    score, best = (height - OCTAVE_COST * longer).masked_fill(~peak, -math.inf).max(dim=2)
    period = lags[best] + shift.gather(2, best[..., None])[..., 0]
    strength = height.gather(2, best[..., None])[..., 0].clamp(0, 1).masked_fill(score.isinf(), 0)
    return torch.log(finer * sample_rate / period), strength


def _interpolated(values: Tensor, known: Tensor) -> Tensor:
    """Straight lines over frames that are not known; where none of a row is, the middle of the pitches in octaves.

    >>> known = torch.tensor([[False, True, False, False, True]])
    >>> _interpolated(torch.tensor([[9.0, 1.0, 9.0, 9.0, 4.0]]), known)
    tensor([[1., 1., 2., 3., 4.]])
    """
    count = values.shape[1]
    place = torch.arange(count, device=values.device).expand_as(values)
    left = place.masked_fill(~known, -1).cummax(dim=1).values
    right = place.masked_fill(~known, count).flip(1).cummin(dim=1).values.flip(1)
    left, right = torch.where(left < 0, right, left), torch.where(right == count, left, right)
    left, right = left.clamp(0, count - 1), right.clamp(0, count - 1)
    share = (place - left) / (right - left).clamp(min=1)
    lines = values.gather(1, left) * (1 - share) + values.gather(1, right) * share
    middle = math.log(math.sqrt(3 / FRAME_SECONDS * HIGHEST_HZ))
    return torch.where(known.any(dim=1, keepdim=True), lines, middle)


def _decibels(power: Tensor) -> Tensor:
    return 10 * power.clamp(min=FLOOR).log10()


def _summary(series: Tensor) -> Tensor:
    """Mean and standard deviation over time: (R, C, F) → (R, 2 · C)."""
    deviation, mean = torch.std_mean(series, dim=2, correction=0)
    return torch.cat([mean, deviation], dim=1)
