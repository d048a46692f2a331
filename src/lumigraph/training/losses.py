"""Losses of single events, so that each can be weighted."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from ..blocks.heads.abs_head import Inputs
from ..blocks.registry import LOSSES
from ..events.errors import near

__all__ = ["EventLoss", "event_loss"]

#: Loss of each event, (B,), of a model (head, body, tail), its inputs, and the targets (B, T).
EventLoss = Callable[[Any, Any, Tensor], Tensor]


def event_loss(objective: str, loss: Any = "auto") -> EventLoss:
    """Return a function that computes the loss of each event.

    Parameters
    ----------
    objective
        ``classification``, ``multiclass`` or ``regression``.
    loss
        ``auto`` for the loss of the objective: binary cross-entropy, cross-entropy or squared error, averaged over
        outputs. The first two are computed from logits if the tail has them, which is safe in any precision.
        Otherwise the name of a loss of ``torch.nn``, such as ``L1Loss``, or a function of predictions and targets, its
        class or a partial; torch losses are called with ``reduction='none'``, which gives one number per event.

    Raises
    ------
    ValueError
        If torch has no loss of this name.

    Examples
    --------
    >>> import torch
    >>> parts = nn.Sequential(nn.Identity(), nn.Identity(), nn.Identity())
    >>> event_loss("regression")(parts, torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [5.0]]))
    tensor([0., 9.])
    """
    if isinstance(loss, str) and loss == "auto":
        return partial(_auto, objective)
    if isinstance(loss, str):
        if loss not in LOSSES:
            known = near(loss, ["auto", *LOSSES])
            raise ValueError(f"loss must be 'auto' or a loss of torch.nn, got {loss!r}: {known}")
        loss = LOSSES[loss]
    function = loss() if isinstance(loss, type | partial) else loss
    if not callable(function):
        raise TypeError(f"loss must be a function of predictions and targets, or the name of one, got {loss!r}")
    if getattr(function, "reduction", "none") != "none":
        function = copy.copy(function)  # leave the caller's object unchanged
        function.reduction = "none"
    return partial(_given, function)


def _given(
    function: Callable[[Tensor, Tensor], Tensor], parts: nn.Module, inputs: Inputs, y: Tensor
) -> Float[Tensor, " events"]:
    out = parts(inputs)
    losses = function(out, y.to(out.device))
    if losses.dim() == 0 or losses.size(0) != len(y):
        raise ValueError(
            f"the loss must give one number per event, got the shape {tuple(losses.shape)} for {len(y)} events: do not "
            "average over the batch"
        )
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def _auto(objective: str, parts: nn.Sequential, inputs: Inputs, y: Tensor) -> Float[Tensor, " events"]:
    head, body, tail = cast(Any, parts)
    hidden = body(head(inputs))
    y = y.to(hidden.device)
    if objective == "regression":
        return (tail(hidden) - y).square().mean(1)
    if objective == "multiclass":
        scores = tail.logits(hidden) if hasattr(tail, "logits") else tail(hidden)
        return nn.functional.cross_entropy(scores, y[:, 0].long(), reduction="none")
    if hasattr(tail, "logits"):
        logits = tail.logits(hidden)
        return nn.functional.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none").mean(1)
    return nn.functional.binary_cross_entropy(tail(hidden), y, reduction="none").mean(1)
