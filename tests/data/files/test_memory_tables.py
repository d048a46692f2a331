"""Tables in memory: every kind gives the same named columns."""

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lumigraph.data.files.memory_tables import memory_columns
from lumigraph.data.files.tables import checked_columns
from lumigraph.events.errors import SchemaError

JETS = [[1.5, 2.5], [], [3.5]]
TABLES = {
    "mapping": {"ht": np.arange(3.0), "Jet_px": ak.Array(JETS)},
    "frame": pd.DataFrame({"ht": np.arange(3.0), "Jet_px": JETS}),
    "frame of arrays": pd.DataFrame({"ht": np.arange(3.0), "Jet_px": [np.array(jets) for jets in JETS]}),
    "frame with a missing cell": pd.DataFrame({"ht": np.arange(3.0), "Jet_px": [JETS[0], None, JETS[2]]}),
    "frame of arrow": pd.DataFrame(
        {"ht": np.arange(3.0), "Jet_px": pd.Series(JETS, dtype=pd.ArrowDtype(pa.list_(pa.float64())))}
    ),
    "mapping of series": {"ht": pd.Series(np.arange(3.0), index=[5, 7, 9]), "Jet_px": pd.Series(JETS)},
    "mapping of arrow": {"ht": pa.array(np.arange(3.0)), "Jet_px": pa.chunked_array([JETS[:1], JETS[1:]])},
    "records": ak.Array({"ht": np.arange(3.0), "Jet_px": ak.Array(JETS)}),
    "records in records": ak.zip({"ht": np.arange(3.0), "Jet": ak.zip({"px": ak.Array(JETS)})}, depth_limit=1),
    "arrow": pa.table({"ht": np.arange(3.0), "Jet_px": JETS}),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_all_kinds(kind):
    columns = memory_columns(TABLES[kind])
    assert list(columns) == ["ht", "Jet_px"]
    checked = checked_columns(columns)
    assert checked["ht"].to_list() == [0, 1, 2]
    assert checked["Jet_px"].to_list() == JETS
    assert str(checked["Jet_px"].type) == "3 * var * float64"


def test_structured_arrays():
    table = np.zeros(3, [("ht", "f4"), ("n", "i8")])
    table["n"] = [1, 2, 3]
    columns = memory_columns(table)
    assert {name: column.dtype.name for name, column in columns.items()} == {"ht": "float32", "n": "int64"}
    assert columns["n"].tolist() == [1, 2, 3]


def test_missing_numbers_and_texts_in_a_frame():
    frame = pd.DataFrame(
        {"n": pd.array([1, None], dtype="Int64"), "m": pd.array([1, 2], dtype="Int32"), "s": ["a", "b"]}
    )
    columns = memory_columns(frame)
    np.testing.assert_array_equal(columns["n"], [1, np.nan])
    assert columns["m"].dtype == np.int32
    assert list(columns["s"]) == ["a", "b"]


def test_a_frame_without_events():
    columns = memory_columns(TABLES["frame"].iloc[:0])
    assert {name: (len(column), column.dtype.kind) for name, column in columns.items()} == {
        "ht": (0, "f"),
        "Jet_px": (0, "f"),
    }


def test_types_of_pandas_that_pyarrow_does_not_know():
    columns = memory_columns(pd.DataFrame({"x": pd.arrays.SparseArray([1.0, 0.0])}))
    assert columns["x"].tolist() == [1, 0]


def test_what_a_pyarrow_table_holds_beside_numbers():
    view = pa.array([[1], [2, 3]], pa.list_view(pa.int64()))
    table = pa.table({"n": [1, None], "s": ["a", None], "record": [{"a": 1}] * 2, "view": view, "deep": [[[1.0]], []]})
    columns = memory_columns(table)
    np.testing.assert_array_equal(columns["n"], [1, np.nan])
    assert all(len(column) == 2 for column in columns.values())
    for name in ("s", "record", "view", "deep"):  # of no use, and no harm to those who do not ask for them
        with pytest.raises(SchemaError, match=f"column '{name}' must hold numbers or lists of numbers, got ndarray"):
            checked_columns({name: columns[name]})


def test_integers_beside_a_missing_one_that_would_lose_digits():
    frame = pd.DataFrame({"event": pd.array([2**53 + 1, None], dtype="Int64")})
    for table in (frame, pa.Table.from_pandas(frame)):
        with pytest.raises(SchemaError, match="event 1: column 'event' is of type int64, which has no NaN for a null"):
            memory_columns(table)


def test_flat_columns_of_a_frame_are_not_copied():
    values = np.arange(3.0)
    assert np.shares_memory(memory_columns({"x": values})["x"], values)
    assert np.shares_memory(memory_columns(pa.table({"x": values}))["x"], values)


def test_what_is_no_table():
    with pytest.raises(SchemaError, match=r"got list: give columns by name"):
        memory_columns([1, 2])
    with pytest.raises(SchemaError, match=r"got Array: give columns by name"):
        memory_columns(ak.Array(JETS))
    with pytest.raises(SchemaError, match=r"column names must be strings, got 0: rename it"):
        memory_columns(pd.DataFrame([[1.0]]))
    with pytest.raises(SchemaError, match=r"column 'a' occurs 2 times"):
        memory_columns(pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]))
