"""The reader of LUMIN's fold files in docs/coming_from_lumin.md, on the kinds of files that ``df2foldfile`` writes."""

import doctest
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

VECS, FEATS = ["a", "met"], ["px", "pz"]
PRESENT = ["a_px", "a_pz", "met_px"]


@pytest.fixture
def read_fold_file():
    page = Path(__file__).parents[2] / "docs" / "coming_from_lumin.md"
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(page.read_text()):
        if example.source.startswith(("import", "from", "def read_fold_file")):
            exec(example.source, names)
    return names["read_fold_file"]


def write(path: Path, folds: list[dict[str, np.ndarray]], **meta: Any) -> Path:
    with h5py.File(path, "w") as file:
        for i, fold in enumerate(folds):
            for name, values in fold.items():
                file[f"fold_{i}/{name}"] = values
        for name, value in {"cat_feats": [], "targ_feats": "y", **meta}.items():
            file[f"meta_data/{name}"] = json.dumps(value)
    return path


def test_folds_come_in_the_order_of_their_numbers_with_all_targets(tmp_path, read_fold_file):
    folds = [
        {
            "inputs": np.array([[i, i % 3]], "float32"),
            "targets": np.array([[i, -i]], "float32"),
            "note": np.array([b"x"]),
        }
        for i in range(12)
    ]
    path = write(tmp_path / "a.hdf5", folds, cont_feats=["ht"], cat_feats=["channel"], targ_feats=["y", "z"])
    events = read_fold_file(path)
    batch = events.batch(range(12))
    assert events.schema.weight is None
    assert batch.u.flatten().tolist() == list(range(12))
    assert batch.cat.flatten().tolist() == [i % 3 for i in range(12)]
    assert batch.y.tolist() == [[i, -i] for i in range(12)]


@pytest.mark.parametrize("row_wise", [True, False])
def test_a_matrix_of_either_layout_with_absent_objects_and_cells(row_wise, tmp_path, read_fold_file):
    rows = np.array([[[1, 2], [3, np.nan]], [[np.nan, np.nan], [4, np.nan]]], "float32")
    fold = {
        "inputs": np.array([[7, 1], [8, np.nan]], "float32"),  # LUMIN may leave one column of the matrix here
        "targets": np.array([0, 1]),
        "weights": np.array([0.5, 2.0], "float32"),
        "matrix_inputs": rows if row_wise else rows.swapaxes(1, 2),
    }
    matrix = {"present_feats": PRESENT, "vecs": VECS, "feats_per_vec": FEATS, "row_wise": row_wise}
    path = write(tmp_path / "a.hdf5", [fold], cont_feats=["ht", "a_px"], wgt_feat="w", matrix_feats=matrix)
    events = read_fold_file(path)
    batch = events.batch(range(2))
    assert batch.x.tolist() == [[1, 2], [3, 0], [4, 0]]
    assert batch.slot.tolist() == [0, 1, 1]
    assert batch.ptr.tolist() == [0, 2, 3]
    assert batch.u.tolist() == [[7], [8]]
    assert batch.weight.tolist() == [0.5, 2.0]
    assert events.schema.targets == ("y",)
