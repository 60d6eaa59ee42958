"""The chain: fused = sequential, order where it is audible, only chosen rows, one generator, clear errors."""

import pytest
import torch
from torch import nn

from ssl_music.augment import Chain, Delay, Gain, HighLowPass, Noise, PolarityInversion, Reverb
from ssl_music.augment.layers import pick
from ssl_music.errors import UserError

RATE = 22_050


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def music(rows=12, samples=20_000):
    return 0.3 * torch.randn(rows, 1, samples, generator=generator(99))


def clmr(**p):
    chances = {"polarity": 0.8, "noise": 0.3, "gain": 0.3, "filter": 0.8, "delay": 0.3, "reverb": 0.6} | p
    return [
        PolarityInversion(p=chances["polarity"]),
        Noise(p=chances["noise"], low_snr_db=5.0, high_snr_db=20.0),
        Gain(p=chances["gain"]),
        HighLowPass(p=chances["filter"]),
        Delay(p=chances["delay"]),
        Reverb(p=chances["reverb"]),
    ]


def sequential(chain, wave, drawn):
    """Every effect on its own, with its own FFT, cut to T after each."""
    for effect, (chosen, params) in zip(chain.augmentations, drawn, strict=True):
        rows = chosen.nonzero().flatten()
        wave = wave.clone()
        if len(rows):
            wave[rows] = effect.apply(wave[rows], **pick(params, rows))
    return wave


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("samples", [20_000, 10_007])
def test_fused_equals_sequential(seed, samples):
    chain, wave = Chain(clmr(), sample_rate=RATE), music(samples=samples)
    drawn = chain.draw(wave, generator(seed))
    assert (chain.apply_drawn(wave, drawn) - sequential(chain, wave, drawn)).abs().max() < 1e-4


def test_fused_equals_sequential_for_many_filters_in_a_row():
    effects = [Reverb(p=0.5), HighLowPass(p=0.5), Delay(p=0.5), HighLowPass(p=0.5), Gain(p=0.5), Reverb(p=0.5)]
    chain, wave = Chain(effects, sample_rate=RATE), music(rows=32)
    drawn = chain.draw(wave, generator())
    assert (chain.apply_drawn(wave, drawn) - sequential(chain, wave, drawn)).abs().max() < 1e-4


@pytest.fixture
def transformed(monkeypatch):
    """How many rows went through each transform back to samples."""
    rows = []
    original = torch.fft.irfft

    def counting(spectra, **options):
        rows.append(len(spectra))
        return original(spectra, **options)

    monkeypatch.setattr(torch.fft, "irfft", counting)
    return rows


def test_a_run_of_linear_effects_costs_one_transform(transformed):
    filters = [HighLowPass(p=1.0), Gain(p=1.0), Delay(p=1.0), HighLowPass(p=1.0)]
    Chain(filters, sample_rate=RATE)(music(rows=6))
    assert transformed == [6]
    Chain([*filters, Reverb(p=1.0)], sample_rate=RATE)(music(rows=6))
    assert transformed == [6, 6]
    Chain([HighLowPass(p=0.0), Reverb(p=0.0), Gain(p=1.0)], sample_rate=RATE)(music())
    assert transformed == [6, 6]


def test_only_rows_that_some_effect_chose_are_transformed(transformed):
    chain, wave = Chain([HighLowPass(p=0.3), Reverb(p=0.3)], sample_rate=RATE), music(rows=40)
    drawn = chain.draw(wave, generator())
    chain.apply_drawn(wave, drawn)
    assert sum(transformed) == int((drawn[0].chosen | drawn[1].chosen).sum()) < 40


def test_a_row_that_skips_the_noise_between_two_filters_is_transformed_once(transformed):
    chain = Chain([HighLowPass(p=1.0), Noise(p=0.5), HighLowPass(p=1.0)], sample_rate=RATE)
    wave = music(rows=8)
    drawn = chain.draw(wave, generator())
    out = chain.apply_drawn(wave, drawn)
    assert 0 < (noisy := int(drawn[1].chosen.sum())) < 8
    assert sum(transformed) == noisy + 8
    assert (out - sequential(chain, wave, drawn)).abs().max() < 1e-4


def test_noise_before_the_reverb_is_reverberated_and_after_it_is_not():
    quiet = torch.zeros(1, 1, 40_000)
    quiet[..., :2000] = music(rows=1, samples=2000)
    noise = Noise(p=1.0, low_snr_db=0.0, high_snr_db=0.0)
    room = Reverb(p=1.0, low_rt60_seconds=1.0, low_wet=0.9, high_wet=0.9)
    chains = [Chain(effects, sample_rate=RATE) for effects in ([noise, room], [room, noise])]
    before, after = chains
    drawn = before.draw(quiet, generator())
    first, second = before.apply_drawn(quiet, drawn), after.apply_drawn(quiet, drawn[::-1])
    assert (first - second).abs().max() > 0.01
    for chain, out, its in ((before, first, drawn), (after, second, drawn[::-1])):
        assert (out - sequential(chain, quiet, its)).abs().max() < 1e-4


def test_only_chosen_rows_change():
    chain, wave = Chain(clmr(polarity=0.2, filter=0.2, reverb=0.2), sample_rate=RATE), music(rows=60)
    drawn = chain.draw(wave, generator())
    out = chain.apply_drawn(wave, drawn)
    touched = torch.stack([chosen for chosen, _ in drawn]).any(0)
    assert 0 < touched.sum() < 60
    assert torch.equal(out[~touched], wave[~touched])
    assert (out[touched] != wave[touched]).flatten(1).any(1).all()


def test_the_same_generator_gives_the_same_views_and_another_others():
    chain, wave = Chain(clmr(), sample_rate=RATE), music()
    assert torch.equal(chain(wave, generator=generator(3)), chain(wave, generator=generator(3)))
    assert not torch.equal(chain(wave, generator=generator(3)), chain(wave, generator=generator(4)))
    one, two = chain.views(wave, 2, generator=generator(3))
    again = chain.views(wave, 2, generator=generator(3))
    assert torch.equal(torch.stack([one, two]), torch.stack(again))
    assert not torch.equal(one, two)


def test_an_explicit_generator_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    Chain(clmr(), sample_rate=RATE)(music(), generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_row_order_does_not_matter_given_the_parameters():
    chain, wave = Chain(clmr(), sample_rate=RATE), music()
    drawn, order = chain.draw(wave, generator()), torch.randperm(12, generator=generator())
    shuffled = [type(its)(its.chosen[order], pick(its.params, order)) for its in drawn]
    assert (chain.apply_drawn(wave, drawn)[order] - chain.apply_drawn(wave[order], shuffled)).abs().max() < 1e-5


@pytest.mark.parametrize("effects", [[], clmr(polarity=0, noise=0, gain=0, filter=0, delay=0, reverb=0)])
def test_nothing_chosen_is_identity_in_a_new_tensor(effects):
    wave = music()
    out = Chain(effects, sample_rate=RATE)(wave)
    assert torch.equal(out, wave)
    assert out.data_ptr() != wave.data_ptr()


def test_what_was_drawn_can_be_read_for_each_row():
    chain = Chain(clmr(), sample_rate=RATE)
    drawn = chain.draw(music(), generator(1))
    for row in range(12):
        described = chain.described(drawn, row)
        assert [name for name, _ in described] == [
            type(effect).__name__ for effect, its in zip(chain.augmentations, drawn, strict=True) if its.chosen[row]
        ]
        for name, values in described:
            if name == "Gain":
                assert -20 <= values["gain_db"] <= -1
            if name == "HighLowPass":
                assert values.keys() == {"highpass", "cutoff_hz"}
    assert len({str(chain.described(drawn, row)) for row in range(12)}) > 6


def test_gradients_flow_through_the_whole_chain():
    chain, wave = Chain(clmr(), sample_rate=RATE), music(rows=6).requires_grad_()
    chain(wave, generator=generator()).square().sum().backward()
    assert torch.isfinite(wave.grad).all()
    assert (wave.grad.abs().amax(-1) > 0).all()


def test_bfloat16_autocast_changes_nothing():
    chain, wave = Chain(clmr(), sample_rate=RATE), music()
    expected = chain(wave, generator=generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = chain(wave, generator=generator())
    assert out.dtype == torch.float32
    assert torch.equal(out, expected)


def test_memory_that_is_expanded_or_strided_is_no_obstacle():
    chain = Chain(clmr(), sample_rate=RATE)
    wave = music(rows=1).expand(12, 1, 20_000)
    assert torch.equal(chain(wave, generator()), chain(wave.clone(), generator()))
    strided = music(samples=40_000)[..., ::2]
    assert torch.equal(chain(strided, generator()), chain(strided.contiguous(), generator()))


def test_repr_can_be_read_back():
    chain = Chain(clmr(), sample_rate=RATE)
    assert repr(eval(repr(chain))) == repr(chain)
    assert "    Gain(p=0.3, low_db=-20.0, high_db=-1.0),\n" in repr(chain)


def test_a_parent_module_can_still_walk_its_submodules():
    # nn.Module.apply(function), which initialises weights, has a name that our contract uses for something else
    seen = []
    parent = nn.Sequential(Chain(clmr(), sample_rate=RATE), nn.Linear(1, 1))
    parent.apply(lambda module: seen.append(type(module).__name__))
    assert {"Chain", "Reverb", "PolarityInversion", "Linear", "Sequential"} <= set(seen)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    chain, wave = Chain(clmr(), sample_rate=RATE), music(rows=64)
    out = chain(wave.cuda(), generator=generator())
    assert out.is_cuda
    assert (out.cpu() - chain(wave, generator=generator())).abs().max() < 1e-4


# ---- bad input


def test_nan_names_the_row():
    wave = music(rows=5)
    wave[1, 0, 7], wave[3, 0, 0] = float("nan"), float("-inf")
    with pytest.raises(UserError, match=r"NaN or infinite samples in row 1, 3 of 5"):
        Chain(clmr(), sample_rate=RATE)(wave)


def test_loud_but_finite_samples_are_no_nan():
    wave = torch.full((2, 1, 100), 3e38)
    assert torch.equal(Chain([PolarityInversion(p=1.0)])(wave), -wave)


@pytest.mark.parametrize("shape", [(4, 100), (100,), (4, 2, 100), (4, 1, 0)])
def test_other_shapes_are_errors(shape):
    with pytest.raises(UserError, match=r"Chain wants waves of shape \(B, 1, T\); came"):
        Chain([Gain()])(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int16, torch.float64, torch.bfloat16])
def test_other_types_are_errors(dtype):
    with pytest.raises(UserError, match="float32"):
        Gain(p=1.0)(torch.zeros(2, 1, 10, dtype=dtype))


@pytest.mark.parametrize("effect", [HighLowPass, Delay, Reverb])
def test_without_a_sample_rate_the_error_says_where_to_give_it(effect):
    with pytest.raises(UserError, match=rf"{effect.__name__} needs the sample rate: Chain\(.*sample_rate="):
        Chain([effect(p=1.0)])(music())


def test_one_effect_cannot_hear_two_rates():
    effect = Delay()
    Chain([effect], sample_rate=22_050)
    Chain([effect], sample_rate=22_050)
    with pytest.raises(UserError, match=r"Delay\(p=0.3.*already hears waves at 22050 Hz.*16000"):
        Chain([effect], sample_rate=16_000)


def test_a_chain_takes_augmentations_only():
    with pytest.raises(UserError, match="a Chain wants Augmentation objects; came 'Gain'"):
        Chain(["Gain"])


def test_what_was_drawn_for_another_batch_or_chain():
    chain, wave = Chain(clmr(), sample_rate=RATE), music(rows=4)
    drawn = chain.draw(wave, generator())
    with pytest.raises(UserError, match=r"Chain of 6 effects on 12 rows: came what 6 effects drew for 4 rows"):
        chain.apply_drawn(music(), drawn)
    with pytest.raises(UserError, match=r"Chain of 6 effects on 4 rows: came what 5 effects drew; draw for"):
        chain.apply_drawn(wave, drawn[1:])
