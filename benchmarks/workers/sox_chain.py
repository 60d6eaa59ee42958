"""Times torchaudio-augmentations with its sox parts, in an environment of its own: `peers.Sox` starts and asks it.

Runs under the interpreter given as --sox_python, which has torchaudio-augmentations 0.2.4, a torchaudio below 2.9 of
the same version as its torch, and the system's libsox. It knows nothing of ssl_music.

    python sox_chain.py clips.npy          clips (N, T) float32 at 22,050 Hz

Lines of JSON: first it writes {"versions": …, "steps": […]}; then for each line {"step": chance, …} it sends every
clip alone through that chain and writes {"seconds": processor time}.
"""

import json
import os
import sys
import time
import warnings
from importlib.metadata import version

os.environ["OMP_NUM_THREADS"] = "1"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchaudio_augmentations as package  # noqa: E402

RATE = 22_050


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    torch.set_num_threads(1)
    clips = torch.from_numpy(np.load(sys.argv[1]))[:, None]  # (N, 1, T)
    effects = {
        "PolarityInversion": package.PolarityInversion(),
        "Noise": package.Noise(),
        "Gain": package.Gain(),
        "HighLowPass": package.HighLowPass(RATE),
        "Delay": package.Delay(RATE),
        "PitchShift": package.PitchShift(clips.shape[-1], RATE),
        "Reverb": package.Reverb(RATE),
    }
    versions = {name: version(name) for name in ("torchaudio-augmentations", "torchaudio", "torch")}
    print(json.dumps({"versions": versions, "steps": list(effects)}), file=answers, flush=True)
    for line in sys.stdin:
        chances = json.loads(line)
        chain = package.Compose([package.RandomApply([effects[step]], p=p) for step, p in chances.items()])
        start = time.process_time()
        for clip in clips:
            chain(clip)
        print(json.dumps({"seconds": time.process_time() - start}), file=answers, flush=True)


if __name__ == "__main__":
    main()
