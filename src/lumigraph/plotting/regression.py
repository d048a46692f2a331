"""The quality of a regression: residuals, and bias and resolution as functions of the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter
from numpy.typing import ArrayLike

from ..metrics import binned_resolution, event_columns, residuals, resolution
from .named_samples import named_samples
from .style import MARKERS, PlotSettings, draw_steps, label_axes, legend_above

__all__ = ["plot_residuals", "plot_resolution"]


def plot_residuals(
    curves: Mapping[str, tuple[ArrayLike, ...]],
    ax: Axes | None = None,
    *,
    quantity: str = "target",
    unit: str = "",
    relative: bool = False,
    bins: int | ArrayLike = 40,
    settings: PlotSettings | None = None,
) -> Axes:
    r"""Plot the distribution of predicted minus true values, each with unit area, with bias and resolution.

    Parameters
    ----------
    curves
        ``(target, prediction)`` or ``(target, prediction, weights)`` by the name of the model.
    ax
        Axes to draw on; new ones if None.
    quantity, unit
        The predicted quantity, such as ``"mass"``, and its unit, such as ``"GeV"``, for the labels.
    relative
        Whether residuals are divided by the target, which must then be positive.
    bins
        Number of bins over the middle 99 % of all residuals, or the edges. The legend gives the share of the weight
        outside of them; bias and resolution are those of all events.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If there is no model, or `lumigraph.metrics.resolution` refuses an input.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_residuals({"network": ([100.0, 50.0, 80.0, 70.0], [104.0, 50.0, 82.0, 66.0])}, unit="GeV", bins=4)
    >>> ax.get_legend().get_texts()[0].get_text()
    'network\nbias 0.5 ± 1.7, RMS 2.96 ± 0.79 GeV'
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    shown = "" if relative else unit
    drawn = []
    for name, sample in named_samples("target, prediction", curves).items():
        target, prediction, weights = event_columns(
            sample[2] if len(sample) == 3 else None, target=sample[0], prediction=sample[1]
        )
        values = residuals(target, prediction, relative)
        bias, rms = resolution(np.zeros_like(values), values, weights)
        numbers = Formatter.fix_minus(f"bias {bias}, RMS {rms} {shown}".rstrip())
        drawn.append((f"{name}\n{numbers}", values, weights))
    everything = np.concatenate([values for _, values, _ in drawn])
    low, high = np.quantile(everything, 0.005, method="lower"), np.quantile(everything, 0.995, method="higher")
    edges = np.histogram_bin_edges(everything, bins, range=(low, high))
    ax = settings.axes() if ax is None else ax
    for i, (label, values, weights) in enumerate(drawn):
        _draw_distribution(ax, values, weights, edges, i, label, settings)
    ax.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    difference = f"Predicted − true {quantity}"  # noqa: RUF001
    label = f"({difference}) / true {quantity}" if relative else difference + _in(unit)
    label_axes(ax, label, f"Probability density{_in('1/' + unit if shown else '')}", settings)
    legend_above(ax, settings)
    return ax


def _draw_distribution(
    ax: Axes,
    values: Float[np.ndarray, " events"],
    weights: Float[np.ndarray, " events"],
    edges: Float[np.ndarray, " edges"],
    number: int,
    label: str,
    settings: PlotSettings,
) -> None:
    """Draw residuals as steps with error bars, with unit area including the residuals outside of the edges."""
    scale = weights.sum() * np.diff(edges)
    counts = np.histogram(values, edges, weights=weights)[0]
    error = np.sqrt(np.histogram(values, edges, weights=weights**2)[0]) / scale
    beyond = 1.0 - counts.sum() / weights.sum()
    if beyond > 5e-5:
        label = label.replace("\n", f" ({beyond:.1%} outside)\n", 1)
    draw_steps(ax, counts / scale, error, edges, number, label, settings)


def plot_resolution(
    curves: Mapping[str, tuple[ArrayLike, ...]],
    ax: Axes | None = None,
    *,
    quantity: str = "target",
    unit: str = "",
    relative: bool = False,
    bins: int | ArrayLike = 10,
    settings: PlotSettings | None = None,
) -> Axes:
    """Plot resolution (filled markers) and bias (open ones) in bins of the true value.

    Parameters
    ----------
    curves
        ``(target, prediction)`` or ``(target, prediction, weights)`` by the name of the model.
    ax
        Axes to draw on; new ones if None.
    quantity, unit
        The predicted quantity, such as ``"mass"``, and its unit, such as ``"GeV"``, for the labels.
    relative
        Whether residuals are divided by the target, which must then be positive.
    bins
        Number of bins of equal width over all targets, or their edges.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If there is no model, or `lumigraph.metrics.binned_resolution` refuses an input.

    Notes
    -----
    **Limits.** Bins with fewer than two events are left out.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_resolution({"network": ([10.0, 10.0, 20.0, 20.0], [9.0, 11.0, 22.0, 24.0])}, unit="GeV", bins=2)
    >>> [text.get_text() for text in ax.get_legend().get_texts()], ax.get_xlabel()
    (['network: resolution (RMS)', 'network: bias'], 'True target [GeV]')
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    pairs = named_samples("target, prediction", curves)
    bins = _shared_edges(pairs, bins)
    found = {name: binned_resolution(*pair, bins=bins, relative=relative) for name, pair in pairs.items()}
    ax = settings.axes() if ax is None else ax
    ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    for i, (name, points) in enumerate(found.items()):
        centres, reach = (points.edges[1:] + points.edges[:-1]) / 2.0, np.diff(points.edges) / 2.0
        known = ~np.isnan(points.rms)
        style: dict[str, Any] = {"color": settings.color(i), "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
        style |= {"linestyle": "none", "elinewidth": 1.2}
        for what, value, error, face in (
            ("resolution (RMS)", points.rms, points.rms_uncertainty, settings.color(i)),
            ("bias", points.bias, points.bias_uncertainty, "white"),
        ):
            ax.errorbar(
                centres[known], value[known], error[known], reach[known], label=f"{name}: {what}",
                markerfacecolor=face, **style,
            )  # fmt: skip
    ax.set_xlim(bins[0], bins[-1])
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    over = f" / true {quantity}" if relative else _in(unit)
    label_axes(ax, f"True {quantity}{_in(unit)}", f"Bias and resolution{over}", settings)
    legend_above(ax, settings)
    return ax


def _shared_edges(pairs: Mapping[str, tuple[ArrayLike, ...]], bins: int | ArrayLike) -> Float[np.ndarray, " edges"]:
    """Return common edges of the bins of all models."""
    targets = np.concatenate([event_columns(None, target=pair[0])[0] for pair in pairs.values()])
    return np.histogram_bin_edges(targets.astype(np.float64), bins)


def _in(unit: str) -> str:
    return f" [{unit}]" if unit else ""
