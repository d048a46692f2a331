"""Append columns to Parquet and CSV files, with pyarrow."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np

from ...events.errors import EventError, SchemaError
from ..columns.jagged import Jagged
from .appending import AppendedFile, Chunk
from .read_arrow import jagged_columns
from .tables import collection_of

__all__ = ["CsvFile", "ParquetFile"]


class ParquetFile(AppendedFile):
    """Columns of numbers and of lists; each chunk becomes a row group."""

    _writer: Any = None

    def write(self, chunk: Chunk) -> None:
        """Write a chunk as a row group."""
        import pyarrow as pa
        import pyarrow.parquet

        arrays, fields = [], []
        for name, column in chunk.items():
            array = pa.array(column.values)
            if column.offsets is not None:
                type_ = pa.large_list(pa.field("element", array.type, nullable=False))
                array = pa.LargeListArray.from_arrays(column.offsets, array, type=type_)
            arrays.append(array)
            fields.append(pa.field(name, array.type, nullable=False))  # columns without nulls are read faster
        table = pa.table(arrays, schema=pa.schema(fields))
        if self._writer is None:
            # floats hardly repeat: a dictionary would make the file larger and slower to read
            whole = {name: column.offsets is None for name, column in chunk.items() if column.values.dtype.kind != "f"}
            repeated = [name if flat else f"{name}.list.element" for name, flat in whole.items()]
            self._writer = pyarrow.parquet.ParquetWriter(
                self.path, table.schema, write_page_checksum=True, use_dictionary=repeated
            )
        self._writer.write_table(table, row_group_size=max(len(table), 1))

    def close(self, num_events: int) -> None:
        """Write the list of row groups, without which the file cannot be read."""
        if self._writer is not None:
            self._writer.close()


class CsvFile(AppendedFile):
    """Lines of numbers; lists in numbered columns.

    The first line names the columns, but their number is known only once the longest list has been seen: until then
    chunks are kept in a Parquet file next to it.

    Parameters
    ----------
    path
        File to write; it is compressed if it ends in ``.gz``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._chunks = ParquetFile(path.with_name(f"{path.name}.parquet"))
        self._widths: dict[str, int] = {}  # of lists: the longest one so far

    def check(self, chunk: Chunk) -> None:
        """Raise a SchemaError if a reader could not recover the columns, or their particles, from the cells."""
        widths = dict(self._widths)
        for name, column in chunk.items():
            if "\n" in name or "\r" in name:
                raise SchemaError(f"column {name!r} needs more than one line in CSV: rename it", column=name)
            if column.offsets is not None:
                widths[name] = max(widths.get(name, 1), int(column.lengths.max(initial=0)))
        _check_cells(chunk, widths)
        self._widths = widths

    def write(self, chunk: Chunk) -> None:
        """Keep a chunk for the end."""
        self._chunks.write(chunk)

    def close(self, num_events: int) -> None:
        """Write the file, chunk by chunk."""
        import pyarrow.csv
        import pyarrow.parquet

        self._chunks.close(num_events)
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        compressed = self.path.suffix.lower() == ".gz"
        with (
            pyarrow.parquet.ParquetFile(self._chunks.path) as file,
            gzip.open(self.path, "wb", compresslevel=6) if compressed else self.path.open("wb") as stream,
        ):
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(
                cell for name in file.schema_arrow.names for cell in self._cells(name)
            )
            stream.write(header.getvalue().encode())
            for group in range(file.num_row_groups):
                pyarrow.csv.write_csv(self._lines(file.read_row_group(group)), stream, options)
        self._chunks.path.unlink()

    def discard(self) -> None:
        """Delete the file and the chunks that were kept."""
        self._chunks.discard()
        self.path.unlink(missing_ok=True)

    def _cells(self, name: str) -> list[str]:
        return cells_of(name, self._widths[name]) if name in self._widths else [name]

    def _lines(self, table: Any) -> Any:
        import pyarrow as pa

        cells: dict[str, Any] = {}
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            if name not in self._widths:
                cells[name] = _texts(column.to_numpy(zero_copy_only=False))
                continue
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            matrix, present = Jagged.from_lengths(column.flatten().to_numpy(zero_copy_only=False), lengths).padded()
            for slot, cell in enumerate(self._cells(name)):
                there = slot < matrix.shape[1]
                cells[cell] = _texts(matrix[:, slot], present[:, slot]) if there else pa.nulls(len(matrix), pa.string())
        if len(cells) == 1:  # readers skip empty lines, which an empty cell would be
            cells = {name: texts.fill_null("nan") for name, texts in cells.items()}
        return pa.table(cells)


def cells_of(name: str, width: int) -> list[str]:
    """Return the numbered columns of a column of lists.

    Examples
    --------
    >>> cells_of("Jet_px", 2)
    ['Jet0_px', 'Jet1_px']
    """
    collection = collection_of(name)
    return [f"{collection}{slot}_{name[len(collection) + 1 :]}" for slot in range(width)]


def _texts(values: np.ndarray, present: np.ndarray | None = None) -> Any:
    """Return numbers as strings that read back exactly, null where they are NaN or absent."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.dtype.kind != "f":
        return pa.array(values, mask=None if present is None else ~present).cast(pa.string())
    missing = np.isnan(values) if present is None else np.isnan(values) | ~present
    texts = pa.array(values.astype(np.float64), mask=missing).cast(pa.string())
    return pc.replace_substring_regex(texts, r"^(-?\d+)$", r"\1.0")  # without it, it would be read back as an integer


def _check_cells(chunk: Chunk, widths: dict[str, int]) -> None:
    parts = {name: cells_of(name, widths[name]) if name in widths else [name] for name in chunk}
    owner: dict[str, str] = {}
    for name, cells in parts.items():
        owner |= dict.fromkeys(cells, name)
    for name, cells in parts.items():
        if taken := [cell for cell in cells if owner[cell] != name]:
            raise SchemaError(
                f"column {name!r} needs the name {taken[0]!r} in CSV, which is taken: rename one of them", column=name
            )
    found = jagged_columns(list(owner))
    seen: dict[str, None] = {}
    for name in widths:
        if name not in found or found[name].cells != parts[name]:
            raise SchemaError(
                f"jagged column {name!r} cannot be recovered from numbered columns {', '.join(parts[name])} in CSV: "
                "give it a name like 'Jet_px', without a digit before the last '_', or write to .parquet",
                column=name,
            )
        if collection_of(name) not in seen:
            seen[collection_of(name)] = None
            _check_particles(chunk, owner, name, found[name].objects)


def _check_particles(chunk: Chunk, owner: dict[str, str], name: str, objects: list[list[str]]) -> None:
    """Check that exactly the particles of a collection have a number in one of their cells."""
    there = np.arange(len(objects)) < chunk[name].lengths[:, None]
    told = np.zeros_like(there)
    members = {owner[cell]: None for names in objects for cell in names}
    for column in members:
        values = chunk[column].values
        number = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
        if chunk[column].offsets is None:
            slot = next(i for i, names in enumerate(objects) if column in names)
            told[:, slot] |= number
        else:
            told[there] |= number
    if np.any(wrong := told != there):
        event, slot = np.argwhere(wrong)[0].tolist()
        raise EventError(
            f"the cells {', '.join(objects[slot])} would not show in CSV whether there is a particle, as an empty "
            "cell means NaN or an absent particle: write to .parquet",
            event=event,
            column=name,
        )
