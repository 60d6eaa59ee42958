"""CLMR's SampleCNN (Spijkervet & Burgoyne 2021): pretraining and supervised files, of its first and second release.

`sequential.i.0` is the convolution of block i, `sequential.i.1` its norm. Lightning's files hold the encoder as
`encoder.` and once more inside the method, as `model.encoder.` (pretraining) or `model.` (supervised); the first
release has `encoder.` alone, and SampleCNN's own state dict no prefix. While it pretrains, `fc` is not in use. The
linear or MLP probe is `model.0` (and `model.2`), in a file of its own or beside `encoder.`.
"""

from dataclasses import replace

from ssl_music.encoders import SampleCNN
from ssl_music.importers.base import Form

SIGNATURE = ("sequential.0.0.weight",)
AGAIN = "the same encoder once more, as Lightning stores it"
NO_FC = "fc learns nothing while CLMR pretrains; a probe's file has a head: --head FILE"
PROJECTOR = "the projector of the contrastive training, which CLMR throws away after it"

PLAIN = Form(
    layout="clmr",
    name="SampleCNN of CLMR",
    signature=SIGNATURE,
    encoder=lambda _: SampleCNN(),
    renames=(
        (r"blocks\.(\d+)\.conv\.(.+)", "sequential.{1}.0.{2}"),
        (r"blocks\.(\d+)\.norm\.(.+)", "sequential.{1}.1.{2}"),
    ),
    heads=(("{prefix}fc",),),
)
SUPERVISED = replace(PLAIN, prefix="model.", others=((r"encoder\..+", AGAIN),))
PRETRAINED = replace(
    PLAIN,
    prefix="model.encoder.",
    heads=(),
    drops=((r"fc\..+", NO_FC),),
    others=((r"encoder\..+", AGAIN), (r"model\.projector\..+", PROJECTOR)),
)
#: the first release, and the encoder that lies in a probe's file
ENCODER = replace(
    PRETRAINED,
    prefix="encoder.",
    heads=(("model.0", "model.2"), ("model.0",)),
    others=((r"projector\..+", PROJECTOR),),
)
FORMS = (PRETRAINED, SUPERVISED, ENCODER, PLAIN)
