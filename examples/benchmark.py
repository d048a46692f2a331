"""Train models over several seeds, keep the results, and print one table: shared by the benchmarks of the examples.

The results of a model and a seed are its outputs on the test events, ``{folder}/{model}/{seed}.npy``, and its settings,
``.json``. An interrupted run continues where it stopped, and a new model costs only its own training.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lumigraph import EventDataset, Model, ModelBuilder
from lumigraph.metrics import Estimate, accuracy, auc, background_rejection, resolution

Figure = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Estimate]

#: Figures of merit by column, functions of target, output and weight.
CLASSIFICATION: dict[str, Figure] = {
    "AUC": auc,
    "accuracy": accuracy,
    "1/eps_B at 50 %": lambda y, scores, w: background_rejection(y, scores, 0.5, w),
    "1/eps_B at 30 %": lambda y, scores, w: background_rejection(y, scores, 0.3, w),
}
REGRESSION: dict[str, Figure] = {
    "bias": lambda y, outputs, w: resolution(y, outputs, w)[0],
    "resolution": lambda y, outputs, w: resolution(y, outputs, w)[1],
}
TIMED_STEPS, WARM_UP = 12, 3


def checksum(*parts: EventDataset) -> str:
    """Return a text that identifies a set of events."""
    found = hashlib.sha1()
    for part in parts:
        for values in (part.x, part.ptr, part.y):
            found.update(values.numpy().tobytes())
    return found.hexdigest()[:12]


class Row(NamedTuple):
    """A row of the table: description of the model, and functions that train it with a seed and measure its speed."""

    about: str
    train: Callable[[int], np.ndarray]
    measure: Callable[[], dict[str, float]]


class Kept:
    """Outputs on the test events and speeds, kept in a folder; results of other settings are recomputed."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings = folder, dict(settings)

    def all(
        self, rows: Mapping[str, Row], seeds: int, *, measure_again: bool = False
    ) -> tuple[dict[str, list[np.ndarray]], dict[str, dict[str, float]]]:
        """Return outputs, one array per seed, and speeds of all rows; missing ones are computed, seed by seed."""
        outputs: dict[str, list[np.ndarray]] = {name: [] for name in rows}
        for seed in range(1, seeds + 1):
            for name, row in rows.items():
                outputs[name].append(self.outputs(name, row, seed))
        return outputs, {name: self.speed(name, row, again=measure_again) for name, row in rows.items()}

    def outputs(self, name: str, row: Row, seed: int) -> np.ndarray:
        """Return the outputs on the test events of a model trained with a seed."""
        path, settings = self._path(name, str(seed)), {**self.settings, "model": row.about}
        if _json(path) != settings or not path.with_suffix(".npy").exists():
            start = time.perf_counter()
            outputs = row.train(seed)
            np.save(path.with_suffix(".npy"), outputs)
            path.write_text(json.dumps(settings, indent=1))
            print(f"seed {seed}, {time.perf_counter() - start:5.0f} s: {name}", flush=True)
        return np.asarray(np.load(path.with_suffix(".npy")))

    def speed(self, name: str, row: Row, *, again: bool) -> dict[str, float]:
        """Return parameters, and events per second in training and inference."""
        path, settings = self._path(name, "speed"), {**self.settings, "model": row.about}
        known = _json(path)
        if again or known is None or known["settings"] != settings:
            known = {"settings": settings, "speed": row.measure()}
            path.write_text(json.dumps(known, indent=1))
        return dict(known["speed"])

    def _path(self, name: str, what: str) -> Path:
        folder = self.folder / re.sub(r"\W+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{what}.json"


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def trained_outputs(
    builder: ModelBuilder, parts: Sequence[EventDataset], seed: int, epochs: int, batch_size: int, **options: Any
) -> np.ndarray:
    """Train on the first part, keep the best epoch by the second, and return the outputs on the third."""
    train, val, test = parts
    torch.manual_seed(seed)
    model = Model(builder)
    model.fit(epochs, train, batch_size, val=val, seed=seed, progress_bar=False, **options)
    return np.asarray(model.predict(test))[:, 0]


def measured_speed(builder: ModelBuilder, events: EventDataset, batch_size: int, device: str) -> dict[str, float]:
    """Return parameters, and events per second in training and inference, from the median of some steps."""
    net, optimiser, loss, _ = builder.get_model()
    net = net.to(device)
    batches = [batch.to(device) for batch in islice(events.loader(batch_size), WARM_UP + TIMED_STEPS)]

    def train(batch: Any) -> None:
        optimiser.zero_grad()
        loss(net, batch, batch.y).mean().backward()
        optimiser.step()

    def infer(batch: Any) -> None:
        with torch.no_grad():
            net(batch)

    found = {"parameters": sum(p.numel() for p in net.parameters())}
    for name, step in (("training", train), ("inference", infer)):
        net.train(name == "training")
        found[name] = batch_size / seconds(step, batches, device)
    return found


def seconds(step: Callable[[Any], None], batches: Sequence[Any], device: str) -> float:
    """Return the median time of a step: CPU time with one thread, free of other programs; otherwise wall time."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    taken = []
    for batch in batches:
        start = clock()
        step(batch)
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return float(np.median(taken[WARM_UP:] or taken))


def print_table(
    title: str,
    figures: Mapping[str, Figure],
    outputs: Mapping[str, Sequence[np.ndarray]],
    speeds: Mapping[str, Mapping[str, float]],
    events: EventDataset,
) -> None:
    """Print mean and spread over seeds of every figure, one model per line, and the uncertainty of the test events."""
    targets, weights = events.y[:, 0].numpy(), None if events.weight is None else events.weight.numpy()
    width = max(map(len, [*outputs, title]))
    print(f"\n{title:<{width}}" + "".join(f"{name:>19}" for name in figures), end="")
    print(f"{'parameters':>12}{'training':>11}{'inference':>11}")
    print(
        f"{'mean ± spread over seeds':<{width}}" + " " * (19 * len(figures) + 12) + f"{'events/s':>11}{'events/s':>11}"
    )
    sampling = {}
    for name, runs in outputs.items():
        found = {key: [figure(targets, run, weights) for run in runs] for key, figure in figures.items()}
        sampling[name] = {key: np.mean([estimate.uncertainty for estimate in found[key]]) for key in figures}
        cells = [spread([estimate.value for estimate in estimates]) for estimates in found.values()]
        print(f"{name:<{width}}" + "".join(f"{cell:>19}" for cell in cells), end="")
        speed = [speeds.get(name, {}).get(key) for key in ("parameters", "training", "inference")]
        print("".join(f"{'-' if s is None else f'{s:,.0f}':>{w}}" for s, w in zip(speed, (12, 11, 11), strict=True)))
    typical = {key: np.median([each[key] for each in sampling.values()]) for key in figures}
    print(f"{'± of the test events':<{width}}" + "".join(f"{f'{typical[key]:.2g}':>19}" for key in figures))


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation; the value alone if all are the same."""
    if np.ptp(values) == 0:
        return f"{values[0]:.4g}"
    return str(Estimate(float(np.mean(values)), float(np.std(values, ddof=1))))
