"""The messages of an interaction network: how strongly each particle of an event affects each other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from torch import Tensor, nn
from torch_geometric.data import Data

from ...blocks import InteractionNet
from ...blocks.block import evaluating
from ...events.batches import names_of
from ...events.checks import check_counts
from ...events.graph import CompleteGraph, ring_pairs
from ...events.particles import Particles
from ...model import Model
from ...nn import InteractionConv
from ..style import PlotSettings
from .edges import drawn_lines, line_paths, short_way
from .event import draw_particles, event_title
from .event_columns import coordinates, event_columns, named_kinds
from .heads import find_head, particles_of_event
from .markers import particle_groups

__all__ = ["message_strengths", "plot_messages"]

Share = TypeVar("Share", float, np.ndarray)

#: Most lines; more would be a grey area.
_MOST = 3000

#: Opacity of the strongest line.
_DARKEST = 0.9


def message_strengths(
    model_or_head: nn.Module | Model, batch: Data, event: int = 0, *, layer: int = 0
) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, " edges"]]:
    r"""Return how strongly each particle of an event affects each other one in an interaction network.

    The strength is the norm :math:`|e_{ij}|` of the effect of the sender :math:`j` on the receiver :math:`i`, which
    sums over senders. Effects are computed with a list of edges, in evaluation mode.

    Parameters
    ----------
    model_or_head
        An `InteractionNet`, or a `MultiHead`, `Model` or other module that has one.
    batch
        A Batch, or the Data of one event.
    event
        Number of the event in the batch.
    layer
        Number of the interaction layer, from 0.

    Returns
    -------
    edge_index
        (2, n(n-1)) sender and receiver of each ordered pair, numbered within the event, in the order of
        `lumigraph.CompleteGraph`: by receiver, then sender.
    strengths
        (n(n-1),) the norm of each effect.

    Raises
    ------
    TypeError
        If ``model_or_head`` is not a module or Model.
    ValueError
        If it has no interaction network or several, or there is no such event or layer.

    Notes
    -----
    With ``legacy_edges`` a particle hears the next one of its event n-1 times: the strength of this pair is the sum of
    n-1 norms, and that of all other pairs is 0.

    Examples
    --------
    >>> net = InteractionNet(["a_px", "a_py"], ["a"], ["px", "py"], intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3,
    ...                      outfunc_depth=1, outfunc_width=4, outfunc_out_sz=5, agg_method="sum")
    >>> edge_index, strengths = message_strengths(net, Data(x=torch.randn(3, 2)))
    >>> edge_index.tolist(), strengths.shape
    ([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]], torch.Size([6]))
    """
    head = find_head(model_or_head, InteractionNet)
    check_counts(0, layer=layer)
    if layer >= head.n_layers:
        last = head.n_layers - 1
        raise ValueError(f"layer must be a number from 0 to {last}, got {layer}: the network has {last + 1}")
    x, slot, ptr = particles = particles_of_event(batch, event, head)
    pairs = CompleteGraph(ptr).edge_index()
    times = torch.ones_like(pairs[0])  # how often the receiver hears the sender
    if head.legacy_edges:
        everyone = torch.ones(1, len(x), dtype=torch.bool, device=x.device)
        sender, receiver = slot.argsort().argsort()[pairs]  # the ring goes from slot to slot
        times = ring_pairs(everyone)[0, receiver, sender]
    number = torch.arange(len(times), device=x.device).repeat_interleave(times)
    effects: list[Tensor] = []
    with evaluating(head):
        h, p4 = head.nodes(head.particles(_as_data(particles)))
        *before, conv = cast(list[InteractionConv], list(head.convs)[: layer + 1])
        for earlier in before:
            h = earlier(h, pairs[:, number], p4)
        # with a hook the layer computes each message, not only their sums
        hook = conv.register_message_forward_hook(lambda _layer, _inputs, effect: effects.append(effect))
        try:
            conv(h, pairs[:, number], p4)
        finally:
            hook.remove()
    norms = effects[0].norm(dim=1)
    return pairs, norms.new_zeros(len(times)).index_add(0, number, norms)


def plot_messages(
    model_or_head: nn.Module | Model,
    batch: Data,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    layer: int = 0,
    strongest: int | None = None,
    ax: Axes | None = None,
    settings: PlotSettings | None = None,
) -> Axes:
    r"""Draw the messages between the particles of an event in an interaction network, in the eta-phi plane.

    Two half lines join two particles. The half that ends at a particle shows the effect of the other particle on it:
    its width and darkness follow the norm :math:`|e_{ij}|`, see `message_strengths`.

    Parameters
    ----------
    model_or_head, batch, event, layer
        See `message_strengths`.
    feats_per_vec
        Names of the columns of ``x``; those of the batch if not given, or of the network.
    kinds
        See `plot_event`.
    strongest
        Draw only this many of the n(n-1) effects, the strongest; if None all of them, up to 3,000.
    ax
        Axes to draw on; new ones if None.
    settings
        Colours, sizes and fonts.

    Raises
    ------
    TypeError, ValueError
        As in `message_strengths` and `plot_event`.

    Notes
    -----
    **Units.** GeV; effects have no unit. **Limits.** A particle along the beam is drawn on the border. The norm is the
    size of a message, not its influence on the output. In trained networks both are correlated: without the strongest
    tenth of the effects the output changes more than without a random tenth, and least without the weakest tenth, on
    average over events but not in each of them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> net = InteractionNet(["a_px", "a_py"], ["a"], ["px", "py"], intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3,
    ...                      outfunc_depth=1, outfunc_width=4, outfunc_out_sz=5, agg_method="sum")
    >>> ax = plot_messages(net, Data(x=torch.randn(3, 2)))
    >>> len(ax.collections[0].get_paths())
    6
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    check_counts(0, **({} if strongest is None else {"strongest": strongest}))
    if feats_per_vec is None and not names_of(batch).feats_per_vec:
        feats_per_vec = find_head(model_or_head, InteractionNet).feats_per_vec
    columns = event_columns(batch, event, feats_per_vec)
    kinds = named_kinds(columns, kinds)
    place = coordinates(columns)
    pairs, norms = (found.cpu().numpy() for found in message_strengths(model_or_head, batch, event, layer=layer))
    order = np.argsort(norms, kind="stable")[len(norms) - min(len(norms), _MOST if strongest is None else strongest) :]
    largest = float(norms.max(initial=0.0))
    sender, receiver = pairs[:, order]
    points, share = np.stack([place.eta, place.phi], axis=-1), norms[order] / (largest or 1.0)
    paths = line_paths(points[receiver], 0.5 * short_way(points[receiver], points[sender]))
    ax = settings.axes() if ax is None else ax
    look = drawn_lines(_width(share, len(place.pt)), _DARKEST * share)
    ax.add_collection(
        LineCollection(paths, colors="black", zorder=1, label="_messages", capstyle="butt", **look), autolim=False
    )
    title = event_title(event, len(place.pt)) + (f", layer {layer}" if layer else "")
    draw_particles(
        ax, place, particle_groups(columns, kinds, settings), title, settings, _scale(largest, len(place.pt))
    )
    return ax


def _as_data(particles: Particles) -> Data:
    return Data(x=particles.x, slot=particles.slot, ptr=particles.ptr)


def _width(share: Share, num_particles: int) -> Share:
    """Return the width of lines in points; in crowded events they are thinner, so that particles stay visible."""
    return 0.2 + (3.0 * min(1.0, (30.0 / max(num_particles, 1)) ** 0.5) - 0.2) * share


def _scale(largest: float, num_particles: int) -> list[Artist]:
    """Return entries of a legend: the norms of the strongest effect and of one half as strong."""
    if largest <= 0:
        return []
    entries: list[Artist] = [Line2D([], [], linestyle="none", label="effect on the\nnearer particle")]
    for share in (0.5, 1.0):
        look: dict[str, Any] = {"linewidth": _width(share, num_particles), "alpha": _DARKEST * share}
        entries.append(Line2D([], [], color="black", label=f"{share * largest:.2g}", **look))
    return entries
