"""Where the numbers of a column are in an HDF5 file."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..columns.jagged import offsets_of
from .tables import Column

__all__ = ["Block", "Cells", "Named", "features_of", "missing_filters", "opened", "vlen_type"]

Named = tuple[str, str, Column]  # the short name of a column, its full name, and the column
_CACHE = 1 << 26  # bytes of chunks kept per dataset, unless one row of chunks is larger


class Block:
    """Datasets concatenated along the axis of events: one, or one per fold."""

    def __init__(self, datasets: list[Any]) -> None:
        self.datasets = datasets
        self.starts: list[int] = offsets_of(np.array([len(d) for d in datasets])).tolist()

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def num_bytes(self) -> int:
        """The size of all cells."""
        return sum(dataset.size * dataset.dtype.itemsize for dataset in self.datasets)

    def chunk_rows(self, otherwise: int) -> int:
        """Return the number of events in a chunk, or ``otherwise`` if there are no chunks."""
        chunks = self.datasets[0].chunks
        return int(chunks[0]) if chunks else otherwise

    def read(self, field: str | None, start: int, stop: int | None) -> np.ndarray:
        """Return events start..stop (None: all), of one field of a structured dataset."""
        stop = len(self) if stop is None else stop
        parts: list[np.ndarray] = []
        for dataset, begin, end in zip(self.datasets, self.starts[:-1], self.starts[1:], strict=True):
            rows = slice(max(start - begin, 0), max(min(stop, end) - begin, 0))
            if rows.start < rows.stop or (not parts and end == len(self)):
                parts.append((dataset if field is None else dataset.fields(field))[rows])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Cells(NamedTuple):
    """Where the numbers of a column are."""

    block: Block
    field: str | None = None  # of a structured dataset
    axes: int = 1  # 1: a number per event, 2: padded
    take: tuple[Any, ...] = ()  # indices along the axes after that of the events
    in_cube: bool = False  # one of the features of a dataset (events, slots, features)
    mask: Any = None  # Cells that mark its particles
    mask_name: str = ""  # the dataset of these cells


def vlen_type(source: Cells) -> Any:
    """Return the type of the numbers of lists of any length, None for other columns."""
    import h5py

    dtype = source.block.datasets[0].dtype
    return h5py.check_vlen_dtype(dtype if source.field is None else dtype.fields[source.field][0])


def features_of(
    name: str, block: Block, dataset: Any, features: Sequence[str], mask: Cells | None = None, mask_name: str = ""
) -> list[Named]:
    """Return the columns ``{name}_{feature}`` of a dataset whose last axis holds the features."""
    axes = len(dataset.shape) - 1
    found: list[Named] = []
    for i, feature in enumerate(features):
        take = (slice(None), i) if axes == 2 else (i,)
        source = Cells(block, None, axes, take, in_cube=axes == 2, mask=mask, mask_name=mask_name)
        implied = mask is not None and mask.take == take
        found.append(
            (
                f"{name}_{feature}",
                f"{name}/{feature}",
                Column(source, f"{dataset.dtype} {dataset.shape}", True, implied),
            )
        )
    return found


def opened(file: Any, name: str) -> Any:
    """Open a dataset so that a row of its chunks stays decompressed while it is read part by part."""
    import h5py

    dataset = file[name]
    if not dataset.chunks:
        return dataset
    pairs = zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
    row = dataset.chunks[0] * dataset.dtype.itemsize * int(np.prod([-(-n // chunk) * chunk for n, chunk in pairs]))
    del dataset  # an open dataset would keep its old cache
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(10007, min(8 * row, max(2 * row, _CACHE)), 1.0)
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def missing_filters(dataset: Any) -> list[str]:
    """Return the filters of a dataset that h5py cannot decode."""
    import h5py

    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    return [name.decode(errors="replace") or str(code) for code, *_, name in filters if not h5py.h5z.filter_avail(code)]
