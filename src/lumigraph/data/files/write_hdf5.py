"""Append columns to HDF5 files, with h5py."""

from typing import Any

import numpy as np

from ...events.errors import SchemaError
from .appending import AppendedFile, Chunk, counters
from .read_hdf5 import HDF5_COUNTER

__all__ = ["Hdf5File"]

_BLOCK_BYTES = 1 << 18  # of a dataset, compressed at once
_BLOCK_SLOTS = 16  # a wider event later costs one more narrow block, not a second full width


class Hdf5File(AppendedFile):
    """One dataset per column; those of lists are as wide as the longest list so far."""

    _file: Any = None
    _names: tuple[str, ...] = ()
    _num_events = 0

    def check(self, chunk: Chunk) -> None:
        """Raise a SchemaError if a counter among the columns has other numbers, or HDF5 does not allow a name."""
        _, added = counters(chunk)
        names = [*chunk, *added]
        for name in names:
            if not {"", "."}.isdisjoint(name.split("/")):
                raise SchemaError(
                    f"column {name!r} has an empty part before or after a '/', or a '.': rename it", column=name
                )
            if group := next((name[:i] for i, letter in enumerate(name) if letter == "/" and name[:i] in names), ""):
                raise SchemaError(
                    f"column {name!r} would be in a group {group!r}, which is a column: rename one of them", column=name
                )

    def write(self, chunk: Chunk) -> None:
        """Append a chunk."""
        import h5py

        found, added = counters(chunk)
        arrays = {
            name: column.values if column.offsets is None else column.padded()[0] for name, column in chunk.items()
        }
        arrays |= {name: found[name] for name in added}
        if self._file is None:
            self._file = h5py.File(self.path, "w", libver=("v110", "v110"))  # metadata with checksums
            self._names = tuple(arrays)
            for name, array in arrays.items():
                self._create(name, array)
            for name in added:
                self._file[name].attrs[HDF5_COUNTER] = True
        stop = self._num_events + len(next(iter(arrays.values())))
        for name, array in arrays.items():
            dataset = self._file[name]
            dataset.resize((stop, *np.maximum(dataset.shape, array.shape)[1:]))  # new cells get the fill value
            if array.size:
                dataset[(slice(self._num_events, stop), *(slice(width) for width in array.shape[1:]))] = array
        self._num_events = stop

    def close(self, num_events: int) -> None:
        """Finish the file; cut datasets that a failure left longer than others."""
        if not self._file:
            return
        for name in self._names:
            if len(self._file[name]) > num_events:
                self._file[name].resize(num_events, axis=0)
        self._file.close()

    def _create(self, name: str, array: np.ndarray) -> None:
        width = array.shape[1:]
        slots = tuple(min(w, _BLOCK_SLOTS) for w in width)
        fits = max(_BLOCK_BYTES // (array.itemsize * int(np.prod(slots, dtype=int))), 1)
        self._file.create_dataset(
            name,
            shape=(0, *width),
            maxshape=(None,) * array.ndim,
            dtype=array.dtype,
            chunks=(min(fits, len(array)) or fits, *slots),
            fillvalue=np.nan if array.ndim == 2 and array.dtype.kind == "f" else 0,
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )
