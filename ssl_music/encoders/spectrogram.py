"""The one log-mel front end: waveform to mel bands on a logarithmic scale, on whatever device the waveform is.

`torch.stft` and one matrix product with torchaudio's filterbank. The defaults are the numbers of torchaudio's
`MelSpectrogram` (power 2, centred, reflected edges, HTK) followed by `AmplitudeToDB`, as the 2020 comparison used
them (Won et al., arXiv 2006.00751), at about a third of their cost on a CPU.
"""

import inspect
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ssl_music._torchaudio import torchaudio
from ssl_music.encoders.pcen import PCEN
from ssl_music.encoders.specaugment import SpecAugment
from ssl_music.errors import UserError, unknown_name

#: a power of 1e-10 is the floor, -100 dB: AmplitudeToDB's default
FLOOR = 1e-10
#: clips whose spectra fit the cache of a CPU core; all at once cost 1.6 to 2.7 times as much
CPU_ROWS = 4
MEL_SCALES = ["htk", "slaney"]
SCALES = ["db", "log1p10k", "pcen"]


class LogMel(nn.Module):
    """Mel bands in decibels, or compressed otherwise; in float32 also under autocast.

    `f_max_hz=None` is half the sample rate. `power` is 2 (power) or 1 (magnitude) before the filterbank.
    `mel_scale` is "htk", mel = 2595 log10(1 + f / 700), torchaudio's default, or "slaney", linear below 1 kHz, with
    `mel_norm="slaney"` bands of equal area: librosa's defaults, as in the original musicnn.

    `scale` is "db", decibels with a floor of -100; "log1p10k", log10(1 + 10⁴x) of the original musicnn (Pons et al.
    2018); or "pcen", per-channel energy normalisation, whose numbers `pcen` may change. `spec_augment` masks time and
    frequency in training, the last step of all ({} for its defaults). `PCEN` and `SpecAugment` say their settings.

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
        power: int = 2,
        mel_scale: str = "htk",
        mel_norm: str | None = None,
        scale: str = "db",
        pcen: dict[str, Any] | None = None,
        spec_augment: dict[str, Any] | None = None,
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
        if power not in (1, 2):
            raise UserError(f"power is 2, of a power spectrum, or 1, of a magnitude spectrum; came {power}")
        if mel_scale not in MEL_SCALES:
            raise unknown_name("mel scale", mel_scale, MEL_SCALES)
        if mel_norm not in (None, "slaney"):
            raise UserError(f"mel_norm is None or 'slaney', bands of equal area; came {mel_norm!r}")
        if scale not in SCALES:
            raise unknown_name("scale of a spectrogram", scale, SCALES)
        if pcen is not None and scale != "pcen":
            raise UserError(f"pcen={pcen} is read with scale 'pcen' only; came scale {scale!r}: change one of them")
        self.n_fft = n_fft
        self.hop = hop
        self.power = power
        self.scale = scale
        self.minimum_samples = n_fft // 2 + 1  # reflection at the edges wants more than half a window
        with warnings.catch_warnings():
            # 128 bands from 512 points leave some low bands empty: constant -100 dB, in the published models too
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            filterbank = torchaudio.functional.melscale_fbanks(
                n_fft // 2 + 1, f_min_hz, f_max_hz, bands, sample_rate, norm=mel_norm, mel_scale=mel_scale
            )
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filterbank", filterbank, persistent=False)
        settings = {"input_gain": 2.0 ** (31 * power), **_known("pcen", PCEN, pcen)}
        self.pcen = PCEN(bands, sample_rate / hop, **settings) if scale == "pcen" else None
        self.spec_augment = (
            None if spec_augment is None else SpecAugment(**_known("spec_augment", SpecAugment, spec_augment))
        )

    def forward(self, wave: Tensor) -> Tensor:
        # an exported or compiled graph is one for every batch size: it cannot have as many parts as the batch needs
        in_parts = wave.device.type == "cpu" and not torch.compiler.is_compiling()
        with torch.autocast(wave.device.type, enabled=False):
            wave = wave[:, 0].float()
            mel = torch.cat([self._mel(part) for part in wave.split(CPU_ROWS)]) if in_parts else self._mel(wave)
            image = self._compressed(mel).mT.contiguous().unsqueeze(1)  # (B, F, M) → (B, 1, M, F)
            return image if self.spec_augment is None else self.spec_augment(image)

    def _mel(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        if self.power == 1:
            power = power.clamp(min=1e-20).sqrt()  # a root's slope at 0 is no number
        return power.mT @ self.filterbank  # (B, F, M)

    def _compressed(self, mel: Tensor) -> Tensor:
        if self.pcen is not None:
            return self.pcen(mel)
        if self.scale == "log1p10k":
            return (1 + 1e4 * mel).log10()
        # 20 log10 of a magnitude and 10 log10 of a power have one floor of -100 dB
        return 20 / self.power * mel.clamp(min=FLOOR ** (self.power / 2)).log10()


def log_mel(sample_rate: int, mel: dict[str, Any] | None, *, n_fft: int, hop: int, bands: int) -> LogMel:
    """The front end of an encoder, whose argument `mel` names any further arguments of `LogMel`.

    >>> log_mel(16000, {"scale": "log1p10k", "mel_scale": "slaney"}, n_fft=512, hop=256, bands=96).scale
    'log1p10k'
    """
    further = _known("mel", LogMel, mel, not_here=["sample_rate", "n_fft", "hop", "bands"])
    return LogMel(sample_rate, n_fft=n_fft, hop=hop, bands=bands, **further)


def _known(
    argument: str, kind: type[nn.Module], settings: dict[str, Any] | None, not_here: list[str] | None = None
) -> dict[str, Any]:
    """`settings` if each is a keyword of `kind`; one clear error otherwise."""
    parameters = inspect.signature(kind).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in (not_here or [])]
    for name in settings or {}:
        if name in (not_here or []):
            raise UserError(f"{name} is the encoder's own argument, not one of {argument}: give it there")
        if name not in known:
            raise unknown_name(f"setting of {argument}", name, known)
    return dict(settings or {})
