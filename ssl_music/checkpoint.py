"""The only reader and writer of weights: class path + spec + weights + provenance in one safetensors file.

A file rebuilds its encoder or tagger without the recipe that made it. Nothing in it is ever unpickled, and a class
is only taken from this package or from a module that the program has imported already: a downloaded file cannot
choose code to run. Lightning's checkpoints serve resuming only.
"""

import inspect
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ssl_music._files import replacing
from ssl_music._registry import members
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

FORMAT = "ssl_music/1"
#: what to give instead of a file that is none of ours
WANTED = "give the encoder.safetensors or tagger.safetensors that a training wrote"


def save(path: Path | str, model: Encoder | Tagger, *, provenance: dict[str, Any]) -> str:
    """Writes `model` to `path` (whole or absent) and returns its digest.

    >>> import tempfile
    >>> from ssl_music.encoders import SampleCNN
    >>> encoder, path = SampleCNN(width=4), Path(tempfile.mkdtemp()) / "encoder.safetensors"
    >>> save(path, encoder, provenance={"why": "an example"}) == load(path).digest()
    True
    """
    path = Path(path)
    bad = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise UserError(f"{path}: not written, the weights {bad[0]} are not finite: the training has diverged")
    header = {
        "format": FORMAT,
        "encoder": json.dumps(encoder_of(model).facts()),
        "head": json.dumps(model.head_spec() if isinstance(model, Tagger) else None),
        "provenance": json.dumps(provenance, default=str),
        "digest": model.digest(),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata=header)
    return header["digest"]


def load(path: Path | str, *, device: str | torch.device = "cpu") -> Encoder | Tagger:
    """Rebuilds what `save` wrote, in evaluation mode.

    Raises UserError where the file is missing, is no checkpoint of ours, names a class that is not loaded, or holds
    weights that do not fit its own spec or are not finite.
    """
    path = Path(path)
    header = _header(path)
    facts, head = header["encoder"], header["head"]
    encoder = _built(path, _encoder_class(path, facts["class_path"]), facts["spec"])
    model = _built(path, Tagger, {"encoder": encoder, **head}) if head else encoder
    with safe_open(path, "pt", device="cpu") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _fill(path, model, weights)
    if model.digest() != header["digest"]:
        raise UserError(f"{path}: the weights do not have the digest that the file states: it is damaged")
    return model.to(device).eval()


def load_encoder(path: Path | str, *, device: str | torch.device = "cpu") -> Encoder:
    """The encoder in `path`; of a tagger, its encoder."""
    return encoder_of(load(path, device=device))


def encoder_of(model: Encoder | Tagger) -> Encoder:
    """The encoder itself, or the tagger's encoder."""
    return model.encoder if isinstance(model, Tagger) else model


def load_tagger(path: Path | str, *, device: str | torch.device = "cpu") -> Tagger:
    """The tagger in `path`; a file that holds an encoder alone is an error that says how to get a tagger."""
    model = load(path, device=device)
    if not isinstance(model, Tagger):
        raise UserError(
            f"{path}: holds a {type(model).__name__} without a head, and tags need a tagger; "
            "train one: ssl-music pretrain --recipe recipes/finetune_tagging.yaml"
        )
    return model


def fill_encoder(encoder: Encoder, path: Path | str) -> None:
    """Puts the weights of the encoder in `path` into `encoder`, which must be the same class with the same spec.

    Of a tagger the encoder alone is taken: its head is for the tags that it was trained with, and a warning says so.
    """
    model = load(path)
    stored = encoder_of(model)
    ours, theirs = encoder.facts(), stored.facts()
    if ours != theirs:
        differing = [
            f"{key}: {theirs['spec'].get(key)!r} in the file, {ours['spec'].get(key)!r} in the recipe"
            for key in {**ours["spec"], **theirs["spec"]}
            if ours["spec"].get(key) != theirs["spec"].get(key)
        ]
        if ours["class_path"] != theirs["class_path"]:
            differing.insert(0, f"class: {theirs['class_path']} in the file, {ours['class_path']} in the recipe")
        raise UserError(
            f"{path}: a checkpoint of another encoder ({'; '.join(differing)}); make the recipe say the same"
        )
    encoder.load_state_dict(stored.state_dict())
    if isinstance(model, Tagger):
        warnings.warn(
            f"{path}: a tagger, of which the encoder is taken; its head for the {len(model.tags)} tags of "
            f"{model.column!r} is left behind",
            stacklevel=2,
        )


def provenance(path: Path | str) -> dict[str, Any]:
    """How the weights in `path` were made: recipe, catalog fingerprint, versions."""
    return _header(Path(path))["provenance"]


def _header(path: Path) -> dict[str, Any]:
    if path.is_dir():
        held = ", ".join(sorted(file.name for file in path.glob("*.safetensors"))) or "none"
        raise UserError(f"{path}: a folder, where a file is wanted; its .safetensors files: {held}")
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the .safetensors file that a training wrote")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(
            f"{path}: not a readable safetensors file ({error}): cut short, or of another kind; {WANTED} (a .ckpt "
            "serves resuming only). Published weights of other programs come in by ssl-music import"
        ) from error
    came = header.get("format", "")
    if came != FORMAT:
        newer = came.startswith(FORMAT.partition("/")[0])
        raise UserError(
            f"{path}: no checkpoint of ssl_music that this version reads (format {came or 'none'!r}, wanted "
            f"{FORMAT!r}); "
            + ("update ssl_music" if newer else f"{WANTED}. Those of other programs come in by ssl-music import")
        )
    try:
        facts, head, origin = (json.loads(header[name]) for name in ("encoder", "head", "provenance"))
        parts = {"class_path": str(facts["class_path"]), "spec": dict(facts["spec"])}
        return {"encoder": parts, "head": head and dict(head), "provenance": origin, "digest": header["digest"]}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the header is not as ssl_music writes it ({error!r}): it is damaged") from error


def _encoder_class(path: Path, class_path: str) -> type[Encoder]:
    module, _, name = class_path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Encoder)):
        known = ", ".join(members(Encoder))
        raise UserError(
            f"{path}: made by {class_path}, which is not loaded; import {module or 'its module'} first. "
            f"Known here: {known}"
        )
    return found


def _built(path: Path, kind: type[Encoder] | type[Tagger], arguments: dict[str, Any]) -> Any:
    known = inspect.signature(kind).parameters
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise UserError(
            f"{path}: made by a {kind.__name__} with the argument {unknown[0]!r}, which this version does not know: "
            f"a newer one has written it, update ssl_music. Known here: {', '.join(known)}"
        )
    try:
        return kind(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: the {kind.__name__} that the file names cannot be built ({error}): it is damaged, or of "
            "another version of ssl_music"
        ) from error


def _fill(path: Path, model: Encoder | Tagger, weights: dict[str, torch.Tensor]) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    came = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    differing = [name for name in {**wanted, **came} if wanted.get(name) != came.get(name)]
    if differing:
        first = differing[0]
        owner = type(encoder_of(model)).__name__
        if isinstance(model, Tagger) and first.startswith("head."):
            owner = f"head for the {len(model.tags)} tags of {model.column!r}"
        raise UserError(
            f"{path}: the weights do not fit the {owner} that the file names: {first} is "
            f"{came.get(first, 'missing')} in the file, {wanted.get(first, 'unknown')} by its arguments (the first "
            f"of {len(differing)} that differ): it was changed, or put together from two"
        )
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise UserError(
            f"{path}: the weights {bad[0]} are not finite ({len(bad)} of {len(weights)} tensors hold NaN or "
            "infinity): its training has diverged, or it is damaged; take an earlier file, or train anew more slowly"
        )
    model.load_state_dict(weights)
