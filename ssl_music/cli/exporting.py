"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_music.cli.show import print_rows
from ssl_music.errors import unknown_name

ENDINGS = [".onnx", ".pt2", ".safetensors"]


def export(checkpoint: Path, out: Path, music: Path | None = None, encoder_only: bool = False) -> None:
    """Write an encoder or a tagger for other programs: ONNX, torch.export, or weights alone.

    The ending of --out chooses. .onnx holds everything from the waveform on, mel bands included, takes any batch and
    any length, and stands in place of a checkpoint in embed, tag and search; .pt2 is torch.export's; .safetensors
    holds the weights alone. The first two are checked against torch on noise and music, and not written where they
    differ by more than 1e-4.

    Args:
        checkpoint: the .safetensors file of an encoder or a tagger.
        out: the file to write.
        music: an audio file to check with, in place of built-in music.
        encoder_only: leave the head of a tagger out.
    """
    from ssl_music import checkpoint as weights

    if out.suffix not in ENDINGS:
        raise unknown_name("ending of --out", out.suffix, ENDINGS)
    model, provenance = weights.load(checkpoint), weights.provenance(checkpoint)
    model = weights.encoder_of(model) if encoder_only else model
    if out.suffix == ".safetensors":
        print(f"{out}: weights {weights.save(out, model, provenance=provenance)}")
        return
    from ssl_music import export as exporting

    done = exporting.export(model, out, provenance=provenance, music=music)
    rows: list[dict[str, Any]] = [
        {
            "input": trial.input,
            "batch": trial.batch,
            "samples": trial.samples,
            "difference from torch": f"{trial.difference:.1e}",
        }
        for trial in done.trials
    ]
    print_rows(rows, "table")
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, weights {done.digest}; largest difference from torch for noise "
        f"and music {done.difference:.1e} of the largest output"
    )
