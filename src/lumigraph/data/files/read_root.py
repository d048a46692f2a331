"""Read ROOT files, with uproot."""

import re
import weakref
from typing import Any

import numpy as np

from ...events.errors import SchemaError
from .tables import Catalogue, Column, Columns, Format, Source, first_line, unique_names

__all__ = ["ROOT", "ROOT_COUNTERS"]

_ROOT_NUMBER = (
    r"(?:std::)?(?:bool|float|double|(?:(?:un)?signed )?(?:char|short|int|long(?: long)?)|u?int(?:8|16|32|64)_t"
    r"|Double32_t|Float16_t|U?Long64_t)"
)


_ROOT_TYPE = re.compile(
    rf"{_ROOT_NUMBER}(?:\[\d*\])?|(?:(?:std::)?vector|ROOT::(?:VecOps::)?RVec|ROOT::RNTupleCardinality)<{_ROOT_NUMBER}>"
)


ROOT_COUNTERS = "; counters: "  # in the title of a tree: the counters added by the writer

_MAX_REMAINDERS = 8  # of a column: ranges that can be read in turn without decoding a basket twice


class _RootSource(Source):
    """A tree. The rest of a basket (RNTuple: cluster) after a range is kept for the next range."""

    def __init__(self, path: str, tree: str) -> None:
        import uproot

        # no cache, which would keep whole ranges, and no threads, which would keep baskets waiting
        source = uproot.source.file.MultithreadedFileSource
        self._file = uproot.open({path: None}, array_cache=None, handler=source, use_threads=False)
        self._close = weakref.finalize(self, self._file.close)  # at the latest when it is garbage-collected
        try:
            self._tree = self._file[_name_of_tree(self._file, path, tree)]
            self.catalogue: Catalogue = _catalogue(self._tree)
            self.num_events = int(self._tree.num_entries)
            self.groups = self._groups()
        except BaseException:
            self.close()
            raise
        self._edges: dict[str, np.ndarray] = {}
        self._remainders: dict[str, dict[int, Any]] = {}

    def close(self) -> None:
        self._close()

    def read(self, names: list[str], start: int, stop: int | None) -> Columns:
        stop = self.num_events if stop is None else stop
        return {name: self._column(name, start, stop) for name in names}

    def _column(self, name: str, start: int, stop: int) -> Any:
        import awkward as ak

        if name not in self._edges:
            self._edges[name] = self._edges_of(self.catalogue[name].source)
        edges = self._edges[name]
        remainders = self._remainders.setdefault(name, {})
        rest = remainders.pop(start, None)
        if rest is not None and start + len(rest) >= stop:
            array, begin = rest, start
        else:
            # extended to whole baskets, after what an earlier range left over
            begin = start if rest is None else start + len(rest)
            begin = int(edges[np.searchsorted(edges, begin, "right") - 1])
            array = self._decoded(name, begin, int(edges[np.searchsorted(edges, stop, "left")]))
            if rest is not None:
                array, begin = ak.concatenate([rest, array]), start
        if start < stop < begin + len(array):
            while len(remainders) >= _MAX_REMAINDERS:
                del remainders[next(iter(remainders))]
            left = array[stop - begin :]
            remainders[stop] = left if array is rest else ak.to_packed(left)  # a view would hold the whole range
        return array[start - begin : stop - begin]

    def _decoded(self, name: str, start: int, stop: int) -> Any:
        import awkward as ak

        try:
            array = self.catalogue[name].source.array(entry_start=start, entry_stop=stop, library="ak")
        except MemoryError:
            raise
        except Exception as error:  # corrupt baskets can make uproot raise anything
            raise SchemaError(
                f"column {name!r} cannot be decoded in events {start} to {stop}: the file is truncated or corrupt, get "
                f"or write it again ({type(error).__name__}: {first_line(str(error))})",
                column=name,
            ) from error
        if len(array) != stop - start:
            raise SchemaError(
                f"column {name!r} has {len(array)} entries in events {start} to {stop} of its tree", column=name
            )
        if isinstance(array.type.content, ak.types.RegularType):
            array = ak.from_regular(array, axis=1)
        return array

    def _edges_of(self, branch: Any) -> np.ndarray:
        """Return the first event of each basket or cluster of a branch, and the end of the last one."""
        if hasattr(branch, "entry_offsets"):
            inner = np.asarray(branch.entry_offsets, dtype=np.int64)
        else:
            clusters = self._tree.ntuple.cluster_summaries
            inner = np.asarray([cluster.num_first_entry for cluster in clusters], dtype=np.int64)
        return np.unique(np.concatenate([[0], np.clip(inner, 0, self.num_events), [self.num_events]]))

    def _groups(self) -> np.ndarray:
        """Return where baskets of all numeric columns begin; if there are none, those of the largest column."""
        branches = [column.source for column in self.catalogue.values() if column.numeric]
        if not branches:
            return np.unique([0, self.num_events])
        if not hasattr(branches[0], "entry_offsets"):
            return self._edges_of(branches[0])
        edges = [self._edges_of(branch) for branch in branches]
        common = edges[0]
        for other in edges[1:]:
            common = np.intersect1d(common, other, assume_unique=True)
        if len(common) > 2 or max(map(len, edges)) == 2:
            return common
        return edges[int(np.argmax([branch.uncompressed_bytes for branch in branches]))]


def _name_of_tree(file: Any, path: str, tree: str) -> str:
    classes = file.classnames(recursive=True, cycle=False)
    trees = [name for name, class_ in classes.items() if re.search(r"TTree|TNtuple|RNTuple", class_)]
    if not tree and ("Events" in trees or len(trees) == 1):
        tree = "Events" if "Events" in trees else trees[0]
    if tree.partition(";")[0] not in trees:
        wrong = f"has no tree {tree!r}" if tree else f"has {len(trees)} trees and none is called Events"
        raise SchemaError(f"the file {wrong}: name one as {path}:Tree, out of: {', '.join(trees) or 'none'}")
    return tree


def _catalogue(tree: Any) -> Catalogue:
    import uproot

    added = getattr(tree, "title", "").partition(ROOT_COUNTERS)[2].split(", ")
    found = [(b.name if isinstance(b, uproot.TBranch) else full, full, b) for full, b in tree.items()]
    all_names = {name for name, _, _ in found}
    items = []
    for name, full, branch in found:
        if name.rpartition(".")[0] in all_names:  # the field pt of records Jet, as in an RNTuple and Delphes
            name = name.replace(".", "_")
        numeric = _ROOT_TYPE.fullmatch(branch.typename) is not None
        items.append((name, full, Column(branch, branch.typename, numeric, name in added)))
    return unique_names(items)


ROOT = Format("ROOT", b"root", _RootSource)
