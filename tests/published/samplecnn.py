"""SampleCNN: CLMR's, and the 2020 comparison's two, with their files' names."""

import torch
from torch import Tensor, nn

#: channels that come in and go out, and the pooling, of layers 1 to 11
PLAN = [(1, 128, 1), (128, 128, 3), (128, 128, 3), (128, 256, 3), *[(256, 256, 3)] * 5, (256, 512, 3), (512, 512, 1)]


class CLMR(nn.Module):
    """Keys: sequential.0..10.{0: conv, 1: norm}.*, fc.*; returns logits."""

    def __init__(self, classes: int = 50) -> None:
        super().__init__()
        blocks = []
        for inputs, outputs, pool in PLAN:
            first = inputs == 1
            conv = nn.Conv1d(inputs, outputs, 3, stride=3 if first else 1, padding=0 if first else 1)
            maximum = [nn.MaxPool1d(pool, stride=pool)] if pool > 1 else []
            blocks.append(nn.Sequential(conv, nn.BatchNorm1d(outputs), nn.ReLU(), *maximum))
        self.sequential = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(512, classes)

    def forward(self, wave: Tensor) -> Tensor:
        return self.fc(self.dropout(self.sequential(wave)).squeeze(2))  # wave (B, 1, 59049)


class Strided(nn.Module):
    """conv – bn – relu – max-pool with a step; keys conv.*, bn.*."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, pool: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.bn = nn.BatchNorm1d(outputs)
        self.mp = nn.MaxPool1d(pool)

    def forward(self, x: Tensor) -> Tensor:
        return self.mp(torch.relu(self.bn(self.conv(x))))


class SampleCNN(nn.Module):
    """Keys: layer1..11.{conv,bn}.*, dense.*; returns probabilities, as published."""

    def __init__(self) -> None:
        super().__init__()
        for i, (inputs, outputs, pool) in enumerate(PLAN):
            kernel, stride = 1 if i == 10 else 3, 3 if i == 0 else 1
            setattr(self, f"layer{i + 1}", Strided(inputs, outputs, kernel, stride, pool))
        self.dropout = nn.Dropout(0.5)
        self.dense = nn.Linear(512, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = wave.unsqueeze(1)  # wave (B, T)
        for i in range(11):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.dense(self.dropout(x.squeeze(-1))).sigmoid()


class ResidualSE(nn.Module):
    """Keys: {conv,bn}_{1,2}.*, dense1.*, dense2.*, and conv_3.*, bn_3.* where step or channels change."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, pool: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.bn_1 = nn.BatchNorm1d(outputs)
        self.conv_2 = nn.Conv1d(outputs, outputs, kernel, padding=kernel // 2)
        self.bn_2 = nn.BatchNorm1d(outputs)
        self.dense1 = nn.Linear(outputs, outputs)
        self.dense2 = nn.Linear(outputs, outputs)
        self.diff = stride != 1 or inputs != outputs
        if self.diff:
            self.conv_3 = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
            self.bn_3 = nn.BatchNorm1d(outputs)
        self.mp = nn.MaxPool1d(pool)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn_2(self.conv_2(torch.relu(self.bn_1(self.conv_1(x)))))
        gate = self.dense2(torch.relu(self.dense1(nn.AvgPool1d(out.size(-1))(out).squeeze(-1)))).sigmoid()
        if self.diff:
            x = self.bn_3(self.conv_3(x))
        return self.mp(torch.relu(x + out * gate.unsqueeze(-1)))


class SampleCNNSE(nn.Module):
    """Keys: layer1..11.{conv_1,bn_1,conv_2,bn_2,dense1,dense2[,conv_3,bn_3]}.*, dense1.*, bn.*, dense2.*.

    `thinner` divides every width, for a quick test.
    """

    def __init__(self, *, thinner: int = 1) -> None:
        super().__init__()
        for i, (inputs, outputs, pool) in enumerate(PLAN):
            kernel, stride = 1 if i == 10 else 3, 3 if i == 0 else 1
            come = 1 if i == 0 else inputs // thinner
            setattr(self, f"layer{i + 1}", ResidualSE(come, outputs // thinner, kernel, stride, pool))
        self.dropout = nn.Dropout(0.5)
        self.dense1 = nn.Linear(512 // thinner, 512 // thinner)
        self.bn = nn.BatchNorm1d(512 // thinner)
        self.dense2 = nn.Linear(512 // thinner, 50)

    def forward(self, wave: Tensor) -> Tensor:
        x = wave.unsqueeze(1)  # wave (B, T)
        for i in range(11):
            x = getattr(self, f"layer{i + 1}")(x)
        x = torch.relu(self.bn(self.dense1(x.squeeze(-1))))
        return self.dense2(self.dropout(x)).sigmoid()
