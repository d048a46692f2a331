"""What goes wrong in an event, wherever it comes from; and bugs of users, which are theirs."""

import traceback

import awkward as ak
import numpy as np
import pytest
import torch

from lumigraph import EventDataset, EventSchema
from lumigraph.data import EventStream, balanced_weights, write_columns
from lumigraph.data.loading.events import Events
from lumigraph.events.errors import EventError, SchemaError

SCHEMA = EventSchema(collections=("Jet",), feats_per_vec=("px",), event_feats=("ht",))
SELECTED = EventSchema(
    collections=("Jet",), feats_per_vec=("px",), event_feats=("ht",), event_selection="number % 2 == 1"
)


def table(size, bad=None):
    lengths = np.arange(size) % 3
    ht = np.arange(size, dtype=float)
    if bad is not None:
        ht[bad] = np.nan
    return {"Jet_px": ak.unflatten(np.ones(lengths.sum()), lengths), "ht": ht, "number": np.arange(size)}


def refuse_ht(limit):
    def refuse(events):
        if (wrong := events.u[:, 0] == limit).any():
            raise EventError("this one", event=int(wrong.nonzero()[0]), column="ht")
        return np.ones(len(events))

    return refuse


def failing(*files, schema=SCHEMA, **options):
    return EventStream(files, schema, chunk_size=16, **options)


def error_of(attempt):
    with pytest.raises(EventError) as caught:
        attempt()
    return caught.value


def fields(error):
    return error.event, error.column, error.file


@pytest.mark.parametrize("schema", [SCHEMA, SELECTED])
def test_in_memory(schema):
    assert fields(error_of(lambda: EventDataset.from_columns(table(50, 37), schema))) == (37, "ht", None)
    events = EventDataset.from_columns(table(50), schema)
    parts = (events, events.select(np.arange(len(events))[::-1].copy()), events.between(5, len(events)))
    for part in parts:
        assert fields(error_of(lambda part=part: part.checked(refuse_ht(37)))) == (37, "ht", None)
        assert fields(error_of(lambda part=part: part.weighted(refuse_ht(37)))) == (37, "ht", None)
    weights = np.where(events.numbers == 37, np.nan, 1.0)
    assert error_of(lambda: events.loader(10, weights=weights)).event == 37
    halves = events.split((0.5, 0.5))
    assert {error_of(lambda: [half.checked(refuse_ht(37)) for half in halves]).event} == {37}


@pytest.mark.parametrize("suffix", [".root", ".parquet", ".h5", ".csv"])
@pytest.mark.parametrize("schema", [SCHEMA, SELECTED])
def test_in_files(tmp_path, suffix, schema):
    good, bad = str(tmp_path / f"good{suffix}"), str(tmp_path / f"bad{suffix}")
    write_columns(good, table(40))
    write_columns(bad, table(50, 37))
    wanted = (37, "ht", bad)
    assert fields(error_of(lambda: EventDataset.from_file(bad, schema))) == wanted
    events = failing(good, bad, schema=schema)
    assert fields(error_of(events.read)) == wanted
    assert fields(error_of(lambda: list(events.loader(10, shuffle=True)))) == wanted
    assert fields(error_of(lambda: [half.read() for half in events.split((0.5, 0.5))])) == wanted


@pytest.mark.parametrize("method", ["checked", "weighted"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_function_that_looks_at_the_events_of_files(tmp_path, method, num_workers):
    one, two = (str(write_columns(tmp_path / name, table(size))) for name, size in (("1.parquet", 20), ("2.root", 50)))
    events = getattr(failing(one, two, schema=SELECTED), method)(refuse_ht(37))
    assert fields(error_of(events.read)) == (37, "ht", two)
    for options in ({"shuffle": True}, {"pairs_per_batch": 40}):
        loader = events.loader(10, num_workers=num_workers, **options)
        assert fields(error_of(lambda loader=loader: list(loader))) == (37, "ht", two)


def test_an_event_that_is_too_large_for_a_batch(tmp_path):
    crowded = table(50)
    lengths = np.where(np.arange(50) == 37, 9, 1)
    crowded["Jet_px"] = ak.unflatten(np.ones(lengths.sum()), lengths)
    one, two = str(tmp_path / "1.parquet"), str(tmp_path / "2.root")
    write_columns(one, table(20))
    write_columns(two, crowded)
    assert fields(error_of(lambda: failing(one, two, schema=SELECTED).loader(particles_per_batch=8))) == (37, None, two)
    events = EventDataset.from_columns(crowded, SELECTED)
    assert fields(error_of(lambda: events.loader(particles_per_batch=8))) == (37, None, None)


def test_the_same_object_is_raised_again(tmp_path):
    path = write_columns(tmp_path / "a.parquet", table(30))
    error = EventError("this one", event=3, column="ht")

    def refuse(events):
        if 17 in events.numbers:
            raise error

    assert error_of(failing(path).checked(refuse).read) is error
    assert fields(error) == (15 + 3, "ht", str(path))  # two chunks of 15 events


class CalibrationError(ValueError):
    def __init__(self, run, reason):
        super().__init__(f"run {run}: {reason}")
        self.run = run


def two_arguments(events):
    raise CalibrationError(3, "no constants")


def index(events):
    return events.u[:, 7]


def no_event_of_ours(events):
    raise ValueError("event 4711 of the calibration is missing")


def unpacking(events):
    _a, _b, _c, _d = events.u.shape


BUGS = {
    two_arguments: (CalibrationError, "run 3: no constants"),
    index: (IndexError, "index 7 is out of bounds"),
    no_event_of_ours: (ValueError, "event 4711 of the calibration is missing"),
    unpacking: (ValueError, "not enough values to unpack"),
}


def lines_of(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("method", ["checked", "weighted"])
def test_a_bug_of_a_user_passes_untouched(tmp_path, bug, method):
    path = write_columns(tmp_path / "a.parquet", table(30))
    kind, text = BUGS[bug]

    def attempts():
        yield lambda: getattr(EventDataset.from_file(path, SCHEMA), method)(bug)
        events = getattr(failing(path), method)(bug)
        yield events.read
        yield lambda: list(events.loader(8, shuffle=True))

    for attempt in attempts():
        with pytest.raises(kind, match=text) as caught:
            attempt()
        error = caught.value
        assert type(error) is kind
        assert not isinstance(error, SchemaError)
        assert str(path) not in str(error)
        assert lines_of(error)[-1] == bug.__name__
        assert error.__cause__ is None
        assert not error.__suppress_context__


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_of_a_user_in_a_worker_process_keeps_its_class_and_fields(tmp_path, bug):
    path = write_columns(tmp_path / "a.parquet", table(30))
    kind, text = BUGS[bug]
    with pytest.raises(kind, match=text) as caught:
        list(failing(path).checked(bug).loader(8, num_workers=2))
    assert type(caught.value) is kind
    assert str(path) not in str(caught.value)
    assert getattr(caught.value, "run", 3) == 3
    assert f"in {bug.__name__}\n" in str(caught.value.__cause__)  # the traceback there


def test_an_exception_that_cannot_be_pickled_is_still_told(tmp_path):
    class OfHere(Exception):
        pass

    def fail(events):
        raise OfHere("as such")

    path = write_columns(tmp_path / "a.parquet", table(30))
    with pytest.raises(RuntimeError, match="OfHere: as such") as caught:
        list(failing(path).checked(fail).loader(8, num_workers=1))
    assert "in fail\n" in str(caught.value.__cause__)


def test_both_kinds_of_events_keep_the_interface(tmp_path):
    path = write_columns(tmp_path / "a.parquet", table(30))
    for events, files in ((EventDataset.from_file(path, SCHEMA), ()), (failing(path), (str(path),))):
        assert isinstance(events, Events)
        assert events.files == files
        assert len(events) == len(events.read()) == sum(map(len, events.chunks(7))) == 30
    assert not isinstance(torch.zeros(3), Events)


def test_labels_without_a_class():
    assert fields(error_of(lambda: balanced_weights([0.0, np.nan]))) == (1, None, None)
