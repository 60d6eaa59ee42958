"""Every recipe runs, and every key in it changes something: the weights, the scores, the files, or into an error."""

import copy
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ssl_music import audio, checkpoint, cli
from ssl_music._records import gather_records, read_record
from ssl_music.catalogs import Table
from ssl_music.embed import embed
from ssl_music.encoders import LogMelStatistics, SampleCNN, ShortChunk

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))
#: encoders small enough for a test; nothing else of a recipe is made smaller than its numbers
SMALL: dict[str, dict] = {
    "SampleCNN": {"width": 2},
    "CNNSA": {
        "widths": [4, 8], "time_strides": [2, 2], "heads": 2, "layers": 1, "bands": 16, "input_samples": 8000,
    },
    "MusiCNN": {
        "vertical_width": 4, "horizontal_width": 2, "horizontal_frames": [5, 3], "width": 4, "dense": 8, "bands": 16,
        "input_samples": 8000,
    },
    "MusicTaggingTransformer": {
        "conv_width": 4, "width": 8, "heads": 2, "layers": 1, "bands": 16, "input_samples": 12000, "n_fft": 512,
        "hop": 256,
    },
    "ShortChunk": {"width": 4, "depth": 3, "bands": 16, "input_samples": 12000, "n_fft": 512, "hop": 256},
}  # fmt: skip
#: arguments of methods that are encoders
ROLES = {"encoder", "teacher_encoder"}


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
        some = [line for number, line in enumerate(lines) if number % 3 != seed + 1]
        (root / folder / "some.csv").write_text("\n".join(some))  # tags of 16 tracks; the others are in no split
        by = np.repeat(list("abcdef"), [8, 6, 4, 2, 2, 2])  # artists of as many tracks
        credits = [f"{number}.wav,{name},{number % 2}" for number, name in enumerate(by)]
        (root / folder / "artists.csv").write_text("\n".join(["path,artist,album", *credits]))
        counts = [f"{user},{track}.wav,{rng.integers(1, 9)}" for user in range(30) for track in rng.choice(24, 8)]
        (root / folder / "listening.csv").write_text("\n".join(["user,track,count", *counts]))
    shutil.copy(root / "music" / "20.wav", root / "other" / "0.wav")
    for number, folder in enumerate(("music", "other")):
        torch.manual_seed(number)
        for encoder in (ShortChunk(**SMALL["ShortChunk"], sample_rate=22050), SampleCNN(**SMALL["SampleCNN"])):
            for _ in range(20):  # norms that have seen something, or nothing comes through a frozen one
                encoder(0.3 * torch.randn(4, 1, encoder.input_samples))
            checkpoint.save(root / f"{folder}-{type(encoder).__name__}.safetensors", encoder, provenance={})
        catalog = Table(root / folder / "tags.csv", columns=["genre", "tags"], multi=["tags"])
        statistics = LogMelStatistics(bands=8, sample_rate=8000, input_samples=8000, n_fft=256, hop=128)
        embed(catalog, statistics, root / f"vectors-{folder}", progress=False)
    return root


def placed(recipe: dict, world: Path, folder: str) -> dict:
    """The recipe with the test's paths."""
    recipe = copy.deepcopy(recipe)
    if "vectors" in recipe:
        recipe["vectors"] = str(world / f"vectors-{folder}")
    if "encoders" in recipe:
        file = f"{world / folder}-ShortChunk.safetensors"
        recipe["encoders"].update(trained=file, random=f"random:{file}")
        recipe["catalogs"]["music"]["init_args"]["table"] = str(world / folder / "tags.csv")
        # the other folder holds a copy of one test track
        recipe["pretrained_on"]["init_args"]["root"] = str(world / {"music": "other", "other": "music"}[folder])
    method, catalog = recipe.get("method", {}), recipe.get("catalog", {})
    if catalog:
        place = (
            {"root": world / folder} if catalog["class_path"] == "Folder" else {"table": world / folder / "tags.csv"}
        )
        if "labels" in catalog["init_args"]:
            place["labels"] = world / folder / "some.csv"
        if method["class_path"] == "Editorial":
            place["labels"] = world / folder / "artists.csv"
        catalog["init_args"].update({key: str(path) for key, path in place.items()})
    if "counts" in method.get("init_args", {}):
        method["init_args"]["counts"] = str(world / folder / "listening.csv")
    if "init_from" in recipe:
        encoder = method["init_args"]["encoder"]
        name = encoder if isinstance(encoder, str) else encoder["class_path"]
        recipe["init_from"] = str(world / f"{folder}-{name}.safetensors")
    return recipe


def made_small(recipe: dict, world: Path, folder: str = "music") -> dict:
    """The recipe with small encoders, the test's paths, two steps, and augmentations that always act."""
    recipe = placed(recipe, world, folder)
    if "method" in recipe:
        arguments = recipe["method"]["init_args"]
        for role in ROLES & arguments.keys():
            if isinstance(arguments[role], str):
                arguments[role] = {"class_path": arguments[role], "init_args": {}}
            arguments[role]["init_args"].update(SMALL[arguments[role]["class_path"]])
        if "counts" in arguments:
            arguments["dim"] = 4  # of 24 tracks
        if "teacher_encoder" in arguments:
            arguments["teacher_encoder"]["init_args"]["width"] *= 2
        if isinstance(arguments.get("augment"), list):
            for effect in arguments["augment"]:
                effect["init_args"]["p"] = 1.0
        recipe["batch_size"] = 8 if recipe["method"]["class_path"] == "MetricLearning" else 2  # a triplet is three
        if "norm_splits" in arguments:  # groups of two clips
            arguments["norm_splits"] = 2
            recipe["batch_size"] = 4
        recipe["trainer"].update({"max_steps": 2} if "max_steps" in recipe["trainer"] else {"max_epochs": 1})
        recipe["trainer"].update(limit_train_batches=2, limit_val_batches=1, enable_progress_bar=False)
        if phases := recipe.get("optimizer", {}).get("then"):  # an epoch each, and what the last one leaves
            for number, phase in enumerate(phases, 1):
                phase["after_epochs"] = number
            recipe["trainer"]["max_epochs"] = len(phases) + 1
            recipe["valid_split"] = None
    return recipe


def run(recipe: dict, folder: Path) -> Any:
    """What a recipe leaves behind: weights and counts of a training, the JSON of a probe, or the error."""
    folder.mkdir(parents=True)
    file = folder / "recipe.yaml"
    verb = ["bench", "probe"] if "encoders" in recipe else ["probe"] if "vectors" in recipe else ["pretrain"]
    out = Path(recipe["out"])
    file.write_text(yaml.safe_dump(recipe))
    if code := cli.main([*verb, "--recipe", str(file)]):
        return "exit", code
    if verb == ["bench", "probe"]:
        return out, read_record(out / "bench.json").facts
    if verb == ["probe"]:
        (record,) = gather_records(out)
        return out, record.facts
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
        "MetricLearning": "Supervised", "Editorial": "SimCLR", "Collaborative": "SimCLR", "CNNSA": "ShortChunk",
        "triplet": "multi_similarity", "artist": "album", "sgd": "adam", "plateau": "constant", None: "valid",
        "PASE": "SimCLR", "VICReg": "SimCLR", "CPC": "SimCLR", "COLA": "SimCLR",
        "NoisyStudent": "Supervised", "Consistency": "SimCLR", "MusicTaggingTransformer": "ShortChunk",
        "expansion": "distillation", "distillation": "expansion", "noisy_student": "light",
        "MusiCNN": "SampleCNN", "group": "layer", "clmr": "light",
        "lars": "adam", "linear": "mlp", "seconds": "tracks", "bf16-mixed": "32-true", "genre": "tags",
        "tags": "genre",
        "MoCo": "SimCLR", "BYOL": "SimCLR", "cosine": "constant", "logmel": "mfcc", "mfcc": "logmel", "knn": "linear",
        "music": "musik", "genre by neighbours": "neighbours", "all": "train", "exclude": "report",
    }  # fmt: skip
    if paths != old:
        node[last] = paths  # a path of the other folder
    elif isinstance(old, bool):
        node[last] = not old
    elif last == "p":
        node[last] = 0.0
    elif last == "queue_size":
        node[last] = old // 64  # one key more among thousands drowns in bfloat16
    elif isinstance(old, int):
        node[last] = old + 1
    elif last == "weight_decay":  # in two steps half of it would round away
        node[last] = old + 0.1
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
    recipe = made_small(yaml.safe_load(file.read_text()), world)
    found = baseline(recipe, tmp_path)
    assert found[0] != "exit"
    if len(found) == 4:
        assert found[2] == 2 * recipe["trainer"].get("max_epochs", 1)


@pytest.mark.parametrize(
    "file, path", CASES, ids=lambda value: value.stem if isinstance(value, Path) else ".".join(map(str, value))
)
def test_every_key_changes_something(file: Path, path: tuple, world: Path, tmp_path: Path) -> None:
    recipe = made_small(yaml.safe_load(file.read_text()), world)
    if path == ("early_stop_epochs",):  # at a rate of zero no epoch is better than the first
        recipe["method"]["init_args"]["learning_rate"] = 1e-30
        recipe["method"]["init_args"]["encoder"]["init_args"]["norm"] = "layer"  # has no running averages
        recipe.pop("init_from", None)  # a file of an encoder with other norms
        recipe["trainer"]["max_epochs"] = 4
        recipe["early_stop_epochs"] = 1
    if path in (("optimizer", "factor"), ("optimizer", "patience")):  # at a rate of zero every validation is flat
        recipe["method"]["init_args"]["learning_rate"] = 1e-30
        recipe["method"]["init_args"]["encoder"]["init_args"]["norm"] = "layer"  # has no running averages
        recipe["trainer"].update(max_epochs=10, log_every_n_steps=1)
        del recipe["early_stop_epochs"]
    if path == ("out",):
        found = run({**recipe, "out": str(tmp_path / "elsewhere")}, tmp_path / "run")
        assert found[0] == tmp_path / "elsewhere" and found[0].exists()
        return
    if path[-1] in ("weight", "temperature"):  # nothing is sure in two steps, and then they do nothing
        recipe["method"]["init_args"].update({"least_confidence": 0.0} if "entropy_weight" in str(recipe) else {})
    before = baseline(recipe, tmp_path)
    if path[:2] == ("method", "init_args") and path[2:] in {(role,) for role in ROLES}:  # a bare class name
        path = (*path, "class_path")
    changed = otherwise(recipe, path, world)
    if "encoders" in recipe:  # a bench makes anew only what has changed
        shutil.copytree(before[0], tmp_path / "changed.out")
    after = run({**changed, "out": str(tmp_path / "changed.out")}, tmp_path / "changed")
    if path in (("optimizer", "factor"), ("optimizer", "patience")):
        before, after = rates(before[0]), rates(after[0])
    assert after[1:] != before[1:], f"{'.'.join(map(str, path))} changed nothing"


def rates(out: Path) -> list[str]:
    """The rate of every step."""
    with (out / "metrics.csv").open(newline="") as file:
        return [row["train/learning_rate"] for row in csv.DictReader(file) if row["train/learning_rate"]]
