"""Writers of event files: what is written reads back, all of it or nothing, and an old file is safe."""

import csv
import os
import tempfile
import uuid
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lumigraph.data import writers
from lumigraph.data.readers import column_names, read_columns
from lumigraph.data.writers import check_writable, write_columns
from lumigraph.schema import SchemaError

SUFFIXES = [".parquet", ".root", ".h5", ".csv", ".csv.gz"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"]
EVENTS = {"ht": [1.5, 2.5, 3.5], "Jet_px": [[1.0, 2.0], [], [3.0]], "Jet_n": [[1, 2], [], [3]]}


@st.composite
def tables(draw):
    """Columns of 0 to 6 events: scalars, and collections with one and with two columns, in a group and without `_`."""
    floats, integers = st.sampled_from(["float32", "float64"]), st.sampled_from(INTEGERS)
    num_events = draw(st.integers(0, 6))

    def numbers(size, dtypes):
        dtype = np.dtype(draw(dtypes))
        elements = st.floats(width=8 * dtype.itemsize, allow_nan=False)
        if dtype.kind != "f":
            elements = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
        return np.array(draw(st.lists(elements, min_size=size, max_size=size)), dtype)

    table = {"ht": numbers(num_events, floats), "run": numbers(num_events, integers)}
    for columns in ({"Jet_px": floats, "Jet_n": integers}, {"hits": integers}, {"group/Mu_on_x": floats}):
        lengths = np.array(draw(st.lists(st.integers(0, 3), min_size=num_events, max_size=num_events)), int)
        for name, dtypes in columns.items():
            table[name] = ak.unflatten(numbers(int(lengths.sum()), dtypes), lengths)
    return table


def table_of(lengths):
    counts = np.array(lengths, int)
    return {"ht": np.arange(len(counts)) / 4, "Jet_px": ak.unflatten(np.arange(counts.sum()) + 0.5, counts)}


@pytest.mark.parametrize("suffix", SUFFIXES)
@example(table=table_of([0, 2, 1]))
@example(table=table_of([1, 0, 2]))
@example(table=table_of([2, 1, 0]))
@example(table=table_of([0, 0]))
@example(table=table_of([]))
@settings(deadline=None, max_examples=15)
@given(table=tables())
def test_what_is_written_reads_back(suffix, table):
    with tempfile.TemporaryDirectory() as folder:
        got = read_columns(write_columns(f"{folder}/events{suffix}", table))
    assert set(got) == set(table)
    for name, values in table.items():
        values = ak.Array(values)
        if ".csv" in suffix:  # which keeps no types of numbers
            assert got[name].ndim == values.ndim
            assert got[name].to_list() == values.to_list()
        else:
            assert ak.array_equal(got[name], values)
            assert got[name].type == values.type


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5"])
def test_particles_that_are_all_nan_stay(tmp_path, suffix):
    table = {"ht": np.array([np.nan, 1]), "Jet_px": ak.Array([[np.nan, 1.0], [np.nan]])}
    got = read_columns(write_columns(tmp_path / f"events{suffix}", table))
    assert all(ak.array_equal(got[name], ak.Array(table[name]), equal_nan=True) for name in table)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bools_slices_regular_lists_and_python_lists(tmp_path, suffix):
    table = {
        "flag": np.array([True, False]),
        "Jet_px": ak.Array([[9.0], [1.0, 2.0], [3.0], [9.0]])[1:3],
        "Mu_px": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "none_x": [[], []],
        "half": np.array([0.1, 2], "float16"),
        "view": np.arange(4.0)[::2],
    }
    got = read_columns(write_columns(tmp_path / f"events{suffix}", table))
    assert got["flag"].to_list() == [1, 0]
    assert got["Jet_px"].to_list() == [[1, 2], [3]]
    assert got["Mu_px"].to_list() == [[1, 2], [3, 4]]
    assert got["none_x"].to_list() == [[], []]
    assert str(got["none_x"].type) == "2 * var * float64"
    assert got["half"].to_list() == table["half"].tolist()
    assert got["view"].to_list() == [0, 2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_zero_events(tmp_path, suffix):
    got = read_columns(
        write_columns(tmp_path / f"events{suffix}", {"ht": np.empty(0), "Jet_px": ak.Array([[1.0]])[:0]})
    )
    assert [str(array.type) for array in got.values()] in (["0 * float64", "0 * var * float64"],) or suffix == ".h5"
    assert {name: len(array) for name, array in got.items()} == {"ht": 0, "Jet_px": 0}


# What other programs find


def test_root_has_one_counter_per_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_EVENTS_PER_BASKET", 2)
    with uproot.open(write_columns(tmp_path / "a.root", {**EVENTS, "hits": [[1], [], [2]]})) as file:
        assert file.classnames() == {"Events;1": "TTree"}
        assert sorted(file["Events"].keys()) == ["Jet_n", "Jet_px", "hits", "ht", "nJet", "nhits"]
        assert file["Events/nJet"].array().to_list() == [2, 0, 1]
        assert file["Events/Jet_px"].num_baskets == 2
        assert file["Events/Jet_px"].count_branch.name == "nJet"


def test_hdf5_is_padded_and_counted(tmp_path):
    with h5py.File(write_columns(tmp_path / "a.h5", EVENTS)) as file:
        assert sorted(file) == ["Jet_n", "Jet_px", "ht", "nJet"]
        np.testing.assert_array_equal(file["Jet_px"], [[1, 2], [np.nan, np.nan], [3, np.nan]])
        np.testing.assert_array_equal(file["Jet_n"], [[1, 2], [0, 0], [3, 0]])
        assert file["nJet"][()].tolist() == [2, 0, 1]


def test_parquet_has_plain_lists(tmp_path):
    table = pq.read_table(write_columns(tmp_path / "a.parquet", EVENTS))
    assert table.to_pydict() == EVENTS


def test_csv_is_numbered(tmp_path):
    path = write_columns(tmp_path / "a.csv", {**EVENTS, "hits": [[7], [], []]})
    assert path.read_text().splitlines() == [
        "ht,Jet0_px,Jet1_px,Jet0_n,Jet1_n,hits0_",
        "1.5,1.0,2.0,1,2,7",
        "2.5,,,,,",
        "3.5,3.0,,3,,",
    ]


def test_csv_of_a_single_column_has_no_empty_lines(tmp_path):
    for table in ({"ht": [1.0, np.nan, 2.0]}, {"Jet_px": [[1.0], [], [2.0]]}):
        path = write_columns(tmp_path / "a.csv", table, overwrite=True)
        assert all(path.read_text().splitlines())
        assert len(next(iter(read_columns(path).values()))) == 3


def test_csv_header_is_quoted_where_it_must_be(tmp_path):
    path = write_columns(tmp_path / "a.csv", {'a,"b"': [1.0], "c": [2]})
    with path.open() as file:
        assert next(csv.reader(file)) == ['a,"b"', "c"]
    assert list(read_columns(path)) == ['a,"b"', "c"]


# Counters among the columns


@pytest.mark.parametrize("suffix", [".root", ".h5"])
def test_a_counter_among_the_columns_is_used(tmp_path, suffix):
    path = write_columns(tmp_path / f"a{suffix}", {**EVENTS, "nJet": np.array([2, 0, 1])})
    assert read_columns(path)["nJet"].to_list() == [2, 0, 1]
    assert "nJet" in column_names(write_columns(tmp_path / f"b{suffix}", EVENTS))
    for wrong in ([2, 0, 2], [[2], [0], [1]]):
        with pytest.raises(SchemaError, match="'nJet' must hold the numbers of entries of the lists in 'Jet_px'"):
            write_columns(tmp_path / f"c{suffix}", {**EVENTS, "nJet": wrong})
    assert read_columns(write_columns(tmp_path / "c.parquet", {**EVENTS, "nJet": [2, 0, 2]}))["nJet"].to_list() == [
        2,
        0,
        2,
    ]


# What cannot be written


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({}, "there are no columns"),
        ({"ht": [1.0], "met": [1.0, 2.0]}, "column 'ht' has 1 events and column 'met' 2"),
        ({"Jet_px": [[1.0], []], "Jet_py": [[1.0], [2.0]]}, "'Jet_px' and 'Jet_py' .* 0 and 1 entries in event 1"),
        ({"label": ["a", "b"]}, "column 'label' is of type 2 . string"),
        ({"deep": [[[1.0]], []]}, "column 'deep' is of type 2 . var . var"),
        ({"holes": ak.Array([1.0, None])}, "column 'holes' is of type 2 . .float64"),
    ],
)
def test_columns_that_are_no_table(tmp_path, suffix, columns, complaint):
    with pytest.raises(SchemaError, match=rf"events{suffix} cannot be written: .*{complaint}"):
        write_columns(tmp_path / f"events{suffix}", columns)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"Jet0_px": [1.0], "Jet_px": [[2.0]]}, "column 'Jet0_px' needs the name 'Jet0_px' in CSV, which is taken"),
        ({"AK8_px": [[1.0]]}, "'AK8_px' cannot be told from its numbered columns AK80_px in CSV"),
        ({"Jet_px": [[1.0], []], "Jet0_x": [1.0, 2.0]}, "in event 1 the cells Jet0_px, Jet0_x would not tell"),
        ({"Jet_px": [[1.0], [np.nan]]}, "in event 1 the cells Jet0_px would not tell"),
        ({"run": np.array([2**63], "uint64")}, "CSV cannot keep integers above"),
    ],
)
def test_what_csv_cannot_keep(tmp_path, columns, complaint):
    with pytest.raises(SchemaError, match=complaint):
        write_columns(tmp_path / "a.csv", columns)
    assert list(tmp_path.iterdir()) == []
    got = read_columns(write_columns(tmp_path / "a.parquet", columns))
    assert all(ak.array_equal(got[name], ak.Array(columns[name]), equal_nan=True) for name in columns)


# Files that exist


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_file_is_safe(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=rf"events{suffix} exists; .* overwrite=True \(--overwrite\)"):
        write_columns(path, {"never": "looked at"})
    with pytest.raises(SchemaError):
        write_columns(path, {"ht": [1.0], "met": []}, overwrite=True)
    assert path.read_text() == "precious"
    assert write_columns(str(path), EVENTS, overwrite=True) == path
    assert read_columns(path)["Jet_px"].to_list() == EVENTS["Jet_px"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".parquet", "Parquet"), (".root", "ROOT"), (".h5", "HDF5"), (".csv", "CSV")]
)
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path, suffix, kind, error, monkeypatch):
    path = write_columns(tmp_path / f"events{suffix}", EVENTS)
    content, write = path.read_bytes(), writers._WRITERS[kind]

    def fail(temporary, columns):
        write(temporary, columns)
        raise error

    monkeypatch.setitem(writers._WRITERS, kind, fail)
    with pytest.raises(type(error)):
        write_columns(path, {"ht": [7.0]}, overwrite=True)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_comes_into_being_meanwhile_is_safe(tmp_path, monkeypatch):
    path, write = tmp_path / "a.csv", writers._WRITERS["CSV"]

    def slow(temporary, columns):
        write(temporary, columns)
        path.write_text("precious")

    monkeypatch.setitem(writers._WRITERS, "CSV", slow)
    with pytest.raises(FileExistsError):
        write_columns(path, EVENTS)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_check_writable_touches_nothing(tmp_path):
    path = tmp_path / "new" / "folder" / "a.root"
    assert check_writable(path) == check_writable(str(path), True) == path
    assert list(tmp_path.iterdir()) == []
    assert write_columns(path, EVENTS) == path
    with pytest.raises(FileExistsError, match="overwrite"):
        check_writable(path)
    assert check_writable(path, overwrite=True) == path


def test_paths_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(SchemaError, match=r"a\.txt: the suffix must say the format"):
        write_columns(tmp_path / "a.txt", EVENTS)
    with pytest.raises(IsADirectoryError, match=r"folder\.h5 is a directory"):
        check_writable(tmp_path / "folder.h5", overwrite=True)
    with pytest.raises(NotADirectoryError, match="file is a file, not a directory"):
        check_writable(tmp_path / "file" / "a.csv")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="no permission to write into"):
        check_writable(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_relative_and_odd_paths(tmp_path, suffix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_columns(f"events [1]:{uuid.uuid4().hex}é{suffix.upper()}", EVENTS)
    assert path == Path(path.name)
    assert read_columns(path)["Jet_n"].to_list() == EVENTS["Jet_n"]
