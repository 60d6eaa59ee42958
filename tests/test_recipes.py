"""Every recipe runs, and every key in it changes something: the weights, the scores, the files, or into an error."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ssl_music import audio, checkpoint, cli
from ssl_music.catalogs import Table
from ssl_music.embed import embed
from ssl_music.encoders import LogMelStatistics, ShortChunk

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))
#: encoders small enough for a test; nothing else of a recipe is made smaller than its numbers
SMALL: dict[str, dict] = {
    "SampleCNN": {"width": 2},
    "MusiCNN": {
        "vertical_width": 4, "horizontal_width": 2, "horizontal_frames": [5, 3], "width": 4, "dense": 8, "bands": 16,
        "input_samples": 8000,
    },
    "ShortChunk": {"width": 4, "depth": 3, "bands": 16, "input_samples": 8000, "n_fft": 512, "hop": 256},
}  # fmt: skip


def leaves(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a recipe."""
    if isinstance(node, dict) or (isinstance(node, list) and node and isinstance(node[0], dict)):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(child, (*path, key))
    else:
        yield path


CASES = [(file, path) for file in RECIPES for path in leaves(yaml.safe_load(file.read_text()))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of 24 synthetic tracks with labels, vectors of them, and a checkpoint to start from."""
    root = tmp_path_factory.mktemp("world")
    for folder, seed in (("music", 0), ("other", 1)):
        rng = np.random.default_rng(seed)
        lines = ["path,tags,genre,split"]
        for number in range(24):
            hz = 100 * 2 ** (number % 4)
            time = np.arange(4 * 22050) / 22050
            wave = 0.3 * np.sin(2 * np.pi * hz * time) + 0.05 * rng.standard_normal(len(time))
            audio.write(root / folder / f"{number}.wav", wave.astype(np.float32), 22050)
            split = "train" if number < 16 else ["valid", "test"][number // 4 % 2]
            tags = ["low", "low,calm", "high", "high,calm"][number % 4]
            lines.append(f'{number}.wav,"{tags}",{["a", "b"][number % 2]},{split}')
        (root / folder / "tags.csv").write_text("\n".join(lines))
    for number, folder in enumerate(("music", "other")):
        torch.manual_seed(number)
        encoder = ShortChunk(**SMALL["ShortChunk"], sample_rate=22050)
        checkpoint.save(root / f"{folder}.safetensors", encoder, provenance={})
        catalog = Table(root / folder / "tags.csv", columns=["genre", "tags"], multi=["tags"])
        statistics = LogMelStatistics(bands=8, sample_rate=8000, input_samples=8000, n_fft=256, hop=128)
        embed(catalog, statistics, root / f"vectors-{folder}", progress=False)
    return root


def made_small(recipe: dict, world: Path, folder: str = "music") -> dict:
    """The recipe with small encoders, the test's paths, two steps, and augmentations that always act."""
    recipe = copy.deepcopy(recipe)
    for key, value in (("vectors", f"vectors-{folder}"), ("init_from", f"{folder}.safetensors")):
        if key in recipe:
            recipe[key] = str(world / value)
    if "catalog" in recipe:
        kind = recipe["catalog"]["class_path"]
        place = {"root": world / folder} if kind == "Folder" else {"table": world / folder / "tags.csv"}
        recipe["catalog"]["init_args"].update({key: str(path) for key, path in place.items()})
    if "method" in recipe:
        arguments = recipe["method"]["init_args"]
        if isinstance(arguments["encoder"], str):
            arguments["encoder"] = {"class_path": arguments["encoder"], "init_args": {}}
        arguments["encoder"]["init_args"].update(SMALL[arguments["encoder"]["class_path"]])
        if isinstance(arguments.get("augment"), list):
            for effect in arguments["augment"]:
                effect["init_args"]["p"] = 1.0
        recipe["batch_size"] = 2
        recipe["trainer"].update({"max_steps": 2} if "max_steps" in recipe["trainer"] else {"max_epochs": 1})
        recipe["trainer"].update(limit_train_batches=2, limit_val_batches=1, enable_progress_bar=False)
    return recipe


def run(recipe: dict, folder: Path) -> Any:
    """What a recipe leaves behind: weights and counts of a training, the JSON of a probe, or the error."""
    folder.mkdir(parents=True)
    file = folder / "recipe.yaml"
    verb = "probe" if "vectors" in recipe else "pretrain"
    out = Path(recipe["out"])
    file.write_text(yaml.safe_dump(recipe))
    if code := cli.main([verb, "--recipe", str(file)]):
        return "exit", code
    if verb == "probe":
        return out, json.loads(out.read_text())
    facts = json.loads((out / "run.json").read_text())
    (weights,) = [path for path in out.glob("*.safetensors") if path.stem != "best"]
    return out, checkpoint.load(weights).digest(), facts["steps"], facts["epochs"]


BASELINES: dict[tuple, Any] = {}


def baseline(recipe: dict, folder: Path) -> Any:
    key = json.dumps({**recipe, "out": ""}, sort_keys=True)
    if key not in BASELINES:
        BASELINES[key] = run({**recipe, "out": str(folder / "baseline.out")}, folder / "baseline")
    return BASELINES[key]


def otherwise(recipe: dict, path: tuple, world: Path) -> dict:
    """The recipe with another value at `path`."""
    changed = copy.deepcopy(recipe)
    node = changed
    for key in path[:-1]:
        node = node[key]
    old, last = node[path[-1]], path[-1]
    paths = made_small(recipe, world, "other")
    for key in path:
        paths = paths[key] if isinstance(paths, list) or key in paths else old
    swaps = {
        "Folder": "Table", "Table": "Folder", "SimCLR": "Supervised", "Supervised": "SimCLR",
        "SampleCNN": "ShortChunk", "ShortChunk": "SampleCNN", "PolarityInversion": "Delay",
        "PASE": "SimCLR", "VICReg": "SimCLR", "CPC": "SimCLR", "COLA": "SimCLR",
        "MusiCNN": "SampleCNN", "group": "layer", "clmr": "light",
        "linear": "mlp", "seconds": "tracks", "bf16-mixed": "32-true", "genre": "tags", "tags": "genre",
    }  # fmt: skip
    if paths != old:
        node[last] = paths  # a path of the other folder
    elif isinstance(old, bool):
        node[last] = not old
    elif last == "p":
        node[last] = 0.0
    elif isinstance(old, int):
        node[last] = old + 1
    elif isinstance(old, float):
        node[last] = old / 2
    elif isinstance(old, list):
        node[last] = [swaps[value] for value in old]
    elif last == "class_path" and "augment" in path:
        node[last] = "PolarityInversion" if old != "PolarityInversion" else "Reverb"
    else:
        node[last] = swaps[old]
    return changed


def test_there_are_recipes() -> None:
    assert {file.stem for file in RECIPES} >= {"clmr", "clmr_small", "supervised_tagging", "finetune_tagging"}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipe_runs_for_two_steps(file: Path, world: Path, tmp_path: Path) -> None:
    found = baseline(made_small(yaml.safe_load(file.read_text()), world), tmp_path)
    assert found[0] != "exit"
    if len(found) == 4:
        assert found[2] == 2


@pytest.mark.parametrize(
    "file, path", CASES, ids=lambda value: value.stem if isinstance(value, Path) else ".".join(map(str, value))
)
def test_every_key_changes_something(file: Path, path: tuple, world: Path, tmp_path: Path) -> None:
    recipe = made_small(yaml.safe_load(file.read_text()), world)
    if path == ("early_stop_epochs",):  # at a rate of zero no epoch is better than the first
        recipe["method"]["init_args"]["learning_rate"] = 1e-30
        recipe["trainer"]["max_epochs"] = 4
        recipe["early_stop_epochs"] = 1
    if path == ("out",):
        found = run({**recipe, "out": str(tmp_path / "elsewhere")}, tmp_path / "run")
        assert found[0] == tmp_path / "elsewhere" and found[0].exists()
        return
    before = baseline(recipe, tmp_path)
    if path == ("method", "init_args", "encoder"):  # a bare class name
        path = (*path, "class_path")
    changed = otherwise(recipe, path, world)
    after = run({**changed, "out": str(tmp_path / "changed.out")}, tmp_path / "changed")
    assert after[1:] != before[1:], f"{'.'.join(map(str, path))} changed nothing"
