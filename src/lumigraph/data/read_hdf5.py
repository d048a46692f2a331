"""Read HDF5 files, with h5py."""

import re
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ..schema import SchemaError
from .tables import (
    NUMBERS,
    Catalogue,
    Column,
    Columns,
    Format,
    collection_of,
    counter_of,
    trimmed,
    unflatten,
    unique_names,
)

__all__ = ["HDF5", "HDF5_COUNTER"]

HDF5_COUNTER = "counter_of"  # attribute of the counters that the writer added


def _open_hdf5(path: str, _tree: str) -> AbstractContextManager[Any]:
    import h5py

    file: AbstractContextManager[Any] = h5py.File(path, "r", locking="best-effort")
    return file


class _Dataset(NamedTuple):
    dataset: Any
    field: str | None  # of a structured dataset
    axes: int
    number: Any  # the type of the numbers, where the entries are lists of any length


def _catalogue_hdf5(file: Any) -> Catalogue:
    import h5py

    items: list[tuple[str, str, Any]] = []

    def add(short: str, full: str, dataset: Any, dtype: Any, field: str | None) -> None:
        base, inner = dtype.subdtype or (dtype, ())
        shape = (*(dataset.shape or ()), *inner)
        number = h5py.check_vlen_dtype(base)  # of lists of any length
        numeric = getattr(number or base, "name", "") in NUMBERS and len(shape) in ((1,) if number else (1, 2))
        source = _Dataset(dataset, field, len(shape), number)
        items.append((short, full, Column(source, f"{dtype} {shape}", numeric, HDF5_COUNTER in dataset.attrs)))

    def visit(name: str, dataset: Any) -> None:
        if not isinstance(dataset, h5py.Dataset):
            return
        if dataset.dtype.fields is None or len(dataset.shape or ()) != 1:
            return add(name, name, dataset, dataset.dtype, None)
        group = name[: name.rfind("/") + 1]
        for field, (dtype, *_) in dataset.dtype.fields.items():
            add(group + field, f"{name}/{field}", dataset, dtype, field)

    file.visititems(visit)
    return unique_names(items)


def _read_hdf5(file: Any, catalogue: Catalogue, names: list[str]) -> Columns:
    if any(catalogue[name].source.number is not None for name in names):
        _check_heaps(file)
    collections: dict[str, list[str]] = {}
    for name in names:
        collections.setdefault(collection_of(name), []).append(name)
    columns: Columns = {}
    for collection, wanted in collections.items():
        columns |= {name: _hdf5_numbers(catalogue[name]) for name in wanted}
        if padded := {name: columns[name] for name in wanted if catalogue[name].source.axes == 2}:
            present = _hdf5_present(catalogue, collection, padded)
            columns |= {name: trimmed(matrix, present) for name, matrix in padded.items()}
    return columns


def _hdf5_numbers(column: Column) -> Any:
    dataset, field, _, number = column.source
    array = dataset[()] if field is None else dataset.fields(field)[()]
    if number is None:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    lengths = np.frompyfunc(len, 1, 1)(array).astype(np.int64)
    values = np.concatenate([np.empty(0, number), *array])
    return unflatten(values.astype(number.newbyteorder("="), copy=False), lengths)


def _check_heaps(file: Any) -> None:
    """Refuse heaps of lists over which libhdf5 would loop forever (HDFGroup/hdf5, issue 1707)."""
    if file.id.get_create_plist().get_sizes()[1] != 8:
        return
    image = np.memmap(file.filename, mode="r")
    start = np.array([match.start() for match in re.finditer(rb"GCOL\x01\0\0\0", image.data)], dtype=np.int64)

    def word(at: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image[at[:, None] + np.arange(8)]).view("<u8")[:, 0]

    start = start[start + 16 <= len(image)]
    end = np.minimum(start + word(start + 8), len(image)).astype(np.int64)
    at = start + 16
    while len(at):  # one step from object to object, in all heaps at once
        at, end = (numbers[at + 16 <= end] for numbers in (at, end))
        size = word(at + 8)
        is_object = image[at] | image[at + 1] != 0  # object 0 is the free space: its size includes its header
        step = np.where(is_object, 16 + (size + 7) // 8 * 8, size)
        if np.any((step == 0) | (step > 1 << 62)):
            raise SchemaError("its lists are corrupt (a heap without end); if other programs can read it, run h5repack")
        at = at + step.astype(np.int64)


def _hdf5_present(catalogue: Catalogue, collection: str, padded: Columns) -> np.ndarray:
    """Tell which (event, slot) holds a particle: the counter says so, or else the collection's NaNs together."""
    name, shape = next((name, matrix.shape) for name, matrix in padded.items())
    counter = catalogue.get(counter_of(collection))
    lengths = _hdf5_numbers(counter) if counter and counter.numeric else None
    if isinstance(lengths, np.ndarray) and lengths.ndim == 1 and lengths.dtype.kind in "iu":
        if len(lengths) != shape[0] or np.any(wrong := (lengths < 0) | (lengths > shape[1])):
            event = f", {lengths[wrong][0]} in event {np.argmax(wrong)}" if len(lengths) == shape[0] else ""
            raise SchemaError(
                f"{counter_of(collection)!r} counts the particles of column {name!r} of shape {shape}, but has "
                f"{len(lengths)} entries{event}; it must have one from 0 to {shape[1]} per event"
            )
        return np.arange(shape[1]) < lengths[:, None]
    absent = None
    for sibling, column in catalogue.items():
        if collection_of(sibling) != collection or not column.numeric or column.source.axes != 2:
            continue
        matrix = padded[sibling] if sibling in padded else _hdf5_numbers(column)
        if matrix.shape != shape:
            raise SchemaError(
                f"columns {name!r} and {sibling!r} belong to one collection, but have shapes {shape} and "
                f"{matrix.shape}; the padded columns of a collection must have the same shape"
            )
        if matrix.dtype.kind == "f":  # integers have no NaN: they are absent where the others are
            absent = np.isnan(matrix) if absent is None else absent & np.isnan(matrix)
    return np.ones(shape, dtype=bool) if absent is None else ~absent


HDF5 = Format("HDF5", b"\x89HDF", _open_hdf5, _catalogue_hdf5, _read_hdf5)
