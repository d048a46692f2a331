import math
import time
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lumigraph import from_jagged
from lumigraph.events import kinematics
from lumigraph.metrics import Estimate
from lumigraph.model.importance import ImportanceTable
from lumigraph.plotting import plot_attributions, plot_event, plot_importance, save

TABLE = ImportanceTable(
    {"b": Estimate(0.1, 0.02), "a": Estimate(0.3, 0.01), "c": Estimate(-0.01, 0.02)}, metric="loss", before=0.5
)
FEATS = ["px", "py", "pz", "E", "btag", "kind"]


class TestImportance:
    def test_bars_and_errors(self):
        ax = plot_importance(TABLE)
        assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
        assert [bar.get_width() for bar in ax.patches] == [0.3, 0.1, -0.01]
        assert ax.yaxis_inverted()  # the most important on top
        errors = np.array(ax.containers[1].lines[2][0].get_segments())[:, :, 0]
        np.testing.assert_allclose(errors, [[0.29, 0.31], [0.08, 0.12], [-0.03, 0.01]])
        assert ax.get_xlabel() == "Relative rise of the loss (0.5 before)"
        assert ax.get_title(loc="right") == ""

    def test_the_less_important_are_counted(self):
        ax = plot_importance(TABLE, largest=2)
        assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
        assert ax.get_title(loc="right") == "1 less important not shown"

    def test_many_bars_get_a_higher_figure_with_labels_apart(self):
        table = ImportanceTable(
            {f"feature_{i}": Estimate(1.0 / i, 0.01) for i in range(1, 41)}, metric="auc", before=0.8
        )
        ax = plot_importance(table, largest=40)
        ax.figure.canvas.draw()
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        assert len(boxes) == 40
        assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(boxes))
        ticks = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(ticks))

    def test_given_axes_keep_their_size(self):
        figure, (left, right) = plt.subplots(1, 2)
        size = figure.get_size_inches().tolist()
        assert plot_importance(TABLE, right) is right
        assert figure.get_size_inches().tolist() == size
        assert not left.patches

    def test_errors(self):
        with pytest.raises(ValueError, match="table must have entries and largest be at least 1, got 0 entries and 15"):
            plot_importance(ImportanceTable({}, metric="loss", before=1.0))
        with pytest.raises(ValueError, match=r"largest be at least 1, got . entries and 0"):
            plot_importance(TABLE, largest=0)
        assert plt.get_fignums() == []


def crowd(num_particles, seed=0):
    random = np.random.default_rng(seed)
    pt, eta, phi = (
        torch.tensor(values)
        for values in (
            random.exponential(50.0, num_particles) + 20,
            random.normal(0, 1.5, num_particles),
            random.uniform(-math.pi, math.pi, num_particles),
        )
    )
    p4 = kinematics.from_pt_eta_phi_mass(pt, eta, phi, torch.zeros_like(pt))
    return Data(x=torch.cat([p4, torch.zeros(num_particles, 1), torch.full((num_particles, 1), 3.0)], dim=1))


def halos(ax):
    return [collection for collection in ax.collections if collection.get_label() == "_halo"]


class TestAttributions:
    def test_a_halo_is_where_its_particle_is_with_its_area(self):
        event, values = crowd(6), torch.tensor([1.0, -2.0, 0.5, -0.1, 3.0, 0.0])
        ax = plot_attributions(event, values, feats_per_vec=FEATS, output="mass [GeV]")
        rises, falls = halos(ax)
        p4 = event.x[:, :4]
        place = torch.stack([kinematics.eta(p4), kinematics.phi(p4)], dim=1).numpy()
        np.testing.assert_allclose(rises.get_offsets(), place[[0, 2, 4]])
        np.testing.assert_allclose(falls.get_offsets(), place[[1, 3, 5]])
        np.testing.assert_allclose(rises.get_sizes() / rises.get_sizes().max(), [1 / 3, 0.5 / 3, 1.0])
        np.testing.assert_allclose(falls.get_sizes() / rises.get_sizes().max(), [2 / 3, 0.1 / 3, 0.0])
        assert rises.get_facecolor().size > 0
        assert falls.get_facecolor().size == 0  # a ring, so that it also reads in grey
        assert falls.get_linestyle() != rises.get_linestyle()
        texts = [text.get_text() for text in ax.get_legend().get_texts()]
        assert texts == ["mass [GeV] + 0.8", "mass [GeV] \N{MINUS SIGN} 0.8"]

    def test_the_batch_knows_its_names(self, batch):
        told, known = (plot_attributions(batch, np.arange(4.0), 2, **names) for names in ({"feats_per_vec": FEATS}, {}))
        for expected, found in zip(halos(told), halos(known), strict=True):
            np.testing.assert_allclose(found.get_offsets(), expected.get_offsets())

    def test_the_particles_are_those_of_the_plain_picture(self, tmp_path):
        event = crowd(6)
        plain, ax = plot_event(event, feats_per_vec=FEATS, edges=False), plot_attributions(
            event, np.arange(6.0), feats_per_vec=FEATS
        )  # fmt: skip
        particles = [
            collection for collection in ax.collections if not str(collection.get_label()).startswith(("_", "output"))
        ]
        (expected,) = plain.collections
        np.testing.assert_allclose(particles[0].get_offsets(), expected.get_offsets())
        ax.figure.canvas.draw()
        legends = [
            legend.get_window_extent() for legend in ax.get_children() if isinstance(legend, type(ax.get_legend()))
        ]
        assert len(legends) == 2
        assert not legends[0].overlaps(legends[1])
        assert not any(legend.overlaps(ax.get_window_extent()) for legend in legends)
        assert ax.get_tightbbox().x1 >= max(legend.x1 for legend in legends) - 1  # none is left out when it is saved

    def test_a_halo_across_the_border_goes_on_at_the_other_one(self):
        ax = plot_attributions(crowd(6), np.arange(1.0, 7.0), feats_per_vec=FEATS)
        rising = [collection for collection in ax.collections if len(collection.get_offsets())]
        copies = {collection.get_label(): collection for collection in rising}
        place = copies["_halo"].get_offsets().data
        turn = np.array([0.0, 2 * math.pi])
        np.testing.assert_allclose(copies["_above"].get_offsets(), place + turn)
        np.testing.assert_allclose(copies["_below"].get_offsets(), place - turn)
        assert all(copies[name].get_clip_on() for name in ("_halo", "_above", "_below"))
        assert ax.get_ylim() == (-math.pi, math.pi)

    def test_one_event_of_a_batch(self):
        x = torch.randn(7, 2)
        batch = from_jagged(x, lengths=torch.tensor([3, 4]))
        ax = plot_attributions(batch, [1.0, 1.0, 1.0, 1.0], 1, feats_per_vec=["px", "py"])
        np.testing.assert_allclose(halos(ax)[0].get_offsets()[:, 1], torch.atan2(x[3:, 1], x[3:, 0]), rtol=1e-6)

    @pytest.mark.parametrize("num_particles", [0, 1])
    def test_few_particles(self, num_particles):
        ax = plot_attributions(crowd(num_particles), np.zeros(num_particles), feats_per_vec=FEATS)
        ax.figure.canvas.draw()

    def test_two_hundred_particles_in_two_seconds(self, tmp_path):
        start = time.process_time()
        save(plot_attributions(crowd(200), np.linspace(-1, 1, 200), feats_per_vec=FEATS), tmp_path / "crowd.png")
        assert time.process_time() - start < 2.0

    def test_a_particle_along_the_beam_lies_on_the_border(self):
        event = Data(x=torch.tensor([[0.0, 0.0, 50.0], [10.0, 0.0, 0.0]]))
        ax = plot_attributions(event, [1.0, 1.0], feats_per_vec=["px", "py", "pz"])
        assert halos(ax)[0].get_offsets()[0, 0] == ax.get_xlim()[1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"attributions": [1.0]},
                r"attributions must be a finite number for each of the 6 .*, got the shape \(1,\)",
            ),
            (
                {"attributions": [math.nan] * 6},
                "must be a finite number for each .* with 6 numbers that are not finite",
            ),
            ({"event": 1}, "event must be a number from 0 to 0, got 1"),
            ({"feats_per_vec": ["px", "py"]}, r"batch.x must have a column .*, got the shape \(6, 6\)"),
        ],
    )
    def test_errors(self, change, message):
        arguments = {"batch": crowd(6), "attributions": [1.0] * 6, "feats_per_vec": FEATS} | change
        with pytest.raises(ValueError, match=message):
            plot_attributions(**arguments)
        assert plt.get_fignums() == []
