"""Checks of the inputs of metrics, and their results: numbers with uncertainties."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

__all__ = [
    "Estimate",
    "NotEnoughEvents",
    "as_array",
    "as_column",
    "check_finite",
    "check_total",
    "classified_events",
    "event_columns",
    "weighted_mean",
]


class Estimate(NamedTuple):
    """A number with its one-sigma statistical uncertainty.

    Printed, it shows two digits of the uncertainty; a format specification applies to both numbers.

    Examples
    --------
    >>> estimate = Estimate(0.87312, 0.00423)
    >>> print(estimate)
    0.8731 ± 0.0042
    >>> f"{estimate:.2f}"
    '0.87 ± 0.00'
    """

    value: float
    uncertainty: float

    def __format__(self, spec: str) -> str:
        if spec:
            return f"{self.value:{spec}} ± {self.uncertainty:{spec}}"
        if not math.isfinite(self.value) or not 1e-9 < self.uncertainty < 1e9:
            return f"{self.value:.6g} ± {self.uncertainty:.2g}"
        digits = 1 - math.floor(math.log10(self.uncertainty))
        shown = max(digits, 0)
        return f"{round(self.value, digits):.{shown}f} ± {round(self.uncertainty, digits):.{shown}f}"

    def __str__(self) -> str:
        return format(self)


class NotEnoughEvents(ValueError):
    """The events are valid, but too few for the metric: for example, a class has no event."""


def as_array(values: Any) -> np.ndarray:
    """Return anything as a numpy array, including tensors that carry gradients or are on a device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values  # numpy has no bfloat16
    return np.asarray(values)


def as_column(name: str, values: ArrayLike) -> np.ndarray:
    """Return one finite number per event, of shape (events,)."""
    array = as_array(values)
    if array.dtype.kind not in "biuf":
        array = array.astype(np.float64)  # pandas' nullable columns are objects; text fails here
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have the shape (events,) or (events, 1), got {array.shape}")
    if array.size == 0:
        raise NotEnoughEvents(f"{name} must hold at least one event, got none")
    check_finite(name, array)
    return array


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise a ValueError that names the first event with an infinite number or NaN."""
    bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
    if bad.size:
        raise ValueError(f"{name} of event {bad[0]} must be finite, got {array[bad[0]]}: leave the event out")


def event_columns(weights: ArrayLike | None, **columns: ArrayLike) -> tuple[np.ndarray, ...]:
    """Return the named columns, then the weights; raise unless each has one finite number per event.

    Examples
    --------
    >>> labels, factors = event_columns(None, labels=[0, 1])
    >>> factors
    array([1., 1.])
    """
    arrays = [as_column(name, values) for name, values in columns.items()]
    first, num_events = next(iter(columns)), len(arrays[0])
    arrays.append(np.ones(num_events) if weights is None else as_column("weights", weights).astype(np.float64))
    for name, array in zip((*columns, "weights"), arrays, strict=True):
        if len(array) != num_events:
            raise ValueError(f"{name} must have {num_events} events, as {first} has, got {len(array)}")
    return tuple(arrays)


def check_total(weights: Float[np.ndarray, " events"], whose: str = "all events") -> None:
    """Raise `NotEnoughEvents` unless the weights have a positive sum."""
    if not weights.sum() > 0:
        raise NotEnoughEvents(f"weights of {whose} must have a positive sum, got {weights.sum():g}")


def classified_events(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[Bool[np.ndarray, " events"], Float[np.ndarray, " events"], Float[np.ndarray, " events"]]:
    """Return the checked labels (True for signal), scores and weights of a binary classification."""
    classes, values, factors = event_columns(weights, labels=labels, scores=scores)
    bad = np.flatnonzero((classes != 0) & (classes != 1))
    if bad.size:
        raise ValueError(f"labels of event {bad[0]} must be 0 (background) or 1 (signal), got {classes[bad[0]]}")
    signal = classes == 1
    for name, members in (("background", ~signal), ("signal", signal)):
        if not members.any():
            raise NotEnoughEvents(f"labels must hold both classes (0 and 1), got no {name} event")
        check_total(factors[members], whose=f"the {name}")
    return signal, values.astype(np.float64), factors


def weighted_mean(values: np.ndarray, weights: Float[np.ndarray, " events"]) -> Estimate:
    """Return the weighted mean and the root of its variance, sum p^2 (v - mean)^2 with p = w / sum w, made unbiased."""
    shares = weights / weights.sum()
    mean = float(np.sum(shares * values))
    sum_of_squares = np.sum(shares**2)
    spread = np.sum(shares**2 * (values - mean) ** 2)
    # the expectation of the spread for values of unit variance
    expected = np.sum(shares**2 * (1.0 - 2.0 * shares + sum_of_squares))
    return Estimate(mean, float(np.sqrt(spread * sum_of_squares / expected)) if expected > 0 else math.nan)
