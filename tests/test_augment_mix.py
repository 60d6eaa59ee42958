"""Mixing: another row, never the own one, at the measured SNR asked for."""

import pytest
import torch

from ssl_music.augment import Mix
from ssl_music.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def music(rows=8, samples=10_000):
    loudness = torch.logspace(0, -4, rows)[:, None, None]
    return torch.randn(rows, 1, samples, generator=generator(1)) * loudness * 0.3


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 6.02, 20.0])
def test_measured_snr_is_the_asked_one(snr_db):
    wave = music()
    added = Mix(p=1.0, low_snr_db=snr_db, high_snr_db=snr_db)(wave, generator()).double() - wave.double()
    measured = 10 * torch.log10(wave.double().square().mean(-1) / added.square().mean(-1))
    assert (measured - snr_db).abs().max() < 0.1


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_the_other_is_each_other_row_equally_often_and_never_the_own(rows):
    wave = torch.arange(float(rows))[:, None, None] + torch.zeros(rows, 1, 2)
    counts = torch.zeros(rows, rows)
    source = generator()
    for _ in range(400):
        others = Mix(p=1.0).draw(wave, source)["other"][:, 0, 0].long()
        counts[torch.arange(rows), others] += 1
    assert (counts.diagonal() == 0).all()
    expected = 400 / (rows - 1)
    off = counts[~torch.eye(rows, dtype=torch.bool)]
    assert (off - expected).abs().max() < 5 * expected**0.5


def test_what_is_added_is_the_other_unchanged():
    wave = music(rows=3)
    params = Mix(p=1.0).draw(wave, generator())
    added = Mix(p=1.0).apply(wave, **params) - wave
    for row in range(3):
        matches = [torch.corrcoef(torch.stack([added[row, 0], wave[i, 0]]))[0, 1] > 0.99 for i in range(3)]
        assert sum(matches) == 1 and not matches[row]


def test_only_the_own_row_gets_a_gradient():
    wave = music(rows=4).requires_grad_()
    Mix(p=1.0)(wave, generator())[1].sum().backward()
    assert torch.equal(wave.grad[1], torch.ones(1, 10_000))
    assert torch.equal(wave.grad[[0, 2, 3]], torch.zeros(3, 1, 10_000))


def test_silence_stays_silent_and_adds_nothing():
    wave = music(rows=2)
    wave[0] = 0.0
    assert torch.equal(Mix(p=1.0)(wave, generator()), wave)


def test_a_batch_of_one_has_nobody_to_mix_with():
    with pytest.raises(UserError, match=r"Mix adds another example of the batch, but came a batch of 1"):
        Mix(p=0.3)(music(rows=1))
    assert torch.equal(Mix(p=0.0)(music(rows=1)), music(rows=1))


def test_snr_range_the_wrong_way_round():
    with pytest.raises(UserError, match="low_snr_db <= high_snr_db"):
        Mix(low_snr_db=20.0)
