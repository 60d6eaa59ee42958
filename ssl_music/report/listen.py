"""Look before you train: a file, and what a chain of augmentations makes of it, to hear, to see and to read."""

import base64
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ssl_music import audio
from ssl_music._files import replacing
from ssl_music.augment import Chain
from ssl_music.errors import UserError
from ssl_music.report.document import document
from ssl_music.report.drawn import drew as described
from ssl_music.report.excerpts import Excerpts, excerpts
from ssl_music.report.figures import svg
from ssl_music.report.pictures import LEFT, RIGHT, colour_key, common_scale, log_mels, picture
from ssl_music.report.text import escaped, facts, paragraph, section, table

#: other clips of the file behind the one that is looked at, in the batch that the chain is given
OTHERS = 8
#: what happened to one view: names of effects, and the texts of what they drew
Drew = list[tuple[str, dict[str, str]]]


class Listened(NamedTuple):
    """What `listen` wrote and drew."""

    page: Path
    files: list[Path]  #: the original, then the views
    drew: list[Drew]  #: for each view
    notes: list[str]  #: what is not as one would expect, in plain sentences


def listen(
    path: Path | str,
    chain: Chain,
    out: Path | str,
    *,
    input_samples: int,
    views: int = 4,
    seed: int = 42,
    start_seconds: float | None = None,
    chain_name: str = "",
) -> Listened:
    """Writes `original.wav`, `view-1.wav` … and `page.html` into `out`; all of them, or none where it is interrupted.

    The clip has the chain's sample rate and the encoder's `input_samples`, from `start_seconds` on, by default in the
    middle of the file. Effects that mix rows of a batch find other clips of the same file there. The same seed gives
    the same files, and more views leave the first ones as they are.
    """
    if views < 1:
        raise UserError(f"views={views}: at least one is wanted")
    if chain.sample_rate is None or not len(chain.augmentations):
        raise UserError("listen wants a Chain with effects and a sample rate: Chain([...], sample_rate=22050)")
    if Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"{out}: is a file; give the folder to write into")
    cut = excerpts(
        path, sample_rate=chain.sample_rate, input_samples=input_samples, start_seconds=start_seconds, others=OTHERS
    )
    changed, drew = _views(cut, chain, views, torch.Generator().manual_seed(seed))
    waves = [cut.waves[0], *changed]
    peak = max(float(np.abs(wave).max()) for wave in waves)
    notes = _notes(Path(path), cut, peak, input_samples / chain.sample_rate)
    files = [Path(out) / name for name in ("original.wav", *(f"view-{number}.wav" for number in range(1, views + 1)))]
    page = Path(out) / "page.html"
    with ExitStack() as stack:  # files get their names when all of them are there, the page the last
        page_place, *places = [stack.enter_context(replacing(file)) for file in (page, *files)]
        for place, wave in zip(places, waves, strict=True):
            audio.write(place, wave / max(1.0, peak), chain.sample_rate)
        told = {
            "clip": f"{input_samples / chain.sample_rate:.2f} s of {cut.file_seconds:.2f} s, from "
            f"{cut.start_seconds:.2f} s on; {input_samples:,} samples at {chain.sample_rate:,} Hz, mono",
            "chain": chain_name,
            "seed": seed,
            "this page": f"ssl-music {version('ssl-music')}",
        }
        parts = [
            _opening(Path(path).name, told, notes),
            _cards(waves, drew, [place.read_bytes() for place in places], chain),
            _chain(chain, drew),
        ]
        text = document(parts, title="ssl_music: listen", own="listen")
        page_place.write_bytes(text.encode(errors="replace"))  # a name on disk may hold bytes that are no text
    return Listened(page, files, drew, notes)


def _views(
    cut: Excerpts, chain: Chain, count: int, generator: torch.Generator
) -> tuple[list[np.ndarray], list[Drew]]:
    """Each view is the first row of a batch of its own: so effects that mix rows never find the clip itself."""
    batch = torch.from_numpy(cut.waves)[:, None]  # (1 + others, 1, T)
    waves, drew = [], []
    with torch.no_grad():
        for _ in range(count):
            drawn = [its.of(torch.tensor([0])) for its in chain.draw(batch, generator)]
            waves.append(chain.apply_drawn(batch[:1], drawn)[0, 0].numpy())
            drew.append(described(chain, drawn, row=0))
    return waves, drew


def _notes(path: Path, cut: Excerpts, peak: float, clip_seconds: float) -> list[str]:
    notes = []
    if cut.repeated:
        notes.append(
            f"{path.name} lasts {cut.file_seconds:.2f} s and is repeated to fill a clip of {clip_seconds:.2f} s, as "
            "training does (short: loop)."
        )
    if not cut.waves[0].any():
        notes.append("The clip is silent; choose another with --start_seconds.")
    if peak > 1:
        notes.append(
            f"A view reaches {peak:.2f} times full scale: the sounds and the .wav files are all "
            f"{20 * np.log10(peak):.1f} dB quieter than what the encoder hears, so that none clips. The pictures and "
            "the levels show what the encoder hears."
        )
    return notes


def _opening(name: str, told: dict[str, object], notes: Sequence[str]) -> str:
    return "\n".join(
        [
            '<header><p class="kicker">Listen before you train</p>',
            f"<h1><bdi>{escaped(name)}</bdi></h1>",
            paragraph(
                "One clip as it is, and as an encoder would meet it in training. If you cannot tell that two of them "
                "are the same music, neither can an encoder.",
                kind="lead",
            ),
            *(f'<p class="alarm">{escaped(note)}</p>' for note in notes),
            f'<div class="provenance">{facts(told)}</div></header>',
        ]
    )


def _cards(waves: Sequence[np.ndarray], drew: Sequence[Drew], sounds: Sequence[bytes], chain: Chain) -> str:
    assert chain.sample_rate is not None
    mels = log_mels(waves, chain.sample_rate)
    scale = common_scale(waves, mels, chain.sample_rate)
    names = [type(effect).__name__ for effect in chain.augmentations]
    cards = []
    for number, (wave, mel, sound) in enumerate(zip(waves, mels, sounds, strict=True)):
        title = f"View {number}" if number else "Original"
        label = f"Waveform and log-mel spectrogram of {title.lower()}"
        file = f"view-{number}.wav" if number else "original.wav"
        inside = [
            f'<h3>{title} <a href="{file}">{file}</a></h3>',
            f'<audio controls preload="metadata" src="data:audio/wav;base64,{base64.b64encode(sound).decode()}">'
            "</audio>",
            _effects(drew[number - 1], names) if number else "",
            f'<p class="note">{_levels(wave)}</p>',
        ]
        cards.append(
            f'<article class="view" id="view-{number}"><div class="picture">'
            f"{svg(picture(wave, mel, scale, colour='accent' if number else 'muted'), label)}</div>"
            f'<div class="told">{"".join(inside)}</div></article>'
        )
    return section("Original and views", _key(), *cards, id="views")


def _key() -> str:
    note = (
        "All pictures share their scales: amplitude above, below it mel bands, with colours in dB under the "
        "loudest of all."
    )
    return (
        f'<div class="key" style="--left: {LEFT}; --right: {RIGHT}">{paragraph(note, kind="note")}'
        f"{svg(colour_key(), 'Colours: from black, 80 dB under the loudest, to pale yellow, the loudest')}</div>"
    )


def _effects(drew: Drew, names: Sequence[str]) -> str:
    """What happened to one view, in order, and what did not."""
    lines = []
    for name, values in drew:
        # "Gain −6 dB" needs no second "gain"
        texts = ", ".join(text.removeprefix(f"{name.lower()} ") for text in values.values())
        lines.append(f"<li><b>{escaped(name)}</b><span>{escaped(texts)}</span></li>")
    quiet = [name for name in dict.fromkeys(names) if name not in [drawn for drawn, _ in drew]]
    left_out = paragraph(f"not drawn: {escaped(', '.join(quiet))}", kind="note") if quiet else ""
    if not lines:
        return paragraph("No effect was drawn: this view is the original.")
    return f'<ul class="effects">{"".join(lines)}</ul>{left_out}'


def _levels(wave: np.ndarray) -> str:
    if not wave.any():
        return "silent"
    peak, power = float(np.abs(wave).max()), float(np.square(wave, dtype=np.float64).mean())
    return f"peak {_decibels(20 * np.log10(peak))}, level {_decibels(10 * np.log10(power))}"


def _decibels(value: float) -> str:
    return f"{value:.1f} dB".replace("-", "−")


def _chain(chain: Chain, drew: Sequence[Drew]) -> str:
    """Every effect with its chance, and how often it was drawn here."""
    effects = list(chain.augmentations)
    names = [type(effect).__name__ for effect in effects]
    counts = {name: sum(name == drawn for view in drew for drawn, _ in view) for name in names}
    lines = [
        # two effects of one kind share their count
        [name, f"{effect.p:g}", f"{counts[name]}" if names.count(name) == 1 else f"{counts[name]} together"]
        for name, effect in zip(names, effects, strict=True)
    ]
    return section(
        "The chain",
        table(["effect", "chance", f"drawn, of {len(drew)}"], lines, kind="chain"),
        f"<details><summary>With every number</summary><pre>{escaped(chain)}</pre></details>",
        id="chain",
    )
