"""The classifiers of a probe: features (N, D) and 0/1 targets (N, K) in, a function from features to scores out.

Both standardise every feature by the mean and deviation of the items that they are fitted on; a feature that is
constant there is only centred. Scores are probabilities: of each tag by itself where tags may go together
(`multi_label`), of one distribution over the tags otherwise. Single-label tags weigh the same however many items they
have, as they do in balanced accuracy: an item of a tag with n of the N items counts N / (K · n).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from threadpoolctl import threadpool_limits

Scorer = Callable[[np.ndarray], np.ndarray]

#: as scikit-learn's stopping rule: the largest element of the gradient; the objective is convex
GRADIENT_TOLERANCE = 1e-5
STEPS = 2000
#: N · D · K from which BLAS threads are used: below, they cost more than they save, and ten times as much as soon as
#: another program wants a core, for they spin while they wait for each other
WORTH_THREADS = 50_000_000

#: of CLMR's probe (Spijkervet & Burgoyne 2021): Adam 1e-3, batch 256, at most 200 epochs, early stop after 10
LEARNING_RATE = 1e-3
BATCH_SIZE = 256
EPOCHS = 200
PATIENCE_EPOCHS = 10
DROPOUT = 0.5  #: the dense–ReLU–dropout head of Won et al. 2020 (arXiv 2006.00751)


def linear_path(
    features: np.ndarray, targets: np.ndarray, *, multi_label: bool, l2_strengths: Sequence[float]
) -> Iterator[Scorer]:
    """Logistic regression for each L2 strength in turn, each fit starting from the one before.

    Minimises, by L-BFGS in float64, the mean cross-entropy of the items + l2/2 · |weights|², the bias left out: for
    single-label tags softmax regression, for multi-label tags one independent regression a tag (they share the
    optimiser, not the objective). `l2` does not change its meaning with the number of items; scikit-learn's
    `LogisticRegression` has C = 1 / (l2 · N) and, for single-label tags, class_weight balanced.

    >>> features, targets = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> (score,) = linear_path(features, targets, multi_label=False, l2_strengths=[0.01])
    >>> score(np.array([[3.0]])).argmax(axis=1)
    array([1])
    """
    standardise = _standardiser(features)
    inputs, targets = standardise(features), targets.astype(np.float64)
    balance = np.ones((len(targets), 1)) if multi_label else targets @ _tag_weights(targets)[:, None]  # (N, 1)
    loss = _independent_loss if multi_label else _softmax_loss
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
        yield _linear_scorer(standardise, flat.reshape(shape), multi_label)


def fit_mlp(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    *,
    multi_label: bool,
    hidden_dim: int,
    seed: int,
) -> Scorer:
    """One hidden layer with ReLU and dropout, Adam, at most 200 epochs, stopped early.

    The weights kept are those of the epoch with the lowest loss on `valid`; after ten epochs without a lower one
    the training ends. The global random state is left as it was.
    """
    import torch
    from torch import nn

    standardise = _standardiser(train[0])
    inputs, valid_inputs = (torch.from_numpy(standardise(part[0]).astype(np.float32)) for part in (train, valid))
    targets, valid_targets = (torch.from_numpy(part[1].astype(np.float32)) for part in (train, valid))
    balance = torch.from_numpy(_tag_weights(train[1]).astype(np.float32))
    loss = nn.BCEWithLogitsLoss() if multi_label else nn.CrossEntropyLoss(weight=balance)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width, tags = inputs.shape[1], targets.shape[1]
        model = nn.Sequential(
            nn.Linear(width, hidden_dim), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(hidden_dim, tags)
        )
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        lowest, waited, kept = float("inf"), 0, model.state_dict()
        for _ in range(EPOCHS):
            model.train()
            for rows in torch.randperm(len(inputs)).split(BATCH_SIZE):
                optimiser.zero_grad()
                loss(model(inputs[rows]), targets[rows]).backward()
                optimiser.step()
            model.eval()
            with torch.no_grad():
                reached = float(loss(model(valid_inputs), valid_targets))
            waited += 1
            if reached < lowest:
                lowest, waited = reached, 0
                kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if waited == PATIENCE_EPOCHS:
                break
        model.load_state_dict(kept)

    def score(features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits = model(torch.from_numpy(standardise(features).astype(np.float32))).numpy().astype(np.float64)
        return _probabilities(logits, multi_label)

    return score


def _standardiser(features: np.ndarray) -> Scorer:
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    # a constant column of float32 has a deviation of rounding size, not of zero
    constant = deviation <= 1e-6 * np.abs(mean)
    scale = np.where(constant, 1.0, deviation)
    return lambda features: (features - mean) / scale


def _linear_scorer(standardise: Scorer, parameters: np.ndarray, multi_label: bool) -> Scorer:
    return lambda features: _probabilities(standardise(features) @ parameters[:-1] + parameters[-1], multi_label)


def _probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    return expit(logits) if multi_label else np.exp(log_softmax(logits, axis=1))


def _tag_weights(targets: np.ndarray) -> np.ndarray:
    """What one item of each tag counts, so that all tags count the same. Shape: (N, K) → (K,)."""
    return len(targets) / (targets.shape[1] * targets.sum(axis=0))


def _independent_loss(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binary cross-entropies (N, K), and their derivatives with respect to the logits (N, K)."""
    # log(1 + e^z) - y·z, without overflow
    softplus = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
    return softplus - targets * logits, expit(logits) - targets


def _softmax_loss(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropies, one term a tag (N, K), and their derivatives with respect to the logits (N, K)."""
    logarithm = log_softmax(logits, axis=1)
    return -targets * logarithm, np.exp(logarithm) - targets
