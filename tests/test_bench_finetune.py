"""Fine-tuning: the whole encoder learns, tracks are tagged by their chunks, what was interrupted ends the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_toy import packed, tones
from pytorch_lightning import Callback
from training_toy import tiny_encoder

from ssl_music import checkpoint
from ssl_music._registry import members
from ssl_music.bench import finetune as module
from ssl_music.bench.baselines import untrained
from ssl_music.bench.finetune import finetune
from ssl_music.bench.labelled import partly_labelled
from ssl_music.bench.training import Training
from ssl_music.catalogs import Catalog
from ssl_music.clips import waves
from ssl_music.embed import embed, tag_files
from ssl_music.encoders import SampleCNN
from ssl_music.errors import UserError
from ssl_music.pack import Pack
from ssl_music.probe import ProbeResult, compare, probe

QUICK: dict[str, Any] = {
    "training": Training(epochs=2, batch_size=8, learning_rate=0.01),
    "device": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return packed(tmp_path_factory.mktemp("music"))


@pytest.fixture
def encoder() -> SampleCNN:
    torch.manual_seed(7)
    return tiny_encoder("batch")  # of which some tags are never predicted: it hears little in two epochs


def test_it_learns_what_a_probe_cannot_read(music: Pack, tmp_path: Path) -> None:
    torch.manual_seed(7)
    encoder = tiny_encoder("layer")
    before, state = encoder.digest(), torch.get_rng_state()
    training = Training(epochs=30, batch_size=8, learning_rate=0.01)
    result = finetune(encoder, music, "pitch", out=tmp_path, **{**QUICK, "training": training})
    assert encoder.digest() == before and torch.equal(state, torch.get_rng_state())
    assert result.metrics["balanced_accuracy"].value > 0.9 and result.chance["balanced_accuracy"] == 1 / 3
    frozen = probe(embed(music, encoder, tmp_path / "vectors", progress=False), "pitch")
    assert frozen.metrics["balanced_accuracy"].value < 0.9
    assert result.protocol == "finetune" and result.pool == "scores" and result.name == "fine-tuned"
    assert result.settings["learning_rate"] == 0.01 and 1 <= result.settings["epochs"] <= 30
    assert result.tracks == {"train": 48, "valid": 12, "test": 12} and result.origin.digest == before
    trained = checkpoint.load_encoder(tmp_path / "seed-0" / "tagger.safetensors")
    assert all(not torch.equal(now, was) for now, was in zip(trained.parameters(), encoder.parameters(), strict=True))


def test_tracks_are_tagged_by_the_mean_over_their_chunks(music: Pack, encoder: SampleCNN, tmp_path: Path) -> None:
    result = finetune(encoder, music, "traits", out=tmp_path, **QUICK)
    tagger = checkpoint.load_tagger(tmp_path / "seed-0" / "tagger.safetensors")
    (test,) = result.test
    assert test.kind == "multi" and test.tags == tagger.tags and len(test.ids) == 12
    files = {track.id: track.path for track in music.tracks}
    told = tag_files([files[name] for name in test.ids], tagger, device="cpu", progress=False)
    for (_, expected), scores in zip(told, test.scores, strict=True):
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert set(test.ids) == {track.id for track in music.split("test")}
    assert set(result.valid[0].ids) == {track.id for track in music.split("valid")}


def test_it_stands_beside_probes_and_in_a_record(music: Pack, encoder: SampleCNN, tmp_path: Path) -> None:
    vectors = embed(music, encoder, tmp_path / "vectors", progress=False)
    probed = probe(vectors, "pitch")
    tuned = finetune(encoder, music, "pitch", out=tmp_path / "tuned", name="mine", **QUICK)
    assert tuned.tags == probed.tags and set(tuned.test[0].ids) == set(probed.test[0].ids)
    assert tuned.origin[:3] == probed.origin[:3] and tuned.chance == probed.chance
    assert "finetune" in compare([probed, tuned])
    tuned.save(tmp_path / "tuned.json")
    assert ProbeResult.load(tmp_path / "tuned.json").as_dict() == tuned.as_dict()


def test_from_scratch_begins_with_fresh_weights_of_the_seed(music: Pack, tmp_path: Path, monkeypatch) -> None:
    begun: list[str] = []
    inner = module._run

    def spied(encoder, *args, **kwargs):
        begun.append(encoder.digest())
        return inner(encoder, *args, **kwargs)

    monkeypatch.setattr(module, "_run", spied)
    first, second = tiny_encoder("batch"), tiny_encoder("batch")
    ours = finetune(first, music, "pitch", out=tmp_path / "a", seeds=2, from_scratch=True, **QUICK)
    theirs = finetune(second, music, "pitch", out=tmp_path / "b", seeds=2, from_scratch=True, **QUICK)
    assert begun[:2] == begun[2:] == [untrained(first, seed=seed).digest() for seed in (0, 1)]
    assert first.digest() not in begun
    assert ours.protocol == "scratch" and ours.name == "supervised from scratch"
    assert len(ours.runs) == 2 and ours.over_runs and ours.runs[0] != ours.runs[1]
    for mine, other in zip(ours.test, theirs.test, strict=True):  # the weights given play no part
        np.testing.assert_array_equal(mine.scores, other.scores)


def test_only_chosen_tracks_teach(music: Pack, encoder: SampleCNN, tmp_path: Path) -> None:
    learnt = [track.id for track in music.split("train")][:12]
    result = finetune(encoder, music, "pitch", out=tmp_path, among=learnt, **QUICK)
    assert result.tracks["train"] == 12
    lines = (tmp_path / "seed-0" / "metrics.csv").read_text()
    # 12 tracks are one batch of 8, all 48 would be six: six passes over the twelve make an epoch
    steps = [line.split(",") for line in lines.splitlines()]
    assert int(steps[-1][steps[0].index("step")]) == 2 * 6 - 1
    with pytest.raises(UserError, match="of 1 tracks to learn from 'nobody' is not a labelled track of train"):
        finetune(encoder, music, "pitch", out=tmp_path / "b", among=["nobody"], **QUICK)
    with pytest.raises(UserError, match="no track of the train split 'train' has these tags"):
        finetune(encoder, music, "pitch", out=tmp_path / "c", among=learnt[:4], **QUICK)
    with pytest.raises(UserError, match="made in another way"):  # the same folder, other labels
        finetune(encoder, music, "pitch", out=tmp_path, among=learnt[:11], **QUICK)
    with pytest.raises(UserError, match="made in another way"):  # or other weights to begin with
        finetune(untrained(encoder, seed=5), music, "pitch", out=tmp_path, among=learnt, **QUICK)


def test_some_labels_hidden() -> None:
    """All tracks stay where they are, and only the column of the split loses labels."""
    from training_toy import Tones

    whole = Tones()
    view = partly_labelled(whole, "pitch", split="train", among=["003", "005"])
    assert [track.id for track in view.tracks] == [track.id for track in whole.tracks]
    assert [track.id for track in view.labelled(view.split("train"), "pitch")] == ["003", "005"]
    assert len(view.labelled(view.split("valid"), "pitch")) == 9
    assert len(view.labelled(view.split("train"), "traits")) == 18
    assert waves(view, whole.sample_rate).gather is not None and view.fingerprint() != whole.fingerprint()
    assert type(view).__name__ not in members(Catalog) and "Pack" in members(Catalog)  # nobody names it in a recipe
    np.testing.assert_array_equal(view.gather(np.array([3]), np.array([5]), 9), whole.gather([3], [5], 9))


class Dead(Exception):
    """Stands for a kill."""


class DieAt(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == 8:
            raise Dead


def test_what_was_interrupted_ends_as_if_it_had_not_been(
    music: Pack, encoder: SampleCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finetune(encoder, music, "pitch", out=tmp_path / "whole", **QUICK)
    train_method = module.train_method

    def dying(*args: Any, trainer_options: dict, **kwargs: Any) -> Path:
        return train_method(*args, trainer_options={**trainer_options, "callbacks": [DieAt()]}, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(module, "train_method", dying)
        with pytest.raises(Dead):
            finetune(encoder, music, "pitch", out=tmp_path / "killed", **QUICK)
    assert (tmp_path / "killed" / "seed-0" / "last.ckpt").is_file()
    again = finetune(encoder, music, "pitch", out=tmp_path / "killed", **QUICK)
    np.testing.assert_array_equal(again.test[0].scores, whole.test[0].scores)
    # finished: nothing is trained or embedded again
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").rglob("*")}
    same = finetune(encoder, music, "pitch", out=tmp_path / "whole", **QUICK)
    np.testing.assert_array_equal(same.test[0].scores, whole.test[0].scores)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").rglob("*")}


def test_from_files_too_and_groups_on_both_sides_are_refused(encoder: SampleCNN, tmp_path: Path) -> None:
    catalog = tones(tmp_path / "tones", count=24, shared_group=True)
    with pytest.raises(
        UserError, match="1 groups have tracks in 'test' and in 'train' or 'valid', the first is 'both'"
    ):
        finetune(encoder, catalog, "pitch", out=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="scores would be too good"):
        result = finetune(encoder, catalog, "pitch", out=tmp_path / "out", shared_groups="allow", **QUICK)
    assert result.shared_groups == ["both"]


def test_mistakes(music: Pack, encoder: SampleCNN, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown device to train on 'gpu'"):
        finetune(encoder, music, "pitch", out=tmp_path, device="gpu")
    with pytest.raises(UserError, match="seeds 0"):
        finetune(encoder, music, "pitch", out=tmp_path, seeds=0)
    with pytest.raises(UserError, match="epochs 0, patience_epochs 10, batch_size 16: wanted 1 or more"):
        Training(epochs=0)
    with pytest.raises(UserError, match="unknown tag of pitch to drop: 'hihg'; did you mean 'high'"):
        finetune(encoder, music, "pitch", out=tmp_path, drop=["hihg"])
    with pytest.raises(UserError, match="the splits train 'train', valid 'valid', test 'train' share tracks"):
        finetune(encoder, music, "pitch", out=tmp_path, test="train")
    assert not any(tmp_path.iterdir())


def test_of_the_lowest_loss_and_the_last_epoch_the_better_one_is_taken(music: Pack, tmp_path: Path) -> None:
    """Both are asked about valid, by the score that probes choose by."""
    torch.manual_seed(7)
    training = Training(epochs=6, patience_epochs=6, batch_size=8, learning_rate=0.03)
    result = finetune(tiny_encoder("layer"), music, "pitch", out=tmp_path, **{**QUICK, "training": training})
    reached = {}
    for kept, tagger in module._candidates(
        tmp_path / "seed-0" / "tagger.safetensors", tmp_path / "seed-0" / "last.ckpt"
    ):
        tracks = music.labelled(music.split("valid"), "pitch")
        tagged = dict(tag_files([track.path for track in tracks], tagger, progress=False))
        right = [tagger.tags[int(np.argmax(tagged[track.path]))] == track.labels["pitch"][0] for track in tracks]
        reached[kept] = float(np.mean(right))  # as many tracks of each tag
    valid = result.valid[0]
    chosen = float(np.mean(valid.scores.argmax(axis=1) == valid.targets.argmax(axis=1)))
    assert chosen == pytest.approx(max(reached.values()))
    assert set(reached) == {"best", "last"}
