"""Track → fixed-length crops, in batches: each a function of (seed, epoch, index, view).

draws     the stateless hash behind order and crops
files     Waves, the source of samples: a pack, or `Files` straight from compressed audio
batch     Clips: a batch of crops, int16 until it has reached the device
halves    two kinds of examples in equal parts of each batch
loader    ClipLoader: what Lightning iterates over, exactly resumable in the middle of an epoch
"""

from ssl_music.clips.batch import Clips
from ssl_music.clips.files import Files, Waves, waves
from ssl_music.clips.loader import ClipLoader

__all__ = ["ClipLoader", "Clips", "Files", "Waves", "waves"]
