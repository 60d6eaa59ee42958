"""The verb `listen`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssl_music.errors import UserError

if TYPE_CHECKING:
    from ssl_music.methods import Method

#: what a preset without a recipe is heard at: CLMR's SampleCNN
SAMPLE_RATE_HZ, INPUT_SAMPLES = 22050, 59049


def listen(
    file: Path,
    method: Method | None = None,
    *,
    augment: str | None = None,
    views: int = 4,
    seed: int = 42,
    start_seconds: float | None = None,
    out: Path = Path("runs/listen"),
) -> None:
    """Hear, see and read what augmentations do to a file: look before you train.

    Writes the original and some views of one clip as .wav, and page.html with a player, a waveform, a log-mel picture
    and the drawn numbers of each. --recipe takes any recipe of pretrain and reads its method alone.

    Args:
        file: an audio file.
        method: whose augmentations, sample rate and clip length; comes with --recipe.
        augment: a chain by name (clmr, tutorial, noisy_student, key_safe, tempo_safe, light) instead of the recipe's.
        views: how many.
        seed: of the views; the same seed gives the same files.
        start_seconds: where the clip begins; by default in the middle of the file.
        out: the folder to write.
    """
    from ssl_music import report
    from ssl_music.augment import presets

    encoder = None if method is None else method.encoder
    rate = SAMPLE_RATE_HZ if encoder is None else encoder.sample_rate
    if augment is not None:
        chain, name = presets.named(augment, sample_rate=rate), augment
    elif method is None:
        raise UserError(
            "listen wants --recipe with a recipe of pretrain, or --augment with the name of a chain: "
            + ", ".join(presets.PRESETS)
        )
    else:
        chain, name = method.chain, method.augment if isinstance(method.augment, str) else ""
    if not len(chain.augmentations):
        raise UserError(
            "there are no augmentations in the recipe's method, so every view would be the original; name a chain "
            f"with --augment: {', '.join(presets.PRESETS)}"
        )
    done = report.listen(
        file,
        chain,
        out,
        input_samples=INPUT_SAMPLES if encoder is None else encoder.input_samples,
        views=views,
        seed=seed,
        start_seconds=start_seconds,
        chain_name=name,
    )
    for note in done.notes:
        print(note)
    for path, drew in zip(done.files[1:], done.drew, strict=True):
        print(f"{path}: {', '.join(effect for effect, _ in drew) or 'no effect was drawn'}")
    print(f"page: {done.page}")
