"""Significance of a signal over a background: for two numbers, for all cuts on a score, and for the best cut."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from .bootstrap import replicas
from .estimate import Estimate, NotEnoughEvents, as_array, as_column
from .ranking import Ranked, ranked_events

__all__ = ["BestCut", "SignificanceScan", "ams", "significance_scan"]


def ams(
    signal: ArrayLike | float,
    background: ArrayLike | float,
    *,
    systematic: float | int = 0.0,
    regularisation: float | int = 0.0,
) -> Float[np.ndarray, "*shape"]:
    r"""Compute the approximate median significance (AMS) of given numbers of expected signal and background events.

    .. math:: Z = \sqrt{2 \left( (s + b) \ln\left(1 + \frac sb\right) - s \right)}

    With a systematic uncertainty :math:`\sigma = \delta\,b` of the background:

    .. math:: Z = \sqrt{2 \left( (s + b) \ln\frac{(s + b)(b + \sigma^2)}{b^2 + (s + b)\,\sigma^2}
              - \frac{b^2}{\sigma^2} \ln\left(1 + \frac{\sigma^2 s}{b\,(b + \sigma^2)}\right) \right)}

    Parameters
    ----------
    signal, background
        Expected numbers of events :math:`s` and :math:`b`; arrays that broadcast.
    systematic
        Relative systematic uncertainty :math:`\delta` of the background: 0.1 is 10 %.
    regularisation
        Added to the background before anything else: 10 in the HiggsML challenge.

    Returns
    -------
    array
        Number of standard deviations: negative for a negative signal, NaN without background (:math:`b \le 0`) or with
        :math:`s + b < 0`, which negative weights can cause.

    Raises
    ------
    ValueError
        If ``systematic`` or ``regularisation`` is negative.

    Notes
    -----
    **Limits.** :math:`s / \sqrt{b + \sigma^2}` for a small signal, which is exact in any precision.

    References
    ----------
    Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, Eq. (97); Adam-Bourdarios et al., PMLR 42 (2015) 19, for the
    regularisation; Li and Ma, ApJ 272 (1983) 317, Eq. (17), which is the second equation for a background measured
    alongside the signal with the precision :math:`\sigma`.

    Examples
    --------
    >>> f"{ams(10.0, 100.0):.4f}", f"{ams(10.0, 100.0, systematic=0.1):.4f}"
    ('0.9840', '0.6902')
    """
    for name, value in (("systematic", systematic), ("regularisation", regularisation)):
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    numbers = np.broadcast_arrays(as_array(signal).astype(np.float64), as_array(background).astype(np.float64))
    s, b = numbers[0].ravel(), numbers[1].ravel() + regularisation
    with np.errstate(divide="ignore", invalid="ignore"):
        # in terms of x = s / b and y = sigma^2 / b, without the terms of first order in x, which cancel
        x, y = np.where((b > 0) & (s + b >= 0), s / b, np.nan), np.maximum(b, 0.0) * systematic**2
        z = 1.0 + y + x * y
        half = _second_order(x / z) * z / (1.0 + y) + x**2 * y / ((1.0 + y) * z)
        half -= np.where(y > 0, _second_order(x * y / (1.0 + y)) * (1.0 + y) / (y * z), 0.0)
        return (np.sign(x) * np.sqrt(np.maximum(2.0 * b * half, 0.0))).reshape(numbers[0].shape)


def _second_order(x: Float[np.ndarray, " cuts"]) -> Float[np.ndarray, " cuts"]:
    """Return (1 + x) ln(1 + x) - x, without loss of digits for small x, where it is x^2 / 2; 1 for x = -1."""
    series = x**2 * (1 / 2 - x * (1 / 6 - x * (1 / 12 - x * (1 / 20 - x * (1 / 30 - x / 42)))))
    return np.where(np.abs(x) < 1e-3, series, np.where(x > -1, (1.0 + x) * np.log1p(x) - x, -x))


class BestCut(NamedTuple):
    """The cut of highest significance; see `significance_scan` for the meaning of its uncertainties."""

    threshold: Estimate
    signal: Estimate
    background: Estimate
    significance: Estimate
    optimism: float


class SignificanceScan(NamedTuple):
    """Expected events and significance, with their uncertainties, of each cut ``score >= threshold``."""

    thresholds: Float[np.ndarray, " cuts"]
    signal: Float[np.ndarray, " cuts"]
    signal_uncertainty: Float[np.ndarray, " cuts"]
    background: Float[np.ndarray, " cuts"]
    background_uncertainty: Float[np.ndarray, " cuts"]
    significance: Float[np.ndarray, " cuts"]
    significance_uncertainty: Float[np.ndarray, " cuts"]
    best: BestCut


def significance_scan(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    yields: tuple[float | int, float | int] | None = None,
    systematic: float | int = 0.0,
    regularisation: float | int = 0.0,
    thresholds: int | ArrayLike = 1000,
    min_background: float | int = 10.0,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> SignificanceScan:
    r"""Compute the expected significance of every cut on a score, and find the best one.

    .. math:: s = \sum_{\text{signal},\ x_i \ge t} w_i, \qquad \sigma_s^2 = \sum_{\text{signal},\ x_i \ge t} w_i^2,
              \qquad \sigma_Z^2 = \Big( \frac{\partial Z}{\partial s} \sigma_s \Big)^2
              + \Big( \frac{\partial Z}{\partial b} \sigma_b \Big)^2

    and likewise for the background; :math:`Z` as in `ams`.

    Parameters
    ----------
    labels, scores, weights
        Labels (0 or 1), finite scores and weights of the events; the weights add up to the expected events.
    yields
        Expected events of signal and background without any cut. The weights of the classes are scaled to them, as is
        right for a part of a sample. They count as known: only the uncertainties of the efficiencies remain.
    systematic, regularisation
        As in `ams`.
    thresholds
        The cuts to scan, or their maximum number, evenly spread over the signal events; at most one per distinct
        score.
    min_background
        Effective number of background events, :math:`(\sum w)^2 / \sum w^2`, that must pass the best cut: with few, a
        scan finds the cut whose background is underestimated most. A single cut is always the best.
    n_bootstrap
        Number of replicas of the sample in which the best cut is searched again.
    seed
        Seed of the random numbers: the same seed gives the same best cut.

    Returns
    -------
    SignificanceScan
        For rising ``thresholds``: ``signal``, ``background`` and ``significance``, each with its uncertainty; and
        ``best``, with the ``optimism`` that has been subtracted from its significance.

    Raises
    ------
    ValueError
        If no cut leaves ``min_background`` events, or an input is not as described.

    Notes
    -----
    **Best cut.** The highest of many significances overestimates the true significance of its cut. The ``optimism``
    measures by how much: the significance of a replica's best cut in the replica, less that in the sample, averaged
    over replicas. ``best.significance`` estimates the true significance of the chosen cut, not the highest of all
    cuts; the truth lies within the uncertainty in 62 % to 78 % of samples. The uncertainty of ``best.threshold`` is
    the spread of the replicas' best cuts: it shows how flat the scan is there, and covers the truly best cut in 50 % to
    70 % of samples. For an estimate without this choice, scan other events with
    ``thresholds=[best.threshold.value]``.

    **Limits.** The uncertainties cover only the number of simulated events, and are Gaussian: do not use them for a few
    events.

    References
    ----------
    Efron and Gong, Am. Stat. 37 (1983) 36, for the optimism.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> labels = np.arange(4000) % 2
    >>> scan = significance_scan(labels, random.normal(labels), yields=(50, 1000))
    >>> print(scan.best.significance, "at", scan.best.threshold)
    1.834 ± 0.071 at 1.09 ± 0.62
    """
    if n_bootstrap < 2:
        raise ValueError(f"n_bootstrap must be at least 2, got {n_bootstrap}")
    if yields is not None and not (yields[0] > 0 and yields[1] > 0):
        raise ValueError(f"yields must be two numbers above 0, of signal and background events, got {yields}")
    ranked = ranked_events(labels, scores, weights)
    cuts, *upto = _cuts(ranked, thresholds)

    def passing(*weights_of_classes: np.ndarray) -> list[_Passing]:
        return [_passing(*each) for each in zip(weights_of_classes, upto, yields or (None, None), strict=True)]

    significance = partial(ams, systematic=systematic, regularisation=regularisation)
    (s, s_error, _), (b, b_error, effective) = passing(ranked.signal_weights, ranked.background_weights)
    z = significance(s, b)
    by_signal = significance(s + s_error, b) - significance(s - s_error, b)
    by_background = significance(s, b + b_error) - significance(s, b - b_error)
    z_error = np.hypot(by_signal, by_background) / 2.0
    others = (
        significance(*(each.sums for each in passing(*drawn)))
        for drawn in replicas(n_bootstrap, seed, ranked.signal_weights, ranked.background_weights, fixed=False)
        if all(weights.sum() > 0 for weights in drawn)
    )
    best, spread, optimism = _highest(cuts, z, others, (effective >= min_background) | (len(cuts) == 1))
    best_cut = BestCut(
        Estimate(float(cuts[best]), spread),
        Estimate(float(s[best]), float(s_error[best])),
        Estimate(float(b[best]), float(b_error[best])),
        Estimate(float(z[best]) - optimism, float(z_error[best])),
        optimism,
    )
    cuts, s, s_error, b, b_error, z, z_error = (c[::-1] for c in (cuts, s, s_error, b, b_error, z, z_error))
    return SignificanceScan(cuts, s, s_error, b, b_error, z, z_error, best_cut)


class _Passing(NamedTuple):
    """Sum of weights that pass each cut, its uncertainty, and the effective number of events."""

    sums: Float[np.ndarray, " cuts"]
    uncertainty: Float[np.ndarray, " cuts"]
    effective: Float[np.ndarray, " cuts"]


def _passing(
    weights: Float[np.ndarray, " events"], upto: Int[np.ndarray, " cuts"], total: float | int | None
) -> _Passing:
    """Sum the weights beyond each cut; all weights are scaled to a known ``total``, or fluctuate if it is None."""
    weights = weights if total is None else weights * (total / weights.sum())
    sums, squares = (np.append(0.0, np.cumsum(values))[upto] for values in (weights, weights**2))
    variance = squares
    if total is not None:
        share = sums / total
        variance = squares * (1.0 - 2.0 * share) + share**2 * np.sum(weights**2)
    effective = np.divide(np.maximum(sums, 0.0) ** 2, squares, out=np.zeros_like(sums), where=squares > 0)
    return _Passing(sums, np.sqrt(np.maximum(variance, 0.0)), effective)


def _cuts(
    ranked: Ranked, thresholds: int | ArrayLike
) -> tuple[Float[np.ndarray, " cuts"], Int[np.ndarray, " cuts"], Int[np.ndarray, " cuts"]]:
    """Return falling thresholds, and the numbers of signal and background events that pass each."""
    if isinstance(thresholds, int | np.integer):
        if thresholds < 1:
            raise ValueError(f"thresholds must be at least 1, got {thresholds}")
        points = np.arange(1, len(ranked.thresholds))  # not infinity, which nothing passes
        if len(points) > thresholds:
            steps = np.linspace(0, len(ranked.signal_scores), int(thresholds))[1:]
            points = np.unique(np.append(np.searchsorted(ranked.signal_upto, steps), points[-1]))
        return ranked.thresholds[points], ranked.signal_upto[points], ranked.background_upto[points]
    cuts = np.unique(as_column("thresholds", thresholds).astype(np.float64))[::-1]
    signal, background = ranked.signal_scores[::-1], ranked.background_scores[::-1]
    return cuts, len(signal) - np.searchsorted(signal, cuts), len(background) - np.searchsorted(background, cuts)


def _highest(
    cuts: Float[np.ndarray, " cuts"],
    significance: Float[np.ndarray, " cuts"],
    others: Iterable[Float[np.ndarray, " cuts"]],
    allowed: Bool[np.ndarray, " cuts"],
) -> tuple[int, float, float]:
    """Return the number of the best allowed cut, the spread of the replicas' best cuts, and the mean optimism."""

    def best_of(z: Float[np.ndarray, " cuts"]) -> int | None:
        found = allowed & np.isfinite(z)
        return int(np.argmax(np.where(found, z, -np.inf))) if found.any() else None

    best = best_of(significance)
    if best is None:
        raise NotEnoughEvents(
            "no cut with a significance leaves min_background effective background events: give more events, or lower "
            "min_background"
        )
    if len(cuts) == 1:  # no choice, so no optimism
        return best, 0.0, 0.0
    pairs = [(number, z[number]) for z in others if (number := best_of(z)) is not None]
    if len(pairs) < 2:
        return best, math.nan, math.nan
    chosen = [number for number, _ in pairs]
    optimism = np.mean([z - significance[number] for number, z in pairs])
    return best, float(np.std(cuts[chosen], ddof=1)), float(optimism)
