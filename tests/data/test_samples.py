"""The shipped events are at hand in one call, the same from Parquet and from ROOT."""

import awkward as ak
import numpy as np
import pytest
import torch

from lumigraph.data import SAMPLE_SCHEMA, EventDataset, column_names, load_sample, read_columns, sample_path
from lumigraph.events.errors import SchemaError
from lumigraph.events.schema import EventSchema

FEATURE = {name: i for i, name in enumerate(SAMPLE_SCHEMA.feats_per_vec)}


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def from_root():
    return EventDataset.from_file(sample_path("root"), SAMPLE_SCHEMA)


def test_paths_are_of_files_that_are_there():
    for kind in ("parquet", "root"):
        assert sample_path(kind).is_file()
        assert sample_path(kind).suffix == f".{kind}"
    assert sample_path() == sample_path("parquet")


def test_a_kind_that_is_not_shipped_is_an_error():
    unchecked = getattr(sample_path, "__wrapped__", sample_path)
    with pytest.raises(ValueError, match="kind must be 'parquet' or 'root', got 'csv'"):
        unchecked("csv")


def test_the_sample_has_all_events_in_file_order(sample):
    columns = read_columns(sample_path(), ["event", "label", "weight", "n_jets", "lepton_flavour", "ht", "met"])
    assert len(sample) == 20_000
    np.testing.assert_array_equal(sample.ids["event"], columns["event"])
    np.testing.assert_array_equal(sample.y[:, 0], columns["label"])
    np.testing.assert_array_equal(sample.weight, columns["weight"])
    for i, name in enumerate(SAMPLE_SCHEMA.event_feats):
        np.testing.assert_array_equal(sample.u[:, i], columns[name])
    for i, name in enumerate(SAMPLE_SCHEMA.cat_feats):
        np.testing.assert_array_equal(sample.cat[:, i], columns[name])


def test_a_few_events_hold_what_the_file_holds(sample):
    names = [f"{name}_{feat}" for name in ("Electron", "Muon", "Jet") for feat in ("px", "py", "pz", "E", "btag")]
    columns = read_columns(sample_path(), [*names, "MET_px", "MET_py", "MET_E"])
    for event in (0, 1, 9_999, 19_999):
        expected = [[columns["MET_px"][event], columns["MET_py"][event], 0.0, columns["MET_E"][event], 0.0, 0]]
        for kind, name in enumerate(("Electron", "Muon", "Jet"), start=1):
            own = [columns[f"{name}_{feat}"][event].tolist() for feat in ("px", "py", "pz", "E", "btag")]
            expected += [[*row, kind] for row in zip(*own, strict=True)]
        x = sample[event].x
        got = x[:, [FEATURE[feat] for feat in ("px", "py", "pz", "E", "btag")]]
        kind = x[:, [FEATURE[f"is_{name}"] for name in SAMPLE_SCHEMA.collections]].argmax(1, keepdim=True)
        np.testing.assert_array_equal(torch.cat([got, kind], dim=1), np.array(expected[:16], dtype=np.float32))


def test_particles_are_in_their_slots(sample):
    lengths = sample.ptr.diff()
    assert int(lengths.min()) >= 6  # MET, a lepton, four jets
    expected = torch.arange(len(sample.slot)) - sample.ptr[:-1].repeat_interleave(lengths)
    assert torch.equal(sample.slot, expected)
    flags = sample.x[:, [FEATURE[f"is_{name}"] for name in SAMPLE_SCHEMA.collections]]
    assert torch.equal(flags.sum(1), torch.ones(len(flags)))
    assert torch.equal(flags[:, 0] == 1, sample.slot == 0)
    kind, same_event = flags.argmax(1), sample.slot[1:] > 0
    assert bool((kind.diff()[same_event] >= 0).all()), "not in the order of the schema"


def test_no_particle_is_lost_but_those_behind_the_sixteenth(sample):
    columns = read_columns(sample_path(), ["Electron_E", "Muon_E", "Jet_E"])
    there = 1 + sum(ak.to_numpy(ak.num(column)) for column in columns.values())
    assert there.max() >= 16
    np.testing.assert_array_equal(sample.ptr.diff(), np.minimum(there, 16))


def test_all_numbers_are_finite(sample):
    for name in ("x", "u", "y", "weight"):
        assert bool(getattr(sample, name).isfinite().all()), name


def test_the_same_events_from_root_and_parquet_agree(sample, from_root):
    part = sample.select(range(len(from_root)))
    assert len(from_root) == 3_000
    for name in ("ptr", "slot", "u", "cat", "y", "weight"):
        assert torch.equal(getattr(from_root, name), getattr(part, name)), name
    np.testing.assert_array_equal(from_root.ids["event"], part.ids["event"])
    x, expected = from_root.x.double(), part.x.double()
    energy = expected[:, FEATURE["E"]]
    for feat in ("px", "py", "pz", "E"):
        assert bool(((x - expected)[:, FEATURE[feat]].abs() <= 1e-6 * energy).all()), feat
    for feat in ("log_pt", "eta", "log_E"):
        np.testing.assert_allclose(x[:, FEATURE[feat]], expected[:, FEATURE[feat]], atol=3e-6, err_msg=feat)
    for feat in ("charge", "btag", "is_MET", "is_Electron", "is_Muon", "is_Jet"):
        assert torch.equal(x[:, FEATURE[feat]], expected[:, FEATURE[feat]]), feat


def test_the_sample_can_be_read_by_another_schema():
    schema = EventSchema(collections=("Muon",), feats_per_vec=("pt", "charge"), targets=("ttx_mass",))
    muons = load_sample(schema)
    assert len(muons) == 20_000
    assert 0 in muons.ptr.diff()
    assert bool((muons.x[:, 0] > 24.99).all())
    assert set(muons.x[:, 1].tolist()) == {-1, 1}
    assert bool((muons.y > 250).all())


def test_a_schema_that_the_sample_does_not_fit_is_an_error_that_names_the_file():
    with pytest.raises(SchemaError, match=r"tth\.parquet: there is no column Photon_\.\.\. of the object 'Photon'"):
        load_sample(EventSchema(collections=("Photon",), feats_per_vec=("px",)))


@pytest.mark.parametrize("kind", ["parquet", "root"])
def test_the_schema_of_the_sample_leaves_only_what_it_does_not_use(kind):
    used = {name.partition("_")[0] for name in SAMPLE_SCHEMA.collections}
    event = {*SAMPLE_SCHEMA.event_feats, *SAMPLE_SCHEMA.cat_feats, *SAMPLE_SCHEMA.targets, "weight", "event"}
    rest = {name for name in column_names(sample_path(kind)) if name.partition("_")[0] not in used} - event
    assert rest - {"nJet", "nElectron", "nMuon"} == {"ttx_mass"}
