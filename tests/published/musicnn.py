"""MusiCNN of the 2020 comparison, both widths, with its files' names."""

import torch
from published.parts import Conv, decibels, mel_spectrogram
from torch import Tensor, nn
from torch.nn import functional as F


class Vertical(nn.Module):
    """Keys conv.*, bn.*: the image, the largest over frequency."""

    def __init__(self, outputs: int, height: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, (height, 7), padding=(0, 3))
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(image)))
        return F.max_pool2d(x, (x.shape[2], 1)).squeeze(2)


class Horizontal(nn.Module):
    """Keys conv.*, bn.*: the average over frequency, then along time."""

    def __init__(self, outputs: int, frames: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, outputs, frames, padding=frames // 2)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(F.avg_pool2d(image, (image.shape[2], 1)).squeeze(2))))


class Musicnn(nn.Module):
    """Keys: spec.*, spec_bn.*, layers.0..4.{conv,bn}.*, layer1..3.{conv,bn}.*, dense1.*, bn.*, dense2.*."""

    def __init__(self, *, width: int = 64, dense: int = 200) -> None:
        super().__init__()
        self.spec = mel_spectrogram(16000, 512, 96)
        self.spec_bn = nn.BatchNorm2d(1)
        self.layers = nn.ModuleList(
            [Vertical(204, 67), Vertical(204, 38), Horizontal(51, 129), Horizontal(51, 65), Horizontal(51, 33)]
        )
        self.layer1 = Conv(1, 561, width, 7, 1)
        self.layer2 = Conv(1, width, width, 7, 1)
        self.layer3 = Conv(1, width, width, 7, 1)
        self.dense1 = nn.Linear(2 * (561 + 3 * width), dense)
        self.bn = nn.BatchNorm1d(dense)
        self.dense2 = nn.Linear(dense, 50)

    def pooled(self, wave: Tensor) -> Tensor:
        x = self.spec_bn(decibels(self.spec(wave)).unsqueeze(1))  # wave (B, T)
        x = torch.cat([layer(x) for layer in self.layers], 1)
        first = self.layer1(x)
        second = self.layer2(first) + first
        third = self.layer3(second) + second
        x = torch.cat([x, first, second, third], 1)
        return torch.cat([F.max_pool1d(x, x.shape[2]), F.avg_pool1d(x, x.shape[2])], 1).squeeze(2)

    def forward(self, wave: Tensor) -> Tensor:
        return self.dense2(torch.relu(self.bn(self.dense1(self.pooled(wave))))).sigmoid()
