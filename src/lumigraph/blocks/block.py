"""What every block can do: count, freeze and unfreeze its parameters, and say its output size."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["AbsBlock", "evaluating"]


class AbsBlock(nn.Module, ABC):
    """A part of a model whose output size is known when it is built.

    A block with ``layers`` is indexed by them: ``block[i]`` is ``block.layers[i]``.
    """

    layers: nn.Module

    @abstractmethod
    def get_out_size(self) -> Any:
        """Return the width of the output; a tuple of sizes where an event gives more than a vector."""

    def get_param_count(self, trainable: bool = True) -> int:
        """Return the number of parameters: those that are trained, or all of them."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not trainable)

    def freeze_layers(self) -> None:
        """Stop the training of all parameters."""
        self.requires_grad_(False)

    def unfreeze_layers(self) -> None:
        """Resume the training of all parameters."""
        self.requires_grad_(True)

    def __getitem__(self, key: int | str) -> nn.Module:
        if "layers" not in self._modules:
            raise TypeError(f"{type(self).__name__} is no sequence of layers and cannot be indexed")
        return self.layers[key]  # type: ignore[index]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Look at what a module gives, without gradients and in evaluation mode, and leave its modes as they were."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, training in modes.items():
            m.training = training
