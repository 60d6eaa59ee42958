"""SampleCNN with residual connections and squeeze-excitation (Kim, Lee & Nam, ICASSP 2018, arXiv 1710.10451)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import along_time, by_rows, channels_last, norm_1d, norm_2d, pooled_in_time, widths

#: clips that fit the cache of a CPU core
CPU_ROWS = 2


class SampleCNNSE(Encoder):
    """SampleCNN's plan, each convolution made a residual block of two whose channels are weighted by what they hold.

    In the form of the 2020 comparison (Won et al., arXiv 2006.00751): a block that steps by 3, `depth` blocks with
    max-pooling by 3, and a last one of convolutions of length 1; the gate's dense layers are C → C → C. The defaults
    are the published size: 3^10 = 59,049 samples at 16 kHz become one step in time.

    **The embedding is the 512-d activation of the dense layer, after its norm and ReLU**; what follows in the paper,
    dropout .5 and a linear layer to 50 tags, is `Tagger(encoder, tags, dropout=0.5)`, together 6,951,858 parameters
    (the encoder alone: 6,926,208).

    Any T of at least 3^(depth + 1) - 2 samples works; the dense layer reads the mean over the steps that remain.
    (The published network refuses a longer clip.)

    Shape: wave (B, 1, T) → (B, 4 · width).

    >>> encoder = SampleCNNSE(width=4, depth=5)
    >>> encoder(torch.zeros(2, 1, 1000)).shape
    torch.Size([2, 16])
    """

    folds = (("dense", "dense_norm"),)

    def __init__(self, *, width: int = 128, depth: int = 9, norm: str = "batch", sample_rate: int = 16000) -> None:
        super().__init__()
        self.width = width
        self.depth = depth
        self.norm = norm
        self.sample_rate = sample_rate
        channels = [1, width, *widths(width, depth)]
        channels.append(channels[-1])
        self.embedding_dim = channels[-1]
        self.input_samples = 3 ** (depth + 1)
        self.minimum_samples = self.input_samples - 2  # the first convolution is padded by one at both ends
        first = _Block(1, width, norm=norm, stride=3)
        middle = [_Block(channels[i], channels[i + 1], norm=norm, pool=3) for i in range(1, depth + 1)]
        last = _Block(channels[-2], channels[-1], norm=norm, kernel=1)
        self.blocks = nn.ModuleList([first, *middle, last])
        self.dense = nn.Linear(self.embedding_dim, self.embedding_dim)
        self.dense_norm = norm_1d(norm, self.embedding_dim)

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.check(wave).unsqueeze(2))  # (B, 1, 1, T): time along the width
        mean = self._mean(image) if self.training else by_rows(self._mean, image, rows=CPU_ROWS)
        return torch.relu(self.dense_norm(self.dense(mean)))  # (B, D)

    def _mean(self, image: Tensor) -> Tensor:
        for block in self.blocks:
            image = block(image)
        return image.mean((2, 3))  # (B, D)


class _Block(nn.Module):
    """Two convolutions with norms, their channels gated, added to what came in; ReLU and max-pooling.

    Where step or channels change, what came in passes a third convolution of the same length (not the usual 1).
    """

    def __init__(
        self, inputs: int, outputs: int, *, norm: str, kernel: int = 3, stride: int = 1, pool: int = 1
    ) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.norm_1 = norm_2d(norm, outputs)
        self.conv_2 = nn.Conv1d(outputs, outputs, kernel, padding=kernel // 2)
        self.norm_2 = norm_2d(norm, outputs)
        self.squeeze = nn.Linear(outputs, outputs)
        self.excite = nn.Linear(outputs, outputs)
        self.folds = [("conv_1", "norm_1"), ("conv_2", "norm_2")]
        self.shortcut = stride != 1 or inputs != outputs
        if self.shortcut:
            self.conv_3 = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
            self.norm_3 = norm_2d(norm, outputs)
            self.folds.append(("conv_3", "norm_3"))
        self.pool = pool

    def forward(self, image: Tensor) -> Tensor:
        inner = F.relu(self.norm_1(along_time(image, self.conv_1)), inplace=True)
        inner = self.norm_2(along_time(inner, self.conv_2))
        gate = self.excite(F.relu(self.squeeze(inner.mean((2, 3))))).sigmoid()[:, :, None, None]  # (B, C, 1, 1)
        beside = self.norm_3(along_time(image, self.conv_3)) if self.shortcut else image
        return F.relu(pooled_in_time(beside + inner * gate, self.pool), inplace=True)
