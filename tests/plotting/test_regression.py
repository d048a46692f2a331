import matplotlib.pyplot as plt
import numpy as np
import pytest

from lumigraph.metrics import binned_resolution, resolution
from lumigraph.plotting import plot_residuals, plot_resolution

RANDOM = np.random.default_rng(0)
TARGET = RANDOM.uniform(50.0, 250.0, 1000)
PREDICTION = TARGET + RANDOM.normal(3.0, 10.0, 1000)
WEIGHTS = RANDOM.exponential(1.0, 1000)


class TestResiduals:
    def test_densities_and_errors(self):
        edges = np.linspace(-20.0, 20.0, 11)
        ax = plot_residuals({"a": (TARGET, PREDICTION, WEIGHTS)}, bins=edges, quantity="mass", unit="GeV")
        steps = ax.patches[0].get_data()
        total = WEIGHTS.sum() * 4.0
        counts = np.histogram(PREDICTION - TARGET, edges, weights=WEIGHTS)[0]
        np.testing.assert_allclose(steps.values, counts / total)
        bars = np.array(ax.containers[0].lines[2][0].get_segments())[:, :, 1]
        error = np.sqrt(np.histogram(PREDICTION - TARGET, edges, weights=WEIGHTS**2)[0]) / total
        np.testing.assert_allclose(bars[:, 1] - bars[:, 0], 2 * error)
        outside = 1 - counts.sum() / WEIGHTS.sum()
        bias, rms = resolution(TARGET, PREDICTION, WEIGHTS)  # of all events, not only of those in sight
        (text,) = ax.get_legend().get_texts()
        assert text.get_text() == f"a ({outside:.1%} outside)\nbias {bias}, RMS {rms} GeV"
        assert ax.get_xlabel() == "Predicted \N{MINUS SIGN} true mass [GeV]"
        assert ax.get_ylabel() == "Probability density [1/GeV]"

    def test_relative(self):
        ax = plot_residuals({"a": (TARGET, PREDICTION)}, quantity="mass", unit="GeV", relative=True)
        bias, rms = resolution(np.zeros(1000), PREDICTION / TARGET - 1)
        assert ax.get_legend().get_texts()[0].get_text().endswith(f"bias {bias}, RMS {rms}")
        assert ax.get_xlabel() == "(Predicted \N{MINUS SIGN} true mass) / true mass"
        assert ax.get_ylabel() == "Probability density"

    def test_the_middle_is_in_sight_and_the_tails_do_not_stretch_it(self):
        far = np.concatenate([PREDICTION[:-2], [1e6, -1e6]])
        low, high = plot_residuals({"a": (TARGET, far)}).get_xlim()
        assert -40 < low < -15
        assert 20 < high < 45

    def test_several_models_share_bins_and_differ_in_grey(self):
        ax = plot_residuals({"a": (TARGET, PREDICTION), "b": (TARGET, 1.1 * PREDICTION)})
        first, second = ax.patches
        assert first.get_data().edges.tolist() == second.get_data().edges.tolist()
        assert first.get_linestyle() != second.get_linestyle()

    def test_a_perfect_prediction(self):
        ax = plot_residuals({"a": (TARGET, TARGET)})
        assert ax.get_legend().get_texts()[0].get_text() == "a\nbias 0 ± 0, RMS 0 ± 0"
        ax.figure.canvas.draw()


class TestResolution:
    def test_points_and_errors(self):
        edges = [50.0, 100.0, 150.0, 250.0]
        ax = plot_resolution({"a": (TARGET, PREDICTION, WEIGHTS)}, bins=edges, quantity="mass", unit="GeV")
        found = binned_resolution(TARGET, PREDICTION, WEIGHTS, bins=edges)
        rms, bias = ax.containers
        for bars, value, error in ((rms, found.rms, found.rms_uncertainty), (bias, found.bias, found.bias_uncertainty)):
            np.testing.assert_allclose(bars.lines[0].get_xdata(), [75.0, 125.0, 200.0])
            np.testing.assert_allclose(bars.lines[0].get_ydata(), value)
            across, up = (np.array(lines.get_segments()) for lines in bars.lines[2])
            np.testing.assert_allclose(across[:, :, 0], np.stack([edges[:-1], edges[1:]], axis=1))
            np.testing.assert_allclose(up[:, :, 1], np.stack([value - error, value + error], axis=1))
        assert rms.lines[0].get_markerfacecolor() != bias.lines[0].get_markerfacecolor() == "white"
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("True mass [GeV]", "Bias and resolution [GeV]")

    def test_models_share_their_bins(self):
        ax = plot_resolution(
            {"a": (TARGET[:500], PREDICTION[:500]), "b": (TARGET[500:] + 100, PREDICTION[500:])}, bins=5
        )
        centres = [bars.lines[0].get_xdata() for bars in ax.containers]
        width = (TARGET[500:].max() + 100 - TARGET[:500].min()) / 5
        for values in centres:
            np.testing.assert_allclose((values - TARGET[:500].min()) / width % 1, 0.5)
        assert ax.containers[0].lines[0].get_marker() != ax.containers[2].lines[0].get_marker()

    def test_bins_of_one_event_are_left_out(self):
        ax = plot_resolution({"a": ([1.0, 5.0, 5.5], [1.0, 6.0, 8.0])}, bins=[0.0, 2.0, 6.0], relative=True)
        assert ax.containers[0].lines[0].get_xdata().tolist() == [4.0]
        assert ax.get_ylabel() == "Bias and resolution / true target"


@pytest.mark.parametrize("plot", [plot_residuals, plot_resolution])
def test_common_to_both(plot):
    _, (left, right) = plt.subplots(1, 2)
    assert plot({"a": (TARGET, PREDICTION)}, right) is right
    assert not left.lines
    right.figure.canvas.draw()
    assert right.get_legend().get_window_extent().y0 >= right.get_window_extent().y1
    with pytest.raises(
        ValueError, match=r"curves must have at least one name with its \(target, prediction\), got none"
    ):
        plot({})
    with pytest.raises(ValueError, match=r"curves\['a'\] must be \(target, prediction\) or .*, got 1 parts"):
        plot({"a": (TARGET,)})
    with pytest.raises(ValueError, match="must be above 0 with relative=True"):
        plot({"a": (-TARGET, PREDICTION)}, relative=True)
    assert len(plt.get_fignums()) == 1
