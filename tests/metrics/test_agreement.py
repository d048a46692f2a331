import numpy as np
import pytest

from lumigraph.metrics import binned_resolution, residuals, resolution

RANDOM = np.random.default_rng(0)
TARGET = RANDOM.uniform(50.0, 250.0, 2000)
PREDICTION = 1.02 * TARGET + RANDOM.normal(0.0, 0.1 * TARGET)
WEIGHTS = RANDOM.exponential(1.0, 2000)


def test_each_bin_is_a_sample_of_its_own():
    found = binned_resolution(TARGET, PREDICTION, WEIGHTS, bins=[50.0, 100.0, 250.0])
    for number, members in enumerate((TARGET < 100.0, TARGET >= 100.0)):
        bias, rms = resolution(TARGET[members], PREDICTION[members], WEIGHTS[members])
        assert (found.bias[number], found.bias_uncertainty[number]) == pytest.approx(bias)
        assert (found.rms[number], found.rms_uncertainty[number]) == pytest.approx(rms)


def test_the_truth_is_found():
    found = binned_resolution(TARGET, PREDICTION, bins=4, relative=True)
    assert found.edges == pytest.approx(np.linspace(TARGET.min(), TARGET.max(), 5))
    assert (np.abs(found.bias - 0.02) < 3.5 * found.bias_uncertainty).all()
    assert (np.abs(found.rms - 0.1) < 3.5 * found.rms_uncertainty).all()
    absolute = binned_resolution(TARGET, PREDICTION, bins=4)
    assert (np.diff(absolute.rms) > 0).all()


def test_bins_of_fewer_than_two_events_are_empty():
    found = binned_resolution([1.0, 5.0, 5.0], [1.0, 6.0, 8.0], bins=[0.0, 2.0, 4.0, 5.0])
    assert np.isnan(found.rms[:2]).all()
    assert (found.bias[2], found.rms[2]) == (2.0, 1.0)
    assert binned_resolution([5.0, 5.0], [6.0, 8.0], bins=1).bias.tolist() == [2.0]


def test_relative_residuals_need_a_positive_target():
    assert residuals(np.array([2.0]), np.array([3.0])).tolist() == [1.0]
    with pytest.raises(ValueError, match=r"target of event 1 must be above 0 with relative=True, got 0.0"):
        binned_resolution([1.0, 0.0], [1.0, 1.0], relative=True)
    with pytest.raises(ValueError, match="bins must be a number of bins"):
        binned_resolution([1.0, 2.0], [1.0, 1.0], bins=[1.0])


def test_relative_resolution_is_that_of_relative_residuals():
    found = resolution(TARGET, PREDICTION, WEIGHTS, relative=True)
    assert found == resolution(np.zeros(2000), residuals(TARGET, PREDICTION, relative=True), WEIGHTS)
    assert found[1].value == pytest.approx(0.1, abs=0.01)
    with pytest.raises(ValueError, match=r"target of event 0 must be above 0 .* got -1"):
        resolution([-1.0, 1.0], [1.0, 1.0], relative=True)
