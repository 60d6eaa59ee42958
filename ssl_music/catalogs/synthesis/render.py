"""A score → instrument tracks → the mix: levels, equaliser, room, hiss. Needs numpy and scipy's FFT only."""

from functools import lru_cache

import numpy as np
from scipy import fft

from ssl_music.catalogs.synthesis.arrange import Hit, Note, arrange
from ssl_music.catalogs.synthesis.artists import Artist
from ssl_music.catalogs.synthesis.drums import LEVELS, stroke
from ssl_music.catalogs.synthesis.instruments import INSTRUMENTS, SAMPLE_RATE
from ssl_music.catalogs.synthesis.plan import Plan, plan
from ssl_music.catalogs.synthesis.theory import frequency_hz

ROLES = ("lead", "comp", "bass", "drums")
#: root mean square of each role before the artist's own levels
ROLE_RMS = {"lead": 0.10, "comp": 0.10, "bass": 0.11, "drums": 0.16}
LOUDNESS_DB = (-20.0, -1.0)
FADE_SECONDS = 0.02


def render(seed: int, index: int, seconds: float) -> np.ndarray:
    """The finished piece, (T,) float32 in (-1, 1), mono, 22,050 Hz: a pure function of its arguments.

    >>> wave = render(0, 3, 2.0)
    >>> wave.shape, wave.dtype, bool(np.abs(wave).max() < 1)
    ((44100,), dtype('float32'), True)
    """
    piece = plan(seed, index)
    return mix(piece, stems(piece, seconds))


def stems(piece: Plan, seconds: float) -> dict[str, np.ndarray]:
    """Role → its track alone, dry, (T,) float32, at the level it has in the mix."""
    score = arrange(piece, seconds)
    samples = round(seconds * SAMPLE_RATE)
    rng = piece.rng(2)
    tracks: dict[str, np.ndarray] = {}
    for role in ROLES:
        if role in score.notes:
            tracks[role] = _play(score.notes[role], piece.players[role], piece.artist, samples, rng)
        elif role == "drums" and score.hits:
            tracks[role] = _drum(score.hits, piece.players[role], piece.artist, samples, rng)
    for role, track in tracks.items():
        level_db = piece.artist.levels_db[role] + (piece.genre.drums_db if role == "drums" else 0)
        level = ROLE_RMS[role] * 10 ** (level_db / 20)
        tracks[role] = track * np.float32(level / max(1e-9, _loud_rms(track)))
        if role != "drums" and piece.genre.pump:
            tracks[role] *= _pump(score.hits, piece.genre.pump, samples)
    return tracks


def _pump(hits: list[Hit], depth: float, samples: int) -> np.ndarray:
    """The gain of a compressor that listens to the kick drum: down at each stroke, back within a quarter second."""
    gain = np.ones(samples, np.float32)
    dip = 1 - depth * np.exp(-np.arange(round(0.25 * SAMPLE_RATE)) / (0.08 * SAMPLE_RATE))
    for hit in hits:
        start = round(hit.start_seconds * SAMPLE_RATE)
        if hit.voice == "kick" and start < samples:
            stop = min(samples, start + len(dip))
            gain[start:stop] = np.minimum(gain[start:stop], dip[: stop - start])
    return gain


def _loud_rms(track: np.ndarray) -> float:
    """Root mean square where the track sounds at all, so that few notes are not lifted to the level of many."""
    frames = track[: len(track) // 1024 * 1024].reshape(-1, 1024)
    power = (frames**2).mean(1) if len(frames) else np.array([np.mean(track**2)])
    return float(np.sqrt(power[power >= 0.1 * power.max()].mean()))


def _play(notes: list[Note], instrument: str, artist: Artist, samples: int, rng: np.random.Generator) -> np.ndarray:
    track = np.zeros(samples, np.float32)
    # equal notes sound equal, and are computed once
    heard: dict[tuple[int, int], np.ndarray] = {}
    for note in notes:
        start = round(note.start_seconds * SAMPLE_RATE)
        if start >= samples:
            continue
        held_ms = max(40, round(note.seconds * 920))
        if (note.midi, held_ms) not in heard:
            wave = INSTRUMENTS[instrument](frequency_hz(note.midi), held_ms / 1000, artist.colour, rng)
            heard[note.midi, held_ms] = wave / np.abs(wave).max()
        _add(track, heard[note.midi, held_ms], start, note.velocity)
    if instrument == "distorted guitar":
        track = _distorted(track, artist.colour)
    return track


def _add(track: np.ndarray, wave: np.ndarray, start: int, gain: float) -> None:
    stop = min(len(track), start + len(wave))
    track[start:stop] += np.float32(gain) * wave[: stop - start]


def _distorted(track: np.ndarray, colour: float) -> np.ndarray:
    """Driven into saturation, then through the dull loudspeaker of an amplifier (-12 dB an octave from 3 kHz)."""
    driven = np.tanh((6 + 3 * colour) * track).astype(np.float32)
    spectrum = fft.rfft(driven, n=fft.next_fast_len(len(track), real=True))
    hz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    speaker = (hz / (hz + 90)) / (1 + (hz / 3000) ** 2)
    return fft.irfft(spectrum * speaker.astype(np.float32), n=fft.next_fast_len(len(track), real=True))[: len(track)]


def _drum(hits: list[Hit], kit: str, artist: Artist, samples: int, rng: np.random.Generator) -> np.ndarray:
    track = np.zeros(samples, np.float32)
    strokes: dict[str, np.ndarray] = {}
    for hit in hits:
        start = round(hit.start_seconds * SAMPLE_RATE)
        if start < samples:
            if hit.voice not in strokes:
                strokes[hit.voice] = LEVELS[hit.voice] * stroke(hit.voice, kit, artist.colour, rng)
            _add(track, strokes[hit.voice], start, hit.velocity)
    return track


def mix(piece: Plan, tracks: dict[str, np.ndarray]) -> np.ndarray:
    """Saturation, equaliser and room in one pass through the frequency domain, then hiss, fades and loudness."""
    artist, rng = piece.artist, piece.rng(3)
    dry = np.tanh(artist.drive * sum(tracks.values())) / np.float32(artist.drive)
    room_seconds = artist.reverb_seconds
    size = fft.next_fast_len(len(dry) + round(room_seconds * SAMPLE_RATE), real=True)
    spectrum = fft.rfft(dry.astype(np.float32), n=size)
    spectrum *= _equaliser(artist, size)
    spectrum *= 1 + piece.genre.reverb * artist.reverb_level * _room(room_seconds, size, piece.seed)
    wave = fft.irfft(spectrum, n=size)[: len(dry)]
    wave /= np.sqrt(np.mean(wave**2))
    wave += np.float32(10 ** (artist.hiss_db / 20)) * rng.standard_normal(len(wave), dtype=np.float32)
    fade = np.minimum(1, np.arange(len(wave)) / (FADE_SECONDS * SAMPLE_RATE)).astype(np.float32)
    wave *= fade * fade[::-1]
    peak = 10 ** (float(rng.uniform(*LOUDNESS_DB)) / 20)
    return (wave * (peak / np.abs(wave).max())).astype(np.float32)


def _equaliser(artist: Artist, size: int) -> np.ndarray:
    """The artist's sound: a tilt about 1 kHz, one broad peak or dip, an end to the highs. Zero phase."""
    hz = np.maximum(20, fft.rfftfreq(size, 1 / SAMPLE_RATE))
    octaves = np.log2(hz)
    gain_db = artist.tilt_db_per_octave * (octaves - np.log2(1000))
    gain_db += artist.peak_db * np.exp(-((octaves - np.log2(artist.peak_hz)) ** 2) / 0.7)
    gain_db -= 10 * np.log10(1 + (hz / artist.high_cut_hz) ** 6)
    gain_db -= 10 * np.log10(1 + (30 / hz) ** 4)
    return (10 ** (gain_db / 20)).astype(np.float32)


@lru_cache(maxsize=8)
def _room(seconds: float, size: int, seed: int) -> np.ndarray:
    """The spectrum of a room's answer: noise that dies away by 60 dB in `seconds`, unit energy."""
    samples = round(seconds * SAMPLE_RATE)
    noise = np.random.default_rng([seed, 4]).standard_normal(samples)
    answer = noise * np.exp(-6.9 * np.arange(samples) / samples)
    answer[1:] += 0.6 * answer[:-1]
    answer /= np.sqrt(np.sum(answer**2))
    return fft.rfft(answer.astype(np.float32), n=size)
