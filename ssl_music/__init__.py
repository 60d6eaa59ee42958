"""ssl_music: from a folder of unlabelled songs to an encoder that knows music, and on to tags and search.

    track ──audio──> waveform ──clips──> crop ──augment──> two views ──encoders──> embedding ──> number

    audio        any file → mono float32 at one rate          catalogs   what music exists: tracks, tags, splits
    pack         catalog → one memory-mapped int16 store      clips      track → fixed-length crops, in batches
    augment      (B, 1, T) → (B, 1, T), random per example    encoders   (B, 1, T) → (B, D)
    losses       pure functions                               methods    how an encoder learns: SimCLR, Supervised
    tagger       encoder + head + tag names                   checkpoint the only reader and writer of weights
    embed        encoder × catalog → vectors                  vectors    the store of embeddings on disk
    probe        what is linearly readable from vectors       metrics    arrays in, numbers out
    index        nearest songs                                report     pages that people look at
    hear         the HEAR benchmark's common API
    quickstart   the whole way, once, on built-in music       cli        the command line `ssl-music`

Axes: B batch · C channel (always 1) · T samples · F frames · M mel bands · D embedding · K tags · N items.
Units stand in names: _hz, _db, seconds, samples. Waveforms are float32 in [-1, 1], mono, `(B, 1, T)`.
"""
