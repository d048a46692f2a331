"""What every body is: the hidden layers of a model, between head and tail."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .block import AbsBlock

__all__ = ["AbsBody"]


class AbsBody(AbsBlock):
    """The hidden layers of a model.

    Parameters
    ----------
    n_in
        Width of the input.
    feat_map
        Which columns of the input each feature of the model reaches.
    """

    def __init__(self, n_in: Any, feat_map: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        if isinstance(n_in, tuple):
            raise TypeError(
                f"n_in must be a number, got {n_in}: the head gives a sequence per event (stateful=True); flatten it, "
                "or take the final state only"
            )
        if n_in < 1:
            raise ValueError(f"n_in must be at least 1, got {n_in}")
        self.n_in = n_in
        self.feat_map = dict(feat_map)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer, (B, get_out_size())."""
