"""Reports: what stands on the page is what the model does, in one file that a browser opens without a network."""

import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lumigraph import EventDataset, EventStream, InteractionNet, LorentzBoostNet, Model, ModelBuilder, MultiHead
from lumigraph.cli import main
from lumigraph.data import SAMPLE_SCHEMA, read_columns, sample_path, write_columns
from lumigraph.plotting import write_report
from lumigraph.plotting.page import figure
from lumigraph.plotting.report.gathering import gather

NET = partial(
    InteractionNet, intfunc_depth=1, intfunc_width=8, intfunc_out_sz=4, outfunc_depth=1, outfunc_width=8,
    outfunc_out_sz=4, agg_method="mean",
)  # fmt: skip


@pytest.fixture(scope="module")
def columns():
    return {name: values[:400] for name, values in read_columns(sample_path()).items()}


def model_of(events, objective="classification", net=NET, epochs=1):
    torch.manual_seed(0)
    builder = ModelBuilder.from_dataset(events, objective, head=MultiHead, model_args={"head": {"matrix_head": net}})
    return Model(builder).fit(epochs, events, 128, progress_bar=False)


@pytest.fixture(scope="module")
def events(columns):
    return EventDataset.from_columns(columns, SAMPLE_SCHEMA)


@pytest.fixture(scope="module")
def model(events):
    return model_of(events)


@pytest.fixture(scope="module")
def files(model, columns, tmp_path_factory):
    """A model and a file of events, written."""
    folder = tmp_path_factory.mktemp("files")
    return model.save(folder / "model.pt"), write_columns(folder / "events.parquet", columns)


@pytest.fixture(scope="module")
def page(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    assert main(["report", *map(str, files), "--out", str(path)]) == 0
    return path


class Reader(HTMLParser):
    """What a page refers to, its headings, captions and cells."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.links, self.texts, self._open = [], [], {}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._open.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "srcset")]
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data


def test_the_page_says_what_the_model_does(page, files, model, events):
    read = Reader(page)
    assert read.texts["h2"] == ["Performance", "Training", "Importance of the inputs", "Events", "Data", "Model"]
    metrics = model.metrics(events)
    assert read.texts["b"][:3] == ["400", f"{metrics['loss']:.4g}", str(metrics["auc"])]
    assert "1/ε_B at ε_S = 30%" in read.texts["span"]
    assert read.texts["h1"] == [f"Report on {files[0]}"]
    assert not any("Not drawn" in text for text in read.texts["figure"])
    captions = read.texts["figcaption"]
    for start in ("Background rejection", "ROC curve", "Distribution of the scores", "Calibration", "Loss by epoch",
                  "By kind of object", "By feature", "Messages of the interaction network"):  # fmt: skip
        assert sum(caption.startswith(start) for caption in captions) == 1, start


def test_the_ten_most_and_least_signal_like_events_are_those(page, model, events):
    captions = [text for text in Reader(page).texts["figcaption"] if text.startswith("Score ")]
    found = [re.fullmatch(r"Score (\S+), in truth (\w+) \(event (\d+)\)\.", text).groups() for text in captions]
    scores = model.predict(events)[:, 0]
    order = np.argsort(-scores, kind="stable")
    expected = [*order[:10], *order[::-1][:10]]
    assert [float(score) for score, _, _ in found] == pytest.approx(scores[expected], rel=2e-3)
    assert [int(number) for _, _, number in found] == events.ids["event"][expected].tolist()
    labels = events.y[expected, 0]
    assert [truth for _, truth, _ in found] == ["signal" if label == 1 else "background" for label in labels]


def test_ranges_schema_configuration_and_versions_stand_there(page, events):
    read = Reader(page)
    rows = re.findall(r"<tr>(.*?)</tr>", page.read_text(encoding="utf-8"))
    cells = {found[0]: found[1:] for row in rows if (found := re.findall(r"<td[^>]*>(.*?)</td>", row))}
    ht = events.u[:, list(events.schema.event_feats).index("ht")].double()
    assert cells["ht"] == ["event feature", f"{ht.min():.4g}", f"{ht.mean():.4g}", f"{ht.max():.4g}", "0.0%"]
    px = events.x[:, list(events.schema.feats_per_vec).index("px")].double()
    assert cells["px"][:2] == ["feature of particles", f"{px.min():.4g}"]
    assert cells["particles per event"][2] == f"{len(events.x) / len(events):.4g}"
    assert cells["torch"] == [torch.__version__]
    assert {"lumigraph", "torch-geometric", "Python", "parameters", "events of class 1"} <= cells.keys()
    schema, configuration, layers = read.texts["pre"]
    assert "collections: [MET, Electron, Muon, Jet]" in schema
    assert "block: InteractionNet" in configuration
    assert "intfunc_width: 8" in configuration
    assert "InteractionConv" in layers


def test_the_page_holds_all_of_itself(page):
    read = Reader(page)
    assert "script" not in read.tags
    assert read.links
    assert all(link.startswith(("data:", "#")) for link in read.links)
    assert "url(" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1200, 400])
def test_chromium_opens_it_without_a_network_and_without_complaint(page, chromium, width):
    chromium.open(page, width, 900)
    assert chromium.complaints() == []
    assert chromium.requests() == []
    sizes = chromium.evaluate(
        "[...document.images].map((i) => [i.complete, i.naturalWidth, i.getBoundingClientRect().right])"
    )
    assert len(sizes) == 28
    assert all(complete and natural > 200 and right <= width for complete, natural, right in sizes)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
    assert chromium.evaluate("document.querySelectorAll('nav a').length") == 6


def test_events_in_chunks_are_gathered_as_if_at_once(model, files, events):
    whole, parts = gather(model, events), gather(model, EventStream(files[1], model.schema, chunk_size=64))
    np.testing.assert_allclose(parts.out, whole.out, atol=1e-5)
    assert (parts.y == whole.y).all()
    assert (parts.weight == whole.weight).all()
    assert parts.most.events.numbers.tolist() == whole.most.events.numbers.tolist()
    assert parts.least.events.numbers.tolist() == whole.least.events.numbers.tolist()
    assert np.diff(whole.most.rank).max() <= 0 <= np.diff(whole.least.rank).min()
    for (role, one), (other, two) in zip(whole.ranges, parts.ranges, strict=True):
        assert (role, one.name, one.minimum, one.maximum) == (other, two.name, two.minimum, two.maximum)
        assert one.mean == pytest.approx(two.mean, rel=1e-6, abs=1e-6)


def test_a_boost_network_shows_its_combinations_and_frames(events, tmp_path, few_drawn):
    net = partial(LorentzBoostNet, n_particles=3)
    model = model_of(events, net=net)
    captions = Reader(write_report(model, events, tmp_path / "report.html")).texts["figcaption"]
    assert any(caption.startswith("Combinations of particles") for caption in captions)
    assert any("before and after the boost" in caption for caption in captions)
    assert not any(caption.startswith("Messages") for caption in captions)


@pytest.fixture
def few_drawn(monkeypatch):
    """Draw two events at each end: quicker."""
    monkeypatch.setattr("lumigraph.plotting.report.gathering._EXTREMES", 2)


def other_targets(columns, **targets):
    values = {name: np.asarray(column) for name, column in targets.items()}
    schema = replace(SAMPLE_SCHEMA, targets=tuple(targets), event_feats=("met",), cat_feats=())
    return EventDataset.from_columns({**columns, **values}, schema)


def test_a_regression_of_two_targets(columns, tmp_path, few_drawn):
    events = other_targets(columns, ht=columns["ht"], twice=2 * np.asarray(columns["ht"]))
    read = Reader(write_report(model_of(events, "regression"), events, tmp_path / "report.html", title="<Energy>"))
    assert read.texts["h1"] == ["<Energy>"]
    for target in ("ht", "twice"):
        assert f"Residuals of {target}: predicted minus true values." in read.texts["figcaption"]
        assert f"resolution {target}" in read.texts["span"]
    assert "Highest predicted ht" in read.texts["h3"]
    assert not any("Not drawn" in text for text in read.texts["figure"])


def test_many_classes(columns, tmp_path, few_drawn):
    events = other_targets(columns, kind=np.clip(np.asarray(columns["n_jets"]), 4, 6) - 4)
    model = model_of(events, "multiclass")
    read = Reader(write_report(model, events, tmp_path / "report.html"))
    assert sum(text.startswith("Confusion matrix") for text in read.texts["figcaption"]) == 1
    out = model.predict(events)
    sure = int(out.max(axis=1).argmax())
    said = f"Class {out[sure].argmax()} with {out[sure].max():.3g}, in truth class {float(events.y[sure, 0]):.0f}"
    assert any(text.startswith(said) for text in read.texts["figcaption"])


def test_event_features_alone_and_a_model_that_was_not_trained(columns, tmp_path):
    schema = replace(SAMPLE_SCHEMA, collections=(), feats_per_vec=(), max_particles=None)
    events = EventDataset.from_columns(columns, schema)
    text = write_report(Model(ModelBuilder.from_dataset(events)), events, tmp_path / "report.html").read_text("utf-8")
    assert "The model has no history" in text
    assert "Events are not drawn" in text
    assert "Not drawn" not in text


def error_of(capsys, *arguments):
    """Run a command that must fail, and return its one sentence."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("lumigraph: error: ")


def test_bad_input_is_one_sentence_and_nothing_is_written(files, columns, tmp_path, capsys):
    model, file = files
    out = tmp_path / "report.html"
    unlabelled = write_columns(tmp_path / "a.parquet", {k: v for k, v in columns.items() if k != "label"})
    assert "'label'" in error_of(capsys, "report", model, unlabelled, "--out", out)
    other = write_columns(tmp_path / "b.parquet", {k: v for k, v in columns.items() if not k.startswith("Jet")})
    assert "there is no column Jet_" in error_of(capsys, "report", model, other, "--out", out)
    background = write_columns(
        tmp_path / "c.parquet", {k: v[np.asarray(columns["label"]) == 0] for k, v in columns.items()}
    )
    assert "label" in error_of(capsys, "report", model, background, "--out", out)
    none = write_columns(tmp_path / "d.parquet", {k: v[:0] for k, v in columns.items()})
    assert "at least one selected event" in error_of(capsys, "report", model, none, "--out", out)
    assert not out.exists()
    assert "cannot be written" in error_of(capsys, "report", model, file, "--out", file / "report.html")
    assert "is a directory" in error_of(capsys, "report", model, file, "--out", tmp_path)
    out.write_text("precious")
    assert "--overwrite" in error_of(capsys, "report", model, file, "--out", out)
    assert out.read_text() == "precious"
    assert "is not a model of lumigraph" in error_of(capsys, "report", file, file, "--out", tmp_path / "new.html")


def test_a_picture_that_cannot_be_drawn_says_why_and_leaves_nothing_open():
    kept = plt.figure()

    def draw():
        plt.figure()
        raise ValueError("there is <nothing> to see.")

    assert "A caption. Not drawn: there is &lt;nothing&gt; to see." in figure(draw, "A caption.")
    assert plt.get_fignums() == [kept.number]
