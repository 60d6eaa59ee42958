"""The Transformer layer that encoders share, in its two published orders; attention is torch's own.

"Attention is all you need" (Vaswani et al. 2017) puts the LayerNorms after the sums, as BERT does (Devlin et al.
2019); the vision Transformer (Dosovitskiy et al. 2021) has them before what is added. BERT and it have GELU between
the dense layers, in its exact form x Φ(x), and a hidden layer four times as wide.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.errors import UserError

#: hidden numbers of the feed-forward part for each number of a token
HIDDEN = 4


class TransformerLayer(nn.Module):
    """Attention and two dense layers, each added to what it sees.

    With `norm_first` x + attention(norm(x)), then x + dense(norm(x)), as in the vision Transformer; without it
    norm(x + attention(x)), then norm(x + dense(x)), as in BERT. `qkv` is one matrix for queries, keys and values, in
    this order, each of them head by head; its `qkv_bias` and the `epsilon` of the norms differ between the papers.

    Three dropouts, training only: `dropout` on what is added, `hidden_dropout` behind GELU, `attention_dropout` on
    the shares of the attention.

    Shape: (B, N, width) → (B, N, width), N tokens.

    >>> layer = TransformerLayer(8, heads=2, norm_first=True, qkv_bias=False)
    >>> layer(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        norm_first: bool,
        qkv_bias: bool,
        epsilon: float = 1e-5,
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UserError(f"attention wants heads that share {width} numbers a token equally; came {heads} heads")
        self.heads = heads
        self.norm_first = norm_first
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.dense_1 = nn.Linear(width, HIDDEN * width)
        self.dense_2 = nn.Linear(HIDDEN * width, width)
        self.dense_norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.norm_first:
            tokens = tokens + self._attend(self.attention_norm(tokens))
            return tokens + self._dense(self.dense_norm(tokens))
        tokens = self.attention_norm(tokens + self._attend(tokens))
        return self.dense_norm(tokens + self._dense(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        # (B, N, 3 · width) → three of (B, heads, N, width / heads)
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        chance = self.attention_dropout if self.training else 0.0
        heard = F.scaled_dot_product_attention(query, key, value, dropout_p=chance)
        return F.dropout(self.out(heard.transpose(1, 2).flatten(2)), self.dropout, self.training)  # (B, N, width)

    def _dense(self, tokens: Tensor) -> Tensor:
        hidden = F.dropout(F.gelu(self.dense_1(tokens)), self.hidden_dropout, self.training)
        return F.dropout(self.dense_2(hidden), self.dropout, self.training)


def with_class_token(token: Tensor, tokens: Tensor) -> Tensor:
    """`tokens` (B, N, width) with `token` (width,) before those of each example: (B, 1 + N, width).

    >>> with_class_token(torch.ones(8), torch.zeros(3, 5, 8)).sum(2)[0].tolist()
    [8.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    return torch.cat([token.expand(tokens.shape[0], 1, -1), tokens], dim=1)
