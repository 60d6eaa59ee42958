"""Colours for light and dark, safe for colour-blind readers.

The six hues of classes are Okabe & Ito's ("Color Universal Design", 2008) without black and yellow, which vanishes on
white; the dark ones are lighter by about as much as the paper is darker. More than six classes repeat them with a
second shape, so that no class is told by colour alone.
"""

from collections.abc import Sequence

LIGHT = {
    "paper": "#fdfdfb",
    "wash": "#f4f5f2",
    "ink": "#1b1f23",
    "muted": "#5d656d",
    "line": "#dddfdc",
    "accent": "#0a64a4",
    "good": "#0b7a57",
    "bad": "#b3460a",
    "hue-0": "#0072b2",
    "hue-1": "#e69f00",
    "hue-2": "#009e73",
    "hue-3": "#cc79a7",
    "hue-4": "#d55e00",
    "hue-5": "#56b4e9",
    "rest": "#b3b8bc",
}
DARK = {
    "paper": "#14171a",
    "wash": "#1c2024",
    "ink": "#e6e8ea",
    "muted": "#9aa3ab",
    "line": "#30363b",
    "accent": "#6db4ee",
    "good": "#3cc597",
    "bad": "#f39256",
    "hue-0": "#4a9fe0",
    "hue-1": "#f0b13a",
    "hue-2": "#22b88d",
    "hue-3": "#e09ac2",
    "hue-4": "#ee7b3c",
    "hue-5": "#9ad6fa",
    "rest": "#535b62",
}
HUES = 6
SHAPES = 2
CLASSES = HUES * SHAPES  #: that can be told apart; further ones are grey
APART = ("hue-0", "hue-4", "hue-2", "hue-3", "hue-1", "hue-5")  #: the hues, neighbours as unlike as can be
#: words that name an encoder that learned nothing beforehand
BASELINES = ("random init", "statistics", "from scratch", "mfcc", "untrained", "chance")


def css() -> str:
    """Both sets as variables; dark where the reader's system is, never on paper.

    >>> css().splitlines()[0][:24]
    ':root { --paper: #fdfdfb'
    """
    light, dark = (" ".join(f"--{name}: {hex};" for name, hex in colours.items()) for colours in (LIGHT, DARK))
    classes = [f".k{number} {{ fill: var(--hue-{number % HUES}); }}" for number in range(CLASSES)]
    return "\n".join(
        [
            f":root {{ {light} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
            *classes,
        ]
    )


def as_variables(svg: str) -> str:
    """An SVG drawn in the light colours, with the page's variables in their place.

    >>> as_variables('style="fill: #1b1f23"')
    'style="fill: var(--ink)"'
    """
    for name, hex in LIGHT.items():
        svg = svg.replace(hex, f"var(--{name})")
    return svg


def encoder_colours(names: Sequence[str]) -> dict[str, str]:
    """The palette's name of each encoder's colour, the same in every figure that is given the same names.

    What is only there to be beaten is dark grey; the first six others have a hue each, further ones are pale grey:
    nobody tells nine hues apart.

    >>> encoder_colours(["CLMR", "random initialisation", "MoCo"])
    {'CLMR': 'hue-0', 'random initialisation': 'muted', 'MoCo': 'hue-4'}
    """
    hues = iter(APART)
    return {name: "muted" if is_baseline(name) else next(hues, "rest") for name in names}


def is_baseline(name: str) -> bool:
    """Whether the name is that of an encoder that learned nothing beforehand.

    >>> is_baseline("log-mel statistics"), is_baseline("supervised-genre")
    (True, False)
    """
    return any(word in name.lower().replace("-", " ") for word in BASELINES)
