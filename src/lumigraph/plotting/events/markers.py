"""Markers of the particles in the picture of an event, and their legend."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from ..style import PlotSettings

__all__ = [
    "SMALLEST_AREA",
    "ParticleGroup",
    "area_entry",
    "draw_group",
    "draw_legend",
    "marker_look",
    "particle_groups",
]

#: Marker of each kind, and the number of its colour; missing transverse momentum is a star.
_LOOKS = (("^", 4), ("s", 2), ("o", 0), ("D", 3), ("v", 5), ("P", 4), ("X", 2), ("h", 0))

#: Area of the smallest visible marker, in square points.
SMALLEST_AREA = 8.0


class ParticleGroup(NamedTuple):
    """Particles of one kind, tagged or not, which look the same."""

    label: str
    members: Bool[np.ndarray, " particles"]
    marker: str
    color: str
    tagged: bool


def particle_groups(
    columns: Mapping[str, Float[np.ndarray, " particles"]], kinds: Mapping[int, str], settings: PlotSettings
) -> list[ParticleGroup]:
    """Return the particles by kind and b-tag, in the order of ``kinds``, followed by codes without a name."""
    if "kind" in columns:
        names = np.array([kinds.get(code, f"kind {code:g}") for code in columns["kind"].tolist()], dtype=object)
    else:
        names = np.full(len(columns["px"]), "particle", dtype=object)
    looks = dict(zip([name for name in kinds.values() if name.upper() != "MET"], itertools.cycle(_LOOKS), strict=False))
    tagged = columns["btag"] > 0.5 if "btag" in columns else np.zeros(len(names), dtype=bool)
    groups = []
    for name in dict.fromkeys([*kinds.values(), *sorted(names)]):
        marker, number = looks.get(name, ("o", 0) if name == "particle" else ("h", 5))
        marker, color = ("*", "0.25") if name.upper() == "MET" else (marker, settings.color(number))
        for tag in (False, True):
            label, shown = (f"{name}, b-tagged", settings.color(1)) if tag else (name, color)
            members = (names == name) & (tagged == tag)
            if members.any():
                groups.append(ParticleGroup(label, members, marker, shown, tag))
    return groups


def draw_group(
    ax: Axes,
    group: ParticleGroup,
    eta: Float[np.ndarray, " members"],
    phi: Float[np.ndarray, " members"],
    area: Float[np.ndarray, " members"],
    rim: float,
) -> None:
    """Draw the particles of a group with markers of this area, and a rim of this width if they are tagged."""
    if group.marker == "*":  # missing transverse momentum has an azimuth only
        for angle in phi:
            ax.axhline(angle, color=group.color, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1.5)
    ax.scatter(eta, phi, label=group.label, zorder=3, clip_on=False, **marker_look(group, area, rim))


def marker_look(group: ParticleGroup, area: Any, rim: Any = 1.6) -> dict[str, Any]:
    """Return size, shape and colours of the markers of a group, as ``scatter`` takes them."""
    return {
        "s": area / _fill(group.marker),
        "marker": group.marker,
        "facecolor": group.color,
        "edgecolor": "black" if group.tagged else "white",
        "linewidth": rim if group.tagged else 0.5,
    }


def draw_legend(
    ax: Axes,
    groups: list[ParticleGroup],
    largest_pt: float,
    largest_area: float,
    settings: PlotSettings,
    further: Sequence[Artist] = (),
) -> None:
    """Put the kinds, the scale of the transverse momentum and further entries to the right of the axes.

    The scale is left out if the largest transverse momentum is 0.
    """
    size = settings.small_font_size
    if not groups:
        middle: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
        ax.annotate("no particles in this event", (0.5, 0.5), fontsize=size, color="0.4", **middle)
        return
    handles: list[Artist] = []
    for group in groups:
        rim = ("black", 1.6) if group.tagged else ("white", 0.5)
        handles.append(_handle(group.label, 60.0, group.marker, group.color, *rim))
    if largest_pt > 0:
        handles.append(Line2D([], [], linestyle="none", label=r"$p_\mathrm{T}$ [GeV]"))
    for value in _round_scale(largest_pt):
        area = largest_area * value / largest_pt
        if area >= SMALLEST_AREA:
            handles.append(area_entry(f"{value:g}", area))
    handles += further
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}
    ax.legend(handles=handles, fontsize=size, frameon=False, handletextpad=0.4, labelspacing=0.7, **place)


def area_entry(label: str, area: float) -> Artist:
    """Return an entry of a legend with a marker of this area."""
    return _handle(label, area, "o", "0.75", "0.4", 0.5)


def _handle(label: str, area: float, marker: str, face: str, edge: str, rim: float) -> Artist:
    style: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": rim}
    return Line2D(
        [], [], linestyle="none", marker=marker, markersize=math.sqrt(area / _fill(marker)), label=label, **style
    )


def _round_scale(largest: float) -> list[float]:
    """Return three round numbers in rising order, none above the largest value.

    Examples
    --------
    >>> _round_scale(130.0)
    [5.0, 20.0, 100.0]
    """
    if largest <= 0:
        return []
    exponent = math.floor(math.log10(largest))
    steps = [base * 10.0**power for power in (exponent - 2, exponent - 1, exponent) for base in (1.0, 2.0, 5.0)]
    below = [step for step in steps if step <= largest * (1 + 1e-9)]
    return [float(f"{below[k]:.3g}") for k in (-5, -3, -1)]


def _fill(marker: str) -> float:
    """Return the area of a marker over that of its bounding square, so that all markers can have the same area."""
    style = MarkerStyle(marker)
    (outline,) = style.get_path().transformed(style.get_transform()).to_polygons()
    x, y = np.asarray(outline).T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2.0
