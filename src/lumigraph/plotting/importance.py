"""What a model relies on: bars of permutation importance, and the contributions of the particles of an event."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch_geometric.data import Data

from ..events import kinematics
from ..events.batches import feature_names
from ..model.importance import ImportanceTable
from .events.event import largest_area, plot_event
from .style import PlotSettings, label_axes

__all__ = ["plot_attributions", "plot_importance"]


def plot_importance(
    table: ImportanceTable,
    ax: Axes | None = None,
    *,
    largest: int = 15,
    settings: PlotSettings | None = None,
) -> Axes:
    """Plot importances as bars with their uncertainties, the most important on top.

    Parameters
    ----------
    table
        Result of `lumigraph.model.importance.permutation_importance` or ``Model.get_feat_importance``.
    ax
        Axes to draw on; new ones if None, whose height follows the number of bars.
    largest
        Most bars to draw; the title gives the number of entries that are left out.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If the table is empty, or ``largest`` is below 1.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from lumigraph.metrics import Estimate
    >>> table = ImportanceTable({"MET": Estimate(0.05, 0.02), "Jet": Estimate(0.2, 0.01)}, metric="auc", before=0.83)
    >>> ax = plot_importance(table)
    >>> [text.get_text() for text in ax.get_yticklabels()], ax.get_xlabel()
    (['Jet', 'MET'], 'Fall of AUC (0.83 before)')
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    if not table or largest < 1:
        raise ValueError(f"table must have entries and largest be at least 1, got {len(table)} entries and {largest}")
    shown = list(table.items())[:largest]
    if ax is None:
        ax = settings.axes()
        height = 0.024 * settings.small_font_size * (len(shown) + 3)
        ax.figure.set_figheight(max(settings.width / settings.aspect, height))  # type: ignore[union-attr]
    values, errors = np.array([(estimate.value, estimate.uncertainty) for _, estimate in shown]).T
    places = np.arange(len(shown))
    ax.barh(places, values, height=0.7, color=settings.color(0), alpha=0.75)
    ax.errorbar(values, places, xerr=errors, fmt="none", ecolor="black", elinewidth=1.2, capsize=2.5)
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.set_yticks(places, [name for name, _ in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    label = f"{table.label[0].upper()}{table.label[1:]}"
    label_axes(ax, f"{label} ({table.before:.3g} before)", "", settings)
    ax.tick_params(axis="y", length=0)
    if left := len(table) - len(shown):
        ax.set_title(f"{left} less important not shown", fontsize=settings.small_font_size, loc="right")
    return ax


def plot_attributions(
    batch: Data,
    attributions: ArrayLike | torch.Tensor,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    output: str = "output",
    ax: Axes | None = None,
    settings: PlotSettings | None = None,
) -> Axes:
    """Draw an event in the eta-phi plane, with a halo around each particle for its contribution to the output.

    The area of a halo is proportional to the attribution. Halos are filled where the output rises, and dashed rings
    where it falls. Particles look as in `plot_event`.

    Parameters
    ----------
    batch, event, feats_per_vec, kinds
        See `plot_event`.
    attributions
        A number for each particle of the event, as `lumigraph.model.importance.particle_attributions` returns.
    output
        The output, with its unit, for the legend, such as ``"log-odds"`` or ``"mass [GeV]"``.
    ax
        Axes to draw on; new ones if None.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If ``attributions`` is not a finite number for each particle, or `plot_event` refuses an input.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> data = Data(x=torch.tensor([[30.0, 0.0, 10.0], [-20.0, 5.0, 40.0]]))
    >>> ax = plot_attributions(data, [1.5, -0.5], feats_per_vec=["px", "py", "pz"], output="log-odds")
    >>> ax.get_legend().get_texts()[0].get_text()
    'log-odds + 0.4'
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    values = np.asarray(attributions.detach().cpu() if isinstance(attributions, torch.Tensor) else attributions)
    ptr = batch.ptr.tolist() if "ptr" in batch else [0, 0 if batch.x is None else len(batch.x)]
    # otherwise plot_event raises an error
    first, end = ptr[event : event + 2] if 0 <= event < len(ptr) - 1 else (0, len(values))
    if values.shape != (end - first,) or not np.isfinite(values).all():
        raise ValueError(
            f"attributions must be a finite number for each of the {end - first} particles of event {event}, got the "
            f"shape {values.shape} with {np.count_nonzero(~np.isfinite(values))} numbers that are not finite"
        )
    feats_per_vec = feature_names(batch, feats_per_vec)
    ax = plot_event(batch, event, feats_per_vec=feats_per_vec, kinds=kinds, edges=False, ax=ax, settings=settings)
    columns = dict(zip(feats_per_vec, batch.x[first:end].detach().double().cpu().unbind(1), strict=True))
    zero = torch.zeros(end - first, dtype=torch.float64)
    p4 = torch.stack([columns["px"], columns["py"], columns.get("pz", zero), zero], dim=-1)
    eta, phi = kinematics.eta(p4).clamp(*ax.get_xlim()).numpy(), kinematics.phi(p4).numpy()
    largest, halo = float(np.abs(values).max(initial=0.0)) or 1.0, _largest_halo(len(values))
    for rises in (True, False):
        members = (values > 0) == rises
        area = halo * np.abs(values[members]) / largest
        for turn, label in ((0.0, "_halo"), (2 * math.pi, "_above"), (-2 * math.pi, "_below")):  # phi is periodic
            ax.scatter(eta[members], phi[members] + turn, s=area, zorder=2, label=label, **_halo(rises, settings))
    ax.set_ylim(-math.pi, math.pi)
    if len(values):
        _halo_legend(ax, output, largest, halo, settings)
    return ax


def _largest_halo(num_particles: int) -> float:
    """Return the area in square points of the largest halo: seven times that of the largest marker."""
    return 7.0 * largest_area(num_particles)


def _halo(rises: bool, settings: PlotSettings) -> dict[str, Any]:
    """Return the style of a halo: filled, or a dashed ring, so that it can be read in grey."""
    if rises:
        return {"facecolor": to_rgba(settings.color(3), 0.45), "edgecolor": settings.color(3), "linewidth": 1.0}
    return {"facecolor": "none", "edgecolor": "black", "linewidth": 1.2, "linestyle": (0, (3, 2))}


def _halo_legend(ax: Axes, output: str, largest: float, halo: float, settings: PlotSettings) -> None:
    """Put the value of a halo of about a quarter of the largest area below the axes, beside the legend of the event."""
    legend = ax.get_legend()
    step = float(f"{largest / 4:.1g}")
    handles = []
    for rises, sign in ((True, "+"), (False, "\N{MINUS SIGN}")):
        look = _halo(rises, settings)
        handles.append(ax.scatter([], [], s=halo * step / largest, label=f"{output} {sign} {step:g}", **look))
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.22), "borderaxespad": 0.0}
    ax.legend(handles=handles, ncols=2, fontsize=settings.small_font_size, frameon=False, **place)
    if legend is not None:
        ax.add_artist(legend)
        legend.set_clip_on(False)  # otherwise a saved picture lacks it, as it is outside the axes
