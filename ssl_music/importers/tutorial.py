"""The CNN of the ISMIR 2021 tutorial on music classification (Won, Spijkervet & Choi), on GTZAN's ten genres."""

from ssl_music.encoders import FCN
from ssl_music.encoders.fcn import FORMS as FCN_FORMS
from ssl_music.importers.base import Form

FORMS = (
    Form(
        layout="tutorial",
        name="the tutorial's CNN",
        signature=("input_bn.weight", "dense_bn.weight"),
        encoder=lambda _: FCN(**FCN_FORMS["tutorial"]),
        renames=(
            (r"input_norm\.(.+)", "input_bn.{1}"),
            (r"blocks\.(\d)\.conv\.(.+)", "layer{1+1}.conv.{2}"),
            (r"blocks\.(\d)\.norm\.(.+)", "layer{1+1}.bn.{2}"),
            (r"dense_layer\.(.+)", "dense1.{1}"),
            (r"dense_norm\.(.+)", "dense_bn.{1}"),
        ),
        heads=(("dense2",),),
        front_end={"melspec.spectrogram.window": "log_mel.window", "melspec.mel_scale.fb": "log_mel.filterbank"},
        dropout=0.5,
        multi_label=False,  # one genre a song
    ),
)
