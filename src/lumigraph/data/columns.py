"""From named columns to the arrays of a Batch: what a schema asks of a table, and what can be derived from it.

A file gives four-momenta as (px, py, pz, E) or as (pt, eta, phi, mass or E). Whatever of these a schema asks for and
the file does not hold is computed: px, py, pz, E (or energy), pt, eta, phi, mass, and the logarithms log_pt and log_E.
Without eta or pz an object has no longitudinal momentum (MET), without mass and E it is massless. ``is_Jet`` is 1 for
a Jet and 0 for any other object; ``kind`` is the place of the object among the objects of the schema.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import kinematics
from ..schema import EventSchema, SchemaError, near

__all__ = ["Arrays", "assemble", "sources"]

_MOMENTUM = ("px", "py", "pz", "E", "energy", "pt", "eta", "phi", "mass")
_DERIVED = (*_MOMENTUM, "log_pt", "log_E")
_LOG_FLOOR = 1e-3  # GeV; logarithms of what is softer than that are cut off here


class Arrays(NamedTuple):
    """The columns of a schema as arrays, B events with N particles in all."""

    x: np.ndarray | None
    slot: np.ndarray | None
    lengths: np.ndarray | None
    u: np.ndarray | None
    cat: np.ndarray | None
    y: np.ndarray | None
    weight: np.ndarray | None
    ids: dict[str, np.ndarray]


def sources(schema: EventSchema, names: Collection[str], *, labelled: bool = True) -> list[str]:
    """Return the columns that must be read for a schema, out of those that a file has.

    Parameters
    ----------
    schema
        What is asked for.
    names
        Columns of the file.
    labelled
        Whether targets and weight are needed; without it they may be missing.

    Raises
    ------
    SchemaError
        If a column is missing and cannot be derived.

    Examples
    --------
    >>> schema = EventSchema(collections=("Jet",), feats_per_vec=("px", "btag"))
    >>> sources(schema, ["event", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_btag"])
    ['Jet_btag', 'Jet_pt', 'Jet_eta', 'Jet_phi']
    """
    wanted: dict[str, None] = {}
    found_for: set[str] = set()
    for vec in schema.objects:
        own = [name for name in names if name.startswith(f"{vec}_")]
        if not own:
            raise SchemaError(f"there is no column {vec}_... of the object {vec!r}: {near(vec + '_', names)}")
        for feat in schema.feats_per_vec:
            columns = _sources_of(vec, feat, names)
            if columns:
                found_for.add(feat)
            wanted.update(dict.fromkeys(columns))
        if not any(name in wanted for name in own):
            raise SchemaError(f"object {vec!r} has none of the features {list(schema.feats_per_vec)}: it has {own}")
    for feat in schema.feats_per_vec:
        if feat not in found_for and not _is_flag(feat, schema):
            wanted_name = f"{schema.objects[0]}_{feat}"
            raise SchemaError(
                f"column {wanted_name!r} is missing, and no other object has the feature {feat!r} either: "
                f"{near(wanted_name, names)}"
            )
    needed = (*schema.event_feats, *schema.cat_feats, *(schema.targets if labelled else ()))
    if schema.weight is not None and labelled:
        needed = (*needed, schema.weight)
    for name in needed:
        if name not in names:
            raise SchemaError(f"column {name!r} is missing: {near(name, names)}")
    wanted.update(dict.fromkeys(needed))
    # identifiers that a file lacks are no reason to refuse it: events are then known by their number
    wanted.update(dict.fromkeys(name for name in schema.ids if name in names))
    return list(wanted)


def _is_flag(feat: str, schema: EventSchema) -> bool:
    return feat == "kind" or (feat.startswith("is_") and feat[3:] in schema.objects)


def _sources_of(vec: str, feat: str, names: Collection[str]) -> list[str]:
    if f"{vec}_{feat}" in names:
        return [f"{vec}_{feat}"]
    if feat not in _DERIVED:
        return []
    has = {m for m in _MOMENTUM if f"{vec}_{m}" in names}
    if {"px", "py"} <= has:
        parts = ["px", "py", "pz"]
    elif {"pt", "phi"} <= has:
        parts = ["pt", "eta", "phi"]
    else:
        return []
    parts += [m for m in ("E", "energy", "mass") if m in has][:1]
    return [f"{vec}_{m}" for m in parts if m in has]


def assemble(columns: Mapping[str, Any], schema: EventSchema, *, labelled: bool = True) -> Arrays:
    """Return the arrays of a schema from named columns.

    Parameters
    ----------
    columns
        A column a name: numbers (one per event) or lists of numbers (any number per event), as awkward or NumPy
        arrays, or the columns of a DataFrame.
    schema
        What is asked for.
    labelled
        Whether targets and weight are needed.

    Raises
    ------
    SchemaError
        If a column is missing, has another kind or length than it should, or holds NaN where a number belongs.
    """
    sources(schema, list(columns), labelled=labelled)
    num_events = _num_events(columns)
    x, slot, lengths = _particles(columns, schema, num_events) if schema.objects else (None, None, None)
    weight = None
    if labelled and schema.weight is not None:
        weight = _scalars(columns, [schema.weight], num_events)[:, 0].astype(np.float32)
    return Arrays(
        x=x,
        slot=slot,
        lengths=lengths,
        u=_scalars(columns, schema.event_feats, num_events).astype(np.float32) if schema.event_feats else None,
        cat=_codes(columns, schema.cat_feats, num_events) if schema.cat_feats else None,
        y=_scalars(columns, schema.targets, num_events).astype(np.float32) if labelled and schema.targets else None,
        weight=weight,
        ids={name: np.asarray(columns[name]) for name in schema.ids if name in columns},
    )


def _num_events(columns: Mapping[str, Any]) -> int:
    lengths = {name: len(columns[name]) for name in columns}
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise SchemaError(f"column {name!r} has {length} events, but {first!r} has {lengths[first]}")
    return lengths[first]


def _scalars(columns: Mapping[str, Any], names: Collection[str], num_events: int) -> np.ndarray:
    table = np.empty((num_events, len(names)))
    for i, name in enumerate(names):
        values, lengths = _flatten(name, columns[name])
        if lengths is not None:
            raise SchemaError(f"column {name!r} holds lists, but one number per event is expected of it")
        table[:, i] = values
        bad = ~np.isfinite(table[:, i])
        if bad.any():
            event = int(bad.argmax())
            raise SchemaError(f"event {event}: column {name!r} is {table[event, i]}, but a finite number is expected")
    return table


def _codes(columns: Mapping[str, Any], names: Collection[str], num_events: int) -> np.ndarray:
    table = _scalars(columns, names, num_events)
    bad = (table < 0) | (table != np.floor(table))
    if bad.any():
        event, column = np.argwhere(bad)[0]
        raise SchemaError(
            f"event {event}: category {list(names)[column]!r} is {table[event, column]:g}, but codes are whole numbers "
            "from 0"
        )
    return table.astype(np.int64)


def _particles(
    columns: Mapping[str, Any], schema: EventSchema, num_events: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge the objects of each event into one list of particles: features, slots, and particles per event."""
    parts, events, places = [], [], []
    before = np.zeros(num_events, dtype=np.int64)  # particles of the event in the objects already seen
    for i, vec in enumerate(schema.objects):
        values, lengths = _object(columns, schema, vec, num_events)
        event = np.repeat(np.arange(num_events), lengths)
        local = np.arange(len(event)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        present = _present(values, vec, event)
        parts.append(_features(values, vec, schema)[present])
        events.append(event[present])
        places.append(np.full(present.sum(), i) if schema.vecs else before[event[present]] + local[present])
        before += np.bincount(event[present], minlength=num_events) if schema.vecs else lengths
    x, event, slot = np.concatenate(parts), np.concatenate(events), np.concatenate(places)
    order = np.lexsort((slot, event))
    if schema.max_particles is not None:
        order = order[slot[order] < schema.max_particles]
    return x[order], slot[order], np.bincount(event[order], minlength=num_events)


def _object(
    columns: Mapping[str, Any], schema: EventSchema, vec: str, num_events: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns of one object, flattened, and how many of it each event has."""
    names = dict.fromkeys(name for feat in schema.feats_per_vec for name in _sources_of(vec, feat, columns))
    flat: dict[str, np.ndarray] = {}
    shared: np.ndarray | None = None
    first = ""
    for name in names:
        flat[name], lengths = _flatten(name, columns[name])
        if lengths is not None and schema.vecs:
            raise SchemaError(f"column {name!r} holds lists: name {vec!r} in collections, not in vecs")
        lengths = np.ones(num_events, dtype=np.int64) if lengths is None else lengths
        if shared is None:
            shared, first = lengths, name
        elif not np.array_equal(shared, lengths):
            event = int(np.not_equal(shared, lengths).argmax())
            raise SchemaError(
                f"event {event}: {first!r} has {shared[event]} objects, but {name!r} has {lengths[event]}"
            )
    return flat, np.ones(num_events, dtype=np.int64) if shared is None else shared


def _flatten(name: str, column: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the numbers of a column, and for lists how many each event has."""
    import awkward as ak

    array = ak.Array(column) if isinstance(column, ak.Array | list) else np.asarray(column)
    try:
        if array.ndim == 1:
            return np.asarray(array, dtype=np.float64), None
        if array.ndim == 2:
            array = ak.Array(array)
            return np.asarray(ak.flatten(array, axis=1), dtype=np.float64), np.asarray(ak.num(array), dtype=np.int64)
    except (TypeError, ValueError):
        raise SchemaError(f"column {name!r} is not numeric: it holds {array[:2].tolist()}...") from None
    raise SchemaError(f"column {name!r} has {array.ndim} axes; one number or one list of numbers per event is expected")


def _present(values: Mapping[str, np.ndarray], vec: str, event: np.ndarray) -> np.ndarray:
    """Return which objects there are: those that are not NaN in all their columns."""
    if not values:
        return np.ones(len(event), dtype=bool)
    nan: np.ndarray = np.stack([np.isnan(v) for v in values.values()], axis=1)
    absent: np.ndarray = np.logical_and.reduce(nan, axis=1)
    partial = nan & ~absent[:, None]
    if partial.any():
        row, column = np.argwhere(partial)[0]
        raise SchemaError(
            f"event {event[row]}: column {list(values)[column]!r} is NaN but other columns of that {vec!r} are not; an "
            "absent object has NaN in all its columns"
        )
    return ~absent


def _features(values: Mapping[str, np.ndarray], vec: str, schema: EventSchema) -> np.ndarray:
    size = len(next(iter(values.values()))) if values else 0
    x = np.zeros((size, len(schema.feats_per_vec)), dtype=np.float32)
    p4: torch.Tensor | None = None
    for i, feat in enumerate(schema.feats_per_vec):
        name = f"{vec}_{feat}"
        if name in values:
            x[:, i] = values[name]
        elif feat == "kind":
            x[:, i] = schema.objects.index(vec)
        elif _is_flag(feat, schema):
            x[:, i] = float(feat == f"is_{vec}")
        elif feat in _DERIVED:
            p4 = _four_momenta(values, vec) if p4 is None else p4
            x[:, i] = 0.0 if p4 is None else _derived(p4, feat)
    return x


def _four_momenta(values: Mapping[str, np.ndarray], vec: str) -> torch.Tensor | None:
    def column(feat: str) -> torch.Tensor | None:
        return torch.from_numpy(values[f"{vec}_{feat}"]) if f"{vec}_{feat}" in values else None

    px, py, pt, phi = (column(feat) for feat in ("px", "py", "pt", "phi"))
    if px is not None and py is not None:
        pz = column("pz")
        p3 = torch.stack([px, py, torch.zeros_like(px) if pz is None else pz], dim=1)
    elif pt is not None and phi is not None:
        eta = column("eta")
        zero = torch.zeros_like(pt)
        p3 = kinematics.from_pt_eta_phi_mass(pt, zero if eta is None else eta, phi, zero)[:, :3]
    else:
        return None
    energy = column("E") if column("E") is not None else column("energy")
    if energy is None:
        mass = column("mass")
        energy = (p3.square().sum(1) + (0.0 if mass is None else mass.square())).sqrt()
    return torch.cat([p3, energy.unsqueeze(1)], dim=1)


def _derived(p4: torch.Tensor, feat: str) -> np.ndarray:
    match feat:
        case "px" | "py" | "pz" | "E" | "energy":
            value = p4[:, {"px": 0, "py": 1, "pz": 2}.get(feat, 3)]
        case "log_pt":
            value = kinematics.pt(p4).clamp(min=_LOG_FLOOR).log()
        case "log_E":
            value = p4[:, 3].clamp(min=_LOG_FLOOR).log()
        case _:
            value = getattr(kinematics, feat)(p4)
    return value.numpy()
