"""The one family of errors that a user can cause and a user can mend.

Every message says what came, what was wanted and what to do. The command line prints a `UserError` as one
line and exits with 2; anything else that escapes is a defect of ours and keeps its stack trace.
"""


class UserError(ValueError):
    """Something outside the program is not as it has to be.

    >>> raise UserError("songs/: no such folder; give --catalog.root a folder with music in it")
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: songs/: no such folder; give --catalog.root a folder with music in it
    """


def unknown_name(kind: str, came: str, known: list[str]) -> UserError:
    """The error for a name that is not among the known ones; the nearest known names come first.

    >>> str(unknown_name("split", "tset", ["test", "train", "valid"]))
    "unknown split 'tset'; did you mean 'test'? Known: test, train, valid"
    """
    from difflib import get_close_matches

    near = get_close_matches(came, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UserError(f"unknown {kind} {came!r}{hint} Known: {', '.join(known) or 'none'}")
