import copy
import math
import pickle

import pytest
import torch
from torch import nn

from lumigraph.nn import BatchNorm, Dense, lookup_act, lookup_uniform_init, mlp
from lumigraph.nn.mlp import check_dropout


def kinds(layers):
    return [type(layer) for layer in layers]


def twos(act, fan_in, fan_out):
    """Initialise with the number of inputs and outputs that were asked for."""
    return lambda weight: weight.fill_(100 * fan_in + fan_out)


class TestDense:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, [nn.Linear, nn.ReLU]),
            ({"act": "linear"}, [nn.Linear]),
            ({"act": "linear", "norm": True}, [nn.Linear, BatchNorm]),
            ({"act": "tanh", "norm": True, "dropout": 0.1}, [nn.Linear, nn.Tanh, BatchNorm, nn.Dropout]),
            ({"act": "selu", "dropout": 0.1}, [nn.Linear, nn.SELU, nn.AlphaDropout]),
            ({"act": "swish", "dropout": 0}, [nn.Linear, nn.SiLU]),
            ({"act": "swish", "dropout": None}, [nn.Linear, nn.SiLU]),
        ],
    )
    def test_order_is_linear_activation_norm_dropout(self, options, expected):
        assert kinds(Dense(3, 4, **options)) == expected

    def test_dropout_has_the_rate(self):
        assert Dense(3, 4, dropout=0.3)[-1].p == 0.3

    def test_computes_the_activated_linear_map(self):
        layer = Dense(3, 4, act="tanh").double()
        x = torch.randn(5, 3, dtype=torch.float64)
        expected = (x @ layer[0].weight.T + layer[0].bias).tanh()
        torch.testing.assert_close(layer(x), expected, rtol=1e-14, atol=1e-14)

    def test_norm_comes_behind_the_activation(self):
        layer = Dense(3, 4, norm=True)
        out = layer(torch.randn(1000, 3))
        torch.testing.assert_close(out.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
        torch.testing.assert_close(out.var(0, correction=0), torch.ones(4), rtol=1e-3, atol=0)

    def test_weight_is_drawn_by_the_lookup_and_the_bias_is_zero(self):
        weight = Dense(300, 400, act="relu")[0].weight.detach()
        assert float(weight.std()) == pytest.approx(math.sqrt(2 / 300), rel=0.01)
        weight = Dense(300, 400, act="relu", lookup_init=lookup_uniform_init)[0].weight.detach()
        assert float(weight.abs().max()) == pytest.approx(math.sqrt(6 / 300), rel=1e-3)
        assert not Dense(3, 4)[0].bias.any()

    def test_own_lookups_are_used(self):
        layer = Dense(3, 4, act="mine", lookup_init=twos, lookup_act=lambda act: nn.Softplus(threshold=len(act)))
        assert bool((layer[0].weight == 304).all())
        assert layer[1].threshold == 4

    def test_reset_parameters(self):
        layer = Dense(3, 4, act="prelu", norm=True)
        before = copy.deepcopy(layer.state_dict())
        for parameter in layer.parameters():
            nn.init.constant_(parameter, 7)
        layer(torch.randn(9, 3))
        layer.reset_parameters()
        after = layer.state_dict()
        assert not torch.equal(after["0.weight"], before["0.weight"])
        assert not bool((after["0.weight"] == 7).any())
        for name in set(before) - {"0.weight"}:
            assert torch.equal(after[name], before[name]), name

    @pytest.mark.parametrize("sizes", [(0, 4), (3, 0), (3, -1)])
    def test_widths_that_are_none(self, sizes):
        with pytest.raises(ValueError, match=f"at least one input and one output, got {sizes[0]} -> {sizes[1]}"):
            Dense(*sizes)

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1, 2.0, math.nan, math.inf])
    def test_dropout_rates_that_are_none(self, rate):
        with pytest.raises(ValueError, match="dropout must be a rate from 0 to below 1, got"):
            Dense(3, 4, dropout=rate)

    def test_check_dropout(self):
        assert [check_dropout("do", rate) for rate in (None, 0, 0.0, 0.5)] == [0.0, 0.0, 0.0, 0.5]
        with pytest.raises(ValueError, match=r"^do_cat must be"):
            check_dropout("do_cat", 1.5)

    def test_unknown_activation(self):
        with pytest.raises(ValueError, match="act must be an activation, got 'rellu': did you mean"):
            Dense(3, 4, act="rellu")


class TestMlp:
    def test_widths_one_after_the_other(self):
        net = mlp([3, 8, 5, 2], act="tanh")
        assert [(layer[0].in_features, layer[0].out_features) for layer in net] == [(3, 8), (8, 5), (5, 2)]

    def test_every_layer_is_activated_the_last_included(self):
        net = mlp([3, 8, 2], act="tanh", norm=True, dropout=0.5)
        assert [kinds(layer) for layer in net] == [[nn.Linear, nn.Tanh, BatchNorm, nn.Dropout]] * 2

    def test_computes_the_chain(self):
        net = mlp([3, 8, 2], act="sigmoid").double()
        x = torch.randn(5, 3, dtype=torch.float64)
        h = x
        for layer in net:
            h = 1 / (1 + torch.exp(-(h @ layer[0].weight.T + layer[0].bias)))
        torch.testing.assert_close(net(x), h, rtol=1e-14, atol=1e-14)

    def test_options_reach_every_layer(self):
        net = mlp([3, 8, 2], lookup_init=twos, lookup_act=lambda act: lookup_act("tanh"))
        assert [float(layer[0].weight.detach().mean()) for layer in net] == [308, 802]
        assert all(isinstance(layer[1], nn.Tanh) for layer in net)

    @pytest.mark.parametrize("channels", [[], [3]])
    def test_no_layer_is_an_error(self, channels):
        with pytest.raises(ValueError, match="at least one layer, got the widths"):
            mlp(channels)

    def test_a_width_of_zero_is_an_error(self):
        with pytest.raises(ValueError, match="3 -> 0"):
            mlp([3, 0, 2])

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    def test_a_copy_gives_the_same(self, duplicate):
        net = mlp([3, 8, 2], act="swish", norm=True)
        twin, x = duplicate(net), torch.randn(6, 3)
        assert torch.equal(twin(x), net(x))
        twin[0].reset_parameters()
        assert not torch.equal(twin(x), net(x))


class TestBatchNorm:
    @pytest.mark.parametrize("rows", [2, 3, 50])
    def test_is_pytorchs_for_two_rows_and_more(self, rows):
        ours, theirs = BatchNorm(4), nn.BatchNorm1d(4)
        for _ in range(3):
            x = torch.randn(rows, 4)
            assert torch.equal(ours(x), theirs(x))
        assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
        x = torch.randn(1, 4)
        assert torch.equal(ours.eval()(x), theirs.eval()(x))

    @pytest.mark.parametrize("rows", [0, 1])
    def test_fewer_than_two_rows_use_and_leave_the_running_statistics(self, rows):
        norm = BatchNorm(4)
        norm(3 + 2 * torch.randn(100, 4))
        before = copy.deepcopy(norm.state_dict())
        x = torch.randn(rows, 4)
        found = norm(x)
        assert all(torch.equal(norm.state_dict()[name], before[name]) for name in before)
        torch.testing.assert_close(found, norm.eval()(x))
        assert found.shape == (rows, 4)

    @pytest.mark.parametrize("rows", [0, 1])
    def test_fewer_than_two_rows_have_finite_gradients(self, rows):
        norm, x = BatchNorm(4), torch.randn(rows, 4, requires_grad=True)
        norm(x).sum().backward()
        assert all(p.grad.isfinite().all() for p in (x, *norm.parameters()))
        assert norm.bias.grad.tolist() == [rows] * 4
