"""Read Parquet and CSV files, with pyarrow."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from ..schema import SchemaError
from .tables import Catalogue, Column, Columns, Format, not_a_column, trimmed, unflatten

__all__ = ["CSV", "PARQUET", "jagged_columns"]


def _is_arrow_number(type_: Any) -> bool:
    import pyarrow.types as pt

    # a column of nothing but nulls has the type null
    return any(test(type_) for test in (pt.is_integer, pt.is_floating, pt.is_boolean, pt.is_null))


def _open_parquet(path: str, _tree: str) -> AbstractContextManager[Any]:
    import pyarrow.parquet

    file: AbstractContextManager[Any] = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    return file


def _catalogue_parquet(file: Any) -> Catalogue:
    import pyarrow.types as pt

    def numeric(type_: Any) -> bool:
        if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_):
            type_ = type_.value_type
        return _is_arrow_number(type_)

    return {field.name: Column(None, str(field.type), numeric(field.type)) for field in file.schema_arrow}


def _read_parquet(file: Any, _catalogue: Catalogue, names: list[str]) -> Columns:
    import pyarrow as pa
    import pyarrow.compute as pc

    def numbers(name: str, column: Any) -> np.ndarray:
        if pa.types.is_null(column.type):
            column = column.cast(pa.float64())
        if column.null_count and not pa.types.is_floating(column.type):
            raise SchemaError(
                f"column {name!r} is of type {column.type} and has {column.null_count} nulls, for which such "
                "numbers have no NaN; fill them or write the column as floating point"
            )
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        array: np.ndarray = column.to_numpy()  # nulls become NaN
        return array

    table = file.read(columns=names)
    table.validate(full=True)
    columns = {}
    for name in names:
        column = table.column(name)
        if pa.types.is_nested(column.type):
            lengths = pc.list_value_length(column).fill_null(0).to_numpy()
            columns[name] = unflatten(numbers(name, pc.list_flatten(column)), lengths)
        else:
            columns[name] = numbers(name, column)
    return columns


_CSV_BLOCK = 1 << 23  # bytes; a line must fit into it, and the first block tells the types


_CELL = re.compile(r"(.*\D)(0|[1-9]\d*)_(.*)")  # Jet, 0, px


class _Slots(NamedTuple):
    cells: list[str]  # the flat columns of a jagged one, slot by slot
    objects: list[list[str]]  # all flat columns of the object, slot by slot


def jagged_columns(names: Sequence[str]) -> dict[str, Any]:
    """Find the jagged columns that flat columns ``Jet0_px, Jet1_px, ...`` make up, each with its `_Slots`."""
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
                found[f"{object_}_{feature}" if feature else object_] = _Slots(cells, everything)
    return found


def _open_csv(path: str, _tree: str) -> AbstractContextManager[Any]:
    return nullcontext(path)  # it is read from its beginning twice


def _csv_stream(path: str) -> Any:
    import pyarrow as pa

    return pa.input_stream(path, compression="gzip" if path.lower().endswith(".gz") else None)


def _catalogue_csv(path: str) -> Catalogue:
    import pyarrow.csv

    options = pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK)
    with _csv_stream(path) as stream, pyarrow.csv.open_csv(stream, options) as reader:
        schema = reader.schema
    if repeated := [name for name, times in Counter(schema.names).items() if times > 1]:
        raise SchemaError(f"column {repeated[0]!r} stands there {schema.names.count(repeated[0])} times; rename it")
    numeric = {field.name for field in schema if _is_arrow_number(field.type)}
    jagged = {name: slots for name, slots in jagged_columns(schema.names).items() if name not in schema.names}
    jagged = {name: slots for name, slots in jagged.items() if numeric.issuperset(slots.cells)}
    cells = {cell for slots in jagged.values() for cell in slots.cells}
    flat = {f.name: Column(f.name, str(f.type), f.name in numeric, f.name in cells) for f in schema}
    return flat | {name: Column(slots, "numbered columns", True) for name, slots in jagged.items()}


def _read_csv(path: str, catalogue: Catalogue, names: list[str]) -> Columns:
    import pyarrow.csv

    sources = {name: catalogue[name].source for name in names}
    flat = {name for name, source in sources.items() if isinstance(source, str)}
    for source in sources.values():
        flat.update(*(() if isinstance(source, str) else source.objects))
    if not flat:
        return {}  # no name at all would mean every column
    options = pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK)
    with _csv_stream(path) as stream:
        only = pyarrow.csv.ConvertOptions(include_columns=sorted(flat))
        table = pyarrow.csv.read_csv(stream, options, convert_options=only)
    empty = {name: table[name].is_null(nan_is_null=True).to_numpy() for name in flat}
    columns: Columns = {}
    for name, source in sources.items():
        if isinstance(source, str):
            columns[name] = _csv_numbers(table, [source], np.zeros(1, bool), empty)[:, 0]
        else:
            absent = np.stack([np.all([empty[cell] for cell in cells], axis=0) for cells in source.objects], axis=1)
            columns[name] = trimmed(_csv_numbers(table, source.cells, absent, empty), ~absent)
    return columns


def _csv_numbers(table: Any, names: list[str], absent: np.ndarray, empty: dict[str, np.ndarray]) -> np.ndarray:
    """Return flat columns side by side; integers stay integers unless a cell that is not absent is empty."""
    import pyarrow as pa

    arrays = []
    for name in names:
        column = table[name]
        if pa.types.is_null(column.type):
            arrays.append(np.zeros(len(column), dtype=bool))  # takes the type of its neighbours
        elif pa.types.is_boolean(column.type):
            arrays.append(column.cast(pa.int8()).fill_null(0).to_numpy())
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            arrays.append(column.fill_null(0).to_numpy())
        else:  # only further down than the part of the file that the catalogue has looked at
            raise not_a_column(name, column.type)
    matrix = np.stack(arrays, axis=1)
    holes = np.stack([empty[name] for name in names], axis=1) & ~absent
    if matrix.dtype == bool or holes.any():
        matrix = matrix.astype(np.float64)
        matrix[holes] = np.nan
    return matrix


PARQUET = Format("Parquet", b"PAR1", _open_parquet, _catalogue_parquet, _read_parquet)


CSV = Format("CSV", b"", _open_csv, _catalogue_csv, _read_csv)
