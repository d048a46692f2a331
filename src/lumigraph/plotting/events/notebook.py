"""Events in a notebook: the interactive figure, in a form that a saved notebook still shows."""

from __future__ import annotations

import base64
import gzip
import html
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from torch_geometric.data import Data

from ...data import Events
from ..page import png
from ..style import PlotSettings
from .event import event_title, plot_event
from .interactive import events_to_show, interactive_event

__all__ = ["event_html", "show"]

# Plotly is unpacked once per page, however many figures it has. Without scripts the static picture stays.
_SCRIPT = """
(async () => {
  window.lumigraphPlotly ??= (async () => {
    const packed = Uint8Array.from(atob("@SOURCE@"), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const module = { exports: {} }, before = window.Plotly;
    new Function("module", await new Response(stream).text())(module);
    if (before !== undefined) window.Plotly = before;
    return module.exports;
  })();
  const plotly = await window.lumigraphPlotly;
  const place = document.getElementById("@ID@");
  const figure = @FIGURE@;
  figure.config = { displaylogo: false };
  place.replaceChildren();
  await plotly.newPlot(place, figure);
})();
"""


def show(
    batch: Data | Events,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    edges: bool = True,
    max_events: int = 100,
    settings: PlotSettings | None = None,
) -> Axes | None:
    """Show an event in a notebook, with hover text, zoom and a slider over the events around it.

    See `lumigraph.plotting.interactive_event` for the figure. It needs neither a network nor a running notebook: a
    notebook saved with its outputs shows it in any browser. Where scripts do not run (some viewers, printing), without
    Plotly and outside of a notebook, the picture is that of `plot_event`.

    Parameters
    ----------
    batch, event, feats_per_vec, kinds, edges, max_events, settings
        See `lumigraph.plotting.interactive_event`.

    Returns
    -------
    Axes or None
        The axes of a picture that is not interactive, so that a script can save it; None in a notebook with Plotly.

    Raises
    ------
    ValueError
        If `plot_event` refuses an input.

    Notes
    -----
    **Size.** Two megabytes per picture, mostly compressed Plotly: each picture is complete, so that cells can be run in
    any order, and copied.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import torch
    >>> from lumigraph import from_jagged, show
    >>> batch = from_jagged(torch.randn(5, 4), lengths=torch.tensor([3, 2]))
    >>> ax = show(batch, event=1)
    >>> ax.get_title(loc="left")
    'Event 1: 2 particles'
    >>> plt.close(ax.figure)
    """
    options: dict[str, Any] = {"feats_per_vec": feats_per_vec, "kinds": kinds, "edges": edges, "settings": settings}
    notebook = _notebook()
    if notebook is None or find_spec("plotly") is None:
        ax = _static(batch, event, **options)
        if ax.figure.canvas.required_interactive_framework and notebook is None:
            plt.show()
        return ax
    page, picture, title = _page(batch, event, max_events, **options)
    notebook.display_pub.publish({"text/html": page, "image/png": picture, "text/plain": title})
    return None


def event_html(
    batch: Data | Events,
    event: int = 0,
    *,
    feats_per_vec: Sequence[str] | None = None,
    kinds: Mapping[int, str] | None = None,
    edges: bool = True,
    max_events: int = 100,
    settings: PlotSettings | None = None,
) -> str:
    """Return the interactive figure of an event as a self-contained piece of HTML, to be put into a page.

    Parameters
    ----------
    batch, event, feats_per_vec, kinds, edges, max_events, settings
        See `interactive_event`.

    Raises
    ------
    ImportError
        If Plotly is not installed.
    ValueError
        If `plot_event` refuses an input.
    """
    options: dict[str, Any] = {"feats_per_vec": feats_per_vec, "kinds": kinds, "edges": edges, "settings": settings}
    return _page(batch, event, max_events, **options)[0]


def _page(batch: Data | Events, event: int, max_events: int, **options: Any) -> tuple[str, str, str]:
    """Return the piece of HTML, the picture that it shows until the script runs, and its title."""
    from plotly.utils import PlotlyJSONEncoder

    figure = interactive_event(batch, event, max_events=max_events, **options)
    lines = any(len(trace.x) for trace in figure.data if trace.name == "edges")  # drawing none is faster
    ax = _static(batch, event, **{**options, "edges": lines})
    title, picture = ax.get_title(loc="left"), png(ax, dpi=120)
    content = json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder).replace("</", "<\\/")
    name = f"lumigraph-{uuid.uuid4().hex}"
    script = _SCRIPT.replace("@ID@", name).replace("@FIGURE@", content).replace("@SOURCE@", _packed_plotly())
    image = f'<img src="data:image/png;base64,{picture}" alt="{html.escape(title)}">'
    return f'<div id="{name}">{image}</div>\n<script>{script}</script>', picture, title


@cache
def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _notebook() -> Any:
    """Return the IPython shell of a notebook, None in a terminal or script; a notebook has imported IPython already."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell if hasattr(shell, "kernel") else None


def _static(batch: Data | Events, event: int, *, feats_per_vec: Sequence[str] | None, **options: Any) -> Axes:
    shown, names, first = events_to_show(batch, event, feats_per_vec, max_events=1)
    ax = plot_event(shown, event - first, feats_per_vec=names, **options)
    if first:  # the number in the data set, not in the batch
        num_particles = int(shown.ptr[event - first + 1] - shown.ptr[event - first])
        ax.set_title(event_title(event, num_particles), fontsize=ax.title.get_fontsize(), loc="left", pad=9)
    return ax
