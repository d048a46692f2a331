"""Read ROOT files, with uproot."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..schema import SchemaError
from .tables import Catalogue, Column, Columns, Format, unique_names

__all__ = ["ROOT", "ROOT_COUNTERS"]

_ROOT_NUMBER = (
    r"(?:std::)?(?:bool|float|double|(?:(?:un)?signed )?(?:char|short|int|long(?: long)?)|u?int(?:8|16|32|64)_t"
    r"|Double32_t|Float16_t|U?Long64_t)"
)


_ROOT_TYPE = re.compile(
    rf"{_ROOT_NUMBER}(?:\[\d*\])?|(?:(?:std::)?vector|ROOT::(?:VecOps::)?RVec|ROOT::RNTupleCardinality)<{_ROOT_NUMBER}>"
)


ROOT_COUNTERS = "; counters: "  # in the title of a tree: the counters that the writer added


@contextmanager
def _open_root(path: str, tree: str) -> Iterator[Any]:
    import uproot

    with uproot.open({path: None}) as file:
        classes = file.classnames(recursive=True, cycle=False)
        trees = [name for name, class_ in classes.items() if re.search(r"TTree|TNtuple|RNTuple", class_)]
        if not tree and ("Events" in trees or len(trees) == 1):
            tree = "Events" if "Events" in trees else trees[0]
        if tree.partition(";")[0] not in trees:
            wrong = f"has no tree {tree!r}" if tree else f"has {len(trees)} trees and none is called Events"
            raise SchemaError(f"the file {wrong}; name one as {path}:Tree, there are: {', '.join(trees) or 'none'}")
        yield file[tree]


def _catalogue_root(tree: Any) -> Catalogue:
    import uproot

    added = getattr(tree, "title", "").partition(ROOT_COUNTERS)[2].split(", ")
    items = []
    for full, branch in tree.items():
        name = branch.name if isinstance(branch, uproot.TBranch) else full
        numeric = _ROOT_TYPE.fullmatch(branch.typename) is not None
        items.append((name, full, Column(branch, branch.typename, numeric, name in added)))
    return unique_names(items)


def _read_root(_tree: Any, catalogue: Catalogue, names: list[str]) -> Columns:
    return {name: catalogue[name].source.array(library="ak") for name in names}


ROOT = Format("ROOT", b"root", _open_root, _catalogue_root, _read_root)
