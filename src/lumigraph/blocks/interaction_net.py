"""The interaction network as a head."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ..graph import CompleteGraph
from ..nn.interaction import InteractionConv
from ..nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ..nn.mlp import Standardise
from ..nn.pooling import check_pooling, pool
from .abs_head import AbsMatrixHead, Scaling

__all__ = ["InteractionNet"]


class InteractionNet(AbsMatrixHead):
    """Let every particle of an event hear all the others, then aggregate the particles.

    An `lumigraph.nn.InteractionConv` on the complete graph of each event, followed by pooling.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`.
    intfunc_depth, intfunc_width, intfunc_out_sz
        Layers (the output layer included), hidden width and output width of the function of two particles.
    outfunc_depth, outfunc_width, outfunc_out_sz
        The same for the function that updates a particle.
    agg_method
        ``sum``, ``mean`` or ``max`` over particles, for any multiplicity; ``flatten`` keeps a place per slot.
    do
        Dropout rate.
    bn
        Whether to use batch normalisation.
    act
        Activation of every layer, the last ones included.
    lookup_init, lookup_act
        Functions that give the initialisation and the activation by name.
    freeze
        Whether to start untrainable.
    **kargs
        See `AbsMatrixHead`.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, F, slots); returns (B, outfunc_out_sz), for ``flatten``
    (B, outfunc_out_sz * slots). An event without particles gives 0.

    **Symmetry.** ``sum``, ``mean`` and ``max`` do not depend on the order of the particles.

    References
    ----------
    .. [1] P. Battaglia et al., arXiv:1612.00222; E. Moreno et al., arXiv:1908.05318.

    Examples
    --------
    >>> import torch
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
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        for name, depth in (("intfunc_depth", intfunc_depth), ("outfunc_depth", outfunc_depth)):
            if depth < 1:
                raise ValueError(f"{name} must be at least 1 (it counts the output layer), got {depth}")
        self.agg_method = check_pooling("agg_method", agg_method)
        self.outfunc_out_sz = outfunc_out_sz
        self.scale = Standardise(self.n_fpv)
        self.conv = InteractionConv(
            self.n_fpv,
            intfunc_out_sz,
            outfunc_out_sz,
            effect_hidden=[intfunc_width] * (intfunc_depth - 1),
            out_hidden=[outfunc_width] * (outfunc_depth - 1),
            act=act,
            dropout=do or 0.0,
            norm=bn,
            lookup_init=lookup_init,
            lookup_act=lookup_act,
        )
        self.feat_map = {name: list(range(self.get_out_size())) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.outfunc_out_sz * (self.n_v if self.agg_method == "flatten" else 1)

    def set_scaling(self, *, u: Scaling | None = None, x: Scaling | None = None) -> None:
        """Standardise the particle features from now on."""
        if x is not None:
            self.scale.set(*x)

    def embed(
        self,
        x: Float[Tensor, "particles features"],
        slot: Int[Tensor, " particles"],
        ptr: Int[Tensor, " events_plus_1"],
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors."""
        return pool(self.conv(self.scale(x), CompleteGraph(ptr)), slot, ptr, self.agg_method, self.n_v)
