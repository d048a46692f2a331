"""How well each class is told from each other one."""

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
    """Rejections with their uncertainties: the class that is kept in rows, the one that is rejected in columns."""

    value: Float[np.ndarray, "classes classes"]
    uncertainty: Float[np.ndarray, "classes classes"]


def rejection_matrix(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, signal_efficiency: float = 0.5
) -> RejectionMatrix:
    r"""Compute how much of each class is rejected where a fraction of another one is kept.

    .. math:: R_{ab} = \frac{1}{\varepsilon_b(t)}, \qquad \varepsilon_a(t) = \varepsilon_S, \qquad
              d_{ab} = \frac{p_a}{p_a + p_b} \ge t

    Each is the `background_rejection` of the cut on :math:`d_{ab}`, by the events of the two classes alone: the other
    classes are of no effect, and neither is how much there is of each.

    Parameters
    ----------
    labels
        The true classes, integers counting from 0.
    scores
        Probability of each class, or any number in proportion to it, not below 0.
    weights
        Weights of the events.
    signal_efficiency
        The working point :math:`\varepsilon_S` of the class that is kept, above 0 and at most 1.

    Raises
    ------
    ValueError
        If a score is negative, or an input is not as described.

    Notes
    -----
    **Shape.** labels and weights (events,), scores (events, classes), both results (classes, classes).
    **Limits.** NaN on the diagonal, and for a class without a positive sum of weights. Where nothing is left of a class
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
            f"scores has shape {probabilities.shape}, expected one number for each class: (events, classes)."
        )
    classes, _, factors, num_classes = classes_of(labels, probabilities, weights, 0.5)
    if probabilities.min() < 0:
        event = int(probabilities.min(axis=1).argmin())
        raise ValueError(
            f"scores of event {event} is {probabilities[event]}, expected probabilities: give the softmax of logits."
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
    """Return p / q, which orders events as p / (p + q) does, but is not 1 for every q below 1e-16; 1 for 0 / 0."""
    ratio = p / q
    return np.minimum(np.where(np.isnan(ratio), 1.0, ratio), np.finfo(np.float64).max)
