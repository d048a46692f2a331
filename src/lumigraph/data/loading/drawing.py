"""Events drawn at random, with replacement, by their weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...events.errors import EventError

__all__ = ["Numbers", "as_array", "balanced_weights", "chances", "draw"]

Numbers = Sequence[Any] | np.ndarray | Tensor


def balanced_weights(labels: Numbers, weights: Numbers | None = None) -> np.ndarray:
    """Return weights that draw each class equally often; they are 1 on average.

    Parameters
    ----------
    labels
        Class of each event, (B,): numbers, or names as an array.
    weights
        Relative rates of events within a class, (B,); equal by default.

    Raises
    ------
    ValueError, TypeError
        If there are no labels, one of them is NaN, the weights are not non-negative finite numbers, one per event, or
        those of a class are all zero.

    Examples
    --------
    >>> balanced_weights([0, 0, 0, 1])
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    """
    given = as_array(labels)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(
            f"labels must be the class of each event, (B,), got shape {given.shape}; a column of y is y[:, 0]"
        )
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise EventError(
            "its label must not be NaN: leave out events without a class", event=int(np.isnan(given).argmax())
        )
    classes, number = np.unique(given, return_inverse=True)
    each = np.ones(len(given)) if weights is None else _as_weights(weights, len(given))
    sums = np.bincount(number, weights=each)
    if not sums.all():
        raise ValueError(
            f"the weights of class {classes[sums.argmin()]} must not all be zero, or none of it can be drawn"
        )
    return each * (len(given) / (len(classes) * sums))[number]


def chances(weights: Any, num_events: int) -> np.ndarray:
    """Return the cumulative probabilities of the events."""
    array = _as_weights(weights, num_events)
    if not array.any():
        raise ValueError("the weights must not all be zero, or no event can be drawn")
    sums = (array / array.max()).cumsum()
    return sums / sums[-1]


def draw(cumulative: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw as many events as there are, by the cumulative probabilities of `chances`.

    Examples
    --------
    >>> draw(chances([0.0, 2.0, 0.0], 3), np.random.default_rng(0))
    array([1, 1, 1])
    """
    # searching sorted numbers takes one sweep, thirty times as fast as in random order
    numbers = np.sort(rng.random(len(cumulative)))
    return rng.permutation(cumulative.searchsorted(numbers, side="right"))


def as_array(values: Any) -> np.ndarray:
    """Return a tensor, an array or a list as an array."""
    return np.asarray(values.numpy(force=True) if isinstance(values, Tensor) else values)


def _as_weights(weights: Any, num_events: int) -> np.ndarray:
    array = as_array(weights)
    if array.dtype.kind not in "fiub" or array.shape != (num_events,):
        raise TypeError(f"weights must be {num_events} numbers, one per event, got {array.dtype} of {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        event = int(np.isfinite(array).argmin())
        raise EventError(f"weights must be finite to draw by them, got {array[event]}", event=event)
    if array.min() < 0:
        event = int(array.argmin())
        advice = "draw with np.abs(weights), and leave the sign to the weight of the event in the loss"
        raise EventError(f"weights must be at least 0 to draw by them, got {array[event]}: {advice}", event=event)
    return array
