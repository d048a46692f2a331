import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lumigraph.training.scaling import FeatureStatistics, weighted_quantile

SEEDS = st.integers(0, 2**32 - 1)


def rows_and_weights(seed, n=60, negative=0.3):
    """Return rows of features far apart in size and place, one of them constant, and weights of both signs."""
    rng = np.random.default_rng(seed)
    rows = rng.normal([0.0, 1e4, -5.0, 7.0], [1.0, 10.0, 1e-2, 0.0], (n, 4))
    rows[:, 0] = np.round(rows[:, 0], 1)  # so that values come more than once
    return rows, rng.uniform(0.1, 2.0, n) * np.where(rng.random(n) < negative, -1, 1)


def fed(chunks, weights=None, **options):
    """Return statistics that were given chunks one by one."""
    found = FeatureStatistics(chunks[0].shape[1], **options)
    for chunk, w in zip(chunks, weights or [None] * len(chunks), strict=True):
        found.update(chunk, w)
    return found


def pieces(array, cuts):
    return np.split(array, sorted(cuts))


def share_by_hand(values, weights, q):
    """Return a quantile by the definition: the share at every value from both sides, in a plain loop."""
    points = sorted(set(values.tolist()))
    below = [sum(w for v, w in zip(values, weights, strict=True) if v <= point) for point in points]
    for i, point in enumerate(points):
        if (max(below[: i + 1]) + min(below[i:])) / 2 >= q * below[-1] - 1e-12:
            return point
    raise AssertionError


class TestMoments:
    @given(SEEDS, st.lists(st.integers(0, 60), max_size=6), st.sampled_from([None, 0.0, 0.3]))
    def test_they_are_those_of_all_rows_at_once(self, seed, cuts, negative):
        rows, weights = rows_and_weights(seed, negative=negative or 0.0)
        assume(weights.sum() > 0.2 * np.abs(weights).sum())
        found = fed(pieces(rows, cuts), None if negative is None else pieces(weights, cuts))
        w = np.ones(len(rows)) if negative is None else weights
        mean = w @ rows / w.sum()
        variance = w @ (rows - mean) ** 2 / w.sum()
        np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=1e-10)
        positive = variance > 1e-9
        np.testing.assert_allclose(found.std[positive] ** 2, variance[positive], rtol=1e-9)
        assert found.std[3] == 0
        assert (found.count, found.sum_weights) == (60, pytest.approx(w.sum(), rel=1e-12))
        np.testing.assert_array_equal(found.minimum, rows.min(axis=0))
        np.testing.assert_array_equal(found.maximum, rows.max(axis=0))

    def test_numpy_agrees_without_weights(self):
        rows, _ = rows_and_weights(0)
        np.testing.assert_allclose(fed([rows]).mean, rows.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(fed([rows]).std, rows.std(axis=0), rtol=1e-10, atol=1e-13)

    def test_a_start_far_away_costs_no_digits(self):
        rows = 1e8 + np.random.default_rng(0).normal(size=(10_000, 1))
        found = fed([rows[:1] - 1e8, rows[1:]])
        exact = np.concatenate([rows[:1] - 1e8, rows[1:]])
        assert found.std.item() == pytest.approx(exact.std(), rel=1e-10)
        assert fed(np.split(rows, 100)).std.item() == pytest.approx(rows.std(), rel=1e-10)

    def test_a_row_taken_away_is_as_if_it_had_never_been(self):
        rows = np.array([[1.0], [5.0], [2.0], [9.0]])
        found = fed([rows, rows[3:]], [np.ones(4), -np.ones(1)])
        assert found.mean.item() == pytest.approx(rows[:3].mean(), rel=1e-14)
        assert found.std.item() == pytest.approx(rows[:3].std(), rel=1e-14)

    def test_a_chunk_whose_weights_cancel(self):
        rows = np.array([[1.0], [3.0], [10.0], [20.0]])
        found = fed([rows[:2], rows[2:]], [np.array([1.0, -1.0]), np.array([2.0, 1.0])])
        mean = (1 - 3 + 20 + 20) / 3
        assert found.mean.item() == pytest.approx(mean)
        assert found.std.item() == pytest.approx(
            (((1 - mean) ** 2 - (3 - mean) ** 2 + 2 * (10 - mean) ** 2 + (20 - mean) ** 2) / 3) ** 0.5
        )

    def test_without_a_positive_variance_it_is_that_of_the_sizes(self):
        rows, weights = np.array([[0.0], [10.0], [-10.0]]), np.array([3.0, -1.0, -1.0])
        assert fed([rows], [weights]).std.item() == pytest.approx(np.sqrt(200 / 5))

    @pytest.mark.parametrize("weights", [[1.0, -1.0], [-1.0, -2.0], [0.0, 0.0]])
    def test_without_a_positive_sum_of_weights_there_is_no_mean(self, weights):
        found = fed([np.array([[1.0], [2.0]])], [np.array(weights)], max_rows=4)
        for ask in (lambda: found.mean, lambda: found.std, lambda: found.quantile(0.5)):
            with pytest.raises(ValueError, match=r"the weights of 2 rows must have a positive sum to give a mean, got"):
                ask()

    def test_no_rows_change_nothing(self):
        found = fed([np.empty((0, 2)), np.empty((0, 2))], max_rows=4)
        assert (found.mean.tolist(), found.std.tolist(), found.quantile(0.5).tolist()) == ([0, 0], [1, 1], [0, 0])

    def test_rows_without_features(self):
        found = fed([np.empty((5, 0))])
        assert found.mean.shape == found.std.shape == (0,)

    @pytest.mark.parametrize(
        ("rows", "weights", "message"),
        [
            (np.zeros((3, 3)), None, r"values must have the shape \(rows, 2\), got \(3, 3\)"),
            (np.zeros(2), None, r"values must have the shape"),
            (np.zeros((3, 2)), np.ones(2), r"weights must have the shape \(3,\), one per row, got \(2,\)"),
            (np.array([[1.0, 2.0], [1.0, np.nan]]), None, r"values must be finite, got nan at \[1, 1\]"),
            (np.zeros((2, 2)), np.array([np.inf, 1.0]), r"weights must be finite, got inf at \[0\]"),
        ],
    )
    def test_rows_that_do_not_fit(self, rows, weights, message):
        found = FeatureStatistics(2)
        with pytest.raises(ValueError, match=message):
            found.update(rows, weights)
        assert found.count == 0


class TestQuantiles:
    @given(SEEDS, st.lists(st.integers(0, 60), max_size=6), st.floats(0, 1))
    def test_without_weights_they_are_those_of_numpy_for_any_chunks(self, seed, cuts, q):
        rows, _ = rows_and_weights(seed)
        assume(abs(60 * q - round(60 * q)) > 1e-9 or q in (0, 1))
        expected = np.quantile(rows, q, axis=0, method="inverted_cdf")
        np.testing.assert_array_equal(fed(pieces(rows, cuts)).quantile(q), expected)

    @given(SEEDS, st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
    def test_with_weights_they_are_those_of_numpy(self, seed, q):
        rows, weights = rows_and_weights(seed, negative=0.0)
        expected = np.quantile(rows, q, axis=0, method="inverted_cdf", weights=weights)
        np.testing.assert_array_equal(fed([rows], [weights]).quantile(q), expected)

    @given(SEEDS, st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
    def test_with_weights_of_either_sign_they_follow_the_definition(self, seed, q):
        rows, weights = rows_and_weights(seed, n=25)
        assume(weights.sum() > 0.1)
        assert weighted_quantile(rows[:, 0], q, weights) == share_by_hand(rows[:, 0], weights, q)

    @given(SEEDS, st.lists(st.integers(0, 60), max_size=6))
    def test_a_sample_of_the_rows_does_not_depend_on_the_chunks(self, seed, cuts):
        rows, weights = rows_and_weights(seed, negative=0.0)
        whole = fed([rows], [weights], max_rows=7, seed=3)
        parts = fed(pieces(rows, cuts), pieces(weights, cuts), max_rows=7, seed=3)
        for q in (0.2, 0.5, 0.8):
            np.testing.assert_array_equal(parts.quantile(q), whole.quantile(q))

    def test_a_sample_is_uniform(self):
        rows = np.arange(100_000.0)[:, None]
        found = fed(np.split(rows, 50), max_rows=4096)
        for q in (0.1, 0.25, 0.5, 0.75, 0.9):  # five standard deviations of a binomial
            assert abs(found.quantile(q).item() / 1e5 - q) < 5 * (q * (1 - q) / 4096) ** 0.5
        assert fed([rows], max_rows=4096, seed=1).quantile(0.5) != found.quantile(0.5)

    def test_what_does_not_work(self):
        with pytest.raises(ValueError, match="max_rows must be above 0 for quantiles"):
            fed([np.zeros((2, 1))], max_rows=0).quantile(0.5)
        with pytest.raises(ValueError, match=r"q must be a share from 0 to 1, got 1.5"):
            weighted_quantile(np.ones(1), 1.5, np.ones(1))
        for values in (np.empty(0), np.ones(2)):
            with pytest.raises(ValueError, match="must add up to a positive number"):
                weighted_quantile(values, 0.5, -np.ones(len(values)))
        with pytest.raises(ValueError, match="max_rows must be at least 0, got -1"):
            FeatureStatistics(2, max_rows=-1)
