"""Events to hover over: what lies where, what is said of it, the slider, and the same in a real browser."""

import importlib
import json
import math
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import lumigraph
from lumigraph import from_jagged, load_sample, show
from lumigraph.events import kinematics
from lumigraph.plotting import event_html, interactive_event
from lumigraph.plotting.events.interactive import events_to_show

FEATS = ("px", "py", "pz", "E", "btag", "kind")


def particle(pt, eta, phi, btag=0.0, kind=3):
    return [pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta), pt * math.cosh(eta), btag, kind]


def batch_of(*events):
    rows = [row for event in events for row in event]
    return from_jagged(torch.tensor(rows).reshape(-1, 6), lengths=torch.tensor([len(event) for event in events]))


@pytest.fixture(scope="module")
def sample():
    return load_sample()


def markers(traces):
    return {trace.name: trace for trace in traces if trace.mode == "markers"}


def test_particles_lie_where_they_are_and_say_what_they_are():
    event = [particle(50, 0.5, 1.0, 0.9), particle(20, -1.25, 3.0), particle(30, 2.0, -3.0, kind=2)]
    met = particle(40, 0.0, 2.0, kind=0)
    figure = interactive_event(batch_of([*event, met]), feats_per_vec=FEATS)
    found = markers(figure.data)
    assert set(found) == {"MET", "muon", "jet", "jet, b-tagged"}
    np.testing.assert_allclose([*found["jet"].x, *found["jet"].y], [-1.25, 3.0], atol=1e-5)
    np.testing.assert_allclose([*found["muon"].x, *found["muon"].y], [2.0, -3.0], atol=1e-5)
    assert found["jet, b-tagged"].text == (
        "<b>jet, b-tagged</b><br>pT = 50.0 GeV<br>η = 0.50<br>φ = 1.00 rad<br>b-tag = 0.9",
    )
    assert found["MET"].text == ("<b>MET</b><br>pT = 40.0 GeV<br>φ = 2.00 rad",)
    assert found["jet, b-tagged"].marker.line.color == "black"
    assert found["jet"].marker.line.color == "white"
    # areas as their transverse momenta, 50 to 20 for two circles
    ratio = (found["jet, b-tagged"].marker.size[0] / found["jet"].marker.size[0]) ** 2
    assert ratio == pytest.approx(2.5, rel=1e-3)


def test_a_line_across_pi_goes_the_short_way_round():
    figure = interactive_event(batch_of([particle(50, 0.0, 3.0), particle(50, 1.0, -3.0)]), feats_per_vec=FEATS)
    x, y = figure.data[0].x, figure.data[0].y
    drawn = ~np.isnan(y)
    np.testing.assert_allclose(y[drawn], [3.0, math.pi, -math.pi, -3.0], atol=1e-5)
    np.testing.assert_allclose(x[drawn], [0.0, 0.5, 0.5, 1.0], atol=1e-5)
    assert np.isnan(y).tolist() == [False, False, True, False, False, True]


def test_the_slider_has_all_events_with_the_same_kinds_in_the_same_order():
    batch = batch_of([], [particle(50, 0.5, 1.0)], [particle(20, 0.0, 0.0, kind=1), particle(30, 1.0, 1.0)])
    figure = interactive_event(batch, event=1, feats_per_vec=FEATS)
    assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
    assert figure.layout.sliders[0].active == 1
    assert [step.args[0][0] for step in figure.layout.sliders[0].steps] == ["0", "1", "2"]
    assert {tuple(trace.name for trace in frame.data) for frame in figure.frames} == {("edges", "jet", "electron")}
    assert [len(markers(frame.data)["jet"].x) for frame in figure.frames] == [0, 1, 1]
    assert [frame.layout.title.text for frame in figure.frames] == [
        "Event 0: 0 particles", "Event 1: 1 particle", "Event 2: 2 particles",
    ]  # fmt: skip


def test_one_event_has_no_slider_and_no_edges_if_not_wanted():
    figure = interactive_event(batch_of([particle(50, 0.5, 1.0)] * 2), feats_per_vec=FEATS, edges=False)
    assert len(figure.layout.sliders) == len(figure.frames) == 0
    assert [trace.name for trace in figure.data] == ["jet"]


def test_a_particle_along_the_beam_lies_on_the_border_of_all_events():
    along = [0.0, 0.0, -70.0, 70.0, 0.0, 3]
    figure = interactive_event(batch_of([along], [particle(10, 5.0, 0.0)]), feats_per_vec=FEATS)
    limit = figure.layout.xaxis.range[1]
    assert limit >= 5.0
    assert figure.data[-1].x[0] == pytest.approx(-limit)
    assert "η = −∞, along the beam" in figure.data[-1].text[0]  # noqa: RUF001


def test_a_data_set_gathers_the_neighbours_only_and_keeps_their_numbers(sample):
    figure = interactive_event(sample, 1234, max_events=10)
    assert [frame.name for frame in figure.frames] == [str(number) for number in range(1229, 1239)]
    event = sample[1234]
    pt = kinematics.pt(event.x[:, :4])
    assert sum(len(trace.x) for trace in markers(figure.data).values()) == len(pt)
    said = [text for trace in markers(figure.data).values() for text in trace.text]
    assert sorted(f"pT = {value:.1f} GeV" for value in pt.tolist()) == sorted(text.split("<br>")[1] for text in said)
    assert events_to_show(sample, 1234, None, 10)[0].num_graphs == 10


def test_many_and_large_events_stay_small():
    jets = torch.randn(60 * 70, 3)
    p4 = torch.cat([jets, jets.norm(dim=1, keepdim=True)], dim=1)
    figure = interactive_event(from_jagged(p4, lengths=torch.full((60,), 70)), event=30)
    numbers = [int(frame.name) for frame in figure.frames]
    assert 5 < len(numbers) < 60
    assert abs(np.mean(numbers) - 30) <= 1  # those next to it on both sides
    assert len(figure.to_json()) < 2e6
    many = interactive_event(from_jagged(p4, lengths=torch.full((20,), 210)), event=10)
    assert 5 < len(many.frames) <= 20
    assert len(many.to_json()) < 2e6
    large = interactive_event(from_jagged(p4[:2000], lengths=torch.tensor([1000, 1000])))
    assert len(large.data[0].x) == 0  # half a million lines
    assert len(large.data[1].x) == 1000
    assert len(large.frames) == 2


def test_what_is_wrong_is_said(sample, monkeypatch):
    with pytest.raises(ValueError, match="the batch must know the names of its features, got none: give feats_per_vec"):
        interactive_event(Data(x=sample[0].x))
    with pytest.raises(ValueError, match="event must be a number from 0 to 1, got 5"):
        interactive_event(sample.batch([0, 1]), 5)
    with pytest.raises(ValueError, match=r"event must be .*, got 20000"):
        interactive_event(sample, 20000)
    with pytest.raises(ValueError, match="max_events"):
        interactive_event(sample, max_events=0)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install 'lumigraph\[interactive\]'"):
        interactive_event(sample)


def test_four_columns_are_a_four_momentum():
    figure = interactive_event(from_jagged(torch.tensor([particle(50, 0.5, 1.0)[:4]]), lengths=torch.tensor([1])))
    np.testing.assert_allclose([*figure.data[-1].x, *figure.data[-1].y], [0.5, 1.0], atol=1e-5)


def test_without_a_notebook_there_is_a_static_picture(sample):
    ax = show(sample, 17)
    assert ax.get_title(loc="left") == f"Event 17: {len(sample[17].x)} particles"
    batch = show(sample.batch([16, 17]), 1)
    assert batch.get_title(loc="left") == f"Event 1: {len(sample[17].x)} particles"
    assert len(plt.get_fignums()) == 2  # left open: they are the caller's


def test_where_there_are_windows_the_static_picture_opens_one(sample, monkeypatch):
    opened = []
    monkeypatch.setattr(plt, "show", lambda: opened.append(plt.get_fignums()))
    show(sample, 3)
    assert not opened  # a backend for files has none, and would warn
    monkeypatch.setattr("matplotlib.backends.backend_agg.FigureCanvasAgg.required_interactive_framework", "tk")
    ax = show(sample, 3)
    assert opened == [plt.get_fignums()]
    assert ax.figure.number in opened[0]


def in_notebook(monkeypatch):
    """Let it look as in a notebook, and return what is displayed."""
    displayed = []
    shell = SimpleNamespace(kernel=object(), display_pub=SimpleNamespace(publish=displayed.append))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return displayed


def test_in_a_notebook_it_is_interactive_with_a_picture_for_where_no_script_runs(sample, monkeypatch):
    pytest.importorskip("plotly")
    displayed = in_notebook(monkeypatch)
    assert show(sample, 3) is None
    (bundle,) = displayed
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/plain"] == f"Event 3: {len(sample[3].x)} particles"
    before, _, script = bundle["text/html"].partition("<script>")
    assert f'<img src="data:image/png;base64,{bundle["image/png"]}"' in before
    figure = json.loads(script.split("const figure = ")[1].split(";\n")[0])
    assert len(figure["frames"]) == 100
    assert len(bundle["text/html"]) < 3e6
    assert not plt.get_fignums()


def test_in_a_notebook_without_plotly_it_is_static(sample, monkeypatch):
    displayed = in_notebook(monkeypatch)
    module = importlib.import_module("lumigraph.plotting.events.notebook")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert show(sample, 3).get_title(loc="left").startswith("Event 3")
    assert not displayed


def test_at_top_level_it_is_found_when_it_is_used():
    assert "show" in lumigraph.__all__
    assert lumigraph.show is show
    with pytest.raises(AttributeError, match="no attribute 'shwo'"):
        lumigraph.shwo  # noqa: B018


WHERE = """(() => {
  const graph = document.querySelectorAll(".js-plotly-plot")[@], box = graph.getBoundingClientRect();
  const axes = graph._fullLayout, trace = graph._fullData.find((t) => t.mode === "markers" && t.name === "Jet");
  return [box.x + axes.xaxis._offset + axes.xaxis.d2p(trace.x[0]),
          box.y + axes.yaxis._offset + axes.yaxis.d2p(trace.y[0])];
})()"""


def check_in_browser(browser, first_jet, title):
    """Hover over the first jet of the last picture on a page, then move its slider to the first event."""
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .slider-container').length === 2")
    assert browser.evaluate("document.querySelectorAll('.js-plotly-plot img').length") == 0  # static ones are gone
    x, y = browser.evaluate(WHERE.replace("@", "1"))
    browser.move(x - 30, y)
    browser.move(x, y)
    browser.wait_for("document.querySelectorAll('.hovertext').length > 0")
    assert first_jet in browser.evaluate("document.querySelector('.hovertext').textContent")
    rail = "document.querySelectorAll('.slider-rail-touch-rect')[1].getBoundingClientRect()"
    x, y, height = browser.evaluate(f"(({{x, y, height}}) => [x, y, height])({rail})")
    browser.click(x + 5, y + height / 2)
    browser.wait_for(f"document.querySelectorAll('.gtitle')[1].textContent === {title!r}")
    assert browser.complaints() == []
    assert browser.requests() == []


def test_in_chromium_particles_say_what_they_are_and_the_slider_moves(sample, chromium, tmp_path):
    pieces = [event_html(sample, event, max_events=20) for event in (2, 53)]
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'>{''.join(pieces)}", encoding="utf-8")
    chromium.open(file, 800, 1300)
    jet = markers(interactive_event(sample, 53).data)["Jet"].text[0].replace("<b>", "").replace("</b>", "")
    check_in_browser(chromium, jet.replace("<br>", ""), f"Event 43: {len(sample[43].x)} particles")


def test_a_saved_notebook_opens_in_chromium(sample, chromium, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("plotly")
    cells = ["import lumigraph\nevents = lumigraph.load_sample()", "lumigraph.show(events, event=2)",
             "lumigraph.show(events, event=53, max_events=20)"]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    nbformat.write(notebook, tmp_path / "events.ipynb")
    saved = nbformat.read(tmp_path / "events.ipynb", as_version=4)
    outputs = [output for cell in saved.cells for output in cell.outputs]
    pieces = [output["data"]["text/html"] for output in outputs if output["output_type"] == "display_data"]
    assert len(pieces) == 2
    assert not [output for output in outputs if output["output_type"] == "execute_result"]  # None is not printed
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'>{''.join(pieces)}", encoding="utf-8")
    chromium.open(file, 800, 1300)
    jet = markers(interactive_event(sample, 53).data)["Jet"].text[0].split("<br>")[1]
    check_in_browser(chromium, jet, f"Event 43: {len(sample[43].x)} particles")
