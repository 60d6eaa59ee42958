"""Other people's transforms as members of a chain: any callable on tensors or numpy arrays.

Their randomness comes from the global generators of `random`, numpy and torch. Ours draws a seed for each row; while
the callable runs, the three are set by that seed, and afterwards they are as they were. So the views repeat with our
generator, and nothing else in the program is reseeded.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import seeds
from ssl_music.errors import UserError


class Foreign(Augmentation):
    """Somebody else's transform: a callable that takes the wave as its first argument and returns it changed.

    `takes` "clip": called for each row with (C, T), where C is 1. "batch": called with some rows, (B, C, T): those
    that chose the effect among the rows that go through the chain together, 16 on the CPU, 64 on a GPU. So it may not
    mix them.

    `kind` "tensor": float32 on the wave's device. "numpy": a float32 array; the wave is fetched to the CPU and
    brought back, and no gradient passes.

    `wants_rate`: whether the callable is given `sample_rate=` in Hz, by keyword. None means: if it has a parameter of
    that name. Of compiled code, such as pedalboard's, the signature cannot be read; there it has to be said.

    | package (version tried) | arguments |
    |---|---|
    | torchaudio-augmentations (0.2.4) | the defaults |
    | torch-audiomentations (0.12.0) | takes="batch" |
    | audiomentations (0.43.1) | kind="numpy" |
    | pedalboard (0.9.26) | kind="numpy", wants_rate=True |

    torchaudio 2.9 lost sox and its file functions. Broken since then: of torchaudio-augmentations PitchShift and
    Reverb, and the import, for its wavaugment asks for sox at once (`sys.modules["augment"] =
    types.ModuleType("augment")` before it, and all the rest works); of torch-audiomentations AddBackgroundNoise and
    ApplyImpulseResponse, which read files. Beside a CPU-only torch both packages fail to import torchaudio; `import
    ssl_music.encoders` before them mends that. The other two work as they are, but audiomentations wants soxr < 1.

    These packages have chances of their own, often 0.5: set them to 1 and leave the choice of rows to `p`.

    In a recipe: `transform: {class_path: audiomentations.LowPassFilter, init_args: {p: 1.0}}`, or the dotted name of
    a function of your own, `transform: my_effects.room`. So it has to be with pedalboard, which is compiled and
    cannot be copied, and with classes whose arguments have no types.

    With "batch" the first row's seed sets the call, and the callable draws for each example inside: a row comes out
    differently in other company, and on another device, which no effect of ours does. A callable with a generator of
    its own does not repeat with our seed at all.

    A module stays in the mode it came in, whatever `train()` or `eval()` say to the chain around it: in eval mode
    torch-audiomentations do nothing.

    UserError, naming the transform: what it returns has another shape (most often another length), is not of floating
    point, or holds NaN where the wave did not.

    Shape: (B, 1, T) → (B, 1, T). One call a row is slow; our own effects are batched.

    >>> def tremble(wave, sample_rate):
    ...     hz = random.uniform(4.0, 8.0)
    ...     return wave * np.sin(2 * np.pi * hz * np.arange(wave.shape[-1]) / sample_rate).astype(np.float32)
    >>> effect = Foreign(p=1.0, transform=tremble, kind="numpy").at_rate(22050)
    >>> wave = torch.ones(2, 1, 22050)
    >>> out = effect(wave, torch.Generator().manual_seed(0))
    >>> bool((out == effect(wave, torch.Generator().manual_seed(0))).all()), bool((out[0] == out[1]).all())
    (True, False)
    """

    def __init__(
        self,
        *,
        p: float = 1.0,
        transform: Callable[..., Any],
        takes: Literal["clip", "batch"] = "clip",
        kind: Literal["tensor", "numpy"] = "tensor",
        wants_rate: bool | None = None,
    ) -> None:
        super().__init__(p=p)
        if not callable(transform) or isinstance(transform, type):
            raise UserError(
                f"Foreign: transform={transform!r} is no object that can be called; give one, not its class"
            )
        for name, came, known in (("takes", takes, ("clip", "batch")), ("kind", kind, ("tensor", "numpy"))):
            if came not in known:
                raise UserError(f"Foreign: {name}={came!r}; wanted {known[0]!r} or {known[1]!r}")
        self.transform = transform
        self.takes = takes
        self.kind = kind
        self.wants_rate = wants_rate
        self._gives_rate = has_rate_parameter(transform) if wants_rate is None else wants_rate

    def train(self, mode: bool = True) -> "Foreign":
        self.training = mode  # and not the transform's
        return self

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"seed": seeds(wave, generator)}

    def apply(self, wave: Tensor, *, seed: Tensor) -> Tensor:  # type: ignore[override]
        with lent_generators(wave.device) as set_to:
            if self.takes == "batch":
                set_to(int(seed[0]))
                out = self._called(wave)
            else:
                changed = []
                for clip, its in zip(wave, seed.tolist(), strict=True):
                    set_to(its)
                    changed.append(self._called(clip))
                out = torch.stack(changed)
        if not torch.isfinite(out.detach().sum()) and torch.isfinite(wave.detach().sum()):
            raise UserError(f"Foreign: {name_of(self.transform)} made NaN or infinite samples of finite ones")
        return out

    def _called(self, wave: Tensor) -> Tensor:
        """The transform's answer to one clip or one batch, as a float32 tensor on the wave's device."""
        # a copy, for some transforms write into what they are given
        given = wave.clone() if self.kind == "tensor" else wave.detach().cpu().numpy().copy()
        out = self.transform(given, sample_rate=self.rate()) if self._gives_rate else self.transform(given)
        out = getattr(out, "samples", out)  # torch-audiomentations with output_type="dict"
        name = name_of(self.transform)
        if isinstance(out, np.ndarray):
            out = torch.from_numpy(np.ascontiguousarray(out))
        if not isinstance(out, Tensor):
            raise UserError(f"Foreign: {name} returned {type(out).__name__}; wanted a tensor or a numpy array")
        if out.shape != wave.shape:
            raise UserError(
                f"Foreign: {name} was given {tuple(wave.shape)} and returned {tuple(out.shape)}; "
                "wanted the same shape, and so the same number of samples: crop or pad inside the callable"
            )
        if not out.is_floating_point():
            raise UserError(f"Foreign: {name} returned {out.dtype}; wanted floating point numbers in [-1, 1]")
        return out.to(wave.device, torch.float32)


def has_rate_parameter(transform: Callable[..., Any]) -> bool:
    """Whether the callable has a parameter named `sample_rate`; an error where its signature cannot be read.

    >>> has_rate_parameter(lambda samples, sample_rate: samples), has_rate_parameter(lambda samples: samples)
    (True, False)
    """
    try:
        parameters = inspect.signature(
            transform.forward if isinstance(transform, nn.Module) else transform
        ).parameters
    except (TypeError, ValueError) as error:
        raise UserError(
            f"Foreign: the signature of {name_of(transform)} cannot be read; say wants_rate=True if it is to be "
            "given sample_rate=…, wants_rate=False if not"
        ) from error
    return "sample_rate" in parameters


def name_of(transform: Callable[..., Any]) -> str:
    return getattr(transform, "__name__", type(transform).__name__)


@contextmanager
def lent_generators(device: torch.device) -> Iterator[Callable[[int], None]]:
    """Gives a function that seeds the global generators of random, numpy and torch; puts them back in the end."""
    cuda = [device] if device.type == "cuda" else []

    def set_to(seed: int) -> None:
        seed %= 2**32  # numpy takes no negative one
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (theirs, not ours)
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=cuda):
            yield set_to
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
