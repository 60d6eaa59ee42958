"""The study of poolings: its scores from the parts, its differences draw by draw, what it keeps, what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from ssl_music import audio, checkpoint, cli, metrics
from ssl_music._records import read_record
from ssl_music.bench import segments
from ssl_music.bench.pooling import ALL, PoolingStudy, pooling_study
from ssl_music.catalogs import Catalog, Track
from ssl_music.embed import tag_files
from ssl_music.encoders import LogMelStatistics
from ssl_music.errors import UserError
from ssl_music.probe import fit
from ssl_music.tagger import Tagger
from ssl_music.taggram import learned, pool
from ssl_music.vectors import Vectors

RATE, WINDOW = 8000, 2000
KINDS = ("high", "low", "middle")
FAST = ("vote", "softmax", "max")


class Songs(Catalog):
    """Sixty songs of 1.5 s: tones of their kind in some windows, of any kind in the others, in noise."""

    columns: ClassVar = {"kind": False, "traits": True}
    split_name = "toy"

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        time = np.arange(WINDOW) / RATE
        self._tracks = []
        for number in range(60):
            kind = KINDS[number % 3]
            tones = [kind if rng.uniform() < 0.5 else KINDS[rng.integers(3)] for _ in range(6)]
            hz = [{"low": 200, "middle": 600, "high": 1800}[tone] * rng.uniform(0.9, 1.1) for tone in tones]
            wave = np.concatenate([0.2 * np.sin(2 * np.pi * one * time) for one in hz])
            path = folder / f"{number:02d}.wav"
            audio.write(path, (wave + 0.1 * rng.standard_normal(len(wave))).astype(np.float32), RATE)
            split = ("train", "train", "train", "valid", "test")[number // 3 % 5]
            labels = {"kind": (kind,), "traits": tuple(sorted({tones[0], kind}))}
            # two takes of each song of test are one group
            group = f"{kind} {number // 30}" if split == "test" else ""
            self._tracks.append(Track(path.name, path, split=split, labels=labels, group=group))
        # without labels: no part of it, and not heard
        self._tracks.append(Track("none.wav", folder / "none.wav", split="test"))

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Songs:
    return Songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def encoder() -> LogMelStatistics:
    return LogMelStatistics(bands=8, sample_rate=RATE, input_samples=WINDOW, n_fft=256, hop=128)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trained poolings that are hardly trained: what is tested here is what becomes of them."""
    monkeypatch.setattr(learned, "EPOCHS", 2)
    yield


def study(songs: Songs, model: Any, out: Path, column: str = "kind", **options: Any) -> PoolingStudy:
    return pooling_study(songs, model, out, column=column, bootstrap=100, progress=False, **options)


def stored(out: Path, hop: str = "0.25") -> Vectors:
    (root,) = (out / "vectors").glob(f"hop_{hop}s_*")
    return Vectors(root)


def segments_of(vectors: Vectors, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = vectors.split(split)
    ranges = [vectors.chunk_range(row) for row in rows]
    features = np.concatenate([vectors.chunks[first:behind] for first, behind in ranges])
    return features, np.repeat(np.arange(len(rows)), [behind - first for first, behind in ranges]), rows


def test_every_score_is_that_of_its_parts(songs: Songs, encoder: LogMelStatistics, tmp_path: Path) -> None:
    found = study(songs, encoder, tmp_path, poolings=FAST)
    assert found.poolings == ["mean", *FAST] and found.hops_seconds == [0.25, 0.125]
    assert (found.metric, found.tracks, found.unit, found.units) == ("balanced_accuracy", 12, "groups", 6)
    assert found.segments == [72, 132]
    for place, hop in enumerate(("0.25", "0.125")):
        vectors = stored(tmp_path, hop)
        assert len(vectors) == 60  # what has no label is not heard
        fitted = fit(vectors, "kind", pool="scores", refit=False)
        features, owners, rows = segments_of(vectors, "test")
        truth = vectors.targets(rows, "kind")
        for pooling in found.poolings:
            scores = pool(fitted.score(features), pooling, owners=owners, multi_label=False)
            wanted = metrics.balanced_accuracy(truth.argmax(axis=1), scores.argmax(axis=1))
            assert found.tables["balanced_accuracy"][pooling][place].value == pytest.approx(float(wanted))
            wanted = metrics.macro(metrics.average_precision(truth, scores)).value
            assert found.tables["pr_auc"][pooling][place].value == pytest.approx(wanted)


def test_differences_to_the_mean_are_draw_by_draw(songs: Songs, encoder: LogMelStatistics, tmp_path: Path) -> None:
    found = study(songs, encoder, tmp_path, poolings=["max"], hops_seconds=[0.25])
    vectors = stored(tmp_path)
    features, owners, rows = segments_of(vectors, "test")
    truth, segment_scores = (
        vectors.targets(rows, "kind"),
        fit(vectors, "kind", pool="scores", refit=False).score(features),
    )
    a, b = (pool(segment_scores, name, owners=owners, multi_label=False) for name in ("max", "mean"))
    weights = metrics.bootstrap_weights([vectors.rows[row].group for row in rows], draws=100, seed=0)
    draws = [metrics.macro_draws(metrics.roc_auc(truth, scores, weights=weights)) for scores in (a, b)]
    low, high = np.nanquantile(draws[0] - draws[1], [0.025, 0.975])
    ((value, *bounds),) = found.differences["roc_auc"]["max"]
    table = found.tables["roc_auc"]
    assert value == pytest.approx(table["max"][0].value - table["mean"][0].value)
    assert bounds == pytest.approx([low, high])


def test_votes_of_several_tags_count_from_thresholds_chosen_on_valid(
    songs: Songs, encoder: LogMelStatistics, tmp_path: Path
) -> None:
    found = study(songs, encoder, tmp_path, "traits", poolings=["vote"], hops_seconds=[0.25])
    assert found.task == "multi" and found.metric == "pr_auc" and set(found.tables) == {"pr_auc", "roc_auc"}
    vectors = stored(tmp_path)
    fitted = fit(vectors, "traits", pool="scores", refit=False)
    features, owners, rows = segments_of(vectors, "valid")
    limits = metrics.thresholds_for_f_beta(vectors.targets(rows, "traits")[owners], fitted.score(features))
    features, owners, rows = segments_of(vectors, "test")
    shares = np.array([(fitted.score(features)[owners == n] >= limits).mean(axis=0) for n in range(len(rows))])
    wanted = metrics.macro(metrics.average_precision(vectors.targets(rows, "traits"), shares)).value
    assert found.tables["pr_auc"]["vote"][0].value == pytest.approx(wanted)


@pytest.mark.usefixtures("quick")
def test_a_second_run_makes_nothing_again(
    songs: Songs, encoder: LogMelStatistics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study(songs, encoder, tmp_path, hops_seconds=[0.25])
    assert first.poolings == list(ALL)
    first.save(tmp_path / "a.json")

    def again(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    with monkeypatch.context() as patched:
        patched.setattr(segments, "fit", again)
        patched.setattr(segments, "build_task", again)
        patched.setattr(LogMelStatistics, "forward", again)
        study(songs, encoder, tmp_path, hops_seconds=[0.25]).save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    # one that was lost or damaged is made again, to the same number
    for number, path in enumerate(sorted((tmp_path / "predictions").iterdir())):
        if number % 2:
            path.write_bytes(b"half")
        else:
            path.unlink()
    study(songs, encoder, tmp_path, hops_seconds=[0.25]).save(tmp_path / "c.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "c.json").read_bytes()


def test_the_head_of_a_tagger_scores_segments_as_tagging_does(
    songs: Songs, encoder: LogMelStatistics, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    # more tags than the column has, in another order
    tagger = Tagger(encoder, ["middle", "noise", "low", "high"], column="kind", multi_label=False).eval()
    found = study(songs, tagger, tmp_path, poolings=["max"], scorer="tagger", hops_seconds=[0.125])
    assert found.scorer == "tagger" and "the tagger's own head" in str(found)
    tracks = songs.labelled(songs.split("test"), "kind")
    for pooling in ("mean", "max"):
        files = [track.path for track in tracks]
        told = dict(tag_files(files, tagger, pooling=pooling, hop_seconds=0.125, progress=False))
        scores = np.array([told[file] for file in files])[:, [3, 2, 0]]
        wanted = metrics.macro(metrics.roc_auc(songs.targets(tracks, "kind"), scores)).value
        assert found.tables["roc_auc"][pooling][0].value == pytest.approx(wanted)


def test_what_cannot_be_compared_is_refused(songs: Songs, encoder: LogMelStatistics, tmp_path: Path) -> None:
    for options, message in (
        ({"poolings": ["median"]}, "unknown pooling 'median'"),
        ({"protocol": "liner"}, "did you mean 'linear'"),
        ({"scorer": "tagger"}, "give the .safetensors of a tagger"),
        ({"hops_seconds": []}, "no hop to compare"),
        ({"hops_seconds": [0.0]}, "hop_seconds 0.0"),
    ):
        with pytest.raises(UserError, match=message):
            study(songs, encoder, tmp_path / "a", **options)
    tagger = Tagger(encoder, ["high", "loud"], column="kind", multi_label=False)
    with pytest.raises(UserError, match="not 2 of the 3 tags of 'kind': low, middle"):
        study(songs, tagger, tmp_path / "b", scorer="tagger")
    leaking = Songs(songs.tracks[0].path.parent)
    leaking._tracks = [Track(t.id, t.path, split=t.split, labels=t.labels, group=t.id[:1]) for t in leaking.tracks]
    with pytest.raises(UserError, match="groups have tracks in"):
        study(leaking, encoder, tmp_path / "c", poolings=["mean"])
    # what was allowed once, and kept, is refused all the same
    with pytest.warns(UserWarning, match="groups have tracks in"):
        study(leaking, encoder, tmp_path / "c", poolings=["mean"], shared_groups="allow", hops_seconds=[0.25])
    with pytest.raises(UserError, match="groups have tracks in"):
        study(leaking, encoder, tmp_path / "c", poolings=["mean"], hops_seconds=[0.25])


@pytest.mark.usefixtures("quick")
def test_the_command(
    songs: Songs, encoder: LogMelStatistics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path / "encoder.safetensors", encoder, provenance={})
    lines = [f"{t.id},{t.labels['kind'][0]},{t.split}" for t in songs.tracks if t.labels]
    (tmp_path / "t.csv").write_text("\n".join(["path,kind,split", *lines]))
    words = ["bench", "pooling", "--checkpoint", str(tmp_path / "encoder.safetensors"), "--bootstrap", "50"]
    words += ["--catalog.root", str(songs.tracks[0].path.parent), "--catalog.labels", str(tmp_path / "t.csv")]
    words += ["--hops_seconds", "[0.25]", "--poolings", "[vote, gated]", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "less the mean" in told and "mean .448, vote .41" in told and "12 tracks of 'test' of 72 segments" in told
    record = read_record(tmp_path / "out" / "pooling.json")
    assert record.kind == "pooling" and record.facts["poolings"] == ["mean", "vote", "gated"]
    assert record.facts["table"] == record.facts["tables"]["balanced_accuracy"]
    (mean,) = record.facts["table"]["mean"]
    assert mean[1] <= mean[0] <= mean[2] and f"{mean[0]:.3f} [" in told
