"""Whatever scikit-learn has is the same here, to 1e-10: any labels, ties, and weights of many sizes."""

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from lumigraph.metrics import (
    accuracy,
    auc,
    background_rejection,
    calibration,
    confusion_matrix,
    resolution,
    roc_curve,
)

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@st.composite
def events(draw, classes=2):
    """Labels of which each class has one event at least, scores with ties, and weights or None."""
    size = draw(st.integers(classes, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = random.permutation(np.r_[np.arange(classes), random.integers(0, classes, size - classes)])
    levels = draw(st.sampled_from([2, 5, 1000]))
    scores = random.integers(0, levels + 1, (size, classes)) / levels
    weights = random.lognormal(0.0, draw(st.sampled_from([0.1, 3.0])), size)
    return labels, scores, draw(st.sampled_from([None, weights]))


@settings(deadline=None, max_examples=200)
@given(events())
def test_curves_and_areas(drawn):
    labels, scores, weights = drawn[0], drawn[1][:, 0], drawn[2]
    curve = roc_curve(labels, scores, weights)
    expected = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(curve.background_efficiency, expected[0], **CLOSE)
    np.testing.assert_allclose(curve.signal_efficiency, expected[1], **CLOSE)
    np.testing.assert_array_equal(curve.thresholds, expected[2])
    area = oracle.roc_auc_score(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(auc(labels, scores, weights).value, area, **CLOSE)


@settings(deadline=None, max_examples=200)
@given(events(), st.floats(0.05, 1.0))
def test_the_rejection_is_read_off_the_curve(drawn, efficiency):
    labels, scores, weights = drawn[0], drawn[1][:, 0], drawn[2]
    fpr, tpr, _ = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    if np.abs(tpr - efficiency).min() < 1e-6:  # on an upright step any of its points would do for numpy
        return
    share = np.interp(efficiency, tpr, fpr)
    found = background_rejection(labels, scores, efficiency, weights).value
    np.testing.assert_allclose(1 / found, share, **CLOSE)


@settings(deadline=None, max_examples=200)
@given(events(classes=3), st.sampled_from([("truth", "true"), ("prediction", "pred"), (None, None)]))
def test_classes(drawn, normalise):
    labels, scores, weights = drawn
    chosen = scores.argmax(axis=1)
    expected = oracle.accuracy_score(labels, chosen, sample_weight=weights)
    np.testing.assert_allclose(accuracy(labels, scores, weights).value, expected, **CLOSE)
    found = confusion_matrix(labels, scores, weights, normalise=normalise[0]).value
    expected = oracle.confusion_matrix(labels, chosen, sample_weight=weights, normalize=normalise[1])
    np.testing.assert_allclose(np.nan_to_num(found), expected, **CLOSE)
    if normalise[0] == "truth":
        balanced = oracle.balanced_accuracy_score(labels, chosen, sample_weight=weights)
        np.testing.assert_allclose(np.diag(found).mean(), balanced, **CLOSE)


@settings(deadline=None, max_examples=200)
@given(events(), st.integers(1, 12))
def test_calibration(drawn, bins):
    labels, scores = drawn[0], drawn[1][:, 0]
    found = calibration(labels, scores, bins=bins)
    inner = found.edges[1:-1]
    if np.isclose(
        scores[:, None], inner, rtol=0, atol=1e-12
    ).any():  # bins have their lower edges here, upper ones there
        return
    fraction, score = sklearn.calibration.calibration_curve(labels, scores, n_bins=bins)
    filled = ~np.isnan(found.fraction)
    np.testing.assert_allclose(found.fraction[filled], fraction, **CLOSE)
    np.testing.assert_allclose(found.score[filled], score, **CLOSE)


@pytest.mark.parametrize("weighted", [False, True])
def test_regression(weighted):
    random = np.random.default_rng(0)
    target = random.uniform(50, 100, 300)
    prediction, weights = target + random.normal(2.0, 5.0, 300), random.exponential(1.0, 300) if weighted else None
    bias, spread = resolution(target, prediction, weights)
    expected = oracle.mean_squared_error(target, prediction, sample_weight=weights)
    np.testing.assert_allclose(bias.value**2 + spread.value**2, expected, **CLOSE)
    variance = np.average((target - np.average(target, weights=weights)) ** 2, weights=weights)
    explained = oracle.explained_variance_score(target, prediction, sample_weight=weights)
    np.testing.assert_allclose(1 - spread.value**2 / variance, explained, **CLOSE)
