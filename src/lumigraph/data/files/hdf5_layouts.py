"""Columns of an HDF5 file, found from the structure of the file alone."""

import io
import json
import pickle
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from ...events.errors import SchemaError
from ..columns.jagged import NUMBERS
from .hdf5_cells import Block, Cells, Named, features_of, missing_filters, opened
from .tables import Catalogue, Column, unique_names

__all__ = ["HDF5_COUNTER", "catalogue_of"]

HDF5_COUNTER = "counter_of"  # attribute of counters added by the writer

_JETNET = {
    "particle_features": ("Particle", ("etarel", "phirel", "ptrel", "mask")),
    "jet_features": ("Jet", ("type", "pt", "eta", "mass", "num_particles")),
}
_NAMING = ("features", "feature_names", "columns", "names")  # attributes that name the features of a dataset


def catalogue_of(file: Any) -> Catalogue:
    """List the columns of a file."""
    import h5py

    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    datasets = {name: opened(file, name) for name in names if "/_i_" not in f"/{name}"}  # PyTables' search trees
    if any(missing_filters(dataset) for dataset in datasets.values()):
        with suppress(ImportError):
            import_module("hdf5plugin")  # h5py has its filters from now on
    if "fold_0/inputs" in datasets and "meta_data/cont_feats" in datasets:
        return _lumin(datasets)
    items: list[Named] = []
    for name in datasets:
        items += _columns_of(name, datasets)
    masks = {column.source.mask_name for _, _, column in items if column.source.mask_name}
    return unique_names(
        [(short, full, column._replace(implied=True) if full in masks else column) for short, full, column in items]
    )


def _columns_of(name: str, datasets: Mapping[str, Any]) -> list[Named]:
    """Return (short name, full name, column) of the columns in a dataset."""
    dataset = datasets[name]
    group = name[: name.rfind("/") + 1]
    if dataset.shape is None or dataset.shape == ():
        return [(name, name, Column(Cells(Block([])), f"{dataset.dtype} {dataset.shape}", False))]
    block = Block([dataset])
    if dataset.dtype.fields is not None and len(dataset.shape) == 1:
        found: list[Named] = []
        for field, (dtype, *_) in dataset.dtype.fields.items():
            column = _plain(block, dataset, dtype, field)
            if named := _pandas_names(dataset, field, column):
                cells = [Cells(block, field, 1, (i,)) for i in range(len(named))]
                found += [(n, group + n, column._replace(source=c)) for n, c in zip(named, cells, strict=True)]
            else:
                implied = column.implied or (field == "index" and "index_kind" in dataset.attrs)
                short = field if implied and not column.implied else group + field
                found.append((short, f"{name}/{field}", column._replace(implied=implied)))
        return found
    whole = _plain(block, dataset, dataset.dtype, None)
    if jetnet := _jetnet(group, datasets, name):
        features = jetnet[1][-dataset.shape[-1] :]
        mask = Cells(block, take=(slice(None), features.index("mask"))) if "mask" in features else None
        made = features_of(f"{group}{jetnet[0]}", block, dataset, features, mask)
        return [(name, name, whole._replace(numeric=False)), *made]
    if len(dataset.shape) != 3 or dataset.dtype.name not in NUMBERS:
        return [(name, name, whole)]
    mask_name = next(
        (other for other in (f"{name}_mask", f"{group}mask") if _is_mask(datasets.get(other), dataset)), ""
    )
    mask = Cells(Block([datasets[mask_name]])) if mask_name else None
    return [(name, name, whole), *features_of(name, block, dataset, _feature_names(name, datasets), mask, mask_name)]


def _plain(block: Block, dataset: Any, dtype: Any, field: str | None) -> Column:
    import h5py

    base, inner = dtype.subdtype or (dtype, ())
    shape = (*dataset.shape, *inner)
    number = h5py.check_vlen_dtype(base)  # of lists of any length
    numeric = getattr(number or base, "name", "") in NUMBERS and len(shape) in ((1,) if number else (1, 2))
    return Column(Cells(block, field, len(shape)), f"{dtype} {shape}", numeric, HDF5_COUNTER in dataset.attrs)


def _is_mask(mask: Any, dataset: Any) -> bool:
    return mask is not None and mask.shape == dataset.shape[:2] and mask.dtype.name in NUMBERS


def _feature_names(name: str, datasets: Mapping[str, Any]) -> list[str]:
    """Return the names of the features, from an attribute or a neighbouring dataset, or else their numbers."""
    dataset = datasets[name]
    group = name[: name.rfind("/") + 1]
    number = dataset.shape[-1]
    given = [dataset.attrs[key] for key in _NAMING if key in dataset.attrs]
    beside = [f"{name}_names", f"{name}_features", f"{group}feature_names"]
    given += [datasets[other][()] for other in beside if other in datasets and datasets[other].shape == (number,)]
    for texts in map(np.ravel, given):
        if len(texts) == number and all(isinstance(text, str | bytes) for text in texts.tolist()):
            return [text.decode() if isinstance(text, bytes) else text for text in texts.tolist()]
    return [str(i) for i in range(number)]


def _jetnet(group: str, datasets: Mapping[str, Any], name: str) -> Any:
    """Return the names of the features of a JetNet dataset; None if the file does not have this layout."""
    particles, jets = (datasets.get(group + part) for part in _JETNET)
    if name[len(group) :] not in _JETNET or particles is None or jets is None:
        return None
    shapes = particles.shape, jets.shape
    fits = len(shapes[0]) == 3 and shapes[0][2] == 4 and len(shapes[1]) == 2 and shapes[1][1] in (4, 5)
    return _JETNET[name[len(group) :]] if fits else None


class _Texts(pickle.Unpickler):
    """Unpickles lists and strings only: a pickle cannot find anything to call."""

    def find_class(self, module: str, name: str) -> Any:
        raise SchemaError(f"the pickled names of its columns must be strings, got {module}.{name}")


def _pandas_names(dataset: Any, field: str, column: Column) -> list[str]:
    """Return the names of the columns in a block of a DataFrame that pandas wrote with ``format="table"``."""
    kind = dataset.attrs.get(f"{field}_kind")
    if not field.startswith("values_block_") or not isinstance(kind, bytes) or column.source.axes != 2:
        return []
    names = _Texts(io.BytesIO(kind)).load()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SchemaError(
            f"the names of the columns in {dataset.name}/{field} must be a list of strings: write it again"
        )
    if len(names) != dataset.dtype.fields[field][0].shape[0]:
        raise SchemaError(f"{dataset.name}/{field} must have as many columns as names: write it again")
    return names


def _lumin(datasets: Mapping[str, Any]) -> Catalogue:
    """List the columns of a fold file of LUMIN: the folds are concatenated, the metadata name their columns."""
    meta = {name[10:]: json.loads(data[()]) for name, data in datasets.items() if name.startswith("meta_data/")}
    folds = sorted({int(found[1]) for name in datasets if (found := re.match(r"fold_(\d+)/inputs$", name))})
    parts = [name[7:] for name in datasets if name.startswith("fold_0/")]
    items: list[Named] = []
    for part in parts:
        if lacking := [fold for fold in folds if f"fold_{fold}/{part}" not in datasets]:
            raise SchemaError(f"fold_{lacking[0]} has no {part!r}, which fold_0 has: write the file again")
        block = Block([datasets[f"fold_{fold}/{part}"] for fold in folds])
        first = block.datasets[0]
        if part == "inputs":
            items += _lumin_flat(part, block, [*meta["cont_feats"], *meta.get("cat_feats", [])])
        elif part == "targets":
            items += _lumin_flat(part, block, meta.get("targ_feats", "targets"))
        elif part == "weights":
            items += _lumin_flat(part, block, meta.get("wgt_feat", "weights"))
        elif part == "matrix_inputs" and "matrix_feats" in meta:
            items += _lumin_matrix(block, meta["matrix_feats"])
        else:
            items.append((part, part, _plain(block, first, first.dtype, None)))
    return unique_names(items)


def _lumin_flat(part: str, block: Block, names: str | list[str]) -> list[Named]:
    first = block.datasets[0]
    if len(first.shape) == 1:
        name = names if isinstance(names, str) else names[0]
        return [(name, name, _plain(block, first, first.dtype, None))]
    if len(first.shape) > 2:
        return [(part, part, _plain(block, first, first.dtype, None))]
    width = first.shape[1]
    if isinstance(names, str):
        names = [names] if width == 1 else [f"{names}_{i}" for i in range(width)]
    if len(names) != width:
        raise SchemaError(f"{first.name} has {width} columns, but the metadata name {len(names)}: write the file again")
    columns = {
        name: Column(Cells(block, take=(i,)), f"{first.dtype} {first.shape}", True) for i, name in enumerate(names)
    }
    return [(name, name, column) for name, column in columns.items()]


def _lumin_matrix(block: Block, feats: Mapping[str, Any]) -> list[Named]:
    """Return the columns of the objects, one number per event each, or those of a tensor, as of any dataset."""
    first = block.datasets[0]
    type_ = f"{first.dtype} {first.shape}"
    if feats.get("row_wise") is None:  # a tensor
        name = str(feats["vecs"][0])
        whole = Column(Cells(block, axes=len(first.shape)), type_, len(first.shape) == 2)
        if feats.get("is_sparse"):
            return [(name, name, whole._replace(type=f"sparse {type_}", numeric=False))]
        columns = (
            features_of(name, block, first, [str(i) for i in range(first.shape[-1])]) if len(first.shape) == 3 else []
        )
        return [(name, name, whole), *columns]
    vecs, per_vec = feats["vecs"], feats["feats_per_vec"]
    if first.shape[1:] != ((len(vecs), len(per_vec)) if feats["row_wise"] else (len(per_vec), len(vecs))):
        raise SchemaError(f"{first.name} has the shape {first.shape}, but the metadata give another: write it again")
    found: list[Named] = []
    for v, vec in enumerate(vecs):
        for f, feat in enumerate(per_vec):
            name, take = f"{vec}_{feat}", (v, f) if feats["row_wise"] else (f, v)
            if name in feats["present_feats"]:
                found.append((name, name, Column(Cells(block, take=take), type_, True)))
    return found
