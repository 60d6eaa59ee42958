"""Encoders: `(B, 1, T)` waveforms to `(B, D)` embeddings. An encoder never knows tags; a `Tagger` does.

    base         the contract                      spectrogram  the one log-mel front end
    layers       norms and blocks they share     pcen, specaugment  two of its options
    folding      batch norm into the layer before it, for inference
    samplecnn    on raw samples, CLMR's, 2020's    shortchunk   on log-mel, VGG-ish or residual
    samplecnn_se residual, squeeze-excitation      endtoend     strided convolution (Dieleman 2014)
    harmonic     learnt bands at harmonics         streamed     SampleCNN's training without its memory
    fcn          on log-mel: FCN, k2c2, tutorial   timecnn      kernels over time alone: k2c1, k1c2
    musicnn      tall and long filters             crnn         convolutions, then a GRU
    cnnsa        residual blocks, then attention   taggingtransformer  Music Tagging Transformer
    attention    the Transformer layer of these two
    statistics   no weights: the baselines beside which every result stands

To add one, write a file with a subclass of `Encoder` and import it here; tests/contracts/test_encoders.py finds it.
"""

from ssl_music.encoders.base import Encoder, parameter_count
from ssl_music.encoders.cnnsa import CNNSA
from ssl_music.encoders.crnn import CRNN
from ssl_music.encoders.endtoend import EndToEnd
from ssl_music.encoders.fcn import FCN
from ssl_music.encoders.harmonic import HarmonicCNN
from ssl_music.encoders.musicnn import MusiCNN
from ssl_music.encoders.samplecnn import SampleCNN
from ssl_music.encoders.samplecnn_se import SampleCNNSE
from ssl_music.encoders.shortchunk import ShortChunk
from ssl_music.encoders.statistics import LogMelStatistics, MfccStatistics
from ssl_music.encoders.taggingtransformer import MusicTaggingTransformer
from ssl_music.encoders.timecnn import TimeCNN

__all__ = [
    "CNNSA",
    "CRNN",
    "FCN",
    "Encoder",
    "EndToEnd",
    "HarmonicCNN",
    "LogMelStatistics",
    "MfccStatistics",
    "MusiCNN",
    "MusicTaggingTransformer",
    "SampleCNN",
    "SampleCNNSE",
    "ShortChunk",
    "TimeCNN",
    "parameter_count",
]
