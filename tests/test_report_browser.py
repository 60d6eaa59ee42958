"""The page in a browser: a quiet console, enough on the screen in light, dark and on a phone, buttons that work."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from report_toy import make_bench, make_run

from ssl_music import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: install Debian's `chromium`")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
]
DARK, LIGHT = 0, 1  # of Blink's preferred colour scheme
#: presses every button and opens every part, and writes down what is wider than the window
PRESSING = """<script>
addEventListener("error", (event) => console.log("pressed: " + event.message));
for (const part of document.querySelectorAll("details")) part.open = true;
for (const button of document.querySelectorAll("button")) {
  button.click();
  button.dispatchEvent(new Event("pointerenter"));
}
const named = document.querySelectorAll("figure svg[aria-label], figure img[alt]").length;
const figures = document.querySelectorAll("figure").length;
document.title = ["wide", document.documentElement.scrollWidth, innerWidth, "named", named, figures].join(" ");
</script></body>"""


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.page(make_run(tmp_path_factory.mktemp("quickstart")))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tasks = {"tags": ("multi", 300), "genre": ("single", 14)}
    encoders = ["clmr", "byol", "random initialisation"]
    return report.page(make_bench(tmp_path_factory.mktemp("bench"), tasks=tasks, encoders=encoders))


def opened(page: Path, folder: Path, *options: str, scheme: int = LIGHT, size: str = "1400,2000") -> tuple[str, str]:
    """What chromium printed, and its console."""
    assert CHROMIUM is not None
    own = [f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"]
    done = subprocess.run(
        [CHROMIUM, *QUIET, *own, f"--window-size={size}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def shot(page: Path, folder: Path, **how: object) -> np.ndarray:
    """The screen as numbers from 0, black, to 1. Shape: (H, W, 3)."""
    _, console = opened(page, folder, f"--screenshot={folder / 'shot.png'}", **how)  # type: ignore[arg-type]
    assert not console
    return imread(folder / "shot.png")[..., :3]


@pytest.mark.parametrize("which", ["quickstart", "bench"])
def test_light_dark_and_phone(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    page = request.getfixturevalue(which)
    light, dark = (shot(page, tmp_path, scheme=scheme) for scheme in (LIGHT, DARK))
    phone = shot(page, tmp_path, size="420,2000")
    for seen, paper in ((light, 0.99), (dark, 0.09), (phone, 0.99)):
        assert seen[2, 2].mean() == pytest.approx(paper, abs=0.02)  # the paper of the palette
        assert (np.abs(seen - seen[2, 2]).max(axis=2) > 0.3).mean() > 0.01  # and enough ink on it
    assert phone.shape[1] == 420


@pytest.mark.parametrize("which", ["quickstart", "bench"])
@pytest.mark.parametrize("size", ["1400,2000", "420,900"])
def test_nothing_breaks_when_pressed(which: str, size: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    page = request.getfixturevalue(which).read_text(encoding="utf-8").replace("</body>", PRESSING)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    dom, console = opened(tmp_path / "page.html", tmp_path, "--dump-dom", size=size)
    assert not console
    found = re.search(r"<title>wide (\d+) (\d+) named (\d+) (\d+)</title>", dom)
    assert found is not None
    wide, window, named, figures = map(int, found.groups())
    assert wide <= window  # tables and figures scroll by themselves
    assert named == figures > 5  # each has words for those who cannot see it
    assert 'aria-pressed="true"' in dom or which == "bench"  # the bench has no vectors, so no map


def test_paper_has_everything(bench: Path, tmp_path: Path) -> None:
    opened(bench, tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", scheme=DARK)
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes())) > 10  # folded parts as well
