"""From named columns to the arrays of a Batch: the columns that a schema needs, and the particles made of its objects.

Components of momenta that the file lacks are computed, see `lumigraph.data.columns.momenta`. ``is_Jet`` is 1 for a Jet
and 0 for any other object; ``kind`` is the index of the object among the objects of the schema.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from ...events.errors import EventError, SchemaError, located, near
from ...events.schema import EventSchema
from .jagged import Jagged, offsets_of, rows_of
from .momenta import completed, sources_of
from .selection import file_columns, prepared

__all__ = ["Arrays", "assemble", "sources"]

_LARGEST = np.finfo(np.float32).max  # larger numbers would be infinite in a tensor


class Arrays(NamedTuple):
    """The columns of a schema as arrays: B events, N particles in total."""

    x: np.ndarray | None
    slot: np.ndarray | None
    offsets: np.ndarray | None
    u: np.ndarray | None
    cat: np.ndarray | None
    y: np.ndarray | None
    weight: np.ndarray | None
    ids: dict[str, np.ndarray]
    numbers: np.ndarray  # of the events, in their table


def sources(schema: EventSchema, names: Collection[str], *, labelled: bool = True) -> list[str]:
    """Return the columns of a file that must be read for a schema.

    Derived columns of the schema are replaced by the columns that they are computed from.

    Parameters
    ----------
    schema
        The schema to read for.
    names
        Columns of the file.
    labelled
        Whether targets and weight are needed; otherwise they may be missing.

    Raises
    ------
    SchemaError
        If a column is missing and cannot be derived.

    Examples
    --------
    >>> schema = EventSchema(collections=("Jet",), feats_per_vec=("px", "btag"))
    >>> sources(schema, ["event", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_btag"])
    ['Jet_pt', 'Jet_phi', 'Jet_eta', 'Jet_btag']
    """
    in_file, names = names, [*names, *schema.derived]
    wanted: dict[str, None] = {}
    found_for: set[str] = set()
    for vec in schema.objects:
        own = [name for name in names if name.startswith(f"{vec}_")]
        if not own:
            raise SchemaError(f"there is no column {vec}_... of the object {vec!r}: {near(vec + '_', names)}")
        columns = {feat: sources_of(vec, feat, names) for feat in schema.feats_per_vec}
        if not any(columns.values()):
            raise SchemaError(f"object {vec!r} must have one of the features {list(schema.feats_per_vec)}, got {own}")
        found_for.update(feat for feat, found in columns.items() if found)
        wanted.update(dict.fromkeys(name for found in columns.values() for name in found))
    for feat in schema.feats_per_vec:
        if feat not in found_for and not _is_flag(feat, schema):
            wanted_name = f"{schema.objects[0]}_{feat}"
            raise SchemaError(
                f"column {wanted_name!r} is missing, and no other object has the feature {feat!r} either: "
                f"{near(wanted_name, names)}",
                column=wanted_name,
            )
    labels = (*schema.targets, *([schema.weight] if schema.weight else [])) if labelled else ()
    needed = (*schema.event_feats, *schema.cat_feats, *labels)
    for name in needed:
        if name not in names:
            raise SchemaError(f"column {name!r} is missing: {near(name, names)}", column=name)
    wanted.update(dict.fromkeys(needed))
    # a file may lack identifiers: events are then known by their number
    wanted.update(dict.fromkeys(name for name in schema.ids if name in names))
    return file_columns(schema, wanted, in_file)


def _is_flag(feat: str, schema: EventSchema) -> bool:
    return feat == "kind" or (feat.startswith("is_") and feat[3:] in schema.objects)


def assemble(columns: Any, schema: EventSchema, *, labelled: bool = True) -> Arrays:
    """Return the arrays of a schema from named columns.

    Parameters
    ----------
    columns
        A mapping of names to columns, or a DataFrame. A column holds numbers (one per event) or lists of numbers (any
        number per event), as an awkward or NumPy array; a missing number (masked, None) counts as NaN.
    schema
        The schema to apply.
    labelled
        Whether targets and weight are needed.

    Raises
    ------
    SchemaError
        If a column is missing, has the wrong kind or length, or holds NaN or infinity in place of a number.
    """
    names = [name for name in columns if isinstance(name, str)]
    if len(set(names)) < len(names):
        name = max(names, key=names.count)
        raise SchemaError(f"column {name!r} occurs more than once: rename it", column=name)
    columns = {name: columns[name] for name in names}
    numbers = np.arange(_num_events(columns))
    # only these, so that a table in memory is treated like a file with these columns
    columns = {name: columns[name] for name in sources(schema, names, labelled=labelled)}
    if schema.derived or schema.object_selection or schema.event_selection:
        columns, chosen = prepared(columns, schema)
        numbers = numbers if chosen is None else chosen
    with located(events=numbers):
        return _arrays(columns, schema, labelled, numbers)


def _arrays(columns: Mapping[str, Any], schema: EventSchema, labelled: bool, numbers: np.ndarray) -> Arrays:
    num_events = len(numbers)
    x, slot, offsets = _particles(columns, schema, num_events) if schema.objects else (None, None, None)
    weight = [schema.weight] if labelled and schema.weight else []
    return Arrays(
        x=x,
        slot=slot,
        offsets=offsets,
        u=_scalars(columns, schema.event_feats, num_events).astype(np.float32) if schema.event_feats else None,
        cat=_codes(columns, schema.cat_feats, num_events) if schema.cat_feats else None,
        y=_scalars(columns, schema.targets, num_events).astype(np.float32) if labelled and schema.targets else None,
        weight=_scalars(columns, weight, num_events)[:, 0].astype(np.float32) if weight else None,
        ids={name: _identifiers(name, columns[name]) for name in schema.ids if name in columns},
        numbers=numbers,
    )


def _num_events(columns: Mapping[str, Any]) -> int:
    (first, num_events), *others = [(name, len(column)) for name, column in columns.items()] or [("", 0)]
    for name, length in others:
        if length != num_events:
            raise SchemaError(f"column {name!r} must have {num_events} events, as {first!r}, got {length}", column=name)
    return num_events


def _identifiers(name: str, column: Any) -> np.ndarray:
    try:
        ids = np.asarray(column)
    except ValueError:  # awkward has lists or None, which NumPy cannot hold
        ids = np.empty((0, 0))
    if ids.ndim != 1 or np.ma.is_masked(column):
        raise SchemaError(
            f"identifier {name!r} must be one value per event, without lists or missing values", column=name
        )
    if ids.dtype.kind == "f" and (missing := np.isnan(ids)).any():
        raise EventError(f"identifier {name!r} must not be missing, got NaN", event=int(missing.argmax()), column=name)
    return ids.astype(ids.dtype.newbyteorder("="))


def _scalars(columns: Mapping[str, Any], names: Collection[str], num_events: int) -> np.ndarray:
    table = np.empty((num_events, len(names)))
    for i, name in enumerate(names):
        column = Jagged.of(name, columns[name])
        if column.offsets is not None:
            raise SchemaError(f"column {name!r} must hold one number per event, got lists", column=name)
        _check_finite("column", name, column.floats, np.arange(num_events))
        table[:, i] = column.values
    return table


def _check_finite(what: str, name: str, values: np.ndarray, event: np.ndarray) -> None:
    bad = ~(np.abs(values) <= _LARGEST)
    if bad.any():
        row = int(bad.argmax())
        raise EventError(
            f"{what} {name!r} must be a finite number, got {values[row]}", event=int(event[row]), column=name
        )


def _codes(columns: Mapping[str, Any], names: Collection[str], num_events: int) -> np.ndarray:
    table = _scalars(columns, names, num_events)
    bad = (table < 0) | (table != np.floor(table)) | (table >= 2**31)
    if bad.any():
        event, i = np.argwhere(bad)[0].tolist()
        name = list(names)[i]
        raise EventError(
            f"category {name!r} must be a whole number from 0 to 2**31 - 1, got {table[event, i]:.12g}",
            event=event,
            column=name,
        )
    return table.astype(np.int64)


_Object = dict[str, Jagged]  # the columns of an object, with shared offsets; absent objects are left out


def _particles(
    columns: Mapping[str, Any], schema: EventSchema, num_events: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge the objects of each event into one list of particles: features, slots and offsets of the events."""
    found = [_object(columns, schema, vec, num_events) for vec in schema.objects]
    before = np.zeros(num_events, dtype=np.int64)  # particles of the event in earlier objects
    befores = []
    for i, part in enumerate(found):
        if schema.max_particles is not None:
            found[i] = part = _first(part, schema.max_particles - before)
        befores.append(before)
        before = before + _lengths(part)
    offsets = offsets_of(before)
    if len(found) == 1:  # already in the order of the rows
        rows = np.arange(offsets[-1])
        slot = np.zeros_like(rows) if schema.vecs else rows - np.repeat(offsets[:-1], before)
        return _features(schema.objects[0], found[0], schema), slot, offsets
    x = torch.empty(int(offsets[-1]), len(schema.feats_per_vec))
    slot = np.empty(len(x), dtype=np.int64)
    for i, (vec, part) in enumerate(zip(schema.objects, found, strict=True)):
        lengths = _lengths(part)
        rows, _ = rows_of(offsets[:-1] + befores[i], lengths)
        slot[rows] = i if schema.vecs else rows - np.repeat(offsets[:-1], lengths)
        x.index_copy_(0, torch.from_numpy(rows), torch.from_numpy(_features(vec, part, schema)))
    return x.numpy(), slot, offsets


def _lengths(part: _Object) -> np.ndarray:
    return next(iter(part.values())).lengths


def _first(part: _Object, room: np.ndarray) -> _Object:
    """Return an object without the entries that exceed the room in an event."""
    lengths = _lengths(part)
    if (lengths <= room).all():
        return part
    begins = offsets_of(lengths)[:-1]
    rows, offsets = rows_of(begins, np.minimum(lengths, room))
    return {name: Jagged(column.values[rows], offsets) for name, column in part.items()}


def _object(columns: Mapping[str, Any], schema: EventSchema, vec: str, num_events: int) -> _Object:
    """Return the columns of one object, as lists."""
    names = dict.fromkeys(name for feat in schema.feats_per_vec for name in sources_of(vec, feat, columns))
    part: _Object = {}
    one_each = np.arange(num_events + 1)
    for name in names:
        column = Jagged.of(name, columns[name])
        if column.offsets is not None and schema.vecs:
            raise SchemaError(
                f"column {name!r} must hold one number per event, got lists: name {vec!r} in collections, not in vecs",
                column=name,
            )
        part[name] = Jagged(column.floats, one_each if column.offsets is None else column.offsets)
        first, shared = next(iter(part.items()))
        if not part[name].has_lists_of(shared):
            one, other = shared.lengths, part[name].lengths
            event = int(np.not_equal(one, other).argmax())
            raise EventError(
                f"{name!r} must have {one[event]} objects, as {first!r}, got {other[event]}", event=event, column=name
            )
    return _present(vec, part)


@np.errstate(over="ignore", invalid="ignore")
def _present(vec: str, part: _Object) -> _Object:
    """Leave out absent objects, which are NaN in all their columns."""
    if all(np.isfinite(column.values).all() for column in part.values()):
        return part
    nan: np.ndarray = np.stack([np.isnan(column.values) for column in part.values()], axis=1)
    absent: np.ndarray = np.logical_and.reduce(nan, axis=1)
    partial = nan & ~absent[:, None]
    if partial.any():
        row, i = np.argwhere(partial)[0]
        name, column = list(part.items())[i]
        raise EventError(
            f"column {name!r} is NaN but other columns of that {vec!r} are not: an absent object has NaN in all its "
            "columns",
            event=int(column.event[row]),
            column=name,
        )
    return {name: column.keep(~absent) for name, column in part.items()}


@np.errstate(over="ignore")  # infinities are refused by name
def _features(vec: str, part: _Object, schema: EventSchema) -> np.ndarray:
    """Return the features of an object, (n, F); missing features are 0."""
    any_column = next(iter(part.values()))
    has = completed({name.removeprefix(f"{vec}_"): c.values for name, c in part.items()}, schema.feats_per_vec)
    x: np.ndarray = np.empty((len(any_column.values), len(schema.feats_per_vec)), np.float32)
    for i, feat in enumerate(schema.feats_per_vec):
        if feat in has:
            values = has[feat].astype(np.float32, copy=False)
            if not np.isfinite(values).all():
                _check_finite("feature", f"{vec}_{feat}", has[feat], any_column.event)
            x[:, i] = values
        elif _is_flag(feat, schema):
            x[:, i] = schema.objects.index(vec) if feat == "kind" else feat == f"is_{vec}"
        else:
            x[:, i] = 0
    return x
