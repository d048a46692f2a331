"""ROC curves, the area under them, background rejection, and a band of uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from .bootstrap import replicas
from .estimate import Estimate, as_column, weighted_mean
from .ranking import efficiency_upto, ranked_events

__all__ = ["RocBand", "RocCurve", "auc", "background_rejection", "roc_band", "roc_curve"]

_ONE_SIGMA = (0.15865525393145705, 0.8413447460685429)  # a Gaussian's cumulative distribution at -1 and +1 sigma


@dataclass(frozen=True)
class RocCurve:
    """The efficiencies of both classes for the cut ``score >= threshold``, from (0, 0) to (1, 1).

    Attributes
    ----------
    signal_efficiency, background_efficiency
        Fraction of each class's weight that passes the cut.
    thresholds
        ``inf``, which nothing passes, then the distinct scores in falling order.
    """

    signal_efficiency: Float[np.ndarray, " points"]
    background_efficiency: Float[np.ndarray, " points"]
    thresholds: Float[np.ndarray, " points"]


class RocBand(NamedTuple):
    """Background efficiency with its 68 % interval on a grid of signal efficiencies."""

    signal_efficiency: Float[np.ndarray, " grid"]
    lower: Float[np.ndarray, " grid"]
    central: Float[np.ndarray, " grid"]
    upper: Float[np.ndarray, " grid"]


def _crossing(
    efficiency: Float[np.ndarray, " points"], wanted: Float[np.ndarray, " grid"]
) -> tuple[Int[np.ndarray, " grid"], Float[np.ndarray, " grid"]]:
    """Return the point at which an efficiency first reaches each wanted value, and how far along the step to it.

    The running maximum is searched, since with negative weights an efficiency may fall on its way.
    """
    point = np.searchsorted(np.maximum.accumulate(efficiency), wanted - 1e-12).clip(1, len(efficiency) - 1)
    start, end = efficiency[point - 1], efficiency[point]
    step = np.where(end > start, end - start, np.inf)  # start == end only where 0 is wanted
    return point, ((wanted - start) / step).clip(0.0, 1.0)


def _background_at(
    signal: Float[np.ndarray, " points"], background: Float[np.ndarray, " points"], wanted: Float[np.ndarray, " grid"]
) -> Float[np.ndarray, " grid"]:
    """Return the background efficiency at the wanted signal efficiencies, linear between the points of the curve."""
    point, fraction = _crossing(signal, wanted)
    return background[point - 1] + fraction * (background[point] - background[point - 1])


def roc_curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> RocCurve:
    r"""Compute the receiver operating characteristic: both efficiencies at every distinct score.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), finite scores and weights of the events.

    Raises
    ------
    ValueError
        If a length, a label, a score or the weights of a class are not as described.

    Notes
    -----
    **Shape.** All inputs (events,); the curve has one point more than there are distinct scores.

    Examples
    --------
    >>> curve = roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9])
    >>> curve.signal_efficiency.tolist(), curve.background_efficiency.tolist()
    ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    ranked = ranked_events(labels, scores, weights)
    return RocCurve(
        signal_efficiency=efficiency_upto(ranked.signal_weights, ranked.signal_upto),
        background_efficiency=efficiency_upto(ranked.background_weights, ranked.background_upto),
        thresholds=ranked.thresholds,
    )


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    r"""Compute the area under the ROC curve, with DeLong's uncertainty.

    .. math:: A = \sum_{s,b} p_s p_b \left( 1[x_s > x_b] + \tfrac12 1[x_s = x_b] \right), \quad p = w / \sum w

    Its variance is the sum of those of two weighted means of placement values: the background below each signal event,
    and the signal above each background event. It takes O(n log n) operations.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), finite scores and weights of the events.

    Raises
    ------
    ValueError
        If a length, a label, a score or the weights of a class are not as described.

    Notes
    -----
    **Limits.** The uncertainty is 0 for perfect separation and NaN if a class has a single event.
    **Symmetry.** Unchanged by rising transforms of the scores and by scaling all weights.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837.

    Examples
    --------
    >>> print(auc([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9]))
    0.89 ± 0.16
    """
    ranked = ranked_events(labels, scores, weights)
    below = _share_below(ranked.signal_scores, ranked.background_scores, ranked.background_weights)
    above = 1.0 - _share_below(ranked.background_scores, ranked.signal_scores, ranked.signal_weights)
    area, signal_part = weighted_mean(below, ranked.signal_weights)
    return Estimate(area, math.hypot(signal_part, weighted_mean(above, ranked.background_weights).uncertainty))


def _share_below(
    scores: Float[np.ndarray, " events"], others: Float[np.ndarray, " others"], weights: Float[np.ndarray, " others"]
) -> Float[np.ndarray, " events"]:
    """Return the fraction of the others' weight (in falling order of score) below each score; ties count half."""
    rising, passed = others[::-1], np.append(0.0, np.cumsum(weights[::-1]))
    both_sides = passed[np.searchsorted(rising, scores, "left")] + passed[np.searchsorted(rising, scores, "right")]
    return both_sides / (2.0 * passed[-1])


def background_rejection(
    labels: ArrayLike, scores: ArrayLike, signal_efficiency: float | int, weights: ArrayLike | None = None
) -> Estimate:
    r"""Compute the background rejection 1/eps_B of the tightest cut with a given signal efficiency.

    .. math:: \sigma^2(\varepsilon_B) = \sigma_B^2 + \tfrac14
              \left[ \varepsilon_B(\varepsilon_S + \sigma_S) - \varepsilon_B(\varepsilon_S - \sigma_S) \right]^2

    The first term is binomial, with the weights' effective counts, at the fixed threshold. The second is the effect of
    the threshold's uncertainty, from moving the signal efficiency by its binomial error (Woodruff's method), less the
    variance of the bracket due to the background events between the two thresholds.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), finite scores and weights of the events.
    signal_efficiency
        The working point, above 0 and at most 1. Events of equal score pass in part: eps_B is linear between two
        points of the curve.

    Raises
    ------
    ValueError
        If ``signal_efficiency`` is out of range, or an input is not as described.

    Notes
    -----
    **Limits.** If no background weight is left above the threshold, the value is inf and the uncertainty NaN. If fewer
    than about twenty effective background events are left, the uncertainty is too large for a rejection below the true
    one and too small above it, and covers the truth in up to 78 % of samples.

    References
    ----------
    Woodruff, J. Am. Stat. Assoc. 47 (1952) 635.

    Examples
    --------
    >>> rejection = background_rejection([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.7, 0.9], 1.0)
    >>> rejection.value
    4.0
    """
    if not 0 < signal_efficiency <= 1:
        raise ValueError(f"signal_efficiency must be above 0 and at most 1, got {signal_efficiency}")
    ranked = ranked_events(labels, scores, weights)
    signal = efficiency_upto(ranked.signal_weights, ranked.signal_upto)
    background = efficiency_upto(ranked.background_weights, ranked.background_upto)
    point, fraction = _crossing(signal, np.array([float(signal_efficiency)]))
    threshold = ranked.thresholds[point]

    def passing(values: np.ndarray) -> np.ndarray:
        return np.where(values == threshold, fraction, values > threshold)

    kept, counting = weighted_mean(passing(ranked.background_scores), ranked.background_weights)
    if kept <= 1e-12:
        return Estimate(math.inf, math.nan)
    shift = weighted_mean(passing(ranked.signal_scores), ranked.signal_weights).uncertainty
    moved = np.clip([signal_efficiency - shift, signal_efficiency + shift], 0.0, 1.0)
    squares = np.append(0.0, np.cumsum(ranked.background_weights**2))[ranked.background_upto]
    noise = np.diff(_background_at(signal, squares, moved)).item() / ranked.background_weights.sum() ** 2
    change = np.diff(_background_at(signal, background, moved)).item()
    return Estimate(1.0 / kept, math.sqrt(counting**2 + max(change**2 - noise, 0.0) / 4.0) / kept**2)


def roc_band(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    signal_efficiency: ArrayLike | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> RocBand:
    """Compute the 68 % band of the background efficiency along the ROC curve by the bootstrap.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), finite scores and weights of the events.
    signal_efficiency
        Signal efficiencies of the grid, each above 0 and at most 1; 0.01, 0.02, ..., 1 if None.
    n_bootstrap
        Number of replicas, in which the events of each class are drawn with replacement.
    seed
        Seed of the random numbers: the same seed gives the same band.

    Raises
    ------
    ValueError
        If ``signal_efficiency`` or ``n_bootstrap`` is out of range, or an input is not as described.

    Examples
    --------
    >>> band = roc_band([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9], signal_efficiency=[0.5, 1.0])
    >>> band.central.round(3).tolist()
    [0.0, 0.333]
    """
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap must be at least 1, got {n_bootstrap}")
    ranked = ranked_events(labels, scores, weights)
    default = np.linspace(0.01, 1.0, 100)
    grid = (
        default if signal_efficiency is None else as_column("signal_efficiency", signal_efficiency).astype(np.float64)
    )
    if not np.all((grid > 0) & (grid <= 1)):
        raise ValueError(f"signal_efficiency must be above 0 and at most 1, got {grid.min()} to {grid.max()}")

    def curve(signal: np.ndarray, background: np.ndarray) -> np.ndarray:
        efficiency = efficiency_upto(signal, ranked.signal_upto)
        return _background_at(efficiency, efficiency_upto(background, ranked.background_upto), grid)

    curves = [
        curve(signal, background)
        for signal, background in replicas(
            n_bootstrap, seed, ranked.signal_weights, ranked.background_weights, fixed=True
        )
        if signal.sum() > 0 and background.sum() > 0  # without a positive sum there is no efficiency
    ]
    lower, upper = np.quantile(curves, _ONE_SIGMA, axis=0)
    return RocBand(grid, lower, curve(ranked.signal_weights, ranked.background_weights), upper)
