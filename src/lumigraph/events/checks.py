"""Checks of the numbers that layers and blocks are built from."""

import math
from numbers import Integral, Real
from typing import Any

__all__ = ["check_counts", "check_dropout", "check_number"]


def check_counts(least: int = 1, /, **numbers: Any) -> None:
    """Raise a TypeError for the first number that is not whole, or a ValueError for one that is too small."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise TypeError(f"{name} must be a whole number of at least {least}, got {number!r}")
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")


def check_number(name: str, number: Any) -> float:
    """Return a number as a float, or raise an error unless it is finite."""
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name} must be a number, got {number!r}")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {number}")
    return float(number)


def check_dropout(name: str, rate: Any) -> float:
    """Return a dropout rate, with 0 for None, or raise a ValueError unless it is below 1."""
    rate = 0.0 if rate in (None, False) else rate
    if not isinstance(rate, Real) or not 0 <= float(rate) < 1:
        raise ValueError(f"{name} must be a rate from 0 to below 1, got {rate!r}")
    return float(rate)
