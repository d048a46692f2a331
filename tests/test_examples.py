"""The examples run, each in a process of its own, on fewer events or epochs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    env = {**os.environ, "JAXTYPING_DISABLE": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True, env=env
    )
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


def test_the_comparison_prints_every_model_with_its_spread():
    pytest.importorskip("sklearn")
    printed = run("compare_baselines.py", "--seeds", 2, "--epochs", 1)
    table = printed.split("mean and spread over seeds")[1]
    for name in ("boosted trees", "interaction network", "Lorentz boost network", "fully connected, event features"):
        assert name in table
    assert table.count("+-") >= 12
