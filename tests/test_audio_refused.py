"""Files that hold no audio raise one AudioError with path and reason; nothing else is printed or imported."""

import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_toys import cut, encode, music, patched

from ssl_music import audio
from ssl_music.audio import decode, quiet
from ssl_music.errors import UserError

RATE = 44100


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """One piece of music in two formats."""
    folder = tmp_path_factory.mktemp("whole")
    for ending in ("wav", "mp3"):
        audio.write(folder / f"a.{ending}", music(RATE, 15, 2), RATE)
    return {ending: folder / f"a.{ending}" for ending in ("wav", "mp3")}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ((22, "<H", 9), "9 channels; from 1 to 8"),
        ((22, "<H", 1024), "1024 channels"),
        ((22, "<H", 0), "Channel count is zero"),
        ((22, "<H", 65535), "no audio that can be read"),
        ((24, "<I", 4_000_000_000), "no audio that can be read"),
        ((24, "<I", 2_147_483_647), "2147483647 samples a second; from 1000 to 768000"),
        ((24, "<I", 1), "claims 1 samples a second"),
        ((24, "<I", 0), "no audio that can be read"),
    ],
)
def test_a_header_that_makes_no_sense_is_an_error(whole, tmp_path, change, wanted):
    path = tmp_path / "a.wav"
    path.write_bytes(patched(whole["wav"].read_bytes(), *change))
    tracemalloc.start()
    for look in (audio.read, audio.probe):
        with pytest.raises(audio.AudioError, match=wanted) as caught:
            look(path)
        assert caught.value.path == path
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_an_error_where_they_are(tmp_path, value):
    wave = np.zeros((RATE * 3, 2), np.float32)
    wave[2 * RATE, 1] = value
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(audio.AudioError, match=r"NaN or infinite samples, the first at 2\.000 s"):
        audio.read(tmp_path / "a.wav", 22050)
    assert len(audio.read(tmp_path / "a.wav", 22050, seconds=1)) == 22050


@pytest.mark.parametrize("ending", ["wav", "aiff", "ogg", "flac", "mp3"])
def test_a_file_without_samples_is_an_error(tmp_path, ending):
    soundfile.write(tmp_path / f"a.{ending}", np.zeros((0, 2)), RATE)
    for look in (audio.read, audio.probe):
        with pytest.raises(audio.AudioError, match=r"holds no audio|is empty"):
            look(tmp_path / f"a.{ending}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("song.mp3", b"not music at all\n" * 500),
        ("tag.mp3", b"ID3\x03\x00\x00\x00\x00\x10\x00" + bytes(3000)),
        ("zeros.wav", bytes(100_000)),
        ("noise.ogg", np.random.default_rng(0).bytes(200_000)),
        ("header.wav", b"RIFF\x00\x00\x00\x00WAVE"),
        ("subtitles.mp3", b"1\n00:00:01,000 --> 00:00:02,000\nla la la\n\n"),
        ("half.flac", b"fLaC\x00\x00\x00\x22" + bytes(20)),
        ("page.ogg", b"OggS\x00\x02" + bytes(40)),
    ],
)
def test_what_is_no_audio_is_an_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for look in (audio.read, audio.probe):
        with pytest.raises(audio.AudioError, match=r"no audio that can be read \(libsndfile: .*FFmpeg: ") as caught:
            look(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {caught.value.reason}"
        assert isinstance(caught.value, UserError)


def test_a_playlist_named_like_a_song_opens_nothing(whole, tmp_path):
    song = whole["mp3"].as_posix()
    for number, content in enumerate(
        [
            f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{song}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {song}\n",
        ]
    ):
        (tmp_path / f"{number}.mp3").write_text(content)
        with pytest.raises(audio.AudioError, match="no audio that can be read"):
            audio.read(tmp_path / f"{number}.mp3")


def test_files_that_are_none_are_errors(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    for name, wanted in [
        ("absent.wav", "no such file"),
        ("empty.wav", r"is empty \(0 bytes\)"),
        ("folder.wav", "is a folder"),
        ("pipe.wav", "is no regular file"),
        ("empty.wav/inside.wav", "cannot be opened: Not a directory"),
        ("n" * 300 + ".wav", "cannot be opened: File name too long"),
    ]:
        for look in (audio.read, audio.probe):
            with pytest.raises(audio.AudioError, match=wanted):
                look(tmp_path / name)


def test_a_file_that_may_not_be_read_is_an_error(whole, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decode, "FileIO", refuse)  # the superuser may read everything
    with pytest.raises(audio.AudioError, match="permission denied"):
        audio.read(whole["wav"])


def test_without_pyav_the_error_names_the_extra(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.m4a", ("mp4", "aac", "fltp"), music(RATE, 1, 1), RATE)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(audio.AudioError, match=r"pip install 'ssl-music\[codecs\]'"):
        audio.read(path)


def test_errors_and_warnings_cross_process_borders():
    for said in (audio.AudioError("a/b.wav", "is empty"), audio.TruncatedAudioWarning("a.mp3", 4.0, 2.0, "lost")):
        back = pickle.loads(pickle.dumps(said))
        assert (type(back), str(back), back.__dict__) == (type(said), str(said), said.__dict__)


def test_libraries_print_nothing_on_stderr(whole, tmp_path):
    path = cut(whole["mp3"], tmp_path)
    program = "from sys import argv; from ssl_music.audio import read; read(argv[1]); read(argv[1], start_seconds=4)"
    loud = subprocess.run(
        [sys.executable, "-c", "import sys, soundfile; soundfile.read(sys.argv[1])", str(path)],
        capture_output=True,
        check=True,
    )
    ours = subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(path)], capture_output=True, check=True)
    assert ours.stderr == b""
    if not loud.stderr:
        pytest.skip("this libsndfile is silent by itself")


def test_python_is_heard_while_libraries_are_quiet(capfd):
    with quiet.quiet(), quiet.quiet():
        print("seen", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "seen\n"


def test_pyav_is_imported_only_where_it_is_needed(whole):
    program = (
        "import sys; from ssl_music import audio; audio.read(sys.argv[1], seconds=1); print('av' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(whole["mp3"])], capture_output=True, check=True, text=True
    )
    assert run.stdout == "False\n"
