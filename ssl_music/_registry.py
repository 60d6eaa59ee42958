"""Which members a family has: every concrete subclass that is imported. Registering is importing.

What has an underscore before its name is no member: a class for our own use, not one to name on the command line
(jsonargparse has the same rule).
"""

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
        if not inspect.isabstract(kind) and "._" not in f"{kind.__module__}.{kind.__qualname__}":
            found[kind.__name__] = kind
    return dict(sorted(found.items()))
