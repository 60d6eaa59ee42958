"""The contrastive losses against their formulas' own double loops, closed forms, and what they may cost in memory."""

import math
import subprocess
import sys

import pytest
import torch
from losses_toy import assert_equal_to, cosine, draw, guess
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses import (
    base,
    bilinear_cross_entropy,
    info_nce,
    latent_info_nce,
    nt_xent,
    row_info_nce,
    trivial_loss,
)


def naive_nt_xent(a: Tensor, b: Tensor, temperature: float, decoupled: bool) -> Tensor:
    """Equation 1 of the SimCLR paper, term by term; decoupled without the positive in the sum below."""
    views, pairs = [*a, *b], len(a)
    terms = []
    for i in range(2 * pairs):
        j = (i + pairs) % (2 * pairs)
        scores = {k: cosine(views[i], views[k]) / temperature for k in range(2 * pairs) if k != i}
        terms.append(guess(scores[j], [score for k, score in scores.items() if not (decoupled and k == j)]))
    return torch.stack(terms).mean()


def naive_info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the MoCo paper for each query."""
    terms = []
    for q, k in zip(query, key, strict=True):
        own = cosine(q, k) / temperature
        terms.append(guess(own, [own, *(cosine(q, old) / temperature for old in queue)]))
    return torch.stack(terms).mean()


def naive_rows(scores: list[list[Tensor]]) -> Tensor:
    """Each row's guess at its own column, averaged."""
    return torch.stack([guess(row[i], row) for i, row in enumerate(scores)]).mean()


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("pairs", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_nt_xent_is_its_formula(pairs: int, temperature: float, decoupled: bool) -> None:
    assert_equal_to(
        lambda a, b: naive_nt_xent(a, b, temperature, decoupled),
        lambda a, b: nt_xent(a, b, temperature, decoupled=decoupled),
        *draw(2, pairs, 5, seed=pairs),
    )


@pytest.mark.parametrize("keys", [1, 2, 9])
@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_info_nce_is_its_formula(keys: int, temperature: float) -> None:
    query, key, queue = draw(4, 5), draw(4, 5, seed=1), draw(keys, 5, seed=2)
    assert_equal_to(
        lambda *of: naive_info_nce(*of, temperature), lambda *of: info_nce(*of, temperature), query, key, queue
    )


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_row_info_nce_is_its_formula(temperature: float) -> None:
    def naive(query: Tensor, key: Tensor) -> Tensor:
        return 2 * temperature * naive_rows([[cosine(q, k) / temperature for k in key] for q in query])

    assert_equal_to(naive, lambda query, key: row_info_nce(query, key, temperature), *draw(2, 6, 5))


def test_bilinear_cross_entropy_is_its_formula() -> None:
    def naive(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        def score(x: Tensor, y: Tensor) -> Tensor:
            terms = [x[d] * weight[d, e] * y[e] for d in range(len(x)) for e in range(len(y))]
            return torch.stack(terms).sum()

        return naive_rows([[score(x, y) for y in b] for x in a])

    assert_equal_to(naive, bilinear_cross_entropy, draw(5, 3), draw(5, 4, seed=1), draw(3, 4, seed=2))


@pytest.mark.parametrize(("clips", "steps"), [(3, 4), (1, 5), (5, 1)])
def test_latent_info_nce_is_its_formula(clips: int, steps: int) -> None:
    def naive(predicted: Tensor, actual: Tensor) -> Tensor:
        places = [(b, s) for b in range(clips) for s in range(steps)]
        return naive_rows([[(predicted[place] * actual[other]).sum() for other in places] for place in places])

    assert_equal_to(naive, latent_info_nce, *draw(2, clips, steps, 3))


@pytest.mark.parametrize("pairs", [2, 48])
def test_nt_xent_of_parallel_and_of_orthogonal_embeddings(pairs: int) -> None:
    same, orthogonal = torch.ones(pairs, 3, dtype=torch.float64), torch.eye(pairs, dtype=torch.float64)
    others = 2 * pairs - 2
    assert trivial_loss(pairs) == math.log(others + 1) and trivial_loss(pairs, decoupled=True) == math.log(others)
    assert nt_xent(same, same).item() == pytest.approx(trivial_loss(pairs), abs=1e-12)
    assert nt_xent(same, same, decoupled=True).item() == pytest.approx(trivial_loss(pairs, decoupled=True), abs=1e-12)
    assert nt_xent(orthogonal, orthogonal, 0.5).item() == pytest.approx(math.log1p(others / math.e**2), abs=1e-12)
    decoupled = nt_xent(orthogonal, orthogonal, 0.5, decoupled=True)
    assert decoupled.item() == pytest.approx(math.log(others) - 2, abs=1e-12)


def test_the_others_of_parallel_and_of_orthogonal_embeddings() -> None:
    axes, same = torch.eye(8, dtype=torch.float64), torch.ones(8, 8, dtype=torch.float64)
    assert info_nce(same[:3], same[:3], same).item() == pytest.approx(math.log(9), abs=1e-12)
    assert info_nce(axes[:3], axes[:3], axes[3:], 0.2).item() == pytest.approx(math.log1p(5 / math.e**5), abs=1e-12)
    assert row_info_nce(same, same, 0.2).item() == pytest.approx(0.4 * math.log(8), abs=1e-12)
    assert row_info_nce(axes, axes, 0.2).item() == pytest.approx(0.4 * math.log1p(7 / math.e**5), abs=1e-12)
    assert bilinear_cross_entropy(same, same, same).item() == pytest.approx(math.log(8), abs=1e-12)
    assert bilinear_cross_entropy(axes, axes, 3 * axes).item() == pytest.approx(math.log1p(7 / math.e**3), abs=1e-12)
    same, axes = same.view(2, 4, 8), axes.view(2, 4, 8)
    assert latent_info_nce(same, same).item() == pytest.approx(math.log(8), abs=1e-12)
    assert latent_info_nce(3 * axes, axes).item() == pytest.approx(math.log1p(7 / math.e**3), abs=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_scale_and_order_do_not_matter_to_nt_xent(decoupled: bool) -> None:
    a, b = draw(2, 6, 4)
    shuffled = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    loss = nt_xent(a, b, decoupled=decoupled).item()
    assert nt_xent(b, a, decoupled=decoupled).item() == pytest.approx(loss, abs=1e-12)
    assert nt_xent(3 * a[shuffled], 7 * b[shuffled], decoupled=decoupled).item() == pytest.approx(loss, abs=1e-12)


def test_the_decoupled_gradient_is_the_coupled_one_without_its_own_positive() -> None:
    """Where the positive is all but certain, NT-Xent's gradient is gone and the decoupled one is not."""
    a = torch.eye(4, dtype=torch.float64).requires_grad_()
    b = (torch.eye(4, dtype=torch.float64) + 0.1 * draw(4, 4)).requires_grad_()
    coupled = torch.autograd.grad(nt_xent(a, b, 0.05), (a, b))
    free = torch.autograd.grad(nt_xent(a, b, 0.05, decoupled=True), (a, b))
    assert max(gradient.norm().item() for gradient in coupled) < 1e-4
    assert min(gradient.norm().item() for gradient in free) > 0.1


#: the 12 rows of 6 pairs one by one, five at a time with two left over, ten at a time
BLOCKS = [12, 60, 130]


@pytest.mark.parametrize("numbers", BLOCKS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_nt_xent_in_blocks_is_nt_xent_in_one(numbers: int, decoupled: bool, monkeypatch) -> None:
    a, b = draw(2, 6, 5)

    def in_blocks(a: Tensor, b: Tensor) -> Tensor:
        monkeypatch.setattr(base, "BLOCK_NUMBERS", numbers)
        return nt_xent(a, b, decoupled=decoupled)

    def in_one(a: Tensor, b: Tensor) -> Tensor:
        monkeypatch.setattr(base, "BLOCK_NUMBERS", 144)
        return nt_xent(a, b, decoupled=decoupled)

    assert_equal_to(in_one, in_blocks, a, b, tolerance=1e-14)
    with torch.no_grad():
        assert in_blocks(a, b).item() == pytest.approx(in_one(a, b).item(), abs=1e-14)


@pytest.mark.parametrize("numbers", [1, 30])
def test_the_others_in_blocks_are_the_others_in_one(numbers: int, monkeypatch) -> None:
    a, b = draw(2, 6, 5)
    weight = draw(5, 5, seed=3)
    for function, arguments in [
        (lambda a, b: row_info_nce(a, b, 0.2), (a, b)),
        (bilinear_cross_entropy, (a, b, weight)),
        (latent_info_nce, (a.view(2, 3, 5), b.view(2, 3, 5))),
    ]:

        def in_blocks(*of: Tensor, function=function) -> Tensor:
            with monkeypatch.context() as patch:
                patch.setattr(base, "BLOCK_NUMBERS", numbers)
                return function(*of)

        assert_equal_to(function, in_blocks, *arguments, tolerance=1e-14)


def test_blocks_are_float32_under_autocast_too(monkeypatch) -> None:
    """The second run of a block, in the backward pass, is outside of autocast and must see what the first one saw."""
    monkeypatch.setattr(base, "BLOCK_NUMBERS", 60)
    a, b = (view.float().requires_grad_() for view in draw(2, 6, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = nt_xent(a, b)
    expected = torch.autograd.grad(nt_xent(a, b), (a, b))
    assert all(map(torch.equal, torch.autograd.grad(inside, (a, b)), expected))


def test_never_makes_pairs_times_pairs_times_dimension() -> None:
    """Every tensor that the forward and backward pass make has at most 2B × 2B or 2B × D numbers."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, Tensor):
                    self.numbers = max(self.numbers, tensor.numel())
            return out

    a, b = (torch.randn(64, 256).requires_grad_() for _ in range(2))
    with Largest() as largest:
        nt_xent(a, b).backward()
    assert largest.numbers <= max(128 * 128, 128 * 256)


MEASURED = """
import resource, sys, torch
from ssl_music.losses import nt_xent
pairs, dimensions = map(int, sys.argv[1:])
a, b = (torch.randn(pairs, dimensions).requires_grad_() for _ in range(2))
nt_xent(a[:4], b[:4]).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nt_xent(a, b).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux only")
def test_memory_is_linear_in_the_batch() -> None:
    """16,384 rows, whose logits alone would be 1 GiB, and four times that in a backward pass, within 512 MiB.

    benchmarks/contrastive_memory.py measures 32,768 rows and 32,768 pairs, which take longer than a test may.
    """
    command = [sys.executable, "-c", MEASURED, "8192", "128"]
    mebibytes = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert mebibytes < 512


@pytest.mark.parametrize("temperature", [0, -0.5, math.nan])
def test_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    two = torch.ones(2, 2)
    with pytest.raises(UserError, match=r"nt_xent: temperature .* above 0"):
        nt_xent(two, two, temperature)
    with pytest.raises(UserError, match=r"info_nce: temperature .* above 0"):
        info_nce(two, two, two, temperature)
    with pytest.raises(UserError, match=r"row_info_nce: temperature .* above 0"):
        row_info_nce(two, two, temperature)


def test_nt_xent_refuses_other_shapes() -> None:
    with pytest.raises(UserError, match=r"\(B, D\) are wanted; came \(2, 3\) and \(3, 3\)"):
        nt_xent(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(UserError, match=r"came \(2, 3, 1\)"):
        nt_xent(torch.ones(2, 3, 1), torch.ones(2, 3, 1))
    with pytest.raises(UserError, match="2 or more"):
        nt_xent(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(UserError, match="2 or more"):
        trivial_loss(1)


def test_the_others_refuse_other_shapes() -> None:
    two, three = torch.ones(2, 3), torch.ones(3, 3)
    for query, key, queue in [(two, three, two), (two[0], two[0], two), (two[:0], two[:0], two)]:
        with pytest.raises(UserError, match=r"info_nce: queries and keys of shape \(B, D\) are wanted; came"):
            info_nce(query, key, queue)
    for queue in (torch.ones(4, 2), torch.ones(0, 3), torch.ones(3)):
        with pytest.raises(UserError, match=r"queue of shape \(K, 3\) is wanted; came"):
            info_nce(two, two, queue)
    with pytest.raises(UserError, match=r"row_info_nce: queries and keys .* came \(2, 3\) and \(3, 3\)"):
        row_info_nce(two, three, 1.0)
    with pytest.raises(UserError, match="2 or more"):
        row_info_nce(two[:1], two[:1], 1.0)
    with pytest.raises(UserError, match=r"weight \(D, E\) are wanted; came \(2, 3\), \(2, 3\) and \(2, 3\)"):
        bilinear_cross_entropy(two, two, two)
    with pytest.raises(UserError, match="2 or more"):
        bilinear_cross_entropy(two[:1], two[:1], three)
    with pytest.raises(UserError, match=r"\(B, S, D\) are wanted; came \(2, 3\) and \(2, 3\)"):
        latent_info_nce(two, two)
    with pytest.raises(UserError, match="2 or more"):
        latent_info_nce(torch.ones(1, 1, 3), torch.ones(1, 1, 3))
