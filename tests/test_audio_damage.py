"""Headers that lie and files cut short: what there is is given, and said; nothing is allocated by a claim."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_toys import cut, encode, music, patched, read_silently, tone, with_granules, without_xing

from ssl_music import audio
from ssl_music.audio import decode

RATE = 44100

SECONDS = 20.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """One piece of music in several formats."""
    folder = tmp_path_factory.mktemp("whole")
    files = {ending: folder / f"a.{ending}" for ending in ("wav", "aiff", "au", "w64", "rf64", "flac", "mp3", "ogg")}
    for ending, path in files.items():
        soundfile.write(path, music(RATE, SECONDS, 2), RATE, format=None if ending != "rf64" else "RF64")
    return files


@pytest.mark.parametrize("ending", ["wav", "aiff", "au", "w64", "rf64", "flac", "mp3"])
def test_a_file_cut_short_gives_what_it_holds_and_says_so(whole, tmp_path, ending):
    path = cut(whole[ending], tmp_path)
    assert audio.probe(path).seconds == pytest.approx(SECONDS, abs=0.01)
    with pytest.warns(
        audio.TruncatedAudioWarning, match="promises 20.00 s, but only 7|promises 20.00 s, but only 8"
    ) as caught:
        wave = audio.read(path, 22050)
    held = len(wave) / 22050
    assert 6 < held < 9
    warning = caught[0].message
    assert warning.claimed_seconds == pytest.approx(SECONDS, abs=0.01)
    assert warning.held_seconds == pytest.approx(held, abs=0.001)
    assert caught[0].filename == __file__
    original = read_silently(whole[ending])
    assert np.abs(wave - original[: len(wave)])[:-1000].max() < 1e-5

    stream = audio.Stream(path, 22050, block_seconds=1.0)
    np.testing.assert_array_equal(np.concatenate(list(stream)), wave)
    assert stream.truncated
    assert stream.held_seconds == pytest.approx(held, abs=0.001)

    # a part before the cut is whole, one over it is shorter, one behind it is an error
    assert np.abs(read_silently(path, start_seconds=3.3, seconds=2) - wave[72765 : 72765 + 44100]).max() < 1e-5
    with pytest.warns(audio.TruncatedAudioWarning):
        over = audio.read(path, 22050, start_seconds=5.0, seconds=10)
    assert len(over) == len(wave) - 5 * 22050
    with pytest.raises(audio.AudioError, match=rf"nothing from 13 s on: only {held:.2f} s can be decoded"):
        audio.read(path, 22050, start_seconds=13)


def test_a_vorbis_file_cut_short_promises_no_more(whole, tmp_path):
    path = cut(whole["ogg"], tmp_path)
    wave = read_silently(path)
    assert len(wave) / 22050 == pytest.approx(audio.probe(path).seconds, abs=0.001)
    with pytest.raises(audio.AudioError, match="cannot start at 13 s: it lasts"):
        audio.read(path, 22050, start_seconds=13)


def test_a_vorbis_file_that_promises_more_says_so(whole, tmp_path):
    data = with_granules(whole["ogg"].read_bytes(), lambda _, position, last: position + last * 30 * RATE)
    (tmp_path / "a.ogg").write_bytes(data)
    assert audio.probe(tmp_path / "a.ogg").seconds == pytest.approx(50)
    with pytest.warns(audio.TruncatedAudioWarning, match="promises 50.00 s, but only 20"):
        audio.read(tmp_path / "a.ogg", 22050)


def test_an_m4a_cut_short_says_so(tmp_path):
    path = encode(tmp_path / "a.m4a", ("mp4", "aac", "fltp"), music(RATE, SECONDS, 2), RATE)
    with pytest.warns(audio.TruncatedAudioWarning, match=r"promises 20.00 s, but only \d+\.\d\d s"):
        wave = audio.read(cut(path, tmp_path, 0.5), 22050)
    assert 5 * 22050 < len(wave) < 15 * 22050
    with pytest.raises(audio.AudioError, match="no audio that can be read"):
        audio.read(cut(path, tmp_path, 0.002), 22050)


def test_a_flac_damaged_in_the_middle_gives_what_comes_before(whole, tmp_path):
    data = bytearray(whole["flac"].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.warns(audio.TruncatedAudioWarning, match="flac decoder") as caught:
        wave = audio.read(tmp_path / "a.flac", 22050)
    assert 5 < caught[0].message.held_seconds < 15
    assert np.abs(wave - read_silently(whole["flac"])[: len(wave)])[:-1000].max() < 1e-5


def test_an_mp3_with_a_hole_goes_on_behind_it(whole, tmp_path):
    data = bytearray(whole["mp3"].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8000] = bytes(8000)
    (tmp_path / "a.mp3").write_bytes(data)
    with pytest.warns(audio.TruncatedAudioWarning):
        wave = audio.read(tmp_path / "a.mp3", RATE)
    original = read_silently(whole["mp3"], RATE)
    assert 19 * RATE < len(wave) < 19.9 * RATE
    np.testing.assert_allclose(wave[: 9 * RATE], original[: 9 * RATE], atol=1e-5)
    sought = original[int(14.4 * RATE) :][: RATE // 10]
    near = np.correlate(wave[13 * RATE : 16 * RATE], sought, "valid")
    shift = 13 * RATE + int(near.argmax())
    np.testing.assert_allclose(wave[shift : shift + len(sought)], sought, atol=1e-5)


@pytest.mark.parametrize("claimed", [0x7FFF_FFFF, 0xFFFF_FFF0])
def test_a_wav_that_promises_hours_costs_nothing(whole, tmp_path, claimed):
    path = tmp_path / "a.wav"
    path.write_bytes(patched(whole["wav"].read_bytes(), 40, "<I", claimed))
    assert audio.probe(path).frames == pytest.approx(claimed / 4, rel=1e-6)
    tracemalloc.start()
    with pytest.warns(audio.TruncatedAudioWarning, match="only 20.00 s"):
        wave = audio.read(path, 22050)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(wave, read_silently(whole["wav"]))
    assert peak < 10e6


def test_a_wav_that_does_not_know_its_length_promises_nothing(whole, tmp_path):
    path = tmp_path / "piped.wav"
    path.write_bytes(patched(whole["wav"].read_bytes(), 40, "<I", 0xFFFF_FFFF))
    assert audio.probe(path).seconds == SECONDS
    assert len(read_silently(path)) == SECONDS * 22050


@pytest.mark.parametrize(("samples", "seconds"), [(0, SECONDS), (1 << 33, (1 << 33) / RATE)])
def test_a_flac_without_a_length_is_counted_and_one_with_too_much_says_so(whole, tmp_path, samples, seconds):
    data = whole["flac"].read_bytes()
    rate_and_length = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
    (tmp_path / "a.flac").write_bytes(data[:18] + rate_and_length.to_bytes(8, "big") + data[26:])
    assert audio.probe(tmp_path / "a.flac").seconds == pytest.approx(seconds)
    if samples:
        with pytest.warns(audio.TruncatedAudioWarning, match="only 20.00 s"):
            audio.read(tmp_path / "a.flac", 22050)
    assert len(audio.read(tmp_path / "a.flac", 22050, seconds=1)) == 22050


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\x00\x00\x00\x00\x10\x00" + bytes(2048)])
def test_an_mp3_of_varying_rate_without_xing_header_is_read_whole(tmp_path, tag):
    wave = np.concatenate([tone(300, RATE, 10, amplitude=0.01), music(RATE, 20, 1)[:, 0]])
    soundfile.write(tmp_path / "a.mp3", wave, RATE, bitrate_mode="VARIABLE", compression_level=0.4)
    bare = tmp_path / "bare.mp3"
    bare.write_bytes(tag + without_xing((tmp_path / "a.mp3").read_bytes()))
    assert soundfile.info(bare).duration > 40 or soundfile.info(bare).duration < 20, "libsndfile guesses wrong"
    assert audio.probe(bare).seconds == pytest.approx(30, abs=0.1)
    back = read_silently(bare, RATE)
    # without the header an mp3 does not say how much padding the encoder put in front
    padding = 1105 - 529
    np.testing.assert_allclose(back[padding:][: len(wave) - 5000], audio.read(tmp_path / "a.mp3")[:-5000], atol=1e-5)
    part = audio.read(bare, RATE, start_seconds=17.0, seconds=1)
    np.testing.assert_allclose(part, back[17 * RATE : 18 * RATE], atol=1e-5)


def test_an_mp3_of_constant_rate_without_xing_header_promises_nothing(tmp_path):
    soundfile.write(tmp_path / "a.mp3", music(RATE, 10, 2), RATE, bitrate_mode="CONSTANT", compression_level=0.5)
    bare = without_xing((tmp_path / "a.mp3").read_bytes())
    (tmp_path / "bare.mp3").write_bytes(bare + bytes(100_000))  # as an APE tag would be counted as sound
    assert len(read_silently(tmp_path / "bare.mp3")) == pytest.approx(220500, abs=3000)


def test_a_stream_whose_rate_changes_on_the_way_gives_what_comes_before(tmp_path):
    parts = [
        encode(tmp_path / f"{rate}.aac", ("adts", "aac", "fltp"), music(rate, 3, 1), rate).read_bytes()
        for rate in (44100, 22050)
    ]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    with pytest.warns(audio.TruncatedAudioWarning, match="change on the way"):
        wave = audio.read(tmp_path / "both.aac")
    assert len(wave) == pytest.approx(3 * 44100, abs=3000)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_a_slice_decodes_only_what_it_needs(whole, ending, monkeypatch):
    decoded = []
    read = decode._Forward.read

    def counted(self, *arguments, **choices):
        got = read(self, *arguments, **choices)
        decoded.append(len(got))
        return got

    monkeypatch.setattr(decode._Forward, "read", counted)
    audio.read(whole[ending], 22050, start_seconds=14.0, seconds=1.0)
    assert RATE < sum(decoded) < 3 * RATE


def test_a_long_file_is_streamed_in_little_memory(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 2) as file:
        for _ in range(60):
            file.write(np.zeros((RATE * 10, 2), np.float32))
    tracemalloc.start()
    seconds = sum(len(block) for block in audio.Stream(tmp_path / "long.wav", 22050, block_seconds=5)) / 22050
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == 600
    assert peak < 4e6
