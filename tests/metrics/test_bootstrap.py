import math

import numpy as np
import pytest

from lumigraph.metrics import Estimate, accuracy, auc, bootstrap, resolution
from lumigraph.metrics.bootstrap import replicas

RANDOM = np.random.default_rng(0)
LABELS = np.arange(1500) % 2
SCORES = RANDOM.normal(1.2 * LABELS)
WEIGHTS = np.where(RANDOM.random(1500) < 0.2, -1.0, 1.0) * RANDOM.exponential(1.0, 1500)


@pytest.mark.parametrize("weights", [np.ones(1500), WEIGHTS], ids=["unit", "negative"])
@pytest.mark.parametrize(
    "metric",
    [
        lambda w: auc(LABELS, SCORES, w),
        lambda w: accuracy(LABELS, SCORES, w, threshold=0.6),
        lambda w: resolution(LABELS, SCORES, w)[1],
    ],
    ids=["auc", "accuracy", "resolution"],
)
def test_agrees_with_the_formulae(metric, weights):
    found = bootstrap(lambda w: metric(w).value, weights, n_bootstrap=400)
    expected = metric(weights)
    assert found.value == expected.value
    assert found.uncertainty == pytest.approx(expected.uncertainty, rel=0.15)


def test_the_spread_of_a_sum_is_the_root_of_the_squares():
    found = bootstrap(np.sum, WEIGHTS, n_bootstrap=2000)
    assert found == (WEIGHTS.sum(), pytest.approx(math.sqrt(np.sum(WEIGHTS**2)), rel=0.06))


def test_the_seed_decides():
    one, same, other = (bootstrap(np.sum, WEIGHTS, n_bootstrap=20, seed=seed) for seed in (1, 1, 2))
    assert isinstance(one, Estimate)
    assert one == same != other


def test_replicas_without_a_value_do_not_count():
    labels = np.array([1, 0, 0, 0, 0])  # the signal event is left out of every third replica
    found = bootstrap(lambda w: auc(labels, np.array([0.5, 0.1, 0.2, 0.7, 0.9]), w).value, np.ones(5))
    assert found.value == 0.5
    assert 0.1 < found.uncertainty < 0.4
    assert math.isnan(bootstrap(lambda w: math.nan, np.ones(5)).uncertainty)


def test_replicas_of_classes():
    signal, background = WEIGHTS[:10], np.ones(1000)
    for fixed in (True, False):
        drawn = list(replicas(300, 0, signal, background, fixed=fixed))
        sums = np.array([replica[1].sum() for replica in drawn])
        assert sums.std() == pytest.approx(0.0 if fixed else math.sqrt(1000), rel=0.15)
        counts = np.array([replica[0] for replica in drawn]) / signal
        assert counts.mean() == pytest.approx(1.0, abs=0.06)
        np.testing.assert_allclose(counts, counts.round(), atol=1e-9)


def test_errors():
    with pytest.raises(ValueError, match="n_bootstrap must be at least 2, got 1"):
        bootstrap(np.sum, WEIGHTS, n_bootstrap=1)
    with pytest.raises(ValueError, match="weights of event 0 must be finite, got nan"):
        bootstrap(np.sum, [math.nan])
    with pytest.raises(ZeroDivisionError):  # an error of one's own is not swallowed
        bootstrap(lambda w: 1 / 0, WEIGHTS)
