"""Derived columns and selections of a schema, against plain loops over events."""

import math

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumigraph import EventDataset, EventSchema, SchemaError
from lumigraph.data.columns.assembly import sources

FEATS = ("px", "py")


def jets(lists):
    return (
        ak.values_astype(ak.Array(lists), np.float32)
        if any(lists)
        else ak.unflatten(np.empty(0, "f4"), [0] * len(lists))
    )


def table():
    return {
        "Jet_px": jets([[50.0, 20.0], [], [10.0, -40.0, 31.0]]),
        "Jet_py": jets([[0.0, 5.0], [], [0.0, 30.0, 0.0]]),
        "Muon_px": jets([[7.0], [8.0, 9.0], []]),
        "Muon_py": jets([[1.0], [1.0, 1.0], []]),
        "MET_px": np.array([3.0, 0.0, 5.0]),
        "MET_py": np.array([4.0, 1.0, 12.0]),
        "event": np.array([100, 101, 102]),
    }


def select(**options):
    options = {"collections": ("Jet",), "feats_per_vec": FEATS, "ids": ("event",), **options}
    return EventDataset.from_columns(table(), EventSchema(**options))


def test_a_derived_column_is_a_column_like_any_other():
    events = select(
        derived={"Jet_pt2": "Jet_px**2 + Jet_py**2", "ht": "sum(sqrt(Jet_pt2))", "met": "hypot(MET_px, MET_py)"},
        feats_per_vec=("px", "pt2"),
        event_feats=("ht", "met"),
    )
    assert events.x[:, 1].tolist() == [2500.0, 425.0, 100.0, 2500.0, 961.0]
    assert events.u[:, 1].tolist() == [5.0, 1.0, 13.0]
    assert events.u[:, 0].tolist() == pytest.approx([50 + math.sqrt(425), 0.0, 10 + 50 + 31], rel=1e-6)


def test_momenta_are_computed_from_derived_columns():
    schema = EventSchema(
        collections=("Jet",),
        feats_per_vec=("px", "E"),
        derived={"Jet_pt": "Jet_ptGeV / 1000", "Jet_eta": "0 * Jet_phi"},
    )
    events = EventDataset.from_columns({"Jet_ptGeV": jets([[5000.0]]), "Jet_phi": jets([[0.0]])}, schema)
    assert events.x.tolist() == [[5.0, 5.0]]
    assert sources(schema, ["Jet_ptGeV", "Jet_phi", "other"]) == ["Jet_ptGeV", "Jet_phi"]


def test_objects_that_are_not_selected_are_absent():
    events = select(object_selection={"Jet": "abs(Jet_px) > 30 and Jet_py < 20"})
    assert events.x.tolist() == [[50.0, 0.0], [31.0, 0.0]]
    assert events.ptr.tolist() == [0, 1, 1, 2]
    assert events.slot.tolist() == [0, 0]


def test_an_event_is_selected_by_its_selected_objects():
    events = select(object_selection={"Jet": "Jet_px > 15"}, event_selection="nJet >= 1 and sum(Jet_px) > 40")
    assert events.numbers.tolist() == [0]
    assert events.ids["event"].tolist() == [100]
    assert events.x.tolist() == [[50.0, 0.0], [20.0, 5.0]]
    assert select(event_selection="nJet == 0").numbers.tolist() == [1]


def test_one_object_an_event_and_named_objects_become_absent():
    events = select(collections=("MET", "Jet"), object_selection={"MET": "MET_px > 0"}, event_selection="nMET == 1")
    assert events.numbers.tolist() == [0, 2]
    assert events.ptr.tolist() == [0, 3, 7]
    named = EventSchema(vecs=("jet0", "met"), feats_per_vec=FEATS, object_selection={"jet0": "jet0_px > 1"})
    frame = pd.DataFrame({"jet0_px": [1, 2], "jet0_py": [3, 4], "met_px": [5, 6], "met_py": [7, 8]})
    events = EventDataset.from_columns(frame, named)
    assert events.slot.tolist() == [1, 0, 1]
    assert events.x.tolist() == [[5, 7], [2, 4], [6, 8]]


def test_collections_are_selected_each_by_its_own_condition():
    events = select(collections=("Jet", "Muon"), object_selection={"Jet": "Jet_px > 15", "Muon": "Muon_px > 7"})
    assert events.ptr.tolist() == [0, 2, 4, 5]
    assert events.x[:, 0].tolist() == [50.0, 20.0, 8.0, 9.0, 31.0]


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8])  # files have flags as integers
def test_a_flag_is_a_condition(dtype):
    columns = {
        **table(),
        "Jet_tight": ak.values_astype(ak.Array([[1, 0], [], [0, 1, 1]]), dtype),
        "trigger": np.array([0, 1, 1], dtype),
    }
    schema = EventSchema(
        collections=("Jet",), feats_per_vec=FEATS, object_selection={"Jet": "Jet_tight"}, event_selection="trigger"
    )
    events = EventDataset.from_columns(columns, schema)
    assert events.numbers.tolist() == [1, 2]
    assert events.x[:, 0].tolist() == [-40.0, 31.0]


def test_a_number_of_the_event_may_be_named_as_if_of_a_collection():
    columns = {"Jet_quality": np.array([5.0, 6.0, 7.0]), "Jet_n": np.ones(3), **table()}
    schema = EventSchema(
        collections=("Jet",),
        feats_per_vec=FEATS,
        event_feats=("Jet_quality", "Jet_ht"),
        derived={"Jet_ht": "sum(Jet_px)"},
        object_selection={"Jet": "Jet_px > 15"},
        event_selection="nJet == 1 or Jet_ht == 70",
    )
    events = EventDataset.from_columns(columns, schema)
    assert events.numbers.tolist() == [0, 2]
    assert events.u.tolist() == [[5.0, 70.0], [7.0, 1.0]]
    assert events.x[:, 0].tolist() == [50.0, 20.0, 31.0]


def test_a_single_object_is_selected_without_the_numbers_of_its_event():
    columns = {**table(), "MET_significance": np.array([1.0, 2.0, 3.0])}
    schema = EventSchema(
        collections=("MET",),
        feats_per_vec=FEATS,
        event_feats=("MET_significance",),
        object_selection={"MET": "MET_px > 0"},
    )
    events = EventDataset.from_columns(columns, schema)
    assert events.u[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert events.ptr.tolist() == [0, 1, 1, 2]


def test_objects_that_are_missing_are_not_counted():
    columns = {
        "Jet_spare": ak.Array([[np.nan], [np.nan, 1.0], [], []]),  # none of the features: it is not looked at
        "Jet_px": ak.Array([[1.0], [np.nan, 3.0], None, []]),
        "MET_px": np.ma.array([1.0, 2.0, 3.0, 4.0], mask=[0, 1, 0, 1]),
    }
    for text, numbers in {"nJet == 0": [2, 3], "nJet == 1": [0, 1], "nMET == 0": [1, 3], "nMET == 1": [0, 2]}.items():
        schema = EventSchema(collections=("Jet", "MET"), feats_per_vec=("px",), event_selection=text)
        assert EventDataset.from_columns(columns, schema).numbers.tolist() == numbers


def test_no_event_may_be_left():
    events = select(event_selection="nJet > 99", event_feats=("MET_px",))
    assert len(events) == 0
    assert events.x.shape == (0, 2)
    assert events.u.shape == (0, 1)


@given(
    st.lists(st.lists(st.integers(-50, 50), max_size=5), min_size=1, max_size=8), st.integers(0, 40), st.integers(0, 3)
)
def test_selections_agree_with_loops_over_events(lists, cut, least):
    columns = {"Jet_px": jets([[float(v) for v in event] for event in lists]), "n": np.arange(len(lists))}
    schema = EventSchema(
        collections=("Jet",),
        feats_per_vec=("px",),
        event_feats=("n", "kept"),
        derived={"kept": "sum(where(Jet_px > 0, Jet_px, 0))"},
        object_selection={"Jet": f"abs(Jet_px) >= {cut}"},
        event_selection=f"nJet >= {least} and n % 2 == 0",
    )
    events = EventDataset.from_columns(columns, schema)
    kept = [[v for v in event if abs(v) >= cut] for event in lists]
    numbers = [i for i, event in enumerate(kept) if len(event) >= least and i % 2 == 0]
    assert events.numbers.tolist() == numbers
    assert events.x[:, 0].tolist() == [v for i in numbers for v in kept[i]]
    assert events.ptr.diff().tolist() == [len(kept[i]) for i in numbers]
    assert events.u.tolist() == [[i, sum(v for v in lists[i] if v > 0)] for i in numbers]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"derived": {"ht": "sum(Jet_pz)"}, "event_feats": ("ht",)}, "derived column 'ht' needs the column 'Jet_pz'"),
        ({"derived": {"a": "b", "b": "MET_px"}, "event_feats": ("a",)}, "derived column 'a' needs the column 'b'"),
        ({"derived": {"event": "MET_px"}}, "derived column 'event' exists in the file"),
        ({"object_selection": {"Jet": "Jet_pz > 0"}}, "the selection of 'Jet' needs the column 'Jet_pz'"),
        ({"object_selection": {"Jet": "MET_px > 0"}}, "must give yes or no for each of its objects, as column 'Jet_p"),
        ({"object_selection": {"Jet": "Jet_px * 2"}}, "must give yes or no, got float32: write a comparison"),
        ({"object_selection": {"Jet": "Muon_px > 0"}}, "event 0: .* yes or no for 2 objects, as 'Jet_px', got 1"),
        ({"object_selection": {"Muon": "Muon_px > 0"}}, "object_selection must name objects, got 'Muon'"),
        ({"event_selection": "Jet_px > 0"}, "must give one yes or no per event, got lists: any"),
        (
            {"event_selection": "MET_px"},
            "event selection 'MET_px' must give yes or no, got float64: write a comparison",
        ),
        ({"event_selection": "nJet - 2"}, "event selection 'nJet - 2' must give yes or no, got int64"),
        ({"object_selection": {"Jet": "sign(event) * 2"}}, "the selection .* of 'Jet' must give yes or no, got int64"),
        ({"event_selection": "nMuon > 0"}, "the event selection needs the column 'nMuon'"),
        ({"event_selection": "__import__('os')"}, "__import__"),
        ({"event_selection": 3}, "event_selection must be an expression in quotes, got 3"),
        ({"derived": ["ht"]}, "derived must map names to expressions"),
        ({"derived": {"ht": 1}}, "derived must map names to expressions in quotes, got 'ht': 1"),
    ],
)
def test_what_cannot_be_selected_is_an_error(options, message, plain_python):
    with pytest.raises(SchemaError, match=message):
        select(**options)


def test_an_error_names_the_event_of_the_table():
    columns = {**table(), "MET_px": np.array([3.0, 0.0, np.nan])}
    schema = EventSchema(event_feats=("MET_px",), event_selection="event >= 101")
    with pytest.raises(SchemaError, match=r"^event 2: column 'MET_px' must be a finite number, got nan"):
        EventDataset.from_columns(columns, schema)


def test_a_schema_with_expressions_goes_through_plain_data(plain_python):
    schema = EventSchema(
        collections=("Jet",),
        feats_per_vec=FEATS,
        derived={"ht": "sum(Jet_px)"},
        object_selection={"Jet": "Jet_px > 1"},
        event_selection="nJet > 1",
        event_feats=("ht",),
    )
    assert EventSchema.from_dict(schema.to_dict()) == schema
    assert hash(EventSchema.from_dict(schema.to_dict())) == hash(schema)
    assert "derived" not in EventSchema(event_feats=("ht",)).to_dict()
    with pytest.raises(SchemaError, match="derived must map names"):
        EventSchema.from_dict({"derived": "ht"})
