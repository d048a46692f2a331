# ruff: noqa: ANN001, ANN202 -- arguments of kernels have no types in Python
"""Pair sums on a GPU by fused kernels in Triton, in the style of FlashAttention.

A program takes a tile of receivers and loops over the senders of their event, tile by tile. The layers of a tile of
pairs run in registers and shared memory, and only the sums over senders are written: memory does not grow with the
number of pairs. The backward pass recomputes the pairs twice, with receivers and with senders in the role of the
receivers, so that only one program writes each particle's gradient. For a layer's weights, each of a fixed number of
programs sums its share of the tiles. No two programs add to the same number, so two runs agree bit for bit.

References
----------
.. [1] T. Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning", arXiv:2307.08691.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any, no_type_check

import torch
from torch import Tensor, nn

from ...events.graph import CompleteGraph, lengths_to_ptr
from .blocks import PairPlan, by_layer

__all__ = ["backward", "forward", "supports"]

#: Number of each activation in the kernels, and the name of its slope or scale.
_ACTS: dict[type, tuple[int, str | None]] = {
    nn.Identity: (0, None),
    nn.ReLU: (1, None),
    nn.LeakyReLU: (2, "negative_slope"),
    nn.ELU: (3, "alpha"),
    nn.SELU: (4, None),
    nn.Tanh: (5, None),
    nn.Sigmoid: (6, None),
    nn.SiLU: (7, None),
    nn.GELU: (8, None),
}
#: The widest layer for each dtype whose tiles fit into registers.
_WIDEST = {torch.float32: 64, torch.float16: 128, torch.bfloat16: 128}
#: Numbers in a tile of pairs, which must fit into registers too.
_TILE = 2048


def supports(acts: Sequence[nn.Module], device: torch.device, dtype: torch.dtype, widths: Sequence[int]) -> bool:
    """Return whether the kernels support these activations and numbers, and run on the device.

    Parameters
    ----------
    acts
        The activation of receiver + sender, and that of each layer.
    device, dtype
        Device and dtype of the particles.
    widths
        Channels of receiver + sender, and of each layer.
    """
    if device.type != "cuda" or not all(1 <= width <= _WIDEST.get(dtype, 0) for width in widths):
        return False
    if not all(type(act) in _ACTS and getattr(act, "approximate", "none") == "none" for act in acts):
        return False
    return len(_parameters(acts)) <= 1 and _shared_memory(widths, dtype) <= _shared_memory_of(device)


def _parameters(acts: Sequence[nn.Module]) -> set[float]:
    """Return the slopes and scales of activations; the kernels support a single one."""
    return {getattr(act, name) for act in acts if (name := _ACTS[type(act)][1])}


def _shared_memory(widths: Sequence[int], dtype: torch.dtype) -> int:
    """Return the maximum number of bytes that a program needs: all weights, for both directions, and some tiles."""
    padded = [_padded(width) for width in widths]
    weights = sum(c * e for c, e in pairwise(padded)) * dtype.itemsize
    return 2 * weights * (2 if _precision(dtype) == "tf32x3" else 1) + 4 * 4 * _TILE


@cache
def _shared_memory_of(device: torch.device) -> int:
    """Return the number of bytes available to a program; 0 without a Triton that supports these kernels."""
    try:
        version = import_module("triton").__version__
    except ImportError:
        return 0
    if torch.version.hip or tuple(map(int, version.split(".")[:2])) < (3, 3):
        return 0
    properties = torch.cuda.get_device_properties(device)
    return getattr(properties, "shared_memory_per_block_optin", 0) if properties.major >= 8 else 0


def _precision(dtype: torch.dtype) -> str:
    """Return how matrices are multiplied: with or without TF32, as torch is configured.

    Without it, three products of TF32 numbers replace one of float32 numbers, and are as exact. Multiplying float32
    numbers directly, as torch does, would need more registers than a tile has.
    """
    if dtype != torch.float32:
        return "tf32"  # has no effect on other dtypes
    matmul = torch.backends.cuda.matmul
    new = hasattr(matmul, "fp32_precision")  # since torch 2.9, in which the old name may raise
    return "tf32" if (matmul.fp32_precision == "tf32" if new else matmul.allow_tf32) else "tf32x3"


def _padded(width: int) -> int:
    """Return the width of a layer in the kernels: matrix products need powers of two, at least 16."""
    return max(16, 2 ** (width - 1).bit_length())


class _Call:
    """The arguments that the kernels have in common.

    An activation that is not 0 at 0 fills the padding of layers with numbers, but they are multiplied by weights and
    gradients that are 0.
    """

    def __init__(self, plan: PairPlan, halves: Tensor, *weights: Tensor) -> None:
        layers, _ = by_layer(plan, weights)
        self.receivers, self.senders = (half.contiguous() for half in halves.chunk(2, dim=1))
        self.channels = [self.receivers.size(1), *(weight.size(0) for weight, _ in layers)]
        widths = [_padded(width) for width in self.channels]
        #: for each layer the transposed weight, with the bias as its last row
        self.shapes = [(c + 1, e) for c, e in pairwise(widths)]
        sizes = [rows * columns for rows, columns in self.shapes]
        self.weights = halves.new_zeros(sum(sizes))
        for place, shape, (weight, bias) in zip(self.weights.split(sizes), self.shapes, layers, strict=True):
            place.view(shape)[: weight.size(1), : weight.size(0)] = weight.t()
            place.view(shape)[-1, : weight.size(0)] = bias
        pairs = min(_TILE // max(widths), 64)
        stay = 8 if pairs == 64 else 4  # small, so that small events fill a tile
        self.tiles = _tiles(plan.graph, halves.size(0), stay)
        precision = _precision(halves.dtype)
        self.constants = {
            "CHANNELS": self.channels[0],
            "EFFECTS": self.channels[-1],
            "WIDTHS": _as_digits(widths),
            "ACTS": _as_digits([_ACTS[type(act)][0] for act in plan.acts]),
            "PARAMETER": max(_parameters(plan.acts), default=0.0),
            "DEPTH": len(layers),
            "PRECISION": precision,
            "STAY": stay,
            "PASS": pairs // stay,
            "num_warps": 4,
            "num_stages": 1 if precision == "tf32x3" else 2,
            "enable_fp_fusion": True,
        }

    def __call__(self, kernel: str, programs: int, *tensors: Tensor, **constants: Any) -> None:
        """Run a kernel."""
        if programs:
            with torch.cuda.device_of(self.receivers):
                _kernels()[kernel][(programs,)](*tensors, **constants, **self.constants)

    def programs(self) -> int:
        """Return the number of programs that share the gradients of weights: two per multiprocessor."""
        if self.receivers.device.type == "cpu":  # Triton's interpreter
            return 2
        return 2 * torch.cuda.get_device_properties(self.receivers.device).multi_processor_count


def _as_digits(numbers: Sequence[int]) -> int:
    """Pack one number per layer into a single one, as Triton before 3.6 accepts no tuples as constants."""
    return sum(number << 8 * k for k, number in enumerate(numbers))


def _tiles(graph: CompleteGraph, particles: int, stay: int) -> Tensor:
    """Return for each tile the first particle and the length of its event, and the tile's first particle within it."""
    ends = lengths_to_ptr((graph.lengths + stay - 1) // stay)
    # an upper limit, as the exact number would need a synchronisation with the device; surplus tiles are in no event
    tile = torch.arange(particles // stay + graph.num_graphs, device=graph.ptr.device)
    event = torch.searchsorted(ends, tile, right=True) - 1
    lengths = nn.functional.pad(graph.lengths, (0, 1))
    return torch.stack([graph.ptr[event], lengths[event], (tile - ends[event]) * stay], dim=1)


def forward(plan: PairPlan, halves: Tensor, pair_weight: Tensor | None, *weights: Tensor) -> Tensor:
    """Return the sums over senders, (particles, channels). These kernels do not support pair features."""
    call = _Call(plan, halves, *weights)
    sums = halves.new_empty(halves.size(0), call.channels[-1])
    call("sum_pairs", call.tiles.size(0), call.tiles, call.receivers, call.senders, call.weights, sums)
    return sums


def backward(
    plan: PairPlan,
    gradient: Tensor,
    needed: Sequence[bool],
    halves: Tensor,
    pair_weight: Tensor | None,
    *weights: Tensor,
) -> list[Tensor | None]:
    """Return the needed gradients of the halves and the weights from that of the sums."""
    call = _Call(plan, halves, *weights)
    gradient, tiles = gradient.contiguous(), call.tiles.size(0)
    found: list[Tensor | None] = [None] * len(needed)
    if needed[0]:
        sides = [torch.empty_like(call.receivers) for _ in range(2)]
        for out, own, others in zip(sides, (call.receivers, call.senders), (call.senders, call.receivers), strict=True):
            tensors = (call.tiles, own, others, call.weights, gradient, out)
            call("derive_particles", tiles, *tensors, RECEIVES=out is sides[0])
        found[0] = torch.cat(sides, dim=1)
    for k, shape in enumerate(call.shapes, 1):
        if needed[2 * k] or needed[2 * k + 1]:
            parts = halves.new_empty(call.programs(), *shape, dtype=torch.float32)
            tensors = (call.tiles, call.receivers, call.senders, call.weights, gradient, parts)
            call("derive_layer", parts.size(0), *tensors, count=tiles, LAYER=k)
            total = parts.sum(0)[:, : call.channels[k]].to(halves.dtype)
            found[2 * k] = total[: call.channels[k - 1]].t().contiguous() if needed[2 * k] else None
            found[2 * k + 1] = total[-1] if needed[2 * k + 1] else None
    return found


#: triton.language, once the kernels are defined. Triton also looks up names used in kernels in the module.
tl: Any


@cache
@no_type_check
def _kernels() -> dict[str, Any]:
    """Return the kernels, defined on first use, as Triton may be missing."""
    global tl, _tanh, _expm1, _activate, _matrix, _layers, _through_layer, _tile, _rows, _pairs, _sum_up
    triton, tl = import_module("triton"), import_module("triton.language")

    @triton.jit
    def _tanh(z):
        """Return tanh(z), as exact near 0 as elsewhere."""
        e = tl.exp(-2 * tl.abs(z))
        t = (1 - e) / (1 + e)
        q = z * z
        near = z * (1 + q * (-1 / 3 + q * (2 / 15 + q * (-17 / 315 + q * (62 / 2835)))))
        return tl.where(q < 0.09, near, tl.where(z < 0, -t, t))

    @triton.jit
    def _expm1(z):
        """Return exp(z) - 1 below 0, and 0 above."""
        t = _tanh(tl.where(z > 0, 0.0, z) / 2)
        return 2 * t / (1 - t)

    @triton.jit
    def _activate(z, ACT: tl.constexpr, PARAMETER: tl.constexpr):
        """Return an activation and its derivative."""
        if ACT == 0:
            y = z
            slope = tl.full(z.shape, 1.0, tl.float32)
        elif ACT == 1:
            y = tl.where(z <= 0, 0.0, z)
            slope = tl.where(z <= 0, 0.0, 1.0)
        elif ACT == 2:
            slope = tl.where(z > 0, 1.0, PARAMETER)
            y = z * slope
        elif ACT == 3:
            y = tl.where(z > 0, z, PARAMETER * _expm1(z))
            slope = tl.where(z > 0, 1.0, y + PARAMETER)
        elif ACT == 4:
            y = 1.0507009873554805 * tl.where(z > 0, z, 1.6732632423543772 * _expm1(z))
            slope = tl.where(z > 0, 1.0507009873554805, y + 1.7580993408473766)
        elif ACT == 5:
            y = _tanh(z)
            slope = 1 - y * y
        elif ACT == 6:
            y = tl.sigmoid(z)
            slope = y * (1 - y)
        elif ACT == 7:
            s = tl.sigmoid(z)
            y = z * s
            slope = s * (1 + z * (1 - s))
        else:
            p = 0.5 * (1 + tl.erf(0.7071067811865476 * z))
            y = z * p
            slope = p + z * 0.3989422804014327 * tl.exp(-0.5 * z * z)
        return y, slope

    @triton.jit
    def _matrix(x, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
        """Return the pointers to the numbers of a matrix."""
        return x + tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]

    @triton.jit
    def _layers(
        z, weights, K: tl.constexpr,
        WIDTHS: tl.constexpr, ACTS: tl.constexpr, PARAMETER: tl.constexpr, PRECISION: tl.constexpr,
    ):  # fmt: skip
        """Return the activated layer K, the derivative of the activation, and the pointer to the next weights."""
        for k in tl.static_range(K):
            y, _ = _activate(z, ACTS >> 8 * k & 255, PARAMETER)
            w = tl.load(_matrix(weights, WIDTHS >> 8 * k & 255, WIDTHS >> 8 * k + 8 & 255))
            bias = tl.load(weights + w.shape[0] * w.shape[1] + tl.arange(0, w.shape[1]))
            z = tl.dot(y.to(w.dtype), w, input_precision=PRECISION) + bias[None, :]
            weights += (w.shape[0] + 1) * w.shape[1]
        y, slope = _activate(z, ACTS >> 8 * K & 255, PARAMETER)
        return y, slope, weights

    @triton.jit
    def _through_layer(
        d, z, weights, K: tl.constexpr,
        WIDTHS: tl.constexpr, ACTS: tl.constexpr, PARAMETER: tl.constexpr, PRECISION: tl.constexpr,
    ):  # fmt: skip
        """Return the gradient of the input of layer K from that of its activated output.

        It reads as if the earlier layers were recomputed each time, but the compiler merges these computations.
        """
        _, slope, _ = _layers(z, weights, K, WIDTHS, ACTS, PARAMETER, PRECISION)
        _, _, weights = _layers(z, weights, K - 1, WIDTHS, ACTS, PARAMETER, PRECISION)
        w = tl.load(_matrix(weights, WIDTHS >> 8 * K - 8 & 255, WIDTHS >> 8 * K & 255))
        return tl.dot((d * slope).to(w.dtype), tl.trans(w), input_precision=PRECISION)

    @triton.jit
    def _tile(tiles, tile):
        """Return the first particle and the length of an event, and where the tile begins in it.

        Numbers of particles take 64 bits, those within an event 32.
        """
        tiles += 3 * tile
        return tl.load(tiles), tl.load(tiles + 1).to(tl.int32), tl.load(tiles + 2).to(tl.int32)

    @triton.jit
    def _pairs(start, column, n, STAY: tl.constexpr, PASS: tl.constexpr):
        """Return for each pair of a tile the particle that stays, the one that passes, and whether the pair exists."""
        pair = tl.arange(0, STAY * PASS)
        i, j = start + pair // PASS, column + pair % PASS
        return i, j, (i < n) & (j < n) & (i != j)

    @triton.jit
    def _rows(x, first, i, valid, CHANNELS: tl.constexpr, WIDTH: tl.constexpr):
        """Return rows i of an event in float32, 0 where invalid."""
        c = tl.arange(0, WIDTH)
        mask = valid[:, None] & (c < CHANNELS)[None, :]
        return tl.load(x + first * CHANNELS + i[:, None] * CHANNELS + c[None, :], mask=mask, other=0.0).to(tl.float32)

    @triton.jit
    def _sum_up(x, values, first, start, n, CHANNELS: tl.constexpr, STAY: tl.constexpr, PASS: tl.constexpr):
        """Write the sums over the particles that pass."""
        i, c = start + tl.arange(0, STAY), tl.arange(0, values.shape[1])
        sums = tl.sum(tl.reshape(values, (STAY, PASS, values.shape[1])), 1)
        mask = (i < n)[:, None] & (c < CHANNELS)[None, :]
        tl.store(x + first * CHANNELS + i[:, None] * CHANNELS + c[None, :], sums, mask=mask)

    @triton.jit
    def sum_pairs(
        tiles, receivers, senders, weights, sums,
        CHANNELS: tl.constexpr, EFFECTS: tl.constexpr, WIDTHS: tl.constexpr, ACTS: tl.constexpr,
        PARAMETER: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr, STAY: tl.constexpr, PASS: tl.constexpr,
    ):  # fmt: skip
        first, n, start = _tile(tiles, tl.program_id(0))
        total = tl.zeros((STAY * PASS, WIDTHS >> 8 * DEPTH & 255), tl.float32)
        for column in range(0, n, PASS):
            i, j, valid = _pairs(start, column, n, STAY, PASS)
            z = _rows(receivers, first, i, valid, CHANNELS, WIDTHS & 255)
            z += _rows(senders, first, j, valid, CHANNELS, WIDTHS & 255)
            y, _, _ = _layers(z, weights, DEPTH, WIDTHS, ACTS, PARAMETER, PRECISION)
            total += tl.where(valid[:, None], y, 0.0)
        _sum_up(sums, total, first, start, n, EFFECTS, STAY, PASS)

    @triton.jit
    def derive_particles(
        tiles, own, others, weights, gradient, out, RECEIVES: tl.constexpr,
        CHANNELS: tl.constexpr, EFFECTS: tl.constexpr, WIDTHS: tl.constexpr, ACTS: tl.constexpr,
        PARAMETER: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr, STAY: tl.constexpr, PASS: tl.constexpr,
    ):  # fmt: skip
        first, n, start = _tile(tiles, tl.program_id(0))
        total = tl.zeros((STAY * PASS, WIDTHS & 255), tl.float32)
        for column in range(0, n, PASS):
            i, j, valid = _pairs(start, column, n, STAY, PASS)
            z = _rows(own, first, i, valid, CHANNELS, WIDTHS & 255)
            z += _rows(others, first, j, valid, CHANNELS, WIDTHS & 255)
            d = _rows(gradient, first, i if RECEIVES else j, valid, EFFECTS, WIDTHS >> 8 * DEPTH & 255)
            for k in tl.static_range(DEPTH):
                d = _through_layer(d, z, weights, DEPTH - k, WIDTHS, ACTS, PARAMETER, PRECISION)
            _, slope, _ = _layers(z, weights, 0, WIDTHS, ACTS, PARAMETER, PRECISION)
            total += d * slope
        _sum_up(out, total, first, start, n, CHANNELS, STAY, PASS)

    @triton.jit(do_not_specialize=["count"])
    def derive_layer(
        tiles, receivers, senders, weights, gradient, parts, count, LAYER: tl.constexpr,
        CHANNELS: tl.constexpr, EFFECTS: tl.constexpr, WIDTHS: tl.constexpr, ACTS: tl.constexpr,
        PARAMETER: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr, STAY: tl.constexpr, PASS: tl.constexpr,
    ):  # fmt: skip
        IN: tl.constexpr = WIDTHS >> 8 * LAYER - 8 & 255
        OUT: tl.constexpr = WIDTHS >> 8 * LAYER & 255
        of_weight = tl.zeros((IN, OUT), tl.float32)
        of_bias = tl.zeros((16, OUT), tl.float32)
        ones = tl.full((16, STAY * PASS), 1.0, weights.dtype.element_ty)
        for tile in range(tl.program_id(0), count, tl.num_programs(0)):
            first, n, start = _tile(tiles, tile)
            for column in range(0, n, PASS):
                i, j, valid = _pairs(start, column, n, STAY, PASS)
                z = _rows(receivers, first, i, valid, CHANNELS, WIDTHS & 255)
                z += _rows(senders, first, j, valid, CHANNELS, WIDTHS & 255)
                d = _rows(gradient, first, i, valid, EFFECTS, WIDTHS >> 8 * DEPTH & 255)
                for k in tl.static_range(DEPTH - LAYER):
                    d = _through_layer(d, z, weights, DEPTH - k, WIDTHS, ACTS, PARAMETER, PRECISION)
                _, slope, _ = _layers(z, weights, LAYER, WIDTHS, ACTS, PARAMETER, PRECISION)
                y, _, _ = _layers(z, weights, LAYER - 1, WIDTHS, ACTS, PARAMETER, PRECISION)
                d = (d * slope).to(ones.dtype)
                of_weight = tl.dot(tl.trans(y.to(ones.dtype)), d, of_weight, input_precision=PRECISION)
                # multiplying by a matrix of ones (one row would be enough) is cheaper than a sum over pairs
                of_bias = tl.dot(ones, d, of_bias, input_precision=PRECISION)
        parts += tl.program_id(0).to(tl.int64) * ((IN + 1) * OUT)
        tl.store(_matrix(parts, IN, OUT), of_weight)
        tl.store(parts + IN * OUT + tl.arange(0, OUT), tl.max(of_bias, 0))

    return {kernel.__name__: kernel for kernel in (sum_pairs, derive_particles, derive_layer)}
