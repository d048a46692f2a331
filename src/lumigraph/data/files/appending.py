"""What the writers of all formats share: chunks of columns as NumPy arrays, and the file they are written to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...events.errors import SchemaError
from ..columns.jagged import Jagged
from .memory_tables import from_library
from .tables import as_array, checked_columns, collection_of, counter_of

__all__ = [
    "AppendedFile",
    "Chunk",
    "checked_chunk",
    "counters",
    "cut",
    "joined",
    "num_bytes",
    "num_events",
]


Chunk = dict[str, Jagged]


class AppendedFile(ABC):
    """A file of one format to which chunks of the same columns are appended; the first chunk opens it.

    Parameters
    ----------
    path
        File to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, chunk: Chunk) -> None:  # noqa: B027
        """Raise a SchemaError if the format cannot hold a chunk, before anything is written."""

    @abstractmethod
    def write(self, chunk: Chunk) -> None:
        """Write a chunk, as one basket or row group."""

    @abstractmethod
    def close(self, num_events: int) -> None:
        """Finish the file with this number of events: those of all chunks that were written completely."""

    def discard(self) -> None:
        """Delete the file, whatever has happened to it."""
        with suppress(Exception):
            self.close(0)
        self.path.unlink(missing_ok=True)


def checked_chunk(columns: Mapping[str, Any], types: Mapping[str, str]) -> tuple[Chunk, dict[str, str]]:
    """Return columns as a chunk, in the order of the types they must have (none: any), and their types.

    Raises
    ------
    SchemaError
        If they are not columns of one table, or have other names or types.
    """
    import awkward as ak

    if not columns:
        raise SchemaError("there are no columns: give at least one")
    if bad := [name for name in columns if not isinstance(name, str) or not name]:
        raise SchemaError(f"column names must be non-empty strings, got {bad[0]!r}")
    arrays: dict[str, Any] = {name: as_array(name, from_library(name, values)) for name, values in columns.items()}
    for name, array in arrays.items():
        if "unknown" in str(array.type):  # it has no number to take a type from
            type_ = types.get(name, str(array.type.content).replace("unknown", "float64"))
            array = ak.Array([[]])[:0] if type_.startswith("var") and len(array) == 0 else array
            arrays[name] = ak.values_astype(array, type_.removeprefix("var * "), including_unknown=True)
    plain = checked_columns(arrays)
    found = {name: str(array.type.content) for name, array in plain.items()}
    for name in {**types, **found} if types else ():
        if types.get(name) != found.get(name):
            raise SchemaError(
                f"column {name!r} is {found.get(name, 'missing')}, but {types.get(name, 'missing')} in the first "
                "chunk: all chunks must have the same columns, of the same types",
                column=name,
            )
    return {name: Jagged.of(name, plain[name]) for name in types or found}, dict(types or found)


def num_events(chunk: Chunk) -> int:
    """Return the number of events of a chunk."""
    return len(next(iter(chunk.values())))


def num_bytes(chunk: Chunk) -> int:
    """Return the size of a chunk in memory."""
    arrays = (array for column in chunk.values() for array in (column.values, column.offsets))
    return sum(array.nbytes for array in arrays if array is not None)


def cut(chunk: Chunk, start: int, stop: int) -> Chunk:
    """Return the events ``start`` to ``stop``, without copying them."""
    return {name: column.between(start, stop) for name, column in chunk.items()}


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return chunks concatenated to one."""
    if len(chunks) == 1:
        return chunks[0]

    def join(columns: list[Jagged]) -> Jagged:
        values = np.concatenate([column.values for column in columns])
        if columns[0].offsets is None:
            return Jagged(values)
        return Jagged.from_lengths(values, np.concatenate([column.lengths for column in columns]))

    return {name: join([chunk[name] for chunk in chunks]) for name in chunks[0]}


def counters(chunk: Chunk) -> tuple[dict[str, np.ndarray], list[str]]:
    """Count each collection, and list the counters that are not among the columns.

    Raises
    ------
    SchemaError
        If a column has the name of a counter but other numbers.
    """
    found: dict[str, np.ndarray] = {}
    for name, column in chunk.items():
        if column.offsets is None or (counter := counter_of(collection_of(name))) in found:
            continue
        found[counter] = column.lengths.astype(np.int32)
        if counter not in chunk:
            continue
        own = chunk[counter]
        if own.offsets is not None or not np.array_equal(own.values, column.lengths):
            raise SchemaError(
                f"column {counter!r} must hold the lengths of the lists in {name!r}, since this format uses it as "
                "their counter: rename it, or write to .parquet",
                column=counter,
            )
    return found, [counter for counter in found if counter not in chunk]
