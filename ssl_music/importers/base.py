"""What a layout of keys says, and the strict engine that puts a file of that layout into our encoder and head.

Strict means: every key of the file is used, or named as dropped with its reason; every weight of ours comes from the
file, or is named as absent with its reason. Anything else is one error that names the first offending key.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.importers.heads import Head, head_of
from ssl_music.importers.read import finite

#: pattern of a key → template of others, or reason. In a template {2} is the second group, {1+1} the first plus one
Rules = tuple[tuple[str, str], ...]
#: as `Rules`, several templates where several tensors lie behind each other in one of ours
Renames = tuple[tuple[str, str | tuple[str, ...]], ...]

COUNTER = "num_batches_tracked"
UNCOUNTED = "files of torch before 0.4.1 do not count batches; nothing reads it where norms have a momentum"
RECOMPUTED = "window and filterbank are no learnt weights: ours are computed, and equal but for rounding"
EMPTIED = "emptied by the program that wrote it; ours is computed"
#: how far a stored window or filterbank may lie from ours: rounding of other versions of torchaudio
FRONT_END_TOLERANCE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Form:
    """One network of one layout: how its files are recognised, which encoder of ours it is, and its keys.

    `renames` go from a key of our encoder to the file's; `drops` are file keys that are not taken. Both are of keys
    behind `prefix`; `others` are whole keys of the rest of the file, dropped. `heads` name the linear layers that a
    classifier can be in, best first; {prefix} in them is `prefix`.
    """

    layout: str
    name: str
    #: keys that every such file has, and no other has all of them
    signature: tuple[str, ...]
    prefix: str = ""
    encoder: Callable[[Mapping[str, Tensor]], Encoder]
    renames: Renames
    heads: tuple[tuple[str, ...], ...]
    drops: Rules = ()
    others: Rules = ()
    #: stored constants of the front end → the buffers of ours that they must equal
    front_end: Mapping[str, str] | None = None
    adjust: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    dropout: float = 0.0
    multi_label: bool = True
    automatic: bool = True

    @property
    def needs(self) -> list[str]:
        """The keys of the signature as they stand in a file."""
        return [self.prefix + key for key in self.signature]

    def recognises(self, keys: Mapping[str, Tensor]) -> bool:
        """Whether the keys are this network's."""
        return all(key in keys for key in self.needs)


class Fitted(NamedTuple):
    """An encoder with a file's weights, the head that lay in the file too, and what was not taken, with reasons."""

    encoder: Encoder
    head: Head | None
    dropped: dict[str, str]
    absent: dict[str, str]


def fit(form: Form, file: str, tensors: Mapping[str, Tensor]) -> Fitted:
    """`tensors` of the layout `form` in our encoder; `file` is its name in errors."""
    inside = {key.removeprefix(form.prefix): key for key in tensors if key.startswith(form.prefix)}
    try:
        encoder = form.encoder({key: tensors[whole] for key, whole in inside.items()}).eval()
    except UserError as error:
        raise UserError(f"{file}: cannot be a {form.name}: {error}") from error
    ours = encoder.state_dict()
    sources = {key: [form.prefix + part for part in _renamed(key, form.renames)] for key in ours}
    wanted = {part: key for key, parts in sources.items() for part in parts}
    layers = next((names for names in _heads(form) if all(f"{name}.weight" in tensors for name in names)), ())
    of_head = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    dropped: dict[str, str] = {}
    for key, tensor in tensors.items():
        if key in wanted:
            _check(form, file, key, tensor, ours[wanted[key]], parts=len(sources[wanted[key]]))
        elif key not in of_head:
            dropped[key] = _reason(form, file, key, tensor, encoder)
    absent = {}
    for key, parts in sources.items():
        for part in parts:
            if part not in tensors:
                if not part.endswith(COUNTER):
                    raise UserError(f"{file}: the key {part} is missing, which {form.name} wants for its {key}")
                absent[part] = UNCOUNTED
    state = {
        key: torch.cat([tensors[part].to(ours[key].dtype) for part in parts])
        if len(parts) > 1
        else tensors.get(parts[0], ours[key])
        for key, parts in sources.items()
    }
    encoder.load_state_dict(form.adjust(state) if form.adjust else state)
    return Fitted(encoder, head_of(file, tensors, layers) if layers else None, dropped, absent)


def size(tensors: Mapping[str, Tensor], key: str, axis: int) -> int:
    """The size of an axis of a tensor of a file; 0 where it has no such axis."""
    if key not in tensors:
        raise UserError(f"the key {key} is missing")
    return tensors[key].shape[axis] if tensors[key].dim() > axis else 0


def _heads(form: Form) -> list[tuple[str, ...]]:
    return [tuple(layer.format(prefix=form.prefix) for layer in layers) for layers in form.heads]


def _renamed(key: str, renames: Renames) -> list[str]:
    """The keys of a file that `key` of ours is made of."""
    for pattern, templates in renames:
        if match := re.fullmatch(pattern, key):
            several = (templates,) if isinstance(templates, str) else templates
            return [_filled(template, match) for template in several]
    raise AssertionError(f"no rule of the layout names {key}")  # a defect of the layout, not of a file


def _filled(template: str, match: re.Match[str]) -> str:
    def one(found: re.Match[str]) -> str:
        group = match[int(found[1])]
        return str(int(group) + int(found[2])) if found[2] else group

    return re.sub(r"\{(\d)(\+\d)?\}", one, template)


def _check(form: Form, file: str, key: str, tensor: Tensor, ours: Tensor, *, parts: int) -> None:
    shape = (ours.shape[0] // parts, *ours.shape[1:]) if parts > 1 else tuple(ours.shape)
    if tuple(tensor.shape) != shape:
        raise UserError(f"{file}: {key} is of shape {tuple(tensor.shape)}, where {form.name} wants {shape}")
    finite(file, key, tensor)
    if tensor.is_floating_point() != ours.is_floating_point():
        raise UserError(f"{file}: {key} holds {tensor.dtype}, where {form.name} wants {ours.dtype}")


def _reason(form: Form, file: str, key: str, tensor: Tensor, encoder: Encoder) -> str:
    """Why `key` is not taken; an error where there is no reason."""
    inner = key.removeprefix(form.prefix) if key.startswith(form.prefix) else None
    if inner is not None and form.front_end and inner in form.front_end:
        if tensor.numel() == 0:  # the 2020 comparison's own loader empties the filterbank
            return EMPTIED
        _same_front_end(form, file, key, tensor, encoder.get_buffer(form.front_end[inner]))
        return RECOMPUTED
    for name, rules in ((inner, form.drops), (key, form.others)):
        for pattern, reason in rules:
            if name is not None and re.fullmatch(pattern, name):
                return reason
    raise UserError(
        f"{file}: the key {key} is no part of {form.name} (layout {form.layout}), nor known as one to leave out"
    )


def _same_front_end(form: Form, file: str, key: str, tensor: Tensor, ours: Tensor) -> None:
    if tensor.shape != ours.shape or not torch.isclose(tensor.to(ours), ours, atol=FRONT_END_TOLERANCE, rtol=0).all():
        raise UserError(
            f"{file}: {key}, of shape {tuple(tensor.shape)}, is not the front end of {form.name}, "
            f"{tuple(ours.shape)}: the network heard another spectrogram, and would not work behind ours"
        )
