"""The body of fully connected layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...events.checks import check_counts, check_dropout, check_number
from ...nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ...nn.mlp import BatchNorm, Dense, Layers
from ..block import vectors
from .abs_body import AbsBody

__all__ = ["FullyConnected"]


class FullyConnected(AbsBody):
    """Fully connected hidden layers in sequence, optionally with skip or dense connections.

    Parameters
    ----------
    n_in, feat_map
        See `AbsBody`.
    depth
        Number of hidden layers; with ``res`` an even depth has one more.
    width
        Width of the first hidden layer.
    do
        Dropout rate.
    bn
        Whether to use batch normalisation, in the order dense, activation, normalisation, dropout; with ``res`` it
        also follows each addition.
    act
        Name of the activation.
    res
        Whether to add the input of every two layers to their output (arXiv:1512.03385).
    dense
        Whether each layer sees the input and the outputs of all earlier layers (arXiv:1608.06993); not with ``res``.
    growth_rate
        Layer d (from 0) has width ``width + int(width * d * growth_rate)``, at least 1. Ignored with ``res``.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name.
    freeze
        Whether to start untrainable.

    Raises
    ------
    ValueError
        If ``res`` and ``dense`` are both set, or depth or width is not positive.

    Notes
    -----
    **Shape.** (B, n_in) to (B, get_out_size()).

    Examples
    --------
    >>> FullyConnected(3, {}, depth=4, width=10, growth_rate=-0.3)(torch.zeros(2, 3)).shape
    torch.Size([2, 1])
    """

    layers: nn.ModuleList

    def __init__(
        self,
        n_in: Any,
        feat_map: Mapping[str, Sequence[int]],
        depth: int,
        width: int,
        do: float | int | None = 0,
        bn: bool = False,
        act: str = "relu",
        res: bool = False,
        dense: bool = False,
        growth_rate: float | int = 0,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
    ) -> None:
        super().__init__(n_in, feat_map)
        if res and dense:
            raise ValueError("res=True and dense=True exclude each other: choose one kind of connection")
        check_counts(depth=depth, width=width)
        check_number("growth_rate", growth_rate)
        do = check_dropout("do", do)
        self.depth, self.width, self.res, self.dense = depth, width, res, dense
        self.do, self.bn, self.act = do, bn, act
        self.growth_rate = 0.0 if res else growth_rate

        def layer(inputs: int, d: int, last: bool = True) -> Dense:
            # the second layer of a residual pair is normalised after the addition
            return Dense(
                inputs, self._width(d), act=act, dropout=do, norm=bn and last,
                lookup_init=lookup_init, lookup_act=lookup_act,
            )  # fmt: skip

        if res:
            first = layer(n_in, 0)
            pairs = [Layers(*layer(width, 0), *layer(width, 0, last=False)) for _ in range(depth // 2)]
            self.layers = nn.ModuleList([first, *pairs])
            self.res_bns = nn.ModuleList(BatchNorm(width) for _ in pairs) if bn else None
        else:
            seen = [n_in]
            self.layers = nn.ModuleList()
            for d in range(depth):
                self.layers.append(layer(sum(seen) if dense else seen[-1], d))
                seen.append(self._width(d))
        if freeze:
            self.freeze_layers()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # LUMIN normalises after each addition even with bn=False: add the normalisations that its weights hold
        if self.res and self.res_bns is None and any(key.startswith(f"{prefix}res_bns.") for key in state_dict):
            first = next(self.parameters())
            norms = nn.ModuleList(BatchNorm(self.width) for _ in self.layers[1:])
            self.res_bns = norms.to(first).requires_grad_(first.requires_grad).train(self.training)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _width(self, d: int) -> int:
        return max(1, self.width + int(self.width * d * self.growth_rate))

    def get_out_size(self) -> int:
        """Return the width of the last layer."""
        return self._width(self.depth - 1)

    def forward(self, x: Float[Tensor, "events n_in"]) -> Float[Tensor, "events out"]:
        """Return the output of the last layer."""
        x = vectors(self, x, self.n_in)
        if self.res:
            x = self.layers[0](x)
            for i, pair in enumerate(self.layers[1:]):
                x = pair(x) + x
                if self.res_bns is not None:
                    x = self.res_bns[i](x)
            return x
        for i, layer in enumerate(self.layers):
            y = layer(x)
            x = torch.cat([y, x], dim=1) if self.dense and i < self.depth - 1 else y
        return x
