import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from lumigraph.metrics import ams, significance_scan

getcontext().prec = 60


def exact(s, b, sigma=0.0):
    """The equations as they are printed, to 60 digits."""
    s, b, v = Decimal(s), Decimal(b), Decimal(sigma) ** 2
    if v == 0:
        return float((2 * ((s + b) * (1 + s / b).ln() - s)).sqrt())
    first = (s + b) * ((s + b) * (b + v) / (b * b + (s + b) * v)).ln()
    return float((2 * (first - b * b / v * (1 + v * s / (b * (b + v))).ln())).sqrt())


def likelihood_ratio(s, b, sigma):
    """Root of -2 ln of the profile likelihood ratio of s = 0 for the Asimov data, the background measured beside."""
    tau = b / sigma**2
    n, m = s + b, tau * b
    best = (n + m) / (1 + tau)  # of the background, where there is no signal

    def log_likelihood(mean_n, mean_m):
        return n * math.log(mean_n) - mean_n + m * math.log(mean_m) - mean_m

    return math.sqrt(2 * (log_likelihood(s + b, tau * b) - log_likelihood(best, tau * best)))


class TestAMS:
    @settings(deadline=None, max_examples=200)
    @given(st.floats(1e-9, 1e6), st.floats(1e-3, 1e8), st.sampled_from([0.0, 1e-4, 0.03, 0.5, 2.0]))
    def test_is_the_printed_equation_to_many_digits(self, s, b, systematic):
        assert ams(s, b, systematic=systematic) == pytest.approx(exact(s, b, systematic * b), rel=1e-9)

    @pytest.mark.parametrize(("s", "b", "systematic"), [(10.0, 100.0, 0.1), (50.0, 20.0, 0.3), (3.0, 0.5, 0.5)])
    def test_is_the_likelihood_ratio(self, s, b, systematic):
        assert ams(s, b, systematic=systematic) == pytest.approx(likelihood_ratio(s, b, systematic * b), rel=1e-10)

    def test_limits(self):
        assert ams(1e-4, 1e6) == pytest.approx(1e-7, rel=1e-9)
        assert ams(1.0, 1e6, systematic=0.01) == pytest.approx(1.0 / math.sqrt(1e6 + 1e8), rel=1e-4)
        assert ams(0.0, 5.0, systematic=0.1) == 0.0
        assert ams(10.0, 100.0, systematic=1e-9) == pytest.approx(ams(10.0, 100.0), rel=1e-9)

    def test_the_regularisation_of_the_challenge(self):
        assert ams(200.0, 1500.0, regularisation=10) == pytest.approx(exact(200, 1510), rel=1e-12)
        assert ams(2.0, 0.0, regularisation=10) == pytest.approx(exact(2, 10), rel=1e-12)

    def test_arrays_and_what_negative_weights_may_give(self):
        found = ams(np.array([[1.0], [-1.0]]), [10.0, 0.5, 0.0, -1.0])
        assert found.shape == (2, 4)
        assert found[0, :2] == pytest.approx([exact(1, 10), exact(1, 0.5)])
        assert found[1, 0] == pytest.approx(-exact(-1, 10))  # a lack of events is one
        assert np.isnan(found[:, 2:]).all()
        assert np.isnan(found[1, 1])  # s + b < 0
        assert ams(-5.0, 5.0) == pytest.approx(-math.sqrt(10.0))

    @pytest.mark.parametrize("option", ["systematic", "regularisation"])
    def test_errors(self, option):
        with pytest.raises(ValueError, match=f"{option} must be at least 0, got -1"):
            ams(1.0, 1.0, **{option: -1})


def sample(seed=0, signal=300, background=700, weighted=True):
    random = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [signal, background])
    scores = random.normal(1.5 * labels).round(1)  # with ties
    weights = np.where(random.random(len(labels)) < 0.2, -1.0, 1.0) * random.uniform(0.5, 1.5, len(labels))
    return labels, scores, weights if weighted else None


@pytest.mark.parametrize("weighted", [True, False])
def test_every_cut_is_summed(weighted):
    labels, scores, weights = sample(weighted=weighted)
    found = significance_scan(labels, scores, weights, systematic=0.1, regularisation=2.0, n_bootstrap=2)
    w = np.ones(len(labels)) if weights is None else weights
    assert found.thresholds.tolist() == sorted(set(scores))
    for i, cut in enumerate(found.thresholds):
        s, b = ((w[(labels == c) & (scores >= cut)]) for c in (1, 0))
        assert (found.signal[i], found.background[i]) == pytest.approx((s.sum(), b.sum()), abs=1e-10)
        errors = np.sqrt([np.sum(s**2), np.sum(b**2)])
        assert [found.signal_uncertainty[i], found.background_uncertainty[i]] == pytest.approx(errors)
    expected = ams(found.signal, found.background, systematic=0.1, regularisation=2.0)
    np.testing.assert_array_equal(found.significance, expected)


def test_the_uncertainty_is_the_derivative_times_that_of_the_sums():
    labels, scores, _ = sample(signal=20000, background=30000)
    found = significance_scan(labels, scores, thresholds=[0.5], n_bootstrap=2)
    s, b = found.signal[0], found.background[0]
    z = ams(s, b)
    by_s, by_b = math.log1p(s / b) / z, (math.log1p(s / b) - s / b) / z
    expected = math.hypot(by_s * found.signal_uncertainty[0], by_b * found.background_uncertainty[0])
    assert found.significance_uncertainty[0] == pytest.approx(expected, rel=1e-3)


def test_known_yields_scale_the_weights_and_leave_the_uncertainty_of_the_efficiency():
    labels, scores, weights = sample()
    found = significance_scan(labels, scores, 7.0 * weights, yields=(30, 500), n_bootstrap=2)
    assert (found.signal[0], found.background[0]) == pytest.approx((30, 500))
    assert (found.signal_uncertainty[0], found.background_uncertainty[0]) == pytest.approx((0.0, 0.0), abs=1e-7)
    unit = significance_scan(labels, scores, yields=(30, 500), n_bootstrap=2, thresholds=[1.0])
    share = unit.signal[0] / 30
    assert unit.signal_uncertainty[0] == pytest.approx(30 * math.sqrt(share * (1 - share) / 300))


def test_thresholds_are_a_number_at_most_or_given():
    labels, scores, weights = sample()
    few = significance_scan(labels, scores, weights, thresholds=7, n_bootstrap=2)
    whole = significance_scan(labels, scores, weights, n_bootstrap=2)
    assert 3 <= len(few.thresholds) <= 7
    assert few.thresholds[0] == whole.thresholds[0]
    assert set(few.thresholds) <= set(whole.thresholds)
    given = significance_scan(labels, scores, weights, thresholds=[9.0, 1.0, 0.95], n_bootstrap=2)
    assert given.thresholds.tolist() == [0.95, 1.0, 9.0]
    at = np.searchsorted(whole.thresholds, 1.0)
    assert given.significance[:2] == pytest.approx([whole.significance[at]] * 2)
    assert given.signal[2] == given.background[2] == 0.0
    assert np.isnan(given.significance[2])


def test_the_best_cut_has_enough_background_and_is_on_the_scan():
    labels, scores = np.repeat([1, 0], [50, 200]), np.r_[np.linspace(0, 1, 50), np.linspace(0, 0.99, 200) ** 6]
    loose = significance_scan(labels, scores, min_background=0, n_bootstrap=20)
    strict = significance_scan(labels, scores, min_background=50, n_bootstrap=20)
    assert loose.best.background.value < 50 <= strict.best.background.value
    for scan, allowed in ((loose, loose.background > 0), (strict, strict.background >= 50)):
        at = np.searchsorted(scan.thresholds, scan.best.threshold.value)
        assert scan.significance[at] == np.nanmax(scan.significance[allowed])
        assert scan.best.signal == (scan.signal[at], scan.signal_uncertainty[at])
        assert scan.best.significance.value == pytest.approx(scan.significance[at] - scan.best.optimism)
        assert scan.best.significance.uncertainty == scan.significance_uncertainty[at]


def test_a_sample_is_scanned_in_the_same_way_twice():
    one, same, other = (significance_scan(*sample(), n_bootstrap=20, seed=seed).best for seed in (1, 1, 2))
    assert one == same
    assert one.threshold.uncertainty != other.threshold.uncertainty


def test_a_single_cut_is_no_choice():
    scan = significance_scan(*sample(), thresholds=[2.0], min_background=1e9)
    assert scan.best.significance == (scan.significance[0], scan.significance_uncertainty[0])
    assert (scan.best.threshold, scan.best.optimism) == ((2.0, 0.0), 0.0)
    with pytest.raises(ValueError, match="no cut with a significance leaves"):
        significance_scan(*sample(), thresholds=[99.0])


@pytest.mark.parametrize("negative", [False, True])
def test_the_optimism_of_the_best_cut_is_what_the_choice_adds(negative):
    """The true significance of the chosen cut is known here; that of the scan is too high, the corrected one isn't."""
    random = np.random.default_rng(3)
    labels = np.repeat([1, 0], [1000, 4000])
    raw, corrected, errors = [], [], []
    for toy in range(150):
        scores = random.normal(1.5 * labels)
        weights = np.where(random.random(5000) < 0.2, -1.0, 1.0) if negative else None
        scan = significance_scan(labels, scores, weights, yields=(50, 1000), n_bootstrap=30, thresholds=100, seed=toy)
        cut, z, error = scan.best.threshold.value, *scan.best.significance
        truth = float(ams(50 * norm.sf(cut - 1.5), 1000 * norm.sf(cut)))
        raw.append(z + scan.best.optimism - truth)
        corrected.append(z - truth)
        errors.append(error)
    of_mean = np.std(raw) / math.sqrt(150)
    assert np.mean(raw) > 5 * of_mean
    assert abs(np.mean(corrected)) < 0.3 * np.mean(raw)
    assert np.mean(np.abs(corrected) < errors) == pytest.approx(0.70, abs=0.09)
    assert np.mean(np.abs(raw) < errors) < np.mean(np.abs(corrected) < errors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_background": 1e4}, "no cut with a significance leaves min_background effective background events"),
        ({"n_bootstrap": 1}, "n_bootstrap must be at least 2, got 1"),
        ({"yields": (0, 10)}, r"yields must be two numbers above 0, .* got \(0, 10\)"),
        ({"thresholds": 0}, "thresholds must be at least 1, got 0"),
        ({"thresholds": [math.nan]}, "thresholds of event 0 must be finite, got nan"),
        ({"systematic": -0.1}, "systematic must be at least 0, got -0.1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        significance_scan(*sample(), **options)
