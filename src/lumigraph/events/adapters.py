"""Turn tensors of events into PyG Batches and back: flat tables, row- and column-wise matrices, jagged lists.

An object whose existing columns are all NaN in an event is absent from it and does not become a node. A NaN in part of
an object is an error. Numbers in masked slots are never used.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Batch, Data

from .batches import EventFields, NamedFields, check_names, make_batch, particles_of
from .graph import lengths_to_ptr, ptr_to_slot
from .names import Names
from .particles import (
    CellMap,
    Particles,
    as_tensor,
    check_matrix,
    drop_absent,
    floating,
    integers,
    pack,
    particles_from_rows,
    rows_of_particles,
)

__all__ = [
    "from_columns",
    "from_flat",
    "from_jagged",
    "from_rows",
    "to_columns",
    "to_flat",
    "to_jagged",
    "to_rows",
]


# ---------------------------------------------------------------------------------------------------- to a Batch


def from_flat(
    x: Tensor,
    *,
    cont_feats: Sequence[str],
    vecs: Sequence[str],
    feats_per_vec: Sequence[str],
    **fields: Unpack[NamedFields],
) -> Batch:
    """Make a Batch from a flat table whose columns are called ``{vec}_{feat}``.

    Parameters
    ----------
    x
        Table (B, len(cont_feats)).
    cont_feats
        Names of the columns of ``x``, in any order.
    vecs
        Names of the objects; the slot of a particle is the place of its name.
    feats_per_vec
        Names of the features per particle. A column that does not exist (a MET pz) is zero.
    **fields
        Event features ``u`` (B, G), categories ``cat`` (B, C), targets ``y`` (B, T) and weights ``weight`` (B,); the
        names of their columns as ``event_feats``, ``cat_feats`` and ``targets``.

    Returns
    -------
    Batch
        With the fields of `lumigraph.events.schema.BATCH_FIELDS`.

    Raises
    ------
    SchemaError
        If a column belongs to no object, an object has no column, or names collide.
    ValueError
        If shapes disagree, or part of an object is NaN.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, float("nan")]])
    >>> batch = from_flat(x, cont_feats=["a_px", "a_pz", "b_px"], vecs=["a", "b"], feats_per_vec=["px", "pz"])
    >>> batch.x
    tensor([[1., 2.],
            [3., 0.],
            [4., 5.]])
    >>> batch.slot, batch.ptr
    (tensor([0, 1, 0]), tensor([0, 2, 3]))
    """
    cells = CellMap(cont_feats, vecs, feats_per_vec)
    return _named(pack(cells.rows(as_tensor("x", x))), feats_per_vec, vecs, **fields)


def from_rows(
    matrix: Tensor,
    *,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    feats_per_vec: Sequence[str] = (),
    **fields: Unpack[NamedFields],
) -> Batch:
    """Make a Batch from matrices with one row per particle.

    Parameters
    ----------
    matrix
        Matrices (B, slots, F).
    mask
        True where there is a particle, (B, slots). Particles after a hole keep their slots.
    lengths
        Instead of a mask: the number of particles of each event, (B,), which take the first slots.
    feats_per_vec
        Names of the features, which the Batch keeps.
    **fields
        Event features ``u`` (B, G), categories ``cat`` (B, C), targets ``y`` (B, T) and weights ``weight`` (B,); the
        names of their columns as ``event_feats``, ``cat_feats`` and ``targets``.

    Returns
    -------
    Batch
        With the fields of `lumigraph.events.schema.BATCH_FIELDS`.

    Raises
    ------
    ValueError
        If shapes disagree, or a particle is partly NaN; with a mask or lengths also if it is NaN throughout.

    Examples
    --------
    >>> matrix = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    >>> batch = from_rows(matrix, mask=torch.tensor([[True, False, True], [False, False, False]]))
    >>> batch.x.flatten(), batch.slot, batch.num_graphs
    (tensor([1., 3.]), tensor([0, 2]), 2)
    """
    return _named(particles_from_rows(as_tensor("matrix", matrix), mask, lengths), feats_per_vec, **fields)


def from_columns(
    matrix: Tensor,
    *,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    feats_per_vec: Sequence[str] = (),
    **fields: Unpack[NamedFields],
) -> Batch:
    """Make a Batch from matrices with one column per particle, (B, F, slots); see `from_rows`.

    Examples
    --------
    >>> batch = from_columns(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), lengths=torch.tensor([1]))
    >>> batch.x
    tensor([[1., 3.]])
    """
    matrix = as_tensor("matrix", matrix)
    check_matrix(matrix, "(events, features, slots)")
    return from_rows(matrix.transpose(1, 2), mask=mask, lengths=lengths, feats_per_vec=feats_per_vec, **fields)


def from_jagged(
    values: Tensor,
    *,
    lengths: Tensor | None = None,
    offsets: Tensor | None = None,
    feats_per_vec: Sequence[str] = (),
    **fields: Unpack[NamedFields],
) -> Batch:
    """Make a Batch from the concatenated particles of all events.

    Parameters
    ----------
    values
        Features of all particles, (N, F).
    lengths
        Particles per event, (B,); or
    offsets
        the first particle of each event and the end of the last event, (B+1,), from 0 to N.
    feats_per_vec
        Names of the features, which the Batch keeps.
    **fields
        Event features ``u`` (B, G), categories ``cat`` (B, C), targets ``y`` (B, T) and weights ``weight`` (B,); the
        names of their columns as ``event_feats``, ``cat_feats`` and ``targets``.

    Returns
    -------
    Batch
        With the fields of `lumigraph.events.schema.BATCH_FIELDS`.

    Raises
    ------
    ValueError
        If not exactly one of lengths and offsets is given, if they do not fit values, or a particle is partly NaN.

    Examples
    --------
    >>> batch = from_jagged(torch.tensor([[1.0], [2.0], [3.0]]), lengths=torch.tensor([0, 2, 1]))
    >>> batch.ptr, batch.batch, batch.num_graphs
    (tensor([0, 0, 2, 3]), tensor([1, 1, 2]), 3)
    """
    values = floating(as_tensor("values", values))
    if values.dim() != 2:
        raise ValueError(f"values must have the shape (particles, features), got {tuple(values.shape)}")
    if (lengths is None) == (offsets is None):
        raise ValueError(
            "exactly one of lengths (particles per event) and offsets (B+1 of them) must be given, got "
            + ("both" if lengths is not None else "neither")
        )
    ptr = lengths_to_ptr(integers("lengths", lengths)) if lengths is not None else integers("offsets", offsets).long()
    ptr = ptr.to(values.device)
    falls = offsets is not None and bool((ptr.diff() < 0).any())
    if falls or ptr.numel() == 0 or int(ptr[0]) != 0 or int(ptr[-1]) != values.size(0):
        what = "lengths" if lengths is not None else "offsets"
        raise ValueError(
            f"{what} must describe the {values.size(0)} particles of values without gap or overlap: lengths add up to "
            f"{values.size(0)}, offsets rise from 0 to {values.size(0)}"
        )
    return _named(drop_absent(Particles(values, ptr_to_slot(ptr), ptr)), feats_per_vec, **fields)


def _named(
    particles: Particles,
    feats_per_vec: Sequence[str],
    vecs: Sequence[str] = (),
    *,
    event_feats: Sequence[str] = (),
    cat_feats: Sequence[str] = (),
    targets: Sequence[str] = (),
    **fields: Unpack[EventFields],
) -> Batch:
    names = Names(feats_per_vec, vecs, event_feats=event_feats, cat_feats=cat_feats, targets=targets)
    batch = make_batch(particles, names=names, **fields)
    check_names(batch)
    return batch


# -------------------------------------------------------------------------------------------------- from a Batch


def to_flat(
    batch: Data, *, cont_feats: Sequence[str], vecs: Sequence[str], feats_per_vec: Sequence[str]
) -> Float[Tensor, "events columns"]:
    """Return the flat table (B, len(cont_feats)) of a Batch, NaN where an object is absent; inverse of `from_flat`.

    Raises
    ------
    ValueError
        If an event has a particle in a slot after the last of ``vecs``.

    Examples
    --------
    >>> names = dict(cont_feats=["a_px", "b_px"], vecs=["a", "b"], feats_per_vec=["px"])
    >>> to_flat(from_flat(torch.tensor([[1.0, float("nan")]]), **names), **names)
    tensor([[1., nan]])
    """
    cells = CellMap(cont_feats, vecs, feats_per_vec)
    matrix, mask = to_rows(batch, len(cells.vecs))
    if matrix.size(2) != len(cells.feats_per_vec):
        raise ValueError(
            f"feats_per_vec must name the {matrix.size(2)} features of batch.x, got {len(cells.feats_per_vec)} names"
        )
    matrix = matrix.masked_fill(~mask.unsqueeze(-1), torch.nan)
    column = {int(c): i for i, c in enumerate(cells.lookup) if c >= 0}
    return matrix.flatten(1)[:, [column[c] for c in range(len(cells.cont_feats))]]


def to_rows(batch: Data, num_slots: int | None = None) -> tuple[Float[Tensor, "events slots features"], Tensor]:
    """Return matrices (B, slots, F) with 0 in empty slots, and the mask (B, slots) of particles.

    Parameters
    ----------
    batch
        Events.
    num_slots
        Number of slots; by default as many as needed.

    Raises
    ------
    ValueError
        If an event has a particle in a slot after the last one.

    Examples
    --------
    >>> matrix, mask = to_rows(from_jagged(torch.ones(3, 2), lengths=torch.tensor([1, 2])))
    >>> matrix.shape, mask.tolist()
    (torch.Size([2, 2, 2]), [[True, False], [True, True]])
    """
    matrix, mask = rows_of_particles(particles_of(batch), num_slots)
    return matrix, mask


def to_columns(batch: Data, num_slots: int | None = None) -> tuple[Float[Tensor, "events features slots"], Tensor]:
    """Return matrices (B, F, slots) with 0 in empty slots, and the mask (B, slots); see `to_rows`."""
    matrix, mask = to_rows(batch, num_slots)
    return matrix.transpose(1, 2).contiguous(), mask


def to_jagged(batch: Data) -> tuple[Float[Tensor, "particles features"], Int[Tensor, " events"]]:
    """Return the features of all particles (N, F) and the particles per event (B,); inverse of `from_jagged`.

    Examples
    --------
    >>> to_jagged(from_jagged(torch.tensor([[1.0], [2.0]]), lengths=torch.tensor([2, 0])))
    (tensor([[1.],
            [2.]]), tensor([2, 0]))
    """
    x, _, ptr = particles_of(batch)
    return x, ptr.diff()
