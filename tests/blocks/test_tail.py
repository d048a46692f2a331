import copy

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph.blocks import ClassRegMulti, lookup_uniform_init

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
OBJECTIVES = ["classification", "multiclass", "regression"]


@pytest.fixture
def x():
    return 3 * torch.randn(20, 4, dtype=torch.float64)


def linear(tail, x):
    weight, bias = tail.dense.weight.detach().numpy(), tail.dense.bias.detach().numpy()
    return x.numpy() @ weight.T + bias


def output(tail, x):
    return tail(x).detach().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class TestObjectives:
    def test_classification_gives_a_probability_per_output(self, x):
        tail = ClassRegMulti(4, 2, "classification").double()
        np.testing.assert_allclose(output(tail, x), sigmoid(linear(tail, x)), **CLOSE)

    def test_multiclass_gives_log_probabilities_over_the_outputs(self, x):
        tail = ClassRegMulti(4, 3, "multiclass").double()
        exp = np.exp(linear(tail, x))
        np.testing.assert_allclose(output(tail, x), np.log(exp / exp.sum(1, keepdims=True)), **CLOSE)

    def test_regression_gives_any_number(self, x):
        tail = ClassRegMulti(4, 2, "regression").double()
        np.testing.assert_allclose(output(tail, x), linear(tail, x), **CLOSE)

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_logits_are_what_goes_into_the_output_function(self, x, objective):
        tail = ClassRegMulti(4, 3, objective).double()
        np.testing.assert_allclose(tail.logits(x).detach().numpy(), linear(tail, x), **CLOSE)

    @pytest.mark.parametrize("objective", OBJECTIVES)
    @pytest.mark.parametrize("change", [str.upper, str.title])
    def test_the_name_may_have_any_case(self, x, objective, change):
        lower, other = ClassRegMulti(4, 3, objective), ClassRegMulti(4, 3, change(objective))
        other.load_state_dict(lower.state_dict())
        assert other.objective == objective
        assert torch.equal(other(x.float()), lower(x.float()))

    @pytest.mark.parametrize("objective", ["binary", "multi-class", "class", "multiclassification", "regress", ""])
    def test_another_name_is_refused_with_the_list(self, objective):
        with pytest.raises(ValueError, match=r"objective must be one of classification, multiclass, regression, got"):
            ClassRegMulti(4, 3, objective)

    def test_a_misspelt_name_is_answered_with_the_nearest(self):
        with pytest.raises(ValueError, match="did you mean classification"):
            ClassRegMulti(4, 3, "clasification")

    def test_the_classes_are_on_the_last_axis(self, x):
        tail = ClassRegMulti(4, 3, "multiclass").double()
        stacked = tail[1](tail[0](x.view(4, 5, 4)))
        torch.testing.assert_close(stacked, tail(x).view(4, 5, 3), **CLOSE)


class TestRange:
    def test_one_range_for_all_outputs(self, x):
        tail = ClassRegMulti(4, 3, "regression", y_range=(-2.0, 10.0)).double()
        np.testing.assert_allclose(output(tail, x), 12 * sigmoid(linear(tail, x)) - 2, **CLOSE)

    def test_a_range_per_output(self, x):
        ranges = np.array([[0.0, 1.0], [-2.0, 10.0], [100.0, 300.0]])
        tail = ClassRegMulti(4, 3, "regression", y_range=ranges).double()
        expected = (ranges[:, 1] - ranges[:, 0]) * sigmoid(linear(tail, x)) + ranges[:, 0]
        np.testing.assert_allclose(output(tail, x), expected, **CLOSE)

    def test_two_outputs_take_a_pair_for_both_and_a_square_for_each(self):
        pair = ClassRegMulti(4, 2, "regression", y_range=(1.0, 5.0))
        square = ClassRegMulti(4, 2, "regression", y_range=[[1.0, 5.0], [2.0, 4.0]])
        assert (pair.y_min.tolist(), pair.y_diff.tolist()) == ([1.0, 1.0], [4.0, 4.0])
        assert (square.y_min.tolist(), square.y_diff.tolist()) == ([1.0, 2.0], [4.0, 2.0])

    def test_the_ends_may_come_in_either_order(self, x):
        one = ClassRegMulti(4, 2, "regression", y_range=[[1.0, 5.0], [-2.0, 4.0]]).double()
        other = ClassRegMulti(4, 2, "regression", y_range=[[5.0, 1.0], [-2.0, 4.0]]).double()
        other.load_state_dict({**one.state_dict(), "y_min": other.y_min, "y_diff": other.y_diff})
        torch.testing.assert_close(other(x), one(x), **CLOSE)

    def test_a_narrow_range_far_from_zero_is_not_lost_to_rounding(self):
        tail = ClassRegMulti(4, 1, "regression", y_range=(1e8, 1e8 + 1))
        assert tail.y_diff.tolist() == [1.0]

    def test_outputs_stay_within_it(self, x):
        y = output(ClassRegMulti(4, 1, "regression", y_range=(-2.0, 10.0)).double(), 1e4 * x)
        assert (y.min(), y.max()) == (-2.0, 10.0)


class TestMoments:
    @pytest.mark.parametrize(
        ("mean", "std"), [(3.0, 2.0), (3, 2), ([3.0] * 3, [2.0] * 3), (np.full(3, 3.0), np.full(3, 2.0))]
    )
    def test_one_for_all_outputs_and_one_per_output(self, x, mean, std):
        tail = ClassRegMulti(4, 3, "regression", y_mean=mean, y_std=std).double()
        assert tail(x).shape == (20, 3)
        np.testing.assert_allclose(output(tail, x), 2 * linear(tail, x) + 3, **CLOSE)

    def test_different_ones(self, x):
        mean, std = [1.0, -5.0, 100.0], [2.0, 0.5, 30.0]
        tail = ClassRegMulti(4, 3, "regression", y_mean=mean, y_std=std).double()
        np.testing.assert_allclose(output(tail, x), np.array(std) * linear(tail, x) + np.array(mean), **CLOSE)


RESCALINGS = {
    "none": {},
    "range": {"y_range": (-2.0, 10.0)},
    "other range": {"y_range": [[0.0, 1.0], [1.0, 7.0]]},
    "moments": {"y_mean": 3.0, "y_std": 2.0},
    "other moments": {"y_mean": [1.0, 2.0], "y_std": 4.0},
}


class TestState:
    @pytest.mark.parametrize("saved", ["range", "other range", "moments", "other moments"])
    def test_a_loaded_state_brings_its_rescaling_along(self, x, saved):
        kind = saved.removeprefix("other ")
        other = kind if saved != kind else f"other {kind}"
        one = ClassRegMulti(4, 2, "regression", **RESCALINGS[saved]).double()
        two = ClassRegMulti(4, 2, "regression", **RESCALINGS[other]).double()
        assert not torch.allclose(one(x), two(x))
        two.load_state_dict(one.state_dict())
        assert torch.equal(one(x), two(x))

    @pytest.mark.parametrize(("saved", "own"), [("range", "none"), ("moments", "none"), ("range", "moments")])
    def test_the_state_of_another_kind_of_rescaling_is_refused(self, saved, own):
        one = ClassRegMulti(4, 2, "regression", **RESCALINGS[saved])
        two = ClassRegMulti(4, 2, "regression", **RESCALINGS[own])
        with pytest.raises(RuntimeError, match="Unexpected key"):
            two.load_state_dict(one.state_dict())
        with pytest.raises(RuntimeError, match="Missing key"):
            one.load_state_dict(two.state_dict())

    @pytest.mark.parametrize("rescaling", RESCALINGS)
    def test_constants_follow_the_tail(self, rescaling):
        tail = ClassRegMulti(4, 2, "regression", **RESCALINGS[rescaling])
        assert {buffer.dtype for buffer in tail.buffers()} <= {torch.float32}
        moved = copy.deepcopy(tail).double().to("meta")
        constants = {*moved.state_dict()} - {"dense.weight", "dense.bias"}
        assert len(constants) == (0 if rescaling == "none" else 2)
        for value in moved.state_dict().values():
            assert (value.dtype, value.device.type) == (torch.float64, "meta")


class TestInitialisation:
    @pytest.mark.parametrize(
        ("objective", "n_out", "bias"), [("classification", 2, 0.0), ("regression", 2, 0.0), ("multiclass", 4, 0.25)]
    )
    def test_the_bias_starts_at_zero_or_at_one_over_the_classes(self, objective, n_out, bias):
        tail = ClassRegMulti(4, n_out, objective)
        assert tail.dense.bias.tolist() == [bias] * n_out

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_the_bias_can_be_chosen(self, objective):
        assert ClassRegMulti(4, 2, objective, bias_init=-1.5).dense.bias.tolist() == [-1.5, -1.5]

    @pytest.mark.parametrize(
        ("objective", "act"), [("classification", "sigmoid"), ("multiclass", "softmax"), ("regression", "linear")]
    )
    def test_the_weight_is_drawn_for_the_output_function(self, objective, act):
        asked = []

        def lookup_init(*arguments):
            asked.append(arguments)
            return lambda weight: nn.init.constant_(weight, 0.5)

        tail = ClassRegMulti(4, 3, objective, lookup_init=lookup_init)
        assert asked == [(act, 4, 3)]
        assert bool((tail.dense.weight == 0.5).all())

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_weights_spread_as_glorot_says(self, objective):
        weight = ClassRegMulti(300, 400, objective).dense.weight.detach()
        assert float(weight.std()) == pytest.approx((2 / 700) ** 0.5, rel=0.02)

    def test_reset_draws_anew(self):
        tail = ClassRegMulti(4, 2, "multiclass")
        before = tail.dense.weight.clone()
        nn.init.ones_(tail.dense.bias)
        tail.reset_parameters()
        assert not torch.equal(tail.dense.weight, before)
        assert tail.dense.bias.tolist() == [0.5, 0.5]


def test_it_is_indexed_by_the_linear_layer_and_the_output_function():
    tail = ClassRegMulti(4, 2, "classification")
    assert tail[0] is tail.dense
    assert tail[1] is tail.act
    assert list(tail) == [tail.dense, tail.act]
    with pytest.raises(IndexError):
        tail[2]


def test_it_remembers_its_sizes():
    tail = ClassRegMulti(4, 2, "classification")
    assert (tail.n_in, tail.n_out, tail.get_out_size(), tail.objective) == (4, 2, 2, "classification")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_range": (0.0, 1.0), "y_mean": 0.0, "y_std": 1.0}, "y_range and y_mean with y_std exclude each other"),
        ({"y_range": (0.0, 1.0), "y_std": 1.0}, "y_range and y_mean with y_std exclude each other"),
        ({"y_mean": 0.0}, "y_mean and y_std go together"),
        ({"y_std": 1.0}, "y_mean and y_std go together"),
        ({"y_mean": 0.0, "y_std": 1.0, "bias_init": 0.0}, "bias_init and y_mean exclude each other"),
        (
            {"objective": "classification", "y_range": (0.0, 1.0)},
            "objective must be 'regression' .* got 'classification'",
        ),
        ({"objective": "multiclass", "y_range": (0.0, 1.0)}, "objective must be 'regression' .* got 'multiclass'"),
        (
            {"objective": "multiclass", "y_mean": 0.0, "y_std": 1.0},
            "objective must be 'regression' .* got 'multiclass'",
        ),
        ({"n_out": 1, "y_range": [[0, 1], [0, 2], [0, 3]]}, r"y_range must .* have the shape \(1, 2\)"),
        ({"n_out": 3, "y_range": np.arange(6.0).reshape(2, 3)}, r"y_range must .* have the shape \(3, 2\)"),
        ({"n_out": 3, "y_range": [0.0]}, r"y_range must .* have the shape \(3, 2\)"),
        ({"n_out": 1, "y_mean": [0.0, 1.0], "y_std": [1.0, 1.0]}, r"y_mean must .* have the shape \(1,\)"),
        ({"n_out": 2, "y_mean": [0.0, 1.0], "y_std": [1.0] * 3}, r"y_std must .* have the shape \(2,\)"),
        ({"y_range": (0.0, np.inf)}, "y_range must hold finite numbers"),
        ({"y_mean": np.nan, "y_std": 1.0}, "y_mean must hold finite numbers"),
        ({"bias_init": np.nan}, "bias_init must be a finite number"),
        ({"n_out": 0}, "n_out must be at least 1, got 0"),
        ({"n_in": 0}, "n_in must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassRegMulti(**{"n_in": 4, "n_out": 2, "objective": "regression", **arguments})


class TestExamplesOfTheReference:
    @pytest.mark.parametrize(("n_out", "objective"), [(1, "classification"), (5, "multiclass")])
    def test_classification(self, n_out, objective):
        tail = ClassRegMulti(n_in=100, n_out=n_out, objective=objective)
        assert tail(torch.randn(7, 100)).shape == (7, n_out)

    def test_one_range(self):
        targets = np.random.default_rng(0).uniform(100, 300, size=(50, 1))
        y_range = (0.8 * targets.min(), 1.2 * targets.max())
        tail = ClassRegMulti(n_in=100, n_out=1, objective="regression", y_range=y_range)
        y = output(tail, torch.randn(7, 100))
        assert y_range[0] < y.min() < y.max() < y_range[1]

    def test_a_range_per_target(self):
        targets = np.random.default_rng(0).normal(size=(50, 6)) + np.arange(6) - 3
        min_targs = np.min(targets, axis=0).reshape(targets.shape[1], 1)
        max_targs = np.max(targets, axis=0).reshape(targets.shape[1], 1)
        min_targs[min_targs > 0] *= 0.8
        min_targs[min_targs < 0] *= 1.2
        max_targs[max_targs > 0] *= 1.2
        max_targs[max_targs < 0] *= 0.8
        y_range = np.hstack((min_targs, max_targs))
        tail = ClassRegMulti(
            n_in=100, n_out=6, objective="regression", y_range=y_range, lookup_init=lookup_uniform_init
        )
        y = tail.double()(10 * torch.randn(200, 100).double()).detach().numpy()
        assert bool((y >= y_range[:, 0] - 1e-6).all())
        assert bool((y <= y_range[:, 1] + 1e-6).all())
