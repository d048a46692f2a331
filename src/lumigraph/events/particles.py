"""The particles of a batch of events as plain tensors: packed, named and checked.

This is what every block computes on; a PyG Batch (see `lumigraph.events.adapters`) is a wrapper around it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .errors import EventError, SchemaError, near
from .graph import lengths_to_ptr, ptr_to_batch
from .schema import cell_names, different_names

__all__ = [
    "CellMap",
    "Particles",
    "Rows",
    "as_tensor",
    "check_matrix",
    "check_slots",
    "drop_absent",
    "fit_slots",
    "floating",
    "integers",
    "pack",
    "particles_from_rows",
    "refuse_nan",
    "rows_of_matrix",
    "rows_of_particles",
]


class Particles(NamedTuple):
    """The particles of a batch of events, one behind the other: no memory for what is absent."""

    x: Float[Tensor, "particles features"]
    slot: Int[Tensor, " particles"]
    ptr: Int[Tensor, " events_plus_1"]


class Rows(NamedTuple):
    """The particles of a batch of events, a row for each slot, 0 where there is none: shapes known beforehand."""

    rows: Float[Tensor, "events slots features"]
    mask: Bool[Tensor, "events slots"]


class CellMap:
    """Where the features of named objects stand in a flat table.

    Parameters
    ----------
    cont_feats
        Names of the columns.
    vecs, feats_per_vec
        Names of the objects and of the features per object.

    Raises
    ------
    SchemaError
        If a column belongs to no object, an object has no column, or names repeat or collide.

    Examples
    --------
    >>> CellMap(["b_px", "a_px"], ["a", "b"], ["px", "pz"]).lookup
    [1, -1, 0, -1]
    """

    def __init__(self, cont_feats: Sequence[str], vecs: Sequence[str], feats_per_vec: Sequence[str]) -> None:
        self.cont_feats = different_names("cont_feats", cont_feats)
        self.vecs = different_names("vecs", vecs)
        self.feats_per_vec = different_names("feats_per_vec", feats_per_vec)
        cells = cell_names(self.vecs, self.feats_per_vec)
        place = {name: i for i, name in enumerate(self.cont_feats)}
        unused = [name for name in self.cont_feats if name not in set(cells)]
        if unused:
            others = f"; nor do {unused[1:]}" if unused[1:] else ""
            raise SchemaError(
                f"column {unused[0]!r} belongs to no object: its name is not {{vec}}_{{feat}} of any vec and feature "
                f"({near(unused[0], cells)}){others}; event features go beside the particles (argument u, or a "
                "MultiHead)"
            )
        #: column of each cell, object by object; -1 where the column does not exist
        self.lookup = [place.get(name, -1) for name in cells]
        width = len(self.feats_per_vec)
        for i, vec in enumerate(self.vecs):
            if all(c < 0 for c in self.lookup[i * width : (i + 1) * width]):
                raise SchemaError(
                    f"object {vec!r} has none of its columns {vec}_{{{', '.join(self.feats_per_vec)}}} in cont_feats: "
                    f"{near(f'{vec}_{self.feats_per_vec[0]}' if width else vec, self.cont_feats)}"
                )

    def rows(self, x: Tensor) -> Rows:
        """Return the particles of a flat table (B, len(cont_feats))."""
        if x.dim() != 2 or x.size(1) != len(self.cont_feats):
            raise ValueError(
                f"x must have the shape (events, {len(self.cont_feats)}), one column per name in cont_feats, "
                f"got {tuple(x.shape)}"
            )
        x = floating(x)
        padded = torch.cat([x, x.new_zeros(x.size(0), 1)], dim=1)  # column -1: zeros for what does not exist
        matrix = padded[:, self.lookup].view(x.size(0), len(self.vecs), len(self.feats_per_vec))
        exists = torch.tensor(self.lookup, device=x.device).view(len(self.vecs), len(self.feats_per_vec)) >= 0
        nan = matrix.isnan()
        absent = (nan | ~exists).all(-1)
        if not torch.compiler.is_compiling():  # what depends on numbers cannot be asked in a captured graph
            partial = nan & ~absent.unsqueeze(-1)
            if bool(partial.any()):
                event, vec, feat = partial.nonzero()[0].tolist()
                column = f"{self.vecs[vec]}_{self.feats_per_vec[feat]}"
                raise EventError(
                    f"column {column} is NaN but other columns of {self.vecs[vec]!r} are not; an absent object has NaN "
                    "in all its columns",
                    event=event,
                    column=column,
                )
        return _blanked(matrix, ~absent)


def rows_of_matrix(matrix: Tensor) -> Rows:
    """Return the particles of matrices (B, slots, F); one that is NaN in all its features is absent."""
    check_matrix(matrix, "(events, slots, features)")
    matrix = floating(matrix)
    if not torch.compiler.is_compiling() and not bool(matrix.sum().isnan()):  # takes a quarter of the time of the rest
        return Rows(matrix, matrix.new_ones(matrix.shape[:2], dtype=torch.bool))
    nan = matrix.isnan()
    absent = nan.all(-1) if matrix.size(2) else nan.new_zeros(nan.shape[:2])
    if not torch.compiler.is_compiling():
        partial = nan & ~absent.unsqueeze(-1)
        if bool(partial.any()):
            _raise_nan(*partial.nonzero()[0].tolist())
    return _blanked(matrix, ~absent)


def rows_of_particles(particles: Particles, num_slots: int | None = None) -> Rows:
    """Return particles as rows; without ``num_slots`` as many as the largest slot needs."""
    x, slot, ptr = particles
    if num_slots is None:
        num_slots = int(slot.max()) + 1 if slot.numel() else 0
    check_slots(slot, ptr, num_slots)
    place = (ptr_to_batch(ptr, x.size(0)), slot)
    rows = x.new_zeros(ptr.numel() - 1, num_slots, x.size(1)).index_put(place, x)
    mask = torch.zeros(rows.shape[:2], dtype=torch.bool, device=x.device)
    mask[place] = True
    if not torch.compiler.is_compiling() and int(mask.sum()) != slot.numel():
        raise ValueError("two particles of an event are in the same slot: each needs a place of its own")
    return Rows(rows, mask)


def fit_slots(found: Rows, num_slots: int) -> Rows:
    """Return the rows of the first slots, or rows for further, empty ones; a particle beyond is an EventError."""
    rows, mask = found
    missing = num_slots - rows.size(1)
    if missing == 0:
        return found
    if missing > 0:
        pad = torch.nn.functional.pad
        return Rows(pad(rows, (0, 0, 0, missing)), pad(mask, (0, missing)))
    if torch.compiler.is_compiling():
        raise ValueError(f"the matrix has {rows.size(1)} slots, but there are {num_slots}")
    beyond = mask.nonzero()
    beyond = beyond[beyond[:, 1] >= num_slots]
    if len(beyond):
        event, slot = beyond[0].tolist()
        _raise_beyond(event, slot, num_slots)
    return Rows(rows[:, :num_slots], mask[:, :num_slots])


def _blanked(matrix: Tensor, mask: Tensor) -> Rows:
    return Rows(torch.where(mask.unsqueeze(-1), matrix, torch.zeros_like(matrix)), mask)


def particles_from_rows(matrix: Tensor, mask: Tensor | None = None, lengths: Tensor | None = None) -> Particles:
    """Return the particles of matrices (B, slots, F); see `from_rows`."""
    check_matrix(matrix, "(events, slots, features)")
    matrix = floating(matrix)
    num_events, num_slots = matrix.shape[:2]
    if mask is not None and lengths is not None:
        raise ValueError("give mask or lengths, not both")
    if lengths is not None:
        lengths = integers("lengths", lengths).to(matrix.device)
        if lengths.numel() != num_events or bool((lengths > num_slots).any()):
            raise ValueError(
                f"lengths must be {num_events} numbers of particles from 0 to {num_slots} (events and slots of the "
                f"matrix), got {lengths.numel()} up to {int(lengths.max()) if lengths.numel() else 0}"
            )
        mask = torch.arange(num_slots, device=matrix.device) < lengths.unsqueeze(1)
    if mask is None:
        return pack(rows_of_matrix(matrix))
    mask = as_tensor("mask", mask)
    if mask.dtype != torch.bool or mask.shape != matrix.shape[:2]:
        raise ValueError(
            f"mask must be boolean with the shape ({num_events}, {num_slots}) of the matrix, True where there is a "
            f"particle; got {mask.dtype} and {tuple(mask.shape)}"
        )
    found = pack(Rows(matrix, mask.to(matrix.device)))
    refuse_nan(found.x.isnan(), found.slot, ptr_to_batch(found.ptr, found.x.size(0)))
    return found


def check_slots(slot: Tensor, ptr: Tensor, num_slots: int) -> None:
    """Raise an EventError of the first event with a particle beyond the last slot."""
    if torch.compiler.is_compiling():
        return
    beyond = slot >= num_slots
    if bool(beyond.any()):
        row = int(beyond.nonzero()[0])
        _raise_beyond(int(torch.searchsorted(ptr, row, right=True)) - 1, int(slot[row]), num_slots)


def _raise_beyond(event: int, slot: int, num_slots: int) -> None:
    raise EventError(
        f"there is a particle in slot {slot}, but there are {num_slots} slots (0 to {num_slots - 1}): give as many "
        "vecs as there can be particles, or set max_particles in the schema",
        event=event,
    )


def pack(found: Rows) -> Particles:
    """Return the particles of rows one behind the other, in the order of their slots."""
    return Particles(found.rows[found.mask], found.mask.nonzero()[:, 1], lengths_to_ptr(found.mask.sum(1)))


def drop_absent(particles: Particles) -> Particles:
    """Leave out the particles that are NaN in all their features; a partial NaN is an EventError."""
    x, slot, ptr = particles
    if not _may_hold_nan(x):
        return particles
    event = ptr_to_batch(ptr, x.size(0))
    nan = x.isnan()
    absent = nan.all(1) if x.size(1) else torch.zeros_like(slot, dtype=torch.bool)
    refuse_nan(nan & ~absent.unsqueeze(1), slot, event)
    present = ~absent
    lengths = torch.bincount(event[present], minlength=ptr.numel() - 1)
    return Particles(x[present], slot[present], lengths_to_ptr(lengths))


def _may_hold_nan(x: Tensor) -> bool:
    """Tell whether there may be a NaN, in a fraction of the time of looking at each number."""
    if type(x) is Tensor and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.numel():
        with suppress(RuntimeError):  # of transforms, whose tensors have no numbers
            # in one thread: torch's wait for one another where they don't have a core each
            return bool(np.isnan(x.detach().numpy().max()))
    return bool(x.sum().isnan())


def refuse_nan(nan: Tensor, slot: Tensor, event: Tensor) -> None:
    """Raise an EventError of the first NaN, of particles with these slots and events."""
    if bool(nan.any()):
        row, column = nan.nonzero()[0].tolist()
        _raise_nan(int(event[row]), int(slot[row]), column)


def _raise_nan(event: int, slot: int, column: int) -> None:
    raise EventError(
        f"feature {column} of the particle in slot {slot} is NaN; an absent particle has NaN in all its features and "
        "is not in the mask or lengths",
        event=event,
    )


def check_matrix(matrix: Any, expected: str) -> None:
    """Raise an error unless there is one matrix per event."""
    if not isinstance(matrix, Tensor):
        raise TypeError(f"the matrix must be a tensor {expected}, got {type(matrix).__name__}")
    if matrix.dim() != 3:
        hint = "; for a single event add a first axis of length 1" if matrix.dim() == 2 else ""
        raise ValueError(f"the matrix must have the shape {expected}, got {tuple(matrix.shape)}{hint}")


def as_tensor(name: str, value: Any) -> Tensor:
    """Return a tensor, or raise a TypeError that names what cannot be one."""
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor or an array of numbers, got {value!r:.80}") from error


def floating(x: Tensor) -> Tensor:
    """Return x, integers as the default floating type; complex numbers are a TypeError."""
    if x.is_complex():
        raise TypeError(f"features must be real numbers, got {x.dtype}")
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def integers(name: str, value: Tensor | None) -> Tensor:
    """Return a vector of counts, or raise a ValueError that names it."""
    value = as_tensor(name, value)
    if value.dim() != 1 or value.is_floating_point() or value.dtype == torch.bool or bool((value < 0).any()):
        raise ValueError(
            f"{name} must be a one-dimensional tensor of integers of at least 0, got shape {tuple(value.shape)} and "
            f"{value.dtype}"
        )
    return value
