"""The shipped physics sample holds what its datasheet promises, and its generator makes the same again."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

ROOT = Path(__file__).parents[1]
GENERATOR = ROOT / "examples" / "generate_sample.py"
DATASHEET = ROOT / "docs" / "datasheet.md"
SAMPLE = Path(str(files("lumigraph.data") / "sample"))

OBJECTS = ("Jet", "Electron", "Muon")
FEATURES = {
    "px": pa.float32(),
    "py": pa.float32(),
    "pz": pa.float32(),
    "E": pa.float32(),
    "charge": pa.int8(),
    "btag": pa.int8(),
    "kind": pa.int8(),
}
SCALARS = {
    "event": pa.int64(),
    "ht": pa.float32(),
    "met": pa.float32(),
    "n_jets": pa.int32(),
    "lepton_flavour": pa.int32(),
    "weight": pa.float32(),
    "label": pa.int8(),
    "ttx_mass": pa.float32(),
}
KINDS = {"MET": 0, "Electron": 1, "Muon": 2, "Jet": 3}


@pytest.fixture(scope="module")
def table():
    return pq.read_table(SAMPLE / "tth.parquet")


@pytest.fixture(scope="module")
def generator():
    """The generator script as a module."""
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    spec = importlib.util.spec_from_file_location("generate_sample", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flat(events, name):
    return ak.to_numpy(ak.flatten(events[name], axis=None)).astype(np.float64)


def check_columns(table):
    expected = {f"{name}_{feature}": kind for name in OBJECTS for feature, kind in FEATURES.items()}
    met = {f"MET_{feature}": kind for feature, kind in FEATURES.items() if feature != "pz"}
    assert set(table.column_names) == {*expected, *met, *SCALARS}
    for name, kind in expected.items():
        assert table.schema.field(name).type.value_type == kind, name
    for name, kind in {**met, **SCALARS}.items():
        assert table.schema.field(name).type == kind, name
    assert all(column.null_count == 0 for column in table.columns)
    for name in OBJECTS:
        lengths = [ak.num(ak.from_arrow(table[f"{name}_{feature}"])) for feature in FEATURES]
        assert all(ak.array_equal(length, lengths[0]) for length in lengths)


def check_objects(events):
    limits = {"Jet": (30.0, 2.5), "Electron": (25.0, 2.5), "Muon": (25.0, 2.4)}
    for name, (min_pt, max_eta) in limits.items():
        px, py, pz, energy = (flat(events, f"{name}_{feature}") for feature in ("px", "py", "pz", "E"))
        pt = np.hypot(px, py)
        assert np.isfinite(energy).all()
        assert (pt > min_pt * (1 - 1e-6)).all()
        assert (np.abs(np.arcsinh(pz / pt)) < max_eta + 1e-6).all()
        assert (energy >= np.sqrt(px**2 + py**2 + pz**2)).all()
        p32 = [flat(events, f"{name}_{feature}").astype(np.float32) for feature in ("px", "py", "pz", "E")]
        assert (p32[3] ** 2 - (p32[0] ** 2 + p32[1] ** 2 + p32[2] ** 2) >= 0).all(), "negative mass in float32"
        assert np.isin(flat(events, f"{name}_charge"), (0,) if name == "Jet" else (-1, 1)).all()
        assert np.isin(flat(events, f"{name}_btag"), (0, 1) if name == "Jet" else (0,)).all()
        jagged_pt = np.hypot(events[f"{name}_px"], events[f"{name}_py"])
        assert ak.all(jagged_pt[:, :-1] >= jagged_pt[:, 1:] * (1 - 1e-6)), "not ordered by falling pT"
    for name, code in KINDS.items():
        assert (flat(events, f"{name}_kind") == code).all()


def check_events(events):
    n_jets, n_electrons, n_muons = (ak.to_numpy(ak.num(events[f"{name}_E"])) for name in OBJECTS)
    assert n_jets.min() >= 4
    assert (n_electrons + n_muons).min() >= 1
    np.testing.assert_array_equal(events.n_jets, np.minimum(n_jets, 9))
    ht = ak.sum(
        np.hypot(ak.values_astype(events.Jet_px, "float64"), ak.values_astype(events.Jet_py, "float64")), axis=1
    )
    np.testing.assert_allclose(events.ht, ht, rtol=1e-6)
    np.testing.assert_array_equal(events.met, events.MET_E)
    np.testing.assert_allclose(events.met, np.hypot(flat(events, "MET_px"), flat(events, "MET_py")), rtol=1e-6)
    np.testing.assert_array_equal(np.sort(events.event), np.arange(len(events)))
    assert ak.sum(events.label) == len(events) / 2
    assert ak.all((events.label == 0) | (events.label == 1))
    assert ak.all(events.weight > 0)
    flavour = ak.to_numpy(events.lepton_flavour)
    for code, counts in enumerate([(1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]):
        chosen = (n_electrons == counts[0]) & (n_muons == counts[1])
        assert (flavour[chosen] == code).all()
    assert (n_electrons + n_muons).max() <= 2, "two W bosons give at most two leptons"
    assert ak.all(events.ttx_mass > 250), "two top quarks cannot be this light"
    assert ak.all(events.ttx_mass[events.label == 1] > 375), "neither can two top quarks and a Higgs boson"


def check_root(path, events):
    with uproot.open(path) as file:
        tree = file["Events"].arrays()
    events = events[: len(tree)]
    for name in OBJECTS:
        np.testing.assert_array_equal(tree[f"n{name}"], ak.num(events[f"{name}_E"]))
        pt, eta, phi, mass = (flat(tree, f"{name}_{feature}") for feature in ("pt", "eta", "phi", "mass"))
        assert (mass >= 0).all()
        momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), np.hypot(pt * np.cosh(eta), mass)]
        energy = flat(events, f"{name}_E")
        for value, feature in zip(momentum, ("px", "py", "pz", "E"), strict=True):
            assert (np.abs(value - flat(events, f"{name}_{feature}")) <= 1e-6 * energy).all(), f"{name}_{feature}"
        exact = ("btag",) if name == "Jet" else ("charge",)
        for feature in exact:
            np.testing.assert_array_equal(flat(tree, f"{name}_{feature}"), flat(events, f"{name}_{feature}"))
    for value, feature in ((np.cos(tree.MET_phi), "px"), (np.sin(tree.MET_phi), "py")):
        np.testing.assert_allclose(tree.MET_pt * value, events[f"MET_{feature}"], atol=1e-6 * ak.max(tree.MET_pt))
    for name in SCALARS:
        np.testing.assert_array_equal(tree[name], events[name])
    return len(tree)


def check_sample(folder):
    table = pq.read_table(folder / "tth.parquet")
    check_columns(table)
    events = ak.from_arrow(table)
    check_objects(events)
    check_events(events)
    return len(events), check_root(folder / "tth.root", events)


def test_shipped_files_keep_the_promises():
    assert check_sample(SAMPLE) == (20_000, 3_000)


def test_shipped_files_are_small():
    assert (SAMPLE / "tth.parquet").stat().st_size < 5_000_000
    assert (SAMPLE / "tth.root").stat().st_size < 1_000_000


def test_signal_and_background_are_mixed(table):
    label = table["label"].to_numpy()
    share = label.reshape(20, -1).mean(axis=1)  # of each thousand events in file order
    assert (np.abs(share - 0.5) < 0.08).all()  # five standard deviations


def test_signal_looks_like_signal(table):
    events = ak.from_arrow(table)
    signal, background = events[events.label == 1], events[events.label == 0]
    assert ak.mean(ak.sum(signal.Jet_btag, axis=1)) > 1.5 * ak.mean(ak.sum(background.Jet_btag, axis=1))
    assert ak.mean(signal.n_jets) > ak.mean(background.n_jets) + 0.5
    assert ak.mean(signal.ht) > 1.2 * ak.mean(background.ht)


def test_w_boson_and_higgs_boson_peak(table):
    events = ak.from_arrow(table)
    p4 = ak.zip({name: ak.values_astype(events[f"Jet_{name}"], "float64") for name in ("px", "py", "pz", "E")})

    def pair_masses(jets):
        first, second = ak.unzip(ak.combinations(jets, 2))
        px, py, pz, energy = (first[name] + second[name] for name in ("px", "py", "pz", "E"))
        return np.sqrt(ak.to_numpy(ak.flatten(energy**2 - px**2 - py**2 - pz**2)))

    tagged = events.Jet_btag == 1
    light, _ = np.histogram(pair_masses(p4[~tagged & (ak.sum(tagged, axis=1) >= 2)]), bins=np.arange(30, 200, 20))
    assert light.argmax() == 2, "pairs of untagged jets peak at 70 to 90 GeV"
    heavy = pair_masses(p4[tagged & (ak.sum(tagged, axis=1) == 4) & (events.label == 1)])
    counts, _ = np.histogram(heavy, bins=np.arange(20, 300, 20))
    assert counts.argmax() in (3, 4), "pairs of tagged jets peak at 80 to 120 GeV, the Higgs boson less its neutrinos"


def test_metadata_adds_up(table):
    summary = json.loads(table.schema.metadata[b"lumigraph"])
    for label, name in enumerate(("ttbar", "ttH")):
        process = summary["processes"][name]
        assert process["label"] == label
        assert process["stored"] == (table["label"].to_numpy() == label).sum()
        assert process["stored"] <= process["selected"] < process["generated"]
        assert process["cross_section_error_pb"] < 0.05 * process["cross_section_pb"]
        assert process["filter_efficiency"] == pytest.approx(1 - 0.6741**2, abs=0.01)  # 1 - BR(W to quarks)^2


def test_datasheet_names_every_column_and_the_checksums(table):
    if not DATASHEET.exists():
        pytest.skip("the documentation is not beside the tests")
    text = DATASHEET.read_text(encoding="utf-8")
    for name in ("tth.parquet", "tth.root"):
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() in text, name
    for column in table.column_names:
        name, _, feature = column.rpartition("_")
        assert f"`{column}`" in text or (name in KINDS and f"`*_{feature}`" in text), column
    for process in json.loads(table.schema.metadata[b"lumigraph"])["processes"].values():
        for number in (process["generated"], process["selected"]):
            assert f"{number:,}" in text
        assert f"{process['cross_section_pb']:.4g}" in text
        assert f"{process['filter_efficiency']:.4f}" in text


def test_generator_gives_the_same_with_one_and_two_processes(tmp_path):
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    for processes in (1, 2):
        command = [sys.executable, str(GENERATOR), "--out", str(tmp_path / str(processes)), "--events", "10"]
        done = subprocess.run(
            [*command, "--seed", "3", "--processes", str(processes)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stdout == "", "a banner came through"
        assert check_sample(tmp_path / str(processes)) == (10, 10)
    first, second = (pq.read_table(tmp_path / name / "tth.parquet") for name in "12")
    assert first.equals(second, check_metadata=True)


@pytest.mark.parametrize("arguments", [["--events", "7"], ["--events", "0"], ["--processes", "0"], ["--seed", "-1"]])
def test_generator_refuses_wrong_arguments(generator, arguments, tmp_path, capsys):
    with pytest.raises(SystemExit):
        generator.main(["--out", str(tmp_path), *arguments])
    message = capsys.readouterr().err
    assert f"{arguments[0]} must be" in message or f"{arguments[0]} at least" in message
    assert arguments[1] in message.partition("got ")[2]


def test_generator_knows_hadrons_by_their_heaviest_quark(generator):
    codes = np.array([511, -521, 541, 5122, 443, 411, -4122, 5101, 2212, 5, 24, 1000050110])
    assert generator.holds_quark(codes, 5).tolist() == [True] * 4 + [False] * 8
    assert generator.holds_quark(codes, 4).tolist() == [False] * 4 + [True] * 3 + [False] * 5


def test_generator_traces_leptons_to_their_w_boson(generator):
    # W -> tau -> mu; W -> e, which recoils; B -> mu; photon -> e
    pdg_id = np.array([90, 24, -15, -13, 24, -11, -11, 511, 13, 22, 11])
    mother = np.array([0, 0, 1, 2, 0, 4, 5, 0, 7, 0, 9])
    particles = generator.Particles(pdg_id, np.ones(11), mother, np.zeros((11, 4)))
    assert generator.from_w_boson(particles, np.array([3, 6, 8, 10])).tolist() == [True, True, False, False]


def test_generator_codes_lepton_flavours(generator):
    electrons = [[True], [False], [True, True], [True, False], [False, True], [False, False]]
    assert [generator.lepton_flavour(np.array(each)) for each in electrons] == [0, 1, 2, 3, 3, 4]


def test_generator_smears_as_documented(generator):
    rng = np.random.default_rng(0)
    for pt in (30.0, 100.0, 500.0):
        jets = np.tile([pt, 0.0, pt, 1.5 * pt], (20_000, 1))
        ratio = generator.smear_jets(jets, rng)[:, 0] / pt
        width = np.sqrt((2.0 / pt) ** 2 + 0.8**2 / pt + 0.04**2)
        assert ratio.mean() == pytest.approx(1.0, abs=5 * width / np.sqrt(20_000))
        assert ratio.std() == pytest.approx(width, rel=0.03)


def test_generator_rounds_energies_upwards(generator):
    rng = np.random.default_rng(0)
    momentum = rng.normal(size=(10_000, 3)) * rng.uniform(1.0, 1e4, size=(10_000, 1))
    rounded = generator.to_float32(np.hstack([momentum, np.linalg.norm(momentum, axis=1, keepdims=True)]))
    assert rounded.dtype == np.float32
    px, py, pz, energy = rounded.T
    assert (energy**2 - (px**2 + py**2 + pz**2) >= 0).all()
    np.testing.assert_allclose(energy, np.linalg.norm(momentum, axis=1), rtol=1e-6)
