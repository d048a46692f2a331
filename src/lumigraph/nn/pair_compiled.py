"""Pair sums on a CPU by a small C++ kernel, which is compiled when it is first needed and kept for later.

The kernel needs g++ (or the compiler that ``CXX`` names) at run time, takes some seconds once, and is kept in
``$XDG_CACHE_HOME/lumigraph``, ``~/.cache/lumigraph`` if that is not set, one file for each kind of processor. Where it
can't be compiled, or with ``LUMIGRAPH_COMPILE=0`` in the environment, the same is done in plain torch.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .pair_blocks import PairPlan, by_layer

__all__ = ["backward", "forward", "kernel", "supports"]

#: Numbers of the activations in the kernel, and the slope or scale that goes with each.
_ACTS: dict[type, tuple[int, str | None]] = {
    nn.Identity: (0, None),
    nn.ReLU: (1, None),
    nn.LeakyReLU: (2, "negative_slope"),
    nn.ELU: (3, "alpha"),
    nn.SELU: (4, None),
    nn.Tanh: (5, None),
    nn.Sigmoid: (6, None),
    nn.SiLU: (7, None),
    nn.Mish: (8, None),
    nn.GELU: (9, None),
}
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC")
_SOURCE = Path(__file__).with_name("pair_kernel.cpp")


def supports(acts: Sequence[nn.Module], device: str, dtype: torch.dtype) -> bool:
    """Tell whether the kernel knows this kind of work, and is there."""
    if device != "cpu" or dtype not in (torch.float32, torch.float64) or kernel() is None:
        return False
    return all(type(act) in _ACTS and getattr(act, "approximate", "none") == "none" for act in acts)


@cache
def kernel() -> ctypes.CDLL | None:
    """Return the kernel, compiled now if it has not been before; None where it can't be.

    Warns
    -----
    RuntimeWarning
        If there is a compiler, but it fails.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++")
    if os.environ.get("LUMIGRAPH_COMPILE") == "0" or sys.platform != "linux" or compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        warnings.warn(
            f"the kernel for pair sums could not be compiled with {compiler}, so plain torch is used, which is slower "
            f"(LUMIGRAPH_COMPILE=0 in the environment silences this): {said}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _compiled(compiler: str) -> Path:
    """Return the file of the kernel, compiled if it is not there yet."""
    source = _SOURCE.read_text()
    # the macros tell the compiler's version and what the processor can do: home directories are shared between machines
    macros = _run(compiler, *_FLAGS[:2], "-dM", "-E", "-x", "c++", os.devnull)
    name = f"pair_kernel-{hashlib.sha256(repr((source, _FLAGS, macros)).encode()).hexdigest()[:20]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lumigraph"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK):
            raise PermissionError(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="lumigraph-"))
    file = folder / name
    if not file.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            _run(compiler, *_FLAGS, str(_SOURCE), "-o", f"{place}/{name}")
            Path(place, name).replace(file)  # whole or not at all, also when two processes do this at once
    return file


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


class _Call:
    """The arguments that both directions have in common, as the kernel takes them."""

    def __init__(self, plan: PairPlan, receivers: Tensor, senders: Tensor, *weights: Tensor) -> None:
        layers, _ = by_layer(plan, weights)
        self.tensors = [t.contiguous() for t in (receivers, senders, *(t for layer in layers for t in layer))]
        self.widths = [receivers.size(1), *(weight.size(0) for weight, _ in layers)]
        self.suffix = "float32" if receivers.dtype == torch.float32 else "float64"
        acts = [_ACTS[type(act)] for act in plan.acts]
        self.ptr = plan.graph.ptr.contiguous()
        self.common = (
            ctypes.c_int64(plan.graph.num_graphs),
            _address(self.ptr),
            len(layers),
            _array(ctypes.c_int64, self.widths),
            _array(ctypes.c_int64, [number for number, _ in acts]),
            _array(ctypes.c_double, [getattr(a, n) if n else 0.0 for a, (_, n) in zip(plan.acts, acts, strict=True)]),
            _address(self.tensors[0]),
            _address(self.tensors[1]),
            _addresses(self.tensors[2:]),
        )
        # a thread more pays from some ten thousand numbers on
        work = plan.graph.num_edges * max(self.widths)
        self.threads = max(1, min(torch.get_num_threads(), work // 2**14))

    def __call__(self, name: str, *more: Any) -> None:
        getattr(kernel(), f"{name}_{self.suffix}")(*self.common, *more, self.threads)


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[Any]:
    return _array(ctypes.c_void_p, [tensor.data_ptr() for tensor in tensors])


def _array(kind: Any, values: Sequence[Any]) -> ctypes.Array[Any]:
    return (kind * len(values))(*values)


def forward(plan: PairPlan, receivers: Tensor, senders: Tensor, *weights: Tensor) -> Tensor:
    """Return the sums over senders, (particles, channels)."""
    call = _Call(plan, receivers, senders, *weights)
    sums = receivers.new_zeros(receivers.size(0), call.widths[-1])
    call("forward", _address(sums))
    return sums


def backward(
    plan: PairPlan, gradient: Tensor, needed: Sequence[bool], receivers: Tensor, senders: Tensor, *weights: Tensor
) -> list[Tensor | None]:
    """Return the gradients of receivers, senders and weights from that of the sums, those that are needed."""
    call = _Call(plan, receivers, senders, *weights)
    totals = [torch.zeros_like(tensor) for tensor in call.tensors]
    gradient = gradient.contiguous()
    call("backward", _address(gradient), _address(totals[0]), _address(totals[1]), _addresses(totals[2:]))
    return [total if need else None for total, need in zip(totals, needed, strict=True)]
