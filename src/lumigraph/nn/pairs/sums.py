"""Sums of a function of pairs over the complete graph of each event, without a list of pairs.

The function is a network whose first layer splits into a receiver half and a sender half, both computed per particle,
and a part for the pair features, if any. An engine computes the rest per pair and sums it. It stores no pairs: the
backward pass recomputes them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...events.graph import CompleteGraph
from ..kinematic_features import describe
from ..mlp import BatchNorm, Dense, Layers
from . import blocks as pair_blocks
from .blocks import PairPlan

__all__ = ["Engine", "PairLayer", "pair_sums", "take_apart"]


@runtime_checkable
class Engine(Protocol):
    """An implementation of the sums and their derivatives."""

    def forward(self, plan: PairPlan, halves: Tensor, pair_weight: Tensor | None, *weights: Tensor) -> Tensor:
        """Return the sums over senders, (particles, channels)."""

    def backward(
        self,
        plan: PairPlan,
        gradient: Tensor,
        needed: Sequence[bool],
        halves: Tensor,
        pair_weight: Tensor | None,
        *weights: Tensor,
    ) -> list[Tensor | None]:
        """Return the needed gradients of the halves, the weight of the pair features, and the weights."""


class PairLayer(NamedTuple):
    """A linear layer, its activation, and the batch normalisation after that."""

    weight: Tensor
    bias: Tensor
    act: nn.Module
    norm: BatchNorm | None


def take_apart(layers: Layers) -> list[PairLayer] | None:
    """Return what a stack of `lumigraph.nn.Dense` does with each pair, or None if it cannot treat pairs one by one.

    It can with linear layers and the activations of `lumigraph.nn.lookup_act`, and in evaluation also with batch
    normalisation and dropout, which are constant there. In training, batch normalisation takes its statistics from all
    pairs, and dropout draws numbers that both passes need. Modules of other types, or with hooks, must be called
    themselves.
    """
    if _is_watched(layers):
        return None
    parts = []
    for dense in layers._modules.values():
        if type(dense) is not Dense or _is_watched(dense):
            return None
        linear, *rest = dense._modules.values()
        if type(linear) is not nn.Linear or linear.bias is None or _is_watched(linear):
            return None
        act, norm = _LINEAR, None
        for module in rest:
            if type(module) in pair_blocks.ACTIVATIONS and act is _LINEAR:
                act = module
            elif type(module) is BatchNorm and not module.training:
                norm = module
            elif not isinstance(module, nn.Dropout | nn.AlphaDropout) or (module.training and module.p):
                return None
            if _is_watched(module):
                return None
        parts.append(PairLayer(linear.weight, linear.bias, act, norm))
    return parts


_LINEAR: nn.Module = nn.Identity()


def _is_watched(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def pair_sums(
    layers: Sequence[PairLayer],
    x: Float[Tensor, "particles channels"],
    graph: CompleteGraph,
    engine: Engine,
    p4: Float[Tensor, "particles 4"] | None = None,
) -> Float[Tensor, "particles effects"]:
    """Return layers([x_i, x_j]) summed over the other particles j of the event, for each particle i.

    Two runs agree bit for bit. Second derivatives are supported, but take memory for all pairs.

    Parameters
    ----------
    layers
        From `take_apart`.
    x, graph
        Particles and their events.
    engine
        Computes the sums.
    p4
        Four-momenta, treated as constants: with them the sum is over layers([x_i, x_j, pair_features(i, j)]).
    """
    weights: list[Tensor] = []
    affine: tuple[Tensor, Tensor] | None = None
    for weight, bias, _, norm in layers:
        # a batch normalisation is merged into the next layer
        weights += (weight, bias) if affine is None else (weight * affine[0], bias + weight @ affine[1])
        affine = None if norm is None else norm.constants()
    acts = tuple(layer.act for layer in layers)
    weights += [parameter for act in acts for parameter in act._parameters.values() if parameter is not None]
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    tensors = [x, *weights] if x.dtype == dtype else [t.to(dtype) for t in (x, *weights)]
    momenta = None if p4 is None else describe(p4.detach())
    sums: Tensor = _PairSums.apply(engine, PairPlan(graph, acts, momenta), *tensors)
    if affine is None:
        return sums
    others = (graph.lengths - 1)[graph.batch].unsqueeze(1)
    return sums * affine[0] + others * affine[1]


class _PairSums(torch.autograd.Function):
    """The sums as a function of particles and weights. No pairs are stored; the backward pass recomputes them."""

    @staticmethod
    def forward(ctx: Any, engine: Engine, plan: PairPlan, x: Tensor, *weights: Tensor) -> Tensor:
        # the older form, with ctx: the call of the newer one takes longer than everything else for small events
        ctx.engine, ctx.plan = engine, plan
        stacked, pair_weight = _parted(weights[0], x)
        halves = _halves(x, stacked, weights[1])
        ctx.save_for_backward(halves, stacked, pair_weight, x, *weights)
        return engine.forward(plan, halves, pair_weight, *weights[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        halves, stacked, pair_weight, x, weight, bias, *inner = ctx.saved_tensors
        needed = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # a second derivative will be taken
            wanted = [tensor for tensor, need in zip((x, weight, bias, *inner), needed, strict=True) if need]
            stacked, pair_weight = _parted(weight, x)
            sums = pair_blocks.all_at_once(ctx.plan, _halves(x, stacked, bias), pair_weight, *inner)
            found = iter(torch.autograd.grad(sums, wanted, gradients, create_graph=True))
            return None, None, *(next(found) if need else None for need in needed)
        asked = (any(needed[:3]), needed[1] and pair_weight is not None, *needed[3:])
        to_halves, to_pairs, *rest = ctx.engine.backward(ctx.plan, gradients[0], asked, halves, pair_weight, *inner)
        if to_halves is None:
            return None, None, None, None, None, *rest
        return (
            None,
            None,
            to_halves @ stacked if needed[0] else None,
            torch.cat([*(to_halves.t() @ x).chunk(2), *([] if to_pairs is None else [to_pairs])], dim=1)
            if needed[1]
            else None,
            to_halves[:, : bias.size(0)].sum(0) if needed[2] else None,
            *rest,
        )


def _halves(x: Tensor, stacked: Tensor, bias: Tensor) -> Tensor:
    """Return the first layer of each particle as receiver and as sender, concatenated."""
    return nn.functional.linear(x, stacked, torch.cat([bias, torch.zeros_like(bias)]))


def _parted(weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the stacked weights of receivers and senders, and that of the pair features or None."""
    receivers, senders, pairs = weight.tensor_split((x.size(1), 2 * x.size(1)), dim=1)
    return torch.cat([receivers, senders]), pairs.contiguous() if pairs.size(1) else None
