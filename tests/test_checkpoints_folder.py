"""The weights that come with the project: unchanged, loadable, and named in the table."""

import hashlib
from pathlib import Path

import pytest

from ssl_music import checkpoint

FOLDER = Path(__file__).parent.parent / "checkpoints"
SUMS = dict(reversed(line.split()) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())


def test_every_file_is_listed() -> None:
    assert set(SUMS) == {path.name for path in FOLDER.glob("*.safetensors")} != set()


@pytest.mark.parametrize("name", SUMS)
def test_file_is_what_the_table_says(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SUMS[name]
    digest = checkpoint.load(FOLDER / name).digest()
    assert (
        f"| `{name}` |" in (FOLDER / "README.md").read_text() and f"`{digest}`" in (FOLDER / "README.md").read_text()
    )
    assert checkpoint.provenance(FOLDER / name)["catalog"]["fingerprint"]
