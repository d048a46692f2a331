"""The figures of a report, each as HTML with its caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from ...blocks import InteractionNet, LorentzBoostNet
from ...data import EventDataset
from ...metrics import auc
from ...model import Model
from ..calibration import plot_calibration
from ..confusion import plot_confusion
from ..curves import plot_history, plot_roc, plot_scores
from ..events.boosts import plot_boosts, plot_combinations
from ..events.event import plot_event
from ..events.heads import model_name
from ..events.messages import plot_messages
from ..importance import plot_importance
from ..page import figure
from ..regression import plot_residuals, plot_resolution
from ..style import PlotSettings
from .gathering import Gathered

__all__ = [
    "event_figures",
    "importance_figures",
    "inside_figures",
    "prediction_figures",
    "training_figures",
]


def prediction_figures(model: Model, found: Gathered, settings: PlotSettings) -> Iterator[str]:
    """Yield the figures of the quality of predictions, by objective."""
    targets, out = found.some.schema.targets, found.out
    weights = () if found.weight is None else (found.weight,)
    if model.objective == "multiclass":
        draw = partial(plot_confusion, found.y[:, 0], out, *weights, settings=settings)
        yield figure(draw, "Confusion matrix: the share of each true class in each predicted class.")
        return
    names = list(targets) if model.n_out > 1 else [model_name(model)]
    curves = {name: (found.y[:, i], out[:, i], *weights) for i, name in enumerate(names)}
    yield from (_regression if model.objective == "regression" else _classification)(curves, targets, settings)


def _classification(
    curves: dict[str, tuple[Any, ...]], targets: Sequence[str], settings: PlotSettings
) -> Iterator[str]:
    draw = partial(plot_roc, curves, settings=settings)
    yield figure(draw, "Background rejection against signal efficiency; the band is the 68 % interval of a bootstrap.")
    draw = partial(plot_roc, curves, against="efficiency", settings=settings)
    yield figure(draw, "ROC curve: background efficiency against signal efficiency, with the same band.")
    for (name, sample), target in zip(curves.items(), targets, strict=False):
        about = f" ({target})" if len(curves) > 1 else ""
        draw = partial(plot_scores, *sample, settings=settings)
        yield figure(draw, f"Distribution of the scores of each class{about}, each of unit area, weighted.")
        if sample[1].min() >= 0 and sample[1].max() <= 1:
            draw = partial(plot_calibration, {name: sample}, settings=settings)
            yield figure(draw, f"Calibration{about}: on the diagonal, a score is the probability of signal.")


def _regression(curves: dict[str, tuple[Any, ...]], targets: Sequence[str], settings: PlotSettings) -> Iterator[str]:
    for (name, sample), target in zip(curves.items(), targets, strict=False):
        draw = partial(plot_residuals, {name: sample}, quantity=target, settings=settings)
        yield figure(draw, f"Residuals of {target}: predicted minus true values.")
        draw = partial(plot_resolution, {name: sample}, quantity=target, settings=settings)
        yield figure(draw, f"Resolution (filled) and bias (open) of {target}, in bins of its true value.")


def training_figures(model: Model, settings: PlotSettings) -> Iterator[str]:
    """Yield the curves of the training, if the model has any."""
    if model.history:
        draw = partial(plot_history, model.history, settings=settings)
        yield figure(draw, "Loss by epoch; the circle marks the best one.")


def importance_figures(model: Model, events: EventDataset, settings: PlotSettings) -> Iterator[str]:
    """Yield permutation importance by object and by feature: fall of the AUC, or otherwise rise of the loss."""
    metric: Any = auc if model.objective == "classification" and model.n_out == 1 else "loss"

    def draw(by: Any) -> Axes:
        table = model.get_feat_importance(events, by=by, metric=metric, n_repeats=3)
        return plot_importance(table, settings=settings)

    if events.schema.objects:
        yield figure(partial(draw, "object"), "By kind of object; event features are one group.")
    yield figure(partial(draw, "feature"), "By feature; features of particles are shuffled over all particles.")


def inside_figures(model: Model, events: EventDataset, settings: PlotSettings) -> Iterator[str]:
    """Yield figures of an interaction or a boost network in the first event."""
    parts, names = list(model.model.modules()), events.schema.feats_per_vec
    first = events.batch([0])
    if any(isinstance(part, InteractionNet) for part in parts) and {"px", "py"} <= set(names):
        draw: Callable[[], Axes] = partial(plot_messages, model, first, feats_per_vec=names, settings=settings)
        caption = (
            "Messages of the interaction network in the first event below: the wider and darker a line, the "
            "stronger the effect of the other particle on the nearer one."
        )
        yield figure(partial(_untitled, draw), caption)
    if any(isinstance(part, LorentzBoostNet) for part in parts):
        draw = partial(plot_combinations, model, settings=settings)
        yield figure(draw, "Combinations of particles and rest frames that the boost network learned, slot by slot.")
        caption = "The first event below, before and after the boost into the rest frame 0."
        yield figure(lambda: _untitled(lambda: plot_boosts(model, first, settings=settings)[0]), caption)


def event_figures(events: EventDataset, captions: Sequence[str], settings: PlotSettings) -> Iterator[str]:
    """Yield events in the eta-phi plane."""
    batch, names = events.batch(), events.schema.feats_per_vec
    for number, caption in enumerate(captions):
        draw = partial(plot_event, batch, number, feats_per_vec=names, settings=settings)
        yield figure(partial(_untitled, draw), caption)


def _untitled(draw: Callable[[], Axes]) -> Axes:
    """Draw without the number of the event in the title: it refers to an internal batch."""
    ax = draw()
    title = ax.get_title(loc="left")
    ax.set_title(title.partition(": ")[2] or title.replace("Event 0 ", "Event "), loc="left")
    return ax
