"""Pictures of events, trainings and classifiers; matplotlib and networkx are used here and nowhere else.

Every function takes ``ax=None``, draws on these axes or on new ones, and returns the axes. ``plt.show()`` and
``plt.close(ax.figure)`` are yours.
"""

from .curves import plot_history, plot_roc, plot_scores
from .event import plot_event, to_networkx
from .results import draw_results
from .style import PlotSettings, save

__all__ = [
    "PlotSettings",
    "draw_results",
    "plot_event",
    "plot_history",
    "plot_roc",
    "plot_scores",
    "save",
    "to_networkx",
]
