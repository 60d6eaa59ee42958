"""Harmonic CNN, with its files' names."""

import torch
from published.parts import Conv, decibels
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music._torchaudio import torchaudio


class Residual(nn.Module):
    """Keys: conv_1.*, bn_1.*, conv_2.*, bn_2.*."""

    def __init__(self, channels: int, pool: int | tuple[int, int]) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn_1 = nn.BatchNorm2d(channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(channels)
        self.mp = nn.MaxPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        return self.mp(torch.relu(x + self.bn_2(self.conv_2(torch.relu(self.bn_1(self.conv_1(x)))))))


class HarmonicSTFT(nn.Module):
    """Key: bw_Q, and the window of torchaudio's spectrogram. Two slopes of each triangle, as published."""

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.spec = torchaudio.transforms.Spectrogram(n_fft=n_fft, power=2)
        self.bw_Q = nn.Parameter(torch.ones(1))

    def filters(self, bins: int) -> Tensor:
        bins_hz = torch.linspace(0, 8000, bins).unsqueeze(1)
        pitches = [440 * 2 ** ((24 + step / 2 - 69) / 12) for step in range(128)]
        f0 = torch.tensor([harmonic * pitch for harmonic in range(1, 7) for pitch in pitches]).unsqueeze(0)
        width = (0.1079 * f0 + 24.7) / self.bw_Q
        up = bins_hz @ (2 / width) + 1 - 2 * f0 / width
        down = bins_hz @ (-2 / width) + 1 + 2 * f0 / width
        return torch.maximum(torch.zeros(1), torch.minimum(up, down))

    def forward(self, wave: Tensor) -> Tensor:
        power = self.spec(wave)
        filters = self.filters(power.shape[1])
        return decibels((power.transpose(1, 2) @ filters).transpose(1, 2).reshape(len(wave), 6, 128, -1))


class HarmonicCNN(nn.Module):
    """Keys: hstft.bw_Q, hstft_bn.*, layer1..7.*, dense1.*, bn.*, dense2.*; returns probabilities, as published."""

    def __init__(self, *, n_fft: int, last_pools: list[tuple[int, int]]) -> None:
        super().__init__()
        self.hstft = HarmonicSTFT(n_fft)
        self.hstft_bn = nn.BatchNorm2d(6)
        self.layer1 = Conv(2, 6, 128, 3, (2, 2))
        self.layer2, self.layer3, self.layer4 = (Residual(128, 2) for _ in range(3))
        self.layer5 = Conv(2, 128, 256, 3, (2, 2))
        self.layer6, self.layer7 = (Residual(256, pool) for pool in last_pools)
        self.dense1 = nn.Linear(256, 256)
        self.bn = nn.BatchNorm1d(256)
        self.dense2 = nn.Linear(256, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.hstft_bn(self.hstft(wave))  # wave (B, T)
        for i in range(1, 8):
            x = getattr(self, f"layer{i}")(x)
        x = x.squeeze(2)
        x = F.max_pool1d(x, x.shape[-1]).squeeze(2)
        return self.dense2(torch.relu(self.bn(self.dense1(x)))).sigmoid()
