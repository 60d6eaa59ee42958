"""Encoder × music → vectors, in one stream of bounded memory: a ten-hour file costs no more than a song.

chunks  blocks of audio → chunks of the length that the encoder wants
stream  many tracks → full batches → the network's outputs a track, decoding ahead of the forward pass
run     embed a catalog, embed a file, tag files
"""

from ssl_music.embed.run import embed, embed_file, tag_files

__all__ = ["embed", "embed_file", "tag_files"]
