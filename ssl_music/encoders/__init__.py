"""Encoders: `(B, 1, T)` waveforms to `(B, D)` embeddings. An encoder never knows tags; a `Tagger` does.

    base         the contract                      spectrogram  the one log-mel front end
    layers       norms and blocks they share     pcen, specaugment  two of its options
    samplecnn    on raw samples, CLMR's            shortchunk   on log-mel, VGG-ish or residual
    fcn          on log-mel: FCN, k2c2, tutorial   timecnn      kernels over time alone: k2c1, k1c2
    musicnn      tall and long filters
    statistics   no weights: the baseline beside which every result stands

To add one, write a file with a subclass of `Encoder` and import it here; tests/contracts/test_encoders.py finds it.
"""

from ssl_music.encoders.base import Encoder, parameter_count
from ssl_music.encoders.fcn import FCN
from ssl_music.encoders.musicnn import MusiCNN
from ssl_music.encoders.samplecnn import SampleCNN
from ssl_music.encoders.shortchunk import ShortChunk
from ssl_music.encoders.statistics import LogMelStatistics
from ssl_music.encoders.timecnn import TimeCNN

__all__ = ["FCN", "Encoder", "LogMelStatistics", "MusiCNN", "SampleCNN", "ShortChunk", "TimeCNN", "parameter_count"]
