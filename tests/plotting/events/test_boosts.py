import time
from functools import partial
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from torch import nn
from torch_geometric.data import Data

from lumigraph import AutoExtractLorentzBoostNet, LorentzBoostNet, Model, ModelBuilder, MultiHead, load_sample
from lumigraph.events import kinematics
from lumigraph.plotting import PlotSettings, plot_boosts, plot_combinations, save

P4 = ["px", "py", "pz", "E"]


def network(slots=4, feats=("px", "py", "pz", "E", "btag", "kind"), vecs=None, cls=LorentzBoostNet, **options):
    vecs = [f"particle{i}" for i in range(slots)] if vecs is None else vecs
    cells = [f"{vec}_{feat}" for vec in vecs for feat in feats]
    return cls(cells, vecs, list(feats), **({"n_particles": 3} | options)).double()


def few(*rows):
    return Data(x=torch.tensor(rows, dtype=torch.float64))


LEARNED = {"depth": 1, "width": 4, "n_singles": 2, "cls": AutoExtractLorentzBoostNet}


class TestCombinations:
    @pytest.mark.parametrize("options", [{}, {"mode": "product", "n_frames": 2}, LEARNED], ids=str)
    def test_rows_are_shares_of_combinations_and_frames(self, options):
        net = network(**options)
        ax = plot_combinations(net)
        weights = torch.cat([net.conv.part_wgts, net.conv.rf_wgts]).abs().detach()
        expected = 100 * weights / weights.sum(1, keepdim=True)
        np.testing.assert_allclose(ax.images[0].get_array(), expected)
        frames = net.conv.num_frames
        names = [f"$k_{{{i}}}$" for i in range(3)] + [f"$r_{{{i}}}$" for i in range(frames)]
        assert [text.get_text() for text in ax.get_yticklabels()] == names
        (border,) = ax.get_lines()
        assert list(border.get_ydata()) == [2.5, 2.5]
        assert (ax.get_xlabel(), [text.get_text() for text in ax.get_xticklabels()]) == ("Slot: particle", list("0123"))
        (bar,) = [other for other in ax.figure.axes if other is not ax]
        assert bar.get_ylabel() == "Share of the weights [%]"

    def test_combinations_are_their_own_frames(self):
        net = network(mode="combinations")
        ax = plot_combinations(net)
        assert ax.images[0].get_array().shape == (3, 4)
        assert not ax.get_lines()
        assert ax.get_ylabel() == "Combinations $k$, also frames"

    def test_objects_have_their_names(self):
        ax = plot_combinations(network(vecs=["met", "lepton", "jet0", "jet1"]))
        assert ax.get_xlabel() == "Slot"
        assert [text.get_text() for text in ax.get_xticklabels()] == ["met", "lepton", "jet0", "jet1"]
        assert {text.get_rotation() for text in ax.get_xticklabels()} == {90.0}

    def test_many_slots_and_combinations_are_not_all_labelled(self):
        ax = plot_combinations(network(slots=200, n_particles=30))
        assert len(ax.get_xticklabels()) <= 12
        assert len(ax.get_yticklabels()) <= 16
        assert ax.get_xticks()[1] == float(ax.get_xticklabels()[1].get_text())
        ax.figure.canvas.draw()
        for axis, start, end in (("x", "x0", "x1"), ("y", "y0", "y1")):
            boxes = [text.get_window_extent() for text in getattr(ax, f"get_{axis}ticklabels")()]
            boxes.sort(key=lambda box: getattr(box, start))
            assert all(getattr(a, end) <= getattr(b, start) for a, b in pairwise(boxes))

    def test_weights_that_are_all_zero(self):
        net = network()
        nn.init.zeros_(net.conv.part_wgts)
        ax = plot_combinations(net)
        assert (ax.images[0].get_array()[:3] == 0).all()
        ax.figure.canvas.draw()

    def test_of_a_head_within_a_head_on_given_axes(self):
        multi = MultiHead(["ht", "a_px", "a_py", "a_pz", "a_E"], matrix_head=LorentzBoostNet, vecs=["a"],
                          feats_per_vec=P4, n_particles=2)  # fmt: skip
        _, (left, right) = plt.subplots(1, 2)
        assert plot_combinations(nn.Sequential(multi), ax=right, settings=PlotSettings(colormap="magma")) is right
        assert right.images[0].get_cmap().name == "magma"
        assert not left.images

    def test_errors(self):
        with pytest.raises(ValueError, match="the Linear must have one LorentzBoostNet, got none"):
            plot_combinations(nn.Linear(2, 1))


def tips_of(ax):
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)}


def special(ax):
    """The frame and the combinations."""
    _, frame, combinations = ax.get_lines()
    return frame.get_xydata(), combinations.get_xydata()


class TestBoosts:
    def test_before_and_after(self, batch):
        net = network()
        before, after = plot_boosts(net, batch, 2, frame=1)
        p4 = batch.x[1:5, :4]
        _, frames = net.conv.combine(p4, torch.arange(4), torch.tensor([0, 4]))
        rest = frames[0, 1].detach()
        along = rest[:3] / rest[:3].norm()
        for ax, momenta in ((before, p4), (after, kinematics.boost(p4, rest))):
            parallel = momenta[:, :3] @ along
            across = torch.linalg.cross(momenta[:, :3], along.expand(4, 3)).norm(dim=1)
            expected = torch.stack([parallel, across], 1).numpy()
            found = tips_of(ax)
            assert list(found) == ["MET", "jet", "jet, b-tagged"]
            for name, members in (("MET", [0]), ("jet", [1, 3]), ("jet, b-tagged", [2])):
                np.testing.assert_allclose(found[name], expected[members], atol=1e-9)

    def test_the_boost_moves_sideways_and_brings_the_frame_to_rest(self, batch):
        before, after = plot_boosts(network(), batch, 2)
        for name, tips in tips_of(before).items():
            np.testing.assert_allclose(tips_of(after)[name][:, 1], tips[:, 1], rtol=1e-9)
            assert np.abs(tips_of(after)[name][:, 0] - tips[:, 0]).min() > 0.1
        (frame,), (at_rest,) = special(before)[0], special(after)[0]
        assert frame[0] > 1
        np.testing.assert_allclose([frame[1], *at_rest], 0.0, atol=1e-9)

    @pytest.mark.parametrize(
        ("options", "outputs"),
        [
            ({}, [2]),  # k2 in r2
            ({"mode": "product", "n_frames": 4}, [2, 6, 10]),  # k0, k1, k2, each in r0 to r3
            ({"mode": "combinations"}, [1, 2]),  # (0,1), (0,2), (1,2), (1,0), (2,0), (2,1): k0 and k1 in k2
            (LEARNED, [2]),
        ],
        ids=str,
    )
    def test_crosses_are_what_the_layer_gives(self, batch, options, outputs):
        net = network(**options)
        p4 = batch.x[1:5, :4]
        boosted = net.conv(p4, torch.arange(4), torch.tensor([0, 4]))[0, outputs].detach()
        _, after = plot_boosts(net, batch, 2, frame=2)
        momenta = boosted[:, :3].norm(dim=1).numpy()  # does not depend on the axes
        np.testing.assert_allclose(np.hypot(*special(after)[1].T), momenta, rtol=1e-9, atol=1e-9)

    def test_areas_are_shares_of_the_energy_of_the_frame(self, batch):
        net = network()
        nn.init.ones_(net.conv.rf_wgts)
        sizes = {c.get_label(): c.get_sizes() for c in plot_boosts(net, batch, 2)[0].collections
                 if isinstance(c, PathCollection)}  # fmt: skip
        energy = batch.x[1:5, 3].numpy()
        circle = np.pi / 4
        np.testing.assert_allclose(sizes["jet"] * circle, 220 * energy[[1, 3]] / energy.sum(), rtol=1e-2)

    def test_lines_go_to_the_particles_and_missing_momentum_is_dashed(self, batch):
        before, _ = plot_boosts(network(), batch, 2)
        met, jet, _ = [c for c in before.collections if isinstance(c, LineCollection)]
        np.testing.assert_allclose(met.get_segments(), [[[0, 0], tips_of(before)["MET"][0]]])
        assert met.get_linestyle()[0][1] is not None
        assert jet.get_linestyle()[0][1] is None

    def test_titles_and_legend(self, batch):
        before, after = plot_boosts(network(), batch, 2, frame=1)
        assert before.get_title(loc="left") == "Event 2 before the boost"
        p4 = batch.x[1:5, :4]
        assert after.get_title(loc="left").startswith(r"In the rest frame of $r_{1}$, $\gamma$ = 1.")
        texts = [text.get_text() for text in before.get_legend().get_texts()]
        assert texts == ["MET", "jet", "jet, b-tagged", "share in $r_{1}$", "10 %", "50 %", "frame $r_{1}$", "$k_{1}$"]
        before.figure.canvas.draw()
        assert before.get_legend().get_window_extent().x0 >= before.get_window_extent().x1
        assert before.get_legend().get_window_extent().y0 >= after.get_window_extent().y0
        assert len(p4) == 4
        assert (before.get_ylabel(), after.get_xlabel()) == ("Across it [GeV]", "Momentum along the boost [GeV]")

    def test_gamma(self):
        net = network(slots=1, feats=P4, n_particles=1)
        _, after = plot_boosts(net, few([3.0, 0.0, 0.0, 5.0]))
        assert after.get_title(loc="left").endswith("= 1.25")

    @pytest.mark.parametrize("event", [few([3.0, 4.0, 0.0, 5.0]), Data(x=torch.zeros(0, 4).double())], ids=str)
    def test_without_rest_frame_nothing_is_boosted(self, event, tmp_path):
        before, after = plot_boosts(network(slots=1, feats=P4), event)
        assert after.get_title(loc="left") == "$r_{0}$ has no rest frame: no boost"
        for a, b in zip(special(before), special(after), strict=True):
            np.testing.assert_array_equal(a, b)
        assert save(after, tmp_path / "none").exists()

    def test_a_frame_at_rest(self):
        net = network(slots=2, feats=P4)
        nn.init.ones_(net.conv.rf_wgts)
        before, after = plot_boosts(net, few([0.0, 0.0, 3.0, 5.0], [0.0, 0.0, -3.0, 5.0]))
        assert after.get_title(loc="left").endswith("= 1")
        (tips,) = tips_of(before).values()
        np.testing.assert_allclose(tips, [[3.0, 0.0], [-3.0, 0.0]])
        np.testing.assert_allclose(next(iter(tips_of(after).values())), tips)

    def test_few_objects_with_names_of_their_own_go_by_them(self):
        event = Data(x=torch.tensor([[3.0, 0.0, 0.0, 4.0], [0.0, 3.0, 1.0, 4.0]]).double(), slot=torch.tensor([2, 0]))
        before, _ = plot_boosts(network(vecs=["MET", "lepton", "jet0"], feats=P4), event)
        assert list(tips_of(before)) == ["MET", "jet0"]
        numbered, _ = plot_boosts(network(slots=3, feats=P4), event)
        assert list(tips_of(numbered)) == ["particle"]

    def test_columns_by_any_name_and_order(self):
        p4 = torch.tensor([[3.0, 1.0, 0.0, 4.0], [0.0, 3.0, 1.0, 4.0]]).double()
        net, other = network(2, P4), network(2, ["energy", "PZ", "PY", "PX"])
        other.load_state_dict(net.state_dict())
        expected = tips_of(plot_boosts(net, Data(x=p4))[1])
        found = tips_of(plot_boosts(other, Data(x=p4.flip(1)))[1])
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name])

    def test_two_hundred_particles_in_two_seconds(self, batch, tmp_path):
        net = network(slots=200, n_particles=8, mode="product")
        start = time.process_time()
        save(plot_boosts(net, batch, 4)[0], tmp_path / "crowd.png")
        assert time.process_time() - start < 2.0

    def test_the_network_stays_as_it_is(self, batch):
        net = network().train()
        state = {name: value.clone() for name, value in net.state_dict().items()}
        plot_boosts(net, batch, 2)
        assert net.training
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())

    def test_of_a_model(self):
        events = load_sample()[:500]
        args = {"head": {"matrix_head": partial(LorentzBoostNet, n_particles=3)}}
        model = Model(ModelBuilder.from_dataset(events, head=MultiHead, model_args=args))
        batch = events.batch([0, 22])
        before, _ = plot_boosts(model, batch, 1, frame=2)
        kinds = [text.get_text() for text in before.get_legend().get_texts()]
        assert kinds[0] == "MET"
        assert sum(map(len, tips_of(before).values())) == int(batch.ptr[2] - batch.ptr[1])
        assert plot_combinations(model).images[0].get_array().shape == (6, 16)

    def test_errors(self, batch):
        with pytest.raises(ValueError, match="frame must be a number from 0 to 2, got 3: the network has 3"):
            plot_boosts(network(), batch, 2, frame=3)
        with pytest.raises(ValueError, match="frame must be at least 0"):
            plot_boosts(network(), batch, 2, frame=-1)
        with pytest.raises(ValueError, match="there are 4 slots"):
            plot_boosts(network(), batch, 4)
        with pytest.raises(ValueError, match=r"event must be .*, got 5"):
            plot_boosts(network(), batch, 5)
        with pytest.raises(ValueError, match="px of event 0 must be finite numbers, got nan"):
            plot_boosts(network(feats=P4), few([torch.nan, 0.0, 0.0, 1.0]))
        assert plt.get_fignums() == []
