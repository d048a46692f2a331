import math
import time
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from torch_geometric.data import Batch, Data

from lumigraph import EventDataset, EventSchema, Model, ModelBuilder, plotting
from lumigraph.events import kinematics
from lumigraph.events.graph import CompleteGraph
from lumigraph.metrics import auc, roc_band
from lumigraph.plotting import (
    PlotSettings,
    draw_results,
    plot_embeddings,
    plot_event,
    plot_history,
    plot_roc,
    plot_scores,
    save,
)

FEATS = ["px", "py", "pz", "E", "btag", "kind"]


@pytest.fixture(autouse=True)
def figures_are_closed_and_settings_kept():
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def particles(*rows):
    """Rows of (pt, eta, phi, btag, kind) as the columns FEATS."""
    pt, eta, phi, btag, kind = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5).T
    p4 = kinematics.from_pt_eta_phi_mass(pt, eta, phi, torch.zeros_like(pt))
    return Data(x=torch.cat([p4, btag[:, None], kind[:, None]], dim=-1))


def crowd(num_particles, seed=0):
    random = np.random.default_rng(seed)
    columns = [
        random.exponential(50.0, num_particles) + 20,
        random.normal(0, 1.5, num_particles),
        random.uniform(-math.pi, math.pi, num_particles),
        random.integers(0, 2, num_particles),
        np.full(num_particles, 3),
    ]
    return particles(*np.stack(columns, axis=1).tolist())


EVENT = particles(
    (80.0, 0.0, 2.0, 0, 0),
    (30.0, 0.5, -1.0, 0, 1),
    (60.0, -1.2, 3.0, 1, 3),
    (90.0, 1.4, -3.0, 0, 3),
    (25.0, 2.0, 1.0, 0, 3),
)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def lines_of(ax):
    (collection,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return collection


def markers_of(ax):
    return {c.get_label(): c for c in ax.collections if isinstance(c, PathCollection)}


def legend_is_outside(ax):
    figure = ax.figure
    figure.canvas.draw()
    box, frame = ax.get_legend().get_window_extent(), ax.get_window_extent()
    return box.x0 >= frame.x1 or box.y0 >= frame.y1


class TestEvent:
    def test_particles_of_each_kind(self):
        ax = plot_event(EVENT, feats_per_vec=FEATS)
        markers = markers_of(ax)
        assert list(markers) == ["MET", "electron", "jet", "jet, b-tagged"]
        np.testing.assert_allclose(markers["jet"].get_offsets(), [[1.4, -3.0], [2.0, 1.0]], atol=1e-9)
        np.testing.assert_allclose(markers["jet, b-tagged"].get_offsets(), [[-1.2, 3.0]], atol=1e-9)
        np.testing.assert_allclose(markers["MET"].get_offsets(), [[0.0, 2.0]], atol=1e-9)
        assert legend_texts(ax)[:4] == ["MET", "electron", "jet", "jet, b-tagged"]
        assert r"$p_\mathrm{T}$ [GeV]" in legend_texts(ax)
        assert ax.get_title(loc="left") == "Event 0: 5 particles"
        assert legend_is_outside(ax)

    def test_kinds_are_told_apart_without_colour(self):
        groups = markers_of(plot_event(EVENT, feats_per_vec=FEATS))
        shapes = {name: group.get_paths()[0].vertices.tolist() for name, group in groups.items()}
        assert shapes["MET"] != shapes["electron"] != shapes["jet"] != shapes["MET"]
        assert shapes["jet"] == shapes["jet, b-tagged"]
        tagged, jet = groups["jet, b-tagged"], groups["jet"]
        assert tagged.get_linewidths()[0] > 2 * jet.get_linewidths()[0]
        assert tagged.get_edgecolors().tolist() != jet.get_edgecolors().tolist()
        assert tagged.get_facecolors().tolist() != jet.get_facecolors().tolist()

    def test_areas_follow_pt(self):
        markers = markers_of(plot_event(EVENT, feats_per_vec=FEATS))
        sizes = markers["jet"].get_sizes()
        assert sizes[0] / sizes[1] == pytest.approx(90 / 25)
        circle, star = np.pi / 4, 0.2808  # of the square around them
        assert markers["MET"].get_sizes()[0] * star / (sizes[0] * circle) == pytest.approx(80 / 90, rel=1e-2)

    def test_missing_momentum_is_a_line(self):
        ax = plot_event(EVENT, feats_per_vec=FEATS)
        (line,) = ax.get_lines()
        np.testing.assert_allclose(line.get_ydata(), 2.0)
        assert line.get_linestyle() == "--"

    def test_every_pair_has_one_line(self):
        assert len(lines_of(plot_event(EVENT, feats_per_vec=FEATS)).get_paths()) == 5 * 4 // 2
        assert len(lines_of(plot_event(crowd(40), feats_per_vec=FEATS)).get_paths()) == 40 * 39 // 2
        no_edges = plot_event(EVENT, feats_per_vec=FEATS, edges=False)
        assert not any(isinstance(c, LineCollection) for c in no_edges.collections)

    def test_lines_take_the_short_way_round(self):
        event = particles((10.0, -1.0, math.pi - 0.2, 0, 3), (10.0, 1.0, -math.pi + 0.6, 0, 3), (10.0, 0.0, 1.0, 0, 3))
        paths = lines_of(plot_event(event, feats_per_vec=FEATS)).get_paths()
        expected = [[-1.0, math.pi - 0.2], [-0.5, math.pi], [np.nan] * 2, [-0.5, -math.pi], [1.0, -math.pi + 0.6]]
        np.testing.assert_allclose(paths[0].vertices, expected, atol=1e-9)
        np.testing.assert_allclose(paths[1].vertices, [[-1.0, math.pi - 0.2], [0.0, 1.0]], atol=1e-9)
        assert len(paths[2].vertices) == 5

    def test_no_line_is_longer_than_half_the_way_round(self):
        for path in lines_of(plot_event(crowd(60), feats_per_vec=FEATS)).get_paths():
            steps = np.abs(np.diff(path.vertices[:, 1]))
            assert np.nansum(steps) <= math.pi + 1e-9
            assert np.nanmax(np.abs(path.vertices[:, 1])) <= math.pi + 1e-9

    def test_edge_weights(self):
        event = crowd(4)
        index = CompleteGraph.from_lengths(torch.tensor([4])).edge_index()
        weights = torch.zeros(12)
        weights[(index[0] == 2) & (index[1] == 0)] = 3.0  # 2 -> 0
        weights[(index[0] == 1) & (index[1] == 3)] = 1.0  # 1 -> 3
        weights[(index[0] == 3) & (index[1] == 1)] = 1.0
        lines = lines_of(plot_event(event, feats_per_vec=FEATS, edge_weights=weights.requires_grad_()))
        # pairs 01 02 03 12 13 23; the mean of both directions, 1.5 and 1, over the strongest
        np.testing.assert_allclose(lines.get_alpha(), 0.9 * np.array([0, 1, 0, 0, 1 / 1.5, 0]))
        widths = np.array(lines.get_linewidths())
        assert widths[1] > widths[4] > widths[0] > 0
        lines.figure.canvas.draw()

    def test_axes_cover_everything(self):
        ax = plot_event(particles((20.0, 4.4, 0.1, 0, 3), (20.0, -1.0, 0.1, 0, 3)), feats_per_vec=FEATS)
        low, high = ax.get_xlim()
        assert low == -high
        assert high >= 4.4
        assert ax.get_ylim() == (-math.pi, math.pi)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"]
        assert "eta" in ax.get_xlabel()
        assert "rad" in ax.get_ylabel()

    def test_beam_particles_lie_on_the_border(self):
        event = Data(x=torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, -5.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        ax = plot_event(event, feats_per_vec=["px", "py", "pz"])
        offsets = np.asarray(markers_of(ax)["particle"].get_offsets())
        assert np.isfinite(offsets).all()
        assert offsets[:2, 0].tolist() == [ax.get_xlim()[1], ax.get_xlim()[0]]

    def test_events_of_a_batch(self):
        empty = Data(x=torch.zeros(0, len(FEATS), dtype=torch.float64))
        batch = Batch.from_data_list([empty, crowd(3, 1), empty, EVENT])
        for event, num_particles in enumerate([0, 3, 0, 5]):
            ax = plot_event(batch, event, feats_per_vec=FEATS)
            assert sum(len(c.get_offsets()) for c in markers_of(ax).values()) == num_particles
            assert ax.get_title(loc="left").startswith(f"Event {event}: {num_particles} particles")
            ax.figure.canvas.draw()

    def test_empty_event(self):
        ax = plot_event(Data(x=torch.zeros(0, 2)), feats_per_vec=["px", "py"])
        assert [text.get_text() for text in ax.texts] == ["no particles in this event"]
        assert ax.get_legend() is None
        assert ax.get_xlim() == (-2.5, 2.5)

    def test_one_particle(self):
        ax = plot_event(Data(x=torch.tensor([[3.0, 4.0]])), feats_per_vec=["px", "py"])
        assert lines_of(ax).get_paths() == []
        assert legend_texts(ax)[0] == "particle"
        assert ax.get_title(loc="left") == "Event 0: 1 particle"

    def test_two_hundred_particles_in_two_seconds(self, tmp_path):
        event = crowd(200)
        start = time.process_time()
        save(plot_event(event, feats_per_vec=FEATS), tmp_path / "crowd.png")
        assert time.process_time() - start < 2.0

    def test_own_kinds(self):
        x = torch.tensor([[1.0, 0.0, 15.0], [2.0, 1.0, 15.0], [3.0, 2.0, 22.0], [4.0, 0.0, 99.0], [5.0, 0.0, -15.0]])
        kinds = {15: "tau", -15: "tau", 22: "photon"}
        markers = markers_of(plot_event(Data(x=x), feats_per_vec=["px", "py", "kind"], kinds=kinds))
        assert {name: len(group.get_offsets()) for name, group in markers.items()} == {
            "tau": 3,
            "photon": 1,
            "kind 99": 1,
        }

    def test_draws_on_given_axes(self):
        _, (left, right) = plt.subplots(1, 2)
        assert plot_event(EVENT, feats_per_vec=FEATS, ax=right) is right
        assert not left.collections
        assert len(plt.get_fignums()) == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"event": 1}, "event must be a number from 0 to 0, got 1"),
            ({"event": -1}, "event must be .*, got -1"),
            ({"feats_per_vec": ["px", "py"]}, r"batch.x must have a column for each .*, got the shape \(5, 6\)"),
            (
                {"feats_per_vec": ["pt", "eta", "phi", "E", "btag", "kind"]},
                "feats_per_vec must have px and py among its names",
            ),
            ({"edge_weights": [1.0, 2.0]}, r"edge_weights must have the shape \(20,\), .* got \(2,\)"),
            ({"edge_weights": [-1.0] * 20}, "edge_weights must be finite numbers of at least 0, got -1.0"),
            ({"batch": Data(x=torch.full((1, 6), math.nan))}, "px of event 0 must be finite numbers, got nan"),
            ({"batch": Data(y=torch.zeros(1))}, "batch.x must have .*, got the shape None"),
        ],
    )
    def test_errors(self, change, message):
        arguments = {"batch": EVENT, "feats_per_vec": FEATS} | change
        with pytest.raises(ValueError, match=message):
            plot_event(**arguments)
        assert plt.get_fignums() == []


HISTORY = {
    "epoch": [0, 1, 2, 3],
    "train_loss": [0.7, 0.5, 0.4, 0.35],
    "val_loss": [0.7, 0.55, 0.5, 0.52],
    "learning_rate": [1e-3, 1e-3, 1e-4, 1e-5],
    "val_auc": [0.5, 0.6, 0.7, 0.7],
}


class TestHistory:
    @pytest.mark.parametrize("kind", [dict, pd.DataFrame])
    def test_curves_and_best_epoch(self, kind):
        ax = plot_history(kind(HISTORY))
        curves = {line.get_label(): line for line in ax.get_lines()}
        assert curves["training"].get_ydata().tolist() == HISTORY["train_loss"]
        assert curves["validation"].get_ydata().tolist() == HISTORY["val_loss"]
        assert curves["training"].get_linestyle() != curves["validation"].get_linestyle()
        best = curves["best epoch: 2 (0.5)"]
        assert (best.get_xdata().tolist(), best.get_ydata().tolist()) == ([2.0], [0.5])
        assert legend_texts(ax) == ["training", "validation", "best epoch: 2 (0.5)", "learning rate"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("Epoch", "Loss")
        assert legend_is_outside(ax)

    def test_learning_rate_has_its_own_axis(self):
        ax = plot_history(HISTORY)
        (right,) = [other for other in ax.figure.axes if other is not ax]
        assert right.get_yscale() == "log"
        assert right.get_lines()[0].get_ydata().tolist() == HISTORY["learning_rate"]
        assert len(plot_history(HISTORY, learning_rate=False).figure.axes) == 1

    def test_epochs_without_validation(self):
        ax = plot_history(HISTORY | {"val_loss": [math.nan, 0.6, math.nan, 0.5]})
        curve = ax.get_lines()[1]
        assert curve.get_xdata().tolist() == [1.0, 3.0]
        assert "best epoch: 3 (0.5)" in legend_texts(ax)

    def test_training_loss_alone(self):
        ax = plot_history({"epoch": [5], "train_loss": [0.25]})
        assert legend_texts(ax) == ["training", "best epoch: 5 (0.25)"]

    def test_other_columns(self):
        ax = plot_history(HISTORY, columns=["val_auc"], learning_rate=False)
        assert legend_texts(ax)[0] == "val_auc"

    @pytest.mark.parametrize(
        ("history", "message"),
        [
            ({"train_loss": [1.0]}, "history must have a column 'epoch'"),
            ({"epoch": [0]}, "history must have at least one of the columns"),
            ({"epoch": [0, 1], "train_loss": [1.0]}, "'train_loss' must have the shape"),
            ({"epoch": [0], "val_loss": [1.0], "learning_rate": []}, "'learning_rate' must have the shape"),
            ({"epoch": [0], "val_loss": [math.nan]}, "'val_loss' must have a finite value"),
        ],
    )
    def test_errors(self, history, message):
        with pytest.raises(ValueError, match=message):
            plot_history(history)
        assert plt.get_fignums() == []


def classified(num_events=400, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, num_events)
    return labels, 1 / (1 + np.exp(-random.normal(2 * labels - 1, 1.0))), random.exponential(1.0, num_events)


class TestRoc:
    def test_rejection(self):
        labels, scores, weights = classified()
        ax = plot_roc({"network": (labels, scores, weights), "cuts": (labels, scores)}, n_bootstrap=20)
        band = roc_band(labels, scores, weights, n_bootstrap=20)
        left = band.central > 0
        curve = ax.get_lines()[0]
        np.testing.assert_allclose(curve.get_ydata()[left], 1 / band.central[left])
        assert np.isnan(curve.get_ydata()[~left]).all()
        assert ax.get_yscale() == "log"
        assert ax.get_lines()[0].get_linestyle() != ax.get_lines()[1].get_linestyle()
        assert legend_texts(ax) == [
            f"network: AUC = {auc(labels, scores, weights)}",
            f"cuts: AUC = {auc(labels, scores)}",
            "guessing",
        ]
        assert sum(isinstance(c, PolyCollection) for c in ax.collections) == 2
        assert "signal efficiency" in ax.get_xlabel().lower()
        assert "1/" in ax.get_ylabel()
        assert legend_is_outside(ax)

    def test_the_axis_holds_the_curve(self):
        ax = plot_roc({"a": classified()}, n_bootstrap=10)
        assert ax.get_ylim()[0] == 1.0
        assert ax.get_ylim()[1] >= np.nanmax(ax.get_lines()[0].get_ydata())

    def test_efficiency(self):
        ax = plot_roc({"a": classified()}, against="efficiency", signal_efficiency=[0.2, 0.5, 1.0], n_bootstrap=10)
        curve = ax.get_lines()[0]
        assert curve.get_xdata().tolist() == [0.2, 0.5, 1.0]
        assert (np.diff(curve.get_ydata()) > 0).all()
        assert ax.get_yscale() == "linear"

    def test_without_band(self):
        assert not plot_roc({"a": classified()}, band=False).collections

    def test_perfect_classifier(self):
        ax = plot_roc({"a": ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])})
        assert np.isnan(ax.get_lines()[0].get_ydata()[:-1]).all()
        ax.figure.canvas.draw()

    def test_errors(self):
        with pytest.raises(ValueError, match="curves must have at least one name"):
            plot_roc({})
        with pytest.raises(ValueError, match=r"curves\['a'\] must be .*, got 1 parts"):
            plot_roc({"a": ([0, 1],)})
        with pytest.raises(ValueError, match=r"labels must hold both classes .* got no signal event"):
            plot_roc({"a": ([0, 0], [0.1, 0.2])})
        assert plt.get_fignums() == []


class TestScores:
    def test_densities_and_errors(self):
        labels, scores, weights = classified()
        ax = plot_scores(labels, scores, weights, bins=20)
        steps = {patch.get_label(): patch.get_data() for patch in ax.patches}
        for number, name in enumerate(("background", "signal")):
            members = labels == number
            expected, edges = np.histogram(scores[members], 20, (0, 1), weights=weights[members], density=True)
            np.testing.assert_allclose(steps[name].values, expected)
            np.testing.assert_allclose(steps[name].edges, edges)
        bars = ax.containers[0].lines[2][0].get_segments()
        members = labels == 0
        error = np.sqrt(np.histogram(scores[members], 20, (0, 1), weights=weights[members] ** 2)[0])
        length = 2 * error * 20 / weights[members].sum()
        np.testing.assert_allclose([bar[1, 1] - bar[0, 1] for bar in bars], length)
        assert legend_texts(ax) == ["background", "signal"]
        assert legend_is_outside(ax)

    def test_many_classes(self):
        ax = plot_scores([0, 1, 3, 3], [0.1, 0.2, 5.0, -3.0], class_names=["tt", "ttH", "ttW", "WZ"], bins=4)
        assert legend_texts(ax) == ["tt", "ttH", "WZ"]
        assert ax.get_xlim() == (-3.0, 5.0)

    def test_equal_scores_and_given_edges(self):
        plot_scores([0, 1], [7.0, 7.0]).figure.canvas.draw()
        ax = plot_scores([0, 1], [0.2, 0.6], bins=[0.0, 0.5, 1.0])
        assert ax.patches[-1].get_data().values.tolist() == [0.0, 2.0]

    def test_negative_weights_stay_in_sight(self):
        ax = plot_scores([0, 0, 0, 1], [0.1, 0.1, 0.9, 0.5], [2.0, 2.0, -1.0, 1.0], bins=4)
        assert ax.get_ylim()[0] < ax.patches[0].get_data().values.min() < 0

    def test_tensors(self):
        labels, scores, _ = classified()
        ax = plot_scores(torch.tensor(labels)[:, None], torch.tensor(scores, requires_grad=True)[:, None])
        assert legend_texts(ax) == ["background", "signal"]

    @pytest.mark.parametrize(
        ("labels", "scores", "weights", "message"),
        [
            ([0, 2], [0.1, 0.2], None, "labels must be numbers of class_names, from 0 to 1, got 2 in event 1"),
            ([0, 1], [0.1, math.nan], None, "scores of event 1 must be finite, got nan"),
            ([0, 1], [0.1], None, "scores must have 2 events, as labels has, got 1"),
            ([0, 1], [0.1, 0.2], [1.0, 0.0], "weights of class 'signal' must have a positive sum, got 0"),
        ],
    )
    def test_errors(self, labels, scores, weights, message):
        with pytest.raises(ValueError, match=message):
            plot_scores(labels, scores, weights)
        assert plt.get_fignums() == []


class TestStyle:
    def test_settings(self):
        settings = PlotSettings(width=6.0, aspect=2.0, palette=("#111111",), font_size=20.0, small_font_size=5.0)
        ax = plot_history(HISTORY, settings=settings)
        assert ax.figure.get_size_inches().tolist() == [6.0, 3.0]
        assert ax.get_lines()[0].get_color() == "#111111"
        assert ax.xaxis.label.get_size() == 20.0
        assert ax.get_legend().get_texts()[0].get_size() == 5.0

    def test_save(self, tmp_path):
        ax = plot_history(HISTORY)
        assert save(ax, tmp_path / "new" / "a").name == "a.png"
        assert save(ax.figure, str(tmp_path / "b.pdf")).read_bytes().startswith(b"%PDF")
        assert save(ax, tmp_path / "v1.2", PlotSettings(file_format="svg")).name == "v1.2.svg"
        part = plt.figure().subfigures(1, 2)[0].add_subplot()
        assert save(part, tmp_path / "c").exists()

    def test_public_names(self):
        assert sorted(plotting.__all__) == plotting.__all__
        assert all(hasattr(plotting, name) for name in plotting.__all__)


def test_flags_tell_the_kind_where_there_is_no_column_of_that_name():
    x = torch.tensor([[30.0, 0.0, 1.0, 0.0], [20.0, 5.0, 0.0, 1.0], [-20.0, 5.0, 0.0, 1.0]])
    ax = plot_event(Data(x=x), feats_per_vec=["px", "py", "is_MET", "is_Jet"])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:2] == ["MET", "Jet"]
    plt.close(ax.figure)


def test_the_pictures_of_a_model_are_drawn_for_what_it_has(tmp_path):
    columns = {"a": np.linspace(-1, 1, 40), "label": np.arange(40) % 2, "mass": np.linspace(100, 200, 40)}
    for objective, target, expected in (
        ("classification", "label", {"roc.png", "scores.png", "calibration.png"}),
        ("multiclass", "label", {"confusion.png"}),
        ("regression", "mass", {"residuals.png", "resolution.png"}),
    ):
        data = EventDataset.from_columns(columns, EventSchema(event_feats=("a",), targets=(target,)))
        model = Model(ModelBuilder.from_dataset(data, objective))
        files = draw_results(model, data, tmp_path / objective)
        assert {file.name for file in files} == expected
        model.fit(1, data, progress_bar=False)
        names = {file.name for file in draw_results(model, data, tmp_path / objective)}
        assert names == expected | {"training.png"}


class TestSettings:
    def test_the_names_that_lumin_has_are_understood(self):
        settings = PlotSettings(lbl_sz=20, tk_sz=7, format=".pdf", cat_palette="tab10", w_mid=3.0)
        assert (settings.font_size, settings.small_font_size, settings.file_format) == (20, 7, "pdf")
        assert settings.width == 3.0
        assert settings.color(0) == settings.color(10) == "#1f77b4"

    def test_an_unknown_setting_is_an_error(self):
        with pytest.raises(TypeError, match="PlotSettings has no setting 'lbl_size': did you mean lbl_sz"):
            PlotSettings(lbl_size=3)

    def test_a_changed_copy(self):
        settings = PlotSettings(width=3.0)
        assert replace(settings, dpi=50) == PlotSettings(width=3.0, dpi=50) != settings


class TestEmbeddings:
    def test_many_categories_stand_in_rows_of_three(self):
        matrices = {f"c{i}": np.full((4, 2), i) for i in range(7)}
        axes = plot_embeddings(matrices)
        assert [ax.get_title() for ax in axes] == list(matrices)
        figure = axes[0].figure
        assert len(figure.axes) == 7 + 1  # and the scale: no empty axes are left
        figure.canvas.draw()
        lowest = [round(ax.get_window_extent().y0) for ax in axes]
        assert [lowest.count(y) for y in sorted(set(lowest), reverse=True)] == [3, 3, 1]
        assert {ax.images[0].get_clim() for ax in axes} == {(-6.0, 6.0)}
        plt.close(figure)

    def test_few_numbers_are_written_and_read_well_on_their_colour(self):
        (ax,) = plot_embeddings({"c": [[-2.0, 2.0], [-0.04, 0.04]]})
        assert [t.get_text() for t in ax.texts] == ["\N{MINUS SIGN}2.0", "2.0", "0.0", "0.0"]
        assert [t.get_color() for t in ax.texts][:2] == ["white", "black"]
        plt.close(ax.figure)

    def test_many_numbers_are_not_written(self):
        (ax,) = plot_embeddings({"c": np.ones((13, 2))})
        assert not ax.texts
        plt.close(ax.figure)

    def test_zeros_can_be_drawn(self):
        (ax,) = plot_embeddings({"c": np.zeros((3, 2))})
        ax.figure.canvas.draw()
        low, high = ax.images[0].get_clim()
        assert low < high
        plt.close(ax.figure)


def test_a_history_of_one_epoch_is_drawn_with_whole_epochs():
    ax = plot_history({"epoch": [3], "train_loss": [0.7], "val_loss": [0.6], "learning_rate": [0.1]})
    assert ax.get_xlim() == (2, 4)
    assert all(float(tick).is_integer() for tick in ax.get_xticks())
    assert [line.get_marker() for line in ax.lines[:2]] == [".", "."]


@pytest.mark.parametrize("draw", [plot_event, plotting.plot_event_3d])
@pytest.mark.parametrize(("size", "joined"), [(200, True), (201, False)])
def test_more_particles_than_can_be_joined_are_drawn_without_lines(draw, size, joined):
    ax = draw(crowd(size), feats_per_vec=FEATS)
    assert any(c.get_label() == "_edges" for c in ax.collections) == joined
