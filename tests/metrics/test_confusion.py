import numpy as np
import pytest
import sklearn.metrics
import torch

from lumigraph.metrics import accuracy, confusion_matrix

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 4, 300)
SCORES = RANDOM.normal(size=(300, 4)) + 1.5 * np.eye(4)[LABELS]
WEIGHTS = RANDOM.exponential(1.0, 300)


@pytest.mark.parametrize(("ours", "theirs"), [("truth", "true"), ("prediction", "pred"), (None, None)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_is_that_of_scikit_learn(ours, theirs, weights):
    found = confusion_matrix(LABELS, torch.tensor(SCORES), weights, normalise=ours)
    expected = sklearn.metrics.confusion_matrix(LABELS, SCORES.argmax(1), sample_weight=weights, normalize=theirs)
    np.testing.assert_allclose(found.value, expected)


def test_efficiencies_have_the_uncertainty_of_accuracy():
    found = confusion_matrix(LABELS, SCORES, WEIGHTS)
    for number in range(4):
        members = np.equal(LABELS, number)
        expected = accuracy(LABELS[members], SCORES[members], WEIGHTS[members])
        assert found.value[number, number] == pytest.approx(expected.value)
        assert found.uncertainty[number, number] == pytest.approx(expected.uncertainty)


def test_sums_have_the_root_of_the_squares():
    found = confusion_matrix([0, 0, 1], [0, 0, 1], [3.0, 4.0, 2.0], normalise=None)
    assert found.uncertainty.tolist() == [[5.0, 0.0], [0.0, 2.0]]


def test_the_threshold_decides_between_two():
    scores = [0.2, 0.6, 0.6, 0.9]
    assert confusion_matrix([0, 0, 1, 1], scores).value.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert confusion_matrix([0, 0, 1, 1], scores, threshold=0.7).value.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_a_class_without_events_has_no_shares():
    found = confusion_matrix([0, 2], [0, 0])
    assert np.isnan(found.value[1]).all()
    assert found.value[2].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0, 1], [0, 1]), {"normalise": "true"}, "normalise must be 'truth', 'prediction' or None, got 'true'"),
        (([0, 2], [0.1, 0.9]), {}, "labels of event 1 must be an integer from 0 to 1, got 2"),
        (([0, 1], [0, -1]), {}, "predictions of event 1 must be a class, .* got -1"),
    ],
)
def test_errors(arguments, options, message, plain_python):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(*arguments, **options)
