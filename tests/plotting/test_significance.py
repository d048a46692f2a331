import matplotlib.pyplot as plt
import numpy as np
import pytest

from lumigraph.metrics import significance_scan
from lumigraph.plotting import plot_significance

RANDOM = np.random.default_rng(0)
LABELS = np.arange(2000) % 2
SCORES = RANDOM.normal(1.5 * LABELS)
SCAN = significance_scan(LABELS, SCORES, yields=(30, 500), n_bootstrap=20)
OTHER = significance_scan(LABELS, SCORES + RANDOM.normal(size=2000), yields=(30, 500), n_bootstrap=20)


def test_the_scan_its_band_and_the_best_cut():
    ax = plot_significance({"network": SCAN, "trees": OTHER})
    curve = ax.get_lines()[0]
    np.testing.assert_array_equal(curve.get_xdata(), SCAN.thresholds)
    np.testing.assert_array_equal(curve.get_ydata(), SCAN.significance)
    band = ax.collections[0].get_paths()[0].vertices
    finite = np.isfinite(SCAN.significance_uncertainty)
    top = (SCAN.significance + SCAN.significance_uncertainty)[finite].max()
    assert band[:, 1].max() == pytest.approx(top)
    mark = ax.containers[0].lines[0]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (SCAN.best.threshold.value, SCAN.best.significance.value)
    bar = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (bar[1] - bar[0]) / 2 == pytest.approx(SCAN.best.significance.uncertainty)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [
        f"{name}: {scan.best.significance} at {scan.best.threshold.value:.3g}"
        for name, scan in (("network", SCAN), ("trees", OTHER))
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Cut on the score", "Expected significance")
    assert ax.get_ylim()[0] == 0.0


def test_a_single_cut_is_seen():
    ax = plot_significance({"cut": significance_scan(LABELS, SCORES, thresholds=[1.0], n_bootstrap=2)})
    assert ax.get_lines()[0].get_marker() == "."


def test_negative_significances_are_in_sight():
    weights = np.where((LABELS == 1) & (SCORES > 1.5), -0.05, 1.0)
    scan = significance_scan(LABELS, SCORES, weights, thresholds=[-5.0, 1.5], n_bootstrap=2)
    assert scan.significance[1] < 0
    assert plot_significance({"a": scan}).get_ylim()[0] <= scan.significance[1]


def test_draws_on_given_axes():
    _, (left, right) = plt.subplots(1, 2)
    assert plot_significance({"a": SCAN}, right) is right
    assert not left.lines
    assert len(plt.get_fignums()) == 1


def test_errors():
    with pytest.raises(ValueError, match="scans must have at least one name"):
        plot_significance({})
    assert plt.get_fignums() == []
