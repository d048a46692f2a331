"""Pair sums block by block in plain torch, in scratch memory that stays in cache."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...events.graph import CompleteGraph
from ..kinematic_features import features_of_described

__all__ = ["ACTIVATIONS", "PairPlan", "all_at_once", "backward", "by_layer", "forward"]

aten = torch.ops.aten

#: Numbers in one scratch buffer, of which a block uses two to four; 1 MB each in float32 on a CPU. Smaller blocks cost
#: more calls, larger ones more memory traffic.
_BLOCK_ON_CPU, _BLOCK_ON_GPU = 2**18, 2**24

_InPlace = Callable[[Any, Tensor], Tensor]
_Derivative = Callable[[Any, Tensor, Tensor, Tensor], Tensor]

#: Activations applied in place, and their derivatives from the result: (module, gradient, result, out).
_IN_PLACE: dict[type, tuple[_InPlace, _Derivative]] = {
    nn.Identity: (lambda _, z: z, lambda _, g, y, out: out.copy_(g)),
    nn.ReLU: (
        lambda _, z: z.relu_(),
        lambda _, g, y, out: aten.threshold_backward.grad_input(g, y, 0, grad_input=out),
    ),
    nn.LeakyReLU: (
        lambda m, z: nn.functional.leaky_relu_(z, m.negative_slope),
        lambda m, g, y, out: aten.leaky_relu_backward.grad_input(g, y, m.negative_slope, True, grad_input=out),
    ),
    nn.ELU: (
        lambda m, z: nn.functional.elu_(z, m.alpha),
        lambda m, g, y, out: aten.elu_backward.grad_input(g, m.alpha, 1, 1, True, y, grad_input=out),
    ),
    nn.Tanh: (lambda _, z: z.tanh_(), lambda _, g, y, out: aten.tanh_backward.grad_input(g, y, grad_input=out)),
    nn.Sigmoid: (
        lambda _, z: z.sigmoid_(),
        lambda _, g, y, out: aten.sigmoid_backward.grad_input(g, y, grad_input=out),
    ),
}

#: Activations that can be computed in blocks; autograd derives those that are not in place.
ACTIVATIONS = (*_IN_PLACE, nn.PReLU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softmax, nn.LogSoftmax)


class PairPlan(NamedTuple):
    """The arguments of the sums that have no gradient.

    ``acts`` are the activation of receiver + sender and that of each layer; ``momenta`` are the descriptions of
    particles from which pair features are computed, see `describe`. An engine also takes these tensors: the halves
    (particles, 2 * channels), each particle as receiver and as sender, concatenated; the weight of the pair features
    (channels, features), or None; the weight and bias of each layer; the parameters of the activations.
    """

    graph: CompleteGraph
    acts: tuple[nn.Module, ...]
    momenta: Tensor | None = None


class _Block(NamedTuple):
    """Some receivers, with all their senders, of some events of the same multiplicity n."""

    first: int
    events: int
    row: int
    rows: int
    n: int

    def of_receivers(self, x: Tensor) -> Tensor:
        """Return the receivers' part of a tensor of all particles, (events, rows, 1, channels)."""
        c = x.size(1)
        return x.as_strided((self.events, self.rows, 1, c), (self.n * c, c, c, 1), (self.first + self.row) * c)

    def of_senders(self, x: Tensor) -> Tensor:
        """Return the senders' part of a tensor of all particles, (events, 1, n, channels)."""
        c = x.size(1)
        return x.as_strided((self.events, 1, self.n, c), (self.n * c, c, c, 1), self.first * c)

    def of_pairs(self, x: Tensor) -> Tensor:
        """Return a tensor of the block's pairs as (events, rows, n, channels)."""
        return x.view(self.events, self.rows, self.n, -1)


def _blocks(groups: Sequence[tuple[int, int, int]], most: int) -> Iterator[_Block]:
    """Cut groups of events into blocks of about equal size, of at most ``most`` pairs but at least one receiver."""
    for first, events, n in groups:
        count = -(-events // max(most // n**2, 1)) if n > 1 else 0
        for k in range(count):
            start, stop = events * k // count, events * (k + 1) // count
            parts = min(-(-((stop - start) * n**2) // most), n)
            for part in range(parts):
                row, end = n * part // parts, n * (part + 1) // parts
                yield _Block(first + start * n, stop - start, row, end - row, n)


class _Work:
    """The blocks and the scratch memory that they share. Sums are kept in float32 or more."""

    def __init__(
        self, plan: PairPlan, halves: Tensor, pair_weight: Tensor | None, *weights: Tensor, gradients: int
    ) -> None:
        self.acts, self.pair_weight = plan.acts, pair_weight
        self.order, groups = plan.graph.by_multiplicity()
        self.receivers, self.senders = (self.sort(half) for half in halves.chunk(2, dim=1))
        self.momenta = None if plan.momenta is None else self.sort(plan.momenta)
        self.layers, self.learned = by_layer(plan, weights)
        self.widths = [self.receivers.size(1), *(weight.size(0) for weight, _ in self.layers)]
        self.sum_dtype = torch.promote_types(halves.dtype, torch.float32)
        most = (_BLOCK_ON_CPU if halves.device.type == "cpu" else _BLOCK_ON_GPU) // max(self.widths)
        self.blocks = list(_blocks(groups, max(most, 1)))
        pairs = max((block.events * block.rows * block.n for block in self.blocks), default=0)
        sizes = [pairs * width for width in self.widths] + [pairs * max(self.widths)] * gradients
        self.scratch = halves.new_empty(sum(sizes)).split(sizes)
        self.graphs: dict[int, tuple[Tensor, ...]] | None = {} if gradients else None

    def sort(self, x: Tensor) -> Tensor:
        """Put events of the same multiplicity together."""
        return x.contiguous() if self.order is None else x.index_select(0, self.order)

    def sort_back(self, x: Tensor) -> Tensor:
        """Undo `sort`."""
        return x if self.order is None else torch.empty_like(x).index_copy_(0, self.order, x)

    def buffer(self, k: int, pairs: int, width: int) -> Tensor:
        """Return scratch memory, (pairs, width)."""
        return self.scratch[k][: pairs * width].view(pairs, width)

    def results(self, block: _Block) -> list[Tensor]:
        """Return the activated layers of a block, each (pairs, width)."""
        pairs = block.events * block.rows * block.n
        z = self.buffer(0, pairs, self.widths[0])
        torch.add(block.of_receivers(self.receivers), block.of_senders(self.senders), out=block.of_pairs(z))
        if self.pair_weight is not None and self.momenta is not None:
            torch.addmm(z, self.described(block, self.momenta), self.pair_weight.t(), out=z)
        results = [self.act(0, z)]
        for k, (weight, bias) in enumerate(self.layers, 1):
            z = torch.addmm(bias, results[-1], weight.t(), out=self.buffer(k, pairs, self.widths[k]))
            results.append(self.act(k, z))
        return results

    def described(self, block: _Block, momenta: Tensor) -> Tensor:
        """Return the features of a block's pairs, (pairs, features)."""
        found = features_of_described(block.of_receivers(momenta), block.of_senders(momenta))
        return found.to(self.receivers.dtype).flatten(0, 2)

    def act(self, k: int, z: Tensor) -> Tensor:
        """Apply an activation, and keep what its derivative needs."""
        act = self.acts[k]
        if type(act) in _IN_PLACE:
            return _IN_PLACE[type(act)][0](act, z)
        if self.graphs is None:
            return torch.func.functional_call(act, self.learned[k], (z,))
        with torch.enable_grad():
            # .data has its own version counter, as the rest of the scratch memory is written to in the meantime
            z, *learned = (t.data.requires_grad_() for t in (z, *self.learned[k].values()))
            y = torch.func.functional_call(act, dict(zip(self.learned[k], learned, strict=True)), (z,))
        self.graphs[k] = (y, z, *learned)
        return y.detach()

    def derive(self, k: int, gradient: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the gradient of an activation's input, possibly in ``out``, and those of its parameters."""
        act = self.acts[k]
        if self.graphs is None or type(act) in _IN_PLACE:
            return _IN_PLACE[type(act)][1](act, gradient, y, out), []
        y, *inputs = self.graphs.pop(k)
        before, *learned = torch.autograd.grad(y, inputs, gradient)
        return before, learned


def by_layer(plan: PairPlan, weights: Sequence[Tensor]) -> tuple[list[tuple[Tensor, Tensor]], list[dict[str, Tensor]]]:
    """Return the weight and bias of each layer, and the parameters of each activation by name."""
    left = iter(weights)
    layers = [(next(left), next(left)) for _ in plan.acts[1:]]
    # named_parameters would take longer than everything else for small events
    return layers, [{name: next(left) for name, p in act._parameters.items() if p is not None} for act in plan.acts]


def forward(plan: PairPlan, halves: Tensor, pair_weight: Tensor | None, *weights: Tensor) -> Tensor:
    """Return the sums over senders, (particles, channels)."""
    work = _Work(plan, halves, pair_weight, *weights, gradients=0)
    sums = halves.new_zeros(halves.size(0), work.widths[-1], dtype=work.sum_dtype)
    for block in work.blocks:
        last = block.of_pairs(work.results(block)[-1])
        last.diagonal(block.row, 1, 2).zero_()  # a particle is not its own sender
        torch.sum(last, 2, keepdim=True, dtype=work.sum_dtype, out=block.of_receivers(sums))
    return work.sort_back(sums.to(halves.dtype))


def backward(
    plan: PairPlan,
    gradient: Tensor,
    needed: Sequence[bool],
    halves: Tensor,
    pair_weight: Tensor | None,
    *weights: Tensor,
) -> list[Tensor | None]:
    """Return the needed gradients of the halves, the weight of the pair features, and the weights."""
    work = _Work(plan, halves, pair_weight, *weights, gradients=2)
    to_receivers, to_senders, *totals = (
        torch.zeros_like(t, dtype=work.sum_dtype) for t in (work.receivers, work.senders, *weights)
    )
    to_pairs = None if pair_weight is None else torch.zeros_like(pair_weight, dtype=work.sum_dtype)
    to_layers, to_learned = by_layer(plan, totals)

    def derive(k: int, g: Tensor, y: Tensor, out: Tensor) -> Tensor:
        before, learned = work.derive(k, g, y, out)
        for total, more in zip(to_learned[k].values(), learned, strict=True):
            total += more
        return before

    depth, gradient = len(work.layers), work.sort(gradient)
    for block in work.blocks:
        results = work.results(block)
        pairs = results[0].size(0)
        d = block.of_pairs(work.buffer(-1, pairs, work.widths[-1]))
        d.copy_(block.of_receivers(gradient)).diagonal(block.row, 1, 2).zero_()
        d = d.view(pairs, -1)
        d = derive(depth, d, results[-1], d)
        for k in range(depth, 0, -1):
            weight, bias = to_layers[k - 1]
            if needed[2 * k]:
                weight += torch.mm(d.t(), results[k - 1])
            if needed[2 * k + 1]:
                bias += d.sum(0)
            d = torch.mm(d, work.layers[k - 1][0], out=work.buffer(-1 - (depth - k + 1) % 2, pairs, work.widths[k - 1]))
            d = derive(k - 1, d, results[k - 1], d)
        if to_pairs is not None and work.momenta is not None and needed[1]:
            to_pairs += torch.mm(d.t(), work.described(block, work.momenta))
        d = block.of_pairs(d)
        torch.sum(d, 2, keepdim=True, dtype=work.sum_dtype, out=block.of_receivers(to_receivers))
        block.of_senders(to_senders).add_(d.sum(1, keepdim=True, dtype=work.sum_dtype))
    to_halves = torch.cat([work.sort_back(to_receivers), work.sort_back(to_senders)], dim=1)
    found = (to_halves, to_pairs, *totals)
    return [t.to(halves.dtype) if need and t is not None else None for t, need in zip(found, needed, strict=True)]


def all_at_once(plan: PairPlan, halves: Tensor, pair_weight: Tensor | None, *weights: Tensor) -> Tensor:
    """Return the same sums with all pairs in memory, by functions that can be differentiated twice."""
    layers, learned = by_layer(plan, weights)
    order, groups = plan.graph.by_multiplicity()
    receivers, senders = (halves if order is None else halves[order]).chunk(2, dim=1)
    momenta = plan.momenta if order is None or plan.momenta is None else plan.momenta[order]
    sums = []
    for first, events, n in groups:
        of = slice(first, first + events * n)
        y = receivers[of].unflatten(0, (events, n, 1)) + senders[of].unflatten(0, (events, 1, n))
        if momenta is not None and pair_weight is not None:
            q = features_of_described(
                momenta[of].unflatten(0, (events, n, 1)), momenta[of].unflatten(0, (events, 1, n))
            )
            y = y + nn.functional.linear(q.to(y.dtype), pair_weight)
        y = torch.func.functional_call(plan.acts[0], learned[0], (y,))
        for act, layer, parameters in zip(plan.acts[1:], layers, learned[1:], strict=True):
            y = torch.func.functional_call(act, parameters, (nn.functional.linear(y, *layer),))
        itself = torch.eye(n, dtype=torch.bool, device=y.device).unsqueeze(-1)
        sums.append(y.masked_fill(itself, 0).sum(2).flatten(0, 1))
    out = torch.cat(sums)
    return out if order is None else torch.empty_like(out).index_copy(0, order, out)
