"""Shares of the events of files: the parts of a split."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

__all__ = ["Share", "check_fractions", "shares_of"]


class Share(NamedTuple):
    """The events whose random number, a function of event number and seed, is in an interval."""

    low: float
    high: float
    seed: int

    def has(self, numbers: np.ndarray) -> np.ndarray:
        """Return which of the events with these numbers belong to the share."""
        drawn = _uniform(numbers, self.seed)
        return (drawn >= self.low) & (drawn < self.high)


def shares_of(fractions: Sequence[float], seed: int) -> list[Share]:
    """Return disjoint shares of the events, of approximately these sizes.

    Examples
    --------
    >>> parts = shares_of((0.5, 0.25), seed=1)
    >>> [int(part.has(np.arange(100_000)).sum()) for part in parts]
    [50106, 24975]
    """
    check_fractions(fractions)
    ends = [0.0, *np.cumsum(fractions).tolist()]
    ends[-1] = 1.0 if abs(ends[-1] - 1) < 1e-9 else ends[-1]
    return [Share(low, high, seed) for low, high in pairwise(ends)]


def check_fractions(fractions: Sequence[float]) -> None:
    """Raise a ValueError unless fractions are positive with a sum of at most 1."""
    if min(fractions, default=0) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"fractions must be positive and add up to 1 at most, got {list(fractions)}")


def _uniform(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return a random number in [0, 1) for each event number: a hash of it and the seed."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
        z *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
