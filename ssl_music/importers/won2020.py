"""The 2020 comparison (Won et al., arXiv 2006.00751): the keys of its nine networks, one state dict a file.

All of them end in a sigmoid inside the published forward; ours return logits, and a tagger takes their sigmoid.
Which of the three data sets a file is from, it does not say: the names of the tags have to be given.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ssl_music.encoders import CNNSA, CRNN, FCN, Encoder, HarmonicCNN, MusiCNN, SampleCNN, SampleCNNSE, ShortChunk
from ssl_music.encoders.harmonic import FORMS as HARMONIC_FORMS
from ssl_music.encoders.samplecnn import FORMS as SAMPLECNN_FORMS
from ssl_music.importers.base import Form, Renames, size

MEL = {"spec.spectrogram.window": "log_mel.window", "spec.mel_scale.fb": "log_mel.filterbank"}
HARMONIC = {"hstft.spec.window": "harmonic_bands.window"}

INPUT: Renames = ((r"input_norm\.(.+)", "spec_bn.{1}"),)
BLOCKS: Renames = (
    (r"blocks\.(\d+)\.conv\.(.+)", "layer{1+1}.conv.{2}"),
    (r"blocks\.(\d+)\.norm\.(.+)", "layer{1+1}.bn.{2}"),
)
RESIDUAL: Renames = (
    (r"blocks\.(\d+)\.conv_(\d)\.(.+)", "layer{1+1}.conv_{2}.{3}"),
    (r"blocks\.(\d+)\.norm_(\d)\.(.+)", "layer{1+1}.bn_{2}.{3}"),
)
DENSE: Renames = ((r"dense(?:_layer)?\.(.+)", "dense1.{1}"), (r"dense_norm\.(.+)", "bn.{1}"))
FRONT: Renames = (
    (r"vertical\.(\d)\.conv\.(.+)", "layers.{1}.conv.{2}"),
    (r"vertical\.(\d)\.norm\.(.+)", "layers.{1}.bn.{2}"),
    (r"horizontal\.(\d)\.conv\.(.+)", "layers.{1+2}.conv.{2}"),
    (r"horizontal\.(\d)\.norm\.(.+)", "layers.{1+2}.bn.{2}"),
    (r"middle\.(\d)\.conv\.(.+)", "layer{1+1}.conv.{2}"),
    (r"middle\.(\d)\.norm\.(.+)", "layer{1+1}.bn.{2}"),
)
GATES: Renames = (
    (r"blocks\.(\d+)\.squeeze\.(.+)", "layer{1+1}.dense1.{2}"),
    (r"blocks\.(\d+)\.excite\.(.+)", "layer{1+1}.dense2.{2}"),
)
#: queries, keys and values are one matrix of ours
BERT: Renames = (
    (
        r"transformer\.(\d)\.qkv\.(.+)",
        (
            "encoder.layer.{1}.attention.self.query.{2}",
            "encoder.layer.{1}.attention.self.key.{2}",
            "encoder.layer.{1}.attention.self.value.{2}",
        ),
    ),
    (r"transformer\.(\d)\.out\.(.+)", "encoder.layer.{1}.attention.output.dense.{2}"),
    (r"transformer\.(\d)\.attention_norm\.(.+)", "encoder.layer.{1}.attention.output.LayerNorm.{2}"),
    (r"transformer\.(\d)\.dense_1\.(.+)", "encoder.layer.{1}.intermediate.dense.{2}"),
    (r"transformer\.(\d)\.dense_2\.(.+)", "encoder.layer.{1}.output.dense.{2}"),
    (r"transformer\.(\d)\.dense_norm\.(.+)", "encoder.layer.{1}.output.LayerNorm.{2}"),
    (r"pooler\.(.+)", "pooler.dense.{1}"),
)
BANDS: Renames = ((r"harmonic_bands\.q", "hstft.bw_Q"), (r"input_norm\.(.+)", "hstft_bn.{1}"))


def _musicnn(tensors: Mapping[str, Tensor]) -> Encoder:
    """Of one width for MagnaTagATune and MTG-Jamendo, of another for the Million Song Dataset: the shapes say it."""
    return MusiCNN(width=size(tensors, "layer1.conv.weight", 0), dense=size(tensors, "dense1.weight", 0))


def _form(
    name: str,
    encoder: Callable[[Mapping[str, Tensor]], Encoder],
    signature: tuple[str, ...],
    renames: Renames,
    head: str,
    **further: Any,
) -> Form:
    return Form(
        layout="won2020",
        name=name,
        signature=signature,
        encoder=encoder,
        renames=renames,
        heads=((head,),),
        dropout=0.5,
        **{"front_end": MEL, **further},
    )


FORMS = (
    _form(
        "FCN",
        lambda _: FCN(),
        ("spec_bn.weight", "layer5.conv.weight", "dense.weight"),
        INPUT + BLOCKS,
        "dense",
    ),
    _form(
        "Musicnn",
        _musicnn,
        ("layers.0.conv.weight",),
        INPUT + FRONT + DENSE,
        "dense2",
    ),
    _form(
        "CRNN",
        lambda _: CRNN(),
        ("layer5.weight_ih_l0",),
        INPUT + BLOCKS + ((r"gru\.(.+)", "layer5.{1}"),),
        "dense",
    ),
    _form(
        "SampleCNN",
        lambda _: SampleCNN(**SAMPLECNN_FORMS["2020"]),
        ("layer11.conv.weight",),
        BLOCKS,
        "dense",
        front_end=None,
    ),
    _form(
        "SampleCNNSE",
        lambda _: SampleCNNSE(),
        ("layer11.conv_1.weight",),
        RESIDUAL + GATES + DENSE,
        "dense2",
        front_end=None,
    ),
    _form(
        "ShortChunkCNN",
        lambda _: ShortChunk(),
        ("spec_bn.weight", "layer7.conv.weight"),
        INPUT + BLOCKS + DENSE,
        "dense2",
    ),
    _form(
        "ShortChunkCNN_Res",
        lambda _: ShortChunk(residual=True),
        ("spec_bn.weight", "layer7.conv_1.weight", "dense1.weight"),
        INPUT + RESIDUAL + DENSE,
        "dense2",
    ),
    _form(
        "CNNSA",
        lambda _: CNNSA(),
        ("spec_bn.weight", "layer7.conv_1.weight", "pooler.dense.weight"),
        INPUT + RESIDUAL + BERT,
        "dense",
    ),
    _form(
        "HarmonicCNN",
        lambda _: HarmonicCNN(**HARMONIC_FORMS["2020"]),
        ("hstft.bw_Q",),
        BANDS + BLOCKS + RESIDUAL + DENSE,
        "dense2",
        front_end=HARMONIC,
    ),
)
