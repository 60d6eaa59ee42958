"""Chains by name: those of published work, and some for what an encoder shall not become blind to.

Each is a plain function that returns a `Chain`. A recipe may say `augment: clmr` in place of a list, and the command
line `--method.augment clmr`. The crop that begins the published chains is not in them: clips are cut before.

Two things are not the published ones, in any of them. `Reverb` is another kind of reverb than sox's, with ranges of
its own; and a low-pass goes no higher than 0.49 of the sample rate, which waves at 8 kHz notice.
"""

from collections.abc import Callable

from ssl_music.augment import (
    Augmentation,
    Chain,
    Delay,
    Gain,
    HighLowPass,
    Noise,
    PitchShift,
    PolarityInversion,
    Reverb,
)
from ssl_music.augment.base import HIGHEST_TURNS
from ssl_music.errors import unknown_name


def clmr(*, sample_rate: int) -> Chain:
    """CLMR's chain, the chances of its published configuration (Spijkervet & Burgoyne, ISMIR 2021).

    Polarity 0.8, noise 0.01, gain 0.3, high- or low-pass 0.8, delay 0.3, pitch shift 0.6, reverb 0.6, with the ranges
    of torchaudio-augmentations: noise at 40 to 80 dB SNR, gain −20 to −1 dB, high-pass 200 to 1200 Hz, low-pass 2200
    to 4000 Hz, delay 200 to 450 ms, pitch ±7 semitones (any value between, not only whole semitones).
    """
    return Chain(
        [
            PolarityInversion(p=0.8),
            Noise(p=0.01, low_snr_db=40.0, high_snr_db=80.0, colors=["white"]),
            Gain(p=0.3),
            _high_or_low_pass(0.8, sample_rate),
            Delay(p=0.3),
            PitchShift(p=0.6),
            Reverb(p=0.6),
        ],
        sample_rate=sample_rate,
    )


def tutorial(*, sample_rate: int) -> Chain:
    """The chain of the tutorial "Music Classification: Beyond Supervised Learning" (Won, Spijkervet & Choi, 2021).

    Polarity 0.8, noise 0.3, gain 0.2, high- or low-pass 0.8, delay 0.5, pitch shift 0.4, reverb 0.3; ranges as in
    `clmr`, but for the noise. That is loud: "snr" 0.3 to 0.5 is a ratio of standard deviations, 10.5 to 6 dB.
    """
    return Chain(
        [
            PolarityInversion(p=0.8),
            Noise(p=0.3, low_snr_db=6.0, high_snr_db=10.5, colors=["white"]),
            Gain(p=0.2),
            _high_or_low_pass(0.8, sample_rate),
            Delay(p=0.5),
            PitchShift(p=0.4),
            Reverb(p=0.3),
        ],
        sample_rate=sample_rate,
    )


def noisy_student(*, sample_rate: int) -> Chain:
    """What the student hears in noisy student training (Won, Choi & Serra, "Semi-supervised music tagging
    transformer", ISMIR 2021); the teacher hears the clip as it is.

    The code published with the paper has the effects, order, chances and ranges of `tutorial`, all of them.
    """
    return tutorial(sample_rate=sample_rate)


def key_safe(*, sample_rate: int) -> Chain:
    """`clmr` without its pitch shift, for encoders that shall tell keys, chords or melodies.

    A pitch shift in training teaches that the key does not matter: on GiantSteps CLMR's embeddings find 14.9 % of the
    keys, those of MULE, trained without, 66.7 %. The other effects leave every partial at its frequency.
    """
    effects = [effect for effect in clmr(sample_rate=sample_rate).augmentations if isinstance(effect, Augmentation)]
    return Chain([effect for effect in effects if not isinstance(effect, PitchShift)], sample_rate=sample_rate)


def tempo_safe(*, sample_rate: int) -> Chain:
    """For encoders that shall tell tempo, beats or rhythm: every onset stays where it is, and none is added.

    `clmr` without its delay, whose echo of 200 to 450 ms is a beat of its own, with a room of 0.1 to 0.3 s in place
    of the large ones, gone before the next sixteenth of most music; those two numbers are ours. And without pitch
    shift: it keeps the tempo, but moves an onset by up to 15 ms, and beyond ±2 semitones doubles some clicks.
    """
    return Chain(
        [
            PolarityInversion(p=0.8),
            Noise(p=0.01, low_snr_db=40.0, high_snr_db=80.0, colors=["white"]),
            Gain(p=0.3),
            _high_or_low_pass(0.8, sample_rate),
            Reverb(p=0.6, low_rt60_seconds=0.1, high_rt60_seconds=0.3, high_pre_delay_ms=5.0),
        ],
        sample_rate=sample_rate,
    )


def light(*, sample_rate: int) -> Chain:
    """Mild and cheap, for little data, fine-tuning or a first try; every number is ours.

    Polarity 0.5, gain of −6 to −1 dB 0.5, noise at 30 to 60 dB 0.2, and with 0.3 a filter that takes the deep bass
    (under 40 to 120 Hz) or some treble (over 5 to 8 kHz).
    """
    return Chain(
        [
            PolarityInversion(p=0.5),
            Noise(p=0.2, low_snr_db=30.0, high_snr_db=60.0, colors=["white"]),
            Gain(p=0.5, low_db=-6.0),
            HighLowPass(
                p=0.3,
                highpass_low_hz=40.0,
                highpass_high_hz=120.0,
                lowpass_low_hz=_at_most(5000.0, sample_rate),
                lowpass_high_hz=_at_most(8000.0, sample_rate),
            ),
        ],
        sample_rate=sample_rate,
    )


PRESETS: dict[str, Callable[..., Chain]] = {
    preset.__name__: preset for preset in (clmr, tutorial, noisy_student, key_safe, tempo_safe, light)
}


def named(name: str, *, sample_rate: int) -> Chain:
    """The chain of that name, for waves of this rate in Hz.

    >>> named("light", sample_rate=22050)
    Chain([
        PolarityInversion(p=0.5),
    ...
    ], sample_rate=22050)
    >>> named("clmrr", sample_rate=22050)
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: unknown chain of augmentations 'clmrr'; did you mean 'clmr'? Known: clmr, ...
    """
    if name not in PRESETS:
        raise unknown_name("chain of augmentations", name, list(PRESETS))
    return PRESETS[name](sample_rate=sample_rate)


def _high_or_low_pass(p: float, sample_rate: int) -> HighLowPass:
    return HighLowPass(p=p, lowpass_high_hz=_at_most(4000.0, sample_rate))


def _at_most(hz: float, sample_rate: int) -> float:
    return min(hz, HIGHEST_TURNS * sample_rate)
