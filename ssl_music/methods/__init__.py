"""How an encoder learns. A method is one file on one screen; `train` runs any of them.

    base         Method: losses of a batch, in; everything else about training, out
    simclr       SimCLR: two views of one track are nearer than views of different tracks; CLMR is a recipe of it
    supervised   Supervised: tags from scratch, by fine-tuning, or on a frozen encoder
    collapse     watches a training for embeddings that have become all the same
    train        the one training function: run folder, exact resume, best and last weights

A method of your own: subclass Method, write `losses`, import the file; a recipe names it `my_package.MyMethod`.
"""

from ssl_music.methods.base import Method
from ssl_music.methods.simclr import SimCLR
from ssl_music.methods.supervised import Supervised

__all__ = ["Method", "SimCLR", "Supervised"]
