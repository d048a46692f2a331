"""The interaction layer: every particle receives a message from every other one in its event."""

from collections.abc import Sequence
from typing import Optional, cast

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import reset

from ..events.graph import CompleteGraph
from .kinematic_features import NUM_PAIR_FEATURES, describe, features_of_described
from .lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from .mlp import mlp
from .pairs.choice import ENGINES, Path, choose
from .pairs.sums import pair_sums

__all__ = ["InteractionConv"]


class InteractionConv(MessagePassing):
    r"""Update every particle with the summed effects of the others in its event.

    Every ordered pair (sender :math:`j`, receiver :math:`i`) gets a learned effect, the effects arriving at one
    receiver are summed, and the receiver is updated from both:

    .. math::
        e_{ij} = f_R(x_i, x_j), \qquad x'_i = f_O\left(x_i, \sum_{j \ne i} e_{ij}\right)

    Parameters
    ----------
    in_channels
        Features per particle.
    effect_channels
        Size of one effect :math:`e_{ij}`.
    out_channels
        Features per particle after the update.
    effect_hidden, out_hidden
        Widths of the hidden layers of :math:`f_R` and :math:`f_O`; empty for a single layer. Every layer is activated,
        including the last.
    act
        Name of the activation, see `lumigraph.nn.lookup_act`.
    dropout
        Dropout rate after every layer.
    norm
        Whether to apply batch normalisation after every layer: over edges in :math:`f_R`, over particles in
        :math:`f_O`.
    pair_feats
        Whether effects also depend on kinematic features of the pair, :math:`f_R(x_i, x_j, q_{ij})`, see
        `lumigraph.nn.pair_features`; the layer then takes four-momenta besides ``x``.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name.

    Raises
    ------
    ValueError
        If a size is not positive, or the input does not fit.

    Notes
    -----
    **Shape.** ``x`` (particles, in_channels); ``edges`` a `lumigraph.CompleteGraph`, or an ``edge_index``
    (2, edges) with the senders in row 0; ``p4`` (particles, 4), for ``pair_feats``; returns (particles, out_channels).
    The effects of a particle without edges are 0.

    **Units.** None assumed: standardise ``x`` first. ``p4`` is (px, py, pz, E) in GeV.

    **Symmetry.** Permutation equivariant within an event; not Lorentz equivariant.

    References
    ----------
    .. [1] P. Battaglia et al., "Interaction Networks for Learning about Objects, Relations and Physics",
       arXiv:1612.00222.

    Examples
    --------
    >>> conv = InteractionConv(in_channels=4, effect_channels=8, out_channels=5)
    >>> conv(torch.randn(6, 4), CompleteGraph.from_lengths(torch.tensor([2, 0, 1, 3]))).shape
    torch.Size([6, 5])
    """

    def __init__(
        self,
        in_channels: int,
        effect_channels: int,
        out_channels: int,
        *,
        effect_hidden: Sequence[int] = (64,),
        out_hidden: Sequence[int] = (64,),
        act: str = "relu",
        dropout: float | int = 0.0,
        norm: bool = False,
        pair_feats: bool = False,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
    ) -> None:
        super().__init__(aggr="sum", flow="source_to_target")
        self.pair_feats = pair_feats
        self.in_channels = in_channels
        self.effect_channels = effect_channels
        self.out_channels = out_channels
        self.fr = mlp(
            [2 * in_channels + (NUM_PAIR_FEATURES if pair_feats else 0), *effect_hidden, effect_channels],
            act=act, dropout=dropout, norm=norm, lookup_init=lookup_init, lookup_act=lookup_act,
        )  # fmt: skip
        self.fo = mlp(
            [in_channels + effect_channels, *out_hidden, out_channels],
            act=act, dropout=dropout, norm=norm, lookup_init=lookup_init, lookup_act=lookup_act,
        )  # fmt: skip

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        super().reset_parameters()
        reset(self.fr)
        reset(self.fo)

    def forward(
        self,
        x: Float[Tensor, "particles in_channels"],
        edges: CompleteGraph | Tensor,
        p4: Float[Tensor, "particles 4"] | None = None,
    ) -> Float[Tensor, "particles out_channels"]:
        """Return the updated particle features."""
        if x.size(-1) != self.in_channels:
            raise ValueError(f"x must have {self.in_channels} features per particle, got shape {tuple(x.shape)}")
        if isinstance(edges, CompleteGraph) and edges.num_nodes != x.size(0):
            raise ValueError(f"edges must have {x.size(0)} particles, as x has, got {edges.num_nodes}")
        if self.pair_feats == (p4 is None):
            raise ValueError("p4, the four-momenta, must be given if and only if pair_feats=True")
        return self.fo(torch.cat([x, self._summed_effects(x, edges, p4)], dim=-1))

    def path(self, x: Tensor, edges: CompleteGraph | Tensor, p4: Tensor | None = None) -> Path:
        """Return how the effects are summed: ``edges``, ``triton``, ``compiled`` or ``blocks``.

        See ``lumigraph.nn.pairs.choice``.
        """
        return choose(self, InteractionConv, self.fr, x, edges, p4).path

    def _summed_effects(self, x: Tensor, edges: CompleteGraph | Tensor, p4: Tensor | None) -> Tensor:
        path, layers = choose(self, InteractionConv, self.fr, x, edges, p4)
        if path != "edges":
            return pair_sums(layers, x, cast(CompleteGraph, edges), ENGINES[path], p4)
        edge_index = edges.edge_index() if isinstance(edges, CompleteGraph) else edges
        momenta = None if p4 is None else describe(p4)
        return self.propagate(edge_index, x=x, momenta=momenta, size=(x.size(0), x.size(0)))

    def dense(
        self,
        rows: Float[Tensor, "events slots in_channels"],
        mask: Bool[Tensor, "events slots"],
        pairs: Num[Tensor, "events slots slots"],
        p4: Float[Tensor, "events slots 4"] | None = None,
    ) -> Float[Tensor, "events slots out_channels"]:
        """Return the updated features of padded events, from shapes known in advance.

        The same as `forward`, for captured graphs (``torch.compile``, ``torch.export``).

        Parameters
        ----------
        rows
            Features, one row per slot; finite in empty slots too.
        mask
            Which slots hold a particle.
        pairs
            How many edges lead from sender j (axis 2) to receiver i (axis 1); see
            `lumigraph.events.graph.complete_pairs`.
        p4
            Four-momenta for ``pair_feats``, finite in empty slots too.
        """
        events, slots, _ = rows.shape
        x_i = rows.unsqueeze(2).expand(-1, -1, slots, -1)
        x_j = rows.unsqueeze(1).expand(-1, slots, -1, -1)
        both = [x_i, x_j]
        if p4 is not None:
            momenta = describe(p4)
            both.append(features_of_described(momenta.unsqueeze(2), momenta.unsqueeze(1)).to(rows.dtype))
        effects = self.fr(torch.cat(both, dim=-1).flatten(0, 2), pairs.flatten())
        effects = effects.view(events, slots, slots, self.effect_channels)
        effects = (effects * pairs.to(rows.dtype).unsqueeze(-1)).sum(2)
        return self.fo(torch.cat([rows, effects], dim=-1).flatten(0, 1), mask.flatten()).view(
            events, slots, self.out_channels
        )

    def message(
        self,
        x_i: Float[Tensor, "edges in_channels"],
        x_j: Float[Tensor, "edges in_channels"],
        momenta_i: Optional[Float[Tensor, "edges 8"]] = None,  # noqa: UP045 -- PyG parses only this spelling
        momenta_j: Optional[Float[Tensor, "edges 8"]] = None,  # noqa: UP045
    ) -> Float[Tensor, "edges effect_channels"]:
        """Return the effect of each sender on its receiver."""
        both = [x_i, x_j]
        if isinstance(momenta_i, Tensor) and isinstance(momenta_j, Tensor):
            both.append(features_of_described(momenta_i, momenta_j).to(x_i.dtype))
        return self.fr(torch.cat(both, dim=-1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.effect_channels}, {self.out_channels})"
