"""Whether a score is a probability: the share of signal among events of a score, bin by bin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .bins import bin_edges, bin_numbers
from .estimate import classified_events

__all__ = ["Calibration", "calibration"]


class Calibration(NamedTuple):
    """Mean score and share of signal in bins of the score; NaN in a bin without a positive sum of weights."""

    edges: Float[np.ndarray, " edges"]
    score: Float[np.ndarray, " bins"]
    fraction: Float[np.ndarray, " bins"]
    lower: Float[np.ndarray, " bins"]
    upper: Float[np.ndarray, " bins"]
    share: Float[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        r"""The expected calibration error :math:`\sum_k s_k |f_k - \bar x_k|`, where :math:`s_k` is a bin's share.

        Even of a perfect score it is above 0: each bin adds about 0.8 times the uncertainty of its fraction.
        """
        filled = ~np.isnan(self.fraction)
        gaps = np.abs(self.fraction[filled] - self.score[filled])
        return float(np.sum(self.share[filled] * gaps) / np.sum(self.share[filled]))


def calibration(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, bins: int | ArrayLike = 10
) -> Calibration:
    r"""Compute the share of signal in bins of the score, with its 68 % interval.

    .. math:: f_k = \frac{\sum_{i \in k} w_i\,y_i}{\sum_{i \in k} w_i}, \qquad
              \sigma_k^2 = \frac{\sum_{i \in k} w_i^2\,(y_i - f_k)^2}{\big(\sum_{i \in k} w_i\big)^2}

    The interval is Wilson's for :math:`n = f_k (1 - f_k) / \sigma_k^2` events: for unit weights the binomial one. Where
    all events of a bin are of one class :math:`n` is :math:`(\sum w)^2 / \sum w^2`.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), scores from 0 to 1 and weights of the events.
    bins
        Number of bins of equal width from 0 to 1; or their edges.

    Returns
    -------
    Calibration
        ``edges``; for each bin the mean ``score``, the ``fraction`` of signal from ``lower`` to ``upper``, and its
        ``share`` of the weight of all events.

    Raises
    ------
    ValueError
        If a score is not from 0 to 1, the edges do not rise or hold no event, or an input is not as described.

    Notes
    -----
    **Limits.** The fraction holds for the mixture of classes that the weights describe: a classifier that was trained
    on as much signal as background is calibrated for this mixture, and for no other one.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    Examples
    --------
    >>> found = calibration([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.8, 0.9], bins=2)
    >>> found.score.round(2).tolist(), found.fraction.round(2).tolist()
    ([0.2, 0.77], [0.33, 0.67])
    """
    signal, values, factors = classified_events(labels, scores, weights)
    bad = np.flatnonzero((values < 0) | (values > 1))
    if bad.size:
        raise ValueError(f"scores of event {bad[0]} is {values[bad[0]]}, expected a probability: from 0 to 1.")
    edges = bin_edges(bins, 0.0, 1.0)
    members = bin_numbers(values, edges)
    inside = members >= 0
    if not inside.any():
        raise ValueError(f"bins run from {edges[0]:g} to {edges[-1]:g}, where there is no event: give other edges.")

    def total(amounts: Float[np.ndarray, " events"]) -> Float[np.ndarray, " bins"]:
        return np.bincount(members[inside], amounts[inside], minlength=len(edges) - 1)

    weight = total(factors)
    weight = np.where(weight > 0, weight, np.nan)
    fraction = total(factors * signal) / weight
    variance = total(factors**2 * (signal - fraction[members]) ** 2) / weight**2
    lower, upper = _interval(fraction, variance, weight**2 / total(factors**2))
    share = np.nan_to_num(weight) / factors.sum()
    return Calibration(edges, total(factors * values) / weight, fraction, lower, upper, share)


@np.errstate(invalid="ignore", divide="ignore")
def _interval(
    fraction: Float[np.ndarray, " bins"], variance: Float[np.ndarray, " bins"], count: Float[np.ndarray, " bins"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Wilson's interval; the symmetric one where negative weights push a fraction out of 0 to 1."""
    spread = fraction * (1 - fraction)
    count = np.where(spread > 0, spread / variance, count)
    middle = (fraction + 0.5 / count) / (1 + 1 / count)
    reach = np.sqrt(np.maximum(spread / count + 0.25 / count**2, 0.0)) / (1 + 1 / count)
    outside = (fraction < 0) | (fraction > 1)
    middle, reach = np.where(outside, fraction, middle), np.where(outside, np.sqrt(variance), reach)
    return middle - reach, middle + reach
