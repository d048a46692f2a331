"""Read event files into named columns: ROOT, Parquet, HDF5 and CSV give the same `dict` of awkward arrays.

A column holds one entry per event: a number, or a list of numbers (*jagged*, one number per particle). The columns
``Jet_px`` and ``Jet_py`` belong to the collection ``Jet`` (everything before the last ``_``), whose lists have the
same lengths in an event. Formats without lists keep them padded: the slots of an event that hold no particle are
found per collection, and dropped.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..schema import SchemaError, near
from .read_arrow import CSV, PARQUET
from .read_hdf5 import HDF5
from .read_root import ROOT
from .tables import Columns, checked_columns, first_line, not_a_column

__all__ = ["column_names", "format_of", "read_columns"]

_FORMATS = {
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".root": ROOT,
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".csv": CSV,
    ".csv.gz": CSV,
}


def column_names(path: str | os.PathLike[str]) -> list[str]:
    """List the columns that can be read from a file, from its metadata alone.

    Parameters
    ----------
    path
        As in :func:`read_columns`.

    Returns
    -------
    list of str
        The numeric columns. A CSV file with numbered columns lists ``Jet0_px``, ``Jet1_px`` and also ``Jet_px``.

    Raises
    ------
    SchemaError
        If the file is not what its suffix says, or is empty, truncated or corrupt.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     column_names(write_columns(f"{folder}/events.csv", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]}))
    ['ht', 'Jet0_px', 'Jet1_px', 'Jet_px']
    """
    with _opened(path) as (format_, file):
        return [name for name, column in format_.catalogue(file).items() if column.numeric]


def read_columns(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Columns:
    """Read columns of a file, each an awkward array with one entry per event.

    Parameters
    ----------
    path
        ``.root``, ``.parquet``, ``.pq``, ``.h5``, ``.hdf5``, ``.csv`` or ``.csv.gz``; a tree of a ROOT file is
        given as ``file.root:Tree`` (default: the only one, or ``Events``).
    columns
        Names, in the order wanted. None: all numeric columns, each once: without the flat columns that make up
        jagged ones in CSV, and without the counters that :func:`~lumigraph.data.writers.write_columns` added.

    Returns
    -------
    dict of ak.Array
        Arrays of type ``n * number`` or ``n * var * number``, in the number type of the file; booleans as int8.

    Raises
    ------
    SchemaError
        If the file is empty, truncated, corrupt or not what its suffix says; if a column is missing, is not
        numeric, is nested twice or has nulls where there is no NaN; if columns do not have the same number of
        events, or the lists of a collection not the same lengths.
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    **Padded columns.** In HDF5 a dataset of shape (events, slots) is jagged. With a counter (``nJet`` for the
    collection ``Jet``) the first so many slots are particles; without one, a slot is absent where every
    floating-point column of its collection is NaN. In CSV the columns ``Jet0_px, Jet1_px, ...``, numbered from 0,
    make up ``Jet_px``, and a slot is absent where all cells of the object are empty or NaN. A NaN in a part of a
    particle stays.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.root", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]})
    ...     read_columns(f"{path}:Events", ["Jet_px", "nJet"])
    {'Jet_px': <Array [[20, 30], []] type='2 * var * float64'>, 'nJet': <Array [2, 0] type='2 * int32'>}
    """
    if isinstance(columns, str):
        raise TypeError(f"columns must be a sequence of names, got the string {columns!r}; write [{columns!r}]")
    with _opened(path) as (format_, file):
        catalogue = format_.catalogue(file)
        if columns is None:
            columns = [name for name, column in catalogue.items() if column.numeric and not column.implied]
        for name in columns:
            if name not in catalogue:
                raise SchemaError(f"there is no column {name!r}; {near(name, catalogue)}")
            if not catalogue[name].numeric:
                raise not_a_column(name, catalogue[name].type)
        read = format_.read(file, catalogue, list(dict.fromkeys(columns)))
        return checked_columns({name: read[name] for name in columns})


def format_of(path: str) -> tuple[str, str]:
    """Return the suffix of a path and the format that it stands for."""
    for suffix, format_ in sorted(_FORMATS.items(), key=lambda item: -len(item[0])):
        if path.lower().endswith(suffix):
            return suffix, format_.kind
    raise SchemaError(f"{path}: the suffix must say the format, one of {', '.join(_FORMATS)}")


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """Open a file, yield its `Format` and it; whatever goes wrong with it until it is closed becomes a SchemaError."""
    name, tree = os.fspath(path), ""
    if (parts := re.fullmatch(r"(.+\.root):(.+)", name, re.IGNORECASE)) and not os.path.exists(name):
        name, tree = parts.groups()
    format_ = _FORMATS[format_of(name)[0]]
    if os.path.isdir(name):
        raise SchemaError(f"{name} is a directory; give one {format_.kind} file")
    with open(name, "rb") as file:
        head = file.read(len(format_.magic) or 1)
    if not head:
        raise SchemaError(f"{name} is empty (0 bytes); write the {format_.kind} file again")
    try:
        with format_.open(name, tree) as handle:
            yield format_, handle
    except SchemaError as error:
        raise SchemaError(f"{name}: {error}") from error.__cause__
    except Exception as error:  # a corrupt file can make the libraries raise anything
        if not head.startswith(format_.magic[: len(head)]) and not isinstance(error, MemoryError):
            raise SchemaError(f"{name} is no {format_.kind} file, it begins with {head!r}; name it as it is") from error
        raise SchemaError(
            f"{name} cannot be read as {format_.kind}: it is truncated or corrupt, get or write it again "
            f"({type(error).__name__}: {first_line(str(error))})"
        ) from error
