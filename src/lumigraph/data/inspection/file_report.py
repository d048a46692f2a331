"""Contents of a file of events: columns, multiplicities, ranges, in one pass and in bounded memory."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...events.errors import SchemaError
from ..columns.jagged import Jagged
from ..files.read_arrow import jagged_columns
from ..files.readers import open_events
from ..files.tables import collection_of, counter_of, first_line

__all__ = ["CollectionReport", "ColumnReport", "FileReport", "inspect_file"]

_MOST_VALUES = 100  # different whole numbers counted per column
_WIDEST_RANGE = 100_000  # of whole numbers whose values are counted
_LARGEST = 2**53  # float64 has all whole numbers up to it
_EVENTS_AT_ONCE = 20_000
_FEWEST_EVENTS = 1000
_CELLS_AT_ONCE = 2_000_000  # events x columns


@dataclass
class ColumnReport:
    """Contents of a column; for lists, of all their entries together.

    Parameters
    ----------
    name
        Name of the column.
    type
        Its type, as the file calls it.
    is_list
        Whether it has a list of numbers per event, rather than one number.
    is_integer
        Whether its type is integer (or boolean).
    count
        Count of its numbers, NaNs included.
    nans, infinities, zeros
        Counts of those that are NaN, infinite, and zero.
    minimum, maximum, mean
        Of the numbers that are not NaN (mean: of finite ones); NaN if there are none.
    values
        How often each value occurs, in rising order, if all are whole numbers and at most 100 are different; otherwise
        None.
    """

    name: str
    type: str
    is_list: bool
    is_integer: bool
    count: int = 0
    nans: int = 0
    infinities: int = 0
    zeros: int = 0
    minimum: int | float = float("nan")
    maximum: int | float = float("nan")
    mean: float = float("nan")
    values: dict[int, int] | None = field(default_factory=dict)

    def add(self, numbers: np.ndarray) -> None:
        """Take more numbers into account."""
        before, finite = self.count - self.nans - self.infinities, numbers
        if numbers.dtype.kind == "f":
            finite = numbers[np.isfinite(numbers)]
            nans = int(np.isnan(numbers).sum())
            self.nans, self.infinities = self.nans + nans, self.infinities + len(numbers) - len(finite) - nans
        self.zeros += len(numbers) - int(np.count_nonzero(numbers))
        real = numbers if len(finite) == len(numbers) else numbers[~np.isnan(numbers)]
        if len(real):
            low, high = real.min().item(), real.max().item()
            self.minimum = low if np.isnan(self.minimum) else min(low, self.minimum)
            self.maximum = high if np.isnan(self.maximum) else max(high, self.maximum)
        self._add_mean(finite, before)
        self.count += len(numbers)
        if self.values is not None:
            self._add_values(real)

    def _add_mean(self, finite: np.ndarray, before: int) -> None:
        if len(finite):
            mean = float(finite.mean(dtype=np.float64))
            self.mean = mean if not before else self.mean + (mean - self.mean) * len(finite) / (before + len(finite))

    def _add_values(self, numbers: np.ndarray) -> None:
        if not len(numbers) or self.values is None:
            return
        found = None
        narrow = self.maximum - self.minimum < _WIDEST_RANGE and max(-self.minimum, self.maximum) < _LARGEST
        if narrow and np.array_equal(numbers[:100], np.floor(numbers[:100])):
            low = int(numbers.min())
            whole = numbers.astype(np.int64)
            if np.array_equal(whole, numbers):
                counts = np.bincount(whole - low)
                found = {low + int(i): int(counts[i]) for i in counts.nonzero()[0]}
        if found is not None:
            found = {v: self.values.get(v, 0) + found.get(v, 0) for v in sorted(self.values.keys() | found.keys())}
        self.values = None if found is None or len(found) > _MOST_VALUES else found


@dataclass
class CollectionReport:
    """Columns of lists that belong together, and their numbers of entries per event.

    Parameters
    ----------
    name
        Name of the collection, as in ``Jet`` for ``Jet_px``.
    columns
        Names of its columns.
    multiplicities
        How many events have 0, 1, 2, ... entries.
    """

    name: str
    columns: list[str]
    multiplicities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, lengths: np.ndarray) -> None:
        """Take more events into account."""
        counts = np.bincount(lengths, minlength=len(self.multiplicities))
        counts[: len(self.multiplicities)] += self.multiplicities
        self.multiplicities = counts

    @property
    def mean(self) -> float:
        """Entries per event; NaN without events."""
        events = self.multiplicities.sum()
        return float(self.multiplicities @ np.arange(len(self.multiplicities)) / events) if events else float("nan")

    def quantile(self, share: float) -> int:
        """Return the number of entries that a fraction of the events does not exceed; 0 without events."""
        if not self.multiplicities.sum():
            return 0
        below = np.cumsum(self.multiplicities)
        return int(np.searchsorted(below, max(share * below[-1], 1)))


@dataclass
class FileReport:
    """Contents of a file.

    Parameters
    ----------
    path
        The file.
    num_events
        Number of events.
    columns
        The columns that can be read, by name.
    collections
        The collections among them, by name.
    unusable
        Columns that cannot be read, by name: their type, and the reason.
    """

    path: str
    num_events: int
    columns: dict[str, ColumnReport]
    collections: dict[str, CollectionReport]
    unusable: dict[str, tuple[str, str]]

    def collection(self, column: str) -> str | None:
        """Return the name of the collection that a column belongs to; None if it has one number per event."""
        return next((c.name for c in self.collections.values() if column in c.columns), None)

    @property
    def counters(self) -> set[str]:
        """Names of the counters of the collections, ``nJet`` for ``Jet``, whether they exist or not."""
        lists = (collection_of(column.name) for column in self.columns.values() if column.is_list)
        return {counter_of(collection) for collection in {*self.collections, *lists}}


def inspect_file(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> FileReport:
    """Report the contents of a file, in one pass over its events.

    Parameters
    ----------
    path
        ROOT (``file.root:Tree``), Parquet, HDF5 or CSV file.
    columns
        The columns to inspect; by default all, each once: without the numbered columns that make up lists in CSV.

    Raises
    ------
    SchemaError
        If the file cannot be read, or lacks a column.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.files.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.root", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]})
    ...     report = inspect_file(path)
    >>> report.num_events, report.columns["ht"].maximum, report.collections["Jet"].mean
    (2, 50.0, 1.0)
    """
    with open_events(path) as file:
        names = _each_once(file.names) if columns is None else list(dict.fromkeys(columns))
        scan = _Scan(file, names)
        step = max(min(_CELLS_AT_ONCE // max(len(names), 1), _EVENTS_AT_ONCE), _FEWEST_EVENTS)
        for start in range(0, max(file.num_events, 1), step):
            scan.add(start, min(start + step, file.num_events))
        unusable = {name: (type_, _why_not(type_)) for name, type_ in file.types.items() if name not in file.names}
        unusable = {} if columns is not None else unusable
        return FileReport(str(path), file.num_events, scan.columns, scan.collections(), unusable | scan.failed)


def _each_once(names: Sequence[str]) -> list[str]:
    """Return the columns without the flat ones that make up columns of lists in CSV."""
    cells = {cell for name, slots in jagged_columns(names).items() if name in names for cell in slots.cells}
    return [name for name in names if name not in cells]


class _Scan:
    """A pass over the events of a file."""

    def __init__(self, file: Any, names: list[str]) -> None:
        self.file = file
        self.names = names
        self.columns: dict[str, ColumnReport] = {}
        self.failed: dict[str, tuple[str, str]] = {}
        self._lists: dict[str, CollectionReport] = {}
        self._nested: dict[str, str] = {}  # Jet_pt (of Jet_pt_nom) -> Jet, while their lengths agree

    def add(self, start: int, stop: int) -> None:
        chunk = self._read(start, stop)
        lengths: dict[str, np.ndarray] = {}
        for name, column in chunk.items():
            if name not in self.columns:
                is_integer = column.values.dtype.kind in "iub"
                self.columns[name] = ColumnReport(name, self.file.types[name], column.offsets is not None, is_integer)
            self.columns[name].add(column.values)
            if column.offsets is not None:
                lengths[collection_of(name)] = column.lengths
        if start == 0:
            self._lists = {c: CollectionReport(c, [n for n in chunk if collection_of(n) == c]) for c in lengths}
            self._nested = {c: outer for c in lengths if (outer := _outer(c, lengths))}
        for collection, counts in lengths.items():
            self._lists[collection].add(counts)
        self._nested = {
            c: o for c, o in self._nested.items() if {c, o} <= lengths.keys() and np.array_equal(lengths[c], lengths[o])
        }

    def collections(self) -> dict[str, CollectionReport]:
        found = {name: CollectionReport(name, list(c.columns), c.multiplicities) for name, c in self._lists.items()}
        for name, outer in self._nested.items():
            found[outer].columns += found.pop(name).columns
        for report in found.values():
            report.columns = [n for n in self.columns if n in report.columns]  # in the order of the file
        return {name: report for name, report in found.items() if report.columns}

    def _read(self, start: int, stop: int) -> dict[str, Jagged]:
        """Read the columns; note and leave out those that cannot be read, unless none can."""
        try:
            columns = self.file.read(self.names, start, stop)
        except SchemaError:
            for name in self.names:
                try:
                    self.file.read([name], start, stop)
                except SchemaError as reason:
                    if reason.__cause__ is not None:  # the file is corrupt
                        raise
                    self.failed[name] = (
                        self.file.types.get(name, ""),
                        first_line(reason.detail),
                    )
            self.names = [name for name in self.names if name not in self.failed]
            if not self.names or not self.failed:
                raise
            for name in self.failed:
                self.columns.pop(name, None)
            columns = self.file.read(self.names, start, stop)
        return {name: Jagged.of(name, column) for name, column in columns.items()}


def _outer(collection: str, collections: dict[str, Any]) -> str | None:
    """Return the shortest collection that another seems to belong to: ``Jet`` for ``Jet_pt``."""
    outer = [c for c in collections if collection.startswith(f"{c}_")]
    return min(outer, key=len) if outer else None


def _why_not(type_: str) -> str:
    if re.search(r"string|str\b|char|utf8|object|\|S\d|<U\d", type_, re.IGNORECASE):
        return "text; only numbers can be read"
    if len(re.findall(r"list<|vector<|RVec<|\[\d*\]", type_)) > 1 or type_.count(",") > 1:
        return "lists of lists; a column must hold a number or a list of numbers per event"
    return "neither a number nor a list of numbers per event"
