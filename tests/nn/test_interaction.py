import copy
import math
import pickle
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import Sequential

from lumigraph.events.graph import CompleteGraph, complete_pairs
from lumigraph.nn import InteractionConv, lookup_uniform_init
from lumigraph.nn.lookups import Act

LENGTHS = [0, 1, 3, 0, 2, 5, 1, 0]
RAGGED = st.lists(st.sampled_from([0, 1, 2, 3, 7]), max_size=5)
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


def network(act="tanh", **options):
    """A layer in float64 with biases that are not 0, so that none can be forgotten."""
    options = {"effect_hidden": (6,), "out_hidden": (5,), **options}
    conv = InteractionConv(3, 4, 2, act=act, **options).double()
    for name, parameter in conv.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return conv


def events(lengths=LENGTHS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), 3, dtype=torch.float64, generator=generator)
    return x, CompleteGraph.from_lengths(torch.tensor(lengths, dtype=torch.long))


def pairs_of(lengths):
    """Senders of each particle: the others of its event."""
    senders, first = [], 0
    for n in lengths:
        senders += [[j for j in range(first, first + n) if j != i] for i in range(first, first + n)]
        first += n
    return senders


def in_numpy(conv, x, senders, act):
    """Compute the layer from its weights alone, pair by pair."""

    def through(net, h):
        for layer in net:
            h = act(layer[0].weight.detach().numpy() @ h + layer[0].bias.detach().numpy())
        return h

    x, rows = x.detach().numpy(), []
    for i, others in enumerate(senders):
        effect = np.zeros(conv.effect_channels)
        for j in others:
            effect = effect + through(conv.fr, np.concatenate([x[i], x[j]]))
        rows.append(through(conv.fo, np.concatenate([x[i], effect])))
    return torch.from_numpy(np.array(rows).reshape(len(senders), conv.out_channels))


def row_by_row(conv, x, senders):
    """Compute the layer pair by pair with its own networks."""
    rows = []
    for i, others in enumerate(senders):
        effect = sum((conv.fr(torch.cat([x[i], x[j]])[None])[0] for j in others), x.new_zeros(conv.effect_channels))
        rows.append(conv.fo(torch.cat([x[i], effect])[None])[0])
    return torch.stack(rows)


class TestAgainstADoubleLoop:
    @settings(max_examples=25)
    @given(RAGGED, st.integers(0, 99))
    def test_ragged_events(self, lengths, seed):
        conv, (x, graph) = network(), events(lengths, seed)
        torch.testing.assert_close(conv(x, graph), in_numpy(conv, x, pairs_of(lengths), np.tanh), **TOLERANCE)

    @pytest.mark.parametrize("hidden", [(), (6,), (6, 7, 8)])
    def test_networks_of_any_depth(self, hidden):
        conv, (x, graph) = network(effect_hidden=hidden, out_hidden=hidden[::-1]), events()
        assert [len(conv.fr), len(conv.fo)] == [len(hidden) + 1] * 2
        torch.testing.assert_close(conv(x, graph), in_numpy(conv, x, pairs_of(LENGTHS), np.tanh), **TOLERANCE)

    @pytest.mark.parametrize("act", get_args(Act))
    @pytest.mark.parametrize("norm", [False, True])
    def test_every_activation_with_and_without_norm(self, act, norm):
        conv, (x, graph) = network(act, norm=norm), events([0, 1, 3, 2])
        conv(x, graph)  # moves the running statistics
        conv.eval()
        torch.testing.assert_close(conv(x, graph), row_by_row(conv, x, pairs_of([0, 1, 3, 2])), **TOLERANCE)

    def test_effects_are_summed_and_not_averaged(self):
        conv = InteractionConv(1, 1, 1, effect_hidden=(), out_hidden=(), act="linear")
        with torch.no_grad():
            conv.fr[0][0].weight.copy_(torch.tensor([[0.0, 1.0]]))  # the effect is the sender's feature
            conv.fo[0][0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        x = torch.tensor([[1.0], [10.0], [100.0]])
        assert conv(x, CompleteGraph.from_lengths(torch.tensor([3]))).flatten().tolist() == [110.0, 101.0, 11.0]

    def test_the_receiver_comes_first(self):
        conv = InteractionConv(1, 1, 1, effect_hidden=(), out_hidden=(), act="linear")
        with torch.no_grad():
            conv.fr[0][0].weight.copy_(torch.tensor([[1.0, 0.0]]))  # the effect is the receiver's feature
            conv.fo[0][0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        x = torch.tensor([[1.0], [10.0], [100.0]])
        assert conv(x, CompleteGraph.from_lengths(torch.tensor([3]))).flatten().tolist() == [2.0, 20.0, 200.0]


class TestEdges:
    def test_written_out_edges_give_the_same(self):
        conv, (x, graph) = network(), events()
        torch.testing.assert_close(conv(x, graph.edge_index()), conv(x, graph), **TOLERANCE)

    def test_order_of_the_edges_does_not_matter(self):
        conv, (x, graph) = network(), events()
        edge_index = graph.edge_index()
        shuffled = edge_index[:, torch.randperm(edge_index.size(1))]
        assert not torch.equal(shuffled, edge_index)
        torch.testing.assert_close(conv(x, shuffled), conv(x, graph), **TOLERANCE)

    def test_nearest_neighbours(self):
        conv, (x, graph) = network(), events()
        senders = []
        for i, others in enumerate(pairs_of(LENGTHS)):
            senders.append(sorted(others, key=lambda j, i=i: float((x[i] - x[j]).norm()))[:2])
        assert any(len(few) < len(all_) for few, all_ in zip(senders, pairs_of(LENGTHS), strict=True))
        edges = torch.tensor([(j, i) for i, few in enumerate(senders) for j in few]).t()
        torch.testing.assert_close(conv(x, edges), in_numpy(conv, x, senders, np.tanh), **TOLERANCE)
        assert not torch.allclose(conv(x, edges), conv(x, graph))

    def test_messages_go_from_row_0_to_row_1(self):
        conv, (x, _) = network(), events([2])
        one_way = conv(x, torch.tensor([[0], [1]]))
        torch.testing.assert_close(one_way, in_numpy(conv, x, [[], [0]], np.tanh), **TOLERANCE)

    def test_gradients_are_the_same_either_way(self):
        conv, (x, graph) = network(), events()
        found = []
        for edges in (graph, graph.edge_index()):
            inputs = [x.requires_grad_(), *conv.parameters()]
            found.append(torch.autograd.grad(conv(x, edges).square().sum(), inputs))
        torch.testing.assert_close(found[0], found[1], **TOLERANCE)

    def test_no_edges_at_all(self):
        conv, (x, _) = network(), events([1, 1])
        nothing = torch.zeros(2, 0, dtype=torch.long)
        torch.testing.assert_close(conv(x, nothing), in_numpy(conv, x, [[], []], np.tanh), **TOLERANCE)

    @pytest.mark.parametrize("lengths", [[], [0, 0]])
    def test_no_particles_at_all(self, lengths):
        conv, (x, graph) = network(norm=True), events(lengths)
        assert conv(x, graph).shape == (0, 2)


class TestSymmetry:
    def test_permuting_the_particles_permutes_the_output(self):
        conv, (x, graph) = network(), events([4, 0, 3])
        order = torch.tensor([2, 0, 3, 1, 6, 4, 5])
        torch.testing.assert_close(conv(x[order], graph), conv(x, graph)[order], **TOLERANCE)

    def test_reordering_the_events_reorders_the_output(self):
        conv, (x, graph) = network(), events([4, 0, 3])
        swapped = CompleteGraph.from_lengths(torch.tensor([3, 4, 0]))
        order = torch.tensor([4, 5, 6, 0, 1, 2, 3])
        torch.testing.assert_close(conv(x[order], swapped), conv(x, graph)[order], **TOLERANCE)

    def test_every_particle_hears_every_other_one_of_its_event_and_no_other(self):
        conv, (x, graph) = network(), events()
        jacobian = torch.autograd.functional.jacobian(lambda v: conv(v, graph), x).abs().sum(dim=(1, 3))
        assert torch.equal(jacobian > 0, graph.batch.unsqueeze(0) == graph.batch.unsqueeze(1))

    def test_an_event_alone_gives_the_same(self):
        conv, (x, graph) = network(), events()
        together = conv(x, graph)
        for n, begin, end in zip(LENGTHS, graph.ptr[:-1].tolist(), graph.ptr[1:].tolist(), strict=True):
            alone = conv(x[begin:end], CompleteGraph.from_lengths(torch.tensor([n])))
            torch.testing.assert_close(alone, together[begin:end], **TOLERANCE)

    def test_garbage_in_one_event_stays_there(self):
        conv, (x, graph) = network(), events([2, 3])
        spoilt = x.clone()
        spoilt[0] = math.nan
        assert torch.equal(conv(spoilt, graph)[2:], conv(x, graph)[2:])
        assert conv(spoilt, graph)[:2].isnan().all()


class TestNorm:
    @pytest.mark.parametrize("lengths", [[], [0], [1], [2], [0, 0], [1, 0], [1, 1], [2, 1], [3]])
    def test_few_particles_stay_finite(self, lengths):
        conv, (x, graph) = network("relu", norm=True), events(lengths)
        x.requires_grad_()
        for _ in range(3):
            out = conv(x, graph)
            out.sum().backward()
            assert out.isfinite().all()
        assert all(b.isfinite().all() for b in conv.buffers())
        assert all(p.grad is None or p.grad.isfinite().all() for p in (x, *conv.parameters()))
        assert conv.eval()(x, graph).isfinite().all()

    def test_events_without_edges_leave_the_running_statistics_of_the_effects(self):
        conv, (x, graph) = network(norm=True), events([1, 0, 1])
        before = copy.deepcopy(conv.state_dict())
        conv(x, graph)
        after = conv.state_dict()
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"fo"}

    @pytest.mark.parametrize("sizes", [(3, 4, 2), (5, 1, 7), (4, 6, 6)])
    @pytest.mark.parametrize("hidden", [(), (6,), (9, 3)])
    def test_works_for_any_size(self, sizes, hidden):
        # in LUMIN 0.7.2 the axis of the normalisation was that of the edges
        conv = InteractionConv(*sizes, effect_hidden=hidden, out_hidden=hidden, norm=True)
        graph = CompleteGraph.from_lengths(torch.tensor([4, 2]))
        out = conv(torch.randn(6, sizes[0]), graph)
        torch.testing.assert_close(out.mean(0), torch.zeros(sizes[2]), rtol=0, atol=1e-5)  # of particles, per channel

    def test_of_the_effects_is_over_edges(self):
        conv, (x, graph) = network("linear", norm=True, effect_hidden=()), events()
        sender, receiver = graph.edge_index()
        conv(x, graph)
        linear, norm = conv.fr[0][0], conv.fr[0][1]
        expected = 0.1 * linear(torch.cat([x[receiver], x[sender]], dim=1)).mean(0)  # momentum 0.1, from 0
        torch.testing.assert_close(norm.running_mean, expected.detach(), **TOLERANCE)


class TestDropout:
    def test_acts_in_training_only(self):
        conv, (x, graph) = network(dropout=0.5), events()
        assert not torch.equal(conv(x, graph), conv(x, graph))
        assert bool((conv(x, graph) == 0).any())
        conv.eval()
        torch.testing.assert_close(conv(x, graph), in_numpy(conv, x, pairs_of(LENGTHS), np.tanh), **TOLERANCE)

    def test_stands_behind_every_layer(self):
        conv = network(dropout=0.25, effect_hidden=(6, 6))
        rates = [layer[-1].p for layer in (*conv.fr, *conv.fo)]
        assert rates == [0.25] * 5
        assert isinstance(network("selu", dropout=0.25).fr[0][-1], nn.AlphaDropout)


class TestState:
    def test_repr(self):
        assert repr(InteractionConv(4, 8, 5)) == "InteractionConv(4, 8, 5)"

    def test_shapes_and_names_of_the_weights(self):
        shapes = {name: tuple(p.shape) for name, p in InteractionConv(4, 8, 5, effect_hidden=(7,)).named_parameters()}
        assert shapes == {
            "fr.0.0.weight": (7, 8), "fr.0.0.bias": (7,), "fr.1.0.weight": (8, 7), "fr.1.0.bias": (8,),
            "fo.0.0.weight": (64, 12), "fo.0.0.bias": (64,), "fo.1.0.weight": (5, 64), "fo.1.0.bias": (5,),
        }  # fmt: skip

    def test_reset_parameters_draws_anew(self):
        conv, (x, graph) = network(norm=True), events()
        conv(x, graph)
        before = copy.deepcopy(conv.state_dict())
        conv.reset_parameters()
        for name, value in conv.state_dict().items():
            if name.endswith("0.weight"):
                assert not (value == before[name]).any()
            elif name.endswith(("bias", "running_mean", "num_batches_tracked")):
                assert not value.any()
            else:
                assert bool((value == 1).all()), name

    def test_own_initialisation_is_used(self):
        conv = InteractionConv(100, 200, 300, effect_hidden=(), out_hidden=(), lookup_init=lookup_uniform_init)
        assert float(conv.fr[0][0].weight.detach().abs().max()) == pytest.approx(math.sqrt(6 / 200), rel=1e-2)
        assert float(conv.fo[0][0].weight.detach().abs().max()) == pytest.approx(math.sqrt(6 / 300), rel=1e-2)

    @pytest.mark.parametrize(
        "duplicate",
        [
            copy.deepcopy,
            lambda conv: pickle.loads(pickle.dumps(conv)),
            lambda conv: (twin := network(norm=True)).load_state_dict(conv.state_dict()) and twin,
        ],
    )
    def test_a_copy_gives_the_same(self, duplicate):
        conv, (x, graph) = network(norm=True), events()
        conv(x, graph)
        twin = duplicate(conv)
        assert torch.equal(twin.eval()(x, graph), conv.eval()(x, graph))
        twin.reset_parameters()
        assert not torch.equal(twin(x, graph), conv(x, graph))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dtype_follows_the_layer(self, dtype):
        x, graph = events()
        conv = network(norm=True).to(dtype)
        assert conv(x.to(dtype), graph).dtype == dtype

    def test_every_parameter_gets_a_gradient(self):
        conv, (x, graph) = network(norm=True, effect_hidden=(6, 6)), events()
        conv(x, graph).pow(3).sum().backward()
        for name, parameter in conv.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 1e-12, name

    def test_gradients_are_right(self):
        conv, (x, graph) = network(), events([2, 0, 1, 3])
        assert torch.autograd.gradcheck(lambda v: conv(v, graph), [x.requires_grad_()])


class TestInPyG:
    def test_within_pygs_sequential(self):
        first, second = network(), InteractionConv(2, 4, 1).double()
        model = Sequential("x, edge_index", [(first, "x, edge_index -> x"), nn.Tanh(), (second, "x, edge_index -> x")])
        x, graph = events()
        expected = second(first(x, graph).tanh(), graph)
        torch.testing.assert_close(model(x, graph.edge_index()), expected, **TOLERANCE)
        torch.testing.assert_close(model(x, graph), expected, **TOLERANCE)

    def test_an_explainer_finds_the_edge_that_matters(self):
        # particle 0 hears 1 and 2, whose effect is their feature: 5 and 0
        conv = InteractionConv(1, 1, 1, effect_hidden=(), out_hidden=(), act="linear")
        with torch.no_grad():
            conv.fr[0][0].weight.copy_(torch.tensor([[0.0, 1.0]]))
            conv.fo[0][0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        explainer = Explainer(
            conv,
            GNNExplainer(epochs=50, lr=0.1),
            explanation_type="model",
            edge_mask_type="object",
            model_config={"mode": "regression", "task_level": "node"},
        )
        x, edges = torch.tensor([[0.0], [5.0], [0.0]]), torch.tensor([[1, 2], [0, 0]])
        mask = explainer(x, edges, index=0).edge_mask
        assert mask.shape == (2,)
        assert mask[0] > 0.5 > mask[1]


class TestErrors:
    def test_features_that_do_not_fit(self):
        with pytest.raises(ValueError, match=r"x must have 3 features per particle, got shape \(2, 4\)"):
            network()(torch.zeros(2, 4, dtype=torch.float64), CompleteGraph.from_lengths(torch.tensor([2])))

    def test_graph_that_does_not_fit(self):
        with pytest.raises(ValueError, match="edges must have 2 particles, as x has, got 3"):
            network()(torch.zeros(2, 3, dtype=torch.float64), CompleteGraph.from_lengths(torch.tensor([3])))

    @pytest.mark.parametrize("pair_feats", [False, True])
    def test_momenta_that_are_missing_or_not_asked_for(self, pair_feats):
        graph, p4 = CompleteGraph.from_lengths(torch.tensor([2])), None if pair_feats else torch.ones(2, 4)
        with pytest.raises(ValueError, match="p4, the four-momenta, must be given if and only if pair_feats=True"):
            InteractionConv(3, 4, 2, pair_feats=pair_feats)(torch.zeros(2, 3), graph, p4)

    @pytest.mark.parametrize("sizes", [(0, 4, 2), (3, 0, 2), (3, 4, 0)])
    def test_sizes_that_are_none(self, sizes):
        with pytest.raises(ValueError, match="a layer must have at least one input and one output"):
            InteractionConv(*sizes)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"effect_hidden": (0,)}, "at least one input and one output"),
            ({"act": "rellu"}, "act must be an activation, got 'rellu'"),
            ({"dropout": 1.0}, "dropout must be a rate"),
        ],
    )
    def test_options_that_are_none(self, options, message):
        with pytest.raises(ValueError, match=message):
            InteractionConv(3, 4, 2, **options)

    def test_unknown_keyword(self):
        with pytest.raises(TypeError, match="bn"):
            InteractionConv(3, 4, 2, bn=True)


class TestPaddedEvents:
    @pytest.mark.parametrize("pair_feats", [False, True])
    @pytest.mark.parametrize("norm", [False, True])
    @pytest.mark.parametrize("training", [False, True])
    @given(lengths=st.lists(st.integers(0, 5), max_size=4), seed=st.integers(0, 9))
    def test_they_give_the_same_as_packed_ones_whatever_fills_them(self, lengths, seed, training, norm, pair_feats):
        torch.manual_seed(seed)
        packed = InteractionConv(3, 4, 5, act="swish", norm=norm, pair_feats=pair_feats).double().train(training)
        padded = copy.deepcopy(packed)
        mask = torch.rand(len(lengths), 6).argsort(1) < torch.tensor(lengths).view(-1, 1)
        rows = torch.randn(len(lengths), 6, 3).double()
        p4 = torch.randn(len(lengths), 6, 4).double()
        found = padded.dense(rows, mask, complete_pairs(mask), p4 if pair_feats else None)
        expected = packed(rows[mask], CompleteGraph.from_lengths(mask.sum(1)), p4[mask] if pair_feats else None)
        torch.testing.assert_close(found[mask], expected)
        for mine, theirs in zip(padded.buffers(), packed.buffers(), strict=True):
            torch.testing.assert_close(mine, theirs)


class TestFeaturesOfPairs:
    def test_derivatives_with_respect_to_momenta(self):
        conv, graph = (
            InteractionConv(2, 3, 1, act="tanh", pair_feats=True).double(),
            CompleteGraph(torch.tensor([0, 3])),
        )
        x, p4 = torch.randn(3, 2).double(), torch.tensor([[30, 1, 5, 40], [8, -9, 2, 14], [1, 2, 3, 4.0]]).double()
        assert conv.path(x, graph, p4.requires_grad_()) == "edges"
        assert conv.path(x, graph, p4.detach()) in ("compiled", "blocks")
        assert torch.autograd.gradcheck(lambda p4: conv(x, graph, p4), p4)

    def test_nearest_neighbours(self):
        conv, p4 = InteractionConv(2, 3, 4, pair_feats=True), torch.rand(4, 4)
        x, graph = torch.randn(4, 2), CompleteGraph(torch.tensor([0, 4]))
        torch.testing.assert_close(conv(x, graph.edge_index(), p4), conv(x, graph, p4))
        fewer = conv(x, graph.edge_index()[:, :3], p4)
        assert torch.equal(fewer[0], conv(x, graph.edge_index(), p4)[0])
        assert not torch.equal(fewer[1], conv(x, graph.edge_index(), p4)[1])
