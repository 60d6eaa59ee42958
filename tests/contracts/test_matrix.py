"""Everything with everything: each encoder takes a step of each method, is embedded, probed and searched.

Both families are walked: what is added to either falls under this file by existing. (ONNX: tests/test_export.py.)
"""

import numpy as np
import pytest
import torch
from test_encoders import ENCODERS, SMALL
from test_methods import METHODS, Six, needed

from ssl_music import audio, index
from ssl_music.catalogs import Folder, Table
from ssl_music.clips import Clips
from ssl_music.embed import embed
from ssl_music.encoders import parameter_count
from ssl_music.probe import probe

TRACKS = len(Six().tracks)
HZ = {"low": 150.0, "middle": 700.0, "high": 2900.0}


def make(name):
    torch.manual_seed(0)
    return ENCODERS[name](**SMALL.get(name, [{}])[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", [name for name in ENCODERS if parameter_count(make(name))])
def test_a_step_of_every_method_with_every_encoder(encoder, method):
    learner = METHODS[method](make(encoder), augment="light", **needed(METHODS[method]))
    learner.prepare(Six(), Six().tracks)
    learner.train()
    _, targets = learner.examples(Six(), Six().tracks)
    samples = learner.input_samples
    wave = 0.1 * torch.randn(learner.crops, TRACKS, 1, samples, generator=torch.Generator().manual_seed(1))
    clips = Clips(wave, torch.arange(TRACKS), None if targets is None else torch.from_numpy(targets))
    optimizer = learner.configure_optimizers()
    before = {name: weight.detach().clone() for name, weight in learner.encoder.named_parameters()}
    learner._seed("train", 0, 0)
    loss = learner.losses(clips)["loss"]
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    # a bias before a norm may stay where it is; every matrix moves
    moved = {name for name, weight in learner.encoder.named_parameters() if not torch.equal(weight, before[name])}
    assert {name for name, weight in before.items() if weight.dim() > 1} <= moved


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighteen tones with labels, in three splits."""
    root, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    lines = ["path,pitch,split"]
    for number in range(18):
        pitch, split = list(HZ)[number % 3], ("train", "train", "train", "train", "valid", "test")[number // 3]
        time = np.arange(round(1.4 * 8000)) / 8000
        wave = 0.3 * np.sin(2 * np.pi * HZ[pitch] * rng.uniform(0.95, 1.05) * time + rng.uniform(0, 6))
        wave += 0.01 * rng.standard_normal(len(time))
        audio.write(root / f"{number:02d}.wav", wave.astype(np.float32), 8000)
        lines.append(f"{number:02d}.wav,{pitch},{split}")
    (root / "tags.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_embedded_probed_and_searched(name, folder, tmp_path):
    assert len(Folder(folder).tracks) == 18
    encoder = make(name).eval()
    vectors = embed(Table(folder / "tags.csv"), encoder, tmp_path / "vectors", progress=False)
    assert vectors.pooled.shape == (18, encoder.embedding_dim)
    assert np.isfinite(vectors.pooled).all()
    assert len(np.unique(vectors.pooled.round(6), axis=0)) > 12  # a ReLU of five may let nothing through
    assert vectors.header["digest"] == encoder.digest()
    result = probe(vectors, "pitch", bootstrap=20)
    assert 0 <= result.metrics["accuracy"].value <= 1
    built = index.build(vectors, tmp_path / "index")
    hits = built.search(vectors.pooled[4], 3, digest=encoder.digest())
    assert len(hits) == 3
