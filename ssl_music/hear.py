"""The common API of the HEAR benchmark (Turian et al. 2022, arXiv 2203.03022), for any encoder's or tagger's file.

    hear-validator ssl_music.hear --model runs/small/encoder.safetensors
    python -m heareval.embeddings.runner ssl_music.hear --model runs/small/encoder.safetensors --tasks-dir tasks

HEAR wants `load_model`, `get_timestamp_embeddings` ("embeddings at regular intervals centered at timestamps", in
milliseconds) and `get_scene_embeddings` (one embedding of a whole sound), for sounds (n_sounds, n_samples) at the
rate that the model states. A tensor does not say its rate: sounds at another one give embeddings without any
warning, and wrong ones. HEAR's own runner takes each data set at `sample_rate`.
"""

import math
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music import checkpoint
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.vectors import chunk_starts

#: HEAR's data sets come at these rates
SAMPLE_RATES_HZ = (16000, 22050, 32000, 44100, 48000)


class HearModel(nn.Module):
    """An encoder with the facts that HEAR asks a model for; both its embeddings are the encoder's.

    `hop_ms` is the distance of timestamps, `batch_size` the number of windows in one forward pass, whatever the
    number and length of the sounds.

    >>> from ssl_music.encoders import LogMelStatistics
    >>> model = HearModel(LogMelStatistics(bands=64), hop_ms=100)
    >>> embeddings, timestamps = get_timestamp_embeddings(torch.zeros(2, 22050), model)
    >>> embeddings.shape, timestamps[0, :3]
    (torch.Size([2, 10, 128]), tensor([  0., 100., 200.], dtype=torch.float64))
    """

    place: Tensor

    def __init__(self, encoder: Encoder, *, hop_ms: float = 50.0, batch_size: int = 16) -> None:
        super().__init__()
        shortest = 1000 / encoder.sample_rate
        if not (math.isfinite(hop_ms) and hop_ms >= shortest):
            raise UserError(
                f"hop_ms {hop_ms}: wanted {shortest:.3f} (one sample at {encoder.sample_rate} Hz) or more"
            )
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size}: at least 1 is wanted")
        self.encoder = encoder
        self.hop_ms = hop_ms
        self.batch_size = batch_size
        self.sample_rate = encoder.sample_rate
        self.scene_embedding_size = self.timestamp_embedding_size = encoder.embedding_dim
        self.register_buffer("place", torch.empty(0), persistent=False)  # goes where `to` moves it


def load_model(model_file_path: str | Path = "", *, hop_ms: float = 50.0, batch_size: int = 16) -> HearModel:
    """The model in a .safetensors file of this package, on the CPU, in evaluation mode; of a tagger, its encoder.

    50 ms is the longest hop that HEAR suggests, "to handle a temporal tolerance of 50ms for music transcription".
    heareval passes the other arguments on: `--model-options '{"hop_ms": 25}'`. There are no weights that every
    encoder would come with, so that a call without a file, HEAR's "default", is an error.
    """
    if not str(model_file_path):
        raise UserError(
            "HEAR asked for a default model, and there is none: give the .safetensors file that a training wrote, "
            "hear-validator ssl_music.hear --model FILE"
        )
    encoder = checkpoint.load_encoder(model_file_path)
    if encoder.sample_rate not in SAMPLE_RATES_HZ:
        warnings.warn(
            f"{model_file_path}: {type(encoder).__name__} wants {encoder.sample_rate} Hz, and HEAR's data sets come "
            f"at {', '.join(map(str, SAMPLE_RATES_HZ))} Hz only: resample them before",
            stacklevel=2,
        )
    return HearModel(encoder, hop_ms=hop_ms, batch_size=batch_size).eval()


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embeddings of windows centred at 0, hop, 2·hop … for as long as the sound lasts, and these times.

    Windows are as long as the encoder's clips (`input_samples`) and lie to the nearest sample around their timestamp;
    where one reaches beyond the sound, it holds zeros, as in HEAR's own baseline. Timestamps are float64: the
    validator wants them regular to a thousandth of a millisecond, which float32 loses within a quarter of a minute.

    Shape: audio (N, T) float in [-1, 1] → embeddings (N, F, D) float32 and timestamps (N, F) in ms, where audio is.
    """
    _check(audio, model)
    size, hop = model.encoder.input_samples, model.hop_ms * model.sample_rate / 1000  # in samples
    numbers = torch.arange(math.ceil(audio.shape[1] / hop), device=audio.device, dtype=torch.float64)
    padded = F.pad(audio, (size // 2, size - size // 2))
    embeddings = _embed(padded, (numbers * hop).round().long(), model)
    return embeddings, (numbers * model.hop_ms).repeat(len(audio), 1)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One embedding a sound: that of `ssl-music embed`, the mean over its clips end to end.

    A sound shorter than a clip of the encoder is looped; the rule for what is left at the end is
    `vectors.chunk_starts`.

    Shape: audio (N, T) float in [-1, 1] → (N, D) float32, where audio is.
    """
    _check(audio, model)
    size, samples = model.encoder.input_samples, audio.shape[1]
    starts = chunk_starts(samples, input_samples=size, hop_samples=size)
    looped = audio.repeat(1, -(-size // samples))[:, :size] if samples < size else audio
    return _embed(looped, torch.from_numpy(starts).to(audio.device), model).mean(dim=1)


@torch.no_grad()
def _embed(audio: Tensor, starts: Tensor, model: HearModel) -> Tensor:
    """The windows of every sound that begin at `starts` (F,), a bounded number at a time: (N, F, D)."""
    model.eval()
    windows = audio.unfold(1, model.encoder.input_samples, 1)  # (N, T - size + 1, size): a view, nothing is copied
    outputs = []
    for numbers in torch.arange(len(audio) * len(starts), device=audio.device).split(model.batch_size):
        batch = windows[numbers // len(starts), starts[numbers % len(starts)]]  # (B, size)
        vectors = model.encoder(batch.unsqueeze(1).to(model.place))  # (B, D)
        outputs.append(vectors.float().to(audio.device))
    return torch.cat(outputs).unflatten(0, (len(audio), len(starts)))


def _check(audio: Tensor, model: HearModel) -> None:
    """One clear error where HEAR's terms are not kept; that the rate is right cannot be seen here."""
    if not isinstance(model, HearModel):
        raise UserError(f"wanted the model that ssl_music.hear.load_model returned; came a {type(model).__name__}")
    if not isinstance(audio, Tensor):
        raise UserError(f"wanted sounds as a torch tensor; came a {type(audio).__name__}: torch.as_tensor(sounds)")
    if audio.dim() != 2 or not audio.numel():
        hint = {1: ": one sound is sounds[None]", 3: ": mono sounds without an axis of channels are sounds[:, 0]"}
        raise UserError(
            f"wanted mono sounds of shape (n_sounds, n_samples), at least 1 of each; came {tuple(audio.shape)}"
            + hint.get(audio.dim(), "")
        )
    if not audio.is_floating_point():
        raise UserError(f"wanted float sounds in [-1, 1]; came {audio.dtype}: divide int16 samples by 32768")
    finite = audio.isfinite().all(dim=1)
    if not finite.all():
        broken = finite.logical_not().nonzero().flatten().tolist()
        raise UserError(
            f"wanted sounds of finite samples; NaN or infinity stands in {len(broken)} of {len(audio)}, the first "
            f"is sound {broken[0]}: look at how it was decoded or processed"
        )
