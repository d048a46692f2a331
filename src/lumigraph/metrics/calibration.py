"""Calibration of a score: the fraction of signal in bins of the score."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .bins import bin_edges, bin_numbers
from .estimate import Estimate, classified_events, weighted_mean

__all__ = ["Calibration", "calibration", "calibration_error"]


class Calibration(NamedTuple):
    """Mean score and fraction of signal in bins of the score; NaN in a bin without a positive sum of weights."""

    edges: Float[np.ndarray, " edges"]
    score: Float[np.ndarray, " bins"]
    fraction: Float[np.ndarray, " bins"]
    lower: Float[np.ndarray, " bins"]
    upper: Float[np.ndarray, " bins"]
    share: Float[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        r"""The expected calibration error :math:`\sum_k s_k |f_k - \bar x_k|`, where :math:`s_k` is a bin's share.

        Even for a perfect score it is above 0: each bin adds about 0.8 times the uncertainty of its fraction, which
        `calibration_error` subtracts.
        """
        filled = ~np.isnan(self.fraction)
        gaps = np.abs(self.fraction[filled] - self.score[filled])
        return float(np.sum(self.share[filled] * gaps) / np.sum(self.share[filled]))


def calibration(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, bins: int | ArrayLike = 10
) -> Calibration:
    r"""Compute the fraction of signal in bins of the score, with its 68 % interval.

    .. math:: f_k = \frac{\sum_{i \in k} w_i\,y_i}{\sum_{i \in k} w_i}, \qquad
              \sigma_k^2 = \frac{\sum_{i \in k} w_i^2\,(y_i - f_k)^2}{\big(\sum_{i \in k} w_i\big)^2}

    The interval is Wilson's for :math:`n = f_k (1 - f_k) / \sigma_k^2` events; for unit weights this is the binomial
    one. If all events of a bin are of one class, :math:`n` is :math:`(\sum w)^2 / \sum w^2`.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), scores from 0 to 1 and weights of the events.
    bins
        Number of bins of equal width from 0 to 1, or their edges.

    Returns
    -------
    Calibration
        ``edges``, and for each bin the mean ``score``, the ``fraction`` of signal with its interval from ``lower`` to
        ``upper``, and the ``share`` of the weight of all events.

    Raises
    ------
    ValueError
        If a score is not from 0 to 1, the edges do not rise or hold no event, or an input is not as described.

    Notes
    -----
    **Limits.** The fraction holds for the mixture of classes that the weights describe: a classifier trained on as
    much signal as background is calibrated for this mixture and no other.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    Examples
    --------
    >>> found = calibration([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.8, 0.9], bins=2)
    >>> found.score.round(2).tolist(), found.fraction.round(2).tolist()
    ([0.2, 0.77], [0.33, 0.67])
    """
    events, edges, whole = _binned(labels, scores, weights, bins)
    signal, values, factors, members = events

    def total(amounts: Float[np.ndarray, " events"]) -> Float[np.ndarray, " bins"]:
        return np.bincount(members, amounts, minlength=len(edges) - 1)

    weight = total(factors)
    weight = np.where(weight > 0, weight, np.nan)
    fraction = total(factors * signal) / weight
    variance = total(factors**2 * (signal - fraction[members]) ** 2) / weight**2
    lower, upper = _interval(fraction, variance, weight**2 / total(factors**2))
    share = np.nan_to_num(weight) / whole
    return Calibration(edges, total(factors * values) / weight, fraction, lower, upper, share)


@np.errstate(invalid="ignore", divide="ignore")
def _interval(
    fraction: Float[np.ndarray, " bins"], variance: Float[np.ndarray, " bins"], count: Float[np.ndarray, " bins"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Return Wilson's interval, or the symmetric one where negative weights push a fraction outside 0 to 1."""
    spread = fraction * (1 - fraction)
    count = np.where(spread > 0, spread / variance, count)
    middle = (fraction + 0.5 / count) / (1 + 1 / count)
    reach = np.sqrt(np.maximum(spread / count + 0.25 / count**2, 0.0)) / (1 + 1 / count)
    outside = (fraction < 0) | (fraction > 1)
    middle, reach = np.where(outside, fraction, middle), np.where(outside, np.sqrt(variance), reach)
    return middle - reach, middle + reach


def calibration_error(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 10,
    debias: bool = True,
) -> Estimate:
    r"""Compute the expected calibration error: by how much a score misses the probability of signal.

    .. math:: \text{ECE} = \sum_k |d_k|, \qquad d_k = \sum_{i \in k} p_i\,(y_i - x_i), \quad p = w / \sum w

    Even for a perfect score this is above 0, since each :math:`d_k` is known only to :math:`\sigma_k`. Therefore
    :math:`|d_k|` is replaced by the gap in one half of the events with the sign of the gap in the other half, averaged
    over all ways to halve them:

    .. math:: |d_k|\,\text{erf}\frac{|d_k|}{\sqrt 2 \sigma_k} - \sqrt{\frac 2\pi}\,\sigma_k\,e^{-d_k^2 / 2\sigma_k^2}

    Parameters
    ----------
    labels, scores, weights, bins
        As in `calibration`.
    debias
        Whether to subtract the bias; if not, the value is ``calibration(...).error``.

    Raises
    ------
    ValueError
        As in `calibration`.

    Notes
    -----
    **Limits.** Unbiased, with a correct uncertainty, for a perfect score (the value may then be below 0) and for gaps
    well above their :math:`\sigma_k`. In between it is too low, by at most half a :math:`\sigma_k` per bin;
    ``debias=False`` is too high there.

    References
    ----------
    Guo et al., arXiv:1706.04599, Eq. (3); Kumar, Liang, Ma, arXiv:1909.10155, on the bias.

    Examples
    --------
    >>> scores = np.arange(2000) % 100 / 100
    >>> labels = np.random.default_rng(0).uniform(size=2000) < scores
    >>> print(calibration_error(labels, scores), "and", calibration_error(labels, scores**2))
    -0.0011 ± 0.0095 and 0.1697 ± 0.0096
    """
    events, edges, _ = _binned(labels, scores, weights, bins)
    kept = np.bincount(events[3], events[2], minlength=len(edges) - 1)[events[3]] > 0  # as in `calibration`
    signal, values, factors, members = (column[kept] for column in events)
    shares, misses = factors / factors.sum(), signal - values

    def total(amounts: Float[np.ndarray, " events"]) -> Float[np.ndarray, " bins"]:
        return np.bincount(members, amounts, minlength=len(edges) - 1)

    share, gap = total(shares), total(shares * misses)
    mean, uncertainty = weighted_mean(np.sign(gap)[members] * misses, factors)
    if not debias:
        return Estimate(mean, uncertainty)
    within = np.divide(gap, share, out=np.zeros_like(gap), where=share > 0)
    sigma = np.sqrt(total((shares * (misses - within[members])) ** 2))
    ratio = np.divide(np.abs(gap), sigma, out=np.full_like(gap, np.inf), where=sigma > 0)
    sure = np.array([math.erf(z / math.sqrt(2.0)) for z in ratio])
    noise = math.sqrt(2.0 / math.pi) * sigma * np.exp(-0.5 * ratio**2)
    return Estimate(float(np.sum(np.abs(gap) * sure - noise)), uncertainty)


def _binned(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, bins: int | ArrayLike
) -> tuple[tuple[np.ndarray, ...], Float[np.ndarray, " edges"], float]:
    """Return signal, score, weight and bin of the events inside the edges, the edges, and the weight of all events."""
    signal, values, factors = classified_events(labels, scores, weights)
    bad = np.flatnonzero((values < 0) | (values > 1))
    if bad.size:
        raise ValueError(f"scores of event {bad[0]} must be a probability, from 0 to 1, got {values[bad[0]]}")
    edges = bin_edges(bins, 0.0, 1.0)
    members = bin_numbers(values, edges)
    inside = members >= 0
    if not inside.any():
        raise ValueError(
            f"bins must hold at least one event, got none from {edges[0]:g} to {edges[-1]:g}: give other edges"
        )
    events = tuple(column[inside] for column in (signal, values, factors, members))
    return events, edges, float(factors.sum())
