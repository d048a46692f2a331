"""Read CSV files, with pyarrow.

A CSV file does not say how many events it has, nor the types of its columns, so it is read through once when it is
opened. A column has integers if all of its cells are integers (unsigned if some are above 2**63 - 1), booleans if all
are booleans (true, false), and floating-point numbers otherwise, with NaN for empty cells; a range of events has the
types of the whole file.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np

from ...events.errors import EventError, SchemaError
from ..columns.jagged import Jagged
from .read_arrow import ArrowRanges, Slots, is_arrow_number, jagged_columns
from .tables import Catalogue, Column, Columns, Format, Source

__all__ = ["CSV"]

_CSV_BLOCK = 1 << 23  # bytes; a line must fit into it
_NEWLINES = b"\r\n"


class _CsvSource(Source):
    """A CSV file. Its groups are the events of one block of bytes."""

    def __init__(self, path: str, _tree: str) -> None:
        self._path = path
        self._types: dict[str, Any] = {}
        self._holes: set[str] = set()  # columns with empty cells that do not belong to absent particles
        # columns of numbers with text further down: the first event with text, and the text
        self._texts: dict[str, tuple[int, str]] = {}
        self._jagged: dict[str, Slots] = {}
        groups, self._offsets = [0], []
        for offset, block in self._blocks():
            if not self._types:
                header = _end_of_header(block)
                self._read_header(block[:header])
                offset, block = offset + header, block[header:]
            if num_rows := self._learn(block, groups[-1]):
                groups.append(groups[-1] + num_rows)
                self._offsets.append(offset)
        self.groups = np.asarray(groups, dtype=np.int64)
        self.num_events = groups[-1]
        self.catalogue: Catalogue = self._catalogue()
        self._ranges = ArrowRanges(self._batches)

    def close(self) -> None:
        self._ranges.close()

    def read(self, names: list[str], start: int, stop: int | None) -> Columns:
        import pyarrow as pa

        stop = self.num_events if stop is None else stop
        sources = {name: self.catalogue[name].source for name in names}
        flat = {cell for source in sources.values() for cells in source.objects for cell in cells}
        for name in self._texts:
            if name in flat:
                event, text = self._texts[name]
                raise EventError(
                    f"column {name!r} must hold numbers, got {text!r}: correct or drop it", event=event, column=name
                )
        schema = pa.schema([(name, self._types[name]) for name in sorted(flat)])
        batches = self._ranges.read(schema.names, start, stop, keep=stop < self.num_events) if stop > start else []
        table = pa.Table.from_batches(batches, schema)
        columns: Columns = {}
        for name, source in sources.items():
            if name in self._jagged:
                absent = _absent(table, source)
                columns[name] = Jagged.from_matrix(self._matrix(table, name, absent), ~absent).to_awkward()
            else:
                columns[name] = self._matrix(table, name, np.zeros((table.num_rows, 1), dtype=bool))[:, 0]
        return columns

    def _stream(self) -> Any:
        import pyarrow as pa

        return pa.input_stream(self._path, compression="gzip" if self._path.lower().endswith(".gz") else None)

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield blocks of whole lines, each with the byte at which it begins."""
        offset, rest = 0, b""
        with self._stream() as stream:
            while content := stream.read(_CSV_BLOCK):
                block = rest + content
                cut = max(block.rfind(newline) for newline in (b"\n", b"\r")) + 1
                if not cut and len(block) > _CSV_BLOCK:
                    raise SchemaError(
                        f"a line must have at most {_CSV_BLOCK} bytes: write a CSV file with shorter lines"
                    )
                if cut:
                    yield offset, block[:cut]
                offset, rest = offset + cut, block[cut:]
        if rest:
            yield offset, rest

    def _read_header(self, header: bytes) -> None:
        import pyarrow as pa
        import pyarrow.csv

        names = pyarrow.csv.read_csv(pa.BufferReader(header + b"\n")).schema.names
        if repeated := [name for name, times in Counter(names).items() if times > 1]:
            name, times = repeated[0], names.count(repeated[0])
            raise SchemaError(f"column {name!r} occurs {times} times: rename it", column=name)
        self._types = dict.fromkeys(names, pa.null())
        self._jagged = {name: slots for name, slots in jagged_columns(names).items() if name not in names}

    def _learn(self, block: bytes, row: int) -> int:
        """Learn types and holes from a block, and return the number of its events."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not block.strip(_NEWLINES):
            return 0
        try:
            table = self._parsed(
                block, {name: type_ for name, type_ in self._types.items() if not pa.types.is_null(type_)}
            )
        except pa.ArrowInvalid:  # the types found so far no longer fit
            table = self._parsed(block, {}, row)
        for field in table.schema:
            known, found = self._types[field.name], field.type
            if found == pa.float64() != known and self._is_unsigned(block, table[field.name], field.name):
                found = pa.uint64()
            merged = _merged(known, found)
            if is_arrow_number(known) and not pa.types.is_null(known) and not is_arrow_number(merged):
                self._texts[field.name] = _first_text(table[field.name], row)
            self._types[field.name] = merged
        whole = [name for name, type_ in self._types.items() if not pa.types.is_floating(type_)]
        self._holes.update(name for name in whole if table[name].null_count)
        for name, slots in self._jagged.items():
            if name not in self._holes and not self._holes.isdisjoint(slots.cells):
                empty = np.stack([pc.is_null(table[cell]).to_numpy() for cell in slots.cells], axis=1)
                if np.any(empty & ~_absent(table, slots)):
                    self._holes.add(name)
        return int(table.num_rows)

    def _is_unsigned(self, block: bytes, column: Any, name: str) -> bool:
        """Tell whether a column, which pyarrow reads as float64, has integers of which some are too large for int64."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pc.max(column).as_py() < 2.0**63:
            return False
        with suppress(pa.ArrowInvalid):
            self._parsed(block, {name: pa.uint64()})
            return True
        return False

    def _parsed(self, block: bytes, types: dict[str, Any], row: int | None = None) -> Any:
        import pyarrow as pa
        import pyarrow.csv

        read = pyarrow.csv.ReadOptions(column_names=list(self._types), block_size=_CSV_BLOCK, use_threads=row is None)
        convert = pyarrow.csv.ConvertOptions(column_types=types)
        try:
            return pyarrow.csv.read_csv(pa.BufferReader(block), read, convert_options=convert)
        except pa.ArrowInvalid as error:
            wrong = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
            if wrong is None or row is None:
                raise
            raise EventError(
                f"it has {wrong[3]} cells but the header {wrong[2]}: the file is truncated or corrupt, get or write it "
                "again",
                event=row + int(wrong[1]) - 1,
            ) from error

    def _catalogue(self) -> Catalogue:
        import pyarrow as pa

        numeric = {name for name, type_ in self._types.items() if is_arrow_number(type_) or name in self._texts}
        jagged = {name: slots for name, slots in self._jagged.items() if numeric.issuperset(slots.cells)}
        for slots in jagged.values():  # side by side, int64 and uint64 would become floating point
            if reduce(_merged, (self._types[cell] for cell in slots.cells)) == pa.uint64():
                self._types |= dict.fromkeys(slots.cells, pa.uint64())
        cells = {cell for slots in jagged.values() for cell in slots.cells}
        flat = {
            name: Column(Slots([name], [[name]]), str(type_), name in numeric, name in cells)
            for name, type_ in self._types.items()
        }
        self._jagged = jagged
        return flat | {name: Column(slots, "numbered columns", True) for name, slots in jagged.items()}

    def _batches(self, names: list[str], start: int, _rows: int) -> tuple[int, Iterator[Any]]:
        import pyarrow.csv

        group = int(np.searchsorted(self.groups, start, "right")) - 1
        stream = self._stream()
        _skip(stream, self._offsets[group])
        reader = pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(column_names=list(self._types), block_size=_CSV_BLOCK),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=names, column_types={name: self._types[name] for name in names}
            ),
        )
        return int(self.groups[group]), iter(reader)

    def _matrix(self, table: Any, name: str, absent: np.ndarray) -> np.ndarray:
        """Return the cells of a column side by side, in its type, with NaN for empty ones."""
        import pyarrow as pa

        cells = self.catalogue[name].source.cells
        types = [self._types[cell] for cell in cells]
        arrays = []
        for cell, type_ in zip(cells, types, strict=True):
            column = table[cell]
            if pa.types.is_null(type_):
                arrays.append(np.zeros(len(column), dtype=np.int8))  # takes the type of its neighbours
            else:
                column = column.cast(pa.int8()) if pa.types.is_boolean(type_) else column
                arrays.append(column.fill_null(0).to_numpy())
        matrix = np.stack(arrays, axis=1)
        if name in self._holes or matrix.dtype.kind == "f" or all(pa.types.is_null(type_) for type_ in types):
            matrix = matrix.astype(np.float64, copy=False)
            empty = np.stack([_empty(table[cell]) for cell in cells], axis=1)
            matrix[empty & ~absent] = np.nan
        return matrix


def _end_of_header(block: bytes) -> int:
    begin = len(block) - len(block.lstrip(_NEWLINES))
    ends = [end for end in (block.find(b"\n", begin), block.find(b"\r", begin)) if end >= 0]
    return min(ends) + 1 if ends else len(block)


def _empty(column: Any) -> np.ndarray:
    return np.asarray(column.is_null(nan_is_null=True).to_numpy())


def _absent(table: Any, slots: Slots) -> np.ndarray:
    """Mark each (event, slot) without a particle: all cells of the object are empty or NaN."""
    empty = {cell: _empty(table[cell]) for cells in slots.objects for cell in cells}
    return np.stack([np.all([empty[cell] for cell in cells], axis=0) for cells in slots.objects], axis=1)


def _first_text(column: Any, row: int) -> tuple[int, str]:
    """Return the first event with a cell that is not a number, and the cell; the block begins with event `row`."""
    import pandas as pd

    cells = pd.Series(column.cast("string").to_pylist(), dtype=object)
    texts = pd.to_numeric(cells, errors="coerce").isna() & cells.notna() & (cells != "")
    place = int(np.argmax(texts)) if texts.any() else 0
    return row + place, cells.iloc[place]


def _merged(one: Any, other: Any) -> Any:
    import pyarrow as pa

    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.uint64()}:
        return pa.uint64()
    return pa.float64() if {one, other} <= {pa.int64(), pa.uint64(), pa.float64()} else pa.string()


def _skip(stream: Any, num_bytes: int) -> None:
    if stream.seekable():
        stream.seek(num_bytes)
        return
    while num_bytes:
        skipped = len(stream.read(min(num_bytes, _CSV_BLOCK)))
        if not skipped:
            raise EOFError("it has become shorter since it was opened")
        num_bytes -= skipped


CSV = Format("CSV", b"", _CsvSource)
