"""Agreement of predictions with the truth: accuracy of classes, bias and resolution of values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .bins import bin_edges, bin_numbers
from .estimate import Estimate, NotEnoughEvents, as_array, check_finite, check_total, event_columns, weighted_mean

__all__ = ["BinnedResolution", "accuracy", "binned_resolution", "classes_of", "residuals", "resolution"]


def accuracy(
    labels: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None = None, *, threshold: float | int = 0.5
) -> Estimate:
    """Compute the fraction of the events' weight that is classified correctly.

    Parameters
    ----------
    labels
        The true classes, integers counting from 0.
    predictions
        Scores of class 1 (floating-point numbers), predicted classes (integers or booleans), or one score per class:
        the largest decides.
    weights
        Weights of the events.
    threshold
        Scores above it are class 1; it has no effect on the other kinds of predictions.

    Raises
    ------
    ValueError
        If a length, a label, a prediction or the sum of the weights is not as described.

    Notes
    -----
    **Shape.** labels and weights (events,); predictions (events,), (events, 1) or (events, classes).
    **Limits.** The uncertainty is 0 if all events are right, or all wrong, and NaN for a single event.

    Examples
    --------
    >>> print(accuracy([0, 1, 1, 0], [0.2, 0.7, 0.4, 0.1]))
    0.75 ± 0.25
    >>> accuracy([2, 0], [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]).value
    1.0
    """
    classes, chosen, factors, _ = classes_of(labels, predictions, weights, threshold)
    return weighted_mean((classes == chosen).astype(np.float64), factors)


def classes_of(
    labels: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None, threshold: float | int
) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, " events"], int]:
    """Return the true and predicted classes, the weights and the number of classes, checked as in `accuracy`.

    If the predictions are classes, the largest of them and of the labels gives the number of classes.
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
        raise ValueError(
            f"labels of event {bad[0]} must be an integer from 0 to {num_classes - 1}, got {classes[bad[0]]}"
        )
    if chosen.min() < 0:
        event = int(chosen.argmin())
        raise ValueError(f"predictions of event {event} must be a class, an integer from 0, got {chosen[event]}")
    check_total(factors)
    if math.isinf(num_classes):
        num_classes = max(classes.max(), chosen.max()) + 1
    return classes, chosen, factors, int(num_classes)


def resolution(
    target: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None, *, relative: bool = False
) -> tuple[Estimate, Estimate]:
    r"""Compute bias and resolution of a regression: mean and standard deviation of its residuals.

    .. math:: b = \langle \hat y - y \rangle, \qquad \sigma = \sqrt{\langle (\hat y - y - b)^2 \rangle}

    Parameters
    ----------
    target, prediction, weights
        True and predicted values and weights of the events.
    relative
        Whether to divide residuals by the target, as is usual for energies; it must then be positive.

    Returns
    -------
    bias, rms
        In the units of the target, or as fractions of it if ``relative``.

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, or negative weights make the sum or the mean square negative.

    Examples
    --------
    >>> bias, rms = resolution([100.0, 50.0, 80.0, 70.0], [104.0, 50.0, 82.0, 66.0])
    >>> print(f"{bias:.1f}, {rms:.1f}")
    0.5 ± 1.7, 3.0 ± 0.8
    """
    truth, predicted, factors = event_columns(weights, target=target, prediction=prediction)
    check_total(factors)
    residual = residuals(truth, predicted, relative)
    bias = weighted_mean(residual, factors)
    square, uncertainty = weighted_mean((residual - bias.value) ** 2, factors)
    if square < 0:
        raise NotEnoughEvents(
            f"weights must give a mean square residual of at least 0, got {square:g}: use fewer negative weights"
        )
    rms = math.sqrt(square)
    return bias, Estimate(rms, uncertainty / (2.0 * rms) if rms > 0 else uncertainty)


class BinnedResolution(NamedTuple):
    """Bias and resolution in bins of the target, with their uncertainties; NaN in a bin of fewer than two events."""

    edges: Float[np.ndarray, " edges"]
    bias: Float[np.ndarray, " bins"]
    bias_uncertainty: Float[np.ndarray, " bins"]
    rms: Float[np.ndarray, " bins"]
    rms_uncertainty: Float[np.ndarray, " bins"]


def binned_resolution(
    target: ArrayLike,
    prediction: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 10,
    relative: bool = False,
) -> BinnedResolution:
    """Compute `resolution` in bins of the target.

    Parameters
    ----------
    target, prediction, weights
        True and predicted values and weights of the events.
    bins
        Number of bins of equal width over the target, or their edges.
    relative
        As in `resolution`.

    Raises
    ------
    ValueError
        If the edges do not rise, or an input is not as described.

    Examples
    --------
    >>> found = binned_resolution([10.0, 10.0, 20.0, 20.0], [9.0, 11.0, 22.0, 24.0], bins=2)
    >>> found.bias.tolist(), found.rms.tolist()
    ([0.0, 3.0], [1.0, 1.0])
    """
    truth, predicted, factors = event_columns(weights, target=target, prediction=prediction)
    truth, residual = truth.astype(np.float64), residuals(truth, predicted, relative)
    members = bin_numbers(truth, edges := bin_edges(bins, *_ends(truth)))
    found = np.full((4, len(edges) - 1), np.nan)
    for number in range(len(edges) - 1):
        inside = members == number
        if inside.sum() > 1 and factors[inside].sum() > 0:
            bias, rms = resolution(np.zeros(inside.sum()), residual[inside], factors[inside])
            found[:, number] = *bias, *rms
    return BinnedResolution(edges, *found)


def residuals(target: np.ndarray, prediction: np.ndarray, relative: bool = False) -> Float[np.ndarray, " events"]:
    """Return prediction minus target, divided by a positive target if ``relative``.

    Examples
    --------
    >>> residuals(np.array([10.0]), np.array([9.0]), relative=True)
    array([-0.1])
    """
    difference = prediction.astype(np.float64) - target.astype(np.float64)
    if not relative:
        return difference
    bad = np.flatnonzero(target <= 0)
    if bad.size:
        raise ValueError(f"target of event {bad[0]} must be above 0 with relative=True, got {target[bad[0]]}")
    return difference / target


def _ends(values: Float[np.ndarray, " events"]) -> tuple[float, float]:
    """Return the smallest and the largest value, widened by 0.5 on either side if they are equal."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)
