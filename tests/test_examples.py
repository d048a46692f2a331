"""The examples run, each in a process of its own, on fewer events or epochs."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_unchecked(name, *arguments):
    env = {**os.environ, "JAXTYPING_DISABLE": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def run(name, *arguments):
    done = run_unchecked(name, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_demo_writes_models_predictions_and_pictures(tmp_path):
    printed = run("demo.py", "--out", tmp_path, "--epochs", 1)
    for folder in ("interaction_network", "Lorentz_boost_network"):
        names = {p.name for p in (tmp_path / folder).iterdir()}
        assert names == {
            "model.pt",
            "scores.parquet",
            "training.png",
            "roc.png",
            "scores.png",
            "calibration.png",
            "event.png",
        }
    assert (tmp_path / "roc.png").exists()
    for word in ("AUC", "1/eps_B at 30 %", "events/s", "parameters", "±", "model.pt"):
        assert word in printed


def test_the_comparison_prints_every_model(tmp_path):
    pytest.importorskip("sklearn")
    printed = run("compare_baselines.py", "--seeds", 1, "--epochs", 1, "--folder", tmp_path)
    _, classification, regression = printed.split("mean ± spread over seeds")
    for table in (classification, regression):
        for name in (
            "boosted trees",
            "interaction network",
            "Lorentz boost network",
            "fully connected, event features",
        ):
            assert name in table
    assert auc_of(classification, "boosted trees") > 0.8
    mean = next(line for line in regression.splitlines() if line.startswith("mean of the training events"))
    trees = next(line for line in regression.splitlines() if line.startswith("boosted trees  "))
    bias, resolution = mean.split()[5:7]
    assert abs(float(bias)) < 20
    assert float(trees.split()[3]) < 0.8 * float(resolution)


def generated_jets(path, *arguments):
    """Jets of the generator, and a function that gives all constituents of a component, flat."""
    run("top_tagging/generate.py", "--out", path, *arguments)
    return ak.from_parquet(path)


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    return generated_jets(tmp_path_factory.mktemp("jets") / "jets.parquet", "--jets", 60, "--seed", 3)


def test_generated_jets_are_those_of_the_reference_set(jets):
    assert sorted(set(jets.fields)) == sorted([*(f"Constituent_{k}" for k in ("E", "px", "py", "pz")), "is_signal_new"])
    energy, px, py, pz = (ak.values_astype(jets[f"Constituent_{k}"], np.float64) for k in ("E", "px", "py", "pz"))
    number = ak.num(energy)
    assert ak.max(number) <= 200
    assert ak.min(number) > 5
    pt = np.hypot(px, py)
    assert ak.all(pt[:, :-1] >= pt[:, 1:] * (1 - 1e-6))  # the hardest first
    assert ak.all(abs(energy / np.sqrt(pt**2 + pz**2) - 1) < 1e-6)  # massless
    jet_pt, jet_pz = np.hypot(ak.sum(px, axis=1), ak.sum(py, axis=1)), ak.sum(pz, axis=1)
    assert ak.all((jet_pt > 549.9) & (jet_pt < 650.1))
    eta = np.arcsinh(jet_pz / jet_pt)
    assert ak.all(abs(eta) < 2)
    assert ak.any(abs(eta) > 0.5)
    radius = np.hypot(np.arcsinh(pz / pt) - eta, turn(np.arctan2(py, px), np.arctan2(ak.sum(py, 1), ak.sum(px, 1))))
    assert 0.7 < ak.max(radius) < 1.2  # anti-kT jets of R = 0.8
    label = ak.to_numpy(jets.is_signal_new)
    assert label.sum() == 30
    assert len(set(label[:20])) == 2  # in random order
    mass = ak.to_numpy(np.sqrt(ak.sum(energy, axis=1) ** 2 - jet_pt**2 - jet_pz**2), allow_missing=False)
    assert 160 < np.median(mass[label == 1]) < 190
    assert np.median(mass[label == 0]) < 120


def turn(phi, other):
    return (phi - other + np.pi) % (2 * np.pi) - np.pi


def test_generated_jets_depend_on_the_seed_alone(jets, tmp_path):
    same = generated_jets(tmp_path / "a.parquet", "--jets", 60, "--seed", 3, "--processes", 1)
    assert ak.array_equal(same, jets)
    other = generated_jets(tmp_path / "b.parquet", "--jets", 2, "--seed", 4)
    assert not np.isin(other.Constituent_E[0][0], ak.flatten(jets.Constituent_E))


def auc_of(printed, model):
    """AUC as the table has it: its first number behind the name."""
    line = next(line for line in printed.splitlines() if line.startswith(f"{model}  "))
    return float(line[len(model) :].split()[0])


def test_the_top_tagging_benchmark_makes_its_jets_where_there_are_none(tmp_path, monkeypatch):
    class Started(Exception):
        pass

    def start(command, check):
        raise Started(*command)

    monkeypatch.syspath_prepend(EXAMPLES / "top_tagging")
    spec = importlib.util.spec_from_file_location("top_tagging_run", EXAMPLES / "top_tagging" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(subprocess, "run", start)
    with pytest.raises(Started) as started:
        module.main(["--quick", "--folder", str(tmp_path)])
    generate = [sys.executable, EXAMPLES / "top_tagging" / "generate.py"]
    assert list(started.value.args) == [*generate, "--out", tmp_path / "quick.parquet", "--jets", "400"]


def test_the_top_tagging_benchmark_runs_quickly_and_goes_on(jets, tmp_path):
    ak.to_parquet(ak.concatenate([jets] * 7)[:400], tmp_path / "quick.parquet")  # to generate so many takes a minute
    printed = run("top_tagging/run.py", "--quick", "--folder", tmp_path)
    assert "200 training, 80 validation, 120 test jets" in printed
    for column in ("AUC", "accuracy", "1/eps_B at 50 %", "1/eps_B at 30 %", "parameters", "training", "inference"):
        assert column in printed
    names = ["interaction network, attention", "Lorentz boost network", "deep sets, mean", "recurrent head (GRU)"]
    assert all(0 <= auc_of(printed, name) <= 1 for name in names)
    assert auc_of(printed, "deep sets, mean") > 0.6
    assert printed.count("seed 1") > len(names)
    (tmp_path / "results" / "deep_sets_mean" / "1.npy").unlink()
    again = run("top_tagging/run.py", "--quick", "--folder", tmp_path)
    assert again.count("seed 1") == 1  # of what was missing
    assert again[again.index("top jets") :] == printed[printed.index("top jets") :]


def write_as_pandas_does(path, jets):
    """Write jets in the layout of the reference set: a table of blocks whose columns have pickled names."""
    cells = [f"{axis}_{slot}" for slot in range(200) for axis in ("E", "PX", "PY", "PZ")]
    floats = np.zeros((len(jets), len(cells)), np.float32)
    for i, axis in enumerate(("E", "px", "py", "pz")):
        padded = ak.pad_none(jets[f"Constituent_{axis}"], 200, clip=True)
        floats[:, i::4] = ak.to_numpy(ak.fill_none(padded, 0))
    kinds = [("index", "<i8"), ("values_block_0", "<f4", (len(cells),)), ("values_block_1", "<i8", (2,))]
    rows = np.zeros(len(jets), kinds)
    rows["index"], rows["values_block_0"] = np.arange(len(jets)), floats
    rows["values_block_1"][:, 1] = ak.to_numpy(jets.is_signal_new)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("table/table", data=rows)
        dataset.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(cells, 0))
        dataset.attrs["values_block_1_kind"] = np.bytes_(pickle.dumps(["ttv", "is_signal_new"], 0))


def test_the_top_tagging_benchmark_reads_the_reference_set_and_prints_the_spread_over_seeds(jets, tmp_path):
    for name, part in (("train", jets[:30]), ("val", jets[30:40]), ("test", jets[40:])):
        write_as_pandas_does(tmp_path / f"{name}.h5", part)
    arguments = (
        "--epochs",
        1,
        "--seeds",
        2,
        "--train",
        24,
        "--val",
        10,
        "--folder",
        tmp_path / "out",
        "--only",
        "sets",
    )
    printed = run("top_tagging/run.py", "--public", tmp_path, *arguments)
    assert "24 training, 10 validation, 20 test jets" in printed
    assert 0 <= auc_of(printed, "deep sets, mean") <= 1
    assert "±" in next(line for line in printed.splitlines() if line.startswith("deep sets, mean  "))
    assert "interaction network, sum" not in printed
    assert "published" in printed
    assert "ParticleNet" in printed
    jets_file = tmp_path / "jets.parquet"
    ak.to_parquet(jets, jets_file)
    refused = run_unchecked("top_tagging/run.py", "--jets", jets_file, "--folder", tmp_path / "out")
    assert "has 60 jets, too few for --train 20000 and --val 4000" in refused.stderr


@pytest.fixture(scope="module")
def generator():
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    spec = importlib.util.spec_from_file_location("generate_jets", EXAMPLES / "top_tagging" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(generator, *particles):
    """An event of (PDG code, status, mother, pt, eta, phi), massless; particle 0 is the system."""
    rows = np.array([(90, -11, 0, 1.0, 0.0, 0.0), *particles], dtype=float)
    pt, eta, phi = rows[:, 3:].T
    p4 = pt[:, None] * np.stack([np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta)], axis=1)
    return generator.Particles(*rows[:, :3].astype(int).T, p4)


PION, NEUTRINO = 211, 12


def test_a_jet_is_the_leading_one_of_its_event_and_of_visible_particles(generator):
    inside = [(PION, 1, 0, 200.0, 0.3, 0.1), (PION, 1, 0, 390.0, 0.1, 0.0)]
    found = generator.find_jet(record(generator, *inside), 0)
    np.testing.assert_allclose(np.hypot(*found[:, :2].T), [390, 200], rtol=1e-6)  # the hardest first
    harder = (PION, 1, 0, 800.0, 0.0, 3.0)
    assert generator.find_jet(record(generator, *inside, harder), 0) is None
    assert len(generator.find_jet(record(generator, *inside, (NEUTRINO, 1, 0, 800.0, 0.0, 3.0)), 0)) == 2
    assert len(generator.find_jet(record(generator, *inside, (PION, -23, 0, 800.0, 0.0, 3.0)), 0)) == 2  # decayed
    assert generator.find_jet(record(generator, (PION, 1, 0, 600.0, 2.1, 0.0)), 0) is None
    assert generator.find_jet(record(generator, (PION, 1, 0, 500.0, 0.0, 0.0)), 0) is None
    assert generator.find_jet(record(generator, (NEUTRINO, 1, 0, 600.0, 0.0, 0.0)), 0) is None  # nothing visible
    many = [(PION, 1, 0, 2.0, 0.001 * i, 0.0) for i in range(300)]
    assert len(generator.find_jet(record(generator, *many), 0)) == 200


@pytest.mark.parametrize(("far", "matched"), [(None, True), (1, False), (3, False), (5, False)])
def test_a_top_jet_holds_the_top_and_its_three_quarks(generator, far, matched):
    top = [(6, -62, 0, 600.0, 0.0, 0.0), (24, -52, 1, 400.0, 0.1, 0.0), (5, -23, 1, 200.0, -0.1, 0.2)]
    top += [(3, -23, 2, 200.0, 0.2, 0.0), (-4, -23, 2, 200.0, 0.0, -0.7)]
    if far is not None:
        top[far - 1] = (*top[far - 1][:5], 0.9)
    other = [(-6, -62, 0, 600.0, 0.0, 3.0), (-24, -52, 6, 400.0, 0.1, 3.0), (-5, -23, 6, 200.0, -0.1, 3.0)]
    other += [(-3, -23, 7, 200.0, 0.2, 3.0), (4, -23, 7, 200.0, 0.0, 3.0)]
    event = record(generator, *top, *other, (PION, 1, 0, 600.0, 0.0, 0.0))
    assert (generator.find_jet(event, 1) is not None) == matched
    assert generator.find_jet(event, 0) is not None


def test_the_generator_of_jets_refuses_numbers_that_do_not_halve(tmp_path):
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    done = run_unchecked("top_tagging/generate.py", "--out", tmp_path / "jets.parquet", "--jets", 3)
    assert done.returncode == 2
    assert "--jets must be a positive even number, half of them tops; got 3" in done.stderr
