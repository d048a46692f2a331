"""The pictures of one trained model, in one folder."""

import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ..data import Events
from ..model import Model
from ..model.evaluation import scored
from .calibration import plot_calibration
from .confusion import plot_confusion
from .curves import plot_history, plot_roc, plot_scores
from .events.event import plot_event
from .events.heads import model_name
from .regression import plot_residuals, plot_resolution
from .style import PlotSettings, save

__all__ = ["draw_results"]


def draw_results(
    model: Model,
    events: Events,
    folder: str | os.PathLike[str],
    settings: PlotSettings | None = None,
) -> list[Path]:
    """Draw all pictures of a model on labelled events, and return the files.

    ``training.png`` if it was trained; for a classification with one output ``roc.png``, ``scores.png`` and, if the
    scores are from 0 to 1, ``calibration.png``; for ``multiclass`` ``confusion.png``; for a regression of one target
    ``residuals.png`` and ``resolution.png``; and ``event.png``, the first event as a graph, if its particles have px
    and py.

    Parameters
    ----------
    model
        A trained model.
    events
        Events with targets that it was not trained on.
    folder
        Folder for the pictures, created if missing; existing pictures of the same name are replaced.
    settings
        Colours, sizes and file format.
    """
    settings = settings or PlotSettings()
    pictures: dict[str, Axes] = {}
    if model.history:
        pictures["training"] = plot_history(model.history, settings=settings)
    first = next(events.chunks(1))
    if first.y is not None and (model.n_out == 1 or model.objective == "multiclass"):
        pictures |= _of_predictions(model, events, settings)
    if {"px", "py"} <= set(events.schema.feats_per_vec):
        pictures["event"] = plot_event(first.batch(), feats_per_vec=events.schema.feats_per_vec, settings=settings)
    files = []
    for name, ax in pictures.items():
        files.append(save(ax, Path(folder) / f"{name}.{settings.file_format}", settings))
        plt.close(ax.figure)  # type: ignore[arg-type]
    return files


def _of_predictions(model: Model, events: Events, settings: PlotSettings) -> dict[str, Axes]:
    """Draw the quality of the predictions; return the pictures by name."""
    out, targets, weights = scored(model.model, model.model_builder, events)
    truth = targets[:, 0]
    if model.objective == "multiclass":
        return {"confusion": plot_confusion(truth, out, weights, settings=settings)}
    columns: tuple[Any, ...] = (truth, out[:, 0]) if weights is None else (truth, out[:, 0], weights)
    sample = {model_name(model): columns}
    if model.objective == "regression":
        quantity = events.schema.targets[0]
        return {
            "residuals": plot_residuals(sample, quantity=quantity, settings=settings),
            "resolution": plot_resolution(sample, quantity=quantity, settings=settings),
        }
    pictures = {"roc": plot_roc(sample, settings=settings), "scores": plot_scores(*columns, settings=settings)}
    if out.min() >= 0 and out.max() <= 1:  # scores of a custom tail may not be probabilities
        pictures["calibration"] = plot_calibration(sample, settings=settings)
    return pictures
