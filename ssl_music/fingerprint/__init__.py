"""Near-duplicates of recordings: the same audio through another codec, at another level, cut elsewhere.

bits     audio → one 32-bit sub-fingerprint every 11.6 ms (Haitsma & Kalker, ISMIR 2002)
store    the fingerprints of a catalog on disk
matches  which recordings of two sets share audio, and where
"""

from ssl_music.fingerprint.bits import fingerprint
from ssl_music.fingerprint.matches import Match, near_duplicates
from ssl_music.fingerprint.store import Fingerprints, fingerprint_catalog

__all__ = ["Fingerprints", "Match", "fingerprint", "fingerprint_catalog", "near_duplicates"]
