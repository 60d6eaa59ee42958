"""MTG-Jamendo's baseline, with its file's names: from the spectrogram on, which here is its script's formula."""

import torch
from published.parts import decibels
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music._torchaudio import torchaudio


class JamendoCNN(nn.Module):
    """Keys: bn_init.*, conv_1..5.*, bn_1..5.*, dense.*; returns probabilities, as published, but for its dropout."""

    POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))

    def __init__(self, classes: int = 56) -> None:
        super().__init__()
        self.bn_init = nn.BatchNorm2d(1)
        widths = [1, 64, 128, 128, 128, 64]
        for i in range(1, 6):
            setattr(self, f"conv_{i}", nn.Conv2d(widths[i - 1], widths[i], 3, padding=1))
            setattr(self, f"bn_{i}", nn.BatchNorm2d(widths[i]))
        self.dense = nn.Linear(64, classes)

    def image(self, wave: Tensor) -> Tensor:
        """Twenty times log10 of the power in bands of equal area on Slaney's scale, (B, 96, F)."""
        power = torchaudio.functional.spectrogram(wave, 0, torch.hann_window(512), 512, 256, 512, 2.0, False)
        bank = torchaudio.functional.melscale_fbanks(257, 0.0, 6000.0, 96, 12000, norm="slaney", mel_scale="slaney")
        return 2 * decibels((power.transpose(1, 2) @ bank).transpose(1, 2))

    def forward(self, wave: Tensor) -> Tensor:
        x = self.bn_init(self.image(wave).unsqueeze(1))  # wave (B, T)
        for i, pool in enumerate(self.POOLS, 1):
            x = getattr(self, f"bn_{i}")(getattr(self, f"conv_{i}")(x))
            x = F.max_pool2d(F.elu(x), pool)
        return self.dense(x.flatten(1)).sigmoid()
