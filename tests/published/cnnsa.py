"""CNN-SA of the 2020 comparison, with its files' names: BERT's, below `encoder` and `pooler`."""

import math

import numpy as np
import torch
from published.parts import decibels, mel_spectrogram
from torch import Tensor, nn


class Residual(nn.Module):
    """Keys conv_1..3.*, bn_1..3.*: two convolutions beside a third one, the first of each stepping by `stride`."""

    def __init__(self, inputs: int, outputs: int, stride: int | tuple[int, int]) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn_1 = nn.BatchNorm2d(outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.bn_2 = nn.BatchNorm2d(outputs)
        self.conv_3 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn_3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn_2(self.conv_2(torch.relu(self.bn_1(self.conv_1(x)))))
        return torch.relu(self.bn_3(self.conv_3(x)) + inner)


def norm(x: Tensor, weights: nn.LayerNorm) -> Tensor:
    """Norm of the last axis with ε = 1e-12, out of its formula; the module only holds the weights."""
    deviation = x - x.mean(-1, keepdim=True)
    variance = deviation.square().mean(-1, keepdim=True)
    return weights.weight * deviation / (variance + 1e-12).sqrt() + weights.bias


class Layer(nn.Module):
    """Keys attention.self.{query,key,value}, {attention.output,output}.{dense,LayerNorm}, intermediate.dense."""

    def __init__(self) -> None:
        super().__init__()
        parts = {name: nn.Linear(256, 256) for name in ("query", "key", "value")}
        added = {"dense": nn.Linear(256, 256), "LayerNorm": nn.LayerNorm(256)}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(parts), "output": nn.ModuleDict(added)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(256, 1024)})
        self.output = nn.ModuleDict({"dense": nn.Linear(1024, 256), "LayerNorm": nn.LayerNorm(256)})

    def forward(self, x: Tensor) -> Tensor:
        heard = []
        for head in range(8):
            own = slice(32 * head, 32 * head + 32)
            query, key, value = (
                x @ part.weight[own].T + part.bias[own]
                for part in (self.attention["self"][name] for name in ("query", "key", "value"))
            )
            shares = (query @ key.transpose(1, 2) / math.sqrt(32)).softmax(-1)
            heard.append(shares @ value)
        added = self.attention["output"]
        x = norm(x + added["dense"](torch.cat(heard, -1)), added["LayerNorm"])
        hidden = self.intermediate["dense"](x)
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return norm(x + self.output["dense"](hidden), self.output["LayerNorm"])


class CNNSA(nn.Module):
    """Keys: spec.*, spec_bn.*, layer1..7.{conv,bn}_{1,2,3}.*, encoder.layer.{0,1}.*, pooler.dense.*, dense.*."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = mel_spectrogram(16000, 512, 128)
        self.spec_bn = nn.BatchNorm2d(1)
        self.layer1 = Residual(1, 128, 2)
        self.layer2 = Residual(128, 128, 2)
        self.layer3 = Residual(128, 256, 2)
        self.layer4 = Residual(256, 256, (2, 1))
        self.layer5 = Residual(256, 256, (2, 1))
        self.layer6 = Residual(256, 256, (2, 1))
        self.layer7 = Residual(256, 256, (2, 1))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList([Layer(), Layer()])})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(256, 256)})
        self.dense = nn.Linear(256, 50)
        # np.random.seed(0) and np.random.random((1, 256)) of the published code; the constant is in no file
        self.vec_cls = torch.Tensor(np.random.RandomState(0).random_sample((1, 256)))

    def forward(self, wave: Tensor) -> Tensor:
        x = self.spec_bn(decibels(self.spec(wave)).unsqueeze(1))  # wave (B, T)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6, self.layer7):
            x = layer(x)
        x = x.squeeze(2).permute(0, 2, 1)
        x = torch.cat([self.vec_cls.repeat(len(x), 1, 1), x], 1)
        for layer in self.encoder["layer"]:
            x = layer(x)
        return self.dense(self.pooler["dense"](x[:, 0]).tanh()).sigmoid()
