"""Bins of a score or a target: their edges and the bin of each event."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from .estimate import as_column

__all__ = ["bin_edges", "bin_numbers"]


def bin_edges(bins: int | ArrayLike, low: float, high: float) -> Float[np.ndarray, " edges"]:
    """Return the edges of a given number of bins of equal width, or check given edges.

    Examples
    --------
    >>> bin_edges(2, 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """
    if isinstance(bins, int | np.integer):
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        return np.linspace(low, high, int(bins) + 1)
    edges = as_column("bins", bins).astype(np.float64)
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"bins must be a number of bins, or at least two rising edges, got {edges.tolist()}")
    return edges


def bin_numbers(values: Float[np.ndarray, " events"], edges: Float[np.ndarray, " edges"]) -> Int[np.ndarray, " events"]:
    """Return the number of each event's bin, -1 outside all; a bin includes its lower edge, the last one both edges.

    Examples
    --------
    >>> bin_numbers(np.array([0.0, 0.5, 1.0, 1.5]), np.array([0.0, 0.5, 1.0]))
    array([ 0,  1,  1, -1])
    """
    numbers = np.searchsorted(edges, values, side="right") - 1
    numbers[values == edges[-1]] = len(edges) - 2
    numbers[values > edges[-1]] = -1
    return numbers
