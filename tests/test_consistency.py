"""Consistency: the three terms against naive loops, where gradients flow, and a run on half labelled batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from semi_toy import PartlyLabelled, semi_method, semi_training
from training_toy import Tones

from ssl_music.clips import Clips
from ssl_music.errors import UserError
from ssl_music.methods import Consistency


def prepared(column: str, **arguments) -> Consistency:
    method = semi_method("consistency", column, **arguments)
    assert isinstance(method, Consistency)
    method.prepare(PartlyLabelled(), PartlyLabelled().split("train"))
    return method.train()


def mixed_clips(count: int) -> Clips:
    """Six clips; of the second, the third and the last nothing is known."""
    wave = torch.randn(1, 6, 1, 243, generator=torch.Generator().manual_seed(2)) / 10
    targets = torch.eye(count)[torch.tensor([0, 1, 2, 0, 1, 2])]
    targets[[1, 2, 5]] = torch.nan
    return Clips(wave, torch.arange(6), targets)


def probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """For each row the distributions that it says: (rows, one, K), or (rows, K, two)."""
    if multi_label:
        said = 1 / (1 + np.exp(-logits))
        return np.stack([said, 1 - said], axis=2)
    spread = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (spread / spread.sum(axis=1, keepdims=True))[:, None]


@pytest.mark.parametrize("column", ["traits", "pitch"])
@pytest.mark.parametrize("filtered", [False, True])
def test_the_terms_against_naive_loops(column: str, filtered: bool) -> None:
    method = prepared(column, weight=0.7, entropy_weight=0.3, temperature=0.5, least_confidence=0.0)
    tagger = method.artefact()
    with torch.no_grad():
        for parameter in tagger.head.parameters():
            parameter.mul_(4)  # predictions that differ
    clips, multi_label = mixed_clips(len(tagger.tags)), column == "traits"
    method._seed("train", 0, 0)
    noisy_wave = method.augmented(clips.view())
    noisy, clean = (tagger(wave).detach().double().numpy() for wave in (noisy_wave, clips.view()))
    targets = clips.targets.double().numpy()
    said, sharp = probabilities(noisy, multi_label), probabilities(clean / 0.5, multi_label)
    plain = probabilities(clean, multi_label)
    if filtered:
        surest = np.unique(plain[[1, 2, 5]].max(axis=2))
        method.least_confidence = float(surest[len(surest) // 2 - 1 : len(surest) // 2 + 1].mean())
    method._seed("train", 0, 0)
    losses = method.losses(clips)

    supervised = np.mean(
        [
            np.mean([-np.log(said[row, tag, 0 if targets[row, tag] else 1]) for tag in range(4)])
            if multi_label
            else -np.log(said[row, 0, int(targets[row].argmax())])
            for row in (0, 3, 4)
        ]
    )
    divergences, entropies, sure = [], [], []
    for row in (1, 2, 5):
        for number in range(plain.shape[1]):
            target, student = sharp[row, number], said[row, number]
            sure.append(plain[row, number].max() >= method.least_confidence)
            divergences.append(sure[-1] * sum(target * np.log(target / student)))
            entropies.append(-sum(plain[row, number] * np.log(plain[row, number])))
    assert (0 < sum(sure) < len(sure)) == filtered
    expected = {
        "loss": supervised + 0.7 * np.mean(divergences) + 0.3 * np.mean(entropies),
        "labelled_loss": supervised,
        "loss_over_trivial": supervised / method.trivial,
        "divergence": np.mean(divergences),
        "entropy": np.mean(entropies),
        "sure": np.mean(sure),
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, abs=2e-6), name
    assert ("accuracy" in losses) == (not multi_label)
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]


def test_no_gradient_flows_into_the_clean_prediction() -> None:
    """Without entropy term: the gradient is that of a loss against the clean predictions as constants."""
    method = prepared("traits", least_confidence=0.0, norm="layer")
    clips = mixed_clips(4)
    wave, unlabelled = clips.view(), clips.targets.isnan().any(dim=1)
    method._seed("train", 0, 0)
    noisy = method.augmented(wave)
    clean = method.artefact()(wave[unlabelled]).detach() / 0.4
    logits = method.artefact()(noisy)
    truth = torch.nn.functional.binary_cross_entropy_with_logits(logits[~unlabelled], clips.targets[~unlabelled])
    apart = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(logits=clean), torch.distributions.Bernoulli(logits=logits[unlabelled])
    ).mean()
    (truth + apart).backward()
    expected = {name: weight.grad.clone() for name, weight in method.named_parameters()}
    method.zero_grad()
    method._seed("train", 0, 0)
    method.losses(clips)["loss"].backward()
    for name, weight in method.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-6, rtol=1e-4)


def test_nothing_sure_is_nothing_learnt_from_it() -> None:
    method = prepared("traits", least_confidence=0.999)
    losses = method.losses(mixed_clips(4))
    assert losses["divergence"] == 0 and losses["sure"] == 0 and losses["loss"] == losses["labelled_loss"]
    losses["loss"].backward()


def test_validation_is_of_labels_alone() -> None:
    music, method = PartlyLabelled(), prepared("traits")
    valid, truths = method.valid_examples(music, music.split("valid"))
    assert truths is not None and len(valid) == 6 and np.isfinite(truths).all()
    tracks, targets = method.examples(music, music.split("train"))
    assert targets is not None and np.isnan(targets).all(axis=1).tolist() == [False] * 6 + [True] * 12
    assert method.halves(music, tracks).tolist() == [True] * 6 + [False] * 12  # type: ignore[union-attr]
    clips = Clips(mixed_clips(4).wave, torch.arange(6), torch.eye(4)[[0, 1, 2, 3, 0, 1]])
    logits = method.eval().artefact()(clips.view())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, clips.targets)
    losses = method.losses(clips)
    assert set(losses) == {"loss", "loss_over_trivial"}
    torch.testing.assert_close(losses["loss"], expected)


def test_a_run_resumes(tmp_path: Path) -> None:
    settings = {"method": {"kind": "consistency", "entropy_weight": 0.1}}
    whole = semi_training(tmp_path / "whole", **settings)
    facts = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert facts["steps"] == 12 and facts["kept"] == "best"
    with pytest.raises(RuntimeError, match="stopped by the test"):
        semi_training(tmp_path / "run", place=["run", 1, 2], **settings)
    again = semi_training(tmp_path / "run", **settings)
    assert (again.parent / "metrics.csv").read_text() == (whole.parent / "metrics.csv").read_text()


@pytest.mark.parametrize(
    "wrong", [{"weight": -1.0}, {"temperature": 0.0}, {"least_confidence": 1.0}, {"entropy_weight": -0.1}], ids=str
)
def test_numbers_out_of_range(wrong: dict) -> None:
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(UserError, match=f"{name} {value}"):
        semi_method("consistency", **wrong)


def test_a_catalog_of_labels_alone() -> None:
    with pytest.raises(UserError, match=r"Consistency: all 18 tracks to train on have labels"):
        semi_method("consistency").precede(Tones(), Tones().split("train"), None)  # type: ignore[arg-type]
