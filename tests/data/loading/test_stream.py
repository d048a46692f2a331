"""Streams of events from files, against the same events in memory."""

import math
import pickle
import warnings
from dataclasses import replace
from itertools import pairwise

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lumigraph import EventDataset, EventSchema, SchemaError
from lumigraph.data import EventStream, write_columns
from lumigraph.data.files.event_file import EventFile
from lumigraph.data.files.read_arrow import _ParquetSource
from lumigraph.data.loading.chunks import cut
from lumigraph.events.errors import EventError

SCHEMA = EventSchema(
    collections=("Jet",), feats_per_vec=("px", "py"), event_feats=("number",), cat_feats=("c",), targets=("label",),
    weight="w", ids=("event",),
)  # fmt: skip


def table(size, first=0, seed=0):
    rng = np.random.default_rng((seed, first))
    n = rng.integers(0, 5, size)
    lists = {f"Jet_{k}": ak.unflatten(rng.normal(size=n.sum()).astype("f4"), n) for k in ("px", "py")}
    number = np.arange(first, first + size)
    w = rng.uniform(-0.5, 2, size)
    return {**lists, "number": number, "event": 1000 + number, "c": number % 3, "label": number % 2, "w": w}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three files of two formats, one of them without events; 161 events."""
    folder = tmp_path_factory.mktemp("events")
    write_columns(folder / "a.parquet", table(70))
    write_columns(folder / "b.root", table(0, 70))
    write_columns(folder / "c.root", table(91, 70))
    return [folder / "a.parquet", folder / "b.root", folder / "c.root"]


def stream(files, schema=SCHEMA, chunk_size=16, **options):
    return EventStream(files, schema, chunk_size=chunk_size, **options)


def numbers(batches):
    return [batch.u[:, 0].int().tolist() for batch in batches]


def flat(lists):
    return [item for part in lists for item in part]


def check_same(first, second):
    for name in ("x", "slot", "ptr", "u", "cat", "y", "weight"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert first.numbers.tolist() == second.numbers.tolist()
    assert {k: v.tolist() for k, v in first.ids.items()} == {k: v.tolist() for k, v in second.ids.items()}


def test_chunks_are_the_events_of_the_files_in_their_order(files):
    whole = EventDataset.from_columns(
        {name: ak.concatenate([table(70)[name], table(91, 70)[name]]) for name in table(1)}, SCHEMA
    )
    events = stream(files)
    assert len(events) == 161
    assert repr(events) == "EventStream(files=3, events=161)"
    parts = list(events.chunks())
    assert max(map(len, parts)) <= 16
    check_same(EventDataset.concatenate(parts), whole)
    check_same(events.read(), whole)
    check_same(EventDataset.from_file(files, SCHEMA), whole)
    assert max(map(len, events.chunks(5))) == 5
    check_same(EventDataset.concatenate(list(events.chunks(5))), whole)


def test_files_are_found_by_a_pattern(files):
    assert len(EventStream(files[0].parent / "*.root", SCHEMA)) == 91
    assert len(EventStream(f"{files[0].parent}/[bc].root:Events", SCHEMA)) == 91


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("num_ranks", "batch_size"), [(1, 1), (1, 23), (2, 10), (3, 23), (7, 1), (7, 500)])
def test_each_event_comes_once_on_one_rank(files, shuffle, num_ranks, batch_size):
    events = stream(files)
    loaders = [
        events.loader(batch_size, shuffle=shuffle, seed=2, buffer_size=3, rank=r, num_ranks=num_ranks)
        for r in range(num_ranks)
    ]
    whole = events.read()
    for _ in range(2):
        shares = [list(loader) for loader in loaders]
        assert {len(share) for share in shares} == {len(loaders[0])} == {math.ceil((161 // num_ranks) / batch_size)}
        assert sorted(flat(flat(numbers(share)) for share in shares)) == list(range(161))
        sizes = [sum(batch.num_graphs for batch in share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        for batch in flat(shares):
            expected = whole.select(batch.u[:, 0].long()).batch()
            for name in ("x", "slot", "ptr", "batch", "u", "cat", "y", "weight"):
                assert torch.equal(batch[name], expected[name]), name
            assert len(batch.to_data_list()) == batch.num_graphs
    assert shuffle or flat(numbers(loaders[0])) == list(range(161 // num_ranks))


def test_epochs_are_shuffled_and_follow_from_seed_and_epoch_alone(files):
    first, second, other = (stream(files).loader(20, shuffle=True, seed=seed) for seed in (1, 1, 2))
    epochs = [flat(numbers(first)) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert flat(numbers(other)) != epochs[0]
    for epoch in (2, 0, 1):
        second.set_epoch(epoch)
        assert flat(numbers(second)) == epochs[epoch]


def test_a_window_mixes_events_of_different_chunks(files):
    batches = numbers(stream(files).loader(16, shuffle=True, seed=1, buffer_size=5))
    assert np.mean([len({number // 16 for number in batch}) for batch in batches]) > 3


def test_workers_do_not_change_the_order(files):
    alone, shared = (stream(files).loader(20, shuffle=True, seed=1, buffer_size=2, num_workers=n) for n in (0, 2))
    for _ in range(2):
        assert numbers(alone) == numbers(shared)


@pytest.fixture
def decoded(monkeypatch):
    """Numbers of rows that were decoded of row groups that were not read as a whole."""
    sizes = []

    def batches(self, *place):
        begin, found = of_source(self, *place)
        return begin, (sizes.append(batch.num_rows) or batch for batch in found)

    of_source = _ParquetSource._batches
    monkeypatch.setattr(_ParquetSource, "_batches", batches)
    return sizes


@pytest.fixture(scope="module")
def large_groups(tmp_path_factory):
    """Twelve files of one row group each, of 4000 events."""
    folder = tmp_path_factory.mktemp("groups")
    for i in range(12):
        number = np.arange(4000 * i, 4000 * (i + 1))
        write_columns(folder / f"{i:02}.parquet", {"number": number})
    return folder / "*.parquet"


@pytest.mark.parametrize(("buffer_size", "num_ranks"), [(16, 1), (8, 3), (8, 4)])
def test_a_rank_decodes_its_own_share_only(large_groups, decoded, buffer_size, num_ranks):
    seen = []
    for rank in range(num_ranks):
        decoded.clear()
        events = stream(large_groups, EventSchema(event_feats=("number",)), 1000)
        loader = events.loader(512, shuffle=True, buffer_size=buffer_size, rank=rank, num_ranks=num_ranks)
        seen += flat(numbers(loader))
        assert sum(decoded) == 48_000 / num_ranks
    assert sorted(seen) == list(range(48_000))


def test_files_of_different_sizes_are_mixed_evenly(tmp_path):
    for name, size in (("signal", 6000), ("background", 42_000)):
        write_columns(tmp_path / f"{name}.parquet", {"number": np.full(size, name == "signal", dtype="i1")})
    events = stream(tmp_path / "*.parquet", EventSchema(event_feats=("number",)), 1000)
    share = [float(batch.u.mean()) for batch in events.loader(500, shuffle=True)]
    assert min(share) > 0.05
    assert max(share) < 0.3


@given(st.integers(0, 40), st.integers(1, 30), st.integers(0, 3))
@settings(max_examples=20)
def test_an_epoch_goes_on_at_any_batch(files, batch, batch_size, epoch):
    loader = stream(files).loader(batch_size, shuffle=True, seed=3, buffer_size=3, rank=1, num_ranks=2)
    loader.set_epoch(epoch)
    expected = numbers(loader)
    other = stream(files).loader(batch_size, shuffle=True, seed=3, buffer_size=3, rank=1, num_ranks=2)
    other.load_state_dict({"epoch": epoch, "batch": min(batch, len(expected) - 1)})
    assert numbers(other) == expected[min(batch, len(expected) - 1) :]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    "limits",
    [
        {"particles_per_batch": 12},
        {"pairs_per_batch": 30},
        {"batch_size": 9, "pairs_per_batch": 40},
        {"batch_size": 8, "bucketed": True},
        {"particles_per_batch": 15, "bucketed": True},
    ],
)
def test_batches_of_a_stream_keep_their_limits(files, limits, shuffle):
    events = stream(files)
    for num_ranks in (1, 2):
        loaders = [
            events.loader(**limits, shuffle=shuffle, seed=1, buffer_size=4, rank=r, num_ranks=num_ranks, num_workers=0)
            for r in range(num_ranks)
        ]
        epochs = [[list(loader) for loader in loaders] for _ in range(2)]
        for shares in epochs:
            assert {len(share) for share in shares} == {len(loaders[0])}
            assert sorted(flat(flat(numbers(share)) for share in shares)) == list(range(161))
            for batch in flat(shares):
                n = batch.ptr.diff()
                assert batch.num_graphs <= limits.get("batch_size", 161)
                assert int(n.sum()) <= limits.get("particles_per_batch", 999)
                assert int((n * (n - 1)).sum()) <= limits.get("pairs_per_batch", 9999)
        assert (numbers(epochs[0][0]) != numbers(epochs[1][0])) == shuffle
        if limits.get("bucketed"):
            assert np.mean([float(batch.ptr.diff().float().std(correction=0)) for batch in epochs[0][0]]) < 0.5
    other = events.loader(**limits, shuffle=shuffle, seed=1, buffer_size=4, rank=1, num_ranks=2, num_workers=1)
    middle = len(other) // 2
    other.load_state_dict({"epoch": 1, "batch": middle})
    assert numbers(other) == numbers(epochs[1][1])[middle:]


def test_an_event_beyond_a_limit_is_named(files):
    events = stream(files)
    with pytest.raises(
        ValueError, match=r"a.parquet: event \d+: it must have at most particles_per_batch=3 particles, got 4"
    ) as error:
        events.loader(particles_per_batch=3)
    assert int(events.read().ptr.diff()[error.value.event]) == 4
    with pytest.raises(ValueError, match="a batch must have a limit"):
        events.loader()


def test_selected_events_are_counted_and_shared(files):
    schema = EventSchema(**{**SCHEMA.to_dict(), "event_selection": "nJet >= 2 and number % 3 != 0"})
    events = stream(files, schema)
    whole = EventDataset.from_file(files, schema)
    assert 0 < len(events) == len(whole) < 100
    check_same(events.read(), whole)
    shares = [numbers(events.loader(7, shuffle=True, rank=r, num_ranks=2)) for r in (0, 1)]
    assert sorted(flat(flat(shares))) == whole.numbers.tolist()
    assert len(shares[0]) == len(shares[1])


def test_counting_reads_the_columns_of_the_selection_only(files, monkeypatch):
    asked = []

    def read(self, columns, *events):
        asked.extend(columns)
        return reader(self, columns, *events)

    reader = EventFile.read
    monkeypatch.setattr(EventFile, "read", read)
    assert len(stream(files)) == 161
    assert not asked  # the metadata tell
    schema = EventSchema(event_feats=("number",), targets=("label",), event_selection="c == 1")
    assert len(stream(files, schema)) == 54
    assert set(asked) == {"c"}


def test_a_split_is_disjoint_complete_and_follows_from_the_seed(files):
    parts = stream(files).split((0.5, 0.3, 0.2), seed=4)
    found = [part.read().numbers.tolist() for part in parts]
    assert [len(part) for part in parts] == [len(part) for part in found]
    assert sorted(flat(found)) == list(range(161))
    assert found == [
        part.read().numbers.tolist() for part in stream(files, chunk_size=50).split((0.5, 0.3, 0.2), seed=4)
    ]
    assert found[0] != stream(files).split((0.5, 0.5), seed=5)[0].read().numbers.tolist()
    assert sorted(flat(numbers(parts[1].loader(5, shuffle=True)))) == found[1]
    with pytest.raises(ValueError, match="already a part of a split"):
        parts[0].split()
    with pytest.raises(ValueError, match="add up to 1 at most"):
        stream(files).split((0.9, 0.9))


def test_the_shares_of_a_split_are_right_for_many_events(tmp_path):
    path = write_columns(tmp_path / "many.parquet", {"x": np.zeros(100_000, "i1")})
    parts = EventStream(path, EventSchema(event_feats=("x",))).split((0.6, 0.2, 0.2))
    assert [len(part) / 1e5 for part in parts] == pytest.approx([0.6, 0.2, 0.2], abs=0.005)


def test_what_a_model_asks_of_its_events(files):
    events, whole = stream(files), EventDataset.from_file(files, SCHEMA)
    assert events.mean_weight() == pytest.approx(whole.mean_weight())
    assert events.cat_szs() == whole.cat_szs() == [3]
    schema = EventSchema(**{**SCHEMA.to_dict(), "event_selection": "nJet > 2 and c < 2"})
    events, whole = stream(files, schema), EventDataset.from_file(files, schema)
    assert events.mean_weight() == pytest.approx(whole.mean_weight())
    assert events.cat_szs() == [2]


def test_tables_hold_the_input_as_it_is(files):
    schema = EventSchema(**{**SCHEMA.to_dict(), "event_selection": "c == 1"})
    found = list(stream(files, schema).tables(["Jet_px", "number", "nothing"]))
    assert (
        flat(t.columns["number"].tolist() for t in found) == flat(t.numbers.tolist() for t in found) == list(range(161))
    )
    assert flat(t.events.numbers.tolist() for t in found) == list(range(1, 161, 3))
    assert set(found[0].columns) == {"Jet_px", "number"}
    assert set(next(stream(files).tables()).columns) == set(table(1))


def test_a_stream_may_be_pickled_and_read_again(files):
    events = stream(files)
    first = events.read()
    check_same(pickle.loads(pickle.dumps(events)).read(), first)
    check_same(events.read(), first)


def test_the_errors_name_file_column_and_event(files, tmp_path):
    write_columns(tmp_path / "d.root", {name: v for name, v in table(30).items() if name != "Jet_py"})
    with pytest.raises(SchemaError, match=r"d.root: column 'Jet_py' is missing") as caught:
        stream([*files, tmp_path / "d.root"])
    assert caught.value.__notes__ == [f"{files[0]} has all that the schema needs"]
    bad = table(60)
    bad["number"] = np.where(np.arange(60) == 37, np.nan, bad["number"])
    write_columns(tmp_path / "e.root", bad)
    events = stream([files[0], tmp_path / "e.root"])
    with pytest.raises(SchemaError, match=r"e.root: event 37: column 'number' must be a finite number, got nan"):
        events.read()
    with pytest.raises(SchemaError, match=r"e.root: event 37: column 'number' must be a finite number, got nan"):
        list(events.loader(10, shuffle=True, num_workers=1))
    with pytest.raises(SchemaError, match="no file matches"):
        stream(tmp_path / "*.h5")


def test_what_cannot_be_loaded_is_an_error(files):
    events = stream(files)
    with pytest.raises(ValueError, match="161 events are too few for 200 ranks"):
        list(events.loader(10, rank=0, num_ranks=200))
    with pytest.raises(ValueError, match="rank and num_ranks must be given together"):
        events.loader(10, rank=0)
    for options in ({"batch_size": 0}, {"batch_size": 4, "buffer_size": 0}):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            events.loader(**options)
    with pytest.raises(ValueError, match="there are no events after the selection"):
        stream(files[1]).loader(10)
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        stream(files, chunk_size=0)


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 30))
def test_chunks_cover_a_file_within_the_limit(sizes, chunk_size):
    groups = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    chunks = list(cut(groups, chunk_size))
    assert [start for start, _, _ in chunks] == [0, *(stop for _, stop, _ in chunks)][: len(chunks)]
    assert sum(stop - start for start, stop, _ in chunks) == sum(sizes)
    assert all(0 < stop - start <= chunk_size for start, stop, _ in chunks)
    inner = set(groups.tolist())
    for (_, stop, _), (_, _, begins) in pairwise(chunks):
        assert begins or stop not in inner  # only a group that is too large is cut


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_in_a_worker_is_the_same_sentence(files, tmp_path, num_workers):
    wrong = table(70, 200)
    wrong["number"] = np.where(wrong["event"] == 1263, np.nan, wrong["number"])
    path = write_columns(tmp_path / "wrong.root", wrong)
    with pytest.raises(SchemaError) as caught:
        list(stream([files[0], path]).loader(8, shuffle=True, num_workers=num_workers))
    assert str(caught.value) == f"{path}: event 63: column 'number' must be a finite number, got nan"


def test_a_check_of_events_names_the_file_and_the_event(files):
    schema = replace(SCHEMA, event_selection="number % 2 == 1")

    def refuse(events):
        if (wrong := events.u[:, 0] == 101).any():
            raise EventError("this one", event=int(wrong.nonzero()))

    events = stream(files, schema).checked(refuse)
    halves = events.split((0.5, 0.5))
    for attempt in (events.read, lambda: list(events.loader(8, shuffle=True)), lambda: [p.read() for p in halves]):
        with pytest.raises(SchemaError) as caught:
            attempt()
        assert str(caught.value) == f"{files[2]}: event 31: this one"


def test_identifiers_are_in_all_files_or_in_none_and_keep_their_digits(files, tmp_path):
    without = write_columns(tmp_path / "d.parquet", {k: v for k, v in table(9, 200).items() if k != "event"})
    for paths in ([files[0], without], [without, files[0]]):
        with pytest.raises(SchemaError, match=r"d.parquet: column 'event' is missing, but .*a.parquet has it"):
            stream(paths)
    assert list(stream(without).read().ids) == []
    large = {**table(9, 200), "event": 2**53 + 1 + np.arange(9)}
    large = write_columns(tmp_path / "e.parquet", large)
    assert stream([files[0], large]).read().ids["event"].tolist()[70:] == [2**53 + 1 + i for i in range(9)]
    other = write_columns(tmp_path / "f.root", {**table(9, 200), "event": np.arange(9.0)})
    for paths in ([large, other], [other, large]):
        with pytest.raises(
            SchemaError, match=r"identifier 'event' must be \w+, as in .*, got \w+: combined they would lose digits"
        ):
            stream(paths).read()


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_a_feature_of_an_object_is_in_all_files_or_in_none(tmp_path, suffix):
    columns = {**table(20), "MET_px": np.ones(20), "MET_py": np.ones(20)}
    schema = EventSchema(collections=("Jet", "MET"), feats_per_vec=("px", "py"))
    whole = write_columns(tmp_path / f"a.{suffix}", columns)
    part = write_columns(tmp_path / f"b.{suffix}", {k: v for k, v in columns.items() if k != "Jet_py"})
    assert len(stream(part, schema)) == 20  # 0 for all jets
    for paths in ([whole, part], [part, whole]):
        with pytest.raises(SchemaError, match=rf"b.{suffix}: column 'Jet_py' is missing, but .*a.{suffix} has it"):
            stream(paths, schema)


@pytest.mark.parametrize("values", [[["a"]] * 3, [[[1.0]]] * 3, ["a"] * 3])
def test_a_column_that_holds_no_numbers_is_not_taken_for_one_that_is_missing(tmp_path, values):
    columns = {"Jet_px": [[1.0]] * 3, "Jet_py": values, "MET_px": [1.0] * 3, "MET_py": [1.0] * 3}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match=r"a.parquet: column 'Jet_py' must hold a number"):
        stream(tmp_path / "a.parquet", EventSchema(collections=("Jet", "MET"), feats_per_vec=("px", "py")))


def test_an_identifier_that_is_missing_is_named(tmp_path):
    lines = [f"{i},{'' if i == 37 else 2**53 + i}" for i in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["ht,event", *lines]) + "\n")
    with pytest.raises(SchemaError, match=r"a.csv: event 37: identifier 'event' must not be missing"):
        stream(tmp_path / "a.csv", EventSchema(event_feats=("ht",), ids=("event",))).read()


@pytest.mark.parametrize(
    ("labels", "group", "sorted_"),
    [
        (np.repeat([0, 1], 100), 200, True),
        (np.tile([0, 1], 100), 200, False),
        (np.zeros(200), 200, False),
        (np.linspace(0, 1, 200), 200, False),  # a number to be fitted, not a class
        (np.repeat([0, 1], 100), 20, False),  # many small parts: they are mixed
    ],
    ids=["sorted", "mixed", "one class", "regression", "small parts"],
)
def test_a_shuffle_that_cannot_mix_the_classes_says_so(tmp_path, labels, group, sorted_):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": labels, "ht": np.arange(200.0)}), path, row_group_size=group)
    events = EventStream(path, EventSchema(event_feats=("ht",), targets=("label",)), chunk_size=20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        events.loader(10)  # in their order
        events.loader(10, shuffle=True, buffer_size=10)  # all of them at once
        assert not caught
        events.loader(10, shuffle=True, buffer_size=2)
    expected = [f"{path}: the events 0 to 200 can only be read in order, and are sorted by label"]
    assert [str(w.message).partition(":")[0] for w in caught] == [str(path)] * sorted_
    assert all(str(w.message).startswith(expected[0]) for w in caught)
