"""The base class of blocks, which count, freeze and unfreeze their parameters and know their output size."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AbsBlock", "evaluating", "in_precision", "vectors"]


class AbsBlock(nn.Module, ABC):
    """A part of a model whose output size is known when it is built.

    A block with ``layers`` is indexed by them: ``block[i]`` is ``block.layers[i]``.
    """

    layers: nn.Module

    @abstractmethod
    def get_out_size(self) -> Any:
        """Return the width of the output, or a tuple of sizes if the output per event is not a vector."""

    def get_param_count(self, trainable: bool = True) -> int:
        """Return the number of trainable parameters, or of all."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not trainable)

    def freeze_layers(self) -> None:
        """Stop the training of all parameters."""
        self.requires_grad_(False)

    def unfreeze_layers(self) -> None:
        """Resume the training of all parameters."""
        self.requires_grad_(True)

    def __getitem__(self, key: int | str) -> nn.Module:
        if "layers" not in self._modules:
            raise TypeError(f"{type(self).__name__} is not a sequence of layers and cannot be indexed")
        return self.layers[key]  # type: ignore[index]


def vectors(block: nn.Module, x: Any, n_in: int) -> Tensor:
    """Return the input of a body or tail in its precision, or raise an error unless it is one vector per event."""
    if not isinstance(x, Tensor) or x.dim() != 2 or x.size(1) != n_in or not x.is_floating_point():
        got = f"{x.dtype} of the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"the input of {type(block).__name__} must be a floating-point tensor (events, {n_in}), got {got}"
        )
    return in_precision(block, x)


def in_precision(block: nn.Module, x: Tensor) -> Tensor:
    """Return an input in the precision of a block, or raise a TypeError if precision would be lost."""
    if torch.compiler.is_compiling():
        return x
    own = next((t.dtype for t in chain(block.parameters(), block.buffers()) if t.is_floating_point()), x.dtype)
    if x.dtype.itemsize > own.itemsize:
        raise TypeError(
            f"the input of {type(block).__name__} must be {own} as its weights are, got {x.dtype}: convert one of "
            f"them, by x.to({own}) or block.to({x.dtype})"
        )
    return x.to(own)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Call a module in evaluation mode without gradients, and restore its modes afterwards."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, training in modes.items():
            m.training = training
