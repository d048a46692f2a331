import math
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Path3DCollection

from lumigraph.events import kinematics
from lumigraph.plotting import PlotSettings, plot_event, plot_event_3d, save

FEATS = ("px", "py", "pz", "E", "btag", "kind")


def lines_of(ax, label):
    return [c for c in ax.collections if isinstance(c, Line3DCollection) and c.get_label() == label]


def markers_of(ax):
    return {c.get_label(): np.stack(c._offsets3d, 1) for c in ax.collections if isinstance(c, Path3DCollection)}


def on_barrel(p4):
    eta, phi = kinematics.eta(p4), kinematics.phi(p4)
    return torch.stack([eta, phi.cos(), phi.sin()], dim=1).numpy()


class TestEvent3D:
    def test_particles_lie_on_the_barrel(self, batch):
        ax = plot_event_3d(batch, 2, feats_per_vec=FEATS)
        expected, found = on_barrel(batch.x[1:5, :4]), markers_of(ax)
        assert list(found) == ["MET", "jet", "jet, b-tagged"]
        for name, members in (("MET", [0]), ("jet", [1, 3]), ("jet, b-tagged", [2])):
            np.testing.assert_allclose(found[name], expected[members], atol=1e-9)
            np.testing.assert_allclose(np.hypot(*found[name][:, 1:].T), 1.0)

    def test_markers_and_legend_are_those_of_the_plane(self, batch):
        solid, plane = (draw(batch, 2, feats_per_vec=FEATS) for draw in (plot_event_3d, plot_event))
        texts = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in (solid, plane)]
        assert texts[0] == texts[1]
        sizes = [
            {c.get_label(): c.get_sizes().tolist() for c in ax.collections if isinstance(c, PathCollection)}
            for ax in (solid, plane)
        ]
        assert sizes[0] == sizes[1]
        assert solid.get_title(loc="left") == plane.get_title(loc="left") == "Event 2: 4 particles"

    def test_edges_are_the_straight_lines_between_all_pairs(self, batch):
        (edges,) = lines_of(plot_event_3d(batch, 2, feats_per_vec=FEATS), "_edges")
        points = on_barrel(batch.x[1:5, :4])
        expected = [[points[i], points[j]] for i in range(4) for j in range(i + 1, 4)]
        np.testing.assert_allclose(edges._segments3d, expected, atol=1e-9)
        # particles 1 and 2 lie 0.4 rad apart across phi = pi: a line of 2 in eta and 2 sin(0.2) through the barrel
        step = np.diff(edges._segments3d[3], axis=0)[0]
        assert np.hypot(*step[1:]) == pytest.approx(2 * math.sin(0.2))
        assert not lines_of(plot_event_3d(batch, 2, feats_per_vec=FEATS, edges=False), "_edges")

    def test_edge_weights_set_width_and_darkness(self, batch):
        weights = torch.zeros(12)
        weights[0], weights[3] = 1.0, 3.0  # 1 -> 0 and 0 -> 1: the same line
        weights[5] = 2.0  # 3 -> 1
        (edges,) = lines_of(plot_event_3d(batch, 2, feats_per_vec=FEATS, edge_weights=weights), "_edges")
        np.testing.assert_allclose(edges.get_alpha(), 0.9 * np.array([1, 0, 0, 0, 0.5, 0]))
        widths = edges.get_linewidths()
        assert widths[0] > widths[4] > widths[1]

    def test_a_line_goes_to_each_particle_from_the_collision(self, batch):
        ax = plot_event_3d(batch, 2, feats_per_vec=FEATS)
        met, *jets = lines_of(ax, "_tracks")
        np.testing.assert_allclose(met._segments3d, [[[0, 0, 0], on_barrel(batch.x[1:2, :4])[0]]], atol=1e-9)
        assert met.get_linestyle()[0][1] is not None  # dashed
        assert all(line.get_linestyle()[0][1] is None for line in jets)
        assert sum(len(line._segments3d) for line in jets) == 3

    def test_axes_have_names_and_units(self, batch):
        ax = plot_event_3d(batch, 4, feats_per_vec=FEATS)
        texts = [text.get_text() for text in ax.texts]
        assert texts == ["$0$", r"$\pi/2$", r"$\pm\pi$", r"$-\pi/2$", r"$\phi$ [rad]"]
        assert "eta" in ax.get_xlabel()
        low, high = ax.get_xlim()
        assert high >= kinematics.eta(batch.x[5:, :4]).abs().max()
        assert low == -high

    def test_beam_particles_lie_on_the_rim(self, batch):
        batch.x[1, :4] = torch.tensor([0.0, 0.0, -50.0, 50.0])
        ax = plot_event_3d(batch, 2, feats_per_vec=FEATS)
        assert markers_of(ax)["MET"][0, 0] == ax.get_xlim()[0]

    @pytest.mark.parametrize("event", [0, 1, 3])
    def test_few_particles(self, batch, event, tmp_path):
        ax = plot_event_3d(batch, event, feats_per_vec=FEATS)
        assert sum(map(len, markers_of(ax).values())) == int(batch.ptr[event + 1] - batch.ptr[event])
        assert save(ax, tmp_path / "few").stat().st_size > 10_000

    def test_an_empty_event_says_so(self, batch):
        ax = plot_event_3d(batch, 0, feats_per_vec=FEATS)
        assert ax.texts[-1].get_text() == "no particles in this event"

    def test_two_hundred_particles_in_two_seconds(self, batch, tmp_path):
        taken = []
        for _ in range(3):  # the quickest, as other programs may take the caches away from one
            start = time.process_time()
            save(plot_event_3d(batch, 4, feats_per_vec=FEATS), tmp_path / "crowd.png")
            taken.append(time.process_time() - start)
        assert min(taken) < 2.0

    def test_draws_on_given_axes(self, batch):
        ax = plt.figure().add_subplot(1, 2, 2, projection="3d")
        assert plot_event_3d(batch, 2, feats_per_vec=FEATS, ax=ax, settings=PlotSettings(font_size=8)) is ax
        assert ax.xaxis.label.get_size() == 8
        assert len(plt.get_fignums()) == 1

    def test_errors(self, batch):
        with pytest.raises(TypeError, match="ax must have three dimensions, got two: make it with projection"):
            plot_event_3d(batch, 2, feats_per_vec=FEATS, ax=plt.figure().add_subplot())
        plt.close("all")
        with pytest.raises(ValueError, match=r"event must be .*, got 7"):
            plot_event_3d(batch, 7, feats_per_vec=FEATS)
        with pytest.raises(ValueError, match="edge_weights must have the shape"):
            plot_event_3d(batch, 2, feats_per_vec=FEATS, edge_weights=[1.0])
        assert plt.get_fignums() == []


@pytest.mark.parametrize("draw", [plot_event, plot_event_3d])
def test_the_batch_knows_its_names(draw, batch):
    told, known, alone = draw(batch, 2, feats_per_vec=FEATS), draw(batch, 2), draw(batch[2])
    labels = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in (told, known, alone)]
    assert labels[0] == labels[1] == labels[2] != []
    with pytest.raises(ValueError, match=r"feats_per_vec must be that of the batch, .*the same names in another order"):
        draw(batch, 2, feats_per_vec=FEATS[::-1])
