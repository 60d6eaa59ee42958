"""Who may import whom: the table of the design, kept by reading every file's imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ssl_music"
FREE = {
    "errors",
    "_files",
    "_ledger",
    "_memory",
    "_records",
    "_registry",
    "_torchaudio",
}  # small helpers that anyone may import
RANKS = [
    {"audio"},
    {"losses", "metrics", "vectors", "encoders", "augment", "catalogs"},
    {"tagger", "index", "probe", "pack", "clips", "taggram"},
    {"checkpoint"},
    {"importers", "embed", "export", "fingerprint"},
    {"methods", "robustness"},
    {"bench"},
    {"report", "serve", "hear", "quickstart"},
    {"cli"},
]
DOORS = {
    "soundfile": {"audio"},
    "soxr": {"audio"},
    "av": {"audio"},
    "torchaudio": {"_torchaudio"},
    "faiss": {"index"},
    "pytorch_lightning": {"methods", "cli"},
    "lightning": set(),
    "yaml": {"cli"},
    "jsonargparse": {"cli"},
    "fastapi": {"serve"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "onnxscript": {"export"},
    "matplotlib": {"report"},
    "pytorch_metric_learning": {"methods"},
    "pytorch_optimizer": {"methods"},
    "implicit": {"methods"},
}
#: inside a family, the files that its members share
SHARED = {
    "attention",
    "base",
    "chain",
    "convolve",
    "fused",
    "labels",
    "layers",
    "overlap",
    "pcen",
    "reading",
    "specaugment",
    "spectrogram",
    "streamed",
}
#: they put the members of a family together
GATHERING = {("__init__",), ("presets",)}
FILES = sorted(PACKAGE.rglob("*.py"))


def rank(family: str) -> int:
    return next(number for number, families in enumerate(RANKS) if family in families)


def imports(file: Path) -> list[tuple[str, ...]]:
    """Every module that the file imports, as a tuple of names; `from a import b` counts as a.b."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; write ssl_music.…"
            found += [(*str(node.module).split("."), alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_follow_the_table(file: Path) -> None:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    family = parts[0]
    for name in imports(file):
        if name[0] in DOORS:
            assert family in DOORS[name[0]], f"{name[0]} has one door: {DOORS[name[0]]}"
        if name[0] != "ssl_music" or len(name) == 1 or name[1] in FREE:
            continue
        assert family not in FREE and family != "__init__", f"a helper imports {'.'.join(name)}"
        if name[1] != family:
            assert rank(name[1]) < rank(family), f"{family} must not import {'.'.join(name)}"
        elif family in ("losses", "encoders", "augment", "catalogs", "methods") and parts[1:] not in GATHERING:
            of_own_parts = len(parts) > 2 or (len(name) > 2 and (PACKAGE / family / name[2]).is_dir())
            assert of_own_parts or (len(name) > 2 and name[2] in SHARED), f"sibling: {'.'.join(name)}"


def test_every_file_has_a_rank() -> None:
    families = {file.relative_to(PACKAGE).with_suffix("").parts[0] for file in FILES}
    assert families <= set().union(*RANKS) | FREE | {"__init__"}
    assert len(FILES) > 10
