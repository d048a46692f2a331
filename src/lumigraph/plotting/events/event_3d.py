"""One event as a graph in three dimensions, on a barrel around the beam."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from numpy.typing import ArrayLike
from torch_geometric.data import Data

from ..style import PlotSettings
from .edges import MOST_JOINED, line_look, line_strengths, unordered_pairs
from .event import event_title, marker_areas
from .event_columns import coordinates, event_columns, named_kinds
from .markers import draw_legend, marker_look, particle_groups

__all__ = ["plot_event_3d"]

_ANGLES = {0.0: "$0$", math.pi / 2: r"$\pi/2$", math.pi: r"$\pm\pi$", -math.pi / 2: r"$-\pi/2$"}


def plot_event_3d(
    batch: Data,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    edges: bool = True,
    edge_weights: ArrayLike | None = None,
    ax: Axes | None = None,
    settings: PlotSettings | None = None,
) -> Axes3D:
    r"""Draw the particles of an event on a barrel around the beam, with the edges between them.

    The eta-phi plane of `plot_event`, rolled up: it has no border at :math:`\phi = \pm\pi`. Markers look the same,
    and a line joins each particle to the collision; that of missing transverse momentum is dashed.

    Parameters
    ----------
    batch, event, feats_per_vec, kinds, edges, edge_weights, settings
        See `plot_event`.
    ax
        Axes to draw on, made with ``projection="3d"``; new ones if None.

    Raises
    ------
    TypeError
        If ``ax`` has two dimensions.
    ValueError
        As in `plot_event`.

    Notes
    -----
    **Units.** GeV. **Limits.** A particle along the beam has infinite pseudorapidity and lies on the rim of the barrel.

    Examples
    --------
    >>> import torch
    >>> data = Data(x=torch.tensor([[30.0, 0.0, 10.0], [-20.0, 5.0, 40.0], [-20.0, -5.0, 0.0]]))
    >>> ax = plot_event_3d(data, feats_per_vec=["px", "py", "pz"])
    >>> ax.get_title(loc="left")
    'Event 0: 3 particles'
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    columns = event_columns(batch, event, feats_per_vec)
    groups = particle_groups(columns, named_kinds(columns, kinds), settings)
    pt, eta, phi, limit = coordinates(columns)
    strengths = None if edge_weights is None else line_strengths(edge_weights, len(pt))
    solid = _axes(ax, settings)
    _draw_barrel(solid, limit, settings)
    points = _on_barrel(eta, phi)
    if edges and 1 < len(pt) <= MOST_JOINED:
        i, j = unordered_pairs(len(pt))
        lines, look = np.stack([points[i], points[j]], axis=1), line_look(strengths, len(pt))
        solid.add_collection3d(Line3DCollection(lines, colors="0.5", zorder=2, label="_edges", **look))
    area, largest = marker_areas(pt)
    for group in groups:
        tips = points[group.members]
        tracks, dashed = np.stack([np.zeros_like(tips), tips], axis=1), group.marker == "*"
        style: dict[str, Any] = {"colors": group.color, "linewidths": 1.3, "linestyles": "--" if dashed else "-"}
        solid.add_collection3d(Line3DCollection(tracks, zorder=3, label="_tracks", **style))
        look = marker_look(group, area[group.members], 0.11 * math.sqrt(largest))
        solid.scatter(*tips.T, label=group.label, depthshade=False, zorder=4, **look)
    solid.set_title(event_title(event, len(pt)), fontsize=settings.font_size, loc="left", pad=9)
    draw_legend(solid, groups, pt.max(initial=0.0), largest, settings)
    return solid


def _axes(ax: Axes | None, settings: PlotSettings) -> Axes3D:
    if ax is None:
        figure = plt.figure(figsize=(settings.width, settings.width / settings.aspect))
        return cast(Axes3D, figure.add_subplot(projection="3d"))
    if not isinstance(ax, Axes3D):
        raise TypeError('ax must have three dimensions, got two: make it with projection="3d"')
    return ax


def _on_barrel(eta: Float[np.ndarray, " points"], phi: Float[np.ndarray, " points"]) -> Float[np.ndarray, "points 3"]:
    return np.stack([eta, np.cos(phi), np.sin(phi)], axis=-1)


def _draw_barrel(ax: Axes3D, limit: float, settings: PlotSettings) -> None:
    """Draw the barrel with its rims, and label eta along it and phi around it."""
    circle = np.linspace(-math.pi, math.pi, 73)
    rings = [_on_barrel(np.full(73, eta), circle) for eta in (-limit, 0.0, limit)]
    straight = [_on_barrel(np.array([-limit, limit]), np.full(2, angle)) for angle in _ANGLES]
    ax.add_collection3d(Line3DCollection(rings + straight, colors="0.8", linewidths=0.8, zorder=1, label="_barrel"))
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": settings.small_font_size, "color": "0.3"}
    for angle, text in _ANGLES.items():
        # so that the label is visible outside the barrel
        rim, away = (-limit, 1.35) if angle == math.pi else (limit, 1.25)
        ax.text(rim, away * math.cos(angle), away * math.sin(angle), text, **middle)
    ax.text(limit, 0.0, 1.6, r"$\phi$ [rad]", **middle)
    ax.set(xlim=(-limit, limit), ylim=(-1, 1), zlim=(-1, 1), yticks=[], zticks=[])
    ax.set_box_aspect((1.5, 1.0, 1.0), zoom=0.93)
    ax.view_init(elev=20, azim=-55)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_xlabel(r"Pseudorapidity $\eta$", fontsize=settings.font_size)
    ax.tick_params(labelsize=settings.small_font_size, pad=0)
    ax.grid(False)
    ax.computed_zorder = False  # markers are drawn over lines, also over nearer ones
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set_visible(False)
    for axis in (ax.yaxis, ax.zaxis):
        axis.line.set_visible(False)
