"""Compare the graph networks with gradient-boosted trees on the shipped sample, over several seeds.

Two tasks: to separate ttH from tt + jets, and to estimate the mass of the system of tops (and Higgs boson) in both,
``ttx_mass``, in GeV.

Trees: scikit-learn's HistGradientBoosting with default settings, on HT, MET, the numbers of jets, b-tagged jets,
electrons and muons, the lepton flavour, and transverse momentum, pseudorapidity, azimuth, energy and b-tag of the six
leading jets and (except the b-tag) of the leading lepton. Networks: those of the demo, and a fully connected network on
the event features alone. All are trained on the same events; the trees need no validation events and also train on
these in a second row.

Run it with: python examples/compare_baselines.py --seeds 3
"""

import argparse
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmark import (
    CLASSIFICATION,
    REGRESSION,
    Kept,
    Row,
    checksum,
    measured_speed,
    print_table,
    trained_outputs,
)
from lumigraph import EventDataset, load_sample
from lumigraph.data import SAMPLE_SCHEMA, read_columns, sample_path
from tth_models import BATCH_SIZE, EPOCHS, boost_builder, event_features_builder, interaction_builder

NETWORKS = {
    "interaction network": interaction_builder,
    "Lorentz boost network": boost_builder,
    "fully connected, event features": event_features_builder,
}


def kinematics(columns: dict, count: int) -> list[np.ndarray]:
    """Return pT, eta, phi and E of the leading objects, NaN where there are fewer."""
    px, py, pz, energy = (
        ak.to_numpy(ak.fill_none(ak.pad_none(columns[k], count, clip=True), np.nan)) for k in ("px", "py", "pz", "E")
    )
    pt = np.hypot(px, py)
    return [pt, np.arcsinh(pz / pt), np.arctan2(py, px), energy]


def tree_features() -> np.ndarray:
    """Return the table for the trees, one event per row, in the order of the file."""
    c = read_columns(sample_path())
    leptons = {k: ak.concatenate([c[f"Electron_{k}"], c[f"Muon_{k}"]], axis=1) for k in ("px", "py", "pz", "E")}
    order = ak.argsort(np.hypot(leptons["px"], leptons["py"]), axis=1, ascending=False)
    leptons = {k: v[order] for k, v in leptons.items()}
    jets = {k: c[f"Jet_{k}"] for k in ("px", "py", "pz", "E", "btag")}
    btags = ak.to_numpy(ak.fill_none(ak.pad_none(jets["btag"], 6, clip=True), np.nan))
    counts = [ak.num(c[f"{kind}_px"]) for kind in ("Jet", "Electron", "Muon")] + [ak.sum(jets["btag"], axis=1)]
    scalars = [c["ht"], c["met"], c["lepton_flavour"], *counts]
    blocks = [np.asarray(s, dtype=float)[:, None] for s in scalars] + [*kinematics(jets, 6), btags]
    return np.concatenate([*blocks, *kinematics(leptons, 1)], axis=1)


def network_row(builder: Any, events: EventDataset, parts: list[EventDataset], epochs: int, objective: str) -> Row:
    """Return the row of a network: its training and its speed."""
    return Row(
        f"{objective}, {epochs} epochs\n{inspect.getsource(builder)}",
        lambda seed: trained_outputs(builder(parts[0], events, objective), parts, seed, epochs, BATCH_SIZE),
        lambda: measured_speed(builder(parts[0], events, objective), parts[0], BATCH_SIZE, "cpu"),
    )


def tree_row(table: np.ndarray, train: list[EventDataset], test: EventDataset, objective: str) -> Row:
    """Return the row of trees: their training; their speed is not comparable."""

    def outputs(seed: int) -> np.ndarray:
        rows = np.concatenate([part.numbers for part in train])
        y, w = (np.concatenate([getattr(part, k).numpy().ravel() for part in train]) for k in ("y", "weight"))
        if objective == "regression":
            trees = HistGradientBoostingRegressor(random_state=seed).fit(table[rows], y, sample_weight=w)
            return trees.predict(table[test.numbers])
        fitted = HistGradientBoostingClassifier(random_state=seed).fit(table[rows], y, sample_weight=w)
        return fitted.predict_proba(table[test.numbers])[:, 1]

    return Row(f"{objective}, trees on {len(train)} parts", outputs, dict)


def mean_row(train: EventDataset, test: EventDataset) -> Row:
    """Return the row of a prediction without features: the mean of the training events."""
    mean = float(np.average(train.y[:, 0].numpy(), weights=train.weight.numpy()))
    return Row("mean", lambda seed: np.full(len(test), mean), dict)


def main() -> None:
    """Train everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--folder", type=Path, default=Path("tth_comparison"), help="folder for results")
    args = parser.parse_args()
    torch.set_num_threads(1)  # batches are too small for a second thread

    table = tree_features()
    for objective, target, title, figures in (
        ("classification", "label", "ttH against tt + jets", CLASSIFICATION),
        ("regression", "ttx_mass", "mass of the tops and the Higgs boson, GeV", REGRESSION),
    ):
        events = load_sample(replace(SAMPLE_SCHEMA, targets=(target,)))
        train, val, test = parts = events.split((0.6, 0.2, 0.2), seed=0)
        rows = {name: network_row(net, events, parts, args.epochs, objective) for name, net in NETWORKS.items()}
        rows["boosted trees"] = tree_row(table, [train], test, objective)
        rows["boosted trees, with validation"] = tree_row(table, [train, val], test, objective)
        if objective == "regression":
            rows["mean of the training events"] = mean_row(train, test)
        kept = Kept(args.folder / objective, {"events": checksum(*parts)})
        print_table(title, figures, *kept.all(rows, args.seeds), test)


if __name__ == "__main__":
    main()
