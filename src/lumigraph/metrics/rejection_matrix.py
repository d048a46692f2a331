"""The rejection matrix: how well every pair of classes is separated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .agreement import classes_of
from .estimate import as_array
from .roc import background_rejection

__all__ = ["RejectionMatrix", "rejection_matrix"]


class RejectionMatrix(NamedTuple):
    """Rejections with their uncertainties: the kept class in rows, the rejected one in columns."""

    value: Float[np.ndarray, "classes classes"]
    uncertainty: Float[np.ndarray, "classes classes"]


def rejection_matrix(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, signal_efficiency: float | int = 0.5
) -> RejectionMatrix:
    r"""Compute the rejection of each class at a given efficiency of each other class.

    .. math:: R_{ab} = \frac{1}{\varepsilon_b(t)}, \qquad \varepsilon_a(t) = \varepsilon_S, \qquad
              d_{ab} = \frac{p_a}{p_a + p_b} \ge t

    Each entry is the `background_rejection` of the cut on :math:`d_{ab}`, computed from the events of the two classes
    alone: the other classes, and the sizes of the classes, have no effect.

    Parameters
    ----------
    labels
        The true classes, integers counting from 0.
    scores
        Probability of each class, or any non-negative number proportional to it.
    weights
        Weights of the events.
    signal_efficiency
        The working point :math:`\varepsilon_S` of the kept class, above 0 and at most 1.

    Raises
    ------
    ValueError
        If a score is negative, or an input is not as described.

    Notes
    -----
    **Shape.** labels and weights (events,), scores (events, classes), both results (classes, classes).
    **Limits.** NaN on the diagonal, and for a class without a positive sum of weights. If nothing is left of a class,
    the value is inf and the uncertainty NaN.

    Examples
    --------
    >>> labels = [0, 0, 1, 1, 1, 2, 2]
    >>> scores = np.array([[7, 2, 1], [3, 4, 3], [5, 4, 1], [1, 6, 3], [2, 5, 3], [4, 1, 5], [6, 3, 1]]) / 10
    >>> rejection_matrix(labels, scores, signal_efficiency=1.0).value
    array([[nan, 3. , 2. ],
           [2. , nan, 2. ],
           [2. , 1.5, nan]])
    """
    probabilities = as_array(scores).astype(np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(
            f"scores must have the shape (events, classes), one number for each class, got {probabilities.shape}"
        )
    classes, _, factors, num_classes = classes_of(labels, probabilities, weights, 0.5)
    if probabilities.min() < 0:
        event = int(probabilities.min(axis=1).argmin())
        raise ValueError(
            f"scores of event {event} must be probabilities, got {probabilities[event]}: give the softmax of logits"
        )
    value, uncertainty = np.full((2, num_classes, num_classes), np.nan)
    filled = [factors[classes == number].sum() > 0 for number in range(num_classes)]
    for a, b in np.ndindex(num_classes, num_classes):
        if a != b and filled[a] and filled[b]:
            either = (classes == a) | (classes == b)
            ratio = _ratio(*probabilities[either][:, [a, b]].T)
            found = background_rejection(classes[either] == a, ratio, signal_efficiency, factors[either])
            value[a, b], uncertainty[a, b] = found
    return RejectionMatrix(value, uncertainty)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def _ratio(p: Float[np.ndarray, " events"], q: Float[np.ndarray, " events"]) -> Float[np.ndarray, " events"]:
    """Return p / q, which sorts events as p / (p + q) does, but is not 1 for every q below 1e-16; 1 for 0 / 0."""
    ratio = p / q
    return np.minimum(np.where(np.isnan(ratio), 1.0, ratio), np.finfo(np.float64).max)
