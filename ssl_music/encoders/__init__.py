"""Encoders: `(B, 1, T)` waveforms to `(B, D)` embeddings. An encoder never knows tags; a `Tagger` does.

    base         the contract                      spectrogram  the one log-mel front end
    layers       norms and blocks they share     pcen, specaugment  two of its options
    samplecnn    on raw samples, CLMR's            shortchunk   on log-mel, VGG-ish or residual
    statistics   no weights: the baseline beside which every result stands

To add one, write a file with a subclass of `Encoder` and import it here; tests/contracts/test_encoders.py finds it.
"""

from ssl_music.encoders.base import Encoder, parameter_count
from ssl_music.encoders.samplecnn import SampleCNN
from ssl_music.encoders.shortchunk import ShortChunk
from ssl_music.encoders.statistics import LogMelStatistics

__all__ = ["Encoder", "LogMelStatistics", "SampleCNN", "ShortChunk", "parameter_count"]
