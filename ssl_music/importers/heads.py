"""Classifiers of published files: one linear layer, or two with ReLU between them (CLMR's MLP probe)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.importers.read import finite, first, read
from ssl_music.tagger import Tagger

#: names of the linear layers in a file of a probe alone, best first; `model.` is CLMR's module around them
PROBES = (("model.0", "model.2"), ("model.0",), ("0", "2"), ("0",), ("model",), ("fc",))
#: a probe's file of Lightning holds the encoder too
ENCODER = (r"encoder\..+", "the probe's copy of the encoder; the encoder comes from its own file")


class Head(NamedTuple):
    """Weight and bias of each linear layer, first to last."""

    layers: list[tuple[Tensor, Tensor]]

    @property
    def tags(self) -> int:
        """How many tags it tells of."""
        return self.layers[-1][0].shape[0]

    @property
    def is_placeholder(self) -> bool:
        """Whether it holds zeros alone: CLMR's loader puts such a layer where none was trained."""
        return not any(bool(tensor.any()) for layer in self.layers for tensor in layer)

    def on(
        self, encoder: Encoder, tags: Sequence[str], *, file: str, column: str, multi_label: bool, dropout: float
    ) -> Tagger:
        """A tagger of this head behind `encoder`."""
        widths = [encoder.embedding_dim, *(weight.shape[0] for weight, _ in self.layers)]
        if self.tags != len(tags):
            raise UserError(
                f"{file}: its head tells of {self.tags} tags, and {len(tags)} names were given; give the names of "
                "the tags it was trained with, in their order"
            )
        for (weight, bias), inputs, outputs in zip(self.layers, widths, widths[1:], strict=False):
            if weight.shape != (outputs, inputs) or bias.shape != (outputs,):
                raise UserError(
                    f"{file}: a head with a weight of shape {tuple(weight.shape)} and a bias of {tuple(bias.shape)} "
                    f"does not stand on the {inputs} numbers of {type(encoder).__name__}"
                )
        hidden = widths[1] if len(self.layers) > 1 else 0
        tagger = Tagger(
            encoder, tags, column=column, multi_label=multi_label, hidden_dim=hidden, dropout=dropout
        ).eval()
        linear = [layer for layer in tagger.head if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, (weight, bias) in zip(linear, self.layers, strict=True):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        return tagger


def head_of(file: str, tensors: Mapping[str, Tensor], layers: Sequence[str]) -> Head:
    """The head in `tensors` whose linear layers are called `layers`."""
    found = []
    for layer in layers:
        pair = []
        for part, dims in (("weight", 2), ("bias", 1)):
            key = f"{layer}.{part}"
            if key not in tensors:
                raise UserError(f"{file}: the key {key} is missing, which the head wants")
            tensor = tensors[key].float()
            if tensor.dim() != dims:
                raise UserError(
                    f"{file}: {key} is of shape {tuple(tensor.shape)}, where a linear layer wants {dims}-D"
                )
            finite(file, key, tensor)
            pair.append(tensor)
        found.append((pair[0], pair[1]))
    return Head(found)


def read_head(path: Path | str) -> tuple[Head, dict[str, str]]:
    """The head in a file of its own, and what else of that file is dropped, with reasons."""
    weights = read(path)
    tensors = weights.tensors
    layers = next((names for names in PROBES if all(f"{name}.weight" in tensors for name in names)), None)
    if layers is None:
        raise UserError(
            f"{path}: no head; its first keys: {first(tensors)}. Known: linear layers called "
            + ", ".join(" and ".join(names) for names in PROBES)
        )
    used = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    dropped = {}
    for key in tensors:
        if key not in used:
            if not re.fullmatch(ENCODER[0], key):
                raise UserError(f"{path}: the key {key} is no part of a head of {' and '.join(layers)}")
            dropped[key] = ENCODER[1]
    return head_of(str(path), tensors, layers), dropped
