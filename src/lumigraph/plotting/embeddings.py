"""Embeddings of categories as heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import PlotSettings, label_axes

__all__ = ["plot_embeddings"]

#: Numbers are written into the cells of an embedding up to this size.
_WRITTEN = (12, 4)


def plot_embeddings(embeddings: Mapping[str, Any], settings: PlotSettings | None = None) -> list[Axes]:
    """Draw the embedding of each category: a row per code, a column per dimension, one scale of colours for all.

    Parameters
    ----------
    embeddings
        Matrices (codes, dimensions) by the name of the category.
    settings
        How the picture looks.

    Returns
    -------
    list of Axes
        One per category, in one figure.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> axes = plot_embeddings({"channel": np.eye(3, 2), "flavour": np.ones((5, 3))})
    >>> [ax.get_title() for ax in axes]
    ['channel', 'flavour']
    >>> plt.close(axes[0].figure)
    """
    settings = settings or PlotSettings()
    if not embeddings:
        raise ValueError("there is no embedding to draw: the head has no categories")
    matrices = {name: np.asarray(matrix, dtype=float) for name, matrix in embeddings.items()}
    widths = [max(2.0, min(matrix.shape[1], 8.0)) for matrix in matrices.values()]
    figure, axes = plt.subplots(
        1, len(matrices), squeeze=False, layout="constrained", width_ratios=widths,
        figsize=(settings.width * max(1.0, sum(widths) / 8.0), settings.width / settings.aspect),
    )  # fmt: skip
    largest = max(float(np.abs(matrix).max()) for matrix in matrices.values())
    for ax, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        image = ax.imshow(matrix, aspect="auto", cmap=settings.colormap, vmin=-largest, vmax=largest)
        if matrix.shape[0] <= _WRITTEN[0] and matrix.shape[1] <= _WRITTEN[1]:
            for (row, column), value in np.ndenumerate(matrix):
                dark = image.norm(value) < 0.6
                ax.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=settings.small_font_size - 2,
                        color="white" if dark else "black")  # fmt: skip
        ax.set_title(name, fontsize=settings.font_size)
        label_axes(ax, "dimension", "code" if ax is axes[0, 0] else "", settings)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    bar = figure.colorbar(image, ax=list(axes[0]), pad=0.02)
    bar.set_label("embedding", fontsize=settings.font_size)
    bar.ax.tick_params(labelsize=settings.small_font_size)
    return list(axes[0])
