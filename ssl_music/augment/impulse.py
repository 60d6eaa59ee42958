"""The user's own rooms: impulse responses from audio files."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_music import audio
from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import uniform
from ssl_music.errors import UserError

#: The direct sound begins where the level first comes so close to the peak (ISO 3382-1: 20 dB below the maximum).
ONSET_DB = -20.0
#: It has to begin within so many seconds of the file.
LATEST_ONSET_SECONDS = 10.0
#: The end of a response is cut where all that follows holds less than this share of its energy.
END_DB = -60.0
FADE_SECONDS = 0.01
#: What all responses may take together, in GiB.
MOST_GIGABYTES = 1.0


class ImpulseResponse(Augmentation):
    """Convolves with one of the user's impulse responses: measured rooms, loudspeakers, microphones, telephones.

    `files` names audio files, or folders and with them every audio file at any depth (by its name's ending; hidden
    ones are left out). Each row takes any of them, at even odds. Every file is read once, when the sample rate
    becomes known, at that rate and as one channel, and is made ready:

    - it begins where the level first comes within 20 dB of the peak (as ISO 3382-1 has it), so that the wave is not
      delayed, and is turned upside down where its peak is negative;
    - it ends where what would follow is 60 dB below the whole, or `longest_seconds` later with a fade of 10 ms;
    - it has unit energy.

    h(t) = √(1 − wet) · impulse + √wet · response, again of unit energy, with `wet` drawn evenly: sounds of a broad
    band keep their energy. 1 is the response as the file has it, as others apply it. All responses are held in
    memory, each as long as the longest: files × seconds × rate × 4 bytes, at most 1 GiB. They move with the module
    to its device and are not part of its state.

    In a recipe: `- {class_path: ImpulseResponse, init_args: {p: 0.5, files: rooms/}}`.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/echo.wav"
    >>> audio.write(path, np.array([0.0, 0.0, 0.8, 0.0, 0.6]), 8000)
    >>> effect = ImpulseResponse(p=1.0, files=path).at_rate(8000)
    >>> effect.impulse(file=torch.tensor([0]), wet=torch.tensor([1.0]))
    tensor([[0.8000, 0.0000, 0.6000]])
    """

    form = "impulse"
    responses: Tensor  #: (N, L), zeros after the end of each
    samples: list[int]  #: of each response, up to its end
    names: list[str]  #: of the files

    def __init__(
        self,
        *,
        p: float = 0.6,
        files: str | Path | Sequence[str | Path],
        low_wet: float = 0.5,
        high_wet: float = 1.0,
        longest_seconds: float = 2.0,
    ) -> None:
        super().__init__(p=p)
        self.files = files
        self.low_wet = low_wet
        self.high_wet = high_wet
        self.longest_seconds = longest_seconds
        self.check_range("low_wet", "high_wet", above=0.0)
        if high_wet > 1:
            raise UserError(
                f"ImpulseResponse: high_wet={high_wet} is above 1; it is the response's share of the energy"
            )
        if not FADE_SECONDS <= longest_seconds < math.inf:
            raise UserError(
                f"ImpulseResponse: longest_seconds={longest_seconds}; wanted {FADE_SECONDS} or more, finite"
            )
        if not isinstance(files, str | os.PathLike) and not list(files):
            raise UserError(f"ImpulseResponse: files={files!r} names none; give audio files, or a folder of them")
        self.register_buffer("responses", torch.empty(0, 0), persistent=False)
        self.samples = []
        self.names = []

    def at_rate(self, sample_rate: int) -> "ImpulseResponse":
        super().at_rate(sample_rate)
        if not self.samples:
            paths = _audio_files(self.files)
            responses = self._read(paths, sample_rate)
            self.names = [path.name for path in paths]
            self.samples = [len(response) for response in responses]
            padded = self.responses.new_zeros(len(responses), max(self.samples))
            for row, response in zip(padded, responses, strict=True):
                row[: len(response)] = torch.from_numpy(response)
            self.responses = padded
        return self

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        self.rate()
        device = "cpu" if generator is None else generator.device
        return {
            "file": torch.randint(len(self.samples), (len(wave),), generator=generator, device=device),
            "wet": uniform(self.low_wet, self.high_wet, wave, generator),
        }

    def choices(self) -> dict[str, Sequence[str]]:
        return {"file": self.names}

    def impulse(self, *, file: Tensor, wet: Tensor) -> Tensor:
        self.rate()
        on_cpu = file.device.type == "cpu"
        # as long as the longest that was drawn, if that can be known without waiting for a GPU
        longest = max(self.samples[number] for number in file.tolist()) if on_cpu else max(self.samples)
        responses = self.responses[:, :longest].to(file.device, torch.float32)
        impulse = responses.index_select(0, file)  # (B, L)
        # (√(1 − wet) + √wet · r₀)² + wet · (1 − r₀²) with the first sample r₀; the peak is positive, so r₀ > −√½
        energy = 1 + 2 * (wet * (1 - wet)).sqrt() * impulse[:, 0]
        impulse *= (wet / energy).sqrt()[:, None]
        impulse[:, 0] += ((1 - wet) / energy).sqrt()
        return impulse

    def _read(self, paths: Sequence[Path], sample_rate: int) -> list[np.ndarray]:
        responses, gigabytes = list[np.ndarray](), 0.0
        for path in paths:
            responses.append(_response(path, sample_rate, longest_seconds=self.longest_seconds))
            gigabytes = max(gigabytes, len(paths) * len(responses[-1]) * 4 / 2**30)
            if gigabytes > MOST_GIGABYTES:
                raise UserError(
                    f"ImpulseResponse: {len(paths)} responses, each as long as {path}, take {gigabytes:.1f} GiB; "
                    f"at most {MOST_GIGABYTES:g} is held: give a longest_seconds below {self.longest_seconds:g}, "
                    "or fewer files"
                )
        return responses


def _audio_files(files: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files as they are, folders as the audio files below them, sorted."""
    paths = list[Path]()
    for given in [files] if isinstance(files, str | os.PathLike) else files:
        path = Path(given).expanduser()
        if not path.is_dir():
            paths.append(path)  # one that is not there is an error of the door to audio
            continue
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in audio.AUDIO_ENDINGS
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
            and file.is_file()
        ]
        if not inside:
            raise UserError(
                f"{given}: a folder without audio files; wanted impulse responses, in files that end in one of "
                f"{' '.join(sorted(audio.AUDIO_ENDINGS))}"
            )
        paths += inside
    return paths


def _response(path: Path, sample_rate: int, *, longest_seconds: float) -> np.ndarray:
    """One file from its direct sound on, of unit energy. Shape: (L,)"""
    wave = audio.read(path, sample_rate, seconds=LATEST_ONSET_SECONDS + longest_seconds).astype(np.float64)
    level = np.abs(wave)
    peak = wave[level.argmax()]
    if peak == 0:
        raise UserError(
            f"{path}: {len(wave) / sample_rate:.2f} s of silence; wanted an impulse response, so take the file out"
        )
    wave = wave[np.argmax(level >= abs(peak) * 10 ** (ONSET_DB / 20)) :] / peak
    remaining = np.cumsum(wave[::-1] ** 2)[::-1]
    wave = wave[: np.count_nonzero(remaining > remaining[0] * 10 ** (END_DB / 10))]
    longest = round(longest_seconds * sample_rate)
    if len(wave) > longest:
        fade = round(FADE_SECONDS * sample_rate)
        wave = wave[:longest]
        wave[-fade:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1))
    return (wave / np.linalg.norm(wave)).astype(np.float32)
