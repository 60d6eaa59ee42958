"""The classifiers of a probe that are trained by gradient steps: `paper` as CLMR did it, and `mlp`.

Adam 1e-3, batch 256, at most 200 epochs, stopped after ten without a lower loss on the validation split; the weights
kept are those of the epoch with the lowest one (Spijkervet & Burgoyne, ISMIR 2021, section 3.5 and their code). The
global random state is left as it was.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ssl_music.probe.features import Scorer, TaskKind, probabilities, standardiser, tag_weights

LEARNING_RATE = 1e-3
BATCH_SIZE = 256
EPOCHS = 200
PATIENCE_EPOCHS = 10
HIDDEN_DIM = 512
DROPOUT = 0.5  #: the dense–ReLU–dropout head of Won et al. 2020 (arXiv 2006.00751)


class Trained(NamedTuple):
    """The classifier, and how many epochs it took to its best."""

    score: Scorer
    epochs: int


def fit_paper(
    train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray], *, kind: TaskKind, seed: int
) -> Trained:
    """CLMR's linear evaluation: one linear layer on the features as they are, every item of the same weight."""
    return _fit(train, valid, kind=kind, seed=seed, hidden_dim=0, prepare=_as_it_is, balance=None)


def fit_mlp(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    *,
    kind: TaskKind,
    seed: int,
    hidden_dim: int = HIDDEN_DIM,
) -> Trained:
    """One hidden layer with ReLU and dropout on standardised features; single-label tags count the same each."""
    balance = tag_weights(train[1]) if kind == "single" else None
    prepare = standardiser(train[0])
    return _fit(train, valid, kind=kind, seed=seed, hidden_dim=hidden_dim, prepare=prepare, balance=balance)


def _fit(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    *,
    kind: TaskKind,
    seed: int,
    hidden_dim: int,
    prepare: Scorer,
    balance: np.ndarray | None,
) -> Trained:
    scale = standardiser(train[1]) if kind == "numbers" else _as_it_is
    inputs, valid_inputs = (torch.from_numpy(prepare(part[0]).astype(np.float32)) for part in (train, valid))
    targets, valid_targets = (torch.from_numpy(scale(part[1]).astype(np.float32)) for part in (train, valid))
    loss = _loss(kind, balance)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _layers(inputs.shape[1], hidden_dim, targets.shape[1])
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        lowest, best, kept = float("inf"), 0, model.state_dict()
        for epoch in range(1, EPOCHS + 1):
            model.train()
            for rows in torch.randperm(len(inputs)).split(BATCH_SIZE):
                optimiser.zero_grad()
                loss(model(inputs[rows]), targets[rows]).backward()
                optimiser.step()
            model.eval()
            with torch.no_grad():
                reached = float(loss(model(valid_inputs), valid_targets))
            if reached < lowest:
                lowest, best = reached, epoch
                kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if epoch - best == PATIENCE_EPOCHS:
                break
        model.load_state_dict(kept)

    mean, deviation = train[1].mean(axis=0, dtype=np.float64), train[1].std(axis=0, dtype=np.float64)

    def score(features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits = model(torch.from_numpy(prepare(features).astype(np.float32))).numpy().astype(np.float64)
        return mean + deviation * logits if kind == "numbers" else probabilities(logits, kind)

    return Trained(score, best)


def _layers(width: int, hidden_dim: int, outputs: int) -> nn.Module:
    if not hidden_dim:
        return nn.Linear(width, outputs)
    return nn.Sequential(nn.Linear(width, hidden_dim), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(hidden_dim, outputs))


def _loss(kind: TaskKind, balance: np.ndarray | None) -> nn.Module:
    if kind == "numbers":
        return nn.MSELoss()
    if kind == "multi":
        return nn.BCEWithLogitsLoss()
    return nn.CrossEntropyLoss(weight=None if balance is None else torch.from_numpy(balance.astype(np.float32)))


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values
