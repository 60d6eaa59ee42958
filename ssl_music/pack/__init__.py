"""Catalog → one directory of int16 samples at one rate, memory-mapped, beside the table of its tracks.

writer    pack: decodes on all cores, resumable, broken files set aside with their reason
reader    Pack: the directory read back, a catalog and a source of samples at once
listing   verify (checksums) and export (CSV, Parquet)

int16 is full scale at 32768: x · 32768, rounded and limited to [-32768, 32767]; back, / 32768.
"""

from ssl_music.pack.listing import export, verify
from ssl_music.pack.reader import Pack
from ssl_music.pack.writer import pack

__all__ = ["Pack", "export", "pack", "verify"]
