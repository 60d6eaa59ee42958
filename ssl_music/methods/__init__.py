"""How an encoder learns. A method is one file on one screen; `train` runs any of them.

    base             Method: losses of a batch, in; everything else about training, out

    Views of one track and of others
    simclr           SimCLR: two views of one track are nearer than views of others; CLMR is a recipe of it
    moco             MoCo (v2): a view finds its other view among keys of many batches, kept in a queue
    moco_v3          MoCoV3: the same within a large batch, in both directions, with a predictor
    cola             COLA: two crops of one recording belong together, by a similarity that is learned
    byol             BYOL: each view predicts what a slower copy of the network makes of the other; no negatives
    vicreg           VICReg: two views alike, every dimension spread and saying something of its own; no negatives

    One recording
    cpc              CPC: what a recording has been tells which of many latents comes next in it
    pase             PASE: many small workers ask an embedding for waveform, spectrum, MFCC, prosody, and whose it is

    Tags
    supervised       Supervised: tags from scratch, by fine-tuning, or on a frozen encoder
    metric_learning  MetricLearning: tracks with the same tags are nearer than others (extra `metric`)
    noisy_student    NoisyStudent: a teacher labels what nobody has, a student learns from both and hears noise
    consistency      Consistency: the same answer for a noisy clip as for the clean one, and a sure one

    What else is known of a track
    editorial        Editorial: artists, albums or groups of artists as classes
    collaborative    Collaborative: item factors of collaborative filtering, from audio (extra `collaborative`)

    parts            what methods are put together from
    optimize         which optimizer turns gradients into steps, and at what rate
    train            the one training function: run folder, exact resume, best and last weights

A method of your own: subclass Method, write `losses`, import the file; a recipe names it `my_package.MyMethod`.
"""

from ssl_music.methods.base import Method
from ssl_music.methods.byol import BYOL
from ssl_music.methods.cola import COLA
from ssl_music.methods.collaborative import Collaborative
from ssl_music.methods.consistency import Consistency
from ssl_music.methods.cpc import CPC
from ssl_music.methods.editorial import Editorial
from ssl_music.methods.metric_learning import MetricLearning
from ssl_music.methods.moco import MoCo
from ssl_music.methods.moco_v3 import MoCoV3
from ssl_music.methods.noisy_student import NoisyStudent
from ssl_music.methods.pase import PASE
from ssl_music.methods.simclr import SimCLR
from ssl_music.methods.supervised import Supervised
from ssl_music.methods.vicreg import VICReg

__all__ = [
    "BYOL",
    "COLA",
    "CPC",
    "PASE",
    "Collaborative",
    "Consistency",
    "Editorial",
    "Method",
    "MetricLearning",
    "MoCo",
    "MoCoV3",
    "NoisyStudent",
    "SimCLR",
    "Supervised",
    "VICReg",
]
