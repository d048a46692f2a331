"""Read HDF5 files, with h5py; `hdf5_layouts` finds the datasets that make up the columns."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np

from ...events.errors import EventError, SchemaError
from ..columns.jagged import Jagged
from .hdf5_cells import Cells, missing_filters, vlen_type
from .hdf5_layouts import HDF5_COUNTER, catalogue_of
from .tables import Catalogue, Columns, Format, Source, collection_of, counter_of

__all__ = ["HDF5", "HDF5_COUNTER"]

_EVENTS_PER_GROUP = 1 << 13  # at least, if chunks are smaller; twice that, without chunks


class _Hdf5Source(Source):
    """An HDF5 file. It has as many events as most of its columns; its groups are rows of chunks."""

    def __init__(self, path: str, _tree: str) -> None:
        import h5py

        self._file = h5py.File(path, "r", locking="best-effort")
        try:
            self.catalogue: Catalogue = catalogue_of(self._file)
            lengths = Counter(len(column.source.block) for column in self.catalogue.values() if column.numeric)
            self.num_events = lengths.most_common(1)[0][0] if lengths else 0
            self.groups = self._groups()
            self._heaps_checked = False
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def read(self, names: list[str], start: int, stop: int | None) -> Columns:
        if not self._heaps_checked and any(vlen_type(self.catalogue[name].source) is not None for name in names):
            _check_heaps(self._file)
            self._heaps_checked = True
        return _Range(self.catalogue, start, stop, self.num_events).columns(names)

    def _groups(self) -> np.ndarray:
        columns = [column.source.block for column in self.catalogue.values() if column.numeric]
        blocks = [block for block in columns if len(block) == self.num_events]
        if not blocks:
            return np.zeros(1, dtype=np.int64)
        block = max(blocks, key=lambda block: block.num_bytes)
        edges = [np.arange(a, b, block.chunk_rows(2 * _EVENTS_PER_GROUP)) for a, b in pairwise(block.starts)]
        starts = np.unique(np.concatenate([*edges, [self.num_events]]).astype(np.int64))
        # small chunks are joined; parts (folds) always begin a group
        keep, last = [], -_EVENTS_PER_GROUP
        for edge in starts.tolist():
            if edge == self.num_events or edge in block.starts or edge - last >= _EVENTS_PER_GROUP:
                keep.append(edge)
                last = edge
        return np.asarray(keep, dtype=np.int64)


class _Range:
    """Events start..stop of a file; data that several columns need are read once."""

    def __init__(self, catalogue: Catalogue, start: int, stop: int | None, num_events: int) -> None:
        self._catalogue, self._start, self._stop, self._num_events = catalogue, start, stop, num_events
        self._blocks: dict[tuple[int, str | None], np.ndarray] = {}
        self._masks: dict[tuple[int, str | None], np.ndarray] = {}

    def columns(self, names: list[str]) -> Columns:
        collections: dict[tuple[str, int], list[str]] = {}
        for name in names:
            source = self._catalogue[name].source
            if self._stop is not None and len(source.block) != self._num_events:
                raise SchemaError(
                    f"column {name!r} must have {self._num_events} events, as most others, to be read with them, got "
                    f"{len(source.block)}",
                    column=name,
                )
            own = id(source.block) if source.in_cube else 0  # which marks its particles by itself
            collections.setdefault((collection_of(name), own), []).append(name)
        columns: Columns = {}
        for (collection, own), wanted in collections.items():
            columns |= {name: self._numbers(name) for name in wanted}
            padded = {name: columns[name] for name in wanted if self._catalogue[name].source.axes == 2}
            if padded:
                present = self._cube_present(wanted[0]) if own else self._present(collection, padded)
                for name, matrix in padded.items():
                    if matrix.shape != present.shape:
                        raise self._not_alike(next(iter(padded)), name)
                    columns[name] = Jagged.from_matrix(matrix, present).to_awkward()
        return columns

    def _raw(self, source: Cells) -> np.ndarray:
        key = id(source.block), source.field
        if key not in self._blocks:
            self._blocks[key] = source.block.read(source.field, self._start, self._stop)
        return self._blocks[key]

    def _numbers(self, name: str) -> Any:
        source = self._catalogue[name].source
        try:
            array = self._raw(source)
        except OSError as error:
            filters = missing_filters(source.block.datasets[0])
            if not filters:
                raise
            raise SchemaError(
                f"column {name!r} is compressed with {', '.join(filters)}, which h5py lacks: pip install hdf5plugin",
                column=name,
            ) from error
        if (number := vlen_type(source)) is not None:
            lengths = np.frompyfunc(len, 1, 1)(array).astype(np.int64)
            values = np.concatenate([np.empty(0, number), *array])
            return Jagged.from_lengths(values.astype(number.newbyteorder("="), copy=False), lengths).to_awkward()
        array = array[(slice(None), *source.take)]
        return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))

    def _cube_present(self, name: str) -> np.ndarray:
        """Mark each (event, slot) of a dataset of 3 axes with a particle: by its mask, or not all NaN or all 0."""
        source = self._catalogue[name].source
        key = id(source.block), source.field
        if key not in self._masks:
            if source.mask is None:
                cube = self._raw(source)
                self._masks[key] = ~(np.all(cube == 0, axis=-1) | np.all(cube != cube, axis=-1))
            else:
                mask = self._raw(source.mask)[(slice(None), *source.mask.take)]
                self._masks[key] = self._checked_mask(f"the mask of {name!r}", mask)
        return self._masks[key]

    def _checked_mask(self, what: str, mask: np.ndarray) -> np.ndarray:
        if mask.dtype.kind != "b" and np.any(wrong := (mask != 0) & (mask != 1)):
            event, slot = np.argwhere(wrong)[0].tolist()
            raise EventError(f"{what} must be 0 or 1, got {mask[event, slot]}", event=self._start + event)
        return mask.astype(bool)

    def _present(self, collection: str, padded: Columns) -> np.ndarray:
        """Mark each (event, slot) with a particle: by the counter, the mask, or the NaNs of the whole collection."""
        name, shape = next((name, matrix.shape) for name, matrix in padded.items())
        counter = self._catalogue.get(counter_of(collection))
        lengths = self._numbers(counter_of(collection)) if counter and counter.numeric else None
        if isinstance(lengths, np.ndarray) and lengths.ndim == 1:
            return self._counted(collection, name, shape, lengths)
        mask = self._catalogue.get(f"{collection}_mask")
        if mask and mask.numeric and mask.source.axes == 2 and not mask.source.in_cube:
            matrix = self._numbers(f"{collection}_mask")
            if matrix.shape == shape:
                return self._checked_mask(f"the mask {collection + '_mask'!r}", matrix)
        absent = None
        for sibling, column in self._catalogue.items():
            if (
                collection_of(sibling) != collection
                or not column.numeric
                or column.source.axes != 2
                or column.source.in_cube
            ):
                continue
            matrix = padded[sibling] if sibling in padded else self._numbers(sibling)
            if matrix.shape != shape:
                raise self._not_alike(name, sibling)
            if matrix.dtype.kind == "f":  # integers have no NaN: the other columns decide
                absent = np.isnan(matrix) if absent is None else absent & np.isnan(matrix)
        return np.ones(shape, dtype=bool) if absent is None else ~absent

    def _counted(self, collection: str, name: str, shape: tuple[int, ...], lengths: np.ndarray) -> np.ndarray:
        # a count above the number of slots is fine: the excess was cut off when the file was written
        counter, wrong = counter_of(collection), ~((lengths >= 0) & (lengths == np.floor(lengths)))
        if len(lengths) != shape[0] or np.any(wrong):
            aligned = len(lengths) == shape[0]
            has = lengths[wrong][0] if aligned else f"{len(self._catalogue[counter].source.block)} entries"
            raise EventError(
                f"{counter!r}, the counter of {name!r} of shape {self._shape(name)}, must have a whole number from "
                f"0 for each event, got {has}: correct or rename it",
                event=self._start + int(np.argmax(wrong)) if aligned else None,
                column=counter,
            )
        present: np.ndarray = np.arange(shape[1]) < lengths[:, None]
        return present

    def _not_alike(self, one: str, other: str) -> SchemaError:
        return SchemaError(
            f"columns {one!r} and {other!r} of one collection must have the same shape, got {self._shape(one)} and "
            f"{self._shape(other)}",
            column=other,
        )

    def _shape(self, name: str) -> tuple[int, ...]:
        block = self._catalogue[name].source.block
        return (len(block), *self._numbers(name).shape[1:])


def _check_heaps(file: Any) -> None:
    """Refuse heaps of lists on which libhdf5 would loop forever (HDFGroup/hdf5, issue 1707)."""
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
            raise SchemaError("its lists are corrupt (an endless heap): if other programs can read it, run h5repack")
        at = at + step.astype(np.int64)


HDF5 = Format("HDF5", b"\x89HDF", _Hdf5Source)
