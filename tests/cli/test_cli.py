"""The command: a configuration, a prediction, an evaluation, and every kind of bad input in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml

from lumigraph import Model, load_sample
from lumigraph.cli import main
from lumigraph.data import read_columns, sample_path, write_columns

EXAMPLE = Path(__file__).parents[2] / "examples" / "tth.yaml"
QUICK = ["--training.n_epochs", "1", "--training.progress_bar", "false"]


@pytest.fixture(scope="module")
def sample():
    return {k: v[:600] for k, v in read_columns(sample_path()).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sample):
    folder = tmp_path_factory.mktemp("trained")
    file = write_columns(folder / "events.parquet", sample)
    out = folder / "run"
    assert main(["fit", "--config", str(EXAMPLE), "--data.file", str(file), "--out", str(out), *QUICK]) == 0
    return out


@pytest.fixture
def config():
    return yaml.safe_load(EXAMPLE.read_text())


def error_of(capsys, *arguments):
    """Run a command that must fail, and return its status and its one sentence."""
    capsys.readouterr()
    status = main([str(a) for a in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("lumigraph: error: ")
    return status, lines[0]


def test_fit_writes_model_history_and_pictures(trained, capsys):
    names = {p.name for p in trained.iterdir()}
    assert names == {
        "model.pt",
        "history.csv",
        "checkpoints",
        "training.png",
        "roc.png",
        "scores.png",
        "calibration.png",
        "event.png",
    }
    assert Model.load(trained / "model.pt").history["epoch"] == [0]


@pytest.mark.parametrize("suffix", ["root", "parquet", "h5", "csv"])
def test_predict_writes_scores_beside_identifiers_in_the_order_of_the_input(trained, sample, tmp_path, suffix):
    order = np.random.default_rng(0).permutation(100)
    unlabelled = {k: v[order] for k, v in sample.items() if k not in ("label", "weight", "ttx_mass")}
    file = write_columns(tmp_path / f"events.{suffix}", unlabelled)
    out = tmp_path / f"scores.{suffix}"
    assert main(["predict", str(trained / "model.pt"), str(file), "--out", str(out)]) == 0
    found = read_columns(out)
    assert list(found) == ["event", "score"]
    assert ak.to_list(found["event"]) == ak.to_list(unlabelled["event"])
    events = load_sample()
    row = {int(n): i for i, n in enumerate(events.ids["event"])}
    expected = Model.load(trained / "model.pt").predict(events.select([row[int(n)] for n in found["event"]]))
    np.testing.assert_allclose(found["score"], expected[:, 0], atol=1e-4)


def test_the_default_output_stands_beside_where_one_works(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(trained / "model.pt"), f"{sample_path('root')}:Events"]) == 0
    assert "3000 events: event, score -> tth_scores.root" in capsys.readouterr().out
    assert (tmp_path / "tth_scores.root").exists()


def test_an_existing_output_is_kept_unless_overwrite(trained, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    out.write_text("precious")
    arguments = ["predict", trained / "model.pt", sample_path("root"), "--out", out]
    status, sentence = error_of(capsys, *arguments)
    assert status == 1
    assert "scores.csv exists" in sentence
    assert "--overwrite" in sentence
    assert out.read_text() == "precious"
    assert main([*map(str, arguments), "--overwrite"]) == 0
    assert out.read_text().startswith("event,score")


def test_metrics_prints_figures_with_uncertainties(trained, tmp_path, capsys):
    assert main(["metrics", str(trained / "model.pt"), str(sample_path("root")), "--pictures", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "auc" in printed
    assert "±" in printed
    assert "rejection at 30%" in printed
    assert {p.name for p in tmp_path.iterdir()} == {
        "training.png",
        "roc.png",
        "scores.png",
        "calibration.png",
        "event.png",
    }


def test_metrics_are_also_found_under_the_name_of_lumin(trained, capsys):
    printed = []
    for name in ("metrics", "evaluate"):
        assert main([name, str(trained / "model.pt"), str(sample_path("root"))]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != ""


def test_another_logger_is_a_matter_of_configuration(config, sample, tmp_path, capsys):
    config["data"]["file"] = str(write_columns(tmp_path / "events.parquet", sample))
    config["logger"] = {"name": "CSVLogger", "args": {"save_dir": str(tmp_path / "logs")}}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file), "--out", str(tmp_path / "run"), *QUICK]) == 0
    (log,) = (tmp_path / "logs").rglob("metrics.csv")
    assert "val_loss" in log.read_text()
    config["logger"]["name"] = "CSVLoger"
    file.write_text(yaml.safe_dump(config))
    assert "did you mean CSVLogger" in error_of(capsys, "fit", "--config", file, "--out", tmp_path / "other", *QUICK)[1]


def test_a_configuration_reaches_optimiser_loss_weights_and_categories(trained, config, sample, tmp_path):
    config["data"]["file"] = str(write_columns(tmp_path / "events.parquet", sample))
    config["model"] |= {
        "pretrain_file": str(trained / "model.pt"), "freeze_head": True, "loss": "L1Loss", "seed": 3,
        "opt_args": {"opt": "sgd", "momentum": 0.5, "lr": 0.125}, "cat_embedder": {"max_emb_sz": 50},
        "lookup_init": "lookup_uniform_init", "lookup_act": "lookup_act", "model_args": {"body": {"act": "relu"}},
    }  # fmt: skip
    del config["training"]["lr"]
    config["training"]["schedule"] = "constant"
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file), "--out", str(tmp_path / "run"), *QUICK]) == 0
    found, start = Model.load(tmp_path / "run" / "model.pt"), Model.load(trained / "model.pt")
    assert found.history["learning_rate"] == [0.125]
    assert (found.model_builder.opt_args["opt"], found.get_mom()) == ("sgd", 0.5)
    assert found.model_builder.loss == "L1Loss"
    same = [bool((a == b).all()) for a, b in zip(found.parameters(), start.parameters(), strict=True)]
    frozen = sum(1 for _ in found.head.parameters())
    assert same == [True] * frozen + [False] * (len(same) - frozen)


def test_a_finished_training_is_kept_resumed_or_overwritten(trained, tmp_path, sample, capsys):
    file = write_columns(tmp_path / "events.parquet", sample)
    arguments = ["fit", "--config", EXAMPLE, "--data.file", file, "--out", trained, *QUICK]
    before = (trained / "model.pt").read_bytes()
    status, sentence = error_of(capsys, *arguments)
    assert status == 1
    assert "--resume" in sentence
    assert (trained / "model.pt").read_bytes() == before
    wrong = ["--data.event_schema.targets", "[lable]", "--overwrite"]
    assert "did you mean label" in error_of(capsys, *arguments, *wrong)[1]
    assert (trained / "checkpoints" / "last.ckpt").exists()  # what cannot be replaced is not thrown away
    assert main([*map(str, arguments), "--resume"]) == 0
    weights = Model.load(trained / "model.pt").model.state_dict()
    assert main([*map(str, arguments), "--overwrite"]) == 0
    again = Model.load(trained / "model.pt").model.state_dict()
    assert all((weights[k] == again[k]).all() for k in weights)


@pytest.mark.parametrize(
    ("place", "wrong", "hint"),
    [
        (("training", "n_epochs"), "n_epoch", "did you mean training.n_epochs"),
        (("model", "objective"), "objectiv", "did you mean model.objective"),
        (("data", "event_schema", "event_feats"), "event_feat", "did you mean data.event_schema.event_feats"),
        (("training",), "trainin", "did you mean training"),
        (("model", "body", "args", "depth"), "dept", "did you mean depth"),
        (
            ("model", "head", "args", "matrix_head", "args", "agg_method"),
            "agg_metod",
            "did you mean agg_method",
        ),
        (("model", "head", "args", "matrix_head", "block"), "blok", "block"),
        (("model", "body", "block"), "blok", "block"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest(config, tmp_path, capsys, place, wrong, hint):
    section = config
    for key in place[:-1]:
        section = section[key]
    section[wrong] = section.pop(place[-1])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    status, sentence = error_of(capsys, "fit", "--config", file, "--out", tmp_path / "run")
    assert status != 0
    assert wrong in sentence
    assert hint in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("place", "value", "hint"),
    [
        (("model", "objective"), "clasification", "did you mean classification"),
        (("model", "head", "block"), "MultiHed", "MultiHead"),
        (("training", "lr"), -1, "lr must be a positive number"),
        (("training", "n_epochs"), "many", "n_epochs"),
        (("data", "split"), [0.9, 0.9, 0.1], "add up to 1"),
        (("data", "file"), "nowhere.root", "nowhere.root"),
        (("data", "event_schema", "targets"), ["lable"], "did you mean label"),
    ],
)
def test_a_wrong_value_is_one_sentence(config, tmp_path, capsys, place, value, hint):
    section = config
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    status, sentence = error_of(capsys, "fit", "--config", file, "--out", tmp_path / "run")
    assert status != 0
    assert hint in sentence


def predict(capsys, trained, file, tmp_path):
    out = tmp_path / "out.csv"
    status, sentence = error_of(capsys, "predict", trained / "model.pt", file, "--out", out)
    assert status == 1
    assert not out.exists()
    return sentence


def test_a_missing_column_is_named_with_those_near_it(trained, sample, tmp_path, capsys):
    renamed = {("htt" if k == "ht" else k): v for k, v in sample.items()}
    file = write_columns(tmp_path / "events.parquet", renamed)
    sentence = predict(capsys, trained, file, tmp_path)
    assert "events.parquet: column 'ht' is missing: did you mean htt" in sentence
    without = {k: v for k, v in sample.items() if not k.endswith("_btag")}
    sentence = predict(capsys, trained, write_columns(tmp_path / "b.root", without), tmp_path)
    assert "_btag" in sentence
    assert "missing" in sentence


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_a_truncated_file_is_said_to_be_one(trained, tmp_path, capsys, kind):
    whole = sample_path(kind).read_bytes()
    for share in (0.0, 0.1, 0.5, 0.95):
        file = tmp_path / f"cut.{kind}"
        file.write_bytes(whole[: int(share * len(whole))])
        sentence = predict(capsys, trained, file, tmp_path)
        assert f"cut.{kind}" in sentence


def test_nan_in_part_of_an_object_names_event_and_column(trained, sample, tmp_path, capsys):
    lists = ak.to_list(sample["Jet_btag"])
    lists[7][2] = float("nan")
    file = write_columns(tmp_path / "events.parquet", {**sample, "Jet_btag": ak.Array(lists)})
    sentence = predict(capsys, trained, file, tmp_path)
    assert "event 7: column 'Jet_btag' is NaN" in sentence


def test_a_category_beyond_the_embedding_names_feature_and_code(trained, sample, tmp_path, capsys):
    n_jets = np.array(sample["n_jets"])
    n_jets[5] = 30
    sentence = predict(capsys, trained, write_columns(tmp_path / "e.root", {**sample, "n_jets": n_jets}), tmp_path)
    assert "event 5: category 'n_jets' must have a code from 0 to" in sentence
    assert "got 30" in sentence


def test_a_negative_energy_is_refused_by_the_boost_network(config, sample, tmp_path, capsys):
    config["model"]["head"]["args"]["matrix_head"] = {
        "block": "LorentzBoostNet",
        "args": {"n_particles": 3},
    }
    config["data"]["file"] = str(write_columns(tmp_path / "good.parquet", sample))
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file), "--out", str(tmp_path / "run"), *QUICK]) == 0
    energies = ak.to_list(sample["Jet_E"])
    energies[9][0] *= -1
    bad = write_columns(tmp_path / "bad.parquet", {**sample, "Jet_E": ak.Array(energies)})
    sentence = predict(capsys, tmp_path / "run", bad, tmp_path)
    assert "event 9" in sentence
    assert "E = -" in sentence


def test_a_model_file_that_is_no_model(tmp_path, capsys):
    for file in (sample_path("root"), EXAMPLE, tmp_path / "nowhere.pt"):
        status, sentence = error_of(capsys, "predict", file, sample_path("root"), "--out", tmp_path / "o.csv")
        assert status == 1
        assert file.name in sentence
        assert "model" in sentence


def test_an_unknown_command_or_option_has_status_2(capsys):
    for arguments in ([], ["fitt"], ["predict"], ["predict", "a", "b", "--owerwrite"]):
        assert error_of(capsys, *arguments)[0] == 2


def test_the_installed_command_exits_with_the_status(tmp_path):
    command = [sys.executable, "-m", "lumigraph.cli", "predict", "nowhere.pt", "nowhere.root"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "JAXTYPING_DISABLE": "1"}
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "lumigraph: error: there is no model file nowhere.pt"


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_predictions_are_appended_to_the_columns_of_the_input(trained, sample, tmp_path, suffix):
    parts = [write_columns(tmp_path / f"part{i}.{suffix}", {k: v[i::3] for k, v in sample.items()}) for i in range(3)]
    out = tmp_path / f"scored.{suffix}"
    arguments = ["predict", str(trained / "model.pt"), str(tmp_path / f"part*.{suffix}"), "--columns", "all"]
    assert main([*arguments, "--out", str(out)]) == 0
    found, expected = read_columns(out), [read_columns(part) for part in parts]
    assert set(found) == {*expected[0], "score"}
    for name in expected[0]:
        assert ak.to_list(found[name]) == ak.to_list(ak.concatenate([part[name] for part in expected])), name
    model = Model.load(trained / "model.pt")
    scores = np.concatenate([model.predict(part)[:, 0] for part in parts])
    np.testing.assert_allclose(found["score"], scores, atol=1e-6)


def test_several_files_need_a_name_for_their_scores(trained, sample, tmp_path, capsys):
    for i in range(2):
        write_columns(tmp_path / f"part{i}.root", sample)
    _, sentence = error_of(capsys, "predict", trained / "model.pt", tmp_path / "part*.root")
    assert "2 files" in sentence
    assert "--out" in sentence


def test_scores_are_not_written_over_a_column_of_the_input(trained, sample, tmp_path, capsys):
    file = write_columns(tmp_path / "events.parquet", {**sample, "score": np.zeros(600)})
    out = tmp_path / "scored.parquet"
    arguments = ["predict", trained / "model.pt", file, "--out", out, "--columns", "all"]
    assert "the input already has a column 'score'" in error_of(capsys, *arguments)[1]
    assert not out.exists()


def test_the_input_is_not_overwritten_and_what_is_left_out_is_named(trained, sample, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = write_columns(tmp_path / "events.parquet", sample)
    table = pq.read_table(file).append_column("generator", pa.array(["pythia"] * 600))
    pq.write_table(table, file)
    _, sentence = error_of(capsys, "predict", trained / "model.pt", file, "--out", file, "--overwrite")
    assert f"{file} is one of the input files" in sentence
    assert pq.read_table(file) == table
    out = tmp_path / "scored.parquet"
    assert main(["predict", str(trained / "model.pt"), str(file), "--out", str(out), "--columns", "all"]) == 0
    assert "left out, as they are not numeric: generator" in capsys.readouterr().out
    assert set(read_columns(out)) == {*sample, "score"}


def test_what_was_predicted_before_a_corrupt_event_is_kept(trained, sample, tmp_path, capsys):
    write_columns(tmp_path / "part0.root", sample)
    jets = ak.to_list(sample["Jet_px"])
    jets[37][1] = float("nan")
    bad = write_columns(tmp_path / "part1.root", {**sample, "Jet_px": jets})
    out = tmp_path / "scores.root"
    out.write_text("precious")
    arguments = ["predict", trained / "model.pt", tmp_path / "part*.root", "--out", out, "--overwrite"]
    _, sentence = error_of(capsys, *arguments)
    assert f"{bad}: event 37: column 'Jet_px' is NaN" in sentence
    assert f"first 600 events are kept in {tmp_path / 'scores.partial.root'}" in sentence
    assert out.read_text() == "precious"
    kept = read_columns(tmp_path / "scores.partial.root")
    assert ak.to_list(kept["event"]) == ak.to_list(sample["event"])
    np.testing.assert_allclose(kept["score"], Model.load(trained / "model.pt").predict(tmp_path / "part0.root")[:, 0])


def test_an_event_that_is_not_selected_has_no_score(config, sample, tmp_path):
    config["data"]["file"] = str(write_columns(tmp_path / "events.parquet", sample))
    config["data"]["event_schema"]["event_selection"] = "ht > 300 and nJet >= 4"
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file), "--out", str(tmp_path / "run"), *QUICK]) == 0
    out = tmp_path / "scores.parquet"
    assert main(["predict", str(tmp_path / "run/model.pt"), config["data"]["file"], "--out", str(out)]) == 0
    found = read_columns(out)
    assert ak.to_list(found["event"]) == ak.to_list(sample["event"])
    assert (np.isnan(np.asarray(found["score"])) == ~np.asarray(sample["ht"] > 300)).all()


def test_a_training_streams_from_files_with_preprocessing(config, sample, tmp_path, capsys):
    for i, name in enumerate(("train0", "train1", "val", "test")):
        write_columns(tmp_path / f"{name}.parquet", {k: v[i::4] for k, v in sample.items()})
    config["data"] |= {
        "file": [str(tmp_path / "train*.parquet")],
        "val_file": str(tmp_path / "val.parquet"),
        "test_file": str(tmp_path / "test.parquet"),
        "in_memory": False,
        "loading": {"num_workers": 1, "buffer_size": 4},
    }
    config["model"] |= {"scaling": "robust", "transforms": {"ht": "log"}, "clip": 5.0}
    config["data"]["reweight"] = {"feats": ["ht"], "source": 0, "target": 1, "num_bins": 4}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file), "--out", str(tmp_path / "run"), *QUICK]) == 0
    assert "300 training, 150 validation, 150 test events" in capsys.readouterr().out
    model = Model.load(tmp_path / "run" / "model.pt")
    median = np.median(np.log(np.concatenate([ak.to_numpy(sample["ht"][i::4]) for i in (0, 1)])))
    assert float(model.head.flat_head.scale.mean[0]) == pytest.approx(median, abs=0.02)
    del config["data"]["test_file"]
    file.write_text(yaml.safe_dump(config))
    assert "must be given together" in error_of(capsys, "fit", "--config", file, "--out", tmp_path / "other", *QUICK)[1]


def test_a_training_on_two_processes_writes_once(sample, tmp_path):
    file = write_columns(tmp_path / "events.parquet", sample)
    options = ["--config", str(EXAMPLE), "--data.file", str(file), "--out", str(tmp_path / "run"), *QUICK]
    options += ["--training.accelerator", "cpu", "--training.devices", "2"]
    command = [Path(sys.executable).with_name("lumigraph"), "fit", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training, ") == done.stdout.count("auc") == 1
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"model.pt", "history.csv", "roc.png"}
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 2


def test_a_training_on_files_without_events_names_them(config, sample, tmp_path, capsys):
    nothing = write_columns(tmp_path / "nothing.parquet", {name: values[:0] for name, values in sample.items()})
    for in_memory in ("true", "false"):
        arguments = ["--data.file", str(nothing), "--data.in_memory", in_memory, "--out", str(tmp_path / "run")]
        _, sentence = error_of(capsys, "fit", "--config", EXAMPLE, *arguments, *QUICK)
        assert f"{nothing}: there are no events" in sentence


def test_a_setting_that_lightning_refuses_is_one_sentence_and_replaces_nothing(trained, capsys):
    arguments = ["fit", "--config", EXAMPLE, "--out", trained, "--overwrite", *QUICK, "--training.accelerator", "cpu"]
    for wrong in (["--training.devices", "0"], ["--data.loading", "{max_pair: 3}"], ["--data.batch_size", "0"]):
        assert wrong[0].split(".")[1] in error_of(capsys, *arguments, *wrong)[1] or "max_pair" in wrong[1]
        assert (trained / "checkpoints" / "last.ckpt").exists()


def test_a_file_that_vanishes_does_not_hide_what_is_kept(monkeypatch, capsys):
    def vanish(*arguments):
        error = FileNotFoundError(2, "No such file or directory", "b.root")
        error.add_note("the first 5 events are kept in scores.partial.root")
        raise error

    monkeypatch.setattr("lumigraph.data.inspection.inspect_file", vanish)
    _, sentence = error_of(capsys, "inspect", "b.root")
    assert sentence.endswith("b.root: No such file or directory; the first 5 events are kept in scores.partial.root")


def test_export_writes_a_file_and_says_how_far_it_is_from_the_model(trained, sample, tmp_path, capsys, plain_python):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = write_columns(tmp_path / "events.parquet", sample)
    out = tmp_path / "model.onnx"
    options = ["--form", "jagged", "--quantize", "--events", str(file)]
    assert main(["export", str(trained / "model.pt"), str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert "values (particles, 13), lengths (events)" in printed
    assert "auc: 0." in printed
    assert " -> 0." in printed
    assert out.stat().st_size > 1000
    status, line = error_of(capsys, "export", trained / "model.pt", out)
    assert status == 1
    assert "--overwrite" in line
    status, line = error_of(capsys, "export", trained / "model.pt", tmp_path / "model.h5")
    assert status == 1
    assert ".onnx or .pt2" in line
