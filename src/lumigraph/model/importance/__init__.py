"""Importance of features and particles to a model: over many events, and in one event.

`permutation_importance` measures how much worse a model gets without a feature or a kind of object;
`particle_attributions` gives the contribution of each particle of one event to the output.
"""

from .attribution import particle_attributions
from .permutation import ImportanceTable, permutation_importance

__all__ = ["ImportanceTable", "particle_attributions", "permutation_importance"]
