"""CRNN of the 2020 comparison, with its files' names."""

from published.parts import Conv, decibels, mel_spectrogram
from torch import Tensor, nn


class CRNN(nn.Module):
    """Keys: spec.*, spec_bn.*, layer1..4.{conv,bn}.*, layer5.{weight,bias}_{ih,hh}_l{0,1} (a GRU), dense.*."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = mel_spectrogram(16000, 512, 96)
        self.spec_bn = nn.BatchNorm2d(1)
        self.layer1 = Conv(2, 1, 64, 3, (2, 2))
        self.layer2 = Conv(2, 64, 128, 3, (3, 3))
        self.layer3 = Conv(2, 128, 128, 3, (4, 4))
        self.layer4 = Conv(2, 128, 128, 3, (4, 4))
        self.layer5 = nn.GRU(128, 32, 2, batch_first=True)
        self.dense = nn.Linear(32, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.spec_bn(decibels(self.spec(wave)).unsqueeze(1))  # wave (B, T)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        steps, _ = self.layer5(x.squeeze(2).transpose(1, 2))
        return self.dense(steps[:, -1]).sigmoid()
