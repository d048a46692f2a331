"""Tables of numbers as tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...events.errors import SchemaError, near

__all__ = ["table_to_tensor"]


def table_to_tensor(table: Any, names: Sequence[str] | None = None) -> Tensor:
    """Return a table as a tensor: a tensor or an array unchanged, a DataFrame by the names of its columns.

    Raises
    ------
    SchemaError
        If the DataFrame lacks a column.
    TypeError
        If it is not a table of numbers.

    Examples
    --------
    >>> import pandas
    >>> table_to_tensor(pandas.DataFrame({"b": [2.0], "a": [1.0]}), ["a", "b"])
    tensor([[1., 2.]], dtype=torch.float64)
    """
    if isinstance(table, Tensor):
        return table
    frame = hasattr(table, "columns")
    for name in names if frame and names is not None else ():
        if (times := list(table.columns).count(name)) != 1:
            fault = "occurs more than once" if times else f"is missing: {near(name, map(str, table.columns))}"
            raise SchemaError(f"column {name!r} {fault}", column=name)
    table = table[list(names)] if frame and names is not None else table
    array: Any = np.asarray(table)
    if isinstance(table, np.ma.MaskedArray):
        array = np.ma.filled(table.astype(np.float64), np.nan)
    elif frame and array.dtype == object and all(dtype.kind in "biuf" for dtype in table.dtypes):
        array = table.to_numpy(np.float64, na_value=np.nan)  # booleans beside numbers
    if array.dtype.kind not in "fiub":
        raise TypeError(f"the table must hold numbers, got {type(table).__name__} of {array.dtype}")
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
