"""The vectors of music as it is and as it was altered: embedded once, kept, gone on with after an interruption."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import numpy as np
from tqdm import tqdm

from ssl_music._files import slug
from ssl_music.audio import AudioError
from ssl_music.catalogs import Catalog, Track
from ssl_music.embed import embed
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.robustness.alterations import Alteration
from ssl_music.robustness.passages import Effect, altered
from ssl_music.vectors import Vectors


class Listening:
    """Encoders that hear a catalog, one store of vectors in `out` for each thing they hear, under one progress bar.

    A store is named by what it is of, so that nothing is heard twice: weights, alteration, strength, seed, tracks and
    the version of this package.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        catalog: Catalog,
        out: Path,
        *,
        seed: int,
        batch_size: int,
        device: str,
        tracks: int,
        progress: bool,
    ) -> None:
        self.encoders = encoders
        self.digests = {name: encoder.digest() for name, encoder in encoders.items()}
        self.catalog = catalog
        self.out = out
        self.seed = seed
        self.batch_size = batch_size
        self.device = device
        self.bar = tqdm(total=tracks, unit="track", desc="robustness", disable=None if progress else True)

    def clean(self, name: str, ids: Collection[str]) -> Vectors:
        """The tracks of these ids as they are."""
        return self._store(name, "clean", ids, lambda _: Effect())

    def altered(self, name: str, alteration: Alteration, strength: float, ids: Collection[str]) -> Vectors:
        """The tracks of these ids after an alteration; one that it cannot be done to is noted as a broken file is."""
        sample_rate = self.encoders[name].sample_rate

        def make(track: Track) -> Effect:
            return alteration.make(strength, sample_rate, f"{self.seed}\0{track.id}")

        return self._store(name, f"{alteration.name} {strength:g}", ids, make)

    def __enter__(self) -> "Listening":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def _store(self, name: str, what: str, ids: Collection[str], make: Callable[[Track], Effect]) -> Vectors:
        encoder = self.encoders[name]
        of = json.dumps([version("ssl-music"), what, self.seed, sorted(ids)])
        key = hashlib.sha256(of.encode(errors="surrogatepass")).hexdigest()[:8]
        self.bar.set_postfix_str(f"{name}: {what}")
        reached = self.bar.n + len(ids)

        def hear(track: Track, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            effect = make(track)
            try:
                yield from altered(
                    blocks, effect, sample_rate=encoder.sample_rate, least_samples=encoder.input_samples
                )
            except AudioError:
                raise
            except UserError as error:
                raise AudioError(track.path, str(error)) from error
            self.bar.update()

        vectors = embed(
            self.catalog,
            encoder,
            self.out / self.digests[name] / f"{slug(what)}-{key}",
            batch_size=self.batch_size,
            device=self.device,
            progress=False,
            only=set(ids),
            altered=hear,
        )
        self.bar.update(reached - self.bar.n)  # those that had been heard before, and broken ones
        return vectors


def check_made_before(clean: Mapping[str, Vectors], encoders: Mapping[str, Encoder], catalog: Catalog) -> None:
    """Raises UserError where a store is not of its encoder, of this catalog, or cut into chunks in another way."""
    for name, vectors in clean.items():
        if name not in encoders:
            raise unknown_name("encoder of vectors made before:", name, list(encoders))
        wanted = {
            "digest": encoders[name].digest(),
            "catalog_fingerprint": catalog.fingerprint(),
            "hop_samples": encoders[name].input_samples,
        }
        for fact, value in wanted.items():
            if vectors.header[fact] != value:
                raise UserError(
                    f"{vectors.root}: its {fact} is {vectors.header[fact]}, that of {name} is {value}; give the "
                    "vectors that ssl-music embed made of this catalog with these weights, or none"
                )
