"""One-dimensional convolutions over the slots of an event that ignore absent particles."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..events.checks import check_counts
from ..nn.lookups import LookupAct, LookupInit, check_lookups, lookup_act, lookup_normal_init
from ..nn.mlp import BatchNorm, batch_norm
from .block import in_precision

__all__ = ["Conv1DBlock", "Padding", "Res1DBlock", "ResNeXt1DBlock", "convolve"]

#: Number of zero columns added at each end; ``auto`` keeps the number of columns at stride 1.
Padding = int | Literal["auto"]


def convolve(layer: nn.Module, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Apply a layer to the columns of events, and return which columns of the result are present.

    An absent column is treated like the space beyond the ends: 0 for a convolution, not counted by batch normalisation
    or adaptive pooling to a single column. So the result does not depend on the number of empty slots after an event's
    particles. This holds for the blocks here, for torch's ``Conv1d``, ``BatchNorm1d`` and adaptive pooling to one
    column, and for layers that act on each column alone. Any other layer that changes the number of columns, and all
    layers after it, see all columns as present.

    Parameters
    ----------
    layer
        Layer on (events, channels, columns).
    x, mask
        Columns, 0 where absent, and which of them are present, (events, columns); None if all are.
    """
    if isinstance(layer, nn.Sequential):
        for inner in layer:
            x, mask = convolve(inner, x, mask)
        return x, mask
    if isinstance(layer, Conv1DBlock) and type(layer).forward is Conv1DBlock.forward:
        return layer.convolve(x, mask)
    if isinstance(layer, nn.BatchNorm1d):
        return _normalise(layer, x, mask), mask
    if mask is None:
        return layer(x), None
    if isinstance(layer, nn.AdaptiveAvgPool1d) and layer.output_size in (1, (1,)):
        return x.sum(2, keepdim=True) / mask.sum(1).clamp(min=1).view(-1, 1, 1), None
    if isinstance(layer, nn.AdaptiveMaxPool1d) and layer.output_size in (1, (1,)):
        lowest = x.masked_fill(~mask.unsqueeze(1), -torch.inf).amax(2, keepdim=True)
        return lowest.masked_fill(~mask.any(1).view(-1, 1, 1), 0.0), None
    x = layer(x)
    if isinstance(layer, nn.Conv1d):
        mask = _columns(layer, mask, x.size(2))
    elif x.dim() != 3 or x.size(2) != mask.size(1):
        return x, None
    return x * mask.unsqueeze(1), mask


def _normalise(norm: nn.BatchNorm1d, x: Tensor, mask: Tensor | None) -> Tensor:
    """Normalise over the present columns of all events."""
    rows = batch_norm(norm, x.transpose(1, 2).flatten(0, 1), None if mask is None else mask.flatten())
    x = rows.view(x.size(0), x.size(2), x.size(1)).transpose(1, 2)
    return x if mask is None else x * mask.unsqueeze(1)


def _columns(conv: nn.Conv1d, mask: Tensor, num_out: int) -> Tensor:
    """Return which output columns are present: those that an event without trailing empty slots would have.

    With a stride s, an output column represents s input columns, and is present if any of them is.
    """
    padding = sum(conv.pad if isinstance(conv, _Conv) else conv._reversed_padding_repeated_twice)
    first = torch.arange(num_out, device=mask.device) * conv.stride[0]
    first = first + (conv.kernel_size[0] - 1) * conv.dilation[0] - padding  # the first column that an event must reach
    stands_for = first.unsqueeze(1) + torch.arange(conv.stride[0], device=mask.device)
    return mask[:, stands_for.clamp(0, mask.size(1) - 1)].any(-1)


class _Conv(nn.Conv1d):
    """A convolution with separate numbers of zero columns at each end."""

    def __init__(self, in_c: int, out_c: int, kernel_sz: int, padding: Padding, stride: int, groups: int) -> None:
        super().__init__(in_c, out_c, kernel_sz, stride=stride, groups=groups)
        self.bias: nn.Parameter  # torch allows for none
        nn.init.zeros_(self.bias)
        self.pad = (padding, padding) if isinstance(padding, int) else Conv1DBlock.get_padding(kernel_sz)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, self.pad)
        if x.size(-1) < self.kernel_size[0]:
            raise ValueError(
                f"kernel_sz must be at most the {x.size(-1)} columns, padding included, got {self.kernel_size[0]}"
            )
        return super().forward(x)


class Conv1DBlock(nn.Module):
    """A convolution followed by activation and batch normalisation.

    Parameters
    ----------
    in_c, out_c
        Channels of input and output: features per particle.
    kernel_sz
        Number of columns that a kernel covers.
    padding
        Number of zero columns added at each end; ``auto`` keeps the number of columns (at stride 1), for even kernels
        too.
    stride
        Number of columns from one application of the kernel to the next.
    act
        Name of the activation.
    bn
        Whether to normalise over the batch.
    lookup_init, lookup_act
        Functions that return the initialisation and the activation by name. Biases start at 0.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    **Shape.** (events, in_c, columns) to (events, out_c, columns'), with
    columns' = (columns + padding - kernel_sz) // stride + 1.

    Examples
    --------
    >>> Conv1DBlock(in_c=3, out_c=16, kernel_sz=4)(torch.zeros(2, 3, 7)).shape
    torch.Size([2, 16, 7])
    """

    layers: nn.Module

    def __init__(
        self,
        in_c: int,
        out_c: int,
        kernel_sz: int,
        padding: Padding = "auto",
        stride: int = 1,
        act: str = "relu",
        bn: bool = False,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
    ) -> None:
        super().__init__()
        check_counts(in_c=in_c, out_c=out_c, kernel_sz=kernel_sz, stride=stride)
        if padding != "auto" and (not isinstance(padding, int) or padding < 0):
            raise ValueError(f"padding must be 'auto' or at least 0 columns, got {padding!r}")
        check_lookups(lookup_init=lookup_init, lookup_act=lookup_act)
        self.in_c, self.out_c, self.ks, self.pad, self.stride = in_c, out_c, kernel_sz, padding, stride
        self.act, self.bn = act, bn
        self.lookup_init, self.lookup_act = lookup_init, lookup_act
        self.set_layers()

    def set_layers(self) -> None:
        """Build the layers."""
        self.layers = self.get_conv_layer(self.in_c, self.out_c, self.ks, self.pad, self.stride)

    def get_conv_layer(
        self,
        in_c: int,
        out_c: int,
        kernel_sz: int,
        padding: Padding = "auto",
        stride: int = 1,
        pre_act: bool = False,
        groups: int = 1,
    ) -> nn.Sequential:
        """Return a convolution with activation and batch normalisation, after it or (``pre_act``) before it."""
        conv = _Conv(in_c, out_c, kernel_sz, padding, stride, groups)
        self.lookup_init(self.act, kernel_sz * in_c // groups, kernel_sz * out_c // groups)(conv.weight.data)
        activation = [] if self.act == "linear" else [self.lookup_act(self.act)]
        for layer in activation:
            if isinstance(layer, nn.Softmax | nn.LogSoftmax):
                layer.dim = 1  # over channels, not over columns
        norm = [BatchNorm(in_c if pre_act else out_c)] if self.bn else []
        return nn.Sequential(*norm, *activation, conv) if pre_act else nn.Sequential(conv, *activation, *norm)

    @staticmethod
    def get_padding(kernel_sz: int) -> tuple[int, int]:
        """Return the numbers of zero columns that ``auto`` adds at the start and at the end."""
        return (kernel_sz - 1) // 2, kernel_sz // 2

    def convolve(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the output and which of its columns are present; see `lumigraph.blocks.conv_blocks.convolve`."""
        return convolve(self.layers, x, mask)

    def forward(
        self, x: Float[Tensor, "events in_c columns"], mask: Bool[Tensor, "events columns"] | None = None
    ) -> Float[Tensor, "events out_c columns_out"]:
        """Return the output; absent columns, where ``mask`` is False, must be 0 and stay so."""
        if not isinstance(x, Tensor) or x.dim() != 3 or x.size(1) != self.in_c or not x.is_floating_point():
            got = f"{x.dtype} of the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x must be a floating-point tensor (events, {self.in_c}, columns), got {got}")
        if mask is not None and (
            not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (x.size(0), x.size(2))
        ):
            got = f"{mask.dtype} of the shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"mask must be a boolean tensor of the shape ({x.size(0)}, {x.size(2)}), got {got}")
        return self.convolve(in_precision(self, x), mask)[0]


class Res1DBlock(Conv1DBlock):
    """Two convolutions to whose output the input is added (arXiv:1512.03385).

    The order is batch normalisation, activation, convolution (arXiv:1603.05027). If the stride is not 1 or the number
    of channels changes, the input is added through a convolution of one column.

    Parameters
    ----------
    in_c, out_c, kernel_sz, padding, stride, act, bn, lookup_init, lookup_act
        See `Conv1DBlock`; the stride applies to the first convolution.

    Raises
    ------
    ValueError
        If a number is out of its range, or the padding changes the number of columns.

    Notes
    -----
    **Shape.** (events, in_c, columns) to (events, out_c, ceil(columns / stride)).

    Examples
    --------
    >>> Res1DBlock(in_c=16, out_c=32, kernel_sz=3, stride=2)(torch.zeros(2, 16, 7)).shape
    torch.Size([2, 32, 4])
    """

    def set_layers(self) -> None:
        """Build the layers."""
        self.layers = nn.ModuleList(
            [
                self.get_conv_layer(self.in_c, self.out_c, self.ks, self.pad, self.stride, pre_act=True),
                self.get_conv_layer(self.out_c, self.out_c, self.ks, self.pad, pre_act=True),
            ]
        )
        self._set_shortcut()

    def _set_shortcut(self) -> None:
        if self.pad != "auto" and 2 * self.pad != self.ks - 1:
            raise ValueError(
                f"padding must keep the number of columns with kernel_sz={self.ks}, so that input and output can be "
                f"added, got {self.pad}: leave it at 'auto'"
            )
        self.shortcut: nn.Module | None = None
        if self.stride != 1 or self.in_c != self.out_c:
            self.shortcut = _Conv(self.in_c, self.out_c, 1, 0, self.stride, 1)
            self.lookup_init("linear", self.in_c, self.out_c)(self.shortcut.weight.data)

    def convolve(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the output and which of its columns are present."""
        added = x if self.shortcut is None else convolve(self.shortcut, x, mask)[0]
        for layer in self.layers:  # type: ignore[attr-defined]
            x, mask = convolve(layer, x, mask)
        return x + added, mask


class ResNeXt1DBlock(Res1DBlock):
    """Parallel groups of convolutions to whose output the input is added (arXiv:1611.05431).

    A convolution of one column to ``inter_c * cardinality`` channels, a convolution in ``cardinality`` groups, and a
    convolution of one column to ``out_c`` channels; each after batch normalisation and activation.

    Parameters
    ----------
    in_c, out_c, kernel_sz, padding, stride, act, bn, lookup_init, lookup_act
        See `Res1DBlock`.
    inter_c
        Channels of each group.
    cardinality
        Number of groups.

    Raises
    ------
    ValueError
        If a number is out of its range, or the padding changes the number of columns.

    Notes
    -----
    **Shape.** (events, in_c, columns) to (events, out_c, ceil(columns / stride)).

    Examples
    --------
    >>> ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3)(torch.zeros(2, 32, 7)).shape
    torch.Size([2, 32, 7])
    """

    def __init__(
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
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
    ) -> None:
        check_counts(inter_c=inter_c, cardinality=cardinality)
        # the parent calls set_layers; plain attributes may be set before a module is initialised
        self.inter_c, self.cardinality = inter_c, cardinality
        super().__init__(in_c, out_c, kernel_sz, padding, stride, act, bn, lookup_init, lookup_act)

    def set_layers(self) -> None:
        """Build the layers."""
        inner = self.inter_c * self.cardinality
        self.layers = nn.ModuleList(
            [
                self.get_conv_layer(self.in_c, inner, 1, stride=self.stride, pre_act=True),
                self.get_conv_layer(inner, inner, self.ks, self.pad, pre_act=True, groups=self.cardinality),
                self.get_conv_layer(inner, self.out_c, 1, pre_act=True),
            ]
        )
        self._set_shortcut()
