"""Alterations by their physics: measured pitch, tempo, SNR, level, band, alignment; passages of long tracks."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from audio_toys import amplitude_at, music, tone

from ssl_music.audio import through_mp3, through_ogg
from ssl_music.errors import UserError
from ssl_music.robustness.alterations import ALTERATIONS, chosen, tried
from ssl_music.robustness.passages import Effect, altered

RATE = 22050


def run(name: str, strength: float, wave: np.ndarray, *, rate: int = RATE, key: str = "0\0song") -> np.ndarray:
    effect = ALTERATIONS[name].make(strength, rate, key)
    blocks = [np.asarray(part, np.float32) for part in np.array_split(wave, max(1, len(wave) // (7 * rate)))]
    return np.concatenate(list(altered(blocks, effect, sample_rate=rate)))


def loudest_hz(wave: np.ndarray) -> float:
    middle = wave[RATE // 2 : RATE // 2 + 2 * RATE] * np.hanning(2 * RATE)
    return float(np.abs(np.fft.rfft(middle, 8 * len(middle))).argmax()) * RATE / (8 * len(middle))


def lag(one: np.ndarray, other: np.ndarray) -> int:
    """By how many samples `other` comes later, where the two correlate best."""
    size = 2 * max(len(one), len(other))
    at = int(np.fft.irfft(np.fft.rfft(one, size).conj() * np.fft.rfft(other, size)).argmax())
    return at if at < size // 2 else at - size


def power(wave: np.ndarray) -> float:
    return float(np.square(wave, dtype=np.float64).mean())


@pytest.mark.parametrize("strength", [*ALTERATIONS["pitch up"].strengths, *ALTERATIONS["pitch down"].strengths])
def test_pitch_is_shifted_by_so_many_semitones_and_time_stays(strength: float) -> None:
    out = run("pitch up", strength, tone(440, RATE, 4.0))
    assert len(out) == 4 * RATE
    assert 12 * np.log2(loudest_hz(out) / 440) == pytest.approx(strength, abs=0.02)


@pytest.mark.parametrize("strength", [*ALTERATIONS["stretch faster"].strengths, 0.9, 0.5])
def test_stretch_keeps_the_pitch_and_moves_what_happens(strength: float) -> None:
    wave = tone(440, RATE, 8.0)
    wave[: 6 * RATE] *= 0.01  # it gets loud after 6 of 8 seconds
    out = run("stretch faster", strength, wave)
    assert len(out) == round(8 * RATE / strength)
    loud = np.flatnonzero(np.abs(out) > 0.1)[0] / RATE
    assert loud == pytest.approx(6 / strength, abs=0.05)
    assert loudest_hz(out[-3 * RATE :]) == pytest.approx(440, abs=1)
    assert np.abs(out[-RATE // 100 :]).max() > 0.1  # no silence behind the end


@pytest.mark.parametrize("strength", ALTERATIONS["noise"].strengths)
def test_noise_has_the_named_ratio_and_is_the_same_at_each_strength(strength: float) -> None:
    wave = music(RATE, 3.0, 1)[:, 0].astype(np.float32)
    noise = run("noise", strength, wave) - wave
    assert 10 * np.log10(power(wave) / power(noise)) == pytest.approx(strength, abs=0.01)
    other = run("noise", 20.0, wave) - wave
    assert np.corrcoef(noise, other)[0, 1] > 0.999
    another = run("noise", strength, wave, key="0\0another song") - wave
    assert abs(np.corrcoef(noise, another)[0, 1]) < 0.05


def test_gain_is_what_it_says_and_compression_evens_levels_out() -> None:
    wave = tone(440, RATE, 6.0)
    for name in ("gain up", "gain down"):
        for strength in ALTERATIONS[name].strengths:
            assert 10 * np.log10(power(run(name, strength, wave)) / power(wave)) == pytest.approx(strength, abs=1e-3)
    wave[: 3 * RATE] *= 0.1  # 20 dB; both are above the threshold
    for ratio in ALTERATIONS["compression"].strengths:
        out = run("compression", ratio, wave)
        apart = 10 * np.log10(power(out[4 * RATE : 5 * RATE]) / power(out[RATE : 2 * RATE]))
        assert apart == pytest.approx(20 / ratio, abs=0.1)
        assert power(out) == pytest.approx(power(wave), rel=1e-3)


@pytest.mark.parametrize("cutoff_hz", ALTERATIONS["band limit"].strengths)
def test_nothing_is_left_above_the_band(cutoff_hz: float) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    window = np.hanning(len(wave))
    out = run("band limit", cutoff_hz, wave)
    before, after = (np.square(np.abs(np.fft.rfft(one * window))) for one in (wave, out))
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    above, within = hz > cutoff_hz + 600, hz < cutoff_hz - 600
    assert after[above].sum() < 1e-6 * before[above].sum()
    assert after[within].sum() == pytest.approx(before[within].sum(), rel=0.01)
    np.testing.assert_array_equal(run("band limit", 12_000, wave), wave)  # above half the rate there is nothing


def test_reverb_decays_in_its_time_and_a_track_keeps_its_room() -> None:
    click = np.zeros(3 * RATE, np.float32)
    click[0] = 1.0
    room = run("reverb", 1.0, click)
    assert power(room[round(1.1 * RATE) :]) < 1e-20 and power(room[RATE // 2 : RATE]) > 1e-12
    early, late = (10 * np.log10(power(room[round(at * RATE) :][:2205])) for at in (0.1, 0.6))
    assert early - late == pytest.approx(30, abs=4)
    longer = run("reverb", 2.0, click)
    assert np.corrcoef(room[300:2000], longer[300:2000])[0, 1] > 0.8


@pytest.mark.parametrize("rate", [8000, 12000, 16000, 22050, 32000, 44100, 48000])
def test_codecs_keep_every_sample_where_it_was(rate: int) -> None:
    wave = music(rate, 2.3, 1)[:, 0].astype(np.float32)
    for strength in ALTERATIONS["mp3"].strengths:  # some files are too small for the tag that says the delay
        out = through_mp3(wave, rate, kbit_per_second=strength)
        assert len(out) == len(wave) and lag(wave, out) == 0, strength
    for strength in ALTERATIONS["ogg"].strengths:
        out = through_ogg(wave, rate, quality=strength)
        assert len(out) == len(wave) and lag(wave, out) == 0, strength


@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_codecs_take_more_away_at_each_step(name: str) -> None:
    wave = music(RATE, 4.0, 1)[:, 0].astype(np.float32)
    alike = [np.corrcoef(wave, run(name, strength, wave))[0, 1] for strength in ALTERATIONS[name].strengths]
    assert alike == sorted(alike, reverse=True)
    assert alike[-1] < 0.9 * alike[0]
    notes = sum(tone(hz, RATE, 4.0, 0.1) for hz in (220, 277.2, 329.6, 3000)).astype(np.float32)
    best = run(name, ALTERATIONS[name].strengths[0], notes)
    assert np.corrcoef(notes, best)[0, 1] > 0.9999


def test_codecs_refuse_what_they_have_not() -> None:
    with pytest.raises(UserError, match="mp3 at 22050 Hz: 4 kbit/s came, from 8 to 160 is wanted"):
        through_mp3(np.zeros(100, np.float32), 22050, kbit_per_second=4)
    with pytest.raises(UserError, match="quality 11 came, from 0 to 10"):
        through_ogg(np.zeros(100, np.float32), 22050, quality=11)
    with pytest.raises(UserError, match="20000 Hz"):
        through_mp3(np.zeros(20000, np.float32), 20000, kbit_per_second=64)


@pytest.mark.parametrize("name", ALTERATIONS)
def test_a_long_track_in_passages_is_the_track_as_a_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alteration = ALTERATIONS[name]
    strength, rate = alteration.strengths[1], 8000
    wave = (tone(330, rate, 20.0) * np.repeat(np.random.default_rng(0).uniform(0.1, 1, 80), rate // 4)).astype("f4")
    whole = run(name, strength, wave, rate=rate)
    monkeypatch.setattr("ssl_music.robustness.passages.PASSAGE_SECONDS", 4.0)
    parts = run(name, strength, wave, rate=rate)
    assert len(parts) == len(whole)
    if name in ("gain up", "gain down", "offset", "band limit"):
        np.testing.assert_allclose(parts, whole, atol=1e-5)
    elif name == "reverb":
        np.testing.assert_allclose(parts, whole, atol=1e-4)
    elif name in ("mp3", "ogg"):
        assert np.corrcoef(parts, whole)[0, 1] > 0.995
    elif name == "noise":  # of other passages: the same power, unlike noise
        assert power(parts - wave) == pytest.approx(power(whole - wave), rel=0.05)
        pieces = (parts - wave).reshape(5, -1)
        assert np.abs(np.corrcoef(pieces) - np.eye(5)).max() < 0.05
    else:  # pieces of another phase: the level goes the same way
        levels = [np.sqrt(np.square(one[: len(one) // 400 * 400]).reshape(-1, 400).mean(1)) for one in (parts, whole)]
        assert np.corrcoef(*levels)[0, 1] > 0.97
        assert amplitude_at(parts, 330, rate) > 0 and np.abs(np.diff(parts)).max() < 2 * np.abs(np.diff(whole)).max()


def test_memory_does_not_grow_with_the_track() -> None:
    def hours() -> Iterator[np.ndarray]:
        for _ in range(240):
            yield np.full(30 * 1000, 0.1, np.float32)

    effect = Effect(lambda wave, _: wave * 2, before_seconds=1.0, after_seconds=1.0)
    tracemalloc.start()
    samples = sum(len(block) for block in altered(hours(), effect, sample_rate=1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 240 * 30 * 1000 and peak < 3e6  # the track has 29 MB


def test_offset_leaves_the_beginning_out_across_blocks() -> None:
    blocks = [np.arange(0, 10.0), np.arange(10, 15.0), np.arange(15, 40.0)]
    out = list(altered(blocks, Effect(skip_seconds=1.2), sample_rate=10))
    np.testing.assert_array_equal(np.concatenate(out), np.arange(12, 40))
    with pytest.raises(UserError, match="ends before 4 s"):
        list(altered(blocks, Effect(skip_seconds=4.0), sample_rate=10))


def test_names_and_strengths_that_are_not_there() -> None:
    assert [its.name for its in chosen(None)] == list(ALTERATIONS)
    assert [its.name for its in chosen(["gain", "offset"])] == ["gain up", "gain down", "offset"]
    assert chosen({"noise": [30, 10], "mp3": None})[0].strengths == (30.0, 10.0)
    with pytest.raises(UserError, match="unknown alteration 'nois'; did you mean 'noise'"):
        chosen(["nois"])
    with pytest.raises(UserError, match="no alterations"):
        chosen([])
    with pytest.raises(UserError, match="'pitch' stands for pitch up, pitch down"):
        chosen({"pitch": [1]})
    with pytest.raises(UserError, match="one or more different numbers"):
        chosen({"noise": [3, 3]})
    for bad in ({"pitch up": [13]}, {"mp3": [4]}, {"offset": [-1]}, {"stretch slower": [0]}, {"ogg": [11]}):
        with pytest.raises(UserError):
            tried(chosen(bad), RATE)
    tried(chosen(None), 12000)
