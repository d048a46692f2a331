"""Gathering the particles of chosen events: event by event instead of row by row."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["EventRows"]


class EventRows:
    """The rows of each event in tensors with one row per particle.

    Arrow treats each event as one value of some bytes, and copies these in half the time of copying row by row.

    Parameters
    ----------
    ptr
        Offsets of the events, (B+1,).

    Examples
    --------
    >>> EventRows(torch.tensor([0, 2, 2, 3])).take(torch.tensor([5, 6, 7]), np.array([2, 0]))
    tensor([7, 5, 6])
    """

    def __init__(self, ptr: Tensor) -> None:
        self.ptr = ptr
        self._offsets: dict[int, Any] = {}  # in bytes, by the bytes of a row

    def take(self, values: Tensor, events: np.ndarray) -> Tensor:
        """Return the rows (N, ...) of these events, whose numbers are not negative, concatenated."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = values.contiguous().numpy()
        width = rows.dtype.itemsize * values.shape[1:].numel()
        if width not in self._offsets:
            self._offsets[width] = pa.py_buffer(self.ptr.numpy() * width)
        buffers = [None, self._offsets[width], pa.py_buffer(rows)]
        whole = pa.Array.from_buffers(pa.large_binary(), len(self.ptr) - 1, buffers)
        # the memory of tensors, see `lumigraph.keep_pages`
        taken = pc.take(whole, pa.array(events), memory_pool=pa.system_memory_pool()).buffers()[2]
        if not width:
            return values.new_empty(int(np.diff(self.ptr.numpy())[events].sum()), *values.shape[1:])
        return torch.from_numpy(np.frombuffer(taken, rows.dtype)).view(-1, *values.shape[1:])
