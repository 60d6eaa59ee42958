"""Which members a family has: every concrete subclass that is imported. Registering is importing."""

import inspect


def members(base: type) -> dict[str, type]:
    """Class name → class, for every concrete subclass of `base`, at any depth, sorted by name.

    >>> from ssl_music.encoders import Encoder
    >>> "SampleCNN" in members(Encoder)
    True
    """
    found: dict[str, type] = {}
    kind: type
    for kind in base.__subclasses__():
        found.update(members(kind))
        if not inspect.isabstract(kind):
            found[kind.__name__] = kind
    return dict(sorted(found.items()))
