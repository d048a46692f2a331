"""Derived columns, selections and counters of a schema, applied to columns before they become arrays."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...events.errors import EventError, SchemaError, near
from ...events.schema import EventSchema
from ..files.tables import counter_of
from .expressions import Expression
from .jagged import Jagged

__all__ = ["file_columns", "prepared"]


_parsed = lru_cache(Expression)  # every chunk needs the same ones


def file_columns(schema: EventSchema, wanted: Iterable[str], names: Collection[str]) -> list[str]:
    """Return the columns to read, out of those of a file, to obtain those that are wanted.

    Raises
    ------
    SchemaError
        If an expression is not valid, or names a column that does not exist.
    """
    found: dict[str, None] = {}
    derived = dict(schema.derived)

    def add(name: str, known: Collection[str], what: str) -> None:
        if name in known:
            earlier = list(derived)[: list(derived).index(name)]
            for part in _parsed(derived[name]).names:
                add(part, earlier, f"the derived column {name!r}")
        elif name in names:
            found[name] = None
        else:
            raise SchemaError(
                f"{what} needs the column {name!r}, which is missing: {near(name, [*names, *known])}", column=name
            )

    for name in derived:
        if name in names:
            raise SchemaError(f"the derived column {name!r} exists in the file: give it another name", column=name)
    for name in wanted:
        add(name, derived, "the schema")
    for vec, text in schema.object_selection.items():
        for name in _parsed(text).names:
            add(name, derived, f"the selection of {vec!r}")
    for name in _parsed(schema.event_selection).names if schema.event_selection else ():
        if name not in _counters(schema):
            add(name, derived, "the event selection")
    return list(found)


def prepared(columns: Mapping[str, Any], schema: EventSchema) -> tuple[dict[str, Any], np.ndarray | None]:
    """Add derived columns, drop objects and events that are not selected.

    Parameters
    ----------
    columns
        Columns of a file by name, at least those of `file_columns`.
    schema
        Its derived columns and selections.

    Returns
    -------
    columns
        Columns of the selected events.
    numbers
        Their numbers among all events; None if all are selected.
    """
    columns = dict(columns)
    for name, text in schema.derived.items():
        expression = _parsed(text)
        if all(part in columns for part in expression.names):  # others are not wanted: their columns were not read
            columns[name] = expression.compute(columns)
    selected = {}
    of_event = {*schema.event_feats, *schema.cat_feats, *schema.targets, schema.weight, *schema.ids}
    for vec, text in schema.object_selection.items():
        what = f"the selection {text!r} of {vec!r}"
        keep = _yes_or_no(_parsed(text), columns, what)
        for name, column in _columns_of(vec, columns, schema).items():
            if name not in of_event:
                selected[name] = _kept(name, column, keep, what)
    columns |= selected
    if not schema.event_selection:
        return columns, None
    expression, what = _parsed(schema.event_selection), f"the event selection {schema.event_selection!r}"
    counted = {n: _count(c, columns, schema) for n, c in _counters(schema).items() if n in expression.names}
    keep = _yes_or_no(expression, {**columns, **counted}, what)
    if keep.offsets is not None:
        raise SchemaError(
            f"{what} must give one yes or no per event, got lists: any(...), all(...) or sum(...) give one number"
        )
    numbers = keep.values.nonzero()[0]
    return {name: _chosen(column, numbers) for name, column in columns.items()}, numbers


def _counters(schema: EventSchema) -> dict[str, str]:
    """Return the collections of a schema by the name of their counter in the event selection."""
    return {counter_of(collection): collection for collection in schema.collections}


def _owner(name: str, schema: EventSchema) -> str:
    """Return the object that a column belongs to; an empty string if none."""
    return max((vec for vec in schema.objects if name.startswith(f"{vec}_")), key=len, default="")


def _columns_of(vec: str, columns: Mapping[str, Any], schema: EventSchema) -> dict[str, Jagged]:
    """Return the columns of an object: those with lists, if any, since ``Jet_ht`` then belongs to the event."""
    own = {name: Jagged.of(name, column) for name, column in columns.items() if _owner(name, schema) == vec}
    return {name: column for name, column in own.items() if column.offsets is not None} or own


def _yes_or_no(expression: Expression, columns: Mapping[str, Any], what: str) -> Jagged:
    """Return the value of a condition as booleans; a flag may be an integer, as files store it."""
    value = expression.compute(columns)
    kind = value.values.dtype.kind
    if kind == "b" or (kind == "i" and not expression.gives_number):
        return Jagged(value.values != 0, value.offsets)
    raise SchemaError(f"{what} must give yes or no, got {value.values.dtype}: write a comparison, such as ... > 0")


def _kept(name: str, column: Jagged, keep: Jagged, what: str) -> Jagged:
    """Return a column without objects that are not selected: removed from lists, NaN if it has one number."""
    if (column.offsets is None) != (keep.offsets is None):
        expected = "one yes or no per event" if column.offsets is None else "yes or no for each of its objects"
        raise SchemaError(f"{what} must give {expected}, as column {name!r} does", column=name)
    if column.offsets is None:
        return Jagged(np.where(keep.values, column.values, np.nan))
    if not column.has_lists_of(keep):
        lengths, expected_lengths = column.lengths, keep.lengths
        event = int((lengths != expected_lengths).argmax())
        raise EventError(
            f"{what} must give yes or no for {lengths[event]} objects, as {name!r}, got {expected_lengths[event]}",
            event=event,
            column=name,
        )
    return column.keep(keep.values)


def _count(collection: str, columns: Mapping[str, Any], schema: EventSchema) -> Jagged:
    """Count the objects of each event; NaN or missing ones are absent."""
    column = next(iter(_columns_of(collection, columns, schema).values()))
    there = ~np.isnan(column.values)
    return Jagged(there.astype(np.int64) if column.offsets is None else column.keep(there).lengths)


def _chosen(column: Any, numbers: np.ndarray) -> Any:
    """Return the chosen events of a column, which may hold other values than numbers (identifiers)."""
    if isinstance(column, Jagged):
        return column.select(numbers)
    return (np.ma.asarray(column) if isinstance(column, np.ndarray | list | tuple) else column)[numbers]
