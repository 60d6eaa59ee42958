"""Editorial: classes from the training split only, groups that sound alike, and what happens to artists unheard."""

from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_toy import KINDS, RATE, Tones, tiny_encoder

from ssl_music import checkpoint
from ssl_music.catalogs import Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods import Editorial
from ssl_music.methods.parts.groups import SoundGroups
from ssl_music.methods.parts.targets import check_same_targets, digest_of
from ssl_music.methods.train import train


class Credited(Tones):
    """Tones by six artists, each with one kind of tone; a seventh has a single track, one track has no artist."""

    changes: ClassVar[dict[int, dict]] = {0: {"artist": ""}, 1: {"artist": "once"}}

    def credits(self, number: int) -> dict[str, str]:
        kind = KINDS[number % 3]
        known = {"artist": f"{kind} {number // 3 % 2}", "album": f"hits {number % 2}"}
        return known | self.changes.get(number, {})

    @property
    def tracks(self) -> list[Track]:
        return [
            Track(track.id, track.path, labels=track.labels, split=track.split, **self.credits(number))
            for number, track in enumerate(super().tracks)
        ]


class Apart(Credited):
    """No artist stands in both splits."""

    def credits(self, number: int) -> dict[str, str]:
        return {"artist": f"{KINDS[number % 3]} {number % 2} {'train' if number < 18 else 'valid'}"}


def test_classes_are_the_artists_of_the_training_split() -> None:
    music, method = Credited(), Editorial(tiny_encoder())
    tracks, targets = method.examples(music, music.split("train"))
    assert method.classes == {(name,): at for at, name in enumerate(["high 0", "high 1", "low 0", "low 1", *MIDDLE])}
    assert len(tracks) == 16 and targets is not None and targets.shape == (16, 1)
    assert not {"", "once"} & {track.artist for track in tracks}
    assert [method.classes[(track.artist,)] for track in tracks] == targets[:, 0].tolist()
    valid, valid_targets = method.valid_examples(music, music.split("valid"))
    assert len(valid) == 9 and valid_targets is not None
    assert [method.classes[(track.artist,)] for track in valid] == valid_targets[:, 0].tolist()


MIDDLE = ["middle 0", "middle 1"]


def test_an_album_is_its_name_and_its_artist() -> None:
    music, method = Credited(), Editorial(tiny_encoder(), field="album", min_tracks=1)
    method.examples(music, music.tracks)
    artists = {artist for artist, album in method.classes if album == "hits 0"}
    assert {"high 0", "low 0", "middle 0"} & artists and len(artists) > 2


def test_fewer_tracks_than_min_tracks_are_no_class() -> None:
    music = Credited()
    for least in (1, 3, 4):
        method = Editorial(tiny_encoder(), min_tracks=least)
        if least == 4:
            with pytest.raises(UserError, match=r"0 artists have 4 or more of the 18 tracks.*7 have any"):
                method.examples(music, music.split("train"))
            continue
        method.examples(music, music.split("train"))
        held = Counter(track.artist for track in music.split("train") if track.artist)
        assert {name for (name,) in method.classes} == {name for name, count in held.items() if count >= least}


def test_losses_are_cross_entropy_and_its_share_of_the_entropy_of_frequencies() -> None:
    music, method = Credited(), Editorial(tiny_encoder())
    tracks, targets = method.examples(music, music.split("train"))
    method.prepare(music, tracks)
    method.double().eval()
    wave = torch.from_numpy(music.gather(np.arange(16), np.zeros(16, int), 243))[None, :, None] / 32768
    found = method.losses(Clips(wave.double(), torch.arange(16), torch.from_numpy(targets)))
    logits = method.head(method.encoder(wave[0].double())).detach()
    truth = torch.from_numpy(targets[:, 0]).long()
    expected = -sum(float(functional.log_softmax(row, 0)[at]) for row, at in zip(logits, truth, strict=True)) / 16
    assert found["loss"].item() == pytest.approx(expected, abs=1e-12)
    shares = np.array(list(Counter(targets[:, 0].tolist()).values())) / 16
    entropy = -sum(share * np.log(share) for share in shares)
    assert found["loss_over_trivial"].item() == pytest.approx(expected / entropy, abs=1e-12)
    # to know the frequencies and nothing else costs 1
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(torch.from_numpy(np.log(np.bincount(truth) / 16)))
    guess = method.losses(Clips(wave.double(), torch.arange(16), torch.from_numpy(targets)))
    assert guess["loss_over_trivial"].item() == pytest.approx(1, abs=1e-12)


def test_artists_that_sound_alike_are_one_group() -> None:
    music, method = Credited(), Editorial(tiny_encoder(), clusters=3)
    tracks, targets = method.examples(music, music.split("train"))
    kinds = {name: name.split()[0] for (name,) in method.classes}
    together = {}
    for (name,), group in method.classes.items():
        together.setdefault(group, set()).add(kinds[name])
    assert sorted(map(sorted, together.values())) == [["high"], ["low"], ["middle"]]
    again = Editorial(tiny_encoder(), clusters=3)
    again.examples(music, music.split("train"))
    assert again.classes == method.classes
    assert targets is not None and targets[:, 0].max() == 2 and len(tracks) == 16


def test_unheard_artists_are_put_to_the_group_they_sound_like() -> None:
    music, method = Apart(), Editorial(tiny_encoder(), clusters=3)
    method.examples(music, music.split("train"))
    group = {name.split()[0]: at for (name,), at in method.classes.items()}
    tracks, targets = method.valid_examples(music, music.split("valid"))
    assert len(tracks) == 9 and targets is not None
    assert [group[track.labels["pitch"][0]] for track in tracks] == targets[:, 0].tolist()


def test_splits_that_keep_artists_apart_leave_nothing_to_validate_with(tmp_path: Path) -> None:
    options = {"accelerator": "cpu", "max_epochs": 1}
    with pytest.raises(UserError, match=r"none of 9 tracks to validate with.*give valid_split null, or clusters"):
        train(Editorial(tiny_encoder()), Apart(), out=tmp_path, batch_size=4, trainer_options=options)
    weights = train(
        Editorial(tiny_encoder()), Apart(), out=tmp_path, batch_size=4, valid_split=None, trainer_options=options
    )
    assert weights.name == "encoder.safetensors" and isinstance(checkpoint.load(weights), Encoder)


def test_a_run_does_not_go_on_with_other_artists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint of a catalog does not hold them."""

    def go(**trainer) -> Path:
        options = {"accelerator": "cpu", "max_epochs": 3, **trainer}
        return train(Editorial(tiny_encoder()), Credited(), out=tmp_path, batch_size=4, trainer_options=options)

    def stop(self, *arguments) -> None:
        raise RuntimeError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Editorial, "on_validation_epoch_start", lambda self: self.current_epoch and stop(self))
        with pytest.raises(RuntimeError, match="stopped"):
            go()
    assert (tmp_path / "last.ckpt").exists()
    with monkeypatch.context() as patch:
        patch.setitem(Credited.changes, 2, {"artist": "renamed"})
        patch.setitem(Credited.changes, 8, {"artist": "renamed"})
        patch.setitem(Credited.changes, 14, {"artist": "renamed"})
        with pytest.raises(UserError, match="the artists of the tracks have changed since this run began"):
            go()
    assert go().exists()


def test_music_without_artists_is_said() -> None:
    music = Tones()
    nobody = [Track(track.id, track.path, split=track.split) for track in music.tracks]
    with pytest.raises(UserError, match=r"0 albums .* 0 have any.*in the files' tags, or in a column 'album'"):
        Editorial(tiny_encoder(), field="album").examples(music, nobody)
    with pytest.raises(UserError, match="unknown field of Editorial 'artists'; did you mean 'artist'"):
        Editorial(tiny_encoder(), field="artists")
    with pytest.raises(UserError, match="clusters=1"):
        Editorial(tiny_encoder(), clusters=1)
    with pytest.raises(UserError, match="6 clusters of 6"):
        Editorial(tiny_encoder(), clusters=6).examples(Credited(), Credited().split("train"))
    with pytest.raises(UserError, match="wants prepare"):
        Editorial(tiny_encoder()).losses(Clips(torch.ones(1, 3, 1, 243), torch.arange(3)))


def test_a_sound_is_the_mean_over_tracks_of_the_middle() -> None:
    music = Credited()
    groups = SoundGroups(2, sample_rate=RATE)
    tracks = music.tracks[:4]
    alone = [groups.sounds(music, [track], [("x",)])[("x",)] for track in tracks]
    together = groups.sounds(music, tracks, [("x",)] * 4)[("x",)]
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-9)
    with pytest.raises(UserError, match="sound the same"), pytest.warns(UserWarning, match="distinct clusters"):
        groups.fit(music, [tracks[0]] * 3, [("a",), ("b",), ("c",)])


def test_digests_tell_targets_apart() -> None:
    check_same_targets({"targets": digest_of({"a": 1})}, digest_of({"a": 1}), what="they")
    with pytest.raises(UserError, match="they have changed since this run began"):
        check_same_targets({"targets": digest_of({"a": 1})}, digest_of({"a": 2}), what="they")
