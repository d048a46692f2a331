"""How well predictions agree with the truth: accuracy of classes, bias and resolution of values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .estimate import Estimate, as_array, check_finite, check_total, event_columns, weighted_mean

__all__ = ["accuracy", "resolution"]


def accuracy(
    labels: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None = None, *, threshold: float = 0.5
) -> Estimate:
    """Compute the fraction of the events' weight that is put into the right class.

    Parameters
    ----------
    labels
        The true classes, integers counting from 0.
    predictions
        Scores of class 1 (floating-point numbers), predicted classes (integers or booleans), or one score for each
        class, of which the largest counts.
    weights
        Weights of the events.
    threshold
        Scores above it are class 1; of no effect on the other kinds of predictions.

    Raises
    ------
    ValueError
        If a length, a label, a prediction or the sum of the weights is not as described.

    Notes
    -----
    **Shape.** labels and weights (events,); predictions (events,), (events, 1) or (events, classes).
    **Limits.** The uncertainty is 0 where all events are right, or all wrong, and NaN for a single event.

    Examples
    --------
    >>> print(accuracy([0, 1, 1, 0], [0.2, 0.7, 0.4, 0.1]))
    0.75 ± 0.25
    >>> accuracy([2, 0], [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]).value
    1.0
    """
    scores = as_array(predictions)
    num_classes: float = math.inf
    if scores.ndim == 2 and scores.shape[1] > 1:
        check_finite("predictions", scores)
        num_classes, scores = scores.shape[1], scores.argmax(axis=1)
    classes, chosen, factors = event_columns(weights, labels=labels, predictions=scores)
    if np.issubdtype(chosen.dtype, np.floating):
        num_classes, chosen = 2, chosen > threshold
    bad = np.flatnonzero((classes < 0) | (classes >= num_classes) | (classes % 1 != 0))
    if bad.size:
        raise ValueError(f"labels of event {bad[0]} is {classes[bad[0]]}, expected an integer, 0 to {num_classes - 1}.")
    check_total(factors)
    return weighted_mean((classes == chosen).astype(np.float64), factors)


def resolution(target: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> tuple[Estimate, Estimate]:
    r"""Compute bias and resolution of a regression: mean and root mean square of its residuals.

    .. math:: b = \langle \hat y - y \rangle, \qquad \sigma = \sqrt{\langle (\hat y - y - b)^2 \rangle}

    Parameters
    ----------
    target, prediction, weights
        True and predicted values and weights of the events.

    Returns
    -------
    bias, rms
        In the units of the target.

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, or negative weights leave no positive sum or mean square.

    Examples
    --------
    >>> bias, rms = resolution([100.0, 50.0, 80.0, 70.0], [104.0, 50.0, 82.0, 66.0])
    >>> print(f"{bias:.1f}, {rms:.1f}")
    0.5 ± 1.7, 3.0 ± 0.8
    """
    truth, predicted, factors = event_columns(weights, target=target, prediction=prediction)
    check_total(factors)
    residuals = predicted.astype(np.float64) - truth.astype(np.float64)
    bias = weighted_mean(residuals, factors)
    square, uncertainty = weighted_mean((residuals - bias.value) ** 2, factors)
    if square < 0:
        raise ValueError(
            f"weights give a mean square residual of {square:g}, expected at least 0: fewer negative weights."
        )
    rms = math.sqrt(square)
    return bias, Estimate(rms, uncertainty / (2.0 * rms) if rms > 0 else uncertainty)
