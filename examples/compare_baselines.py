"""Compare the graph networks with gradient-boosted trees on the shipped sample, over several seeds.

Trees: scikit-learn's HistGradientBoostingClassifier as it comes, on HT, MET, the numbers of jets, b-tagged jets,
electrons and muons, the lepton flavour, and transverse momentum, pseudorapidity, azimuth, energy and b-tag of the six
leading jets and (but for the b-tag) of the leading lepton. Networks: those of the demo, and a fully connected network
on the event features alone. All are trained on the same events; the trees need no validation events and get these for
training in a second line.

Run it with: python examples/compare_baselines.py --seeds 3
"""

import argparse

import awkward as ak
import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from lumigraph import EventDataset, Model, load_sample
from lumigraph.data import read_columns, sample_path
from lumigraph.metrics import auc, background_rejection
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


def tree_features() -> tuple[np.ndarray, np.ndarray]:
    """Return the table for the trees, and the event numbers of its rows."""
    c = read_columns(sample_path())
    leptons = {k: ak.concatenate([c[f"Electron_{k}"], c[f"Muon_{k}"]], axis=1) for k in ("px", "py", "pz", "E")}
    order = ak.argsort(np.hypot(leptons["px"], leptons["py"]), axis=1, ascending=False)
    leptons = {k: v[order] for k, v in leptons.items()}
    jets = {k: c[f"Jet_{k}"] for k in ("px", "py", "pz", "E", "btag")}
    btags = ak.to_numpy(ak.fill_none(ak.pad_none(jets["btag"], 6, clip=True), np.nan))
    counts = [ak.num(c[f"{kind}_px"]) for kind in ("Jet", "Electron", "Muon")] + [ak.sum(jets["btag"], axis=1)]
    scalars = [c["ht"], c["met"], c["lepton_flavour"], *counts]
    blocks = [np.asarray(s, dtype=float)[:, None] for s in scalars] + [*kinematics(jets, 6), btags]
    return np.concatenate([*blocks, *kinematics(leptons, 1)], axis=1), np.asarray(c["event"])


def main() -> None:
    """Train everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    torch.set_num_threads(1)  # batches are small: a second thread waits more than it works

    events = load_sample()
    train, val, test = events.split((0.6, 0.2, 0.2), seed=0)
    table, numbers = tree_features()
    row = {int(number): i for i, number in enumerate(numbers)}
    found: dict[str, list] = {}

    def note(name: str, scores: np.ndarray) -> None:
        y, w = test.y[:, 0].numpy(), test.weight.numpy()
        values = [auc(y, scores, w), *(background_rejection(y, scores, eff, w) for eff in (0.3, 0.5))]
        found.setdefault(name, []).append([v.value for v in values])
        print(f"{name:<34} AUC {values[0]}", flush=True)

    def trees(seed: int, *parts: EventDataset) -> np.ndarray:
        rows = [row[int(n)] for part in parts for n in part.ids["event"]]
        y, w = (np.concatenate([getattr(part, k).numpy().ravel() for part in parts]) for k in ("y", "weight"))
        fitted = HistGradientBoostingClassifier(random_state=seed).fit(table[rows], y, sample_weight=w)
        return fitted.predict_proba(table[[row[int(n)] for n in test.ids["event"]]])[:, 1]

    for seed in range(1, args.seeds + 1):
        print(f"seed {seed}")
        note("boosted trees", trees(seed, train))
        note("boosted trees, with validation", trees(seed, train, val))
        for name, builder in NETWORKS.items():
            torch.manual_seed(seed)
            model = Model(builder(train, events))
            model.fit(args.epochs, train, BATCH_SIZE, val=val, seed=seed, progress_bar=False)
            note(name, model.predict(test)[:, 0])

    print(f"\n{'mean and spread over seeds':<34}{'AUC':<20}{'1/eps_B at 30 %':<20}{'1/eps_B at 50 %':<20}")
    for name, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1 if args.seeds > 1 else 0)
        cells = [f"{m:.4g} +- {s:.2g}" for m, s in zip(mean, spread, strict=True)]
        print(f"{name:<34}" + "".join(f"{cell:<20}" for cell in cells))


if __name__ == "__main__":
    main()
