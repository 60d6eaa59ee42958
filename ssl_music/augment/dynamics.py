"""Dynamic range: a compressor with drawn settings, and the named profiles of the robustness study.

Both measure the level, follow it, read a gain off a static curve, and apply it. The level is the RMS of blocks of
5 ms. The follower is the decoupled peak detector (Giannoulis, Massberg & Reiss 2012, "Digital dynamic range
compressor design", J. Audio Eng. Soc. 60(6)): a peak that decays exponentially with the release time, smoothed by
one pole with the attack time; both times are to 1 − 1/e, 63 %. Neither part is a loop over blocks:

    peak  y[k] = max(x[k], b·y[k−1]), b = exp(−block/release), is max over j ≤ k of x[j]·b^(k−j): in the logarithm a
          running maximum of a straight line, cummax(log x[j] − j·log b) + k·log b.
    pole  z[k] = a·z[k−1] + (1 − a)·y[k], a = exp(−block/attack), is a convolution with (1 − a)·aᵏ: one small FFT.

The gain is interpolated linearly between the blocks' middles, so it begins up to a block early. For gradients it is a
constant.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import decibels, uniform
from ssl_music.errors import UserError, unknown_name

BLOCK_SECONDS = 0.005
#: The least level that the follower tells from silence.
FLOOR_DB = -120.0


class Compressor(Augmentation):
    """Makes what is louder than a threshold quieter by a ratio, with attack and release.

    Static curve, with a sharp knee: gain_db = −(1 − 1/ratio) · max(0, level_db − threshold_db). Levels are RMS in dB
    relative to full scale (a constant 1 has 0 dB, a full sine −3 dB). With `make_up` the row gets back the power
    that it had; without it, it only becomes quieter. All settings are drawn evenly; the ranges are our own choice:
    thresholds below and within the usual levels of music, from gentle to nearly limiting, from the times of a mix
    bus to those of a single drum.

    >>> quiet_then_loud = torch.cat([torch.full((1, 1, 22050), 0.01), torch.full((1, 1, 22050), 1.0)], dim=-1)
    >>> effect = Compressor(p=1.0, low_threshold_db=-20.0, high_threshold_db=-20.0, low_ratio=4.0, high_ratio=4.0)
    >>> out = effect.at_rate(22050)(quiet_then_loud)
    >>> 20 * torch.log10(out[0, 0, [20000, 44000]] / out[0, 0, 0])  # 40 dB apart; 20 of them become 5
    tensor([ 0.0..., 25.0...])
    """

    def __init__(
        self,
        *,
        p: float = 0.3,
        low_threshold_db: float = -40.0,
        high_threshold_db: float = -15.0,
        low_ratio: float = 2.0,
        high_ratio: float = 10.0,
        low_attack_ms: float = 5.0,
        high_attack_ms: float = 50.0,
        low_release_ms: float = 50.0,
        high_release_ms: float = 500.0,
        make_up: bool = True,
    ) -> None:
        super().__init__(p=p)
        self.low_threshold_db = low_threshold_db
        self.high_threshold_db = high_threshold_db
        self.low_ratio = low_ratio
        self.high_ratio = high_ratio
        self.low_attack_ms = low_attack_ms
        self.high_attack_ms = high_attack_ms
        self.low_release_ms = low_release_ms
        self.high_release_ms = high_release_ms
        self.make_up = make_up
        for name, least in (("threshold_db", FLOOR_DB), ("ratio", 1.0), ("attack_ms", 0.01), ("release_ms", 0.01)):
            self.check_range(f"low_{name}", f"high_{name}", above=least)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        names = ("threshold_db", "ratio", "attack_ms", "release_ms")
        return {n: uniform(getattr(self, f"low_{n}"), getattr(self, f"high_{n}"), wave, generator) for n in names}

    def apply(  # type: ignore[override]
        self, wave: Tensor, *, threshold_db: Tensor, ratio: Tensor, attack_ms: Tensor, release_ms: Tensor
    ) -> Tensor:
        block = block_samples(self.rate())
        level_db = followed(levels(wave.detach(), block), attack_ms, release_ms)
        gain = decibels((level_db - threshold_db[:, None]).clamp_min_(0.0) * (1 / ratio - 1)[:, None])  # (B, K)
        out = wave * interpolated(gain, wave.shape[-1], block)[:, None]
        if not self.make_up:
            return out
        before, after = (torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) for x in (wave, out))
        return out * (before / after.clamp_min(1e-20))


class Profile(NamedTuple):
    """The arguments of sox's `compand` that a named profile stands for."""

    attack_ms: float
    release_ms: float
    curve: tuple[tuple[float, float], ...]  #: (level in, level out) in dB, rising; the gain stays beyond the ends
    gain_db: float = 0.0
    look_ahead_ms: float = 100.0


#: The presets of muda (McFee, Humphrey & Bello 2015; muda/deformers/data/drc_presets.json), which has them from a
#: forum (doom9.org, thread 165807); all names but "radio" are those of Dolby Digital's profiles.
PROFILES = {
    "radio": Profile(10, 1000, ((-90, -90), (-70, -70), (-60, -20), (0, 0)), gain_db=-5, look_ahead_ms=0),
    "film standard": Profile(100, 300, ((-90, -90), (-70, -64), (-43, -37), (-31, -31), (-21, -21), (0, -20))),
    "film light": Profile(100, 300, ((-90, -90), (-70, -64), (-53, -47), (-41, -41), (-21, -21), (0, -20))),
    "music standard": Profile(100, 300, ((-90, -90), (-70, -58), (-55, -43), (-31, -31), (-21, -21), (0, -20))),
    "music light": Profile(100, 300, ((-90, -90), (-70, -58), (-65, -53), (-41, -41), (-21, -21), (0, -11))),
    "speech": Profile(100, 300, ((-90, -90), (-70, -55), (-50, -35), (-31, -31), (-21, -21), (0, -20))),
}


class DynamicRangeCompression(Augmentation):
    """Compresses by one of the named `profiles`, each as likely: loud parts become quieter, quiet ones louder.

    The robustness study of music tagging (Won et al. 2020, "Evaluation of CNN-based automatic music tagging models";
    its training/robustness.py) perturbs by muda's presets "music standard" and "speech", the default here. Known are
    "radio", "film standard", "film light", "music standard", "music light" and "speech"; their numbers stand in
    `PROFILES`. sox follows the magnitude of each sample where we follow the RMS of 5 ms, and starts at full level
    where we start at that of the first block. On music its gains and ours differ by 0.2 to 2.3 dB on average (ours
    are the higher for "radio", the lower for the others), and the waves correlate by 0.990 or more.

    >>> tone = 0.5 * torch.sin(torch.arange(22050) * 0.2)[None, None]  # RMS −9 dB: 12 above the knee at −21
    >>> out = DynamicRangeCompression(p=1.0, profiles=["music standard"]).at_rate(22050)(tone)
    >>> float(20 * torch.log10(out.std() / tone.std()))
    -11.4...
    """

    def __init__(self, *, p: float = 0.3, profiles: Sequence[str] = ("music standard", "speech")) -> None:
        super().__init__(p=p)
        self.profiles = profiles
        if isinstance(profiles, str) or not profiles:
            raise UserError(f"DynamicRangeCompression: came profiles={profiles!r}; wanted a list of names")
        for name in profiles:
            if name not in PROFILES:
                raise unknown_name("profile", name, list(PROFILES))

    def choices(self) -> dict[str, Sequence[str]]:
        return {"profile": self.profiles}

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        if len(self.profiles) == 1:
            return {}
        return {"profile": uniform(0.0, len(self.profiles), wave, generator).long()}

    def apply(self, wave: Tensor, *, profile: Tensor | None = None) -> Tensor:  # type: ignore[override]
        if profile is None:
            profile = torch.zeros(len(wave), dtype=torch.int64, device=wave.device)
        chosen = [PROFILES[name] for name in self.profiles]

        def of_rows(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32).to(wave.device, non_blocking=True)[profile]

        block = block_samples(self.rate())
        times_ms = of_rows([its.attack_ms for its in chosen]), of_rows([its.release_ms for its in chosen])
        level_db = followed(levels(wave.detach(), block), *times_ms)
        blocks = torch.arange(level_db.shape[1], device=wave.device)
        later = (of_rows([its.look_ahead_ms / 1000 / BLOCK_SECONDS for its in chosen])).round().long()
        level_db = level_db.gather(1, (blocks + later[:, None]).clamp_max(len(blocks) - 1))
        gain_db = torch.stack([read_off(level_db, its) for its in chosen])  # (P, B, K)
        gain = decibels(gain_db[profile, torch.arange(len(wave), device=wave.device)])
        return wave * interpolated(gain, wave.shape[-1], block)[:, None]


def read_off(level_db: Tensor, profile: Profile) -> Tensor:
    """The gain in dB that the static curve of a profile gives at each level: straight lines between its points."""
    (start, start_out), *_ = profile.curve
    gain_db = torch.full_like(level_db, start_out - start + profile.gain_db)
    for (low, low_out), (high, high_out) in zip(profile.curve, profile.curve[1:], strict=False):
        slope = (high_out - low_out) / (high - low) - 1
        gain_db.add_((level_db - low).clamp_(0.0, high - low), alpha=slope)
    return gain_db


def block_samples(sample_rate: int) -> int:
    """An even number of samples, so that the middle lies between two."""
    return 2 * max(1, round(BLOCK_SECONDS / 2 * sample_rate))


def levels(wave: Tensor, block: int) -> Tensor:
    """The RMS of each block; the last may be shorter. Shape: (B, 1, T) → (B, K)."""
    samples = wave.shape[-1]
    whole, rest = divmod(samples, block)
    parts = [wave[:, 0, : whole * block].unflatten(1, (whole, block))] if whole else []
    parts += [wave[:, :, samples - rest :]] if rest else []
    return torch.cat([torch.linalg.vector_norm(part, dim=2) / part.shape[2] ** 0.5 for part in parts], dim=1)


def followed(level: Tensor, attack_ms: Tensor, release_ms: Tensor) -> Tensor:
    """The level in dB as the follower sees it; it starts at the first block's. Shape: (B, K), (B,), (B,) → (B, K)."""
    count = level.shape[1]
    index = torch.arange(count, dtype=torch.float32, device=level.device)
    fall = (1000 * BLOCK_SECONDS / release_ms)[:, None] * index  # −k · log b
    least = 10 ** (FLOOR_DB / 20)
    peak = (level.clamp_min(least).log_().add_(fall).cummax(1).values - fall).exp_()
    pole = -1000 * BLOCK_SECONDS / attack_ms[:, None]  # log a
    kernel = (index * pole).exp_().mul_(-torch.expm1(pole))
    start = peak[:, :1]
    n_fft = -(-2 * count // 128) * 128
    spectrum = torch.fft.rfft(peak - start, n=n_fft) * torch.fft.rfft(kernel, n=n_fft)
    smooth = start + torch.fft.irfft(spectrum, n=n_fft)[:, :count]
    return 20 * smooth.clamp_min(least).log10_()


def interpolated(gain: Tensor, samples: int, block: int) -> Tensor:
    """From one gain a block, at its middle, to one a sample. Shape: (B, K) → (B, T)."""
    between = (torch.arange(block, device=gain.device) + 0.5) / block
    # a broadcast product and a sum: a quarter of what addcmul or interpolate cost
    lines = (gain.diff(dim=1)[:, :, None] * between).add_(gain[:, :-1, None]).flatten(1)  # (B, (K − 1) · block)
    ends = gain[:, :1].expand(-1, block // 2), gain[:, -1:].expand(-1, block // 2)
    return torch.cat([ends[0], lines, ends[1]], dim=1)[:, :samples]
