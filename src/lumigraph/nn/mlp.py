"""Stacks of linear layers, used by all blocks."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..events.checks import check_dropout
from .lookups import LookupAct, LookupInit, check_lookups, lookup_act, lookup_normal_init

__all__ = ["BatchNorm", "Dense", "Layers", "batch_norm", "mlp"]


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that accepts fewer than two rows, and rows that do not count.

    A batch may hold a single event, or events without edges: in training such a batch is normalised with the running
    statistics, and leaves them unchanged.

    Examples
    --------
    >>> BatchNorm(2)(torch.ones(1, 2)).shape
    torch.Size([1, 2])
    """

    def forward(
        self, x: Float[Tensor, "rows channels"], count: Shaped[Tensor, " rows"] | None = None
    ) -> Float[Tensor, "rows channels"]:
        """Return the normalised rows.

        Parameters
        ----------
        x
            Rows.
        count
            How often each row counts in the statistics: 0 for padding, 1 for all if not given.
        """
        return batch_norm(self, x, count)

    def constants(self) -> tuple[Tensor, Tensor]:
        """Return the scale and shift of each channel in evaluation, where they are constant."""
        mean, variance = self.running_mean, self.running_var
        if mean is None or variance is None:
            raise TypeError("a batch normalisation must have running statistics to be constant in evaluation, got none")
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return scale, self.bias - mean * scale


def batch_norm(norm: nn.BatchNorm1d, x: Tensor, count: Tensor | None = None) -> Tensor:
    """Apply a batch normalisation of torch as `BatchNorm` does."""
    mean, variance = norm.running_mean, norm.running_var
    plain = not norm.training or (count is None and x.size(0) >= 2)
    if plain or mean is None or variance is None or norm.num_batches_tracked is None:
        return nn.BatchNorm1d.forward(norm, x)
    if count is not None:
        weight = count.to(x.dtype).unsqueeze(1)
        n = weight.sum()
        batch_mean = (x * weight).sum(0) / n.clamp(min=1)
        batch_variance = ((x - batch_mean).square() * weight).sum(0) / n.clamp(min=1)
        enough = n >= 2  # a tensor, not a branch, for captured graphs
        with torch.no_grad():
            rate = enough.to(x.dtype) * (norm.momentum or 0.0)
            mean.lerp_(batch_mean, rate)
            variance.lerp_(batch_variance * n / (n - 1).clamp(min=1), rate)
            norm.num_batches_tracked.add_(enough)
        mean, variance = torch.where(enough, batch_mean, mean), torch.where(enough, batch_variance, variance)
    out = (x - mean) * torch.rsqrt(variance + norm.eps)
    return out * norm.weight + norm.bias if norm.affine else out


class Layers(nn.Sequential):
    """A sequence of layers that passes ``count`` to its batch normalisations."""

    def forward(self, x: Tensor, count: Tensor | None = None) -> Tensor:
        """Return the output of the last layer; see `BatchNorm` for ``count``."""
        for layer in self:
            x = layer(x, count) if isinstance(layer, BatchNorm | Layers) else layer(x)
        return x


class Dense(Layers):
    """A linear layer followed by activation, batch normalisation and dropout, in this order.

    Parameters
    ----------
    in_channels, out_channels
        Widths of input and output.
    act
        Name of the activation; ``linear`` adds none.
    dropout
        Rate, from 0 to below 1; alpha dropout after selu.
    norm
        Whether to normalise over the batch.
    lookup_init, lookup_act
        Functions that return the initialisation of the weight and the activation by name. The bias starts at 0.

    Raises
    ------
    ValueError
        If a width is not positive or the rate is not in [0, 1).

    Examples
    --------
    >>> Dense(3, 4, act="linear")
    Dense(
      (0): Linear(in_features=3, out_features=4, bias=True)
    )
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        act: str = "relu",
        dropout: float | int | None = 0.0,
        norm: bool = False,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
    ) -> None:
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                f"a layer must have at least one input and one output, got {in_channels} -> {out_channels}"
            )
        rate = check_dropout("dropout", dropout)
        check_lookups(lookup_init=lookup_init, lookup_act=lookup_act)
        layers: list[nn.Module] = [nn.Linear(in_channels, out_channels)]
        if act != "linear":
            layers.append(lookup_act(act))
        if norm:
            layers.append(BatchNorm(out_channels))
        if rate:
            layers.append(nn.AlphaDropout(rate) if act == "selu" else nn.Dropout(rate))
        super().__init__(*layers)
        self.act = act
        self.lookup_init = lookup_init
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the weight again, set the bias to 0 and reset the running statistics."""
        for layer in self:
            if isinstance(layer, nn.Linear):
                self.lookup_init(self.act, layer.in_features, layer.out_features)(layer.weight.data)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.BatchNorm1d):
                layer.reset_parameters()
            elif isinstance(layer, nn.PReLU):
                nn.init.constant_(layer.weight, layer.init)


def mlp(
    channels: Sequence[int],
    *,
    act: str = "relu",
    dropout: float | int | None = 0.0,
    norm: bool = False,
    lookup_init: LookupInit = lookup_normal_init,
    lookup_act: LookupAct = lookup_act,
) -> Layers:
    """Return linear layers of the widths ``channels[0] -> channels[1] -> ...``, all activated, including the last.

    Parameters
    ----------
    channels
        Widths, input first.
    act, dropout, norm, lookup_init, lookup_act
        As in `Dense`.

    Raises
    ------
    ValueError
        If there is no layer, or a width is not positive.

    Examples
    --------
    >>> mlp([3, 8, 2])(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """
    if len(channels) < 2:
        raise ValueError(f"a network must have at least one layer, got the widths {list(channels)}")
    return Layers(
        *(
            Dense(i, o, act=act, dropout=dropout, norm=norm, lookup_init=lookup_init, lookup_act=lookup_act)
            for i, o in pairwise(channels)
        )
    )
