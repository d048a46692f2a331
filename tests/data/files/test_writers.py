"""Writers of event files: what is written reads back, all of it or nothing, and an old file is safe."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from itertools import pairwise
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import uproot
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lumigraph.data.files import writers
from lumigraph.data.files.readers import column_names, format_of, read_columns
from lumigraph.data.files.writers import ColumnWriter, check_writable, write_columns
from lumigraph.data.samples import sample_path
from lumigraph.events.errors import SchemaError

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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unsigned_integers_of_64_bits_keep_their_digits(tmp_path, suffix):
    event = np.array([2**64 - 1, 2**63, 7], "uint64")
    table = {"event": event, "Jet_id": ak.unflatten(event, [2, 0, 1]), "run": np.arange(3)}
    got = read_columns(write_columns(tmp_path / f"a{suffix}", table))
    assert all(ak.array_equal(got[name], ak.Array(table[name])) for name in table)


def test_columns_of_other_libraries_and_byte_orders(tmp_path):
    table = {
        "series": pd.Series([1.5, 2.5], index=[7, 9], dtype="float32"),
        "lists": pd.Series([[1, 2], []]),
        "big": np.array([1, 2], ">f4"),
        "tensor": torch.tensor([1, 2]),
    }
    got = read_columns(write_columns(tmp_path / "a.parquet", table))
    types = ["float32", "var * int64", "float32", "int64"]
    assert [str(column.type.content) for column in got.values()] == types
    assert [column.to_list() for column in got.values()] == [[1.5, 2.5], [[1, 2], []], [1, 2], [1, 2]]


# What other programs find


def test_root_has_one_counter_per_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_EVENTS", 2)
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
        with pytest.raises(SchemaError, match="'nJet' must hold the lengths of the lists in 'Jet_px'"):
            write_columns(tmp_path / f"c{suffix}", {**EVENTS, "nJet": wrong})
    assert read_columns(write_columns(tmp_path / "c.parquet", {**EVENTS, "nJet": [2, 0, 2]}))["nJet"].to_list() == [
        2,
        0,
        2,
    ]


@pytest.mark.parametrize("suffix", [".root", ".h5"])
@pytest.mark.parametrize("dtype", ["float32", "uint64", "int8"])
def test_a_counter_of_any_type_counts(tmp_path, suffix, dtype):
    table = {"nJet": np.array([2, 0, 1], dtype), "Jet_n": EVENTS["Jet_n"]}
    got = read_columns(write_columns(tmp_path / f"a{suffix}", table))
    assert got["Jet_n"].to_list() == EVENTS["Jet_n"]
    assert got["nJet"].to_list() == [2, 0, 1]


# What cannot be written


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({}, "there are no columns"),
        ({"ht": [1.0], "met": [1.0, 2.0]}, "columns must .*, got 1 in column 'ht' and 2 in 'met'"),
        ({"Jet_px": [[1.0], []], "Jet_py": [[1.0], [2.0]]}, "event 1: .*'Jet_px' and 'Jet_py' .* 0 and 1 entries"),
        ({"label": ["a", "b"]}, "column 'label' must hold a number .*, got 2 . string"),
        ({"deep": [[[1.0]], []]}, "column 'deep' must hold a number .*, got 2 . var . var"),
        ({"holes": ak.Array([1.0, None])}, "column 'holes' must hold a number .*, got 2 . .float64"),
        ({"odd": np.array(["a", None], object)}, "column 'odd' must hold numbers or lists of numbers, got ndarray"),
        ({"": [1.0]}, "column names must be non-empty strings, got ''"),
    ],
)
def test_columns_that_are_no_table(tmp_path, suffix, columns, complaint):
    with pytest.raises(SchemaError, match=rf"events{suffix}: .*{complaint}"):
        write_columns(tmp_path / f"events{suffix}", columns)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"Jet0_px": [1.0], "Jet_px": [[2.0]]}, "column 'Jet0_px' needs the name 'Jet0_px' in CSV, which is taken"),
        ({"AK8_px": [[1.0]]}, "'AK8_px' cannot be recovered from numbered columns AK80_px in CSV"),
        ({"Jet_px": [[1.0], []], "Jet0_x": [1.0, 2.0]}, "event 1: the cells Jet0_px, Jet0_x would not show"),
        ({"Jet_px": [[1.0], [np.nan]]}, "event 1: the cells Jet0_px would not show"),
    ],
)
def test_what_csv_cannot_keep(tmp_path, columns, complaint):
    with pytest.raises(SchemaError, match=complaint):
        write_columns(tmp_path / "a.csv", columns)
    assert list(tmp_path.iterdir()) == []
    got = read_columns(write_columns(tmp_path / "a.parquet", columns))
    assert all(ak.array_equal(got[name], ak.Array(columns[name]), equal_nan=True) for name in columns)


def test_names_that_a_format_does_not_have(tmp_path):
    for name in ("/a", "a/", "a//b", "./a", "."):
        with pytest.raises(SchemaError, match=f"column '{name}' has an empty part before or after a '/', or a '.'"):
            write_columns(tmp_path / "a.h5", {"ht": [1.0], name: [1.0]})
    with pytest.raises(SchemaError, match=r"column 'a\\nb' needs more than one line in CSV: rename it"):
        write_columns(tmp_path / "a.csv", {"a\nb": [1.0]})
    for suffix in (".root", ".parquet", ".csv", ".h5"):
        names = ["a,b", 'q"q"', "..", "a.b", " a ", "é", "a:b;1", "[0]", "*"]
        columns = {name: [i + 0.5] for i, name in enumerate(names)}
        assert {
            name: c.to_list() for name, c in read_columns(write_columns(tmp_path / f"b{suffix}", columns)).items()
        } == columns


def test_a_group_of_hdf5_cannot_have_the_name_of_a_column(tmp_path):
    with pytest.raises(SchemaError, match="column 'a/b/c' would be in a group 'a/b', which is a column"):
        write_columns(tmp_path / "a.h5", {"a/b/c": [1.0], "a/b": [1.0]})
    assert list(read_columns(write_columns(tmp_path / "a.h5", {"a/b/c": [1.0], "a/bc": [1.0]}))) == ["a/b/c", "a/bc"]


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


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("method", ["write", "close"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path, suffix, method, error, monkeypatch):
    path = write_columns(tmp_path / f"events{suffix}", EVENTS)
    content = path.read_bytes()
    fail_after(monkeypatch, suffix, method, error)
    with pytest.raises(type(error)) as caught:
        write_columns(path, {"ht": [7.0]}, overwrite=True)
    assert not hasattr(caught.value, "__notes__")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def fail_after(monkeypatch, suffix, method, error, times=1):
    """Let the writer of a format fail at the end of its so-manyth call."""
    kind = writers._FILES[format_of(f"a{suffix}")[1]]
    original, calls = getattr(kind, method), itertools.count(1)

    def fail(self, argument):
        original(self, argument)
        if next(calls) == times:
            raise error

    monkeypatch.setattr(kind, method, fail)


def test_a_file_that_comes_into_being_meanwhile_is_safe(tmp_path, monkeypatch):
    path, original = tmp_path / "a.csv", writers.CsvFile.close

    def slow(self, num_events):
        original(self, num_events)
        path.write_text("precious")

    monkeypatch.setattr(writers.CsvFile, "close", slow)
    with pytest.raises(FileExistsError):
        write_columns(path, EVENTS)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    with (
        pytest.raises(FileExistsError, match=r"the first 3 events are kept in .*a\.partial\.csv"),
        ColumnWriter(path) as w,
    ):
        w.append(EVENTS)
    assert path.read_text() == "precious"
    assert read_columns(tmp_path / "a.partial.csv")["Jet_n"].to_list() == EVENTS["Jet_n"]


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
    with pytest.raises(SchemaError, match=r"a\.txt: the suffix must be one of"):
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


# Chunk by chunk


def parts(table, cuts):
    size = len(next(iter(table.values())))
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    return [{name: column[start:stop] for name, column in table.items()} for start, stop in pairwise(edges)]


def write_chunks(path, chunks, error=None, **options):
    with ColumnWriter(path, **options) as writer:
        for chunk in chunks:
            writer.append(chunk)
        if error is not None:
            raise error
    return writer.path


def same(got, expected):
    assert set(got) == set(expected)
    for name, column in expected.items():
        assert got[name].type == column.type, name
        assert ak.array_equal(got[name], column, equal_nan=True), name


@pytest.mark.parametrize("group", [1, 2, 100_000])
@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=5)
@given(table=tables(), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_where_events_are_cut_makes_no_difference(suffix, group, table, cuts):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        whole = read_columns(write_columns(f"{folder}/whole{suffix}", table))
        patch.setattr(writers, "_GROUP_EVENTS", group)
        path = write_chunks(f"{folder}/cut{suffix}", parts(table, cuts))
        same(read_columns(path), whole)
        assert column_names(path) == column_names(f"{folder}/whole{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lists_get_longer_and_shorter(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_BYTES", 1000)
    table = {
        **table_of([1, 0, 3, 25, 2, 0, 70, 1] * 4),
        "Jet_n": ak.unflatten(np.arange(408), [1, 0, 3, 25, 2, 0, 70, 1] * 4),
    }
    same(
        read_columns(write_chunks(tmp_path / f"a{suffix}", parts(table, range(32)))),
        {k: ak.Array(v) for k, v in table.items()},
    )


def test_baskets_and_row_groups_do_not_depend_on_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_EVENTS", 50)
    table = table_of([0, 1, 5] * 100)
    for cuts in (range(300), [140]):
        root = write_chunks(tmp_path / "a.root", parts(table, cuts), overwrite=True)
        parquet = write_chunks(tmp_path / "a.parquet", parts(table, cuts), overwrite=True)
        with uproot.open(root) as file, pq.ParquetFile(parquet) as rows:
            sizes = np.diff(file["Events/Jet_px"].entry_offsets)
            assert sizes.tolist() == [rows.metadata.row_group(i).num_rows for i in range(rows.num_row_groups)]
            assert sizes.max() <= 50
            assert len(sizes) <= 7
            assert file["Events/Jet_px"].num_baskets == file["Events/ht"].num_baskets == len(sizes)
            same({"Jet_px": file["Events/Jet_px"].array()}, {"Jet_px": table["Jet_px"]})


def test_memory_of_a_chunk_may_be_used_again(tmp_path):
    numbers = np.zeros(3)
    with ColumnWriter(tmp_path / "a.parquet") as writer:
        for i in range(4):
            numbers[:] = i
            writer.append({"x": numbers})
            assert writer.num_events == 3 * (i + 1)
    assert read_columns(writer.path)["x"].to_list() == np.repeat(np.arange(4), 3).tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("chunk", "complaint"),
    [
        ({**EVENTS, "ht": [1, 2, 3]}, "column 'ht' is int64, but float64 in the first chunk"),
        ({**EVENTS, "ht": [[1.0], [], []]}, r"column 'ht' is var \* float64, but float64 in the first"),
        ({**EVENTS, "met": [1, 2, 3]}, "column 'met' is int64, but missing in the first"),
        ({"ht": [1.0]}, "column 'Jet_px' is missing, but"),
        ({**EVENTS, "Jet_n": [[1], [], [2]]}, "event 6: .*'Jet_px' and 'Jet_n' .* 2 and 1 entries"),
        ({**EVENTS, "ht": ["a", "b", "c"]}, "column 'ht' must hold a number"),
        ({}, "there are no columns"),
    ],
)
def test_chunks_that_do_not_fit(tmp_path, suffix, chunk, complaint):
    path = tmp_path / f"a{suffix}"
    with ColumnWriter(path) as writer:
        writer.append(EVENTS)
        writer.append(dict(reversed(EVENTS.items())))
        with pytest.raises(SchemaError, match=rf"a{suffix}: .*{complaint}"):
            writer.append(chunk)
        writer.append({"ht": [], "Jet_px": [], "Jet_n": []})
        writer.append({"ht": [9.0], "Jet_px": [[]], "Jet_n": [[]]})
    assert read_columns(path)["Jet_n"].to_list() == [*EVENTS["Jet_n"], *EVENTS["Jet_n"], []]


@pytest.mark.parametrize(
    ("suffix", "second", "complaint"),
    [
        (".root", {"nJet": [2], "Jet_x": [[1.0]]}, "column 'nJet' must hold the lengths"),
        (".csv", {"nJet": [1], "Jet_x": [[np.nan]]}, "event 1: the cells Jet0_x would not show"),
    ],
)
def test_counters_and_cells_are_checked_in_each_chunk(tmp_path, suffix, second, complaint):
    with pytest.raises(SchemaError, match=complaint):
        write_chunks(tmp_path / f"a{suffix}", [{"nJet": [1], "Jet_x": [[1.0]]}, second])
    assert read_columns(tmp_path / f"a.partial{suffix}")["Jet_x"].to_list() == [[1.0]]


def test_misuse_of_the_writer(tmp_path):
    writer = ColumnWriter(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="in a with block only"):
        writer.append(EVENTS)
    with pytest.raises(SchemaError, match="nothing was appended"), writer:
        pass
    with pytest.raises(ValueError, match="has been used"), writer:
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("group", [1, 100_000])
@pytest.mark.parametrize("error", [SchemaError("bad event"), KeyboardInterrupt()])
def test_what_was_appended_is_kept(tmp_path, suffix, group, error, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_EVENTS", group)
    path = tmp_path / f"a.b{suffix}"
    path.write_text("precious")
    for name in (f"a.b.partial{suffix}", f"a.b.partial1{suffix}"):
        with pytest.raises(type(error)) as caught:
            write_chunks(path, [EVENTS, EVENTS], error, overwrite=True)
        assert caught.value is error
        assert caught.value.__notes__.pop() == f"the first 6 events are kept in {tmp_path / name}"
        assert read_columns(tmp_path / name)["Jet_px"].to_list() == EVENTS["Jet_px"] * 2
    assert path.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(type(error)):
        write_chunks(path, [], error, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_was_appended_is_kept_if_the_name_is_as_long_as_can_be(tmp_path):
    with pytest.raises(OSError, match="the first 3 events are kept in"):
        write_chunks(tmp_path / f"{'x' * 250}.root", [EVENTS], OSError("disk full"))
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{'x' * 200}.partial.root"
    assert read_columns(kept)["Jet_n"].to_list() == EVENTS["Jet_n"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_to_write_costs_one_group(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_EVENTS", 3)
    fail_after(monkeypatch, suffix, "write", OSError("disk full"), times=3)
    with pytest.raises(OSError, match="disk full\nthe first 6 events are kept in"):
        write_chunks(tmp_path / f"a{suffix}", [EVENTS] * 3)
    kept = read_columns(tmp_path / f"a.partial{suffix}")["Jet_n"].to_list()
    assert kept[:6] == EVENTS["Jet_n"] * 2
    assert list(tmp_path.iterdir()) == [tmp_path / f"a.partial{suffix}"]


def test_a_failure_that_cannot_be_kept_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(writers.Hdf5File, "_create", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="none of the 3 events appended before could be kept"):
        write_chunks(tmp_path / "a.h5", [EVENTS])
    assert list(tmp_path.iterdir()) == []


_KILLED = """
import sys
from lumigraph.data.files.writers import ColumnWriter
with ColumnWriter(sys.argv[1]) as writer:
    while True:
        writer.append({"x": range(60_000)})
        if writer.num_events == 240_000:
            print("ready", flush=True)
"""


def test_a_killed_process_leaves_hidden_files_only(tmp_path):
    with subprocess.Popen([sys.executable, "-c", _KILLED, tmp_path / "a.root"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]


_CHUNKS = """
import resource, sys
import awkward as ak, numpy as np
from lumigraph.data.files import writers
writers._GROUP_BYTES = 1 << 20
rng = np.random.default_rng(0)
lengths = rng.integers(5, 80, 400)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for path in sys.argv[1:]:
    with writers.ColumnWriter(path) as writer:
        for i in range(200):
            jets = {f"Jet_{f}": ak.unflatten(rng.random(lengths.sum()) // 0.01, lengths) for f in ("px", "py")}
            writer.append({"n": np.arange(400), **jets})
            if i == 49:
                before = peak()
    print(peak() - before)
"""


def test_memory_is_flat(tmp_path):
    # the chunks after the 50th are 40 MB in memory
    run = [sys.executable, "-c", _CHUNKS, *(str(tmp_path / f"a{suffix}") for suffix in SUFFIXES[:4])]
    grown = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert len(grown) == 4
    assert max(map(float, grown)) < 20, grown


# Columns as the readers give them


@pytest.mark.parametrize("source", ["parquet", "root"])
@pytest.mark.parametrize("suffix", SUFFIXES[:4])
def test_scores_beside_the_columns_of_the_sample(tmp_path, source, suffix):
    columns = {name: column[:1000] for name, column in read_columns(sample_path(source)).items()}
    scores = np.random.default_rng(0).random(1000).astype(np.float32)
    path = write_chunks(tmp_path / f"a{suffix}", parts({**columns, "score": scores}, [300, 301]))
    got = read_columns(path)
    assert {"nJet", "nElectron", "nMuon"} & set(columns) == {
        name for name in got if name in ("nJet", "nElectron", "nMuon")
    }
    if suffix == ".csv":
        assert all(got[name].to_list() == column.to_list() for name, column in columns.items())
    else:
        same(got, {**columns, "score": ak.Array(scores)})
