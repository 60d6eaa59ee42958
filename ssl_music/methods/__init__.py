"""How an encoder learns. A method is one file on one screen; `train` runs any of them.

    base         Method: losses of a batch, in; everything else about training, out
    simclr       SimCLR: two views of one track are nearer than views of different tracks; CLMR is a recipe of it
    supervised   Supervised: tags from scratch, by fine-tuning, or on a frozen encoder
    vicreg       VICReg: two views alike, every dimension spread and saying something of its own; no negatives
    cola         COLA: two segments of one recording belong together, by a similarity that is learned
    cpc          CPC: what a recording has been tells which of many latents comes next in it
    collapse     watches a training for embeddings that have become all the same
    train        the one training function: run folder, exact resume, best and last weights

A method of your own: subclass Method, write `losses`, import the file; a recipe names it `my_package.MyMethod`.
"""

from ssl_music.methods.base import Method
from ssl_music.methods.cola import COLA
from ssl_music.methods.cpc import CPC
from ssl_music.methods.simclr import SimCLR
from ssl_music.methods.supervised import Supervised
from ssl_music.methods.vicreg import VICReg

__all__ = ["COLA", "CPC", "Method", "SimCLR", "Supervised", "VICReg"]
