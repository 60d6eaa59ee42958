"""A slice equals the same part of the whole file; blocks put together equal one read; resampling does not alias."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from audio_toys import amplitude_at, assert_slices_equal_whole, music, tone, with_granules

from ssl_music import audio
from ssl_music.errors import UserError

MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music" / "audio"


@pytest.mark.parametrize("rate", [22050, 16000, 44100, 48000])
@pytest.mark.parametrize("file_rate", [44100, 48000, 11025, 22051])
def test_slices_equal_the_whole_at_every_pair_of_rates(tmp_path, file_rate, rate):
    soundfile.write(tmp_path / "a.wav", music(file_rate, 4, 1), file_rate)
    assert_slices_equal_whole(tmp_path / "a.wav", rate, tolerance=1e-5)


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_mp3_in_blocks_and_slices_equals_one_decode(tmp_path, mode):
    # python-soundfile's own loop over blocks gives clicks of full scale here, its own seek errors of the same size
    path = tmp_path / "a.mp3"
    soundfile.write(path, music(44100, 12, 2), 44100, bitrate_mode=mode, compression_level=0.4)
    at_once = soundfile.read(path, dtype="float32")[0].mean(1)
    np.testing.assert_allclose(audio.read(path), at_once, atol=1e-6)
    assert_slices_equal_whole(path, 44100, count=10)


def test_slices_of_vorbis_equal_the_whole(tmp_path):
    # libsndfile's own seek misses a tenth of these
    path = tmp_path / "a.ogg"
    audio.write(path, music(44100, 40, 2), 44100)
    assert_slices_equal_whole(path, 44100, count=12)


@pytest.mark.parametrize(
    "granule_of",
    [
        lambda number, position, last: position + 224 * (number % 4 == 1 and not last),  # as FFmpeg writes them
        lambda number, position, last: position - 186,  # the first page says fewer frames than it has
        lambda number, position, last: position + 1_000_000,  # cut from a longer stream
    ],
)
def test_slices_of_vorbis_equal_the_whole_whatever_its_pages_say(tmp_path, granule_of):
    path = tmp_path / "a.ogg"
    audio.write(path, music(22050, 30, 1), 22050)
    path.write_bytes(with_granules(path.read_bytes(), granule_of))
    assert_slices_equal_whole(path, 22050, count=12)


@pytest.mark.skipif(not MUSIC.is_dir(), reason="the shared music is not here")
def test_slices_of_real_music_equal_the_whole():
    random = np.random.default_rng(2)
    for path in random.choice(sorted(MUSIC.rglob("*.ogg")), 25, replace=False):
        assert_slices_equal_whole(path, 22050, count=2)


@pytest.mark.parametrize(("file_rate", "rate"), [(44100, 22050), (48000, 22050), (8000, 22050), (44100, 16000)])
def test_blocks_equal_one_resampling_of_the_whole(tmp_path, file_rate, rate):
    wave = music(file_rate, 5.3, 1)[:, 0].astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, file_rate, subtype="FLOAT")
    blocks = list(audio.Stream(tmp_path / "a.wav", rate, block_seconds=0.7))
    assert {len(block) for block in blocks[:-1]} == {round(0.7 * rate)}
    np.testing.assert_allclose(np.concatenate(blocks), soxr.resample(wave, file_rate, rate, "HQ"), atol=1e-5)
    np.testing.assert_array_equal(np.concatenate(blocks), audio.read(tmp_path / "a.wav", rate))


def test_a_stream_can_be_read_again_and_in_part(tmp_path):
    soundfile.write(tmp_path / "a.flac", music(44100, 4, 2), 44100)
    stream = audio.Stream(tmp_path / "a.flac", 22050, start_seconds=1.0, seconds=2.0, block_seconds=0.9)
    first, second = list(stream), list(stream)
    assert [len(block) for block in first] == [19845, 19845, 4410]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))
    assert not stream.truncated
    for one, other in zip(stream, stream, strict=True):
        np.testing.assert_array_equal(one, other)
    audio.Stream(tmp_path / "a.flac", 22050).close()


def test_resampling_keeps_what_is_below_the_new_nyquist_and_removes_what_is_above(tmp_path):
    soundfile.write(tmp_path / "low.wav", tone(9000, 44100), 44100, subtype="FLOAT")
    assert amplitude_at(audio.read(tmp_path / "low.wav", 22050), 9000, 22050) == pytest.approx(0.5, rel=1e-3)
    soundfile.write(tmp_path / "high.wav", tone(12500, 44100), 44100, subtype="FLOAT")
    high = audio.read(tmp_path / "high.wav", 22050)
    alias = amplitude_at(high, 22050 - 12500, 22050)
    assert 20 * np.log10(alias / 0.5 + 1e-12) < -80
    assert 20 * np.log10(np.abs(high[5000:-5000]).max() / 0.5 + 1e-12) < -80


def test_a_part_has_the_rounded_number_of_samples_or_what_is_there(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(44100), 44100)
    assert len(audio.read(tmp_path / "a.wav", 22050, seconds=0.33333)) == round(0.33333 * 22050)
    assert len(audio.read(tmp_path / "a.wav", 22050, start_seconds=0.9, seconds=5)) == 22050 - round(0.9 * 22050)
    assert len(audio.read(tmp_path / "a.wav", 16000)) == 16000
    assert len(audio.read(tmp_path / "a.wav")) == 44100


@pytest.mark.parametrize(
    ("choices", "wanted"),
    [
        ({"start_seconds": -0.1}, "cannot start at -0.1 s"),
        ({"start_seconds": 2.0}, r"cannot start at 2 s: it lasts 2\.00 s"),
        ({"start_seconds": float("nan")}, "cannot start at nan s"),
        ({"seconds": 0.0}, "at least one sample"),
        ({"seconds": float("inf")}, "at least one sample"),
    ],
)
def test_a_part_that_cannot_be_is_an_error(tmp_path, choices, wanted):
    soundfile.write(tmp_path / "a.wav", np.zeros(88200), 44100)
    with pytest.raises(audio.AudioError, match=wanted):
        audio.read(tmp_path / "a.wav", 22050, **choices)


def test_a_sample_rate_or_a_block_of_nothing_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 44100)
    with pytest.raises(UserError, match="sample rate 0"):
        audio.read(tmp_path / "a.wav", 0)
    with pytest.raises(UserError, match="block_seconds 0"):
        audio.Stream(tmp_path / "a.wav", 22050, block_seconds=0)
