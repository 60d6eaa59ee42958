"""CPC against loops over its recurrence and its similarities, its causality, and what learns."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from training_toy import tiny_encoder, tiny_method, tiny_training

from ssl_music import checkpoint
from ssl_music.clips import Clips
from ssl_music.errors import UserError
from ssl_music.methods import CPC

SEGMENTS, STEPS = 4, 2  # of tiny_method


def some_clips(tracks: int = 3, samples: int = SEGMENTS * 243) -> Clips:
    wave = torch.randn(1, tracks, 1, samples, generator=torch.Generator().manual_seed(0))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def naive_contexts(method: CPC, latents: np.ndarray) -> np.ndarray:
    """The gated recurrent unit (Cho et al. 2014) step by step, in the form torch has it. (B, S, D) → (B, S, H)."""
    size = method.context_dim
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    into, back, bias_into, bias_back = (getattr(method.context, name).detach().numpy() for name in names)

    def gate(number: int, z: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(number * size, (number + 1) * size)
        return into[rows] @ z + bias_into[rows], back[rows] @ state + bias_back[rows]

    def logistic(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    contexts = np.zeros((*latents.shape[:2], size))
    for clip, sequence in enumerate(latents):
        state = np.zeros(size)
        for step, z in enumerate(sequence):
            reset, update = (logistic(sum(gate(number, z, state))) for number in (0, 1))
            new, old = gate(2, z, state)
            state = (1 - update) * np.tanh(new + reset * old) + update * state
            contexts[clip, step] = state
    return contexts


def naive_loss(method: CPC, clips: Clips) -> float:
    """−log exp(zᵀ W_k c) / Σ over all latents at the same places; clip by clip, place by place, for each distance."""
    size = clips.wave.shape[-1] // SEGMENTS
    pieces = [[wave[:, s * size : (s + 1) * size] for s in range(SEGMENTS)] for wave in clips.view(0).double()]
    with torch.no_grad():
        latents = np.array([[method.encoder(piece[None])[0].numpy() for piece in clip] for clip in pieces])
    contexts, by_distance = naive_contexts(method, latents), []
    for distance in range(1, STEPS + 1):
        matrix, costs = method.predictors[distance - 1].weight.detach().numpy(), []
        for clip in range(len(latents)):
            for place in range(SEGMENTS - distance):
                predicted = matrix @ contexts[clip, place]
                scores = {
                    (other, later): predicted @ latents[other, later]
                    for other in range(len(latents))
                    for later in range(distance, SEGMENTS)
                }
                total = math.log(sum(math.exp(score) for score in scores.values()))
                costs.append(total - scores[clip, place + distance])
        by_distance.append(sum(costs) / len(costs))
    return sum(by_distance) / STEPS


def test_is_the_info_nce_of_the_predicted_latents() -> None:
    method, clips = tiny_method("CPC", augment=False).double(), some_clips()
    losses = method.losses(clips)
    assert losses["loss"].item() == pytest.approx(naive_loss(method, clips), abs=1e-12)
    guess = (math.log(3 * 3) + math.log(3 * 2)) / 2
    assert losses["loss_over_trivial"].item() == pytest.approx(losses["loss"].item() / guess, abs=1e-12)
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]


def test_where_predictions_say_nothing_it_costs_a_guess() -> None:
    method = tiny_method("CPC")
    for predictor in method.predictors:
        nn.init.zeros_(predictor.weight)
    assert method.losses(some_clips())["loss_over_trivial"].item() == pytest.approx(1, abs=1e-6)


def test_one_clip_is_told_by_its_own_other_segments() -> None:
    losses = tiny_method("CPC").losses(some_clips(tracks=1))
    assert losses["loss"].isfinite() and losses["loss"] > 0


def watch_graph(method: CPC) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The embeddings and the predictions of the next `losses`, with their graph."""
    embeddings: list[torch.Tensor] = []
    predictions: list[torch.Tensor] = []
    method.encoder.register_forward_hook(lambda _, wave, embedding: embeddings.append(embedding))
    for predictor in method.predictors:
        predictor.register_forward_hook(lambda _, contexts, predicted: predictions.append(predicted))
    return embeddings, predictions


def test_contexts_and_predictions_hear_only_what_has_been() -> None:
    method = tiny_method("CPC", augment=False)
    embeddings, predictions = watch_graph(method)
    method.losses(some_clips())
    assert [predicted.shape for predicted in predictions] == [(3, 3, 16), (3, 2, 16)]
    for predicted in predictions:
        for place in range(predicted.shape[1]):
            (gradient,) = torch.autograd.grad(predicted[1, place].sum(), embeddings[0], retain_graph=True)
            heard = gradient.view(3, SEGMENTS, -1).abs().sum(2) > 0
            assert heard.tolist() == [
                [clip == 1 and segment <= place for segment in range(SEGMENTS)] for clip in range(3)
            ]


def test_other_later_samples_leave_contexts_as_they_are() -> None:
    method, clips = tiny_method("CPC", augment=False), some_clips()
    method.losses(clips)
    before = method.watched["context"].view(3, SEGMENTS, -1)
    clips.wave = clips.wave.clone()
    clips.wave[..., 2 * 243 :] *= -3
    method.losses(clips)
    after = method.watched["context"].view(3, SEGMENTS, -1)
    assert torch.equal(before[:, :2], after[:, :2])
    assert ((before - after)[:, 2:].abs().amax(dim=2) > 0).all()


def test_past_and_future_both_teach_the_encoder() -> None:
    """No stop-gradient: latents learn to be predicted, contexts to predict; the first segment is context only."""
    method = tiny_method("CPC", augment=False)
    embeddings, _ = watch_graph(method)
    loss = method.losses(some_clips())["loss"]
    (gradient,) = torch.autograd.grad(loss, embeddings[0], retain_graph=True)
    assert (gradient.abs().sum(dim=1) > 0).all()
    loss.backward()
    heads = [*method.context.parameters(), *method.predictors.parameters()]
    assert all(weight.grad.abs().max() > 0 for weight in heads)


def test_the_order_of_time_matters_and_that_of_clips_does_not() -> None:
    method, clips = tiny_method("CPC", augment=False).double(), some_clips()
    loss = method.losses(clips)["loss"]
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(method.losses(Clips(clips.wave[:, order], clips.rows))["loss"], loss)
    backwards = clips.wave.view(1, 3, 1, SEGMENTS, 243).flip(3).reshape(1, 3, 1, -1)
    assert abs(method.losses(Clips(backwards, clips.rows))["loss"] - loss) > 1e-6


def test_all_segments_go_through_the_encoder_at_once() -> None:
    method, seen = tiny_method("CPC"), []
    method.encoder.register_forward_pre_hook(lambda _, wave: seen.append(wave[0].shape))
    method.losses(some_clips())
    assert seen == [(12, 1, 243)] and method.views == SEGMENTS and method.crops == 1
    assert {name: rows.shape for name, rows in method.watched.items()} == {"embedding": (12, 16), "context": (12, 8)}
    assert method.pairs is None and not any(rows.requires_grad for rows in method.watched.values())


def test_the_length_of_a_clip() -> None:
    encoder = tiny_encoder()
    assert CPC(encoder).input_samples == 8 * 243
    assert CPC(encoder, segments=3, segment_seconds=0.5, steps=2).input_samples == 3 * 4000
    method = CPC(encoder)
    assert isinstance(method.context, nn.GRU) and method.context.hidden_size == 256 and method.context.num_layers == 1
    assert [tuple(predictor.weight.shape) for predictor in method.predictors] == [(16, 256)] * 3
    assert all(predictor.bias is None for predictor in method.predictors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 of segments=8; wanted 1 or more, and fewer than segments"),
        ({"steps": 8}, "steps=8 of segments=8"),
        ({"segments": 1, "steps": 1}, "steps=1 of segments=1"),
        ({"context_dim": 0}, "context_dim=0; wanted 1 or more"),
        ({"segment_seconds": 0.01}, r"segment_seconds=0\.01 is 80 samples at 8000 Hz; SampleCNN wants at least 243"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CPC(tiny_encoder(), **arguments)


def test_clips_that_do_not_divide_are_an_error() -> None:
    with pytest.raises(UserError, match=r"S = 4 equal segments are wanted; came \(3, 1, 973\)"):
        tiny_method("CPC").losses(some_clips(samples=SEGMENTS * 243 + 1))


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path) -> None:
    whole = tiny_training(tmp_path / "whole", kind="CPC")
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "cut", kind="CPC", stop=["batch", 1, 1], checkpoint_every_steps=1)
    again = tiny_training(tmp_path / "cut", kind="CPC", checkpoint_every_steps=1)
    digests = [checkpoint.load(path).digest() for path in (whole, again)]
    assert digests[0] == digests[1] != tiny_method("CPC").encoder.digest()
