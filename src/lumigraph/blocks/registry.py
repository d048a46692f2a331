"""Blocks by name: what a model is made of, to plain data and back."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from .. import blocks

__all__ = ["to_object", "to_plain"]


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
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, partial) and not value.args:
        return {**to_plain(value.func), "args": to_plain(value.keywords)}
    name = getattr(value, "__name__", None)
    if value in (nn.RNN, nn.LSTM, nn.GRU):
        return name  # a RecurrentHead takes it
    if name in blocks.__all__ and getattr(blocks, name) is value:
        return {"block": name}
    raise TypeError(f"{value!r} is neither plain data nor a block of lumigraph")


def to_object(value: Any) -> Any:
    """Return what `to_plain` was given; only the names of lumigraph's own blocks are looked up.

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
            if name not in blocks.__all__:
                raise ValueError(f"lumigraph has no block {name!r}: there are {', '.join(blocks.__all__)}")
            block, args = getattr(blocks, name), to_object(value.get("args") or {})
            return partial(block, **args) if args else block
        return {k: to_object(v) for k, v in value.items()}
    return [to_object(v) for v in value] if isinstance(value, list) else value
