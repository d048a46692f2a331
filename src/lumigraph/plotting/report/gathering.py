"""Data of a report, gathered in one pass over a file of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ...data import EventDataset, Events
from ...data.inspection import ColumnReport
from ...model import Model
from ...model.prediction import scored_parts, with_targets

__all__ = ["Extreme", "Gathered", "gather"]

#: Number of events for importance: enough for its uncertainty, few enough to take about a minute.
_FOR_IMPORTANCE = 3000

_EXTREMES = 10


@dataclass
class Extreme:
    """Events with the highest or lowest predictions, in order, with predictions and targets."""

    events: EventDataset
    rank: Float[np.ndarray, " events"]
    out: Float[np.ndarray, "events outputs"]

    def merged(self, other: Extreme, sign: int) -> Extreme:
        """Return the most extreme events of both: the highest rank first for sign 1, the lowest for -1."""
        rank = np.concatenate([self.rank, other.rank])
        first = np.argsort(-sign * rank, kind="stable")[:_EXTREMES]
        events = EventDataset.concatenate([self.events, other.events]).select(first)
        return Extreme(events, rank[first], np.concatenate([self.out, other.out])[first])


@dataclass
class Gathered:
    """Predictions (events, outputs), targets, weights and ranges of all events, and some of the events."""

    out: Float[np.ndarray, "events outputs"]
    y: Float[np.ndarray, "events targets"]
    weight: Float[np.ndarray, " events"] | None
    ranges: list[tuple[str, ColumnReport]]
    most: Extreme
    least: Extreme
    some: EventDataset


def gather(model: Model, events: Events, seed: int = 0) -> Gathered:
    """Gather the data in one pass over the events.

    Raises
    ------
    SchemaError
        If the events have no targets.
    """
    ranges = _Ranges(events.schema)
    outs, targets, weights, picked = [], [], [], []
    most = least = None
    random = np.random.default_rng(seed)
    share = _FOR_IMPORTANCE / max(len(events), 1)
    labelled = with_targets(events, model.model_builder)
    for part, scores in scored_parts(model.model, model.model_builder, labelled):
        out = scores.numpy()
        outs.append(out)
        targets.extend([] if part.y is None else [part.y.numpy()])
        weights.extend([] if part.weight is None else [part.weight.numpy()])
        ranges.add(part)
        picked.append(part.select(np.flatnonzero(random.random(len(part)) < share)))
        found = Extreme(part, _rank(model.objective, out), out)
        none = Extreme(part.select([]), found.rank[:0], out[:0])
        most, least = (most or none).merged(found, 1), (least or none).merged(found, -1)
    if most is None or least is None or not len(most.rank):
        raise ValueError("a report needs at least one selected event, got none")
    return Gathered(
        np.concatenate(outs),
        np.concatenate(targets),
        np.concatenate(weights) if weights else None,
        ranges.found(),
        most,
        least,
        EventDataset.concatenate(picked),
    )


def _rank(objective: str, out: Float[np.ndarray, "events outputs"]) -> Float[np.ndarray, " events"]:
    """Return the value that events are sorted by: the first output, or the largest score of several classes."""
    return out.max(axis=1) if objective == "multiclass" else out[:, 0]


class _Ranges:
    """Ranges of all inputs of a model, its targets and weights."""

    def __init__(self, schema: Any) -> None:
        self.fields = {
            "event feature": ("u", schema.event_feats),
            "category": ("cat", schema.cat_feats),
            "feature of particles": ("x", schema.feats_per_vec),
            "target": ("y", schema.targets),
            "weight": ("weight", [schema.weight] if schema.weight else []),
        }
        self.columns = {
            (role, name): ColumnReport(name, "float", role == "feature of particles", False)
            for role, (_, names) in self.fields.items()
            for name in names
        }
        self.multiplicity = ColumnReport("particles per event", "int", False, True)

    def add(self, events: EventDataset) -> None:
        for role, (field, names) in self.fields.items():
            values = getattr(events, field)
            if values is None:
                continue
            for name, column in zip(names, values.reshape(len(values), -1).numpy().T, strict=True):
                self.columns[role, name].add(column)
        if events.ptr is not None:
            self.multiplicity.add(np.diff(events.ptr.numpy()))

    def found(self) -> list[tuple[str, ColumnReport]]:
        """Return each column that has values, with its role."""
        counted = [("", self.multiplicity)] if self.multiplicity.count else []
        return counted + [(role, column) for (role, _), column in self.columns.items() if column.count]
