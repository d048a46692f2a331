"""Pictures of events, trainings and classifiers, with matplotlib and networkx.

Every function that draws one pair of axes takes ``ax=None``, draws on these axes or on new ones, and returns them.
Call ``plt.show()`` and ``plt.close(ax.figure)`` yourself.
"""

from .calibration import plot_calibration
from .confusion import plot_confusion
from .curves import plot_history, plot_roc, plot_scores
from .embeddings import plot_embeddings
from .events.boosts import plot_boosts, plot_combinations
from .events.event import plot_event
from .events.event_3d import plot_event_3d
from .events.event_graph import to_networkx
from .events.interactive import interactive_event
from .events.messages import message_strengths, plot_messages
from .events.notebook import event_html, show
from .importance import plot_attributions, plot_importance
from .regression import plot_residuals, plot_resolution
from .report.writing import write_report
from .results import draw_results
from .significance import plot_significance
from .style import PlotSettings, save

__all__ = [
    "PlotSettings",
    "draw_results",
    "event_html",
    "interactive_event",
    "message_strengths",
    "plot_attributions",
    "plot_boosts",
    "plot_calibration",
    "plot_combinations",
    "plot_confusion",
    "plot_embeddings",
    "plot_event",
    "plot_event_3d",
    "plot_history",
    "plot_importance",
    "plot_messages",
    "plot_residuals",
    "plot_resolution",
    "plot_roc",
    "plot_scores",
    "plot_significance",
    "save",
    "show",
    "to_networkx",
    "write_report",
]
