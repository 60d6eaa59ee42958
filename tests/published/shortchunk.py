"""Short-chunk CNN of the 2020 comparison, VGG-ish and residual, with its files' names."""

import torch
from published.cnnsa import Residual
from published.parts import Conv, decibels, mel_spectrogram
from torch import Tensor, nn
from torch.nn import functional as F

PLAN = [(1, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 256), (256, 512)]


class ShortChunkCNN(nn.Module):
    """Keys: spec.*, spec_bn.*, layer1..7.{conv,bn}.* or .{conv,bn}_{1,2,3}.*, dense1.*, bn.*, dense2.*."""

    def __init__(self, *, residual: bool) -> None:
        super().__init__()
        self.spec = mel_spectrogram(16000, 512, 128)
        self.spec_bn = nn.BatchNorm2d(1)
        for i, (inputs, outputs) in enumerate(PLAN):
            block = Residual(inputs, outputs, 2) if residual else Conv(2, inputs, outputs, 3, (2, 2))
            setattr(self, f"layer{i + 1}", block)
        self.dense1 = nn.Linear(512, 512)
        self.bn = nn.BatchNorm1d(512)
        self.dense2 = nn.Linear(512, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.spec_bn(decibels(self.spec(wave)).unsqueeze(1))  # wave (B, T)
        for i in range(7):
            x = getattr(self, f"layer{i + 1}")(x)
        x = x.squeeze(2)
        x = F.max_pool1d(x, x.shape[-1]).squeeze(2)
        return self.dense2(torch.relu(self.bn(self.dense1(x)))).sigmoid()
