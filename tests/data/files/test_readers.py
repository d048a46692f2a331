"""Readers of event files: all formats give the same columns, and say in a sentence what is wrong with a file."""

import ast
import gzip
import pathlib
import random

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from lumigraph.data.files import (
    event_file,
    hdf5_cells,
    hdf5_layouts,
    layouts,
    read_arrow,
    read_csv,
    read_hdf5,
    read_root,
    readers,
    tables,
    writers,
)
from lumigraph.data.files.readers import column_names, open_events, read_columns
from lumigraph.data.files.writers import write_columns
from lumigraph.events.errors import SchemaError

SUFFIXES = [".parquet", ".pq", ".root", ".h5", ".hdf5", ".csv", ".csv.gz"]
NAN = np.nan


def events(n=3):
    lengths = np.arange(n) % 3
    values = np.arange(lengths.sum())
    return {
        "ht": np.linspace(1, 2, n),
        "run": np.arange(n) + 7,
        "Jet_px": ak.unflatten(values + 0.5, lengths),
        "Jet_charge": ak.unflatten(values, lengths),
    }


def same(got, expected):
    return list(got) == list(expected) and all(
        ak.array_equal(got[name], ak.Array(expected[name]), equal_nan=True) for name in expected
    )


def text(path, content):
    path.write_text(content)
    return path


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def hdf5(path, **columns):
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name.replace("__", "/")] = values
    return path


# What all formats have in common


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_the_columns_asked_for_in_the_order_asked_for(tmp_path, suffix):
    path = write_columns(tmp_path / f"events{suffix}", events())
    assert set(events()) <= set(column_names(path))
    assert same(read_columns(str(path), ["Jet_charge", "ht"]), {k: events()[k] for k in ("Jet_charge", "ht")})
    everything = read_columns(path)
    assert same({name: everything[name] for name in events()}, events())
    assert set(everything) == set(events())
    assert read_columns(path, []) == {}


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint64", "float32", "float64"])
def test_keeps_the_types_of_numbers(tmp_path, suffix, dtype):
    columns = {name: ak.values_astype(array, dtype) for name, array in events().items()}
    got = read_columns(write_columns(tmp_path / f"events{suffix}", columns))
    assert [str(array.type) for array in got.values()].count(f"3 * {dtype}") == 2
    assert [str(array.type) for array in got.values()].count(f"3 * var * {dtype}") == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_comes_with_names_near_it(tmp_path, suffix):
    path = write_columns(tmp_path / f"events{suffix}", events())
    with pytest.raises(SchemaError, match=rf"events{suffix}: there is no column 'jet_PX': did you mean Jet_px"):
        read_columns(path, ["ht", "jet_PX"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_cannot_be_read(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    with pytest.raises(FileNotFoundError, match=f"events{suffix}"):
        read_columns(path)
    path.touch()
    with pytest.raises(SchemaError, match=r"is empty \(0 bytes\)"):
        column_names(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SchemaError, match="is a directory"):
        read_columns(path)


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5"])
def test_a_file_of_another_kind(tmp_path, suffix):
    path = text(tmp_path / f"events{suffix}", "ht,run\n1.5,2\n" * 100)
    for read in (column_names, read_columns):
        with pytest.raises(SchemaError, match=rf"events{suffix}: it is not a \w+ file, it begins with b'ht,r"):
            read(path)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(SchemaError, match=r"a\.xls: the suffix must be one of .parquet, .*, .csv.gz"):
        read_columns(tmp_path / "a.xls")


def test_a_string_is_not_a_sequence_of_names(tmp_path):
    with pytest.raises(TypeError, match=r"got the string 'ht': write \['ht'\]"):
        read_columns(write_columns(tmp_path / "a.csv", events()), "ht")


def test_lists_of_a_collection_must_have_the_same_lengths(tmp_path):
    path = parquet(tmp_path / "a.parquet", Jet_px=[[1.0], [2.0, 3.0]], Jet_py=[[1.0], [2.0]], Mu_px=[[], [1.0]])
    with pytest.raises(SchemaError, match=r"a.parquet: event 1: columns 'Jet_px' and 'Jet_py' .* 2 and 1 entries"):
        read_columns(path)
    assert list(read_columns(path, ["Jet_py", "Mu_px"])) == ["Jet_py", "Mu_px"]


@pytest.mark.parametrize(
    "module",
    [
        event_file,
        hdf5_cells,
        hdf5_layouts,
        layouts,
        read_arrow,
        read_csv,
        read_hdf5,
        read_root,
        readers,
        tables,
        writers,
    ],
)
def test_nothing_heavy_is_imported_with_the_module(module):
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in imported} & {"awkward", "uproot", "pyarrow", "h5py", "pandas"}


# Damaged files


def outcome(read, path):
    """Return what a damaged file gives: columns, or the text of the one error that it may raise."""
    try:
        return read(path)
    except SchemaError as error:
        return str(error)


def check_damaged(content, path, columns, *, exact):
    """A damaged file must say so, or give what was there (where no checksum can tell: whatever is there)."""
    path.write_bytes(content)
    for got in (outcome(column_names, path), outcome(lambda file: read_columns(file, list(columns)), path)):
        if isinstance(got, str):
            assert str(path) in got
            assert "\n" not in got
        elif isinstance(got, dict) and exact:
            assert same(got, columns)


@pytest.mark.parametrize("num_events", [5, 2000])
@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5", ".csv.gz"])
def test_truncated_files(tmp_path, suffix, num_events):
    columns = events(num_events)
    content = write_columns(tmp_path / f"events{suffix}", columns).read_bytes()
    for cut in np.linspace(1, len(content) - 1, 24).astype(int):
        check_damaged(content[:cut], tmp_path / f"cut{suffix}", columns, exact=True)


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5", ".csv", ".csv.gz"])
def test_flipped_bytes(tmp_path, suffix):
    columns, choice = events(200), random.Random(1)
    content = write_columns(tmp_path / f"events{suffix}", columns).read_bytes()
    for _ in range(40):
        flipped = bytearray(content)
        flipped[choice.randrange(len(content))] ^= choice.randrange(1, 256)
        exact = suffix in (".parquet", ".h5", ".csv.gz")  # the others have no checksums
        check_damaged(bytes(flipped), tmp_path / f"flip{suffix}", columns, exact=exact)


def test_truncated_csv_line(tmp_path):
    path = text(tmp_path / "a.csv", "ht,run\n1.5,2\n1.5")
    with pytest.raises(SchemaError, match=r"a.csv: event 1: it has 1 cells but the header 2:"):
        read_columns(path)


# Parquet


def test_parquet_lists_of_all_kinds(tmp_path):
    lists = [[1.0, 2.0], None, [], [3.0, None]]
    path = parquet(
        tmp_path / "a.parquet",
        list=pa.array(lists, pa.list_(pa.float32())),
        large=pa.array(lists, pa.large_list(pa.float64())),
        fixed=pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.int16(), 2)),
        bools=pa.array([[True], [], [], [False]]),
        nothing=pa.array([[], [], [], []]),
    )
    got = read_columns(path)
    assert ak.array_equal(got["list"], ak.values_astype([[1, 2], [], [], [3, NAN]], "float32"), equal_nan=True)
    assert ak.array_equal(got["large"], ak.Array([[1, 2], [], [], [3, NAN]]), equal_nan=True, dtype_exact=False)
    assert got["fixed"].to_list() == [[1, 2], [], [3, 4], [5, 6]]
    assert got["bools"].to_list() == [[1], [], [], [0]]
    assert [str(got[name].type.content) for name in ("bools", "nothing")] == ["var * int8", "var * float64"]


def test_parquet_row_groups_and_bools(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"n": range(100), "b": [True, False] * 50, "h": np.ones(100, "f2")}), path, row_group_size=7
    )
    got = read_columns(path)
    assert got["n"].to_list() == list(range(100))
    assert [str(array.type.content) for array in got.values()] == ["int64", "int8", "float16"]


def test_parquet_nulls(tmp_path):
    path = parquet(tmp_path / "a.parquet", ht=[1.0, None], n=[1, None], Jet_n=[[1, None], []], void=pa.nulls(2))
    assert ak.array_equal(read_columns(path, ["ht"])["ht"], ak.Array([1, NAN]), equal_nan=True, dtype_exact=False)
    assert np.isnan(read_columns(path, ["void"])["void"]).to_list() == [True, True]
    for name, event in {"n": 1, "Jet_n": 0}.items():
        with pytest.raises(
            SchemaError,
            match=f"a.parquet: event {event}: column '{name}' is of type int64, which has no NaN for a null",
        ):
            read_columns(path, [name])


def test_parquet_columns_that_are_no_numbers(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        ht=[1.0],
        label=["x"],
        deep=[[[1.0]]],
        names=[["a"]],
        record=[{"a": 1}],
        day=[np.datetime64("2020", "s")],
    )
    assert column_names(path) == ["ht"]
    assert list(read_columns(path)) == ["ht"]
    for name, type_ in {"label": "string", "deep": "list<.*list<", "names": "list<", "record": "struct<"}.items():
        with pytest.raises(SchemaError, match=f"column '{name}' must hold a number or .*, got {type_}"):
            read_columns(path, ["ht", name])


@pytest.mark.parametrize("number", [-3, 5])
def test_parquet_metadata_that_contradict_themselves(tmp_path, number):
    content = parquet(tmp_path / "a.parquet", ht=np.arange(4.0)).read_bytes()
    footer = content.index(b"schema")  # the root of the schema, behind which the number of events stands
    at = content.index(b"\x16\x08\x19", footer)  # an integer, 4 as zigzag, and the list of row groups
    code = bytes([2 * number if number >= 0 else -2 * number - 1])
    (tmp_path / "a.parquet").write_bytes(content[: at + 1] + code + content[at + 2 :])
    with pytest.raises(SchemaError, match=rf"its row groups have 4 events, but the file {number}: it is corrupt"):
        column_names(tmp_path / "a.parquet")


def test_parquet_columns_of_one_name(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "b"]), path)
    assert read_columns(path)["b"].to_list() == [3]
    with pytest.raises(SchemaError, match=r"a.parquet: column 'a' must hold .*, got int64 occurring 2 times"):
        read_columns(path, ["a"])


# ROOT


@pytest.fixture
def trees(tmp_path):
    path = tmp_path / "trees.root"
    with uproot.recreate(path) as file:
        file.mktree("one", {"x": "float64"}).extend({"x": np.arange(3.0)})
        file.mktree("folder/two", {"y": "int32"}).extend({"y": np.arange(2)})
        file["title"] = "no tree"
    return path


def test_root_trees_are_named(trees):
    assert read_columns(f"{trees}:one")["x"].to_list() == [0, 1, 2]
    assert read_columns(f"{trees}:folder/two")["y"].to_list() == [0, 1]
    assert column_names(f"{trees}:one;1") == ["x"]
    with pytest.raises(SchemaError, match=r"has 2 trees and none is called Events: .*, out of: one, folder/two"):
        read_columns(trees)
    with pytest.raises(SchemaError, match=r"has no tree 'three': .*, out of: one, folder/two"):
        column_names(f"{trees}:three")


def test_root_without_a_tree(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file["title"] = "no tree"
    with pytest.raises(SchemaError, match="has 0 trees"):
        read_columns(tmp_path / "a.root")


def test_root_takes_events_or_the_only_tree(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("only", {"x": "float64"}).extend({"x": np.arange(3.0)})
    assert list(read_columns(tmp_path / "a.root")) == ["x"]
    with uproot.update(tmp_path / "a.root") as file:
        file.mktree("Events", {"y": "float64"}).extend({"y": np.arange(3.0)})
    assert list(read_columns(tmp_path / "a.root")) == ["y"]


def test_root_branches(tmp_path):
    jets = ak.zip({"pt": [[1.0, 2.0], [], [3.0]], "flag": [[True, False], [], [True]]})
    types = {"Jet": jets.type.content, "b": "bool", "vector": ("f4", (3,)), "matrix": ("f4", (2, 2)), "s": "string"}
    data = {"b": np.ones(3, bool), "vector": np.ones((3, 3)), "matrix": np.ones((3, 2, 2)), "s": ["a"] * 3}
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("T", types)
        for _ in range(2):  # two baskets
            file["T"].extend({"Jet": jets, **data})
    got = read_columns(tmp_path / "a.root")
    assert set(got) == {"nJet", "Jet_pt", "Jet_flag", "b", "vector"}
    assert got["nJet"].to_list() == [2, 0, 1] * 2
    assert got["Jet_pt"].to_list() == [[1, 2], [], [3]] * 2
    assert got["vector"].to_list() == [[1, 1, 1]] * 6
    assert str(got["b"].type) == "6 * int8"
    assert str(got["Jet_flag"].type) == "6 * var * int8"
    for name in ("matrix", "s"):
        with pytest.raises(SchemaError, match=f"a.root: column '{name}' must hold a number"):
            read_columns(tmp_path / "a.root", [name])


def test_root_ntuple(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("Events", {**events(), "label": ["a", "b", "c"], "deep": ak.Array([[[1.0]], [], []])})
    assert same({name: read_columns(tmp_path / "a.root")[name] for name in events()}, events())
    assert sorted(column_names(f"{tmp_path}/a.root:Events")) == sorted(events())


# HDF5


def test_hdf5_absent_slots_are_those_where_the_whole_collection_is_nan(tmp_path):
    path = hdf5(
        tmp_path / "a.h5",
        Jet_px=[[1.0, NAN, 3.0], [NAN, NAN, NAN]],
        Jet_py=[[1.0, 2.0, NAN], [NAN, NAN, 6.0]],
        Jet_charge=np.array([[1, 2, 3], [4, 5, 6]], "i2"),
        Mu_px=[[NAN, NAN, NAN], [1.0, NAN, 2.0]],
    )
    got = read_columns(path, ["Jet_px"])  # its absent slots need Jet_py
    assert ak.array_equal(got["Jet_px"], ak.Array([[1.0, NAN, 3.0], [NAN]]), equal_nan=True)
    got = read_columns(path)
    assert ak.array_equal(got["Jet_py"], ak.Array([[1.0, 2.0, NAN], [6.0]]), equal_nan=True)
    assert got["Jet_charge"].to_list() == [[1, 2, 3], [6]]
    assert str(got["Jet_charge"].type) == "2 * var * int16"
    assert got["Mu_px"].to_list() == [[], [1, 2]]


def test_hdf5_counters_say_which_slots_are_there(tmp_path):
    path = hdf5(tmp_path / "a.h5", g__Jet_px=[[1.0, NAN], [0.0, 0.0]], g__nJet=[2, 1], Mu_q=[[1, 0], [0, 0]])
    got = read_columns(path)
    assert ak.array_equal(got["g/Jet_px"], ak.Array([[1.0, NAN], [0.0]]), equal_nan=True)
    assert got["g/nJet"].to_list() == [2, 1]
    assert got["Mu_q"].to_list() == [[1, 0], [0, 0]]  # integers without a counter: no slot is absent


def test_hdf5_counters_may_count_more_particles_than_were_kept(tmp_path):
    path = hdf5(tmp_path / "a.h5", Jet_px=[[1.0, 2.0], [3.0, 0.0]], nJet=[7, 1])
    got = read_columns(path)
    assert got["Jet_px"].to_list() == [[1.0, 2.0], [3.0]]
    assert got["nJet"].to_list() == [7, 1]


@pytest.mark.parametrize(
    ("counter", "event", "complaint"),
    [
        ([1, -1], 1, "must have a whole number from 0 for each event, got -1: correct or rename it"),
        ([1.0, 0.5], 1, "got 0.5:"),
        ([NAN, 1], 0, "got nan:"),
        ([1], None, "1 entries"),
    ],
)
def test_hdf5_counters_that_cannot_be(tmp_path, counter, event, complaint):
    path = hdf5(tmp_path / "a.h5", Jet_px=[[1.0, NAN], [0.0, 0.0]], nJet=counter)
    with pytest.raises(SchemaError, match=f"'nJet', the counter of 'Jet_px' .*{complaint}") as caught:
        read_columns(path, ["Jet_px"])
    assert (caught.value.event, caught.value.column, caught.value.file) == (event, "nJet", str(path))


def test_hdf5_counted_columns_of_one_collection_have_one_shape(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["nJet"], file["Jet_px"], file["Jet_py"] = [1, 2], np.ones((2, 4)), np.ones((2, 2))
    with pytest.raises(SchemaError, match=r"'Jet_px' and 'Jet_py' .* the same shape, got \(2, 4\) and \(2, 2\)"):
        read_columns(tmp_path / "a.h5", ["Jet_px", "Jet_py"])


def test_hdf5_lists_structures_and_groups(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        lists = file.create_dataset("Mu_px", (3,), h5py.vlen_dtype(np.float32))
        lists[0], lists[2] = [1, 2], [3]
        table = np.zeros(3, [("ht", ">f4"), ("n", "i8"), ("label", "S3"), ("Jet_px", "f8", (2,)), ("clash", "i4")])
        table["ht"], table["Jet_px"] = [1, 2, 3], [[1, NAN], [NAN, NAN], [2, 3]]
        file["table"], file["group/table"], file["clash"] = table, table[["ht"]], np.ones(3, ">u2")
        file["group/flag"] = np.ones(3, bool)
        file["label"], file["cube"], file["scalar"], file["complex"] = (
            ["a"] * 3,
            np.ones((3, 2, 2)),
            1.0,
            np.ones(3) * 1j,
        )
        file["deep"] = np.zeros((2, 2), [("x", "f4")])
    expected = ["Mu_px", "ht", "n", "Jet_px", "table/clash", "group/ht", "clash", "group/flag", "cube_0", "cube_1"]
    assert sorted(column_names(path)) == sorted(expected)
    got = read_columns(path)
    assert got["Mu_px"].to_list() == [[1, 2], [], [3]]
    assert got["Jet_px"].to_list() == [[1], [], [2, 3]]
    assert got["ht"].to_list() == got["group/ht"].to_list() == [1, 2, 3]
    types = [str(got[name].type.content) for name in ("Mu_px", "ht", "clash", "table/clash", "group/flag")]
    assert types == ["var * float32", "float32", "uint16", "int32", "int8"]
    for name in ("cube", "scalar", "complex", "deep", "table/label"):
        with pytest.raises(SchemaError, match=f"a.h5: column '{name}' must hold a number"):
            read_columns(path, [name])


def test_hdf5_columns_that_do_not_fit_together(tmp_path):
    path = hdf5(tmp_path / "a.h5", ht=[1.0, 2.0], met=[1.0], Jet_px=np.ones((2, 3)), Jet_py=np.ones((2, 4)))
    with pytest.raises(SchemaError, match=r"a.h5: columns must .*, got 2 in column 'ht' and 1 in 'met'"):
        read_columns(path, ["ht", "met"])
    with pytest.raises(SchemaError, match=r"'Jet_px' and 'Jet_py' .* the same shape, got \(2, 3\) and \(2, 4\)"):
        read_columns(path, ["Jet_px"])


def test_hdf5_heaps_without_end_do_not_hang(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        lists = file.create_dataset("Mu_px", (20,), h5py.vlen_dtype(np.float32))
        for event in range(20):
            lists[event] = np.arange(event)
    content = path.read_bytes()
    assert read_columns(path)["Mu_px"].to_list() == [list(range(event)) for event in range(20)]
    heap = content.index(b"GCOL")
    path.write_bytes(content[: heap + 400] + bytes(len(content) - heap - 400))
    with pytest.raises(SchemaError, match="an endless heap"):
        read_columns(path)


# CSV


def test_csv_numbered_columns_are_jagged(tmp_path):
    path = text(
        tmp_path / "a.csv",
        "ht,Jet0_px,Jet0_n,Jet1_px,Jet1_n,Jet1_tag,label\n1,1.5,1,2.5,2,,a\n2,,,,,,b\n3,NaN,,,4,,c\n4,,,,,0.5,d\n",
    )
    assert column_names(path) == ["ht", "Jet0_px", "Jet0_n", "Jet1_px", "Jet1_n", "Jet1_tag", "Jet_px", "Jet_n"]
    got = read_columns(path)
    assert list(got) == ["ht", "Jet1_tag", "Jet_px", "Jet_n"]  # each number once
    assert ak.array_equal(got["Jet_px"], ak.Array([[1.5, 2.5], [], [NAN], [NAN]]), equal_nan=True)
    assert ak.array_equal(got["Jet_n"], ak.Array([[1.0, 2.0], [], [4.0], [NAN]]), equal_nan=True)
    flat = read_columns(path, ["Jet1_n", "ht"])
    assert ak.array_equal(flat["Jet1_n"], ak.Array([2.0, NAN, 4.0, NAN]), equal_nan=True)
    assert str(flat["ht"].type) == "4 * int64"
    with pytest.raises(SchemaError, match=r"column 'label' must hold a number .*, got string"):
        read_columns(path, ["label"])


def test_csv_integers_of_absent_particles_stay_integers(tmp_path):
    path = text(tmp_path / "a.csv", "Jet0_n,Jet1_n,Jet2_n\n1,,\n,,\n3,4,\n")
    got = read_columns(path)
    assert got["Jet_n"].to_list() == [[1], [], [3, 4]]
    assert str(got["Jet_n"].type) == "3 * var * int64"


def test_csv_numbers_in_names_that_do_not_count_from_0(tmp_path):
    path = text(
        tmp_path / "a.csv", "x1,x2,pt30_sum,Mu1_px,Mu2_px,El0_px,El2_px,El0_q,Jet_px,Jet0_px\n" + "1," * 9 + "1\n"
    )
    assert column_names(path) == path.read_text().splitlines()[0].split(",")
    assert list(read_columns(path)) == column_names(path)


def test_csv_types(tmp_path):
    path = text(tmp_path / "a.csv", "flag,empty,mixed,big\ntrue,,1,1e400\nfalse,,2.5,-inf\n")
    got = read_columns(path)
    assert [str(array.type.content) for array in got.values()] == ["int8", "float64", "float64", "float64"]
    assert got["big"].to_list() == [np.inf, -np.inf]


def test_csv_integers_above_int64(tmp_path, monkeypatch):
    monkeypatch.setattr(read_csv, "_CSV_BLOCK", 100)  # the large ones come late, and some are followed by others
    large, rows = 2**64 - 1, [f"{i},{i},0,1,1" for i in range(40)]
    content = [*rows, f"{large},{large},{large},{large},", *rows, "1,-1,0.5,1,1"]
    path = text(tmp_path / "a.csv", "\n".join(["event,signed,mixed,Jet0_id,Jet1_id", *content]))
    with open_events(path) as file:
        for start in (0, 39, 40):
            got = file.read(["event", "mixed", "Jet_id"], start)
            assert got["event"].to_list() == [*range(40), large, *range(40), 1][start:]
            assert str(got["mixed"].type.content) == "float64"
            assert got["Jet_id"].to_list() == [*[[1, 1]] * 40, [large], *[[1, 1]] * 41][start:]
    with pytest.raises(SchemaError, match=r"column 'signed' cannot be decoded .*'-1'"):
        read_columns(path, ["signed"])  # which no integer of 64 bits can hold, and no float64 without a loss


def test_csv_of_a_header_alone(tmp_path):
    for header in ("a,b", "a,b\n"):
        assert [len(column) for column in read_columns(text(tmp_path / "a.csv", header)).values()] == [0, 0]


def test_csv_files_that_are_not_tables(tmp_path):
    with pytest.raises(SchemaError, match=r"column 'a' occurs 2 times"):
        read_columns(text(tmp_path / "a.csv", "a,b,a\n1,2,3\n"))
    (tmp_path / "b.csv").write_bytes(bytes(range(256)) * 3)
    with pytest.raises(SchemaError, match=r"b\.csv"):
        read_columns(tmp_path / "b.csv", ["x"])
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10000)[:-20])
    with pytest.raises(SchemaError, match=r"c\.csv\.gz: it cannot be read as CSV"):
        read_columns(tmp_path / "c.csv.gz")


def test_csv_column_that_turns_into_text_far_down(tmp_path, monkeypatch):
    monkeypatch.setattr(read_csv, "_CSV_BLOCK", 1000)
    path = text(tmp_path / "a.csv", "n,m,label\n" + "1,2,\n" * 1000 + "x,2,signal\n")
    with pytest.raises(SchemaError, match=r"a.csv: event 1000: column 'n' must hold numbers, got 'x':"):
        read_columns(path)
    assert len(read_columns(path, ["m"])["m"]) == 1001
    assert column_names(path) == ["n", "m"]  # empty cells before the texts make no numbers of them


@pytest.mark.parametrize("kind", ["mktree", "mkrntuple"])
def test_fields_of_records_are_named_as_columns_of_a_collection(tmp_path, kind):
    jets = ak.zip({"pt": [[1.0, 2.0], [], [3.0]], "eta": [[0.1, 0.2], [], [0.3]]})
    with uproot.recreate(tmp_path / "a.root") as file:
        getattr(file, kind)("Events", {"Jet": jets, "label": np.array([0, 1, 0])})
    found = read_columns(tmp_path / "a.root")
    assert {"Jet_pt", "Jet_eta", "label"} <= set(found)
    assert found["Jet_eta"].tolist() == [[0.1, 0.2], [], [0.3]]
