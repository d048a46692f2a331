"""Embeddings of categories as heat maps."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import Formatter, MaxNLocator
from numpy.typing import ArrayLike

from .style import PlotSettings, label_axes

__all__ = ["plot_embeddings"]

#: Largest embedding (codes, dimensions) with numbers written into its cells.
_WRITTEN = (12, 4)

#: Most panels in a row; more would be too small.
_PANELS = 3


def plot_embeddings(embeddings: Mapping[str, ArrayLike], settings: PlotSettings | None = None) -> list[Axes]:
    """Draw the embedding of each category: a row per code, a column per dimension, with a common colour scale.

    Parameters
    ----------
    embeddings
        Matrices (codes, dimensions) by the name of the category.
    settings
        Colours, sizes and fonts.

    Returns
    -------
    list of Axes
        One per category, in one figure.

    Raises
    ------
    ValueError
        If there is no embedding.

    Examples
    --------
    >>> axes = plot_embeddings({"channel": np.eye(3, 2), "flavour": np.ones((5, 3))})
    >>> [ax.get_title() for ax in axes]
    ['channel', 'flavour']
    >>> plt.close(axes[0].figure)
    """
    settings = settings or PlotSettings()
    if not embeddings:
        raise ValueError("embeddings must have at least one entry, got none: the head has no categories")
    matrices = {name: np.asarray(matrix, dtype=float) for name, matrix in embeddings.items()}
    columns = min(len(matrices), _PANELS)
    rows = -(-len(matrices) // columns)
    dimensions = [matrix.shape[1] for matrix in matrices.values()]
    widths = [float(np.clip(max(dimensions[i::columns]), 2, 8)) for i in range(columns)]
    size = (settings.width * max(1.0, sum(widths) / 8.0), rows * settings.width / settings.aspect)
    figure, grid = plt.subplots(rows, columns, squeeze=False, layout="constrained", width_ratios=widths, figsize=size)
    for ax in grid.flat[len(matrices) :]:
        ax.remove()
    axes = list(grid.flat[: len(matrices)])
    largest = max(float(np.abs(matrix).max()) for matrix in matrices.values()) or 1.0
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        image = ax.imshow(matrix, aspect="auto", cmap=settings.colormap, vmin=-largest, vmax=largest)
        ax.set_title(name, fontsize=settings.font_size)
        label_axes(ax, "dimension", "code" if ax in grid[:, 0] else "", settings)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        if matrix.shape[0] <= _WRITTEN[0] and matrix.shape[1] <= _WRITTEN[1]:
            _write(ax, matrix, image, settings)
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("value of the embedding", fontsize=settings.font_size)
    bar.ax.tick_params(labelsize=settings.small_font_size)
    return axes


def _write(ax: Axes, matrix: np.ndarray, image: AxesImage, settings: PlotSettings) -> None:
    """Write the numbers into the cells, black on bright colours and white on dark ones."""
    for (row, column), value in np.ndenumerate(matrix):
        bright = np.dot(image.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.5
        number = Formatter.fix_minus(f"{round(value, 1) + 0.0:.1f}")  # a true minus sign, but not in front of zero
        ax.text(
            column, row, number, color="black" if bright else "white", ha="center", va="center",
            fontsize=settings.small_font_size - 2,
        )  # fmt: skip
