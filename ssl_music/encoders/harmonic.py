"""Harmonic CNN: band-pass filters at the harmonics of pitches, their bandwidth learnt (Won et al., ICASSP 2020)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import ConvBlock, PooledResidualBlock, channels_last, norm_1d, norm_2d
from ssl_music.errors import UserError

#: bandwidth = (α · frequency + β) / Q: with Q = 1 the equivalent rectangular bandwidth of hearing
ALPHA, BETA_HZ = 0.1079, 24.7
#: the lowest pitch is C1; MIDI numbers are semitones, 69 is 440 Hz
LOWEST_MIDI = 24
#: a power of 1e-10 is the floor, -100 dB: AmplitudeToDB's default
FLOOR = 1e-10
#: clips whose spectra fit the cache of a CPU core
CPU_ROWS = 4

#: the arguments of the 2020 comparison, whose weights are published (Won et al., arXiv 2006.00751)
FORMS: dict[str, dict[str, Any]] = {"2020": {"n_fft": 512, "last_pools": [[2, 3], [2, 3]]}}


class HarmonicBands(nn.Module):
    """Power in triangular bands at 1, 2, … times the frequency of each pitch, in decibels.

    Pitches go from C1 to the one whose last harmonic is half the sample rate: at 16 kHz and six harmonics MIDI
    24 … 88, 128 filters two to a semitone. A band of centre f is (α f + β) / Q wide; Q is learnt,
    one number for all of them. As published, the bins of the spectrum are taken to lie from 0 to half the sample rate
    at equal distances, also where an odd n_fft ends a little below it.

    Shape: wave (B, 1, T) → (B, harmonics, bands, F), F = (T - n_fft % 2) // hop + 1.

    >>> HarmonicBands(16000, n_fft=513, hop=256, harmonics=6, filters_per_semitone=2)(torch.zeros(1, 1, 80000)).shape
    torch.Size([1, 6, 128, 313])
    """

    window: Tensor
    centres_hz: Tensor
    bins_hz: Tensor

    def __init__(self, sample_rate: int, *, n_fft: int, hop: int, harmonics: int, filters_per_semitone: int) -> None:
        super().__init__()
        if min(sample_rate, n_fft, hop, harmonics, filters_per_semitone) < 1:
            raise UserError(
                "harmonic bands want sample_rate, n_fft, hop, harmonics and filters_per_semitone of at least 1; "
                f"came {sample_rate}, {n_fft}, {hop}, {harmonics}, {filters_per_semitone}"
            )
        highest = round(12 * math.log2(sample_rate / (2 * harmonics) / 440) + 69)
        self.n_fft = n_fft
        self.hop = hop
        self.harmonics = harmonics
        self.bands = max(0, highest - LOWEST_MIDI) * filters_per_semitone
        self.minimum_samples = n_fft // 2 + 1  # reflection at the edges wants more than half a window
        midi = LOWEST_MIDI + torch.arange(self.bands, dtype=torch.float64) / filters_per_semitone
        pitch_hz = 440 * 2 ** ((midi - 69) / 12)
        multiples = torch.arange(1, harmonics + 1, dtype=torch.float64)
        self.q = nn.Parameter(torch.ones(1))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("centres_hz", torch.outer(multiples, pitch_hz).flatten().float(), persistent=False)
        self.register_buffer("bins_hz", torch.linspace(0, sample_rate // 2, n_fft // 2 + 1), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        # an exported, compiled or traced graph is one for every batch size
        graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
        in_parts = wave.device.type == "cpu" and not graph
        with torch.autocast(wave.device.type, enabled=False):
            wave, filters = wave[:, 0].float(), self.filters()
            parts = wave.split(CPU_ROWS) if in_parts else (wave,)
            power = torch.cat([self._power(part) @ filters for part in parts])  # (B, F, harmonics · bands)
            decibels = 10 * power.clamp(min=FLOOR).log10()
        return decibels.mT.contiguous().unflatten(1, (self.harmonics, self.bands))

    def filters(self) -> Tensor:
        """Triangles over the bins: (n_fft // 2 + 1, harmonics · bands)."""
        half_hz = (ALPHA * self.centres_hz + BETA_HZ) / self.q / 2
        return (1 - (self.bins_hz.unsqueeze(1) - self.centres_hz).abs() / half_hz).clamp(min=0)

    def _power(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square()).mT  # (B, F, n_fft // 2 + 1)


class HarmonicCNN(Encoder):
    """A CNN on harmonic bands, the harmonics as its input channels; the largest value over time, one dense layer.

    Convolution block to 128 channels, three residual ones of 128, a convolution block to 256, two residual ones of
    256; all 3 × 3 and halving, the last pooling (2, 3). The defaults are the paper's: 80,000 samples (5 s) at 16 kHz,
    n_fft 513, hop 256, six harmonics of 128 bands. The 2020 comparison, whose weights are published, has n_fft 512
    and pools both last blocks by (2, 3): `HarmonicCNN(**FORMS["2020"])`, with the same weights' names and shapes.

    **The embedding is the 256-d activation of the dense layer, after its norm and ReLU**; what follows in the paper,
    dropout .5 and a linear layer to 50 tags, is `Tagger(encoder, tags, dropout=0.5)`, together 3,631,551 parameters
    (the encoder alone: 3,618,701).

    Any T works that leaves one frame after the poolings; the maximum is taken over what remains of time and bands.

    Shape: wave (B, 1, T) → (B, 2 · width).

    >>> encoder = HarmonicCNN(width=4)
    >>> encoder(torch.zeros(2, 1, encoder.input_samples)).shape
    torch.Size([2, 8])
    """

    folds = (("dense", "dense_norm"),)

    def __init__(
        self,
        *,
        width: int = 128,
        harmonics: int = 6,
        filters_per_semitone: int = 2,
        sample_rate: int = 16000,
        input_samples: int = 80000,
        n_fft: int = 513,
        hop: int = 256,
        last_pools: list[list[int]] | None = None,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.width = width
        self.harmonics = harmonics
        self.filters_per_semitone = filters_per_semitone
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.last_pools = [[2, 2], [2, 3]] if last_pools is None else last_pools
        self.norm = norm
        self.embedding_dim = 2 * width
        self.harmonic_bands = HarmonicBands(
            sample_rate, n_fft=n_fft, hop=hop, harmonics=harmonics, filters_per_semitone=filters_per_semitone
        )
        pools = [(2, 2)] * 5 + [(int(bands), int(frames)) for bands, frames in self.last_pools]
        bands, frames = (math.prod(sizes) for sizes in zip(*pools, strict=True))
        if self.harmonic_bands.bands < bands:
            raise UserError(
                f"the poolings want {bands} bands; {harmonics} harmonics below half of {sample_rate} Hz leave "
                f"{self.harmonic_bands.bands}: take fewer harmonics, more filters_per_semitone or a higher rate"
            )
        self.minimum_samples = max((frames - 1) * hop + n_fft % 2, self.harmonic_bands.minimum_samples)
        if input_samples < self.minimum_samples:
            raise UserError(f"input_samples wants at least {self.minimum_samples}; came {input_samples}")
        self.input_norm = norm_2d(norm, harmonics)
        wide = 2 * width
        self.blocks = nn.ModuleList(
            [
                ConvBlock(harmonics, width, pool=pools[0], norm=norm),
                *(PooledResidualBlock(width, width, pool=pools[i], norm=norm) for i in (1, 2, 3)),
                ConvBlock(width, wide, pool=pools[4], norm=norm),
                *(PooledResidualBlock(wide, wide, pool=pools[i], norm=norm) for i in (5, 6)),
            ]
        )
        self.dense = nn.Linear(wide, wide)
        self.dense_norm = norm_1d(norm, wide)

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.harmonic_bands(self.check(wave))))  # (B, harmonics, bands, F)
        for block in self.blocks:
            image = block(image)
        return torch.relu(self.dense_norm(self.dense(image.amax((2, 3)))))  # (B, D)
