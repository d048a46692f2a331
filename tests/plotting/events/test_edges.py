import math

import numpy as np
import pytest

from lumigraph.plotting import plot_event
from lumigraph.plotting.events.edges import line_paths, line_strengths, short_way

FEATS = ("px", "py", "pz", "E", "btag", "kind")


def test_steps_go_the_short_way_round():
    start = np.array([[0.0, 3.0], [0.0, -3.0], [1.0, 1.0]])
    end = np.array([[1.0, -3.0], [1.0, 3.0], [0.0, -1.0]])
    border = 2 * math.pi - 6
    np.testing.assert_allclose(short_way(start, end), [[1.0, border], [1.0, -border], [-1.0, -2.0]])


@pytest.mark.parametrize("side", [1, -1])
def test_a_path_across_the_border_comes_in_on_the_other_side(side):
    start, step = np.array([[-1.0, side * (math.pi - 0.1)]]), np.array([[2.0, side * 0.4]])
    (path,) = line_paths(start, step)
    border = side * math.pi
    expected = [start[0], [-0.5, border], [np.nan] * 2, [-0.5, -border], [1.0, -border + side * 0.3]]
    np.testing.assert_allclose(path, expected, atol=1e-12)


def test_no_lines():
    assert line_paths(np.zeros((0, 2)), np.zeros((0, 2))) == []


def test_strengths_are_the_mean_of_both_directions_over_the_strongest():
    # receiver 0 hears 1, 2; 1 hears 0, 2; 2 hears 0, 1
    np.testing.assert_allclose(line_strengths([1.0, 2.0, 3.0, 0.0, 0.0, 0.0], 3), [1.0, 0.5, 0.0])


@pytest.mark.parametrize("event", [0, 1])
def test_weights_of_an_event_without_edges(batch, event):
    plot_event(batch, event, feats_per_vec=FEATS, edge_weights=[]).figure.canvas.draw()
