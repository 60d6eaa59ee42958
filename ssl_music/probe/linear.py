"""The linear classifier of a probe, for each strength of its penalty: logistic regression by L-BFGS.

Features are standardised by the mean and deviation of the items fitted on. Single-label tags weigh the same however
many items they have, as they do in balanced accuracy: an item of a tag with n of the N items counts N / (K · n).
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from threadpoolctl import threadpool_limits

from ssl_music.probe.features import Scorer, TaskKind, probabilities, standardiser, tag_weights

#: as scikit-learn's stopping rule: the largest element of the gradient; the objective is convex
GRADIENT_TOLERANCE = 1e-5
STEPS = 2000
#: N · D · K from which BLAS threads are used: below, they cost more than they save, and ten times as much as soon as
#: another program wants a core, for they spin while they wait for each other
WORTH_THREADS = 50_000_000


def linear_path(
    features: np.ndarray, targets: np.ndarray, *, kind: TaskKind, l2_strengths: Sequence[float]
) -> Iterator[Scorer]:
    """Logistic regression for each L2 strength in turn, each fit starting from the one before.

    Minimises, by L-BFGS in float64, the mean cross-entropy of the items + l2/2 · |weights|², the bias left out: for
    single-label tags softmax regression, for multi-label tags one independent regression a tag (they share the
    optimiser, not the objective). `l2` does not change its meaning with the number of items; scikit-learn's
    `LogisticRegression` has C = 1 / (l2 · N) and, for single-label tags, class_weight balanced.

    >>> features, targets = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> (score,) = linear_path(features, targets, kind="single", l2_strengths=[0.01])
    >>> score(np.array([[3.0]])).argmax(axis=1)
    array([1])
    """
    standardise = standardiser(features)
    inputs, targets = standardise(features), targets.astype(np.float64)
    balance = np.ones((len(targets), 1)) if kind == "multi" else targets @ tag_weights(targets)[:, None]  # (N, 1)
    loss = _independent_loss if kind == "multi" else _softmax_loss
    shape = (inputs.shape[1] + 1, targets.shape[1])  # the last row is the bias

    def objective(flat: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        parameters = flat.reshape(shape)
        values, residual = loss(inputs @ parameters[:-1] + parameters[-1], targets)
        residual *= balance
        gradient = np.vstack([inputs.T @ residual, residual.sum(axis=0)]) / len(inputs)
        gradient[:-1] += l2 * parameters[:-1]
        return float((balance * values).sum()) / len(inputs) + l2 / 2 * float(
            np.sum(parameters[:-1] ** 2)
        ), gradient.ravel()

    flat = np.zeros(shape[0] * shape[1])
    options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "gtol": GRADIENT_TOLERANCE, "ftol": 64 * np.finfo(float).eps}
    for l2 in l2_strengths:
        with threadpool_limits(1 if inputs.size * shape[1] < WORTH_THREADS else None, "blas"):
            found = minimize(objective, flat, args=(l2,), jac=True, method="L-BFGS-B", options=options)
        if found.status == 1:
            warnings.warn(f"the linear probe at L2 {l2:g} has not converged in {STEPS} steps", stacklevel=2)
        flat = found.x
        yield _linear_scorer(standardise, flat.reshape(shape), kind)


def _linear_scorer(standardise: Scorer, parameters: np.ndarray, kind: TaskKind) -> Scorer:
    return lambda features: probabilities(standardise(features) @ parameters[:-1] + parameters[-1], kind)


def _independent_loss(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binary cross-entropies (N, K), and their derivatives with respect to the logits (N, K)."""
    # log(1 + e^z) - y·z, without overflow
    softplus = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
    return softplus - targets * logits, expit(logits) - targets


def _softmax_loss(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropies, one term a tag (N, K), and their derivatives with respect to the logits (N, K)."""
    logarithm = log_softmax(logits, axis=1)
    return -targets * logarithm, np.exp(logarithm) - targets
