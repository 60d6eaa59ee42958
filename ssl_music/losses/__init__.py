"""Losses and health of embeddings: pure functions, tensors in, a number out.

contrastive  own view against all others: nt_xent (SimCLR, decoupled too), info_nce (MoCo v2), row_info_nce (MoCo v3),
             bilinear_cross_entropy (COLA), latent_info_nce (CPC); trivial_loss, what NT-Xent costs a guess
regression   no negatives: byol_regression, vicreg
soft         against probabilities: soft_cross_entropy, soft_binary_cross_entropy, entropy, divergence
health       what tells a healthy embedding from a collapsed one: effective_rank, similarity_statistics, alignment,
             uniformity
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
from ssl_music.losses.health import alignment, effective_rank, similarity_statistics, uniformity
from ssl_music.losses.regression import VicregTerms, byol_regression, vicreg
from ssl_music.losses.soft import divergence, entropy, soft_binary_cross_entropy, soft_cross_entropy

__all__ = [
    "VicregTerms",
    "alignment",
    "bilinear_cross_entropy",
    "byol_regression",
    "divergence",
    "effective_rank",
    "entropy",
    "info_nce",
    "latent_info_nce",
    "nt_xent",
    "row_info_nce",
    "similarity_statistics",
    "soft_binary_cross_entropy",
    "soft_cross_entropy",
    "trivial_loss",
    "uniformity",
    "vicreg",
]
