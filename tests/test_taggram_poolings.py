"""Poolings of segment scores against loops and closed forms; trained ones where the mean cannot tell."""

import numpy as np
import pytest
import torch

from ssl_music.errors import UserError
from ssl_music.taggram import POOLINGS, Taggram, learned, pool
from ssl_music.taggram.poolings import votes

SINGLE = {"multi_label": False}


def looped(scores: np.ndarray, pooling: str, *, multi_label: bool, thresholds: np.ndarray) -> np.ndarray:
    """One song, one tag at a time."""
    segments, tags = scores.shape
    found = np.zeros(tags)
    for tag in range(tags):
        own = [float(scores[segment, tag]) for segment in range(segments)]
        if pooling == "mean":
            found[tag] = sum(own) / segments
        elif pooling == "max":
            found[tag] = max(own)
        elif pooling == "softmax":
            total = sum(np.exp(score) for score in own)
            found[tag] = sum(score * np.exp(score) / total for score in own)
        elif multi_label:
            found[tag] = sum(score >= thresholds[tag] for score in own) / segments
        else:
            found[tag] = sum(list(scores[segment]).index(max(scores[segment])) == tag for segment in range(segments))
            found[tag] /= segments
    return found


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_poolings_are_their_loops_song_by_song_and_many_at_once(pooling: str, multi_label: bool) -> None:
    rng = np.random.default_rng(0)
    counts = [1, 7, 3, 12]
    owners = np.repeat(np.arange(4), counts)
    shuffled = rng.permutation(len(owners))
    scores, thresholds = rng.uniform(size=(len(owners), 5)), rng.uniform(size=5)
    wanted = [
        looped(scores[owners == song], pooling, multi_label=multi_label, thresholds=thresholds) for song in range(4)
    ]
    options = {"multi_label": multi_label, "thresholds": thresholds}
    np.testing.assert_allclose(pool(scores, pooling, owners=owners, **options), wanted, rtol=1e-12)
    # segments in any order, songs mixed
    mixed = pool(scores[shuffled], pooling, owners=owners[shuffled], **options)
    np.testing.assert_allclose(mixed, wanted, rtol=1e-12)
    for song in range(4):
        np.testing.assert_allclose(pool(scores[owners == song], pooling, **options), wanted[song], rtol=1e-12)


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_of_one_segment_every_pooling_is_that_segment(pooling: str) -> None:
    one = np.array([[0.2, 0.7, 0.1]])
    wanted = [0, 1, 0] if pooling == "vote" else one[0]  # its one vote
    np.testing.assert_allclose(pool(one, pooling, **SINGLE), wanted)
    np.testing.assert_allclose(pool(np.repeat(one, 5, axis=0), pooling, **SINGLE), wanted)


def test_softmax_lies_between_mean_and_max_and_does_not_overflow() -> None:
    scores = np.random.default_rng(1).uniform(size=(20, 4))
    mean, soft, largest = (pool(scores, name) for name in ("mean", "softmax", "max"))
    assert (mean < soft).all() and (soft < largest).all()
    np.testing.assert_allclose(pool(scores * 1e6, "softmax"), 1e6 * largest, rtol=1e-6)
    # two segments a and b: (a e^a + b e^b) / (e^a + e^b) = a + (b - a) sigmoid(b - a)
    assert pool(np.array([[0.2], [0.9]]), "softmax")[0] == pytest.approx(0.2 + 0.7 / (1 + np.exp(-0.7)))


def test_ties_vote_for_the_first_and_shares_of_single_label_votes_sum_to_one() -> None:
    scores = np.array([[0.4, 0.4, 0.2], [0.1, 0.6, 0.3]])
    np.testing.assert_array_equal(votes(scores, multi_label=False), [[1, 0, 0], [0, 1, 0]])
    assert pool(scores, "vote", **SINGLE).sum() == 1
    np.testing.assert_array_equal(pool(scores, "vote", thresholds=np.array([0.1, 0.5, 0.3])), [1.0, 0.5, 0.5])


def test_what_cannot_be_pooled_is_told() -> None:
    with pytest.raises(UserError, match="did you mean 'softmax'"):
        pool(np.ones((2, 2)), "softmx")
    with pytest.raises(UserError, match="1 of 3 segments, the first is 1"):
        pool(np.array([[0.0], [np.nan], [0.0]]))
    with pytest.raises(UserError, match="song 1 has no segment"):
        pool(np.ones((2, 2)), owners=np.array([0, 2]))
    with pytest.raises(UserError, match="at least one; came"):
        pool(np.ones((0, 2)))
    with pytest.raises(UserError, match=r"\(2, 1\).*came \(2, 3\)"):
        Taggram(["a"], np.zeros(2), 1.0, np.zeros((2, 3)), True)


def test_a_taggram_names_its_top_tags_and_its_segments() -> None:
    taggram = Taggram(["b", "a", "c"], np.array([0.0, 1.5]), 3.0, np.array([[0.5, 0.5, 0.9], [0.5, 0.5, 0.0]]), True)
    assert taggram.top(3) == ["b", "a", "c"]  # .5, .5, .45
    assert taggram.top(1, "max") == ["c"]
    assert [row["end_seconds"] for row in taggram.rows()] == [3.0, 4.5]


# --- trained ---


def needles(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Songs of 6 to 18 segments; one is marked, and its sign alone is the tag. The others drown it in their mean."""
    rng = np.random.default_rng(seed)
    songs, signs = [], rng.integers(0, 2, count)
    for sign in signs:
        song = rng.normal(size=(rng.integers(6, 19), 4)).astype(np.float32)
        song[:, 1] = 0.3 * song[:, 1]
        song[:, 0] *= 3.0  # loud, and says nothing where there is no mark
        at = rng.integers(len(song))
        song[at, 1] = 6.0
        song[at, 0] = 2.0 * (2 * sign - 1)
        songs.append(song)
    return songs, np.eye(2, dtype=np.float32)[signs]


def found(scores: np.ndarray, targets: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == targets.argmax(axis=1)).mean())


@pytest.mark.parametrize("kind", ["attention", "gated", "transformer"])
def test_trained_poolings_find_the_one_segment_that_tells(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "WIDTH", 32)  # of the Transformer: enough for a toy
    monkeypatch.setattr(learned, "LAYERS", 1)
    monkeypatch.setattr(learned, "EPOCHS", 40)
    train, valid, test = needles(240, 0), needles(80, 1), needles(200, 2)
    score = learned.fit(train, valid, kind=kind, multi_label=False)
    assert found(score(test[0]), test[1]) > 0.93
    # the mean of the same segments does not tell, to a classifier fitted on it
    means = [np.array([song.mean(axis=0) for song in songs]) for songs, _ in (train, test)]
    weights, *_ = np.linalg.lstsq(np.column_stack([means[0], np.ones(240)]), train[1], rcond=None)
    assert found(np.column_stack([means[1], np.ones(200)]) @ weights, test[1]) < 0.75
    # whatever the neighbours in the batch, whatever the order of the segments
    rng = np.random.default_rng(3)
    together = score(test[0])
    for song, row in zip(test[0][:8], together, strict=False):
        np.testing.assert_allclose(score([song])[0], row, atol=1e-5)
        np.testing.assert_allclose(score([rng.permutation(song)])[0], row, atol=1e-5)


def test_attention_looks_at_the_marked_segment() -> None:
    model = learned.Attention(4, 2)
    with torch.no_grad():
        model.seen.weight.zero_()
        model.seen.weight[0, 1] = 1.0  # tanh of the mark
        model.weight.weight.zero_()
        model.weight.weight[0, 0] = 3.0
    songs, there = torch.zeros(1, 3, 4), torch.tensor([[True, True, False]])
    songs[0, :, 1] = torch.tensor([2.0, -1.0, 9.0])
    logits = 3 * torch.tanh(torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(model.weights(songs, there)[0, :2], logits.softmax(0))  # equation 8
    assert model.weights(songs, there)[0, 2] == 0  # padding


def test_trained_poolings_repeat_and_leave_the_random_state_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "EPOCHS", 2)
    train, valid = needles(40, 0), needles(20, 1)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    a = learned.fit(train, valid, kind="transformer", multi_label=True, seed=3)(valid[0])
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    b = learned.fit(train, valid, kind="transformer", multi_label=True, seed=3)(valid[0])
    np.testing.assert_array_equal(a, b)
    assert ((a > 0) & (a < 1)).all()


def test_songs_that_cannot_be_trained_on_are_told() -> None:
    songs, targets = needles(8, 0)
    fit = learned.fit
    with pytest.raises(UserError, match="did you mean 'gated'"):
        fit((songs, targets), (songs, targets), kind="gate", multi_label=False)
    with pytest.raises(UserError, match="one D and n of at least 1"):
        fit((songs, targets), ([np.zeros((0, 4))], targets[:1]), kind="attention", multi_label=False)
    with pytest.raises(UserError, match="no song of train has the tag in column 1"):
        fit((songs, np.eye(2)[np.zeros(8, int)]), (songs, targets), kind="attention", multi_label=False)
    with pytest.raises(UserError, match="NaN"):
        fit(([song * np.nan for song in songs], targets), (songs, targets), kind="attention", multi_label=False)
    score = fit((songs, targets), (songs, targets), kind="attention", multi_label=False)
    with pytest.raises(UserError, match="segments of 4 numbers; came 3"):
        score([np.zeros((2, 3))])
