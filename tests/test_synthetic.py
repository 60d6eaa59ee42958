"""The built-in catalog: its files, labels and splits; its music measured as one would measure a recording."""

import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from ssl_music.catalogs.synthesis.arrange import arrange
from ssl_music.catalogs.synthesis.drums import LEVELS, stroke
from ssl_music.catalogs.synthesis.genre import TEMPO_BPM
from ssl_music.catalogs.synthesis.genres import GENRES
from ssl_music.catalogs.synthesis.instruments import INSTRUMENTS, SAMPLE_RATE, sawtooth, string
from ssl_music.catalogs.synthesis.plan import Plan, plan
from ssl_music.catalogs.synthesis.render import render, stems
from ssl_music.catalogs.synthesis.theory import SCALES, chord
from ssl_music.catalogs.synthetic import Synthetic
from ssl_music.errors import UserError

SPLITS = {"train", "valid", "test"}


def pieces_of(genre: str, count: int) -> list[Plan]:
    found = (plan(0, index) for index in range(400))
    pieces = [piece for piece in found if piece.genre.name == genre and "lead" in piece.players]
    # a bell's partials lie on no scale
    return [piece for piece in pieces if "bell" not in piece.players.values()][:count]


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


# --- the catalog --------------------------------------------------------------------------------------------------


def test_same_settings_same_bytes_whoever_renders(tmp_path: Path) -> None:
    alone = Synthetic(tmp_path / "alone", pieces=24, seconds=1.0, workers=1)
    together = Synthetic(tmp_path / "together", pieces=24, seconds=1.0, workers=2)
    assert alone.render() == together.render() == 24
    assert contents(alone.root) == contents(together.root)
    assert alone.fingerprint() == together.fingerprint()
    assert len({track.path.read_bytes() for track in alone.tracks}) == 24


def test_a_piece_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = Synthetic(tmp_path / "few", pieces=2, seconds=1.0).tracks
    more = Synthetic(tmp_path / "more", pieces=4, seconds=1.0).tracks
    assert [track.path.read_bytes() for track in few] == [track.path.read_bytes() for track in more[:2]]
    other = Synthetic(tmp_path / "other", pieces=2, seconds=1.0, seed=1)
    assert other.tracks[0].path.read_bytes() != few[0].path.read_bytes()
    assert other.split_name == "synthetic, artist-disjoint, seed 1"


def test_files_are_16_bit_mono_of_the_asked_length(tmp_path: Path) -> None:
    catalog = Synthetic(tmp_path / "p", pieces=2, seconds=1.3)
    assert [track.id for track in catalog.tracks] == ["00000.wav", "00001.wav"]
    with wave.open(str(catalog.tracks[1].path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
        assert file.getnframes() == round(1.3 * 22_050)


def test_resumes_what_is_missing_or_cut(tmp_path: Path) -> None:
    root = tmp_path / "p"
    assert Synthetic(root, pieces=3, seconds=1.0).render() == 3
    whole = contents(root)
    (root / "00001.wav").unlink()
    (root / "00002.wav").write_bytes(whole["00002.wav"][:1000])
    assert Synthetic(root, pieces=3, seconds=1.0).render() == 2
    assert contents(root) == whole
    assert Synthetic(root, pieces=3, seconds=1.0).render() == 0


@pytest.mark.parametrize("changed", [{"seed": 1}, {"seconds": 2.0}, {"pieces": 2}])
def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path, changed: dict) -> None:
    Synthetic(tmp_path / "p", pieces=1, seconds=1.0).render()
    with pytest.raises(UserError, match=r"synthetic\.json: these pieces were rendered with .* give another root"):
        Synthetic(tmp_path / "p", **{"pieces": 1, "seconds": 1.0, **changed}).render()


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").touch()
    with pytest.raises(UserError, match="not empty and not rendered by Synthetic"):
        _ = Synthetic(tmp_path, pieces=1).tracks
    with pytest.raises(UserError, match=r"song\.mp3: a file, but the pieces need a folder"):
        _ = Synthetic(tmp_path / "song.mp3", pieces=1).tracks
    with pytest.raises(UserError, match=r"cannot write the pieces: .*Not a directory"):
        _ = Synthetic(tmp_path / "song.mp3" / "p", pieces=1).tracks
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "synthetic.json").write_text("{")
    with pytest.raises(UserError, match=r"synthetic\.json: not JSON"):
        _ = Synthetic(tmp_path / "p", pieces=1).tracks


@pytest.mark.parametrize("wrong", [{"pieces": 0}, {"seconds": 0.5}, {"seed": -1}, {"workers": 0}])
def test_wrong_arguments_are_refused(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Synthetic(tmp_path, **wrong)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_ctrl_c_leaves_only_whole_files_and_one_stack_trace(tmp_path: Path) -> None:
    root = tmp_path / "p"
    script = tmp_path / "script.py"
    script.write_text(
        "from ssl_music.catalogs.synthetic import Synthetic\n"
        f"Synthetic({str(root)!r}, pieces=5000, seconds=2.0, workers=2).render()\n"
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not any(root.glob("0*.wav")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and every worker
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1, errors
    sizes = {path.stat().st_size for path in root.iterdir() if path.name != "synthetic.json"}
    assert sizes == {44 + 2 * 44_100}


# --- labels and splits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_every_split_holds_every_genre_and_instrument_and_no_artist_of_another(seed: int) -> None:
    pieces = [plan(seed, index) for index in range(80)]
    every = {*INSTRUMENTS, "drum kit", "drum machine"}
    for split in SPLITS:
        here = [piece for piece in pieces if piece.artist.split == split]
        assert {piece.genre.name for piece in here} == set(GENRES)
        assert {name for piece in here for name in piece.labels()["instruments"]} == every
        assert {piece.tempo for piece in here} == set(TEMPO_BPM)
    more = [plan(seed, index) for index in range(240)]
    splits_of: dict[str, set[str]] = {}
    for piece in more:
        splits_of.setdefault(piece.artist.name, set()).add(piece.artist.split)
    assert len(splits_of) == 80 and all(len(splits) == 1 for splits in splits_of.values())
    assert {piece.artist.split for piece in more[:3]} == SPLITS


def test_labels_are_complete_and_name_what_plays(tmp_path: Path) -> None:
    catalog = Synthetic(tmp_path / "p", pieces=5, seconds=1.0)
    for index, track in enumerate(catalog.tracks):
        piece = plan(0, index)
        assert set(track.labels) == set(catalog.columns) and all(track.labels.values())
        assert track.labels["artist"] == (track.artist,) and track.title and track.group == f"{index:05d}"
        assert set(track.labels["instruments"]) == {piece.players[role] for role in stems(piece, 8.0)}
    assert catalog.targets(catalog.tracks, "genre").sum(1).tolist() == [1.0] * 5


def test_pieces_of_one_artist_differ() -> None:
    pieces = [plan(0, index) for index in range(7, 400, 80)]
    assert len({piece.artist.name for piece in pieces}) == 1
    assert len({piece.key for piece in pieces}) > 1
    assert len({piece.bpm for piece in pieces}) == len({piece.title for piece in pieces}) == 5


def test_tempo_is_no_function_of_genre() -> None:
    pieces = [plan(0, index) for index in range(400)]
    for genre in GENRES:
        assert len({piece.tempo for piece in pieces if piece.genre.name == genre}) == 3
    for piece in pieces:
        low, high = TEMPO_BPM[piece.tempo]
        assert low <= piece.bpm <= high


# --- the music ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("genre", GENRES.values(), ids=list(GENRES))
def test_tables_of_genres_are_well_formed(genre) -> None:
    bar = 4 * genre.beats
    for patterns, symbols in ((genre.comp, "x1358-."), (genre.bass, "13578-."), (genre.lead, "x-.")):
        for pattern in patterns:
            assert len(pattern) % bar == 0 and set(pattern) <= set(symbols), pattern
    for voice, patterns in genre.drums.items():
        assert voice in LEVELS
        for pattern in patterns:
            assert len(pattern) % bar == 0 and set(pattern) <= set("Xxo?."), pattern
    assert {*genre.leads, *genre.comps, *genre.basses} <= set(INSTRUMENTS)
    for song in genre.songs:
        assert set(SCALES[song.melody]) <= set(SCALES[song.scale]), song
        for symbol in song.chords.split():
            assert {tone % 12 for tone in chord(symbol)} <= set(SCALES[song.scale]), (song, symbol)


@pytest.mark.parametrize("index", range(10))
def test_waves_are_sane(index: int) -> None:
    signal_ = render(3, index, 5.0)
    peak = np.abs(signal_).max()
    assert signal_.dtype == np.float32 and len(signal_) == 5 * SAMPLE_RATE
    assert np.isfinite(signal_).all() and 0.099 < peak < 0.9
    rms = np.sqrt(np.mean(signal_**2))
    assert 0.05 * peak < rms < 0.5 * peak
    assert abs(signal_.mean()) < 0.01 * rms
    seconds_rms = np.sqrt(np.mean(signal_.reshape(5, -1) ** 2, axis=1))
    assert seconds_rms.min() > 0.05 * rms


@pytest.mark.parametrize(
    "piece", pieces_of("techno", 3) + pieces_of("house", 3), ids=lambda piece: f"{piece.bpm:.0f}"
)
def test_measured_tempo_is_the_labelled_one(piece: Plan) -> None:
    drums = stems(piece, 10.0)["drums"]
    frame = 220
    energy = np.log1p(1e4 * (drums[: len(drums) // frame * frame].reshape(-1, frame) ** 2).mean(1))
    onsets = np.maximum(0, np.diff(energy))
    onsets -= onsets.mean()
    likeness = np.correlate(onsets, onsets, "full")[len(onsets) - 1 :]
    # four beats are a bar: no other lag near them repeats every voice of the pattern
    lags = np.arange(round(4 * 60 / 180 * SAMPLE_RATE / frame), round(4 * 60 / 60 * SAMPLE_RATE / frame))
    bar = 4 * 60 / piece.bpm * SAMPLE_RATE / frame
    near = lags[np.abs(lags - bar) < 0.12 * bar]
    measured_bpm = 4 * 60 * SAMPLE_RATE / frame / near[np.argmax(likeness[near])]
    assert measured_bpm == pytest.approx(piece.bpm, rel=0.015)
    # and a lag off the beat by a quarter of it is far less alike
    assert likeness[round(bar)] > 2 * likeness[round(bar * 17.5 / 16)]


@pytest.mark.parametrize("piece", pieces_of("folk", 3) + pieces_of("waltz", 2), ids=lambda piece: piece.song.chords)
def test_notes_lie_on_the_scale_of_the_key(piece: Plan) -> None:
    tracks = stems(piece, 8.0)
    tonal = sum(track for role, track in tracks.items() if role != "drums")
    power = np.abs(np.fft.rfft(tonal * np.hanning(len(tonal)))) ** 2
    hz = np.fft.rfftfreq(len(tonal), 1 / SAMPLE_RATE)
    heard = (hz > 55) & (hz < 700)
    pitch_class = np.round(69 + 12 * np.log2(hz[heard] / 440)).astype(int) % 12
    chroma = np.bincount(pitch_class, power[heard], 12) / power[heard].sum()
    on_scale = [sum(chroma[(key + tone) % 12] for tone in SCALES[piece.song.scale]) for key in range(12)]
    assert on_scale[piece.key] > 0.93
    assert on_scale[piece.key] >= max(on_scale) - 0.02


def test_swing_delays_the_second_of_two() -> None:
    blues = pieces_of("blues", 1)[0]
    eighth = 60 / blues.bpm / 2
    starts = np.array([hit.start_seconds for hit in arrange(blues, 12.0).hits]) / eighth
    offbeat = starts[(starts % 2 > 0.6) & (starts % 2 < 1.8)] % 2
    assert np.median(offbeat) == pytest.approx(2 * blues.swing, abs=0.08)


@pytest.mark.parametrize("name", sorted(set(INSTRUMENTS) - {"bell"}))
def test_instruments_are_in_tune(name: str) -> None:
    for frequency_hz in (110.0, 261.63, 783.99):
        tone = INSTRUMENTS[name](frequency_hz, 1.0, 0.3, np.random.default_rng(0))
        assert np.isfinite(tone).all() and tone.dtype == np.float32
        steady = tone[4000:20000] * np.hanning(16000)
        power = np.abs(np.fft.rfft(steady, 1 << 18)) ** 2
        hz = np.fft.rfftfreq(1 << 18, 1 / SAMPLE_RATE)
        for_pitch = np.abs(hz / frequency_hz - 1) < 0.03
        # the centre of gravity: vibrato and detuned voices lie about the pitch evenly
        assert np.average(hz[for_pitch], weights=power[for_pitch]) == pytest.approx(frequency_hz, rel=0.004)
        # the rest is harmonics, the organ's also half way between; breath and knock are the remainder
        nearest = np.abs(hz / (frequency_hz / 2) - np.round(hz / (frequency_hz / 2))) * frequency_hz / 2
        assert power[nearest < np.maximum(12, 0.015 * hz)].sum() > 0.9 * power.sum()


def test_sawtooth_is_the_sum_of_its_harmonics() -> None:
    turns = np.arange(2000) * 441 / SAMPLE_RATE
    naive = sum(0.8**k * np.sin(2 * np.pi * k * turns) for k in range(1, 10_000 // 441 + 1))
    assert np.abs(sawtooth(turns, 0.8, 441.0) - naive).max() < 1e-4


def test_string_decays_as_the_loop_of_karplus_and_strong() -> None:
    period = 100
    loop = np.random.default_rng(0).normal(size=period)
    loop -= loop.mean()
    naive = [*loop]
    while len(naive) < 300 * period:
        naive.append(0.5 * (naive[-period] + naive[-period - 1]) if len(naive) > period else naive[-period])
    closed = string(
        SAMPLE_RATE / period, 1.4, ring_seconds=1e9, damping=1, bright=1, pick=0.37, rng=np.random.default_rng(1)
    )

    def fall(signal_: np.ndarray, harmonic: int, period: float) -> float:
        """Decay of a harmonic per period, from its amplitudes around samples 1,500 and 20,500."""
        window = np.hanning(20 * 100) * np.exp(-2j * np.pi * harmonic / period * np.arange(20 * 100))
        early, late = (abs(np.dot(window, signal_[start : start + 2000])) for start in (500, 19_500))
        return np.log(late / early) * period / 19_000

    for harmonic in (2, 4, 7):
        # the naive loop's two taps also delay by half a sample
        assert fall(closed, harmonic, 100) == pytest.approx(fall(np.array(naive), harmonic, 100.5), rel=0.02)


@pytest.mark.parametrize("kit", ["drum kit", "drum machine"])
def test_drums_differ_in_height_and_end(kit: str) -> None:
    centre = {}
    for voice in LEVELS:
        hit = stroke(voice, kit, 0.5, np.random.default_rng(0))
        assert np.isfinite(hit).all() and np.abs(hit[-50:]).max() < 0.05
        power = np.abs(np.fft.rfft(hit)) ** 2
        centre[voice] = (power * np.fft.rfftfreq(len(hit), 1 / SAMPLE_RATE)).sum() / power.sum()
    assert centre["kick"] < 150 < centre["tom"] + 60 and centre["tom"] < centre["snare"] < centre["hat"]
