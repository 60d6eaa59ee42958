"""Collaborative: factors from tables and from counts, the regression, and every table that cannot be used."""

import builtins
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from training_toy import Tones, tiny_encoder

from ssl_music import checkpoint
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder, ShortChunk
from ssl_music.errors import UserError
from ssl_music.methods import Collaborative
from ssl_music.methods.parts.factors import compute_factors, read_factors
from ssl_music.methods.train import train


def listening(file: Path, *, tracks: list[str], users: int = 40, border: int | None = None) -> Path:
    """Two tastes: half of the users hear nearly only the tracks before `border`, the others the rest."""
    rng = np.random.default_rng(0)
    tastes = np.split(np.arange(len(tracks)), [border or len(tracks) // 2])
    lines = ["user,track,count"]
    for user in range(users):
        own = tastes[user % 2]
        heard = set(rng.choice(own, len(own) // 2, replace=False)) | {int(rng.integers(len(tracks)))}
        lines += [f"u{user},{tracks[at]},{rng.integers(1, 30) if at in own else 1}" for at in sorted(heard)]
    file.write_text("\n".join(lines) + "\n")
    return file


def factor_table(file: Path, ids: list[str], dim: int = 3) -> Path:
    numbers = np.random.default_rng(1).normal(2, [1, 10, 0.1][:dim], (len(ids), dim))
    rows = [",".join([name, *map(repr, map(float, row))]) for name, row in zip(ids, numbers, strict=True)]
    file.write_text("\n".join([",".join(["track", *"abc"[:dim]]), *rows]) + "\n")
    return file


def test_two_tastes_are_two_directions(tmp_path: Path) -> None:
    tracks = [f"t{number:02d}" for number in range(40)]
    factors = compute_factors(listening(tmp_path / "counts.csv", tracks=tracks, users=100), 2)
    assert sorted(factors) == tracks
    rows = np.stack([factors[track] for track in tracks])
    assert rows.shape == (40, 2) and rows.dtype == np.float32
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity, first = unit @ unit.T, np.arange(40) < 20
    same = first[:, None] == first
    np.fill_diagonal(similarity, np.nan)
    assert np.nanmean(similarity[same]) > 0.9 and np.nanmean(similarity[~same]) < 0.3
    assert (first[np.nanargmax(similarity, axis=1)] == first).all()


def test_factors_solve_the_weighted_least_squares(tmp_path: Path) -> None:
    """Hu et al.: one side given the other: y = (XᵀCX + λI)⁻¹ XᵀCp with C = 1 + 2 log(1 + r / 1e-6)."""
    file = listening(tmp_path / "counts.csv", tracks=[f"t{number}" for number in range(12)], users=15)
    found = compute_factors(file, 3)
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    users, tracks = sorted({row[0] for row in rows}), sorted(found)
    heard = np.zeros((len(users), len(tracks)))
    for user, track, count in rows:
        heard[users.index(user), tracks.index(track)] += float(count)
    confidence, preference = 1 + 2 * np.log(1 + heard / 1e-6), heard > 0
    items = np.stack([found[track] for track in tracks]).astype(np.float64)

    def solved(given: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        ridge = 0.01 * np.eye(given.shape[1])
        left = np.einsum("nd,un,ne->ude", given, weights, given) + ridge
        return np.linalg.solve(left, np.einsum("nd,un,un->ud", given, weights, wanted)[..., None])[..., 0]

    def cost(items: np.ndarray) -> float:
        people = solved(items, confidence, preference)
        error = (confidence * (preference - people @ items.T) ** 2).sum()
        return float(error + 0.01 * ((people**2).sum() + (items**2).sum()))

    people = solved(items, confidence, preference)
    further = solved(people, confidence.T, preference.T)
    assert cost(further) <= cost(items) < 1.05 * cost(further)
    rng = np.random.default_rng(0)
    assert cost(items) < 0.5 * min(cost(rng.normal(0, 0.3, items.shape)) for _ in range(5))


def test_counts_give_the_same_factors_each_time_and_twice_a_pair_is_added_up(tmp_path: Path) -> None:
    file = listening(tmp_path / "counts.csv", tracks=[f"t{number}" for number in range(12)])
    first, again = compute_factors(file, 5), compute_factors(file, 5)
    assert all(np.array_equal(first[track], again[track]) for track in first)
    header, *rows = file.read_text().splitlines()
    parts = [line.rsplit(",", 1) for line in rows]
    halves = [f"{name},{float(count) / 2}" for name, count in parts]
    file.write_text("\n".join([header, *halves, "u0,unheard,0", *halves]) + "\n")
    added = compute_factors(file, 5)
    assert sorted(added) == sorted(first)
    assert all(np.allclose(first[track], added[track], atol=1e-6) for track in first)


def test_factors_from_a_parquet_file_with_lists(tmp_path: Path) -> None:
    table = pyarrow.table({"track": ["a", "b"], "taste": [[0.5, -1.0], [0.0, 2.0]], "popularity": [3, 4]})
    parquet.write_table(table, tmp_path / "factors.parquet")
    found = read_factors(tmp_path / "factors.parquet")
    assert found["a"].tolist() == [0.5, -1.0, 3.0] and found["b"].tolist() == [0.0, 2.0, 4.0]


def test_the_loss_is_the_mean_squared_error_over_the_variance(tmp_path: Path) -> None:
    music = Tones()
    ids = [track.id for track in music.tracks if track.id != "003"]
    method = Collaborative(tiny_encoder(), factors=factor_table(tmp_path / "factors.csv", [*ids, "elsewhere"]))
    tracks, targets = method.examples(music, music.split("train"))
    assert len(tracks) == 17 and "003" not in {track.id for track in tracks} and targets is not None
    method.prepare(music, tracks)
    method.double().eval()
    wave = torch.from_numpy(music.gather(np.arange(17), np.zeros(17, int), 243))[None, :, None].double() / 32768
    clips = Clips(wave, torch.arange(17), torch.from_numpy(targets))
    wanted = targets.astype(np.float64)
    wanted = (wanted - wanted.mean(axis=0)) / np.sqrt(((wanted - wanted.mean(axis=0)) ** 2).mean())
    predicted = method.head(method.encoder(wave[0])).detach().numpy()
    total = sum((predicted[i, k] - wanted[i, k]) ** 2 for i in range(17) for k in range(3))
    assert method.losses(clips)["loss"].item() == pytest.approx(total / 51, rel=1e-6)
    # the mean of each factor, whatever is heard, costs 1
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.zero_()
    guess = method.losses(clips)
    assert guess["loss"].item() == pytest.approx(1, abs=1e-6) == guess["loss_over_trivial"].item()


def test_learns_taste_from_sound(tmp_path: Path) -> None:
    """Listeners of low tones and listeners of others: the encoder foretells who likes a track it never heard."""
    music = Tones(train=24, valid=12)
    ids = [track.id for track in sorted(music.tracks, key=lambda track: track.labels["pitch"] != ("low",))]
    counts = listening(tmp_path / "counts.csv", tracks=ids, users=200, border=12)
    torch.manual_seed(0)
    encoder = ShortChunk(width=4, depth=3, bands=32, sample_rate=music.sample_rate, input_samples=2048)
    method = Collaborative(encoder, counts=counts, dim=2, learning_rate=1e-2)
    options = {"accelerator": "cpu", "max_epochs": 20}
    weights = train(method, music, out=tmp_path / "run", batch_size=12, trainer_options=options)
    assert weights.name == "encoder.safetensors" and isinstance(checkpoint.load(weights), Encoder)
    lines = [line.split(",") for line in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    place = lines[0].index("valid/loss_over_trivial")
    valid = [float(line[place]) for line in lines[1:] if line[place]]
    assert min(valid) < 0.7 < valid[0]


def test_a_run_does_not_go_on_with_other_factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    music = Tones()
    file = factor_table(tmp_path / "factors.csv", [track.id for track in music.tracks])

    def go() -> Path:
        options = {"accelerator": "cpu", "max_epochs": 2}
        method = Collaborative(tiny_encoder(), factors=file)
        return train(method, music, out=tmp_path / "run", batch_size=6, trainer_options=options)

    def stop(self) -> None:
        if self.current_epoch:
            raise RuntimeError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Collaborative, "on_train_epoch_start", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            go()
    before = file.read_text()
    file.write_text(before.replace("\n000,", "\n000,1"))
    with pytest.raises(UserError, match=r"the factors of .*factors.csv have changed since this run began"):
        go()
    file.write_text(before)
    assert go().exists()


@pytest.mark.parametrize(
    "table, wanted",
    [
        ("id,a\nx,1\n", "unknown column 'track'"),
        ("track\nx\n", "no column beside 'track'"),
        ("track,a\nx,1\nx,2\n", "more than one row for the track 'x'"),
        ("track,a\nx,much\n", "'a' of 'x' is 'much'; wanted a number"),
        ("track,a\nx,\n", "'a' of 'x' is ''; wanted a number"),
        ("track,a\nx,inf\n", "wanted a number"),
        ("track,a\n", "the table has no rows"),
    ],
)
def test_tables_of_factors_that_cannot_be_used(table: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "factors.csv").write_text(table)
    with pytest.raises(UserError, match=wanted):
        read_factors(tmp_path / "factors.csv")


@pytest.mark.parametrize(
    "table, dim, wanted",
    [
        ("user,track\nu,x\n", 1, "unknown column 'count'"),
        ("user,track,count\nu,x,-1\n", 1, "'u' listened to 'x' -1 times"),
        ("user,track,count\nu,x,often\n", 1, "'count' of 'u' and 'x' is 'often'"),
        ("user,track,count\nu,x,1\nv,x,2\n", 2, "2 factors of 2 users and 1 tracks"),
        ("user,track,count\nu,x,0\n", 1, "1 factors of 0 users and 0 tracks"),
    ],
)
def test_tables_of_counts_that_cannot_be_used(table: str, dim: int, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text(table)
    with pytest.raises(UserError, match=wanted):
        compute_factors(tmp_path / "counts.csv", dim)


def test_arguments_and_ids_that_do_not_fit_are_said(tmp_path: Path) -> None:
    music, encoder = Tones(), tiny_encoder()
    with pytest.raises(UserError, match="factors=None, counts=None; wanted one"):
        Collaborative(encoder)
    with pytest.raises(UserError, match="wanted one of the two"):
        Collaborative(encoder, factors="a.csv", counts="b.csv")
    with pytest.raises(UserError, match="dim=3 with factors"):
        Collaborative(encoder, factors="a.csv", dim=3)
    elsewhere = Collaborative(encoder, factors=factor_table(tmp_path / "factors.csv", ["a.ogg", "b.ogg"]))
    with pytest.raises(UserError, match=r"none of its 2 tracks \('a.ogg', 'b.ogg'\) is among these 18.*'000', '001'"):
        elsewhere.examples(music, music.split("train"))
    same = tmp_path / "same.csv"
    same.write_text("track,a,b\n" + "".join(f"{track.id},3,7\n" for track in music.tracks))
    with pytest.raises(UserError, match="all 18 tracks that are trained on have the same factors"):
        Collaborative(encoder, factors=same).prepare(music, music.split("train"))


def test_without_implicit_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, imported = listening(tmp_path / "counts.csv", tracks=["a", "b", "c", "d"]), builtins.__import__

    def missing(name: str, *rest):
        if name.startswith("implicit"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"ssl-music\[collaborative\]"):
        compute_factors(file, 2)
