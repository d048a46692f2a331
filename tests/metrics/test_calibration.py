import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from lumigraph.metrics import calibration, calibration_error


def classified(num_events, seed=0):
    """Labels that are signal with the probability that the scores say."""
    random = np.random.default_rng(seed)
    scores = random.beta(0.8, 1.2, num_events)
    return (random.uniform(size=num_events) < scores).astype(int), scores, random.exponential(1.0, num_events)


def test_is_that_of_scikit_learn():
    labels, scores, _ = classified(500)
    found = calibration(labels, scores, bins=7)
    fraction, score = calibration_curve(labels, scores, n_bins=7)
    np.testing.assert_allclose(found.fraction, fraction)
    np.testing.assert_allclose(found.score, score)
    counts = np.histogram(scores, 7, (0, 1))[0] / 500
    np.testing.assert_allclose(found.share, counts)
    assert found.error == pytest.approx(np.sum(counts * np.abs(fraction - score)))


def test_whole_weights_are_repeated_events():
    labels, scores, _ = classified(200)
    repeats = np.random.default_rng(1).integers(1, 5, 200)
    weighted = calibration(labels, scores, repeats)
    repeated = calibration(np.repeat(labels, repeats), np.repeat(scores, repeats))
    for name in ("score", "fraction", "share"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name))


def test_unit_weights_have_the_interval_of_wilson():
    found = calibration([1] * 3 + [0] * 17, [0.2] * 20, bins=1)
    p, n = 0.15, 20
    middle, reach = (p + 1 / (2 * n)) / (1 + 1 / n), np.sqrt(p * (1 - p) / n + 1 / (4 * n * n)) / (1 + 1 / n)
    np.testing.assert_allclose([found.lower[0], found.upper[0]], [middle - reach, middle + reach])


@pytest.mark.parametrize("signal_weight", [1.0, 10.0, 0.1])
def test_two_thirds_of_the_intervals_hold_the_truth(signal_weight):
    held = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        labels = (random.uniform(size=300) < 0.3).astype(int)
        weights = random.exponential(1.0, 300) * np.where(labels, signal_weight, 1.0)
        truth = 0.3 * signal_weight / (0.3 * signal_weight + 0.7)
        found = calibration(labels, np.full(300, 0.5), weights, bins=1)
        held.append(found.lower[0] < truth < found.upper[0])
    assert 0.60 < np.mean(held) < 0.76  # 68 %, within three of the spreads of 300 trials


def test_bins_of_one_class_keep_an_interval():
    found = calibration([0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 1.0], bins=2)
    np.testing.assert_allclose(found.lower, [0.0, 0.8], atol=1e-12)
    np.testing.assert_allclose(found.upper, [0.25, 1.0])


def test_a_perfect_score_has_an_error_that_falls_with_the_events():
    few, many = (calibration(*classified(number)[:2]).error for number in (300, 30_000))
    assert many < 0.01 < few
    labels, scores, _ = classified(30_000)
    assert calibration(labels, scores**2).error > 0.1


def test_empty_bins_and_the_edges():
    found = calibration([0, 1, 1], torch.tensor([[0.5], [0.5], [1.0]]), bins=[0.0, 0.25, 0.5, 1.0])
    assert np.isnan(found.fraction[:2]).all()
    assert found.fraction[2] == pytest.approx(2 / 3)
    assert found.share.tolist() == [0.0, 0.0, 1.0]
    assert calibration([0, 1, 1], [0.1, 0.6, 0.7], bins=[0.5, 1.0]).share == pytest.approx([2 / 3])


def test_negative_weights_may_push_a_fraction_out_of_its_range():
    found = calibration([0, 0, 0, 1], [0.2, 0.2, 0.8, 0.2], [-1.0, 0.2, 5.0, 3.0], bins=2)
    assert found.fraction[0] == pytest.approx(3.0 / 2.2)
    assert found.lower[0] < found.fraction[0] < found.upper[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.2, 1.5]), "scores of event 1 must be a probability, from 0 to 1, got 1.5"),
        (([0, 0], [0.2, 0.5]), "labels must hold both classes .* got no signal event"),
        (([0, 1], [0.2, 0.5], None, 0), "bins must be at least 1, got 0"),
        (
            ([0, 1], [0.2, 0.5], None, [0.5, 0.1]),
            "bins must be a number of bins, or at least two rising edges, got .0.5, 0.1.",
        ),
        (([0, 1], [0.2, 0.5], None, [0.6, 0.9]), "bins must hold at least one event, got none from 0.6 to 0.9"),
    ],
)
def test_errors(arguments, message):
    labels, scores, weights, bins = (*arguments, None, 10)[:4] if len(arguments) == 2 else arguments
    with pytest.raises(ValueError, match=message):
        calibration(labels, scores, weights, bins=bins)


def test_the_error_is_that_of_the_curve_with_its_uncertainty():
    labels, scores, weights = classified(400)
    for bins in (10, [0.0, 0.3, 0.9]):
        found = calibration_error(labels, scores, weights, bins=bins, debias=False)
        assert found.value == pytest.approx(calibration(labels, scores, weights, bins=bins).error, rel=1e-12)


def test_the_uncertainty_of_the_error_is_that_of_a_mean():
    # all is in one bin, and too high: the error is the mean of y - x
    labels, scores = np.r_[np.ones(60), np.zeros(40)], np.full(100, 0.2)
    found = calibration_error(labels, scores, bins=1)
    assert found == (pytest.approx(0.4), pytest.approx(np.sqrt(0.6 * 0.4 / 99)))


def test_the_bias_is_that_of_half_the_events():
    """Taken off is what halves of the events disagree on."""
    labels, scores, weights = classified(60, seed=4)
    random, halves = np.random.default_rng(0), []
    shares, misses = weights / weights.sum(), labels - scores
    for _ in range(4000):
        first = random.random(60) < 0.5
        gaps = [np.sum((shares * misses)[half]) for half in (first, ~first)]
        halves.append(np.sign(gaps[0]) * gaps[1] + np.sign(gaps[1]) * gaps[0])
    found = calibration_error(labels, scores, weights, bins=1)
    assert np.mean(halves) == pytest.approx(found.value, abs=0.12 * found.uncertainty)


def test_large_gaps_stay_and_scale_free_weights():
    labels, scores, weights = classified(20000)
    plain = calibration_error(labels, scores**3, weights, debias=False)
    assert calibration_error(labels, scores**3, weights).value == pytest.approx(plain.value, rel=0.01)
    assert calibration_error(labels, scores, 7 * weights) == pytest.approx(calibration_error(labels, scores, weights))


def test_bins_of_negative_weight_are_left_out_of_the_error():
    labels, scores, weights = [0, 0, 1, 1, 0], [0.1, 0.2, 0.3, 0.9, 0.8], [5.0, 1.0, 2.0, 1.0, -3.0]
    plain = calibration_error(labels, scores, weights, bins=2, debias=False)
    assert plain.value == pytest.approx(calibration(labels, scores, weights, bins=2).error)


def test_a_bin_of_a_single_event():
    assert calibration_error([0, 1], [0.1, 0.9], bins=2).value == pytest.approx(0.1)
