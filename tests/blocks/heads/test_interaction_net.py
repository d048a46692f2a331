"""The interaction network as a head, against a double loop over pairs."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph.blocks import InteractionNet, lookup_normal_init, lookup_uniform_init
from lumigraph.events.adapters import from_jagged
from lumigraph.events.graph import CompleteGraph
from lumigraph.nn import Scaling
from lumigraph.nn.kinematic_features import particle_features

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
BATCH_NORM_EPS = 1e-5

VECS = ["jet", "lepton", "met"]
FEATS = ["px", "py", "pz"]
CELLS = [f"{v}_{f}" for v in VECS for f in FEATS if (v, f) != ("met", "pz")]
SIZES = {
    "intfunc_depth": 2, "intfunc_width": 6, "intfunc_out_sz": 4, "outfunc_depth": 2, "outfunc_width": 5,
    "outfunc_out_sz": 3,
}  # fmt: skip


def interaction_net(agg_method="sum", **changes):
    arguments = {"cont_feats": CELLS, "vecs": VECS, "feats_per_vec": FEATS, **SIZES, "act": "tanh", **changes}
    return InteractionNet(agg_method=agg_method, **arguments)


# ------------------------------------------------------------------------------------------------------ InteractionNet


def layers_by_numpy(net, x):
    """Every layer by NumPy: tanh(W x + b), then the normalisation by running statistics if there is one."""
    for dense in net:
        state = {name: value.numpy() for name, value in dense.state_dict().items()}
        x = np.tanh(state["0.weight"] @ x + state["0.bias"])
        if "2.weight" in state:
            x = (x - state["2.running_mean"]) / np.sqrt(state["2.running_var"] + BATCH_NORM_EPS)
            x = state["2.weight"] * x + state["2.bias"]
    return x


def interaction_by_loops(net, particles):
    """The particles of one event after an interaction, by a double loop in float64."""
    updated = []
    for i, receiver in enumerate(particles):
        effects = np.zeros(net.convs[0].effect_channels)
        for j, sender in enumerate(particles):
            if i != j:
                effects = effects + layers_by_numpy(net.convs[0].fr, np.concatenate([receiver, sender]))
        updated.append(layers_by_numpy(net.convs[0].fo, np.concatenate([receiver, effects])))
    return np.array(updated).reshape(len(particles), net.outfunc_out_sz)


AGGREGATE = {"sum": lambda rows: rows.sum(0), "mean": lambda rows: rows.mean(0), "max": lambda rows: rows.max(0)}


class TestInteractionNetAgainstLoops:
    @pytest.fixture(params=[False, True], ids=["plain", "bn"])
    def bn(self, request):
        return request.param

    def generic(self, agg_method, bn, **changes):
        net = interaction_net(agg_method, bn=bn, **changes).double().eval()
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.2 * torch.randn_like(p))
            for module in net.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2.0)
        return net

    @pytest.mark.parametrize("agg_method", AGGREGATE)
    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_it_sums_the_effects_of_all_others_and_aggregates(self, agg_method, depth, bn):
        net = self.generic(agg_method, bn, intfunc_depth=depth, outfunc_depth=depth)
        lengths = [4, 1, 0, 7, 2]
        x = torch.randn(sum(lengths), 3).double()
        y = net(from_jagged(x, lengths=torch.tensor(lengths))).detach().numpy()
        for row, particles in zip(y, np.split(x.numpy(), np.cumsum(lengths)[:-1]), strict=True):
            updated = interaction_by_loops(net, particles)
            expected = AGGREGATE[agg_method](updated) if len(updated) else np.zeros(3)
            np.testing.assert_allclose(row, expected, **CLOSE)

    def test_flatten_puts_one_feature_of_all_objects_after_the_other(self, bn):
        net = self.generic("flatten", bn)
        matrix = torch.randn(2, 3, 3).double()
        matrix[1, 1] = torch.nan
        y = net((None, matrix.transpose(1, 2))).detach().numpy()
        full = interaction_by_loops(net, matrix[0].numpy())
        part = np.zeros((3, 3))
        part[[0, 2]] = interaction_by_loops(net, matrix[1, [0, 2]].numpy())
        np.testing.assert_allclose(y, np.stack([full.T.ravel(), part.T.ravel()]), **CLOSE)

    def test_the_column_that_does_not_exist_is_zero(self, bn):
        net = self.generic("sum", bn)
        x = torch.randn(1, 8).double()
        particles = np.append(x.numpy(), 0.0).reshape(3, 3)
        expected = interaction_by_loops(net, particles).sum(0, keepdims=True)
        np.testing.assert_allclose(net(x).detach().numpy(), expected, **CLOSE)


class TestInteractionNet:
    def test_every_object_hears_every_other(self):
        """Not one neighbour several times over: what it becomes depends on each of the others."""
        vecs = [f"jet{i}" for i in range(5)]
        cells = [f"{v}_{f}" for v in vecs for f in FEATS]
        net = interaction_net("flatten", cont_feats=cells, vecs=vecs).double()
        x = torch.randn(1, 15).double()
        jacobian = torch.autograd.functional.jacobian(net, x).view(3, 5, 5, 3)
        assert bool((jacobian.abs().amax(dim=(0, 3)) > 1e-6).all())

    @pytest.mark.parametrize("agg_method", ["sum", "mean", "max"])
    def test_objects_can_be_placed_in_any_order(self, agg_method):
        net = interaction_net(agg_method).double()
        matrix = torch.randn(2, 3, 3).double()
        for order in itertools.permutations(range(3)):
            torch.testing.assert_close(net((None, matrix[:, :, order])), net((None, matrix)), **CLOSE)

    @pytest.mark.parametrize("agg_method", ["sum", "flatten"])
    def test_a_single_object_hears_nothing(self, agg_method):
        net = interaction_net(agg_method, cont_feats=["met_px", "met_py"], vecs=["met"]).double()
        x = torch.randn(4, 2).double()
        seen = torch.cat([x, torch.zeros(4, 1 + net.convs[0].effect_channels)], dim=1)
        torch.testing.assert_close(net(x), net.convs[0].fo(seen), **CLOSE)

    @pytest.mark.parametrize("bn", [False, True])
    @pytest.mark.parametrize(("intfunc", "outfunc"), [((2, 4, 3), (2, 5, 4)), ((1, 9, 1), (3, 2, 7))])
    def test_batch_normalisation_works_for_any_size_in_training(self, bn, intfunc, outfunc):
        sizes = dict(zip(SIZES, (*intfunc, *outfunc), strict=True))
        for agg_method in ("sum", "flatten"):
            net = interaction_net(agg_method, bn=bn, **sizes).train()
            y = net(torch.randn(6, 8))
            assert y.shape == (6, net.get_out_size())
            assert bool(y.isfinite().all())
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
        assert len(norms) == (sizes["intfunc_depth"] + sizes["outfunc_depth"] if bn else 0)
        assert all(int(norm.num_batches_tracked) == 1 for norm in norms)

    def test_batch_normalisation_looks_at_edges_and_particles_that_are_there(self):
        net = interaction_net("sum", bn=True, intfunc_depth=1, outfunc_depth=1, act="linear").double().train()
        x = torch.randn(6, 3).double()
        net(from_jagged(x, lengths=torch.tensor([4, 0, 2])))
        pairs = [(i, j) for i in range(4) for j in range(4) if i != j] + [(4, 5), (5, 4)]
        effects = net.convs[0].fr[0][0](torch.stack([torch.cat([x[i], x[j]]) for i, j in pairs]))
        torch.testing.assert_close(net.convs[0].fr[0][1].running_mean, 0.1 * effects.mean(0), **CLOSE)
        torch.testing.assert_close(net.convs[0].fr[0][1].running_var, 0.9 + 0.1 * effects.var(0), **CLOSE)

    def test_shapes_of_the_weights(self):
        shapes = {name: tuple(p.shape) for name, p in interaction_net().named_parameters() if p.dim() == 2}
        assert shapes == {
            "convs.0.fr.0.0.weight": (6, 2 * 3),
            "convs.0.fr.1.0.weight": (4, 6),
            "convs.0.fo.0.0.weight": (5, 3 + 4),
            "convs.0.fo.1.0.weight": (3, 5),
        }

    def test_depth_one_is_one_layer_straight_to_the_output(self):
        net = interaction_net(intfunc_depth=1, outfunc_depth=1)
        shapes = [tuple(p.shape) for p in net.parameters() if p.dim() == 2]
        assert shapes == [(4, 2 * 3), (3, 3 + 4)]

    @pytest.mark.parametrize(
        ("act", "kinds"),
        [
            ("relu", ["Linear", "ReLU", "BatchNorm", "Dropout"]),
            ("selu", ["Linear", "SELU", "BatchNorm", "AlphaDropout"]),
            ("linear", ["Linear", "BatchNorm", "Dropout"]),
        ],
    )
    def test_every_layer_is_activated_then_normalised_then_dropped_the_last_one_too(self, act, kinds):
        net = interaction_net(act=act, bn=True, do=0.1)
        for layer in [*net.convs[0].fr, *net.convs[0].fo]:
            assert [type(module).__name__ for module in layer] == kinds

    def test_the_output_is_activated(self):
        y = interaction_net("flatten", act="relu")(torch.randn(50, 8)).detach()
        assert float(y.min()) == 0.0
        assert float(y.max()) > 0.0

    def test_no_dropout_is_none_or_zero(self):
        for rate in (None, 0):
            assert not any(isinstance(module, nn.Dropout) for module in interaction_net(do=rate).modules())

    def test_biases_start_at_zero_and_weights_are_drawn_by_lookup_init(self):
        asked = []

        def lookup_init(act, fan_in, fan_out):
            asked.append((act, fan_in, fan_out))
            return nn.init.ones_

        net = interaction_net(lookup_init=lookup_init)
        assert asked == [("tanh", 6, 6), ("tanh", 6, 4), ("tanh", 7, 5), ("tanh", 5, 3)]
        assert all(bool((p == (1 if p.dim() == 2 else 0)).all()) for p in net.parameters())

    def test_lookup_act_gives_the_activation(self):
        net = interaction_net(act="mine", lookup_act=lambda act: nn.Softsign(), lookup_init=init_of_any_name)
        assert all(isinstance(layer[1], nn.Softsign) for layer in [*net.convs[0].fr, *net.convs[0].fo])

    @pytest.mark.parametrize(("agg_method", "size"), [("sum", 3), ("mean", 3), ("max", 3), ("flatten", 9)])
    def test_output_size_and_map(self, agg_method, size):
        net = interaction_net(agg_method)
        assert net.get_out_size() == size
        assert net.feat_map == {name: list(range(size)) for name in CELLS}

    def test_the_method_may_have_any_case(self):
        assert interaction_net("Flatten").agg_method == "flatten"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"agg_method": "summ"}, "agg_method must be a way to aggregate particles, got 'summ': did you mean sum"),
            ({"intfunc_depth": 0}, "intfunc_depth must be at least 1, got 0"),
            ({"outfunc_depth": 0}, "outfunc_depth must be at least 1, got 0"),
            ({"intfunc_width": 0}, "intfunc_width must be at least 1, got 0"),
            ({"outfunc_out_sz": 0}, "outfunc_out_sz must be at least 1, got 0"),
            ({"act": "rellu"}, "act must be an activation, got 'rellu'"),
            ({"do": 1.0}, "do must be a rate from 0 to below 1"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            interaction_net(**arguments)

    def test_it_has_no_layers_to_index(self):
        with pytest.raises(TypeError, match="InteractionNet is not a sequence of layers"):
            interaction_net()[0]


def init_of_any_name(act, fan_in, fan_out):
    return lookup_normal_init("relu", fan_in, fan_out)


@pytest.mark.parametrize(
    ("sizes", "arguments", "out_size"),
    [
        ((2, 4, 3, 2, 5, 4), {"agg_method": "flatten"}, 12),
        ((2, 4, 6, 2, 5, 8), {"agg_method": "sum"}, 8),
        (
            (3, 4, 3, 3, 5, 4),
            {"agg_method": "flatten", "do": 0.1, "bn": True, "act": "swish", "lookup_init": lookup_uniform_init},
            12,
        ),
    ],
)
def test_the_examples_of_the_reference_run_as_they_stand(sizes, arguments, out_size):
    inet = InteractionNet(
        cont_feats=CELLS, feats_per_vec=FEATS, vecs=VECS, **dict(zip(SIZES, sizes, strict=True)), **arguments
    )
    y = inet(torch.randn(7, 8))
    assert y.shape == (7, out_size) == (7, inet.get_out_size())
    assert bool(y.isfinite().all())


class TestBeyondOneLayer:
    def test_layers_in_a_row_hear_the_outputs_of_the_one_before(self):
        net = interaction_net(n_layers=3).double()
        assert [conv.in_channels for conv in net.convs] == [net.n_fpv, net.outfunc_out_sz, net.outfunc_out_sz]
        inputs = torch.randn(1, len(net.cont_feats)).double()
        x, _, ptr = net.particles(inputs)
        for conv in net.convs:
            x = conv(x, CompleteGraph(ptr))
        torch.testing.assert_close(net(inputs)[0], x.sum(0))

    def test_attention_is_trained(self):
        net = interaction_net(agg_method="attention")
        net(torch.randn(3, len(net.cont_feats))).sum().backward()
        assert all(bool(p.grad.abs().sum() > 0) for p in net.pool.gate[1].parameters() if p.dim() > 1)

    @pytest.mark.parametrize("argument", ["intfunc_depth", "outfunc_depth", "n_layers"])
    def test_at_least_one_layer(self, argument):
        with pytest.raises(ValueError, match=f"{argument} must be at least 1"):
            interaction_net(**{argument: 0})

    def test_legacy_edges_hear_the_next_particle_only(self):
        net = interaction_net(legacy_edges=True, agg_method="flatten").double()
        x = torch.randn(1, len(net.cont_feats)).double().requires_grad_()
        y = net(x).view(net.outfunc_out_sz, net.n_v)
        for receiver in range(net.n_v):
            gradient = torch.autograd.grad(y[:, receiver].sum(), x, retain_graph=True)[0][0]
            heard = {n.split("_")[0] for n, g in zip(net.cont_feats, gradient, strict=True) if g != 0}
            assert heard == {net.vecs[receiver], net.vecs[(receiver + 1) % net.n_v]}


class TestKinematicFeatures:
    FEATS = ("charge", "E", "px", "py", "pz")
    VECS = ("a", "b", "c")

    def net(self, **options):
        names = [f"{v}_{f}" for v in self.VECS for f in self.FEATS]
        return InteractionNet(names, self.VECS, self.FEATS, **SIZES, agg_method="mean", act="tanh", **options).double()

    def rows(self, events=5):
        p = 30 * torch.randn(events, 3, 3).double()
        energy = p.square().sum(-1, keepdim=True).add(1).sqrt()
        return torch.cat([torch.randn(events, 3, 1).double(), energy, p], dim=-1)

    @pytest.mark.parametrize("n_layers", [1, 2])
    @pytest.mark.parametrize(
        "options", [{"node_feats": True}, {"pair_feats": True}, {"node_feats": True, "pair_feats": True}]
    )
    def test_every_form_of_input_gives_the_same(self, options, n_layers):
        net, rows = self.net(**options, n_layers=n_layers), self.rows()
        rows[1, 2], rows[3] = torch.nan, torch.nan
        there = ~rows.isnan().any(-1)
        batch = from_jagged(rows[there], lengths=there.sum(1))
        by_matrix = net((rows.new_zeros(5, 0), rows.transpose(1, 2)))
        torch.testing.assert_close(net(batch), by_matrix)
        torch.testing.assert_close(net(rows.flatten(1)), by_matrix)
        torch.testing.assert_close(net.embed(rows.nan_to_num(0.0), there), by_matrix)
        assert not by_matrix[3].any()

    def test_by_hand(self):
        net, rows = self.net(node_feats=True, pair_feats=True), self.rows(1)
        p4 = rows[0][:, [2, 3, 4, 1]]
        h = torch.cat([rows[0][:, :1], particle_features(p4, p4.sum(0))], dim=1)
        expected = net.convs[0](h, CompleteGraph(torch.tensor([0, 3])).edge_index(), p4).mean(0, keepdim=True)
        torch.testing.assert_close(net(rows.flatten(1)), expected)

    def test_the_direction_in_phi_does_not_matter(self):
        net, rows = self.net(node_feats=True, pair_feats=True), self.rows()
        turned = rows.clone()
        turned[..., 2], turned[..., 3] = -rows[..., 3], rows[..., 2]
        torch.testing.assert_close(net(turned.flatten(1)), net(rows.flatten(1)))

    def test_momenta_that_are_not_there(self):
        with pytest.raises(ValueError, match=r"four-momentum has no column 'e' in feats_per_vec"):
            interaction_net(node_feats=True)

    def test_energy_by_its_other_name(self):
        feats = ("energy", "px", "pz", "py")
        names = [f"{v}_{f}" for v in self.VECS for f in feats]
        net = InteractionNet(names, self.VECS, feats, **SIZES, agg_method="mean", node_feats=True, pair_feats=True)
        assert net.p4_columns == [1, 3, 2, 0]

    def test_four_momenta_are_neither_scaled_nor_altered(self):
        net, rows = self.net(node_feats=True, pair_feats=True), self.rows(2).flatten(1)
        before = net(rows)
        net.set_scaling(x=(torch.tensor([0.0, 5, 5, 5, 5]), torch.tensor([1.0, 9, 9, 9, 9])))
        torch.testing.assert_close(net(rows), before)
        net.set_scaling(x=(torch.tensor([2.0, 0, 0, 0, 0]), torch.ones(5)))
        assert not torch.allclose(net(rows), before)
        with pytest.raises(ValueError, match="'px' can be neither transformed nor clipped"):
            net.set_scaling(x=Scaling(torch.zeros(5), torch.ones(5), transforms=(None, None, "symlog", None, None)))
