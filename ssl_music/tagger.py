"""An encoder, a head and the names of its tags: what turns a clip into tag probabilities."""

import hashlib
import json
from collections.abc import Sequence

from torch import Tensor, nn

from ssl_music.encoders import Encoder
from ssl_music.errors import UserError


class Tagger(nn.Module):
    """Tag logits of a clip: a linear head, or one hidden layer, on top of any encoder's embedding.

    `hidden_dim=0` is the linear head of CLMR's evaluation (Spijkervet & Burgoyne 2021, section 3.5), and with
    `dropout=0.5` that of the 2020 comparison (Won et al., arXiv 2006.00751): its dense layer is the encoder's.

    Shape: wave (B, 1, T) → logits (B, K), in the order of `tags`.

    >>> import torch
    >>> from ssl_music.encoders import SampleCNN
    >>> tagger = Tagger(SampleCNN(width=4), ["calm", "loud"], column="mood", multi_label=True).eval()
    >>> tagger(torch.zeros(1, 1, tagger.encoder.input_samples)).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: Encoder,
        tags: Sequence[str],
        *,
        column: str,
        multi_label: bool,
        hidden_dim: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not tags or len(set(tags)) != len(tags):
            raise UserError(f"a tagger wants one or more tags, each once; came {list(tags)}")
        if hidden_dim < 0 or not 0 <= dropout < 1:
            raise UserError(f"hidden_dim {hidden_dim}, dropout {dropout}: wanted 0 or more, and 0 up to below 1")
        self.encoder = encoder
        self.tags = list(tags)
        self.column = column
        self.multi_label = multi_label
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        layers: list[nn.Module] = []
        width = encoder.embedding_dim
        if hidden_dim:
            layers += [nn.Linear(width, hidden_dim), nn.ReLU()]
            width = hidden_dim
        self.head = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width, len(self.tags)))

    def head_spec(self) -> dict[str, object]:
        """Everything but the encoder that the constructor takes."""
        return {
            "tags": self.tags,
            "column": self.column,
            "multi_label": self.multi_label,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout,
        }

    def digest(self) -> str:
        """16 hex digits over the encoder, the head and the names of the tags."""
        total = hashlib.sha256(f"{self.encoder.digest()} {json.dumps(self.head_spec(), sort_keys=True)}".encode())
        for name, tensor in sorted(self.head.state_dict().items()):
            total.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.detach().cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    def forward(self, wave: Tensor) -> Tensor:
        """Logits, not probabilities."""
        return self.head(self.encoder(wave))  # (B, K)

    def probabilities(self, wave: Tensor) -> Tensor:
        """Independent probabilities of multi-label tags, or one distribution over single-label tags: (B, K)."""
        return self.squashed(self(wave))

    def squashed(self, logits: Tensor) -> Tensor:
        """The probabilities that logits (B, K) stand for."""
        return logits.float().sigmoid() if self.multi_label else logits.float().softmax(dim=1)
