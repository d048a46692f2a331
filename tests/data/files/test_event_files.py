"""Files read by ranges of events: the ranges together are the whole, whatever the cuts, in any process."""

import gc
import os
import pickle
import sys
from itertools import pairwise
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lumigraph.data.files import read_arrow, read_csv, writers
from lumigraph.data.files.readers import column_names, expand_paths, open_events, read_columns
from lumigraph.data.files.writers import write_columns
from lumigraph.events.errors import SchemaError

SUFFIXES = [".parquet", ".root", ".h5", ".csv", ".csv.gz"]
NUM_EVENTS = 300


def events():
    choice = np.random.default_rng(3)
    lengths = choice.integers(0, 4, NUM_EVENTS)
    number = lengths.sum()
    return {
        "ht": choice.normal(size=NUM_EVENTS),
        "run": np.arange(NUM_EVENTS),
        "Jet_px": ak.unflatten(choice.normal(size=number), lengths),
        "Jet_q": ak.unflatten(choice.integers(-1, 2, number), lengths),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of several small groups each, opened, with what they hold."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_csv, "_CSV_BLOCK", 2000)
        patch.setattr(writers, "_GROUP_EVENTS", 37)
        for suffix in SUFFIXES:
            write_columns(folder / f"events{suffix}", events())
        table = pq.read_table(folder / "events.parquet")
        pq.write_table(table, folder / "events.parquet", row_group_size=70)
        opened = {suffix: open_events(folder / f"events{suffix}") for suffix in SUFFIXES}
        found = {suffix: (file, read_columns(file.path)) for suffix, file in opened.items()}
    yield found
    for file in opened.values():
        file.close()


def assert_same(parts, whole):
    for name in whole:
        joined = ak.concatenate([part[name] for part in parts])
        assert ak.array_equal(joined, whole[name], equal_nan=True)
        assert {str(part[name].type.content) for part in parts} == {str(whole[name].type.content)}


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, NUM_EVENTS), max_size=8))
def test_ranges_together_are_the_whole(files, suffix, cuts):
    file, whole = files[suffix]
    edges = [0, *sorted(cuts), NUM_EVENTS]
    parts = [file.read(list(whole), start, stop) for start, stop in pairwise(edges)]
    assert_same(parts, whole)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_groups_read_by_turns(files, suffix):
    file, whole = files[suffix]
    begins = list(range(0, NUM_EVENTS, 40))
    parts = {begin: [] for begin in begins}
    for step in range(0, 40, 10):
        for begin in begins:
            start, stop = begin + step, min(begin + step + 10, NUM_EVENTS)
            parts[begin] += [file.read(list(whole), start, stop)] if start < stop else []
    assert_same([part for begin in begins for part in parts[begin]], whole)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_file_says_about_itself(files, suffix):
    file, whole = files[suffix]
    assert file.num_events == NUM_EVENTS
    assert file.names == column_names(file.path)
    assert set(whole) <= set(file.names) <= set(file.types)
    assert file.groups.dtype == np.int64
    assert file.groups[0] == 0
    assert file.groups[-1] == NUM_EVENTS
    assert np.all(np.diff(file.groups) > 0)
    if suffix != ".h5":
        assert len(file.groups) > 3
    for start, stop in [(-1, 3), (5, 3), (0, NUM_EVENTS + 1)]:
        with pytest.raises(ValueError, match=f"must be within 0 to {NUM_EVENTS}, got {start} to {stop}"):
            file.read(["ht"], start, stop)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pickled_and_forked(files, suffix):
    file, whole = files[suffix]
    file.read(["ht"], 3, 9)
    copy = pickle.loads(pickle.dumps(file))
    assert_same([copy.read(list(whole), 9, 40)], {name: column[9:40] for name, column in whole.items()})
    copy.close()
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert_same([file.read(["ht"], 9, 40)], {"ht": whole["ht"][9:40]})
        return
    try:
        same = ak.array_equal(file.read(["Jet_px"], 9, 40)["Jet_px"], whole["Jet_px"][9:40], equal_nan=True)
        os._exit(0 if same else 1)
    finally:
        os._exit(2)


def test_a_closed_file_says_so(tmp_path):
    with open_events(write_columns(tmp_path / "a.parquet", events())) as file:
        pass
    file.close()
    with pytest.raises(ValueError, match=r"a\.parquet has been closed"):
        file.read(["ht"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_without_events(tmp_path, suffix):
    none = {"ht": np.zeros(0), "Jet_px": ak.Array(ak.contents.ListOffsetArray(
        ak.index.Index64(np.zeros(1, np.int64)), ak.contents.NumpyArray(np.zeros(0))))}  # fmt: skip
    with open_events(write_columns(tmp_path / f"a{suffix}", none)) as file:
        assert file.num_events == 0
        assert file.groups.tolist() == [0]
        assert [len(column) for column in file.read(file.names).values()] == [0] * len(file.names)


# What is decoded


def test_parquet_ranges_in_a_row_group_are_decoded_once(tmp_path, monkeypatch):
    path = write_columns(tmp_path / "a.parquet", events())
    opened = []
    true = read_arrow._ParquetSource._batches
    monkeypatch.setattr(
        read_arrow._ParquetSource, "_batches", lambda self, *args: opened.append(args) or true(self, *args)
    )
    with open_events(path) as file:
        for start in range(0, NUM_EVENTS, 25):
            file.read(["Jet_px", "ht"], start, start + 25)
    assert len(opened) == 1


def test_root_baskets_are_decoded_once(tmp_path, monkeypatch):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as out:
        out.mktree("Events", {"x": "f8"})
        for start in range(0, 300, 100):
            out["Events"].extend({"x": np.arange(start, start + 100.0)})
    decoded = []
    with open_events(path) as file:
        true = type(file._source)._decoded
        monkeypatch.setattr(
            type(file._source), "_decoded", lambda self, *args: decoded.append(args) or true(self, *args)
        )
        parts = [file.read(["x"], start, start + 30)["x"] for start in range(0, 300, 30)]
    assert ak.concatenate(parts).to_list() == list(range(300))
    assert decoded == [("x", 0, 100), ("x", 100, 200), ("x", 200, 300)]


# Messages


def test_events_in_messages_are_those_of_the_file(tmp_path):
    lists = [[1.0]] * 9
    pq.write_table(
        pa.table({"Jet_px": lists, "Jet_py": [*lists[:7], [], [1.0]], "n": [*range(8), None]}), tmp_path / "a.parquet"
    )
    with open_events(tmp_path / "a.parquet") as file:
        with pytest.raises(SchemaError, match=r"a.parquet: event 7: columns 'Jet_px' and 'Jet_py' .* 1 and 0 entries"):
            file.read(["Jet_px", "Jet_py"], 5, 9)
        with pytest.raises(SchemaError, match=r"a.parquet: event 8: column 'n' .* null:"):
            file.read(["n"], 6)
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["Jet_px"], out["nJet"], out["met"] = np.ones((4, 2)), [1, 2, 1, -5], np.ones(4)
        out["odd"] = np.ones(3)
    with open_events(tmp_path / "a.h5") as file:
        with pytest.raises(SchemaError, match=r"a.h5: event 3: 'nJet', .* of shape \(4, 2\), .* got -5:"):
            file.read(["Jet_px"], 2)
        with pytest.raises(SchemaError, match=r"column 'odd' must have 4 events, as most others, .*, got 3"):
            file.read(["odd"], 0, 2)
    assert len(read_columns(tmp_path / "a.h5", ["odd"])["odd"]) == 3


def test_a_csv_line_that_is_cut_is_named_by_its_event(tmp_path, monkeypatch):
    monkeypatch.setattr(read_csv, "_CSV_BLOCK", 100)
    (tmp_path / "a.csv").write_text("a,b\n" + "1,2\n" * 60 + "3\n" + "1,2\n" * 60)
    with pytest.raises(SchemaError, match=r"a.csv: event 60: it has 1 cells but the header 2:"):
        open_events(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("last", "type_"), [("2.5,2", "float64"), (",2", "float64"), ("7,2", "int64"), ("nan,2", "float64")]
)
def test_csv_types_are_those_of_the_whole_file(tmp_path, monkeypatch, last, type_):
    monkeypatch.setattr(read_csv, "_CSV_BLOCK", 100)
    (tmp_path / "a.csv").write_text("a,b\n\n" + "1,2\r\n" * 100 + last)
    with open_events(tmp_path / "a.csv") as file:
        assert file.num_events == 101
        assert {str(file.read(["a"], start, start + 20)["a"].type.content) for start in range(0, 101, 27)} == {type_}
        assert file.read(["b"], 99)["b"].to_list() == [2, 2]


# Paths


def test_paths_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.root", "a.root", "c.csv", "d[1].csv"):
        (tmp_path / name).touch()
    assert expand_paths("*.root:Tree") == ["a.root:Tree", "b.root:Tree"]
    assert expand_paths(["c.csv", tmp_path / "a.root"]) == ["c.csv", str(tmp_path / "a.root")]
    assert expand_paths("d[1].csv") == ["d[1].csv"]
    with pytest.raises(SchemaError, match=r"x\*.root: no file matches"):
        expand_paths(["a.root", "x*.root"])
    with pytest.raises(SchemaError, match=r"a.root: it is named twice"):
        expand_paths(["*.root", "a.root"])
    assert expand_paths(["a.root:one", "a.root:two"]) == ["a.root:one", "a.root:two"]
    (tmp_path / "link.root").symlink_to("a.root")
    for again in ("./a.root", tmp_path / "a.root", "link.root", "a.root:Tree"):  # a.root may hold Tree alone
        with pytest.raises(SchemaError, match=r"\.root(:Tree)?: it is named twice, so its events would be too"):
            expand_paths(["a.root", again])
    with pytest.raises(SchemaError, match="no file is given"):
        expand_paths([])


@pytest.mark.parametrize("suffix", ["parquet", "h5", "root"])
def test_what_cannot_be_decoded_is_named_by_column_and_events(tmp_path, suffix):
    rng = np.random.default_rng(0)
    # numbers that can be compressed: ROOT has no checksum of what is not
    columns = {name: rng.integers(0, 9, 5000) * 1.0 for name in ("a", "b", "c")}
    path = write_columns(tmp_path / f"a.{suffix}", columns)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    with open_events(path) as file:
        with pytest.raises(
            SchemaError, match=rf"a.{suffix}: column '[abc]' cannot be decoded in events \d+ to 5000: .*corrupt"
        ) as error:
            file.read(["a", "b", "c"])
        others = [name for name in columns if f"column '{name}'" not in str(error.value)]
        assert len(others) == 2
        assert all(len(column) == 5000 for column in file.read(others).values())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_changes_or_vanishes_before_another_process_opens_it(tmp_path, suffix):
    path = write_columns(tmp_path / f"a{suffix}", {"a": np.arange(50.0)})
    with open_events(path) as file:
        elsewhere = pickle.dumps(file)
    write_columns(path, {"a": np.arange(90.0)}, overwrite=True)
    with pytest.raises(SchemaError, match=r"it had 50 events when it was opened, and now has 90"):
        pickle.loads(elsewhere).read(["a"], 0, 50)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(elsewhere).read(["a"], 0, 50)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_does_not_fit_into_memory_is_not_called_corrupt(tmp_path, suffix, monkeypatch):
    with open_events(write_columns(tmp_path / f"a{suffix}", {"a": np.arange(50.0)})) as file:
        monkeypatch.setattr(type(file._source), "read", lambda *_: np.empty(1 << 55))
        with pytest.raises(SchemaError, match=r"do not fit into memory, or .* corrupt \(Unable to allocate 256. PiB"):
            file.read(["a"])


def test_a_compressed_csv_file_that_has_become_shorter(tmp_path, monkeypatch):
    monkeypatch.setattr(read_csv, "_CSV_BLOCK", 100)
    path = write_columns(tmp_path / "a.csv.gz", {"a": np.arange(500)})
    with open_events(path) as file:
        write_columns(path, {"a": np.arange(5)}, overwrite=True)
        with pytest.raises(SchemaError, match="it has become shorter since it was opened"):
            file.read(["a"], 400)


@pytest.mark.parametrize("suffix", ["csv", "root", "parquet", "h5"])
def test_a_file_that_vanishes_while_it_is_read_is_named_or_read_to_its_end(tmp_path, suffix):
    path = write_columns(tmp_path / f"a.{suffix}", {"a": np.arange(50.0)})
    with open_events(path) as file:
        path.unlink()
        if suffix == "csv":  # opened anew for each range
            with pytest.raises(FileNotFoundError):
                file.read(["a"])
        else:
            assert file.read(["a"])["a"].tolist() == list(range(50))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the open files in /proc")
@pytest.mark.parametrize("suffix", ["root", "parquet", "h5", "csv"])
def test_a_file_that_nobody_reads_any_more_is_closed(tmp_path, suffix):
    path = write_columns(tmp_path / f"a.{suffix}", {"a": np.arange(50.0)})

    def opened():
        folder = Path("/proc/self/fd")
        return sum(os.path.realpath(entry) == str(path) for entry in folder.iterdir())

    for cycle in (False, True):
        file = open_events(path)
        file.read(["a"], 0, 10)
        if cycle:  # as in the traceback of an error
            file.itself = file
        del file
        gc.collect()
        assert opened() == 0
