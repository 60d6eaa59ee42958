"""The one door to codecs: any audio file → mono float32 at one rate, whole, as a slice or in blocks; and back.

    base       AudioError, TruncatedAudioWarning, Info, AUDIO_ENDINGS, and what a decoder has to give (Source)
    decode     libsndfile: wav, flac, mp3, ogg, opus, aiff, au, caf …; opens whatever a file's content says it is
    vorbis     seeking in Ogg Vorbis, which libsndfile gets wrong; ogg the format, splice the trick
    mpeg       the length of mp3 without a Xing header, which libsndfile gets wrong too
    codecs     PyAV (the extra `codecs`): m4a, aac, wma, ape and the rest
    stream     Stream, read, probe: mixing down, resampling, slicing
    write      wav, flac, ogg, mp3
    lossy      a wave through mp3 or Vorbis and back, where it was
    quiet      keeps the C libraries' chatter off the progress bar

Samples are what the decoder gives: float files, and mp3 or ogg decoded from a loud master, pass beyond ±1 as they
are. Nothing here is allocated by what a header claims.
"""

from ssl_music.audio.base import AUDIO_ENDINGS, AudioError, Info, TruncatedAudioWarning
from ssl_music.audio.lossy import through_mp3, through_ogg
from ssl_music.audio.stream import Stream, probe, read
from ssl_music.audio.write import write

__all__ = [
    "AUDIO_ENDINGS",
    "AudioError",
    "Info",
    "Stream",
    "TruncatedAudioWarning",
    "probe",
    "read",
    "through_mp3",
    "through_ogg",
    "write",
]
