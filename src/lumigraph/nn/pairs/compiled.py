"""Pair sums on a CPU by a small C++ kernel, compiled on first use and then cached.

Compilation needs g++ (or the compiler named by ``CXX``) at run time and takes some seconds once. The kernel is kept in
``$XDG_CACHE_HOME/lumigraph``, or ``~/.cache/lumigraph`` if that is not set, one file per kind of processor. If it
cannot be compiled, or with ``LUMIGRAPH_COMPILE=0`` in the environment, plain torch computes the same.
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

import torch
from torch import Tensor, nn

from .blocks import PairPlan

__all__ = ["backward", "forward", "kernel", "supports"]

#: Number of each activation in the kernel, and the name of its slope or scale.
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
_SUFFIXES = {torch.float32: "float32", torch.float64: "float64"}
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC")
_SOURCE = Path(__file__).with_name("kernel.cpp")


def supports(acts: Sequence[nn.Module], dtype: torch.dtype) -> bool:
    """Return whether the kernel is available and supports these activations and numbers."""
    return (
        dtype in _SUFFIXES
        and kernel() is not None
        and all(type(act) in _ACTS and getattr(act, "approximate", "none") == "none" for act in acts)
    )


@cache
def kernel() -> ctypes.CDLL | None:
    """Return the kernel, compiled now if it has not been before, or None if it cannot be.

    Warns
    -----
    RuntimeWarning
        If the compiler fails.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++")
    if os.environ.get("LUMIGRAPH_COMPILE") == "0" or sys.platform != "linux" or compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: no home directory
        reason = getattr(error, "stderr", None) or error
        warnings.warn(
            f"the kernel for pair sums could not be compiled with {compiler}; plain torch, which is slower, is used "
            f"instead (LUMIGRAPH_COMPILE=0 in the environment silences this warning): {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _compiled(compiler: str) -> Path:
    """Return the file of the kernel, compiled if it does not exist yet."""
    source = _SOURCE.read_text()
    # the macros identify the compiler's version and the processor, as machines may share a home directory
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
    if not _is_whole(file):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            new = Path(place, name)
            _run(compiler, *_FLAGS, str(_SOURCE), "-o", str(new))
            with new.open("ab") as end:
                end.write(hashlib.sha256(new.read_bytes()).digest())
            new.replace(file)  # atomically, as two processes may compile at the same time
    return file


def _is_whole(file: Path) -> bool:
    """Return whether the file ends with its digest: loading half a file would crash the process."""
    content = file.read_bytes() if file.exists() else b""
    return content[-32:] == hashlib.sha256(content[:-32]).digest()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def _call(name: str, plan: PairPlan, halves: Tensor, *tensors: Tensor | None) -> None:
    """Call the kernel. ``tensors`` are those of an engine, then the kernel's additional ones."""
    depth = len(plan.acts) - 1
    biases = tensors[2 : 2 + 2 * depth : 2]
    widths = [halves.size(1) // 2, *(bias.size(0) for bias in biases if bias is not None)]
    # each further thread pays off from some ten thousand numbers
    threads = max(1, min(torch.get_num_threads(), plan.graph.num_edges * max(widths) // 2**14))
    acts = [_ACTS[type(act)] for act in plan.acts]
    sizes = (threads, plan.graph.num_graphs, depth, *widths, *(number for number, _ in acts))
    slopes = [getattr(act, slope) if slope else 0.0 for act, (_, slope) in zip(plan.acts, acts, strict=True)]
    every = (plan.graph.ptr, plan.momenta, halves, *tensors)
    places = [None if tensor is None else tensor.data_ptr() for tensor in every]
    getattr(kernel(), f"{name}_{_SUFFIXES[halves.dtype]}")(
        (ctypes.c_int64 * len(sizes))(*sizes),
        (ctypes.c_double * len(slopes))(*slopes),
        (ctypes.c_void_p * len(places))(*places),
    )


def forward(plan: PairPlan, halves: Tensor, pair_weight: Tensor | None, *weights: Tensor) -> Tensor:
    """Return the sums over senders, (particles, channels)."""
    sums = halves.new_zeros(halves.size(0), weights[-1].size(0) if weights else halves.size(1) // 2)
    _call("forward", plan, halves.contiguous(), pair_weight, *(weight.contiguous() for weight in weights), sums)
    return sums


def backward(
    plan: PairPlan,
    gradient: Tensor,
    needed: Sequence[bool],
    halves: Tensor,
    pair_weight: Tensor | None,
    *weights: Tensor,
) -> list[Tensor | None]:
    """Return the needed gradients of the halves, the weight of the pair features, and the weights."""
    halves, given = halves.contiguous(), (pair_weight, *(weight.contiguous() for weight in weights))
    # the kernel adds to the gradients of halves, and overwrites all others
    totals = [torch.zeros_like(halves), *(None if weight is None else torch.empty_like(weight) for weight in given)]
    _call("backward", plan, halves, *given, gradient.contiguous(), *totals)
    return [total if need else None for total, need in zip(totals, needed, strict=True)]
