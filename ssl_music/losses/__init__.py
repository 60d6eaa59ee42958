"""Losses and health of embeddings: pure functions, tensors in, a number out.

contrastive  own view against all others: nt_xent (SimCLR, decoupled too), info_nce (MoCo v2), row_info_nce (MoCo v3),
             bilinear_cross_entropy (COLA), latent_info_nce (CPC); trivial_loss, what NT-Xent costs a guess
health       what tells a healthy embedding from a collapsed one: effective_rank, similarity_statistics
base         checks, at least float32, and row by row sums that hold one block of rows at a time

All of them are computed in float32 or better, under autocast too, and leave their arguments alone. Stop-gradients are
the caller's. Axes: B tracks · D numbers of an embedding · K keys, or tags · S steps in time · N rows.
"""

from ssl_music.losses.contrastive import (
    bilinear_cross_entropy,
    info_nce,
    latent_info_nce,
    nt_xent,
    row_info_nce,
    trivial_loss,
)
from ssl_music.losses.health import effective_rank, similarity_statistics

__all__ = [
    "bilinear_cross_entropy",
    "effective_rank",
    "info_nce",
    "latent_info_nce",
    "nt_xent",
    "row_info_nce",
    "similarity_statistics",
    "trivial_loss",
]
