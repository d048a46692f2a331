"""Draws by weight, and weights that balance classes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from lumigraph.data.loading.drawing import balanced_weights, chances, draw


@given(st.lists(st.integers(-2, 3), min_size=1, max_size=30))
def test_balanced_weights_are_those_of_scikit_learn(labels):
    expected = compute_sample_weight("balanced", labels)
    np.testing.assert_allclose(balanced_weights(labels), expected, rtol=1e-12)
    np.testing.assert_allclose(balanced_weights(torch.tensor(labels, dtype=torch.float32)), expected, rtol=1e-12)
    np.testing.assert_allclose(balanced_weights(np.array([f"class {c}" for c in labels])), expected, rtol=1e-12)


def test_weights_within_a_class_keep_their_ratios():
    weights = balanced_weights([0, 1, 0, 1, 1], torch.tensor([1.0, 5.0, 3.0, 0.0, 5.0]))
    np.testing.assert_allclose(weights, [0.625, 1.25, 1.875, 0.0, 1.25])


@pytest.mark.parametrize(
    ("labels", "weights", "error", "message"),
    [
        ([], None, ValueError, r"got shape \(0,\)"),
        (np.zeros((3, 1)), None, ValueError, r"got shape \(3, 1\); a column of y is y\[:, 0\]"),
        (np.array([0.0, np.nan]), None, ValueError, "event 1: its label must not be NaN"),
        ([0, 1], [1.0, 0.0], ValueError, "weights of class 1 must not all be zero"),
        ([0, 1], [1.0, -1.0], ValueError, r"event 1: weights must be at least 0 .*, got -1.0: draw with np.abs"),
        ([0, 1], [1.0], TypeError, "must be 2 numbers"),
        ([0, 1], ["1", "2"], TypeError, "must be 2 numbers"),
    ],
)
def test_what_cannot_be_balanced_is_said(labels, weights, error, message):
    with pytest.raises(error, match=message):
        balanced_weights(labels, weights)


@pytest.mark.parametrize("scale", [1e308, 1e-320])
def test_weights_of_any_size_can_be_drawn_by(scale):
    drawn = np.concatenate(
        [draw(chances(scale * np.array([1.0, 0.0, 1.0, 1.0]), 4), np.random.default_rng(i)) for i in range(3000)]
    )
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), [1 / 3, 0, 1 / 3, 1 / 3], atol=0.02)
