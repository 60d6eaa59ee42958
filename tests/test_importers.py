"""Importers: files with published keys against the published forwards in tests/published; strictness; the verb."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published.cnnsa import CNNSA
from published.crnn import CRNN
from published.fcn import FCN, TutorialCNN
from published.harmonic import HarmonicCNN
from published.jamendo import JamendoCNN
from published.musicnn import Musicnn
from published.parts import lively
from published.samplecnn import CLMR, SampleCNN, SampleCNNSE
from published.shortchunk import ShortChunkCNN
from published.taggingtransformer import MusicTaggingTransformer
from safetensors.torch import save_file
from torch import Tensor, nn

from ssl_music import checkpoint, cli, importers
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.importers.read import read
from ssl_music.importers.tags import LISTS
from ssl_music.tagger import Tagger

#: layout, network, how its published form is built, what stands before its keys in a file
NETWORKS: dict[str, tuple[str, Callable[[], nn.Module], str]] = {
    "FCN": ("won2020", FCN, ""),
    "Musicnn": ("won2020", Musicnn, ""),
    "Musicnn, wide": ("won2020", lambda: Musicnn(width=512, dense=500), ""),
    "CRNN": ("won2020", CRNN, ""),
    "SampleCNN": ("won2020", SampleCNN, ""),
    "SampleCNNSE": ("won2020", SampleCNNSE, ""),
    "ShortChunkCNN": ("won2020", lambda: ShortChunkCNN(residual=False), ""),
    "ShortChunkCNN_Res": ("won2020", lambda: ShortChunkCNN(residual=True), ""),
    "CNNSA": ("won2020", CNNSA, ""),
    "HarmonicCNN": ("won2020", lambda: HarmonicCNN(n_fft=512, last_pools=[(2, 3), (2, 3)]), ""),
    "SampleCNN of CLMR": ("clmr", CLMR, ""),
    "SampleCNN of CLMR, supervised": ("clmr", CLMR, "model."),
    "MusicTaggingTransformer": ("mtt", MusicTaggingTransformer, "network."),
    "MusicTaggingTransformer, compact": ("mtt", lambda: MusicTaggingTransformer(width=64), "network."),
    "MusicTaggingTransformer, bare": ("mtt", lambda: MusicTaggingTransformer(width=64), ""),
    "the tutorial's CNN": ("tutorial", TutorialCNN, ""),
    "MTG-Jamendo's baseline CNN": ("jamendo", JamendoCNN, ""),
}


def published(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    module = lively(build())
    if isinstance(module, HarmonicCNN):
        module.hstft.bw_Q.data.fill_(1.7)
    return module


def state_of(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + key: tensor.clone() for key, tensor in module.state_dict().items()}


def names(count: int) -> list[str]:
    return [f"tag {i}" for i in range(count)]


def logits_of(module: nn.Module, wave: Tensor) -> Tensor:
    """What the last linear layer gives, before any sigmoid; `wave` is (B, 1, T)."""
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    if isinstance(module, SampleCNNSE | ShortChunkCNN | HarmonicCNN):
        last = module.dense2
    if isinstance(module, CNNSA):
        last = module.dense
    kept: list[Tensor] = []
    hook = last.register_forward_hook(lambda layer, args, out: kept.append(out))
    with torch.no_grad():
        module(wave if isinstance(module, CLMR) else wave[:, 0])
    hook.remove()
    return kept[0]


@pytest.fixture
def tutorial(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tutorial's state dict, the smallest, with changes: a value of None takes a key out."""
    state = state_of(published(TutorialCNN))

    def write(changes: dict[str, Any] | None = None, name: str = "weights.pth") -> Path:
        changed = {key: value for key, value in {**state, **(changes or {})}.items() if value is not None}
        torch.save(changed, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_every_network_gives_the_published_numbers(name: str, tmp_path: Path) -> None:
    layout, build, prefix = NETWORKS[name]
    module = published(build)
    state = state_of(module, prefix)
    if prefix == "model.":  # Lightning stores the encoder under both of its names
        state |= state_of(module, "encoder.")
    torch.save(state, tmp_path / "new.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "weights.safetensors")
    for file in tmp_path.iterdir():
        weights = read(file)
        assert weights.tensors.keys() == state.keys() and not weights.ignored
        assert all(torch.equal(tensor, state[key]) for key, tensor in weights.tensors.items())
    count = tags_of(module)
    done = importers.load(tmp_path / "old.pth", tags=names(count))
    assert (done.layout, done.name) == (layout, name.partition(",")[0])
    model = done.model
    assert isinstance(model, Tagger) and not model.training and not done.absent
    wave = 0.1 * torch.randn(2, 1, model.encoder.input_samples)
    with torch.no_grad():
        logits = model(wave)
    torch.testing.assert_close(logits, logits_of(module, wave), rtol=1e-4, atol=1e-4)
    constants = {key for key in state if ".spectrogram." in key or ".mel_scale." in key or key == "hstft.spec.window"}
    again = {key for key in state if prefix == "model." and key.startswith("encoder.")}
    assert done.dropped.keys() == constants | again


def tags_of(module: nn.Module) -> int:
    return 10 if isinstance(module, TutorialCNN) else 56 if isinstance(module, JamendoCNN) else 50


def test_only_one_form_recognises_each_network() -> None:
    for layout, build, prefix in NETWORKS.values():
        state = state_of(build(), prefix)
        found = [form for form in importers.FORMS if form.automatic and form.recognises(state)]
        assert [form.layout for form in found] == [layout]


def test_layouts_and_forms_are_the_same() -> None:
    assert list(importers.LAYOUTS) == list(dict.fromkeys(form.layout for form in importers.FORMS))


def simclr(module: nn.Module) -> dict[str, Tensor]:
    """What the second release's pretraining file holds: no `fc`, an identity there, and the encoder twice."""
    encoder = {key: tensor for key, tensor in state_of(module).items() if not key.startswith("fc.")}
    return {
        **{f"encoder.{key}": tensor for key, tensor in encoder.items()},
        **{f"model.encoder.{key}": tensor for key, tensor in encoder.items()},
        "model.projector.0.weight": torch.randn(512, 512),
        "model.projector.2.weight": torch.randn(64, 512),
    }


@pytest.mark.parametrize("release", [1, 2])
def test_clmr_pretraining_files(release: int, tmp_path: Path) -> None:
    module = published(CLMR)
    if release == 2:
        held: dict[str, Any] = {"epoch": 10000, "pytorch-lightning_version": "1.2.0", "state_dict": simclr(module)}
    else:
        held = {**state_of(module, "encoder."), "projector.0.weight": torch.randn(512, 512)}
    torch.save(held, tmp_path / "clmr.ckpt")
    done = importers.load(tmp_path / "clmr.ckpt")
    assert isinstance(done.model, Encoder)
    wave = 0.1 * torch.randn(2, 1, 59049)
    with torch.no_grad():
        torch.testing.assert_close(done.model(wave), module.sequential(wave).flatten(1), rtol=1e-4, atol=1e-4)
    assert done.ignored == (["epoch", "pytorch-lightning_version"] if release == 2 else [])
    reasons = set(done.dropped.values())
    assert any("projector" in reason for reason in reasons)
    assert any(("fc learns nothing" if release == 1 else "once more") in reason for reason in reasons)
    with pytest.raises(UserError, match=r"holds no trained head.*give the file of a probe with --head FILE"):
        importers.load(tmp_path / "clmr.ckpt", tags="magnatagatune")


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_clmr_probes_in_their_own_file_and_beside_the_encoder(kind: str, tmp_path: Path) -> None:
    module = published(CLMR)
    layers = [nn.Linear(512, 50)] if kind == "linear" else [nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 50)]
    probe = nn.Sequential(*layers)
    torch.save({"state_dict": simclr(module)}, tmp_path / "clmr.ckpt")
    encoder = {key: tensor for key, tensor in state_of(module, "encoder.").items() if ".fc." not in key}
    files = {
        "lightning.ckpt": {"state_dict": {**encoder, **state_of(probe, "model.")}, "epoch": 3},
        "alone.pt": state_of(probe, "model."),
        "stripped.pt": state_of(probe),
    }
    if kind == "linear":
        files["first.pt"] = state_of(probe[0], "model.")
    wave = 0.1 * torch.randn(2, 1, 59049)
    with torch.no_grad():
        expected = probe(module.sequential(wave).flatten(1))
    for name, held in files.items():
        torch.save(held, tmp_path / name)
        done = importers.load(tmp_path / "clmr.ckpt", head=tmp_path / name, tags="magnatagatune")
        assert isinstance(done.model, Tagger) and done.model.tags == LISTS["magnatagatune"].names
        with torch.no_grad():
            torch.testing.assert_close(done.model(wave), expected, rtol=1e-4, atol=1e-4)
        assert done.provenance["imported"]["head"]["file"] == name
        assert any("probe's copy" in reason for reason in done.dropped.values()) == (name == "lightning.ckpt")
    whole = importers.load(tmp_path / "lightning.ckpt", tags="magnatagatune", multi_label=False, column="mood")
    assert isinstance(whole.model, Tagger) and (whole.model.column, whole.model.multi_label) == ("mood", False)
    with torch.no_grad():
        torch.testing.assert_close(whole.model(wave), expected, rtol=1e-4, atol=1e-4)


def test_a_student_and_its_teacher_lie_in_one_file(tmp_path: Path) -> None:
    student, teacher = published(lambda: MusicTaggingTransformer(width=64)), published(MusicTaggingTransformer)
    torch.save({**state_of(student, "network."), **state_of(teacher, "teacher_network.")}, tmp_path / "student.pt")
    wave = 0.1 * torch.randn(1, 1, 220500)
    for layout, module in ((None, student), ("mtt", student), ("mtt_teacher", teacher)):
        done = importers.load(tmp_path / "student.pt", layout=layout, tags="msd_cals")
        with torch.no_grad():
            torch.testing.assert_close(done.model(wave), logits_of(module, wave), rtol=1e-4, atol=1e-4)
        wanted = "the student; it is taken by" if module is teacher else "teacher; it is taken by"
        assert any(wanted in reason for reason in done.dropped.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layer6.conv.weight": torch.zeros(2)}, "the key layer6.conv.weight is no part of the tutorial's CNN"),
        ({"layer3.bn.running_var": None}, "the key layer3.bn.running_var is missing, which the tutorial's CNN wants"),
        ({"dense2.bias": None}, "the key dense2.bias is missing, which the head wants"),
        (
            {"layer2.conv.weight": torch.zeros(16, 16, 5, 5)},
            r"layer2.conv.weight is of shape \(16, 16, 5, 5\), where the tutorial's CNN wants \(16, 16, 3, 3\)",
        ),
        ({"layer1.conv.bias": torch.full((16,), torch.nan)}, r"layer1.conv.bias is not finite \(16 of 16"),
        ({"dense2.bias": torch.full((10,), torch.inf)}, r"dense2.bias is not finite \(10 of 10 numbers"),
        ({"layer1.conv.bias": torch.zeros(16, dtype=torch.int64)}, "layer1.conv.bias holds torch.int64"),
        ({"melspec.spectrogram.window": torch.ones(512)}, "melspec.spectrogram.window.*another spectrogram"),
        ({"melspec.mel_scale.fb": torch.ones(513, 128)}, "melspec.mel_scale.fb.*another spectrogram"),
        ({"layer1.conv.bias": "text"}, "'layer1.conv.bias' is a str, where a tensor is wanted"),
        (
            {"input_bn.weight": None},
            r"no weights of a known layout; the first keys are melspec.spectrogram.window, .* … \(50 in all\). "
            r"Nearest is the tutorial's CNN of layout tutorial, whose key input_bn.weight is missing. Known layouts: "
            r"won2020 \(",
        ),
    ],
)
def test_a_file_that_is_not_exactly_so_is_refused_by_its_first_key(
    changes: dict[str, Any], told: str, tutorial: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=rf"weights.pth: .*{told}"):
        importers.load(tutorial(changes), tags="gtzan")


def test_old_files_without_counters_and_with_an_emptied_filterbank(tutorial: Callable[..., Path]) -> None:
    whole = importers.load(tutorial())
    counters = [key for key in read(tutorial()).tensors if key.endswith("num_batches_tracked")]
    changes: dict[str, Any] = {"melspec.mel_scale.fb": torch.tensor([]), **dict.fromkeys(counters)}
    done = importers.load(tutorial(changes))
    assert "emptied" in done.dropped["melspec.mel_scale.fb"]
    assert list(done.absent) == counters and "do not count batches" in done.absent[counters[0]]
    assert done.model.digest() == whole.model.digest()


def test_weights_of_half_precision_and_of_a_wrapper(tutorial: Callable[..., Path], tmp_path: Path) -> None:
    state = read(tutorial()).tensors
    halves = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    torch.save({f"module.{key}": tensor for key, tensor in halves.items()}, tmp_path / "wrapped.pth")
    model = importers.load(tmp_path / "wrapped.pth").model
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in model.state_dict().values())
    torch.testing.assert_close(model.blocks[1].conv.weight.data, halves["layer2.conv.weight"].float())


def test_without_names_the_head_is_left_and_it_is_said_how_to_take_it(tutorial: Callable[..., Path]) -> None:
    done = importers.load(tutorial())
    assert isinstance(done.model, Encoder)
    assert "its 10 tags have no names in weights.pth" in done.dropped["head"]
    assert "--tags LIST (lists of that length: gtzan)" in done.dropped["head"]
    imported = done.provenance["imported"]
    assert (imported["file"], imported["layout"]) == ("weights.pth", "tutorial")
    assert re.fullmatch("[0-9a-f]{64}", imported["sha256"])


def test_names_of_tags(tutorial: Callable[..., Path], tmp_path: Path) -> None:
    done = importers.load(tutorial(), tags="gtzan")
    assert isinstance(done.model, Tagger)
    assert (done.model.column, done.model.multi_label) == ("genre", False)
    (tmp_path / "tags.txt").write_text("\n".join(names(10)) + "\n")
    np.save(tmp_path / "tags.npy", np.array(names(10)))
    for given in (names(10), str(tmp_path / "tags.txt"), str(tmp_path / "tags.npy")):
        assert importers.load(tutorial(), tags=given).model.tags == names(10)
    with pytest.raises(UserError, match="its head tells of 10 tags, and 50 names were given"):
        importers.load(tutorial(), tags="msd")
    with pytest.raises(UserError, match=r"magnatagtune: no list of tags, nor a file.*magnatagatune, msd"):
        importers.load(tutorial(), tags="magnatagtune")
    np.save(tmp_path / "code.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"code.npy: no list of tags"):
        importers.load(tutorial(), tags=str(tmp_path / "code.npy"))
    assert [len(known.names) for known in LISTS.values()] == [50, 50, 50, 50, 10]
    assert all(len(set(known.names)) == len(known.names) for known in LISTS.values())


def test_heads_that_do_not_fit(tutorial: Callable[..., Path], tmp_path: Path) -> None:
    def head(state: dict[str, Tensor]) -> Path:
        torch.save(state, tmp_path / "head.pt")
        return tmp_path / "head.pt"

    def load(state: dict[str, Tensor]) -> importers.Imported:
        return importers.load(tutorial(), tags="gtzan", head=head(state))

    weight, bias = torch.randn(10, 64), torch.randn(10)
    done = load({"model.0.weight": weight, "model.0.bias": bias})
    assert torch.equal(done.model.head[1].weight, weight) and done.dropped["head"] == "replaced by that of head.pt"
    wrong = {
        r"weight of shape \(10, 512\).* does not stand on the 64 numbers of FCN": {
            "0.weight": torch.randn(10, 512), "0.bias": bias
        },
        "no head; its first keys: a, b. Known: linear layers called model.0 and model.2, ": {"a": bias, "b": bias},
        "the key scale is no part of a head of model.0": {
            "model.0.weight": weight, "model.0.bias": bias, "scale": bias
        },
        "the key model.0.bias is missing": {"model.0.weight": weight},
        "holds no trained head": {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)},
    }  # fmt: skip
    for told, state in wrong.items():
        with pytest.raises(UserError, match=told):
            load(state)


def test_layouts_that_are_unknown_or_another(tutorial: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="unknown layout 'won2002'; did you mean 'won2020'"):
        importers.load(tutorial(), layout="won2002")
    with pytest.raises(
        UserError, match=r"no weights of layout clmr; the first keys are .*They look like layout tutorial"
    ):
        importers.load(tutorial(), layout="clmr")
    with pytest.raises(UserError, match="A file that holds a head alone goes to --head"):
        state = {"model.0.weight": torch.zeros(50, 512), "model.0.bias": torch.zeros(50)}
        torch.save(state, tutorial())
        importers.load(tutorial().with_name("weights.pth"), layout="mtt_teacher")


def test_weights_that_overflow_are_found_by_a_forward_pass(tutorial: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="FCN does not give finite numbers"):
        importers.load(tutorial({"layer3.conv.weight": torch.full((32, 16, 3, 3), 3e38)}))


def test_the_verb(tutorial: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tutorial.safetensors"
    assert cli.main(["import", str(tutorial()), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    encoder = checkpoint.load(out)
    assert f"digest: {encoder.digest()}" in told and "layout tutorial, the tutorial's CNN" in told
    assert "have no names" in told and "window and filterbank" in told
    assert checkpoint.provenance(out)["imported"]["layout"] == "tutorial"
    words = ["import", str(tutorial()), "--out", str(out), "--layout", "tutorial"]
    (tmp_path / "tags.txt").write_text("\n".join(names(10)))
    for given, column in (("gtzan", "genre"), (f"[{', '.join(names(10))}]", "x"), (str(tmp_path / "tags.txt"), "x")):
        assert cli.main([*words, "--tags", given, "--column", column]) == 0
        assert f"with a head for the 10 tags of '{column}'" in capsys.readouterr().out
        assert len(checkpoint.load_tagger(out).tags) == 10
    assert cli.main(["import", str(out), "--out", str(tmp_path / "again.safetensors")]) == 2
    assert "is a checkpoint of ours already" in capsys.readouterr().err
    before = out.read_bytes()
    assert cli.main(["import", str(tutorial({"x": torch.zeros(1)})), "--out", str(out)]) == 2
    assert "the key x is no part" in capsys.readouterr().err
    assert out.read_bytes() == before
