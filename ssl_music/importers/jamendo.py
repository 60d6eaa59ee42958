"""MTG-Jamendo's baseline (Bogdanov et al. 2019; mtg-jamendo-dataset, scripts/baseline): FCN's shape with ELU.

Its network begins at the spectrogram, which Essentia made: 12 kHz, n_fft 512, hop 256, 96 bands on Slaney's scale of
equal area, of power, in twice ten times log10, down to -200. Ours gives once ten times; the factor of two goes into
the norm behind it, exactly. What is not the same: Essentia's Hann window is symmetric and its signal begins in zeros,
ours is periodic and reflected. The published forward drops out half of the embedding even when it predicts; ours not.
"""

from torch import Tensor, nn

from ssl_music.encoders import FCN
from ssl_music.encoders.fcn import FORMS as FCN_FORMS
from ssl_music.importers.base import Form

MEL = {"mel_scale": "slaney", "mel_norm": "slaney"}
EPSILON = nn.BatchNorm2d(1).eps


def _of_decibels(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first norm for half the input: (2x - m) / √(v + ε) is (x - m/2) / √(v' + ε) where v' + ε = (v + ε) / 4."""
    mean, variance = state["input_norm.running_mean"], state["input_norm.running_var"]
    return {
        **state,
        "input_norm.running_mean": mean / 2,
        "input_norm.running_var": (variance + EPSILON) / 4 - EPSILON,
    }


FORMS = (
    Form(
        layout="jamendo",
        name="MTG-Jamendo's baseline CNN",
        signature=("bn_init.weight", "conv_5.weight"),
        encoder=lambda _: FCN(**{**FCN_FORMS["k2c2"], "widths": [64, 128, 128, 128, 64], "mel": MEL}),
        renames=(
            (r"input_norm\.(.+)", "bn_init.{1}"),
            (r"blocks\.(\d)\.conv\.(.+)", "conv_{1+1}.{2}"),
            (r"blocks\.(\d)\.norm\.(.+)", "bn_{1+1}.{2}"),
        ),
        heads=(("dense",),),
        adjust=_of_decibels,
        dropout=0.5,
    ),
)
