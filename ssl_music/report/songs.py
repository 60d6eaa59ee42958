"""Songs to listen to: a few queries and their nearest songs, each with a few seconds inside the page."""

import base64
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_music import audio
from ssl_music._ledger import Row
from ssl_music.pack import Pack
from ssl_music.report.findings import Findings
from ssl_music.report.text import bar, clock, escaped, paragraph, section, titled

CLIP_SECONDS = 8.0
FADE_SECONDS = 0.03  # without it a cut clicks
#: what MPEG has; at any other rate the clip is flac, four times the size
MP3_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
MIME_TYPES = {".mp3": "audio/mpeg", ".flac": "audio/flac"}


def neighbours(findings: Findings) -> str:
    """The section of query songs and their neighbours; "" where there are none."""
    shown, store = findings.results.get("neighbours", []), findings.store
    if not shown or store is None:
        return ""
    by_id = {row.id: row for row in store.rows}
    chunk_seconds = store.header["input_samples"] / store.header["sample_rate"]
    players, columns = Players(findings.packed), list(findings.columns(store))
    cards = []
    for number, query in enumerate(shown, 1):
        own = by_id[query["id"]]
        lines = [_line(own, str(number), players.whole(own.id), columns=columns, labels=own.labels, kind="query")]
        for hit in query["hits"]:
            row = by_id[hit["id"]]
            player = players.around(row.id, hit["at_seconds"] + chunk_seconds / 2)
            lines.append(_line(row, "", player, columns=columns, labels=own.labels, hit=hit))
        if not query["hits"]:
            lines.append('<li class="note">Every other song is by the same artist or of the same group.</li>')
        cards.append(f'<article class="neighbours"><ol>{"".join(lines)}</ol></article>')
    intro = (
        "The numbered songs of the map, of the test split where there is one, and the songs whose embeddings lie "
        "nearest; other songs by the same artist or of the same group are left out. Similarity is a cosine around "
        f"the catalog's mean: 1 is the same, 0 unrelated. A player holds {CLIP_SECONDS:g} seconds around the passage "
        "that matched best, from the time beside it on. Labels that a song shares with the query are filled."
    )
    gone = "" if findings.packed else paragraph("No players: the packed music is not in the run folder any more.")
    return section("Listen: songs and their neighbours", paragraph(intro, kind="note"), gone, *cards, id="songs")


class Players:
    """Cuts clips out of packed music; without any, gives no players."""

    def __init__(self, packed: Pack | None) -> None:
        self.packed = packed
        self.rows = {track.id: number for number, track in enumerate(packed.tracks)} if packed else {}

    def whole(self, id: str) -> str:
        """A player of the middle of a song."""
        if self.packed is None or id not in self.rows:
            return ""
        return self.around(id, float(self.packed.samples[self.rows[id]] / self.packed.sample_rate / 2))

    def around(self, id: str, middle_seconds: float) -> str:
        """A player of the seconds around a moment; of a shorter song, all of it."""
        if self.packed is None or id not in self.rows:
            return ""
        rate, row = self.packed.sample_rate, self.rows[id]
        held = int(self.packed.samples[row])
        count = min(held, round(CLIP_SECONDS * rate))
        start = min(max(round(middle_seconds * rate) - count // 2, 0), held - count)
        samples = self.packed.gather(np.array([row]), np.array([start]), count)[0]
        return (
            f'<small title="where in the song it begins">{clock(start / rate)}</small>'
            f'<audio controls preload="none" src="{data_uri(samples, rate)}"></audio>'
        )


def data_uri(samples: np.ndarray, sample_rate: int) -> str:
    """int16 samples as an address that holds the sound itself; mp3, which every browser plays.

    >>> data_uri(np.zeros(8000, np.int16), 8000)[:22]
    'data:audio/mpeg;base64'
    """
    wave = samples.astype(np.float32) / 32768
    ramp = np.minimum(1.0, np.arange(1, len(wave) + 1) / (FADE_SECONDS * sample_rate)).astype(np.float32)
    ending = ".mp3" if sample_rate in MP3_RATES else ".flac"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{ending}"
        audio.write(path, wave * ramp * ramp[::-1], sample_rate)
        return f"data:{MIME_TYPES[ending]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _line(
    row: Row,
    number: str,
    player: str,
    *,
    columns: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    kind: str = "hit",
    hit: Mapping[str, Any] | None = None,
) -> str:
    """One song; `labels` are the query's, to show which of its own it shares."""
    chips = "".join(
        f"<li{' class=shared' if kind == 'hit' and tag in labels.get(column, ()) else ''} "
        f'title="{escaped(column)}">{escaped(tag)}</li>'
        for column in columns
        for tag in row.labels.get(column, ())
        if tag != row.artist
    )
    similarity = ""
    if hit is not None:
        share = min(max(hit["similarity"], 0.0), 1.0)
        similarity = f"{bar(share)}<b>{hit['similarity']:.2f}</b>"
    return (
        f'<li class="{kind}"><span class="number">{number}</span>'
        f'<div class="song">'
        f'<bdi class="title">{escaped(titled(row))}</bdi> <bdi class="artist">{escaped(row.artist)}</bdi>'
        f'<ul class="chips">{chips}</ul></div>'
        f'<div class="similarity">{similarity}</div><div class="player">{player}</div></li>'
    )
