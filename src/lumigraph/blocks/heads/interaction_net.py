"""The head that is an interaction network."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch_geometric.utils import segment

from ...events.checks import check_counts, check_dropout
from ...events.graph import CompleteGraph, complete_pairs, ptr_to_batch, ring_pairs
from ...events.particles import Particles
from ...nn.interaction import InteractionConv
from ...nn.kinematic_features import NUM_PARTICLE_FEATURES, particle_features
from ...nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ...nn.pooling import Pool, check_pooling
from ...nn.scaling import Standardise
from .abs_head import AbsMatrixHead, AnyScaling, Inputs, p4_columns

__all__ = ["InteractionNet"]


class InteractionNet(AbsMatrixHead):
    """Update every particle with messages from all others in its event, then aggregate the particles.

    One or several `lumigraph.nn.InteractionConv` on the complete graph of each event, followed by `lumigraph.nn.Pool`.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`.
    intfunc_depth, intfunc_width, intfunc_out_sz
        Number of layers (including the output layer), hidden width and output width of the function of two particles.
    outfunc_depth, outfunc_width, outfunc_out_sz
        The same for the function that updates a particle.
    agg_method
        ``sum``, ``mean``, ``max`` or ``attention`` (a mean with learned weights) over particles, for any multiplicity;
        ``flatten`` concatenates the slots.
    do
        Dropout rate.
    bn
        Whether to use batch normalisation.
    act
        Activation of every layer, including the last.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name.
    freeze
        Whether to start untrainable.
    n_layers
        Number of interaction layers; each further one takes the ``outfunc_out_sz`` features of the previous one.
    node_feats
        Whether to replace the px, py, pz and E (or energy) of each particle, which are not standardised, by
        `lumigraph.nn.particle_features` relative to the sum of the event's particles.
    pair_feats
        Whether effects also depend on `lumigraph.nn.pair_features`: distance, kT, momentum sharing and mass of pairs.
    legacy_edges
        Whether each particle receives messages only from the next one in its event, n-1 times, as in LUMIN up to
        0.9.1: to rerun a model published with it. The order of particles then matters.
    **kargs
        See `AbsMatrixHead`.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, F, slots); returns (B, outfunc_out_sz), for ``flatten``
    (B, outfunc_out_sz * slots). An event without particles gives zeros.

    **Symmetry.** Independent of the order of the particles, except with ``flatten`` or ``legacy_edges``.

    References
    ----------
    .. [1] P. Battaglia et al., arXiv:1612.00222; E. Moreno et al., arXiv:1908.05318.

    Examples
    --------
    >>> net = InteractionNet(["a_px", "a_py", "b_px"], ["a", "b"], ["px", "py"], intfunc_depth=2, intfunc_width=4,
    ...                      intfunc_out_sz=3, outfunc_depth=2, outfunc_width=5, outfunc_out_sz=4, agg_method="sum")
    >>> net(torch.rand(7, 3)).shape
    torch.Size([7, 4])
    """

    row_wise = False

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        intfunc_depth: int,
        intfunc_width: int,
        intfunc_out_sz: int,
        outfunc_depth: int,
        outfunc_width: int,
        outfunc_out_sz: int,
        agg_method: str,
        do: float | int | None = 0,
        bn: bool = False,
        act: str = "relu",
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        n_layers: int = 1,
        node_feats: bool = False,
        pair_feats: bool = False,
        legacy_edges: bool = False,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        check_counts(intfunc_depth=intfunc_depth, intfunc_width=intfunc_width, intfunc_out_sz=intfunc_out_sz)
        check_counts(outfunc_depth=outfunc_depth, outfunc_width=outfunc_width, outfunc_out_sz=outfunc_out_sz)
        check_counts(n_layers=n_layers)
        do = check_dropout("do", do)
        if not isinstance(agg_method, str):
            raise TypeError(f"agg_method must be a name such as 'sum', got {agg_method!r}")
        self.agg_method = check_pooling("agg_method", agg_method)
        self.intfunc_depth, self.intfunc_width, self.intfunc_out_sz = intfunc_depth, intfunc_width, intfunc_out_sz
        self.outfunc_depth, self.outfunc_width, self.outfunc_out_sz = outfunc_depth, outfunc_width, outfunc_out_sz
        self.do, self.bn, self.act, self.n_layers, self.legacy_edges = do, bn, act, n_layers, legacy_edges
        self.lookup_init, self.lookup_act = lookup_init, lookup_act
        self.node_feats, self.pair_feats = node_feats, pair_feats
        self.p4_columns = p4_columns(self.feats_per_vec) if node_feats or pair_feats else []
        self.further = [i for i in range(self.n_fpv) if not (node_feats and i in self.p4_columns)]
        self.scale = Standardise(len(self.further))
        n_in = len(self.further) + (NUM_PARTICLE_FEATURES if node_feats else 0)
        self.convs = nn.ModuleList(
            InteractionConv(
                n_in if layer == 0 else outfunc_out_sz,
                intfunc_out_sz,
                outfunc_out_sz,
                effect_hidden=[intfunc_width] * (intfunc_depth - 1),
                out_hidden=[outfunc_width] * (outfunc_depth - 1),
                act=act,
                dropout=do,
                norm=bn,
                pair_feats=pair_feats,
                lookup_init=lookup_init,
                lookup_act=lookup_act,
            )
            for layer in range(n_layers)
        )
        self.pool = Pool(
            outfunc_out_sz, self.agg_method, self.n_v, act=act, lookup_init=lookup_init, lookup_act=lookup_act
        )
        columns = range(self.get_out_size())
        self.feat_map = {name: list(columns) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    @property
    def max_particles(self) -> int | None:
        """Maximum number of particles per event: the number of slots for ``flatten``, otherwise None."""
        return self.n_v if self.agg_method == "flatten" else None

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.pool.get_out_size()

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise the particle features from now on; with ``node_feats`` only those besides the four-momentum.

        Raises
        ------
        ValueError
            If a component of the four-momentum is transformed or limited, with ``node_feats``.
        """
        if x is not None:
            self.scale.set(*(self.scaling_beside(x, self.p4_columns) if self.node_feats else x))

    def forward(self, x: Inputs) -> Tensor:
        """Return one vector per event, (B, get_out_size()); see `AbsMatrixHead.forward`."""
        if torch.compiler.is_compiling() or self.legacy_edges:
            return super().forward(x)
        particles = self.particles(x)  # concatenated, without padding to the largest event
        edges = CompleteGraph(particles.ptr)
        h, p4 = self.nodes(particles)
        for conv in self.convs:
            h = conv(h, edges, p4)
        return self.pool(h, particles.slot, particles.ptr)

    def nodes(self, particles: Particles) -> tuple[Tensor, Tensor | None]:
        """Return the first layer's features of each particle, and four-momenta if the layers use pair features."""
        x, _, ptr = particles
        return self._nodes(x, lambda p4: segment(p4, ptr, reduce="sum")[ptr_to_batch(ptr, x.size(0))])

    def _nodes(self, x: Tensor, axis_of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the same for packed or padded particles; ``axis_of`` sums four-momenta over the event of each."""
        if not self.p4_columns:
            return self.scale(x), None
        p4, h = x[..., self.p4_columns], self.scale(x[..., self.further])
        if self.node_feats:
            h = torch.cat([h, particle_features(p4, axis_of(p4))], dim=-1)
        return h, p4 if self.pair_feats else None

    def embed(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event from plain tensors: the same as `forward`, for captured graphs."""
        pairs = ring_pairs(mask) if self.legacy_edges else complete_pairs(mask)
        h, p4 = self._nodes(rows, lambda p4: (p4 * mask.unsqueeze(-1)).sum(1, keepdim=True))
        for conv in self.convs:
            h = cast(InteractionConv, conv).dense(h, mask, pairs, p4)
        return self.pool.dense(h, mask)
