"""Train two classifiers on the shipped sample, test them on held-back events, and write the results.

Run it with ``make demo``, or: python examples/demo.py --out demo
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from lumigraph import Model, load_sample
from lumigraph.data import EventDataset, write_columns
from lumigraph.plotting import draw_results, plot_roc, save
from tth_models import BATCH_SIZE, EPOCHS, boost_builder, interaction_builder

MODELS = {"interaction network": interaction_builder, "Lorentz boost network": boost_builder}


def main() -> None:
    """Train, test, draw, save, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)  # batches are too small for a second thread

    events = load_sample()
    train, val, test = events.split((0.6, 0.2, 0.2), seed=0)
    print(f"ttH(bb) against tt + jets: {len(train)} training, {len(val)} validation, {len(test)} test events")
    rows, curves = [], {}
    labels, weights = test.y[:, 0].numpy(), test.weight.numpy()
    for name, builder in MODELS.items():
        folder = args.out / name.replace(" ", "_")
        torch.manual_seed(args.seed)
        model = Model(builder(train, events))
        print(f"\n{name}: {model.get_param_count()} parameters, {args.epochs} epochs")
        model.fit(args.epochs, train, BATCH_SIZE, val=val, seed=args.seed)
        model.save(folder / "model.pt", overwrite=True)
        write_columns(folder / "scores.parquet", model.score_columns(test), overwrite=True)
        draw_results(model, test, folder)
        curves[name] = (labels, model.predict(test)[:, 0], weights)
        rows.append((name, model.metrics(test), events_per_second(model, test), model.get_param_count(), folder))
    ax = plot_roc(curves)
    save(ax, args.out / "roc.png")
    plt.close(ax.figure)
    print_table(rows, args.out)


def events_per_second(model: Model, events: EventDataset) -> float:
    """Return the number of events per second that the model predicts, the median of five passes."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.predict(events)
        times.append(time.perf_counter() - start)
    return len(events) / sorted(times)[2]


def print_table(rows: list, out: Path) -> None:
    """Print figures of merit on the test events, one model per line, and the paths of the files."""
    print(f"\n{'on held-back test events':<26}{'AUC':<19}{'1/eps_B at 30 %':<18}{'1/eps_B at 50 %':<18}", end="")
    print(f"{'events/s':>10}{'parameters':>12}")
    for name, found, speed, parameters, _ in rows:
        columns = (found["auc"], found["rejection at 30%"], found["rejection at 50%"])
        print(f"{name:<26}{columns[0]!s:<19}{columns[1]!s:<18}{columns[2]!s:<18}{speed:>10,.0f}{parameters:>12,}")
    print("\nFiles:")
    for *_, folder in rows:
        print(f"  {folder}/  model.pt, scores.parquet, training.png, roc.png, scores.png, calibration.png, event.png")
    print(f"  {out}/roc.png  both models in one picture")


if __name__ == "__main__":
    main()
