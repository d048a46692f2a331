"""Optimisers by name."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .schema import near

__all__ = ["build_optimiser", "optimiser_args"]

_OPTIMISERS: dict[Any, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def optimiser_args(opt_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an optimiser by lower-case names, the optimiser by its own name if it has one.

    Raises
    ------
    ValueError
        If the optimiser is unknown.

    Examples
    --------
    >>> optimiser_args({"OPT": torch.optim.AdamW, "lr": 1e-3})
    {'opt': 'adamw', 'lr': 0.001}
    """
    args = {name.lower(): value for name, value in opt_args.items()}
    opt = args.get("opt", "adam")
    names = {cls: name for name, cls in _OPTIMISERS.items()}
    if isinstance(opt, str):
        if opt.lower() not in _OPTIMISERS:
            raise ValueError(f"opt_args: opt={opt!r} is no optimiser: {near(opt.lower(), _OPTIMISERS)}")
        opt = opt.lower()
    elif not (isinstance(opt, type) and issubclass(opt, torch.optim.Optimizer)):
        raise TypeError(f"opt_args: opt must be a name or a class of torch.optim, got {opt!r}")
    return {**args, "opt": names.get(opt, opt)} if "opt" in args else args


def build_optimiser(model: nn.Module, args: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build an optimiser of the parameters that are trained, from the arguments of `optimiser_args`.

    Raises
    ------
    TypeError
        If the optimiser does not know an argument.
    """
    rest = dict(args)
    opt = rest.pop("opt")
    cls = _OPTIMISERS.get(opt, opt)
    known = inspect.signature(cls).parameters
    for name in rest:
        if name not in known:
            raise TypeError(f"opt_args: {cls.__name__} has no argument {name!r}: {near(name, known)}")
    return cls([p for p in model.parameters() if p.requires_grad], **rest)
