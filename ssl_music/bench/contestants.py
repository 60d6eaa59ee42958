"""The encoders of a bench: which file or baseline each name stands for, looked at before any of the work begins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ssl_music import export
from ssl_music.bench.baselines import log_mel_like, mfcc_like, random_like
from ssl_music.catalogs import Catalog
from ssl_music.encoders import Encoder, LogMelStatistics
from ssl_music.errors import UserError
from ssl_music.pack import Pack

#: what stands before the file whose network is taken with fresh weights
FRESH = "random:"
STATISTICS = {"logmel": log_mel_like, "mfcc": mfcc_like}
ENDINGS = (".safetensors", ".onnx")


@dataclass(frozen=True)
class Contestant:
    """An encoder by its name in tables. It is loaded when it is its turn, so that a hundred need no more memory."""

    name: str
    digest: str  #: of the weights; of the trained ones where fresh weights are taken in their place
    class_path: str
    sample_rate: int
    input_samples: int
    weights: str  #: the file, where there is one
    run: str  #: the folder of its training, where the file lies in one
    fresh: bool  #: random weights, with batch norms that know the catalog
    trainable: bool
    make: Callable[[Catalog], Encoder]

    def identity(self, catalog: Catalog, seed: int) -> str:
        """What its vectors of a catalog depend on."""
        return f"{self.digest} fresh {seed} {catalog.fingerprint()}" if self.fresh else self.digest


def contestants(
    encoders: Mapping[str, str | Path | Encoder], catalogs: Sequence[Catalog], *, seed: int
) -> list[Contestant]:
    """Every encoder loaded once and looked at; UserError names the one that cannot take part, and why.

    A value is a .safetensors or .onnx file, `random:FILE` (its network with fresh weights), `logmel`, `mfcc`, or an
    encoder. The statistics hear at the rate and clip length of the first encoder that is none of these two.
    """
    if not encoders:
        raise UserError("no encoders; give their names and files, such as {clmr: runs/clmr/encoder.safetensors}")
    found: dict[str, Contestant] = {}
    # the statistics last: they hear as the others do
    for name, value in sorted(encoders.items(), key=lambda one: _is_statistics(one[1])):
        try:
            if _is_statistics(value):
                found[name] = _given(name, STATISTICS[str(value)](_shape(list(found.values()), catalogs)))
            else:
                found[name] = _of_weights(name, value, seed)
        except UserError as error:
            raise UserError(f"encoder {name!r}: {error}") from error
    for name in encoders:
        _check_rate(found[name], catalogs)
    return [found[name] for name in encoders]


def _is_statistics(value: str | Path | Encoder) -> bool:
    return isinstance(value, str) and value in STATISTICS


def _of_weights(name: str, value: str | Path | Encoder, seed: int) -> Contestant:
    if isinstance(value, Encoder):
        return _given(name, value)
    fresh = str(value).startswith(FRESH)
    file = str(value).removeprefix(FRESH)
    if Path(file).suffix not in ENDINGS:
        choices = ", ".join((*STATISTICS, f"{FRESH}FILE"))
        raise UserError(f"{file}: no encoder; give a {' or '.join(ENDINGS)} file, or one of {choices}")
    encoder = export.encoder_in(file)
    if fresh and isinstance(encoder, export.OnnxEncoder):
        raise UserError(f"{file}: fresh weights need the network itself; give the .safetensors file")
    make = partial(_fresh, file, seed) if fresh else partial(_loaded, file)
    return _contestant(name, encoder, file=file, fresh=fresh, make=make)


def _given(name: str, encoder: Encoder) -> Contestant:
    return _contestant(name, encoder, make=lambda _: encoder)


def _loaded(file: str, _: Catalog) -> Encoder:
    return export.encoder_in(file)


def _fresh(file: str, seed: int, catalog: Catalog) -> Encoder:
    return random_like(export.encoder_in(file), catalog, seed=seed)


def _contestant(
    name: str, encoder: Encoder, *, make: Callable[[Catalog], Encoder], file: str = "", fresh: bool = False
) -> Contestant:
    folder = Path(file).parent
    return Contestant(
        name=name,
        digest=encoder.digest(),
        class_path=encoder.facts()["class_path"],
        sample_rate=encoder.sample_rate,
        input_samples=encoder.input_samples,
        weights=file,
        run=str(folder) if file and not fresh and (folder / "run.json").is_file() else "",
        fresh=fresh,
        trainable=not isinstance(encoder, export.OnnxEncoder),
        make=make,
    )


def _shape(found: Sequence[Contestant], catalogs: Sequence[Catalog]) -> Encoder:
    """Whose rate and clip length the statistics take."""
    if found:
        return LogMelStatistics(sample_rate=found[0].sample_rate, input_samples=found[0].input_samples)
    packs = [catalog for catalog in catalogs if isinstance(catalog, Pack)]
    return LogMelStatistics(sample_rate=packs[0].sample_rate) if packs else LogMelStatistics()


def _check_rate(one: Contestant, catalogs: Sequence[Catalog]) -> None:
    for catalog in catalogs:
        if isinstance(catalog, Pack) and catalog.sample_rate != one.sample_rate:
            raise UserError(
                f"encoder {one.name!r} wants {one.sample_rate} Hz, and {catalog.root} is packed at "
                f"{catalog.sample_rate} Hz; pack again with --sample_rate {one.sample_rate}, or give the catalog of "
                "the files"
            )
