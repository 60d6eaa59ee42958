"""What the effects of a chain drew for one row, as people read it: units from the names, names for choices."""

from collections.abc import Sequence

from ssl_music.augment import Chain, Drawn

#: endings of names that say a unit: how the value is written
UNITS = {
    "_hz": "{:,.0f} Hz",
    "_db": "{:+.1f} dB",
    "_ms": "{:.0f} ms",
    "_seconds": "{:.2f} s",
    "_semitones": "{:+.2f} semitones",
    "_samples": "{:,.0f} samples",
}
#: truths that have a name of their own where they are false, and where they are true
TRUTHS = {"highpass": ("low-pass", "high-pass")}

Value = float | bool | str | list


def drew(chain: Chain, drawn: Sequence[Drawn], row: int) -> list[tuple[str, dict[str, str]]]:
    """Names of the effects that chose this row, in order, and of each its parameters with their values to read.

    >>> import torch
    >>> from ssl_music.augment import Gain, Noise
    >>> chain = Chain([Gain(p=1.0, low_db=-6.0, high_db=-6.0), Noise(p=0.0)])
    >>> drew(chain, chain.draw(torch.ones(1, 1, 9)), row=0)
    [('Gain', {'gain_db': 'gain −6.0 dB'})]
    """
    told = []
    for effect, values in chain.described(drawn, row):
        texts = {name: reading(name, value) for name, value in values.items()}
        told.append((effect, {name: text for name, text in texts.items() if text}))
    return told


def reading(name: str, value: Value) -> str:
    """A named value as people read it, its unit taken from the name; nothing for a seed, which says nothing.

    >>> reading("gain_db", -6.0), reading("cutoff_hz", 1234.5), reading("highpass", True), reading("wet", 0.25)
    ('gain −6.0 dB', 'cutoff 1,234 Hz', 'high-pass', 'wet 0.25')
    >>> reading("semitones", 3.0), reading("pre_delay_ms", 3.0), reading("reversed", False), reading("seed", 7)
    ('+3.00 semitones', 'pre delay 3 ms', 'no reversed', '')
    >>> reading("gain_db", [-3.0, 2.0]), reading("color", "pink")
    ('gain −3.0 dB · +2.0 dB', 'color pink')
    """
    if name == "seed" or name.endswith("_seed"):
        return ""
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return TRUTHS.get(name, (f"no {words}", words))[value]
    form = "{}" if isinstance(value, str) else "{:.4g}"
    for ending, of_unit in UNITS.items():
        if f"_{name}".endswith(ending):
            form, words = of_unit, f"_{name}".removesuffix(ending).replace("_", " ")
    values = value if isinstance(value, list) else [value]
    return f"{words} {' · '.join(form.format(one) for one in values).replace('-', '−')}".strip()
