"""The stated uncertainties hold the truth in 68 % of samples, whose weights are 1, of many sizes, or of both signs."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from lumigraph.metrics import (
    accuracy,
    ams,
    auc,
    background_rejection,
    bootstrap,
    calibration_error,
    confusion_matrix,
    resolution,
    significance_scan,
)

SEPARATION, CUT, TOYS = 1.5, 1.0, 800  # which know a fraction of 68 % to 1.6 %
YIELDS = np.array([30.0, 500.0])
PASSING = YIELDS * norm.sf([CUT - SEPARATION, CUT])
WEIGHTS = {
    "unit": lambda random, size: np.ones(size),
    "exponential": lambda random, size: random.exponential(1.0, size),
    "negative": lambda random, size: np.where(random.random(size) < 0.2, -1.0, 1.0) * random.uniform(0.5, 1.5, size),
}
MEAN_WEIGHT = {"unit": 1.0, "exponential": 1.0, "negative": 0.6}


def classification(random, weights):
    labels = np.repeat([1, 0], [700, 1000])
    scores, factors = random.normal(SEPARATION * labels), WEIGHTS[weights](random, 1700)
    yield auc(labels, scores, factors), norm.cdf(SEPARATION / math.sqrt(2))
    yield background_rejection(labels, scores, 0.7, factors), 1 / norm.sf(SEPARATION + norm.isf(0.7))
    yield accuracy(labels, scores, factors, threshold=SEPARATION / 2), norm.cdf(SEPARATION / 2)
    found = confusion_matrix(labels, scores, factors, threshold=SEPARATION / 2)
    yield (found.value[1, 0], found.uncertainty[1, 0]), norm.sf(SEPARATION / 2)


def regression(random, weights):
    target, factors = random.uniform(50, 100, 900), WEIGHTS[weights](random, 900)
    bias, spread = resolution(target, target * random.normal(1.02, 0.1, 900), factors, relative=True)
    yield bias, 0.02
    yield spread, 0.1


def significance(random, weights):
    for counts, yields in ((np.array([600, 2000]), tuple(YIELDS)), (random.poisson([600, 2000]), None)):
        labels = np.repeat([1, 0], counts)
        factors = WEIGHTS[weights](random, len(labels)) / MEAN_WEIGHT[weights]
        factors *= np.where(labels, YIELDS[0] / 600, YIELDS[1] / 2000)
        scores = random.normal(SEPARATION * labels)
        scan = significance_scan(labels, scores, factors, yields=yields, systematic=0.05, thresholds=[CUT])
        yield (scan.signal[0], scan.signal_uncertainty[0]), PASSING[0]
        yield (scan.background[0], scan.background_uncertainty[0]), PASSING[1]
        yield (scan.significance[0], scan.significance_uncertainty[0]), float(ams(*PASSING, systematic=0.05))


def calibrations(random, weights):
    scores, factors = random.uniform(size=2000), WEIGHTS[weights](random, 2000)
    # bins of a fifth: the truth is the mean of |x^2 - x| where all is on one side
    labels = random.uniform(size=2000) < scores**2
    yield calibration_error(labels, scores, factors, bins=5), 1 / 6


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("toy", [classification, regression, significance, calibrations])
def test_68_percent_of_samples_hold_the_truth(toy, weights, plain_python):
    random = np.random.default_rng(1)
    held = np.array(
        [[abs(value - truth) < error for (value, error), truth in toy(random, weights)] for _ in range(TOYS)]
    )
    np.testing.assert_allclose(held.mean(axis=0), 0.683, atol=0.04)


def test_so_it_is_with_the_bootstrap(plain_python):
    """For the ratio of two sums, which has no formula here."""
    random = np.random.default_rng(2)
    held = []
    for toy in range(1000):
        x, factors = random.exponential(1.0, 300), WEIGHTS["negative"](random, 300)
        found = bootstrap(lambda w, x=x: np.sum(w * x**2) / np.sum(w * x), factors, n_bootstrap=60, seed=toy)
        held.append(abs(found.value - 2.0) < found.uncertainty)
    assert np.mean(held) == pytest.approx(0.683, abs=0.045)


def test_a_perfect_score_has_a_calibration_error_of_nothing(plain_python):
    """In the mean; the distribution is narrower in the middle than a Gaussian, and the uncertainty holds a bit more."""
    random = np.random.default_rng(3)
    scores = random.uniform(size=(TOYS, 600))
    found = [calibration_error(random.uniform(size=600) < x, x, WEIGHTS["negative"](random, 600)) for x in scores]
    values, errors = np.array(found).T
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(TOYS) + 0.03 * values.std()
    assert 0.65 < np.mean(np.abs(values) < errors) < 0.80
    plain = [calibration_error(random.uniform(size=600) < x, x, debias=False).value for x in scores[:50]]
    assert np.mean(plain) > 0.04
