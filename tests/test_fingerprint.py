"""Fingerprints: bits against a plain loop, copies that are found, recordings that are not, the store on disk."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr
from audio_toys import tone

from ssl_music import audio, pack
from ssl_music.catalogs import Folder, Synthetic
from ssl_music.errors import UserError
from ssl_music.fingerprint import Fingerprints, bits, fingerprint, fingerprint_catalog, near_duplicates

RATE = 22050


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    catalog = Synthetic(tmp_path_factory.mktemp("music") / "pieces", pieces=24, seconds=9.0, workers=1)
    assert len(catalog.tracks) == 24
    return catalog


@pytest.fixture(scope="module")
def store(music: Synthetic, tmp_path_factory: pytest.TempPathFactory) -> Fingerprints:
    return fingerprint_catalog(music, tmp_path_factory.mktemp("prints") / "store", progress=False)


def noise(seconds: float, *, rate: int = RATE, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def errors(one: np.ndarray, other: np.ndarray) -> float:
    count = min(len(one), len(other))
    return float(np.unpackbits((one[:count] ^ other[:count]).view(np.uint8)).mean())


def test_bits_are_those_of_a_plain_loop() -> None:
    rate = 5512.5  # nothing to decimate, frames of 2,048 samples every 64
    wave = noise(1.0, rate=5512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    hz = np.fft.rfftfreq(2048, 1 / rate)
    edges = 300 * (2000 / 300) ** (np.arange(34) / 33)
    energies = []
    for start in range(0, len(wave) - 2048 + 1, 64):
        power = np.abs(np.fft.rfft(wave[start : start + 2048].astype(np.float64) * window)) ** 2
        half = rate / 2048 / 2
        share = [np.clip(np.minimum(high, hz + half) - np.maximum(low, hz - half), 0, None) / (2 * half)
                 for low, high in pairwise(edges)]  # fmt: skip
        energies.append([float((power * one).sum()) for one in share])
    wanted = []
    for before, now in pairwise(energies):
        found = 0
        for m in range(32):
            found |= (now[m] - now[m + 1] - (before[m] - before[m + 1]) > 0) << m
        wanted.append(found)
    prints = fingerprint([wave], rate)
    assert len(prints) == len(wanted) == 54
    assert (
        errors(prints, np.array(wanted, np.uint32)) < 0.002
    )  # float32 beside float64, at differences of nearly zero


@pytest.mark.parametrize("rate", [4410, 5512, 8000, 16000, 22050, 32000, 44100, 48000, 96000])
def test_any_rate_gives_the_same_bits(rate: int, music: Synthetic) -> None:
    wave = audio.read(music.tracks[3].path, RATE)
    wanted = fingerprint([wave], RATE)
    prints = fingerprint([soxr.resample(wave, RATE, rate)], rate)
    assert abs(len(prints) - len(wanted)) <= 2
    assert errors(prints, wanted) < 0.05


def test_blocks_of_any_size_give_the_same_bits_in_bounded_memory(music: Synthetic) -> None:
    wave = audio.read(music.tracks[0].path, RATE)
    whole = fingerprint([wave], RATE)
    for size in (999, 8191, 100_000):
        prints = fingerprint((wave[start : start + size] for start in range(0, len(wave), size)), RATE)
        assert len(prints) == len(whole)
        assert errors(prints, whole) < 0.002
    assert len(fingerprint([], RATE)) == len(fingerprint([wave[:8000]], RATE)) == 0
    with pytest.raises(UserError, match=r"4000 Hz.*more than 4000 Hz"):
        fingerprint([wave], 4000)


def altered(name: str, wave: np.ndarray, folder: Path) -> np.ndarray:
    if name in ("mp3", "ogg"):
        audio.write(folder / f"a.{name}", wave, RATE)
        return audio.read(folder / f"a.{name}", RATE)
    if name == "quiet":
        return 0.05 * wave
    if name == "later":
        return wave[28_657:]
    if name == "noise":
        return wave + noise(len(wave) / RATE) * 10 ** (-20 / 20) * np.sqrt((wave**2).mean()) / 0.1
    return altered("mp3", 0.3 * soxr.resample(soxr.resample(wave[9_999:], RATE, 12000), 12000, RATE), folder)


@pytest.mark.parametrize("name", ["mp3", "ogg", "quiet", "later", "noise", "resampled, quiet, later and mp3"])
def test_copies_are_found_and_nothing_else(name: str, music: Synthetic, store: Fingerprints, tmp_path: Path) -> None:
    tracks = music.tracks[::3]
    copies = {
        track.id: fingerprint([altered(name, audio.read(track.path, RATE), tmp_path).astype(np.float32)], RATE)
        for track in tracks
    }
    found = near_duplicates(copies, store, progress=False)
    assert {(match.query, match.reference) for match in found} == {(track.id, track.id) for track in tracks}
    for match in found:
        begins = {"later": 28_657, "resampled, quiet, later and mp3": 9_999}.get(name, 0) / RATE
        assert match.bit_error_rate < 0.25 and match.seconds > 6
        assert match.reference_seconds - match.query_seconds == pytest.approx(begins, abs=0.02)


def test_a_passage_inside_other_music_is_placed() -> None:
    song, other = noise(12.0, seed=1), noise(20.0, seed=2)
    mixed = np.concatenate([other[: 7 * RATE], song[2 * RATE : 8 * RATE], other[7 * RATE :]])
    (match,) = near_duplicates(
        {"mixed": fingerprint([mixed], RATE)}, {"song": fingerprint([song], RATE)}, progress=False
    )
    assert match.query_seconds == pytest.approx(7.0, abs=0.3)
    assert match.reference_seconds - match.query_seconds == pytest.approx(-5.0, abs=0.02)
    assert match.seconds == pytest.approx(6.0, abs=0.6)
    assert match.bit_error_rate < 0.05  # its frames lie between those of the song


def test_silence_and_held_tones_match_nothing() -> None:
    waves = {
        "silence": np.zeros(10 * RATE),
        "440": tone(440, RATE, 10),
        "440 quiet": tone(440, RATE, 10, 0.1),
        "441": tone(441, RATE, 10),
        "chord": tone(440, RATE, 10) + tone(660, RATE, 10, 0.3),
        "rounded": np.round(tone(440, RATE, 10) * 32767) / 32768,
        "click": np.where(np.arange(10 * RATE) == 50_000, 0.5, 0.0),
        "fading": tone(440, RATE, 10) * np.linspace(1, 0, 10 * RATE),
        "fading too": tone(440, RATE, 10, 0.2) * np.linspace(1, 0, 10 * RATE),
        "decaying": tone(440, RATE, 10) * np.exp(-np.arange(10 * RATE) / RATE),
    }
    prints = {name: fingerprint([wave.astype(np.float32)], RATE) for name, wave in waves.items()}
    assert not prints["silence"].any()
    assert [
        match for match in near_duplicates(prints, prints, progress=False) if match.query != match.reference
    ] == []


def test_unrelated_bits_do_not_match_and_bits_that_never_change_prove_nothing() -> None:
    random = np.random.default_rng(0)
    shuffled = {str(n): random.integers(1, 2**32, 3000, dtype=np.uint32) for n in range(20)}
    assert len(near_duplicates(shuffled, shuffled, progress=False)) == 20
    # two recordings with three bits in motion, the others fixed: one bit of 32 in error, and yet unrelated
    fixed = {n: (random.integers(0, 8, 3000) | 0xABCDE00).astype(np.uint32) for n in "ab"}
    assert errors(fixed["a"], fixed["b"]) < 0.06
    found = near_duplicates(fixed, fixed, progress=False)
    assert {(match.query, match.reference) for match in found} == {("a", "a"), ("b", "b")}


def test_the_bit_error_rate_of_a_match_is_the_one_put_in() -> None:
    random = np.random.default_rng(0)
    song = random.integers(1, 2**32, 4000, dtype=np.uint32)
    for share in (0.05, 0.2):
        flips = np.packbits(random.random((4000, 32)) < share, axis=1).view(np.uint32)[:, 0]
        flips[::40] = 0  # frames free of errors, by which it is found
        (match,) = near_duplicates({"copy": song ^ flips}, {"song": song}, progress=False)
        assert match.bit_error_rate == pytest.approx(share * 39 / 40, abs=0.02)
    flips = np.packbits(random.random((4000, 32)) < 0.4, axis=1).view(np.uint32)[:, 0]
    flips[::40] = 0
    assert near_duplicates({"copy": song ^ flips}, {"song": song}, progress=False) == []


def test_shorter_than_two_seconds_is_not_compared() -> None:
    song = fingerprint([noise(10.0)], RATE)
    short = {f"{seconds}": fingerprint([noise(10.0)[: round(seconds * RATE)]], RATE) for seconds in (1.5, 2.5)}
    assert [match.query for match in near_duplicates(short, {"song": song}, progress=False)] == ["2.5"]


def test_a_pack_gives_what_the_files_give(music: Synthetic, store: Fingerprints, tmp_path: Path) -> None:
    packed = pack.pack(music, tmp_path / "pack", sample_rate=16000, workers=1, progress=False)
    prints = fingerprint_catalog(packed, tmp_path / "prints", progress=False)
    assert list(prints) == list(store) and prints.broken == []
    assert max(errors(prints[id], store[id]) for id in store) < 0.05


def test_the_store_goes_on_and_notes_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        audio.write(tmp_path / "music" / f"{number}.wav", noise(2.0, seed=number), RATE)
    audio.write(tmp_path / "music" / "4 short.wav", noise(0.2), RATE)
    (tmp_path / "music" / "5 broken.wav").write_bytes(b"RIFF")
    whole = fingerprint_catalog(Folder(tmp_path / "music"), tmp_path / "whole", progress=False)
    assert list(whole) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert [id for id, _ in whole.broken] == ["4 short.wav", "5 broken.wav"]
    assert "shorter than 0.39 s" in whole.broken[0][1]

    calls, real = [], bits.fingerprint

    def interrupted(*arguments) -> np.ndarray:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr("ssl_music.fingerprint.store.fingerprint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fingerprint_catalog(Folder(tmp_path / "music"), tmp_path / "parts", progress=False)
    resumed = fingerprint_catalog(Folder(tmp_path / "music"), tmp_path / "parts", progress=False)
    assert len(calls) == 3 + 3  # the third again, and the two after it
    for name in ("data-00000.bin", "tracks.sqlite"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert all((resumed[id] == whole[id]).all() for id in whole)
    fingerprint_catalog(Folder(tmp_path / "music"), tmp_path / "parts", progress=False)
    assert len(calls) == 6

    audio.write(tmp_path / "music" / "6.wav", noise(1.0), RATE)
    with pytest.raises(UserError, match="was made with catalog_fingerprint"):
        fingerprint_catalog(Folder(tmp_path / "music"), tmp_path / "parts", progress=False)
    pack.pack(Folder(tmp_path / "music"), tmp_path / "pack", sample_rate=8000, workers=1, progress=False)
    with pytest.raises(UserError, match="something else than fingerprints"):
        Fingerprints(tmp_path / "pack")
