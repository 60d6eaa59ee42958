"""The ledger: what was committed survives; an interrupted directory ends up like an uninterrupted one."""

import errno
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_music import _files
from ssl_music._ledger import DiskFull, Ledger, LedgerWriter, Row, table, writer
from ssl_music.errors import UserError

HEADER = {"sample_rate": 8000, "columns": {"genre": False}}


def tracks(count: int = 12, *, width: int = 1) -> list[tuple[Row, list[np.ndarray]]]:
    rng = np.random.default_rng(1)
    found = []
    for number in range(count):
        sizes = rng.integers(1, 40, 3)
        shapes = [(size,) if width == 1 else (size, width) for size in sizes]
        blocks = [rng.integers(-99, 99, shape).astype(np.int16) for shape in shapes]
        found.append(
            (Row(f"{number:03d}", path=f"/m/{number}.ogg", labels={"genre": ("a", "b")}, seconds=1.5), blocks)
        )
    return found


def write(root: Path, *, rows_per_shard: int = 100, width: int = 1, header: dict | None = None) -> None:
    with LedgerWriter(
        root, header=header or HEADER, dtype=np.int16, width=width, rows_per_shard=rows_per_shard
    ) as ledger:
        for row, blocks in tracks(width=width):
            if row.id in ledger.done:
                continue
            if row.id == "004":
                ledger.quarantine(row, "broken on purpose")
            else:
                ledger.append(row, blocks)
        ledger.finish()


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


@pytest.mark.parametrize("width", [1, 5])
def test_what_goes_in_comes_out(tmp_path, width):
    write(tmp_path / "store", width=width)
    ledger = Ledger(tmp_path / "store")
    assert len(list((tmp_path / "store").glob("data-*.bin"))) > 2
    assert [row.id for row in ledger.rows] == [row.id for row, _ in tracks()]
    offset = 0
    for row, (sent, blocks) in zip(ledger.rows, tracks(width=width), strict=True):
        assert row.offset == offset
        if row.id == "004":
            assert (row.status, row.reason, row.count) == ("broken", "broken on purpose", 0)
            continue
        assert (row.path, row.labels, row.seconds) == (sent.path, sent.labels, sent.seconds)
        np.testing.assert_array_equal(ledger.span(row.offset, row.count), np.concatenate(blocks))
        offset += row.count
    assert ledger.verify(progress=False) == []


def test_gather_equals_spans_across_shards_and_refuses_to_straddle(tmp_path):
    write(tmp_path, width=3)
    ledger = Ledger(tmp_path)
    ok = [row for row in ledger.rows if row.count]
    positions = np.array([row.offset for row in reversed(ok)])
    gathered = ledger.gather(positions, 2)
    np.testing.assert_array_equal(gathered, np.stack([ledger.span(int(at), 2) for at in positions]))
    assert gathered.shape == (len(ok), 2, 3)
    for wrong in (-1, sum(row.count for row in ok), int(ledger._starts[1]) - 1):
        with pytest.raises(IndexError, match="does not lie inside one shard"):
            ledger.gather(np.array([wrong]), 2)


def test_odd_names_survive(tmp_path):
    names = [
        "ordinary",
        "zwölf \U0001f3b5",
        "line\nbreak",
        "\udcff\udc80.ogg",
        "lone \ud800",
        "quote\"'",
        "nul\0",
        "a,b",
    ]
    with LedgerWriter(tmp_path, header={}, dtype=np.int16, rows_per_shard=9) as ledger:
        for name in names:
            ledger.append(Row(name, path=name, labels={name: (name,)}), [np.ones(1, np.int16)])
        ledger.finish()
    rows = Ledger(tmp_path).rows
    assert [(row.id, row.path, row.labels) for row in rows] == [(name, name, {name: (name,)}) for name in names]
    # anyone's SQLite tool can read the ordinary ones
    with sqlite3.connect(tmp_path / "tracks.sqlite") as database:
        assert database.execute("SELECT id FROM tracks WHERE position = 2").fetchone() == ("zwölf \U0001f3b5",)


def test_a_reader_pickles_without_its_data(tmp_path):
    write(tmp_path)
    ledger = Ledger(tmp_path)
    before = ledger.gather(np.array([0, 3]), 2)
    clone = pickle.loads(pickle.dumps(ledger))
    assert clone._maps == {}
    np.testing.assert_array_equal(clone.gather(np.array([0, 3]), 2), before)


def dying_write(root: Path, step: int) -> None:
    """Writes, and dies without any clean-up at the `step`-th thing done to the disk (a write dies half done)."""
    steps = 0

    def passing(function, *, half=None):
        def wrapped(*arguments, **named):
            nonlocal steps
            steps += 1
            if steps > step:
                if half:
                    half(*arguments)
                os._exit(9)
            return function(*arguments, **named)

        return wrapped

    whole = LedgerWriter._write
    LedgerWriter._write = passing(whole, half=lambda self, data: whole(self, data[: len(data) // 2]))  # type: ignore
    os.fsync = passing(os.fsync)
    table.insert = passing(table.insert)
    table.create = passing(table.create)
    Path.replace = passing(Path.replace)  # type: ignore[method-assign]
    Path.unlink = passing(Path.unlink)  # type: ignore[method-assign]
    _files.sync_folder = passing(_files.sync_folder)
    writer.COMMIT_SECONDS = 0.0 if step % 2 else 60.0
    write(root)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_killed_at_any_step_and_resumed_is_byte_identical(tmp_path):
    write(tmp_path / "straight")
    expected = contents(tmp_path / "straight")
    fork = multiprocessing.get_context("fork")
    for step in range(0, 500, 3):  # odd steps commit after each track, even ones at the end of a shard
        root = tmp_path / f"killed at {step}"
        child = fork.Process(target=dying_write, args=(root, step))
        child.start()
        child.join()
        write(root)
        assert contents(root) == expected, f"killed at step {step}"
        if child.exitcode == 0:
            break
    assert child.exitcode == 0
    assert step > 40


def test_committed_tracks_are_not_written_again(tmp_path):
    with LedgerWriter(tmp_path, header=HEADER, dtype=np.int16, rows_per_shard=100) as ledger:
        for row, blocks in tracks()[:3]:
            ledger.append(row, blocks)
    with LedgerWriter(tmp_path, header=HEADER, dtype=np.int16, rows_per_shard=100) as ledger:
        assert ledger.done == {"000", "001", "002"}
        assert not ledger.complete
    with pytest.raises(UserError, match="unfinished; run the command that began it again"):
        Ledger(tmp_path)
    write(tmp_path)
    again = LedgerWriter(tmp_path, header=HEADER, dtype=np.int16, rows_per_shard=100)
    assert again.complete
    assert len(again.done) == 12


def test_a_failing_track_leaves_nothing_behind(tmp_path):
    def failing():
        yield np.ones(7, np.int16)
        raise RuntimeError("decoder")

    with LedgerWriter(tmp_path / "a", header={}, dtype=np.int16, rows_per_shard=4) as ledger:
        for name in "xy":
            with pytest.raises(RuntimeError, match="decoder"):
                ledger.append(Row("bad"), failing())
            with pytest.raises(ValueError, match="quarantine it instead"):
                ledger.append(Row("empty"), [])
            ledger.append(Row(name), [np.ones(4, np.int16)])
        with pytest.raises(RuntimeError, match="decoder"):
            ledger.append(Row("bad"), failing())
        ledger.finish()
    with LedgerWriter(tmp_path / "b", header={}, dtype=np.int16, rows_per_shard=4) as ledger:
        for name in "xy":
            ledger.append(Row(name), [np.ones(4, np.int16)])
        ledger.finish()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_facts_may_depend_on_the_count(tmp_path):
    with LedgerWriter(tmp_path, header={}, dtype=np.int16, rows_per_shard=4) as ledger:
        row = ledger.append(lambda count: Row("a", seconds=count / 2), (np.ones(n, np.int16) for n in (1, 0, 2)))
    assert (row.seconds, row.count) == (1.5, 3)


def test_another_header_is_refused_with_the_keys_that_differ(tmp_path):
    write(tmp_path)
    for _ in range(2):
        with pytest.raises(UserError, match=r"made with sample_rate 8000; now asked for sample_rate 16000"):
            write(tmp_path, header={**HEADER, "sample_rate": 16000})
    with pytest.raises(UserError, match=r"made with rows_per_shard 100, width 1; now .* rows_per_shard 50, width 2"):
        write(tmp_path, rows_per_shard=50, width=2)


def test_two_processes_do_not_write_one_directory(tmp_path):
    code = (
        "import sys, numpy as np; from ssl_music._ledger import LedgerWriter\n"
        "LedgerWriter(sys.argv[1], header={}, dtype=np.int16, rows_per_shard=4)"
    )
    with LedgerWriter(tmp_path, header={}, dtype=np.int16, rows_per_shard=4) as ledger:
        ledger.append(Row("a"), [np.ones(4, np.int16)])
        ledger.commit()
        other = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
        assert "another process is writing here" in other.stderr
        ledger.append(Row("b"), [np.ones(4, np.int16)])
        ledger.finish()
    assert len(Ledger(tmp_path).rows) == 2


def test_a_full_disk_says_so_and_loses_nothing_committed(tmp_path, monkeypatch):
    write(tmp_path / "straight")
    whole = LedgerWriter._write
    room = 5

    def filling(self, data):
        nonlocal room
        room -= 1
        if room < 0:
            whole(self, data[:1])
            with table.explaining_full_disk(self.root, needed_bytes=len(data)):
                raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, data)

    monkeypatch.setattr(LedgerWriter, "_write", filling)
    with pytest.raises(
        DiskFull, match=r"full.*the disk is full: .* MB were to be written next, .* MB are free; make room"
    ):
        write(tmp_path / "full")
    monkeypatch.setattr(LedgerWriter, "_write", whole)
    with LedgerWriter(tmp_path / "full", header=HEADER, dtype=np.int16, rows_per_shard=100) as ledger:
        assert ledger.done == {"000"}
    write(tmp_path / "full")
    assert contents(tmp_path / "full") == contents(tmp_path / "straight")


def test_a_full_disk_in_the_table(tmp_path, monkeypatch):
    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    write(tmp_path / "straight")
    monkeypatch.setattr(table, "write", full)
    with pytest.raises(DiskFull, match="the disk is full"):
        write(tmp_path / "full")
    monkeypatch.undo()
    write(tmp_path / "full")
    assert contents(tmp_path / "full") == contents(tmp_path / "straight")


def test_verify_tells_damages_apart(tmp_path):
    def damaged(change) -> list[str]:
        root = tmp_path / "store"
        write(root)
        change(root)
        problems = Ledger(root).verify(progress=False)
        for path in root.iterdir():
            path.unlink()
        return problems

    def flip(root: Path) -> None:
        data = bytearray((root / "data-00000.bin").read_bytes())
        data[3] ^= 1
        (root / "data-00000.bin").write_bytes(data)

    def resize(root: Path, by: int) -> None:
        data = (root / "data-00001.bin").read_bytes()
        (root / "data-00001.bin").write_bytes(data[:by] if by < 0 else data + bytes(by))

    assert damaged(flip) == ["track '000': its bytes in data-00000.bin have changed"]
    (missing,) = damaged(lambda root: (root / "data-00001.bin").unlink())
    assert missing.startswith("data-00001.bin: missing, and with it")
    (cut,) = damaged(lambda root: resize(root, -2))
    assert cut.startswith("data-00001.bin: cut short,")
    assert cut.endswith("with it 1 tracks")
    (longer,) = damaged(lambda root: resize(root, 2))
    assert "longer than written" in longer


def test_gathering_from_a_missing_shard_names_it(tmp_path):
    write(tmp_path)
    (tmp_path / "data-00000.bin").unlink()
    with pytest.raises(UserError, match=r"data-00000.bin: missing or cut short"):
        Ledger(tmp_path).gather(np.array([0]), 2)


def test_places_that_are_no_ledgers(tmp_path):
    with pytest.raises(UserError, match=r"wanted a directory holding tracks.sqlite"):
        Ledger(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write there"):
        write(tmp_path / "file")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "data-00000.bin").write_text("mine")
    with pytest.raises(UserError, match="no table of them; choose another folder"):
        write(tmp_path / "foreign")
    assert contents(tmp_path / "foreign") == {"data-00000.bin": b"mine"}
    (tmp_path / "foreign" / "tracks.sqlite").write_text("not SQLite")
    with pytest.raises(UserError, match="damaged, or not written by ssl_music"):
        Ledger(tmp_path / "foreign")


def test_discard_leaves_nothing(tmp_path):
    with LedgerWriter(tmp_path, header={}, dtype=np.int16, rows_per_shard=4) as ledger:
        ledger.append(Row("a"), [np.ones(4, np.int16)])
        ledger.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_shrank_is_not_gone_on_with(tmp_path):
    with LedgerWriter(tmp_path, header={}, dtype=np.int16, rows_per_shard=4) as ledger:
        ledger.append(Row("a"), [np.ones(4, np.int16)])
    (tmp_path / "data-00000.bin").write_bytes(b"xx")
    with pytest.raises(UserError, match="shorter than its table says"):
        LedgerWriter(tmp_path, header={}, dtype=np.int16, rows_per_shard=4)
