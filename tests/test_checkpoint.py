"""Weights on disk: rebuilt without a recipe, refused when damaged or of another encoder, never run as code."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_music import checkpoint
from ssl_music.encoders import LogMelStatistics, SampleCNN, ShortChunk
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger


@pytest.fixture
def encoder() -> ShortChunk:
    torch.manual_seed(0)
    return ShortChunk(width=4, depth=3, bands=16, input_samples=8000, norm="group")


def rewritten(path: Path, **changes: str) -> Path:
    """The same weights with another header."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = file.metadata()
    save_file(load_file(path), path, metadata={**header, **changes})
    return path


def test_encoder_and_tagger_are_rebuilt_alone(encoder: ShortChunk, tmp_path: Path) -> None:
    wave = torch.randn(2, 1, 8000)
    digest = checkpoint.save(tmp_path / "e.safetensors", encoder, provenance={"recipe": {"seed": 1}})
    again = checkpoint.load(tmp_path / "e.safetensors")
    assert again.digest() == digest == encoder.digest() and not again.training
    torch.testing.assert_close(again(wave), encoder.eval()(wave), rtol=0, atol=0)
    assert checkpoint.provenance(tmp_path / "e.safetensors") == {"recipe": {"seed": 1}}

    tagger = Tagger(encoder, ["a", "é"], column="mood", multi_label=True, hidden_dim=8, dropout=0.5).eval()
    checkpoint.save(tmp_path / "t.safetensors", tagger, provenance={})
    loaded = checkpoint.load_tagger(tmp_path / "t.safetensors")
    assert (loaded.tags, loaded.column, loaded.multi_label) == (["a", "é"], "mood", True)
    torch.testing.assert_close(loaded.probabilities(wave), tagger.probabilities(wave), rtol=0, atol=0)
    assert checkpoint.load_encoder(tmp_path / "t.safetensors").digest() == encoder.digest()


def test_digest_changes_with_weights_spec_and_tags(encoder: ShortChunk) -> None:
    before = encoder.digest()
    tagger = Tagger(encoder, ["a", "b"], column="x", multi_label=True)
    renamed = Tagger(encoder, ["a", "c"], column="x", multi_label=True)
    renamed.head.load_state_dict(tagger.head.state_dict())
    assert tagger.digest() != renamed.digest()
    assert LogMelStatistics().digest() != LogMelStatistics(hop=256).digest()
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-6
    assert encoder.digest() != before


def test_encoder_without_head_cannot_tag(encoder: ShortChunk, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "e.safetensors", encoder, provenance={})
    with pytest.raises(UserError, match="holds a ShortChunk without a head"):
        checkpoint.load_tagger(tmp_path / "e.safetensors")


def test_checkpoint_of_another_encoder(encoder: ShortChunk, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    checkpoint.save(path, encoder, provenance={})
    fresh = ShortChunk(width=4, depth=3, bands=16, input_samples=8000, norm="group")
    checkpoint.fill_encoder(fresh, path)
    assert fresh.digest() == encoder.digest()
    with pytest.raises(UserError, match=r"another encoder \(width: 4 in the file, 8 in the recipe\)"):
        checkpoint.fill_encoder(ShortChunk(width=8, depth=3, bands=16, input_samples=8000, norm="group"), path)
    with pytest.raises(UserError, match=r"class: ssl_music.encoders.shortchunk.ShortChunk in the file, .*SampleCNN"):
        checkpoint.fill_encoder(SampleCNN(width=4), path)


def test_damaged_and_foreign_files(encoder: ShortChunk, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint.load(path)
    checkpoint.save(path, encoder, provenance={})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"e.safetensors: not a readable safetensors file"):
        checkpoint.load(path)
    changed = bytearray(whole)
    changed[-3] ^= 0x10
    path.write_bytes(bytes(changed))
    with pytest.raises(UserError, match=r"damaged|not finite"):
        checkpoint.load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="no checkpoint of ssl_music"):
        checkpoint.load(path)
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not a readable safetensors file"):
        checkpoint.load(path)


def test_a_file_cannot_choose_code_to_run(encoder: ShortChunk, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    checkpoint.save(path, encoder, provenance={})
    for class_path in ("os.system", "antigravity.Encoder", "subprocess.Popen", "torch.nn.modules.linear.Linear", "x"):
        rewritten(path, encoder=json.dumps({"class_path": class_path, "spec": {}}))
        with pytest.raises(UserError, match=r"which is not loaded; import .* first. Known here: .*LogMelStatistics"):
            checkpoint.load(path)


def test_diverged_weights_are_not_written(encoder: ShortChunk, tmp_path: Path) -> None:
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(UserError, match="not finite: the training has diverged"):
        checkpoint.save(tmp_path / "e.safetensors", encoder, provenance={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"tags": []}, {"tags": ["a", "a"]}, {"hidden_dim": -1}, {"dropout": 1.0}], ids=str)
def test_wrong_heads(encoder: ShortChunk, wrong: dict) -> None:
    arguments = {"tags": ["a"], "column": "x", "multi_label": True, **wrong}
    with pytest.raises(UserError):
        Tagger(encoder, **arguments)
