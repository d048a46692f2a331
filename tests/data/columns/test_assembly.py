"""Named columns become the arrays of a Batch: merged as by a plain loop, computed as by `vector`, never guessed."""

import math
import sys
from contextlib import suppress
from dataclasses import replace

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import vector
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lumigraph.data.columns import assembly as module
from lumigraph.data.columns.assembly import assemble, sources
from lumigraph.events.errors import SchemaError
from lumigraph.events.schema import EventSchema

NAN = math.nan
P4 = ("px", "py", "pz", "E")
JETS = EventSchema(collections=("Jet",), feats_per_vec=("px",))
JET_MASS = EventSchema(collections=("Jet",), feats_per_vec=("px", "m"))
LISTS = EventSchema(collections=("MET", "Electron", "Jet"), feats_per_vec=("px", "charge", "kind", "is_Jet"))
NAMED = EventSchema(vecs=("jet0", "jet1", "met"), feats_per_vec=("px", "pz", "kind", "is_met"))
SCALARS = EventSchema(
    event_feats=("ht",), cat_feats=("n_jets",), targets=("label",), weight="weight", ids=("run", "event")
)
SCALAR_COLUMNS = {
    "ht": [10.0, 20.0], "n_jets": [4, 0], "label": [0, 1], "weight": [0.5, -1.0], "run": [1, 1], "event": [7, 8],
}  # fmt: skip


def loop(columns, schema):
    """Do what `assemble` does for features that stand in columns of their own, event by event."""
    x, slot, lengths = [], [], []
    for event in range(len(next(iter(columns.values())))):
        rows = []
        for kind, vec in enumerate(schema.objects):
            own = {name: np.atleast_1d(columns[name][event]) for name in columns if name.startswith(f"{vec}_")}
            for i in range(len(next(iter(own.values())))):
                values = {name: float(column[i]) for name, column in own.items()}
                if all(math.isnan(value) for value in values.values()):
                    continue
                derived = {"kind": kind, **{f"is_{other}": other == vec for other in schema.objects}}
                row = [float(values.get(f"{vec}_{f}", derived.get(f, 0.0))) for f in schema.feats_per_vec]
                rows.append((kind if schema.vecs else len(rows), row))
        rows = rows[: schema.max_particles]
        slot += [place for place, _ in rows]
        x += [row for _, row in rows]
        lengths.append(len(rows))
    return np.array(x, dtype=np.float32).reshape(-1, len(schema.feats_per_vec)), slot, lengths


def check_particles(columns, schema):
    got = assemble(columns, schema)
    x, slot, lengths = loop(columns, schema)
    np.testing.assert_array_equal(got.x, x)
    np.testing.assert_array_equal(got.slot, slot)
    np.testing.assert_array_equal(np.diff(got.offsets), lengths)
    assert (got.x.dtype, got.slot.dtype, got.offsets.dtype) == (np.float32, np.int64, np.int64)


def jagged(lists):
    """Return lists as an awkward array whose numbers are float64 even where there are none."""
    return ak.values_astype(ak.Array([*lists, [0.0]]), np.float64)[:-1]


def particles(lengths):
    """Return the columns of events with a MET, so many electrons, and so many jets."""
    number = iter(range(1, 1_000_000))
    electrons, jets = (
        [[float(next(number)) for _ in range(n)] for n in column] for column in zip(*lengths, strict=True)
    )
    return {
        "Jet_px": jagged(jets),
        "MET_px": np.arange(len(lengths)) - 0.5,
        "Electron_px": jagged(electrons),
        "Electron_charge": jagged([[1.0 - 2 * (x % 2) for x in event] for event in electrons]),
    }


numbers = st.floats(-1e6, 1e6, width=32)
multiplicity = st.one_of(st.integers(0, 2), st.just(25))


@st.composite
def ragged_events(draw):
    lengths = draw(st.lists(st.tuples(st.sampled_from([0, 1, 2]), multiplicity), min_size=1, max_size=6))
    columns = particles(lengths)
    columns["MET_px"] = np.array(
        draw(st.lists(st.one_of(numbers, st.just(NAN)), min_size=len(lengths), max_size=len(lengths)))
    )
    # list entries that are NaN in all columns, such as padding, are no particles
    holes = jagged([draw(st.lists(st.booleans(), min_size=n, max_size=n)) for _, n in lengths])
    columns["Jet_px"] = ak.where(holes == 1, NAN, columns["Jet_px"])
    return columns


# Merging


@settings(max_examples=25)
@given(ragged_events(), st.one_of(st.none(), st.integers(1, 4)))
def test_collections_are_merged_in_the_order_of_the_schema(columns, max_particles):
    check_particles(columns, replace(LISTS, max_particles=max_particles))


@pytest.mark.parametrize(
    "lengths",
    [
        [(0, 0), (1, 2), (2, 30)],
        [(1, 2), (0, 0), (2, 30)],
        [(1, 2), (2, 30), (0, 0)],
        [(0, 0), (0, 0), (0, 0)],
        [(0, 0)],
        [(0, 1)],
    ],
    ids=["empty first", "empty in the middle", "empty last", "all empty", "one empty event", "one particle"],
)
def test_empty_events_stay_where_they_are(lengths):
    columns = particles(lengths)
    check_particles(columns, LISTS)
    columns["MET_px"] = np.full(len(lengths), NAN)
    check_particles(columns, LISTS)
    assert np.diff(assemble(columns, LISTS).offsets).tolist() == [sum(event) for event in lengths]


@pytest.mark.parametrize("empty", [ak.Array([]), jagged([]), np.array([]), np.zeros((0, 4)), []])
def test_no_events_give_no_particles(empty):
    schema = EventSchema(collections=("Jet",), feats_per_vec=("px", "pt"), event_feats=("ht",), cat_feats=("n",))
    got = assemble({"Jet_px": empty, "Jet_py": empty, "ht": np.array([]), "n": np.array([])}, schema)
    assert got.x.shape == (0, 2)
    assert (got.slot.shape, got.offsets.shape, got.u.shape, got.cat.shape) == ((0,), (1,), (0, 1), (0, 1))


def test_events_that_awkward_knows_only_as_empty_lists_have_no_particles():
    got = assemble({"Jet_px": ak.Array([[], []])}, JETS)
    assert (got.x.shape, np.diff(got.offsets).tolist()) == ((0, 1), [0, 0])


def test_particles_keep_the_order_of_their_list():
    got = assemble({"Jet_px": [[1.0, 3.0, 2.0], [9.0, -1.0]]}, JETS)
    assert got.x[:, 0].tolist() == [1, 3, 2, 9, -1]


def test_max_particles_keeps_the_first_ones_that_are_there():
    columns = {"MET_px": np.array([NAN, 5.0]), "Jet_px": [[1.0, 2.0, 3.0], [4.0, 6.0]]}
    schema = EventSchema(collections=("MET", "Jet"), feats_per_vec=("px",), max_particles=2)
    got = assemble(columns, schema)
    assert got.x[:, 0].tolist() == [1, 2, 5, 4]
    assert got.slot.tolist() == [0, 1, 0, 1]


def test_padding_with_nan_does_not_push_out_the_next_collection():
    columns = {
        "Jet_px": np.array([[1.0, NAN, NAN, NAN], [2.0, 3.0, NAN, NAN]]),
        "Electron_px": [[7.0], []],
    }
    schema = EventSchema(collections=("Jet", "Electron"), feats_per_vec=("px",), max_particles=3)
    got = assemble(columns, schema)
    assert got.x[:, 0].tolist() == [1, 7, 2, 3]
    assert got.slot.tolist() == [0, 1, 0, 1]


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.one_of(numbers, st.just(NAN))] * 3), min_size=1, max_size=5))
@example([(NAN, NAN, NAN)] * 3)
@example([(NAN, 1.0, NAN), (NAN, NAN, NAN), (1.0, NAN, 2.0)])
def test_the_slot_of_a_named_object_is_its_place_in_vecs(events):
    table = np.array(events)
    columns = {f"{vec}_px": table[:, i] for i, vec in enumerate(NAMED.vecs)}
    check_particles({**columns, "jet1_pz": table[:, 1] / 2, "jet0_pz": -table[:, 0]}, NAMED)


def test_an_object_whose_name_begins_another_ones_has_its_own_columns():
    schema = EventSchema(collections=("Jet", "Jet_b"), feats_per_vec=("px",))
    assert assemble({"Jet_px": [[1.0]], "Jet_b_px": [[2.0]]}, schema).x[:, 0].tolist() == [1, 2]
    with pytest.raises(SchemaError, match=r"object 'Jet' must have one of the features \['px'\], got \['Jet_b_px'\]"):
        assemble({"Jet_b_px": [[2.0]]}, schema)


# Features that are computed


def test_kind_and_flags_tell_the_objects_apart():
    schema = EventSchema(collections=("Jet", "MET"), feats_per_vec=("px", "kind", "is_MET", "is_Jet"))
    got = assemble({"Jet_px": [[1.0, 2.0]], "MET_px": np.array([3.0])}, schema)
    assert got.x.tolist() == [[1, 0, 0, 1], [2, 0, 0, 1], [3, 1, 1, 0]]


def momenta(n=200):
    rng = np.random.default_rng(1)
    return vector.array(
        {
            "pt": rng.uniform(1, 500, n),
            "eta": rng.uniform(-4, 4, n),
            "phi": rng.uniform(-np.pi, np.pi, n),
            "mass": rng.uniform(0, 200, n),
        }
    )


MOMENTUM = ("px", "py", "pz", "E", "energy", "pt", "eta", "phi", "mass")


@pytest.mark.parametrize("energy", ["E", "energy", "mass"])
@pytest.mark.parametrize("along", ["pz", "eta"])
@pytest.mark.parametrize("transverse", [("px", "py"), ("pt", "phi")])
def test_momenta_are_those_of_vector(transverse, along, energy):
    p4 = momenta()
    schema = EventSchema(vecs=("jet",), feats_per_vec=(*MOMENTUM, "log_pt", "log_E"))
    got = assemble({f"jet_{feat}": getattr(p4, feat) for feat in (*transverse, along, energy)}, schema).x
    expected = {feat: getattr(p4, feat) for feat in MOMENTUM} | {"log_pt": np.log(p4.pt), "log_E": np.log(p4.E)}
    for i, feat in enumerate(schema.feats_per_vec):
        if feat == "mass":  # a difference: what float64 has left of it
            np.testing.assert_allclose(got[:, i], expected[feat], atol=1e-7 * p4.E.max(), err_msg=feat)
        else:
            np.testing.assert_allclose(got[:, i], expected[feat], rtol=2e-7, atol=1e-12, err_msg=feat)


def test_momenta_go_back_and_forth():
    p4 = momenta()
    collider = EventSchema(vecs=("jet",), feats_per_vec=("pt", "eta", "phi", "mass"))
    there = assemble({f"jet_{feat}": getattr(p4, feat) for feat in P4}, collider).x.astype(np.float64)
    names = {f"jet_{feat}": there[:, i] for i, feat in enumerate(collider.feats_per_vec)}
    back = assemble(names, EventSchema(vecs=("jet",), feats_per_vec=P4)).x
    for i, feat in enumerate(P4):
        np.testing.assert_allclose(back[:, i], getattr(p4, feat), atol=1e-6 * p4.E.max())


def test_missing_momentum_has_no_direction_along_the_beam_and_no_mass():
    pt, phi = np.array([3.0, 50.0]), np.array([0.5, -2.0])
    met = vector.array({"pt": pt, "phi": phi, "eta": np.zeros(2), "mass": np.zeros(2)})
    schema = EventSchema(vecs=("met",), feats_per_vec=(*MOMENTUM, "log_pt", "log_E"))
    for columns in ({"met_pt": pt, "met_phi": phi}, {"met_px": met.px, "met_py": met.py}):
        got = dict(zip(schema.feats_per_vec, assemble(columns, schema).x.T, strict=True))
        for feat in MOMENTUM:
            np.testing.assert_allclose(got[feat], getattr(met, feat), rtol=2e-7, atol=1e-5, err_msg=feat)
        np.testing.assert_allclose(got["log_pt"], np.log(pt), rtol=2e-7)
        np.testing.assert_allclose(got["log_E"], np.log(pt), rtol=2e-7)
        assert got["pz"].tolist() == got["eta"].tolist() == [0, 0]


def test_without_mass_and_energy_a_particle_is_massless():
    p4 = momenta()
    columns = {f"jet_{feat}": getattr(p4, feat) for feat in ("pt", "eta", "phi")}
    got = assemble(columns, EventSchema(vecs=("jet",), feats_per_vec=("E", "mass"))).x
    np.testing.assert_allclose(got[:, 0], p4.pt * np.cosh(p4.eta), rtol=2e-7)
    assert (np.abs(got[:, 1]) < 1e-7 * p4.E.max()).all()


def test_logarithms_are_cut_off_below_one_mev():
    columns = {"a_px": np.array([0.0, 1e-9]), "a_py": np.array([0.0, 0.0])}
    got = assemble(columns, EventSchema(vecs=("a",), feats_per_vec=("log_pt", "log_E"))).x
    np.testing.assert_allclose(got, np.full((2, 2), np.log(1e-3)), rtol=1e-6)


def test_a_column_that_is_there_wins_over_what_could_be_computed():
    columns = {"jet_px": [3.0], "jet_py": [4.0], "jet_pz": [0.0], "jet_E": [5.0], "jet_pt": [100.0], "jet_kind": [9]}
    columns["jet_is_jet"] = [-2.0]
    schema = EventSchema(vecs=("jet",), feats_per_vec=("px", "pt", "log_pt", "phi", "kind", "is_jet", "energy"))
    expected = [3, 100, math.log(100), math.atan2(4, 3), 9, -2, 5]
    np.testing.assert_allclose(assemble(columns, schema).x[0], expected, rtol=1e-6)


def test_eta_is_not_forgotten_where_px_and_py_stand_beside_it():
    columns = {"jet_px": [3.0], "jet_py": [4.0], "jet_pt": [5.0], "jet_eta": [1.0], "jet_phi": [0.9], "jet_mass": [2.0]}
    got = assemble(columns, EventSchema(vecs=("jet",), feats_per_vec=("pz", "E"))).x[0]
    np.testing.assert_allclose(got, [5 * math.sinh(1), math.hypot(5 * math.cosh(1), 2)], rtol=1e-6)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(MOMENTUM), st.floats(0.5, 4), min_size=1))
@example({"px": 1.0, "pt": 2.0, "phi": 1.0})
@example({"px": 1.0, "py": 1.0, "pt": 2.0, "phi": 1.0, "eta": 1.0, "pz": 2.0, "mass": 3.0})
@example({"px": 1.0, "py": 1.0, "E": 9.0, "energy": 8.0, "mass": 7.0})
def test_a_feature_does_not_depend_on_what_else_is_asked_for(values):
    columns = {f"a_{feat}": np.array([value]) for feat, value in values.items()}

    def ask(*feats):
        return assemble(columns, EventSchema(vecs=("a",), feats_per_vec=feats)).x[0].tolist()

    alone = {}
    for feat in (*MOMENTUM, "log_pt", "log_E"):
        with suppress(SchemaError):  # there is nothing to compute it from
            alone[feat] = ask(feat)[0]
    assert {feat: alone[feat] for feat in values} == pytest.approx(values)
    assert ask(*alone) == list(alone.values())


def test_logarithms_need_no_direction():
    columns = {"jet_pt": [10.0], "jet_energy": [20.0]}
    got = assemble(columns, EventSchema(vecs=("jet",), feats_per_vec=("log_pt", "log_E", "E"))).x[0]
    np.testing.assert_allclose(got, [math.log(10), math.log(20), 20], rtol=1e-6)


def test_a_feature_that_one_object_lacks_is_0_for_it():
    columns = {"jet_px": [1.0], "jet_btag": [0.7], "met_px": [2.0]}
    schema = EventSchema(vecs=("jet", "met"), feats_per_vec=("px", "btag"))
    np.testing.assert_allclose(assemble(columns, schema).x, [[1, 0.7], [2, 0]], rtol=1e-6)
    momentum = EventSchema(vecs=("jet", "met"), feats_per_vec=("px", "pt"))
    with_py = assemble({**columns, "jet_py": [0.0]}, momentum).x
    assert with_py.tolist() == [[1, 1], [2, 0]]


# Which columns are needed


@pytest.mark.parametrize(
    ("feats", "expected"),
    [
        (("px",), {"pt", "eta", "phi", "mass"}),
        (("mass",), {"mass"}),
        (("pt", "eta"), {"pt", "eta"}),
        (("log_pt", "btag"), {"pt", "btag"}),
        (("kind", "is_Jet", "pt"), {"pt"}),
    ],
)
def test_only_needed_columns_are_named(feats, expected):
    names = ["event", "nJet", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass", "Jet_btag", "Jet_area", "Muon_pt"]
    got = sources(EventSchema(collections=("Jet",), feats_per_vec=feats), names)
    assert set(got) == {f"Jet_{feat}" for feat in expected}
    assert len(set(got)) == len(got)


def test_scalars_are_named_once_each():
    schema = EventSchema(event_feats=("ht",), cat_feats=("n",), targets=("ht",), weight="ht", ids=("event", "run"))
    assert sources(schema, ["ht", "n", "event", "other"]) == ["ht", "n", "event"]


def test_without_labels_targets_and_weight_are_not_needed():
    names = [name for name in SCALAR_COLUMNS if name not in ("label", "weight")]
    assert sources(SCALARS, names, labelled=False) == ["ht", "n_jets", "run", "event"]
    got = assemble({name: SCALAR_COLUMNS[name] for name in names}, SCALARS, labelled=False)
    assert got.y is None
    assert got.weight is None
    assert assemble(SCALAR_COLUMNS, SCALARS, labelled=False).y is None
    for name in ("label", "weight"):
        with pytest.raises(SchemaError, match=f"column '{name}' is missing"):
            assemble({k: v for k, v in SCALAR_COLUMNS.items() if k != name}, SCALARS)


def test_identifiers_may_be_missing():
    got = assemble({k: v for k, v in SCALAR_COLUMNS.items() if k != "run"}, SCALARS)
    assert list(got.ids) == ["event"]


@pytest.mark.parametrize(
    ("schema", "names", "message"),
    [
        (EventSchema(event_feats=("ht",)), ["HT", "met"], r"column 'ht' is missing: did you mean HT\?"),
        (EventSchema(cat_feats=("n_jets",)), ["n_jet"], r"column 'n_jets' is missing: did you mean n_jet\?"),
        (EventSchema(targets=("label",)), ["labels"], r"column 'label' is missing: did you mean labels\?"),
        (EventSchema(weight="weight"), ["weights"], r"column 'weight' is missing: did you mean weights\?"),
        (EventSchema(event_feats=("ht",)), [], r"column 'ht' is missing: there are none"),
        (JETS, ["jet_px", "ht"], r"there is no column Jet_... of the object 'Jet': did you mean jet_px\?"),
        (JETS, ["Jet_pxx"], r"object 'Jet' must have one of the features \['px'\], got \['Jet_pxx'\]"),
        (JET_MASS, ["Jet_px", "Jet_M"], r"column 'Jet_m' is missing, and no other .* did you mean Jet_M"),
        (JET_MASS, ["Jet_px"], r"column 'Jet_m' is missing, and no other object has the feature 'm' either"),
        (EventSchema(vecs=("a",), feats_per_vec=("px", "is_b")), ["a_px"], r"column 'a_is_b' is missing"),
        (EventSchema(vecs=("a",), feats_per_vec=("px", "eta")), ["a_px"], r"column 'a_eta' is missing"),
    ],
)
def test_a_missing_column_is_an_error_that_offers_near_names(schema, names, message):
    with pytest.raises(SchemaError, match=message):
        sources(schema, names)
    with pytest.raises(SchemaError, match=message):
        assemble({name: np.zeros(1) for name in names}, schema)


# What a column may hold


def test_scalars_keep_their_places_and_types():
    schema = EventSchema(event_feats=("ht", "met"), cat_feats=("c", "b"), targets=("y1", "y0"), weight="w", ids=("i",))
    columns = {
        "y0": [0, 1], "y1": [2, 3], "w": [-1.5, 0.0], "ht": [1.5, 2.5], "met": [3, 4], "b": [True, False], "c": [5, 6],
        "i": np.array([1, 2], np.int32),
    }  # fmt: skip
    got = assemble(columns, schema)
    assert got.u.tolist() == [[1.5, 3], [2.5, 4]]
    assert got.cat.tolist() == [[5, 1], [6, 0]]
    assert got.y.tolist() == [[2, 0], [3, 1]]
    assert got.weight.tolist() == [-1.5, 0]
    assert (got.u.dtype, got.cat.dtype, got.y.dtype, got.weight.dtype) == (np.float32, np.int64, np.float32, np.float32)
    assert got.ids["i"].dtype == np.int32
    assert got.x is got.slot is got.offsets is None


def frozen(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


SAME_NUMBERS = {
    **{dtype: np.array([1, 0, 1], dtype) for dtype in ("?", "i1", "u1", "<u2", ">i4", "<u8", ">i8")},
    **{dtype: np.array([1, 0, 1], dtype) for dtype in ("<f2", "<f4", ">f4", "<f8", ">f8", "g")},
    "read-only": frozen([1.0, 0.0, 1.0]),
    "backwards": np.array([1.0, 0.0, 1.0])[::-1],
    "every second": np.array([1.0, 9.0, 0.0, 9.0, 1.0])[::2],
    "column of a matrix": np.array([[1.0, 9.0], [0.0, 9.0], [1.0, 9.0]])[:, 0],
    "one for all": np.ma.array([1, 0, 1], mask=False),
    "list": [1, 0, 1],
    "tuple": (1.0, 0.0, 1.0),
    "tensor": torch.tensor([1, 0, 1]),
    "awkward": ak.Array([1, 0, 1]),
    "awkward booleans": ak.Array([True, False, True]),
    "awkward that may have None": ak.Array([1.0, 0.0, 1.0, None])[:3],
    "arrow": ak.from_arrow(pa.array([1.0, 0.0, 1.0])),
    "series": pd.Series([1.0, 0.0, 1.0], index=[7, 5, 6]),
    "series that may have NA": pd.Series([1, 0, 1], dtype="Int64"),
}


@pytest.mark.parametrize("column", SAME_NUMBERS.values(), ids=SAME_NUMBERS.keys())
def test_numbers_are_the_same_in_any_type_order_and_layout(column):
    schema = EventSchema(
        collections=("met",), feats_per_vec=("px", "pt"), event_feats=("a",), cat_feats=("a",), weight="a"
    )
    got = assemble({"a": column, "met_px": column, "met_py": np.zeros(3)}, schema)
    assert got.u[:, 0].tolist() == got.cat[:, 0].tolist() == got.weight.tolist() == [1, 0, 1]
    assert got.x.tolist() == [[1, 1], [0, 0], [1, 1]]


SAME_LISTS = {
    "lists": [[1, 2], [], [3]],
    "tuples": ([1, 2], [], [3]),
    "awkward": ak.Array([[1, 2], [], [3]]),
    "awkward floats": ak.Array([[1.0, 2.0], [], [3.0]]),
    "unsigned bytes": ak.values_astype(ak.Array([[1, 2], [], [3]]), np.uint8),
    "half of an array": ak.Array([[9], [1, 2], [], [3], [9, 9]])[1:4],
    "other order": ak.Array([[3], [], [1, 2]])[[2, 1, 0]],
    "may have None": ak.Array([[1, 2], [], [3], [None], None])[:3],
    "None for an empty list": ak.Array([[1, 2], None, [3]]),
    "None for a hole": ak.Array([[1, 2], [None], [3, None]]),
    "arrow": ak.from_arrow(pa.array([[1.0, 2.0], [], [3.0]])),
    "arrow with nulls": ak.from_arrow(pa.array([[1.0, 2.0], None, [3.0]])),
    "padded": np.array([[1, 2], [NAN, NAN], [3, NAN]]),
    "padded, big-endian": np.array([[1, 2], [NAN, NAN], [3, NAN]], ">f4"),
    "padded, column-wise": np.asfortranarray([[1, 2], [NAN, NAN], [3, NAN]]),
    "padded, masked": np.ma.array([[1, 2], [0, 0], [3, 0]], mask=[[0, 0], [1, 1], [0, 1]]),
    "padded, regular": ak.to_regular(ak.Array([[1.0, 2.0], [NAN, NAN], [3.0, NAN]])),
}


@pytest.mark.parametrize("column", SAME_LISTS.values(), ids=SAME_LISTS.keys())
def test_lists_are_the_same_in_any_type_order_and_layout(column):
    schema = EventSchema(collections=("Jet",), feats_per_vec=("px", "pt"))
    got = assemble({"Jet_px": column, "Jet_py": column}, schema)
    np.testing.assert_allclose(got.x, np.array([[1, 2, 3], np.sqrt([2, 8, 18])]).T, rtol=1e-6)
    assert np.diff(got.offsets).tolist() == [2, 0, 1]
    assert got.slot.tolist() == [0, 1, 0]


def test_a_regular_matrix_has_one_particle_per_column():
    assert np.diff(assemble({"Jet_px": np.arange(6).reshape(2, 3)}, JETS).offsets).tolist() == [3, 3]
    assert np.diff(assemble({"Jet_px": np.zeros((2, 0))}, JETS).offsets).tolist() == [0, 0]


def test_what_is_masked_or_none_is_not_a_number():
    schema = EventSchema(event_feats=("ht",))
    for column in (np.ma.array([1, 2], mask=[0, 1]), ak.Array([1, None]), pd.Series([1, None], dtype="Int64")):
        with pytest.raises(SchemaError, match="event 1: column 'ht' must be a finite number, got nan"):
            assemble({"ht": column}, schema)


def test_a_masked_object_is_absent():
    columns = {"a_px": np.ma.array([1.0, 2.0], mask=[False, True]), "b_px": ak.Array([None, 3.0])}
    got = assemble(columns, EventSchema(vecs=("a", "b"), feats_per_vec=("px",)))
    assert got.x[:, 0].tolist() == [1, 3]
    assert got.slot.tolist() == [0, 1]


def test_tables_of_pandas_are_taken_by_name():
    frame = pd.DataFrame({0: ["x", "y"], "ht": [1.0, 2.0], "jet0_px": [3.0, NAN], "n": [1, 2], "tag": [True, False]})
    schema = EventSchema(vecs=("jet0",), feats_per_vec=("px",), event_feats=("tag", "ht"), cat_feats=("n",), ids=("n",))
    got = assemble(frame, schema)
    assert got.u.tolist() == [[1, 1], [0, 2]]
    assert got.cat.tolist() == [[1], [2]]
    assert (got.x.tolist(), np.diff(got.offsets).tolist()) == ([[3]], [1, 0])
    shuffled = assemble(frame.iloc[::-1], schema)
    assert (shuffled.u.tolist(), np.diff(shuffled.offsets).tolist()) == ([[0, 2], [1, 1]], [0, 1])


def test_a_column_that_stands_twice_in_a_table_is_an_error():
    frame = pd.DataFrame([[1.0, 2.0]], columns=["Jet_px", "Jet_px"])
    with pytest.raises(SchemaError, match="column 'Jet_px' occurs more than once"):
        assemble(frame, JETS)


NOT_NUMBERS = {
    "text": (np.array(["1", "2"]), "<U1"),
    "text in a list": (["1", "2"], "string"),
    "text as objects": (np.array(["1", "2"], object), "object"),
    "text in pandas": (pd.Series(["1", "2"]), "object|str"),
    "text in awkward": (ak.Array(["1", "2"]), "2 . string"),
    "lists of text": (ak.Array([["1"], []]), "string"),
    "bytes": (np.array([b"1", b"2"]), r"\|S1"),
    "complex": (np.array([1 + 2j, 3]), "complex128"),
    "times": (np.array(["2020-01-01", "2021-01-01"], "datetime64[s]"), "datetime64"),
    "records": (ak.Array([{"x": 1}, {"x": 2}]), "x: int64"),
    "numbers and text": (ak.Array([1.0, "a"]), "union"),
    "numbers and lists": (ak.Array([1.0, [2.0]]), "union"),
    "lists of lists": (ak.Array([[[1.0]], [[2.0], []]]), "var"),
    "three axes": (np.zeros((2, 1, 1)), "3 axes of float64"),
    "lists in pandas": (pd.Series([[1.0], [1.0, 2.0]]), "object"),
}


@pytest.mark.parametrize(("column", "found"), NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
def test_what_is_not_a_number_or_a_list_of_numbers_is_an_error(column, found):
    message = f"column '{{}}' must hold a number or a list of numbers per event, got .*({found})"
    for field in ("event_feats", "cat_feats", "targets"):
        with pytest.raises(SchemaError, match=message.format("a")):
            assemble({"a": column}, EventSchema(**{field: ("a",)}))
    with pytest.raises(SchemaError, match=message.format("Jet_px")):
        assemble({"Jet_px": column}, JETS)


@pytest.mark.parametrize("field", ["event_feats", "cat_feats", "targets", "weight"])
def test_lists_where_a_number_is_expected_are_an_error(field):
    schema = EventSchema(**{field: "a" if field == "weight" else ("a",)})
    for column in ([[1.0], [2.0]], np.ones((2, 1))):
        with pytest.raises(SchemaError, match="column 'a' must hold one number per event, got lists"):
            assemble({"a": column}, schema)


def test_lists_of_a_named_object_are_an_error():
    with pytest.raises(
        SchemaError,
        match="column 'jet0_px' must hold one number per event, got lists: name 'jet0' in collections, not in vecs",
    ):
        assemble({f"{vec}_px": [[1.0]] for vec in NAMED.vecs} | {"jet0_pz": [[1.0]]}, NAMED)


def test_a_number_among_lists_of_its_object_is_an_error():
    with pytest.raises(SchemaError, match="event 1: 'Jet_m' must have 2 objects, as 'Jet_px', got 1"):
        assemble({"Jet_px": [[1.0], [1.0, 2.0]], "Jet_m": [0.0, 0.0]}, JET_MASS)


def test_lists_of_different_lengths_are_an_error_that_names_event_and_columns():
    with pytest.raises(SchemaError, match="event 2: 'Jet_m' must have 1 objects, as 'Jet_px', got 3"):
        assemble({"Jet_px": [[1.0], [], [2.0]], "Jet_m": [[1.0], [], [1.0, 2.0, 3.0]]}, JET_MASS)


def test_the_same_number_of_particles_in_other_events_is_an_error():
    with pytest.raises(SchemaError, match="event 0: 'Jet_m' must have 2 objects, as 'Jet_px', got 1"):
        assemble({"Jet_px": [[1.0, 2.0], [3.0]], "Jet_m": [[1.0], [2.0, 3.0]]}, JET_MASS)


@pytest.mark.parametrize("extra", ["ht", "run"])
def test_columns_of_different_lengths_are_an_error(extra):
    with pytest.raises(SchemaError, match=f"column '{extra}' must have 2 events, as 'Jet_px', got 3"):
        assemble({"Jet_px": [[1.0], []], extra: [1, 2, 3]}, replace(JETS, ids=("run",)))


@given(st.integers(0, 2), st.integers(0, 1), st.booleans())
def test_a_nan_in_part_of_an_object_names_event_and_column(event, row, named):
    feats = ("px", "py")
    values = {feat: np.ones((3, 2)) for feat in feats}
    values["py"][event, row] = NAN
    if named:
        schema = EventSchema(vecs=("a", "b"), feats_per_vec=feats)
        columns = {f"{vec}_{feat}": values[feat][:, i] for i, vec in enumerate("ab") for feat in feats}
    else:
        schema = EventSchema(collections=("a",), feats_per_vec=feats)
        columns = {f"a_{feat}": values[feat] for feat in feats}
    vec = "ab"[row] if named else "a"
    with pytest.raises(SchemaError, match=f"event {event}: column '{vec}_py' is NaN but other columns of that '{vec}'"):
        assemble(columns, schema)


def test_a_nan_in_an_event_behind_empty_ones_is_found_there():
    with pytest.raises(SchemaError, match="event 3: column 'Jet_m' is NaN"):
        assemble({"Jet_px": [[], [1.0], [], [1.0, 2.0]], "Jet_m": [[], [1.0], [], [1.0, NAN]]}, JET_MASS)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e39, -1e300])
def test_numbers_that_a_tensor_cannot_hold_are_an_error(value):
    for field in ("event_feats", "targets"):
        with pytest.raises(SchemaError, match=r"event 1: column 'a' must be a finite number, got -?(inf|1e\+\d+)"):
            assemble({"a": [0.0, value]}, EventSchema(**{field: ("a",)}))
    with pytest.raises(SchemaError, match="event 1: feature 'Jet_px' must be a finite number"):
        assemble({"Jet_px": [[], [1.0, value]]}, JETS)


@pytest.mark.parametrize(
    ("columns", "feat"),
    [
        ({"a_px": [0.0], "a_py": [0.0], "a_pz": [5.0]}, "eta"),
        ({"a_pt": [5.0], "a_phi": [0.0], "a_eta": [-999.0]}, "pz"),
        ({"a_pt": [1e200], "a_phi": [0.0], "a_eta": [0.0]}, "E"),
    ],
    ids=["along the beam", "a placeholder for eta", "too large"],
)
def test_computed_features_that_are_infinite_are_an_error(columns, feat):
    with pytest.raises(SchemaError, match=f"event 0: feature 'a_{feat}' must be a finite number"):
        assemble(columns, EventSchema(vecs=("a",), feats_per_vec=(feat,)))


@pytest.mark.parametrize("field", ["event_feats", "cat_feats", "targets", "weight"])
def test_a_nan_outside_of_particles_is_an_error(field):
    schema = EventSchema(**{field: "a" if field == "weight" else ("a",)})
    with pytest.raises(SchemaError, match="event 1: column 'a' must be a finite number, got nan"):
        assemble({"a": [1.0, NAN]}, schema)


@pytest.mark.parametrize("value", [-1, 0.5, 2.0**31, 2.0**53 + 2, 1e18])
def test_categories_are_whole_numbers_from_0(value):
    schema = EventSchema(cat_feats=("a", "b"))
    with pytest.raises(SchemaError, match=r"event 2: category 'b' must be a whole number from 0"):
        assemble({"a": [0, 1, 2], "b": np.array([0, 1, value])}, schema)


def test_large_categories_are_exact():
    code = 2**31 - 1
    assert assemble({"a": [code, code - 1]}, EventSchema(cat_feats=("a",))).cat[:, 0].tolist() == [code, code - 1]


# Identifiers


@pytest.mark.parametrize(
    "ids",
    [
        np.array([2**53 + 1, 2**63 - 1]),
        np.array([2**53 + 1, 2**63 - 1], ">i8"),
        np.array([2**53 + 1, 2**64 - 1], np.uint64),
        ak.Array([2**53 + 1, 2**63 - 1]),
        ak.Array([2**53 + 1, 2**63 - 1, None])[:2],
        [2**53 + 1, 2**63 - 1],
        pd.Series([2**53 + 1, 2**63 - 1]),
        frozen([2**53 + 1, 2**63 - 1]),
    ],
    ids=["int64", "big-endian", "uint64", "awkward", "may have None", "list", "series", "read-only"],
)
def test_identifiers_beyond_float64_are_exact(ids):
    got = assemble({"event": ids}, EventSchema(ids=("event",))).ids["event"]
    assert got.tolist() == list(ids)
    assert got.dtype.isnative


def test_identifiers_may_be_text():
    assert assemble({"event": np.array(["a", "b"])}, EventSchema(ids=("event",))).ids["event"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "ids",
    [ak.Array([[1], [2, 3]]), np.ones((2, 1)), ak.Array([1, None]), np.ma.array([1, 2], mask=[0, 1])],
    ids=["lists", "matrix", "None", "masked"],
)
def test_identifiers_are_one_per_event(ids):
    with pytest.raises(SchemaError, match="identifier 'event' must be one value per event, without lists"):
        assemble({"event": ids}, EventSchema(ids=("event",)))


# Manners


def test_the_columns_are_left_alone_and_shared_with_nobody():
    ids, px = np.arange(3), np.array([1.0, NAN, 3.0])
    columns = {"a_px": px.copy(), "a_py": px.copy(), "ht": np.ones(3), "event": ids.copy()}
    schema = EventSchema(vecs=("a",), feats_per_vec=("px", "pt"), event_feats=("ht",), ids=("event",))
    got = assemble(columns, schema)
    for array in (got.x, got.u, got.ids["event"]):
        array += 1
    np.testing.assert_array_equal(columns["a_px"], px)
    assert columns["ht"].tolist() == [1, 1, 1]
    assert columns["event"].tolist() == [0, 1, 2]


def test_a_schema_of_nothing_takes_nothing():
    assert assemble({}, EventSchema()).x is None


def test_events_are_not_looped_over():
    def lines(num_events):
        columns = {**particles([(1, 3)] * num_events), "ht": np.ones(num_events), "n": np.ones(num_events)}
        columns |= {"Jet_py": columns["Jet_px"], "MET_py": columns["MET_px"]}
        schema = EventSchema(
            collections=LISTS.collections,
            feats_per_vec=("px", "pt", "eta", "log_E", "kind", "charge"),
            event_feats=("ht",),
            cat_feats=("n",),
            max_particles=3,
        )
        count = 0

        def trace(frame, event, _):
            nonlocal count
            count += event == "line"
            return trace if frame.f_code.co_filename == module.__file__ else None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            assemble(columns, schema)
        finally:
            sys.settrace(before)
        return count

    assert lines(2000) == lines(20) > 0
