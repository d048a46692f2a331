from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lumigraph.metrics import confusion_matrix
from lumigraph.plotting import plot_confusion

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 200)
SCORES = RANDOM.normal(size=(200, 3)) + np.eye(3)[LABELS]
WEIGHTS = RANDOM.exponential(1.0, 200)


@pytest.mark.parametrize("normalise", ["truth", "prediction"])
def test_colours_and_numbers_of_the_cells(normalise):
    ax = plot_confusion(LABELS, SCORES, WEIGHTS, ["tt", "ttH", "ttZ"], normalise=normalise)
    found = confusion_matrix(LABELS, SCORES, WEIGHTS, normalise=normalise)
    np.testing.assert_allclose(ax.images[0].get_array(), found.value)
    assert ax.images[0].get_clim() == (0.0, 1.0)
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    for (row, column), value in np.ndenumerate(found.value):
        assert texts[column, row] == f"{value:.2f}\n± {found.uncertainty[row, column]:.2f}"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["tt", "ttH", "ttZ"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["tt", "ttH", "ttZ"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Predicted class", "True class")
    assert ax.figure.axes[1].get_ylabel() == f"Share of the {'true' if normalise == 'truth' else 'predicted'} class"


def test_sums_of_weights():
    ax = plot_confusion([0, 0, 1], [0, 0, 1], [300.0, 400.0, 2.0], normalise=None)
    assert [text.get_text() for text in ax.texts] == ["700\n± 500", "0\n± 0", "0\n± 0", "2.0\n± 2.0"]
    assert ax.figure.axes[1].get_ylabel() == "Sum of weights"
    assert ax.images[0].get_clim() == (0.0, 700.0)


def test_numbers_are_dark_on_bright_cells():
    ax = plot_confusion([0, 0, 1, 1], [0, 0, 1, 1])
    assert [text.get_color() for text in ax.texts] == ["black", "white", "white", "black"]


def test_many_classes_are_drawn_without_numbers():
    labels = np.arange(60) % 12
    assert len(plot_confusion(labels, labels).texts) == 0
    assert {text.get_text() for text in plot_confusion(labels % 6, labels % 6).texts} == {"1.00", "0.00"}


def test_a_class_without_events_is_told():
    ax = plot_confusion([0, 2], [0, 2])
    assert [text.get_text() for text in ax.texts][3:6] == ["\N{EN DASH}"] * 3
    ax.figure.canvas.draw()


@pytest.mark.parametrize("names", [["a", "b", "c"], ["tt + jets", "single top", "diboson + jets"]])
def test_labels_do_not_overlap(names):
    ax = plot_confusion(LABELS, SCORES, class_names=names)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    if ax.get_xticklabels()[0].get_rotation() == 0:
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert all(box.y1 <= ax.get_window_extent().y0 for box in boxes)


def test_errors():
    with pytest.raises(ValueError, match="class_names must have 3 names, one for each class, got 2"):
        plot_confusion(LABELS, SCORES, class_names=["a", "b"])
    assert plt.get_fignums() == []
