"""Errors that teach: a misspelt class, option or argument is answered with the names that are known there."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import jsonargparse

from ssl_music._registry import members
from ssl_music.errors import UserError, unknown_name


@contextmanager
def teaching(parser: jsonargparse.ArgumentParser) -> Iterator[None]:
    """Turns jsonargparse's errors into a `UserError` that names what is known at that depth."""
    try:
        yield
    except jsonargparse.ArgumentError as error:
        raise taught(str(error), parser) from error
    except ValueError as error:
        if isinstance(error.__cause__, UserError):  # of an argument that may also be left out
            raise error.__cause__ from error
        raise


def taught(message: str, parser: jsonargparse.ArgumentParser) -> UserError:
    """The `UserError` for one of jsonargparse's messages."""
    where = " → ".join(re.findall(r'Parser key "([^"]+)"', message))
    if wrong := re.search(r"Expected a dot import path string: (\S+)", message):
        return _at(where, _no_class(wrong[1], where))
    if wrong := re.search(r"Option '([^']+)' is not accepted", message):
        return _unknown_option(wrong[1], where, message, parser)
    if wrong := re.search(r"Expected a typing\.Literal\[([^]]+)\]\. Got value: (\S+)", message):
        return _at(where, unknown_name("value", wrong[2], re.findall(r"'([^']+)'", wrong[1])))
    if wrong := re.search(r"Group '([^']+)' does not accept option '([^']+)'", message):
        known = [name.partition(".")[2] for name in _arguments(parser) if name.startswith(f"{wrong[1]}.")]
        return _at(wrong[1], unknown_name("argument", wrong[2], known))
    if wrong := re.search(r"unrecognized arguments: --([\w.-]+)", message, re.IGNORECASE):
        return unknown_name("argument", wrong[1].replace("-", "_"), _arguments(parser))
    return _plain(message, where, parser)


def _plain(message: str, where: str, parser: jsonargparse.ArgumentParser) -> UserError:
    """The message in one line: what came, and what was wanted, in words for people."""
    line = re.sub(r"\s*\n\s*", " ", message).strip()
    if missing := re.search(r"the following arguments are required: (.+)", line):
        return _missing(missing[1].split(", "), parser)
    if wrong := re.search(r"Expected a <class '([^']+)'>\. Got value: (.*?)(?: - Expected| Given value|$)", line):
        return _at(where, _mismatch(wrong[2], [wrong[1]]))
    if "any of the Union subtypes" not in line:
        return UserError(line)
    if "Expected an instantiatable class" in line:
        return _at(where, UserError(f"the name of a class is wanted too; known: {', '.join(_classes(where))}"))
    came = line.rpartition("Given value: ")[2]
    choices = re.findall(r"Expected a typing\.Literal\[([^]]+)\]", line)
    kinds = [kind for kind in re.findall(r"Expected a <class '([^']+)'>", line) if kind != "NoneType"]
    if choices and not kinds:
        return _at(where, unknown_name("value", came, re.findall(r"'([^']+)'", choices[0])))
    return _at(where, _mismatch(came, [*kinds, *choices]))


def _mismatch(came: str, wanted: Sequence[str]) -> UserError:
    """Of a value that fits no kind, or one of none of several.

    >>> _mismatch("rock", ["list"])
    UserError("came 'rock'; wanted a list, such as '[rock]'")
    """
    one = came if re.fullmatch(r"[\w./-]+", came) else "a"
    kinds = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "text",
        "list": f"a list, such as '[{one}]'",
        "dict": f"names with values, such as '{{{one}: …}}'",
    }
    return UserError(f"came {came!r}; wanted {', or '.join(dict.fromkeys(kinds.get(kind, kind) for kind in wanted))}")


def _missing(names: Sequence[str], parser: jsonargparse.ArgumentParser) -> UserError:
    flags = {"catalog": "--catalog.root", **{name: f"--{name}" for name in _arguments(parser) if name != "catalog"}}
    told = ", ".join(flags.get(name, name.upper()) for name in names)
    return UserError(f"wanted too: {told}; {parser.prog} --help tells of them")


def _unknown_option(name: str, where: str, message: str, parser: jsonargparse.ArgumentParser) -> UserError:
    owners = re.findall(r"class_path '([^']+)'", message)
    if not owners:
        return unknown_name("argument", name, _arguments(parser))
    kind = _class(owners[-1])
    return _at(where, unknown_name(f"argument of {kind.__name__}", name, list(inspect.signature(kind).parameters)))


def _at(where: str, error: UserError) -> UserError:
    return UserError(f"in {where}: {error}") if where else error


def _class(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _no_class(name: str, where: str) -> UserError:
    if where == "tasks":
        return UserError(f"came {name!r}; wanted a list of them, such as '[{{column: genre}}]'")
    return unknown_name("class", name, _classes(where))


def _classes(where: str) -> list[str]:
    """The class names known at the innermost key of `where`; of every family where the key is not known."""
    from ssl_music.augment import Augmentation
    from ssl_music.catalogs import Catalog
    from ssl_music.encoders import Encoder

    families: dict[str, type] = {"catalog": Catalog, "encoder": Encoder, "augment": Augmentation}
    families |= {"catalogs": Catalog, "pretrained_on": Catalog}
    if where.startswith("method"):
        from ssl_music.methods import Method

        families["method"] = Method
    innermost = where.rpartition(" → ")[2]
    chosen = [families[innermost]] if innermost in families else list(families.values())
    return sorted({name for family in chosen for name in members(family)})


def _arguments(parser: jsonargparse.ArgumentParser) -> list[str]:
    """What can be written behind `--`, but for what only shows help."""
    others = ("help", "print_config", "print_shtab")
    names = [action.dest for action in parser._actions if action.option_strings]
    return [name for name in names if name not in others and not name.endswith(".help")]
