"""Lines between the particles of an event in the eta-phi plane, and their strengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

__all__ = [
    "MOST_JOINED",
    "drawn_lines",
    "edge_values",
    "line_look",
    "line_paths",
    "line_strengths",
    "short_way",
    "unordered_pairs",
]

#: Most particles of an event that are drawn with lines between them.
MOST_JOINED = 200


def unordered_pairs(num_particles: int) -> tuple[Int[np.ndarray, " lines"], Int[np.ndarray, " lines"]]:
    """Return the pairs i < j; each is drawn as one line."""
    i, j = np.triu_indices(num_particles, k=1)
    return i, j


def short_way(start: Float[np.ndarray, "lines 2"], end: Float[np.ndarray, "lines 2"]) -> Float[np.ndarray, "lines 2"]:
    """Return the steps (eta, phi) from each start to its end that go the short way round in phi."""
    step = end - start
    step[:, 1] -= np.where(np.abs(step[:, 1]) > math.pi, np.copysign(2.0 * math.pi, step[:, 1]), 0.0)
    return step


def line_paths(
    start: Float[np.ndarray, "lines 2"], step: Float[np.ndarray, "lines 2"]
) -> list[Float[np.ndarray, "_ 2"]]:
    """Return the path of each step; one that crosses phi = +-pi has a gap (NaN) from border to border.

    Examples
    --------
    >>> line_paths(np.array([[0.0, 3.0]]), np.array([[1.0, -1.0]]))[0].tolist()
    [[0.0, 3.0], [1.0, 2.0]]
    >>> len(line_paths(np.array([[0.0, 3.0]]), np.array([[1.0, 1.0]]))[0])
    5
    """
    end = start + step
    paths = list(np.stack([start, end], axis=1))
    for line in np.flatnonzero(np.abs(end[:, 1]) > math.pi):
        border = math.copysign(math.pi, end[line, 1])
        share = (border - start[line, 1]) / step[line, 1]  # of the line before the border
        crossing = start[line, 0] + share * step[line, 0]
        last = (end[line, 0], end[line, 1] - 2.0 * border)
        paths[line] = np.array([start[line], (crossing, border), (np.nan, np.nan), (crossing, -border), last])
    return paths


def edge_values(edge_weights: ArrayLike, num_particles: int) -> Float[np.ndarray, " edges"]:
    """Return a finite number of at least 0 for each ordered pair of particles, or raise a ValueError."""
    values = np.asarray(edge_weights.detach().cpu() if isinstance(edge_weights, torch.Tensor) else edge_weights)
    expected = num_particles * (num_particles - 1)
    if values.shape != (expected,):
        raise ValueError(
            f"edge_weights must have the shape ({expected},), a number per ordered edge, got {values.shape}"
        )
    if not np.all(np.isfinite(values) & (values >= 0)):
        bad = values[~(np.isfinite(values) & (values >= 0))][0]
        raise ValueError(f"edge_weights must be finite numbers of at least 0, got {bad}")
    return values.astype(float)


def line_strengths(edge_weights: ArrayLike, num_particles: int) -> Float[np.ndarray, " lines"]:
    """Return the mean of both directions of each line, relative to the largest."""
    directed = np.zeros((num_particles, num_particles))
    directed[~np.eye(num_particles, dtype=bool)] = edge_values(edge_weights, num_particles)
    strengths = (directed + directed.T)[unordered_pairs(num_particles)] / 2.0
    return strengths / (strengths.max(initial=0.0) or 1.0)


def line_look(strengths: Float[np.ndarray, " lines"] | None, num_particles: int) -> dict[str, Any]:
    """Return width and opacity of lines; the more lines, the lighter they are, so that particles stay visible."""
    if strengths is None:
        return {"linewidths": 0.7, "alpha": float(np.clip(15.0 / max(num_particles, 1) ** 1.4, 0.01, 0.55))}
    opacity = 0.9 * strengths * min(1.0, 30.0 / max(num_particles, 1))
    return drawn_lines(0.2 + 2.3 * strengths, opacity)


def drawn_lines(width: Float[np.ndarray, " lines"], opacity: Float[np.ndarray, " lines"]) -> dict[str, Any]:
    """Return width and opacity as a LineCollection takes them, which refuses an empty list of opacities."""
    return {"linewidths": width.tolist(), "alpha": opacity if len(opacity) else None}
