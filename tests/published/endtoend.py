"""Dieleman & Schrauwen's end-to-end network, written from its row of the table; there is no published file."""

import torch
from torch import Tensor, nn


class EndToEnd(nn.Module):
    """Strided convolution, twice convolution and pooling, the mean over frames, dense 100; no norm."""

    def __init__(self, window: int, stride: int) -> None:
        super().__init__()
        self.strided = nn.Conv1d(1, 32, window, stride)
        self.conv1 = nn.Sequential(nn.ConstantPad1d((3, 4), 0.0), nn.Conv1d(32, 32, 8))
        self.conv2 = nn.Sequential(nn.ConstantPad1d((3, 4), 0.0), nn.Conv1d(32, 32, 8))
        self.dense1 = nn.Linear(32, 100)
        self.dense2 = nn.Linear(100, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = torch.relu(self.strided(wave))
        x = nn.MaxPool1d(4)(torch.relu(self.conv1(x)))
        x = nn.MaxPool1d(4)(torch.relu(self.conv2(x)))
        return self.dense2(torch.relu(self.dense1(x.mean(2))))
