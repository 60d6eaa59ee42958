"""`export`: a model becomes a file that runs without this package, or nothing at all."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssl_music._files import replacing
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.export import graph as graphs
from ssl_music.export.check import SILENCE, TOLERANCE, Trial, trials
from ssl_music.export.runtime import session
from ssl_music.tagger import Tagger

ENDINGS = [".onnx", ".pt2"]


class Exported(NamedTuple):
    """A file that was written, the digest of its weights, and how far its outputs were from torch's."""

    path: Path
    digest: str
    trials: list[Trial]

    @property
    def difference(self) -> float:
        """The largest for noise and music, as a share of the largest output."""
        return max(trial.difference for trial in self.trials if trial.input != SILENCE)


def export(
    model: Encoder | Tagger,
    out: Path | str,
    *,
    provenance: dict[str, Any] | None = None,
    music: Path | str | None = None,
) -> Exported:
    """Writes `model` to `out`, whose ending chooses the format: .onnx, or .pt2 (torch.export).

    Waves (B, 1, T) at the encoder's rate go in, of any batch and any length that the encoder takes; the embedding
    comes out, or the probabilities of a tagger's tags and the embedding. The file carries the digest of its weights
    and what else has to be known. Before it gets its name it must compute what torch computes of noise and of
    music, the file `music` or a rendered piece: to 1e-4 of the largest output, or there is an error and no file.
    Of silence it must only give finite numbers.

    >>> import tempfile
    >>> from ssl_music.encoders import SampleCNN
    >>> done = export(SampleCNN(width=2, depth=3), Path(tempfile.mkdtemp()) / "encoder.pt2")
    >>> done.difference < 1e-5, [(trial.input, trial.batch, trial.samples) for trial in done.trials][:2]
    (True, [('noise', 1, 81), ('noise', 3, 81)])
    """
    out = Path(out)
    if out.suffix not in ENDINGS:
        raise unknown_name("ending of the file to export to", out.suffix, ENDINGS)
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    encoder = model.encoder if isinstance(model, Tagger) else model
    metadata = graphs.facts(model, provenance or {})
    graph = graphs.Graph(model)
    with replacing(out) as temporary:
        program = graphs.captured(graph, encoder, for_onnx=out.suffix == ".onnx")
        if out.suffix == ".onnx":
            temporary.write_bytes(graphs.onnx_bytes(program, graph, encoder, metadata))
            exported = _run_onnx(temporary)
        else:
            temporary.write_bytes(graphs.program_bytes(program, encoder, metadata))
            with graphs.quiet():
                exported = torch.export.load(temporary).module()
        done = trials(graph, exported, encoder, music=None if music is None else Path(music))
        for trial in done:
            if not trial.passed:
                raise UserError(_why_not(out, trial))
    return Exported(out, metadata["digest"], done)


def _why_not(out: Path, trial: Trial) -> str:
    told = (
        f"{out}: not written: its outputs differ from torch's by {trial.difference:.1e} of the largest, for "
        f"{trial.input} ({trial.batch}, 1, {trial.samples}); at most {TOLERANCE:g} is allowed"
    )
    if trial.inexact is None or not trial.inexact[1] < trial.inexact[0]:
        return told
    return (
        f"{told}. Bands that are empty there hold rounding alone: beside exact spectra torch is "
        f"{trial.inexact[0]:.1e} off, the file {trial.inexact[1]:.1e}; check with other music"
    )


def _run_onnx(path: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    running = session(path.read_bytes())

    def run(wave: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(output) for output in running.run(None, {graphs.WAVE: wave.numpy()}))

    return run
