"""Log-mel and MFCC statistics: the encoders without weights that every result is printed beside."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_music._torchaudio import torchaudio
from ssl_music.encoders.base import Encoder
from ssl_music.encoders.spectrogram import LogMel
from ssl_music.errors import UserError


class LogMelStatistics(Encoder):
    """How loud each mel band is and how much it varies: what can be known of a clip without learning.

    The embedding is the mean and the standard deviation over time of each band in decibels. With `mfcc` > 0 it is
    mean and standard deviation of the first `mfcc` cepstral coefficients (the orthonormal DCT of the bands) and then
    of their deltas (slopes over five frames), the usual features from before deep learning.

    Shape: wave (B, 1, T) → (B, 2 · bands), or (B, 4 · mfcc).

    >>> LogMelStatistics(bands=64)(torch.zeros(2, 1, 22050)).shape
    torch.Size([2, 128])
    >>> LogMelStatistics(mfcc=20)(torch.zeros(2, 1, 22050)).shape
    torch.Size([2, 80])
    """

    dct: Tensor

    def __init__(
        self,
        *,
        bands: int = 128,
        mfcc: int = 0,
        sample_rate: int = 22050,
        input_samples: int = 59049,
        n_fft: int = 1024,
        hop: int = 512,
    ) -> None:
        super().__init__()
        if not 0 <= mfcc <= bands:
            raise UserError(f"mfcc wants 0 (the bands themselves) to {bands}, the number of bands; came {mfcc}")
        self.bands = bands
        self.mfcc = mfcc
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.embedding_dim = 4 * mfcc if mfcc else 2 * bands
        self.log_mel = LogMel(sample_rate, n_fft=n_fft, hop=hop, bands=bands)
        self.minimum_samples = self.log_mel.minimum_samples
        if input_samples < self.minimum_samples:
            raise UserError(f"n_fft {n_fft} wants {self.minimum_samples} input_samples or more; came {input_samples}")
        dct = torchaudio.functional.create_dct(mfcc, bands, norm="ortho") if mfcc else torch.zeros(bands, 0)
        self.register_buffer("dct", dct, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        series = self.log_mel(self.check(wave)).squeeze(1)  # (B, M, F)
        if self.mfcc:
            with torch.autocast(wave.device.type, enabled=False):
                cepstrum = self.dct.T @ series  # (B, mfcc, F)
                series = torch.cat([cepstrum, _deltas(cepstrum)], dim=1)
        deviation, mean = torch.std_mean(series, dim=2, correction=0)
        return torch.cat([mean, deviation], dim=1)  # (B, D)


class MfccStatistics(LogMelStatistics):
    """`LogMelStatistics` of 20 cepstral coefficients: the baseline under the name that tables give it.

    Twenty is what librosa computes by default, and what the baselines of FMA are given (Defferrard et al., ISMIR
    2017, arXiv 1612.01840: 140 numbers, seven statistics of 20 coefficients). Here each has four statistics: mean
    and standard deviation over time, of itself and of its deltas.

    Shape: wave (B, 1, T) → (B, 4 · mfcc).

    >>> MfccStatistics()(torch.zeros(2, 1, 22050)).shape
    torch.Size([2, 80])
    """

    def __init__(
        self,
        *,
        mfcc: int = 20,
        bands: int = 128,
        sample_rate: int = 22050,
        input_samples: int = 59049,
        n_fft: int = 1024,
        hop: int = 512,
    ) -> None:
        if mfcc < 1:
            raise UserError(f"MfccStatistics wants mfcc of 1 to {bands}, the number of bands; came {mfcc}")
        super().__init__(
            bands=bands, mfcc=mfcc, sample_rate=sample_rate, input_samples=input_samples, n_fft=n_fft, hop=hop
        )


def _deltas(series: Tensor) -> Tensor:
    """Slopes of the least-squares lines through five frames each, the edges repeated: (B, C, F) → (B, C, F).

    The numbers of torchaudio's `compute_deltas`, whose convolution has a group for every row of a batch: no exported
    graph can hold that for any batch.

    >>> _deltas(torch.arange(6.0).view(1, 1, 6))
    tensor([[[0.5000, 0.8000, 1.0000, 1.0000, 0.8000, 0.5000]]])
    """
    frames, padded = series.shape[2], F.pad(series, (2, 2), mode="replicate")
    one = padded[:, :, 3 : 3 + frames] - padded[:, :, 1 : 1 + frames]
    two = padded[:, :, 4 : 4 + frames] - padded[:, :, :frames]
    return (one + 2 * two) / 10
