"""What a song is tagged as, segment by segment, and how a song's tags come of those of its segments.

segments  Taggram: segments × tags, and when they begin
poolings  mean, vote, softmax, max: scores of segments → scores of songs
learned   poolings that are trained: attention and a small Transformer over the segments' embeddings
"""

from ssl_music.taggram.poolings import POOLINGS, pool
from ssl_music.taggram.segments import Taggram

__all__ = ["POOLINGS", "Taggram", "pool"]
