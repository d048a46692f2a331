import math
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from torch import nn
from torch_geometric.data import Batch, Data

from lumigraph import InteractionNet, Model, ModelBuilder, MultiHead, load_sample
from lumigraph.events.graph import CompleteGraph
from lumigraph.plotting import message_strengths, plot_event, plot_messages, save

FEATS = ("px", "py", "pz", "E", "btag", "kind")
CELLS = [f"particle_{feat}" for feat in FEATS]


def network(**options):
    sizes = {"intfunc_depth": 2, "intfunc_width": 8, "intfunc_out_sz": 5, "outfunc_depth": 2, "outfunc_width": 8}
    options = sizes | {"outfunc_out_sz": 6, "agg_method": "sum"} | options
    net = InteractionNet(CELLS, ["particle"], list(FEATS), **options).double()
    net.set_scaling(x=(torch.zeros(6).double(), torch.full((6,), 50.0).double()))
    return net


def summed_effects(net, batch, layer=0):
    """The effects that arrive at each particle of a batch, as the second function of a layer gets them."""
    seen = []
    hook = net.convs[layer].fo.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(batch)
    hook.remove()
    return seen[0][:, net.convs[layer].in_channels :]


class TestStrengths:
    def test_order_is_that_of_the_complete_graph(self, batch):
        for event, n in enumerate([0, 1, 4, 0, 200]):
            edge_index, strengths = message_strengths(network(), batch, event)
            assert torch.equal(edge_index, CompleteGraph.from_lengths(torch.tensor([n])).edge_index())
            assert strengths.shape == (n * (n - 1),)

    def test_norms_of_the_effects_of_a_double_loop(self, batch):
        net, x = network(), batch.x[1:5] / 50.0
        expected = [net.convs[0].fr(torch.cat([x[i], x[j]])).norm() for i in range(4) for j in range(4) if i != j]
        torch.testing.assert_close(message_strengths(net, batch, 2)[1], torch.stack(expected).detach())

    @pytest.mark.parametrize("layer", [0, 1])
    @pytest.mark.parametrize("options", [{}, {"bn": True}, {"do": 0.5}, {"legacy_edges": True}], ids=str)
    def test_they_add_up_to_what_arrives_in_the_network(self, batch, options, layer):
        # a single effect from a rectifier is its own norm
        net = network(intfunc_out_sz=1, n_layers=2, **options).eval()
        with torch.no_grad():
            for parameter in net.convs[layer].fr.parameters():
                parameter.abs_()  # so that some effect is left behind the rectifier
        batch = Data(x=batch.x[1:5])
        (_, receiver), strengths = message_strengths(net.train(), batch, layer=layer)
        assert net.training
        assert all(conv.training for conv in net.convs)
        expected = summed_effects(net.eval(), batch, layer)[:, 0].detach()
        assert expected.min() > 0
        torch.testing.assert_close(torch.zeros(4).double().index_add(0, receiver, strengths), expected)

    def test_legacy_edges_follow_the_slots(self, batch):
        batch = Data(
            x=batch.x[1:5], slot=torch.tensor([5, 0, 9, 2])
        )  # particle 1 hears 3, 3 hears 0, 0 hears 2, 2 hears 1
        edge_index, strengths = message_strengths(network(legacy_edges=True), batch)
        heard = {tuple(pair) for pair in edge_index.T[strengths > 0].tolist()}
        assert heard == {(3, 1), (0, 3), (2, 0), (1, 2)}

    def test_of_a_model_a_head_and_a_module(self, batch):
        net = network()
        assert torch.equal(message_strengths(nn.Sequential(net), batch, 2)[1], message_strengths(net, batch, 2)[1])
        multi = MultiHead(["ht", *CELLS], matrix_head=lambda **_: net, vecs=["particle"], feats_per_vec=list(FEATS))
        assert torch.equal(message_strengths(multi, batch, 2)[1], message_strengths(net, batch, 2)[1])

    def test_nothing_stays_behind(self, batch):
        net = network()
        before = net(batch)
        message_strengths(net, batch, 2)
        assert not net.convs[0]._message_forward_hooks
        assert torch.equal(net(batch), before)

    def test_errors(self, batch):
        with pytest.raises(ValueError, match="layer must be a number from 0 to 0, got 1: the network has 1"):
            message_strengths(network(), batch, 2, layer=1)
        with pytest.raises(ValueError, match="event must be a number from 0 to 4, got 5"):
            message_strengths(network(), batch, 5)
        with pytest.raises(ValueError, match="the Linear must have one InteractionNet, got none: build it"):
            message_strengths(nn.Linear(2, 1), batch)
        with pytest.raises(ValueError, match="2 features per particle, the head expects 6"):
            message_strengths(network(), Data(x=torch.rand(3, 2)))


def messages_of(ax):
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return lines


class TestPicture:
    def test_width_and_darkness_follow_the_strength(self, batch):
        net = network()
        _, strengths = message_strengths(net, batch, 2)
        lines = messages_of(plot_messages(net, batch, 2, feats_per_vec=FEATS))
        share = strengths.sort().values.numpy() / strengths.max().item()  # the strongest lies on top
        np.testing.assert_allclose(lines.get_alpha(), 0.9 * share)
        np.testing.assert_allclose(lines.get_linewidths(), 0.2 + 2.8 * share)

    def test_half_lines_end_at_the_receiver(self, batch):
        net = network()
        edge_index, strengths = message_strengths(net, batch, 2)
        plane = plot_event(batch, 2, feats_per_vec=FEATS, edges=False)
        assert plane.get_xlim() == plot_messages(net, batch, 2, feats_per_vec=FEATS).get_xlim()
        p = {0: (0.0, 1.0), 1: (-1.0, math.pi - 0.2), 2: (1.0, -math.pi + 0.2), 3: (0.5, 0.0)}
        paths = messages_of(plot_messages(net, batch, 2, feats_per_vec=FEATS)).get_paths()
        for path, edge in zip(paths, strengths.argsort(stable=True).tolist(), strict=True):
            sender, receiver = edge_index[:, edge].tolist()
            np.testing.assert_allclose(path.vertices[0], p[receiver], atol=1e-9)
            if {sender, receiver} == {1, 2}:  # across phi = pi, where the middle is
                np.testing.assert_allclose(path.vertices[1], (0.0, math.copysign(math.pi, p[receiver][1])), atol=1e-9)
            elif {sender, receiver} != {0, 2}:
                np.testing.assert_allclose(path.vertices[1], np.mean([p[sender], p[receiver]], axis=0), atol=1e-9)

    def test_only_the_strongest(self, batch):
        net = network()
        lines = messages_of(plot_messages(net, batch, 2, feats_per_vec=FEATS, strongest=3))
        every = messages_of(plot_messages(net, batch, 2, feats_per_vec=FEATS))
        assert lines.get_alpha().tolist() == every.get_alpha()[-3:].tolist()
        assert lines.get_alpha().max() == pytest.approx(0.9)
        assert not messages_of(plot_messages(net, batch, 2, feats_per_vec=FEATS, strongest=0)).get_paths()

    def test_legend_gives_the_scale(self, batch):
        net = network()
        largest = message_strengths(net, batch, 2)[1].max().item()
        ax = plot_messages(net, batch, 2, feats_per_vec=FEATS)
        texts = [text.get_text() for text in ax.get_legend().get_texts()]
        assert texts[:3] == ["MET", "jet", "jet, b-tagged"]
        assert texts[-3:] == ["effect on the\nnearer particle", f"{largest / 2:.2g}", f"{largest:.2g}"]
        widths = [line.get_linewidth() for line in ax.get_legend().get_lines()[-2:]]
        assert widths == [pytest.approx(0.2 + 2.8 * 0.5), pytest.approx(3.0)]
        ax.figure.canvas.draw()
        assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1

    def test_layers(self, batch):
        net = network(n_layers=2)
        ax = plot_messages(net, batch, 2, feats_per_vec=FEATS, layer=1)
        assert ax.get_title(loc="left") == "Event 2: 4 particles, layer 1"
        strengths = message_strengths(net, batch, 2, layer=1)[1].sort().values
        np.testing.assert_allclose(messages_of(ax).get_alpha(), 0.9 * (strengths / strengths.max()).numpy())

    @pytest.mark.parametrize("event", [0, 1, 3])
    def test_few_particles(self, batch, event, tmp_path):
        ax = plot_messages(network(), batch, event, feats_per_vec=FEATS)
        assert not messages_of(ax).get_paths()
        assert save(ax, tmp_path / "few").exists()

    def test_the_batch_or_the_network_knows_the_names(self, batch):
        net = network()
        told = plot_messages(net, batch, 2, feats_per_vec=FEATS)
        for known in (batch, Batch.from_data_list([Data(x=batch.x[1:5])] * 3)):
            ax = plot_messages(net, known, 2)
            np.testing.assert_allclose(messages_of(ax).get_alpha(), messages_of(told).get_alpha())
            labels = [[text.get_text() for text in drawn.get_legend().get_texts()] for drawn in (ax, told)]
            assert labels[0] == labels[1]

    def test_effects_that_are_all_zero(self, batch):
        net = network()
        for parameter in net.convs[0].fr.parameters():
            nn.init.zeros_(parameter)
        ax = plot_messages(net, batch, 2, feats_per_vec=FEATS)
        assert messages_of(ax).get_alpha().max() == 0
        ax.figure.canvas.draw()

    def test_two_hundred_particles_in_two_seconds(self, batch, tmp_path):
        net = network()
        start = time.process_time()
        ax = plot_messages(net, batch, 4, feats_per_vec=FEATS)
        save(ax, tmp_path / "crowd.png")
        assert time.process_time() - start < 2.0
        assert len(messages_of(ax).get_paths()) == 3000

    def test_draws_on_given_axes(self, batch):
        _, (left, right) = plt.subplots(1, 2)
        assert plot_messages(network(), batch, 2, feats_per_vec=FEATS, ax=right) is right
        assert not left.collections

    def test_errors(self, batch):
        with pytest.raises(ValueError, match="strongest must be at least 0, got -1"):
            plot_messages(network(), batch, 2, feats_per_vec=FEATS, strongest=-1)
        with pytest.raises(ValueError, match=r"layer must be .*, got 3"):
            plot_messages(network(), batch, 2, feats_per_vec=FEATS, layer=3)
        assert plt.get_fignums() == []


def test_the_picture_is_true(monkeypatch):
    """Without its strongest messages a trained network changes its answer more than without as many of the weakest."""
    train, _, test = load_sample().split((0.3, 0.5, 0.2), seed=0)
    net = partial(
        InteractionNet, intfunc_depth=2, intfunc_width=32, intfunc_out_sz=16, outfunc_depth=2, outfunc_width=32,
        outfunc_out_sz=16, agg_method="mean", n_layers=2,
    )  # fmt: skip
    model = Model(ModelBuilder.from_dataset(train, head=MultiHead, model_args={"head": {"matrix_head": net}}))
    model.fit(4, train, 128, progress_bar=False)
    batch, events = test.batch(range(200)), range(200)
    everything = model.predict(batch)[:, 0]
    assert model.metrics(test)["auc"].value > 0.75
    for layer in range(2):
        conv = model.head.matrix_head.convs[layer]
        forward = conv.forward
        found = [message_strengths(model, batch, event, layer=layer) for event in events]

        def change(rank, share, conv=conv, forward=forward, found=found):
            """Return by how much the output of each event changes without this share of its messages."""
            kept = []
            for event, (edge_index, strengths) in enumerate(found):
                left_out = round(share * len(strengths))
                kept.append(edge_index[:, rank(strengths).argsort()[left_out:]] + batch.ptr[event])
            monkeypatch.setattr(conv, "forward", lambda x, *_: forward(x, torch.cat(kept, dim=1)))
            without = model.predict(batch)[:, 0]
            monkeypatch.undo()
            return np.abs(without - everything)

        np.testing.assert_allclose(change(torch.clone, 0.0), 0.0, atol=1e-5)  # another order of sums, no more
        for share in (0.1, 0.3):
            strongest, weakest = change(torch.neg, share), change(torch.clone, share)
            some = change(torch.rand_like, share)
            assert strongest.mean() > 1.2 * weakest.mean()
            assert strongest.mean() > some.mean() > weakest.mean()
            assert (strongest > weakest).mean() > 0.55
