"""Losses of a training, and ROC curves and distributions of scores of classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ..metrics import RocBand, auc, check_total, event_columns, roc_band
from .named_samples import named_samples
from .style import LINE_STYLES, PlotSettings, draw_steps, label_axes, legend_above

__all__ = ["plot_history", "plot_roc", "plot_scores"]

_NAMES = {"train_loss": "training", "val_loss": "validation"}


def plot_history(
    history: Any,
    ax: Axes | None = None,
    *,
    columns: Sequence[str] = ("train_loss", "val_loss"),
    learning_rate: bool = True,
    settings: PlotSettings | None = None,
) -> Axes:
    """Plot the losses of a training by epoch and mark the best epoch.

    Parameters
    ----------
    history
        Mapping or DataFrame of columns of equal length: ``epoch``, the losses, and optionally ``learning_rate``. Other
        columns are ignored. NaN (an epoch without validation) is skipped.
    ax
        Axes to draw on; new ones if None.
    columns
        The losses to draw, if they exist. The epoch with the lowest ``val_loss`` is marked; without ``val_loss`` the
        one with the lowest value of the first column.
    learning_rate
        Whether to draw the column ``learning_rate``, on a separate logarithmic axis on the right.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If ``epoch`` or all of the columns are missing, a column has no finite value, or lengths differ.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_history({"epoch": [0, 1, 2], "train_loss": [0.7, 0.5, 0.4], "val_loss": [0.7, 0.6, 0.65]})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['training', 'validation', 'best epoch: 1 (0.6)']
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    curves = _finite_curves(history, [name for name in columns if name in history.keys()])  # noqa: SIM118
    if not curves:
        raise ValueError(f"history must have at least one of the columns {list(columns)}, got {list(history.keys())}")
    has_rate = learning_rate and "learning_rate" in history.keys()  # noqa: SIM118
    rate = _finite_curves(history, ["learning_rate"])["learning_rate"] if has_rate else None
    ax = settings.axes() if ax is None else ax
    for i, (name, (epochs, values)) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": settings.color(i), "linestyle": LINE_STYLES[i % len(LINE_STYLES)]}
        marker = "." if len(epochs) == 1 else ""  # a line of one point is invisible
        ax.plot(epochs, values, label=_NAMES.get(name, name), linewidth=1.8, marker=marker, **style)
    best = _mark_best(ax, *curves.get("val_loss", next(iter(curves.values()))))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len({epoch for epochs, _ in curves.values() for epoch in epochs}) == 1:
        ax.set_xlim(best - 1, best + 1)  # with a single epoch the ticks would be fractions
    label_axes(ax, "Epoch", "Loss", settings)
    handles = list(ax.get_legend_handles_labels()[0])
    if rate is not None:
        right = ax.twinx()
        handles += right.plot(*rate, color="0.45", linestyle=":", linewidth=1.4, label="learning rate")
        right.set_yscale("log")
        label_axes(right, None, "Learning rate", settings)
    legend_above(ax, settings, ncols=2, handles=handles)
    return ax


def _finite_curves(history: Any, names: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the epochs and values of each column, where both are finite."""
    if "epoch" not in history.keys():  # noqa: SIM118
        raise ValueError(f"history must have a column 'epoch', got {list(history.keys())}")
    epochs = np.asarray(history["epoch"], dtype=np.float64)
    curves = {}
    for name in names:
        values = np.asarray(history[name], dtype=np.float64)
        if values.shape != epochs.shape:
            raise ValueError(
                f"history column {name!r} must have the shape {epochs.shape} of 'epoch', got {values.shape}"
            )
        finite = np.isfinite(epochs) & np.isfinite(values)
        if not finite.any():
            raise ValueError(f"history column {name!r} must have a finite value in at least one epoch, got none")
        curves[name] = epochs[finite], values[finite]
    return curves


def _mark_best(ax: Axes, epochs: np.ndarray, values: np.ndarray) -> float:
    """Mark the epoch with the lowest value, and return it."""
    best = int(values.argmin())
    ax.axvline(epochs[best], color="0.6", linewidth=0.8, zorder=0)
    label = f"best epoch: {epochs[best]:g} ({values[best]:.4g})"
    ring: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": "black", "markersize": 7}
    ax.plot(epochs[best], values[best], marker="o", linestyle="none", label=label, zorder=4, **ring)
    return float(epochs[best])


def plot_roc(
    curves: Mapping[str, tuple[ArrayLike, ...]],
    ax: Axes | None = None,
    *,
    band: bool = True,
    against: Literal["rejection", "efficiency"] = "rejection",
    signal_efficiency: ArrayLike | None = None,
    n_bootstrap: int = 200,
    settings: PlotSettings | None = None,
) -> Axes:
    r"""Plot background rejection, or efficiency, against signal efficiency, with the AUC of each classifier.

    Parameters
    ----------
    curves
        ``(labels, scores)`` or ``(labels, scores, weights)`` by the name of the classifier.
    ax
        Axes to draw on; new ones if None.
    band
        Whether to draw the 68 % bootstrap band of each curve.
    against
        ``"rejection"``: :math:`1/\varepsilon_B` on a logarithmic axis; ``"efficiency"``: :math:`\varepsilon_B`.
    signal_efficiency
        Signal efficiencies at which the curves are evaluated; 0.01, 0.02, ..., 1 if None.
    n_bootstrap
        Number of replicas for the band.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If there is no curve, ``against`` is not one of the two, or `lumigraph.metrics` refuses labels, scores or
        weights.

    Notes
    -----
    **Limits.** The rejection is not drawn where no background is left.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_roc({"cut": ([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9])})
    >>> ax.get_legend().get_texts()[0].get_text()
    'cut: AUC = 0.89 ± 0.16'
    >>> plt.close(ax.figure)
    """
    if against not in ("rejection", "efficiency"):
        raise ValueError(f"against must be 'rejection' or 'efficiency', got {against!r}")
    settings = settings or PlotSettings()
    drawn = []
    for name, sample in named_samples("labels, scores", curves).items():
        points = roc_band(*sample, signal_efficiency=signal_efficiency, n_bootstrap=n_bootstrap if band else 1)
        drawn.append((f"{name}: AUC = {auc(*sample)}", _rejection(points) if against == "rejection" else points))
    ax = settings.axes() if ax is None else ax
    for i, (label, points) in enumerate(drawn):
        style: dict[str, Any] = {"color": settings.color(i), "linestyle": LINE_STYLES[i % len(LINE_STYLES)]}
        ax.plot(points.signal_efficiency, points.central, linewidth=1.8, label=label, **style)
        if band:
            # an infinite band reaches beyond the axes
            edges = (
                np.minimum(points.lower, 1e12),
                np.minimum(points.upper, 1e12),
            )
            ax.fill_between(points.signal_efficiency, *edges, color=settings.color(i), alpha=0.25, linewidth=0)
    highest = max(np.nanmax(points.central, initial=1.0) for _, points in drawn)
    _finish_roc(ax, against, highest, settings)
    return ax


def _rejection(band: RocBand) -> RocBand:
    """Return the inverse efficiencies of a band, NaN where no background is left."""

    def inverse(efficiency: Float[np.ndarray, " grid"], empty: float) -> Float[np.ndarray, " grid"]:
        return np.divide(1.0, efficiency, out=np.full_like(efficiency, empty), where=efficiency > 0)

    return RocBand(
        band.signal_efficiency,
        lower=inverse(band.upper, np.nan),
        central=inverse(band.central, np.nan),
        upper=inverse(band.lower, np.inf),
    )


def _finish_roc(ax: Axes, against: str, highest: float, settings: PlotSettings) -> None:
    guess = np.linspace(0.01, 1.0, 100)
    ax.plot(
        guess,
        1 / guess if against == "rejection" else guess,
        color="0.5",
        linewidth=1.0,
        linestyle=":",
        label="guessing",
    )
    ax.set_xlim(0.0, 1.0)
    if against == "rejection":
        ax.set_yscale("log")
        ax.set_ylim(1.0, max(10.0, 2.0 * highest))
        label = r"Background rejection $1/\varepsilon_B$"
    else:
        ax.set_ylim(0.0, 1.0)
        label = r"Background efficiency $\varepsilon_B$"
    label_axes(ax, r"Signal efficiency $\varepsilon_S$", label, settings)
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    legend_above(ax, settings)


def plot_scores(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    class_names: Sequence[str] = ("background", "signal"),
    ax: Axes | None = None,
    bins: int | ArrayLike = 40,
    *,
    settings: PlotSettings | None = None,
) -> Axes:
    """Plot the distribution of the scores of each class, each with unit area and statistical errors.

    Parameters
    ----------
    labels
        Classes of the events: integers from 0, in the order of ``class_names``.
    scores
        A finite score per event: that of the signal, or of one of several classes.
    weights
        Weights of the events.
    class_names
        Names of the classes; classes without events are left out.
    ax
        Axes to draw on; new ones if None.
    bins
        Number of bins, or the edges. Bins reach from 0 to 1 if all scores do, otherwise over all scores.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If lengths differ, a label has no name, a score is not finite or the weight of a class is not positive.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = plot_scores([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.9], bins=5)
    >>> ax.patches[0].get_data().values.round(3).tolist()
    [2.5, 2.5, 0.0, 0.0, 0.0]
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    classes, values, factors = event_columns(weights, labels=labels, scores=scores)
    bad = np.flatnonzero(~np.isin(classes, np.arange(len(class_names))))
    if bad.size:
        raise ValueError(
            f"labels must be numbers of class_names, from 0 to {len(class_names) - 1}, got {classes[bad[0]]} in event "
            f"{bad[0]}"
        )
    low, high = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else (values.min(), values.max())
    edges = np.histogram_bin_edges(values, bins, range=(low, high))
    for number, name in enumerate(class_names):
        if np.any(classes == number):
            check_total(factors[classes == number], whose=f"class {name!r}")
    ax = settings.axes() if ax is None else ax
    for number in np.unique(classes).astype(int).tolist():
        members = classes == number
        scale = factors[members].sum() * np.diff(edges)
        density = np.histogram(values[members], edges, weights=factors[members])[0] / scale
        error = np.sqrt(np.histogram(values[members], edges, weights=factors[members] ** 2)[0]) / scale
        if number == 0:
            ax.stairs(density, edges, fill=True, color=settings.color(number), alpha=0.25, label="_filling")
        draw_steps(ax, density, error, edges, number, class_names[number], settings)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    label_axes(ax, "Score", "Probability density", settings)
    legend_above(ax, settings, ncols=2)
    return ax
