"""Layouts that are recognised from the file's own structure, on files that other programs have written.

In ``files`` are, compressed with gzip: what pandas 3.1 with PyTables 3.11 wrote with ``to_hdf(path, key="table",
format="table")`` (once with ``complib="blosc"``), and what ``df2foldfile`` of LUMIN 0.9.1 wrote in 3 and 2 folds.
"""

import gzip
import importlib.util
import pickle
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lumigraph.data.files.readers import column_names, open_events, read_columns
from lumigraph.events.errors import SchemaError

FILES = Path(__file__).parent / "fixtures"
LENGTHS = [5, 0, 1, 3, 2, 4]  # of the jets in the files of the top-tagging layout
NAN = np.nan


@pytest.fixture
def unpacked(tmp_path):
    def unpack(name):
        path = tmp_path / name
        path.write_bytes(gzip.decompress((FILES / f"{name}.gz").read_bytes()))
        return path

    return unpack


def constituents(part):
    return [[10 * event + slot + part for slot in range(length)] for event, length in enumerate(LENGTHS)]


def check_top_tagging(path):
    got = read_columns(path)
    flat = ["truthE", "truthPX", "truthPY", "truthPZ", "ttv", "is_signal_new"]
    assert list(got) == [*flat, *(f"Constituent_{feature}" for feature in ("E", "px", "py", "pz"))]
    for part, feature in enumerate(("E", "px", "py", "pz")):
        assert got[f"Constituent_{feature}"].to_list() == constituents(part / 4)
    assert got["ttv"].to_list() == [0, 1, 2, 0, 1, 2]
    assert read_columns(path, ["PX_4", "Constituent_px"])["PX_4"].to_list() == [4.25, 0, 0, 0, 0, 0]
    with open_events(path) as file:
        assert file.read(["Constituent_py"], 2, 4)["Constituent_py"].to_list() == constituents(0.5)[2:4]


def test_top_tagging_as_pandas_writes_it(unpacked):
    path = unpacked("top_tagging.h5")
    check_top_tagging(path)
    assert str(read_columns(path, ["Constituent_E"])["Constituent_E"].type) == "6 * var * float32"
    assert read_columns(path, ["index"])["index"].to_list() == list(range(6))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_top_tagging_columns_in_other_formats(unpacked, tmp_path, suffix):
    path = unpacked("top_tagging.h5")
    with open_events(path) as file:
        names = [name for name in file.names if not name.startswith("Constituent") and name != "index"]
        columns = file.read(names)
    table = pa.table({name: np.asarray(column) for name, column in columns.items()})
    other = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, other)
    else:
        table.to_pandas().to_csv(other, index=False)
    check_top_tagging(other)


def test_a_filter_that_is_missing_is_named(unpacked):
    path = unpacked("top_tagging_blosc.h5")
    if importlib.util.find_spec("hdf5plugin"):
        return check_top_tagging(path)
    assert "Constituent_E" in column_names(path)
    with pytest.raises(SchemaError, match=r"column 'truthE' is compressed with blosc, .*pip install hdf5plugin"):
        read_columns(path, ["truthE"])


class Call:
    def __reduce__(self):
        return (print, ("called",))


def test_names_that_are_pickled_cannot_call_anything(unpacked, capsys):
    path = unpacked("top_tagging.h5")
    with h5py.File(path, "r+") as file:
        file["table/table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps([Call()], protocol=0))
    with pytest.raises(
        SchemaError, match=r"top_tagging.h5: the pickled names of its columns must be strings, got .*print"
    ):
        read_columns(path)
    assert capsys.readouterr().out == ""


# LUMIN


@pytest.mark.parametrize("name", ["lumin_rows.h5", "lumin_columns.h5"])
def test_fold_files_of_lumin(unpacked, name):
    path = unpacked(name)
    got = read_columns(path)
    number = np.arange(11)
    other = np.where(number % 2, NAN, 7.0)
    expected = {
        "ht": number, "met": 2 * number, "channel": number % 3, "a_px": number + 0.5, "a_pz": number + 0.25,
        "b_px": other, "b_pz": other + 1, "y": number % 2, "w": np.full(11, 0.5), "event": number + 1000,
    }  # fmt: skip
    expected |= {} if name == "lumin_rows.h5" else {"z": 3 * number}
    assert set(got) == set(expected)
    for column, values in expected.items():
        np.testing.assert_array_equal(got[column].to_numpy(), values)
    with open_events(path) as file:
        assert file.groups.tolist() == [0, 4, 8, 11]
        for start, stop in [(0, 4), (3, 9), (10, 11), (5, 5)]:
            np.testing.assert_array_equal(file.read(["b_px"], start, stop)["b_px"], other[start:stop])


def test_tensors_in_fold_files_of_lumin(unpacked):
    got = read_columns(unpacked("lumin_tensor.h5"))
    assert list(got) == ["ht", "img_0", "img_1", "y"]
    tensor = np.arange(66).reshape(11, 3, 2) + 1
    assert got["img_1"].to_list() == tensor[:, :, 1].tolist()


def test_folds_that_do_not_go_together(unpacked):
    path = unpacked("lumin_rows.h5")
    with h5py.File(path, "r+") as file:
        del file["fold_1/weights"]
    with pytest.raises(SchemaError, match=r"lumin_rows.h5: fold_1 has no 'weights', which fold_0 has"):
        column_names(path)
    path = unpacked("lumin_columns.h5")
    with h5py.File(path, "r+") as file:
        del file["meta_data/cont_feats"]
        file["meta_data/cont_feats"] = '["ht"]'
    with pytest.raises(SchemaError, match=r"fold_0/inputs has 3 columns, but the metadata name 2"):
        column_names(path)


# JetNet, and datasets of three axes


def test_jetnet(tmp_path):
    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file["particle_features"] = np.array([[[1, 2, 3, 1], [4, 5, 6, 0]], [[0, 0, 0, 1], [7, 8, 9, 1]]], "f4")
        file["jet_features"] = np.array([[10, 11, 12, 1], [20, 21, 22, 2]], "f4")
    got = read_columns(tmp_path / "t.hdf5")
    assert {name: column.to_list() for name, column in got.items()} == {
        "Jet_pt": [10, 20], "Jet_eta": [11, 21], "Jet_mass": [12, 22], "Jet_num_particles": [1, 2],
        "Particle_etarel": [[1], [0, 7]], "Particle_phirel": [[2], [0, 8]], "Particle_ptrel": [[3], [0, 9]],
    }  # fmt: skip
    with open_events(tmp_path / "t.hdf5") as file:
        assert file.read(["Particle_ptrel"], 1)["Particle_ptrel"].to_list() == [[0, 9]]
    with h5py.File(tmp_path / "t.hdf5", "r+") as file:
        file["particle_features"][1, 0, 3] = 0.5
    with pytest.raises(SchemaError, match=r"event 1: the mask of 'Particle_etarel' must be 0 or 1, got 0.5"):
        read_columns(tmp_path / "t.hdf5", ["Particle_etarel"])


CUBE = np.array([[[1.0, 0.0], [0.0, 0.0], [NAN, NAN]], [[0.0, 2.0], [NAN, 3.0], [0.0, 0.0]]])


def test_three_axes_without_a_mask(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Jet"], file["y"] = CUBE, [0, 1]
    got = read_columns(tmp_path / "a.h5")
    assert list(got) == ["Jet_0", "Jet_1", "y"]
    assert ak.array_equal(got["Jet_0"], ak.Array([[1.0], [0.0, NAN]]), equal_nan=True)
    assert got["Jet_1"].to_list() == [[0], [2, 3]]


@pytest.mark.parametrize("mask", ["Jet_mask", "mask"])
@pytest.mark.parametrize("naming", ["attribute", "dataset"])
def test_three_axes_with_a_mask_and_names(tmp_path, mask, naming):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Jet"], file[mask] = CUBE, np.array([[1, 1, 0], [0, 1, 1]], bool)
        if naming == "attribute":
            file["Jet"].attrs["features"] = ["pt", "eta"]
        else:
            file["Jet_names"] = ["pt", "eta"]
    got = read_columns(tmp_path / "a.h5")
    assert list(got) == ["Jet_pt", "Jet_eta"]
    assert ak.array_equal(got["Jet_pt"], ak.Array([[1.0, 0.0], [NAN, 0.0]]), equal_nan=True)


def test_a_feature_and_a_dataset_of_one_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Jet"], file["Jet_0"] = CUBE, [7.0, 8.0]
    got = read_columns(tmp_path / "a.h5")
    assert set(got) == {"Jet/0", "Jet_0", "Jet_1"}
    assert got["Jet_0"].to_list() == [7, 8]
    assert ak.array_equal(got["Jet/0"], ak.Array([[1.0], [0.0, NAN]]), equal_nan=True)


def test_two_axes_with_a_mask(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Jet_px"], file["Jet_q"] = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1, 0], [0, -1]])
        file["Jet_mask"] = np.array([[1, 0], [1, 1]])
        file["Mu_px"] = np.array([[1.0, 0.0], [0.0, 2.0]])  # zeros alone make no slot absent
    got = read_columns(tmp_path / "a.h5", ["Jet_px", "Jet_q", "Mu_px"])
    assert got["Jet_px"].to_list() == [[1], [0, 2]]
    assert got["Jet_q"].to_list() == [[1], [0, -1]]
    assert got["Mu_px"].to_list() == [[1, 0], [0, 2]]
