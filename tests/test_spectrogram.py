"""The log-mel front end against torchaudio's, against a plain sum, and against physics."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music._torchaudio import torchaudio
from ssl_music.encoders.spectrogram import LogMel, log_mel
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


@pytest.mark.parametrize("scale", ["db", "log1p10k", "pcen"])
def test_one_exported_graph_serves_every_batch_and_length(scale: str) -> None:
    front = LogMel(16000, n_fft=512, hop=256, bands=96, scale=scale, spec_augment={}).eval()
    any_size = {"wave": {0: torch.export.Dim("batch"), 2: torch.export.Dim("samples", min=257)}}
    program = torch.export.export(front, (torch.rand(3, 1, 5000),), dynamic_shapes=any_size, strict=False).module()
    for shape in [(1, 1, 257), (9, 1, 12345), (2, 1, 300000)]:
        wave = 0.1 * torch.randn(shape)
        torch.testing.assert_close(program(wave), front(wave), rtol=1e-5, atol=1e-4)


def test_gradients_reach_the_wave() -> None:
    wave = (0.1 * torch.randn(2, 1, 4000)).requires_grad_()
    LogMel(16000, n_fft=512, hop=256, bands=96)(wave).sum().backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_holds_no_weights() -> None:
    for scale in ("db", "log1p10k", "pcen"):
        assert not LogMel(16000, n_fft=512, hop=256, bands=96, scale=scale, spec_augment={}).state_dict()


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("mel_norm", [None, "slaney"])
@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
def test_mel_scales_and_powers_agree_with_torchaudio(power: int, mel_norm: str | None, mel_scale: str) -> None:
    wave = 0.1 * torch.randn(2, 1, 8000, generator=torch.Generator().manual_seed(0))
    options = {"power": power, "mel_norm": mel_norm, "mel_scale": mel_scale}
    theirs = torchaudio.transforms.MelSpectrogram(
        16000, 512, hop_length=256, n_mels=64, power=power, norm=mel_norm, mel_scale=mel_scale
    )(wave)
    decibels = torchaudio.transforms.AmplitudeToDB("power" if power == 2 else "magnitude")(theirs)
    ours = LogMel(16000, n_fft=512, hop=256, bands=64, **options)(wave)
    torch.testing.assert_close(ours, decibels.clamp(min=-100), rtol=0, atol=1e-3)
    ours = LogMel(16000, n_fft=512, hop=256, bands=64, scale="log1p10k", **options)(wave)
    torch.testing.assert_close(ours, torch.log10(1 + 10000 * theirs), rtol=1e-5, atol=1e-5)


def test_slaney_filters_are_the_formula_of_librosa() -> None:
    """Slaney 1998: 200/3 Hz a mel up to 1 kHz, then 27 steps to 6.4 kHz; triangles of area 1 (in Hz)."""

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)

    top = 15 + math.log(8000 / 1000) / (math.log(6.4) / 27)
    corners = [hertz(top * i / 97) for i in range(98)]
    bins = np.arange(257) * 16000 / 512
    expected = np.stack(
        [
            np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)
            * (2 / (high - low))
            for low, centre, high in zip(corners, corners[1:], corners[2:], strict=False)
        ],
        axis=1,
    )
    ours = LogMel(16000, n_fft=512, hop=256, bands=96, mel_scale="slaney", mel_norm="slaney").filterbank
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", ["db", "log1p10k", "pcen"])
def test_every_scale_is_finite_from_silence_to_full_scale_with_finite_gradients(scale: str) -> None:
    for power in (1, 2):
        front = LogMel(16000, n_fft=512, hop=256, bands=96, scale=scale, power=power)
        wave = torch.zeros(3, 1, 40000)
        wave[1] = torch.sin(torch.arange(40000.0))
        wave[2, :, :9000] = torch.rand(9000) * 2 - 1  # noise, then digital silence
        image = front(wave.requires_grad_())
        image.sum().backward()
        assert image.isfinite().all()
        assert wave.grad is not None
        assert wave.grad.isfinite().all()


def test_masks_appear_in_training_only() -> None:
    front = LogMel(16000, n_fft=512, hop=256, bands=96, spec_augment={"time_masks": 1})
    plain = LogMel(16000, n_fft=512, hop=256, bands=96)
    wave = 0.1 * torch.randn(4, 1, 48000, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    assert not torch.equal(front(wave), plain(wave))
    assert torch.equal(front.eval()(wave), plain(wave))


def test_an_encoder_hands_further_arguments_on() -> None:
    front = log_mel(16000, {"mel_scale": "slaney", "scale": "pcen"}, n_fft=512, hop=256, bands=96)
    assert front.pcen is not None
    with pytest.raises(UserError, match="unknown setting of mel 'mel_scal'; did you mean 'mel_scale'"):
        log_mel(16000, {"mel_scal": "slaney"}, n_fft=512, hop=256, bands=96)
    with pytest.raises(UserError, match="bands is the encoder's own argument, not one of mel"):
        log_mel(16000, {"bands": 40}, n_fft=512, hop=256, bands=96)
    with pytest.raises(UserError, match="unknown setting of pcen 'alfa'; did you mean 'alpha'"):
        log_mel(16000, {"scale": "pcen", "pcen": {"alfa": 1}}, n_fft=512, hop=256, bands=96)


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="f_max_hz <= 8000, half the sample rate; came 0 and 11025"):
        LogMel(16000, n_fft=512, hop=256, bands=96, f_max_hz=11025)
    with pytest.raises(UserError, match="at least 1; came 16000, 512, 0, 96"):
        LogMel(16000, n_fft=512, hop=0, bands=96)
    wrong = {
        "unknown mel scale 'htc'; did you mean 'htk'": {"mel_scale": "htc"},
        "mel_norm is None or 'slaney', bands of equal area; came 'area'": {"mel_norm": "area"},
        "unknown scale of a spectrogram 'dB'. Known: db, log1p10k, pcen": {"scale": "dB"},
        "power is 2.*or 1.*came 3": {"power": 3},
        "read with scale 'pcen' only; came scale 'db'": {"pcen": {}},
    }
    for message, arguments in wrong.items():
        with pytest.raises(UserError, match=message):
            LogMel(16000, n_fft=512, hop=256, bands=96, **arguments)
