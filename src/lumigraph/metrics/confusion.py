"""The confusion matrix."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .agreement import classes_of
from .estimate import weighted_mean

__all__ = ["Confusion", "confusion_matrix"]


class Confusion(NamedTuple):
    """A confusion matrix: true classes in rows, predicted ones in columns, with its uncertainties."""

    value: Float[np.ndarray, "classes classes"]
    uncertainty: Float[np.ndarray, "classes classes"]


def confusion_matrix(
    labels: ArrayLike,
    predictions: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    normalise: Literal["truth", "prediction"] | None = "truth",
    threshold: float | int = 0.5,
) -> Confusion:
    """Compute how much of each true class is assigned to each class.

    Parameters
    ----------
    labels, predictions, weights, threshold
        As in `lumigraph.metrics.accuracy`.
    normalise
        ``"truth"``: fractions of each true class; rows add up to 1 and the diagonal holds efficiencies.
        ``"prediction"``: fractions of each predicted class; columns add up to 1 and the diagonal holds purities.
        None: sums of weights.

    Raises
    ------
    ValueError
        If ``normalise`` is none of these, or an input is not as described.

    Notes
    -----
    **Limits.** The fractions of a class are NaN if its weights have no positive sum.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0]).value
    array([[0.5, 0.5, 0. ],
           [0. , 1. , 0. ],
           [1. , 0. , 0. ]])
    """
    if normalise not in ("truth", "prediction", None):
        raise ValueError(f"normalise must be 'truth', 'prediction' or None, got {normalise!r}")
    truth, chosen, factors, num_classes = classes_of(labels, predictions, weights, threshold)
    value, uncertainty = np.full((2, num_classes, num_classes), np.nan)
    for row, column in np.ndindex(num_classes, num_classes):
        cell = (truth == row) & (chosen == column)
        whole = truth == row if normalise == "truth" else chosen == column
        if normalise is None:
            value[row, column], uncertainty[row, column] = factors[cell].sum(), np.sqrt(np.sum(factors[cell] ** 2))
        elif factors[whole].sum() > 0:
            share = weighted_mean(cell[whole].astype(np.float64), factors[whole])
            value[row, column], uncertainty[row, column] = share
    return Confusion(value, uncertainty)
