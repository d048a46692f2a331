"""Mean, spread, range and quantiles of features, measured chunk by chunk in one pass."""

from typing import Any

import numpy as np

from ...events.checks import check_counts

__all__ = ["FeatureStatistics", "weighted_quantile"]


class FeatureStatistics:
    r"""Moments, ranges and quantiles of F features, from rows in chunks.

    The result does not depend on the division into chunks. Mean and variance are those of the weighted rows,

    .. math:: \mu = \frac{\sum w x}{\sum w}, \qquad \sigma^2 = \frac{\sum w (x - \mu)^2}{\sum w},

    with weights of either sign: rows of negative weight are subtracted. Sums are kept in float64 about the running
    centre of the rows, so that large values do not lose precision [1]_.

    Parameters
    ----------
    num_features
        Number of features.
    max_rows
        Number of rows kept for quantiles: a uniform sample, or all rows if there are no more than that. 0 keeps none.
    seed
        Seed of the sample.

    Notes
    -----
    **Shape.** Rows (N, F), weights (N,); every result (F,).

    Without rows, the mean is 0 and the standard deviation 1: no scaling.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37 (1983) 242.

    Examples
    --------
    >>> statistics = FeatureStatistics(1)
    >>> for chunk, weights in (([[1.0], [2.0]], [1.0, 1.0]), ([[4.0]], [2.0])):
    ...     statistics.update(np.array(chunk), np.array(weights))
    >>> statistics.mean, statistics.std, statistics.quantile(0.5)
    (array([2.75]), array([1.29903811]), array([2.]))
    """

    def __init__(self, num_features: int, *, max_rows: int = 2**17, seed: int = 0) -> None:
        check_counts(0, num_features=num_features, max_rows=max_rows, seed=seed)
        self.num_features, self.max_rows = num_features, max_rows
        #: number of rows
        self.count = 0
        #: sum of weights
        self.sum_weights = 0.0
        #: smallest and largest value of each feature, whatever its weight
        self.minimum, self.maximum = np.full(num_features, np.inf), np.full(num_features, -np.inf)
        # about the centre c, the mean weighted by |w|: sums of w (x - c), w (x - c)^2 and |w| (x - c)^2
        self._size = 0.0
        self._centre, self._first, self._second, self._spread = np.zeros((4, num_features))
        # each row draws a number, and the smallest are kept: the sample does not depend on the chunks
        self._rng = np.random.default_rng(seed)
        self._keys, self._weights, self._rows = np.empty(0), np.empty(0), np.empty((0, num_features))

    def update(self, values: Any, weights: Any = None) -> None:
        """Add rows (N, F) with weights, 1 by default.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a number is not finite.
        """
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.num_features:
            raise ValueError(f"values must have the shape (rows, {self.num_features}), got {rows.shape}")
        w = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
        if w.shape != (len(rows),):
            raise ValueError(f"weights must have the shape ({len(rows)},), one per row, got {w.shape}")
        for name, numbers in (("values", rows), ("weights", w)):
            if not np.isfinite(numbers).all():
                place = np.argwhere(~np.isfinite(numbers))[0]
                raise ValueError(f"{name} must be finite, got {numbers[tuple(place)]} at {place.tolist()}")
        if not len(rows):
            return
        self.count += len(rows)
        self.minimum = np.minimum(self.minimum, rows.min(axis=0))
        self.maximum = np.maximum(self.maximum, rows.max(axis=0))
        self._add_moments(rows, w)
        if self.max_rows:
            self._sample(rows, w)

    def _add_moments(self, rows: np.ndarray, w: np.ndarray) -> None:
        size, total = float(np.abs(w).sum()), float(w.sum())
        if not size:
            return
        centre = np.abs(w) @ rows / size
        apart = rows - centre
        first = w @ apart
        apart *= apart
        second, spread = w @ apart, np.abs(w) @ apart
        shift = (centre - self._centre) * (size / (self._size + size))
        middle = self._centre + shift
        mine, theirs = self._centre - middle, centre - middle
        self._second += mine * (2 * self._first + mine * self.sum_weights)
        self._second += second + theirs * (2 * first + theirs * total)
        self._spread += spread + mine**2 * self._size + theirs**2 * size
        self._first += mine * self.sum_weights + first + theirs * total
        self._centre, self._size, self.sum_weights = middle, self._size + size, self.sum_weights + total

    def _sample(self, rows: np.ndarray, w: np.ndarray) -> None:
        keys = self._rng.random(len(rows))
        if len(self._keys) == self.max_rows:  # most rows of a long stream are dropped here
            chosen = keys < self._keys.max()
            keys, w, rows = keys[chosen], w[chosen], rows[chosen]
        keys = np.concatenate([self._keys, keys])
        w, rows = np.concatenate([self._weights, w]), np.concatenate([self._rows, rows])
        if len(keys) > self.max_rows:
            chosen = np.argpartition(keys, self.max_rows)[: self.max_rows]
            keys, w, rows = keys[chosen], w[chosen], rows[chosen]
        self._keys, self._weights, self._rows = keys, w, rows

    def _check_weights(self) -> None:
        if not self.sum_weights > 0:
            raise ValueError(
                f"the weights of {self.count} rows must have a positive sum to give a mean, got {self.sum_weights:g}: "
                "use other weights, or none"
            )

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean of each feature; raises a ValueError if the sum of weights is not positive."""
        if not self.count:
            return np.zeros(self.num_features)
        self._check_weights()
        return self._centre + self._first / self.sum_weights

    @property
    def std(self) -> np.ndarray:
        """Weighted standard deviation of each feature, 0 for a constant feature.

        If negative weights leave a feature without a positive variance, it is computed with absolute weights. Raises a
        ValueError if the sum of weights is not positive.
        """
        if not self.count:
            return np.ones(self.num_features)
        self._check_weights()
        variance = self._second / self.sum_weights - (self._first / self.sum_weights) ** 2
        variance = np.where(variance > 0, variance, self._spread / self._size)
        return np.where(self.minimum < self.maximum, np.sqrt(variance), 0.0)

    def quantile(self, q: float) -> np.ndarray:
        """Return the weighted quantile of each feature, 0 without rows; see `weighted_quantile`.

        Raises
        ------
        ValueError
            If the sum of weights is not positive, or no rows are kept.
        """
        if not self.count:
            return np.zeros(self.num_features)
        if not self.max_rows:
            raise ValueError("max_rows must be above 0 for quantiles, got 0")
        self._check_weights()
        return np.array([weighted_quantile(column, q, self._weights) for column in self._rows.T])


def weighted_quantile(values: np.ndarray, q: float, weights: np.ndarray) -> float:
    """Return the smallest value at or below which the share q of the weights lies.

    With weights of either sign, the share may fall from value to value. It is then replaced by the mean of two that
    do not, its largest value so far and its smallest from there on, so that a quantile exists and does not depend on
    the direction in which the values are counted.

    Parameters
    ----------
    values, weights
        One value and one weight per row, in any order.
    q
        Share, from 0 to 1.

    Raises
    ------
    ValueError
        If the sum of weights is not positive.

    Examples
    --------
    >>> weighted_quantile(np.array([3.0, 1.0, 2.0]), 0.5, np.array([1.0, 1.0, 5.0]))
    2.0
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q must be a share from 0 to 1, got {q}")
    order = np.argsort(values, kind="stable")
    ascending, below = values[order], np.cumsum(weights[order])
    if not len(below) or not below[-1] > 0:
        raise ValueError(f"the weights of {len(below)} values must add up to a positive number")
    last = np.append(ascending[1:] != ascending[:-1], True)  # equal values share one entry
    ascending, below = ascending[last], below[last]
    if (weights < 0).any():
        below = (np.maximum.accumulate(below) + np.minimum.accumulate(below[::-1])[::-1]) / 2
    found = np.searchsorted(below, q * float(np.sum(weights)), side="left")
    return float(ascending[min(found, len(ascending) - 1)])
