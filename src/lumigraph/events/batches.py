"""PyG Batches: made from the plain tensors of events, and taken apart into them."""

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

__all__ = [
    "EventFields",
    "NamedData",
    "NamedFields",
    "check_names",
    "feature_names",
    "make_batch",
    "names_of",
    "particles_of",
]

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
    """PyG's store of the fields of an event or a Batch, which joins the names of several events into one."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "names" and not isinstance(value, Names):  # PyG's collation sets a list, one of each event
            value = Names.common(value)
        super().__setitem__(key, value)


class NamedData(Data):
    """PyG's Data of one event, with the names of its columns; PyG calls a Batch of them ``NamedDataBatch``.

    The attribute ``names`` is not a field: ``keys()`` lists tensors only.

    Examples
    --------
    >>> event = NamedData(x=torch.ones(2, 1), names=Names(feats_per_vec=["pt"]))
    >>> Batch.from_data_list([event, event]).names
    Names(feats_per_vec=('pt',))
    """

    names: Names

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        # PyG's __init__ has made a store of its own class; making a second one would double the time
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
    """Make a Batch of plain tensors, which can be indexed, split and collated like those that PyG makes.

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
    batch = _NAMED_BATCH.__new__(_NAMED_BATCH)
    NamedData.__init__(batch)  # Batch(_base_cls=NamedData) does the same, much more slowly
    store = batch._store  # setting fields here is much faster than setting attributes of the batch
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
    # as Batch.from_data_list records: batch[i], to_data_list and empty events at the end depend on it
    store._num_graphs = num_events
    store._slice_dict = slices
    store._inc_dict = dict.fromkeys(slices, torch.zeros(num_events, dtype=torch.long))
    return batch


def names_of(batch: Data) -> Names:
    """Return the names of a Batch, or of the Data of one event, except of fields whose width has changed since."""
    if not isinstance(batch, NamedData):
        return _NO_NAMES
    names, kept = batch.names, batch._store._mapping
    stale = {field: () for field, _, width in _widths(names, kept) if width != len(getattr(names, field))}
    return replace(names, **stale) if stale else names


def feature_names(batch: Data, feats_per_vec: Sequence[str] | None = None) -> Sequence[str]:
    """Return the names of the features of particles, given or known to the Batch.

    Raises
    ------
    ValueError
        If there are none, or the given names contradict those of the Batch.

    Examples
    --------
    >>> feature_names(NamedData(x=torch.ones(1, 2), names=Names(feats_per_vec=["px", "py"])))
    ('px', 'py')
    """
    known = names_of(batch).feats_per_vec
    if feats_per_vec is None and not known:
        raise ValueError(
            "the batch must know the names of its features, got none: give feats_per_vec, here or where it is made"
        )
    if feats_per_vec is None or not known or tuple(feats_per_vec) == known:
        return known if feats_per_vec is None else feats_per_vec
    raise ValueError(
        f"feats_per_vec must be that of the batch, {known}, got {tuple(feats_per_vec)} "
        f"({difference(known, feats_per_vec)}): leave it out"
    )


def check_names(batch: Data) -> None:
    """Raise a ValueError unless a Batch has as many names as columns, where it has names."""
    names = batch.names
    for field, column, width in _widths(names, batch._store._mapping):
        if len(told := getattr(names, field)) != width:
            raise ValueError(f"{field} must name the {width} columns of {column}, got {len(told)} names: {told}")


def _widths(names: Names, kept: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Yield each list of names, the field whose columns it names, and the number of these columns."""
    for field, column in _NAMED_FIELDS.items():
        if getattr(names, field) and isinstance(value := kept.get(column), Tensor) and value.dim() == 2:
            yield field, column, value.size(1)


def particles_of(batch: Data) -> Particles:
    """Return the particles of a Batch, or of the Data of one event, as plain tensors.

    Raises
    ------
    TypeError
        If it is not a Batch.
    ValueError
        If ``x`` is missing or does not have two dimensions, or ``ptr`` or ``slot`` does not fit it.
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
        raise ValueError(
            f"slot of the batch must be {x.size(0)} integers of at least 0, one per particle, got {batch.slot}"
        )
    return Particles(floating(x), slot, ptr)


def _ptr_of(batch: Data, x: Tensor) -> Tensor:
    if "ptr" not in batch:
        if "batch" in batch:
            raise ValueError(
                "the batch must have the field ptr beside batch, got none: make it with from_jagged(x, lengths=...)"
            )
        return torch.tensor([0, x.size(0)], device=x.device)
    ptr, n = batch.ptr, x.size(0)
    fits = _is_vector(ptr) and ptr.numel() > 0 and int(ptr[0]) == 0 and int(ptr[-1]) == n
    if not fits or bool((ptr.diff() < 0).any()):  # with such offsets torch would write out of bounds
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
            raise ValueError(f"cat must be integers (codes from 0), got {value.dtype}: convert with .long()")
        value = value.long()
    return value.unsqueeze(1) if value.dim() == 1 else value
