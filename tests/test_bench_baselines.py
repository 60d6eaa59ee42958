"""Baselines: fresh weights that the seed decides, norms that know the music, nothing else changed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from training_toy import RATE, Tones, tiny_encoder

from ssl_music import audio, pack
from ssl_music.bench.baselines import (
    BASELINES,
    CALIBRATION_BATCHES,
    TITLES,
    baseline_stores,
    calibrate,
    log_mel_like,
    mfcc_like,
    random_like,
    untrained,
)
from ssl_music.catalogs import Folder
from ssl_music.clips import ClipLoader
from ssl_music.encoders import Encoder, LogMelStatistics, MfccStatistics, SampleCNN
from ssl_music.errors import UserError


@pytest.fixture
def songs(tmp_path: Path) -> Folder:
    generator = np.random.default_rng(0)
    for number in range(24):
        wave = generator.standard_normal(RATE // 2) * generator.uniform(0.01, 0.3) + 0.1
        audio.write(tmp_path / "songs" / f"{number:02d}.wav", wave, RATE)
    return Folder(tmp_path / "songs")


def test_fresh_weights_are_of_the_seed_alone() -> None:
    torch.manual_seed(11)
    trained = tiny_encoder("batch")
    before, state = trained.digest(), torch.get_rng_state()
    fresh = random_like(trained, Tones(), seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert trained.digest() == before and fresh.facts() == trained.facts() and not fresh.training
    torch.manual_seed(12)
    assert random_like(trained, Tones(), seed=1).digest() == fresh.digest()
    assert random_like(trained, Tones(), seed=2).digest() != fresh.digest()
    weights = untrained(trained, seed=1).state_dict()  # calibration moves the statistics of norms and nothing else
    moved = {name for name, tensor in fresh.state_dict().items() if not torch.equal(tensor, weights[name])}
    assert moved and all("running" in name or "num_batches" in name for name in moved)


def test_norms_hold_the_plain_average_of_the_train_split() -> None:
    music, encoder = Tones(), untrained(tiny_encoder("batch"), seed=1)
    (first, *_) = [module for module in encoder.modules() if isinstance(module, _BatchNorm)]
    momentum, heard = first.momentum, []
    hook = first.register_forward_pre_hook(lambda _, waves: heard.append(waves[0].detach()))
    calibrate(encoder, music, batch_size=6, seed=5)
    hook.remove()
    assert first.momentum == momentum == 0.1
    assert len(heard) == min(CALIBRATION_BATCHES, 3)  # 18 tracks to train on: three batches an epoch
    means = torch.stack([wave.transpose(0, 1).flatten(1).mean(dim=1) for wave in heard]).mean(dim=0)
    variances = torch.stack([wave.transpose(0, 1).flatten(1).var(dim=1) for wave in heard]).mean(dim=0)
    torch.testing.assert_close(first.running_mean, means)
    torch.testing.assert_close(first.running_var, variances)


def test_what_is_heard_are_the_crops_of_the_train_split() -> None:
    music, encoder, heard = Tones(), tiny_encoder("batch"), []
    encoder.register_forward_pre_hook(lambda _, waves: heard.append(waves[0]))
    calibrate(encoder, music, batch_size=6, seed=5)
    assert not encoder.training
    clips = ClipLoader(music, np.arange(18), input_samples=encoder.input_samples, batch_size=6, seed=5)
    for wave, batch in zip(heard, clips, strict=True):
        assert torch.equal(wave, batch.float().view())


def test_a_network_without_batch_norms_is_left_alone() -> None:
    encoder = tiny_encoder("layer")
    before = encoder.digest()
    calibrate(encoder, Tones(), batch_size=6, seed=5)
    assert encoder.digest() == before


def test_dropout_in_calibration_leaves_the_global_random_state() -> None:
    class Dropping(SampleCNN):
        def forward(self, wave: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().forward(wave), 0.5, self.training)

    encoder = Dropping(width=4, depth=4, sample_rate=RATE)
    state = torch.get_rng_state()
    calibrate(encoder, Tones(), batch_size=6, seed=5)
    assert torch.equal(state, torch.get_rng_state())


def test_from_files_as_from_a_pack(songs: Folder, tmp_path: Path) -> None:
    packed = pack.pack(songs, tmp_path / "pack", sample_rate=RATE, progress=False)
    trained = tiny_encoder("batch")
    assert random_like(trained, songs, seed=1).digest() == random_like(trained, packed, seed=1).digest()


def test_a_catalog_without_the_split_is_an_error() -> None:
    with pytest.raises(UserError, match="no track is in the split 'training'"):
        random_like(tiny_encoder("batch"), Tones(), seed=1, split="training")


def test_statistics_hear_what_the_encoder_hears(songs: Folder, tmp_path: Path) -> None:
    encoder = SampleCNN(width=2, depth=6, norm="batch", sample_rate=RATE)
    statistics = log_mel_like(encoder)
    assert isinstance(statistics, LogMelStatistics) and isinstance(mfcc_like(encoder), MfccStatistics)
    assert (statistics.sample_rate, statistics.input_samples) == (RATE, encoder.input_samples)
    made: dict[str, Encoder] = {name: build(encoder, songs, 0) for name, build in BASELINES.items()}
    stores = baseline_stores(encoder, songs, tmp_path / "stores", progress=False)
    assert list(stores) == [TITLES[name] for name in BASELINES]
    for name, encoder_ in made.items():
        assert stores[TITLES[name]].header["digest"] == encoder_.digest()
        assert stores[TITLES[name]].root == tmp_path / "stores" / name
        assert len(stores[TITLES[name]]) == 24
    with pytest.raises(UserError, match="unknown baseline 'log-mel'"):
        baseline_stores(encoder, songs, tmp_path / "stores", names=["log-mel"])
