"""Calibration curves: whether a score is a probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from ..metrics import calibration
from .named_samples import named_samples
from .style import LINE_STYLES, MARKERS, PlotSettings, label_axes, legend_above

__all__ = ["plot_calibration"]


def plot_calibration(
    curves: Mapping[str, tuple[ArrayLike, ...]],
    ax: Axes | None = None,
    *,
    bins: int | ArrayLike = 10,
    settings: PlotSettings | None = None,
) -> Axes:
    """Plot the fraction of signal among events with a score against the score, with the calibration error.

    Parameters
    ----------
    curves
        ``(labels, scores)`` or ``(labels, scores, weights)`` by the name of the classifier.
    ax
        Axes to draw on; new ones if None.
    bins
        Number of bins of equal width from 0 to 1, or their edges.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If there is no curve, or `lumigraph.metrics.calibration` refuses an input.

    Notes
    -----
    **Limits.** The weights set the fraction of signal, and thereby the curve.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_calibration({"cut": ([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.8, 0.9])}, bins=2)
    >>> ax.get_legend().get_texts()[0].get_text()
    'cut: calibration error 0.117'
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    found = {name: calibration(*sample, bins=bins) for name, sample in named_samples("labels, scores", curves).items()}
    ax = settings.axes() if ax is None else ax
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=1.0, linestyle=":", label="_perfect")
    for i, (name, points) in enumerate(found.items()):
        errors = np.stack([points.fraction - points.lower, points.upper - points.fraction]).clip(min=0.0)
        style: dict[str, Any] = {"color": settings.color(i), "linestyle": LINE_STYLES[i % len(LINE_STYLES)]}
        style |= {"marker": MARKERS[i % len(MARKERS)], "markersize": 5, "linewidth": 1.4, "elinewidth": 1.0}
        label = f"{name}: calibration error {points.error:.3f}"
        filled = ~np.isnan(points.fraction)
        ax.errorbar(points.score[filled], points.fraction[filled], errors[:, filled], label=label, **style)
    low = min(0.0, *(np.nanmin(points.lower) for points in found.values()))
    high = max(1.0, *(np.nanmax(points.upper) for points in found.values()))
    ax.set_xlim(-0.02, 1.02)  # so that markers at the ends are not cut off
    ax.set_ylim(low - 0.02, high + 0.02)
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    label_axes(ax, "Mean score", "Fraction of signal", settings)
    legend_above(ax, settings)
    return ax
