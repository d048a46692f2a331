"""What a Lorentz boost network learns: combinations of particles, rest frames, and events boosted into them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from torch import nn
from torch_geometric.data import Data

from ...blocks import LorentzBoostNet
from ...blocks.block import evaluating
from ...events import kinematics
from ...events.checks import check_counts
from ...model import Model
from ..style import PlotSettings, label_axes
from .event_columns import event_columns, named_kinds
from .heads import find_head, particles_of_event
from .markers import ParticleGroup, area_entry, draw_legend, marker_look, particle_groups

__all__ = ["plot_boosts", "plot_combinations"]

#: Areas in square points of the marker of a particle that is all of a frame, and of the smallest marker.
_LARGEST, _SMALLEST = 220.0, 16.0

#: Markers of the rest frame and of the combinations that are boosted into it.
_FRAME: dict[str, Any] = {
    "linestyle": "none", "marker": "d", "markersize": 9, "markerfacecolor": "white", "markeredgecolor": "black",
    "zorder": 4, "clip_on": False,
}  # fmt: skip
_COMBINATION: dict[str, Any] = {
    "linestyle": "none", "marker": "x", "markersize": 8, "markeredgewidth": 2.2, "color": "black", "zorder": 5,
}  # fmt: skip


def plot_combinations(net: nn.Module | Model, *, ax: Axes | None = None, settings: PlotSettings | None = None) -> Axes:
    r"""Draw the shares of the slots in the combinations and rest frames of a Lorentz boost network.

    A row is a combination :math:`k_a` or, below these, a rest frame :math:`r_f`; a column is a slot. The colour is the
    share of the slot in the weights of its row, :math:`|w_{as}| / \sum_t |w_{at}|`: a frame does not depend on the
    scale of its weights.

    Parameters
    ----------
    net
        A `LorentzBoostNet` or a subclass of it, or a `MultiHead`, `Model` or other module that has one.
    ax
        Axes to draw on; new ones if None.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    TypeError, ValueError
        If there is no such network in ``net``, or more than one.

    Examples
    --------
    >>> names = [f"{v}_{f}" for v in ("a", "b") for f in ("px", "py", "pz", "E")]
    >>> net = LorentzBoostNet(names, ["a", "b"], ["px", "py", "pz", "E"], n_particles=3)
    >>> ax = plot_combinations(net)
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['$k_{0}$', '$k_{1}$', '$k_{2}$', '$r_{0}$', '$r_{1}$', '$r_{2}$']
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    head = find_head(net, LorentzBoostNet)
    learned = [w for w in (head.conv.part_wgts, head.conv.rf_wgts) if w is not None]
    blocks = [w.detach().abs().double().cpu().numpy() for w in learned]
    weights = np.concatenate(blocks)
    shares = 100.0 * weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    rows = [f"${letter}_{{{i}}}$" for letter, block in zip("kr", blocks, strict=False) for i in range(len(block))]
    ax = settings.axes() if ax is None else ax
    image = ax.imshow(shares, aspect="auto", cmap=settings.colormap, vmin=0.0, interpolation="nearest")
    ax.set_yticks(**_thinned(rows, 16))
    label, columns = _slot_names(head.vecs)
    longest = max(map(len, columns))
    ax.set_xticks(**_thinned(columns, {1: 16, 2: 12, 3: 8}.get(longest, 16)))
    if longest > 3:
        ax.tick_params(axis="x", rotation=90)
    label_axes(ax, label, "Combinations $k$" + (", rest frames $r$" if len(blocks) == 2 else ", also frames"), settings)
    if len(blocks) == 2:
        ax.axhline(len(blocks[0]) - 0.5, color="white", linewidth=3.0)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.03)
    bar.set_label("Share of the weights [%]", fontsize=settings.font_size)
    bar.ax.tick_params(labelsize=settings.small_font_size)
    return ax


def _thinned(labels: Sequence[str], most: int) -> dict[str, Any]:
    """Return ticks and their labels: all, or every second, fifth, tenth, ... if there are many.

    Examples
    --------
    >>> _thinned("abcdefgh", most=3)
    {'ticks': range(0, 8, 5), 'labels': 'af'}
    """
    steps = (base * 10**power for power in itertools.count() for base in (1, 2, 5))
    step = next(step for step in steps if step * most >= len(labels))
    return {"ticks": range(0, len(labels), step), "labels": labels[::step]}


def _slot_names(vecs: Sequence[str]) -> tuple[str, list[str]]:
    """Return the label of the axis of slots and of each slot: only numbers if all names are a word and a number.

    Examples
    --------
    >>> _slot_names(["jet0", "jet1"]), _slot_names(["met", "jet0"])
    (('Slot: jet', ['0', '1']), ('Slot', ['met', 'jet0']))
    """
    words = {name.rstrip("0123456789") for name in vecs}
    word = next(iter(words))
    if len(words) > 1 or len(vecs) == 1 or word in vecs:
        return "Slot", list(vecs)
    return f"Slot: {word.rstrip('_')}", [name.removeprefix(word) for name in vecs]


class _Seen(NamedTuple):
    """The momenta of an event along and across a boost, (particles or combinations, 2)."""

    particles: Float[np.ndarray, "particles 2"]
    combinations: Float[np.ndarray, "combinations 2"]
    frame: Float[np.ndarray, "1 2"]


def plot_boosts(
    net: nn.Module | Model,
    batch: Data,
    event: int = 0,
    *,
    frame: int = 0,
    kinds: Mapping[int, str] | None = None,
    settings: PlotSettings | None = None,
) -> list[Axes]:
    r"""Draw the momenta of an event before and after the boost into a rest frame that a Lorentz boost network learned.

    Both pictures show momenta along the boost and across it, so that the boost moves them sideways only. Lines end at
    the momenta of the particles; the area of a marker is the share :math:`|u_{fs}| E_s / E_r` of the particle in the
    energy of the frame :math:`r_f`. Black crosses are the combinations :math:`k_a` that the network boosts into this
    frame: the input of the following layers.

    Parameters
    ----------
    net
        See `plot_combinations`.
    batch
        A Batch that the network takes, or the Data of one event.
    event
        Number of the event in the batch.
    frame
        Number of the rest frame.
    kinds
        See `plot_event`. Without a column ``kind`` or flags ``is_...``, up to eight objects go by their names, unless
        these are numbered.
    settings
        Colours, sizes and fonts.

    Returns
    -------
    list of Axes
        Before the boost, and after it, in one figure.

    Raises
    ------
    TypeError, ValueError
        If there is no such network, event or frame, an event has more particles than slots, or a number is not finite.

    Notes
    -----
    **Units.** GeV; weights have no unit, so that frames and combinations have an arbitrary scale. **Limits.** A frame
    may have no rest frame (without particles, or if all are massless and collinear). Then nothing is boosted, as in
    the network.

    Examples
    --------
    >>> names = [f"{v}_{f}" for v in ("a", "b") for f in ("px", "py", "pz", "E")]
    >>> net = LorentzBoostNet(names, ["a", "b"], ["px", "py", "pz", "E"], n_particles=3)
    >>> event = Data(x=torch.tensor([[3.0, 0.0, 0.0, 5.0], [0.0, 1.0, 0.0, 2.0]]))
    >>> before, after = plot_boosts(net, event, frame=1)
    >>> after.get_xlabel()
    'Momentum along the boost [GeV]'
    >>> plt.close(after.figure)
    """
    settings = settings or PlotSettings()
    head = find_head(net, LorentzBoostNet)
    check_counts(0, frame=frame)
    if frame >= head.conv.num_frames:
        last = head.conv.num_frames - 1
        raise ValueError(f"frame must be a number from 0 to {last}, got {frame}: the network has {last + 1}")
    groups = _groups(head, batch, event, kinds, settings)
    before, after, share, gamma = _boosted(head, batch, event, frame)
    size = (settings.width, 1.3 * settings.width / settings.aspect)
    _, axes = plt.subplots(2, 1, sharex=True, sharey=True, figsize=size, layout="constrained")
    for ax, seen in zip(axes, (before, after), strict=True):
        _draw_momenta(ax, seen, groups, share)
        label_axes(ax, None, "Across it [GeV]", settings)
    names = {"pairs": f"$k_{{{frame}}}$", "product": "all $k$", "combinations": "all other $k$"}
    draw_legend(axes[0], groups, 0.0, 0.0, settings, _entries(names[head.conv.mode], frame))
    axes[0].set_title(f"Event {event} before the boost", fontsize=settings.font_size, loc="left")
    axes[1].set_title(_after(frame, gamma), fontsize=settings.font_size, loc="left")
    axes[1].set_xlabel("Momentum along the boost [GeV]", fontsize=settings.font_size)
    return list(axes)


def _groups(
    head: LorentzBoostNet, batch: Data, event: int, kinds: Mapping[int, str] | None, settings: PlotSettings
) -> list[ParticleGroup]:
    """Return the particles by kind, or by name if there are few named objects."""
    columns = event_columns(batch, event, head.feats_per_vec, needed=())
    columns["px"] = columns[head.feats_per_vec[head.p4_columns[0]]]  # particle_groups counts particles by this name
    told = "kind" in columns or any(name.startswith("is_") for name in columns)
    if kinds is None and not told and head.n_v <= 8 and _slot_names(head.vecs)[0] == "Slot":
        columns["kind"] = particles_of_event(batch, event, head).slot.cpu().numpy().astype(float)
        kinds = dict(enumerate(head.vecs))
    return particle_groups(columns, named_kinds(columns, kinds), settings)


def _boosted(
    head: LorentzBoostNet, batch: Data, event: int, frame: int
) -> tuple[_Seen, _Seen, Float[np.ndarray, " particles"], float | None]:
    """Return the momenta before and after the boost, the share of each particle in the frame, and its gamma, if any."""
    x, slot, ptr = particles_of_event(batch, event, head)
    p4, conv = x[:, head.p4_columns].double(), head.conv
    with evaluating(head):
        combinations, frames = (found[0] for found in conv.combine(p4, slot, ptr))
    rest = frames[frame]
    own = conv.part_wgts if conv.rf_wgts is None else conv.rf_wgts
    share = own.detach()[frame].abs().double()[slot] * p4[:, 3] / rest[3].clamp(min=1e-300)
    into = {"pairs": [frame], "product": range(conv.num_particles)}.get(
        conv.mode, [a for a in range(conv.num_particles) if a != frame]
    )
    momenta = p4, combinations[list(into)], rest.unsqueeze(0)
    mass, has = kinematics.rest_frame_mass(rest)
    momentum = rest[:3].norm()
    along = rest[:3] / momentum if momentum > 0 else rest.new_tensor([0.0, 0.0, 1.0])
    before = _Seen(*(_decomposed(p, along) for p in momenta))
    after = _Seen(*(_decomposed(kinematics.boost(p, rest), along) for p in momenta))
    return before, after, share.clamp(min=0.0).cpu().numpy(), float(rest[3] / mass) if has else None


def _decomposed(p4: torch.Tensor, along: torch.Tensor) -> Float[np.ndarray, "momenta 2"]:
    """Return the momenta along a direction and across it."""
    parallel = p4[:, :3] @ along
    across = (p4[:, :3] - parallel.unsqueeze(1) * along).norm(dim=1)
    return torch.stack([parallel, across], dim=1).cpu().numpy()


def _draw_momenta(ax: Axes, seen: _Seen, groups: list[ParticleGroup], share: Float[np.ndarray, " particles"]) -> None:
    ax.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    ax.plot(*seen.frame.T, **_FRAME)
    for group in groups:
        tips = seen.particles[group.members]
        style = "--" if group.marker == "*" else "-"
        lines = list(np.stack([np.zeros_like(tips), tips], axis=1))
        ax.add_collection(LineCollection(lines, colors=group.color, linewidths=1.3, linestyles=style, zorder=1))
        area = np.maximum(_LARGEST * share[group.members], _SMALLEST)
        ax.scatter(
            *tips.T, label=group.label, zorder=3, clip_on=False, **marker_look(group, area, 0.11 * np.sqrt(area))
        )
    ax.plot(*seen.combinations.T, clip_on=False, **_COMBINATION)
    ax.set_ylim(bottom=0.0)


def _entries(combinations: str, frame: int) -> list[Artist]:
    """Return the entries of the legend after those of the particles."""
    return [
        Line2D([], [], linestyle="none", label=f"share in $r_{{{frame}}}$"),
        *(area_entry(f"{share} %", _LARGEST * share / 100.0) for share in (10, 50)),
        Line2D([], [], label=f"frame $r_{{{frame}}}$", **_FRAME),
        Line2D([], [], label=combinations, **_COMBINATION),
    ]


def _after(frame: int, gamma: float | None) -> str:
    if gamma is None:
        return f"$r_{{{frame}}}$ has no rest frame: no boost"
    return rf"In the rest frame of $r_{{{frame}}}$, $\gamma$ = {gamma:.3g}"
