"""Write named columns to ROOT, Parquet, HDF5 and CSV files, such that the readers give the same columns back."""

import csv
import gzip
import io
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..schema import SchemaError
from .read_arrow import jagged_columns
from .read_hdf5 import HDF5_COUNTER
from .read_root import ROOT_COUNTERS
from .readers import format_of
from .tables import Columns, checked_columns, collection_of, counter_of, number_type

__all__ = ["check_writable", "write_columns"]


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Check that a file can be written, cheaply and without touching anything: do it before long work.

    Parameters
    ----------
    path
        Where :func:`write_columns` shall write. Folders that are missing are made when it does.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is False.
    SchemaError
        If the suffix names no known format.
    IsADirectoryError, NotADirectoryError, PermissionError
        If the path is a folder, or its folder cannot be written to or made.

    Examples
    --------
    >>> check_writable("events.xls")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lumigraph.schema.SchemaError: events.xls: the suffix must say the format, one of .parquet, .pq, ...
    """
    path = Path(path)
    format_of(str(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the name of a file in it")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or replace it with overwrite=True (--overwrite)")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is a file, not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: no permission to write into {folder}")
    return path


def write_columns(path: str | os.PathLike[str], columns: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write columns to a file, all of it or nothing, in the format that the suffix says.

    Parameters
    ----------
    path
        ``.root``, ``.parquet``, ``.pq``, ``.h5``, ``.hdf5``, ``.csv`` or ``.csv.gz``.
    columns
        Names and values, one entry per event each: numbers, or lists of numbers (awkward arrays, NumPy arrays or
        what ``ak.Array`` takes).
    overwrite
        Whether an existing file may be replaced. It is kept as it was if writing fails.

    Returns
    -------
    pathlib.Path
        The path written.

    Raises
    ------
    SchemaError
        If there is no column, one is not numeric, their numbers of events differ, the lists of a collection differ
        in length, or the format cannot hold them.
    FileExistsError
        If the file exists and ``overwrite`` is False; it is checked before anything else.

    Notes
    -----
    **Read back** by name, the columns have the same values, and apart from what follows the same types. Booleans
    are written as int8 and, in ROOT and CSV, float16 as float32.

    **ROOT.** Tree ``Events``. The jagged columns of a collection share the counter ``nJet`` (int32); a column of that
    name must hold the same numbers.

    **HDF5.** A jagged column has shape (events, slots) and is padded with NaN (integers: 0) behind the ``nJet``
    particles that the counter of the collection tells. Data and metadata have checksums.

    **CSV.** A jagged column ``Jet_px`` becomes ``Jet0_px, Jet1_px, ...`` with empty cells for what is absent. It
    cannot keep number types other than int64 and float64, nor integers above 2**63 - 1, nor a particle that is NaN
    in every column; the latter two are errors.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.readers import read_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.parquet", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]})
    ...     read_columns(path)
    {'ht': <Array [50, 0] type='2 * float64'>, 'Jet_px': <Array [[20, 30], []] type='2 * var * float64'>}
    """
    path = check_writable(path, overwrite)
    if not columns:
        raise SchemaError(f"{path} cannot be written: there are no columns; give at least one")
    suffix, kind = format_of(str(path))
    temporary = path.parent / f".{uuid.uuid4().hex}{suffix}"
    try:
        checked = checked_columns(columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[kind](temporary, checked)
        check_writable(path, overwrite)  # it may have come into being meanwhile
        os.replace(temporary, path)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _is_jagged(column: Any) -> bool:
    return bool(column.ndim == 2)


def _flat_and_lengths(column: Any) -> tuple[np.ndarray, np.ndarray]:
    import awkward as ak

    return ak.to_numpy(ak.flatten(column)), ak.to_numpy(ak.num(column)).astype(np.int64)


def _counters(columns: Columns) -> tuple[Columns, dict[str, str]]:
    """Count each collection; return also {counter: collection} for those that are not among the columns."""
    counters: Columns = {}
    added: dict[str, str] = {}
    for name, column in columns.items():
        if not _is_jagged(column):
            continue
        counter, (_, lengths) = counter_of(collection_of(name)), _flat_and_lengths(column)
        counters[counter] = lengths.astype(np.int32)
        if counter not in columns:
            added[counter] = collection_of(name)
        elif _is_jagged(columns[counter]) or not np.array_equal(columns[counter], lengths):
            raise ValueError(
                f"column {counter!r} must hold the numbers of entries of the lists in {name!r}, since this format "
                "uses it as their counter; rename it, or write to .parquet"
            )
    return counters, added


def _padded(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a jagged column as a matrix (events, slots) of one slot or more, and which of its cells are real."""
    flat, lengths = _flat_and_lengths(column)
    present = np.arange(max(lengths.max(initial=0), 1)) < lengths[:, None]
    matrix = np.full(present.shape, np.nan if flat.dtype.kind == "f" else 0, dtype=flat.dtype)
    matrix[present] = flat
    return matrix, present


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    arrays = {}
    for name, column in columns.items():
        if _is_jagged(column):
            flat, lengths = _flat_and_lengths(column)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            arrays[name] = pa.LargeListArray.from_arrays(offsets, pa.array(flat))
        else:
            arrays[name] = pa.array(np.asarray(column))
    pyarrow.parquet.write_table(pa.table(arrays), path, write_page_checksum=True)


_EVENTS_PER_BASKET = 100_000
_RECORD = " *"  # behind the name of a collection; its branches do not show it


def _write_root(path: Path, columns: Columns) -> None:
    import awkward as ak
    import uproot

    counters, added = _counters(columns)
    branches: Columns = {}
    collections: dict[str, Columns] = {}
    for name, column in columns.items():
        if number_type(column) == "float16":  # which ROOT does not have
            column = ak.values_astype(column, np.float32)
        if _is_jagged(column):
            collections.setdefault(collection_of(name), {})[name] = column
        elif name not in counters:
            branches[name] = np.asarray(column)
    types = {name: array.dtype for name, array in branches.items()}
    for collection, lists in collections.items():
        records = ak.zip(lists)
        branches[collection + _RECORD] = records
        types[collection + _RECORD] = records.type.content
    with uproot.recreate(path) as file:
        tree = file.mktree(
            "Events",
            types,
            title="events" + (ROOT_COUNTERS + ", ".join(added) if added else ""),
            counter_name=lambda record: counter_of(record.removesuffix(_RECORD)),
            field_name=lambda _record, field: field,
        )
        for start in range(0, len(next(iter(columns.values()))), _EVENTS_PER_BASKET):
            tree.extend({name: array[start : start + _EVENTS_PER_BASKET] for name, array in branches.items()})


def _write_hdf5(path: Path, columns: Columns) -> None:
    import h5py

    counters, added = _counters(columns)
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    with h5py.File(path, "w", libver=("v110", "v110")) as file:  # whose metadata have checksums

        def write(name: str, array: np.ndarray) -> Any:
            return file.create_dataset(name, data=array, **(filters if array.size else {}))

        for name, column in columns.items():
            write(name, _padded(column)[0] if _is_jagged(column) else np.asarray(column))
        for name in added:
            write(name, counters[name]).attrs[HDF5_COUNTER] = True


def _write_csv(path: Path, columns: Columns) -> None:
    import pyarrow as pa
    import pyarrow.csv

    parts = {
        name: _csv_cells(name, column) if _is_jagged(column) else {name: _csv_texts(np.asarray(column))}
        for name, column in columns.items()
    }
    cells = {cell: texts for part in parts.values() for cell, texts in part.items()}
    _check_csv(columns, parts, cells)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(cells)
    table = pa.table(cells)
    if len(cells) == 1:  # an empty cell would be an empty line, which readers skip
        table = pa.table({name: texts.fill_null("nan") for name, texts in cells.items()})
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with gzip.open(path, "wb", compresslevel=6) if path.suffix.lower() == ".gz" else path.open("wb") as stream:
        stream.write(header.getvalue().encode())
        pyarrow.csv.write_csv(table, stream, options)


def _csv_texts(values: np.ndarray, present: np.ndarray | None = None) -> Any:
    """Return numbers as texts that read back exactly, null where they are NaN or not present."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.dtype == np.uint64 and values.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError("CSV cannot keep integers above 2**63 - 1; write to .parquet")
    if values.dtype.kind != "f":
        return pa.array(values, mask=None if present is None else ~present).cast(pa.string())
    missing = np.isnan(values) if present is None else np.isnan(values) | ~present
    texts = pa.array(values.astype(np.float64), mask=missing).cast(pa.string())
    return pc.replace_substring_regex(texts, r"^(-?\d+)$", r"\1.0")  # or it would read back as an integer


def _csv_cells(name: str, column: Any) -> Columns:
    matrix, present = _padded(column)
    collection = collection_of(name)
    feature = name[len(collection) + 1 :]
    return {f"{collection}{i}_{feature}": _csv_texts(matrix[:, i], present[:, i]) for i in range(matrix.shape[1])}


def _check_csv(columns: Columns, parts: dict[str, Columns], cells: Columns) -> None:
    """Make sure that a reader will find the jagged columns, and the particles in them, from names and cells alone."""
    found = jagged_columns(list(cells))
    for name, part in parts.items():
        if taken := [cell for cell in part if cells[cell] is not part[cell]]:
            raise ValueError(f"column {name!r} needs the name {taken[0]!r} in CSV, which is taken; rename one of them")
        if not _is_jagged(columns[name]):
            continue
        if name not in found or found[name].cells != list(part):
            raise ValueError(
                f"jagged column {name!r} cannot be told from its numbered columns {', '.join(part)} in CSV; give it a "
                "name like 'Jet_px', without a digit before the last '_', or write to .parquet"
            )
        lengths = _flat_and_lengths(columns[name])[1]
        for slot, names in enumerate(found[name].objects):
            empty = np.all([cells[cell].is_null().to_numpy(zero_copy_only=False) for cell in names], axis=0)
            if np.any(wrong := empty != (slot >= lengths)):
                raise ValueError(
                    f"in event {np.argmax(wrong)} the cells {', '.join(names)} would not tell in CSV whether the "
                    "particle is there, as empty stands for NaN and for an absent particle; write to .parquet"
                )


_WRITERS: dict[str, Callable[[Path, Columns], None]] = {
    "Parquet": _write_parquet,
    "ROOT": _write_root,
    "HDF5": _write_hdf5,
    "CSV": _write_csv,
}
