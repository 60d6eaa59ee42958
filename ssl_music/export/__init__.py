"""Encoders and taggers as files that other programs run, each checked against torch before it gets its name.

    run      export: .onnx (front end inside, any batch, any length), .pt2 (torch.export)
    graph    a model → the graph of torch.export → ONNX, with what has to be known of it
    stft     torch.stft as a matrix product, while a graph is captured
    check    noise, music, silence: does the file compute what torch computes?
    seal     the checksum at the end of an .onnx file
    runtime  an .onnx file in place of a checkpoint, run by ONNX Runtime; whichever of the two a path names

The extra `onnx` holds what .onnx files need: onnx and onnxscript to write them, onnxruntime to run them.
"""

from ssl_music.export.run import Exported, export
from ssl_music.export.runtime import OnnxEncoder, OnnxTagger, encoder_in, load_encoder, load_tagger, tagger_in

__all__ = [
    "Exported",
    "OnnxEncoder",
    "OnnxTagger",
    "encoder_in",
    "export",
    "load_encoder",
    "load_tagger",
    "tagger_in",
]
