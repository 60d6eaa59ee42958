"""Augmentations: (B, 1, T) → (B, 1, T), random for each example, batched on the device.

    base     the contract: draw the numbers, apply them      chain    effects in order, linear ones fused
    level    PolarityInversion, Gain                         filters  HighLowPass, LowPass, HighPass,
    noise    Noise: white, pink, brown                                BandPass, BandStop
    equalizer  ParametricEQ
    echo     Delay, Comb                                     layers   parts that effects share
    room     Reverb                                          impulse  ImpulseResponse: the user's rooms
    dynamics Compressor, DynamicRangeCompression             mask     TimeMask, TimeReversal
    distortion  Clipping, Saturation                         mix      Mix: another example of the batch
    codec    LowFidelity
    pitch    PitchShift                                      tempo    TimeStretch, Varispeed
    foreign  Foreign: other people's transforms              presets  whole chains by name: clmr, tutorial, …

A new effect is one file with one class, and one line here.
"""

from ssl_music.augment.base import Augmentation, Drawn
from ssl_music.augment.chain import Chain
from ssl_music.augment.codec import LowFidelity
from ssl_music.augment.crop import RandomResizedCrop
from ssl_music.augment.distortion import Clipping, Saturation
from ssl_music.augment.dynamics import Compressor, DynamicRangeCompression
from ssl_music.augment.echo import Comb, Delay
from ssl_music.augment.equalizer import ParametricEQ
from ssl_music.augment.filters import BandPass, BandStop, HighLowPass, HighPass, LowPass
from ssl_music.augment.foreign import Foreign
from ssl_music.augment.impulse import ImpulseResponse
from ssl_music.augment.level import Gain, PolarityInversion
from ssl_music.augment.mask import TimeMask, TimeReversal
from ssl_music.augment.mix import Mix
from ssl_music.augment.noise import Noise
from ssl_music.augment.pitch import PitchShift
from ssl_music.augment.room import Reverb
from ssl_music.augment.tempo import TimeStretch, Varispeed

__all__ = [
    "Augmentation",
    "BandPass",
    "BandStop",
    "Chain",
    "Clipping",
    "Comb",
    "Compressor",
    "Delay",
    "Drawn",
    "DynamicRangeCompression",
    "Foreign",
    "Gain",
    "HighLowPass",
    "HighPass",
    "ImpulseResponse",
    "LowFidelity",
    "LowPass",
    "Mix",
    "Noise",
    "ParametricEQ",
    "PitchShift",
    "PolarityInversion",
    "RandomResizedCrop",
    "Reverb",
    "Saturation",
    "TimeMask",
    "TimeReversal",
    "TimeStretch",
    "Varispeed",
]
