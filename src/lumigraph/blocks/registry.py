"""Blocks by name: what a model is made of, to plain data and back."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from .. import blocks
from ..events.errors import near
from ..events.schema import EventSchema
from ..nn.scaling import Scaling

__all__ = ["LOSSES", "to_object", "to_plain"]

#: the losses of torch by their names
LOSSES: dict[str, type[nn.Module]] = {
    name: cls for name, cls in vars(nn).items() if isinstance(cls, type) and name.endswith("Loss")
}


def to_plain(value: Any) -> Any:
    """Return a value as plain lists, dicts, strings and numbers; a block or a partial of one by its name.

    Raises
    ------
    TypeError
        If it is something else, such as a function of one's own.

    Examples
    --------
    >>> to_plain({"matrix_head": partial(blocks.InteractionNet, agg_method="sum"), "sizes": (1, np.int64(2))})
    {'matrix_head': {'block': 'InteractionNet', 'args': {'agg_method': 'sum'}}, 'sizes': [1, 2]}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | np.ndarray | Tensor):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, EventSchema):
        return value.to_dict()
    if isinstance(value, Scaling):
        return to_plain(value._asdict())
    if isinstance(value, blocks.CatEmbedder):
        return to_plain(vars(value))
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, partial) and not value.args and callable(value.func):
        return {"block": _name(value.func), "args": to_plain(value.keywords)}
    if value in (nn.RNN, nn.LSTM, nn.GRU):
        return value.__name__  # a RecurrentHead takes it
    return {"block": _name(value)}


def _name(value: Any) -> str:
    name = str(getattr(value, "__name__", None))
    if (name in blocks.__all__ and getattr(blocks, name) is value) or LOSSES.get(name) is value:
        return name
    raise TypeError(f"{value!r} is neither plain data nor a block of lumigraph")


def to_object(value: Any) -> Any:
    """Return what `to_plain` was given; only lumigraph's own blocks and torch's losses are looked up.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> to_object({"block": "CatEmbHead"}).__name__
    'CatEmbHead'
    """
    if isinstance(value, Mapping):
        if "block" in value:
            name = value["block"]
            for key in value:
                if key not in ("block", "args"):
                    raise ValueError(f"a block is block and args, got {key!r} beside {name}: put it into args")
            block = getattr(blocks, name) if name in blocks.__all__ else LOSSES.get(name)
            if block is None:
                raise ValueError(f"lumigraph has no block {name!r}: {near(name, blocks.__all__)}")
            args = to_object(value.get("args") or {})
            return partial(block, **args) if args else block
        return {k: to_object(v) for k, v in value.items()}
    return [to_object(v) for v in value] if isinstance(value, list) else value
