"""PASE's workers against naive loops in float64."""

import math

import pytest
import torch
from torch.nn import functional

from ssl_music.errors import UserError
from ssl_music.methods.parts import workers
from ssl_music.methods.parts.workers import MutualInformationWorker, RegressionWorker, standardised


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_information(worker: MutualInformationWorker, anchors: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of every pair, one after the other; both kinds of pairs weigh the same."""
    positive, negative = [], []
    for anchor, other in zip(anchors, others, strict=True):
        for i in range(len(anchor)):
            for j in range(len(other)):
                logit = worker.network(torch.cat([anchor[i], other[j]]))[0]
                chance = 1 / (1 + torch.exp(-logit))
                (positive if i == j else negative).append(-torch.log(chance if i == j else 1 - chance))
    return (torch.stack(positive).mean() + torch.stack(negative).mean()) / 2


@pytest.mark.parametrize("block", [2**24, 1, 6000, 9000])
def test_information_is_the_binary_cross_entropy_of_all_pairs(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BLOCK_NUMBERS", block)
    worker, anchors, others = (
        MutualInformationWorker(4).double(),
        rows(2, 5, 4).requires_grad_(),
        rows(2, 5, 4, seed=1),
    )
    loss, trivial = worker(anchors, others)
    naive = naive_information(worker, anchors, others)
    torch.testing.assert_close(loss, naive)
    assert trivial.item() == pytest.approx(math.log(2))
    wanted = torch.autograd.grad(naive, [anchors, *worker.parameters()])
    for found, gradient in zip(torch.autograd.grad(loss, [anchors, *worker.parameters()]), wanted, strict=True):
        torch.testing.assert_close(found, gradient)


def test_information_is_0_for_who_knows_and_ln_2_for_who_does_not() -> None:
    worker = MutualInformationWorker(2)
    for parameter in worker.parameters():
        parameter.data.zero_()
    assert worker(rows(1, 6, 2).float(), rows(1, 6, 2).float())[0].item() == pytest.approx(math.log(2))
    # logit = 20 - 40 |a - b| of the first number, from two hidden units
    first, last = worker.network[0], worker.network[2]
    first.weight.data[:2] = torch.tensor([[1.0, 0, -1, 0], [-1, 0, 1, 0]])
    last.weight.data[0, :2], last.bias.data[0] = -40, 20
    latents = torch.arange(6.0)[None, :, None].expand(1, 6, 2)
    assert worker(latents, latents)[0] < 1e-6
    assert worker(latents, latents.flip(1))[0] > 5


def test_information_wants_two_tracks() -> None:
    with pytest.raises(UserError, match="2 or more"):
        MutualInformationWorker(2)(torch.ones(1, 1, 2), torch.ones(1, 1, 2))


@pytest.mark.parametrize("error", [functional.l1_loss, functional.mse_loss])
def test_regression_is_its_error(error: functional) -> None:
    worker, embedding, target = RegressionWorker(4, 3, error).double(), rows(5, 4), rows(5, 3, seed=1)
    loss, trivial = worker(embedding, target)
    power = 1 if error is functional.l1_loss else 2
    told = [worker.network(row) for row in embedding]
    off = [abs(told[i][j] - target[i, j]) ** power for i in range(5) for j in range(3)]
    torch.testing.assert_close(loss, torch.stack(off).mean())
    torch.testing.assert_close(trivial, target.abs().pow(power).mean())
    assert loss.requires_grad and not trivial.requires_grad


def test_who_tells_nothing_of_standardised_numbers_pays_1() -> None:
    target = standardised(5 + 3 * rows(20, 7))
    torch.testing.assert_close(target.mean(dim=0), torch.zeros(7, dtype=torch.float64))
    _, trivial = RegressionWorker(4, 7, functional.mse_loss).double()(rows(20, 4), target)
    assert trivial.item() == pytest.approx(1)


def test_what_does_not_vary_is_not_blown_up() -> None:
    still = torch.full((6, 2), -100.0) + torch.tensor([[1e-5, 0.0]]) * torch.arange(6)[:, None]
    assert standardised(still).abs().max() < 0.05
