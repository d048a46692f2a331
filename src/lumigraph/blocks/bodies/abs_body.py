"""The base class of bodies."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...events.checks import check_counts
from ..block import AbsBlock

__all__ = ["AbsBody"]


class AbsBody(AbsBlock):
    """The hidden layers of a model, between head and tail.

    Parameters
    ----------
    n_in
        Width of the input.
    feat_map
        The columns of the input that depend on each feature of the model.
    """

    def __init__(self, n_in: Any, feat_map: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        if isinstance(n_in, tuple):
            raise TypeError(
                f"n_in must be a number, got {n_in}: the head returns a sequence per event (stateful=True); flatten "
                "it, or return only the final state"
            )
        check_counts(n_in=n_in)
        if not isinstance(feat_map, Mapping):
            raise TypeError(f"feat_map must map names of features to columns, got {feat_map!r}: use head.feat_map")
        for name, columns in feat_map.items():
            if not isinstance(columns, Iterable) or any(column not in range(n_in) for column in columns):
                raise ValueError(
                    f"feat_map[{name!r}] must list columns from 0 to {n_in - 1} (n_in={n_in}), got {columns!r}"
                )
        self.n_in = n_in
        self.feat_map = dict(feat_map)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer, (B, get_out_size())."""
