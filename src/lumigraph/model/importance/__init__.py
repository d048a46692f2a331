"""What a model looks at: over many events, and in one event.

`permutation_importance` says by how much a model gets worse without a feature or a kind of object;
`particle_attributions` says what each particle of one event adds to the output.
"""

from .attribution import particle_attributions
from .permutation import ImportanceTable, permutation_importance

__all__ = ["ImportanceTable", "particle_attributions", "permutation_importance"]
