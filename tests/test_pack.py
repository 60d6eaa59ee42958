"""Packing: every sample where it belongs, broken files listed, the same bytes after any interruption."""

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from ssl_music import audio, pack
from ssl_music._ledger import DiskFull, Ledger, LedgerWriter
from ssl_music.catalogs import Folder
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.clips import ClipLoader, waves
from ssl_music.errors import UserError
from ssl_music.pack import Pack, writer

RATE = 8000
MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music"


class Listed(Catalog):
    split_name = "by hand"

    def __init__(self, tracks: list[Track]):
        self._tracks = sorted(tracks, key=lambda track: track.id)
        self.columns = {"genre": False, "mood": True}

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


def noise(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.4, 0.4, int(seconds * rate)).astype(np.float32)


def track(folder: Path, name: str, wave: np.ndarray, rate: int = RATE, **facts) -> Track:
    audio.write(folder / name, wave, rate)
    return Track(name, folder / name, **facts)


@pytest.fixture
def catalog(tmp_path) -> Listed:
    folder = tmp_path / "music"
    folder.mkdir()
    labels = {"genre": ("folk",), "mood": ("calm", "dark")}
    tracks = [
        track(folder, "b.wav", noise(0.5, 1), artist="Ada", album="One", title="Sung", split="train", labels=labels),
        track(folder, "a.flac", noise(0.7, 2), group="g", split="train"),
        track(folder, "c.ogg", noise(1.0, 3), split="valid", labels={"genre": ("jazz",)}),
        track(folder, "again.wav", noise(0.5, 1), split="test"),
        track(folder, "other rate.wav", noise(0.6, 4, 12000), 12000, split="train"),
    ]
    (folder / "empty.wav").touch()
    (folder / "text.mp3").write_text("no music")
    tracks += [Track(name, folder / name, split="train") for name in ("empty.wav", "text.mp3")]
    return Listed(tracks)


def packed(catalog: Catalog, out: Path, **choices) -> Pack:
    return pack.pack(catalog, out, **{"sample_rate": RATE, "progress": False, **choices})


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


def test_a_pack_is_its_catalog_with_samples(tmp_path, catalog):
    there = packed(catalog, tmp_path / "out")
    good = [track for track in catalog.tracks if track.id not in ("empty.wav", "text.mp3")]
    assert there.tracks == good
    assert (there.columns, there.split_name, there.sample_rate) == (catalog.columns, "by hand", RATE)
    assert there.tags("mood") == ["calm", "dark"]
    assert there.fingerprint() == Listed(good).fingerprint()
    for row, known in enumerate(there.tracks):
        whole = there.gather(np.array([row]), np.array([0]), int(there.samples[row]))[0]
        expected = audio.read(known.path, RATE)
        np.testing.assert_allclose(whole / 32768, expected, atol=0.5 / 32768 + 1e-6)
        np.testing.assert_array_equal(np.concatenate(list(there.blocks(row, 1000))), whole)
    assert [len(block) for block in there.blocks(0, 3000)] == [3000, 2600]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data-00000.bin", "tracks.sqlite"]


def test_16_bit_files_of_the_same_rate_come_out_bit_for_bit(tmp_path):
    samples = np.arange(-32768, 32768, dtype=np.int16)
    there = packed(Listed([track(tmp_path, "all.wav", (samples / 32768).astype(np.float32))]), tmp_path / "out")
    np.testing.assert_array_equal(there.gather(np.array([0]), np.array([0]), 65536)[0], samples)


def test_what_passes_full_scale_is_limited_not_wrapped():
    wave = np.array([-2, -1, -0.5, 0, 0.5, 32767.4 / 32768, 1, 3], np.float32)
    assert writer._to_int16(wave).tolist() == [-32768, -32768, -16384, 0, 16384, 32767, 32767, 32767]


def test_a_slice_never_reaches_into_the_next_track(tmp_path, catalog):
    there = packed(catalog, tmp_path / "out")
    for start in (-1, int(there.samples[1]) - 99):
        with pytest.raises(IndexError, match="beyond its track"):
            there.gather(np.array([0, 1]), np.array([0, start]), 100)


def test_crops_from_a_pack_and_from_its_files_agree(tmp_path, catalog):
    good = Listed([track for track in catalog.tracks if track.id not in ("empty.wav", "text.mp3")])
    choices = {"input_samples": 2000, "batch_size": 5, "crops": 2, "seed": 3}
    (a,), (b,) = (
        ClipLoader(waves(source, RATE), np.arange(5), **choices) for source in (good, packed(good, tmp_path / "out"))
    )
    assert a.rows.equal(b.rows)
    # a slice is resampled alone, the pack as a whole: one part in a million, so at most one step of int16
    assert (a.wave.int() - b.wave.int()).abs().max() <= 1


def test_broken_files_are_listed_and_summed_up(tmp_path, catalog):
    there = packed(catalog, tmp_path / "out")
    assert [name for name, _ in there.broken] == ["empty.wav", "text.mp3"]
    assert all(reason for _, reason in there.broken)
    assert "2 files are broken and left out" in there.summary()
    assert "5 tracks, 0.00 h at 8000 Hz" in there.summary()


def test_a_truncated_file_is_packed_as_far_as_it_goes(tmp_path):
    whole = track(tmp_path, "cut.flac", noise(4.0, 1))
    whole.path.write_bytes(whole.path.read_bytes()[:40_000])
    there = packed(Listed([whole]), tmp_path / "out")
    assert there.broken == []
    ((name, reason),) = there.truncated
    assert name == "cut.flac"
    assert reason.startswith("truncated: header claims 4.0 s, holds ")
    assert 0.5 < there.samples[0] / RATE < 3.9
    expected = noise(4.0, 1)[: there.samples[0]]
    np.testing.assert_allclose(
        there.gather(np.array([0]), np.array([0]), len(expected))[0] / 32768, expected, atol=1e-4
    )
    assert Ledger(tmp_path / "out").rows[0].status == "ok"


def test_the_same_audio_twice_is_reported_and_a_leak_flagged(tmp_path, catalog):
    there = packed(catalog, tmp_path / "out")
    assert there.duplicates == there.straddling == [["again.wav", "b.wav"]]
    assert "LEAK from one split into another:\n  'again.wav', 'b.wav'" in there.summary()
    same_split = Listed([track for track in catalog.tracks if track.id == "b.wav"] * 1)
    assert packed(same_split, tmp_path / "one").duplicates == []


def test_nothing_decodable_packs_nothing(tmp_path, catalog):
    broken = Listed([track for track in catalog.tracks if track.id in ("empty.wav", "text.mp3")])
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of 2 files could be decoded, nothing was packed: .*empty.wav: "):
            packed(broken, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_again_is_quick_and_says_so(tmp_path, catalog, capsys, monkeypatch):
    first = packed(catalog, tmp_path / "out")
    before = contents(tmp_path / "out")
    monkeypatch.setattr(audio, "Stream", None)
    again = pack.pack(catalog, tmp_path / "out", sample_rate=RATE)
    assert "packed already, 7 tracks; nothing to do" in capsys.readouterr().err
    assert again.tracks == first.tracks
    assert contents(tmp_path / "out") == before


def test_another_rate_or_catalog_is_refused(tmp_path, catalog):
    packed(catalog, tmp_path / "out")
    with pytest.raises(
        UserError, match=r"made with sample_rate 8000; now asked for sample_rate 16000. Choose another"
    ):
        packed(catalog, tmp_path / "out", sample_rate=16000)
    with pytest.raises(UserError, match=r"made with catalog_fingerprint '\w+'; now asked for catalog_fingerprint"):
        packed(Listed(catalog.tracks[1:]), tmp_path / "out")


def test_shards_and_workers_do_not_change_the_samples(tmp_path, catalog, monkeypatch):
    one = packed(catalog, tmp_path / "one", workers=1)
    monkeypatch.setattr(writer, "SPILL_BYTES", 1000)
    assert contents(packed(catalog, tmp_path / "many workers", workers=5).root) == contents(one.root)
    monkeypatch.setattr(writer, "SAMPLES_PER_SHARD", 5000)
    many = packed(catalog, tmp_path / "many shards")
    assert len(list(many.root.glob("data-*.bin"))) > 2
    rows, starts = np.arange(5)[::-1], np.arange(5) * 100
    np.testing.assert_array_equal(many.gather(rows, starts, 3000), one.gather(rows, starts, 3000))


def test_long_tracks_are_not_held_in_memory(tmp_path):
    """Twenty minutes are 53 MB as float, 26 MB as int16; packing may not take half of that. (In its own process.)"""
    audio.write(tmp_path / "long.wav", np.tile(noise(60, 1, 11025), 20), 11025)
    code = (
        "import resource, sys; from ssl_music import pack; from ssl_music.catalogs import Folder\n"
        "pack.writer.SPILL_BYTES = pack.writer.BLOCK_BYTES = 1 << 20\n"
        "folder = sys.argv[1]; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "there = pack.pack(Folder(folder), folder + '/out', sample_rate=11025, progress=False)\n"
        "print(there.samples[0], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    samples, grown_mb = map(int, done.stdout.split())
    assert samples == 1200 * 11025
    assert grown_mb < 13


KILLED = f"""
import sys
from ssl_music import pack
from ssl_music._ledger import writer
from ssl_music.catalogs import Folder
writer.COMMIT_SECONDS = 0.02
pack.pack(Folder(sys.argv[1]), sys.argv[2], sample_rate={RATE}, progress=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_and_resumed_is_byte_identical(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(300):
        wavfile.write(folder / f"{number:03d}.wav", RATE, noise(0.2 + number % 7 / 10, number))
    (folder / "017.wav").write_bytes(b"broken")
    catalog = Folder(folder)
    expected = contents(packed(catalog, tmp_path / "straight").root)
    interrupted = 0
    for part in (0.01, 0.3, 0.6, 0.9):
        out = tmp_path / f"killed at {part}"
        data = out / "data-00000.bin"
        with subprocess.Popen([sys.executable, "-c", KILLED, folder, out]) as process:
            while process.poll() is None:
                if data.exists() and data.stat().st_size >= part * len(expected[data.name]):
                    break
                time.sleep(0.0005)
            process.send_signal(signal.SIGKILL)
        if (out / "unfinished.sqlite").exists():
            interrupted += 1
            with pytest.raises(UserError, match="unfinished; run the command that began it again"):
                Pack(out).tracks  # noqa: B018
        packed(catalog, out)
        assert contents(out) == expected
    assert interrupted >= 2
    assert pack.verify(tmp_path / "straight", progress=False) == []


def test_ctrl_c_leaves_a_state_to_go_on_from(tmp_path, catalog, monkeypatch):
    straight = packed(catalog, tmp_path / "straight")
    whole = LedgerWriter.append
    calls = []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(LedgerWriter, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packed(catalog, tmp_path / "out")
    monkeypatch.undo()
    (problem,) = pack.verify(tmp_path / "out", progress=False)
    assert "unfinished" in problem
    with LedgerWriter(
        tmp_path / "out", header=header_of(straight), dtype=np.int16, rows_per_shard=1 << 29
    ) as resumed:
        assert len(resumed.done) == 2
    packed(catalog, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(straight.root)


def header_of(there: Pack) -> dict:
    return {
        key: value for key, value in there.ledger.header.items() if key not in ("dtype", "width", "rows_per_shard")
    }


def test_a_full_disk_says_what_is_left_and_goes_on_later(tmp_path, catalog, monkeypatch):
    straight = packed(catalog, tmp_path / "straight")
    whole = LedgerWriter._write
    calls = []

    def full(self, data):
        calls.append(1)
        if len(calls) > 2:
            raise DiskFull(f"{self.root}: the disk is full")
        whole(self, data)

    monkeypatch.setattr(LedgerWriter, "_write", full)
    with pytest.raises(
        DiskFull, match=r"the disk is full. \d of 7 tracks are left, by the others' size about 0.00 GB"
    ):
        packed(catalog, tmp_path / "out")
    monkeypatch.undo()
    packed(catalog, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(straight.root)


def test_a_full_disk_while_a_long_track_spills(tmp_path, catalog, monkeypatch):
    def full(wave):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_to_int16", full)
    with pytest.raises(DiskFull, match=r"the disk is full: .* MB are free.*Nothing of 7 tracks is packed yet"):
        packed(catalog, tmp_path / "out")


def test_a_really_full_disk(tmp_path):
    """On a file system of one megabyte, where one may be mounted."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        catalog = Listed([track(tmp_path, f"{number}.wav", noise(9, number)) for number in range(12)])
        with pytest.raises(DiskFull, match=r"small/out: the disk is full: .* run the same command again"):
            packed(catalog, small / "out", workers=2)
        with LedgerWriter(
            small / "out", header=header_of_catalog(catalog), dtype=np.int16, rows_per_shard=1 << 29
        ) as resumed:
            assert 1 <= len(resumed.done) < 9
        subprocess.run(["mount", "-o", "remount,size=9m", small], check=True)
        there = packed(catalog, small / "out")
        assert contents(there.root) == contents(packed(catalog, tmp_path / "straight").root)
    finally:
        subprocess.run(["umount", small], check=True)


def header_of_catalog(catalog: Catalog) -> dict:
    return {
        "kind": "pack",
        "sample_rate": RATE,
        "catalog_fingerprint": catalog.fingerprint(),
        "split_name": catalog.split_name,
        "columns": dict(catalog.columns),
    }


def test_check_tells_damages_apart(tmp_path, catalog):
    out = packed(catalog, tmp_path / "out").root
    assert pack.verify(out, progress=False) == []
    data = bytearray((out / "data-00000.bin").read_bytes())
    data[100] ^= 4
    (out / "data-00000.bin").write_bytes(data)
    assert pack.verify(out, progress=False) == ["track 'a.flac': its bytes in data-00000.bin have changed"]
    (out / "data-00000.bin").write_bytes(data[:-2])
    assert any("cut short" in problem for problem in pack.verify(out, progress=False))
    (out / "data-00000.bin").unlink()
    assert pack.verify(out, progress=False) == ["data-00000.bin: missing, and with it 5 tracks"]
    with pytest.raises(UserError, match=r"wanted a directory holding tracks.sqlite"):
        pack.verify(tmp_path / "elsewhere")


def test_vectors_are_no_pack(tmp_path):
    with LedgerWriter(tmp_path, header={"digest": "x"}, dtype=np.float32, width=3, rows_per_shard=9) as ledger:
        ledger.finish()
    with pytest.raises(UserError, match="holds something else than packed music"):
        Pack(tmp_path).tracks  # noqa: B018


def test_export(tmp_path, catalog):
    odd = Track("odd \udcff\n", catalog.tracks[0].path, title='Zwölf, "quoted"', split="train")
    out = packed(Listed([*catalog.tracks, odd]), tmp_path / "out").root
    pack.export(out, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    assert len(rows) == 8
    assert rows["b.wav"]["labels.mood"] == "calm, dark"
    assert (rows["b.wav"]["artist"], rows["b.wav"]["seconds"], rows["b.wav"]["status"]) == ("Ada", "0.5", "ok")
    assert rows["empty.wav"]["status"] == "broken"
    assert rows[odd.id]["title"] == odd.title
    with pytest.raises(UserError, match=r"table.xlsx: a table is written as .csv or .parquet"):
        pack.export(out, tmp_path / "table.xlsx")
    parquet = pytest.importorskip("pyarrow.parquet")
    pack.export(out, tmp_path / "table.parquet")
    table = parquet.read_table(tmp_path / "table.parquet").to_pydict()
    assert table["labels.mood"][table["id"].index("b.wav")] == ["calm", "dark"]
    assert table["count"][table["id"].index("b.wav")] == 4000


def test_parquet_without_pyarrow_names_the_extra(tmp_path, catalog, monkeypatch):
    out = packed(catalog, tmp_path / "out").root
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'ssl-music\[parquet\]', or export to .csv"):
        pack.export(out, tmp_path / "table.parquet")


@pytest.mark.skipif(not MUSIC.exists(), reason="the real music beside the project is not there")
def test_real_music(tmp_path):
    files = sorted((MUSIC / "audio").rglob("*.ogg"))[::60]
    there = packed(Listed([Track(str(path.relative_to(MUSIC)), path) for path in files]), tmp_path / "out")
    assert (there.broken, there.truncated, len(there.tracks)) == ([], [], len(files))
    for row in (0, len(files) // 2):
        part = there.gather(np.array([row]), np.array([4000]), 8000)[0] / 32768
        expected = audio.read(there.tracks[row].path, RATE, start_seconds=0.5, seconds=1.0)
        assert np.abs(part - expected).max() < 1e-4
