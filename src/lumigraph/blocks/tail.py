"""Tails: the output side of a model (elsewhere called its head; here, as in LUMIN, the head is the input side)."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..events.checks import check_counts, check_number
from ..events.errors import near
from ..nn.lookups import LookupInit, check_lookups, lookup_normal_init
from .block import AbsBlock, vectors

__all__ = ["AbsTail", "ClassRegMulti", "Objective", "check_objective"]

Objective = Literal["classification", "multiclass", "regression"]


def check_objective(objective: str) -> Objective:
    """Return the lower-cased objective.

    Raises
    ------
    ValueError
        If it is none of `Objective`.
    """
    for known in get_args(Objective):
        if str(objective).lower() == known:
            return known
    names = get_args(Objective)
    raise ValueError(f"objective must be one of {', '.join(names)}, got {objective!r}: {near(str(objective), names)}")


class AbsTail(AbsBlock):
    """The output side of a model: from a vector per event to predictions.

    Parameters
    ----------
    n_in, n_out
        Width of the input and number of outputs.
    objective
        One of `Objective`.
    """

    def __init__(self, n_in: int, n_out: int, objective: str) -> None:
        super().__init__()
        check_counts(n_in=n_in, n_out=n_out)
        self.n_in, self.n_out = n_in, n_out
        self.objective = check_objective(objective)

    def get_out_size(self) -> int:
        """Return the number of outputs."""
        return self.n_out

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions, (B, n_out)."""


class ClassRegMulti(AbsTail):
    r"""A linear layer and the output function of the objective.

    ``classification``: sigmoid, a probability per output. ``multiclass``: log-softmax over the outputs.
    ``regression``: the identity; with ``y_range`` :math:`(y_{max} - y_{min})\,\sigma(x) + y_{min}`, with ``y_mean`` and
    ``y_std`` :math:`y_{std}\,x + y_{mean}`. `logits` returns the input of the sigmoid or softmax, for losses of logits.

    Parameters
    ----------
    n_in, n_out
        Width of the input and number of outputs.
    objective
        ``classification``, ``multiclass`` or ``regression``.
    y_range
        Smallest and largest output: a pair for all outputs, or an array (n_out, 2).
    bias_init
        Initial bias; by default 0, for ``multiclass`` 1 / n_out.
    y_mean, y_std
        Mean and standard deviation of the targets: numbers, or one per output.
    lookup_init
        Function that returns the initialisation of the weight.
    freeze
        Whether to start untrainable.

    Raises
    ------
    ValueError
        If the objective is unknown, or the rescaling arguments exclude each other or do not fit n_out.

    Notes
    -----
    **Shape.** (B, n_in) to (B, n_out).

    Examples
    --------
    >>> tail = ClassRegMulti(n_in=4, n_out=1, objective="regression", y_range=(100.0, 300.0), bias_init=0.0)
    >>> tail(torch.zeros(1, 4))
    tensor([[200.]], grad_fn=<AddBackward0>)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        objective: str,
        y_range: Sequence[Any] | np.ndarray | None = None,
        bias_init: float | int | None = None,
        y_mean: float | int | Sequence[Any] | np.ndarray | None = None,
        y_std: float | int | Sequence[Any] | np.ndarray | None = None,
        lookup_init: LookupInit = lookup_normal_init,
        freeze: bool = False,
    ) -> None:
        super().__init__(n_in, n_out, objective)
        self._check_rescaling(y_range, bias_init, y_mean, y_std)
        self.bias_init = None if bias_init is None else check_number("bias_init", bias_init)
        check_lookups(lookup_init=lookup_init)
        self.lookup_init = lookup_init
        self.dense = nn.Linear(n_in, n_out)
        self.act: nn.Module = nn.Identity()
        if self.objective == "multiclass":
            self.act = nn.LogSoftmax(-1)
        elif self.objective == "classification" or y_range is not None:
            self.act = nn.Sigmoid()
        # a name for each kind of rescaling, so that a state does not load into a tail of another kind
        if y_range is not None:
            ends = self._per_output("y_range", y_range, 2)
            self.register_buffer("y_min", ends.amin(1).to(self.dense.weight))
            self.register_buffer("y_diff", (ends.amax(1) - ends.amin(1)).to(self.dense.weight))
        elif y_mean is not None:
            self.register_buffer("y_mean", self._per_output("y_mean", y_mean, 1)[:, 0].to(self.dense.weight))
            self.register_buffer("y_std", self._per_output("y_std", y_std, 1)[:, 0].to(self.dense.weight))
        self.reset_parameters()
        if freeze:
            self.freeze_layers()

    y_min: Tensor
    y_diff: Tensor
    y_mean: Tensor
    y_std: Tensor

    def _check_rescaling(self, y_range: object, bias_init: object, y_mean: object, y_std: object) -> None:
        if y_range is not None and (y_mean is not None or y_std is not None):
            raise ValueError("y_range and y_mean with y_std exclude each other: give one or the other")
        if (y_mean is None) != (y_std is None):
            raise ValueError("y_mean and y_std go together: give both or neither")
        if y_mean is not None and bias_init is not None:
            raise ValueError("bias_init and y_mean exclude each other: y_mean already sets the initial outputs")
        if self.objective != "regression" and (y_range is not None or y_mean is not None):
            raise ValueError(
                f"objective must be 'regression' with y_range, y_mean or y_std, got {self.objective!r}: they rescale "
                "the targets of a regression"
            )

    def _per_output(self, name: str, values: object, width: int) -> Tensor:
        # in float64, as float32 may not distinguish the ends of a range
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)  # not numbers
        if array.size == width:
            array = np.broadcast_to(array.reshape(1, width), (self.n_out, width))
        misshapen = width == 2 and array.ndim > 1 and array.shape != (self.n_out, 2)
        if array.size != self.n_out * width or misshapen or not np.isfinite(array).all():
            shape = f"({self.n_out}, 2)" if width == 2 else f"({self.n_out},)"
            raise ValueError(
                f"{name} must hold finite numbers for all outputs or have the shape {shape}, got {values!r}"
            )
        return torch.as_tensor(array.reshape(self.n_out, width).copy())

    def reset_parameters(self) -> None:
        """Initialise the weight again and set the bias to its initial value."""
        act = {"classification": "sigmoid", "multiclass": "softmax", "regression": "linear"}[self.objective]
        self.lookup_init(act, self.n_in, self.n_out)(self.dense.weight.data)
        default = 1 / self.n_out if self.objective == "multiclass" else 0.0
        nn.init.constant_(self.dense.bias, default if self.bias_init is None else self.bias_init)

    def logits(self, x: Float[Tensor, "events n_in"]) -> Float[Tensor, "events n_out"]:
        """Return the input of the sigmoid or softmax of a classification."""
        return self.dense(vectors(self, x, self.n_in))

    def forward(self, x: Float[Tensor, "events n_in"]) -> Float[Tensor, "events n_out"]:
        """Return the predictions."""
        x = self.act(self.logits(x))
        if "y_min" in self._buffers:
            return self.y_diff * x + self.y_min
        return self.y_std * x + self.y_mean if "y_mean" in self._buffers else x

    def __getitem__(self, key: int | str) -> nn.Module:
        return (self.dense, self.act)[key]  # type: ignore[index]
