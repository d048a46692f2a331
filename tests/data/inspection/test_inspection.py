"""What a file holds: every figure against a plain loop, schemas that read the files they were made from."""

import math
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lumigraph.cli import main
from lumigraph.data import EventDataset, read_columns, sample_path, write_columns
from lumigraph.data.files.writers import ColumnWriter
from lumigraph.data.inspection import file_report as inspection
from lumigraph.data.inspection import inspect_file
from lumigraph.data.inspection.report_text import report_text
from lumigraph.data.inspection.suggestion import left_out, schema_yaml, suggested_schema
from lumigraph.events.errors import SchemaError
from lumigraph.events.schema import EventSchema

SUFFIXES = [".parquet", ".root", ".h5", ".csv"]
NUMBERS = st.one_of(
    st.just(math.nan), st.just(3e38), st.just(math.inf), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float)
)


def loop(numbers):
    """Figures of numbers, one by one."""
    real = [x for x in numbers if not math.isnan(x)]
    finite = [x for x in real if not math.isinf(x)]
    whole = all(x in finite and x == int(x) and abs(x) < 2**53 for x in real)
    return {
        "count": len(numbers),
        "nans": len(numbers) - len(real),
        "infinities": len(real) - len(finite),
        "zeros": sum(x == 0 for x in numbers),
        "minimum": min(real, default=math.nan),
        "maximum": max(real, default=math.nan),
        "mean": sum(finite) / len(finite) if finite else math.nan,
        "values": dict(sorted(Counter(map(int, real)).items())) if whole else None,
    }


def check(column, numbers):
    for name, expected in loop(numbers).items():
        got = getattr(column, name)
        if name == "values":
            wide = expected is not None and (len(expected) > 100 or column.maximum - column.minimum >= 100_000)
            assert got == (None if wide else expected)
        else:
            assert got == pytest.approx(expected, nan_ok=True, rel=1e-9, abs=1e-9), name


@settings(deadline=None, max_examples=40)
@given(
    table=st.lists(st.tuples(NUMBERS, st.integers(-5, 5), st.lists(NUMBERS, max_size=4)), max_size=8), data=st.data()
)
def test_every_figure_is_that_of_a_loop(table, data):
    flat, codes, lists = ([row[i] for row in table] for i in range(3))
    columns = {"ht": np.array(flat, float), "code": np.array(codes, "int16")}
    numbers = [number for entries in lists for number in entries]
    columns["Jet_px"] = ak.unflatten(np.array(numbers, float), np.array([len(x) for x in lists], int))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_FEWEST_EVENTS", 1)
        patch.setattr(inspection, "_CELLS_AT_ONCE", 3 * data.draw(st.integers(1, 5)))
        report = inspect_file(write_columns(f"{folder}/a.parquet", columns))
    assert report.num_events == len(table)
    check(report.columns["ht"], flat)
    check(report.columns["code"], codes)
    check(report.columns["Jet_px"], numbers)
    assert (report.columns["code"].is_integer, report.columns["ht"].is_integer) == (True, False)
    assert (report.columns["Jet_px"].is_list, report.columns["ht"].is_list) == (True, False)
    lengths, jets = sorted(map(len, lists)), report.collections["Jet"]
    assert jets.multiplicities.tolist() == [lengths.count(i) for i in range(max(lengths, default=-1) + 1)]
    assert jets.mean == pytest.approx(np.mean(lengths) if lengths else math.nan, nan_ok=True)
    for share in (0.0, 0.05, 0.5, 0.95, 1.0):
        expected = np.quantile(lengths, share, method="inverted_cdf") if lengths else 0
        assert jets.quantile(share) == expected


def test_values_are_counted_up_to_a_hundred():
    column = inspection.ColumnReport("run", "int64", is_list=False, is_integer=True)
    column.add(np.arange(100))
    column.add(np.arange(100) + 2**40)
    assert column.values is None
    assert (column.minimum, column.maximum) == (0, 2**40 + 99)
    column = inspection.ColumnReport("x", "float", is_list=False, is_integer=False)
    column.add(np.array([1e300, -1e300]))
    assert column.values is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats_say_the_same(tmp_path, suffix):
    columns = {name: column[:300] for name, column in read_columns(sample_path()).items()}
    expected = inspect_file(write_columns(tmp_path / "a.parquet", columns))
    report = inspect_file(write_columns(tmp_path / f"b{suffix}", columns))
    assert set(report.columns) - {"nJet", "nElectron", "nMuon"} == set(columns)
    assert entries(suggested_schema(report)) == entries(suggested_schema(expected))
    for name, column in expected.columns.items():
        assert report.columns[name].mean == pytest.approx(column.mean, rel=1e-6)
        assert report.columns[name].values == column.values
    for name, collection in expected.collections.items():
        assert {*report.collections[name].columns} == {*collection.columns}
        assert report.collections[name].multiplicities.tolist() == collection.multiplicities.tolist()


# Schemas


def entries(schema):
    """Entries of a schema without the order of names, which is that of the columns in the file."""
    return {key: sorted(value) if isinstance(value, list) else value for key, value in schema.to_dict().items()}


@pytest.mark.parametrize("kind", ["parquet", "root"])
def test_the_schema_of_the_sample(kind):
    path = sample_path(kind)
    schema = suggested_schema(inspect_file(path))
    assert schema.targets == ("label",)
    assert schema.weight == "weight"
    assert schema.ids == ("event",)
    assert schema.cat_feats == ("n_jets", "lepton_flavour")
    assert schema.event_feats == ("ht", "met", "ttx_mass")
    assert set(schema.collections) == {"Jet", "Electron", "Muon", "MET"}
    assert schema.feats_per_vec[:4] == ("px", "py", "pz", "E")
    assert set(schema.feats_per_vec[4:6]) == {"charge", "btag"}
    assert set(schema.feats_per_vec[6:]) == {"is_Jet", "is_Electron", "is_Muon", "is_MET"}
    events = EventDataset.from_file(path, schema)
    columns = read_columns(path)
    particles = sum(int(ak.count(columns[f"{c}_{'px' if kind == 'parquet' else 'pt'}"])) for c in schema.collections)
    assert len(events.x) == particles


def sample_of(rng, n, name, **features):
    lengths = rng.poisson(3, n)
    return {f"{name}_{f}": ak.unflatten(draw(int(lengths.sum())), lengths) for f, draw in features.items()}


@pytest.fixture
def nano():
    rng = np.random.default_rng(0)
    number, integer = rng.random, lambda size: rng.integers(0, 3, size).astype("int32")
    momentum = dict.fromkeys(("pt", "eta", "phi", "mass"), number)
    n = 200
    columns = {
        "run": np.ones(n, "uint32"),
        "event": np.arange(n, dtype="uint64") + 2**60,
        **sample_of(rng, n, "Jet", **momentum, btagDeepFlavB=number, hadronFlavour=integer, genJetIdx=integer),
        **sample_of(rng, n, "GenPart", **momentum, pdgId=integer),
        **sample_of(rng, n, "SV", x=number),
        "MET_pt": rng.random(n),
        "MET_phi": rng.random(n),
        "MET_sumEt": rng.random(n),
        "HLT_Mu": rng.integers(0, 2, n).astype(bool),
        "PV_npvs": rng.integers(0, 60, n),
        "genWeight": rng.normal(size=n),
        "puWeight": rng.random(n),
        "const": np.zeros(n),
        "holes": np.where(rng.random(n) < 0.5, np.nan, 1.5),
        "isSignal": rng.integers(0, 2, n).astype("int8"),
    }
    columns["Jet_pt_nom"] = columns["Jet_pt"] * 1.01
    return columns


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_schema_of_a_file_like_nanoaod(tmp_path, nano, suffix):
    path = write_columns(tmp_path / f"a{suffix}", nano)
    report = inspect_file(path)
    assert set(report.collections) == {"Jet", "GenPart", "SV"}
    assert "Jet_pt_nom" in report.collections["Jet"].columns
    schema = suggested_schema(report)
    assert set(schema.collections) == {"Jet", "MET"}
    assert set(schema.feats_per_vec) == {"px", "py", "pz", "E", "btagDeepFlavB", "pt_nom", "is_Jet", "is_MET"}
    assert schema.event_feats == ("MET_sumEt", "PV_npvs")
    assert schema.cat_feats == ("HLT_Mu",)
    assert (schema.targets, schema.weight, {*schema.ids}) == (("isSignal",), "genWeight", {"run", "event"})
    assert len(EventDataset.from_file(path, schema)) == 200
    reasons = left_out(report, schema)
    assert reasons["puWeight"] == "a weight"
    assert reasons["const"] == "always 0"
    assert reasons["holes"] == "has NaN"
    assert reasons["Jet_hadronFlavour"] == reasons["GenPart_pt"] == "truth"
    assert reasons["SV_x"] == "not part of an object"
    names = set(report.columns) - {"nJet", "nGenPart", "nSV", "nJet_pt"}
    assert names - set(reasons) == set(nano) - set(reasons)


@pytest.mark.parametrize("suffix", SUFFIXES[:3])
def test_named_objects_become_vecs(tmp_path, suffix):
    rng = np.random.default_rng(0)
    feats = {f"{v}_{f}": rng.random(50) for v in ("jet0", "jet1", "lep") for f in ("px", "py", "pz", "mass", "btag")}
    feats["lep_iso"] = rng.random(50)
    for name in feats:
        if name.startswith("jet1"):
            feats[name][::2] = np.nan
    path = write_columns(tmp_path / f"a{suffix}", {**feats, "y": rng.random(50), "ht": rng.random(50)})
    schema = suggested_schema(inspect_file(path))
    expected = {"vecs": ("jet0", "jet1", "lep"), "feats_per_vec": ("px", "py", "pz", "E", "btag")}
    assert entries(schema) == entries(EventSchema(**expected, event_feats=("lep_iso", "ht"), targets=("y",)))
    assert len(EventDataset.from_file(path, schema).x) == 125


def test_files_without_momenta_without_objects_and_without_events(tmp_path):
    hits = {"hit_x": [[1.0, 2.0], []], "hit_y": [[1.0, 3.0], []], "flux": [1.5, 2.5], "truth_energy": [1.0, 2.0]}
    path = write_columns(tmp_path / "a.parquet", hits)
    schema = suggested_schema(inspect_file(path))
    assert schema == EventSchema(
        collections=("hit",), feats_per_vec=("x", "y"), event_feats=("flux",), targets=("truth_energy",)
    )
    path = write_columns(tmp_path / "b.csv", {"flux": [1.5, 2.5], "kind": [0, 1]})
    assert suggested_schema(inspect_file(path)) == EventSchema(event_feats=("flux",), cat_feats=("kind",))
    path = write_columns(tmp_path / "c.root", {name: ak.Array(column)[:0] for name, column in hits.items()})
    report = inspect_file(path)
    assert (report.num_events, report.collections["hit"].quantile(0.5)) == (0, 0)
    assert "0 events" in report_text(report)


def test_the_yaml_reads_as_the_schema(nano, tmp_path):
    report = inspect_file(write_columns(tmp_path / "a: b.root", {**nano, "on": nano["puWeight"] * 2}))
    schema = suggested_schema(report)
    text = schema_yaml(report, schema, 60)
    assert max(map(len, text.splitlines()[2:])) <= 60
    assert len(text.splitlines()) > 10
    loaded = yaml.safe_load(text)["data"]
    assert loaded["file"] == str(tmp_path / "a: b.root")
    assert EventSchema.from_dict(loaded["event_schema"]) == schema
    assert "on" in schema.event_feats


# What cannot be used


def test_columns_that_cannot_be_used(tmp_path):
    table = {"name": ["a", "b"], "deep": [[[1.0]], []], "n": [1, None], "ok": [1, 2], "point": [{"x": 1}, {"x": 2}]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    report = inspect_file(tmp_path / "a.parquet")
    assert list(report.columns) == ["ok"]
    assert {name: why for name, (_, why) in report.unusable.items() if name != "n"} == {
        "name": "text; only numbers can be read",
        "deep": "lists of lists; a column must hold a number or a list of numbers per event",
        "point": "neither a number nor a list of numbers per event",
    }
    assert "null" in report.unusable["n"][1]
    assert "name (string): text" in report_text(report)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["name"], file["deep"], file["ok"] = [b"a", b"b"], np.zeros((2, 3, 4)), np.zeros(2)
    whys = {name: why for name, (_, why) in inspect_file(tmp_path / "a.h5").unusable.items()}
    assert [whys[name][:13] for name in ("name", "deep")] == ["text; only nu", "lists of list"]
    with uproot.recreate(tmp_path / "a.root") as file:
        file["Events"] = {"name": ["a", "b"], "ok": np.zeros(2)}
    assert inspect_file(tmp_path / "a.root").unusable["name"][1] == "text; only numbers can be read"


# The command


def test_the_command_prints_a_table_and_a_schema(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    path = str(sample_path("root"))
    assert main(["inspect", path]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == f"{path}: 3,000 events, 28 columns"
    assert "Jet: 4 to 11 per event, mean 4.93, median 5, 5% and 95% quantiles 4 and 7" in lines
    assert "  label  0: 1479, 1: 1521" in lines
    heads = [line for line in lines if line.startswith("one number")]
    rows = [line for line in lines if line.startswith("  ") and " float " in line]
    assert {line.index(" float ") + 1 for line in rows} == {heads[0].index("type")}
    assert len({len(line) for line in (*heads, *rows)}) == 1
    assert not [line for line in lines if len(line) > 100 and path not in line]
    assert main(["inspect", path, "--yaml"]) == 0
    only = capsys.readouterr().out
    assert only.strip() in text
    schema = EventSchema.from_dict(yaml.safe_load(only)["data"]["event_schema"])
    assert schema == suggested_schema(inspect_file(path))


def test_the_command_takes_columns_and_refuses_wrong_ones(tmp_path, capsys):
    path = str(sample_path())
    assert main(["inspect", path, "--columns", "[ht,Jet_px]"]) == 0
    assert "20,000 events, 2 columns" in capsys.readouterr().out
    for arguments, complaint in (
        ([path, "--columns", "[Jet_pxx]"], "there is no column 'Jet_pxx': did you mean Jet_px"),
        ([str(tmp_path / "none.root")], "none.root: No such file"),
        ([str(tmp_path / "a.txt")], "the suffix must be one of"),
    ):
        assert main(["inspect", *arguments]) == 1
        error = capsys.readouterr().err.strip()
        assert complaint in error
        assert len(error.splitlines()) == 1


def test_the_yaml_goes_into_a_configuration(tmp_path, capsys):
    assert main(["inspect", str(sample_path("root")), "--yaml"]) == 0
    config = yaml.safe_load((Path(__file__).parents[3] / "examples" / "tth.yaml").read_text())
    config["data"] |= yaml.safe_load(capsys.readouterr().out)["data"]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
    quick = ["--training.n_epochs", "1", "--training.progress_bar", "false", "--out", str(tmp_path / "run")]
    assert main(["fit", "--config", str(tmp_path / "a.yaml"), *quick]) == 0


def test_truncated_files_are_errors(tmp_path):
    content = sample_path("root").read_bytes()
    (tmp_path / "a.root").write_bytes(content[: len(content) // 2])
    with pytest.raises(SchemaError, match=r"a\.root"):
        inspect_file(tmp_path / "a.root")


_INSPECTED = """
import resource, sys
from lumigraph.data.inspection import inspect_file
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
inspect_file(sys.argv[1])
before = peak()
assert inspect_file(sys.argv[2]).num_events == 600_000
print(peak() - before)
"""


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    rng = np.random.default_rng(0)
    small = {"Jet_px": ak.unflatten(rng.integers(0, 9, 600_000) / 8, 30), "ht": np.zeros(20_000)}
    small["Jet_py"] = small["Jet_px"]
    path = write_columns(tmp_path / f"small{suffix}", small)
    with ColumnWriter(tmp_path / f"large{suffix}") as writer:
        for _ in range(30):  # 290 MB in memory
            writer.append(small)
    run = [sys.executable, "-c", _INSPECTED, str(path), str(writer.path)]
    grown = float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert grown < 100, grown
