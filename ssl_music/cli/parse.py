"""From words and YAML to the arguments of a verb: recipes, families of classes, hints for misspelt names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonargparse
import yaml

from ssl_music._ledger.table import TABLE
from ssl_music.cli.hints import teaching
from ssl_music.errors import UserError, unknown_name

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

#: arguments that stand without a flag: `ssl-music search song.mp3`
POSITIONAL = {
    "check": "directory",
    "import": "file",
    "listen": "file",
    "report": "runs",
    "score": "predictions",
    "search": "query",
    "tag": "files",
    "taggram": "files",
}
#: verbs that take from a recipe these arguments alone: it may be the recipe of another verb
TAKEN = {"listen": {"method"}}
#: numbers that have the same least value whatever the verb
LEAST = {"bootstrap": 1, "seed": 0, "seeds": 1, "top": 1}
#: arguments that are made here, from others
MADE = {"trainer", "config"}
#: where the recipes are: beside the package in a clone, under the environment once installed as a wheel
RECIPES = (Path(__file__).parents[2] / "recipes", Path(sys.prefix) / "share" / "ssl_music" / "recipes")


def run(verb: Callable[..., int | None], words: list[str]) -> int:
    """Parses, seeds, builds and calls; returns the verb's exit code."""
    if verb.__name__ == "quickstart":
        return verb(**_quickstart_arguments(verb, words)) or 0
    return verb(**arguments(verb, words)) or 0


def arguments(verb: Callable, words: list[str], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments of `verb` that `words` ask for, with every object built; `without` leaves some unbuilt.

    The seed is set between parsing and building, so that the same seed gives the same weights.
    """
    parser = _parser(verb)
    config = _parse(parser, verb, words)
    for name, least in LEAST.items():
        if isinstance(config.get(name), int) and config[name] < least:
            raise UserError(f"{name} {config[name]}: {least} or more is wanted")
    recipe = yaml.safe_load(parser.dump(config, skip_validation=True))
    for name in without:
        config.pop(name)
    if "method" in config:
        import torch

        torch.manual_seed(config["seed"])
    with teaching(parser):
        built = vars(parser.instantiate(config, instantiators=_options_instead_of_trainer(config)))
    wanted = inspect.signature(verb).parameters
    built["config"] = {name: value for name, value in recipe.items() if name not in ("recipe", "out")}
    return {name: value for name, value in built.items() if name in wanted}


def _parser(verb: Callable) -> jsonargparse.ArgumentParser:
    summary = inspect.cleandoc(verb.__doc__ or "").partition("\nArgs:")[0]
    parser = jsonargparse.ArgumentParser(
        prog=f"ssl-music {_name(verb)}", description=summary, allow_abbrev=False, exit_on_error=False
    )
    wanted = inspect.signature(verb).parameters
    _register(wanted)
    parser.add_argument("--recipe", action="config", help="a YAML file with any of these arguments")
    positional = POSITIONAL.get(_name(verb))
    if positional in ("files", "runs"):
        parser.add_argument(positional, type=Path, nargs="+")
    elif positional:
        parser.add_argument(positional, type=str if positional == "query" else Path)
    skip: set[str | int] = {*MADE, positional} if positional else {*MADE}
    if verb.__name__ == "quickstart":
        _add_own_folder(parser)
        skip = skip | {"catalog", "method", "training"}
    # classes of other packages seldom have types on every argument (`Foreign`'s transforms): taken as they come
    parser.add_function_arguments(verb, skip=skip, as_group=False, fail_untyped=False)
    if "trainer" in wanted:
        from pytorch_lightning import Trainer

        parser.add_class_arguments(Trainer, "trainer", skip={"callbacks", "default_root_dir"})
    return parser


def _name(verb: Callable) -> str:
    """What the command line calls the verb: `import_` is import, `bench_probe` is bench probe."""
    return verb.__name__.rstrip("_").replace("_", " ")


def _register(wanted: Any) -> None:
    """Imports the families that the verb can name, so that short class names are known."""
    if "catalog" in wanted:
        import ssl_music.catalogs
        import ssl_music.pack
    if "method" in wanted:
        import ssl_music.augment
        import ssl_music.encoders
        import ssl_music.methods  # noqa: F401


def _parse(parser: jsonargparse.ArgumentParser, verb: Callable, words: list[str]) -> jsonargparse.Namespace:
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--recipe=") else [word])]
    words = [
        _recipe_for(verb, word) if position and words[position - 1] == "--recipe" else word
        for position, word in enumerate(words)
    ]
    if "catalog" in inspect.signature(verb).parameters and verb.__name__ != "quickstart":
        words = _with_catalog_class(words)
    with teaching(parser):
        return parser.parse_args(words)


def _recipe_for(verb: Callable, name: str) -> str:
    """The recipe as jsonargparse takes it: a path, or text where the verb takes only some of its keys."""
    path = _recipe(name)
    if verb.__name__ not in TAKEN:
        return str(path)
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    taken = {key: value for key, value in (recipe or {}).items() if key in TAKEN[verb.__name__]}
    if not taken:
        keys = ", ".join(recipe or {}) or "none"
        raise UserError(f"{name}: {verb.__name__} wants a recipe of pretrain, one with a method; its keys: {keys}")
    return yaml.safe_dump(taken)


def _recipe(name: str) -> Path:
    """The file of that name, or the recipe of that name that comes with the package."""
    if Path(name).is_file():
        try:
            yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{name}: no YAML: {' '.join(str(error).split())}") from error
        return Path(name)
    known = {file.stem: file for folder in RECIPES if folder.is_dir() for file in folder.glob("*.yaml")}
    stem = Path(name).stem
    if (stem in known and not Path(name).parent.is_dir()) or name in known:
        return known[stem]
    raise unknown_name("recipe (and no such file)", name, sorted(known))


def _with_catalog_class(words: list[str]) -> list[str]:
    """`--catalog.root DIR` alone means a Folder, or a Pack where DIR holds one; a recipe may say otherwise later."""
    flags = [word.partition("=")[0] for word in words]
    if "--catalog" in flags or not any(flag.startswith("--catalog.") for flag in flags):
        return words
    roots = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--catalog.root"]
    if roots and (Path(roots[-1]) / TABLE).is_file():
        at = words.index("--catalog.root")
        return [*words[:at], "--catalog", "Pack", *words[at:]]  # behind the recipe, whose class it replaces
    return words if "--recipe" in flags else ["--catalog", "Folder", *words]


def _add_own_folder(parser: jsonargparse.ArgumentParser) -> None:
    """The quickstart's --catalog.root and the other arguments of a Folder; no root means built-in music."""
    from ssl_music.catalogs import Folder

    parser.add_argument("--catalog.root", type=Path | None, default=None, help="your own folder of music")
    parser.add_class_arguments(Folder, "catalog", skip={"root"}, instantiate=False)


def _quickstart_arguments(verb: Callable, words: list[str]) -> dict[str, Any]:
    """The quickstart's own arguments, and method and training from recipes/clmr_small.yaml."""
    from ssl_music.catalogs import Folder
    from ssl_music.cli import verbs

    values = arguments(verb, words)
    folder = dict(vars(values.pop("catalog")))
    training = arguments(
        verbs.pretrain, ["--recipe", "clmr_small", "--seed", str(values["seed"])], without=("catalog",)
    )
    # what is trained; on what, its fingerprint says, and other columns to probe do not make another training
    values["config"] = {name: value for name, value in training.pop("config").items() if name != "catalog"}
    return {
        **values,
        "catalog": Folder(**folder) if folder["root"] is not None else None,
        "method": training.pop("method"),
        "training": {
            "trainer_options": training.pop("trainer"),
            **{name: value for name, value in training.items() if name not in ("out", "seed", "init_from")},
        },
    }


def _options_instead_of_trainer(config: jsonargparse.Namespace) -> list[tuple[Callable, type, bool]]:
    """Lightning's Trainer is built by `methods.train`, which adds its callbacks: here only its options are."""
    if "trainer" not in config:
        return []
    from pytorch_lightning import Trainer

    def options(_: type[Trainer], **chosen: Any) -> dict[str, Any]:
        return {name: value for name, value in chosen.items() if value is not None}

    return [(options, Trainer, False)]
