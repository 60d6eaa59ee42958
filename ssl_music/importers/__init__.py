"""Published weights of other programs → our encoder and head: strict, and without running anything from the file.

    read       the tensors of a .pt, .pth, .ckpt or .safetensors file, whatever its age
    base       what a layout of keys says; the engine that takes every key or names why not
    heads      linear and MLP classifiers          tags     the order of published tags
    won2020    the 2020 comparison's nine          clmr     CLMR's SampleCNN, both releases, and its probes
    mtt        Music Tagging Transformer           tutorial, jamendo   two networks of FCN's shape

To add a layout, write a file with its `FORMS` and gather them here.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.importers import clmr, jamendo, mtt, tutorial, won2020
from ssl_music.importers.base import Form, fit
from ssl_music.importers.heads import Head, read_head
from ssl_music.importers.read import Weights, first, read
from ssl_music.importers.tags import named, of_length
from ssl_music.tagger import Tagger

#: layout → what it is
LAYOUTS = {
    "won2020": f"the 2020 comparison: {', '.join(form.name for form in won2020.FORMS)}",
    "clmr": "CLMR's SampleCNN",
    "mtt": "Music Tagging Transformer; of a student's file the student",
    "mtt_teacher": "the teacher in a student's file",
    "tutorial": "the CNN of the ISMIR 2021 tutorial",
    "jamendo": "MTG-Jamendo's baseline",
}
FORMS: tuple[Form, ...] = (*won2020.FORMS, *clmr.FORMS, *mtt.FORMS, *tutorial.FORMS, *jamendo.FORMS)


class Imported(NamedTuple):
    """An encoder, or a tagger, with a file's weights; what became of every key; and how it came about."""

    model: Encoder | Tagger
    layout: str
    name: str
    dropped: dict[str, str]
    absent: dict[str, str]
    ignored: list[str]
    provenance: dict[str, Any]


def load(
    path: Path | str,
    *,
    layout: str | None = None,
    tags: str | Sequence[str] | None = None,
    column: str | None = None,
    multi_label: bool | None = None,
    head: Path | str | None = None,
) -> Imported:
    """The network in `path`, a file of one of `LAYOUTS` (recognised from its keys where `layout` is None).

    With `tags` (a published list's name, a file, or names in the head's order) it is a tagger of the head in `path`,
    or in the file `head`; without, the encoder alone. Raises UserError, naming the first key, where a file does not
    hold exactly what its layout says, or where what comes out is not finite.
    """
    path = Path(path)
    weights = read(path)
    form = _form(path, weights, layout)
    encoder, own_head, dropped, absent = fit(form, str(path), weights.tensors)
    chosen, source = own_head, path
    provenance: dict[str, Any] = {
        "imported": {"file": path.name, "sha256": _sha256(path), "layout": form.layout, "network": form.name}
    }
    if head is not None:
        chosen, of_head = read_head(head)
        dropped |= {f"{key} ({Path(head).name})": reason for key, reason in of_head.items()}
        source = Path(head)
        provenance["imported"]["head"] = {"file": source.name, "sha256": _sha256(source)}
    model: Encoder | Tagger = encoder
    if tags is None:
        dropped |= _headless(chosen, source)
    else:
        if chosen is None or chosen.is_placeholder:
            raise UserError(
                f"{source}: holds no trained head that the names of tags could belong to; give the file of a probe "
                "with --head FILE, or leave --tags out and import the encoder alone"
            )
        known = named(tags)
        model = chosen.on(
            encoder,
            known.names,
            file=str(source),
            column=column or known.column,
            multi_label=form.multi_label if multi_label is None else multi_label,
            dropout=form.dropout,
        )
        provenance["imported"]["tags"] = known.source
    if own_head is not None and chosen is not own_head:
        dropped["head"] = f"replaced by that of {source.name}"
    _check_forward(path, model)
    provenance["imported"]["dropped"] = dropped
    return Imported(model, form.layout, form.name, dropped, absent, weights.ignored, provenance)


def _form(path: Path, weights: Weights, layout: str | None) -> Form:
    if layout is not None and layout not in LAYOUTS:
        raise unknown_name("layout", layout, list(LAYOUTS))
    found = [form for form in FORMS if form.recognises(weights.tensors)]
    chosen = [form for form in found if (form.automatic if layout is None else form.layout == layout)]
    if chosen:
        return chosen[0]
    asked = "a known layout" if layout is None else f"layout {layout}"
    raise UserError(
        f"{path}: no weights of {asked}; the first keys are {first(weights.tensors)}. {_nearest(weights, found)}"
        f"Known layouts: {'; '.join(f'{name} ({what})' for name, what in LAYOUTS.items())}. "
        "A file that holds a head alone goes to --head"
    )


def _nearest(weights: Weights, found: list[Form]) -> str:
    """What the keys look like, if they look like anything."""
    if found:
        return f"They look like layout {found[0].layout}. "
    missing = [[key for key in form.needs if key not in weights.tensors] for form in FORMS]
    form, lacks = min(zip(FORMS, missing, strict=True), key=lambda pair: len(pair[1]) / len(pair[0].needs))
    if len(lacks) > len(form.needs) / 2:
        return ""
    return f"Nearest is {form.name} of layout {form.layout}, whose key {lacks[0]} is missing. "


def _headless(head: Head | None, source: Path) -> dict[str, str]:
    """Why the head is not taken, where no names of its tags are given."""
    if head is None:
        return {}
    if head.is_placeholder:
        return {"head": "all zeros: it was never trained"}
    lists = of_length(head.tags)
    known = f" (lists of that length: {', '.join(lists)})" if lists else ""
    return {
        "head": f"its {head.tags} tags have no names in {source.name}; give them, in their order, for a tagger: "
        f"--tags LIST{known}"
    }


@torch.no_grad()
def _check_forward(path: Path, model: Encoder | Tagger) -> None:
    """One clip of noise and one of silence, at the length that the weights were trained for, give finite numbers."""
    encoder = model.encoder if isinstance(model, Tagger) else model
    noise = 0.1 * torch.randn(1, 1, encoder.input_samples, generator=torch.Generator().manual_seed(0))
    for wave in (noise, torch.zeros_like(noise)):
        if not model(wave).isfinite().all():
            raise UserError(
                f"{path}: with these weights {type(encoder).__name__} does not give finite numbers: the file is "
                "damaged, or its training has diverged"
            )


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            total.update(block)
    return total.hexdigest()
