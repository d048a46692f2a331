"""Sums of a function of pairs over the complete graph of each event, without a list of pairs.

The function is a network whose first layer splits into a receiver half and a sender half, both computed per particle.
What is left of each pair is summed by an engine, which keeps no pair: the backward pass computes them anew.
"""

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..graph import CompleteGraph
from . import pair_blocks
from .mlp import BatchNorm, Layers
from .pair_blocks import PairPlan

__all__ = ["PairNetwork", "is_pairwise", "pair_network", "pair_sums"]


class PairNetwork(NamedTuple):
    """A network of pairs, taken apart.

    act(receiver half + sender half), then a linear layer and an activation as often as there are ``layers``, summed
    over pairs, then ``affine``: scale and shift of a batch normalisation behind the last layer, if there is one.
    """

    receiver: tuple[Tensor, Tensor]
    sender: Tensor
    layers: list[tuple[Tensor, Tensor]]
    acts: list[nn.Module]
    affine: tuple[Tensor, Tensor] | None


def is_pairwise(layers: Layers) -> bool:
    """Tell whether a stack of `lumigraph.nn.Dense` treats each pair by itself, in a way that is known here.

    Linear layers and the activations of `lumigraph.nn.lookup_act` do. So do batch normalisation and dropout in
    evaluation, where they are constants; in training the one takes its statistics from all pairs, the other draws
    numbers that both passes need. Modules of other types, or with hooks, have to be called as they are.
    """
    for dense in layers:
        linear, *behind = dense if isinstance(dense, Layers) else [dense]
        if type(linear) is not nn.Linear or linear.bias is None:
            return False
        known = [type(module) for module in behind if not _is_idle(module)]
        if known[:1] and known[0] in pair_blocks.ACTIVATIONS:
            known = known[1:]
        if known not in ([], [BatchNorm]) or any(type(m) is BatchNorm and m.training for m in behind):
            return False
    return not any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in layers.modules()
    )


def _is_idle(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout | nn.AlphaDropout) and not (module.training and module.p)


def pair_network(layers: Layers, in_channels: int) -> PairNetwork:
    """Take a stack of `lumigraph.nn.Dense` apart, for which `is_pairwise` holds."""
    linear: list[tuple[Tensor, Tensor]] = []
    acts: list[nn.Module] = []
    affine: tuple[Tensor, Tensor] | None = None
    for dense in layers:
        first, *behind = (module for module in cast(Layers, dense) if not _is_idle(module))
        weight, bias = first.weight, first.bias
        if affine is not None:  # a batch normalisation goes into the layer behind it
            weight, bias = weight * affine[0], bias + weight @ affine[1]
        affine = behind.pop().constants() if behind and isinstance(behind[-1], BatchNorm) else None
        linear.append((weight, bias))
        acts.append(behind[0] if behind else nn.Identity())
    (weight, bias), *rest = linear
    return PairNetwork((weight[:, :in_channels], bias), weight[:, in_channels:], rest, acts, affine)


def pair_sums(
    network: PairNetwork, x: Float[Tensor, "particles channels"], graph: CompleteGraph
) -> Float[Tensor, "particles effects"]:
    """Return, for each particle, the network of pairs summed over the other particles of its event.

    Two runs agree bit for bit. A second derivative is right, but takes memory for all pairs.
    """
    order, groups = graph.by_multiplicity()
    ordered = x if order is None else x.index_select(0, order)
    receivers = nn.functional.linear(ordered, *network.receiver)
    senders = nn.functional.linear(ordered, network.sender)
    weights = [parameter for layer in network.layers for parameter in layer]
    weights += [parameter for act in network.acts for parameter in act.parameters()]
    plan = PairPlan(groups, tuple(network.acts))
    sums: Tensor = _PairSums.apply(plan, receivers, senders, *(w.to(receivers.dtype) for w in weights))
    if order is not None:
        sums = torch.empty_like(sums).index_copy(0, order, sums)
    if network.affine is not None:
        scale, shift = network.affine
        sums = sums * scale + (graph.lengths - 1)[graph.batch].unsqueeze(1) * shift
    return sums


class _PairSums(torch.autograd.Function):
    """Sums of act(receiver + sender) -> layers over the senders of each receiver."""

    @staticmethod
    def forward(plan: PairPlan, receivers: Tensor, senders: Tensor, *weights: Tensor) -> Tensor:
        return pair_blocks.forward(plan, receivers, senders, *weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.plan = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
            sums = pair_blocks.all_at_once(ctx.plan, *inputs)
            found = iter(torch.autograd.grad(sums, wanted, gradients, create_graph=True))
            return None, *(next(found) if need else None for need in needed)
        return None, *pair_blocks.backward(ctx.plan, gradients[0].contiguous(), needed, *inputs)
