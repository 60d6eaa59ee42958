"""Music Tagging Transformer with its files' names; a file of the training code puts `network.` before each."""

import torch
from published.parts import decibels, mel_spectrogram
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Keys conv_1..2.*, bn_1..2.*, and where the width changes conv_3.*, bn_3.*."""

    def __init__(self, inputs: int, outputs: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn_1 = nn.BatchNorm2d(outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(outputs)
        self.pool = pool
        self.differs = inputs != outputs
        if self.differs:
            self.conv_3 = nn.Conv2d(inputs, outputs, 3, padding=1)
            self.bn_3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn_2(self.conv_2(torch.relu(self.bn_1(self.conv_1(x)))))
        beside = self.bn_3(self.conv_3(x)) if self.differs else x
        return F.max_pool2d(torch.relu(beside + inner), self.pool)


class FrontEnd(nn.Module):
    """Keys input_bn.*, layer1..3.*, fc.*: one token for each column of the last image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_bn = nn.BatchNorm2d(1)
        self.layer1 = Residual(1, 128, (2, 2))
        self.layer2 = Residual(128, 128, (2, 2))
        self.layer3 = Residual(128, 128, (2, 1))
        self.fc = nn.Linear(16 * 128, width)

    def forward(self, image: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.input_bn(image))))  # (B, 128, 16, N)
        return torch.stack([self.fc(x[..., i].flatten(1)) for i in range(x.shape[3])], 1)


class Added(nn.Module):
    """Keys fn.norm.*, fn.fn.*: x + part(norm(x))."""

    def __init__(self, width: int, part: nn.Module) -> None:
        super().__init__()
        self.fn = nn.ModuleDict({"norm": nn.LayerNorm(width), "fn": part})

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn["fn"](self.fn["norm"](x))


class Attention(nn.Module):
    """Keys to_qkv.weight, to_out.0.*; 8 heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2] // 8
        query, key, value = self.to_qkv(x).chunk(3, -1)
        heard = []
        for own in (slice(size * head, size * head + size) for head in range(8)):
            shares = (query[..., own] @ key[..., own].transpose(1, 2) * size**-0.5).softmax(-1)
            heard.append(shares @ value[..., own])
        return self.to_out(torch.cat(heard, -1))


class FeedForward(nn.Module):
    """Keys net.0.*, net.3.*; between them GELU and a dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class MusicTaggingTransformer(nn.Module):
    """Keys: spec.*, frontend.*, pos_embedding, cls_token, transformer.layers.0..3.{0,1}.fn.*, mlp_head.{0,1}.*."""

    def __init__(self, *, width: int = 256) -> None:
        super().__init__()
        self.spec = mel_spectrogram(22050, 1024, 128)
        self.frontend = FrontEnd(width)
        self.pos_embedding = nn.Parameter(torch.randn(1, 513, width))
        self.cls_token = nn.Parameter(torch.randn(width))
        layers = [nn.ModuleList([Added(width, Attention(width)), Added(width, FeedForward(width))]) for _ in range(4)]
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.mlp_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 50))

    def forward(self, wave: Tensor) -> Tensor:
        x = self.frontend(decibels(self.spec(wave)).unsqueeze(1))  # wave (B, T)
        x = torch.cat([self.cls_token.repeat(len(x), 1, 1), x], 1)
        x = x + self.pos_embedding[:, : x.shape[1]]
        for attention, dense in self.transformer["layers"]:
            x = dense(attention(x))
        return self.mlp_head(x[:, 0]).sigmoid()
