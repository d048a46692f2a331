"""Append columns to ROOT files, with uproot."""

from typing import Any

import numpy as np

from ..columns.jagged import Jagged
from .appending import AppendedFile, Chunk, counters
from .read_root import ROOT_COUNTERS
from .tables import collection_of, counter_of

__all__ = ["RootFile"]

_RECORD = " *"  # suffix of the name of a collection; its branches do not show it


class RootFile(AppendedFile):
    """A tree ``Events``; each chunk becomes one basket per branch, and each collection has one counter."""

    _file: Any = None
    _tree: Any = None

    def check(self, chunk: Chunk) -> None:
        """Raise a SchemaError if a column has the name of a counter but other numbers."""
        counters(chunk)

    def write(self, chunk: Chunk) -> None:
        """Write a chunk as one basket per branch."""
        branches = _branches(chunk)
        if self._file is None:
            self._open(chunk, branches)
        self._tree.extend(branches)

    def close(self, num_events: int) -> None:
        """Finish the file: the tree counts a basket only once all branches have it."""
        if self._file is not None:
            self._file.close()

    def _open(self, chunk: Chunk, branches: dict[str, Any]) -> None:
        import uproot

        _, added = counters(chunk)
        # float32 hardly compresses: LZ4 is read ten times as fast as zlib, in files a tenth larger
        self._file = uproot.recreate(self.path, compression=uproot.LZ4(1))
        self._tree = self._file.mktree(
            "Events",
            {name: array.type.content if name.endswith(_RECORD) else array.dtype for name, array in branches.items()},
            title="events" + (ROOT_COUNTERS + ", ".join(added) if added else ""),
            counter_name=lambda record: counter_of(record.removesuffix(_RECORD)),
            field_name=lambda _record, field: field,
        )


def _branches(chunk: Chunk) -> dict[str, Any]:
    import awkward as ak

    found, _ = counters(chunk)
    branches: dict[str, Any] = {}
    collections: dict[str, dict[str, Any]] = {}
    for name, column in chunk.items():
        if column.values.dtype == np.float16:  # ROOT has no float16
            column = Jagged(column.values.astype(np.float32), column.offsets)
        if column.offsets is not None:
            collections.setdefault(collection_of(name), {})[name] = column.to_awkward()
        elif name not in found:
            branches[name] = column.values
    return branches | {collection + _RECORD: ak.zip(lists) for collection, lists in collections.items()}
