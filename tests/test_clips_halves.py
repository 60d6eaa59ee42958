"""Batches of two kinds in equal parts: who comes how often, on every rank, resumed in the middle."""

import numpy as np
import pytest
import torch
from test_clips import Ramps, drawn, loader, starts

from ssl_music.errors import UserError

#: rows 0, 5 and 7 of twelve are of the first kind
FIRST = np.isin(np.arange(12), [0, 5, 7])


def test_each_batch_is_half_of_each_kind_in_turns() -> None:
    clips = loader(halves=FIRST, batch_size=6)
    assert len(clips) == 3  # nine of the larger kind, three of them in a batch
    for epoch in range(3):
        clips.set_epoch(epoch)
        rows = np.array([batch.rows.tolist() for batch in clips])
        assert FIRST[rows[:, ::2]].all() and not FIRST[rows[:, 1::2]].any()
        assert sorted(rows[:, 1::2].ravel()) == sorted(np.flatnonzero(~FIRST))  # the larger kind once
        np.testing.assert_array_equal(np.sort(rows[:, ::2]), [[0, 5, 7]] * 3)  # the smaller three times


def test_a_kind_that_does_not_divide_is_repeated_evenly_in_fresh_orders() -> None:
    clips = loader(waves=Ramps([400] * 40), halves=np.arange(40) < 7, batch_size=2)
    orders = []
    for epoch in range(2):
        clips.set_epoch(epoch)
        first = [int(batch.rows[0]) for batch in clips]
        assert len(first) == 33
        for again in range(4):  # 33 = 4 · 7 + 5
            assert sorted(first[again * 7 : again * 7 + 7]) == list(range(7))
        assert len(set(first[28:])) == 5
        orders += [tuple(first[again * 7 : again * 7 + 7]) for again in range(4)]
    assert len(set(orders)) == 8


def test_a_repeated_track_has_other_crops() -> None:
    clips = loader(waves=Ramps([1000] * 21), halves=np.arange(21) == 0, batch_size=2)
    cut = [int(starts(batch)[0, 0]) for batch in clips]
    assert len(cut) == 20 and len(set(cut)) > 15


def test_the_larger_kind_may_be_the_first() -> None:
    clips = loader(halves=~FIRST, batch_size=6)
    rows = np.array([batch.rows.tolist() for batch in clips])
    assert sorted(rows[:, ::2].ravel()) == sorted(np.flatnonzero(~FIRST))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_partition_the_global_batch_and_hold_both_halves(world_size: int, drop_last: bool) -> None:
    choices = {"crops": 2, "epoch_of": "seconds", "drop_last": drop_last, "halves": FIRST}
    whole = loader(batch_size=2 * world_size, **choices)
    ranks = [loader(batch_size=2, rank=rank, world_size=world_size, **choices) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for number in range(len(whole)):
        alone, together = whole.batch(1, number), [rank.batch(1, number) for rank in ranks]
        rows, wave = torch.cat([batch.rows for batch in together]), torch.cat([b.wave for b in together], dim=1)
        assert torch.equal(rows[: len(alone)], alone.rows) and torch.equal(wave[:, : len(alone)], alone.wave)
        assert len(rows) - len(alone) < 2 * world_size
        for batch in together:
            assert FIRST[batch.rows].tolist() == [True, False] * (len(batch) // 2)


def test_resumes_behind_any_batch() -> None:
    choices = {"halves": FIRST, "batch_size": 2, "crops": 2}
    whole = loader(**choices)
    whole.set_epoch(1)
    batches = drawn(whole)
    for consumed in range(len(batches)):
        first = loader(**choices)
        first.set_epoch(1)
        steps = iter(first)
        for _ in range(consumed):
            next(steps)
        second = loader(**choices)
        second.load_state_dict(first.state_dict())
        begun = iter(second)
        second.set_epoch(1)
        assert [(b.rows.tolist(), b.wave[:, :, 0, 0].tolist()) for b in begun] == batches[consumed:]
    first = loader(**choices)
    next(iter(first))
    with pytest.raises(UserError, match=r"first_half 3, now .*first_half 9"):
        loader(**{**choices, "halves": ~FIRST}).load_state_dict(first.state_dict())


def test_targets_follow_and_short_tracks_are_left_out() -> None:
    lengths = [40, 100, 300, 99, 500, 101]
    clips = loader(
        waves=Ramps(lengths), halves=np.array([1, 1, 1, 0, 0, 0]), targets=np.eye(6), short="drop", batch_size=4
    )
    assert clips.dropped == 2
    (batch,) = clips
    assert sorted(batch.rows.tolist()) == [1, 2, 4, 5]
    assert batch.targets is not None and torch.equal(batch.targets.argmax(1), batch.rows)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"batch_size": 5}, "batch_size 5: half .* even number, such as 6"),
        ({"batch_size": 20}, "a batch of 20 needs 20 clips, but an epoch has 18: set batch_size to at most 18"),
        ({"batch_size": 8, "world_size": 4}, "8 on each of 4 devices needs 32 .* 18: set batch_size to at most 4"),
        ({"halves": np.ones(12, bool)}, "of these kinds there are 12 and 0 clips: give some of both"),
    ],
)
def test_what_cannot_be_halved(choices: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        loader(**{"halves": FIRST, **choices})
