"""The one log-mel front end: waveform to decibels of mel bands, on whatever device the waveform is.

`torch.stft` and one matrix product with torchaudio's HTK filterbank: the numbers of torchaudio's `MelSpectrogram`
(power 2, centred, reflected edges) followed by `AmplitudeToDB`, as the 2020 comparison used them (Won et al.,
arXiv 2006.00751), at about a third of their cost on a CPU.
"""

import warnings

import torch
from torch import Tensor, nn

from ssl_music._torchaudio import torchaudio
from ssl_music.errors import UserError

#: a power of 1e-10 is the floor, -100 dB: AmplitudeToDB's default
FLOOR = 1e-10
#: clips whose spectra fit the cache of a CPU core; all at once cost 1.6 to 2.7 times as much
CPU_ROWS = 4


class LogMel(nn.Module):
    """Mel bands in decibels, in float32 also under autocast; `f_max_hz=None` is half the sample rate.

    Window and filterbank are no part of the weights: a checkpoint does not hold them.

    Shape: wave (B, 1, T) → (B, 1, bands, T // hop + 1), T at least n_fft // 2 + 1.

    >>> LogMel(16000, n_fft=512, hop=256, bands=128)(torch.zeros(2, 1, 59049)).shape
    torch.Size([2, 1, 128, 231])
    """

    window: Tensor
    filterbank: Tensor

    def __init__(
        self,
        sample_rate: int,
        *,
        n_fft: int,
        hop: int,
        bands: int,
        f_min_hz: float = 0.0,
        f_max_hz: float | None = None,
    ) -> None:
        super().__init__()
        f_max_hz = sample_rate / 2 if f_max_hz is None else f_max_hz
        if min(sample_rate, n_fft, hop, bands) < 1:
            raise UserError(
                "a spectrogram wants sample_rate, n_fft, hop and bands of at least 1; "
                f"came {sample_rate}, {n_fft}, {hop}, {bands}"
            )
        if not 0 <= f_min_hz < f_max_hz <= sample_rate / 2:
            raise UserError(
                f"mel bands want 0 <= f_min_hz < f_max_hz <= {sample_rate / 2:g}, half the sample rate; "
                f"came {f_min_hz:g} and {f_max_hz:g}"
            )
        self.n_fft = n_fft
        self.hop = hop
        self.minimum_samples = n_fft // 2 + 1  # reflection at the edges wants more than half a window
        with warnings.catch_warnings():
            # 128 bands from 512 points leave some low bands empty: constant -100 dB, in the published models too
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            filterbank = torchaudio.functional.melscale_fbanks(
                n_fft // 2 + 1, f_min_hz, f_max_hz, bands, sample_rate, norm=None, mel_scale="htk"
            )
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filterbank", filterbank, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        rows = CPU_ROWS if wave.device.type == "cpu" else max(1, len(wave))
        with torch.autocast(wave.device.type, enabled=False):
            mel = torch.cat([self._mel(part) for part in wave[:, 0].float().split(rows)])  # (B, F, M)
            decibels = 10 * mel.clamp(min=FLOOR).log10()
        return decibels.mT.contiguous().unsqueeze(1)  # (B, 1, M, F)

    def _mel(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return power.mT @ self.filterbank  # (B, F, M)
