"""The command line `ssl-music`: parse → seed → build → call. Nothing heavy is imported before a verb is chosen.

    verbs      one typed function a verb; its docstring is its help; listening and exporting hold one each
    parse      the one door to YAML and jsonargparse: recipes, arguments, hints for misspelt names

Exit codes: 0 done · 2 something to mend, said in one line · 130 interrupted with Ctrl-C.
"""

import errno
import io
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from ssl_music._memory import keep_memory
from ssl_music.errors import UserError

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code.

    >>> main(["--version"])
    ssl-music ...
    0
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Threads that spin while they wait for each other make torch 20 times slower as soon as another program wants a
    # core (measured: a training step of 150 ms took 3,000). It is read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="surrogateescape"
            )  # names on disk need not be UTF-8; they are shown as they are
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _dispatch(arguments)
        sys.stdout.flush()  # what cannot be printed is told of here, not by Python as it ends
        return code
    except KeyboardInterrupt:
        print("\ninterrupted; what was finished is kept, run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except UserError as error:
        print(f"ssl-music: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        _print_no_more()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _print_no_more()
        print("ssl-music: error: the disk is full; make room and run the same command again", file=sys.stderr)
        return 2


def _print_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    from ssl_music.cli import verbs

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help(verbs.VERBS))
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"ssl-music {version('ssl-music')}")
        return 0
    words = 2 if " ".join(arguments[:2]) in verbs.VERBS else 1  # `bench probe`
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name not in verbs.VERBS:
        from ssl_music.errors import unknown_name

        begun = [verb for verb in verbs.VERBS if verb.startswith(f"{name} ")]  # `bench` alone, `bench prob`
        raise unknown_name("verb", " ".join(arguments[:2]) if begun else name, begun or list(verbs.VERBS))
    from ssl_music.cli import parse

    return parse.run(verbs.VERBS[name], rest)


def _show_warning(  # noqa: PLR0917  # as the warnings module calls it
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """One line without the place in the code for what concerns the user; the rest as Python shows it."""
    if category is DeprecationWarning:
        return
    told = issubclass(category, UserWarning) and "ssl_music" in filename
    print(
        f"ssl-music: warning: {message}" if told else f"{filename}:{lineno}: {category.__name__}: {message}",
        file=sys.stderr,
    )


def _help(verbs: dict) -> str:
    wide = min(shutil.get_terminal_size((118, 24)).columns, 118)
    lines = [
        textwrap.fill(
            f"{name:<14}{(verb.__doc__ or '').strip().splitlines()[0]}",
            wide,
            initial_indent="  ",
            subsequent_indent=" " * 16,
        )
        for name, verb in verbs.items()
    ]
    return "\n".join(
        [
            "usage: ssl-music VERB [arguments]      ssl-music VERB --help",
            "",
            "From a folder of unlabelled songs to an encoder, and on to tags and song search.",
            "",
            *lines,
            "",
            "First run: ssl-music quickstart. With your own music: ssl-music quickstart --catalog.root DIR",
        ]
    )
