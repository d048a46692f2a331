"""One event as a graph, drawn in the eta-phi plane."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch_geometric.data import Data

from ..style import PlotSettings, label_axes
from .edges import MOST_JOINED, line_look, line_paths, line_strengths, short_way, unordered_pairs
from .event_columns import Coordinates, coordinates, event_columns, named_kinds
from .markers import SMALLEST_AREA, ParticleGroup, draw_group, draw_legend, particle_groups

__all__ = ["draw_particles", "event_title", "largest_area", "marker_areas", "plot_event"]

_ETA, _PHI = r"Pseudorapidity $\eta$", r"Azimuth $\phi$ [rad]"


def plot_event(
    batch: Data,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    ax: Axes | None = None,
    edges: bool = True,
    edge_weights: ArrayLike | None = None,
    settings: PlotSettings | None = None,
) -> Axes:
    r"""Draw the particles of an event in the eta-phi plane, with the edges between them.

    The area of a marker is proportional to the transverse momentum. Shape and colour show the kind of particle;
    b-tagged particles have another colour and a thick rim. A line across :math:`\phi = \pm\pi` goes the short way
    round: it leaves at one border and continues at the other. Missing transverse momentum has no pseudorapidity: a
    dashed line shows its azimuth, and its marker is at :math:`\eta = 0`.

    Parameters
    ----------
    batch
        A Batch, or the Data of one event.
    event
        Number of the event in the batch.
    feats_per_vec
        Names of the columns of ``x``; not needed for a Batch that knows its names. Among them are ``px`` and ``py`` in
        GeV; ``pz``, ``kind`` and ``btag`` (tagged above 0.5) are used if they exist, and others ignored.
    kinds
        Name of each code in the column ``kind``; by default 0 is MET, 1 electron, 2 muon and 3 jet. Without this column
        the flags ``is_MET``, ``is_Jet``, ... give the kind; without flags every particle is a ``"particle"``.
    ax
        Axes to draw on; new ones if None.
    edges
        Whether to draw the n(n-1)/2 lines between the particles. Events of more than 200 particles have no lines.
    edge_weights
        Strength of each of the n(n-1) ordered edges, by receiver, then sender, as in ``CompleteGraph``. The mean of
        both directions sets the width and darkness of a line.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If the event does not exist, names are missing, do not fit ``x`` or contradict those of the batch, a number is
        not finite, or ``edge_weights`` has another length or negative numbers.

    Notes
    -----
    **Units.** GeV. **Limits.** A particle along the beam has infinite pseudorapidity and is drawn on the border.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import torch
    >>> data = Data(x=torch.tensor([[30.0, 0.0, 10.0], [-20.0, 5.0, 40.0], [-20.0, -5.0, 0.0]]))
    >>> ax = plot_event(data, feats_per_vec=["px", "py", "pz"])
    >>> len(ax.collections[0].get_paths())
    3
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    columns = event_columns(batch, event, feats_per_vec)
    kinds = named_kinds(columns, kinds)
    place = coordinates(columns)
    strengths = None if edge_weights is None else line_strengths(edge_weights, len(place.pt))
    ax = settings.axes() if ax is None else ax
    if edges and len(place.pt) <= MOST_JOINED:
        points, (i, j) = np.stack([place.eta, place.phi], axis=-1), unordered_pairs(len(place.pt))
        look = line_look(strengths, len(place.pt))
        paths = line_paths(points[i], short_way(points[i], points[j]))
        ax.add_collection(LineCollection(paths, colors="0.35", zorder=1, label="_edges", **look), autolim=False)
    draw_particles(ax, place, particle_groups(columns, kinds, settings), event_title(event, len(place.pt)), settings)
    return ax


def event_title(event: int, num_particles: int) -> str:
    """Return the title of the picture of an event."""
    return f"Event {event}: {num_particles} particle{'' if num_particles == 1 else 's'}"


def largest_area(num_particles: int) -> float:
    """Return the area in square points of the largest marker of an event."""
    return float(np.clip(760.0 / math.sqrt(max(num_particles, 1)), 60.0, 220.0))


def marker_areas(pt: Float[np.ndarray, " particles"]) -> tuple[Float[np.ndarray, " particles"], float]:
    """Return the areas of markers in square points, proportional to pT, and the largest area."""
    largest = largest_area(len(pt))
    return np.maximum(largest * pt / (pt.max(initial=0.0) or 1.0), SMALLEST_AREA), largest


def draw_particles(
    ax: Axes,
    place: Coordinates,
    groups: list[ParticleGroup],
    title: str,
    settings: PlotSettings,
    further: Sequence[Artist] = (),
) -> None:
    """Draw the particles of an event in the eta-phi plane, with axes, title and legend.

    ``further`` are entries of the legend after those of the particles.
    """
    pt, eta, phi, limit = place
    area, largest = marker_areas(pt)
    for group in groups:
        draw_group(ax, group, eta[group.members], phi[group.members], area[group.members], 0.11 * math.sqrt(largest))
    _finish(ax, limit, title, settings)
    draw_legend(ax, groups, pt.max(initial=0.0), largest, settings, further)


def _finish(ax: Axes, limit: float, title: str, settings: PlotSettings) -> None:
    """Set limits, ticks, labels and the title."""
    ax.set_xlim(-limit, limit)
    ax.set_ylim(-math.pi, math.pi)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_yticks(
        [-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi], [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"]
    )
    label_axes(ax, _ETA, _PHI, settings)
    ax.set_title(title, fontsize=settings.font_size, loc="left", pad=9)
