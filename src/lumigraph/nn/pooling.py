"""Pooling of the particles of an event into one vector."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch_geometric.nn.inits import reset
from torch_geometric.utils import segment, softmax

from ..events.errors import near
from ..events.graph import ptr_to_batch
from ..events.particles import Particles, rows_of_particles
from .lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from .mlp import Dense, Layers

__all__ = ["Pool", "Pooling", "check_pooling"]

Pooling = Literal["sum", "mean", "max", "attention", "flatten"]


def check_pooling(name: str, method: str) -> Pooling:
    """Return the lower-cased method, or raise a ValueError that names the argument."""
    for known in get_args(Pooling):
        if str(method).lower() == known:
            return known
    raise ValueError(f"{name} must be a way to aggregate particles, got {method!r}: {near(method, get_args(Pooling))}")


class Pool(nn.Module):
    r"""Aggregate the particles of each event into one vector.

    ``sum``, ``mean`` and ``max`` are over any number of particles. ``attention`` is their mean with learned weights,
    :math:`\sum_i a_i x_i` with :math:`a = \mathrm{softmax}_i(w \cdot f(x_i))` over the particles of an event.
    ``flatten`` concatenates the slots.

    Parameters
    ----------
    channels
        Features per particle.
    method
        One of `Pooling`.
    num_slots
        Number of slots, for ``flatten``.
    act, lookup_init, lookup_act
        Activation of the hidden layer of ``attention``, and functions that return initialisation and activation by
        name.

    Raises
    ------
    ValueError
        If the method is unknown, or ``flatten`` finds a particle beyond the last slot.

    Notes
    -----
    **Shape.** ``x`` (particles, C), ``slot`` (particles,), ``ptr`` (events + 1,); returns (events, C), for ``flatten``
    (events, C * num_slots), channel-major. An event without particles gives zeros.

    **Symmetry.** All but ``flatten`` are invariant under permutation of an event's particles.

    References
    ----------
    .. [1] Y. Li et al., "Gated Graph Sequence Neural Networks", arXiv:1511.05493 (attention).

    Examples
    --------
    >>> x, slot, ptr = torch.tensor([[1.0], [3.0]]), torch.tensor([0, 2]), torch.tensor([0, 2, 2])
    >>> Pool(1, "mean")(x, slot, ptr)
    tensor([[2.],
            [0.]])
    >>> Pool(1, "flatten", num_slots=3)(x, slot, ptr)
    tensor([[1., 0., 3.],
            [0., 0., 0.]])
    """

    def __init__(
        self,
        channels: int,
        method: str = "sum",
        num_slots: int = 0,
        *,
        act: str = "relu",
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
    ) -> None:
        super().__init__()
        self.channels, self.num_slots = channels, num_slots
        self.method = check_pooling("method", method)
        self.gate: Layers | None = None
        if self.method == "attention":
            self.gate = Layers(
                Dense(channels, channels, act=act, lookup_init=lookup_init, lookup_act=lookup_act),
                Dense(channels, 1, act="linear", lookup_init=lookup_init, lookup_act=lookup_act),
            )

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.channels * (self.num_slots if self.method == "flatten" else 1)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        reset(self.gate)

    def forward(
        self,
        x: Float[Tensor, "particles channels"],
        slot: Int[Tensor, " particles"],
        ptr: Int[Tensor, " events_plus_1"],
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event."""
        if self.method == "flatten":
            return self.dense(*rows_of_particles(Particles(x, slot, ptr), self.num_slots))
        if self.gate is not None:
            weight = softmax(self.gate(x), ptr_to_batch(ptr, x.size(0)), num_nodes=ptr.numel() - 1)
            return segment(weight * x, ptr, reduce="sum")
        return segment(x, ptr, reduce=self.method)

    def dense(
        self, rows: Float[Tensor, "events slots channels"], mask: Bool[Tensor, "events slots"]
    ) -> Float[Tensor, "events out"]:
        """Return the same for padded events; values outside the mask are ignored."""
        present = mask.unsqueeze(-1)
        rows = torch.where(present, rows, torch.zeros_like(rows))
        if self.method == "flatten":
            return rows.transpose(1, 2).flatten(1)
        if self.gate is not None:
            score = self.gate(rows.flatten(0, 1)).view(*mask.shape, 1)
            score = torch.where(present, score, torch.full_like(score, torch.finfo(score.dtype).min))
            return (score.softmax(1) * rows).sum(1)
        if self.method == "max":
            lowest = torch.where(present, rows, torch.full_like(rows, -torch.inf))
            return torch.where(mask.any(1, keepdim=True), lowest.amax(1), torch.zeros_like(rows[:, 0]))
        total = rows.sum(1)
        return total / mask.sum(1, keepdim=True).clamp(min=1) if self.method == "mean" else total

    def extra_repr(self) -> str:
        """Show the method."""
        return f"{self.channels}, {self.method!r}"
