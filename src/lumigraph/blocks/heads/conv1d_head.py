"""The base class of heads that convolve over the slots of an event."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...nn.lookups import LookupAct, LookupInit, lookup_act, lookup_normal_init
from ...nn.scaling import Standardise
from ..block import evaluating
from ..conv_blocks import Conv1DBlock, Padding, Res1DBlock, ResNeXt1DBlock, convolve
from .abs_head import AbsMatrixHead, AnyScaling

__all__ = ["AbsConv1dHead"]


class AbsConv1dHead(AbsMatrixHead):
    """Convolve over the particles of an event in the order of their slots; subclasses define layers in `get_layers`.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`.
    act, bn
        Activation and batch normalisation, passed to `get_layers`.
    layer_kargs
        Further arguments of `get_layers`.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name.
    freeze
        Whether to start untrainable.
    **kargs
        See `AbsMatrixHead`.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, F, slots); returns (B, channels * columns) from the layers, channel-major. An event
    may have at most as many particles as slots.

    **Symmetry.** None under permutation. Absent particles are absent in every layer, see
    `lumigraph.blocks.conv_blocks.convolve`.

    Examples
    --------
    >>> class Jets(AbsConv1dHead):
    ...     def get_layers(self, in_c, act="relu", bn=False, **kargs):
    ...         return nn.Sequential(self.get_conv1d_block(in_c, 8, kernel_sz=3, act=act), nn.AdaptiveAvgPool1d(1))
    >>> Jets(["a_px", "b_px"], ["a", "b"], ["px"])(torch.rand(5, 2)).shape
    torch.Size([5, 8])
    """

    row_wise = False
    layers: nn.Module

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        act: str = "relu",
        bn: bool = False,
        layer_kargs: Mapping[str, Any] | None = None,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze: bool = False,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        self.act, self.lookup_init, self.lookup_act = act, lookup_init, lookup_act
        self.scale = Standardise(self.n_fpv)
        layers = self.get_layers(in_c=self.n_fpv, act=act, bn=bn, **(layer_kargs or {}))
        if not isinstance(layers, nn.Module):
            raise TypeError(f"get_layers must return a module, got {type(layers).__name__}")
        self.layers = layers
        self.out_sz = self.check_out_sz()
        self.feat_map = {name: list(range(self.out_sz)) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    @abstractmethod
    def get_layers(self, in_c: int, act: str = "relu", bn: bool = False, **kargs: Any) -> nn.Module:
        """Return the layers, a module on (events, in_c, slots); in_c is the number of features per particle."""

    def get_conv1d_block(
        self,
        in_c: int,
        out_c: int,
        kernel_sz: int,
        padding: Padding = "auto",
        stride: int = 1,
        act: str = "relu",
        bn: bool = False,
    ) -> Conv1DBlock:
        """Return a `Conv1DBlock` with the look-ups of this head."""
        return Conv1DBlock(in_c, out_c, kernel_sz, padding, stride, act, bn, self.lookup_init, self.lookup_act)

    def get_conv1d_res_block(
        self,
        in_c: int,
        out_c: int,
        kernel_sz: int,
        padding: Padding = "auto",
        stride: int = 1,
        act: str = "relu",
        bn: bool = False,
    ) -> Res1DBlock:
        """Return a `Res1DBlock` with the look-ups of this head."""
        return Res1DBlock(in_c, out_c, kernel_sz, padding, stride, act, bn, self.lookup_init, self.lookup_act)

    def get_conv1d_resNeXt_block(
        self,
        in_c: int,
        inter_c: int,
        cardinality: int,
        out_c: int,
        kernel_sz: int,
        padding: Padding = "auto",
        stride: int = 1,
        act: str = "relu",
        bn: bool = False,
    ) -> ResNeXt1DBlock:
        """Return a `ResNeXt1DBlock` with the look-ups of this head."""
        return ResNeXt1DBlock(
            in_c, inter_c, cardinality, out_c, kernel_sz, padding, stride, act, bn, self.lookup_init, self.lookup_act
        )

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.out_sz

    def check_out_sz(self) -> int:
        """Return the width of the output, measured with a deterministic event with a particle in every slot."""
        made_up = torch.linspace(-1.0, 1.0, self.n_v * self.n_fpv).view(1, self.n_v, self.n_fpv)
        with evaluating(self):
            return self.embed(made_up, torch.ones(1, self.n_v, dtype=torch.bool)).size(1)

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise the particle features from now on."""
        if x is not None:
            self.scale.set(*x)

    def embed(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Float[Tensor, "events out"]:
        """Return one vector per event, from plain tensors."""
        columns = (self.scale(rows) * mask.unsqueeze(-1)).transpose(1, 2)
        return convolve(self.layers, columns, mask)[0].flatten(1)
