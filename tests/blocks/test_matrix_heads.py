import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lumigraph.adapters import from_jagged, from_rows
from lumigraph.blocks import (
    AbsMatrixHead,
    CatEmbedder,
    InteractionNet,
    LorentzBoostNet,
    lookup_normal_init,
    lookup_uniform_init,
)

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
BATCH_NORM_EPS = 1e-5
PION_MASS = 0.13957

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


# ------------------------------------------------------------------------------------------------------ the base class


class Rows(AbsMatrixHead):
    """A head of a user: it hands on the sum of each feature."""

    row_wise = True

    def get_out_size(self):
        return self.n_fpv

    def embed(self, x, slot, ptr):
        return torch.stack([x[a:b].sum(0) for a, b in itertools.pairwise(ptr.tolist())])


class Columns(Rows):
    row_wise = False


class TestAbsMatrixHead:
    def test_sizes_and_names(self):
        head = Rows(CELLS, VECS, FEATS)
        assert (head.vecs, head.feats_per_vec, head.cont_feats) == (VECS, FEATS, CELLS)
        assert (head.n_v, head.n_fpv, head.n_cont_in) == (3, 3, 8)
        assert (head.n_cat_in, head.n_matrix_in, head.cat_feats, head.matrix_feats) == (0, 0, [], [])

    def test_the_matrix_of_a_tuple_is_as_row_wise_says(self):
        matrix = torch.randn(2, 4, 3)
        by_row, by_column = Rows(CELLS, VECS, FEATS), Columns(CELLS, VECS, FEATS)
        assert torch.equal(by_row((None, matrix)), by_column((None, matrix.transpose(1, 2))))
        torch.testing.assert_close(by_row((None, matrix)), matrix.sum(1))

    def test_columns_are_found_by_name_and_what_does_not_exist_is_zero(self):
        order = torch.randperm(len(CELLS))
        head = Rows([CELLS[i] for i in order], VECS, FEATS)
        x = torch.randn(4, len(CELLS))
        column = dict(zip(CELLS, x.t(), strict=True))
        expected = [
            column["jet_px"] + column["lepton_px"] + column["met_px"],
            column["jet_py"] + column["lepton_py"] + column["met_py"],
            column["jet_pz"] + column["lepton_pz"],
        ]
        torch.testing.assert_close(head(x[:, order]), torch.stack(expected, dim=1))

    def test_a_list_is_as_good_as_a_tuple(self):
        head, flat, matrix = Rows(CELLS, VECS, FEATS), torch.zeros(2, 1), torch.randn(2, 3, 3)
        assert torch.equal(head([flat, matrix]), head((flat, matrix)))

    def test_a_builder_may_offer_no_categories(self):
        for none in (None, CatEmbedder([], [])):
            assert Rows(CELLS, VECS, FEATS, cat_embedder=none).n_cat_in == 0


class TestAbsMatrixHeadRefuses:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"vecs": ["jet", "leptn", "met"]}, r"column 'lepton_px' belongs to no object.*leptn_px"),
            ({"feats_per_vec": ["px", "py", "p_z"]}, r"column 'jet_pz' belongs to no object.*jet_p_z"),
            ({"cont_feats": ["Jet_px", *CELLS[1:]]}, r"column 'Jet_px' belongs to no object.*did you mean .*jet_px"),
            ({"cont_feats": CELLS[:6]}, r"object 'met' has none of its columns met_\{px, py, pz\}"),
            ({"feats_per_vec": [*FEATS, "E"]}, r"no object has the feature 'E': none of its columns \{vec\}_E"),
            ({"cont_feats": [*CELLS, "ht"]}, "column 'ht' belongs to no object.*MultiHead"),
            ({"cont_feats": [*CELLS, "jet_px"]}, "cont_feats must be a list of different names"),
            ({"vecs": []}, "belongs to no object"),
            ({"cont_feats": [], "vecs": []}, "vecs and feats_per_vec must not be empty"),
            (
                {"cont_feats": ["a_b_px", "a_px"], "vecs": ["a", "a_b"], "feats_per_vec": ["b_px", "px"]},
                r"\('a', 'b_px'\) and \('a_b', 'px'\) both read the column 'a_b_px'",
            ),
            ({"cat_embedder": CatEmbedder(["flavour"], [3])}, r"nothing would use the categories \['flavour'\].*Multi"),
        ],
    )
    @pytest.mark.parametrize("head", [Rows, interaction_net], ids=["base", "InteractionNet"])
    def test_names_that_fit_nothing(self, head, changes, message):
        with pytest.raises(ValueError, match=message):
            head(**{"cont_feats": CELLS, "vecs": VECS, "feats_per_vec": FEATS, **changes})

    def test_an_unknown_keyword(self):
        with pytest.raises(
            TypeError, match="InteractionNet has no argument 'intfunc_dept': did you mean intfunc_depth"
        ):
            interaction_net(intfunc_dept=2)
        with pytest.raises(TypeError, match="LorentzBoostNet has no argument 'n_particle': did you mean n_particles"):
            boost_net(n_particle=6)

    @pytest.mark.parametrize(
        ("head", "layout"),
        [(Rows, r"\(events, slots, features\)"), (Columns, r"\(events, features, slots\)")],
        ids=["row-wise", "column-wise"],
    )
    def test_a_matrix_without_axis_of_events(self, head, layout):
        message = rf"the matrix must have the shape {layout}, got \(3, 3\); for a single event add a first axis"
        with pytest.raises(ValueError, match=message):
            head(CELLS, VECS, FEATS)((None, torch.zeros(3, 3)))

    def test_a_matrix_of_the_other_layout(self):
        with pytest.raises(ValueError, match=r"must be \(events, slots, features\) with the 3 features .* \(2, 3, 4\)"):
            Rows(CELLS, VECS, FEATS)((None, torch.zeros(2, 3, 4)))
        with pytest.raises(ValueError, match=r"must be \(events, features, slots\) with the 3 features .* \(2, 4, 3\)"):
            Columns(CELLS, VECS, FEATS)((None, torch.zeros(2, 4, 3)))

    @pytest.mark.parametrize("width", [7, 9])
    def test_a_flat_input_of_another_width(self, width):
        with pytest.raises(ValueError, match=rf"x must have the shape \(events, 8\).* got \(2, {width}\)"):
            Rows(CELLS, VECS, FEATS)(torch.zeros(2, width))

    def test_a_batch_with_other_features(self):
        with pytest.raises(ValueError, match="the batch has 4 features per particle, the head expects 3"):
            Rows(CELLS, VECS, FEATS)(from_rows(torch.zeros(2, 3, 4)))

    @pytest.mark.parametrize("form", ["flat", "matrix"])
    def test_a_particle_that_is_there_in_part(self, form):
        matrix = torch.zeros(2, 3, 3)
        matrix[1, 1, 0] = torch.nan
        x = matrix.flatten(1)[:, :8] if form == "flat" else (None, matrix)
        with pytest.raises(ValueError, match=r"event 1: .*(lepton_px|feature 0 of the particle in slot 1) is NaN"):
            Rows(CELLS, VECS, FEATS)(x)


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
        effects = np.zeros(net.conv.effect_channels)
        for j, sender in enumerate(particles):
            if i != j:
                effects = effects + layers_by_numpy(net.conv.fr, np.concatenate([receiver, sender]))
        updated.append(layers_by_numpy(net.conv.fo, np.concatenate([receiver, effects])))
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
        seen = torch.cat([x, torch.zeros(4, 1 + net.conv.effect_channels)], dim=1)
        torch.testing.assert_close(net(x), net.conv.fo(seen), **CLOSE)

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
        effects = net.conv.fr[0][0](torch.stack([torch.cat([x[i], x[j]]) for i, j in pairs]))
        torch.testing.assert_close(net.conv.fr[0][1].running_mean, 0.1 * effects.mean(0), **CLOSE)
        torch.testing.assert_close(net.conv.fr[0][1].running_var, 0.9 + 0.1 * effects.var(0), **CLOSE)

    def test_shapes_of_the_weights(self):
        shapes = {name: tuple(p.shape) for name, p in interaction_net().named_parameters() if p.dim() == 2}
        assert shapes == {
            "conv.fr.0.0.weight": (6, 2 * 3),
            "conv.fr.1.0.weight": (4, 6),
            "conv.fo.0.0.weight": (5, 3 + 4),
            "conv.fo.1.0.weight": (3, 5),
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
        for layer in [*net.conv.fr, *net.conv.fo]:
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
        assert all(isinstance(layer[1], nn.Softsign) for layer in [*net.conv.fr, *net.conv.fo])

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
            ({"agg_method": "summ"}, "agg_method='summ' is no way to aggregate particles: did you mean sum"),
            ({"intfunc_depth": 0}, "intfunc_depth must be at least 1 .* got 0"),
            ({"outfunc_depth": 0}, "outfunc_depth must be at least 1 .* got 0"),
            ({"intfunc_width": 0}, "at least one input and one output"),
            ({"outfunc_out_sz": 0}, "at least one input and one output"),
            ({"act": "rellu"}, "act='rellu' is no activation"),
            ({"do": 1.0}, "rate from 0 to below 1"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            interaction_net(**arguments)

    def test_it_has_no_layers_to_index(self):
        with pytest.raises(TypeError, match="InteractionNet is no sequence of layers"):
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


# ----------------------------------------------------------------------------------------------------- LorentzBoostNet

P4 = ["px", "py", "pz", "E"]


def boost_net(vecs=VECS, feats_per_vec=P4, n_particles=3, **arguments):
    cells = [f"{v}_{f}" for v in vecs for f in feats_per_vec]
    return LorentzBoostNet(cells, vecs, feats_per_vec, n_particles=n_particles, **arguments)


def four_momenta(*shape, mass=0.7):
    p = 5 * torch.randn(*shape, 3, dtype=torch.float64)
    return torch.cat([p, (p.square().sum(-1, keepdim=True) + mass**2).sqrt()], dim=-1)


def boost_by_numpy(p, frame):
    """A boost as textbooks write it: the matrix of gamma and beta."""
    beta = frame[:3] / frame[3]
    b2 = beta @ beta
    gamma = 1 / np.sqrt(1 - b2)
    matrix = np.eye(4)
    matrix[:3, :3] += (gamma - 1) / b2 * np.outer(beta, beta)
    matrix[:3, 3] = matrix[3, :3] = -gamma * beta
    matrix[3, 3] = gamma
    return matrix @ p


def boosted_by_numpy(net, particles):
    """The combinations of one event, each in its frame: (n, 4)."""
    weights = [np.abs(w.detach().numpy()) for w in (net.conv.part_wgts, net.conv.rf_wgts)]
    combinations, frames = (w @ particles for w in weights)
    return np.array([boost_by_numpy(p, frame) for p, frame in zip(combinations, frames, strict=True)])


def cosines_by_numpy(p4):
    p = p4[:, :3] / np.linalg.norm(p4[:, :3], axis=1, keepdims=True)
    return np.array([p[i] @ p[j] for i, j in itertools.combinations(range(len(p)), 2)])


def set_weights(net, part_wgts, rf_wgts):
    with torch.no_grad():
        net.conv.part_wgts.copy_(torch.as_tensor(part_wgts))
        net.conv.rf_wgts.copy_(torch.as_tensor(rf_wgts))


def mass(p4):
    p = p4.double()
    return (p[..., 3].square() - p[..., :3].square().sum(-1)).clamp(min=0).sqrt()


class TestLorentzBoostNetAgainstNumpy:
    @pytest.mark.parametrize("n_particles", [1, 2, 5])
    def test_four_momenta_and_then_cosines_of_every_pair(self, n_particles):
        net = boost_net(n_particles=n_particles, bn=False).double()
        matrix = four_momenta(4, 3)
        y = net((None, matrix)).detach().numpy()
        assert y.shape == (4, 4 * n_particles + n_particles * (n_particles - 1) // 2) == (4, net.get_out_size())
        for row, particles in zip(y, matrix.numpy(), strict=True):
            boosted = boosted_by_numpy(net, particles)
            # the cosines of heads leave out 1e-10 of the length, so that a particle at rest has one
            np.testing.assert_allclose(row[: 4 * n_particles], boosted.ravel(), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(row[4 * n_particles :], cosines_by_numpy(boosted), rtol=0, atol=1e-8)

    def test_an_absent_slot_adds_nothing(self):
        net = boost_net(bn=False).double()
        matrix = four_momenta(1, 3)
        present = matrix.clone()
        matrix[0, 1] = torch.nan
        present[0, 1] = 0.0
        torch.testing.assert_close(net((None, matrix)), net((None, present)), **CLOSE)
        boosted = boosted_by_numpy(net, present[0].numpy())
        np.testing.assert_allclose(net((None, matrix)).detach().numpy()[0, :12], boosted.ravel(), rtol=1e-9, atol=1e-9)

    def test_weights_enter_by_their_absolute_value(self):
        net = boost_net(bn=False).double()
        matrix = four_momenta(2, 3)
        expected = net((None, matrix))
        set_weights(net, -net.conv.part_wgts, net.conv.rf_wgts.abs())
        assert torch.equal(net((None, matrix)), expected)

    def test_batch_normalisation_comes_last(self):
        plain, normed = boost_net(bn=False).double(), boost_net(bn=True).double().train()
        normed.load_state_dict({**normed.state_dict(), **plain.state_dict()})
        matrix = four_momenta(8, 3)
        y = plain((None, matrix))
        expected = (y - y.mean(0)) / (y.var(0, unbiased=False) + BATCH_NORM_EPS).sqrt()
        torch.testing.assert_close(normed((None, matrix)), expected, **CLOSE)
        assert plain.bn is None

    def test_names_and_sizes(self):
        net = boost_net(n_particles=4)
        shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
        assert shapes == {"conv.part_wgts": (4, 3), "conv.rf_wgts": (4, 3), "bn.weight": (22,), "bn.bias": (22,)}
        assert net.comb == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
        assert net.feat_map == {f"{v}_{f}": list(range(22)) for v in VECS for f in P4}
        with pytest.raises(TypeError, match="LorentzBoostNet is no sequence of layers"):
            net[0]


class TestColumnsOfFourMomenta:
    @pytest.mark.parametrize("names", [["E", "px", "py", "pz"], ["pz", "energy", "py", "px"], ["PX", "Py", "pZ", "e"]])
    def test_they_are_found_by_name(self, names):
        net, other = boost_net().double().eval(), boost_net(feats_per_vec=names).double().eval()
        other.load_state_dict(net.state_dict())
        matrix = four_momenta(5, 3)
        place = [P4.index({"energy": "E", "e": "E"}.get(n.lower(), n.lower())) for n in names]
        torch.testing.assert_close(other((None, matrix[:, :, place])), net((None, matrix)), **CLOSE)

    @pytest.mark.parametrize(
        ("names", "missing"),
        [(["px", "py", "pz"], "e"), (["pt", "eta", "phi", "E"], "px"), (["px", "py", "pz", "m"], "e")],
    )
    def test_a_missing_one_is_an_error(self, names, missing):
        with pytest.raises(ValueError, match=f"the four-momentum has no column '{missing}' in feats_per_vec"):
            boost_net(feats_per_vec=names)

    def test_further_features_are_carried_behind_slot_by_slot(self):
        names = ["btag", "px", "py", "charge", "pz", "E"]
        net, plain = boost_net(feats_per_vec=names, bn=False).double(), boost_net(bn=False).double()
        plain.load_state_dict({**plain.state_dict(), **{k: v for k, v in net.state_dict().items() if "wgts" in k}})
        p4, btag, charge = four_momenta(2, 3), torch.randn(2, 3).double(), torch.randn(2, 3).double()
        matrix = torch.cat([btag.unsqueeze(-1), p4[..., :2], charge.unsqueeze(-1), p4[..., 2:]], dim=-1)
        y = net((None, matrix))
        assert y.shape == (2, 15 + 6) == (2, net.get_out_size())
        torch.testing.assert_close(y, torch.cat([plain((None, p4)), btag, charge], dim=1), **CLOSE)
        matrix[1, 2] = torch.nan
        assert net((None, matrix))[1, [17, 20]].tolist() == [0.0, 0.0]

    def test_eight_features_are_no_second_batch(self):
        net = boost_net(feats_per_vec=[*P4, "a", "b", "c", "d"], bn=False)
        matrix = torch.cat([four_momenta(2, 3).float(), torch.zeros(2, 3, 4)], dim=-1)
        assert net((None, matrix)).shape == (2, 15 + 4 * 3)


# ---- where a boost has no frame, or numbers run out


EVENTS = {
    "nothing": np.zeros((3, 4)),
    "one photon": [[0, 0, 0, 0], [3, 4, 12, 13], [0, 0, 0, 0]],
    "one photon in float32": [[0, 0, 0, 0], [0.1, 0.2, 0.3, np.sqrt(0.14)], [0, 0, 0, 0]],
    "collinear photons": [[1, 2, 2, 3], [2, 4, 4, 6], [10, 20, 20, 30]],
    "all at rest": [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3]],
    "one at rest": [[0, 0, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0]],
    "collinear": [[0, 0, 3, 5], [0, 0, 6, 10], [0, 0, 30, 50]],
    "back to back": [[0, 0, 3, 5], [0, 0, -3, 5], [0, 0, 0, 0]],
    "very fast": [[0, 0, 5e4, np.hypot(5e4, PION_MASS)], [1e-3, 0, 1e5, 1e5], [0, 0, 0, 0]],
}


class TestDegenerateEvents:
    @pytest.fixture(params=EVENTS)
    def event(self, request):
        return torch.tensor(np.array(EVENTS[request.param], dtype=np.float64))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    @pytest.mark.parametrize("bn", [False, True])
    def test_numbers_and_gradients_are_finite(self, event, dtype, bn):
        net = boost_net(bn=bn).to(dtype).train()
        matrix = torch.stack([event.to(dtype), four_momenta(3).to(dtype)]).requires_grad_()
        y = net((None, matrix))
        (y * torch.randn_like(y)).sum().backward()
        assert bool(y.isfinite().all())
        for gradient in (matrix.grad, *(p.grad for p in net.parameters())):
            assert bool(gradient.isfinite().all())
        assert all(bool(buffer.isfinite().all()) for buffer in net.buffers())

    def test_gradients_are_finite_where_the_cosines_are_not_in_the_loss(self, event):
        net = boost_net(bn=False)
        matrix = event.float().unsqueeze(0).requires_grad_()
        net((None, matrix))[:, :12].sum().backward()
        assert bool(matrix.grad.isfinite().all())

    def test_the_numbers_are_of_the_size_of_the_input(self, event):
        """Boosts of some frame out of rounding errors would not be."""
        net = boost_net(bn=False)
        set_weights(net, np.ones((3, 3)), np.ones((3, 3)))
        y = net((None, event.float().unsqueeze(0)))[:, :12].view(3, 4)
        assert float(y.abs().max().detach()) <= float(event[:, 3].sum()) * (1 + 1e-6)


class TestConventions:
    def test_an_event_of_zeros_or_of_nothing_gives_zero(self):
        net = boost_net(bn=False)
        zeros, nothing = torch.zeros(1, 3, 4), torch.full((1, 3, 4), torch.nan)
        assert bool((net((None, torch.cat([zeros, nothing]))) == 0).all())

    @pytest.mark.parametrize("particles", ["one photon", "collinear photons"])
    def test_a_massless_frame_boosts_nothing(self, particles):
        event = torch.tensor(np.array(EVENTS[particles], dtype=np.float32))
        net = boost_net(bn=False)
        combinations = net.conv.part_wgts.abs() @ event
        y = net((None, event.unsqueeze(0)))
        torch.testing.assert_close(y[0, :12].view(3, 4), combinations)
        torch.testing.assert_close(y[0, 12:], torch.ones(3))  # all along one direction

    def test_collinear_photons_in_any_direction_stay_finite_in_float32(self):
        direction = torch.nn.functional.normalize(torch.randn(500, 1, 3).double(), dim=-1)
        energy = torch.rand(500, 3, 1).double() * 100
        matrix = torch.cat([energy * direction, energy], dim=-1).float().requires_grad_()
        y = boost_net(bn=False)((None, matrix))
        y.sum().backward()
        assert bool(y.isfinite().all())
        assert bool(matrix.grad.isfinite().all())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    def test_a_single_object_is_at_rest_in_its_frame_and_has_cosines_zero(self, dtype):
        net = boost_net(vecs=["jet"], bn=False).to(dtype)
        p4 = four_momenta(100, 1).to(dtype).requires_grad_()
        y = net((None, p4))
        boosted = y[:, :12].view(100, 3, 4)
        scale = net.conv.part_wgts.abs().view(1, 3)
        torch.testing.assert_close(boosted[..., 3], mass(p4).to(dtype) * scale, rtol=1e-4, atol=1e-6)
        assert float(boosted[..., :3].abs().max().detach()) < 1e-6
        assert float(y[:, 12:].abs().max().detach()) < 1e-6
        y[:, 12:].sum().backward()
        # smooth: no gradient of the order of one over rounding errors
        assert float(p4.grad.abs().max()) < 1e-6
        assert bool(p4.grad.isfinite().all())

    def test_a_fast_pion_keeps_its_mass_in_float32(self):
        direction = torch.nn.functional.normalize(torch.randn(2000, 3).double(), dim=-1)
        energy = torch.full((2000, 1), float(np.hypot(500, PION_MASS))).double()
        p4 = torch.cat([500 * direction, energy], dim=1).float().unsqueeze(1)
        net = boost_net(vecs=["pion"], n_particles=1, bn=False)
        set_weights(net, [[1.0]], [[1.0]])
        # rounding to float32 changes the mass before any boost: the oracle is the mass of what is left
        left = p4.double()[:, 0]
        m2 = (left[:, 3] - left[:, :3].norm(dim=1)) * (left[:, 3] + left[:, :3].norm(dim=1))
        has_mass = m2 > 0.01**2
        assert int(has_mass.sum()) > 500
        y = net((None, p4)).detach().double()[has_mass]
        torch.testing.assert_close(y[:, 3], m2[has_mass].sqrt(), rtol=1e-3, atol=0)
        exact = four_momenta(1, 1, mass=PION_MASS)
        y = net.double()((None, exact)).detach()
        torch.testing.assert_close(y[:, 3], torch.tensor([PION_MASS]).double(), rtol=1e-6, atol=0)


class TestUnphysicalFourMomenta:
    @pytest.fixture
    def matrix(self):
        matrix = four_momenta(4, 3).float()
        matrix[2, 1, 3] = 0.9 * matrix[2, 1, :3].norm()
        return matrix

    def test_they_are_refused_by_event_and_object(self, matrix):
        with pytest.raises(
            ValueError, match=r"event 2: particle 'lepton' has E = .* and \|p\| = .* GeV.*validate=False"
        ):
            boost_net()((None, matrix))

    def test_absent_objects_before_them_do_not_shift_the_name(self, matrix):
        matrix[0] = torch.nan
        matrix[2, 0] = torch.nan
        with pytest.raises(ValueError, match="event 2: particle 'lepton' has E"):
            boost_net()((None, matrix))

    def test_standardised_features_are_refused(self):
        with pytest.raises(ValueError, match=r"event 0: particle .* not standardised"):
            boost_net()(torch.randn(50, 12))

    def test_a_met_without_energy_is_refused(self):
        cells = [f"{v}_{f}" for v in ("jet", "met") for f in P4 if (v, f) not in {("met", "pz"), ("met", "E")}]
        net = LorentzBoostNet(cells, ["jet", "met"], P4, n_particles=2)
        with pytest.raises(ValueError, match="event 0: particle 'met' has E = 0 and"):
            net(torch.tensor([[1.0, 0.0, 0.0, 2.0, 3.0, 4.0]]))

    def test_negative_energies_are_refused(self, matrix):
        matrix[2] = -four_momenta(3)
        with pytest.raises(ValueError, match="event 2: particle 'jet' has E = -"):
            boost_net()((None, matrix))

    def test_rounding_is_forgiven(self):
        photon = torch.tensor([[[0.1, 0.2, 0.3, float(np.sqrt(0.14)) * (1 - 1e-6)]]])
        assert bool(boost_net(vecs=["photon"], bn=False)((None, photon)).isfinite().all())

    @pytest.mark.parametrize("bn", [False, True])
    def test_unchecked_they_give_finite_numbers(self, matrix, bn):
        net = boost_net(validate=False, bn=bn).train()
        for unphysical in (matrix, torch.randn(200, 3, 4), -four_momenta(50, 3).float()):
            unphysical = unphysical.clone().requires_grad_()
            net.zero_grad()
            y = net((None, unphysical))
            y.square().sum().backward()
            assert bool(y.isfinite().all())
            assert bool(unphysical.grad.isfinite().all())
            assert all(bool(p.grad.isfinite().all()) for p in net.parameters())


# ---- feature extractors


def masses(x: Tensor) -> Tensor:
    """The example of the reference: masses of boosted particles, x dimensions = [batch, particle, 4mom]."""
    momenta, energies = x[:, :, :3], x[:, :, 3:]
    return torch.sqrt((energies**2) - torch.sum(momenta**2, dim=-1)[:, :, None])


class Learned(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2), nn.Dropout(dropout))

    def forward(self, x):
        return self.net(x)


class TestFeatureExtractors:
    def test_trailing_axes_are_flattened(self):
        net = boost_net(n_particles=6, feat_extractor=masses, bn=False).double()
        matrix = four_momenta(5, 3)
        y = net((None, matrix))
        assert y.shape == (5, 6) == (5, net.get_out_size())
        expected = torch.stack([mass(torch.tensor(boosted_by_numpy(net, event))) for event in matrix.numpy()])
        torch.testing.assert_close(y, expected, rtol=1e-8, atol=1e-8)

    def test_a_module_is_trained_frozen_and_saved_with_the_rest(self):
        net = boost_net(feat_extractor=Learned(), bn=False)
        assert net.get_out_size() == 6
        assert {"extractor.net.1.weight", "extractor.net.1.bias"} <= set(net.state_dict())
        net((None, four_momenta(5, 3).float())).square().sum().backward()
        assert bool((net.extractor.net[1].weight.grad != 0).all())
        assert boost_net(feat_extractor=Learned(), freeze=True).get_param_count() == 0

    def test_a_subclass_may_have_features_of_its_own(self):
        class Energies(LorentzBoostNet):
            def feat_extractor(self, x):
                return torch.cat([x[..., 3], *(x[:, i, 3:] * x[:, j, 3:] for i, j in self.comb)], dim=1)

        cells = [f"{v}_{f}" for v in VECS for f in P4]
        net = Energies(cells, VECS, P4, n_particles=3, bn=False).double()
        matrix = four_momenta(1, 3)
        energy = boosted_by_numpy(net, matrix[0].numpy())[:, 3]
        expected = [*energy, *(energy[i] * energy[j] for i, j in ((0, 1), (0, 2), (1, 2)))]
        assert net.get_out_size() == 6
        np.testing.assert_allclose(net((None, matrix)).detach().numpy()[0], expected, rtol=1e-9)

    def test_the_output_size_costs_no_random_number(self):
        torch.manual_seed(1)
        for shape in ((3, 3), (3, 3)):
            torch.randn(shape)
        expected = torch.rand(1)
        torch.manual_seed(1)
        boost_net(feat_extractor=masses)
        assert torch.equal(torch.rand(1), expected)

    def test_the_output_size_leaves_a_module_as_it_is(self):
        extractor = Learned(dropout=0.5)
        extractor.net[1].eval()
        before = {name: value.clone() for name, value in extractor.state_dict().items()}
        net = boost_net(feat_extractor=extractor)
        assert all(torch.equal(value, before[name]) for name, value in extractor.state_dict().items())
        assert net.training
        assert [module.training for module in extractor.net] == [True, False, True]

    def test_the_output_size_can_be_asked_for_in_any_precision(self):
        net = boost_net(feat_extractor=Learned())
        assert net.double().check_out_sz() == net.get_out_size() == 6

    def test_features_of_physical_numbers_give_the_size(self):
        """A square root of E² - p² must not see numbers that no particle has."""
        seen = []

        def extractor(x):
            seen.append(x)
            return x[..., 3]

        boost_net(feat_extractor=extractor)
        assert bool((seen[0][..., 3] > seen[0][..., :3].norm(dim=-1)).all())


class TestLorentzBoostNetRefuses:
    def test_no_combination(self):
        with pytest.raises(ValueError, match="num_particles must be at least 1"):
            boost_net(n_particles=0)

    def test_categories(self):
        with pytest.raises(ValueError, match="nothing would use the categories"):
            boost_net(cat_embedder=CatEmbedder(["flavour"], [3]))

    def test_more_particles_than_slots(self):
        batch = from_jagged(four_momenta(7).float(), lengths=torch.tensor([3, 4]))
        with pytest.raises(ValueError, match="event 1 has a particle in slot 3, but there are 3 slots"):
            boost_net()(batch)


class TestLorentzBoostNetExamplesOfTheReference:
    matrix_feats, vecs, feats_per_vec = [f"{v}_{f}" for v in VECS for f in P4], VECS, P4

    def test_the_default_features(self):
        lbn = LorentzBoostNet(
            cont_feats=self.matrix_feats, feats_per_vec=self.feats_per_vec, vecs=self.vecs, n_particles=6
        )
        y = lbn(four_momenta(7, 3).float().flatten(1))
        assert y.shape == (7, 4 * 6 + 15) == (7, lbn.get_out_size())
        assert bool(y.isfinite().all())

    def test_features_of_a_function(self):
        lbn = LorentzBoostNet(
            cont_feats=self.matrix_feats, feats_per_vec=self.feats_per_vec, vecs=self.vecs, n_particles=6,
            feat_extractor=masses,
        )  # fmt: skip
        y = lbn(four_momenta(7, 3).float().flatten(1))
        assert y.shape == (7, 6) == (7, lbn.get_out_size())
        assert bool(y.isfinite().all())
