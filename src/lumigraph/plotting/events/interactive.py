"""Interactive figures of events: hover over particles, zoom, and step through the events of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_hex
from torch_geometric.data import Data

from ...data import Events
from ...events.batches import feature_names, names_of
from ...events.checks import check_counts
from ..style import PlotSettings
from .edges import line_paths, short_way, unordered_pairs
from .event import event_title, marker_areas
from .event_columns import Coordinates, coordinates, event_bounds, event_columns, named_kinds
from .markers import ParticleGroup, particle_groups

__all__ = ["events_to_show", "interactive_event"]

#: Plotly's names of matplotlib's markers, and their areas over that of the square of their size.
_SYMBOLS = {
    "^": ("triangle-up", 0.43), "s": ("square", 1.0), "o": ("circle", 0.785), "D": ("diamond", 0.845),
    "v": ("triangle-down", 0.43), "P": ("cross", 0.8), "X": ("x", 0.8), "h": ("hexagon", 0.65), "*": ("star", 0.55),
}  # fmt: skip

#: Most points of all events in a figure: those of lines, and six for each particle, whose text takes more space.
_MOST_POINTS = 60_000

#: Most lines of an event; more would be a grey area.
_MOST_LINES = 3000

_PIXELS = 4.0 / 3.0  # per point


class _Drawn(NamedTuple):
    """One event of the slider: its number, and the features, coordinates and groups of its particles."""

    number: int
    columns: dict[str, Float[np.ndarray, " particles"]]
    place: Coordinates
    groups: list[ParticleGroup]


def interactive_event(
    batch: Data | Events,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    edges: bool = True,
    max_events: int = 100,
    settings: PlotSettings | None = None,
) -> Any:
    """Make an interactive figure of an event in the eta-phi plane, with a slider over its neighbours in the batch.

    It looks like `plot_event`. Hovering over a particle shows its kind, pT, eta, phi and, if it has one, its b-tag. The
    mouse zooms, and a double click resets the view; a click in the legend hides a kind.

    Parameters
    ----------
    batch
        A Batch, the Data of one event, an `EventDataset`, or an `EventStream`, which is read into memory.
    event
        Number of the event that is shown first.
    feats_per_vec, kinds, edges
        See `plot_event`. A batch of four columns that knows no names has (px, py, pz, E) unless they are given.
    max_events
        Most events of the slider, those next to ``event``. There are fewer if they have very many particles and lines,
        so that a figure stays below two megabytes.
    settings
        Colours and fonts.

    Returns
    -------
    plotly.graph_objects.Figure
        ``figure.write_html("event.html", auto_play=False)`` makes a page of it.

    Raises
    ------
    ImportError
        If Plotly is not installed.
    ValueError
        If `plot_event` refuses an input.

    Notes
    -----
    **Units.** GeV. **Limits.** A particle along the beam has infinite pseudorapidity and is drawn on the border. An
    event with more than 3,000 lines (77 particles) is drawn without them.

    Examples
    --------
    >>> import torch
    >>> data = Data(x=torch.tensor([[30.0, 0.0, 40.0, 50.0], [-20.0, 5.0, 40.0, 60.0]]))
    >>> figure = interactive_event(data)
    >>> print(figure.data[-1].text[0].replace("<br>", ", "))
    <b>particle</b>, pT = 30.0 GeV, η = 1.10, φ = 0.00 rad
    """
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise ImportError("interactive_event needs Plotly: pip install 'lumigraph[interactive]'") from None
    settings = settings or PlotSettings()
    check_counts(max_events=max_events)
    shown, names, first = events_to_show(batch, event, feats_per_vec, max_events)
    drawn = _read(shown, event - first, names, kinds, max_events, edges, settings)
    drawn = [found._replace(number=found.number + first) for found in drawn]
    limit = max(found.place.limit for found in drawn)
    looks = _looks(drawn)
    frames = {found.number: _traces(found, looks, limit, edges, settings) for found in drawn}
    titles = {found.number: event_title(found.number, len(found.place.pt)) for found in drawn}
    layout = _layout(limit, settings)
    layout["title"]["text"] = titles[event]
    content: dict[str, Any] = {"data": frames[event], "layout": layout}
    if len(drawn) > 1:
        layout["sliders"] = [_slider(list(frames), event, settings)]
        content["frames"] = [
            {"name": str(number), "data": traces, "layout": {"title": {"text": titles[number]}}}
            for number, traces in frames.items()
        ]
    return go.Figure(content)


def events_to_show(
    batch: Data | Events, event: int, feats_per_vec: Sequence[str] | None, max_events: int
) -> tuple[Data, Sequence[str], int]:
    """Return a batch with the event, the names of its columns, and the number of its first event.

    The batch of a data set holds only the events next to the chosen one.
    """
    first = 0
    if isinstance(batch, Events):
        events = batch.read()
        event_bounds([0] * (len(events) + 1), event)
        window = _around(event, len(events), max_events)
        batch, first = events.batch(list(window)), window.start
    if (
        feats_per_vec is None
        and not names_of(batch).feats_per_vec
        and batch.x is not None
        and batch.x.shape[1:] == (4,)
    ):
        feats_per_vec = ("px", "py", "pz", "E")
    return batch, feature_names(batch, feats_per_vec), first


def _around(event: int, num_events: int, max_events: int) -> range:
    """Return the numbers of this many events, with the chosen one in the middle if there are enough on both sides.

    Examples
    --------
    >>> _around(1, 100, 10), _around(50, 100, 10), _around(99, 100, 10)
    (range(0, 10), range(45, 55), range(90, 100))
    """
    start = max(0, min(event - max_events // 2, num_events - max_events))
    return range(start, min(start + max_events, num_events))


def _read(
    batch: Data,
    event: int,
    names: Sequence[str],
    kinds: Mapping[int, str] | None,
    max_events: int,
    edges: bool,
    settings: PlotSettings,
) -> list[_Drawn]:
    """Read the event and its neighbours, the nearest first, until there are too many points."""
    ptr = batch.ptr.tolist() if "ptr" in batch else [0, 0 if batch.x is None else len(batch.x)]
    event_bounds(ptr, event)
    window = _around(event, len(ptr) - 1, max_events)
    drawn, points = [], 0
    for number in sorted(window, key=lambda other: abs(other - event)):
        num_particles = ptr[number + 1] - ptr[number]
        # in proportion to their size in the file
        points += 6 * num_particles + (3 * _num_lines(num_particles) if edges else 0)
        if number != event and points > _MOST_POINTS:
            break
        columns = event_columns(batch, number, names)
        groups = particle_groups(columns, named_kinds(columns, kinds), settings)
        drawn.append(_Drawn(number, columns, coordinates(columns), groups))
    return sorted(drawn, key=lambda found: found.number)


def _num_lines(num_particles: int) -> int:
    lines = num_particles * (num_particles - 1) // 2
    return lines if lines <= _MOST_LINES else 0


def _looks(drawn: Sequence[_Drawn]) -> list[ParticleGroup]:
    """Return one group for each kind in any event, as all frames need the same traces and legend."""
    looks: dict[str, ParticleGroup] = {}
    for found in drawn:
        looks.update({group.label: group for group in found.groups if group.label not in looks})
    return sorted(looks.values(), key=lambda group: group.marker != "*")  # MET is drawn first, below all others


def _traces(
    found: _Drawn, looks: Sequence[ParticleGroup], limit: float, edges: bool, settings: PlotSettings
) -> list[dict[str, Any]]:
    """Return the traces of one event: its edges, the azimuth of the MET, and particles by kind."""
    pt, eta, phi, own = found.place
    along_beam = np.abs(eta) >= own  # finite values are inside the limit of the event
    eta = np.where(along_beam, np.copysign(limit, eta), eta)
    area, largest = marker_areas(pt)
    members = {group.label: group.members for group in found.groups}
    traces = [_edges(eta, phi)] if edges else []
    for group in looks:
        chosen = np.flatnonzero(members.get(group.label, np.zeros(len(pt), dtype=bool)))
        symbol, fill = _SYMBOLS[group.marker]
        if group.marker == "*":
            traces.append(_azimuths(phi[chosen], limit, group.color))
        rim = {"color": "black" if group.tagged else "white", "width": 0.15 * math.sqrt(largest) if group.tagged else 1}
        traces.append({
            "type": "scatter", "mode": "markers", "name": group.label, "legendgroup": group.label, "showlegend": True,
            "x": _numbers(eta[chosen]), "y": _numbers(phi[chosen]), "cliponaxis": False,
            "text": [_hover(found, group.label, i, bool(along_beam[i])) for i in chosen.tolist()],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "symbol": symbol, "color": to_hex(group.color), "opacity": 1.0, "line": rim,
                "size": _numbers(_PIXELS * np.sqrt(area[chosen] / fill)),
            },
        })  # fmt: skip
    return traces


def _numbers(values: Float[np.ndarray, " numbers"]) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)  # halves the size of the page; exact to 1e-7


def _edges(eta: Float[np.ndarray, " particles"], phi: Float[np.ndarray, " particles"]) -> dict[str, Any]:
    points, (i, j) = np.stack([eta, phi], axis=-1), unordered_pairs(len(eta) if _num_lines(len(eta)) else 0)
    gap = np.full((1, 2), np.nan)
    parts = [part for path in line_paths(points[i], short_way(points[i], points[j])) for part in (path, gap)]
    x, y = (np.concatenate(parts) if parts else np.zeros((0, 2))).T
    return {
        "type": "scatter", "mode": "lines", "name": "edges", "showlegend": True, "hoverinfo": "skip",
        "x": _numbers(x), "y": _numbers(y), "line": {"color": "#595959", "width": 1},
        "opacity": float(np.clip(2.2 / max(len(eta), 1) ** 0.7, 0.0, 0.55)),  # the more lines, the lighter they are
    }  # fmt: skip


def _azimuths(phi: Float[np.ndarray, " particles"], limit: float, color: str) -> dict[str, Any]:
    """Return dashed lines: missing transverse momentum has an azimuth only."""
    x = np.tile([-limit, limit, np.nan], len(phi))
    return {
        "type": "scatter", "mode": "lines", "name": "MET", "legendgroup": "MET", "showlegend": False,
        "hoverinfo": "skip", "x": _numbers(x), "y": _numbers(np.repeat(phi, 3)),
        "line": {"color": to_hex(color), "width": 1.2, "dash": "dash"},
    }  # fmt: skip


def _hover(found: _Drawn, label: str, particle: int, along_beam: bool) -> str:
    """Return the hover text of a particle."""
    pt, eta, phi = (float(values[particle]) for values in found.place[:3])
    lines = [f"<b>{label}</b>", f"pT = {pt:.1f} GeV"]
    if label != "MET":
        lines.append(f"η = {'−' if eta < 0 else ''}∞, along the beam" if along_beam else f"η = {_signed(eta)}")  # noqa: RUF001
    lines.append(f"φ = {_signed(phi)} rad")
    if "btag" in found.columns and label != "MET":
        lines.append(f"b-tag = {found.columns['btag'][particle]:.3g}")
    return "<br>".join(lines)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")  # noqa: RUF001


def _layout(limit: float, settings: PlotSettings) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "showline": True, "mirror": True, "linecolor": "black", "ticks": "outside", "zeroline": False,
        "showgrid": False, "title": {"standoff": 8},
    }  # fmt: skip
    pi = math.pi
    phi = {"tickvals": [-pi, -pi / 2, 0, pi / 2, pi], "ticktext": ["−π", "−π/2", "0", "π/2", "π"]}  # noqa: RUF001
    size = settings.font_size * _PIXELS
    font = {"family": "DejaVu Sans, Helvetica, Arial, sans-serif", "size": size * 0.85, "color": "black"}
    return {
        "width": 720, "height": 520, "font": font, "template": None,
        "margin": {"l": 70, "r": 20, "t": 50, "b": 60}, "plot_bgcolor": "white", "paper_bgcolor": "white",
        "title": {"x": 0.0, "xref": "paper", "y": 0.965, "font": {"size": size}},
        "xaxis": {**axis, "range": [-limit, limit], "title": {"text": "Pseudorapidity η", "standoff": 8}},
        "yaxis": {**axis, "range": [-pi, pi], "title": {"text": "Azimuth φ [rad]", "standoff": 4}, **phi},
        "legend": {"x": 1.02, "y": 1.0, "itemsizing": "constant", "tracegroupgap": 2},
        "hoverlabel": {"bgcolor": "white", "font": {"size": size * 0.85}}, "hovermode": "closest", "dragmode": "zoom",
        "modebar": {"remove": ["select2d", "lasso2d", "autoScale2d"]},
    }  # fmt: skip


def _slider(numbers: Sequence[int], event: int, settings: PlotSettings) -> dict[str, Any]:
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"label": str(number), "method": "animate", "args": [[str(number)], at_once]} for number in numbers]
    return {
        "active": list(numbers).index(event), "steps": steps, "x": 0.0, "len": 1.0, "pad": {"t": 50, "b": 5},
        "currentvalue": {"prefix": "Event ", "font": {"size": settings.font_size * _PIXELS * 0.85}},
    }  # fmt: skip
