"""A study as rows: for people, one line a point; as CSV, one column a number."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_music._files import replacing
from ssl_music.metrics import Interval
from ssl_music.probe import NAMES

#: of a point, what has an interval
MEASURED = ("score", "change", "cosine", "plain_cosine")


def rows(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """One line a point, for the screen; an encoder's name only where there are several.

    >>> point = {"strength": 9.0, "unit": "dB", "label": "9 dB", "score": None, "cosine": [0.5, 0.4, 0.6]}
    >>> rows({"metric": "", "encoders": {"E": {"gain up": [point]}}})
    [{'effect': 'gain up', 'strength': '9 dB', 'cosine': '0.500 [0.400, 0.600]'}]
    """
    several = len(facts["encoders"]) > 1
    return [
        {
            "effect": effect,
            "strength": point["label"],
            **({"encoder": name} if several else {}),
            **(
                {NAMES[facts["metric"]]: str(Interval(*point["score"])), "change": f"{Interval(*point['change']):+}"}
                if facts["metric"]
                else {}
            ),
            "cosine": str(Interval(*point["cosine"])),
        }
        for effect in next(iter(facts["encoders"].values()))
        for name, curves in facts["encoders"].items()
        for point in curves[effect]
    ]


def write_csv(path: Path, facts: Mapping[str, Any]) -> None:
    """One line a point, one column a number; empty where there was no probe."""
    headings = [heading for name in MEASURED for heading in (name, f"{name}_low", f"{name}_high")]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["encoder", "effect", "strength", "unit", "label", *headings])
        for name, curves in facts["encoders"].items():
            for effect, points in curves.items():
                for point in points:
                    numbers = [number for key in MEASURED for number in point[key] or ("", "", "")]
                    writer.writerow([name, effect, point["strength"], point["unit"], point["label"], *numbers])
