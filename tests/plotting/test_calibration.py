import matplotlib.pyplot as plt
import numpy as np
import pytest

from lumigraph.metrics import calibration
from lumigraph.plotting import plot_calibration

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.uniform(size=500)
LABELS = (RANDOM.uniform(size=500) < SCORES).astype(int)
WEIGHTS = RANDOM.exponential(1.0, 500)


def test_points_and_their_intervals():
    ax = plot_calibration({"network": (LABELS, SCORES, WEIGHTS), "trees": (LABELS, SCORES**2)}, bins=5)
    first, second = ax.containers
    found = calibration(LABELS, SCORES, WEIGHTS, bins=5)
    np.testing.assert_allclose(first.lines[0].get_xdata(), found.score)
    np.testing.assert_allclose(first.lines[0].get_ydata(), found.fraction)
    bars = np.array(first.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(bars, np.stack([found.lower, found.upper], axis=1))
    assert first.lines[0].get_marker() != second.lines[0].get_marker()
    assert first.lines[0].get_linestyle() != second.lines[0].get_linestyle()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == f"network: calibration error {found.error:.3f}"
    assert texts[1].startswith("trees: calibration error")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Mean score", "Fraction of signal")


def test_the_legend_is_above_the_axes():
    ax = plot_calibration({"network": (LABELS, SCORES)})
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_empty_bins_are_left_out():
    ax = plot_calibration({"cut": ([0, 1, 1, 0], [0.0, 1.0, 1.0, 1.0])}, bins=10)
    assert ax.containers[0].lines[0].get_xdata().tolist() == [0.0, 1.0]
    assert ax.get_ylim() == pytest.approx((-0.02, 1.02))


def test_fractions_beyond_their_range_are_in_sight():
    ax = plot_calibration({"a": ([0, 0, 0, 1], [0.2, 0.2, 0.8, 0.2], [-1.0, 0.2, 5.0, 3.0])}, bins=2)
    assert ax.get_ylim()[1] > 3.0 / 2.2


def test_draws_on_given_axes():
    _, (left, right) = plt.subplots(1, 2)
    assert plot_calibration({"a": (LABELS, SCORES)}, right) is right
    assert not left.lines
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, r"curves must have at least one name with its \(labels, scores\), got none"),
        ({"a": (LABELS,)}, r"curves\['a'\] must be \(labels, scores\) or \(labels, scores, weights\), got 1 parts"),
        ({"a": (LABELS, SCORES + 1)}, "must be a probability, from 0 to 1"),
    ],
)
def test_errors(curves, message):
    with pytest.raises(ValueError, match=message):
        plot_calibration(curves)
    assert plt.get_fignums() == []
