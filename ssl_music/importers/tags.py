"""Names of tags: published lists in the order of the published heads, and the user's own.

A file of weights holds no names. A list is here where public sources fix both its names and its order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError


class TagList(NamedTuple):
    """Names in their order, the column that they are of, and where the order is from."""

    names: list[str]
    column: str
    source: str


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


LISTS: dict[str, TagList] = {
    "magnatagatune": TagList(
        _split(
            "guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient, beat, violin, "
            "vocal, synth, female, indian, opera, male, singing, vocals, no vocals, harpsichord, loud, quiet, flute, "
            "woman, male vocal, no vocal, pop, soft, sitar, solo, man, classic, choir, voice, new age, dance, "
            "male voice, female vocal, beats, harp, cello, no voice, weird, country, metal, female voice, choral"
        ),
        "tag",
        "musicnn-training, data/index/mtt (the split of CLMR's default); tags.npy of the 2020 comparison as others "
        "print it",
    ),
    "msd": TagList(
        _split(
            "rock, pop, alternative, indie, electronic, female vocalists, dance, 00s, alternative rock, jazz, "
            "beautiful, metal, chillout, male vocalists, classic rock, soul, indie rock, Mellow, electronica, 80s, "
            "folk, 90s, chill, instrumental, punk, oldies, blues, hard rock, ambient, acoustic, experimental, "
            "female vocalist, guitar, Hip-Hop, 70s, party, country, easy listening, sexy, catchy, funk, electro, "
            "heavy metal, Progressive rock, 60s, rnb, indie pop, sad, House, happy"
        ),
        "tag",
        "the 2020 comparison, split/msd/50tagList.txt; musicnn-training, data/index/msd",
    ),
    "msd_cals": TagList(
        _split(
            "rock, pop, indie, alternative, electronic, hip-hop, metal, jazz, punk, folk, alternative rock, "
            "indie rock, dance, hard rock, 00s, soul, hardcore, 80s, country, classic rock, punk rock, blues, "
            "chillout, experimental, heavy metal, death metal, 90s, reggae, progressive rock, ambient, acoustic, "
            "beautiful, british, rnb, funk, metalcore, mellow, world, guitar, trance, indie pop, christian, house, "
            "spanish, latin, psychedelic, electro, piano, 70s, progressive metal"
        ),
        "tag",
        "semi-supervised-music-tagging-transformer, src/msd_config.py",
    ),
    "jamendo_top50": TagList(
        [
            f"{category}---{name}"
            for category, names in {
                "genre": "alternative, ambient, atmospheric, chillout, classical, dance, downtempo, easylistening, "
                "electronic, experimental, folk, funk, hiphop, house, indie, instrumentalpop, jazz, lounge, metal, "
                "newage, orchestral, pop, popfolk, poprock, reggae, rock, soundtrack, techno, trance, triphop, world",
                "instrument": "acousticguitar, bass, computer, drummachine, drums, electricguitar, electricpiano, "
                "guitar, keyboard, piano, strings, synthesizer, violin, voice",
                "mood/theme": "emotional, energetic, film, happy, relaxing",
            }.items()
            for name in _split(names)
        ],
        "tag",
        "the 2020 comparison, jamendo_loader.py (its binarizer sorts); mtg-jamendo-dataset, data/tags/top50.txt",
    ),
    "gtzan": TagList(
        _split("blues, classical, country, disco, hiphop, jazz, metal, pop, reggae, rock"),
        "genre",
        "the ISMIR 2021 tutorial: the folders of the data set in alphabetical order",
    ),
}


def named(tags: str | Sequence[str]) -> TagList:
    """The published list called `tags`, the lines of the file `tags`, the array in a .npy file, or `tags` themselves.

    >>> named("gtzan").names[:2], named(["calm", "loud"]).names
    (['blues', 'classical'], ['calm', 'loud'])
    """
    if not isinstance(tags, str):
        return TagList([str(tag) for tag in tags], "tag", "given")
    if tags in LISTS:
        return LISTS[tags]
    path = Path(tags)
    if not path.is_file():
        raise UserError(
            f"{tags}: no list of tags, nor a file with one a line; known lists: {', '.join(LISTS)}. Names of your "
            "own: --tags '[calm, loud]'"
        )
    try:
        if path.suffix == ".npy":
            names = [str(name) for name in np.load(path, allow_pickle=False).ravel()]
        else:
            names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: no list of tags ({error}); give one a line, as UTF-8 text") from error
    return TagList(names, "tag", path.name)


def of_length(count: int) -> list[str]:
    """The published lists of so many tags.

    >>> of_length(10)
    ['gtzan']
    """
    return [name for name, known in LISTS.items() if len(known.names) == count]
