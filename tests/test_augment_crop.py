"""Crops: every row its own place, the samples as they were."""

import pytest
import torch

from ssl_music.augment.crop import RandomResizedCrop
from ssl_music.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(rows=6, samples=1000):
    return torch.arange(float(rows * samples)).view(rows, 1, samples)


def test_samples_from_the_drawn_place_on():
    wave = ramp()
    effect = RandomResizedCrop(samples=300)
    params = effect.draw(wave, generator())
    out = effect.apply(wave, **params)
    assert out.shape == (6, 1, 300)
    for row, start in enumerate(params["start"].tolist()):
        assert torch.equal(out[row], wave[row, :, start : start + 300])
    assert len(params["start"].unique()) > 1


def test_places_fill_the_whole_wave():
    starts = RandomResizedCrop(samples=8).draw(ramp(rows=2000, samples=10), generator())["start"]
    assert starts.unique().tolist() == [0, 1, 2]
    assert torch.bincount(starts).min() > 550


def test_a_crop_of_the_whole_wave_is_the_wave_in_a_new_tensor():
    wave = ramp()
    effect = RandomResizedCrop(samples=1000)
    out = effect.apply(wave, **effect.draw(wave, generator()))
    assert torch.equal(out, wave)
    assert out.data_ptr() != wave.data_ptr()


def test_row_of_a_batch_equals_the_item_alone():
    wave, effect = ramp(), RandomResizedCrop(samples=10)
    params = effect.draw(wave, generator())
    for row in range(6):
        assert torch.equal(
            effect.apply(wave[[row]], start=params["start"][[row]])[0], effect.apply(wave, **params)[row]
        )


def test_gradient_reaches_the_samples_that_were_kept():
    wave, effect = ramp().requires_grad_(), RandomResizedCrop(samples=10)
    effect.apply(wave, **effect.draw(wave, generator())).sum().backward()
    assert torch.equal(wave.grad.sum(-1), torch.full((6, 1), 10.0))


def test_too_short_a_wave_is_an_error():
    with pytest.raises(UserError, match=r"RandomResizedCrop: samples=2000, but the wave has only 1000"):
        effect = RandomResizedCrop(samples=2000)
        effect.apply(ramp(), **effect.draw(ramp(), generator()))


@pytest.mark.parametrize("arguments", [{"p": 0.5, "samples": 10}, {"p": -1.0, "samples": 10}, {"samples": 0}])
def test_impossible_crops(arguments):
    with pytest.raises(UserError, match=r"RandomResizedCrop: (p|samples)="):
        RandomResizedCrop(**arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    effect, wave = RandomResizedCrop(samples=300), ramp()
    params = effect.draw(wave, generator())
    assert torch.equal(effect.apply(wave.cuda(), start=params["start"].cuda()).cpu(), effect.apply(wave, **params))
