"""The pictures of one trained model, in one folder."""

import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ..data import EventDataset, EventStream
from ..evaluation import scored
from ..model import Model
from .curves import plot_history, plot_roc, plot_scores
from .event import plot_event
from .style import PlotSettings, save

__all__ = ["draw_results"]


def draw_results(
    model: Model,
    events: EventDataset | EventStream,
    folder: str | os.PathLike[str],
    settings: PlotSettings | None = None,
) -> list[Path]:
    """Draw what there is to see of a model on labelled events, and return the files.

    ``training.png`` if it was trained, ``roc.png`` and ``scores.png`` for a classification with one output, and
    ``event.png``, the first event as a graph, if its particles have px and py.

    Parameters
    ----------
    model
        A trained model.
    events
        Events with targets that it was not trained on.
    folder
        Where the pictures go; it is made if need be, and pictures of the same name are replaced.
    settings
        Colours, sizes and file format.
    """
    settings = settings or PlotSettings()
    pictures: dict[str, Axes] = {}
    if model.history:
        pictures["training"] = plot_history(model.history, settings=settings)
    first = next(events.chunks(1))
    if model.objective == "classification" and model.n_out == 1 and first.y is not None:
        out, targets, weights = scored(model, events)
        labels, scores = targets[:, 0], out[:, 0]
        columns: tuple[Any, ...] = (labels, scores) if weights is None else (labels, scores, weights)
        pictures["roc"] = plot_roc({_name(model): columns}, settings=settings)
        pictures["scores"] = plot_scores(labels, scores, weights, settings=settings)
    if {"px", "py"} <= set(events.schema.feats_per_vec):
        pictures["event"] = plot_event(first.batch(), feats_per_vec=events.schema.feats_per_vec, settings=settings)
    files = []
    for name, ax in pictures.items():
        files.append(save(ax, Path(folder) / f"{name}.{settings.file_format}", settings))
        plt.close(ax.figure)  # type: ignore[arg-type]
    return files


def _name(model: Model) -> str:
    return type(getattr(model.head, "matrix_head", model.head)).__name__
