"""Optimisers by name."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..events.errors import near
from .config import TrainConfig

__all__ = ["build_optimiser", "momentum_args", "optimiser_args", "optimiser_of_training"]

#: the optimisers of torch, by their names in lower case
_OPTIMISERS: dict[str, Any] = {
    name.lower(): cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
}


def optimiser_args(opt_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an optimiser with lower-case names, and the optimiser by name if torch has it.

    Raises
    ------
    ValueError
        If the optimiser is unknown.
    TypeError
        If it does not accept an argument.

    Examples
    --------
    >>> optimiser_args({"OPT": torch.optim.AdamW, "lr": 1e-3})
    {'opt': 'adamw', 'lr': 0.001}
    """
    args = {name.lower(): value for name, value in opt_args.items()}
    if "opt" in args:
        args["opt"] = _name(args["opt"])
    cls = _class(args)
    known = [name for name in inspect.signature(cls).parameters if name != "params"]
    for name in args:
        if name != "opt" and name not in known:
            raise TypeError(f"opt_args: {cls.__name__} has no argument {name!r}: {near(name, known)}")
    return args


def _name(opt: Any) -> Any:
    if isinstance(opt, str):
        if opt.lower() not in _OPTIMISERS:
            raise ValueError(
                f"opt_args: opt must be an optimiser of torch.optim, got {opt!r}: {near(opt, _OPTIMISERS)}"
            )
        return opt.lower()
    if not (isinstance(opt, type) and issubclass(opt, torch.optim.Optimizer)):
        raise TypeError(f"opt_args: opt must be a name or a class of torch.optim, got {opt!r}")
    return next((name for name, cls in _OPTIMISERS.items() if cls is opt), opt)


def _class(args: Mapping[str, Any]) -> Any:
    opt = args.get("opt", "adamw" if "weight_decay" in args else "adam")
    return _OPTIMISERS[opt] if isinstance(opt, str) else opt


def build_optimiser(model: nn.Module, opt_args: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build an optimiser of the trainable parameters.

    Parameters
    ----------
    model
        The module to train.
    opt_args
        ``opt``, a name or a class, and its arguments. Without ``opt`` it is Adam, or AdamW with a ``weight_decay``.

    Raises
    ------
    ValueError
        If nothing is trainable, or the optimiser is unknown.
    TypeError
        If the optimiser does not accept an argument.

    Examples
    --------
    >>> type(build_optimiser(nn.Linear(2, 1), {"lr": 0.1})).__name__
    'Adam'
    """
    args = optimiser_args(opt_args)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the model has no trainable parameter: all are frozen")
    return _class(args)(parameters, **{name: value for name, value in args.items() if name != "opt"})


def optimiser_of_training(opt_args: Mapping[str, Any] | None, config: TrainConfig) -> dict[str, Any]:
    """Return an optimiser and all its settings, always including a learning rate.

    A learning rate or decay given in both places must agree. Without ``opt_args`` it is AdamW.

    Raises
    ------
    ValueError
        If ``opt_args`` and ``config`` contradict each other.

    Examples
    --------
    >>> optimiser_of_training({}, TrainConfig(lr=0.01))
    {'opt': 'adamw', 'lr': 0.01, 'weight_decay': 0.01}
    >>> optimiser_of_training({"lr": 0.5}, TrainConfig())
    {'lr': 0.5}
    """
    args = optimiser_args(opt_args or {})
    default = {"lr": 1e-3} if args else {"opt": "adamw", "lr": 1e-3, "weight_decay": 1e-2}
    told = {name: getattr(config, name) for name in ("lr", "weight_decay") if getattr(config, name) is not None}
    for name, value in told.items():
        if args.get(name, value) != value:
            raise ValueError(
                f"{name} must be the same in both places, got {args[name]} in opt_args and {value} for the training: "
                "leave one of them out"
            )
    return optimiser_args({**default, **args, **told})


def momentum_args(opt_args: Mapping[str, Any], mom: float | int | None = None) -> dict[str, Any]:
    """Return the momentum argument of an optimiser, with a new value if given.

    Raises
    ------
    ValueError
        If the optimiser has no momentum.

    Examples
    --------
    >>> momentum_args({"opt": "adam"}, 0.5)
    {'betas': (0.5, 0.999)}
    """
    args = optimiser_args(opt_args)
    cls = _class(args)
    known = {name: args.get(name, p.default) for name, p in inspect.signature(cls).parameters.items()}
    if "betas" in known:
        first, *others = known["betas"]
        return {"betas": (first if mom is None else mom, *others)}
    if "momentum" not in known:
        raise ValueError(f"{cls.__name__} has no momentum: choose another opt in opt_args")
    return {"momentum": known["momentum"] if mom is None else mom}
