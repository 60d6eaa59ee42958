"""The leak check: same bytes, same sound, same names; and nothing else."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soxr

from ssl_music import audio, pack
from ssl_music.bench.leaks import leak_rows, leaks
from ssl_music.catalogs import Synthetic, Table
from ssl_music.errors import UserError

RATE = 22050


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """Sixteen pieces to pretrain on, all in one split or another."""
    catalog = Synthetic(tmp_path_factory.mktemp("music") / "pieces", pieces=16, seconds=8.0, workers=1)
    assert len(catalog.tracks) == 16
    return catalog


@pytest.fixture(scope="module")
def other(music: Synthetic, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Another collection: six pieces of its own, and four that come from the first."""
    root = tmp_path_factory.mktemp("other")
    own = Synthetic(root / "own", pieces=6, seconds=8.0, seed=9, workers=1)
    lines = ["path,mood,split,group"]
    for number, track in enumerate(own.tracks):
        # its groups are called as groups of the first collection are
        lines.append(f"own/{track.path.name},{'ab'[number % 2]},{['train', 'test'][number % 2]},{track.group}")
    shutil.copy(music.tracks[0].path, root / "copy.wav")
    wave = audio.read(music.tracks[1].path, RATE)
    audio.write(root / "coded.mp3", 0.3 * wave, RATE)
    later = soxr.resample(audio.read(music.tracks[2].path, RATE)[2 * RATE :], RATE, 16000)
    audio.write(root / "later.ogg", later.astype(np.float32), 16000)
    audio.write(root / "learnt.wav", audio.read(music.tracks[3].path, RATE), RATE)
    splits = {"copy.wav": "test", "coded.mp3": "test", "later.ogg": "test", "learnt.wav": "train"}
    lines += [f"{name},a,{split}," for name, split in splits.items()]
    (root / "songs.csv").write_text("\n".join(lines) + "\n")
    return Table(root / "songs.csv", columns=["mood"])


def test_copies_in_another_collection(music: Synthetic, other: Table, tmp_path: Path) -> None:
    found = {leak.track: leak for leak in leaks(music, other, tmp_path, pretrained_split="all", progress=False)}
    assert {name: (leak.how, leak.met_in) for name, leak in found.items()} == {
        "copy.wav": ("same file", "00000.wav"),
        "coded.mp3": ("same audio", "00001.wav"),
        "later.ogg": ("same audio", "00002.wav"),
    }
    later = found["later.ogg"]
    assert later.met_seconds is not None and later.track_seconds is not None and later.seconds is not None
    assert later.met_seconds - later.track_seconds == pytest.approx(2.0, abs=0.05)
    assert 4 < later.seconds <= 6 and 0 <= later.bit_error_rate < 0.2  # type: ignore[operator]
    assert found["copy.wav"].seconds is None
    rows = leak_rows({"songs": list(found.values())})
    assert {
        "catalog": "songs",
        "track": "copy.wav",
        "split": "test",
        "how": "same file",
        "met_in": "00000.wav",
    } in rows


def test_only_what_was_pretrained_on_and_what_is_tested_counts(
    music: Synthetic, other: Table, tmp_path: Path
) -> None:
    splits = {track.id: track.split for track in music.tracks}
    for split in ("train", "valid", "test"):
        found = leaks(music, other, tmp_path, pretrained_split=split, progress=False)
        assert {leak.met_in for leak in found} == {
            id for id in ("00000.wav", "00001.wav", "00002.wav") if splits[id] == split
        }
    found = leaks(music, other, tmp_path, pretrained_split="all", tested_splits=["train", "test"], progress=False)
    assert {leak.track: leak.split for leak in found}["learnt.wav"] == "train"
    with pytest.raises(UserError, match="did you mean 'train'"):
        leaks(music, other, tmp_path, pretrained_split="trian", progress=False)


def test_a_pack_without_its_files(music: Synthetic, other: Table, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(music.root, copied)
    again = Synthetic(copied, pieces=16, seconds=8.0, workers=1)
    packed = pack.pack(again, tmp_path / "pack", sample_rate=16000, workers=1, progress=False)
    shutil.rmtree(copied)
    found = {
        leak.track: leak for leak in leaks(packed, other, tmp_path / "c", pretrained_split="all", progress=False)
    }
    assert {name: leak.how for name, leak in found.items()} == dict.fromkeys(
        ["copy.wav", "coded.mp3", "later.ogg"], "same audio"
    )


def test_within_one_collection_names_count(music: Synthetic, tmp_path: Path) -> None:
    assert leaks(music, music, tmp_path, progress=False) == []
    everything = leaks(music, music, tmp_path, pretrained_split="all", progress=False)
    assert [leak.track for leak in everything] == [track.id for track in music.split("test")]
    assert {leak.how for leak in everything} == {"same file"} and all(
        leak.track == leak.met_in for leak in everything
    )

    lines = ["path,group,split"]  # two takes of each piece of music, in two splits
    for number, track in enumerate(music.tracks):
        lines.append(f"{track.path.name},work {number // 2},{['train', 'test'][number % 2]}")
    (music.root / "takes.csv").write_text("\n".join(lines) + "\n")
    takes = Table(music.root / "takes.csv")
    by_group = leaks(takes, takes, tmp_path, progress=False)
    assert [(leak.how, leak.track, leak.met_in) for leak in by_group] == [
        ("same group", f"{number:05d}.wav", f"{number - 1:05d}.wav") for number in range(1, 16, 2)
    ]


def test_fingerprints_are_made_once(music: Synthetic, other: Table, tmp_path: Path, monkeypatch) -> None:
    first = leaks(music, other, tmp_path, pretrained_split="all", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([music.fingerprint(), other.fingerprint()])
    monkeypatch.setattr("ssl_music.fingerprint.store.fingerprint", lambda *_: pytest.fail("made again"))
    assert leaks(music, other, tmp_path, pretrained_split="all", progress=False) == first
