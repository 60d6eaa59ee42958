"""The zoo bench: its numbers are those of its parts, nothing is made twice, mistakes are told before the work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ssl_music import audio, checkpoint, cli, export, pack
from ssl_music._records import gather_records
from ssl_music.bench import grid
from ssl_music.bench.baselines import random_like
from ssl_music.bench.contestants import contestants
from ssl_music.bench.grid import results_of, zoo
from ssl_music.bench.standings import told
from ssl_music.bench.tasks import Task
from ssl_music.bench.training import Training
from ssl_music.catalogs import Table
from ssl_music.cli import parse
from ssl_music.cli.benching import bench_probe
from ssl_music.embed import embed
from ssl_music.encoders import LogMelStatistics, MfccStatistics, SampleCNN
from ssl_music.errors import UserError
from ssl_music.probe import paired, probe

RATE = 8000
HZ = {"low": 150.0, "middle": 700.0, "high": 2900.0}
#: encoders that hear 0.8 s at 8 kHz
SMALL = {"width": 4, "depth": 7, "sample_rate": RATE}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty-four tones with labels: pitch (one of three), mood (several), bpm; and two encoders."""
    root, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    lines = ["path,pitch,mood,bpm,split"]
    for number in range(54):
        pitch = list(HZ)[number % 3]
        split = ("train", "train", "valid", "test")[number // 3 % 4]
        loud = number // 3 % 2
        moods = ["calm", "dark"] if number % 5 == 0 else ["dark"] if number % 2 else ["calm"]
        clock = np.arange(round(2.5 * RATE)) / RATE
        wave = (0.1 + 0.3 * loud) * np.sin(2 * np.pi * HZ[pitch] * rng.uniform(0.9, 1.1) * clock + rng.uniform(0, 6))
        # a pulse that drifts, so that no two tones sound alike to a fingerprint
        pulse = np.cumsum(rng.uniform(1, 8, len(clock) // 400).repeat(400)) / RATE
        wave = wave * (1 + 0.5 * np.sin(2 * np.pi * pulse))
        wave = wave + 0.02 * rng.standard_normal(len(wave))
        audio.write(root / "music" / f"{number:02d}.wav", wave.astype(np.float32), RATE)
        lines.append(f'{number:02d}.wav,{pitch},"{",".join(moods)}",{60 + 40 * loud + number % 7},{split}')
    (root / "music" / "tags.csv").write_text("\n".join(lines) + "\n")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        encoder = SampleCNN(**SMALL)
        encoder.train()(0.3 * torch.randn(8, 1, encoder.input_samples))
        checkpoint.save(root / name / "encoder.safetensors", encoder.eval(), provenance={})
    (root / "one" / "run.json").write_text("{}")
    export.export(checkpoint.load_encoder(root / "one" / "encoder.safetensors"), root / "one.onnx")
    return root


def catalog(world: Path) -> Table:
    return Table(world / "music" / "tags.csv", columns=["pitch", "mood", "bpm"], multi=["mood"])


def encoders(world: Path) -> dict[str, str]:
    one = str(world / "one" / "encoder.safetensors")
    two = str(world / "two" / "encoder.safetensors")
    return {"one": one, "two": two, "random": f"random:{one}", "logmel": "logmel", "mfcc": "mfcc"}


TASKS = [Task("pitch"), Task("mood", protocol="knn"), Task("bpm", regression=True)]


@pytest.fixture(scope="module")
def bench(world: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("bench") / "out"
    return zoo(encoders(world), {"tones": catalog(world)}, TASKS, out, bootstrap=100, progress=False)


def test_the_numbers_are_those_of_embedding_and_probing_by_hand(world: Path, bench, tmp_path: Path) -> None:
    loaded = {name: checkpoint.load_encoder(world / name / "encoder.safetensors") for name in ("one", "two")}
    shape = {"sample_rate": RATE, "input_samples": loaded["one"].input_samples}
    loaded |= {
        "random": random_like(loaded["one"], catalog(world), seed=0),
        "logmel": LogMelStatistics(**shape),
        "mfcc": MfccStatistics(**shape),
    }
    asked = {"pitch": {}, "mood": {"protocol": "knn"}, "bpm": {"regression": True}}
    found = results_of(bench)
    assert list(found) == list(asked) and all(list(row) == list(loaded) for row in found.values())
    by_hand: dict = {task: {} for task in asked}
    for name, encoder in loaded.items():
        vectors = embed(catalog(world), encoder, tmp_path / name, progress=False)
        assert bench.facts["encoders"][name]["digest"] == encoder.digest()
        for task, settings in asked.items():
            wanted = probe(vectors, task, bootstrap=100, name=name, **settings)
            result = found[task][name]
            by_hand[task][name] = wanted
            assert result.as_dict() == wanted.as_dict()
            assert bench.facts["table"][task][name] == list(wanted.metrics[wanted.primary])
    for task, row in by_hand.items():
        facts = bench.facts
        best = facts["best"][task]
        value = {name: result.metrics[result.primary].value for name, result in row.items()}
        assert value[best] == max(value.values())
        tied = {name for name in row if name != best and paired(row[best], row[name]).low <= 0}
        assert set(facts["ties"][task]) == tied
        assert facts["differences"][task]["mfcc"] == list(paired(row["mfcc"], row["one"]))
    ranks = []
    for task in asked:
        values = [by_hand[task][name].metrics[by_hand[task][name].primary].value for name in loaded]
        ranks.append([1 + sum(b > a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values])
    assert list(bench.facts["mean_rank"].values()) == pytest.approx(np.mean(ranks, axis=0).tolist())


def test_the_record_says_what_it_is_about(world: Path, bench) -> None:
    facts, out = bench.facts, bench.path.parent
    one = facts["encoders"]["one"]
    assert one["class"] == "ssl_music.encoders.samplecnn.SampleCNN"
    assert one["weights"] == encoders(world)["one"] and one["run"] == str(world / "one")
    assert facts["encoders"]["two"]["run"] == facts["encoders"]["random"]["run"] == ""
    assert one["vectors"] == {"tones": "vectors/tones/one"} and (out / "vectors/tones/one/pooled.npy").is_file()
    first = facts["tasks"][0]
    assert (first["name"], first["catalog"], first["protocol"], first["metric"]) == (
        "pitch", "tones", "linear", "balanced_accuracy",
    )  # fmt: skip
    assert first["chance"] == pytest.approx(1 / 3)
    assert facts["leaks"] == [] and facts["leaks_are"] == "not looked for" and facts["reference"] == "one"
    kinds = [record.kind for record in gather_records(out)]
    assert kinds == ["bench"] + ["probe"] * 15
    text = told(results_of(bench), facts)
    for told_fact in (
        "mean rank",
        "chance",
        "* best",
        "pitch: balanced accuracy",
        "less one",
        "0.333",
    ):
        assert told_fact in text
    assert text.splitlines()[0].split()[:4] == ["encoder", "pitch", "mood", "bpm"]


def test_nothing_is_made_twice_and_only_what_changed_is_made_again(world: Path, tmp_path: Path, monkeypatch) -> None:
    made: dict[str, list] = {"embed": [], "probe": []}

    def counted(name: str):
        real = getattr(grid, name)

        def call(*arguments, **named):
            made[name].append(named.get("name") or Path(arguments[2]).name)
            return real(*arguments, **named)

        return call

    for name in made:
        monkeypatch.setattr(grid, name, counted(name))

    def run(**changes) -> dict[str, list]:
        for calls in made.values():
            calls.clear()
        settings = {"tasks": TASKS[:2], "bootstrap": 20, **changes}
        files = {**{name: encoders(world)[name] for name in ("one", "random", "logmel")}, **settings.pop("files", {})}
        zoo(files, {"tones": catalog(world)}, out=tmp_path / "out", progress=False, **settings)
        return {name: sorted(set(calls)) for name, calls in made.items()}

    everyone = ["logmel", "one", "random"]
    assert run() == {"embed": everyone, "probe": everyone}
    assert len(made["probe"]) == 6
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.name != "bench.json"}
    assert run() == {"embed": [], "probe": []}
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.name != "bench.json"}
    assert {path: when for path, when in after.items() if path.is_file()} == {
        p: w for p, w in before.items() if p.is_file()
    }

    # other weights under a name: its vectors and probes alone
    assert run(files={"one": encoders(world)["two"]}) == {"embed": ["one"], "probe": ["one"]}
    assert run(files={"one": encoders(world)["two"]})["probe"] == []
    digest = checkpoint.load(world / "two" / "encoder.safetensors").digest()
    stored = json.loads((tmp_path / "out" / "probes" / "pitch" / "one.json").read_text())["facts"]["digest"]
    assert stored == digest
    # a setting of one task: that task alone; one of all: all
    run(files={"one": encoders(world)["two"]}, tasks=[Task("pitch", drop=["middle"]), TASKS[1]])
    assert sorted(made["probe"]) == everyone
    assert len(run(files={"one": encoders(world)["two"]}, bootstrap=21)["probe"]) == 3 and len(made["probe"]) == 6


def test_interrupted_anywhere_it_goes_on_to_the_same_numbers(world: Path, bench, tmp_path: Path, monkeypatch) -> None:
    """Killed with -9, then by Ctrl-C inside a probe, then inside an embedding."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[3]);"
        "from ssl_music.bench.grid import zoo; from test_bench_grid import TASKS, catalog, encoders;"
        "from pathlib import Path; world = Path(sys.argv[1]);"
        "zoo(encoders(world), {'tones': catalog(world)}, TASKS, sys.argv[2], bootstrap=100, progress=False)"
    )
    out = tmp_path / "out"
    words = [sys.executable, "-c", script, str(world), str(out), str(Path(__file__).parent)]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None and not list(out.glob("probes/*/*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name in ("probe", "embed"):
        real, calls = getattr(grid, name), []

        def interrupted(*arguments, real=real, calls=calls, **named):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(*arguments, **named)

        monkeypatch.setattr(grid, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            zoo(encoders(world), {"tones": catalog(world)}, TASKS, out, bootstrap=100, progress=False)
        monkeypatch.setattr(grid, name, real)
    again = zoo(encoders(world), {"tones": catalog(world)}, TASKS, out, bootstrap=100, progress=False)
    assert again.facts == bench.facts
    for task, row in results_of(bench).items():
        for name, result in row.items():
            assert results_of(again)[task][name].as_dict() == result.as_dict()


def test_leaks_are_reported_or_left_out(world: Path, tmp_path: Path) -> None:
    tests = [track.id for track in catalog(world).split("test")]
    root = tmp_path / "heard"
    for id in tests[:3]:  # what the encoders were pretrained on: three of the test tracks, quieter
        audio.write(root / f"quiet {id}", 0.5 * audio.read(world / "music" / id, RATE), RATE)
    (root / "list.csv").write_text("path,split\n" + "".join(f"quiet {id},train\n" for id in tests[:3]))
    files, heard = {"logmel": "logmel", "one": encoders(world)["one"]}, Table(root / "list.csv")
    same = {"bootstrap": 20, "progress": False, "pretrained_on": heard}
    told_of = zoo(files, {"tones": catalog(world)}, [Task("pitch")], tmp_path / "out", **same)
    assert [(row["track"], row["met_in"], row["how"]) for row in told_of.facts["leaks"]] == [
        (id, f"quiet {id}", "same audio") for id in tests[:3]
    ]
    assert told_of.facts["leaks_are"] == "reported"
    whole = results_of(told_of)["pitch"]["one"]
    assert whole.test[0].ids == tests

    left = zoo(files, {"tones": catalog(world)}, [Task("pitch")], tmp_path / "out", leaks="exclude", **same)
    result = results_of(left)["pitch"]["one"]
    assert result.test[0].ids == tests[3:] and result.tracks["test"] == len(tests) - 3
    assert left.facts["leaks_are"] == "excluded" and len(left.facts["leaks"]) == 3
    rows = [whole.test[0].ids.index(id) for id in tests[3:]]
    scores, targets = whole.test[0].scores[rows], whole.test[0].targets[rows]
    recalls = [(scores.argmax(1) == k)[targets.argmax(1) == k].mean() for k in range(3)]
    assert result.metrics["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    common = np.bincount([list(HZ).index(track.labels["pitch"][0]) for track in catalog(world).split("train")]).max()
    assert common and set(result.chance) == set(whole.chance)

    everything = {"bootstrap": 20, "progress": False, "pretrained_on": catalog(world), "pretrained_split": "all"}
    with pytest.raises(UserError, match=r"task 'pitch': 0 of \d+ test tracks were not met in pretraining"):
        zoo(files, {"tones": catalog(world)}, [Task("pitch")], tmp_path / "out", leaks="exclude", **everything)


def test_finetune_is_a_protocol_too(world: Path, tmp_path: Path) -> None:
    tasks = [Task("pitch", protocol="finetune", name="pitch tuned"), Task("pitch")]
    training = Training(epochs=2, patience_epochs=2, batch_size=8, learning_rate=1e-2)
    same = {"training": training, "bootstrap": 20, "progress": False, "device": "cpu"}
    files = {"one": encoders(world)["one"]}
    record = zoo(files, {"tones": catalog(world)}, tasks, tmp_path / "out", **same)
    result = results_of(record)["pitch tuned"]["one"]
    assert (result.protocol, result.name) == ("finetune", "one")
    assert record.facts["encoders"]["one"]["digest"] == result.origin.digest
    weights = next((tmp_path / "out" / "finetuned").rglob("*.safetensors"))
    when = weights.stat().st_mtime_ns
    zoo(files, {"tones": catalog(world)}, tasks, tmp_path / "out", **{**same, "bootstrap": 21})
    assert weights.stat().st_mtime_ns == when  # scored again, not trained again
    longer = Training(epochs=3, patience_epochs=2, batch_size=8, learning_rate=1e-2)
    zoo(files, {"tones": catalog(world)}, tasks, tmp_path / "out", **{**same, "training": longer})
    assert weights.stat().st_mtime_ns != when


def test_mistakes_are_told_before_any_work(world: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(grid, "embed", lambda *_, **__: pytest.fail("embedded before everything was checked"))
    music = {"tones": catalog(world)}
    one = encoders(world)["one"]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")

    def refused(match: str, files=None, tasks=None, catalogs=None, **settings) -> None:
        with pytest.raises(UserError, match=match):
            zoo(
                {"one": one} if files is None else files,
                music if catalogs is None else catalogs,
                [Task("pitch")] if tasks is None else tasks,
                tmp_path / "out",
                progress=False,
                **settings,
            )
        assert not (tmp_path / "out" / "bench.json").exists()

    refused(r"encoder 'bad': .*broken\.safetensors: not a readable safetensors", {"one": one, "bad": str(broken)})
    refused(r"encoder 'bad': .*nowhere.*no such checkpoint", {"bad": str(tmp_path / "nowhere.safetensors")})
    refused(r"encoder 'bad': log_mel: no encoder; give a .*logmel, mfcc, random:FILE", {"bad": "log_mel"})
    refused(r"encoder 'fresh': .*fresh weights need the network", {"fresh": f"random:{world / 'one.onnx'}"})
    refused("no encoders", {})
    refused(r"encoder 'a/b': the name is a folder's too", {"a/b": one})
    refused("another differs in capitals alone", {"One": one, "one": one})
    refused("unknown label column in task 'genre': 'genre'", tasks=[Task("genre")])
    refused(
        "unknown split in task 'pitch': 'tset'; did you mean 'test'",
        tasks=[Task("pitch", test="tset")],
    )
    refused("protocol of the task 'pitch':.*did you mean 'linear'", tasks=[Task("pitch", protocol="liner")])
    refused("task 'pitch': seeds 3 with the protocol linear", tasks=[Task("pitch", seeds=3)])
    refused(
        "task 'mood': finetune learns tags", tasks=[Task("bpm", name="mood", regression=True, protocol="finetune")]
    )
    refused("task 'pitch'.* in 'pitch', where a regression wants one number", tasks=[Task("pitch", regression=True)])
    refused("two tasks are called 'pitch'", tasks=[Task("pitch"), Task("pitch", protocol="knn")])
    refused("no tasks", tasks=[])
    refused("catalog of the task 'pitch':.*did you mean 'tones'", tasks=[Task("pitch", catalog="tone")])
    refused("which catalog", catalogs={**music, "more": catalog(world)})
    refused("unknown encoder as reference: 'two'", reference="two")
    refused("did you mean 'exclude'", leaks="exclud", pretrained_on=catalog(world))
    refused("leaks exclude: wanted pretrained_on", leaks="exclude")
    refused("one.onnx cannot be trained, and the task 'pitch' fine-tunes", {"onnx": str(world / "one.onnx")},
            [Task("pitch", protocol="finetune")])  # fmt: skip
    packed = pack.pack(catalog(world), tmp_path / "pack", sample_rate=16000, workers=1, progress=False)
    refused(r"encoder 'one' wants 8000 Hz, and .*pack is packed at 16000 Hz", catalogs={"tones": packed})
    assert not (tmp_path / "out" / "vectors").exists()


def test_contestants_of_every_kind(world: Path, tmp_path: Path) -> None:
    one = checkpoint.load_encoder(world / "one" / "encoder.safetensors")
    packed = pack.pack(catalog(world), tmp_path / "pack", sample_rate=16000, workers=1, progress=False)
    (held, onnx) = contestants({"held": one, "onnx": world / "one.onnx"}, [catalog(world)], seed=0)
    assert held.digest == onnx.digest == one.digest() and onnx.class_path.endswith("by ONNX Runtime")
    assert held.make(packed) is one and not onnx.trainable
    (alone,) = contestants({"mfcc": "mfcc"}, [packed], seed=0)  # nothing to be like but the pack
    assert alone.sample_rate == 16000
    fresh = contestants({"random": f"random:{world / 'one' / 'encoder.safetensors'}"}, [catalog(world)], seed=3)[0]
    assert fresh.identity(catalog(world), 3) != fresh.identity(catalog(world), 4) != one.digest()


def test_every_argument_of_the_command_arrives(world: Path) -> None:
    words = ["--encoders", "{mfcc: mfcc}", "--training", "{epochs: 3, learning_rate: 0.01}", "--leaks", "exclude"]
    heard = ["--pretrained_on", "Folder", "--pretrained_on.root", str(world / "music"), "--pretrained_split", "all"]
    found = parse.arguments(bench_probe, [*words, *heard])
    assert found["training"] == Training(epochs=3, learning_rate=0.01)
    assert found["encoders"] == {"mfcc": "mfcc"} and len(found["pretrained_on"].tracks) == 54


def test_two_catalogs_and_the_command(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "probe", "--encoders", f"{{one: {encoders(world)['one']}, logmel: logmel}}"]
    table = str(world / "music" / "tags.csv")
    given = ["--catalog", "Table", "--catalog.table", table, "--catalog.multi", "[mood]", "--columns"]
    given.append("[pitch, mood]")
    common = ["--bootstrap", "20", "--device", "cpu", "--out"]
    assert cli.main([*words, *given, *common, str(tmp_path / "simple")]) == 0
    shown = capsys.readouterr().out
    assert "encoder" in shown and "mean rank" in shown and "leaks: not looked for" in shown
    assert (tmp_path / "simple" / "probes" / "mood" / "logmel.json").is_file()

    music = {"class_path": "Table", "init_args": {"table": table, "multi": ["mood"]}}
    recipe = {
        "encoders": {"one": encoders(world)["one"], "mfcc": "mfcc"},
        "catalogs": {"tones": music, "again": music},
        "tasks": [
            {"column": "pitch", "catalog": "tones"},
            {"column": "pitch", "catalog": "again", "protocol": "knn"},
        ],
        "pretrained_on": music,
        "bootstrap": 20,
        "out": str(tmp_path / "recipe"),
    }
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["bench", "probe", "--recipe", str(tmp_path / "zoo.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "tones-pitch" in shown and "again-pitch" in shown and "no leak" in shown
    assert sorted(path.name for path in (tmp_path / "recipe" / "vectors").iterdir()) == ["again", "tones"]

    assert cli.main([*words, *common, str(tmp_path / "x")]) == 2
    assert "no catalogs; give one with --catalog.root" in capsys.readouterr().err
    assert cli.main([*words, *given, "--protocol", "liner", *common, str(tmp_path / "x")]) == 2
    assert "did you mean 'linear'" in capsys.readouterr().err
    recipe["tasks"] = [{"colum": "pitch"}]
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["bench", "probe", "--recipe", str(tmp_path / "zoo.yaml")]) == 2
    assert "colum" in capsys.readouterr().err
