"""Significance scans: where to cut on a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..metrics import SignificanceScan
from .style import LINE_STYLES, MARKERS, PlotSettings, label_axes, legend_above

__all__ = ["plot_significance"]


def plot_significance(
    scans: Mapping[str, SignificanceScan], ax: Axes | None = None, *, settings: PlotSettings | None = None
) -> Axes:
    """Plot the expected significance against the cut on the score, and mark the best cut of each classifier.

    Parameters
    ----------
    scans
        Results of `lumigraph.metrics.significance_scan` by the name of the classifier.
    ax
        Axes to draw on; new ones if None.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If there is no scan.

    Notes
    -----
    **Limits.** The mark of the best cut, and the number in the legend, are corrected for the optimism of choosing the
    best cut. They may lie below the curve, whose band holds for each cut alone.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from lumigraph.metrics import significance_scan
    >>> labels = np.arange(4000) % 2
    >>> scan = significance_scan(labels, np.random.default_rng(0).normal(labels), yields=(50, 1000))
    >>> ax = plot_significance({"network": scan})
    >>> ax.get_legend().get_texts()[0].get_text()
    'network: 1.834 ± 0.071 at 1.09'
    >>> plt.close(ax.figure)
    """
    if not scans:
        raise ValueError("scans must have at least one name with its SignificanceScan, got none")
    settings = settings or PlotSettings()
    ax = settings.axes() if ax is None else ax
    for i, (name, scan) in enumerate(scans.items()):
        color = settings.color(i)
        z, error, best = scan.significance, scan.significance_uncertainty, scan.best
        style: dict[str, Any] = {"color": color, "linestyle": LINE_STYLES[i % len(LINE_STYLES)]}
        label = f"{name}: {best.significance} at {best.threshold.value:.3g}"
        ax.plot(scan.thresholds, z, linewidth=1.8, label=label, marker="." if len(z) == 1 else "", **style)
        ax.fill_between(scan.thresholds, z - error, z + error, color=color, alpha=0.25, linewidth=0)
        point: dict[str, Any] = {
            "marker": MARKERS[i % len(MARKERS)],
            "markersize": 6,
            "markeredgecolor": "black",
            "zorder": 4,
        }
        ax.errorbar(best.threshold.value, *best.significance, color=color, label="_best", **point)
    lowest = min(float(np.nanmin(scan.significance)) for scan in scans.values())
    ax.set_ylim(bottom=min(0.0, lowest))
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    label_axes(ax, "Cut on the score", "Expected significance", settings)
    legend_above(ax, settings)
    return ax
