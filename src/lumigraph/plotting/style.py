"""Settings of pictures, axes made with them, and saving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure

from ..events.errors import near

__all__ = ["LINE_STYLES", "MARKERS", "PlotSettings", "label_axes", "legend_above", "save"]

#: The colours of Okabe and Ito (2008), distinct for every kind of colour vision, without the yellow, which is faint.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

#: Used together with colours, so that pictures can be read in grey.
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")


#: LUMIN's names of the settings that it has as well.
_LUMIN = {
    "cat_palette": "palette",
    "seq_palette": "colormap",
    "lbl_sz": "font_size",
    "title_sz": "font_size",
    "tk_sz": "small_font_size",
    "leg_sz": "small_font_size",
    "w_mid": "width",
    "format": "file_format",
}


@dataclass(frozen=True, init=False)
class PlotSettings:
    """Settings that all pictures share; the defaults are legible at half the width of a page.

    Settings are given by name; the names ``cat_palette``, ``seq_palette``, ``lbl_sz``, ``title_sz``, ``tk_sz``,
    ``leg_sz``, ``w_mid`` and ``format`` of LUMIN are also accepted.

    Parameters
    ----------
    palette
        Colours, used in turn, or the name of one of matplotlib's qualitative palettes.
    colormap
        Matplotlib's name of the colour map of heat maps; its lightness should rise steadily, to be legible in grey.
    width
        Width of the figure in inches.
    aspect
        Width of the figure over its height.
    font_size, small_font_size
        Sizes in points: of axis labels and titles, and of tick labels and legends.
    dpi
        Dots per inch of saved bitmaps.
    file_format
        Format of files that are saved without a suffix.

    Raises
    ------
    TypeError
        If a setting is unknown.

    Examples
    --------
    >>> settings = PlotSettings(width=6.0, file_format="pdf")
    >>> settings.color(0), settings.color(7)
    ('#0072B2', '#0072B2')
    """

    palette: tuple[str, ...] = OKABE_ITO
    colormap: str = "viridis"
    width: float = 4.5
    aspect: float = 1.25
    font_size: float = 12.0
    small_font_size: float = 10.0
    dpi: int = 200
    file_format: str = "png"

    def __init__(self, **settings: Any) -> None:
        known: dict[str, Any] = {field.name: field.default for field in fields(self)}
        for name, value in settings.items():
            own = _LUMIN.get(name, name)
            if own not in known:
                raise TypeError(f"PlotSettings has no setting {name!r}: {near(name, [*known, *_LUMIN])}")
            known[own] = value
        if isinstance(known["palette"], str):
            colours: Any = cast(ListedColormap, colormaps[known["palette"]]).colors
            known["palette"] = tuple(to_hex(colour) for colour in colours)
        known["file_format"] = str(known["file_format"]).removeprefix(".")
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def color(self, index: int) -> str:
        """Return the colour of the curve, class or kind with this number."""
        return self.palette[index % len(self.palette)]

    def axes(self) -> Axes:
        """Make a new figure with one pair of axes."""
        _, ax = plt.subplots(figsize=(self.width, self.width / self.aspect), layout="constrained")
        return ax


def label_axes(ax: Axes, x: str | None, y: str, settings: PlotSettings) -> None:
    """Label both axes and set the sizes of their tick labels."""
    if x is not None:
        ax.set_xlabel(x, fontsize=settings.font_size)
    ax.set_ylabel(y, fontsize=settings.font_size)
    ax.tick_params(labelsize=settings.small_font_size)


def draw_steps(
    ax: Axes,
    density: Float[np.ndarray, " bins"],
    error: Float[np.ndarray, " bins"],
    edges: Float[np.ndarray, " edges"],
    number: int,
    label: str,
    settings: PlotSettings,
) -> None:
    """Draw a histogram as steps with error bars, in the colour and line style with this number."""
    color = settings.color(number)
    style = LINE_STYLES[number % len(LINE_STYLES)]
    ax.stairs(density, edges, color=color, linewidth=1.6, linestyle=style, label=label)
    centres = (edges[1:] + edges[:-1]) / 2.0
    ax.errorbar(centres, density, error, fmt="none", ecolor=color, elinewidth=0.9, label="_errors")


def legend_above(ax: Axes, settings: PlotSettings, ncols: int = 1, handles: Sequence[Artist] | None = None) -> None:
    """Put the legend above the axes, where it does not hide data."""
    ax.legend(
        handles=ax.get_legend_handles_labels()[0] if handles is None else list(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.01),
        borderaxespad=0.2,
        ncols=ncols,
        fontsize=settings.small_font_size,
        frameon=False,
    )


def save(picture: Axes | Figure, path: str | os.PathLike[str], settings: PlotSettings | None = None) -> Path:
    """Save a picture, everything outside its axes included, and return the path of the file.

    Parameters
    ----------
    picture
        What a plotting function returned, or a figure. It stays open: ``plt.close(ax.figure)`` closes it.
    path
        Path of the file. Its suffix sets the format; without a known suffix ``settings.file_format`` is appended.
        Missing folders are created.
    settings
        Resolution and format.

    Examples
    --------
    >>> import tempfile
    >>> import matplotlib.pyplot as plt
    >>> ax = PlotSettings().axes()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(save(ax, f"{folder}/empty").name)
    empty.png
    >>> plt.close(ax.figure)
    """
    settings = settings or PlotSettings()
    target = Path(path)
    if target.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():  # a name may end in .5
        target = target.with_name(f"{target.name}.{settings.file_format}")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure: Any = picture
    while not isinstance(figure, Figure):  # axes may be in a subfigure
        figure = figure.figure
    figure.savefig(target, dpi=settings.dpi, bbox_inches="tight")
    return target
