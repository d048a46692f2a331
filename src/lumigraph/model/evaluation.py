"""How good a model is on a data set."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..blocks.block import evaluating
from ..data import EventDataset, EventStream, numbered_as, table_to_tensor
from ..events.errors import SchemaError
from ..metrics import accuracy, auc, background_rejection, resolution
from ..training.losses import EventLoss
from .prediction import chunks, num_events

__all__ = ["figures_of_merit", "mean_loss", "merits", "parts_of", "parts_of_events", "scored"]


# inputs, targets and weights of some events, and what lets an error about one of them name it
Part = tuple[Any, Tensor, Tensor | None, AbstractContextManager[None]]


def parts_of(inputs: Any, y: Any, weights: Any, bs: int, model: nn.Module, names: Sequence[str]) -> Iterator[Part]:
    """Yield inputs with targets and weights beside them, so many events at a time; arguments as of `chunks`."""
    w = None if weights is None else table_to_tensor(weights).flatten()
    if w is not None and len(w) != len(y):
        raise ValueError(f"there are {len(w)} weights, but {len(y)} targets")
    start = 0
    for chunk in chunks(inputs, bs, model, names):
        step = slice(start, start + num_events(chunk))
        if len(y) < step.stop:
            raise ValueError(f"there are more events than the {len(y)} targets")
        yield chunk, y[step], None if w is None else w[step], numbered_as(start)
        start = step.stop
    if start != len(y):
        raise ValueError(f"there are {start} events, but {len(y)} targets")


def parts_of_events(events: EventDataset | EventStream, bs: int, model: nn.Module) -> Iterator[Part]:
    """Yield the events of a data set or a stream as Batches, with targets and weights beside them."""
    device = next(model.parameters(), torch.empty(0)).device
    start = 0
    for part in events.chunks(bs):
        if part.y is None:
            raise SchemaError("the events have no targets: name them in the schema (targets), and read them")
        where = events.locating(part) if isinstance(events, EventStream) else numbered_as(start)
        yield part.batch().to(device), part.y, part.weight, where
        start += len(part)


def mean_loss(model: nn.Module, loss: EventLoss, parts: Iterable[Part], source: str = "") -> float:
    """Return the weighted mean of the loss over events; see `lumigraph.Model.evaluate`."""
    total, weight, events = 0.0, 0.0, 0
    with evaluating(model):
        for chunk, y, w, where in parts:
            with where:
                losses = loss(model, chunk, y).cpu().double()
            total += float((losses if w is None else losses * w).sum())
            weight += len(y) if w is None else float(w.double().sum())
            events += len(y)
    if not weight > 0:
        raise ValueError(f"{source}nothing can be evaluated on {events} events with a total weight of {weight:g}")
    return total / weight


def scored(model: Any, events: EventDataset | EventStream) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return predictions (B, n_out), targets (B, T) and weights (B,) of events."""
    parts = [(model.predict(chunk), y, w) for chunk, y, w, _ in parts_of_events(events, 2048, model.model)]
    weights = [w for _, _, w in parts if w is not None]
    return (
        np.concatenate([out for out, _, _ in parts]),
        torch.cat([y for _, y, _ in parts]).numpy(),
        torch.cat(weights).numpy() if weights else None,
    )


def figures_of_merit(model: Any, events: EventDataset | EventStream) -> dict[str, Any]:
    """Return loss and figures of merit of a model; see `lumigraph.Model.metrics`."""
    found: dict[str, Any] = {"events": len(events), "loss": model.evaluate(events)}
    out, y, w = scored(model, events)
    return {**found, **merits(y, out, w, model.objective, events.schema.targets)}


def merits(
    y: np.ndarray, out: np.ndarray, w: np.ndarray | None, objective: str, targets: Sequence[str]
) -> dict[str, Any]:
    """Return figures of merit of predictions (B, n_out) for targets (B, T) and weights (B,); see `figures_of_merit`."""
    if objective == "multiclass":
        return {"accuracy": accuracy(y[:, 0], out, w)}
    found: dict[str, Any] = {}
    for i in range(out.shape[1]):
        suffix = f" {targets[i]}" if out.shape[1] > 1 else ""
        if objective == "regression":
            found[f"bias{suffix}"], found[f"resolution{suffix}"] = resolution(y[:, i], out[:, i], w)
        else:
            found[f"auc{suffix}"] = auc(y[:, i], out[:, i], w)
            for efficiency in (0.3, 0.5):
                rejection = background_rejection(y[:, i], out[:, i], efficiency, w)
                found[f"rejection at {efficiency:.0%}{suffix}"] = rejection
    return found
