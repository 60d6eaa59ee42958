"""Parts of the published networks, written from the table of layers, with the names that their files use."""

import warnings
from typing import TypeVar

import torch
from torch import Tensor, nn

from ssl_music._torchaudio import torchaudio

Network = TypeVar("Network", bound=nn.Module)


def mel_spectrogram(sample_rate: int, n_fft: int, bands: int) -> nn.Module:
    """torchaudio's, as the published networks hold it: its files have spectrogram.window and mel_scale.fb."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filterbank")
        return torchaudio.transforms.MelSpectrogram(sample_rate, n_fft=n_fft, f_min=0.0, f_max=None, n_mels=bands)


def decibels(power: Tensor) -> Tensor:
    """`AmplitudeToDB` with its defaults."""
    return 10 * power.clamp(min=1e-10).log10()


class Conv(nn.Module):
    """conv – bn – relu – max-pool; keys conv.*, bn.*. `dims` is 1 or 2."""

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: int, pool: int | tuple[int, int]) -> None:
        super().__init__()
        convolution, norm, maximum = {
            1: (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
            2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
        }[dims]
        self.conv = convolution(inputs, outputs, kernel, padding=kernel // 2)
        self.bn = norm(outputs)
        self.mp = maximum(pool)

    def forward(self, x: Tensor) -> Tensor:
        return self.mp(torch.relu(self.bn(self.conv(x))))


def lively(module: Network) -> Network:
    """`module` with norms as after a training: no number is one or zero any more; in evaluation mode."""
    generator = torch.Generator().manual_seed(7)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (part.weight, part.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (part.bias, part.running_mean):
                tensor.data.normal_(0, 0.2, generator=generator)
        if isinstance(part, nn.LayerNorm):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0, 0.2, generator=generator)
    return module.eval()
