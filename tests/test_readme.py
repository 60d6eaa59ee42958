"""The README's commands, run as they stand; only the length of trainings is cut."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ssl_music import audio, cli
from ssl_music.augment import presets
from ssl_music.cli import verbs
from ssl_music.probe import PROTOCOLS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- tested: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a folder `Music` of thirty short songs and a table of tags, and an empty place to work in."""
    rng = np.random.default_rng(0)
    lines = ["path,artist,genre"]
    for number in range(30):
        time = np.arange(8 * 22050) / 22050
        wave = 0.3 * np.sin(2 * np.pi * (200 + 300 * (number % 2)) * time) + 0.05 * rng.standard_normal(len(time))
        name = "song.wav" if number == 0 else f"{number}.wav"
        audio.write(tmp_path / "Music" / name, wave.astype(np.float32), 22050)
        lines.append(f"{name},artist {number // 2},{['low', 'high'][number % 2]}")
    (tmp_path / "Music" / "tags.csv").write_text("\n".join(lines))
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_the_four_uses(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [name for name, _ in BLOCKS] == [
        "listen", "pretrain", "probe", "tag", "search", "watch", "evaluate", "look", "export",
    ]  # fmt: skip
    for name, block in BLOCKS:
        for line in block.strip().splitlines():
            program, *words = [str(Path(word).expanduser()) if "~" in word else word for word in shlex.split(line)]
            assert program == "ssl-music"
            if words[0] == "pretrain":
                words += ["--trainer.max_steps", "4", "--trainer.enable_progress_bar", "false"]
            assert cli.main(words) == 0, f"{name}: {line}"
    assert "valid/knn_accuracy" in Path("runs/watched/metrics.csv").read_text()
    printed = capsys.readouterr().out
    assert "balanced accuracy" in printed and "group-disjoint 80/10/10 seed 0" in printed
    assert "song.wav" in printed and "similarity" in printed
    assert Path("runs/listen/page.html").is_file() and Path("runs/listen-key/view-8.wav").is_file()


def test_every_chain_by_name_is_told_of() -> None:
    assert _first_column("chain") == set(presets.PRESETS)


def test_every_protocol_is_told_of() -> None:
    assert _first_column("`--protocol`") == {*PROTOCOLS, "finetune"}


def test_every_verb_and_recipe_is_told_of() -> None:
    told = set(re.findall(r"ssl-music ((?:bench )?\w+)", README))
    assert set(verbs.VERBS) - {"check"} <= told
    recipes = {file.name for file in (Path(__file__).parent.parent / "recipes").glob("*.yaml")}
    assert set(re.findall(r"`(\w+\.yaml)`", README)) == recipes


def _first_column(heading: str) -> set[str]:
    """The names in backticks that begin the lines of the table with this heading."""
    (table,) = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
