"""How much worse a model gets without a feature or a kind of object."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...data import EventDataset, Events
from ...events.batches import particles_of
from ...events.checks import check_counts
from ...events.errors import SchemaError
from ...events.graph import lengths_to_ptr, ptr_to_batch, ptr_to_slot
from ...events.schema import EventSchema
from ...metrics import Estimate
from ..builder import ModelBuilder
from ..evaluation import mean_loss, scored
from ..prediction import need_events

__all__ = ["ImportanceTable", "permutation_importance"]

#: A figure of merit of targets and predictions, larger is better; ``metric(y, out, weights=w)``.
Metric = Callable[..., Any]


class ImportanceTable(dict[str, Estimate]):
    """How much worse a model gets without each feature or object, most important first.

    A dict of `lumigraph.metrics.Estimate` by name; it prints as a table.

    Attributes
    ----------
    metric
        ``"loss"``: the numbers are its relative rise; or the name of a figure of merit: they are its fall.
    before
        Value of the metric on the unchanged events.

    Examples
    --------
    >>> table = ImportanceTable({"Jet": Estimate(0.2, 0.01), "MET": Estimate(0.05, 0.02)}, metric="auc", before=0.83)
    >>> print(table)
    fall of AUC (0.83 before)
    Jet  0.200 ± 0.010
    MET  0.050 ± 0.020
    """

    def __init__(self, found: dict[str, Estimate], *, metric: str, before: float) -> None:
        super().__init__(sorted(found.items(), key=lambda item: -item[1].value))
        self.metric, self.before = metric, before

    @property
    def label(self) -> str:
        """Meaning of the numbers."""
        name = "AUC" if self.metric == "auc" else self.metric.replace("_", " ")
        return "relative rise of the loss" if name == "loss" else f"fall of {name}"

    def __str__(self) -> str:
        width = max(map(len, self), default=0)
        lines = [f"{self.label} ({self.before:.4g} before)"]
        return "\n".join([*lines, *(f"{name:{width}}  {value}" for name, value in self.items())])


def permutation_importance(
    module: nn.Module,
    description: ModelBuilder,
    events: Events,
    *,
    by: Literal["feature", "object"] = "feature",
    metric: Metric | Literal["loss"] = "loss",
    n_repeats: int = 5,
    seed: int = 0,
) -> ImportanceTable:
    r"""Compute how much worse a model gets when a feature, or a kind of object, is taken from other events.

    For events :math:`e` and their random permutations :math:`\pi`:

    .. math:: I = \Big\langle \frac{L(\pi(e))}{L(e)} - 1 \Big\rangle_\pi \quad\text{for the loss}, \qquad
              I = \big\langle M(e) - M(\pi(e)) \big\rangle_\pi \quad\text{for a figure of merit}

    Parameters
    ----------
    module, description
        Head, body and tail of a trained model, and their description: its ``model`` and ``model_builder``.
    events
        Events with targets that the model was not trained on; a stream is read into memory.
    by
        ``"feature"``: each event feature and each category is shuffled over the events, each feature of particles over
        the particles of all events. ``"object"``: all objects of a name or collection, whatever their number, are
        taken together from another event with all their features; ``event features`` and ``categories`` are one group
        each.
    metric
        ``"loss"``, or a figure of merit such as `lumigraph.metrics.auc`, larger is better: it is called as
        ``metric(targets, predictions, weights=weights)`` and returns a number or an `Estimate`.
    n_repeats
        Number of shuffles of each; the uncertainty is that of the mean over the repeats.
    seed
        Seed of the shuffling.

    Raises
    ------
    ValueError
        If an option is invalid, there are no events, or the collection of a particle is unknown.
    TypeError
        If ``events`` is neither a data set nor a stream.

    Notes
    -----
    **Limits.** Information that other features also hold is not missed: px and py matter little beside pt and phi, yet
    losing all of them may matter greatly. The uncertainty does not include that of a small number of events.

    References
    ----------
    L. Breiman, Machine Learning 45 (2001) 5.

    Examples
    --------
    >>> from lumigraph import EventSchema, Model, ModelBuilder
    >>> columns = {"a": np.arange(64.0) % 7, "b": np.arange(64.0) % 5, "y": np.arange(64.0) % 7}
    >>> events = EventDataset.from_columns(columns, EventSchema(event_feats=("a", "b"), targets=("y",)))
    >>> model = Model(ModelBuilder.from_dataset(events, "regression")).fit(20, events, 8, lr=0.01, progress_bar=False)
    >>> list(permutation_importance(model.model, model.model_builder, events))
    ['a', 'b']
    """
    if by not in ("feature", "object"):
        raise ValueError(f"by must be 'feature' or 'object', got {by!r}")
    if metric != "loss" and not callable(metric):
        raise ValueError(f"metric must be 'loss' or a function such as lumigraph.metrics.auc, got {metric!r}")
    check_counts(2, n_repeats=n_repeats)  # one repeat has no spread
    need_events(events)
    read = events.read()
    merit = _merit(module, description, metric)
    before = merit(read)
    if metric == "loss" and not before > 0:
        raise ValueError(f"the loss must be above 0 for a relative rise, got {before:g}")
    random = torch.Generator().manual_seed(seed)
    changes = _features(read.schema) if by == "feature" else _objects(read)
    found: dict[str, Estimate] = {}
    with _unchecked(module):
        for name, changed in changes.items():
            after = np.array([merit(changed(read, random)) for _ in range(n_repeats)])
            worse = after / before - 1 if metric == "loss" else before - after
            found[name] = Estimate(float(worse.mean()), float(worse.std(ddof=1) / np.sqrt(n_repeats)))
    name = "loss" if metric == "loss" else getattr(getattr(metric, "func", metric), "__name__", "metric")
    return ImportanceTable(found, metric=name, before=before)


def _merit(module: nn.Module, description: ModelBuilder, metric: Any) -> Callable[[EventDataset], float]:
    """Return a function that computes the metric of events."""
    if metric == "loss":
        return lambda events: mean_loss(module, description, events)

    def merit(events: EventDataset) -> float:
        out, y, weights = scored(module, description, events)
        value = metric(y, out, weights=weights)
        return float(value.value if isinstance(value, Estimate) else value)

    return merit


@contextmanager
def _unchecked(module: nn.Module) -> Iterator[None]:
    """Turn off the checks of boost networks: shuffled components do not form valid four-momenta."""
    checking = [m for m in module.modules() if getattr(m, "validate", False)]
    try:
        for m in checking:
            m.validate = False  # type: ignore[assignment]
        yield
    finally:
        for m in checking:
            m.validate = True  # type: ignore[assignment]


#: Returns events with some values taken from other events.
_Change = Callable[[EventDataset, torch.Generator], EventDataset]


def _features(schema: EventSchema) -> dict[str, _Change]:
    changes: dict[str, _Change] = {}
    for field, names in (("u", schema.event_feats), ("cat", schema.cat_feats), ("x", schema.feats_per_vec)):
        for column, name in enumerate(names):
            changes[name if name not in changes else f"{name} of particles"] = _shuffled(field, column)
    return changes


def _shuffled(field: str, columns: int | slice) -> _Change:
    """Return a change that takes columns of a field from other events or particles."""

    def change(events: EventDataset, random: torch.Generator) -> EventDataset:
        values: Tensor = getattr(events, field)
        shuffled, changed = values.clone(), copy.copy(events)
        shuffled[:, columns] = values[torch.randperm(len(values), generator=random)][:, columns]
        setattr(changed, field, shuffled)
        return changed

    return change


def _objects(events: EventDataset) -> dict[str, _Change]:
    schema = events.schema
    changes: dict[str, _Change] = {}
    if schema.objects:
        kind = _kinds(events)
        changes |= {name: _exchanged(kind, number) for number, name in enumerate(schema.objects)}
    for name, field, columns in (
        ("event features", "u", schema.event_feats),
        ("categories", "cat", schema.cat_feats),
    ):
        if columns:
            changes[name] = _shuffled(field, slice(None))
    return changes


def _kinds(events: EventDataset) -> Tensor:
    """Return the number of each particle's object among those of the schema, (N,)."""
    schema, particles = events.schema, particles_of(events.batch())
    if schema.vecs:
        return particles.slot
    if len(schema.collections) == 1:
        return torch.zeros(len(particles.x), dtype=torch.long)
    columns = dict(zip(schema.feats_per_vec, particles.x.unbind(1), strict=True))
    flags = [f"is_{name}" for name in schema.collections]
    if sum(flag in columns for flag in flags) >= len(flags) - 1:  # no flag set: the collection that has none
        kind = torch.stack([columns.get(flag, torch.full((len(particles.x),), 0.5)) for flag in flags]).argmax(0)
    elif "kind" in columns:
        kind = columns["kind"].long()
    else:
        kind = torch.tensor([-1])
    # the particles of an event are sorted by collection: otherwise the column is one of the file with the same name
    within = particles.slot[1:] > 0
    if bool(((kind < 0) | (kind >= len(flags))).any()) or bool((kind.diff()[within] < 0).any()):
        raise SchemaError(
            f"feats_per_vec must tell particles of the collections {list(schema.collections)} apart: add {flags} or "
            "'kind', which are computed if the file has no columns of these names"
        )
    return kind


def _exchanged(kind: Tensor, number: int) -> _Change:
    """Return a change that takes all particles of a kind from other events, whatever their number."""

    def change(events: EventDataset, random: torch.Generator) -> EventDataset:
        x, slot, ptr = particles_of(events.batch())
        takers = torch.randperm(len(events), generator=random)
        event = ptr_to_batch(ptr)
        event = torch.where(kind == number, takers[event], event)
        order = torch.from_numpy(np.lexsort((slot.numpy(), kind.numpy(), event.numpy())))
        ptr = lengths_to_ptr(torch.bincount(event, minlength=len(events)))
        slot = slot[order] if events.schema.vecs else ptr_to_slot(ptr)
        if (most := events.schema.max_particles) is not None:  # keep the first ones, as when events are read
            order, slot = order[slot < most], slot[slot < most]
            ptr = lengths_to_ptr(ptr.diff().clamp(max=most))
        changed = copy.copy(events)
        changed.x, changed.slot, changed.ptr = x[order], slot, ptr
        return changed

    return change
