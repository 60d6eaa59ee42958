"""The command line as a stranger meets it: help, typing errors, exit codes, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from ssl_music import audio, cli
from ssl_music.cli import verbs

RECIPES = Path(__file__).parent.parent / "recipes"
WEIGHTS = str(Path(__file__).parent.parent / "checkpoints" / "clmr_small_synthetic.safetensors")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(6):
        wave = (rng.standard_normal(16000) * 0.1).astype(np.float32)
        audio.write(tmp_path / "music" / f"{number}.wav", wave, 8000)
    return tmp_path / "music"


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = "import sys; from ssl_music import cli; cli.main(['--help']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {verb}" in out for verb in verbs.VERBS)
    *shown, modules = out.splitlines()
    assert max(map(len, shown)) <= 118
    loaded = set(modules.split())
    assert not loaded & {"torch", "numpy", "pytorch_lightning", "sklearn", "faiss", "jsonargparse", "matplotlib"}


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_each_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([verb, "--help"])
    assert left.value.code in (0, None)
    assert f"usage: ssl-music {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, told",
    [
        (["serch"], "unknown verb 'serch'; did you mean 'search'?"),
        (["pack", "--catalog.root", "nowhere", "--out", "o"], "nowhere: no such folder"),
        (["pack", "--catalog.rot", "x", "--out", "o"], "unknown argument of Folder 'rot'; did you mean 'root'?"),
        (["pack", "--catalog", "Foldr", "--out", "o"], "in catalog: unknown class 'Foldr'; did you mean 'Folder'?"),
        (["pack", "--catalog.root", "x", "--ot", "o"], "unknown argument 'ot'; did you mean 'out'?"),
        (["pretrain", "--recipe", "clmr_smal"], "did you mean 'clmr_small'?"),
        (["embed", "--checkpoint", "no.safetensors", "--catalog.root", ".", "--out", "o"], "no.safetensors: no such"),
        (["probe", "--vectors", "nowhere"], "nowhere"),
        (["search", "song.mp3", "--index", "nowhere"], "nowhere: no index"),
        (["check", "nowhere"], "nowhere"),
        (["listen", "song.mp3", "--augment", "clmr"], "song.mp3: no such file"),
        (["listen", "song.mp3"], "listen wants --recipe with a recipe of pretrain, or --augment"),
        (["tag", "song.mp3", "--checkpoint", "none"], "none: no such checkpoint"),
        (["tag"], "wanted too: FILES, --checkpoint; ssl-music tag --help tells of them"),
        (["tag", "song.mp3", "--checkpoint", "none", "--top", "0"], "top 0: 1 or more is wanted"),
        (["robustness", "--checkpoint", "c"], "wanted too: --catalog.root, --out; ssl-music robustness --help"),
        (["bench"], "unknown verb 'bench'; did you mean 'bench probe'? Known: bench probe, bench pooling"),
        (["bench", "poling"], "unknown verb 'bench poling'; did you mean 'bench pooling'?"),
        (["probe", "--seed", "x"], "in seed: came 'x'; wanted a whole number"),
        (["probe", "--seed", "-1"], "seed -1: 0 or more is wanted"),
        (["probe", "--seeds", "0"], "seeds 0: 1 or more is wanted"),
        (["probe", "--bootstrap", "0"], "bootstrap 0: 1 or more is wanted"),
        (["probe", "--drop", "rock"], "in drop: came 'rock'; wanted a list, such as '[rock]'"),
        (["probe", "--regression", "maybe"], "in regression: came 'maybe'; wanted true or false"),
        (["probe", "--training.epochs", "x"], "in training → epochs: came 'x'; wanted a whole number"),
        (["probe", "--catalog", "{root: x}"], "in catalog: the name of a class is wanted too; known: "),
        (
            ["taggram", "a.mp3", "--checkpoint", "t", "--by", "artst"],
            "in by: unknown value 'artst'; did you mean 'ar",
        ),
        (["bench", "probe", "--encoders", "a"], "in encoders: came 'a'; wanted names with values, such as '{a: …}'"),
        (["bench", "probe", "--encoders", "{a: b}", "--tasks", "[x]"], "in tasks: came 'x'; wanted a list of them"),
        (
            ["bench", "probe", "--encoders", "{a: b}", "--catalogs", "{m: Foldr}"],
            "unknown class 'Foldr'; did you mean 'Folder'? Known: ",
        ),
    ],
)
def test_mistakes_get_one_line_and_exit_2(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("batch_size", "batchsize", "unknown argument 'batchsize'; did you mean 'batch_size'?"),
        ("temperature", "temprature", "unknown argument of SimCLR 'temprature'; did you mean 'temperature'?"),
        ("SimCLR", "SimCRL", "in method: unknown class 'SimCRL'; did you mean 'SimCLR'?"),
        ("path: ShortChunk", "path: ShortChunck", "method → encoder: unknown class 'ShortChunck'; did you mean"),
        ("width:", "widht:", "in method → encoder: unknown argument of ShortChunk 'widht'; did you mean 'width'?"),
        ("path: Gain", "path: Gian", "in method → augment: unknown class 'Gian'; did you mean 'Gain'?"),
        ("low_snr_db", "low_sn_db", "in method → augment: unknown argument of Noise 'low_sn_db'"),
        ("max_steps", "max_step", "in trainer: unknown argument 'max_step'; did you mean 'max_steps'?"),
    ],
)  # fmt: skip
def test_misspelt_recipe_names_what_is_known(
    old: str, new: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (RECIPES / "clmr_small.yaml").read_text()
    assert old in text
    (tmp_path / "recipe.yaml").write_text(
        text.replace(old, new, 1) if old == "path: Gain" else text.replace(old, new)
    )
    assert cli.main(["pretrain", "--recipe", str(tmp_path / "recipe.yaml")]) == 2
    error = capsys.readouterr().err
    assert told in error and "Known: " in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")
def test_what_cannot_be_printed() -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "ssl_music.cli", "--help"]
        left = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert left.returncode == 2
    assert left.stderr == "ssl-music: error: the disk is full; make room and run the same command again\n"
    command = f"{sys.executable} -m ssl_music.cli --help | true; echo ${{PIPESTATUS[0]}}"
    left = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert (left.stdout, left.stderr) == ("0\n", "")


def test_recipe_that_is_no_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text("seed: [1, 2\nmethod: {")
    assert cli.main(["pretrain", "--recipe", str(tmp_path / "recipe.yaml")]) == 2
    assert "recipe.yaml: no YAML" in capsys.readouterr().err


def test_flags_override_the_recipe_and_a_pack_replaces_its_folder(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_music.cli import parse
    from ssl_music.pack import Pack

    monkeypatch.chdir(tmp_path)
    assert cli.main(["pack", "--catalog.root", str(music), "--out", "pack", "--sample_rate", "8000"]) == 0
    built = parse.arguments(
        verbs.pretrain,
        ["--recipe", str(RECIPES / "clmr_small.yaml"), "--catalog.root", "pack", "--method.temperature", "0.7"],
    )
    assert isinstance(built["catalog"], Pack) and built["method"].temperature == 0.7
    wanted = yaml.safe_load((RECIPES / "clmr_small.yaml").read_text())["trainer"]["max_steps"]
    assert built["trainer"]["max_steps"] == wanted
    assert built["config"]["method"]["init_args"]["temperature"] == 0.7


def test_augmentations_by_name_stay_a_name_in_the_recipe(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ssl_music import checkpoint
    from ssl_music.augment import presets
    from ssl_music.cli import parse

    words = ["--recipe", str(RECIPES / "clmr_small.yaml"), "--catalog.root", str(music), "--method.augment"]
    method = parse.arguments(verbs.pretrain, [*words, "clmr"])["method"]
    assert repr(method.chain) == repr(presets.clmr(sample_rate=22050)) and method.augment == "clmr"
    out = ["--out", str(tmp_path / "run"), "--trainer.max_steps", "1", "--batch_size", "2", "--epoch_of", "tracks"]
    out += ["--valid_split", "null"]
    assert cli.main(["pretrain", *words, "light", *out]) == 0
    recipe = checkpoint.provenance(tmp_path / "run" / "encoder.safetensors")["recipe"]
    assert recipe["method"]["init_args"]["augment"] == "light"
    capsys.readouterr()
    assert cli.main(["pretrain", *words, "key_save", *out]) == 2
    error = capsys.readouterr().err
    assert "unknown chain of augmentations 'key_save'; did you mean 'key_safe'? Known: clmr, tutorial" in error


def test_same_seed_same_weights() -> None:
    from ssl_music.cli import parse

    words = ["--recipe", str(RECIPES / "clmr_small.yaml"), "--catalog.root", "."]
    one, two = (parse.arguments(verbs.pretrain, words)["method"].encoder.digest() for _ in range(2))
    other = parse.arguments(verbs.pretrain, [*words, "--seed", "7"])["method"].encoder.digest()
    assert one == two != other


def test_check_finds_a_changed_byte(music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pack"
    cli.main(["pack", "--catalog.root", str(music), "--out", str(out), "--sample_rate", "8000"])
    assert cli.main(["check", str(out)]) == 0
    shard = next(out.glob("*.bin"))
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(bytes(content))
    assert cli.main(["check", str(out)]) == 1
    assert "0.wav" in capsys.readouterr().out


def test_ctrl_c_exits_130_without_a_stack_trace(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(200):
        audio.write(
            tmp_path / "music" / f"{number}.flac", rng.standard_normal(200_000).astype(np.float32) * 0.1, 44100
        )
    command = [sys.executable, "-m", "ssl_music.cli", "pack", "--catalog.root", str(tmp_path / "music")]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "pack"), "--sample_rate", "8000"], stderr=subprocess.PIPE, text=True
    )
    shard = tmp_path / "pack" / "data-00000.bin"
    deadline = time.monotonic() + 60
    while not (shard.exists() and shard.stat().st_size) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130, error
    assert "interrupted" in error and "Traceback" not in error
    assert not (tmp_path / "pack" / "tracks.sqlite").exists()
    assert cli.main(["pack", "--catalog.root", str(tmp_path / "music"), "--out", str(tmp_path / "pack"),
                     "--sample_rate", "8000"]) == 0  # fmt: skip
    assert cli.main(["check", str(tmp_path / "pack")]) == 0


def test_names_that_are_no_utf_8_are_printed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.wav")
    try:
        audio.write(tmp_path / "music" / name, np.full(8000, 0.1, np.float32), 8000)
    except OSError:
        pytest.skip("this file system takes no such names")
    (tmp_path / "music" / "broken.wav").write_text("no audio")
    command = [sys.executable, "-m", "ssl_music.cli"]
    for words in (
        ["pack", "--catalog.root", "music", "--out", "pack", "--sample_rate", "22050"],
        ["embed", "--catalog.root", "pack", "--out", "vectors", "--checkpoint", WEIGHTS],
        ["index", "--vectors", "vectors"],
        ["search", b"music/" + os.fsencode(name), "--index", "vectors/index", "--checkpoint", WEIGHTS],
    ):
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"caf\xe9\\n" in done.stdout
