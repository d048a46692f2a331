"""Which datasets of an HDF5 file make up which columns: found from the structure of the file alone."""

from typing import Any, NamedTuple

import numpy as np

from .tables import NUMBERS, Catalogue, Column, unique_names

__all__ = ["HDF5_COUNTER", "Cells", "catalogue_of", "vlen_type"]

HDF5_COUNTER = "counter_of"  # attribute of the counters that the writer added

_JETNET = {
    "particle_features": ("Particle", ("etarel", "phirel", "ptrel", "mask")),
    "jet_features": ("Jet", ("type", "pt", "eta", "mass", "num_particles")),
}
_NAMING = ("features", "feature_names", "columns", "names")  # attributes that name the features of a dataset
_CACHE = 1 << 26  # bytes of chunks that may be kept per dataset, if one row of chunks is not larger than that


class Block:
    """Datasets that follow one another along the axis of events: one, or one per fold."""

    def __init__(self, datasets: list[Any]) -> None:
        self._datasets = datasets
        self.starts: list[int] = np.concatenate([[0], np.cumsum([len(d) for d in datasets], dtype=np.int64)]).tolist()

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def num_bytes(self) -> int:
        return sum(dataset.size * dataset.dtype.itemsize for dataset in self._datasets)

    def chunk_rows(self, otherwise: int) -> int:
        chunks = self._datasets[0].chunks
        return int(chunks[0]) if chunks else otherwise

    def read(self, field: str | None, start: int, stop: int | None) -> np.ndarray:
        stop, parts = len(self) if stop is None else stop, []
        for dataset, begin, end in zip(self._datasets, self.starts[:-1], self.starts[1:], strict=True):
            rows = slice(max(start - begin, 0), max(min(stop, end) - begin, 0))
            if rows.start < rows.stop or (not parts and end == len(self)):
                parts.append((dataset if field is None else dataset.fields(field))[rows])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def missing_filters(self) -> list[str]:
        """Return the filters that the datasets were written with and that h5py cannot undo."""
        import h5py

        plist = self._datasets[0].id.get_create_plist()
        filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        return [
            f"{name.decode(errors='replace') or code}" for code, *_, name in filters if not h5py.h5z.filter_avail(code)
        ]


class Cells(NamedTuple):
    """Where the numbers of a column are."""

    block: Block
    field: str | None = None  # of a structured dataset
    axes: int = 1  # 1: a number per event, 2: padded
    take: tuple[Any, ...] = ()  # indices along the axes behind the one of the events
    in_cube: bool = False  # one of the features of a dataset (events, slots, features)
    features: int = 2  # the axis of the features in it
    mask: Any = None  # Cells that tell its particles


def vlen_type(source: Cells) -> Any:
    """Return the type of the numbers of lists of any length, None for other columns."""
    import h5py

    dtype = source.block._datasets[0].dtype
    return h5py.check_vlen_dtype(dtype if source.field is None else dtype.fields[source.field][0])


def catalogue_of(file: Any) -> Catalogue:
    """List the columns of a file."""
    import h5py

    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    items: list[tuple[str, str, Any]] = []
    for name in names:
        items += _columns_of(name, _opened(file, name))
    return unique_names(items)


def _opened(file: Any, name: str) -> Any:
    """Open a dataset such that a row of its chunks stays decompressed while it is read part by part."""
    import h5py

    dataset = file[name]
    if not dataset.chunks:
        return dataset
    pairs = zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
    row = dataset.chunks[0] * dataset.dtype.itemsize * int(np.prod([-(-n // chunk) * chunk for n, chunk in pairs]))
    del dataset  # a dataset that is open keeps the cache that it has
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(10007, min(8 * row, max(2 * row, _CACHE)), 1.0)
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def _columns_of(name: str, dataset: Any) -> list[tuple[str, str, Any]]:
    """Return (short name, full name, column) of the columns in a dataset."""
    if dataset.shape is None or dataset.shape == ():
        return [(name, name, Column(Cells(Block([])), f"{dataset.dtype} {dataset.shape}", False))]
    block = Block([dataset])
    if dataset.dtype.fields is None or len(dataset.shape) != 1:
        return [(name, name, _plain(block, dataset, dataset.dtype, None))]
    group = name[: name.rfind("/") + 1]
    return [
        (group + field, f"{name}/{field}", _plain(block, dataset, dtype, field))
        for field, (dtype, *_) in dataset.dtype.fields.items()
    ]


def _plain(block: Block, dataset: Any, dtype: Any, field: str | None) -> Column:
    import h5py

    base, inner = dtype.subdtype or (dtype, ())
    shape = (*dataset.shape, *inner)
    number = h5py.check_vlen_dtype(base)  # of lists of any length
    numeric = getattr(number or base, "name", "") in NUMBERS and len(shape) in ((1,) if number else (1, 2))
    return Column(Cells(block, field, len(shape)), f"{dtype} {shape}", numeric, HDF5_COUNTER in dataset.attrs)
