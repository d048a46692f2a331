import numpy as np
import pytest
import torch

from lumigraph.metrics import background_rejection, rejection_matrix

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 900)
LOGITS = RANDOM.normal(size=(900, 3)) + 1.5 * np.eye(3)[LABELS]
SCORES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
WEIGHTS = np.where(RANDOM.random(900) < 0.1, -1.0, 1.0) * RANDOM.exponential(1.0, 900)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("efficiency", [0.3, 0.5])
def test_each_pair_is_a_classification_of_its_own(weights, efficiency):
    found = rejection_matrix(LABELS, SCORES, weights, signal_efficiency=efficiency)
    for a, b in np.ndindex(3, 3):
        if a == b:
            assert np.isnan(found.value[a, b])
            continue
        members = np.isin(LABELS, (a, b))
        ratio = (SCORES[:, a] / (SCORES[:, a] + SCORES[:, b]))[members]
        own = None if weights is None else weights[members]
        expected = background_rejection(LABELS[members] == a, ratio, efficiency, own)
        assert found.value[a, b] == pytest.approx(expected.value, rel=1e-10)
        assert found.uncertainty[a, b] == pytest.approx(expected.uncertainty, rel=1e-10, nan_ok=True)


def test_two_classes_are_a_binary_classification_and_its_mirror_image():
    scores = SCORES[:, 1] / (SCORES[:, 0] + SCORES[:, 1])
    members = LABELS < 2
    found = rejection_matrix(LABELS[members], np.stack([1 - scores, scores], axis=1)[members])
    expected = background_rejection(LABELS[members], scores[members], 0.5)
    assert (found.value[1, 0], found.uncertainty[1, 0]) == pytest.approx(expected)
    mirrored = background_rejection(1 - LABELS[members], -scores[members], 0.5)
    assert found.value[0, 1] == pytest.approx(mirrored.value)


def test_other_classes_and_how_many_events_they_have_are_of_no_effect():
    found = rejection_matrix(LABELS, SCORES)
    without = LABELS != 2
    two = rejection_matrix(LABELS[without], SCORES[without])
    np.testing.assert_array_equal(found.value[:2, :2], two.value[:2, :2])
    assert np.isnan(two.value[2]).all()
    assert np.isnan(two.value[:, 2]).all()
    scaled = rejection_matrix(LABELS, SCORES, np.where(LABELS == 1, 100.0, 1.0))
    np.testing.assert_allclose(scaled.value, found.value)


def test_very_sure_scores_keep_their_order():
    # of 1 - 1e-17 and 1 - 1e-30 a float knows no difference
    small = np.array([1e-30, 1e-25, 1e-20, 1e-17])
    scores = np.stack([np.ones(4), small], axis=1)
    found = rejection_matrix([0, 0, 1, 1], scores, signal_efficiency=1.0)
    assert found.value[0, 1] == np.inf
    half = rejection_matrix([0, 1, 0, 1], scores, signal_efficiency=1.0)
    assert half.value[0, 1] == 2.0


def test_zeros_and_tensors():
    scores = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = rejection_matrix(torch.tensor([0, 0, 1, 1]), scores, signal_efficiency=1.0)
    assert found.value[0, 1] == pytest.approx(2.0)  # nothing at all is as good as half and half


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (
            [0, 1],
            [[0.5, 0.5], [-2.0, 3.0]],
            r"scores of event 1 must be probabilities, got \[-2.  3.\]: give the softmax",
        ),
        ([0, 1], [0.5, 0.5], r"scores must have the shape \(events, classes\), .* got \(2,\)"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels of event 1 must be an integer from 0 to 1, got 2"),
        ([0, 1], [[0.5, 0.5], [0.5, np.nan]], "predictions of event 1"),
    ],
)
def test_errors(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        rejection_matrix(labels, scores)
    with pytest.raises(ValueError, match="signal_efficiency must be above 0 and at most 1, got 0"):
        rejection_matrix(LABELS, SCORES, signal_efficiency=0.0)
