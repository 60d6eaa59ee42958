"""FCN of the 2020 comparison and the CNN of the 2021 tutorial, with their files' names."""

import torch
from published.parts import Conv, decibels, mel_spectrogram
from torch import Tensor, nn


class FCN(nn.Module):
    """Keys: spec.*, spec_bn.*, layer1..5.{conv,bn}.*, dense.*; returns probabilities, as published."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = mel_spectrogram(16000, 512, 96)
        self.spec_bn = nn.BatchNorm2d(1)
        self.layer1 = Conv(2, 1, 64, 3, (2, 4))
        self.layer2 = Conv(2, 64, 128, 3, (2, 4))
        self.layer3 = Conv(2, 128, 128, 3, (2, 4))
        self.layer4 = Conv(2, 128, 128, 3, (3, 5))
        self.layer5 = Conv(2, 128, 64, 3, (4, 4))
        self.dense = nn.Linear(64, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.spec_bn(decibels(self.spec(wave)).unsqueeze(1))  # wave (B, T)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5):
            x = layer(x)
        return self.dense(x.flatten(1)).sigmoid()


class TutorialCNN(nn.Module):
    """Keys: melspec.*, input_bn.*, layer1..5.{conv,bn}.*, dense1.*, dense_bn.*, dense2.*; returns logits."""

    def __init__(self) -> None:
        super().__init__()
        self.melspec = mel_spectrogram(22050, 1024, 128)
        self.input_bn = nn.BatchNorm2d(1)
        self.layer1 = Conv(2, 1, 16, 3, (2, 3))
        self.layer2 = Conv(2, 16, 16, 3, (3, 4))
        self.layer3 = Conv(2, 16, 32, 3, (2, 5))
        self.layer4 = Conv(2, 32, 32, 3, (3, 3))
        self.layer5 = Conv(2, 32, 64, 3, (3, 4))
        self.dense1 = nn.Linear(64, 64)
        self.dense_bn = nn.BatchNorm1d(64)
        self.dense2 = nn.Linear(64, 10)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.input_bn(decibels(self.melspec(wave)).unsqueeze(1))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5):
            x = layer(x)
        return self.dense2(torch.relu(self.dense_bn(self.dense1(x.flatten(1)))))
