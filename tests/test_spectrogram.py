"""The log-mel front end against torchaudio's, against a plain sum, and against physics."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music._torchaudio import torchaudio
from ssl_music.encoders.spectrogram import LogMel
from ssl_music.errors import UserError

MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music"
SETTINGS = [
    pytest.param((16000, 512, 256, 128, 0.0, 8000.0), id="won2020"),
    pytest.param((16000, 512, 256, 96, 0.0, 8000.0), id="won2020-96"),
    pytest.param((22050, 1024, 512, 128, 0.0, 11025.0), id="mtt"),
    pytest.param((22050, 1000, 300, 64, 50.0, 10000.0), id="odd"),
]


def both(wave: torch.Tensor, setting: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    sample_rate, n_fft, hop, bands, low, high = setting
    ours = LogMel(sample_rate, n_fft=n_fft, hop=hop, bands=bands, f_min_hz=low, f_max_hz=high)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nn.Sequential(
            torchaudio.transforms.MelSpectrogram(
                sample_rate, n_fft=n_fft, hop_length=hop, n_mels=bands, f_min=low, f_max=high
            ),
            torchaudio.transforms.AmplitudeToDB(),
        )
    return ours(wave), theirs(wave)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rows", [1, 4, 7])
def test_agrees_with_torchaudio(setting: tuple, rows: int) -> None:
    wave = 0.1 * torch.randn(rows, 1, 20000, generator=torch.Generator().manual_seed(0))
    wave[0, :, 9000:] = 0  # digital silence: the floor of -100 dB
    ours, theirs = both(wave, setting)
    assert ours.shape == theirs.shape == (rows, 1, setting[3], 20000 // setting[2] + 1)
    assert ours.min() == pytest.approx(-100, abs=1e-4)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("setting", SETTINGS)
def test_agrees_with_torchaudio_on_real_music(setting: tuple) -> None:
    files = sorted(MUSIC.rglob("*.ogg"))[::200]
    if not files:
        pytest.skip("the shared music is not here")
    soundfile = pytest.importorskip("soundfile")
    waves = [soundfile.read(file, dtype="float32", frames=60000, fill_value=0.0)[0] for file in files]
    ours, theirs = both(torch.from_numpy(np.stack(waves)).unsqueeze(1), setting)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_is_the_plain_sum_over_a_frame() -> None:
    log_mel = LogMel(8000, n_fft=64, hop=32, bands=10)
    wave = 0.1 * torch.randn(1, 1, 640, generator=torch.Generator().manual_seed(0))
    frame = 7
    part = wave[0, 0, frame * 32 - 32 : frame * 32 + 32].double()  # centred on sample 7 · hop
    time, bins = torch.arange(64.0).double(), torch.arange(33.0).double()
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * time / 64)
    angle = 2 * math.pi * bins[:, None] * time[None, :] / 64
    power = (part * window * angle.cos()).sum(1) ** 2 + (part * window * angle.sin()).sum(1) ** 2
    hertz, top = bins * 8000 / 64, 2595 * math.log10(1 + 4000 / 700)
    corners = [700 * (10 ** (top * i / 11 / 2595) - 1) for i in range(12)]  # HTK: 2595 log10(1 + f / 700)
    for band in range(10):
        low, centre, high = corners[band : band + 3]
        weight = torch.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)).clamp(min=0)
        expected = 10 * math.log10(max(1e-10, float((weight * power).sum())))
        assert float(log_mel(wave)[0, 0, band, frame]) == pytest.approx(expected, abs=1e-3)


def test_a_tone_is_loudest_in_its_own_band_and_doubles_by_six_decibels() -> None:
    log_mel = LogMel(22050, n_fft=1024, hop=512, bands=64)
    tone = 0.1 * torch.sin(2 * math.pi * 1000 * torch.arange(22050) / 22050).view(1, 1, -1)
    level = log_mel(tone)[0, 0, :, 10]
    mel = 2595 * math.log10(1 + 1000 / 700)
    step = 2595 * math.log10(1 + 11025 / 700) / 65
    assert abs(int(level.argmax()) - (mel / step - 1)) <= 0.5
    louder = log_mel(2 * tone)[0, 0, :, 10]
    assert float((louder - level).max()) == pytest.approx(20 * math.log10(2), abs=1e-3)


def test_stays_float32_under_autocast_and_for_half_precision_waves() -> None:
    log_mel = LogMel(16000, n_fft=512, hop=256, bands=96)
    wave = 0.1 * torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0))
    exact = log_mel(wave)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_mel(wave), exact)
    assert torch.equal(log_mel(wave.half()), log_mel(wave.half().float()))


def test_gradients_reach_the_wave() -> None:
    wave = (0.1 * torch.randn(2, 1, 4000)).requires_grad_()
    LogMel(16000, n_fft=512, hop=256, bands=96)(wave).sum().backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_holds_no_weights() -> None:
    assert not LogMel(16000, n_fft=512, hop=256, bands=96).state_dict()


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="f_max_hz <= 8000, half the sample rate; came 0 and 11025"):
        LogMel(16000, n_fft=512, hop=256, bands=96, f_max_hz=11025)
    with pytest.raises(UserError, match="at least 1; came 16000, 512, 0, 96"):
        LogMel(16000, n_fft=512, hop=0, bands=96)
