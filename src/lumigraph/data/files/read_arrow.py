"""Read Parquet files, with pyarrow; and ranges of tables that come in batches, for Parquet and CSV."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...events.errors import EventError, SchemaError, located
from ..columns.jagged import Jagged, offsets_of
from .tables import Catalogue, Column, Columns, Format, Source

__all__ = ["PARQUET", "ArrowRanges", "holds_numbers", "is_arrow_number", "jagged_columns", "numbers_of"]

_MAX_CURSORS = 8  # ranges that can be read in turn without decoding anything twice
_BUFFER = 1 << 20  # bytes of a column read from the file at a time


def is_arrow_number(type_: Any) -> bool:
    """Tell whether an arrow type is numeric; a column of nulls only has the type null, and counts."""
    import pyarrow.types as pt

    return any(test(type_) for test in (pt.is_integer, pt.is_floating, pt.is_boolean, pt.is_null))


def holds_numbers(type_: Any) -> bool:
    """Tell whether an arrow type is of numbers or of lists of numbers."""
    import pyarrow.types as pt

    if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_):
        type_ = type_.value_type
    return is_arrow_number(type_)


class _Cursor(NamedTuple):
    batches: Iterator[Any]
    rest: Any  # decoded but not yet returned
    skip: int  # rows to drop before the first one wanted


class ArrowRanges:
    """Ranges of rows of tables that can only be decoded from certain rows on.

    A decoder is kept where a range ends, for a range that begins there.

    Parameters
    ----------
    batches
        Called with (names, row, rows per batch), it returns a row at or before the one asked for and the record
        batches from there on.
    """

    def __init__(self, batches: Callable[[list[str], int, int], tuple[int, Iterator[Any]]]) -> None:
        self._batches = batches
        self._cursors: dict[tuple[int, tuple[str, ...]], _Cursor] = {}

    def read(self, names: list[str], start: int, stop: int, *, keep: bool) -> list[Any]:
        """Return rows start..stop as record batches, and keep the decoder if more rows follow."""
        if (cursor := self._cursors.pop((start, tuple(names)), None)) is None:
            begin, batches = self._batches(names, start, min(max(stop - start, 1 << 10), 1 << 16))
            cursor = _Cursor(batches, None, start - begin)
        batches, rest, skip = cursor
        found, wanted = [], stop - start
        while wanted:
            if rest is None or rest.num_rows == 0:
                rest = next(batches)
            skipped = min(skip, rest.num_rows)
            taken = rest.slice(skipped, wanted)
            skip, wanted, rest = skip - skipped, wanted - taken.num_rows, rest.slice(skipped + taken.num_rows)
            if taken.num_rows:
                found.append(taken)
        if keep:
            while len(self._cursors) >= _MAX_CURSORS:
                del self._cursors[next(iter(self._cursors))]
            self._cursors[stop, tuple(names)] = _Cursor(batches, rest, 0)
        return found

    def close(self) -> None:
        """Forget all decoders."""
        self._cursors.clear()


class _ParquetSource(Source):
    """A Parquet file. Its groups are the row groups, which may be large: ranges within them are decoded in batches."""

    def __init__(self, path: str, _tree: str) -> None:
        import pyarrow.parquet

        # pre_buffer would hold a whole row group in memory
        self._file = pyarrow.parquet.ParquetFile(
            path, page_checksum_verification=True, buffer_size=_BUFFER, pre_buffer=False
        )
        meta = self._file.metadata
        rows = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self.catalogue: Catalogue = _catalogue(self._file)
        self.num_events = int(meta.num_rows)
        if min(rows, default=0) < 0 or sum(rows) != self.num_events:
            raise SchemaError(
                f"its row groups have {sum(rows)} events, but the file {self.num_events}: it is corrupt, get or write "
                "it again"
            )
        self._starts = offsets_of(np.array(rows, dtype=np.int64))
        self.groups = np.unique(self._starts)
        self._ranges = ArrowRanges(self._batches)

    def close(self) -> None:
        self._ranges.close()
        self._file.close()

    def read(self, names: list[str], start: int, stop: int | None) -> Columns:
        import pyarrow as pa

        stop = self.num_events if stop is None else stop
        tables: list[Any] = []
        whole: list[int] = []  # consecutive row groups
        touched = (self._starts[:-1] < stop) & (self._starts[1:] > start) & (start < stop)
        for group in np.flatnonzero(touched).tolist():
            begin, end = self._starts[group : group + 2].tolist()
            if start <= begin and end <= stop:
                whole.append(group)
                continue
            tables += [self._file.read_row_groups(whole, columns=names)] if whole else []
            whole = []
            batches = self._ranges.read(names, max(start, begin), min(stop, end), keep=stop < end)
            tables.append(pa.Table.from_batches(batches))
        tables += [self._file.read_row_groups(whole, columns=names)] if whole else []
        tables = tables or [self._file.schema_arrow.empty_table()]
        table = pa.concat_tables(table.select(names) for table in tables)
        table.validate(full=True)
        with located(events=start):
            return {name: numbers_of(name, table.column(name)) for name in names}

    def _batches(self, names: list[str], start: int, num_rows: int) -> tuple[int, Iterator[Any]]:
        group = int(np.searchsorted(self._starts, start, "right")) - 1
        return int(self._starts[group]), self._file.iter_batches(num_rows, row_groups=[group], columns=names)


def _catalogue(file: Any) -> Catalogue:
    columns = {field.name: Column(None, str(field.type), holds_numbers(field.type)) for field in file.schema_arrow}
    for name, times in Counter(file.schema_arrow.names).items():
        if times > 1:
            columns[name] = Column(None, f"{columns[name].type} occurring {times} times", False)
    return columns


def numbers_of(name: str, column: Any) -> Any:
    """Return an arrow column as numbers or lists, in arrow's own memory if it is in one piece."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_nested(column.type):
        return _numbers(name, column, column)
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_fixed_size_list(array.type) or array.null_count:
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        return Jagged.from_lengths(_numbers(name, pc.list_flatten(array), array), lengths).to_awkward()
    offsets = array.offsets.to_numpy()
    first = int(offsets[0])
    values = array.values.slice(first, int(offsets[-1]) - first)
    return Jagged(_numbers(name, values, array), offsets - first if first else offsets).to_awkward()


def _numbers(name: str, numbers: Any, column: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(numbers.type):
        numbers = numbers.cast(pa.float64())
    if numbers.null_count and not pa.types.is_floating(numbers.type):
        place = pc.index(numbers.is_null(), True).as_py()
        if numbers is not column:  # numbers of lists
            place = pc.list_parent_indices(column)[place].as_py()
        raise EventError(
            f"column {name!r} is of type {numbers.type}, which has no NaN for a null: fill it, or write the column as "
            "floating point",
            event=place,
            column=name,
        )
    if pa.types.is_boolean(numbers.type):
        numbers = numbers.cast(pa.int8())
    if isinstance(numbers, pa.ChunkedArray):
        return np.asarray(numbers.to_numpy())  # nulls become NaN
    return np.asarray(numbers.to_numpy(zero_copy_only=False))


_CELL = re.compile(r"(.*\D)(0|[1-9]\d*)_(.*)")  # Jet, 0, px


class Slots(NamedTuple):
    """The flat columns that make up a jagged column."""

    cells: list[str]  # the flat columns, slot by slot
    objects: list[list[str]]  # all flat columns of the object, slot by slot


def jagged_columns(names: Sequence[str]) -> dict[str, Any]:
    """Find the jagged columns that flat columns ``Jet0_px, Jet1_px, ...`` make up, each with its `Slots`."""
    objects: dict[str, dict[int, dict[str, str]]] = {}
    for name in names:
        if cell := _CELL.fullmatch(name):
            objects.setdefault(cell[1], {}).setdefault(int(cell[2]), {})[cell[3]] = name
    found = {}
    for object_, slots in objects.items():
        for feature in slots.get(0, ()):
            if all(feature in slots.get(slot, ()) for slot in range(len(slots))):
                cells = [slots[slot][feature] for slot in range(len(slots))]
                everything = [list(slots[slot].values()) for slot in range(len(slots))]
                found[f"{object_}_{feature}" if feature else object_] = Slots(cells, everything)
    return found


PARQUET = Format("Parquet", b"PAR1", _ParquetSource)
