"""Events sorted by score, for metrics of cuts on the score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from .estimate import classified_events

__all__ = ["Ranked", "efficiency_upto", "ranked_events"]


class Ranked(NamedTuple):
    """Events in falling order of their scores, by class; ``upto`` counts those that pass each distinct threshold."""

    signal_scores: Float[np.ndarray, " signal"]
    signal_weights: Float[np.ndarray, " signal"]
    background_scores: Float[np.ndarray, " background"]
    background_weights: Float[np.ndarray, " background"]
    signal_upto: Int[np.ndarray, " points"]
    background_upto: Int[np.ndarray, " points"]
    thresholds: Float[np.ndarray, " points"]


def ranked_events(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> Ranked:
    """Check labels, scores and weights of a binary classification, and sort the events.

    Examples
    --------
    >>> ranked = ranked_events([0, 1, 1], [0.2, 0.2, 0.7], None)
    >>> ranked.thresholds.tolist(), ranked.signal_upto.tolist(), ranked.background_upto.tolist()
    ([inf, 0.7, 0.2], [0, 1, 2], [0, 0, 1])
    """
    signal, values, factors = classified_events(labels, scores, weights)
    order = np.argsort(-values, kind="stable")
    signal, values, factors = signal[order], values[order], factors[order]
    last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)  # the last event of each run of ties
    return Ranked(
        signal_scores=values[signal],
        signal_weights=factors[signal],
        background_scores=values[~signal],
        background_weights=factors[~signal],
        signal_upto=np.append(0, np.cumsum(signal)[last]),
        background_upto=np.append(0, np.cumsum(~signal)[last]),
        thresholds=np.append(np.inf, values[last]),
    )


def efficiency_upto(
    weights: Float[np.ndarray, " members"], upto: Int[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """Return the fraction of the weight that passes each threshold; ``upto`` as in `Ranked`."""
    passed = np.append(0.0, np.cumsum(weights))
    return passed[upto] / passed[-1]
