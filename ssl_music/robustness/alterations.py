"""What is done to music to see whether an encoder still hears the same: named alterations, each in rising strengths.

Waves are altered at the encoder's sample rate, mono, as a whole before they are cut into chunks (see `passages`).
What is random, noise and rooms, is drawn for each track from a seed and the track's id, and is the same at every
strength: only the strength changes along a curve. Levels beyond ±1 stay as they are, as those of decoders do.

The kinds are those of the robustness study of music tagging (Won et al. 2020, arXiv 2006.00751: time stretch, pitch
shift, dynamic range compression, white noise) and of users' files: gain, lossy codecs, a narrow band, rooms, another
beginning. The steps are ours, from hardly audible to more than music is likely to meet.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ssl_music import audio
from ssl_music.augment import Augmentation, Compressor, Gain, LowFidelity, Noise, PitchShift, Reverb, TimeStretch
from ssl_music.errors import UserError, unknown_name
from ssl_music.robustness.passages import Effect

#: what effects that look at a neighbourhood are given of it: more than a piece of WSOLA and its search, a block of
#: Vorbis and the frames that an mp3's bit reservoir reaches back
CONTEXT_SECONDS = 0.5
#: as long as the followers of the compressor remember, and what makes its loudest part as loud again
FOLLOWED_SECONDS = 2.0


@dataclass(frozen=True)
class Alteration:
    """One way to alter music: `strengths` from weak to strong, in the `unit`; `label` is a format for them.

    `make(strength, sample_rate, key)` gives the effect for one track; `key` names track and seed.
    """

    name: str
    unit: str
    label: str
    strengths: tuple[float, ...]
    make: Callable[[float, int, str], Effect]

    @property
    def family(self) -> str:
        """What `pitch up` and `pitch down` share."""
        return self.name.split()[0]

    def told(self, strength: float) -> str:
        """The strength as people read it.

        >>> ALTERATIONS["noise"].told(10), ALTERATIONS["pitch up"].told(2)
        ('SNR 10 dB', '+2 semitones')
        """
        return self.label.format(strength)


def chosen(names: Sequence[str] | Mapping[str, Sequence[float] | None] | None) -> list[Alteration]:
    """The alterations of these names; a family's name (`pitch`) stands for its members, None for all.

    A mapping says other strengths: `{"noise": [30, 10]}`, None for the usual ones.

    >>> [alteration.name for alteration in chosen(["pitch", "noise"])]
    ['pitch up', 'pitch down', 'noise']
    """
    wanted = dict.fromkeys(ALTERATIONS if names is None else names)
    if isinstance(names, Mapping):
        wanted = dict(names)
    if not wanted:
        raise UserError(f"no alterations; give one or more of: {', '.join(ALTERATIONS)}")
    found: dict[str, Alteration] = {}
    for name, strengths in wanted.items():
        members = [its for its in ALTERATIONS.values() if name in (its.name, its.family)]
        if not members:
            families = [its.family for its in ALTERATIONS.values()]
            raise unknown_name("alteration", name, list(dict.fromkeys([*ALTERATIONS, *families])))
        for member in members:
            if strengths is not None and len(members) > 1:
                told = ", ".join(its.name for its in members)
                raise UserError(f"{name!r} stands for {told}: say the strengths of one of them by its name")
            found[member.name] = member if strengths is None else _with_strengths(member, strengths)
    return list(found.values())


def _with_strengths(member: Alteration, strengths: Sequence[float]) -> Alteration:
    if not strengths or len(set(strengths)) < len(strengths):
        raise UserError(f"{member.name}: strengths {list(strengths)} came; one or more different numbers are wanted")
    return replace(member, strengths=tuple(float(strength) for strength in strengths))


def tried(alterations: Sequence[Alteration], sample_rate: int) -> None:
    """Each strength on a second of silence: what cannot be done is an error before any music is heard."""
    for alteration in alterations:
        for strength in alteration.strengths:
            change = alteration.make(strength, sample_rate, "").change
            if change is not None:
                change(np.zeros(sample_rate, np.float32), 0)


def _through(effect: Augmentation, key: str, *, numbered: bool = False) -> Callable[[np.ndarray, int], np.ndarray]:
    """One of our augmentations on a passage, its draws fixed by the key, and by the passage where `numbered`."""

    def change(wave: np.ndarray, number: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(_seed(f"{key}\0{number}" if numbered else key))
        with torch.inference_mode():
            return effect(torch.from_numpy(wave)[None, None], generator)[0, 0].numpy()

    return change


def _seed(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:7], "big")


def _around(change: Callable[[np.ndarray, int], np.ndarray], *, speed: float = 1.0) -> Effect:
    return Effect(change, before_seconds=CONTEXT_SECONDS, after_seconds=CONTEXT_SECONDS, speed=speed)


def _pitch(semitones: float, sample_rate: int, key: str) -> Effect:
    shift = PitchShift(p=1.0, low_semitones=semitones, high_semitones=semitones)
    return _around(_through(shift.at_rate(sample_rate), key))


def _stretch(rate: float, sample_rate: int, key: str) -> Effect:
    """`TimeStretch` answers as many samples as it is given; here the whole passage is heard, faster or slower."""
    stretch = _through(TimeStretch(p=1.0, low_rate=rate, high_rate=rate).at_rate(sample_rate), key)

    def change(wave: np.ndarray, number: int) -> np.ndarray:
        length = math.ceil(len(wave) / rate) + 1
        # mirrored behind its end: what is slower needs room, and the last piece of what is faster reads beyond
        room = max(length - len(wave), 0) + round(CONTEXT_SECONDS * sample_rate)
        return stretch(np.pad(wave, (0, room), mode="symmetric"), number)[:length]

    return _around(change, speed=rate)


def _compression(ratio: float, sample_rate: int, key: str) -> Effect:
    """A threshold that all music is above, and the times of a mix bus; the power stays."""
    compressor = Compressor(
        p=1.0,
        low_threshold_db=-40.0,
        high_threshold_db=-40.0,
        low_ratio=ratio,
        high_ratio=ratio,
        low_attack_ms=10.0,
        high_attack_ms=10.0,
        low_release_ms=100.0,
        high_release_ms=100.0,
    )
    change = _through(compressor.at_rate(sample_rate), key)
    return Effect(change, before_seconds=FOLLOWED_SECONDS, after_seconds=FOLLOWED_SECONDS)


def _noise(snr_db: float, sample_rate: int, key: str) -> Effect:
    """White, at this ratio to the power of the track (of the passage, in a track of more than a minute)."""
    return Effect(_through(Noise(p=1.0, low_snr_db=snr_db, high_snr_db=snr_db), key, numbered=True))


def _gain(gain_db: float, sample_rate: int, key: str) -> Effect:
    return Effect(_through(Gain(p=1.0, low_db=gain_db, high_db=gain_db), key))


def _mp3(kbit_per_second: float, sample_rate: int, key: str) -> Effect:
    return _around(lambda wave, _: audio.through_mp3(wave, sample_rate, kbit_per_second=kbit_per_second))


def _ogg(quality: float, sample_rate: int, key: str) -> Effect:
    return _around(lambda wave, _: audio.through_ogg(wave, sample_rate, quality=quality))


def _band(cutoff_hz: float, sample_rate: int, key: str) -> Effect:
    """A steep low-pass, 70 dB down from 0.5 kHz above the cutoff; a cutoff at half the rate leaves all there is."""
    if cutoff_hz >= sample_rate / 2:
        return Effect(lambda wave, _: wave)
    effect = LowFidelity(p=1.0, low_cutoff_hz=cutoff_hz, high_cutoff_hz=cutoff_hz).at_rate(sample_rate)

    def change(wave: np.ndarray, _: int) -> np.ndarray:
        with torch.inference_mode():
            return effect.low_passed(torch.from_numpy(wave)[None, None], torch.tensor([cutoff_hz]))[0, 0].numpy()

    return _around(change)


def _reverb(rt60_seconds: float, sample_rate: int, key: str) -> Effect:
    """Half of the energy in the room's tail, that of treble a quarter shorter."""
    room = Reverb(
        p=1.0,
        low_rt60_seconds=rt60_seconds,
        high_rt60_seconds=rt60_seconds,
        low_damping=0.25,
        high_damping=0.25,
        low_pre_delay_ms=10.0,
        high_pre_delay_ms=10.0,
        low_wet=0.5,
        high_wet=0.5,
    )
    return Effect(_through(room.at_rate(sample_rate), key), before_seconds=rt60_seconds + CONTEXT_SECONDS)


def _offset(seconds: float, sample_rate: int, key: str) -> Effect:
    if not 0 <= seconds < float("inf"):
        raise UserError(f"offset: {seconds} seconds came; 0 or more are wanted")
    return Effect(skip_seconds=seconds)


#: name → alteration. Tempo and pitch: an octave and half as fast are the ends of what our effects and most music
#: allow. SNR from inaudible to noise as loud as the music. mp3 in mono: 64 kbit/s is what 128 is to stereo. Vorbis
#: qualities as oggenc's -q. Cutoffs: 3400 Hz is a telephone. RT60 from a furnished room to a church.
ALTERATIONS: dict[str, Alteration] = {
    made.name: made
    for made in (
        Alteration("stretch faster", "× tempo", "{:g} × tempo", (1.05, 1.1, 1.25, 1.5, 2.0), _stretch),
        Alteration("stretch slower", "× tempo", "{:g} × tempo", (0.95, 0.9, 0.8, 0.67, 0.5), _stretch),
        Alteration("pitch up", "semitones", "{:+g} semitones", (0.5, 1.0, 2.0, 4.0, 7.0), _pitch),
        Alteration("pitch down", "semitones", "{:+g} semitones", (-0.5, -1.0, -2.0, -4.0, -7.0), _pitch),
        Alteration("compression", "ratio", "{:g}:1", (1.5, 2.0, 4.0, 8.0, 16.0), _compression),
        Alteration("noise", "dB SNR", "SNR {:g} dB", (40.0, 30.0, 20.0, 10.0, 0.0), _noise),
        Alteration("gain up", "dB", "{:+g} dB", (3.0, 6.0, 12.0, 18.0), _gain),
        Alteration("gain down", "dB", "{:+g} dB", (-3.0, -6.0, -12.0, -24.0, -40.0), _gain),
        Alteration("mp3", "kbit/s mono", "{:g} kbit/s", (64.0, 48.0, 32.0, 24.0, 16.0, 8.0), _mp3),
        Alteration("ogg", "quality", "quality {:g}", (8.0, 6.0, 4.0, 2.0, 0.0), _ogg),
        Alteration("band limit", "Hz", "below {:g} Hz", (7000.0, 5000.0, 3400.0, 2000.0, 1000.0), _band),
        Alteration("reverb", "s RT60", "RT60 {:g} s", (0.3, 0.6, 1.0, 2.0, 4.0), _reverb),
        Alteration("offset", "s", "{:g} s later", (0.25, 0.5, 1.0, 1.5, 2.0), _offset),
    )
}
