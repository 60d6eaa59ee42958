"""What every encoder costs: training step and inference, in clips a second, FLOPs, share of the machine, memory.

    python benchmarks/encoders.py [--quick] [--rounds N] [--only NAME ...]     writes benchmarks/results/encoders.md

First SampleCNN in all its forms, in turns, so that a busy machine hurts all alike, the ratios being medians of
rounds: the plain form written out as published, ours, ours with `checkpointing`, and ours with norms folded. Then
every encoder that the family registers, and every published form that its file names in `FORMS`. A training step is
forward and backward; clips are the encoder's own length, as many as make up some 24 s of sound, two at least. The
ceiling is the fastest product of float32 matrices, 2,048 by 2,048, in the same run with as many threads. FLOPs are
those that torch.utils.flop_counter sees, convolutions and matrix products; a Fourier transform is none to it. Memory
is what torch allocates: held is what a forward pass leaves for the backward pass, peak the most during both.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import ssl_music.encoders as family
from ssl_music._files import replacing
from ssl_music._registry import members
from ssl_music.encoders import Encoder, SampleCNN, parameter_count
from ssl_music.encoders.folding import folded

RESULTS = Path(__file__).parent / "results" / "encoders.md"
SECONDS = 24
WIDTHS = [128, 128, 256, 256, 256, 256, 256, 256, 512]
MUST = {"float32": 1.1, "bf16": 2.5, "inference": 2.0, "memory": 3.0, "time": 1.35}
Step = Callable[[], object]


def published() -> nn.Sequential:
    """SampleCNN as CLMR published it: Conv1d, BatchNorm1d, ReLU, MaxPool1d in a row."""
    layers: list[nn.Module] = [nn.Conv1d(1, WIDTHS[0], 3, stride=3), nn.BatchNorm1d(WIDTHS[0]), nn.ReLU()]
    for inputs, outputs in zip([WIDTHS[0], *WIDTHS], WIDTHS, strict=False):
        layers += [nn.Conv1d(inputs, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(3)]
    return nn.Sequential(*layers, nn.Conv1d(512, 512, 3, padding=1), nn.BatchNorm1d(512), nn.ReLU(), nn.Flatten())


def training(network: nn.Module, wave: Tensor, *, bf16: bool = False) -> Step:
    network.train()

    def step() -> None:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = network.train()(wave)
        if out.requires_grad:
            out.float().square().mean().backward()

    return step


def inference(network: nn.Module, wave: Tensor, *, bf16: bool = False) -> Step:
    def step() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            network.eval()(wave)

    return step


def in_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, round by round; one round more is made before, and not counted."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if number:
                found[name].append(time.perf_counter() - begun)
    return found


def ceiling() -> float:
    """FLOP/s of a product of float32 matrices, at best."""
    side = 2048
    one, two = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / min(in_turns({"product": lambda: one @ two}, 5)["product"])


def memory(network: nn.Module, wave: Tensor) -> tuple[float, float]:
    """Bytes a clip of a training step: held between the passes, and at most."""

    def allocations(action: Callable[[], Any]) -> tuple[list[int], Any]:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            result = action()
        assert record.profiler is not None
        events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
        return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())], result

    training(network, wave)()  # the gradients are there then, and no activations
    forward, out = allocations(lambda: network(wave))
    held = sum(forward)
    backward, _ = allocations(out.float().square().mean().backward)
    return held / len(wave), max(accumulate(backward, initial=held)) / len(wave)


def sample_cnn_forms(rounds: int, batch: int) -> tuple[list[str], list[str]]:
    """Rows of the table of SampleCNN's forms, and what they reached of what they must."""
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(batch, 1, 59049)
    plain, ours, lean = published(), SampleCNN(), SampleCNN(checkpointing=True)
    fast = folded(SampleCNN())
    training_steps = {
        "as published, float32": training(plain, wave),
        "ours, float32": training(ours, wave),
        "ours, float32, checkpointing": training(lean, wave),
        "as published, bf16": training(plain, wave, bf16=True),
        "ours, bf16": training(ours, wave, bf16=True),
        "ours, bf16, checkpointing": training(lean, wave, bf16=True),
    }
    inferences = {
        "inference as published, float32": inference(plain, wave),
        "inference, ours, float32": inference(ours, wave),
        "inference, folded, float32": inference(fast, wave),
        "inference as published, bf16": inference(plain, wave, bf16=True),
        "inference, folded, bf16": inference(fast, wave, bf16=True),
    }
    seconds = in_turns(training_steps, rounds) | in_turns(inferences, rounds)

    def times(one: str, other: str) -> float:
        """How many times as long `other` takes as `one`."""
        return statistics.median(b / a for a, b in zip(seconds[one], seconds[other], strict=True))

    rows = []
    for name in seconds:
        base = "inference as published, float32" if name.startswith("inference") else "as published, float32"
        clips = batch / statistics.median(seconds[name])
        rows.append(f"| {name} | {torch.get_num_threads()} | {clips:.2f} | {times(name, base):.2f} × |")
    reached = {
        "float32": times("ours, float32", "as published, float32"),
        "bf16": times("ours, bf16", "as published, float32"),
        "inference": times("inference, folded, float32", "inference as published, float32"),
        "memory": memory(ours, wave)[0] / memory(lean, wave)[0],
        "time": times("ours, float32", "ours, float32, checkpointing"),
    }
    verdicts = []
    for name, wanted in MUST.items():
        kept = reached[name] <= wanted if name == "time" else reached[name] >= wanted
        sign = "≤" if name == "time" else "≥"
        verdicts.append(f"{name} {reached[name]:.2f} ({sign} {wanted}: {'yes' if kept else '**no**'})")
    return rows, verdicts


def candidates(only: list[str]) -> dict[str, Encoder]:
    """Every encoder of the family by name, and every form its file names, with the sizes of their papers."""
    found = {}
    for name, kind in members(Encoder).items():
        if kind.__module__.startswith(family.__name__) and (not only or name in only):
            found[name] = kind()
            for form, arguments in getattr(sys.modules[kind.__module__], "FORMS", {}).items():
                if arguments:
                    found[f"{name}, {form}"] = kind(**arguments)
    return found


def measure(name: str, encoder: Encoder, rounds: int, limit: dict[int, float], threads: list[int]) -> str:
    """A row of the family's table; `limit` rises where the machine shows more than it had before."""
    batch = max(2, round(SECONDS * encoder.sample_rate / encoder.input_samples))
    wave = 0.1 * torch.randn(batch, 1, encoder.input_samples)
    fast = folded(encoder)
    steps = {"step": training(encoder, wave), "bf16": training(encoder, wave, bf16=True)} | {
        "inference": inference(fast, wave)
    }
    flops = {}
    for key in ("inference", "step"):
        with FlopCounterMode(display=False) as counter:
            steps[key]()
        flops[key] = counter.get_total_flops() / batch
    cells = []
    for count in threads:
        torch.set_num_threads(count)
        limit[count] = max(limit[count], ceiling())
        rates = {key: batch / statistics.median(values) for key, values in in_turns(steps, rounds).items()}
        share = f"{rates['step'] * flops['step'] / limit[count]:.0%}" if flops["step"] else "–"
        cells.append(f"{rates['step']:.2f} | {rates['bf16']:.2f} | {share} | {rates['inference']:.2f}")
    torch.set_num_threads(1)
    held, peak = memory(encoder, wave) if parameter_count(encoder) else (0.0, 0.0)
    clip = f"{encoder.input_samples / encoder.sample_rate:.2f}"
    size = f"{parameter_count(encoder) / 1e6:.2f} | {flops['inference'] / 1e9:.2f} | {flops['step'] / 1e9:.2f}"
    row = f"| {name} | {clip} | {size} | {' | '.join(cells)} | {held / 1e6:.1f} | {peak / 1e6:.1f} |"
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, one thread, four clips; nothing is written")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="classes of the second table")
    options = parser.parse_args()
    rounds, batch = (1, 4) if options.quick else (options.rounds, 16)
    threads = [1] if options.quick else sorted({1, min(2, os.cpu_count() or 1)})
    limit, form_rows, sentences = {}, list[str](), list[str]()
    for count in threads:
        torch.set_num_threads(count)
        limit[count] = ceiling()
        rows, verdicts = sample_cnn_forms(rounds, batch)
        print(*rows, *verdicts, sep="\n", flush=True)
        form_rows += rows
        sentences.append(f"{count} thread(s): {', '.join(verdicts)}.")
    torch.set_num_threads(1)
    table = [measure(name, encoder, rounds, limit, threads) for name, encoder in candidates(options.only).items()]
    limits = ", ".join(f"{value / 1e9:.0f} GFLOP/s with {count} thread(s)" for count, value in limit.items())
    per_thread = [
        f"{part}, {count} thr." for count in threads for part in ("step clips/s", "bf16", "of ceiling", "inf.")
    ]
    head = ["encoder", "clip, s", "M params", "GFLOP forward", "GFLOP step", *per_thread, "MB held", "MB peak"]
    bf16 = "bf16 units" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "no bf16 units"
    machine = f"{os.cpu_count()} cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {bf16}), "
    machine += f"torch {torch.__version__}, Python {platform.python_version()}"
    text = f"""# Encoders: training step and inference

{machine}; medians of {rounds} rounds.
Ceiling (float32 matrix product): {limits}.

## SampleCNN, batches of {batch}

| form | threads | clips/s | beside the published float32 form |
|---|---:|---:|---:|
{chr(10).join(form_rows)}

What must be reached (memory: held activations without and with checkpointing; time: what checkpointing costs):

{chr(10).join(f"- {verdict}" for verdict in sentences)}

## The family, float32 training step unless said, inference with folded norms

| {" | ".join(head)} |
|---|{"---:|" * (len(head) - 1)}
{chr(10).join(table)}

MB are megabytes of activations a clip in a training step. Written by `benchmarks/encoders.py`.
"""
    if not (options.quick or options.only):
        with replacing(RESULTS) as temporary:
            temporary.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
