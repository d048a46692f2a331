"""Activations and initialisations by name."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..events.errors import near

__all__ = [
    "Act",
    "Init",
    "LookupAct",
    "LookupInit",
    "check_lookups",
    "lookup_act",
    "lookup_normal_init",
    "lookup_uniform_init",
]

Act = Literal[
    "relu", "prelu", "leaky_relu", "elu", "selu", "gelu", "silu", "swish", "mish", "tanh", "sigmoid", "softmax",
    "logsoftmax", "linear",
]  # fmt: skip

#: Initialises a weight in place.
Init = Callable[[Tensor], Any]
LookupInit = Callable[..., Init]
LookupAct = Callable[[str], Any]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(-1),
    "logsoftmax": lambda: nn.LogSoftmax(-1),
    "linear": nn.Identity,
}
_SATURATING = ("tanh", "sigmoid", "softmax", "logsoftmax", "linear")


def check_lookups(**lookups: Any) -> None:
    """Raise a TypeError that names the first look-up that is not a function."""
    for name, lookup in lookups.items():
        if not callable(lookup):
            raise TypeError(f"{name} must be a function of an activation's name, got {lookup!r}")


def _check(act: str) -> None:
    if act not in _ACTIVATIONS:
        names = get_args(Act)
        raise ValueError(f"act must be an activation, got {act!r}: {near(str(act), names)} (known: {', '.join(names)})")


def lookup_act(act: str) -> nn.Module:
    """Return an activation layer by name.

    Parameters
    ----------
    act
        One of `Act`. Softmax and log-softmax act on the last axis.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> lookup_act("swish")
    SiLU()
    """
    _check(act)
    return _ACTIVATIONS[act]()


def lookup_normal_init(act: str, fan_in: int | None = None, fan_out: int | None = None) -> Init:
    """Return a function that fills a weight from the normal distribution that suits an activation.

    Standard deviation: sqrt(2 / fan_in) for relu and its kin (He et al., arXiv:1502.01852), 1 / sqrt(fan_in) for selu
    (arXiv:1706.02515), sqrt(2 / (fan_in + fan_out)) for saturating activations and linear (Glorot and Bengio).

    Parameters
    ----------
    act
        Name of the activation after the weight.
    fan_in, fan_out
        Numbers of inputs and outputs. They are read from the weight; only for selu does a given ``fan_in`` take
        precedence.

    Raises
    ------
    ValueError
        If the activation is unknown.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> weight = torch.empty(400, 300)
    >>> _ = lookup_normal_init("relu")(weight)
    >>> round(float(weight.std() / (2 / 300) ** 0.5), 1)
    1.0
    """
    _check(act)
    if act == "selu":
        return lambda weight: nn.init.normal_(weight, std=1 / math.sqrt(fan_in or _fan_in(weight)))
    if act in _SATURATING:
        return nn.init.xavier_normal_
    return lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu")


def lookup_uniform_init(act: str, fan_in: int | None = None, fan_out: int | None = None) -> Init:
    """Return a function that fills a weight from the uniform distribution that suits an activation.

    Bound: sqrt(6 / fan_in) for relu and its kin, 1 / sqrt(fan_in) for selu, sqrt(6 / (fan_in + fan_out)) for saturating
    activations and linear.

    Parameters
    ----------
    act
        Name of the activation after the weight.
    fan_in, fan_out
        Numbers of inputs and outputs. They are read from the weight; only for selu does a given ``fan_in`` take
        precedence.

    Raises
    ------
    ValueError
        If the activation is unknown.

    Examples
    --------
    >>> weight = torch.empty(400, 300)
    >>> bool(lookup_uniform_init("selu")(weight).abs().max() <= 300**-0.5)
    True
    """
    _check(act)
    if act == "selu":

        def draw(weight: Tensor) -> Tensor:
            bound = 1 / math.sqrt(fan_in or _fan_in(weight))
            return nn.init.uniform_(weight, -bound, bound)

        return draw
    if act in _SATURATING:
        return nn.init.xavier_uniform_
    return lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu")


def _fan_in(weight: Tensor) -> int:
    return int(torch.Size(weight.shape[1:]).numel())
