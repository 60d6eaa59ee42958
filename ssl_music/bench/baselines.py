"""What a trained encoder is held against: the same network untrained, and statistics that need no learning."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_music.catalogs import Catalog
from ssl_music.clips import ClipLoader, waves
from ssl_music.embed import embed
from ssl_music.encoders import Encoder, LogMelStatistics, MfccStatistics
from ssl_music.errors import UserError, unknown_name
from ssl_music.export import OnnxEncoder
from ssl_music.vectors import Vectors

CALIBRATION_BATCHES = 10  # enough for a mean and a variance
BATCH_SIZE = 32


def random_like(encoder: Encoder, catalog: Catalog, *, seed: int, split: str = "train") -> Encoder:
    """The network of `encoder` with fresh weights from `seed`; its batch norms know the music of `split`.

    Without that it would be a straw man: norms at their initial statistics leave most networks nearly constant. The
    global random state is left as it was.

    >>> import tempfile
    >>> from ssl_music import audio
    >>> from ssl_music.catalogs import Folder
    >>> from ssl_music.encoders import SampleCNN
    >>> folder = Path(tempfile.mkdtemp())
    >>> for number in range(20):
    ...     audio.write(folder / f"{number}.wav", np.random.default_rng(number).uniform(-0.5, 0.5, 4000), 8000)
    >>> music, trained = Folder(folder), SampleCNN(width=2, depth=4, sample_rate=8000)
    >>> fresh = random_like(trained, music, seed=1)
    >>> fresh.facts() == trained.facts(), fresh.digest() == trained.digest()
    (True, False)
    >>> random_like(trained, music, seed=1).digest() == fresh.digest()
    True
    """
    fresh = untrained(encoder, seed=seed)
    calibrate(fresh, catalog, batch_size=BATCH_SIZE, seed=seed, split=split)
    return fresh.eval()


def untrained(encoder: Encoder, *, seed: int) -> Encoder:
    """The same class with the same arguments, and fresh weights from `seed`.

    >>> from ssl_music.encoders import SampleCNN
    >>> untrained(SampleCNN(width=2), seed=1).digest() == untrained(SampleCNN(width=2), seed=1).digest()
    True
    """
    if isinstance(encoder, OnnxEncoder):
        raise UserError("fresh weights need the network itself, not an .onnx file; give the .safetensors file")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(encoder)(**encoder.spec())


def calibrate(encoder: Encoder, catalog: Catalog, *, batch_size: int, seed: int, split: str = "train") -> None:
    """Sets the running statistics of batch norms to those of a split, as training would have done.

    They become plain averages over at most ten batches of random crops. The global random state is left as it was.
    """
    norms = [layer for layer in encoder.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not norms:
        return
    rows = np.array([row for row, track in enumerate(catalog.tracks) if split in ("all", track.split)], np.int64)
    if not len(rows):
        raise UserError(
            f"no track is in the split {split!r}, from whose music the statistics of batch norms are taken; name "
            "another split, or give the catalog one"
        )
    clips = ClipLoader(
        waves(catalog, encoder.sample_rate),
        rows,
        input_samples=encoder.input_samples,
        batch_size=min(batch_size, len(rows)),
        seed=seed,
    )
    momenta = [norm.momentum for norm in norms]
    encoder.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)  # of dropout, where there is any
        for _, batch in zip(range(CALIBRATION_BATCHES), clips, strict=False):
            encoder(batch.float().view())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()


def log_mel_like(encoder: Encoder) -> LogMelStatistics:
    """Log-mel statistics at the rate and clip length of `encoder`."""
    return LogMelStatistics(sample_rate=encoder.sample_rate, input_samples=encoder.input_samples)


def mfcc_like(encoder: Encoder) -> MfccStatistics:
    """MFCC statistics at the rate and clip length of `encoder`."""
    return MfccStatistics(sample_rate=encoder.sample_rate, input_samples=encoder.input_samples)


#: what to hold an encoder against: short name → how to make it from the encoder, a catalog and a seed
BASELINES: Mapping[str, Callable[[Encoder, Catalog, int], Encoder]] = {
    "random": lambda encoder, catalog, seed: random_like(encoder, catalog, seed=seed),
    "logmel": lambda encoder, catalog, seed: log_mel_like(encoder),
    "mfcc": lambda encoder, catalog, seed: mfcc_like(encoder),
}
#: their names in tables
TITLES = {"random": "random initialisation", "logmel": "log-mel statistics", "mfcc": "MFCC statistics"}


def baseline_stores(
    encoder: Encoder,
    catalog: Catalog,
    out: Path | str,
    *,
    names: Sequence[str] = tuple(BASELINES),
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Vectors]:
    """Embeds `catalog` with the named baselines of `encoder`: name in tables → store in `out`/name.

    What is embedded already is not embedded again; an interrupted run goes on.
    """
    for name in names:
        if name not in BASELINES:
            raise unknown_name("baseline", name, list(BASELINES))
    stores = {}
    for name in names:
        made = BASELINES[name](encoder, catalog, seed)
        stores[TITLES[name]] = embed(
            catalog, made, Path(out) / name, batch_size=batch_size, device=device, progress=progress
        )
    return stores
