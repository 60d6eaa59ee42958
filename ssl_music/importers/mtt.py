"""The Music Tagging Transformer (Won, Choi & Serra 2021), teacher and compact: `network.` before every key.

A student's file holds its teacher as well, under `teacher_network.`: layout mtt takes the student, mtt_teacher the
teacher. Width, layers and positions are read from the shapes.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ssl_music.encoders import Encoder, MusicTaggingTransformer
from ssl_music.importers.base import Form, Renames, size

RENAMES: Renames = (
    (r"input_norm\.(.+)", "frontend.input_bn.{1}"),
    (r"blocks\.(\d)\.conv_(\d)\.(.+)", "frontend.layer{1+1}.conv_{2}.{3}"),
    (r"blocks\.(\d)\.norm_(\d)\.(.+)", "frontend.layer{1+1}.bn_{2}.{3}"),
    (r"dense\.(.+)", "frontend.fc.{1}"),
    (r"position_embedding", "pos_embedding"),
    (r"class_token", "cls_token"),
    (r"transformer\.(\d+)\.attention_norm\.(.+)", "transformer.layers.{1}.0.fn.norm.{2}"),
    (r"transformer\.(\d+)\.qkv\.(.+)", "transformer.layers.{1}.0.fn.fn.to_qkv.{2}"),
    (r"transformer\.(\d+)\.out\.(.+)", "transformer.layers.{1}.0.fn.fn.to_out.0.{2}"),
    (r"transformer\.(\d+)\.dense_norm\.(.+)", "transformer.layers.{1}.1.fn.norm.{2}"),
    (r"transformer\.(\d+)\.dense_1\.(.+)", "transformer.layers.{1}.1.fn.fn.net.0.{2}"),
    (r"transformer\.(\d+)\.dense_2\.(.+)", "transformer.layers.{1}.1.fn.fn.net.3.{2}"),
    (r"output_norm\.(.+)", "mlp_head.0.{1}"),
)
TEACHER = "the student's teacher; it is taken by --layout mtt_teacher"
STUDENT = "the student; it is taken by --layout mtt"


def _encoder(tensors: Mapping[str, Tensor]) -> Encoder:
    layers = {found[1] for key in tensors if (found := re.match(r"transformer\.layers\.(\d+)\.", key))}
    return MusicTaggingTransformer(
        width=size(tensors, "cls_token", 0),
        layers=len(layers),
        conv_width=size(tensors, "frontend.layer1.conv_1.weight", 0),
        positions=size(tensors, "pos_embedding", 1) - 1,
    )


NETWORK = Form(
    layout="mtt",
    name="MusicTaggingTransformer",
    signature=("cls_token", "pos_embedding"),
    prefix="network.",
    encoder=_encoder,
    renames=RENAMES,
    heads=(("{prefix}mlp_head.1",),),
    others=((r"teacher.*", TEACHER),),
    front_end={"spec.spectrogram.window": "log_mel.window", "spec.mel_scale.fb": "log_mel.filterbank"},
)
FORMS = (
    NETWORK,
    replace(NETWORK, prefix=""),
    replace(
        NETWORK, layout="mtt_teacher", prefix="teacher_network.", others=((r"network\..+", STUDENT),), automatic=False
    ),
)
