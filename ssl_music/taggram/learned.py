"""Poolings that are trained: from the embeddings of a song's segments, which stay as they are, to the song's tags.

`attention` is that of Ilse, Tomczak & Welling (ICML 2018, arXiv 1802.04712), equation 8: the song's embedding is
z = Σ a_i h_i with a = softmax over i of w·tanh(V h_i); `gated` is equation 9, w·(tanh(V h_i) ⊙ sigmoid(U h_i)).
`transformer` lets the segments see each other, in a small encoder whose first token stands for the song. None is told
where in the song a segment lies, so their order does not matter. Each ends in one linear layer.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ssl_music.errors import UserError, unknown_name

#: songs, each (n_i, D), in; their scores (N, K) out
SongScorer = Callable[[Sequence[np.ndarray]], np.ndarray]

ATTENTION_DIM = 128  #: rows of V, as in the code that Ilse et al. published
WIDTH, LAYERS, HEADS = 128, 2, 4  #: of the Transformer: small, for it sees hundreds of songs, not millions
DROPOUT = 0.1  #: Vaswani et al. 2017, section 5.4
#: as the probes are trained: Adam at 1e-3, at most 200 epochs, ended after ten without a lower loss on valid
LEARNING_RATE = 1e-3
EPOCHS = 200
PATIENCE_EPOCHS = 10
BATCH_SONGS = 32
SCORED_SEGMENTS = 8192  #: that one scored batch may hold, padding included


def fit(
    train: tuple[Sequence[np.ndarray], np.ndarray],
    valid: tuple[Sequence[np.ndarray], np.ndarray],
    *,
    kind: Literal["attention", "gated", "transformer"],
    multi_label: bool,
    seed: int = 0,
) -> SongScorer:
    """Trains on songs (n_i, D) with targets (N, K), and gives what scores other songs.

    Scores are probabilities: of each tag by itself where tags may go together, of one distribution over the tags
    otherwise. Features are standardised by the segments of `train`. Single-label tags weigh the same however many
    songs have them. The weights kept are those of the epoch with the lowest loss on `valid`. The global random state
    is left as it was.

    Raises UserError for a kind that is not known, for songs without segments, of differing widths or with NaN, and
    for a tag that no song of `train` has.

    >>> rng = np.random.default_rng(0)
    >>> songs = [rng.normal(size=(4, 3)) + 3 * (number % 2) for number in range(24)]
    >>> targets = np.eye(2)[np.arange(24) % 2]
    >>> score = fit((songs, targets), (songs, targets), kind="attention", multi_label=False)
    >>> float((score(songs).argmax(axis=1) == np.arange(24) % 2).mean())
    1.0
    """
    if kind not in KINDS:
        raise unknown_name("kind of trained pooling", kind, sorted(KINDS))
    width = _width([*train[0], *valid[0]])
    mean, scale = _standard(train[0])

    def padded(songs: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """(B, n, D) with zeros behind the shorter songs, and which are segments (B, n)."""
        lengths = torch.tensor([len(song) for song in songs])
        held = np.zeros((len(songs), int(lengths.max()), width), np.float32)
        for row, song in enumerate(songs):
            held[row, : len(song)] = (song - mean) / scale
        return torch.from_numpy(held), torch.arange(held.shape[1]) < lengths[:, None]

    targets, valid_targets = (torch.from_numpy(np.asarray(part[1], np.float32)) for part in (train, valid))
    if not (positives := targets.sum(dim=0)).all():
        raise UserError(f"no song of train has the tag in column {int(positives.argmin())}: it cannot be learnt")
    balance = len(targets) / (targets.shape[1] * positives)
    loss = nn.BCEWithLogitsLoss() if multi_label else nn.CrossEntropyLoss(weight=balance)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = KINDS[kind](width, targets.shape[1])
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        lowest, waited = float("inf"), 0
        kept = model.state_dict()
        for _ in range(EPOCHS):
            model.train()
            for rows in torch.randperm(len(targets)).split(BATCH_SONGS):
                optimiser.zero_grad()
                loss(model(*padded([train[0][row] for row in rows])), targets[rows]).backward()
                optimiser.step()
            reached = float(loss(_logits(model, valid[0], padded), valid_targets))
            waited += 1
            if reached < lowest:
                lowest, waited = reached, 0
                kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if waited == PATIENCE_EPOCHS:
                break
        model.load_state_dict(kept)

    def score(songs: Sequence[np.ndarray]) -> np.ndarray:
        if _width(songs) != width:
            raise UserError(f"trained on segments of {width} numbers; came {_width(songs)}")
        logits = _logits(model, songs, padded).double()
        return (logits.sigmoid() if multi_label else logits.softmax(dim=1)).numpy()

    return score


class Attention(nn.Module):
    """Shape: songs (B, n, D), which are segments (B, n) → logits (B, K)."""

    def __init__(self, width: int, tags: int, *, gated: bool = False) -> None:
        super().__init__()
        self.seen = nn.Linear(width, ATTENTION_DIM, bias=False)
        self.gate = nn.Linear(width, ATTENTION_DIM, bias=False) if gated else None
        self.weight = nn.Linear(ATTENTION_DIM, 1, bias=False)
        self.head = nn.Linear(width, tags)

    def forward(self, songs: Tensor, there: Tensor) -> Tensor:
        return self.head((self.weights(songs, there).unsqueeze(2) * songs).sum(dim=1))  # (B, K)

    def weights(self, songs: Tensor, there: Tensor) -> Tensor:
        """How much of each segment the song's embedding holds; they sum to one. Shape: (B, n)."""
        seen = self.seen(songs).tanh()
        if self.gate is not None:
            seen = seen * self.gate(songs).sigmoid()
        return self.weight(seen).squeeze(2).masked_fill(~there, -torch.inf).softmax(dim=1)  # (B, n)


class Transformer(nn.Module):
    """Shape: songs (B, n, D), which are segments (B, n) → logits (B, K)."""

    def __init__(self, width: int, tags: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, WIDTH)
        self.song = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, dim_feedforward=2 * WIDTH, dropout=DROPOUT, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, tags)

    def forward(self, songs: Tensor, there: Tensor) -> Tensor:
        tokens = torch.cat([self.song.expand(len(songs), 1, WIDTH), self.narrow(songs)], dim=1)  # (B, 1 + n, WIDTH)
        unseen = torch.cat([torch.zeros(len(songs), 1, dtype=torch.bool), ~there], dim=1)
        return self.head(self.layers(tokens, src_key_padding_mask=unseen)[:, 0])  # (B, K)


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "attention": Attention,
    "gated": lambda width, tags: Attention(width, tags, gated=True),
    "transformer": Transformer,
}


def _logits(model: nn.Module, songs: Sequence[np.ndarray], padded: Callable) -> Tensor:
    """Of many songs: those of similar length go together, so that little is padded. Shape: (N, K)."""
    model.eval()
    order = sorted(range(len(songs)), key=lambda number: len(songs[number]))
    with torch.no_grad():
        found = torch.cat([model(*padded([songs[number] for number in some])) for some in _batches(songs, order)])
    return found[torch.argsort(torch.tensor(order))]


def _batches(songs: Sequence[np.ndarray], order: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for number in order:  # each song is at least as long as those before it
        if batch and (len(batch) + 1) * len(songs[number]) > SCORED_SEGMENTS:
            yield batch
            batch = []
        batch.append(number)
    yield batch


def _width(songs: Sequence[np.ndarray]) -> int:
    shapes = {np.shape(song)[1:] for song in songs}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not all(len(song) for song in songs):
        raise UserError(f"songs must be (n, D) each, of one D and n of at least 1; came {sorted(shapes)} behind n")
    return next(iter(shapes))[0]


def _standard(songs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every feature over all segments, one song in memory at a time. Shape: (D,) each."""
    count = sum(len(song) for song in songs)
    mean = sum(song.sum(axis=0, dtype=np.float64) for song in songs) / count
    if not np.isfinite(mean).all():
        raise UserError("the embeddings of the segments hold NaN or Inf: embed again with sound weights")
    variance = sum(((song - mean) ** 2).sum(axis=0) for song in songs) / count
    deviation = np.sqrt(variance)
    # a constant column of float32 has a deviation of rounding size, not of zero
    return mean, np.where(deviation <= 1e-6 * np.abs(mean), 1.0, deviation)
