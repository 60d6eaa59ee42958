"""One hop of the pooling study: segments scored by a probe or a tagger's own head, and songs by each pooling."""

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_music import metrics
from ssl_music._files import replacing
from ssl_music.bench.asked import key_of
from ssl_music.errors import UserError
from ssl_music.probe import Predictions, fit
from ssl_music.probe.checks import told_before
from ssl_music.probe.fitted import predicted
from ssl_music.probe.task import Part, Task, build_task
from ssl_music.tagger import Tagger
from ssl_music.taggram import POOLINGS, learned, pool
from ssl_music.taggram.poolings import THRESHOLD
from ssl_music.vectors import Vectors

FORMAT = 1  #: of the predictions kept on disk; another number and they are made again

Scorer = Callable[[np.ndarray], np.ndarray]


class Hop:
    """What each pooling says of the songs of test, from one store of segment vectors; kept in `cache` as it comes.

    Segments are scored by a probe of `protocol` that is fitted on the segments of train, its settings chosen on
    valid; or by the head of `tagger`, where one is given. What is trained, here and in the trained poolings, sees
    train and stops or chooses by valid; nothing is fitted again on both, so that no pooling has more to learn from.
    """

    def __init__(
        self,
        vectors: Vectors,
        column: str,
        cache: Path,
        *,
        tagger: Tagger | None,
        protocol: str,
        splits: Mapping[str, str],
        drop: Sequence[str],
        shared_groups: str,
        seed: int,
    ) -> None:
        self.vectors = vectors
        self.column = column
        self.cache = cache
        self.tagger = tagger
        self.protocol = protocol
        self.splits = dict(splits)
        self.drop = list(drop)
        self.shared_groups = shared_groups
        self.seed = seed
        self._ready: tuple[Task, Scorer] | None = None

    def predictions(self, pooling: str) -> Predictions:
        """The songs of test as this pooling has them; from the cache where they were made before."""
        path = self.cache / f"{self._key(pooling)}.npz"
        kept = _read(path, self.column)
        if kept is None:
            kept = self._made(pooling)
            _write(path, kept)
        return kept

    def _made(self, pooling: str) -> Predictions:
        if self._ready is None:
            self._ready = self._prepared()
        task, score = self._ready
        test, multi_label = task.parts["test"], task.kind == "multi"
        if pooling in POOLINGS:
            limits = _thresholds(task, score) if pooling == "vote" and multi_label else THRESHOLD
            scores = pool(
                score(test.features), pooling, owners=test.owners, multi_label=multi_label, thresholds=limits
            )
        else:
            fold, held = ((_songs(task.parts[role]), task.parts[role].targets) for role in ("train", "valid"))
            # of what `learned.KINDS` has: checked before anything was embedded
            trained = learned.fit(fold, held, kind=pooling, multi_label=multi_label, seed=self.seed)  # type: ignore[arg-type]
            scores = trained(_songs(test))
        return predicted(task, self.vectors, test, scores)

    def _prepared(self) -> tuple[Task, Scorer]:
        """The tracks and tags that take part, with the segments of each; and what scores segments."""
        task = build_task(
            self.vectors,
            self.column,
            splits=self.splits,
            drop=self.drop,
            pool="scores",
            regression=False,
            shared_groups=self.shared_groups,
        )
        if self.tagger is not None:
            return task, own_head(self.tagger, task)
        with told_before():  # by `build_task`
            fitted = fit(
                self.vectors,
                self.column,
                protocol=self.protocol,
                pool="scores",
                train=self.splits["train"],
                valid=self.splits["valid"],
                test=self.splits["test"],
                seed=self.seed,
                drop=self.drop,
                refit=False,
                shared_groups=self.shared_groups,
            )
        return task, fitted.score

    def _key(self, pooling: str) -> str:
        header = self.vectors.header
        facts = {
            **{name: header[name] for name in ("digest", "hop_samples", "input_samples", "catalog_fingerprint")},
            "format": FORMAT,
            "column": self.column,
            "splits": self.splits,
            "drop": sorted(self.drop),
            "shared_groups": self.shared_groups,  # what is refused is not made up for by what was kept
            "pooling": pooling,
            "scorer": None if pooling not in POOLINGS else self.tagger.digest() if self.tagger else self.protocol,
            "seed": self.seed,
        }
        return key_of(facts)


def _thresholds(task: Task, score: Scorer) -> np.ndarray:
    """From which a segment votes for each tag: of the highest F1 over the segments of valid. Shape: (K,)."""
    valid = task.parts["valid"]
    found = metrics.thresholds_for_f_beta(valid.targets[valid.owners], score(valid.features))
    blind = [tag for tag, threshold in zip(task.tags, found, strict=True) if np.isnan(threshold)]
    if blind:
        warnings.warn(
            f"{task.column}: valid says no threshold of these tags, whose votes count from {THRESHOLD}: "
            f"{', '.join(blind)}",
            stacklevel=2,
        )
    return np.where(np.isnan(found), THRESHOLD, found)


def _songs(part: Part) -> list[np.ndarray]:
    """The segments of each track. Shape: N times (n_i, D)."""
    return np.split(part.features, np.flatnonzero(np.diff(part.owners)) + 1)


def own_head(tagger: Tagger, task: Task) -> Scorer:
    """The tagger's own probabilities of the column's tags, which it has to know by name."""
    missing = [tag for tag in task.tags if tag not in tagger.tags]
    if missing:
        raise UserError(
            f"the tagger knows {', '.join(tagger.tags[:5])} …, but not {len(missing)} of the {len(task.tags)} tags "
            f"of {task.column!r}: {', '.join(missing[:5])}; drop these, take another column, or the scorer probe"
        )
    columns = [tagger.tags.index(tag) for tag in task.tags]
    head = tagger.cpu().eval().head

    def score(features: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = head(torch.from_numpy(np.asarray(features, np.float32)))
            return tagger.squashed(logits).double().numpy()[:, columns]

    return score


def _read(path: Path, column: str) -> Predictions | None:
    try:
        with np.load(path, allow_pickle=False) as held:
            known: dict[str, Any] = {name: held[name] for name in held.files}
        tags, ids, groups = (known[name].tolist() for name in ("tags", "ids", "groups"))
        return Predictions(column, str(known["kind"]), tags, ids, groups, known["targets"], known["scores"])  # type: ignore[arg-type]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):  # not there, or damaged: made again
        return None


def _write(path: Path, made: Predictions) -> None:
    kind, tags, ids, groups = (np.array(names, np.str_) for names in (made.kind, made.tags, made.ids, made.groups))
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, kind=kind, tags=tags, ids=ids, groups=groups, targets=made.targets, scores=made.scores)
