"""The boost network whose features are learned."""

import pytest
import torch
from torch import nn

from lumigraph.blocks import AutoExtractLorentzBoostNet, LorentzBoostNet

VECS = ["a", "b", "c"]
FEATS = ["px", "py", "pz", "E"]
NAMES = {"cont_feats": [f"{v}_{f}" for v in VECS for f in FEATS], "vecs": VECS, "feats_per_vec": FEATS}


def net(**options):
    arguments = {"n_particles": 4, "depth": 2, "width": 5, "n_singles": 3, "n_pairs": 2, **options}
    return AutoExtractLorentzBoostNet(**{**NAMES, **arguments})


def events(n=6):
    rows = torch.randn(n, 3, 4)
    rows[..., 3] = rows[..., :3].norm(dim=-1) + 0.5
    return rows


def test_features_of_each_particle_and_then_of_each_pair():
    block, rows = net().eval(), events()
    with torch.no_grad():
        block.pre_bn.running_mean.normal_()
    p = block.pre_bn(block.conv.dense(rows).flatten(1)).view(6, 4, 4)
    singles = [block.single_nn(p[:, i]) for i in range(4)]
    pairs = [block.pair_nn(torch.cat([p[:, i], p[:, j]], dim=1)) for i in range(4) for j in range(i + 1, 4)]
    torch.testing.assert_close(block((None, rows)), torch.cat(singles + pairs, dim=1))
    assert block.get_out_size() == 4 * 3 + 6 * 2


def test_shapes_of_the_networks_and_an_activation_behind_every_layer():
    block = net(depth=3, act="relu")
    assert [tuple(layer[0].weight.shape) for layer in block.single_nn] == [(5, 4), (5, 5), (3, 5)]
    assert [tuple(layer[0].weight.shape) for layer in block.pair_nn] == [(5, 8), (5, 5), (2, 5)]
    assert all(isinstance(layer[1], nn.ReLU) for layer in (*block.single_nn, *block.pair_nn))
    assert bool((block((None, events())) >= 0).all())


@pytest.mark.parametrize(("n_singles", "n_pairs", "width"), [(3, 0, 12), (0, 2, 12), (1, 1, 10)])
def test_either_network_may_be_left_out(n_singles, n_pairs, width):
    block = net(n_singles=n_singles, n_pairs=n_pairs)
    assert (block.single_nn is None, block.pair_nn is None) == (n_singles == 0, n_pairs == 0)
    assert block((None, events())).shape == (6, width)


def test_freeze_reaches_both_networks_and_the_normalisation():
    block = net(freeze=True, bn=True)
    assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"conv", "pre_bn", "single_nn", "pair_nn"}
    assert not any(p.requires_grad for p in block.parameters())


@pytest.mark.parametrize("bn", [True, False])
def test_batch_normalisation_inside_the_networks_fits_any_size(bn):
    block = net(bn=bn, n_particles=3, width=7).train()
    assert sum(isinstance(m, nn.BatchNorm1d) for m in block.modules()) == (5 if bn else 1)
    assert bool(block((None, events())).isfinite().all())


def test_momenta_as_they_are():
    assert net(pre_norm=False).pre_bn is None
    block = net(pre_norm=False, n_pairs=0, depth=1, act="linear").eval()
    rows = events()
    torch.testing.assert_close(block((None, 2 * rows)) - block((None, 0 * rows)),
                               2 * (block((None, rows)) - block((None, 0 * rows))))  # fmt: skip


@pytest.mark.parametrize(("mode", "boosted"), [("product", 8), ("combinations", 12)])
def test_modes_are_those_of_the_parent(mode, boosted):
    block = net(mode=mode, n_frames=2 if mode == "product" else None)
    assert isinstance(block, LorentzBoostNet)
    assert block((None, events())).shape == (6, boosted * 3 + boosted * (boosted - 1) // 2 * 2)


def test_further_features_are_carried():
    feats = [*FEATS, "btag"]
    block = AutoExtractLorentzBoostNet([f"{v}_{f}" for v in VECS for f in feats], VECS, feats, n_particles=2, depth=1,
                                       width=3, n_singles=1)  # fmt: skip
    rows = torch.cat([events(), torch.rand(6, 3, 1)], dim=2)
    y = block((None, rows))
    assert block.get_out_size() == y.size(1) == 2 + 3
    torch.testing.assert_close(y[:, 2:], rows[..., 4])


def test_building_draws_for_the_weights_only():
    torch.manual_seed(0)
    block = net()
    after = torch.get_rng_state()
    torch.manual_seed(0)
    nn.init.normal_(torch.empty(4, 3))
    nn.init.normal_(torch.empty(4, 3))
    for layer in (*block.single_nn, *block.pair_nn):
        linear = nn.Linear(layer[0].in_features, layer[0].out_features)
        nn.init.kaiming_normal_(linear.weight)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_singles": 0, "n_pairs": 0}, "n_singles or n_pairs, .* must be at least 1, got 0 and 0"),
        ({"n_singles": -1}, "n_singles must be at least 0, got -1"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"n_particles": 1}, "n_pairs must be 0 without two boosted particles to make a pair, got 2"),
    ],
)
def test_numbers_without_sense(options, message):
    with pytest.raises(ValueError, match=message):
        net(**options)
