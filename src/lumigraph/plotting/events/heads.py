"""The head that a picture is about: alone, in a MultiHead, or in a whole model."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch_geometric.data import Data

from ...events.batches import particles_of
from ...events.particles import Particles
from ...model import Model
from .event_columns import event_bounds

__all__ = ["find_head", "model_name", "particles_of_event"]

Head = TypeVar("Head", bound=nn.Module)


def find_head(owner: nn.Module | Model, kind: type[Head]) -> Head:
    """Return the one block of a kind in a model, a module, or among the parts of a `MultiHead`.

    Raises
    ------
    TypeError
        If ``owner`` is not a model.
    ValueError
        If there is no such block, or more than one.

    Examples
    --------
    >>> find_head(nn.Sequential(nn.Linear(2, 1), nn.ReLU()), nn.Linear)
    Linear(in_features=2, out_features=1, bias=True)
    """
    module = owner.model if isinstance(owner, Model) else owner
    if not isinstance(module, nn.Module):
        raise TypeError(f"the model must be a {kind.__name__}, or a module or Model that has one, got {owner!r:.80}")
    found = [part for part in module.modules() if isinstance(part, kind)]
    if len(found) != 1:
        got = f"{len(found)}: pass the one to draw" if found else "none: build it with one as its head"
        raise ValueError(f"the {type(module).__name__} must have one {kind.__name__}, got {got}")
    return found[0]


def model_name(model: Model) -> str:
    """Return the name of the head that takes the particles, or of the only one."""
    return type(getattr(model.head, "matrix_head", model.head)).__name__


def particles_of_event(batch: Data, event: int, head: nn.Module) -> Particles:
    """Return the particles of one event, on the device of a head and in its precision."""
    x, slot, ptr = particles_of(batch)
    first, end = event_bounds(ptr.tolist(), event)
    own = next((t for t in head.parameters() if t.is_floating_point()), x)
    rows = slice(first, end)
    return Particles(
        x[rows].detach().to(own), slot[rows].to(own.device), torch.tensor([0, end - first], device=own.device)
    )
