"""PyG Batches made of the plain tensors of events, and taken apart again."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from .graph import ptr_to_batch, ptr_to_slot
from .particles import Particles, as_tensor, floating

__all__ = ["make_batch", "particles_of"]

_DATA_BATCH: Any = type(Batch(_base_cls=Data))


def make_batch(
    particles: Particles | None,
    *,
    u: Tensor | None = None,
    cat: Tensor | None = None,
    y: Tensor | None = None,
    weight: Tensor | None = None,
) -> Batch:
    """Put plain tensors into a Batch that can be indexed, split and collated again like any that PyG makes.

    Raises
    ------
    ValueError
        If the fields do not describe the same number of events.
    """
    fields = {"u": _table("u", u), "cat": _table("cat", cat), "y": _table("y", y), "weight": _table("weight", weight)}
    if particles is not None:
        num_events = particles.ptr.numel() - 1
    else:
        num_events = next((v.size(0) for v in fields.values() if v is not None and v.dim()), 0)
    batch = _DATA_BATCH.__new__(_DATA_BATCH)
    Data.__init__(batch)  # as Batch(_base_cls=Data) does, which takes a good part of the time of all the rest
    store = batch._store  # where its attributes are kept: to set them there takes a fraction of the time
    kept = store._mapping
    slices: dict[str, Tensor] = {}
    if particles is not None:
        kept["x"], kept["slot"] = particles.x, particles.slot
        slices["x"] = slices["slot"] = particles.ptr.detach().cpu()
        kept["batch"], kept["ptr"] = ptr_to_batch(particles.ptr, particles.x.size(0)), particles.ptr
    per_event = torch.arange(num_events + 1)
    for name, value in fields.items():
        if value is None:
            continue
        if value.dim() != (1 if name == "weight" else 2) or value.size(0) != num_events:
            expected = f"({num_events},)" if name == "weight" else f"({num_events}, columns)"
            raise ValueError(f"{name} must have the shape {expected}, got {tuple(value.shape)}")
        kept[name] = value
        slices[name] = per_event
    # what Batch.from_data_list records: without it batch[i], to_data_list and empty events at the end would be lost
    store._num_graphs = num_events
    store._slice_dict = slices
    store._inc_dict = dict.fromkeys(slices, torch.zeros(num_events, dtype=torch.long))
    return batch


def particles_of(batch: Data) -> Particles:
    """Return the particles of a Batch, or of the Data of one event, as plain tensors.

    Raises
    ------
    TypeError
        If it is no Batch.
    ValueError
        If there is no ``x`` of two dimensions, or ``ptr`` or ``slot`` does not fit it.
    """
    if not isinstance(batch, Data):
        raise TypeError(f"events must be a Batch, or the Data of one event, got {type(batch).__name__}")
    x = batch.x
    if not isinstance(x, Tensor) or x.dim() != 2:
        got = "none" if x is None else f"a {type(x).__name__} of the shape {tuple(x.shape)}"
        raise ValueError(f"the batch must have particle features x (particles, features), got {got}")
    ptr = _ptr_of(batch, x)
    if "slot" not in batch:
        slot = ptr_to_slot(ptr)
    elif _is_vector(batch.slot) and batch.slot.numel() == x.size(0) and not bool((batch.slot < 0).any()):
        slot = batch.slot.long()
    else:
        raise ValueError(f"slot of the batch must hold a place from 0 on for each of the {x.size(0)} particles of x")
    return Particles(floating(x), slot, ptr)


def _ptr_of(batch: Data, x: Tensor) -> Tensor:
    if "ptr" not in batch:
        if "batch" in batch:
            raise ValueError("the batch has the field batch, but no ptr: make it with from_jagged(x, lengths=...)")
        return torch.tensor([0, x.size(0)], device=x.device)
    ptr, n = batch.ptr, x.size(0)
    fits = _is_vector(ptr) and ptr.numel() > 0 and int(ptr[0]) == 0 and int(ptr[-1]) == n
    if not fits or bool((ptr.diff() < 0).any()):  # torch would write beyond the memory of what is made from them
        raise ValueError(f"ptr of the batch must rise from 0 to {n}, the number of particles in x, got {ptr}")
    return ptr.long()


def _is_vector(x: object) -> bool:
    return isinstance(x, Tensor) and x.dim() == 1 and x.dtype in (torch.int64, torch.int32, torch.int16, torch.int8)


def _table(name: str, value: Tensor | None) -> Tensor | None:
    if value is None:
        return None
    value = as_tensor(name, value)
    if name == "weight":
        return value
    if name == "cat":
        if value.is_floating_point() or value.is_complex():
            raise ValueError(f"cat must be integers (codes from 0), got {value.dtype}; convert with .long()")
        value = value.long()
    return value.unsqueeze(1) if value.dim() == 1 else value
