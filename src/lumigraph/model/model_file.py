"""Model files: plain data and weights in one file, read without running any code from it."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..events.files import check_place, replacing
from ..version import __version__
from .description import Description

__all__ = ["load_state", "read", "read_description", "read_weights", "write"]

_FORMAT = "lumigraph model"
_VERSION = 2


def write(
    path: str | os.PathLike[str],
    description: Description,
    state: Mapping[str, Any],
    history: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a model file; see `lumigraph.model.Model.save`."""
    path = check_place(path, overwrite)
    try:
        plain, opaque = description.plain(), None
    except TypeError as error:
        plain, opaque = None, str(error)  # only the builder of such a model can load it
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "lumigraph": __version__,
        "builder": plain,
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
        If it is not a model file.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)} is not a model of lumigraph: save one with Model.save")
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
        If it has no weights, or is a model of LUMIN.
    """
    lumin = (
        "load a model of LUMIN into a model that you have built, with "
        "lumigraph.compat.lumin.load_state_dict(model, torch.load(...))"
    )
    try:
        content = _read(path)
    except ValueError as error:
        raise ValueError(f"{error}; {lumin}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{os.fspath(path)} must hold weights by name, got a {type(content).__name__}")
    if isinstance(content.get("model"), Mapping):
        raise ValueError(f"{os.fspath(path)} is not a model of lumigraph: {lumin}")
    return content["state"] if content.get("format") == _FORMAT else content


def _read(path: str | os.PathLike[str]) -> Any:
    """Read any torch file as plain data."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no model file {os.fspath(path)}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{os.fspath(path)} is not a model of lumigraph, or is cut off: save one with Model.save")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # arbitrary bytes can make the reader raise any exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"{os.fspath(path)} is not a model of lumigraph, or is damaged ({reason})") from None


def read_description(path: str | os.PathLike[str], content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields of `Description` from a model file, or from its content as returned by `read`.

    Raises
    ------
    ValueError
        If the file does not hold a model, or holds one with custom parts.
    """
    content = read(path) if content is None else content
    if content["builder"] is None:
        raise ValueError(
            f"{os.fspath(path)} holds a model with parts that are not in lumigraph ({content['opaque']}): "
            "load it with Model.load(path, model_builder=...)"
        )
    plain = dict(content["builder"])
    if content["version"] == 1:  # version 1 called the scales 'scaling'
        plain["scales"] = plain.pop("scaling", {})
    # the file holds the trained weights, so those that training started from are not needed
    plain["pretrain_file"] = None
    if plain.get("cat_embedder"):
        plain["cat_embedder"] = {**plain["cat_embedder"], "emb_load_path": None}
    return plain


def load_state(path: str | os.PathLike[str], model: nn.Module, state: Mapping[str, Any]) -> None:
    """Load weights into a model, or raise a ValueError that says what does not fit."""
    if not isinstance(state, Mapping):
        raise TypeError(f"the weights must be a state_dict, got {type(state).__name__}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(f"the weights in {os.fspath(path)} do not fit the model: {detail}") from None
