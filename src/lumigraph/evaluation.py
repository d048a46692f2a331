"""How good a model is on a data set, and what it looks at."""

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from .blocks.block import evaluating
from .data import EventDataset, table_to_tensor
from .losses import EventLoss
from .metrics import Estimate, accuracy, auc, background_rejection, resolution
from .prediction import chunks, events_counted_from, need_dataset, num_events

__all__ = ["feature_importance", "figures_of_merit", "mean_loss"]


def mean_loss(
    model: nn.Module, loss: EventLoss, inputs: Any, y: Tensor, weights: Any, bs: int, names: Sequence[str]
) -> float:
    """Return the weighted mean of the loss over events; see `lumigraph.Model.evaluate`."""
    w = torch.ones(len(y)) if weights is None else table_to_tensor(weights).flatten()
    if len(w) != len(y):
        raise ValueError(f"there are {len(w)} weights, but {len(y)} targets")
    if not float(w.double().sum()) > 0:
        raise ValueError(f"nothing can be evaluated on {len(y)} events with a total weight of {float(w.sum()):g}")
    total, start = 0.0, 0
    with evaluating(model):
        for chunk in chunks(inputs, bs, model, names):
            step = slice(start, start + num_events(chunk))
            if len(y) < step.stop:
                raise ValueError(f"there are more events than the {len(y)} targets")
            with events_counted_from(start):
                losses = loss(model, chunk, y[step]).cpu().double()
            total += float((losses * w[step]).sum())
            start = step.stop
    if start != len(y):
        raise ValueError(f"there are {start} events, but {len(y)} targets")
    return total / float(w.double().sum())


def figures_of_merit(model: Any, events: EventDataset) -> dict[str, Any]:
    """Return loss and figures of merit of a model; see `lumigraph.Model.metrics`."""
    found: dict[str, Any] = {"events": len(events), "loss": model.evaluate(events)}
    y = cast(Tensor, events.y).numpy()  # without targets there would be no loss
    w = None if events.weight is None else events.weight.numpy()
    out = np.asarray(model.predict(events))
    if model.objective == "multiclass":
        found["accuracy"] = accuracy(y[:, 0], out, w)
        return found
    for i in range(model.n_out):
        suffix = f" {events.schema.targets[i]}" if model.n_out > 1 else ""
        if model.objective == "regression":
            found[f"bias{suffix}"], found[f"resolution{suffix}"] = resolution(y[:, i], out[:, i], w)
        else:
            found[f"auc{suffix}"] = auc(y[:, i], out[:, i], w)
            for efficiency in (0.3, 0.5):
                rejection = background_rejection(y[:, i], out[:, i], efficiency, w)
                found[f"rejection at {efficiency:.0%}{suffix}"] = rejection
    return found


def feature_importance(model: Any, events: EventDataset, n_repeats: int, seed: int) -> dict[str, Estimate]:
    """Return the relative rise of the loss when a feature is shuffled; see `lumigraph.Model.get_feat_importance`."""
    need_dataset(events)
    if n_repeats < 2:
        raise ValueError(f"n_repeats must be at least 2, to know the spread, got {n_repeats}")
    schema, before = events.schema, model.evaluate(events)
    if not before > 0:
        raise ValueError(f"the loss is {before:g}: nothing can be said relative to it")
    random = torch.Generator().manual_seed(seed)
    found: dict[str, Estimate] = {}
    # a shuffled component makes four-momenta that are none, which a boost network would refuse
    checking = [m for m in model.model.modules() if getattr(m, "validate", False)]
    try:
        for module in checking:
            module.validate = False
        for field, names in (("u", schema.event_feats), ("cat", schema.cat_feats), ("x", schema.feats_per_vec)):
            for column, name in enumerate(names):
                rises = [_loss_without(model, events, field, column, random) / before - 1 for _ in range(n_repeats)]
                name = name if name not in found else f"{name} of particles"
                found[name] = Estimate(float(np.mean(rises)), float(np.std(rises, ddof=1) / np.sqrt(n_repeats)))
    finally:
        for module in checking:
            module.validate = True
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def _loss_without(model: Any, events: EventDataset, field: str, column: int, random: torch.Generator) -> float:
    """Return the loss when a column is shuffled."""
    values: Tensor = getattr(events, field)
    shuffled, changed = values.clone(), copy.copy(events)
    shuffled[:, column] = values[torch.randperm(len(values), generator=random), column]
    setattr(changed, field, shuffled)
    return model.evaluate(changed)
