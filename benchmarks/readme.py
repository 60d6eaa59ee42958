"""Numbers in the README are written by the script that measured them, between `<!-- benchmark: NAME -->` and its
end."""

from pathlib import Path

from ssl_music._files import replacing

README = Path(__file__).parent.parent / "README.md"


def fill_readme(name: str, table: str) -> None:
    """Puts `table` in the place that the README keeps for the benchmark `name`."""
    begin, end = f"<!-- benchmark: {name} -->\n", "<!-- end -->"
    before, rest = README.read_text().split(begin)
    with replacing(README) as path:
        path.write_text(f"{before}{begin}{table}\n{rest[rest.index(end) :]}")
