"""From the particles of an event to one vector per event."""

from typing import Literal, get_args

from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.utils import segment

from ..graph import ptr_to_batch
from ..particles import check_slots
from ..schema import near

__all__ = ["Pooling", "check_pooling", "pool"]

Pooling = Literal["sum", "mean", "max", "flatten"]


def check_pooling(name: str, method: str) -> Pooling:
    """Return the lower-cased method, or raise a ValueError that names the argument."""
    for known in get_args(Pooling):
        if method.lower() == known:
            return known
    raise ValueError(f"{name}={method!r} is no way to aggregate particles: {near(method, get_args(Pooling))}")


def pool(
    x: Float[Tensor, "particles channels"],
    slot: Int[Tensor, " particles"],
    ptr: Int[Tensor, " events_plus_1"],
    method: Pooling,
    num_slots: int,
) -> Float[Tensor, "events out"]:
    """Aggregate the particles of each event.

    Parameters
    ----------
    x
        Features of all particles, (N, C).
    slot
        Slot of each particle, (N,); only ``flatten`` looks at it.
    ptr
        Offsets of the events, (B+1,).
    method
        ``sum``, ``mean`` or ``max`` over an event's particles, whatever their number (0 without any), giving (B, C);
        or ``flatten``: one place per slot, channel-major, 0 where there is no particle, giving (B, C * num_slots).
    num_slots
        Number of slots for ``flatten``.

    Raises
    ------
    ValueError
        If ``flatten`` meets a particle beyond the last slot.

    Examples
    --------
    >>> import torch
    >>> x, ptr = torch.tensor([[1.0], [3.0]]), torch.tensor([0, 2, 2])
    >>> pool(x, torch.tensor([0, 1]), ptr, "mean", 0)
    tensor([[2.],
            [0.]])
    >>> pool(x, torch.tensor([0, 2]), ptr, "flatten", 3)
    tensor([[1., 0., 3.],
            [0., 0., 0.]])
    """
    if method != "flatten":
        return segment(x, ptr, reduce=method)
    check_slots(slot, ptr, num_slots)
    place = (ptr_to_batch(ptr, x.size(0)), slot)
    rows = x.new_zeros(ptr.numel() - 1, num_slots, x.size(1)).index_put(place, x)
    return rows.transpose(1, 2).flatten(1)
