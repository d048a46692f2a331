from functools import partial

import pytest
import torch
from torch import nn

from lumigraph.blocks import CatEmbHead, FullyConnected, InteractionNet, MultiBlock, MultiHead

FEAT_MAP = {"a": [0], "b": [1, 2], "c": [3, 4, 5], "d": [3, 4, 5]}  # c and d reach the same columns
SMALL = partial(FullyConnected, depth=1, width=3)


def block(feats_per_block=(["a"], ["b"]), blocks=None, **options):
    blocks = [SMALL] * len(feats_per_block) if blocks is None else blocks
    return MultiBlock(6, FEAT_MAP, blocks, feats_per_block, **options)


def columns_seen(module, x):
    """Which columns of the input each output depends on."""
    return [
        {i for i, g in enumerate(torch.autograd.grad(module(x)[0, k], x, retain_graph=True)[0][0]) if g != 0}
        for k in range(module.get_out_size())
    ]


def test_each_body_sees_its_columns():
    found = columns_seen(block([["a", "c"], ["b"]], act_blocks()), torch.randn(1, 6, requires_grad=True))
    assert found == [{0, 3, 4, 5}] * 3 + [{1, 2}] * 4


def act_blocks():
    return [partial(FullyConnected, depth=1, width=w, act="tanh") for w in (3, 4)]


def test_a_bottleneck_shows_a_body_the_rest():
    body = block([["a", "c"], ["b"]], act_blocks(), bottleneck_sz=2, bottleneck_act="tanh")
    assert columns_seen(body, torch.randn(1, 6, requires_grad=True)) == [{0, 1, 2, 3, 4, 5}] * 7
    assert [tuple(b[0].weight.shape) for b in body.bottleneck_blocks] == [(2, 2), (2, 4)]
    assert isinstance(body.bottleneck_blocks[0][1], nn.Tanh)


def test_the_output_by_hand():
    body = block([["c", "a"], ["b"]], bottleneck_sz=1)
    x = torch.randn(4, 6)
    first = body.blocks[0](torch.cat([x[:, [0, 3, 4, 5]], body.bottleneck_blocks[0](x[:, [1, 2]])], dim=1))
    second = body.blocks[1](torch.cat([x[:, [1, 2]], body.bottleneck_blocks[1](x[:, [0, 3, 4, 5]])], dim=1))
    torch.testing.assert_close(body(x), torch.cat([first, second], dim=1))


def test_a_column_that_several_features_reach_comes_once():
    assert block([["c", "d"], ["b"]]).blocks[0].n_in == 3
    names = [f"{v}_{f}" for v in ("x", "y") for f in ("px", "py")]
    net = partial(InteractionNet, vecs=["x", "y"], feats_per_vec=["px", "py"], intfunc_depth=1, intfunc_width=3,
                  intfunc_out_sz=3, outfunc_depth=1, outfunc_width=3, outfunc_out_sz=5, agg_method="sum")  # fmt: skip
    head = MultiHead(["ht", *names], matrix_head=net, flat_head=CatEmbHead)
    body = MultiBlock(head.get_out_size(), head.feat_map, [SMALL, SMALL], [names, ["ht"]])
    assert [b.n_in for b in body.blocks] == [5, 1]
    assert nn.Sequential(head, body)(torch.rand(3, 5)).shape == (3, 6)


def test_a_multi_block_in_a_multi_block():
    inner = partial(MultiBlock, blocks=[SMALL, SMALL], feats_per_block=[["b"], ["c"]])
    body = block([["b", "c"], ["a"]], [inner, SMALL])
    assert body.blocks[0].feat_map == {"b": [0, 1], "c": [2, 3, 4]}
    seen = columns_seen(block([["b", "c"]], [partial(MultiBlock, blocks=act_blocks(), feats_per_block=[["b"], ["c"]])]),
                        torch.randn(1, 6, requires_grad=True))  # fmt: skip
    assert seen == [{1, 2}] * 3 + [{3, 4, 5}] * 4


@pytest.mark.parametrize(
    ("options", "width"), [({"bottleneck": True}, 1), ({"bottleneck_sz": 4, "bottleneck": True}, 4)]
)
def test_bottleneck_is_short_for_one_neuron(options, width):
    assert block(**options).bottleneck_blocks[0][0].out_features == width


def test_a_body_that_gets_everything_has_no_bottleneck():
    body = block([["a", "b", "c"], ["a"]], bottleneck_sz=2)
    assert body.blocks[0].n_in == 6
    assert not list(body.bottleneck_blocks[0].parameters())
    assert body(torch.rand(2, 6)).shape == (2, 6)


def test_freeze_reaches_the_bottlenecks():
    assert not any(p.requires_grad for p in block(bottleneck_sz=2, freeze=True).parameters())


def test_a_body_keeps_the_look_ups_that_it_brings():
    ones = partial(FullyConnected, depth=1, width=3, lookup_init=lambda *_: lambda w: w.fill_(1.0))
    body = block(blocks=[ones, SMALL], lookup_init=lambda *_: lambda w: w.fill_(2.0))
    assert [b.layers[0][0].weight[0, 0].item() for b in body.blocks] == [1.0, 2.0]


def test_columns_are_no_part_of_the_state_but_move_with_it():
    body = block(bottleneck_sz=1)
    assert not any("index" in name for name in body.state_dict())
    assert any("index" in name for name, _ in body.named_buffers())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"feats_per_block": [["a"], ["bb"]]},
            r"feats_per_block\[1\] must name features, got 'bb': there are: a, b, c, d",
        ),
        ({"feats_per_block": [["a"], []]}, r"feats_per_block\[1\] must name at least one feature"),
        ({"feats_per_block": [["a"]], "blocks": [SMALL, SMALL]}, "got 1 lists and 2 blocks"),
        ({"feats_per_block": []}, "got 0 lists and 0 blocks"),
        ({"feats_per_block": ["a", ["b"]]}, r"feats_per_block\[0\] must be a list of different names, got 'a'"),
        ({"feats_per_block": "ab"}, "feats_per_block must be a list with one entry per body"),
        ({"blocks": [SMALL, "FullyConnected"]}, r"blocks\[1\] must be a class of bodies, or a partial of one"),
        ({"blocks": [lambda **options: 3, SMALL]}, r"blocks\[0\] must be a class of bodies, or a partial of one"),
        ({"bottleneck_sz": -1}, "bottleneck_sz must be at least 0, got -1"),
    ],
)
def test_misuse(options, message, plain_python):
    with pytest.raises((ValueError, TypeError), match=message):
        block(**options)


def test_a_body_may_live_on_its_bottleneck_alone():
    assert block([["a"], []], bottleneck_sz=2)(torch.rand(2, 6)).shape == (2, 6)


def test_it_has_no_layers_to_index():
    with pytest.raises(TypeError, match="MultiBlock is not a sequence of layers"):
        block()[0]
