"""Taggrams of real sound: windows and hops, where a song changes, the picture of it, the command."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import taggram_toy as toy
import torch
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from torch import Tensor

from ssl_music import audio, checkpoint, cli, embed
from ssl_music._records import read_record
from ssl_music.catalogs.synthesis.instruments import SAMPLE_RATE
from ssl_music.embed import tag_files, taggrams
from ssl_music.encoders import LogMelStatistics
from ssl_music.errors import UserError
from ssl_music.report.figures import svg
from ssl_music.report.palette import LIGHT
from ssl_music.report.taggrams import MOST_ROWS, cells, group_figure, taggram_figure
from ssl_music.tagger import Tagger
from ssl_music.taggram import POOLINGS, Taggram

CHANGE_SECONDS, SECONDS = 7.3, 13.0


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """change.wav: flute, from 7.3 s on strings; short.wav: less than a window of guitar."""
    folder = tmp_path_factory.mktemp("music")
    wave = toy.song("flute", "strings", change_seconds=CHANGE_SECONDS, seconds=SECONDS)
    audio.write(folder / "change.wav", wave, SAMPLE_RATE)
    audio.write(folder / "short.wav", toy.played("guitar", 0.6, seed=500), SAMPLE_RATE)
    return folder


def heard(path: Path, **options) -> Taggram:
    ((_, found),) = taggrams([path], toy.tagger(), progress=False, **options)
    assert isinstance(found, Taggram)
    return found


def mesh(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """The cells of the picture (rows, columns), and where the columns begin and end."""
    axes = figure.axes[-1]
    (drawn,) = [one for one in axes.collections if isinstance(one, QuadMesh)]
    return np.ma.filled(drawn.get_array(), np.nan), drawn.get_coordinates()[0, :, 0]


@pytest.mark.parametrize("hop_seconds", [None, 0.5, 0.2])
def test_a_song_whose_instrument_changes_changes_there(music: Path, hop_seconds: float | None) -> None:
    found = heard(music / "change.wav", hop_seconds=hop_seconds)
    ends = found.starts_seconds + found.window_seconds
    told = found.scores.argmax(axis=1)
    assert (told[ends <= CHANGE_SECONDS] == toy.TAGS.index("flute")).all()
    assert (told[found.starts_seconds >= CHANGE_SECONDS] == toy.TAGS.index("strings")).all()
    # and the picture changes within one window of it
    figure = taggram_figure(
        found.tags, found.starts_seconds, found.window_seconds, found.scores, title="change", song_scores=[3, 1, 2]
    )
    picture, edges = mesh(figure)  # flute, strings, guitar
    assert edges[0] == 0 and abs(edges[-1] - SECONDS) < 0.6 * toy.WINDOW_SECONDS
    strings = picture[1] > picture[0]
    changes = edges[1:-1][np.diff(strings.astype(int)) != 0]
    assert not strings[0] and strings[-1]
    np.testing.assert_array_less(np.abs(changes - CHANGE_SECONDS), toy.WINDOW_SECONDS)


def test_windows_and_hops_lie_where_asked(music: Path) -> None:
    found = heard(music / "change.wav", window_seconds=2.0, hop_seconds=1.5)
    np.testing.assert_allclose(found.starts_seconds, np.arange(0, 11.5, 1.5))
    assert (found.window_seconds, found.scores.shape) == (2.0, (8, 3))
    wave = audio.read(music / "change.wav", SAMPLE_RATE, start_seconds=4.5, seconds=2.0)
    clip = torch.from_numpy(wave)[None, None]
    with torch.no_grad():
        alone = toy.tagger().probabilities(clip)[0]
    np.testing.assert_allclose(found.scores[3], alone, atol=1e-4)
    assert len(heard(music / "short.wav").scores) == 1  # looped to one window


def test_tagging_a_file_is_a_pooling_of_its_taggram(music: Path) -> None:
    whole = heard(music / "change.wav", hop_seconds=0.5)
    for pooling in POOLINGS:
        ((_, scores),) = tag_files(
            [music / "change.wav"], toy.tagger(), pooling=pooling, hop_seconds=0.5, progress=False
        )
        np.testing.assert_allclose(scores, whole.pooled(pooling))
    np.testing.assert_allclose(whole.pooled(), whole.scores.mean(axis=0), rtol=1e-6)
    with pytest.raises(UserError, match="unknown pooling 'median'"):
        list(tag_files([music / "change.wav"], toy.tagger(), pooling="median"))


def test_windows_that_an_encoder_cannot_take_are_refused(music: Path) -> None:
    def refused(tagger: Tagger, message: str, window_seconds: float) -> None:
        with pytest.raises(UserError, match=message):
            list(taggrams([music / "short.wav"], tagger, window_seconds=window_seconds, progress=False))

    refused(
        toy.tagger(), r"window_seconds 0\.01: LogMelStatistics wants at least 0\.02 s, and was trained on 1\.00", 0.01
    )
    refused(toy.tagger(), "a length above zero", -1)
    refused(toy.tagger(), "a length above zero", float("nan"))

    class Fixed(LogMelStatistics):
        """As a network from outside that flattens all of time."""

        def forward(self, wave: Tensor) -> Tensor:
            return wave.reshape(len(wave), -1) @ torch.zeros(self.input_samples, self.embedding_dim)

    fixed = Tagger(Fixed(), ["a"], column="x", multi_label=True)
    refused(fixed, r"Fixed takes no clips of 44100 samples .* leave window_seconds out for the 2\.68 s", 2.0)


def test_nan_from_a_tagger_is_no_picture(music: Path) -> None:
    class Diverged(LogMelStatistics):
        def forward(self, wave: Tensor) -> Tensor:
            return super().forward(wave) * torch.nan

    with pytest.raises(UserError, match=r"short\.wav: the tagger gave NaN or Inf"):
        list(taggrams([music / "short.wav"], Tagger(Diverged(), ["a"], column="x", multi_label=True), progress=False))


# --- pictures ---


def test_cells_share_overlaps_and_leave_gaps() -> None:
    rng = np.random.default_rng(0)
    for hop, window in ((1.0, 1.0), (0.5, 2.0), (3.0, 1.0), (1.0, 1.7)):
        starts = np.append(np.arange(0, 9, hop), 9.4)
        edges, owners = cells(starts, window)
        assert (np.diff(edges) > 0).all() and len(owners) == len(edges) - 1
        assert sorted(owners[owners >= 0]) == list(range(len(starts)))
        for moment in rng.uniform(0, edges[-1], 200):
            own = owners[np.searchsorted(edges, moment) - 1]
            hearing = (starts <= moment) & (moment <= starts + window)
            assert (own == -1) == (not hearing.any())
            if own >= 0:  # of those that heard it, the one whose middle is nearest
                away = np.where(hearing, np.abs(starts + window / 2 - moment), np.inf)
                assert away[own] == pytest.approx(away.min())


def test_the_strongest_tags_stand_first_and_hundreds_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    tags = [f"tag {number}" for number in range(300)]
    scores = rng.uniform(size=(9, 300))
    figure = taggram_figure(tags, np.arange(9.0), 1.0, scores, title="many", top=250)
    order = np.argsort(-scores.mean(axis=0), kind="stable")[:250]
    np.testing.assert_array_equal(mesh(figure)[0], scores[:, order].T)
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    heights = [texts[tags[index]].get_position()[1] for index in order]
    line = texts[tags[order[0]]].get_fontsize() / 72
    assert np.diff(heights).min() > line  # each name on a line of its own, from top to bottom
    assert {f"{scores[:, order[0]].mean():.2f}", "0:00", "0:08"} <= {
        *texts,
        *(label.get_text() for label in figure.axes[-1].get_xticklabels()),
    }


def test_a_picture_inside_a_page_takes_the_page_s_colours_and_says_hostile_names() -> None:
    tags = ["<script>", "$\\frac{", "_x", "\udcff"]
    figure = taggram_figure(tags, np.zeros(1), 3.0, np.array([[0.1, 0.2, 0.3, 0.4]]), title="</svg> & co")
    text = svg(figure, "taggram")
    assert "&lt;script&gt;" in text and "<script>" not in text and "<image" in text
    assert not [hex for hex in LIGHT.values() if hex in text]  # all are variables
    assert re.findall(r"image/png;base64", text)


def test_artists_beyond_what_fits_are_told_of() -> None:
    names = [f"artist {number}" for number in range(MOST_ROWS + 20)]
    counts = [number % 7 for number in range(len(names))]
    scores = np.random.default_rng(0).uniform(size=(len(names), 3))
    figure = group_figure(names, counts, ["a", "b", "c"], scores, title="all")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any(f"the {MOST_ROWS} of {len(names)} with most songs" in text for text in texts)
    assert mesh(figure)[0].shape == (MOST_ROWS, 3) and "artist 217" not in texts and "artist 219" in texts


def test_what_is_no_picture_is_told() -> None:
    for scores, top in ((np.zeros((2, 3)), 5), (np.zeros((0, 1)), 5), (np.zeros((1, 1)), 0)):
        with pytest.raises(UserError, match="no picture"):
            taggram_figure(["a"], np.zeros(len(scores)), 1.0, scores, title="", top=top)
    taggram_figure(["a"], np.zeros(1), 1.0, np.zeros((1, 1)), title="silence")  # all zero is a picture


# --- the command ---


@pytest.fixture
def home(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tagger's file, a folder of songs with one broken, in an empty place."""
    checkpoint.save(tmp_path / "tagger.safetensors", toy.tagger(), provenance={})
    folder = tmp_path / "songs"
    (folder / "Album").mkdir(parents=True)
    for name in ("change.wav", "short.wav"):
        (folder / "Album" / name).write_bytes((music / name).read_bytes())
    audio.write(folder / "No. 1.flac", toy.played("guitar", 2.0, seed=7), SAMPLE_RATE)
    tags = mutagen.File(folder / "No. 1.flac", easy=True)
    tags["artist"], tags["title"] = "Ada", "Blue"
    tags.save()
    (folder / "broken.mp3").write_text("no audio at all")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_command_writes_pictures_tables_and_records_twice_the_same(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["taggram", "songs", "--checkpoint", "tagger.safetensors", "--hop_seconds", "0.5", "--out"]
    assert cli.main([*command, "a"]) == 1  # one file is broken, the others are there
    told = capsys.readouterr()
    assert "broken.mp3" in told.err and "not tagged" in told.err
    assert "flute 0." in told.out and "3 songs, mean of their windows" in told.out
    names = ["Album/change", "Album/short", "No. 1"]
    wanted = [f"{name}.{ending}" for name in names for ending in ("csv", "json", "npz", "png")]
    first = digests(home / "a")
    assert sorted(first) == sorted([*wanted, "songs.csv"])
    assert cli.main([*command, "a"]) == 1
    assert digests(home / "a") == first
    record = read_record(home / "a" / "Album" / "change.json")
    found = heard(home / "songs" / "Album" / "change.wav", hop_seconds=0.5)
    assert record.kind == "taggram" and record.facts["tags"] == toy.TAGS
    assert (record.facts["window_seconds"], record.facts["hop_seconds"]) == (1.0, 0.5)
    np.testing.assert_allclose(record.arrays["scores"], found.scores, atol=1e-5)
    np.testing.assert_allclose(record.arrays["starts_seconds"], found.starts_seconds)
    lines = (home / "a" / "Album" / "change.csv").read_text().splitlines()
    assert lines[0] == "start_seconds,end_seconds,flute,guitar,strings" and len(lines) == 1 + len(found.scores)
    blue = read_record(home / "a" / "No. 1.json").facts
    assert (blue["title"], blue["artist"], blue["file"]) == ("Blue", "Ada", str(home / "songs" / "No. 1.flac"))


def test_what_is_there_is_not_heard_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["taggram", "songs", "--checkpoint", "tagger.safetensors", "--out", "a"]
    assert cli.main(command) == 1
    first = digests(home / "a")
    heard = list[str]()
    before = embed.taggrams

    def listened(files: Sequence[Path], *rest: Any, **options: Any) -> Any:
        heard[:] = [path.name for path in files]
        return before(files, *rest, **options)

    monkeypatch.setattr(embed, "taggrams", listened)
    assert cli.main(command) == 1 and heard == ["broken.mp3"] and digests(home / "a") == first
    (home / "a" / "No. 1.png").unlink()  # as after an interruption: the record is written last
    (home / "a" / "Album" / "short.json").unlink()
    (home / "a" / "songs.csv").unlink()
    assert cli.main(command) == 1 and sorted(heard) == ["No. 1.flac", "broken.mp3", "short.wav"]
    assert digests(home / "a") == first
    (home / "a" / "No. 1.json").write_text("{")
    assert cli.main(command) == 1 and sorted(heard) == ["No. 1.flac", "broken.mp3"] and digests(home / "a") == first
    (home / "songs" / "Album" / "short.wav").write_bytes((home / "songs" / "Album" / "change.wav").read_bytes())
    assert cli.main(command) == 1 and sorted(heard) == ["broken.mp3", "short.wav"]
    for other in (["--top", "1"], ["--pooling", "max"], ["--hop_seconds", "0.7"]):
        assert cli.main([*command, *other]) == 1 and len(heard) == 4


def test_averages_by_artist_from_a_table_and_from_the_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "songs" / "broken.mp3").unlink()
    (home / "t.csv").write_text("path,artist\nAlbum/change.wav,Bo\nAlbum/short.wav,Bo\nNo. 1.flac,\n")
    command = ["taggram", "songs", "--checkpoint", "tagger.safetensors", "--pooling", "max", "--by", "artist"]
    assert cli.main([*command, "--labels", "t.csv", "--out", "a"]) == 0
    lines = [line.split(",") for line in (home / "a" / "artist.csv").read_text().splitlines()]
    assert lines[0] == ["artist", "songs", *toy.TAGS] and [line[:2] for line in lines[1:]] == [
        ["Ada", "1"],
        ["Bo", "2"],
    ]
    own = [heard(home / "songs" / "Album" / name).pooled("max") for name in ("change.wav", "short.wav")]
    np.testing.assert_allclose(np.array(lines[2][2:], float), np.mean(own, axis=0), atol=1e-4)
    assert (home / "a" / "artist.png").stat().st_size > 5000
    capsys.readouterr()
    assert cli.main([*command, "--out", "b"]) == 0  # the files' own tags: only one has an artist
    assert "2 of 3 songs have no artist" in capsys.readouterr().err
    assert [line.split(",")[0] for line in (home / "b" / "artist.csv").read_text().splitlines()] == ["artist", "Ada"]


def test_songs_of_one_name_get_files_of_their_own(home: Path) -> None:
    for name in ("No. 1.wav", "songs.wav"):
        audio.write(home / "songs" / name, toy.played("flute", 1.0, seed=8), SAMPLE_RATE)
    files = ["songs/No. 1.wav", "songs/No. 1.flac", "songs/No. 1.flac", "songs/songs.wav"]
    assert cli.main(["taggram", *files, "--checkpoint", "tagger.safetensors", "--out", "a"]) == 0
    names = {path.name for path in (home / "a").glob("*.png")}
    assert names == {"No. 1.wav.png", "No. 1.flac.png", "No. 1.flac (2).png", "songs (2).png"}
    assert (home / "a" / "songs.csv").read_text().splitlines()[0] == "file,title,artist,flute,guitar,strings"


@pytest.mark.parametrize(
    "words, message",
    [
        (["songs/No. 1.flac", "--labels", "t.csv"], "give the folder in its place"),
        (["songs/Album", "--by", "artist"], "no file has an artist in its own tags"),
        (["songs/Album", "--top", "0"], "top 0: 1 or more is wanted"),
        (["songs/Album", "--window_seconds", "0.001"], "wants at least"),
    ],
)
def test_mistakes_are_told(home: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["taggram", *words, "--checkpoint", "tagger.safetensors", "--out", "a"]) == 2
    assert message in capsys.readouterr().err and not (home / "a").exists()


def test_every_file_broken_writes_nothing(home: Path) -> None:
    words = ["taggram", "songs/broken.mp3", "--checkpoint", "tagger.safetensors", "--out", "a"]
    assert cli.main(words) == 1 and not (home / "a").exists()
