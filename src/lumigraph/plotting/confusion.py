"""Confusion matrices: which classes are mistaken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from ..metrics import Confusion, Estimate, confusion_matrix
from .style import PlotSettings, label_axes

__all__ = ["plot_confusion"]

#: Most classes for which numbers are written into the cells, and for which their uncertainties are.
_WRITTEN, _WITH_UNCERTAINTY = 8, 4

_LABELS = {"truth": "Share of the true class", "prediction": "Share of the predicted class", None: "Sum of weights"}


def plot_confusion(
    labels: ArrayLike,
    predictions: ArrayLike,
    weights: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    normalise: Literal["truth", "prediction"] | None = "truth",
    threshold: float = 0.5,
    settings: PlotSettings | None = None,
) -> Axes:
    """Plot the share of each true class that is assigned to each class; true classes are rows.

    Parameters
    ----------
    labels, predictions, weights, normalise, threshold
        See `lumigraph.metrics.confusion_matrix`.
    class_names
        Names of the classes; their numbers if None.
    ax
        Axes to draw on; new ones if None.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If the number of names is not that of the classes, or `lumigraph.metrics.confusion_matrix` refuses an input.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_confusion([0, 0, 1, 1], [0.1, 0.7, 0.8, 0.9], class_names=["background", "signal"])
    >>> ax.texts[0].get_text().splitlines()
    ['0.50', '± 0.50']
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    found = confusion_matrix(labels, predictions, weights, normalise=normalise, threshold=threshold)
    count = len(found.value)
    names = [str(number) for number in range(count)] if class_names is None else list(class_names)
    if len(names) != count:
        raise ValueError(f"class_names must have {count} names, one for each class, got {len(names)}")
    ax = settings.axes() if ax is None else ax
    high = 1.0 if normalise else float(np.nanmax(found.value)) or 1.0
    low = min(0.0, float(np.nanmin(found.value)))
    image = ax.imshow(found.value, cmap=settings.colormap, aspect="auto", vmin=low, vmax=high)
    ax.set_xticks(range(count), names, rotation=30 if max(map(len, names)) * count > 20 else 0)
    for label in ax.get_xticklabels():
        label.set_horizontalalignment("right" if label.get_rotation() else "center")
        label.set_rotation_mode("anchor")
    ax.set_yticks(range(count), names)
    ax.tick_params(length=0)
    label_axes(ax, "Predicted class", "True class", settings)
    if count <= _WRITTEN:
        _write(ax, found, image, settings)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.03)
    bar.set_label(_LABELS[normalise], fontsize=settings.font_size)
    bar.ax.tick_params(labelsize=settings.small_font_size)
    return ax


def _write(ax: Axes, found: Confusion, image: AxesImage, settings: PlotSettings) -> None:
    """Write the numbers into the cells, black on bright colours and white on dark ones."""
    count = len(found.value)
    shares = bool(np.nanmax(found.value) <= 1.0)
    for (row, column), value in np.ndenumerate(found.value):
        if np.isnan(value):
            text = "–"  # noqa: RUF001
        elif count > _WITH_UNCERTAINTY:
            text = f"{value:.2f}" if shares else f"{value:.3g}"
        else:
            estimate = Estimate(float(value), float(found.uncertainty[row, column]))
            text = str(format(estimate, ".2f" if shares else "")).replace(" ± ", "\n± ")
        bright = np.dot(image.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.5 or np.isnan(value)
        ax.text(
            column, row, text, color="black" if bright else "white", ha="center", va="center",
            fontsize=settings.small_font_size,
        )  # fmt: skip
