"""Encoder × music → vectors, in one stream of bounded memory: a ten-hour file costs no more than a song.

chunks   blocks of audio → chunks of the length that the encoder wants
stream   many tracks → full batches → the network's outputs a track, decoding ahead of the forward pass
outputs  the network made ready for that, its window and hop checked
run      embed a catalog, embed a file
tagging  tag files, window by window or as a whole
"""

from ssl_music.embed.run import embed, embed_file
from ssl_music.embed.tagging import tag_files, taggrams

__all__ = ["embed", "embed_file", "tag_files", "taggrams"]
