"""The built-in music of the `Synthetic` catalog: composed, arranged and synthesised with numpy.

    artists ──plan──> one piece's facts ──arrange──> notes and hits ──render──> waveform

    theory       scales, chords, pitches                  instruments  timbres: pitch and length → wave
    genre        how a table of a genre is read           drums        percussion sounds
    genres       the ten, in two files                    render       notes → instrument tracks → mix
    artists      who plays: instruments, habits, sound    names        of artists and pieces

Everything is a pure function of (seed, index, seconds). `MUSIC_VERSION` is raised whenever a change here makes
the same seed sound different, so that a folder rendered before is not taken for one rendered now.
"""

MUSIC_VERSION = 2
