"""Columns of tables: what they hold, and which belong together."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...events.errors import EventError, SchemaError
from ..columns.jagged import NUMBERS, Jagged, is_plain

__all__ = [
    "Column",
    "Columns",
    "Format",
    "Source",
    "as_array",
    "checked_columns",
    "collection_of",
    "counter_of",
    "number_type",
]

Columns = dict[str, Any]  # of ak.Array; Any, because awkward is imported only to read a file


class Column(NamedTuple):
    """A column as its file describes it."""

    source: Any  # of its numbers: a branch, a dataset, cells
    type: str  # as the file calls it
    numeric: bool  # numbers or lists of numbers, according to the metadata
    implied: bool = False  # repeats other columns: read only when asked for by name


Catalogue = dict[str, Any]  # of Column


class Source(ABC):
    """An open file of one format."""

    catalogue: Catalogue
    num_events: int
    groups: np.ndarray  # the beginnings of the file's own parts, and the end of the last one

    @abstractmethod
    def read(self, names: list[str], start: int, stop: int | None) -> Columns:
        """Read events start..stop of columns (None: all); continuing an earlier range decodes nothing twice."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


class Format(NamedTuple):
    """A file format: its first bytes, and how to open a file (path, name of the tree)."""

    kind: str
    magic: bytes
    open: Callable[[str, str], Source]


def checked_columns(columns: Mapping[str, Any]) -> Columns:
    """Return columns as plain awkward arrays, or raise an error if they are not columns of one table.

    Parameters
    ----------
    columns
        Names and values, one entry per event each.
    """
    plain = {name: _as_column(name, values) for name, values in columns.items()}
    first: dict[str, tuple[str, Jagged]] = {}  # the first column of each collection
    for name, array in plain.items():
        begin, reference = next(iter(plain.items()))
        if len(array) != len(reference):
            raise SchemaError(
                f"columns must have one entry per event each, got {len(reference)} in column {begin!r} and "
                f"{len(array)} in {name!r}",
                column=name,
            )
        if array.ndim == 1:
            continue
        lists = Jagged.of(name, array)
        sibling, known = first.setdefault(collection_of(name), (name, lists))
        if not lists.has_lists_of(known):
            lengths, expected = lists.lengths, known.lengths
            event = int(np.argmax(lengths != expected))
            raise EventError(
                f"columns {sibling!r} and {name!r} of one collection must have lists of the same lengths, got "
                f"{expected[event]} and {lengths[event]} entries",
                event=event,
                column=name,
            )
    return plain


def collection_of(column: str) -> str:
    """Return the collection of a column: ``Jet`` for ``Jet_px``; a name without ``_`` is its own."""
    return column.rpartition("_")[0] or column


def counter_of(collection: str) -> str:
    """Return the name of the column that counts the particles of a collection: ``nJet`` for ``Jet``."""
    group, slash, name = collection.rpartition("/")
    return f"{group}{slash}n{name}"


def number_type(array: Any) -> str:
    """Return the type of the numbers of a plain or jagged array, as in ``float32``; of other arrays, their type."""
    import awkward as ak

    item = array.type.content
    return str(item.content if isinstance(item, ak.types.ListType) else item)


def as_array(name: str, values: Any) -> Any:
    """Return the values of a column as an awkward array, or raise a SchemaError if that is impossible."""
    import awkward as ak

    if isinstance(values, np.ndarray) and not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    try:
        return ak.Array(values)
    except Exception as error:  # of several libraries
        raise SchemaError(
            f"column {name!r} must hold numbers or lists of numbers, got {type(values).__name__} "
            f"({first_line(str(error))}): give it as a NumPy or awkward array",
            column=name,
        ) from error


def _as_column(name: str, values: Any) -> Any:
    import awkward as ak

    array = as_array(name, values)
    if is_plain(array.layout):
        return array
    if isinstance(array.type.content, ak.types.RegularType):
        array = ak.from_regular(array, axis=1)
    type_ = number_type(array)
    if type_ == "unknown":  # empty lists only
        return ak.values_astype(array, np.float64)
    if type_ not in NUMBERS:
        raise not_a_column(name, array.type)
    if fault := ak.validity_error(array):
        raise SchemaError(f"the lists of column {name!r} are corrupt: {first_line(fault)}", column=name)
    return ak.values_astype(array, np.int8) if type_ == "bool" else array


def not_a_column(name: str, type_: Any) -> SchemaError:
    return SchemaError(f"column {name!r} must hold a number or a list of numbers per event, got {type_}", column=name)


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no details")


def unique_names(items: list[tuple[str, str, Any]]) -> Catalogue:
    """Name each column by its short name, or by its full name if the short one is not unique."""
    short = Counter(name for name, _, _ in items)
    return {(name if short[name] == 1 else full): column for name, full, column in items}
