"""What an encoder still hears when music is altered: tempo, pitch, level, noise, codecs, rooms, another beginning.

alterations  the table of what is done to music, in which strengths
passages     a track of any length through an effect, in bounded memory
heard        vectors of clean and altered tracks, kept and gone on with
cosines      how far vectors turn, around what is common to all music
points       what the probe says of altered tracks, and how far that is from clean
study        `robustness`: all of it, into a record and a table
tables       the record as rows
"""

from ssl_music.robustness.alterations import ALTERATIONS, Alteration
from ssl_music.robustness.study import robustness
from ssl_music.robustness.tables import rows

__all__ = ["ALTERATIONS", "Alteration", "robustness", "rows"]
