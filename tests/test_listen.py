"""Listening: files and page tell the same, repeat with the seed, and say what went otherwise than expected."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music import audio, cli, report
from ssl_music.augment import (
    Augmentation,
    Chain,
    Delay,
    DynamicRangeCompression,
    Gain,
    HighLowPass,
    Mix,
    Noise,
    ParametricEQ,
    PolarityInversion,
    Reverb,
)
from ssl_music.errors import UserError
from ssl_music.report.drawn import drew
from ssl_music.report.excerpts import excerpts
from ssl_music.report.listen import OTHERS
from ssl_music.report.pictures import LEFT, RIGHT, common_scale, log_mels, picture

RATE, SAMPLES = 8000, 8000


def song(path: Path, seconds: float = 6.0, rate: int = RATE, loudness: float = 0.3) -> Path:
    """A tone that climbs, so that every moment of it is known by its frequency."""
    time = np.arange(round(seconds * rate)) / rate
    audio.write(path, (loudness * np.sin(2 * np.pi * (300 + 100 * time) * time)).astype(np.float32), rate)
    return path


def chain(*effects: Augmentation) -> Chain:
    drawn = effects or (Gain(p=0.5), HighLowPass(p=0.5, lowpass_high_hz=3000.0), Delay(p=0.5), Reverb(p=0.5))
    return Chain(drawn, sample_rate=RATE)


def listen(file: Path, out: Path, effects: Chain | None = None, **arguments):
    return report.listen(file, effects or chain(), out, input_samples=SAMPLES, **arguments)


def written(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_what_is_written(tmp_path: Path) -> None:
    done = listen(song(tmp_path / "song.wav"), tmp_path / "out", views=3)
    assert sorted(written(tmp_path / "out")) == [
        "original.wav",
        "page.html",
        "view-1.wav",
        "view-2.wav",
        "view-3.wav",
    ]
    assert [file.name for file in done.files] == ["original.wav", "view-1.wav", "view-2.wav", "view-3.wav"]
    waves = [audio.read(file) for file in done.files]
    assert all(wave.shape == (SAMPLES,) for wave in waves)
    assert all(audio.probe(file).sample_rate == RATE for file in done.files)
    assert all(np.abs(one - two).max() > 0.01 for at, one in enumerate(waves) for two in waves[:at])
    middle = audio.read(tmp_path / "song.wav", start_seconds=2.5, seconds=1.0)
    assert np.abs(waves[0] - middle).max() <= 2 / 32768
    assert not done.notes


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    file = song(tmp_path / "song.wav")
    for folder, seed in (("one", 1), ("two", 1), ("three", 2)):
        listen(file, tmp_path / folder, views=2, seed=seed)
    assert written(tmp_path / "one") == written(tmp_path / "two")
    assert written(tmp_path / "one")["view-1.wav"] != written(tmp_path / "three")["view-1.wav"]
    listen(file, tmp_path / "more", views=4, seed=1)
    assert written(tmp_path / "more")["view-2.wav"] == written(tmp_path / "one")["view-2.wav"]


def test_the_page_tells_of_each_view_what_it_drew(tmp_path: Path) -> None:
    done = listen(song(tmp_path / "song.wav"), tmp_path / "out", views=6, seed=3)
    cards = done.page.read_text(encoding="utf-8").split('<article class="view"')[1:]
    assert len(cards) == 7 and len({tuple(name for name, _ in told) for told in done.drew}) > 2
    for card, told in zip(cards[1:], done.drew, strict=True):
        shown = re.findall(r"<li><b>(\w+)</b><span>(.*?)</span></li>", card)
        assert [name for name, _ in shown] == [name for name, _ in told]
        for (name, text), (_, values) in zip(shown, told, strict=True):
            assert text == ", ".join(value.removeprefix(f"{name.lower()} ") for value in values.values())
        absent = [name for name in ("Gain", "HighLowPass", "Delay", "Reverb") if name not in dict(told)]
        assert (f"not drawn: {', '.join(absent)}" in card) == bool(absent and told)
    assert "seed" not in "".join(cards).partition("The chain")[0]


def test_what_a_card_says_is_what_its_file_holds(tmp_path: Path) -> None:
    done = listen(song(tmp_path / "song.wav"), tmp_path / "out", chain(Gain(p=1.0)), views=4)
    original = audio.read(done.files[0])
    for file, (((_, values),)) in zip(done.files[1:], done.drew, strict=True):
        ratio = np.linalg.norm(audio.read(file)) / np.linalg.norm(original)
        decibels = float(values["gain_db"].replace("−", "-").removeprefix("gain ").removesuffix(" dB"))
        assert 20 * np.log10(ratio) == pytest.approx(decibels, abs=0.1)


def test_the_page_is_whole_by_itself_and_plays_the_files(tmp_path: Path) -> None:
    done = listen(song(tmp_path / "song.wav"), tmp_path / "out", views=2)
    page = done.page.read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "http:" not in re.sub(r"http://www\.w3\.org/\S+", "", page)
    sounds = re.findall(r'<audio controls preload="metadata" src="data:audio/wav;base64,([^"]+)">', page)
    assert [base64.b64decode(sound) for sound in sounds] == [file.read_bytes() for file in done.files]
    assert page.count("<svg") == 4 and page.count("<article") == page.count("</article>") == 3
    assert f"--left: {LEFT}; --right: {RIGHT}" in page


def test_names_are_escaped(tmp_path: Path) -> None:
    file = song(tmp_path / "<b>&.wav")
    page = listen(file, tmp_path / "out", views=1).page.read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;.wav" in page and "<b>&" not in page


def test_all_files_are_scaled_alike_where_one_would_clip(tmp_path: Path) -> None:
    file = song(tmp_path / "song.wav", loudness=0.9)
    done = listen(file, tmp_path / "out", chain(Gain(p=0.5, low_db=6.0, high_db=6.0)), views=6)
    assert {len(told) for told in done.drew} == {0, 1}
    (note,) = done.notes
    scale = 0.9 * 10 ** (6 / 20)
    assert f"{20 * np.log10(scale):.1f} dB quieter" in note
    assert note in done.page.read_text(encoding="utf-8")
    for path, told in zip(done.files, [[], *done.drew], strict=True):
        wanted = 1.0 if told else 0.9 / scale
        assert np.abs(audio.read(path)).max() == pytest.approx(wanted, abs=2e-3)
    page = done.page.read_text(encoding="utf-8")
    assert "peak 5.1 dB" in page and "No effect was drawn" in page


def test_a_short_file_is_repeated_and_said_so(tmp_path: Path) -> None:
    file = song(tmp_path / "short.wav", seconds=0.4)
    done = listen(file, tmp_path / "out", views=1)
    assert "0.40 s and is repeated" in done.notes[0]
    wave = audio.read(done.files[0])
    assert np.array_equal(wave, np.resize(audio.read(file), SAMPLES))


def test_silence_is_shown_and_said_so(tmp_path: Path) -> None:
    audio.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    done = listen(tmp_path / "silence.wav", tmp_path / "out", chain(Noise(p=1.0), Reverb(p=1.0)), views=1)
    assert "silent" in done.notes[0]
    assert not audio.read(done.files[1]).any()


def test_start_and_other_rates(tmp_path: Path) -> None:
    file = song(tmp_path / "song.wav", rate=11025)
    done = listen(file, tmp_path / "out", views=1, start_seconds=4.25)
    wanted = audio.read(file, RATE, start_seconds=4.25, seconds=1.0)
    assert np.abs(audio.read(done.files[0]) - wanted).max() <= 2 / 32768


def test_effects_that_mix_rows_find_other_clips_of_the_file(tmp_path: Path) -> None:
    done = listen(song(tmp_path / "song.wav"), tmp_path / "out", chain(Mix(p=1.0, low_snr_db=0, high_snr_db=0)))
    original, *views = [audio.read(file).astype(np.float64) for file in done.files]
    cut = excerpts(tmp_path / "song.wav", sample_rate=RATE, input_samples=SAMPLES, start_seconds=None, others=OTHERS)
    assert cut.waves.shape == (1 + OTHERS, SAMPLES)
    for view in views:
        added = (
            view / np.linalg.norm(view) - (original @ view) / (original @ original) / np.linalg.norm(view) * original
        )
        likeness = [abs(added @ other) / np.linalg.norm(added) / np.linalg.norm(other) for other in cut.waves[1:]]
        assert max(likeness) > 0.9
        assert abs(added @ original) < 1e-6


def test_a_header_that_promises_more(tmp_path: Path) -> None:
    whole = song(tmp_path / "song.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: 44 + 2 * 3 * RATE])  # three seconds of six
    with pytest.warns(audio.TruncatedAudioWarning):
        cut = excerpts(tmp_path / "cut.wav", sample_rate=RATE, input_samples=SAMPLES, start_seconds=None, others=3)
    assert cut.file_seconds == pytest.approx(3.0) and cut.start_seconds == pytest.approx(1.0)
    assert np.abs(cut.waves[0] - audio.read(tmp_path / "song.wav", start_seconds=1.0, seconds=1.0)).max() < 1e-4


def test_interrupted_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write, count = song(tmp_path / "song.wav"), audio.write, iter(range(9))

    def interrupted(*arguments):
        write(*arguments)
        if next(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(audio, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        listen(file, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_pictures_share_their_scales_and_place_tones_rightly() -> None:
    time = np.arange(2 * 22050) / 22050
    waves = [0.5 * np.sin(2 * np.pi * hz * time) for hz in (500, 2000)]
    mels = log_mels(waves, 22050)
    scale = common_scale(waves, mels, 22050)
    assert scale.amplitude == pytest.approx(0.5, abs=1e-3)
    for hz, wave, mel in zip((500, 2000), waves, mels, strict=True):
        above, below = picture(wave, mel, scale).axes
        tick = below.get_yticks()[[text.get_text() for text in below.get_yticklabels()].index(f"{hz:,}")]
        assert abs(mel.mean(axis=1).argmax() + 0.5 - tick) <= 1
        assert below.get_xlim() == above.get_xlim() == (0.0, 2.0)
        assert below.images[0].get_clim() == pytest.approx((scale.loudest_db - 80, scale.loudest_db))
        box = below.get_position()
        assert (box.x0, box.x1) == pytest.approx((LEFT, RIGHT))


@pytest.mark.parametrize("samples, rate", [(243, 8000), (59049, 22050), (1, 8000), (200_000, 44100)])
def test_clips_of_any_length_have_a_picture(samples: int, rate: int) -> None:
    wave = np.full(samples, 0.1, np.float32)
    (mel,) = log_mels([wave], rate)
    assert mel.shape[0] == 80 and picture(wave, mel, common_scale([wave], [mel], rate))


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"start_seconds": 5.5}, r"start_seconds 5\.5 is not within it; it lasts 6\.00 s, a clip is 1\.00 s long"),
        ({"start_seconds": -1.0}, "start_seconds -1 is not within it"),
        ({"start_seconds": float("nan")}, "start_seconds nan is not within it"),
        ({"start_seconds": float("inf")}, "start_seconds inf is not within it"),
        ({"views": 0}, "views=0"),
    ],
)
def test_wrong_arguments(arguments: dict, told: str, tmp_path: Path) -> None:
    file = song(tmp_path / "song.wav")
    with pytest.raises(UserError, match=told):
        listen(file, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_wrong_chains_and_places(tmp_path: Path) -> None:
    file = song(tmp_path / "song.wav")
    for wrong in (Chain([], sample_rate=RATE), Chain([PolarityInversion()])):
        with pytest.raises(UserError, match="listen wants a Chain with effects and a sample rate"):
            listen(file, tmp_path / "out", wrong)
    with pytest.raises(UserError, match=r"song\.wav: is a file; give the folder"):
        listen(file, file)


def test_numbers_of_every_effect_are_told() -> None:
    its = chain(
        Noise(p=1.0, colors=["pink"]),
        Noise(p=1.0, colors=["white", "brown"]),
        ParametricEQ(p=1.0, bands=3, high_hz=3000.0),
        DynamicRangeCompression(p=1.0),
        Mix(p=1.0),
        HighLowPass(p=1.0, lowpass_high_hz=3000.0),
    )
    wave = torch.randn(2, 1, SAMPLES, generator=torch.Generator().manual_seed(0))
    drawn = its.draw(wave, torch.Generator().manual_seed(1))
    (_, pink), (_, noise), (_, equalizer), (_, profile), (_, mix), (_, cut) = drew(its, drawn, row=1)
    assert pink.keys() == mix.keys() == {"snr_db"}
    assert noise["color"] in ("color white", "color brown")
    assert [text.count(" · ") for text in equalizer.values()] == [2, 2, 2]
    assert profile["profile"] in ("profile music standard", "profile speech")
    assert cut["highpass"] in ("high-pass", "low-pass") and cut["cutoff_hz"].endswith(" Hz")


# ---- the verb


def test_verb_with_a_recipe_and_with_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "song.wav", rate=22050)
    state = torch.get_rng_state()
    assert cli.main(["listen", "song.wav", "--recipe=clmr", "--views", "2", "--out", "recipe"]) == 0
    torch.set_rng_state(state)
    assert cli.main(["listen", "song.wav", "--augment", "clmr", "--views", "2", "--out", "preset"]) == 0
    printed = capsys.readouterr().out
    assert "page: recipe/page.html" in printed and "recipe/view-2.wav: " in printed
    assert audio.probe("recipe/view-1.wav").frames == 59049
    for name in ("original.wav", "view-1.wav", "view-2.wav"):
        assert Path("recipe", name).read_bytes() == Path("preset", name).read_bytes()


def test_verb_reads_the_method_of_any_recipe_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "song.wav", rate=22050)
    assert cli.main(["listen", "song.wav", "--recipe", "clmr_small", "--views", "1"]) == 0
    assert audio.probe("runs/listen/view-1.wav").frames == 32768
    # a recipe without augmentations, and with keys of other verbs, lends its encoder
    words = ["--recipe", "finetune_tagging", "--augment", "light", "--views", "1", "--out", "light"]
    assert cli.main(["listen", "song.wav", *words]) == 0
    assert audio.probe("light/view-1.wav").frames == 32768
    assert not (tmp_path / "runs" / "clmr_small").exists()
    assert cli.main(["listen", "song.wav", "--recipe", "clmr_small", "--method.augment", "light"]) == 0
    assert Path("runs/listen/view-1.wav").read_bytes() == Path("light/view-1.wav").read_bytes()


@pytest.mark.parametrize(
    "words, told",
    [
        (["no.wav", "--augment", "clmr"], "no.wav: no such file"),
        (["text.wav", "--augment", "clmr"], "text.wav: "),
        (
            ["song.wav"],
            "listen wants --recipe with a recipe of pretrain, or --augment with the name of a chain: clmr",
        ),
        (["song.wav", "--augment", "clmrr"], "unknown chain of augmentations 'clmrr'; did you mean 'clmr'?"),
        (["song.wav", "--recipe", "finetune_tagging"], "there are no augmentations in the recipe's method"),
        (["song.wav", "--recipe", "linear_probe"], "linear_probe: listen wants a recipe of pretrain"),
        (["song.wav", "--recipe", "clmrr"], "unknown recipe (and no such file) 'clmrr'; did you mean 'clmr'?"),
        (["song.wav", "--augment", "clmr", "--view", "3"], "unknown argument 'view'; did you mean 'views'?"),
        (["song.wav", "--augment", "clmr", "--start_seconds", "9"], "song.wav: start_seconds 9 is not within it"),
        (["song.wav", "--recipe", "bad.yaml"], "in method → augment: unknown class 'Gian'; did you mean 'Gain'?"),
    ],
)
def test_verb_with_mistakes(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "song.wav")
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "bad.yaml").write_text(
        "method: {class_path: SimCLR, init_args: {encoder: SampleCNN, augment: [{class_path: Gian}]}}"
    )
    assert cli.main(["listen", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
