"""From a model to its graph: captured by torch.export, translated to ONNX, told what it is."""

import importlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.utils._sympy.value_ranges import ValueRanges

from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.export.seal import sealed
from ssl_music.export.stft import matrix_stft
from ssl_music.tagger import Tagger

FORMAT = "ssl_music.graph/1"
WAVE, EMBEDDING, PROBABILITIES = "wave", "embedding", "probabilities"


class Graph(nn.Module):
    """What an exported file computes of a wave (B, 1, T).

    Of an encoder the embedding (B, D); of a tagger the probabilities (B, K) of its tags, then the embedding.
    """

    def __init__(self, model: Encoder | Tagger) -> None:
        super().__init__()
        self.model = model
        self.outputs = [PROBABILITIES, EMBEDDING] if isinstance(model, Tagger) else [EMBEDDING]

    def forward(self, wave: Tensor) -> tuple[Tensor, ...]:
        if not isinstance(self.model, Tagger):
            return (self.model(wave),)
        embedding = self.model.encoder(wave)
        return self.model.squashed(self.model.head(embedding)), embedding


def facts(model: Encoder | Tagger, provenance: dict[str, Any]) -> dict[str, str]:
    """What a program that runs the file has to know, as text."""
    tagger = model if isinstance(model, Tagger) else None
    encoder = model.encoder if isinstance(model, Tagger) else model
    return {
        "format": FORMAT,
        "class_path": encoder.facts()["class_path"],
        "spec": json.dumps(encoder.facts()["spec"]),
        "head": json.dumps(tagger and tagger.head_spec()),
        "tags": json.dumps(tagger.tags if tagger else []),
        "digest": model.digest(),
        "encoder_digest": encoder.digest(),
        "sample_rate": str(encoder.sample_rate),
        "input_samples": str(encoder.input_samples),
        "minimum_samples": str(encoder.minimum_samples),
        "embedding_dim": str(encoder.embedding_dim),
        "provenance": json.dumps(provenance, default=str),
    }


def captured(graph: Graph, encoder: Encoder, *, for_onnx: bool) -> ExportedProgram:
    """The graph for any batch and any length, with no Python left in it."""
    if for_onnx:
        _onnx()  # where it is missing, that is told before the work
    # of sizes 0 and 1 the capture believes that they are always so: what remains of time has to be more than one step
    samples = 2 * encoder.input_samples + 3 * encoder.minimum_samples
    try:
        with matrix_stft() if for_onnx else nullcontext(), torch.no_grad(), quiet():
            program = torch.export.export(
                graph,
                (torch.zeros(3, 1, samples),),
                dynamic_shapes=({0: Dim.DYNAMIC, 2: Dim.DYNAMIC},),
                strict=False,
            )
    except UserError:
        raise
    except Exception as error:  # the capture runs the encoder's own code, and raises what it likes
        raise _cannot(encoder, "torch.export cannot follow its forward for every batch and length", error) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # the paths of this machine
    return program


def onnx_bytes(program: ExportedProgram, graph: Graph, encoder: Encoder, metadata: dict[str, str]) -> bytes:
    """The program as a sealed ONNX file."""
    onnx = _onnx()
    try:
        with quiet():
            translated = torch.onnx.export(
                program, (), dynamo=True, verbose=False, input_names=[WAVE], output_names=graph.outputs
            )
    except Exception as error:
        raise _cannot(encoder, "its graph has no translation to ONNX", error) from error
    assert translated is not None
    model = translated.model_proto
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        node.ClearField("metadata_props")  # the paths of this machine, and most of a small file
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    (wave,) = model.graph.input
    wave.type.tensor_type.shape.dim[0].dim_param = "batch"
    wave.type.tensor_type.shape.dim[2].dim_param = "time"
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return sealed(model.SerializeToString())


def program_bytes(program: ExportedProgram, encoder: Encoder, metadata: dict[str, str]) -> bytes:
    """The program as a .pt2 file, run by `torch.export.load(path).module()`; `ssl_music.json` inside says what it is.

    The capture takes for granted that every size stays above 1, and guards the program so: clips of one step in time
    would be refused, though the same operations serve them. So the bounds are set to what the encoder takes, and
    the file is tried there like everywhere else.
    """
    (wave,) = [node for node in program.graph.nodes if node.name == WAVE]
    for size, least in ((wave.meta["val"].shape[0], 1), (wave.meta["val"].shape[2], encoder.minimum_samples)):
        bounds = program.range_constraints[size.node.expr]
        program.range_constraints[size.node.expr] = ValueRanges(least, bounds.upper)
    program._guards_code = []
    program.example_inputs = None  # would be stored too
    content = io.BytesIO()
    with quiet():
        torch.export.save(program, content, extra_files={"ssl_music.json": json.dumps(metadata)})
    return content.getvalue()


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporters say about themselves: libraries that we do not use, their own deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _onnx() -> ModuleType:
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise UserError(
            f"writing .onnx files wants the extra `onnx`: pip install 'ssl-music[onnx]' ({error})"
        ) from error


def _cannot(encoder: Encoder, what: str, error: Exception) -> UserError:
    first = str(error).strip().partition("\n")[0]
    return UserError(f"{type(encoder).__name__} cannot be exported, {what}: {type(error).__name__}: {first}")
