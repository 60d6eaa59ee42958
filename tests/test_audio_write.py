"""What is written comes back, or leaves nothing."""

import numpy as np
import pytest
from audio_toys import tone

from ssl_music import audio
from ssl_music.errors import UserError


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "FLAC"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_comes_back(tmp_path, ending, channels):
    path = tmp_path / "new folder" / f"a.{ending}"
    wave = np.stack([tone(440, 44100)] * channels, 1)
    audio.write(path, wave[:, 0] if channels == 1 else wave, 44100)
    assert audio.probe(path).channels == channels
    back = audio.read(path)
    assert len(back) == len(wave)
    tolerance = 5e-5 if ending.lower() in {"wav", "flac"} else 2e-2
    assert np.abs(back - wave[:, 0])[2000:-2000].max() < tolerance
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_long_piece_is_written_as_vorbis(tmp_path):
    audio.write(tmp_path / "a.ogg", np.zeros(22050 * 200, np.float32), 22050)
    assert audio.probe(tmp_path / "a.ogg").seconds == 200


def test_writing_clips_beyond_full_scale(tmp_path):
    audio.write(tmp_path / "a.wav", np.array([0.0, 2.0, -2.0]), 16000)
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), [0, 1, -1], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "wave", "rate", "wanted"),
    [
        ("a.wav", [0.0, np.nan], 16000, "cannot write NaN"),
        ("a.wav", [0.0, np.inf], 16000, "cannot write NaN or infinite"),
        ("a.wav", [], 16000, r"shape \(0,\)"),
        ("a.wav", 0.5, 16000, r"shape \(\)"),
        ("a.mp3", [0.0, 0.5], 12345, "cannot be written at 12345 Hz"),
        ("a.mp4", [0.0, 0.5], 16000, "unknown ending"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, wave, rate, wanted):
    with pytest.raises(UserError, match=wanted):
        audio.write(tmp_path / name, np.array(wave), rate)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_replaced_stays_as_it_was(tmp_path):
    audio.write(tmp_path / "a.mp3", tone(440, 44100), 44100)
    before = (tmp_path / "a.mp3").read_bytes()
    with pytest.raises(audio.AudioError):
        audio.write(tmp_path / "a.mp3", tone(440, 44100), 12345)
    assert (tmp_path / "a.mp3").read_bytes() == before
