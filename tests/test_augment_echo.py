"""The impulses of delay and comb at the right samples and heights, in place as out of place."""

import pytest
import scipy.signal
import torch

from ssl_music.augment import Comb, Delay
from ssl_music.augment.echo import shifted_by_gather, shifted_by_slices
from ssl_music.errors import UserError

RATE = 22_050


def impulse(rows=1, samples=59_049):
    wave = torch.zeros(rows, 1, samples)
    wave[..., 0] = 1.0
    return wave


def music(rows, samples=12_000, seed=0):
    return 0.3 * torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(seed))


def test_delay_repeats_at_the_right_sample_and_height():
    out = Delay(p=1.0).at_rate(RATE).apply(impulse(rows=3), delay_ms=torch.tensor([200.0, 300.0, 450.0]))[:, 0]
    expected = torch.zeros(3, 59_049)
    expected[:, 0] = 0.5
    for row, sample in enumerate((4410, 6615, 9922)):  # 9922.5 to the even one
        expected[row, sample] = 0.25
    assert torch.equal(out, expected)


def test_delays_are_drawn_from_the_grid_of_the_field():
    delays = Delay().at_rate(RATE).draw(impulse(rows=600), torch.Generator().manual_seed(0))["delay_ms"]
    values, counts = delays.unique(return_counts=True)
    assert values.tolist() == [200.0, 250.0, 300.0, 350.0, 400.0, 450.0]
    assert counts.min() > 60


def test_a_step_that_does_not_divide_the_range():
    effect = Delay(low_ms=10.0, high_ms=10.35, step_ms=0.1).at_rate(RATE)
    values = effect.draw(impulse(rows=400), torch.Generator().manual_seed(0))["delay_ms"].unique()
    assert values.tolist() == pytest.approx([10.0, 10.1, 10.2, 10.3], abs=1e-5)


def test_both_ways_to_shift_are_the_same():
    wave = torch.randn(5, 1, 100, generator=torch.Generator().manual_seed(0))
    samples = torch.tensor([0, 1, 50, 99, 250])
    assert torch.equal(shifted_by_slices(wave, samples), shifted_by_gather(wave, samples))
    assert torch.equal(shifted_by_slices(wave, samples)[2, 0, 50:], wave[2, 0, :50])


def test_a_wave_shorter_than_the_delay_is_an_error():
    with pytest.raises(UserError, match=r"high_ms=450 is 9922 samples at 22050 Hz, but the wave has only 9000"):
        Delay(p=1.0).at_rate(RATE)(torch.ones(2, 1, 9000))


def test_delay_refuses_what_is_no_step_or_range():
    with pytest.raises(UserError, match="step_ms=0"):
        Delay(step_ms=0.0)
    with pytest.raises(UserError, match="0 <= low_ms <= high_ms"):
        Delay(low_ms=-1.0)


def test_comb_repeats_at_the_right_samples_and_heights():
    delay_ms, feedback = torch.tensor([5.0, 20.0, 10.0]), torch.tensor([0.7, 0.3, -0.5])
    effect = Comb(p=1.0, low_feedback=-0.5).at_rate(RATE)
    out = effect.apply(impulse(rows=3), delay_ms=delay_ms, feedback=feedback)[:, 0]
    for row, (samples, factor) in enumerate(((110, 0.7), (441, 0.3), (220, -0.5))):  # 110.25, 441, 220.5
        expected = torch.zeros(59_049)
        repeats = torch.arange(-(-59_049 // samples))
        expected[::samples] = (1 - factor**2) ** 0.5 * torch.tensor(factor).pow(repeats)
        assert (out[row] - expected).abs().max() < 1e-6


def test_comb_is_the_recursion_itself():
    wave = music(rows=1)
    effect = Comb(p=1.0, low_ms=3.0, high_ms=3.0, low_feedback=-0.9, high_feedback=-0.9).at_rate(1000)
    expected = scipy.signal.lfilter([(1 - 0.81) ** 0.5], [1, 0, 0, 0.9], wave[0, 0].double().numpy())
    assert torch.allclose(effect(wave)[0, 0].double(), torch.from_numpy(expected), atol=1e-5)


def test_comb_keeps_the_energy_of_broad_band_sounds():
    wave = music(rows=16, samples=59_049)
    out = Comb(p=1.0).at_rate(RATE)(wave, torch.Generator().manual_seed(0))
    assert 10 * torch.log10(out.square().mean(-1) / wave.square().mean(-1)).abs().max() < 0.2


@pytest.mark.parametrize(
    "effect",
    [Delay(p=1.0), Delay(p=1.0, low_ms=0.0, factor=-0.7), Comb(p=1.0), Comb(p=1.0, low_feedback=-0.99)],
    ids=repr,
)
def test_in_place_equals_out_of_place(effect):
    wave = music(rows=7)
    params = effect.at_rate(RATE).draw(wave, torch.Generator().manual_seed(0))
    expected = effect.apply(wave, **params)
    for rows in (torch.arange(7), torch.tensor([4, 1])):
        out = wave.clone()
        effect.change(out, rows, {name: value[rows] for name, value in params.items()})
        untouched = [row for row in range(7) if row not in rows]
        assert (out[rows] - expected[rows]).abs().max() < 1e-5
        assert torch.equal(out[untouched], wave[untouched])


@pytest.mark.parametrize("effect", [Delay(p=0.6), Comb(p=0.6)], ids=repr)
def test_gradients_are_those_of_apply(effect):
    wave, weight = music(rows=6).requires_grad_(), music(rows=6, seed=1)
    drawn = effect.at_rate(RATE).draw_rows(wave, torch.Generator().manual_seed(2))
    out = effect(wave, torch.Generator().manual_seed(2))
    gradient = torch.autograd.grad((out * weight).sum(), wave)[0]
    out = torch.where(drawn.chosen[:, None, None], effect.apply(wave, **drawn.params), wave)
    assert 0 < drawn.chosen.sum() < 6
    assert (gradient - torch.autograd.grad((out * weight).sum(), wave)[0]).abs().max() < 1e-5
    assert (effect(wave.detach(), torch.Generator().manual_seed(2)) - out).abs().max() < 1e-5


def test_comb_refuses_what_never_fades_or_never_sounds():
    with pytest.raises(UserError, match=r"high_feedback=1.0 is above 0.99"):
        Comb(high_feedback=1.0)
    with pytest.raises(UserError, match=r"-0.99 <= low_feedback"):
        Comb(low_feedback=-1.0)
    with pytest.raises(UserError, match=r"low_ms=0.01 is less than one sample at 22050 Hz"):
        Comb(low_ms=0.01).at_rate(RATE)
    with pytest.raises(UserError, match=r"Comb: high_ms=20 is 441 samples at 22050 Hz, but the wave has only 400"):
        Comb(p=1.0).at_rate(RATE)(torch.ones(2, 1, 400))
