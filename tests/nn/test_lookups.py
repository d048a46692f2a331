import math
import pickle
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import erf, expit, log_softmax, softmax
from torch import nn

from lumigraph.nn import lookup_act, lookup_normal_init, lookup_uniform_init
from lumigraph.nn.lookups import Act

FAN_IN, FAN_OUT = 300, 400
#: standard deviation of 120 000 draws, and their largest value against the bound
SPREAD, EDGE = 0.01, 1e-3

KAIMING = ("relu", "prelu", "leaky_relu", "elu", "gelu", "silu", "swish", "mish")
XAVIER = ("tanh", "sigmoid", "softmax", "logsoftmax", "linear")
UNKNOWN = ["swishy", "relu6", "ReLU", "", "leakyrelu", "my_swish_too"]

BY_HAND = {
    "relu": lambda x: x.clip(0),
    "prelu": lambda x: x.clip(0) + 0.25 * x.clip(max=0),
    "leaky_relu": lambda x: x.clip(0) + 0.01 * x.clip(max=0),
    "elu": lambda x: x.clip(0) + np.expm1(x.clip(max=0)),
    "selu": lambda x: 1.0507009873554805 * (x.clip(0) + 1.6732632423543772 * np.expm1(x.clip(max=0))),
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "swish": lambda x: x * expit(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "tanh": np.tanh,
    "sigmoid": expit,
    "softmax": lambda x: softmax(x, axis=-1),
    "logsoftmax": lambda x: log_softmax(x, axis=-1),
    "linear": lambda x: x,
}


def drawn(lookup, act, *fans):
    weight = torch.full((FAN_OUT, FAN_IN), math.nan)
    lookup(act, *fans)(weight)
    return weight


def test_every_name_is_tested():
    assert set(get_args(Act)) == set(BY_HAND) == {*KAIMING, *XAVIER, "selu"}


class TestActivations:
    @pytest.mark.parametrize("act", BY_HAND)
    @pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 5, 3)])
    def test_values(self, act, shape):
        # softmax included: over the last axis, however many there are
        x = np.random.default_rng(0).normal(scale=3, size=shape)
        found = lookup_act(act).double()(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(found, BY_HAND[act](x), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("act", ["softmax", "logsoftmax"])
    def test_softmax_is_over_the_last_axis(self, act):
        found = lookup_act(act)(torch.randn(2, 3, 4))
        total = (found.exp() if act == "logsoftmax" else found).sum(-1)
        torch.testing.assert_close(total, torch.ones(2, 3))

    def test_prelu_learns_one_slope_per_layer(self):
        (slope,) = lookup_act("prelu").parameters()
        assert slope.tolist() == [0.25]
        assert lookup_act("prelu").weight is not lookup_act("prelu").weight

    @pytest.mark.parametrize("act", BY_HAND)
    def test_is_a_new_layer_each_time_and_pickles(self, act):
        layer = lookup_act(act)
        assert isinstance(layer, nn.Module)
        assert lookup_act(act) is not layer
        x = torch.randn(4, 3)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))

    @pytest.mark.parametrize("act", BY_HAND)
    def test_does_not_change_its_input(self, act):
        x = torch.randn(4, 3)
        before = x.clone()
        lookup_act(act)(x)
        assert torch.equal(x, before)


@pytest.mark.parametrize("lookup", [lookup_act, lookup_normal_init, lookup_uniform_init])
class TestUnknownNames:
    @pytest.mark.parametrize("act", UNKNOWN)
    def test_are_an_error_with_the_list(self, lookup, act):
        # in LUMIN any string that contains "swish" passes
        with pytest.raises(
            ValueError, match=rf"act must be an activation, got '{act}': .*\(known: relu, prelu, .*linear\)"
        ):
            lookup(act)

    def test_the_nearest_is_named(self, lookup):
        with pytest.raises(ValueError, match=r"act must be an activation, got 'leakyrelu': did you mean leaky_relu"):
            lookup("leakyrelu")


class TestNormalInit:
    @pytest.mark.parametrize(
        ("act", "std"),
        [
            *((act, math.sqrt(2 / FAN_IN)) for act in KAIMING),
            *((act, math.sqrt(2 / (FAN_IN + FAN_OUT))) for act in XAVIER),
            ("selu", 1 / math.sqrt(FAN_IN)),
        ],
    )
    @pytest.mark.parametrize("fans", [(), (FAN_IN, FAN_OUT)])
    def test_spread(self, act, std, fans):
        weight = drawn(lookup_normal_init, act, *fans)
        assert float(weight.std()) == pytest.approx(std, rel=SPREAD)
        assert abs(float(weight.mean())) < SPREAD * std
        # a normal distribution, not a uniform one of the same spread: its fourth moment is 3, not 1.8
        assert float((weight / std).pow(4).mean()) == pytest.approx(3, rel=0.05)


class TestUniformInit:
    @pytest.mark.parametrize(
        ("act", "bound"),
        [
            *((act, math.sqrt(6 / FAN_IN)) for act in KAIMING),
            *((act, math.sqrt(6 / (FAN_IN + FAN_OUT))) for act in XAVIER),
            ("selu", 1 / math.sqrt(FAN_IN)),
        ],
    )
    @pytest.mark.parametrize("fans", [(), (FAN_IN, FAN_OUT)])
    def test_bound(self, act, bound, fans):
        weight = drawn(lookup_uniform_init, act, *fans)
        assert float(weight.abs().max()) <= bound * (1 + 1e-6)
        assert float(weight.abs().max()) == pytest.approx(bound, rel=EDGE)
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=SPREAD)
        assert abs(float(weight.mean())) < SPREAD * bound

    def test_selu_has_a_third_of_the_variance_of_the_normal_draw(self):
        ratio = drawn(lookup_uniform_init, "selu").var() / drawn(lookup_normal_init, "selu").var()
        assert float(ratio) == pytest.approx(1 / 3, rel=2 * SPREAD)


@pytest.mark.parametrize("lookup", [lookup_normal_init, lookup_uniform_init])
class TestConvolutions:
    def test_selu_needs_no_fan_in(self, lookup):
        # inputs of a convolution: channels times kernel
        weight = torch.full((200, 100, 3), math.nan)
        lookup("selu")(weight)
        scale = 1 / math.sqrt(300) / (1 if lookup is lookup_normal_init else math.sqrt(3))
        assert float(weight.std()) == pytest.approx(scale, rel=2 * SPREAD)

    def test_selu_takes_the_fan_in_it_is_given(self, lookup):
        weight = torch.full((FAN_OUT, FAN_IN), math.nan)
        lookup("selu", 3)(weight)
        scale = 1 / math.sqrt(3) / (1 if lookup is lookup_normal_init else math.sqrt(3))
        assert float(weight.std()) == pytest.approx(scale, rel=SPREAD)

    def test_relu_counts_channels_times_kernel(self, lookup):
        weight = torch.full((200, 100, 3), math.nan)
        lookup("relu")(weight)
        assert float(weight.std()) == pytest.approx(math.sqrt(2 / 300), rel=2 * SPREAD)
