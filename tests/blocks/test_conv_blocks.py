import pytest
import torch
from torch import nn

from lumigraph.blocks import AbsConv1dHead, Conv1DBlock, Res1DBlock, ResNeXt1DBlock, lookup_uniform_init
from lumigraph.blocks.conv_blocks import convolve

FEATS = ["px", "py", "E"]


def names(n):
    vecs = [f"jet{i}" for i in range(n)]
    return {"cont_feats": [f"{v}_{f}" for v in vecs for f in FEATS], "vecs": vecs, "feats_per_vec": FEATS}


def generic(module):
    """No bias is 0, no batch normalisation the identity."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for m in module.modules():
            if isinstance(m, nn.BatchNorm1d):
                m.running_mean.normal_()
                m.running_var.uniform_(0.5, 2.0)
    return module.double().eval()


BLOCKS = {
    "plain": lambda **k: Conv1DBlock(4, 6, **{"kernel_sz": 3, **k}),
    "residual": lambda **k: Res1DBlock(4, 6, **{"kernel_sz": 3, **k}),
    "residual, same channels": lambda **k: Res1DBlock(4, 4, **{"kernel_sz": 3, **k}),
    "ResNeXt": lambda **k: ResNeXt1DBlock(4, 2, 3, 6, **{"kernel_sz": 3, **k}),
}
every = pytest.mark.parametrize("kind", BLOCKS)


# ---------------------------------------------------------------------------------------------------- convolutions


@every
@pytest.mark.parametrize("kernel_sz", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_auto_padding_keeps_the_columns_for_every_kernel(kind, kernel_sz, stride):
    block = BLOCKS[kind](kernel_sz=kernel_sz, stride=stride)
    assert block(torch.rand(2, 4, 7)).shape[2] == -(-7 // stride)


def test_a_convolution_against_a_loop():
    block = generic(Conv1DBlock(2, 3, kernel_sz=4, stride=2, act="linear"))
    x = torch.randn(2, 2, 7).double()
    weight, bias = block.layers[0].weight, block.layers[0].bias
    for o in range(4):
        expected = bias.clone()
        for k in range(4):
            column = 2 * o + k - 1  # one column of zeros in front, two behind
            if 0 <= column < 7:
                expected = expected + x[:, :, column] @ weight[:, :, k].T
        torch.testing.assert_close(block(x)[:, :, o], expected)


def test_the_order_of_layers():
    assert [type(m).__name__ for m in Conv1DBlock(2, 3, 3, bn=True).layers] == ["_Conv", "ReLU", "BatchNorm"]
    for layer in Res1DBlock(2, 3, 3, bn=True).layers:
        assert [type(m).__name__ for m in layer] == ["BatchNorm", "ReLU", "_Conv"]
    assert len(ResNeXt1DBlock(2, 3, 4, 5, 3).layers) == 3


def test_a_residual_block_adds_its_input():
    block = Res1DBlock(4, 4, kernel_sz=3)
    with torch.no_grad():
        block.layers[1][-1].weight.zero_()
    x = torch.randn(2, 4, 5)
    assert block.shortcut is None
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("options", [{"out_c": 6}, {"stride": 2}])
def test_the_input_is_added_through_a_convolution_where_shapes_change(options):
    block = Res1DBlock(**{"in_c": 4, "out_c": 4, "kernel_sz": 3, **options})
    with torch.no_grad():
        block.layers[1][-1].weight.zero_()
    x = torch.randn(2, 4, 6)
    weight = block.shortcut.weight[:, :, 0]
    expected = torch.einsum("oc,bcs->bos", weight, x[:, :, :: options.get("stride", 1)])
    torch.testing.assert_close(block(x), expected)
    assert not block.shortcut.bias.any()


def test_groups_do_not_mix():
    block = ResNeXt1DBlock(4, 2, 3, 6, kernel_sz=3)
    assert block.layers[1][-1].weight.shape == (6, 2, 3)


@every
@pytest.mark.parametrize("act", ["selu", "swish", "prelu", "tanh", "linear"])
def test_every_activation_builds(kind, act):
    assert bool(BLOCKS[kind](act=act, bn=True)(torch.randn(3, 4, 5)).isfinite().all())


@every
def test_weights_start_as_lookup_init_says_and_biases_at_zero(kind):
    block = BLOCKS[kind](lookup_init=lambda act, fan_in, fan_out: lambda w: w.fill_(fan_in), act="selu")
    for conv in (m for m in block.modules() if isinstance(m, nn.Conv1d)):
        assert not conv.bias.any()
        assert bool((conv.weight == conv.weight[0].numel()).all())


@every
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_sz": 0}, "kernel_sz must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"padding": -1}, "padding must be 'auto' or at least 0 columns, got -1"),
    ],
)
def test_numbers_out_of_range(kind, options, message):
    with pytest.raises(ValueError, match=message):
        BLOCKS[kind](**options)


def test_a_padding_that_changes_the_columns_cannot_be_residual():
    with pytest.raises(ValueError, match=r"padding must keep the number of columns with kernel_sz=3, .* got 0"):
        Res1DBlock(4, 4, 3, padding=0)
    with pytest.raises(ValueError, match="inter_c must be at least 1, got 0"):
        ResNeXt1DBlock(4, 0, 4, 4, 3)
    assert Conv1DBlock(4, 4, 3, padding=0)(torch.rand(1, 4, 5)).shape == (1, 4, 3)
    with pytest.raises(ValueError, match="kernel_sz must be at most the 2 columns, padding included, got 3"):
        Conv1DBlock(4, 4, 3, padding=0)(torch.rand(1, 4, 2))


@every
@pytest.mark.parametrize("x", [None, torch.zeros(4, 5), torch.zeros(2, 3, 5), torch.zeros(2, 4, 5).long()])
def test_what_are_no_columns_of_events(kind, x, plain_python):
    with pytest.raises(ValueError, match=r"x must be a floating-point tensor \(events, 4, columns\)"):
        BLOCKS[kind]()(x)


@every
@pytest.mark.parametrize("mask", [[True], torch.ones(2, 5), torch.ones(2, 4, dtype=torch.bool)])
def test_what_is_no_mask(kind, mask, plain_python):
    with pytest.raises(ValueError, match=r"mask must be a boolean tensor of the shape \(2, 5\)"):
        BLOCKS[kind]()(torch.zeros(2, 4, 5), mask)


@every
def test_blocks_compile_and_export(kind, plain_python):
    block, x = generic(BLOCKS[kind](bn=True, stride=2)), torch.randn(3, 4, 7).double()
    expected = block(x)
    torch.testing.assert_close(torch.compile(block, fullgraph=True, backend="aot_eager")(x), expected)
    exported = torch.export.export(block, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
    torch.testing.assert_close(exported(x[:2]), expected[:2])


# --------------------------------------------------------------------------------------------------- absent columns


@every
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_sz", [1, 2, 3, 4])
@pytest.mark.parametrize("present", [1, 2, 3, 5])
def test_empty_slots_are_like_what_lies_beyond_the_end(kind, stride, kernel_sz, present):
    block = generic(BLOCKS[kind](stride=stride, kernel_sz=kernel_sz, act="swish", bn=True))
    x = torch.randn(2, 4, 9).double()
    mask = torch.arange(9).expand(2, 9) < present
    expected = block(x[:, :, :present])
    y, there = block.convolve(x * mask.unsqueeze(1), mask)
    torch.testing.assert_close(y[:, :, : expected.size(2)], expected)
    assert there.sum(1).tolist() == [expected.size(2)] * 2
    assert not y[:, :, expected.size(2) :].any()


@every
def test_a_particle_behind_a_hole_is_not_lost_by_a_stride(kind):
    block = generic(BLOCKS[kind](stride=2))
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 5] = True
    assert block.convolve(torch.randn(1, 4, 9).double() * mask.unsqueeze(1), mask)[1].tolist() == [
        [False, False, True, False, False]
    ]


@every
def test_batch_normalisation_counts_what_is_there(kind):
    short, long = BLOCKS[kind](bn=True).double(), BLOCKS[kind](bn=True).double()
    long.load_state_dict(short.state_dict())
    x = torch.randn(3, 4, 9).double()
    mask = torch.arange(9).expand(3, 9) < 4
    expected = short(x[:, :, :4])
    torch.testing.assert_close(long(x * mask.unsqueeze(1), mask)[:, :, :4], expected)
    for mine, theirs in zip(long.buffers(), short.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool1d(1), nn.AdaptiveMaxPool1d(1)])
def test_pooling_to_one_column_counts_what_is_there(pool):
    x = torch.randn(3, 4, 6) - 10.0
    mask = torch.tensor([[True, False, True, False, False, False], [False] * 6, [True] * 6])
    y, _ = convolve(pool, x * mask.unsqueeze(1), mask)
    torch.testing.assert_close(y[0], pool(x[0][:, [0, 2]]))
    torch.testing.assert_close(y[2], pool(x[2]))
    assert not y[1].any()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv1d(4, 5, 3),
        nn.Conv1d(4, 5, 3, padding=1),
        nn.Conv1d(4, 5, 3, dilation=2),
        nn.Conv1d(4, 5, 3, padding="same"),
        nn.Conv1d(4, 5, 5, padding="valid", stride=2),
    ],
    ids=str,
)
def test_convolutions_of_torch_are_masked_too(conv):
    x, mask = torch.randn(1, 4, 9), torch.arange(9).expand(1, 9) < 6
    expected = conv(x[:, :, :6])
    y, there = convolve(conv, x * mask.unsqueeze(1), mask)
    torch.testing.assert_close(y[:, :, : expected.size(2)], expected)
    assert int(there.sum()) == expected.size(2)


def test_what_follows_a_layer_that_is_not_known_sees_all_columns():
    x, mask = torch.randn(1, 4, 9), torch.arange(9).expand(1, 9) < 6
    assert convolve(nn.Flatten(), x, mask)[1] is None

    class Own(Conv1DBlock):
        def forward(self, x, mask=None):
            return super().forward(x) + 1.0

    y, there = convolve(Own(4, 4, 3), x, mask)
    assert bool((y[:, :, :6] >= 1.0).all())
    assert not y[:, :, 6:].any()
    assert there is mask


# ----------------------------------------------------------------------------------------------------------- the head


def test_set_layers_can_be_replaced_with_what_a_block_knows_of_itself():
    class Twice(Conv1DBlock):
        def set_layers(self) -> None:
            first = self.get_conv_layer(self.in_c, self.out_c, self.ks, self.pad, self.stride)
            self.layers = nn.Sequential(first, self.get_conv_layer(self.out_c, self.out_c, self.ks, self.pad))

    block = Twice(in_c=3, out_c=5, kernel_sz=4, stride=2, act="swish", bn=True)
    assert block(torch.rand(2, 3, 6)).shape == (2, 5, 3)
    assert (block.ks, block.pad, block.stride, block.act, block.bn) == (4, "auto", 2, "swish", True)


class Head(AbsConv1dHead):
    def get_layers(self, in_c, act="relu", bn=False, channels=5, **kargs):
        layers = [
            self.get_conv1d_block(in_c, channels, kernel_sz=3, act=act, bn=bn),
            self.get_conv1d_res_block(channels, channels, kernel_sz=3, stride=2, act=act, bn=bn),
        ]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1))


@pytest.mark.parametrize("present", [1, 2, 3])
def test_slots_that_are_always_empty_change_nothing(present):
    few, many = generic(Head(**names(3), bn=True)), generic(Head(**names(8), bn=True))
    many.load_state_dict(few.state_dict())
    x = torch.randn(4, 3, 3).double()
    x[:, :, present:] = torch.nan
    padded = torch.cat([x, torch.full((4, 3, 5), torch.nan)], dim=2)
    torch.testing.assert_close(many((None, padded)), few((None, x)))


@pytest.mark.parametrize("act", ["softmax", "logsoftmax"])
def test_a_softmax_is_over_channels(act):
    block = Conv1DBlock(3, 5, 3, act=act)
    y = block(torch.randn(2, 3, 7))
    torch.testing.assert_close((y.exp() if act == "logsoftmax" else y).sum(1), torch.ones(2, 7))


def test_a_particle_whose_features_are_all_zero_is_a_particle():
    head = generic(Head(**names(3)))
    x = torch.randn(1, 3, 3).double()
    x[:, :, 2] = 0.0
    absent = x.clone()
    absent[:, :, 2] = torch.nan
    assert not torch.allclose(head((None, x)), head((None, absent)))


def test_arguments_reach_get_layers():
    head = Head(**names(3), act="selu", bn=True, layer_kargs={"channels": 7}, lookup_init=lookup_uniform_init)
    assert head.get_out_size() == 7
    assert isinstance(head[0], Conv1DBlock)
    assert isinstance(head[0].layers[1], nn.SELU)
    assert float(head[0].layers[0].weight.detach().abs().max()) <= 9**-0.5  # uniform within 1 / sqrt(fan_in)


def test_the_output_size_costs_no_random_numbers_and_leaves_statistics_alone():
    torch.manual_seed(1)
    Head(**names(3), bn=True)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    layers = Head.get_layers(Head(**names(3), bn=True), 3, bn=True)
    torch.manual_seed(1)
    parts = [Conv1DBlock(3, 5, 3), Res1DBlock(5, 5, 3, stride=2)]
    assert len(parts) == 2
    assert torch.equal(torch.get_rng_state(), after)
    norm = next(m for m in layers.modules() if isinstance(m, nn.BatchNorm1d))
    assert not norm.running_mean.any()
    assert norm.training


def test_layers_that_return_another_layout_are_flattened():
    class Turned(AbsConv1dHead):
        def get_layers(self, in_c, **kargs):
            class Transpose(nn.Module):
                def forward(self, x):
                    return x.transpose(1, 2)

            return nn.Sequential(nn.Conv1d(in_c, 5, 1), Transpose())  # which is not contiguous

    head, x = Turned(**names(4)), torch.rand(2, 12)
    columns = head.layers[0](x.view(2, 4, 3).transpose(1, 2))
    torch.testing.assert_close(head(x), columns.transpose(1, 2).flatten(1))


def test_get_layers_must_return_a_module():
    class Wrong(AbsConv1dHead):
        def get_layers(self, in_c, **kargs):
            return [nn.ReLU()]

    with pytest.raises(TypeError, match="get_layers must return a module, got list"):
        Wrong(**names(3))
    with pytest.raises(TypeError, match="abstract"):
        AbsConv1dHead(**names(3))
