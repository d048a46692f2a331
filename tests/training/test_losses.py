"""Losses of single events."""

import functools

import pytest
import torch
from torch import nn

from lumigraph.blocks import ClassRegMulti
from lumigraph.training.losses import event_loss


def model(objective, n_out, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Identity(), nn.Identity(), ClassRegMulti(3, n_out, objective, **options))


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def test_binary_loss_is_cross_entropy_of_the_probability():
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]])
    parts = model("classification", 1)
    p = parts(X)[:, 0]
    expected = -torch.where(y[:, 0] == 1, p.log(), (1 - p).log())
    torch.testing.assert_close(event_loss("classification")(parts, X, y), expected)


def test_binary_loss_stays_finite_where_the_probability_is_rounded_to_1():
    parts = model("classification", 1, bias_init=200.0)
    assert float(parts(X)[0].detach()) == 1.0
    losses = event_loss("classification")(parts, X, torch.zeros(5, 1))
    assert torch.isfinite(losses).all()
    assert (losses > 100).all()


def test_multiclass_loss_is_minus_the_log_probability_of_the_label():
    y = torch.tensor([[0.0], [2.0], [1.0], [1.0], [0.0]])
    parts = model("multiclass", 3)
    expected = -parts(X)[torch.arange(5), y[:, 0].long()]
    torch.testing.assert_close(event_loss("multiclass")(parts, X, y), expected)


def test_regression_loss_is_the_mean_square_over_outputs():
    y = torch.randn(5, 2)
    parts = model("regression", 2, y_mean=[1.0, 2.0], y_std=[3.0, 4.0])
    torch.testing.assert_close(event_loss("regression")(parts, X, y), ((parts(X) - y) ** 2).mean(1))


@pytest.mark.parametrize("loss", [nn.L1Loss, nn.L1Loss(), functools.partial(nn.L1Loss), lambda p, y: (p - y).abs()])
def test_a_loss_of_ones_own_is_a_class_an_instance_a_partial_or_a_function(loss):
    y = torch.randn(5, 2)
    parts = model("regression", 2)
    torch.testing.assert_close(event_loss("regression", loss)(parts, X, y), (parts(X) - y).abs().mean(1))


def test_a_loss_that_averages_over_the_batch_is_an_error():
    with pytest.raises(ValueError, match="one number per event"):
        event_loss("regression", lambda p, y: (p - y).square().mean())(model("regression", 1), X, torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"loss must be 'auto' or a loss of .*, got 'atuo': did you mean auto"):
        event_loss("regression", "atuo")


def test_a_loss_object_of_the_caller_stays_as_it_is():
    given = nn.L1Loss()
    event_loss("regression", given)
    assert given.reduction == "mean"


@pytest.mark.parametrize(("objective", "n_out"), [("classification", 1), ("multiclass", 3), ("regression", 1)])
def test_gradients_of_weighted_events_are_those_of_repeated_events(objective, n_out):
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]])
    weights = torch.tensor([3, 1, 0, 2, 1])
    weighted, repeated = model(objective, n_out), model(objective, n_out)
    (weights * event_loss(objective)(weighted, X, y)).sum().backward()
    event_loss(objective)(repeated, X.repeat_interleave(weights, 0), y.repeat_interleave(weights, 0)).sum().backward()
    torch.testing.assert_close(weighted[2].dense.weight.grad, repeated[2].dense.weight.grad)
