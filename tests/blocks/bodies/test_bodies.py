import copy

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph.blocks import CatEmbHead, FullyConnected, lookup_normal_init, lookup_uniform_init
from lumigraph.nn import BatchNorm

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
FEAT_MAP = {"ht": [0], "met": [1], "aplanarity": [2]}


def linears(block):
    return [module for module in block.modules() if isinstance(module, nn.Linear)]


def widths(block):
    return [linear.out_features for linear in linears(block)]


def kinds(block):
    return [type(module).__name__ for module in block]


def by_numpy(linear, x):
    """One activated layer, tanh(W x + b)."""
    return np.tanh(x @ linear.weight.detach().numpy().T + linear.bias.detach().numpy())


def init_of_any_name(act, fan_in, fan_out):
    return lookup_normal_init("relu", fan_in, fan_out)


class TestWidths:
    @pytest.mark.parametrize("dense", [False, True], ids=["plain", "dense"])
    @pytest.mark.parametrize(
        ("depth", "width", "growth_rate", "expected"),
        [
            (4, 10, -0.3, [10, 7, 4, 1]),
            (4, 7, 0.5, [7, 10, 14, 17]),
            (5, 6, -0.5, [6, 3, 1, 1, 1]),
            (3, 8, 0, [8, 8, 8]),
            (1, 8, 3, [8]),
        ],
    )
    def test_layers_grow_or_shrink_down_to_one(self, depth, width, growth_rate, expected, dense):
        block = FullyConnected(3, FEAT_MAP, depth, width, growth_rate=growth_rate, dense=dense)
        assert widths(block) == expected
        assert block.get_out_size() == expected[-1]
        assert block(torch.randn(2, 3)).shape == (2, expected[-1])

    @pytest.mark.parametrize(("depth", "count"), [(1, 1), (2, 3), (3, 3), (4, 5), (5, 5)])
    def test_residual_blocks_have_an_odd_number_of_layers(self, depth, count):
        block = FullyConnected(3, FEAT_MAP, depth, 8, res=True)
        assert widths(block) == [8] * count

    def test_residual_blocks_do_not_grow(self):
        block = FullyConnected(3, FEAT_MAP, 4, 8, res=True, growth_rate=0.5)
        assert set(widths(block)) == {block.get_out_size()} == {8}
        assert block(torch.randn(2, 3)).shape == (2, 8)

    def test_a_dense_block_sees_the_input_and_all_layers_before(self):
        block = FullyConnected(3, FEAT_MAP, 4, 10, dense=True, growth_rate=-0.3)
        assert [linear.in_features for linear in linears(block)] == [3, 3 + 10, 3 + 10 + 7, 3 + 10 + 7 + 4]
        assert block.get_out_size() == 1

    def test_parameters_are_named_by_depth(self):
        names = list(FullyConnected(3, FEAT_MAP, 2, 4).state_dict())
        assert names == ["layers.0.0.weight", "layers.0.0.bias", "layers.1.0.weight", "layers.1.0.bias"]

    def test_it_remembers_what_it_was_built_for(self):
        block = FullyConnected(3, FEAT_MAP, 2, 4, do=0.1, bn=True, act="swish")
        assert (block.n_in, block.feat_map, block.depth, block.width) == (3, FEAT_MAP, 2, 4)
        assert (block.do, block.bn, block.act) == (0.1, True, "swish")


class TestConnections:
    @pytest.fixture
    def x(self):
        return torch.randn(5, 3, dtype=torch.float64)

    def test_plain_is_one_layer_after_the_other(self, x):
        block = FullyConnected(3, FEAT_MAP, 3, 4, act="tanh", growth_rate=0.3).double()
        expected = x.numpy()
        for linear in linears(block):
            expected = by_numpy(linear, expected)
        np.testing.assert_allclose(block(x).detach().numpy(), expected, **CLOSE)

    def test_res_adds_the_input_of_each_pair_to_its_activated_output(self, x):
        block = FullyConnected(3, FEAT_MAP, 5, 4, act="tanh", res=True).double()
        first, *pairs = linears(block)
        expected = by_numpy(first, x.numpy())
        for one, two in zip(pairs[::2], pairs[1::2], strict=True):
            expected = expected + by_numpy(two, by_numpy(one, expected))
        np.testing.assert_allclose(block(x).detach().numpy(), expected, **CLOSE)

    def test_res_normalises_after_the_addition(self, x):
        block = FullyConnected(3, FEAT_MAP, 3, 4, act="tanh", res=True, bn=True).double().eval()
        for module in block.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)

        def norm(module, y):
            mean, var = module.running_mean.numpy(), module.running_var.numpy()
            return (y - mean) / np.sqrt(var + 1e-5)

        zero, one, two = linears(block)
        bn_zero, bn_one, bn_sum = (m for m in block.modules() if isinstance(m, nn.BatchNorm1d))
        y = norm(bn_zero, by_numpy(zero, x.numpy()))
        expected = norm(bn_sum, y + by_numpy(two, norm(bn_one, by_numpy(one, y))))
        np.testing.assert_allclose(block(x).detach().numpy(), expected, **CLOSE)

    def test_dense_puts_the_newest_output_first(self, x):
        block = FullyConnected(3, FEAT_MAP, 3, 4, act="tanh", dense=True).double()
        first, second, third = linears(block)
        seen = np.concatenate([by_numpy(first, x.numpy()), x.numpy()], axis=1)
        seen = np.concatenate([by_numpy(second, seen), seen], axis=1)
        np.testing.assert_allclose(block(x).detach().numpy(), by_numpy(third, seen), **CLOSE)


class TestLayers:
    def test_order_is_linear_activation_normalisation_dropout(self):
        block = FullyConnected(3, FEAT_MAP, 2, 4, act="relu", bn=True, do=0.1)
        assert [kinds(layer) for layer in block] == [["Linear", "ReLU", "BatchNorm", "Dropout"]] * 2

    def test_linear_adds_no_activation(self):
        block = FullyConnected(3, FEAT_MAP, 1, 4, act="linear", bn=True)
        assert kinds(block[0]) == ["Linear", "BatchNorm"]

    def test_selu_drops_out_in_its_own_way(self):
        block = FullyConnected(3, FEAT_MAP, 1, 4, act="selu", do=0.25)
        assert kinds(block[0]) == ["Linear", "SELU", "AlphaDropout"]
        assert block[0][2].p == 0.25

    @pytest.mark.parametrize("rate", [0, 0.0, None])
    def test_no_rate_is_no_dropout(self, rate):
        assert kinds(FullyConnected(3, FEAT_MAP, 1, 4, do=rate)[0]) == ["Linear", "ReLU"]

    def test_the_layers_of_a_residual_pair(self):
        block = FullyConnected(3, FEAT_MAP, 3, 4, res=True, bn=True, do=0.1)
        assert kinds(block[0]) == ["Linear", "ReLU", "BatchNorm", "Dropout"]
        # the second of the pair is normalised once it is added
        assert kinds(block[1]) == ["Linear", "ReLU", "BatchNorm", "Dropout", "Linear", "ReLU", "Dropout"]
        assert len(block.res_bns) == 1

    def test_a_residual_block_without_bn_has_no_batch_normalisation(self):
        block = FullyConnected(3, FEAT_MAP, 5, 4, res=True, bn=False)
        assert not any(isinstance(module, nn.BatchNorm1d) for module in block.modules())
        alone = torch.randn(1, 3)
        torch.testing.assert_close(block.train()(alone), copy.deepcopy(block).eval()(alone))

    def test_batch_normalisation_has_the_usual_constants(self):
        norm = FullyConnected(3, FEAT_MAP, 1, 4, bn=True)[0][2]
        assert isinstance(norm, BatchNorm)
        assert (norm.eps, norm.momentum, norm.affine) == (1e-5, 0.1, True)


class TestInitialisation:
    def test_biases_start_at_zero(self):
        for kind in ({}, {"res": True}, {"dense": True}):
            block = FullyConnected(3, FEAT_MAP, 3, 4, **kind)
            assert all(bool((linear.bias == 0).all()) for linear in linears(block))

    @pytest.mark.parametrize("kind", [{}, {"res": True}, {"dense": True}], ids=["plain", "res", "dense"])
    def test_every_layer_is_drawn_by_lookup_init(self, kind):
        asked = []

        def lookup_init(act, fan_in, fan_out):
            asked.append((act, fan_in, fan_out))
            return lambda weight: nn.init.constant_(weight, 0.5)

        block = FullyConnected(3, FEAT_MAP, 3, 4, act="tanh", lookup_init=lookup_init, **kind)
        assert asked == [("tanh", linear.in_features, linear.out_features) for linear in linears(block)]
        assert all(bool((linear.weight == 0.5).all()) for linear in linears(block))

    def test_every_layer_is_activated_by_lookup_act(self):
        asked = []

        def lookup_act(act):
            asked.append(act)
            return nn.Tanh()

        block = FullyConnected(3, FEAT_MAP, 3, 4, act="mine", lookup_act=lookup_act, lookup_init=init_of_any_name)
        assert asked == ["mine"] * 3
        assert all(isinstance(layer[1], nn.Tanh) for layer in block)


class TestRefusals:
    def test_res_and_dense_exclude_each_other(self):
        with pytest.raises(ValueError, match="res=True and dense=True exclude each other"):
            FullyConnected(3, FEAT_MAP, 2, 4, res=True, dense=True)

    @pytest.mark.parametrize(("depth", "width"), [(0, 4), (-1, 4), (2, 0)])
    def test_depth_and_width_are_positive(self, depth, width):
        with pytest.raises(ValueError, match=r"(depth|width) must be at least 1, got (0|-1)"):
            FullyConnected(3, FEAT_MAP, depth, width)

    def test_feat_map_goes_with_the_input(self):
        for columns in ([3], [-1], [0.5], 2):
            with pytest.raises((ValueError, TypeError), match="feat_map"):
                FullyConnected(3, {"a": columns}, 2, 4)

    def test_there_is_an_input(self):
        with pytest.raises(ValueError, match="n_in must be at least 1, got 0"):
            FullyConnected(0, {}, 2, 4)

    def test_an_unknown_activation_is_named(self):
        with pytest.raises(ValueError, match=r"act must be an activation, got 'rellu': did you mean .*relu"):
            FullyConnected(3, FEAT_MAP, 2, 4, act="rellu")

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
    def test_a_dropout_rate_lies_below_one(self, rate):
        with pytest.raises(ValueError, match="rate from 0 to below 1"):
            FullyConnected(3, FEAT_MAP, 2, 4, do=rate)

    def test_an_unknown_keyword_is_a_type_error(self):
        with pytest.raises(TypeError, match="growth"):
            FullyConnected(3, FEAT_MAP, 2, 4, growth=0.3)


class TestExamplesOfTheReference:
    head = CatEmbHead(cont_feats=[f"feature{i}" for i in range(32)])

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"depth": 4, "width": 100, "act": "relu"}, [100, 100, 100, 100]),
            ({"depth": 4, "width": 200, "act": "relu", "growth_rate": -0.3}, [200, 140, 80, 20]),
            ({"depth": 4, "width": 100, "act": "swish", "do": 0.1, "res": True}, [100] * 5),
            (
                {"depth": 6, "width": 32, "act": "selu", "dense": True, "growth_rate": 0.5},
                [32, 48, 64, 80, 96, 112],
            ),
            ({"depth": 6, "width": 50, "act": "prelu", "bn": True, "lookup_init": lookup_uniform_init}, [50] * 6),
        ],
    )
    def test_it_runs_as_it_stands(self, arguments, expected):
        body = FullyConnected(n_in=32, feat_map=self.head.feat_map, **arguments)
        assert widths(body) == expected
        y = body(self.head(torch.randn(7, 32)))
        assert y.shape == (7, body.get_out_size()) == (7, expected[-1])
        assert bool(y.isfinite().all())
