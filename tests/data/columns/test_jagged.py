"""Numbers and list lengths, against plain lists."""

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.data.columns.jagged import Jagged, offsets_of, sharing
from lumigraph.events.errors import SchemaError

LISTS = st.lists(st.lists(st.integers(-9, 9), max_size=4), min_size=1, max_size=6)


def lists_of(column):
    return [values.tolist() for values in np.split(column.values, column.offsets[1:-1])]


@given(LISTS, st.data())
def test_lists_are_read_cut_selected_and_given_back(lists, data):
    array = ak.values_astype(ak.Array(lists), np.float64, including_unknown=True)
    column = Jagged.of("a", array)
    assert len(column) == len(lists)
    assert lists_of(column) == column.to_awkward().to_list() == lists
    assert column.lengths.tolist() == [len(values) for values in lists]
    assert column.event.tolist() == [i for i, values in enumerate(lists) for _ in values]
    start = data.draw(st.integers(0, len(lists) - 1))
    part = Jagged.of("a", array[start:])  # whose offsets do not begin at 0
    assert part.offsets[0] == 0
    assert lists_of(part) == lists_of(column.between(start, len(lists))) == lists[start:]
    events = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1))
    assert lists_of(column.select(np.array(events))) == [lists[i] for i in events]
    assert lists_of(column.keep(column.values > 0)) == [[v for v in values if v > 0] for values in lists]
    assert lists_of(Jagged.from_matrix(*column.padded())) == lists


def test_one_number_per_event():
    column = Jagged.of("a", [3.0, 1.0, 2.0])
    assert column.offsets is None
    assert len(column) == 3
    assert column.lengths.tolist() == [1, 1, 1]
    assert column.event.tolist() == [0, 1, 2]
    assert column.select(np.array([2, 0])).values.tolist() == [2, 3]
    assert column.between(1, 3).to_awkward().to_list() == [1, 2]
    assert column.keep(np.array([True, False, True])).lengths.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (np.ma.masked_array([1, 2, 3], [False, True, False]), np.float64),
        (np.ma.masked_array(np.array([1, 2, 3], np.float32), [False, True, False]), np.float32),
        (ak.Array([1, None, 3]), np.float64),
        ([1, None, 3], np.float64),
    ],
)
def test_what_is_missing_is_nan(column, dtype):
    values = Jagged.of("a", column).values
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, [1, np.nan, 3])


def test_missing_numbers_and_lists_of_lists_of_events():
    column = Jagged.of("a", [[1, None], None, [3]])
    assert column.lengths.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(column.values, [1, np.nan, 3])
    assert Jagged.of("a", column) is column


@pytest.mark.parametrize("column", [["x"], [[[1]]], np.zeros((1, 1, 1)), np.array([1j]), ak.Array([{"x": 1}])])
def test_what_is_not_numbers_is_an_error(column):
    with pytest.raises(SchemaError, match="column 'a' must hold a number or a list of numbers per event") as caught:
        Jagged.of("a", column)
    assert caught.value.column == "a"


def test_numbers_keep_their_type_until_floats_are_asked_for():
    for dtype, floats in ((np.int32, np.float64), (np.float32, np.float32), (">f4", np.float64), (bool, np.float64)):
        column = Jagged.of("a", np.array([1, 0], dtype))
        assert column.values.dtype == dtype
        assert column.floats.dtype == floats


def test_columns_of_the_same_lengths_share_their_offsets():
    one, other, two = (Jagged.of("a", ak.Array(lists)) for lists in ([[1], []], [[2], []], [[], [3]]))
    shared = sharing({"one": one, "other": other, "two": two, "flat": Jagged.of("b", [1, 2])})
    assert shared["one"].offsets is shared["other"].offsets
    assert shared["two"].offsets is not shared["one"].offsets
    assert shared["flat"].offsets is None
    assert one.has_lists_of(other)
    assert not one.has_lists_of(two)
    assert not one.has_lists_of(shared["flat"])


def test_offsets_of_no_events():
    assert offsets_of(np.zeros(0, int)).tolist() == [0]
