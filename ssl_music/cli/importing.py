"""The verb `import`; a Python keyword, so that its function has one more letter."""

from pathlib import Path

from ssl_music.cli.show import print_rows


def import_(
    file: Path,
    out: Path,
    *,
    layout: str | None = None,
    tags: list[str] | str | None = None,
    column: str | None = None,
    multi_label: bool | None = None,
    head: Path | None = None,
) -> None:
    """Turn published weights of another program into a checkpoint of ours, key by key and strictly.

    Nothing in the file is run. Without --tags the encoder alone is written. Layouts: won2020, clmr, mtt, mtt_teacher,
    tutorial, jamendo. Lists of tags: magnatagatune, msd, msd_cals, jamendo_top50, gtzan.

    Args:
        file: a .pt, .pth, .ckpt or .safetensors file with published keys.
        out: the .safetensors file to write.
        layout: how its keys are called; by default recognised from them.
        tags: what the head's outputs are called, in their order: a list's name, a file with one a line, or '[a, b]'.
        column: the label column that the tags are of; by default the list's.
        multi_label: whether several tags may be true at once; by default as the layout's training has it.
        head: a file with the head alone, as CLMR's probes have.
    """
    from ssl_music import checkpoint, importers
    from ssl_music.tagger import Tagger

    done = importers.load(file, layout=layout, tags=tags, column=column, multi_label=multi_label, head=head)
    digest = checkpoint.save(out, done.model, provenance=done.provenance)
    again = checkpoint.load(out)
    encoder = checkpoint.encoder_of(again)
    what = type(encoder).__name__
    if isinstance(again, Tagger):
        what += f" with a head for the {len(again.tags)} tags of {again.column!r}"
    print(f"{file}: layout {done.layout}, {done.name}")
    reasons: dict[str, list[str]] = {}
    for key, reason in done.dropped.items():
        reasons.setdefault(f"dropped\t{reason}", []).append(key)
    for key, reason in done.absent.items():
        reasons.setdefault(f"absent\t{reason}", []).append(key)
    if done.ignored:
        reasons["ignored\tbeside the weights"] = done.ignored
    rows = [
        {"what": what.partition("\t")[0], "keys": _few(keys), "because": what.partition("\t")[2]}
        for what, keys in reasons.items()
    ]
    print_rows(rows, "table")
    print(
        f"{out}: {what}, {encoder.sample_rate} Hz, {encoder.input_samples} samples, {encoder.embedding_dim} numbers"
    )
    print(f"digest: {digest}")


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" … ({len(keys)} in all)" if len(keys) > 3 else "")
