import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics as oracle

from lumigraph import metrics
from lumigraph.metrics import Estimate, accuracy, auc, background_rejection, resolution, roc_band, roc_curve


def sample(seed=0, num_events=500, ties=False, weighted=True):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, num_events)
    scores = random.normal(labels, 1.0)
    scores = scores.round(1) if ties else scores
    return labels, scores, random.exponential(1.0, num_events) if weighted else None


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
class TestAgainstScikitLearn:
    def test_roc_curve(self, ties, weighted):
        labels, scores, weights = sample(1, ties=ties, weighted=weighted)
        curve = roc_curve(labels, scores, weights)
        fpr, tpr, thresholds = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        np.testing.assert_allclose(curve.background_efficiency, fpr, atol=1e-10)
        np.testing.assert_allclose(curve.signal_efficiency, tpr, atol=1e-10)
        np.testing.assert_array_equal(curve.thresholds, thresholds)

    def test_auc(self, ties, weighted):
        labels, scores, weights = sample(2, ties=ties, weighted=weighted)
        assert auc(labels, scores, weights).value == pytest.approx(
            oracle.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-10
        )

    def test_background_rejection(self, ties, weighted):
        labels, scores, weights = sample(3, ties=ties, weighted=weighted)
        fpr, tpr, _ = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        # off the upright steps of the curve the interpolation is unique
        for efficiency in (0.123456, 0.5012345, 0.87654321):
            expected = 1 / np.interp(efficiency, tpr, fpr)
            assert background_rejection(labels, scores, efficiency, weights).value == pytest.approx(expected, rel=1e-10)
            band = roc_band(labels, scores, weights, signal_efficiency=[efficiency], n_bootstrap=2)
            assert band.central[0] == pytest.approx(1 / expected, rel=1e-10)

    def test_accuracy(self, ties, weighted):
        labels, scores, weights = sample(4, ties=ties, weighted=weighted)
        expected = oracle.accuracy_score(labels, scores > 0.5, sample_weight=weights)
        assert accuracy(labels, scores, weights).value == pytest.approx(expected, abs=1e-10)

    def test_resolution(self, ties, weighted):
        target, prediction, weights = sample(5, ties=ties, weighted=weighted)
        bias, rms = resolution(target, prediction, weights)
        square = oracle.mean_squared_error(target, prediction, sample_weight=weights)
        assert bias.value == pytest.approx(np.average(prediction - target, weights=weights), abs=1e-10)
        assert rms.value**2 + bias.value**2 == pytest.approx(square, abs=1e-10)


class TestByHand:
    def test_roc_with_ties_and_weights(self):
        curve = roc_curve([1, 0, 1, 0, 0], [0.9, 0.9, 0.5, 0.5, 0.1], [1.0, 2.0, 3.0, 1.0, 1.0])
        assert curve.signal_efficiency.tolist() == [0.0, 0.25, 1.0, 1.0]
        assert curve.background_efficiency.tolist() == [0.0, 0.5, 0.75, 1.0]
        assert curve.thresholds.tolist() == [math.inf, 0.9, 0.5, 0.1]

    def test_auc_with_ties_and_weights(self):
        # signal 0.9 (weight 1) beats half of weight 2 and all of 2; signal 0.5 (weight 3) half of 1 and all of 1
        area = auc([1, 0, 1, 0, 0], [0.9, 0.9, 0.5, 0.5, 0.1], [1.0, 2.0, 3.0, 1.0, 1.0])
        assert area.value == pytest.approx((1 * (1 + 2) + 3 * (0.5 + 1)) / (4 * 4))

    def test_auc_uncertainty_is_delongs(self):
        labels, scores, _ = sample(6, num_events=80, ties=True)
        signal, background = scores[labels == 1], scores[labels == 0]
        above = (signal[:, None] > background) + 0.5 * (signal[:, None] == background)
        variance = above.mean(1).var(ddof=1) / len(signal) + above.mean(0).var(ddof=1) / len(background)
        assert auc(labels, scores).uncertainty == pytest.approx(math.sqrt(variance), rel=1e-10)

    def test_whole_weights_count_like_copies_in_the_value(self):
        labels, scores, _ = sample(7, num_events=60, ties=True)
        copies = np.random.default_rng(0).integers(1, 4, 60)
        repeated = np.repeat(labels, copies), np.repeat(scores, copies)
        assert auc(labels, scores, copies).value == pytest.approx(auc(*repeated).value, abs=1e-12)
        one, other = background_rejection(labels, scores, 0.5, copies), background_rejection(*repeated, 0.5)
        assert one.value == pytest.approx(other.value, rel=1e-9)

    def test_rejection_takes_the_tightest_cut(self):
        # eps_S = 0.5 is reached at 0.9, before the background at 0.8 comes in
        labels, scores = [1, 0, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1]
        assert background_rejection(labels, scores, 0.5) == pytest.approx((math.inf, math.nan), nan_ok=True)
        assert background_rejection(labels, scores, 1.0).value == 4.0
        assert background_rejection(labels, scores, 0.51).value == 4.0

    def test_rejection_shares_events_of_equal_score(self):
        labels, scores = [1, 1, 0, 0, 0, 0], [0.9, 0.9, 0.9, 0.9, 0.1, 0.1]
        assert background_rejection(labels, scores, 0.5).value == pytest.approx(4.0)

    def test_rejection_uncertainty_with_a_sure_threshold_is_binomial(self):
        # all signal has one score: its threshold has no uncertainty at eps_S = 1
        labels, scores = np.r_[np.ones(50), np.zeros(100)], np.r_[np.full(50, 0.5), np.arange(100) / 100 + 1e-6]
        rejection = background_rejection(labels, scores, 1.0)
        assert rejection.value == pytest.approx(2.0)
        assert rejection.uncertainty == pytest.approx(math.sqrt(0.25 / 99) * 4)

    def test_accuracy_of_probabilities_and_of_classes(self):
        labels = [0, 1, 2, 2]
        probabilities = np.eye(3)[[0, 1, 2, 1]] * 0.5 + 0.1
        assert accuracy(labels, probabilities).value == 0.75
        assert accuracy(labels, probabilities, [1, 1, 1, 5]).value == 0.375
        assert accuracy(labels, [0, 1, 2, 1]).value == 0.75
        assert accuracy([0, 1], np.array([False, False])).value == 0.5
        assert accuracy([0, 1, 1], [0.1, 0.4, 0.9], threshold=0.3).value == 1.0

    def test_accuracy_uncertainty(self):
        assert accuracy(np.ones(101), np.arange(101) % 2).uncertainty == pytest.approx(
            math.sqrt(50 / 101 * 51 / 101 / 100)
        )

    def test_resolution(self):
        bias, rms = resolution([0.0, 0.0], [1.0, 3.0])
        assert bias == (2.0, 1.0)
        assert rms == (1.0, 0.0)


class TestLimits:
    def test_perfect_separation(self):
        assert auc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == (1.0, 0.0)

    def test_constant_scores(self):
        assert auc([0, 1, 0, 1], [0.5] * 4) == (0.5, 0.0)
        assert background_rejection([0, 1, 0, 1], [0.5] * 4, 0.25).value == pytest.approx(4.0)

    def test_one_event_of_a_class_has_no_uncertainty(self):
        assert math.isnan(auc([0, 0, 1], [0.1, 0.9, 0.5]).uncertainty)
        assert math.isnan(accuracy([1], [0.9]).uncertainty)
        bias, rms = resolution([1.0], [2.0])
        assert bias.value == 1.0
        assert rms.value == 0.0
        assert math.isnan(bias.uncertainty)
        assert math.isnan(rms.uncertainty)

    def test_negative_weights(self):
        labels, scores, _ = sample(8, num_events=3000)
        weights = np.where(np.random.default_rng(1).random(3000) < 0.2, -1.0, 1.0)
        plain, mixed = auc(labels, scores), auc(labels, scores, weights)
        assert abs(plain.value - mixed.value) < 4 * mixed.uncertainty
        assert mixed.uncertainty > plain.uncertainty
        for efficiency in (0.3, 0.7, 1.0):
            plain = background_rejection(labels, scores, efficiency)
            mixed = background_rejection(labels, scores, efficiency, weights)
            assert abs(plain.value - mixed.value) <= 4 * mixed.uncertainty
        assert np.isfinite(roc_band(labels, scores, weights, n_bootstrap=5)).all()

    def test_large_scores(self):
        assert auc([0, 1], [-1.7e308, 1.7e308]).value == 1.0


class TestInputs:
    def test_tensors_columns_and_series(self):
        labels, scores, weights = sample(9, num_events=50)
        expected = auc(labels, scores, weights)
        tensor = torch.tensor(scores, requires_grad=True)
        assert auc(torch.tensor(labels), tensor, torch.tensor(weights)) == expected
        assert auc(labels[:, None], tensor[:, None], weights) == expected
        assert auc(labels.tolist(), scores.tolist(), weights.tolist()) == expected
        assert auc(pd.Series(labels, dtype="Int64"), pd.Series(scores), pd.Series(weights)) == expected
        assert auc(labels.astype(bool), scores, weights) == expected
        half = torch.tensor(scores, dtype=torch.bfloat16)
        assert auc(labels, half) == auc(labels, half.float().numpy())

    @pytest.mark.parametrize(
        "function", [roc_curve, auc, roc_band, lambda *a: background_rejection(a[0], a[1], 0.5, *a[2:])]
    )
    @pytest.mark.parametrize(
        ("labels", "scores", "weights", "message"),
        [
            ([], [], None, "labels must hold at least one event"),
            ([0, 0], [0.1, 0.2], None, "labels must hold both classes .* got no signal event"),
            ([1, 1], [0.1, 0.2], None, "labels must hold both classes .* got no background event"),
            ([0, 1, 1], [0.1, 0.2], None, "scores must have 3 events, as labels has, got 2"),
            ([0, 1], [0.1, 0.2], [1.0], "weights must have 2 events, as labels has, got 1"),
            ([0, 1], [0.1, math.nan], None, "scores of event 1 must be finite, got nan"),
            ([0, 1], [math.inf, 0.1], None, "scores of event 0 must be finite, got inf"),
            ([0, 1], [0.1, 0.2], [1.0, math.nan], "weights of event 1 must be finite, got nan"),
            ([0, 2, 1], [0.1, 0.2, 0.3], None, "labels of event 1 must be 0 .* got 2"),
            ([0, 0.5, 1], [0.1, 0.2, 0.3], None, "labels of event 1 must be 0 .* got 0.5"),
            ([0, 1, 1], [0.1, 0.2, 0.3], [1.0, 1.0, -1.0], "weights of the signal must have a positive sum, got 0"),
            ([0, 1], [0.1, 0.2], [-1.0, 1.0], "weights of the background must have a positive sum, got -1"),
            ([0, 1], [[0.1, 0.2], [0.3, 0.4]], None, r"scores must have the shape .* got \(2, 2\)"),
            (["a", "b"], [0.1, 0.2], None, "could not convert"),
        ],
    )
    def test_errors(self, function, labels, scores, weights, message):
        with pytest.raises(ValueError, match=message):
            function(labels, scores, weights)

    @pytest.mark.parametrize("efficiency", [0.0, -0.1, 1.1, math.nan])
    def test_signal_efficiency_out_of_range(self, efficiency):
        with pytest.raises(ValueError, match="signal_efficiency"):
            background_rejection([0, 1], [0.1, 0.9], efficiency)
        with pytest.raises(ValueError, match="signal_efficiency"):
            roc_band([0, 1], [0.1, 0.9], signal_efficiency=[0.5, efficiency])

    def test_other_errors(self):
        with pytest.raises(ValueError, match="n_bootstrap must be at least 1, got 0"):
            roc_band([0, 1], [0.1, 0.9], n_bootstrap=0)
        with pytest.raises(ValueError, match="labels of event 1 must be an integer from 0 to 2, got 3"):
            accuracy([0, 3], [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
        with pytest.raises(ValueError, match="labels of event 0 must be an integer from 0 to 1, got 2"):
            accuracy([2, 0], [0.1, 0.2])
        with pytest.raises(ValueError, match="predictions of event 1"):
            accuracy([0, 1], [[0.1, 0.2], [0.1, math.nan]])
        with pytest.raises(ValueError, match="predictions must have 2 events, as labels has, got 3"):
            accuracy([0, 1], np.zeros((3, 4)))
        with pytest.raises(ValueError, match="weights of all events must have a positive sum, got 0"):
            accuracy([0, 1], [0.1, 0.2], [1.0, -1.0])
        with pytest.raises(ValueError, match="prediction must have 2 events, as target has, got 1"):
            resolution([0.0, 1.0], [0.5])
        with pytest.raises(ValueError, match="mean square residual of at least 0, got -"):
            resolution([0.0, 0.0, 0.0], [0.0, 5.0, -5.0], [3.0, -1.0, -1.0])


class TestEstimate:
    @pytest.mark.parametrize(
        ("value", "uncertainty", "text"),
        [
            (0.87312, 0.00423, "0.8731 ± 0.0042"),
            (0.5, 0.0996, "0.500 ± 0.100"),
            (1234.5, 67.8, "1234 ± 68"),
            (1234567.0, 12345.0, "1235000 ± 12000"),
            (1.0, 0.0, "1 ± 0"),
            (math.inf, math.nan, "inf ± nan"),
            (0.25, math.nan, "0.25 ± nan"),
            (1e-12, 1e-13, "1e-12 ± 1e-13"),
        ],
    )
    def test_text(self, value, uncertainty, text):
        estimate = Estimate(value, uncertainty)
        assert str(estimate) == text
        assert f"{estimate}" == text

    def test_format_specification(self):
        assert f"{Estimate(0.87312, 0.00423):.3f}" == "0.873 ± 0.004"

    def test_unpacks(self):
        value, uncertainty = auc([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
        assert isinstance(value, float)
        assert isinstance(uncertainty, float)


events = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-20, 20), st.floats(0.1, 10.0)), min_size=4, max_size=60
).filter(lambda rows: {row[0] for row in rows} == {0, 1})


@settings(deadline=None, max_examples=60)
@given(events, st.floats(0.01, 100.0))
def test_auc_is_unchanged_by_rising_transforms_and_scaled_weights(rows, factor):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    expected = auc(labels, scores, weights)
    for other in (auc(labels, scores**3, weights), auc(labels, np.arctan(scores), weights)):
        assert other == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert auc(labels, scores, factor * weights) == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(events)
def test_auc_of_turned_scores_is_the_rest(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    area, turned = auc(labels, scores, weights), auc(labels, -scores, weights)
    assert turned.value == pytest.approx(1 - area.value, abs=1e-12)
    assert turned.uncertainty == pytest.approx(area.uncertainty, abs=1e-9, nan_ok=True)
    assert auc(1 - labels, scores, weights).value == pytest.approx(1 - area.value, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(events, st.floats(0.01, 1.0))
def test_rejection_is_on_the_curve(rows, efficiency):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    curve = roc_curve(labels, scores, weights)
    rejection = background_rejection(labels, scores, efficiency, weights)
    assert rejection.value >= 1 - 1e-12
    reached = curve.background_efficiency[curve.signal_efficiency >= efficiency - 1e-12][0]
    before = curve.background_efficiency[curve.signal_efficiency < efficiency - 1e-12][-1]
    assert before - 1e-9 <= 1 / rejection.value <= reached + 1e-9
    assert rejection.uncertainty >= 0 or math.isnan(rejection.uncertainty)


def test_coverage_of_the_band():
    random = np.random.default_rng(7)
    labels, grid, toys = np.repeat([1, 0], 300), np.array([0.4, 0.8]), 120
    truth = norm.sf(1.0 + norm.isf(grid))
    hits = np.zeros(2)
    for toy in range(toys):
        band = roc_band(labels, random.normal(labels, 1.0), signal_efficiency=grid, n_bootstrap=60, seed=toy)
        hits += (band.lower <= truth) & (truth <= band.upper)
    np.testing.assert_allclose(hits / toys, 0.683, atol=0.1)


def test_band_and_rejection_agree():
    labels, scores, weights = sample(11, num_events=20000)
    band = roc_band(labels, scores, weights, signal_efficiency=[0.6])
    rejection = background_rejection(labels, scores, 0.6, weights)
    assert 1 / band.central[0] == pytest.approx(rejection.value)
    assert (1 / band.lower[0] - 1 / band.upper[0]) / 2 == pytest.approx(rejection.uncertainty, rel=0.15)


def test_band_is_repeatable_and_ordered():
    labels, scores, weights = sample(12)
    one, same, other = (roc_band(labels, scores, weights, n_bootstrap=50, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one.upper, other.upper)
    assert one.signal_efficiency.shape == (100,)
    assert (one.lower <= one.upper).all()
    assert (np.diff(one.central) >= 0).all()


def test_public_names():
    assert sorted(metrics.__all__) == metrics.__all__
    assert all(hasattr(metrics, name) for name in metrics.__all__)
