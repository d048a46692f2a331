"""Model files: plain data and weights in one file, read without running any code from it."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..blocks import CatEmbedder
from ..blocks.registry import to_object, to_plain
from ..events.files import check_place, replacing
from ..events.schema import EventSchema
from ..nn.scaling import Scaling
from ..version import __version__

__all__ = ["builder_args", "load_state", "read", "read_weights", "scaling_of", "write"]

_FORMAT = "lumigraph model"
_VERSION = 1
_PARTS = ("head", "body", "tail", "lookup_init", "lookup_act")
_PLAIN = ("objective", "n_out", "input_mask", "opt_args", "freeze_head", "freeze_body", "freeze_tail")


def _describe(builder: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        name: to_plain(getattr(builder, name)) for name in (*_PLAIN, *_PARTS, "model_args", "loss")
    }
    plain["cont_feats"] = builder.input_feats
    plain["scaling"] = {field: to_plain(scaling._asdict()) for field, scaling in builder.scaling.items()}
    embedder = builder.cat_embedder
    if embedder is not None:
        plain["cat_embedder"] = {n: list(getattr(embedder, n)) for n in ("cat_names", "cat_szs", "emb_szs")}
    if builder.schema is not None:
        plain["schema"] = builder.schema.to_dict()
    return plain


def write(
    path: str | os.PathLike[str],
    builder: Any,
    state: Mapping[str, Any],
    history: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a model file; see `lumigraph.model.Model.save`."""
    path = check_place(path, overwrite)
    try:
        described, opaque = _describe(builder), None
    except TypeError as error:
        described, opaque = None, str(error)  # such a model is loaded with the builder that made it
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "lumigraph": __version__,
        "builder": described,
        "opaque": opaque,
        "state": dict(state),
        "history": {k: list(v) for k, v in history.items()},
    }
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        torch.save(content, stream)
    return path


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a model file as plain data.

    Raises
    ------
    ValueError
        If it is no model file.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)} is no model of lumigraph: save one with Model.save")
    if content["version"] > _VERSION:
        raise ValueError(
            f"{os.fspath(path)} was written by lumigraph {content['lumigraph']}, which is newer than this one "
            f"({__version__}): update lumigraph"
        )
    return content


def read_weights(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read the weights from a model file, or from a file that holds a state_dict, as plain data.

    Raises
    ------
    ValueError
        If there are none in it, or it is a model of LUMIN.
    """
    lumin = (
        "a model of LUMIN is loaded into one that is built already, with "
        "lumigraph.compat.lumin.load_state_dict(model, torch.load(...))"
    )
    try:
        content = _read(path)
    except ValueError as error:
        raise ValueError(f"{error}; {lumin}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{os.fspath(path)} holds no weights, but a {type(content).__name__}")
    if isinstance(content.get("model"), Mapping):
        raise ValueError(f"{os.fspath(path)} is no model of lumigraph: {lumin}")
    return content["state"] if content.get("format") == _FORMAT else content


def _read(path: str | os.PathLike[str]) -> Any:
    """Read any file of torch as plain data."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no model file {os.fspath(path)}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{os.fspath(path)} is no model of lumigraph, or is cut off: save one with Model.save")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of any origin: the reader of plain data may stumble in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"{os.fspath(path)} is no model of lumigraph, or is damaged ({reason})") from None


def builder_args(path: str | os.PathLike[str], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the `ModelBuilder` that a model file describes."""
    plain = content["builder"]
    if plain is None:
        raise ValueError(
            f"{os.fspath(path)} holds a model with parts that lumigraph does not have itself ({content['opaque']}): "
            "load it with Model.load(path, model_builder=...)"
        )
    embedder, schema = plain.get("cat_embedder"), plain.get("schema")
    names = (*_PLAIN, *_PARTS, "model_args", "loss", "cont_feats")
    args = {name: to_object(plain[name]) for name in names if name in plain}
    args["cat_embedder"] = None if embedder is None else CatEmbedder(**embedder)
    args["schema"] = None if schema is None else EventSchema.from_dict(schema)
    return args


def scaling_of(content: Mapping[str, Any]) -> dict[str, Scaling]:
    """Return what a builder that a model file describes does to features, as measured on its training events."""

    def scaling(plain: Mapping[str, Any]) -> Scaling:
        tensors = ("mean", "std", "low", "high")
        args: dict[str, Any] = {k: torch.tensor(v) if k in tensors and v is not None else v for k, v in plain.items()}
        return Scaling(**args)

    return {field: scaling(plain) for field, plain in content["builder"].get("scaling", {}).items()}


def load_state(path: str | os.PathLike[str], model: nn.Module, state: Mapping[str, Any]) -> None:
    """Load weights into a model, or raise a ValueError that says what does not fit."""
    if not isinstance(state, Mapping):
        raise TypeError(f"the weights must be a state_dict, got {type(state).__name__}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(f"the weights in {os.fspath(path)} do not fit the model: {detail}") from None
