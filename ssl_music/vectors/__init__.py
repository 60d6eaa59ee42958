"""The store of embeddings on disk: a vector per chunk, one per track, and what is known of the tracks.

layout   how a track is cut into chunks; what a store's header must say
writer   VectorsWriter: a track at a time, resumable
reader   Vectors: vectors, chunk times, splits, tags and targets
moments  their centre and scale

A directory holds the chunk vectors of all tracks behind each other (float32, see `_ledger`), `pooled.npy` with the
mean over each track's chunks, and a header that says which weights made them (`digest`), how tracks were cut into
chunks, and which catalog and split they are of: a number computed from vectors can always name where it comes from.
"""

from ssl_music.vectors.layout import HEADER, chunk_starts
from ssl_music.vectors.moments import centre_and_scale
from ssl_music.vectors.reader import Fault, Vectors
from ssl_music.vectors.writer import VectorsWriter

__all__ = ["HEADER", "Fault", "Vectors", "VectorsWriter", "centre_and_scale", "chunk_starts"]
