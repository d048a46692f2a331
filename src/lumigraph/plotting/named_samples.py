"""The events of each of several models that are drawn in one picture."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import ArrayLike

__all__ = ["named_samples"]


def named_samples(what: str, curves: Mapping[str, tuple[ArrayLike, ...]]) -> Mapping[str, tuple[ArrayLike, ...]]:
    """Return the samples, or raise a ValueError unless each is a pair, with or without weights.

    Examples
    --------
    >>> named_samples("labels, scores", {"cut": ([0, 1],)})
    Traceback (most recent call last):
    ValueError: curves['cut'] must be (labels, scores) or (labels, scores, weights), got 1 parts
    """
    if not curves:
        raise ValueError(f"curves must have at least one name with its ({what}), got none")
    for name, sample in curves.items():
        if len(sample) not in (2, 3):
            raise ValueError(f"curves[{name!r}] must be ({what}) or ({what}, weights), got {len(sample)} parts")
    return curves
