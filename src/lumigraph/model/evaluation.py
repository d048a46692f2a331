"""Loss and figures of merit of a model on a data set."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..blocks.block import evaluating
from ..data import EventDataset, Events, table_to_tensor
from ..events.errors import SchemaError, located
from ..metrics import accuracy, auc, background_rejection, resolution
from .builder import ModelBuilder
from .prediction import as_targets, chunks, num_events, scored_parts, with_targets

__all__ = ["figures_of_merit", "mean_loss", "merits", "scored"]


# inputs, targets and weights of some events, and a context that adds an event's number to errors about it
Part = tuple[Any, Tensor, Tensor | None, AbstractContextManager[None]]


def mean_loss(
    module: nn.Module,
    description: ModelBuilder,
    inputs: Any,
    targets: Any = None,
    weights: Any = None,
    batch_size: int = 2048,
) -> float:
    """Return the weighted mean of the loss over events.

    Parameters
    ----------
    module, description
        Head, body and tail, and their description.
    inputs
        A data set or a stream with targets and weights; or any input of `lumigraph.Model.predict`.
    targets, weights
        Targets (B,) or (B, T) and weights (B,) for the other inputs.
    batch_size
        Events per pass.

    Raises
    ------
    ValueError
        If there are no events, weights do not have a positive sum, or there are fewer targets than events.
    """
    if isinstance(inputs, Events):
        own = targets is None and weights is None
        events = with_targets(inputs, description) if own else _labelled(inputs.read(), targets, weights, description)
        return _mean_loss(module, description, _parts_of_events(events, batch_size, module), inputs.name)
    parts = _parts_beside(inputs, as_targets(targets, description), weights, batch_size, module, description.flat_names)
    return _mean_loss(module, description, parts, None)


def _labelled(events: EventDataset, targets: Any, weights: Any, description: ModelBuilder) -> EventDataset:
    """Return events with the targets and weights given beside them; what is not given is their own."""
    labelled = copy(events) if weights is None else events.with_weights(table_to_tensor(weights).flatten())
    labelled.y = as_targets(events.y if targets is None else targets, description)
    if len(labelled.y) != len(events):
        raise ValueError(f"targets must be as many as the {len(events)} events, got {len(labelled.y)}")
    return labelled


def _parts_beside(
    inputs: Any, y: Tensor, weights: Any, batch_size: int, module: nn.Module, names: Sequence[str]
) -> Iterator[Part]:
    """Yield inputs with separate targets and weights, a batch of events at a time."""
    w = None if weights is None else table_to_tensor(weights).flatten()
    if w is not None and len(w) != len(y):
        raise ValueError(f"weights must be as many as the {len(y)} targets, got {len(w)}")
    start = 0
    for chunk in chunks(inputs, batch_size, module, names):
        step = slice(start, start + num_events(chunk))
        if len(y) < step.stop:
            raise ValueError(f"targets must be as many as the events, got {len(y)} targets for more events")
        yield chunk, y[step], None if w is None else w[step], located(events=start)
        start = step.stop
    if start != len(y):
        raise ValueError(f"targets must be as many as the {start} events, got {len(y)}")


def _parts_of_events(events: Events, batch_size: int, module: nn.Module) -> Iterator[Part]:
    """Yield events as Batches, with their targets and weights."""
    device = next(module.parameters(), torch.empty(0)).device
    for part in events.chunks(batch_size):
        y: Any = part.y
        yield part.batch().to(device), y, part.weight, events.locating(part)


def _mean_loss(module: nn.Module, description: ModelBuilder, parts: Iterable[Part], source: str | None) -> float:
    loss, total, weight, events = description.get_loss(), 0.0, 0.0, 0
    with evaluating(module):
        for chunk, y, w, where in parts:
            with where:
                losses = loss(module, chunk, y).cpu().double()
            total += float((losses if w is None else losses * w).sum())
            weight += len(y) if w is None else float(w.double().sum())
            events += len(y)
    if not weight > 0:
        raise SchemaError(
            f"events must have a positive sum of weights, got {weight:g} for {events} events", file=source
        )
    return total / weight


def scored(
    module: nn.Module, description: ModelBuilder, events: Events
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return predictions (B, n_out), targets (B, T) and weights (B,) of events."""
    parts = [
        (out, part.y, part.weight) for part, out in scored_parts(module, description, with_targets(events, description))
    ]
    weights = [w for _, _, w in parts if w is not None]
    return (
        torch.cat([out for out, _, _ in parts]).numpy(),
        torch.cat([y for _, y, _ in parts if y is not None]).numpy(),
        torch.cat(weights).numpy() if weights else None,
    )


def figures_of_merit(module: nn.Module, description: ModelBuilder, events: Events) -> dict[str, Any]:
    """Return the number of events, loss and figures of merit; see `lumigraph.Model.metrics`."""
    found: dict[str, Any] = {"events": len(events), "loss": mean_loss(module, description, events)}
    out, y, w = scored(module, description, events)
    return {**found, **merits(y, out, w, description.objective, events.schema.targets)}


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
