"""Any format → mono float32: known tones in every format, channels, names, contents, threads."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_toys import amplitude_at, assert_slices_equal_whole, encode, music, tone

from ssl_music import audio
from ssl_music.catalogs import AUDIO_ENDINGS

#: ending, libsndfile's format and codec, tolerance of a tone's amplitude
FORMATS = [
    ("wav", "WAV", "PCM_16", 1e-4),
    ("wav", "WAV", "PCM_U8", 1e-2),
    ("wav", "WAV", "PCM_24", 1e-4),
    ("wav", "WAV", "PCM_32", 1e-4),
    ("wav", "WAV", "FLOAT", 1e-4),
    ("wav", "WAV", "DOUBLE", 1e-4),
    ("wav", "WAV", "ULAW", 1e-2),
    ("wav", "WAV", "IMA_ADPCM", 1e-2),
    ("wav", "WAV", "GSM610", 3e-2),
    ("w64", "W64", "PCM_16", 1e-4),
    ("rf64", "RF64", "PCM_16", 1e-4),
    ("aiff", "AIFF", "PCM_16", 1e-4),
    ("aiff", "AIFF", "PCM_S8", 1e-2),
    ("au", "AU", "PCM_16", 1e-4),
    ("caf", "CAF", "PCM_16", 1e-4),
    ("caf", "CAF", "ALAC_16", 1e-4),
    ("flac", "FLAC", "PCM_16", 1e-4),
    ("flac", "FLAC", "PCM_24", 1e-4),
    ("mp3", "MP3", "MPEG_LAYER_III", 1e-2),
    ("ogg", "OGG", "VORBIS", 1e-2),
    ("opus", "OGG", "OPUS", 2e-2),
]

#: ending, and FFmpeg's container, codec and sample format
PYAV_FORMATS = [
    ("m4a", ("mp4", "aac", "fltp")),
    ("m4a", ("mp4", "alac", "s16p")),
    ("aac", ("adts", "aac", "fltp")),
    ("mka", ("matroska", "aac", "fltp")),
    ("mka", ("matroska", "pcm_s16le", "s16")),
    ("ac3", ("ac3", "ac3", "fltp")),
    ("wma", ("asf", "wmav2", "fltp")),
    ("webm", ("webm", "libopus", "flt")),
]


@pytest.mark.parametrize(("ending", "container", "codec", "tolerance"), FORMATS)
def test_a_tone_comes_back_in_every_format(tmp_path, ending, container, codec, tolerance):
    rate = {"GSM610": 8000, "OPUS": 48000}.get(codec, 44100)
    channels = 1 if codec == "GSM610" else 2
    path = tmp_path / f"tone.{ending}"
    left, right = tone(440, rate), tone(1000, rate, amplitude=0.25)
    soundfile.write(path, np.stack([left, right], 1)[:, :channels], rate, format=container, subtype=codec)

    wave = audio.read(path, 16000)
    assert wave.dtype == np.float32
    assert abs(len(wave) - 48000) < (1000 if codec in {"GSM610", "IMA_ADPCM"} else 100)
    assert amplitude_at(wave, 440, 16000) == pytest.approx(0.5 / channels, abs=tolerance)
    assert amplitude_at(wave, 1000, 16000) == pytest.approx(0.125 if channels == 2 else 0, abs=tolerance)
    info = audio.probe(path)
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.format == f"{container} {codec}"
    assert info.seconds == info.frames / rate == pytest.approx(3.0, abs=0.05)
    assert_slices_equal_whole(path, 16000, count=3)


@pytest.mark.parametrize(("ending", "kind"), PYAV_FORMATS)
def test_a_tone_comes_back_through_pyav(tmp_path, ending, kind):
    rate = 48000 if "libopus" in kind else 44100
    wave = np.stack([tone(440, rate), tone(1000, rate, amplitude=0.25)], 1)
    path = encode(tmp_path / f"tone.{ending}", kind, wave, rate)

    wave = audio.read(path, 16000)
    assert len(wave) == pytest.approx(48000, abs=1600)
    assert amplitude_at(wave, 440, 16000) == pytest.approx(0.25, abs=1e-2)
    assert amplitude_at(wave, 1000, 16000) == pytest.approx(0.125, abs=1e-2)
    assert audio.probe(path).seconds == pytest.approx(3.0, abs=0.1)
    assert_slices_equal_whole(path, 16000, count=3)
    assert_slices_equal_whole(path, rate, count=3)


def test_mp4_gives_the_length_its_header_says(tmp_path):
    path = encode(tmp_path / "a.m4a", ("mp4", "aac", "fltp"), music(44100, 2.7, 2), 44100)
    assert len(audio.read(path)) == audio.probe(path).frames == round(44100 * 2.7)


@pytest.mark.parametrize("channels", range(1, 9))
def test_mono_is_the_mean_over_channels(tmp_path, channels):
    wave = np.random.default_rng(channels).uniform(-1, 1, (5000, channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 22050, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), wave.mean(1), atol=1e-6)


def test_floats_beyond_full_scale_pass_as_they_are(tmp_path):
    wave = np.array([0.0, 1.5, -3.0, 1e6], np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 22050, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav"), wave)


@pytest.mark.parametrize("name", ["Café ♫.wav", "two\nlines.wav", b"latin \xe9\xff.wav", "50%.wav", "concat:x.wav"])
def test_names_may_hold_anything(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))  # noqa: PTH118
    audio.write(path, tone(440, 16000), 16000)
    for given in (path, os.fsdecode(path), Path(os.fsdecode(path))):
        assert len(audio.read(given)) == 48000
    assert audio.probe(path).frames == 48000


def test_the_content_decides_not_the_ending(tmp_path):
    wave = tone(440, 44100)
    for true, false in [("flac", "wav"), ("mp3", "ogg"), ("ogg", "mp3"), ("wav", "raw"), ("wav", "vox"), ("wav", "")]:
        written, renamed = tmp_path / f"a.{true}", tmp_path / f"b.{false}"
        soundfile.write(written, wave, 44100)
        written.rename(renamed)
        assert amplitude_at(audio.read(renamed, 22050), 440, 22050) == pytest.approx(0.5, abs=1e-2)
    encode(tmp_path / "a.m4a", ("mp4", "aac", "fltp"), wave[:, None], 44100).rename(tmp_path / "song.mp3")
    assert amplitude_at(audio.read(tmp_path / "song.mp3", 22050), 440, 22050) == pytest.approx(0.5, abs=1e-2)


def test_many_threads_read_many_files(tmp_path):
    paths = []
    for index, ending in enumerate(["wav", "flac", "ogg", "mp3"] * 2):
        paths.append(tmp_path / f"{index}.{ending}")
        soundfile.write(paths[-1], music(44100, 3, 2, seed=index), 44100)
    alone = [audio.read(path, 22050) for path in paths]
    failures: list[str] = []

    def work(index: int) -> None:
        for _ in range(3):
            if not np.array_equal(audio.read(paths[index], 22050), alone[index]):
                failures.append(paths[index].name)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_every_format_that_is_read_is_looked_for_in_folders():
    assert {f".{ending}" for ending, *_ in FORMATS} | {".m4a", ".aac", ".wma"} <= AUDIO_ENDINGS
