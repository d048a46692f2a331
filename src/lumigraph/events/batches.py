"""PyG Batches made of the plain tensors of events, and taken apart again."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.data.storage import GlobalStorage

from .graph import ptr_to_batch, ptr_to_slot
from .names import Names, difference
from .particles import Particles, as_tensor, floating

__all__ = ["EventFields", "NamedData", "NamedFields", "feature_names", "make_batch", "names_of", "particles_of"]

#: Which field of `Names` names the columns of which field of a Batch.
_NAMED_FIELDS = {"feats_per_vec": "x", "event_feats": "u", "cat_feats": "cat", "targets": "y"}


_NO_NAMES = Names()


class EventFields(TypedDict, total=False):
    """What a Batch of B events holds beside their particles."""

    #: continuous event features (B, G)
    u: Tensor | None
    #: integer categories (B, C)
    cat: Tensor | None
    #: targets (B, T)
    y: Tensor | None
    #: weights (B,)
    weight: Tensor | None


class NamedFields(EventFields, total=False):
    """What the adapters take beside the particles: the fields of the events, and the names of their columns."""

    #: names of the columns of ``u``, ``cat`` and ``y``
    event_feats: Sequence[str]
    cat_feats: Sequence[str]
    targets: Sequence[str]


class NamedStorage(GlobalStorage):
    """What PyG keeps the fields of an event or a Batch in; the names of several events become those of all of them."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "names" and not isinstance(value, Names):  # those of all events, from PyG's collation
            value = Names.common(value)
        super().__setitem__(key, value)


class NamedData(Data):
    """PyG's Data of one event, which knows the names of what it holds; as a Batch it is a ``NamedDataBatch``.

    The names are an attribute and not a field: ``keys()`` lists the tensors alone.

    Examples
    --------
    >>> event = NamedData(x=torch.ones(2, 1), names=Names(feats_per_vec=["pt"]))
    >>> Batch.from_data_list([event, event]).names
    Names(feats_per_vec=('pt',))
    """

    names: Names

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        # PyG has made a storage of its own class; to make a second one would take as long again
        object.__setattr__(self._store, "__class__", NamedStorage)
        self._store._mapping.setdefault("names", _NO_NAMES)

    def keys(self) -> list[str]:
        """Return the names of the fields."""
        return [key for key in self._store if key != "names"]

    def __repr__(self) -> str:
        fields = copy(self)
        del fields._store["names"]
        return Data.__repr__(fields)


_NAMED_BATCH: Any = type(Batch(_base_cls=NamedData))


def make_batch(
    particles: Particles | None,
    *,
    names: Names | None = None,
    u: Tensor | None = None,
    cat: Tensor | None = None,
    y: Tensor | None = None,
    weight: Tensor | None = None,
) -> Batch:
    """Put plain tensors into a Batch that can be indexed, split and collated again like any that PyG makes.

    Raises
    ------
    ValueError
        If the fields do not describe the same number of events, or there are not as many names as columns.
    """
    fields = {"u": _table("u", u), "cat": _table("cat", cat), "y": _table("y", y), "weight": _table("weight", weight)}
    if particles is not None:
        num_events = particles.ptr.numel() - 1
    else:
        num_events = next((v.size(0) for v in fields.values() if v is not None and v.dim()), 0)
    batch = _NAMED_BATCH.__new__(_NAMED_BATCH)
    NamedData.__init__(batch)  # as Batch(_base_cls=NamedData) does, which takes a good part of the time of all the rest
    store = batch._store  # where its attributes are kept: to set them there takes a fraction of the time
    kept = store._mapping
    per_event = torch.arange(num_events + 1)
    slices = {"names": per_event}
    if particles is not None:
        kept["x"], kept["slot"] = particles.x, particles.slot
        slices["x"] = slices["slot"] = particles.ptr.detach().cpu()
        kept["batch"], kept["ptr"] = ptr_to_batch(particles.ptr, particles.x.size(0)), particles.ptr
    for name, value in fields.items():
        if value is None:
            continue
        if value.dim() != (1 if name == "weight" else 2) or value.size(0) != num_events:
            expected = f"({num_events},)" if name == "weight" else f"({num_events}, columns)"
            raise ValueError(f"{name} must have the shape {expected}, got {tuple(value.shape)}")
        kept[name] = value
        slices[name] = per_event
    if names is not None:
        kept["names"] = names
        _check_widths(names, kept)
    # what Batch.from_data_list records: without it batch[i], to_data_list and empty events at the end would be lost
    store._num_graphs = num_events
    store._slice_dict = slices
    store._inc_dict = dict.fromkeys(slices, torch.zeros(num_events, dtype=torch.long))
    return batch


def names_of(batch: Data) -> Names:
    """Return the names of a Batch, or of the Data of one event; none of a field that has another width by now."""
    if not isinstance(batch, NamedData):
        return _NO_NAMES
    names, kept = batch.names, batch._store._mapping
    stale = {field: () for field, _, width in _widths(names, kept) if width != len(getattr(names, field))}
    return replace(names, **stale) if stale else names


def feature_names(batch: Data, feats_per_vec: Sequence[str] | None = None) -> Sequence[str]:
    """Return the names of the features of particles: those given, or those that the Batch knows.

    Raises
    ------
    ValueError
        If neither is there, or both are and contradict each other.

    Examples
    --------
    >>> feature_names(NamedData(x=torch.ones(1, 2), names=Names(feats_per_vec=["px", "py"])))
    ('px', 'py')
    """
    known = names_of(batch).feats_per_vec
    if feats_per_vec is None and not known:
        raise ValueError(
            "the batch does not know the names of its features: give feats_per_vec, here or where the batch is made"
        )
    if feats_per_vec is None or not known or tuple(feats_per_vec) == known:
        return known if feats_per_vec is None else feats_per_vec
    raise ValueError(
        f"feats_per_vec must be that of the batch, {known}, got {tuple(feats_per_vec)} "
        f"({difference(known, feats_per_vec)}): leave it out"
    )


def _widths(names: Names, kept: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Yield the fields of names that are not empty, what they name the columns of, and how many there are."""
    for field, column in _NAMED_FIELDS.items():
        if getattr(names, field) and isinstance(value := kept.get(column), Tensor) and value.dim() == 2:
            yield field, column, value.size(1)


def _check_widths(names: Names, kept: Mapping[str, Any]) -> None:
    for field, column, width in _widths(names, kept):
        if len(told := getattr(names, field)) != width:
            raise ValueError(f"{field} must name the {width} columns of {column}, got {len(told)} names: {told}")


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
