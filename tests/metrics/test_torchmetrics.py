"""The metrics as torchmetrics: in one process, and in two that have different numbers of events, or none."""

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from lumigraph import metrics
from lumigraph.metrics import torchmetrics as ours

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 2, 400)
SCORES = 1 / (1 + np.exp(-RANDOM.normal(2 * LABELS - 1.0)))
WEIGHTS = np.where(RANDOM.random(400) < 0.2, -1.0, 1.0) * RANDOM.exponential(1.0, 400)
CLASSES = RANDOM.integers(0, 3, 400)
PROBABILITIES = RANDOM.dirichlet(np.ones(3), 400) + np.eye(3)[CLASSES]

BINARY = {
    "AUC": (ours.AUC(), metrics.auc),
    "rejection": (ours.BackgroundRejection(0.3), partial(metrics.background_rejection, signal_efficiency=0.3)),
    "accuracy": (ours.Accuracy(threshold=0.4), partial(metrics.accuracy, threshold=0.4)),
    "AMS": (
        ours.AMS(yields=(30, 500), systematic=0.1, n_bootstrap=5),
        lambda *a, **k: (
            metrics.significance_scan(*a, **k, yields=(30, 500), systematic=0.1, n_bootstrap=5).best.significance
        ),
    ),
    "calibration": (ours.CalibrationError(bins=5), partial(metrics.calibration_error, bins=5)),
    "bias": (ours.Bias(), lambda *a, **k: metrics.resolution(*a, **k)[0]),
    "resolution": (ours.Resolution(), lambda *a, **k: metrics.resolution(*a, **k)[1]),
}


def updated(metric, preds, target, weights=None, size=64):
    metric = metric.clone()
    for start in range(0, len(target), size):
        step = slice(start, start + size)
        metric.update(*(None if a is None else torch.tensor(a[step]) for a in (preds, target, weights)))
    return metric


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unit", "negative"])
@pytest.mark.parametrize("name", BINARY)
def test_batches_give_what_the_function_gives(name, weights):
    metric, function = BINARY[name]
    metric = updated(metric, SCORES, LABELS, weights)
    value, uncertainty = function(LABELS, SCORES, weights=weights)
    assert metric.compute().item() == value
    assert metric.uncertainty.item() == uncertainty
    assert metric.compute().dtype == torch.float64


def test_a_fixed_cut_has_its_significance():
    metric = updated(ours.AMS(0.6, yields=(30, 500)), SCORES, LABELS, WEIGHTS)
    scan = metrics.significance_scan(LABELS, SCORES, WEIGHTS, yields=(30, 500), thresholds=[0.6], n_bootstrap=2)
    assert metric.compute().item() == scan.significance[0]
    assert metric.uncertainty.item() == scan.significance_uncertainty[0]


def test_classes_of_several():
    matrix = updated(ours.RejectionMatrix(0.4), PROBABILITIES, CLASSES, WEIGHTS)
    expected = metrics.rejection_matrix(CLASSES, PROBABILITIES, WEIGHTS, signal_efficiency=0.4)
    np.testing.assert_array_equal(matrix.compute(), expected.value)
    np.testing.assert_array_equal(matrix.uncertainty, expected.uncertainty)
    expected = metrics.accuracy(CLASSES, PROBABILITIES, WEIGHTS).value
    assert updated(ours.Accuracy(), PROBABILITIES, CLASSES, WEIGHTS).compute().item() == expected
    assert updated(ours.Accuracy(), PROBABILITIES.argmax(1), CLASSES, WEIGHTS).compute().item() == expected
    assert updated(ours.Accuracy(), SCORES > 0.5, LABELS).compute().item() == metrics.accuracy(LABELS, SCORES).value


def test_relative_residuals():
    target, prediction = RANDOM.uniform(50, 100, (2, 300))
    bias, spread = metrics.resolution(target, prediction, relative=True)
    assert updated(ours.Bias(relative=True), prediction, target).compute().item() == bias.value
    assert updated(ours.Resolution(relative=True), prediction, target).compute().item() == spread.value


def test_shapes_and_precisions():
    metric = ours.AUC()
    metric.update(torch.tensor([[0.5], [0.25]], dtype=torch.bfloat16, requires_grad=True), torch.tensor([[1.0], [0.0]]))
    metric.update(torch.zeros(0, 1), torch.zeros(0))
    metric.update(torch.tensor([0.75]), torch.tensor([0]), torch.tensor([[3.0]], dtype=torch.float16))
    assert metric.compute().item() == 0.25
    wide = ours.Resolution()
    wide.update(torch.tensor([1e9 + 1.0, 1e9 - 1.0], dtype=torch.float64), torch.full((2,), 1e9, dtype=torch.float64))
    assert wide.half().compute().item() == 1.0  # which float32 does not know


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_too_few_events_are_nan_but_wrong_ones_an_error():
    metric = ours.AUC()
    assert math.isnan(metric.compute())
    metric.update(torch.tensor([0.5]), torch.tensor([1]))
    assert math.isnan(metric.compute())
    assert math.isnan(metric.uncertainty)
    assert math.isnan(updated(ours.AMS(), SCORES[:10], LABELS[:10]).compute())
    with pytest.raises(ValueError, match=r"labels of event . must be 0 .* got 3"):
        updated(ours.AUC(), SCORES, LABELS + 2).compute()
    with pytest.raises(ValueError, match="scores of event 3 must be finite, got nan"):
        updated(ours.AUC(), np.where(np.arange(400) == 3, np.nan, SCORES), LABELS).compute()


def test_reset_forward_copies_and_pickles():
    metric = updated(ours.AUC(), SCORES[:200], LABELS[:200])
    assert (
        metric(torch.tensor(SCORES[200:]), torch.tensor(LABELS[200:])) == metrics.auc(LABELS[200:], SCORES[200:]).value
    )
    expected = metrics.auc(LABELS, SCORES)
    for same in (metric, copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert same.compute().item() == expected.value
        assert same.uncertainty.item() == expected.uncertainty
    metric.reset()
    metric.update(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]))
    assert metric.compute() == 1.0


def test_a_collection_keeps_the_events_once():
    collection = MetricCollection({"auc": ours.AUC(), "accuracy": ours.Accuracy()})
    for step in (slice(0, 100), slice(100, 400)):
        collection.update(torch.tensor(SCORES[step]), torch.tensor(LABELS[step]))
    assert len(collection.compute_groups) == 1
    found = {name: value.item() for name, value in collection.compute().items()}
    assert found == {
        "auc": metrics.auc(LABELS, SCORES).value,
        "accuracy": metrics.accuracy(LABELS, SCORES).value,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3), torch.zeros(2)), "target must have 3 events, as preds has, got 2"),
        ((torch.zeros(2), torch.zeros(2), torch.zeros(1)), "weight must have 2 events, as preds has, got 1"),
        ((torch.zeros(2), torch.zeros(2, 2)), r"target must have the shape \(events,\) or \(events, 1\), got \(2, 2\)"),
        (
            (torch.zeros(2, 2, 2), torch.zeros(2)),
            r"preds must have the shape \(events,\) or \(events, classes\), got \(2, 2, 2\)",
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ours.AUC().update(*arguments)


def test_other_columns_than_before_are_an_error():
    metric = updated(ours.Accuracy(), PROBABILITIES, CLASSES)
    with pytest.raises(ValueError, match="preds must have 3 columns, as before, got 1"):
        metric.update(torch.zeros(2), torch.zeros(2))


RANKS = """
import json, os, sys, warnings
import numpy as np, torch
import torch.distributed as dist
from lumigraph.metrics import torchmetrics as ours

folder, rank = sys.argv[1], int(sys.argv[2])
warnings.filterwarnings("ignore", "The ``compute`` method")  # where a rank has no events
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
events = dict(np.load(f"{folder}/events.npz"))
found = {}
for share in (0, 130, 400):  # of the first rank; the second has the rest
    own = slice(0, share) if rank == 0 else slice(share, 400)
    for name, metric, columns in [
        ("AUC", ours.AUC(), "scores labels"),
        ("rejection", ours.BackgroundRejection(0.3), "scores labels"),
        ("accuracy", ours.Accuracy(), "probabilities classes"),
        ("whole", ours.Accuracy(), "chosen classes"),
        ("matrix", ours.RejectionMatrix(0.4), "probabilities classes"),
        ("AMS", ours.AMS(0.6, yields=(30, 500)), "scores labels"),
        ("calibration", ours.CalibrationError(), "scores labels"),
        ("bias", ours.Bias(), "scores labels"),
        ("resolution", ours.Resolution(), "scores labels"),
    ]:
        for part in range(own.start, own.stop, 50):
            step = slice(part, min(part + 50, own.stop))
            metric.update(*(torch.tensor(events[c][step]) for c in [*columns.split(), "weights"]))
        value = metric.compute()
        found[f"{name} {share}"] = [value.tolist(), metric.uncertainty.tolist()]
        # its own events are back
        assert len(metric.rows) == len(range(own.start, own.stop, 50)), name
dist.destroy_process_group()
print(json.dumps(found))
"""


def run_on_two_ranks(script, folder):
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "JAXTYPING_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", folder / "script.py", folder]
    ranks = [
        subprocess.Popen([*command, str(rank)], env=environment, text=True, stdout=-1, stderr=-1) for rank in (0, 1)
    ]
    outputs = [rank.communicate(timeout=300) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def test_two_ranks_give_what_one_process_gives(tmp_path):
    """Whatever the numbers of their events, none of them included."""
    np.savez(
        tmp_path / "events.npz", labels=LABELS, scores=SCORES, weights=WEIGHTS, classes=CLASSES,
        probabilities=PROBABILITIES, chosen=PROBABILITIES.argmax(1),
    )  # fmt: skip
    first, second = run_on_two_ranks(RANKS, tmp_path)
    binary, several = (LABELS, SCORES, WEIGHTS), (CLASSES, PROBABILITIES, WEIGHTS)
    scan = metrics.significance_scan(*binary, yields=(30, 500), thresholds=[0.6], n_bootstrap=2)
    bias, resolution = metrics.resolution(*binary)
    expected = {
        "AUC": metrics.auc(*binary),
        "rejection": metrics.background_rejection(LABELS, SCORES, 0.3, WEIGHTS),
        "accuracy": metrics.accuracy(*several),
        "whole": metrics.accuracy(*several),
        "matrix": metrics.rejection_matrix(*several, signal_efficiency=0.4),
        "AMS": (scan.significance[0], scan.significance_uncertainty[0]),
        "calibration": metrics.calibration_error(*binary),
        "bias": bias,
        "resolution": resolution,
    }
    assert len(first) == 3 * len(expected)
    for name, (value, uncertainty) in expected.items():
        for share in (0, 130, 400):
            for found in (first, second):
                np.testing.assert_allclose(found[f"{name} {share}"][0], value, rtol=1e-12)
                np.testing.assert_allclose(found[f"{name} {share}"][1], uncertainty, rtol=1e-9)


TRAINING = """
import json, sys
import lightning, numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset
from lumigraph.metrics.torchmetrics import AUC, BackgroundRejection

folder = sys.argv[1]
torch.set_num_threads(1)
x = torch.tensor(np.load(f"{folder}/x.npy"))

class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.auc, self.rejection = AUC(), BackgroundRejection(0.5)
        self.net = torch.nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        return torch.nn.functional.binary_cross_entropy_with_logits(self.net(batch[0][:, :2])[:, 0], batch[0][:, 2])
    def validation_step(self, batch, batch_idx):
        self.auc.update(self.net(batch[0][:, :2]), batch[0][:, 2], batch[0][:, 3])
        self.rejection.update(self.net(batch[0][:, :2]), batch[0][:, 2], batch[0][:, 3])
        self.log("val_auc", self.auc)
        self.log("val_rejection", self.rejection)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)  # the weights stay, so that there is something to compare with

torch.manual_seed(0)
module = Classifier()
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(module, DataLoader(TensorDataset(x), 32), DataLoader(TensorDataset(x), 30))
if trainer.is_global_zero:
    found = {name: float(trainer.callback_metrics[name]) for name in ("val_auc", "val_rejection")}
    with torch.no_grad():
        print(json.dumps([found, module.net(x[:, :2])[:, 0].tolist()]))
torch.distributed.destroy_process_group()  # gloo's threads would abort one exit in six
"""


def test_a_module_of_ones_own_logs_them(tmp_path):
    """In the sanity check, before the first epoch, a class may be missing; two ranks share 200 events evenly."""
    x = RANDOM.normal(size=(200, 4)).astype("f4")
    x[:, 2] = np.arange(200) >= 100
    x[:, 0] += x[:, 2]
    x[:, 3] = 1.0 + 0.3 * x[:, 3]
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "script.py").write_text(TRAINING)
    command = [sys.executable, "-W", "ignore", tmp_path / "script.py", tmp_path]
    environment = {**os.environ, "JAXTYPING_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found, scores = json.loads(done.stdout.splitlines()[-1])
    weights = x[:, 3].astype("f8")
    assert found["val_auc"] == pytest.approx(metrics.auc(x[:, 2], scores, weights).value, rel=1e-6)
    expected = metrics.background_rejection(x[:, 2], scores, 0.5, weights).value
    assert found["val_rejection"] == pytest.approx(expected, rel=1e-6)
