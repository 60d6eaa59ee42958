"""Impulse responses from files: read at any rate, from the direct sound on, drawn evenly, and what is refused."""

import copy

import jsonargparse
import numpy as np
import pytest
import torch

from ssl_music import audio
from ssl_music.audio import AudioError
from ssl_music.augment import Augmentation, Chain, Delay, Gain, HighLowPass, ImpulseResponse
from ssl_music.augment import impulse as module
from ssl_music.errors import UserError

RATE = 22_050


def decaying(seconds=0.5, rate=RATE, seed=0, late=0):
    """Noise that falls by 60 dB in its length, with a direct sound of three times its level; `late` samples late."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.1 * np.random.default_rng(seed).standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    wave[0] = 0.9
    return np.concatenate([np.zeros(late), wave])


@pytest.fixture
def rooms(tmp_path):
    """A folder with a small room, a big one in a folder below, and files that are no rooms."""
    (tmp_path / "halls" / ".hidden").mkdir(parents=True)
    audio.write(tmp_path / "booth.wav", decaying(0.1, seed=1), RATE)
    audio.write(tmp_path / "halls" / "hall.flac", decaying(0.5, seed=2), RATE)
    audio.write(tmp_path / "._booth.wav", decaying(), RATE)
    audio.write(tmp_path / "halls" / ".hidden" / "x.wav", decaying(), RATE)
    (tmp_path / "readme.txt").write_text("two rooms")
    return tmp_path


def music(rows=4, samples=30_000):
    return 0.3 * torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(7))


def response(effect, file=0, wet=1.0):
    return effect.impulse(file=torch.tensor([file]), wet=torch.tensor([wet]))[0]


def test_the_wave_is_convolved_with_the_file(rooms):
    effect = ImpulseResponse(p=1.0, files=rooms / "booth.wav", low_wet=1.0).at_rate(RATE)
    kernel = decaying(0.1, seed=1)
    wave = music()
    expected = np.convolve(wave[2, 0].numpy(), kernel / np.linalg.norm(kernel))[:30_000]
    assert np.abs(effect(wave)[2, 0].numpy() - expected).max() < 2e-3  # the file has 16 bits, and is cut at -60 dB


def test_in_a_chain_it_does_what_it_does_alone(rooms):
    effects = [HighLowPass(p=1.0), ImpulseResponse(p=1.0, files=rooms), Delay(p=1.0)]
    chain, wave = Chain(effects, sample_rate=RATE), music()
    drawn = chain.draw(wave, torch.Generator().manual_seed(0))
    expected = wave
    for effect, its in zip(effects, drawn, strict=True):
        expected = effect.apply(expected, **its.params)
    assert (chain.apply_drawn(wave, drawn) - expected).abs().max() < 1e-5
    assert {"file", "wet"} == chain.described(drawn, 0)[1][1].keys()


def test_two_rooms_of_a_folder_are_drawn_evenly(rooms):
    effect = ImpulseResponse(p=1.0, files=str(rooms)).at_rate(RATE)
    assert effect.samples == pytest.approx([0.1 * RATE, 0.5 * RATE], rel=0.15)
    assert effect.responses.shape == (2, effect.samples[1])
    drawn = effect.draw(torch.zeros(1000, 1, 1), torch.Generator().manual_seed(0))["file"]
    assert drawn.bincount().tolist() == pytest.approx([500, 500], abs=50)
    other = ImpulseResponse(files=[rooms / "halls", rooms / "booth.wav"]).at_rate(RATE)
    assert other.samples == effect.samples[::-1]


def test_a_row_is_the_same_alone_and_beside_longer_rooms(rooms):
    effect = ImpulseResponse(files=rooms).at_rate(RATE)
    together = effect.impulse(file=torch.tensor([0, 1, 0]), wet=torch.tensor([0.9, 0.5, 0.2]))
    alone = effect.impulse(file=torch.tensor([0]), wet=torch.tensor([0.2]))
    assert torch.equal(together[2:, : effect.samples[0]], alone)
    assert (together[2, effect.samples[0] :] == 0).all()


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_files_at_another_rate_sound_the_same(tmp_path, rate):
    smooth = np.zeros(round(0.3 * rate))
    for onset_seconds, level in ((0.0, 0.8), (0.1, 0.4), (0.2, -0.2)):  # three clicks below 3 kHz
        time = np.arange(len(smooth)) / rate - onset_seconds - 0.005
        smooth += level * np.sinc(6000 * time) * np.exp(-((time / 0.001) ** 2))
    audio.write(tmp_path / "clicks.wav", smooth, rate)
    got = response(ImpulseResponse(files=tmp_path).at_rate(RATE)).numpy()
    peaks = [int(np.abs(got[round(s * RATE) :][:500]).argmax()) + round(s * RATE) for s in (0.0, 0.1, 0.2)]
    assert np.diff(peaks) == pytest.approx(0.1 * RATE, abs=1)
    assert got[peaks] / got[peaks[0]] == pytest.approx([1.0, 0.5, -0.25], abs=0.02)
    assert got[peaks[0]] > 0
    assert peaks[0] <= 10  # the click itself takes some time to rise


def test_the_direct_sound_comes_at_once_and_upright(tmp_path):
    late = decaying(0.2, late=3000)
    late[:3000] = 0.01 * np.random.default_rng(1).standard_normal(3000)
    audio.write(tmp_path / "late.wav", late, RATE)
    audio.write(tmp_path / "turned.wav", -decaying(0.2), RATE)
    effect = ImpulseResponse(files=tmp_path).at_rate(RATE)
    for file in (0, 1):
        assert response(effect, file).argmax() == 0
    both = [response(effect, file)[:4000] for file in (0, 1)]
    assert (both[0] - both[1]).abs().max() < 1e-3


@pytest.mark.parametrize("wet", [0.0, 0.3, 0.8, 1.0])
def test_energy_is_one_whatever_the_share(rooms, wet):
    effect = ImpulseResponse(files=rooms, low_wet=0.0).at_rate(RATE)
    for file in (0, 1):
        assert response(effect, file, wet).square().sum() == pytest.approx(1.0, abs=1e-4)
    if wet == 0:
        assert (response(effect, wet=wet)[1:] == 0).all()
    else:  # the tail keeps its form, and loses against the direct sound
        tail, whole = response(effect, 1, wet)[1:], response(effect, 1, 1.0)[1:]
        ratio = (tail @ whole) / (whole @ whole)
        assert (tail - ratio * whole).abs().max() < 1e-6
        assert ratio <= 1


def test_long_responses_are_cut_with_a_fade_and_silence_after_them_is_dropped(tmp_path):
    audio.write(tmp_path / "long.wav", 0.5 * decaying(1.0), RATE)
    audio.write(tmp_path / "padded.wav", np.concatenate([decaying(0.2), np.zeros(RATE)]), RATE)
    effect = ImpulseResponse(files=tmp_path, longest_seconds=0.3).at_rate(RATE)
    assert effect.samples[0] == round(0.3 * RATE)
    assert effect.samples[1] < 0.2 * RATE
    assert (response(effect)[-3:].abs() < 1e-4).all()
    whole = response(ImpulseResponse(files=tmp_path).at_rate(RATE))
    part = slice(0, round(0.29 * RATE))
    ratio = response(effect)[part] / whole[part].where(whole[part] != 0, torch.ones(()))
    assert ratio[whole[part].abs() > 1e-4].std() < 1e-3


def test_it_is_read_once_and_is_no_part_of_the_state(rooms, monkeypatch):
    effect = ImpulseResponse(files=rooms)
    assert effect.responses.numel() == 0  # nothing yet
    Chain([effect, Gain()], sample_rate=RATE)
    monkeypatch.setattr(audio, "read", None)
    Chain([effect], sample_rate=RATE)
    assert effect.state_dict() == {}
    assert torch.equal(copy.deepcopy(effect)(music(), torch.Generator()), effect(music(), torch.Generator()))
    assert effect.bfloat16()(music()).dtype == torch.float32
    assert effect.to("meta").responses.device.type == "meta"


def test_in_a_recipe(rooms):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--augment", type=list[Augmentation])
    for files in (str(rooms), [str(rooms / "booth.wav"), str(rooms / "halls")]):
        node = {"class_path": "ImpulseResponse", "init_args": {"files": files, "p": 1.0}}
        effect = parser.instantiate(parser.parse_object({"augment": [node]})).augment[0]
        assert len(effect.at_rate(RATE).samples) == 2
        assert repr(effect).startswith(f"ImpulseResponse(p=1.0, files={files!r}")


# ---- bad input


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"rooms/hall.wav: no such file"):
        ImpulseResponse(files=[tmp_path / "rooms/hall.wav"]).at_rate(RATE)


def test_files_that_are_no_audio_are_named(rooms):
    with pytest.raises(AudioError, match=r"readme.txt: .*(libsndfile|no audio)"):
        ImpulseResponse(files=rooms / "readme.txt").at_rate(RATE)


def test_silent_files_are_named(rooms):
    audio.write(rooms / "dead.wav", np.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"dead.wav: 1.00 s of silence; wanted an impulse response"):
        ImpulseResponse(files=rooms).at_rate(RATE)


def test_folders_without_audio_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no rooms")
    with pytest.raises(UserError, match=rf"{tmp_path.name}: a folder without audio files; wanted .* \.wav"):
        ImpulseResponse(files=tmp_path).at_rate(RATE)


def test_more_than_memory_is_given_names_the_argument(rooms, monkeypatch):
    monkeypatch.setattr(module, "MOST_GIGABYTES", 2 * 10_000 * 4 / 2**30)
    with pytest.raises(
        UserError, match=r"2 responses, each as long as .*hall.flac, .* give a longest_seconds below 2"
    ):
        ImpulseResponse(files=rooms).at_rate(RATE)
    assert ImpulseResponse(files=rooms, longest_seconds=0.4).at_rate(RATE).responses.shape == (2, 8820)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"files": []}, r"files=\[\] names none"),
        ({"files": "a.wav", "high_wet": 1.5}, r"high_wet=1.5 is above 1"),
        ({"files": "a.wav", "low_wet": 0.9, "high_wet": 0.5}, r"low_wet=0.9, high_wet=0.5"),
        ({"files": "a.wav", "longest_seconds": 0.0}, r"longest_seconds=0.0; wanted 0.01 or more"),
        ({"files": "a.wav", "longest_seconds": float("inf")}, r"longest_seconds=inf"),
    ],
)
def test_impossible_arguments(arguments, match):
    with pytest.raises(UserError, match=match):
        ImpulseResponse(**arguments)


def test_without_a_sample_rate_the_error_says_where_to_give_it(rooms):
    with pytest.raises(UserError, match="ImpulseResponse needs the sample rate: Chain"):
        ImpulseResponse(p=1.0, files=rooms)(music())
