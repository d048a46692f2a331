"""One event as a graph: drawn in the eta-phi plane, or handed to networkx."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch_geometric.data import Data

from .. import kinematics
from .markers import SMALLEST_AREA, draw_group, draw_legend, particle_groups
from .style import PlotSettings, label_axes

__all__ = ["plot_event", "to_networkx"]

_KINDS = {0: "MET", 1: "electron", 2: "muon", 3: "jet"}
_ETA, _PHI = r"Pseudorapidity $\eta$", r"Azimuth $\phi$ [rad]"


def plot_event(
    batch: Data,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str],
    kinds: Mapping[int, str] | None = None,
    ax: Axes | None = None,
    edges: bool = True,
    edge_weights: ArrayLike | None = None,
    settings: PlotSettings | None = None,
) -> Axes:
    r"""Draw the particles of an event in the eta-phi plane, with the edges between them.

    The area of a marker is proportional to the transverse momentum, its shape and colour are those of the particle's
    kind, and b-tagged particles have a colour and a thick rim of their own. A line across :math:`\phi = \pm\pi` goes
    the short way round, out at one border and in at the other. Missing transverse momentum has no pseudorapidity: a
    dashed line shows its azimuth, and its marker lies at :math:`\eta = 0`.

    Parameters
    ----------
    batch
        A Batch, or the Data of one event.
    event
        Number of the event in the batch.
    feats_per_vec
        Names of the columns of ``x``, among them ``px`` and ``py`` in GeV; ``pz``, ``kind`` and ``btag`` (tagged
        above 0.5) are used where they are, others are left alone.
    kinds
        Name of each code in the column ``kind``; None: 0 MET, 1 electron, 2 muon, 3 jet. Without this column the
        columns ``is_MET``, ``is_Jet``, ... tell the kind; without any of them all are ``"particle"``.
    ax
        Axes to draw on; new ones if None.
    edges
        Whether the n(n-1)/2 lines between the particles are drawn.
    edge_weights
        Strength of each of the event's n(n-1) ordered edges, by receiver, then sender, as in ``CompleteGraph``; the
        mean of both directions sets a line's width and darkness.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    ValueError
        If the event does not exist, columns are missing or do not fit ``x``, a number is not finite, or
        ``edge_weights`` has another length or negative numbers.

    Notes
    -----
    **Units.** GeV. **Limits.** A particle along the beam has infinite pseudorapidity and lies on the border.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> data = Data(x=torch.tensor([[30.0, 0.0, 10.0], [-20.0, 5.0, 40.0], [-20.0, -5.0, 0.0]]))
    >>> ax = plot_event(data, feats_per_vec=["px", "py", "pz"])
    >>> len(ax.collections[0].get_paths())
    3
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    columns = _columns(batch, event, feats_per_vec)
    kinds = _KINDS if kinds is None else kinds
    flags = [name for name in feats_per_vec if name.startswith("is_")]
    if flags and "kind" not in columns:
        columns["kind"] = np.argmax([columns[name] for name in flags], axis=0)
        kinds = {code: name.removeprefix("is_") for code, name in enumerate(flags)}
    pt, eta, phi, limit = _coordinates(columns)
    strengths = _line_strengths(edge_weights, len(pt))
    ax = settings.axes() if ax is None else ax
    if edges:
        _draw_edges(ax, _edge_paths(eta, phi), strengths, len(pt))
    groups = particle_groups(columns, kinds, settings)
    largest = float(np.clip(760.0 / math.sqrt(max(len(pt), 1)), 60.0, 220.0))  # many particles: smaller markers
    area = np.maximum(largest * pt / (pt.max(initial=0.0) or 1.0), SMALLEST_AREA)
    for group in groups:
        draw_group(ax, group, eta[group.members], phi[group.members], area[group.members], 0.11 * math.sqrt(largest))
    _finish(ax, limit, f"Event {event}: {len(pt)} particle{'' if len(pt) == 1 else 's'}", settings)
    draw_legend(ax, groups, pt.max(initial=0.0), largest, settings)
    return ax


def to_networkx(batch: Data, event: int, feats_per_vec: Sequence[str]) -> nx.DiGraph:
    """Make a networkx graph of an event: its particles with their features, and an edge for every ordered pair.

    Parameters
    ----------
    batch, event, feats_per_vec
        As in `plot_event`, here with any names.

    Raises
    ------
    ValueError
        If the event does not exist or the names do not fit ``x``.

    Examples
    --------
    >>> graph = to_networkx(Data(x=torch.tensor([[30.0, 0.0], [20.0, 5.0]])), 0, ["px", "py"])
    >>> graph.nodes[1], list(graph.edges)
    ({'px': 20.0, 'py': 5.0}, [(0, 1), (1, 0)])
    """
    rows = _rows(batch, event, feats_per_vec)
    graph = nx.DiGraph()
    graph.add_nodes_from((i, dict(zip(feats_per_vec, row, strict=True))) for i, row in enumerate(rows.tolist()))
    graph.add_edges_from((j, i) for i in range(len(rows)) for j in range(len(rows)) if i != j)
    return graph


def _rows(batch: Data, event: int, feats_per_vec: Sequence[str]) -> Float[torch.Tensor, "particles features"]:
    """Features of the particles of one event, in float64 on the CPU."""
    if batch.x is None or batch.x.dim() != 2 or batch.x.shape[1] != len(feats_per_vec):
        found = None if batch.x is None else tuple(batch.x.shape)
        raise ValueError(
            f"batch.x has shape {found}, expected a column for each of the feats_per_vec {[*feats_per_vec]}."
        )
    ptr = batch.ptr.tolist() if "ptr" in batch else [0, len(batch.x)]
    if not 0 <= event < len(ptr) - 1:
        raise ValueError(
            f"event is {event}, expected a number from 0 to {len(ptr) - 2}, as the batch has {len(ptr) - 1}."
        )
    return batch.x[ptr[event] : ptr[event + 1]].detach().double().cpu()


def _columns(batch: Data, event: int, feats_per_vec: Sequence[str]) -> dict[str, Float[np.ndarray, " particles"]]:
    """Features of the particles of one event by name."""
    missing = [name for name in ("px", "py") if name not in feats_per_vec]
    if missing:
        raise ValueError(f"feats_per_vec is {[*feats_per_vec]}, expected {' and '.join(missing)} among its names.")
    columns = dict(zip(feats_per_vec, _rows(batch, event, feats_per_vec).T.numpy(), strict=True))
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} of event {event} is {values[~np.isfinite(values)][0]}, expected finite numbers.")
    return columns


def _coordinates(
    columns: Mapping[str, Float[np.ndarray, " particles"]],
) -> tuple[Float[np.ndarray, " particles"], Float[np.ndarray, " particles"], Float[np.ndarray, " particles"], float]:
    """Transverse momentum, pseudorapidity, azimuth, and the largest pseudorapidity that is shown."""
    zero = np.zeros_like(columns["px"])
    p4 = torch.from_numpy(np.stack([columns["px"], columns["py"], columns.get("pz", zero), zero], axis=-1))
    eta = kinematics.eta(p4).numpy()
    finite = np.isfinite(eta)
    limit = max(2.5, math.ceil(2.2 * np.abs(eta[finite]).max(initial=0.0)) / 2.0) + (0.0 if finite.all() else 0.5)
    return kinematics.pt(p4).numpy(), eta.clip(-limit, limit), kinematics.phi(p4).numpy(), limit


def _edge_paths(
    eta: Float[np.ndarray, " particles"], phi: Float[np.ndarray, " particles"]
) -> list[Float[np.ndarray, "_ 2"]]:
    """One path for each pair i < j; one that crosses phi = +-pi has a gap (NaN) from border to border."""
    i, j = np.triu_indices(len(eta), k=1)
    points = np.stack([eta, phi], axis=-1)
    paths = list(np.stack([points[i], points[j]], axis=1))
    for edge in np.flatnonzero(np.abs(phi[j] - phi[i]) > np.pi):
        start, end = paths[edge]
        border = math.copysign(math.pi, start[1])
        share = (border - start[1]) / (end[1] + 2.0 * border - start[1])  # of the way that lies before the border
        crossing = start[0] + share * (end[0] - start[0])
        paths[edge] = np.array([start, (crossing, border), (np.nan, np.nan), (crossing, -border), end])
    return paths


def _line_strengths(edge_weights: ArrayLike | None, num_particles: int) -> Float[np.ndarray, " lines"] | None:
    """Strength of each undirected line, 1 for the strongest."""
    if edge_weights is None:
        return None
    values = np.asarray(edge_weights.detach().cpu() if isinstance(edge_weights, torch.Tensor) else edge_weights)
    expected = num_particles * (num_particles - 1)
    if values.shape != (expected,):
        raise ValueError(f"edge_weights has shape {values.shape}, expected ({expected},): one number an ordered edge.")
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError("edge_weights has negative or undefined numbers, expected finite ones from 0 up.")
    directed = np.zeros((num_particles, num_particles))
    directed[~np.eye(num_particles, dtype=bool)] = values
    strengths = (directed + directed.T)[np.triu_indices(num_particles, k=1)] / 2.0
    return strengths / (strengths.max(initial=0.0) or 1.0)


def _draw_edges(
    ax: Axes,
    paths: list[Float[np.ndarray, "_ 2"]],
    strengths: Float[np.ndarray, " lines"] | None,
    num_particles: int,
) -> None:
    if strengths is None:  # many lines: each the lighter, so that the particles stay in sight
        width, alpha = np.array(0.7), np.clip(15.0 / max(num_particles, 1) ** 1.4, 0.01, 0.55)
    else:
        width, alpha = 0.2 + 2.3 * strengths, 0.9 * strengths * min(1.0, 30.0 / max(num_particles, 1))
    lines = LineCollection(paths, colors="0.35", linewidths=width.tolist(), alpha=alpha, zorder=1, label="_edges")
    ax.add_collection(lines, autolim=False)


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
