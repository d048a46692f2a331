"""Tables of several libraries, in memory, as named columns."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ...events.errors import SchemaError
from ..columns.jagged import Jagged
from .read_arrow import holds_numbers, numbers_of
from .tables import Columns

__all__ = ["from_library", "memory_columns"]


def memory_columns(table: Any) -> Columns:
    """Return the named columns of a table in memory; plain columns are not copied.

    Parameters
    ----------
    table
        A DataFrame, a mapping of names to columns (also of pandas or pyarrow), an awkward array of records, a NumPy
        structured array or a pyarrow Table. Lists in the cells of a DataFrame become awkward arrays (a
        missing cell is an empty list); records in records, as in ``events.Jet.px``, become ``Jet_px``.

    Raises
    ------
    SchemaError
        If it is none of these, or a name is not a string.

    Examples
    --------
    >>> import pandas as pd
    >>> memory_columns(pd.DataFrame({"ht": [5.0, 6.0], "Jet_px": [[2.0, 3.0], []]}))
    {'ht': array([5., 6.]), 'Jet_px': <Array [[2, 3], []] type='2 * var * float64'>}
    """
    if _is_a(table, "pandas", "DataFrame"):
        pairs = [(name, _from_series(str(name), table.iloc[:, i])) for i, name in enumerate(table.columns)]
    elif _is_a(table, "pyarrow", "Table"):
        pairs = [(name, _from_arrow(name, table.column(i))) for i, name in enumerate(table.column_names)]
    elif _is_a(table, "awkward", "Array") and table.fields:
        pairs = [pair for name in table.fields for pair in _from_records(name, table[name])]
    elif isinstance(table, np.ndarray) and table.dtype.names:
        pairs = [(name, table[name]) for name in table.dtype.names]
    elif isinstance(table, Mapping):
        pairs = [(name, from_library(str(name), values)) for name, values in table.items()]
    else:
        raise SchemaError(
            f"a table must be a DataFrame, a mapping of names to columns, an awkward array of records, a structured "
            f"array or a pyarrow Table, got {type(table).__name__}: give columns by name, as in {{'Jet_px': ...}}"
        )
    for name, times in Counter(name for name, _ in pairs).items():
        if not isinstance(name, str):
            raise SchemaError(f"column names must be strings, got {name!r}: rename it")
        if times > 1:
            raise SchemaError(f"column {name!r} occurs {times} times: rename it", column=name)
    return dict(pairs)


def _is_a(table: Any, module: str, name: str) -> bool:
    """Tell whether a table is of a class of a library, without importing the library."""
    return module in sys.modules and isinstance(table, getattr(sys.modules[module], name))


def from_library(name: str, values: Any) -> Any:
    """Return a column of pandas or pyarrow as numbers or lists, anything else as it is."""
    if _is_a(values, "pandas", "Series"):
        return _from_series(name, values)
    if _is_a(values, "pyarrow", "Array") or _is_a(values, "pyarrow", "ChunkedArray"):
        return _from_arrow(name, values)
    return values


def _from_series(name: str, series: Any) -> Any:
    import pyarrow as pa

    if series.dtype == object:
        return _from_cells(series.to_numpy(), series.isna().to_numpy())
    if not isinstance(series.dtype, np.dtype):
        with suppress(pa.ArrowException):  # pandas' own types may have nulls
            return _from_arrow(name, pa.array(series))
    return series.to_numpy()


def _from_cells(cells: np.ndarray, missing: np.ndarray) -> Any:
    """Return objects as lists of numbers if they are sequences, otherwise unchanged."""
    kinds = set(map(type, cells[~missing]))
    if not len(cells):
        return np.empty(0)
    if not kinds or not all(issubclass(k, Sequence | np.ndarray) and not issubclass(k, str | bytes) for k in kinds):
        return cells
    lengths = np.zeros(len(cells), dtype=np.int64)
    lengths[~missing] = np.frompyfunc(len, 1, 1)(cells[~missing])
    full = list(cells[lengths > 0])
    return Jagged.from_lengths(np.concatenate(full) if full else np.empty(0), lengths).to_awkward()


def _from_arrow(name: str, column: Any) -> Any:
    """Return an arrow column as numbers (null as NaN) or lists, or as objects if it is of another type."""
    import pyarrow as pa

    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if not holds_numbers(column.type):
        return column.to_numpy()
    if column.null_count and not pa.types.is_nested(column.type):
        with suppress(pa.ArrowInvalid):  # integers that would lose digits stay, and are refused later, by name
            column = column.cast(pa.float64())
    return numbers_of(name, column)


def _from_records(name: str, array: Any) -> list[tuple[str, Any]]:
    return [(f"{name}_{field}", array[field]) for field in array.fields] if array.fields else [(name, array)]
