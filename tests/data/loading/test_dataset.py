"""Events in memory: chosen, split and batched as a plain loop would, each exactly once, in an order that repeats."""

import copy
import math
import pickle
import sys
from collections import Counter

import awkward as ak
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader as PyGDataLoader

from lumigraph.data import EventDataset, table_to_tensor, write_columns
from lumigraph.data.files.event_file import EventFile
from lumigraph.data.loading import dataset as module
from lumigraph.events.adapters import to_rows
from lumigraph.events.batches import particles_of
from lumigraph.events.errors import SchemaError
from lumigraph.events.schema import EventSchema

SCHEMA = EventSchema(
    collections=("MET", "Jet"), feats_per_vec=("px", "py"), event_feats=("ht", "sphericity"),
    cat_feats=("n", "flavour"), targets=("label", "mass"), weight="w", ids=("event",),
)  # fmt: skip
HT = EventSchema(event_feats=("ht",), ids=("event",))
FIELDS = ("x", "slot", "u", "cat", "y", "weight", "batch", "ptr")
LENGTHS = (0, 2, 1, 0, 5, 1, 0)


def table(lengths=LENGTHS):
    """Return columns in which each number says where it belongs; an event of n particles has a MET and n - 1 jets."""
    n = len(lengths)
    jets = np.maximum(np.array(lengths, dtype=np.int64) - 1, 0)
    px = np.arange(jets.sum()) + 0.25
    met = np.where(np.array(lengths) > 0, -1.0 - np.arange(n), math.nan)
    return {
        "MET_px": met, "MET_py": 2 * met, "Jet_px": ak.unflatten(px, jets), "Jet_py": ak.unflatten(-px, jets),
        "ht": np.arange(n) * 10.0, "sphericity": np.arange(n) / n, "n": np.array(lengths), "flavour": np.arange(n) % 2,
        "label": np.arange(n) % 2, "mass": 100.0 + np.arange(n), "w": np.arange(n) - 1.5, "event": np.arange(n) + 2**60,
    }  # fmt: skip


def events(lengths=LENGTHS):
    return EventDataset.from_columns(table(lengths), SCHEMA)


def plain(n):
    """Return n events that hold nothing but their number."""
    return EventDataset.from_columns({"ht": np.arange(float(n)), "event": np.arange(n)}, HT)


def by_hand(columns, chosen):
    """Build the fields of a Batch from the columns, event by event."""
    n = len(columns["ht"])
    fields = {name: [] for name in FIELDS}
    fields["ptr"].append(0)
    for place, event in enumerate(int(i) % n for i in chosen):
        met = [columns["MET_px"][event], columns["MET_py"][event]]
        rows = [] if math.isnan(met[0]) else [met]
        rows += [list(row) for row in zip(columns["Jet_px"][event], columns["Jet_py"][event], strict=True)]
        fields["x"] += rows
        fields["slot"] += range(len(rows))
        fields["batch"] += [place] * len(rows)
        fields["ptr"].append(fields["ptr"][-1] + len(rows))
        fields["u"].append([columns["ht"][event], columns["sphericity"][event]])
        fields["cat"].append([columns["n"][event], columns["flavour"][event]])
        fields["y"].append([columns["label"][event], columns["mass"][event]])
        fields["weight"].append(columns["w"][event])
    dtypes = {name: np.float32 if name in ("x", "u", "y", "weight") else np.int64 for name in FIELDS}
    arrays = {name: np.array(value, dtype=dtypes[name]) for name, value in fields.items()}
    # without rows NumPy cannot tell that there are two columns
    return {name: torch.tensor(a.reshape(-1, 2) if name in ("x", "u", "cat", "y") else a) for name, a in arrays.items()}


def check_batch(batch, expected):
    assert isinstance(batch, Batch)
    assert set(batch.keys()) == set(expected)
    for name, value in expected.items():
        assert batch[name].dtype == value.dtype, name
        assert batch[name].shape == value.shape, name
        assert torch.equal(batch[name], value), name
    assert batch.num_graphs == len(expected["u"])


def fields_of(batch):
    return {name: batch[name] for name in batch.keys()}  # noqa: SIM118 (a Batch iterates over pairs)


def check_same(got, expected):
    """Check that two data sets hold the same events."""
    assert len(got) == len(expected)
    check_batch(got.batch(), fields_of(expected.batch()))
    assert got.ids.keys() == expected.ids.keys()
    assert all(np.array_equal(got.ids[name], ids) for name, ids in expected.ids.items())


def flat(lists):
    return [number for numbers in lists for number in numbers]


def order_of(loader):
    """Return the numbers of the events that a loader of `plain` gives, batch by batch."""
    return [batch.u[:, 0].long().tolist() for batch in loader]


# Choosing events


def test_a_batch_of_all_events_holds_them_in_order():
    check_batch(events().batch(), by_hand(table(), range(len(LENGTHS))))


@settings(max_examples=20)
@given(st.lists(st.integers(-7, 6), max_size=9))
@example([])
@example([0, 3, 6])
@example([4] * 5)
@example(list(range(7)))
def test_a_batch_holds_the_chosen_events_in_the_order_given(chosen):
    check_batch(events().batch(chosen), by_hand(table(), chosen))
    part = events().select(chosen)
    check_batch(part.batch(), by_hand(table(), chosen))
    assert len(part) == len(chosen)
    assert part.ids["event"].tolist() == [2**60 + i % 7 for i in chosen]


lengths_of_events = st.lists(st.one_of(st.integers(0, 2), st.just(30)), min_size=1, max_size=8)


@settings(max_examples=20)
@given(lengths_of_events, st.data())
@example([0, 0, 0], None)
@example([0, 30, 0], None)
def test_batches_are_made_as_a_loop_over_events_would(lengths, data):
    last = len(lengths) - 1
    chosen = [last, 0] if data is None else data.draw(st.lists(st.integers(0, last), min_size=1, max_size=6))
    check_batch(events(lengths).batch(chosen), by_hand(table(lengths), chosen))


@pytest.mark.parametrize(
    "indices",
    [
        [4, 0, -1],
        (4, 0, -1),
        np.array([4, 0, -1]),
        np.array([4, 0, 6], np.uint8),
        np.array([4, 0, 6], np.uint64),
        np.array([4, 0, -1], ">i4"),
        np.array([-1, 0, 4])[::-1],
        torch.tensor([4, 0, -1]),
        torch.tensor([4, 0, -1], dtype=torch.int16),
    ],
    ids=lambda indices: f"{type(indices).__name__} {getattr(indices, 'dtype', '')}",
)
def test_indices_may_be_of_any_integer_type(indices):
    check_batch(events().batch(indices), by_hand(table(), [4, 0, 6]))


def test_a_range_and_nothing_are_indices_too():
    check_batch(events().batch(range(1, 5)), by_hand(table(), [1, 2, 3, 4]))
    for nothing in ([], range(0), np.array([], np.int64), torch.tensor([], dtype=torch.long)):
        assert len(events().select(nothing)) == 0


def test_indices_that_cannot_be_written_to_are_read():
    indices = np.array([1, 4])
    indices.flags.writeable = False
    check_batch(events().batch(indices), by_hand(table(), [1, 4]))


def test_a_mask_chooses_the_events_where_it_is_true():
    data = events()
    mask = data.y[:, 0] == 1
    for kind in (mask, mask.numpy(), mask.tolist()):
        check_batch(data.batch(kind), by_hand(table(), [1, 3, 5]))
    assert len(data.select(torch.zeros(7, dtype=torch.bool))) == 0


@pytest.mark.parametrize(
    "indices",
    [
        [0.0, 1.0],
        np.array([0.5]),
        torch.tensor([1.0]),
        [[0, 1]],
        np.int64(1),
        [True, False],
        [slice(0, 2)],
        np.array(["1"]),
    ],
    ids=["floats", "fractions", "float tensor", "two axes", "no axis", "short mask", "slice", "text"],
)
def test_indices_that_are_none_are_an_error(indices):
    with pytest.raises(TypeError, match="indices must be numbers or a mask of 7 events, got"):
        events().select(np.asarray(indices) if not isinstance(indices, torch.Tensor) else indices)


@pytest.mark.parametrize("index", [7, -8, 100])
def test_an_event_that_there_is_not_is_an_error(index):
    for choose in (events().select, events().batch):
        with pytest.raises(IndexError, match=f"indices must be within the 7 events, got {index}"):
            choose([0, index])
    with pytest.raises(IndexError, match=f"indices must be within the 7 events, got {index}"):
        events()[index]
    with pytest.raises(IndexError, match="indices must be within the 0 events, got 0"):
        events().select([])[0]


def test_one_event_is_the_data_of_a_graph():
    columns = table()
    for index in range(-7, 7):
        got, expected = events()[index], by_hand(columns, [index])
        assert isinstance(got, Data)
        assert not isinstance(got, Batch)
        assert set(got.keys()) == {"x", "slot", "u", "cat", "y", "weight"}
        assert all(torch.equal(value, expected[name]) for name, value in fields_of(got).items())
        assert got.num_nodes == LENGTHS[index]


def test_events_can_be_walked_through_and_collated_by_pyg():
    data = events()
    walked = list(data)
    assert len(walked) == len(data)
    batch = Batch.from_data_list(walked)
    check_batch(data.batch(), {name: batch[name] for name in FIELDS})
    for index, event in enumerate(data.batch().to_data_list()):
        assert all(torch.equal(value, walked[index][name]) for name, value in fields_of(event).items())


def test_the_loader_of_pyg_gives_the_same_batches():
    data = events()
    for got, expected in zip(PyGDataLoader(data, batch_size=3), data.loader(3), strict=True):
        check_batch(got, fields_of(expected))


def test_parts_of_parts_are_parts():
    check_same(events().select([6, 4, 2, 0]).select([1, -1]), events().select([4, 0]))


def test_a_part_shares_nothing_with_the_whole():
    data = events()
    part = data.select(range(7))
    for name in ("x", "slot", "ptr", "u", "cat", "y", "weight"):
        getattr(part, name).zero_()
    part.ids["event"][:] = 0
    check_same(data, events())


def test_a_part_keeps_schema_and_class():
    class Mine(EventDataset):
        pass

    part = Mine.from_columns(table(), SCHEMA).select([0])
    assert type(part) is Mine
    assert part.schema is SCHEMA


def test_data_sets_can_be_copied_and_pickled():
    check_same(copy.deepcopy(events()), events())
    check_same(pickle.loads(pickle.dumps(events())), events())


# Length and looks


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        (EventSchema(event_feats=("a",)), {"a": [1.0, 2.0, 3.0]}),
        (EventSchema(cat_feats=("a",)), {"a": [1, 2, 3]}),
        (EventSchema(targets=("a",)), {"a": [1, 2, 3]}),
        (EventSchema(weight="a"), {"a": [1, 2, 3]}),
        (EventSchema(ids=("a",)), {"a": [1, 2, 3]}),
        (EventSchema(vecs=("a",), feats_per_vec=("px",)), {"a_px": [math.nan] * 3}),
        (EventSchema(collections=("a",), feats_per_vec=("px",)), {"a_px": [[], [], []]}),
    ],
    ids=["u", "cat", "y", "weight", "ids", "named", "lists"],
)
def test_any_field_tells_how_many_events_there_are(schema, columns):
    data = EventDataset.from_columns(columns, schema)
    assert len(data) == 3
    assert len(data.select([2, 1])) == 2
    assert len(data.split((0.5,))[0]) == 2


def test_events_without_particles_make_batches_too():
    data = plain(4)
    batch = data.batch([3, 1])
    assert batch.u.tolist() == [[3], [1]]
    assert batch.num_graphs == 2
    assert repr(data) == "EventDataset(events=4)"
    assert repr(events()) == "EventDataset(events=7, particles=9)"
    assert data[2].u.tolist() == [[2]]


# Splitting


@settings(max_examples=20)
@given(st.integers(3, 60), st.lists(st.floats(0.05, 1), min_size=1, max_size=4), st.integers(0, 2**40))
def test_a_split_is_disjoint_and_of_the_sizes_asked_for(n, fractions, seed):
    total = sum(fractions)
    fractions = [fraction / total if total > 1 else fraction for fraction in fractions]
    ends = [round(n * sum(fractions[:i])) for i in range(len(fractions) + 1)]
    sizes = np.diff(ends)
    if (sizes == 0).any():
        with pytest.raises(ValueError, match=f"{n} events cannot be split into .* without an empty part"):
            plain(n).split(fractions, seed=seed)
        return
    parts = plain(n).split(fractions, seed=seed)
    assert np.abs(np.array([len(part) for part in parts]) - sizes).max() <= 1  # a sum of fractions is rounded, too
    numbers = [part.ids["event"].tolist() for part in parts]
    assert all(part == sorted(part) for part in numbers)
    found = Counter(number for part in numbers for number in part)
    assert set(found) <= set(range(n))
    assert all(times == 1 for times in found.values())
    if math.isclose(sum(fractions), 1):
        assert len(found) == n


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.1,) * 10, (1.0,)])
def test_shares_that_add_up_to_1_leave_no_event_out(fractions):
    for n in (10, 101, 9999):
        assert sum(len(part) for part in plain(n).split(fractions)) == n


def test_the_same_seed_gives_the_same_split():
    parts = [[part.ids["event"].tolist() for part in plain(50).split(seed=seed)] for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


def test_a_split_is_at_random():
    train, val = plain(10_000).split((0.5, 0.5))
    for part in (train, val):
        assert part.u.mean().item() == pytest.approx(5000, abs=5 * 10_000 / math.sqrt(12 * 5000))


def test_a_split_keeps_events_whole():
    data = events(list(range(20)))
    for part in data.split((0.5, 0.5), seed=3):
        check_same(part, data.select(part.ids["event"] - 2**60))


@pytest.mark.parametrize("fractions", [(0.5, 0.6), (), (0.0, 0.5), (-0.1, 0.5), (1.1,)])
def test_shares_that_are_none_are_an_error(fractions):
    with pytest.raises(ValueError, match="fractions must be positive and add up to 1 at most, got"):
        plain(10).split(fractions)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_part_without_events_is_an_error(n):
    with pytest.raises(ValueError, match=f"{n} events cannot be split into .* without an empty part"):
        plain(n).split((0.6, 0.2, 0.2))


# Loading


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loader_gives_every_event_once(batch_size, shuffle):
    loader = events().loader(batch_size, shuffle=shuffle, seed=5)
    columns = table()
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == math.ceil(7 / batch_size)
        assert [batch.num_graphs for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        numbers = [[int(ht / 10) for ht in batch.u[:, 0]] for batch in batches]
        assert sorted(flat(numbers)) == list(range(7))
        assert shuffle or flat(numbers) == list(range(7))
        for chosen, batch in zip(numbers, batches, strict=True):
            check_batch(batch, by_hand(columns, chosen))
            check_batch(batch, fields_of(events().select(chosen).batch()))


def test_the_order_follows_from_seed_and_epoch_alone():
    data = plain(40)
    loader = data.loader(7, shuffle=True, seed=3)
    epochs = [flat(order_of(loader)) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = data.loader(11, shuffle=True, seed=3)
    for epoch in (2, 0, 1):
        other.batch_sampler.sampler.set_epoch(epoch)
        torch.manual_seed(epoch)
        np.random.seed(epoch)  # noqa: NPY002 (the global state of NumPy must not matter)
        assert flat(order_of(other)) == epochs[epoch]
    assert flat(order_of(data.loader(7, shuffle=True, seed=4))) not in epochs


def test_two_loaders_are_alike():
    first, second = (plain(40).loader(7, shuffle=True, seed=3) for _ in range(2))
    assert [order_of(first) for _ in range(3)] == [order_of(second) for _ in range(3)]


def test_a_loader_that_was_left_early_starts_again():
    loader = plain(40).loader(7, shuffle=True)
    next(iter(loader))
    assert sorted(flat(order_of(loader))) == list(range(40))


def test_without_shuffling_every_epoch_is_in_order():
    loader = plain(5).loader(2)
    assert [order_of(loader) for _ in range(2)] == [[[0, 1], [2, 3], [4]]] * 2


def test_workers_give_the_same_batches():
    data = events(list(range(12)))
    loaders = [data.loader(5, shuffle=True, seed=1, num_workers=workers) for workers in (0, 2)]
    for _ in range(2):
        alone, shared = (list(loader) for loader in loaders)
        assert len(alone) == len(shared) == 3
        for got, expected in zip(shared, alone, strict=True):
            check_batch(got, fields_of(expected))
            assert len(got.to_data_list()) == got.num_graphs


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_leaves_the_random_numbers_of_the_training_alone(workers):
    data = plain(10)
    before = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    list(data.loader(3, shuffle=True, num_workers=workers))
    data.split()
    after = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]


def test_batches_are_the_loaders_own():
    data = events()
    for batch in data.loader(7):
        batch.x.zero_()
        batch.u.zero_()
    check_same(data, events())


def test_batches_of_the_loader_go_through_the_adapters():
    for batch in events().loader(3, shuffle=True):
        matrix, mask = to_rows(batch)
        assert torch.equal(matrix[mask], particles_of(batch).x)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_is_not_positive_is_an_error(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        plain(3).loader(batch_size)


def test_a_loader_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="there are no events to load in the data set"):
        plain(0).loader(4)


def test_a_loader_goes_on_where_its_state_says():
    data = plain(40)
    loader = data.loader(7, shuffle=True, seed=1)
    epochs = [order_of(loader) for _ in range(3)]
    for epoch, batch in [(0, 0), (0, 3), (1, 5), (1, 6)]:
        other = data.loader(7, shuffle=True, seed=1)
        other.load_state_dict({"epoch": epoch, "batch": batch})
        other.set_epoch(epoch if batch < 6 else epoch + 1)  # as Lightning does
        assert order_of(other) == (epochs[epoch][batch:] or epochs[epoch + 1])
    passes = iter(loader)  # epoch 3
    next(passes)
    assert loader.state_dict() == {"epoch": 3, "batch": 1}
    loader.set_epoch(1)
    assert order_of(loader) == epochs[1]


def test_events_are_not_looped_over():
    def lines(num_events):
        data = events([2] * num_events)
        count = 0

        def trace(frame, event, _):
            nonlocal count
            count += event == "line"
            return trace if frame.f_code.co_filename == module.__file__ else None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            data.select(range(num_events))
            train, _ = data.split((0.5, 0.5))
            list(train.loader(num_events, shuffle=True))
            train.moments("x")
        finally:
            sys.settrace(before)
        return count

    assert lines(2000) == lines(20) > 0


# Numbers about the events


@pytest.mark.parametrize("field", ["x", "u", "y"])
def test_moments_are_those_of_numpy(field):
    data = events([3, 0, 1, 20])
    mean, std = data.moments(field)
    value = getattr(data, field).numpy().astype(np.float64)
    np.testing.assert_allclose(mean, value.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, value.std(axis=0), rtol=1e-6)
    assert (mean.dtype, std.dtype) == (torch.float32, torch.float32)


def test_moments_of_large_numbers_keep_their_digits():
    values = 1e6 + np.random.default_rng(0).normal(size=10_000)
    data = EventDataset.from_columns({"ht": values, "event": values}, HT)
    exact = values.astype(np.float32).astype(np.float64)
    mean, std = data.moments("u")
    assert mean.item() == pytest.approx(exact.mean(), rel=1e-7)
    assert std.item() == pytest.approx(exact.std(), rel=1e-6)


def test_moments_are_of_the_training_events_only():
    mean, std = plain(10).select([0, 2]).moments("u")
    assert (mean.item(), std.item()) == (1, 1)


def test_moments_of_nothing_change_nothing():
    for data, field in ((events().select([]), "u"), (events([0, 0]), "x")):
        mean, std = data.moments(field)
        assert (mean.tolist(), std.tolist()) == ([0, 0], [1, 1])


@pytest.mark.parametrize(
    ("field", "hint"), [("X", r"did you mean x\?"), ("cat", "there are: x, u, y"), ("w", "there are")]
)
def test_moments_of_what_is_no_such_field_are_an_error(field, hint):
    with pytest.raises(SchemaError, match=f"the data set has no field '{field}': {hint}"):
        events().moments(field)
    with pytest.raises(SchemaError, match="no field 'x': there are: u"):
        plain(3).moments("x")


def test_cardinalities_are_one_more_than_the_largest_code():
    assert events().cat_szs() == [6, 2]
    assert events().select([0]).cat_szs() == [1, 1]
    assert events().select([]).cat_szs() == [1, 1]
    assert plain(3).cat_szs() == []


# From tables and files


def test_a_table_of_pandas_is_a_data_set():
    schema = EventSchema(vecs=("jet0", "jet1"), feats_per_vec=("pt", "px"), event_feats=("ht",), ids=("event",))
    frame = pd.DataFrame(
        {"jet0_px": [3.0, 6.0], "jet0_py": [4.0, 8.0], "jet1_px": [math.nan, 1.0], "jet1_py": [math.nan, 0.0]}
    ).assign(ht=[1.0, 2.0], event=[2**53 + 1, 2**53 + 3])
    data = EventDataset.from_columns(frame, schema, labelled=False)
    np.testing.assert_allclose(data.x, [[5, 3], [10, 6], [1, 1]], rtol=1e-6)
    assert data.slot.tolist() == [0, 0, 1]
    assert data.ids["event"].tolist() == [2**53 + 1, 2**53 + 3]


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5", ".csv", ".csv.gz"])
def test_all_formats_give_the_same_events(tmp_path, suffix):
    columns = table([1, 2, 1, 5, 3])  # a MET in each event: ROOT and Parquet keep a NaN, and so do the others
    path = write_columns(tmp_path / f"events{suffix}", columns)
    expected = EventDataset.from_columns(columns, SCHEMA)
    check_same(EventDataset.from_file(path, SCHEMA), expected)
    check_same(EventDataset.from_file(str(path), SCHEMA), expected)


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5", ".csv"])
def test_an_absent_object_is_absent_in_all_formats(tmp_path, suffix):
    path = write_columns(tmp_path / f"events{suffix}", table())
    check_same(EventDataset.from_file(path, SCHEMA), events())


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5", ".csv"])
def test_named_objects_are_read_from_flat_columns(tmp_path, suffix):
    columns = {"a_px": np.array([1.0, math.nan]), "b_px": np.array([3.0, 4.0]), "event": np.array([5, 6])}
    schema = EventSchema(vecs=("b", "a"), feats_per_vec=("px",), ids=("event",))
    data = EventDataset.from_file(write_columns(tmp_path / f"events{suffix}", columns), schema)
    assert (data.x[:, 0].tolist(), data.slot.tolist(), data.ptr.tolist()) == ([3, 1, 4], [0, 1, 0], [0, 2, 3])


def test_a_tree_of_a_root_file_is_named_behind_a_colon(tmp_path):
    path = write_columns(tmp_path / "events.root", table())
    check_same(EventDataset.from_file(f"{path}:Events", SCHEMA), events())


def test_only_needed_columns_are_read(tmp_path, monkeypatch):
    path = write_columns(
        tmp_path / "events.parquet", {**table(), "Jet_btag": table()["Jet_px"], "other": table()["ht"]}
    )
    asked = []

    def read(self, columns, *events):
        asked.append(list(columns))
        return reader(self, columns, *events)

    reader = EventFile.read
    monkeypatch.setattr(EventFile, "read", read)
    EventDataset.from_file(path, SCHEMA)
    EventDataset.from_file(path, SCHEMA, labelled=False)
    labels = {"label", "mass", "w"}
    assert [set(names) for names in asked] == [set(table()), set(table()) - labels]


def test_without_labels_a_file_need_not_have_them(tmp_path):
    columns = {name: column for name, column in table().items() if name not in ("label", "mass", "w", "event")}
    path = write_columns(tmp_path / "events.parquet", columns)
    data = EventDataset.from_file(path, SCHEMA, labelled=False)
    assert data.y is data.weight is None
    assert data.ids == {}
    assert set(data.batch().keys()) == {"x", "slot", "u", "cat", "batch", "ptr"}
    for got, expected in ((data.x, events().x), (data.u, events().u), (data.ptr, events().ptr)):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ht": None}, "column 'ht' is missing"),
        ({"label": None}, "column 'label' is missing"),
        ({"ht": np.full(7, math.nan)}, "event 0: column 'ht' must be a finite number, got nan"),
        ({"MET_py": np.zeros(7)}, "event 0: column 'MET_px' is NaN but"),
        ({"n": np.array([0, 1, -2, 0, 0, 0, 0])}, "event 2: category 'n' must be a whole number .*, got -2"),
        ({"w": ak.Array([[1.0]] * 7)}, "column 'w' must hold one number per event, got lists"),
    ],
)
def test_errors_begin_with_the_name_of_the_file(tmp_path, suffix, change, message):
    columns = {name: column for name, column in {**table(), **change}.items() if column is not None}
    path = write_columns(tmp_path / f"events{suffix}", columns)
    with pytest.raises(SchemaError, match=message) as error:
        EventDataset.from_file(path, SCHEMA)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more"])
def test_errors_of_broken_files_begin_with_their_name(tmp_path, content):
    path = tmp_path / "events.parquet"
    path.write_bytes(content)
    with pytest.raises(SchemaError) as error:
        EventDataset.from_file(path, SCHEMA)
    assert str(error.value).startswith(str(path))


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"events\.parquet"):
        EventDataset.from_file(tmp_path / "events.parquet", SCHEMA)


# Tables as tensors


def test_tensors_are_left_as_they_are():
    x = torch.ones(2, 3, requires_grad=True)
    assert table_to_tensor(x) is x
    assert table_to_tensor(x, ["a"]) is x


def test_tables_of_pandas_are_ordered_by_name():
    frame = pd.DataFrame({"b": [2.0, 5.0], "text": ["x", "y"], "a": [1, 4]})
    assert table_to_tensor(frame, ["a", "b"]).tolist() == [[1, 2], [4, 5]]
    assert table_to_tensor(frame[["b", "a"]]).tolist() == [[2, 1], [5, 4]]
    assert table_to_tensor(frame, ["a"]).dtype == torch.int64


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1, 0], [0, 1]], dtype)
        for dtype in ("?", "i1", "u1", "<i2", "<i8", ">i8", "<u4", "<f2", "<f4", ">f4", "<f8", ">f8")
    ],
    ids=lambda array: array.dtype.str,
)
def test_arrays_of_any_number_type_and_layout_keep_their_numbers(array):
    expected = torch.eye(2)
    frozen = array.copy()
    frozen.flags.writeable = False
    for same in (array, array[::-1, ::-1], np.asfortranarray(array), frozen, array.tolist()):
        assert torch.equal(table_to_tensor(same).float(), expected)
    assert torch.equal(table_to_tensor(ak.Array(array.tolist())).float(), expected)


def test_a_tensor_cannot_write_into_an_array_that_cannot_be_written_to():
    array = np.ones((2, 2))
    array.flags.writeable = False
    table_to_tensor(array).zero_()
    assert array.tolist() == [[1, 1], [1, 1]]


def test_booleans_beside_numbers_are_numbers():
    assert table_to_tensor(pd.DataFrame({"a": [1.5, 2.5], "b": [True, False]})).tolist() == [[1.5, 1], [2.5, 0]]


def test_what_is_masked_or_missing_is_nan():
    for table in (np.ma.array([[1, 2]], mask=[[0, 1]]), pd.DataFrame({"a": [1.0], "b": [None]}, dtype="Float64")):
        got = table_to_tensor(table)
        assert got[0, 0] == 1
        assert got[0, 1].isnan()


def test_a_column_that_a_table_lacks_is_an_error_that_offers_near_names():
    frame = pd.DataFrame({"jet_px": [1.0], 0: [2.0]})
    with pytest.raises(SchemaError, match=r"column 'jet_pX' is missing: did you mean jet_px\?"):
        table_to_tensor(frame, ["jet_pX"])


def test_a_column_that_stands_twice_in_a_table_is_an_error():
    with pytest.raises(SchemaError, match="column 'a' occurs more than once"):
        table_to_tensor(pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a"])


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame({"a": ["x"]}), np.array(["1"]), {"a": [1]}, None, "events.csv", np.array([1j])],
    ids=["text in pandas", "text", "dict", "None", "path", "complex"],
)
def test_what_is_no_table_of_numbers_is_an_error(table):
    with pytest.raises(TypeError, match="the table must hold numbers, got"):
        table_to_tensor(table)


def test_slices_lists_and_masks_give_data_sets():
    data = plain(6)
    for index, expected in [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [5, 3, 1]),
        (slice(4, 99), [4, 5]),
        ([2, -1], [2, 5]),
        (np.array([True, False] * 3), [0, 2, 4]),
        (torch.tensor([3]), [3]),
    ]:
        assert data[index].numbers.tolist() == expected
    assert isinstance(data[np.int64(2)], Data)
