"""Crops and batches: functions of (seed, epoch, index), the same whoever asks and after whichever interruption."""

import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music import audio
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.clips import ClipLoader, Clips, Files, draws, waves
from ssl_music.errors import UserError

COUNT = 100
LENGTHS = [100, 150, 400, 1000, 101, 333, 250, 777, 120, 505, 640, 199]


class Ramps:
    """Track r holds r * 2000, r * 2000 + 1, …, so that a crop tells where it was cut."""

    sample_rate = 8000

    def __init__(self, lengths: list[int] = LENGTHS):
        self.samples = np.array(lengths, np.int64)

    def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
        assert (starts >= 0).all()
        assert (starts + count <= self.samples[rows]).all()
        return (rows[:, None] * 2000 + starts[:, None] + np.arange(count)).astype(np.int16)


def loader(**choices) -> ClipLoader:
    ramps = choices.pop("waves", None) or Ramps()
    rows = choices.pop("rows", np.arange(len(ramps.samples)))
    return ClipLoader(ramps, rows, **{"input_samples": COUNT, "batch_size": 4, "seed": 7, **choices})


def drawn(clips: ClipLoader) -> list[tuple[list[int], list[list[int]]]]:
    return [(batch.rows.tolist(), batch.wave[:, :, 0, 0].tolist()) for batch in clips]


def starts(batch: Clips) -> np.ndarray:
    return (batch.wave[:, :, 0, 0] - batch.rows * 2000).numpy()


def test_hash_agrees_with_the_published_generator():
    # SplitMix64 seeded with 1234567: state advances by the golden ratio, so output n is the hash of seed + n · golden
    golden = 0x9E3779B97F4A7C15
    seeds = [(1234567 + n * golden) % 2**64 for n in range(3)]
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(draws.mixed(seed)) for seed in seeds] == expected


def test_draws_are_uniform_and_independent():
    first, second = (draws.uniform(3, 0, np.arange(200_000), view) for view in (0, 1))
    assert abs(first.mean() - 0.5) < 0.003
    assert np.histogram(first, 20, (0, 1))[0].std() < 3 * np.sqrt(10_000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.01
    assert draws.mixed(-1) != draws.mixed(1)
    assert sorted(draws.permutation(50, 1, 2)) == list(range(50))


def test_an_epoch_visits_each_track_once_and_crops_lie_inside():
    batches = list(loader(crops=3))
    assert len(batches) == 3
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(12))
    for batch in batches:
        assert batch.wave.shape == (3, 4, 1, COUNT)
        assert batch.wave.dtype == torch.int16
        assert (np.diff(batch.wave[:, :, 0].numpy(), axis=-1) == 1).all()
        assert (starts(batch) <= Ramps().samples[batch.rows] - COUNT).all()


def test_every_start_comes_up():
    seen = set()
    for epoch in range(200):
        seen.add(int(starts(loader(waves=Ramps([104]), batch_size=1).batch(epoch, 0))[0, 0]))
    assert seen == {0, 1, 2, 3, 4}


def test_crops_are_functions_of_seed_epoch_index_and_view():
    clips = loader(crops=2)
    epoch_0 = drawn(clips)
    assert drawn(clips) == epoch_0
    clips.set_epoch(1)
    epoch_1 = drawn(clips)
    assert epoch_1 != epoch_0
    clips.set_epoch(0)
    assert drawn(clips) == epoch_0 == drawn(loader(crops=2))
    assert drawn(loader(crops=2, seed=8)) != epoch_0
    # one batch alone, and with another batch size: each example has the crop it had
    assert drawn(loader(crops=2, batch_size=12))[0][1][0] == [start for _, crops in epoch_0 for start in crops[0]]
    assert (clips.batch(1, 2).wave[:, :, 0, 0].numpy() == epoch_1[2][1]).all()
    views = np.array([crops for _, crops in epoch_0])
    assert (views[:, 0] != views[:, 1]).any()


def test_order_and_starts_stay_what_they_were():
    # a changed draw changes every training run; these came from the first version
    rows, firsts = drawn(loader(crops=2, batch_size=6))[0]
    assert rows == [5, 0, 3, 9, 2, 4]
    assert firsts == [[10205, 0, 6395, 18265, 4146, 8001], [10018, 0, 6390, 18104, 4209, 8001]]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_are_slices_of_the_global_batch(world_size, drop_last):
    """Together they visit what one device would, in its order, each example once; all have as many batches."""
    choices = {"crops": 2, "epoch_of": "seconds", "drop_last": drop_last}
    for batch_size in (1, 2, 3):
        whole = loader(batch_size=batch_size * world_size, **choices)
        one = [whole.batch(0, number) for number in range(len(whole))]
        parts = {**choices, "batch_size": batch_size, "world_size": world_size}
        ranks = [loader(rank=rank, **parts) for rank in range(world_size)]
        assert len({len(rank) for rank in ranks}) == 1
        together = [rank.batch(0, number) for number in range(len(ranks[0])) for rank in ranks]
        assert all(len(batch) for batch in together)
        assert torch.equal(torch.cat([batch.rows for batch in together]), torch.cat([batch.rows for batch in one]))
        waves = [torch.cat([batch.wave for batch in batches], dim=1) for batches in (together, one)]
        assert torch.equal(*waves)


def test_short_tracks():
    tracks = Ramps([40, 100, 300, 99])
    loop, pad = (loader(waves=tracks, short=short, shuffle=False, crops=2).batch(0, 0) for short in ("loop", "pad"))
    for row in (0, 3):
        length = int(tracks.samples[row])
        offset = row * 2000
        for crop in loop.wave[:, row, 0].numpy() - offset:
            np.testing.assert_array_equal(crop, (crop[0] + np.arange(COUNT)) % length)
        padded = pad.wave[:, row, 0].numpy()
        np.testing.assert_array_equal(padded[:, :length] - offset, [np.arange(length)] * 2)
        assert not padded[:, length:].any()
    # a whole track gets the same crop whatever happens to the short ones
    assert torch.equal(loop.wave[:, 1:3], pad.wave[:, 1:3])
    dropping = loader(waves=tracks, short="drop", batch_size=2, targets=np.eye(4))
    assert dropping.dropped == 2
    (batch,) = dropping
    assert sorted(batch.rows.tolist()) == [1, 2]
    assert batch.targets is not None
    assert torch.equal(batch.targets, torch.eye(4)[batch.rows])
    with pytest.raises(UserError, match="all 2 are shorter than a clip; use short=loop or pad"):
        loader(waves=tracks, rows=np.array([0, 3]), short="drop")


def test_epochs_over_seconds_visit_long_tracks_more():
    clips = loader(epoch_of="seconds", batch_size=1)
    visits = np.bincount([batch.rows.item() for batch in clips])
    np.testing.assert_array_equal(visits, np.maximum(1, np.array(LENGTHS) // COUNT))
    cut = [int(starts(batch)[0, 0]) for batch in clips if batch.rows.item() == 3]
    assert len(set(cut)) > 5


def test_targets_and_rows_of_a_split():
    rows = np.array([3, 5, 7, 9])
    targets = np.eye(4)
    for batch in loader(rows=rows, targets=targets, batch_size=2):
        assert batch.targets is not None
        assert batch.targets.dtype == torch.float32
        assert torch.equal(batch.targets.argmax(1), torch.searchsorted(torch.tensor(rows), batch.rows))


def test_without_shuffle_every_epoch_is_the_same():
    clips = loader(shuffle=False, drop_last=False, batch_size=5)
    first = drawn(clips)
    assert [row for rows, _ in first for row in rows] == list(range(12))
    assert [len(rows) for rows, _ in first] == [5, 5, 2]
    clips.set_epoch(3)
    assert drawn(clips) == first


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"batch_size": 13}, "a batch of 13 needs 13 clips, but an epoch has 12: set batch_size to at most 12"),
        ({"batch_size": 7, "world_size": 2}, "7 on each of 2 devices needs 14 clips, .* to at most 6"),
        ({"batch_size": 1, "world_size": 13, "drop_last": False}, "12 clips for 13 devices, and each wants one"),
        ({"rows": np.array([], int)}, "no track to train on: choose more"),
        ({"short": "lop"}, r"unknown choice for short tracks \(short\) 'lop'; did you mean 'loop'"),
        ({"epoch_of": "hours"}, r"unknown kind of epoch \(epoch_of\) 'hours'. Known: tracks, seconds"),
    ],
)
def test_bad_choices(choices, message):
    with pytest.raises(UserError, match=message):
        loader(**choices)


def test_clips_convert_and_move():
    clips = Clips(torch.tensor([-32768, 0, 16384, 32767], dtype=torch.int16).view(1, 1, 1, 4), torch.arange(1))
    wave = clips.float().wave
    assert wave.flatten().tolist() == [-1.0, 0.0, 0.5, 32767 / 32768]
    assert clips.wave.dtype == torch.int16
    assert clips.float().float().wave.equal(wave)
    meta = Clips(clips.wave, clips.rows, torch.ones(1, 2)).to("meta")
    assert {meta.wave.device.type, meta.rows.device.type, meta.targets.device.type} == {"meta"}  # type: ignore


def test_state_goes_on_with_the_next_batch():
    clips = loader(crops=2, epoch_of="seconds")
    clips.set_epoch(2)
    whole = drawn(clips)
    assert clips.state_dict()["batch"] == len(clips)
    for consumed in range(len(clips)):
        first = loader(crops=2, epoch_of="seconds")
        first.set_epoch(2)
        steps = iter(first)
        for _ in range(consumed):
            next(steps)
        state = first.state_dict()
        assert (state["epoch"], state["batch"]) == (2, consumed)
        second = loader(crops=2, epoch_of="seconds")
        second.load_state_dict(state)
        begun = iter(second)
        second.set_epoch(2)  # as Lightning does: after `iter`, and with the epoch it is in already
        assert [(batch.rows.tolist(), batch.wave[:, :, 0, 0].tolist()) for batch in begun] == whole[consumed:]
        second.set_epoch(3)
        clips.set_epoch(3)
        assert drawn(second) == drawn(clips)
        assert len(drawn(second)) == len(clips)


def test_state_of_other_batches_is_refused_in_the_middle_of_an_epoch():
    clips = loader()
    next(iter(clips))
    with pytest.raises(
        UserError, match=r"other batches: seed 7, global_batch 4, now seed 8, global_batch 3. Resume with"
    ):
        loader(seed=8, batch_size=3).load_state_dict(clips.state_dict())
    two = loader(batch_size=2, world_size=2, rank=1)
    two.load_state_dict(clips.state_dict())  # the same global batch on more devices is the same epoch
    list(clips)
    loader(batch_size=3).load_state_dict(clips.state_dict())


def test_the_thread_dies_with_the_iterator_and_hands_on_errors():
    class Failing(Ramps):
        def gather(self, rows, starts, count):
            raise UserError("the disk is gone")

    before = threading.active_count()
    steps = iter(loader())
    next(steps)
    assert any(thread.name.startswith("clips") for thread in threading.enumerate())
    steps.close()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="the disk is gone"):
        next(iter(loader(waves=Failing())))
    assert threading.active_count() == before


# --- straight from files -------------------------------------------------------------------------------------------


class Listed(Catalog):
    split_name = "none"

    def __init__(self, tracks: list[Track]):
        self._tracks = tracks
        self.columns = {}

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


def ramp_file(path: Path, samples: int, rate: int = 8000, offset: int = 0) -> Track:
    audio.write(path, ((np.arange(samples) + offset) / 32768).astype(np.float32), rate)
    return Track(path.name, path)


def test_files_are_waves(tmp_path):
    lengths = [150, 400, 1000]
    tracks = [ramp_file(tmp_path / f"{row}.wav", length, offset=row * 2000) for row, length in enumerate(lengths)]
    files = waves(Listed(tracks), 8000)
    assert isinstance(files, Files)
    np.testing.assert_array_equal(files.samples, lengths)
    choices = {"crops": 2, "batch_size": 3}
    assert drawn(loader(waves=files, **choices)) == drawn(loader(waves=Ramps(lengths), **choices))


def test_files_resample(tmp_path):
    time = np.arange(44100 * 2) / 44100
    audio.write(tmp_path / "tone.wav", (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), 44100)
    files = Files([Track("tone", tmp_path / "tone.wav")], 22050)
    assert files.samples.tolist() == [44100]
    crop = files.gather(np.array([0, 0]), np.array([11025, 44100 - 2205]), 2205) / 32768
    expected = 0.5 * np.sin(2 * np.pi * 440 * (11025 + np.arange(2205)) / 22050)
    assert np.abs(crop[0] - expected)[20:-20].max() < 0.01
    assert crop.shape == (2, 2205)


def lying_wave(path: Path, held: int, claimed: int) -> Track:
    """A wav file whose header claims more samples than follow."""
    ramp_file(path, claimed)
    path.write_bytes(path.read_bytes()[: -2 * (claimed - held)])
    return Track(path.name, path)


@pytest.mark.filterwarnings("ignore::ssl_music.audio.TruncatedAudioWarning")
def test_a_lying_header_moves_crops_as_a_function_of_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "probe", lambda path: audio.Info(8000, 1, 1000, 0.125, "WAV"))
    tracks = [lying_wave(tmp_path / "lies.wav", held=600, claimed=1000)]
    asked = np.array([0, 300, 500, 501, 700, 900])
    one_by_one = [Files(tracks, 8000).gather(np.array([0]), asked[at : at + 1], 100)[0] for at in range(6)]
    together = Files(tracks, 8000)
    for order in (range(6), reversed(range(6))):
        for at in order:
            np.testing.assert_array_equal(together.gather(np.array([0]), asked[at : at + 1], 100)[0], one_by_one[at])
    found = [int(crop[0]) for crop in one_by_one]
    assert found[:3] == [0, 300, 500]
    assert found[3:] == [501 * 501 // 901, 700 * 501 // 901, 900 * 501 // 901]
    with pytest.warns(UserWarning, match=r"lies.wav: holds only 0.1 s, repeated to fill a crop"):
        crop = Files(tracks, 8000).gather(np.array([0]), np.array([0]), 700)[0]
    np.testing.assert_array_equal(crop, np.arange(700) % 600)


def test_broken_files_are_named_before_training(tmp_path):
    tracks = [ramp_file(tmp_path / "fine.wav", 200)]
    for number in range(5):
        (tmp_path / f"bad{number}.wav").write_bytes(b"no music" * number)
        tracks.append(Track(f"bad{number}", tmp_path / f"bad{number}.wav"))
    with pytest.raises(
        UserError, match=r"5 of 6 files cannot be read: .*bad0.wav.*bad2.wav.*; …. `ssl-music pack` sets"
    ):
        Files(tracks, 8000)


def test_a_pack_of_another_rate_says_how_to_mend_it():
    class Packed(Listed, Ramps):
        def __init__(self):
            Ramps.__init__(self)

    with pytest.raises(
        UserError, match=r"packed at 8000 Hz, but the encoder hears 22050 Hz; pack .* --sample_rate 22050"
    ):
        waves(Packed(), 22050)
    assert isinstance(waves(Packed(), 8000), Packed)


# --- under Lightning -----------------------------------------------------------------------------------------------


def fitted(root: Path, *, resume: Path | None = None, **trainer) -> tuple[list[tuple[int, list]], Path]:
    """Every batch a fit has seen as (epoch, first samples); the folder of its checkpoints."""
    from pytorch_lightning import LightningModule, Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint

    class Watching(LightningModule):
        def __init__(self):
            super().__init__()
            self.seen: list[tuple[int, list]] = []
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, clips: Clips, number: int) -> torch.Tensor:
            assert isinstance(clips, Clips)
            self.seen.append((self.current_epoch, clips.wave[:, :, 0, 0].tolist()))
            return (clips.float().view() * self.weight).mean()

        def validation_step(self, clips: Clips, number: int) -> None:
            assert clips.wave.shape == (1, 4, 1, COUNT)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    every = trainer.pop("every", None)
    saving = ModelCheckpoint(root, every_n_train_steps=every, save_top_k=-1, filename="{step}", save_last=False)
    module = Watching()
    settings = {"max_epochs": 3, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(default_root_dir=root, accelerator="cpu", callbacks=[saving], **{**settings, **trainer}).fit(
            module, loader(crops=2), loader(shuffle=False), ckpt_path=resume, weights_only=False
        )
    return module.seen, root


@pytest.mark.parametrize("end", [{"max_epochs": 4}, {"max_steps": 11, "max_epochs": -1}], ids=["epochs", "steps"])
@pytest.mark.parametrize("validating", [{}, {"limit_val_batches": 0}, {"val_check_interval": 2}])
def test_a_fit_resumed_anywhere_sees_exactly_the_remaining_batches(tmp_path, end, validating):
    whole, folder = fitted(tmp_path / "whole", every=1, **end, **validating)
    clips = loader(crops=2)
    expected = []
    for epoch in range(4):
        clips.set_epoch(epoch)
        expected += [(epoch, crops) for _, crops in drawn(clips)]
    assert whole == expected[: len(whole)]
    assert len(whole) == end.get("max_steps", 12)
    for step in range(1, len(whole)):
        rest, _ = fitted(tmp_path / f"from {step}", resume=folder / f"step={step}.ckpt", **end, **validating)
        assert rest == whole[step:], f"resumed after step {step}"


def test_a_fit_resumed_after_an_epoch_sees_the_next_epoch(tmp_path):
    whole, folder = fitted(tmp_path / "whole")
    for step in (3, 6):
        rest, _ = fitted(tmp_path / f"from {step}", resume=folder / f"step={step}.ckpt")
        assert rest == whole[step:]
