"""Rows of chosen events, against a loop over the events."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.data import EventDataset
from lumigraph.data.loading.event_rows import EventRows
from lumigraph.events.graph import lengths_to_ptr
from lumigraph.events.schema import EventSchema

DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.int8, torch.bool]


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    shape=st.sampled_from([(), (0,), (1,), (3,), (2, 3)]),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_the_rows_of_chosen_events_are_those_of_a_loop(lengths, shape, dtype, data):
    ptr = lengths_to_ptr(torch.tensor(lengths))
    values = torch.arange(int(ptr[-1]) * int(np.prod(shape))).reshape(-1, *shape).to(dtype) if 0 not in shape else None
    values = torch.empty(int(ptr[-1]), *shape, dtype=dtype) if values is None else values
    events = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10))
    taken = EventRows(ptr).take(values, np.array(events, dtype=np.int64))
    expected = torch.cat([values[:0], *(values[ptr[i] : ptr[i + 1]] for i in events)])
    assert taken.dtype == dtype
    assert taken.shape == expected.shape
    assert torch.equal(taken, expected)


def test_rows_that_are_not_next_to_each_other_in_memory_are_taken_alike():
    values = torch.arange(12.0).reshape(6, 2)[:, :1]
    taken = EventRows(torch.tensor([0, 2, 6])).take(values, np.array([1, 0]))
    assert taken[:, 0].tolist() == [4, 6, 8, 10, 0, 2]


def test_an_event_that_there_is_not_is_refused():
    with pytest.raises(IndexError):
        EventRows(torch.tensor([0, 1])).take(torch.ones(1, 1), np.array([1]))


def test_a_data_set_notices_that_its_particles_were_replaced():
    columns = {"Jet_px": [[1.0, 2.0], [3.0]]}
    events = EventDataset.from_columns(columns, EventSchema(collections=("Jet",), feats_per_vec=("px",)))
    assert events.select([1]).x.tolist() == [[3.0]]
    events.x, events.slot, events.ptr = torch.tensor([[5.0], [6.0]]), torch.zeros(2).long(), torch.tensor([0, 0, 2])
    assert events.select([-1]).x.tolist() == [[5.0], [6.0]]
