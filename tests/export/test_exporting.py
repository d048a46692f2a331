"""Exports: what stands in the file, what is refused, what is left of what fails, and what is left alone."""

import json
import os
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph import (
    AbsConv1dHead,
    AutoExtractLorentzBoostNet,
    CatEmbedder,
    CatEmbHead,
    EventSchema,
    FullyConnected,
    InteractionNet,
    LorentzBoostNet,
    Model,
    ModelBuilder,
    MultiHead,
    from_jagged,
    load_sample,
)
from lumigraph.blocks import AbsHead
from lumigraph.export import exporting
from lumigraph.export.comparison import Comparison

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("plain_python")

SIZES = {
    "intfunc_depth": 1, "intfunc_width": 8, "intfunc_out_sz": 6,
    "outfunc_depth": 1, "outfunc_width": 8, "outfunc_out_sz": 5, "agg_method": "sum",
}  # fmt: skip
SMALL = {"depth": 1, "width": 8}


@pytest.fixture(scope="module")
def events():
    return load_sample().select(range(400))


@pytest.fixture(scope="module")
def model(events):
    torch.manual_seed(0)
    args = {"head": {"matrix_head": partial(InteractionNet, **SIZES)}, "body": SMALL}
    return Model(ModelBuilder.from_dataset(events, head=MultiHead, model_args=args, all_events=load_sample()))


@pytest.fixture
def tiny():
    """A model that is quickly captured, where it does not matter which."""
    torch.manual_seed(0)
    return Model(ModelBuilder("classification", 1, ["a"], {"body": SMALL}))


def boosts():
    """Return a model of three slots, two event features and a category, that refuses unphysical four-momenta."""
    torch.manual_seed(0)
    vecs, feats = ["a", "b", "c"], ["px", "py", "pz", "E"]
    head = partial(LorentzBoostNet, vecs=vecs, feats_per_vec=feats, n_particles=2, bn=False)
    names = ["ht", "met", *(f"{v}_{f}" for v in vecs for f in feats)]
    args = {"head": {"matrix_head": head}, "body": SMALL}
    embedder = CatEmbedder(["nb"], [4])
    return Model(ModelBuilder("classification", 1, names, args, cat_embedder=embedder, head=MultiHead))


def program(path):
    return torch.export.load(path).module()


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


# ------------------------------------------------------------------------------------------------- what is in a file


def check_description(found, schema):
    assert found["inputs"]["rows"] == {
        "shape": ["events", "slots", 13], "dtype": "float32", "columns": list(schema.feats_per_vec)
    }  # fmt: skip
    assert found["inputs"]["mask"] == {"shape": ["events", "slots"], "dtype": "bool"}
    assert found["inputs"]["u"]["columns"] == list(schema.event_feats)
    assert found["inputs"]["cat"]["columns"] == list(schema.cat_feats) == list(found["categories"])
    assert found["output"] == {"name": "score", "shape": ["events", 1], "columns": ["score"]}
    assert EventSchema.from_dict(found["schema"]) == schema


def test_an_onnx_file_says_itself_what_goes_in_and_comes_out(model, tmp_path):
    report = model.export(tmp_path / "made" / "model.onnx")
    assert report.path == tmp_path / "made" / "model.onnx"
    assert report.sizes == (report.path.stat().st_size,)
    assert "events, slots, 13" in str(report)
    assert "allowed 1e-05" in str(report)
    opened = session(report.path)
    about = opened.get_modelmeta().custom_metadata_map
    assert about["objective"] == "classification"
    assert about["form"] == "padded"
    assert "GeV" in about["units"]
    assert "NaN" in about["refused"]
    check_description({k: json.loads(about[k]) for k in ("inputs", "output", "schema", "categories")}, model.schema)
    assert {i.name: i.shape for i in opened.get_inputs()} == {
        "rows": ["events", "slots", 13], "mask": ["events", "slots"], "u": ["events", 2], "cat": ["events", 2]
    }  # fmt: skip
    assert [(o.name, o.shape) for o in opened.get_outputs()] == [("score", ["events", 1])]
    assert b"site-packages" not in report.path.read_bytes()  # no traces of the machine it was written on
    onnx.checker.check_model(report.path, full_check=True)


def test_a_program_says_it_too_and_figures_of_events_that_are_given_are_reported(model, events, tmp_path):
    without = model.export(tmp_path / "a.pt2")
    extra = {"lumigraph.json": ""}
    torch.export.load(without.path, extra_files=extra)
    check_description(json.loads(extra["lumigraph.json"]), model.schema)
    assert without.merits == {}
    report = model.export(tmp_path / "model.pt2", form="jagged", events=events)
    assert report.events == without.events + len(events)
    before, after = report.merits["auc"]
    assert before.value == pytest.approx(model.metrics(events)["auc"].value, abs=1e-6)
    assert before.value == pytest.approx(after.value, abs=1e-4)
    assert "auc: 0." in str(report)


@pytest.mark.parametrize(("objective", "n_out"), [("multiclass", 3), ("regression", 2)])
def test_outputs_are_those_of_predict(objective, n_out, tmp_path):
    """Probabilities of several classes, targets of any scale; event features alone, of which some are used."""
    torch.manual_seed(0)
    tail = {"y_mean": [1e3, -2.0], "y_std": [100.0, 1e-3]} if objective == "regression" else {}
    schema = EventSchema(event_feats=["a", "b", "c"], targets=("mass", "pull")[: 1 if n_out == 3 else 2])
    model = Model(
        ModelBuilder(objective, n_out, ["a", "b", "c"], {"body": SMALL, "tail": tail}, input_mask=[2, 0], schema=schema)
    )
    report = model.export(tmp_path / "model.onnx", form="jagged")  # no particles: either form is the same
    assert report.inputs == {"u": ("events", 3)}
    assert report.output == "scores"
    opened = session(tmp_path / "model.onnx")
    columns = json.loads(opened.get_modelmeta().custom_metadata_map["output"])["columns"]
    assert columns == (["score_0", "score_1", "score_2"] if n_out == 3 else ["mass_pred", "pull_pred"])
    u = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    (found,) = opened.run(None, {"u": u})
    np.testing.assert_allclose(found, model.predict(u), rtol=1e-5)
    if objective == "multiclass":
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_particles_alone_in_double_precision(tmp_path):
    torch.manual_seed(0)
    builder = ModelBuilder(
        "classification", 1, ["particle_pt", "particle_eta"], {"head": SIZES, "body": SMALL},
        head=partial(InteractionNet, vecs=["particle"], feats_per_vec=["pt", "eta"]),
    )  # fmt: skip
    model = Model(builder)
    model.model.double()
    report = model.export(tmp_path / "model.onnx", form="jagged")
    assert report.deviation < 1e-12
    values, lengths = torch.randn(9, 2).double(), torch.tensor([4, 0, 5])
    (found,) = session(tmp_path / "model.onnx").run(None, {"values": values.numpy(), "lengths": lengths.numpy()})
    expected = model.predict(from_jagged(values, lengths=lengths))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_what_the_model_refuses_gets_nan_and_leaves_the_other_events_alone(suffix, tmp_path):
    model = boosts()
    model.export(tmp_path / f"model.{suffix}")
    p = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([p, 1 + p.norm(dim=2, keepdim=True)], dim=2)
    mask = (torch.arange(5) < 3).repeat(7, 1)
    u, cat = torch.ones(7, 2), torch.ones(7, 1, dtype=torch.long)
    fine = model.predict(from_jagged(rows[:, :3].reshape(-1, 4), lengths=torch.full((7,), 3), u=u, cat=cat))
    rows[1, 2, 0] = torch.nan
    u[2, 1] = torch.nan
    cat[3, 0], cat[4, 0] = 4, -1
    mask[5, 4] = True  # a particle behind the last slot
    rows[6, 0, 3] = 0.5 * rows[6, 0, :3].norm()
    inputs = {"rows": rows, "mask": mask, "u": u, "cat": cat}
    if suffix == "onnx":
        (found,) = session(tmp_path / "model.onnx").run(None, {k: v.numpy() for k, v in inputs.items()})
    else:
        found = program(tmp_path / "model.pt2")(**inputs).numpy()
    np.testing.assert_allclose(found[0], fine[0], atol=1e-6)
    assert np.isnan(found[1:]).all()


class Faulty(FullyConnected):
    """A body that does something else once it is captured."""

    def forward(self, x):
        return super().forward(x) + (0.01 if torch.compiler.is_exporting() else 0.0)


def test_what_does_not_agree_is_not_written(tmp_path):
    builder = ModelBuilder("classification", 1, ["a"], {"body": SMALL}, body=Faulty)
    file = tmp_path / "model.pt2"
    file.write_bytes(b"what was there")
    with pytest.raises(ValueError, match=r"differ by up to 0\.\d+, more than tolerance=1e-05, in \d+ of \d+ events"):
        Model(builder).export(file, overwrite=True)
    assert file.read_bytes() == b"what was there"
    with pytest.raises(ValueError, match="nothing was written"):
        Model(builder).export(tmp_path / "new" / "model.onnx")
    assert os.listdir(tmp_path) == ["model.pt2"]
    assert Model(builder).export(tmp_path / "coarse.pt2", tolerance=0.5).tolerance == 0.5


def test_a_file_is_kept_unless_it_may_be_replaced(tiny, tmp_path):
    file = tmp_path / "model.pt2"
    file.write_bytes(b"what was there")
    with pytest.raises(FileExistsError, match="overwrite"):
        tiny.export(file)
    assert file.read_bytes() == b"what was there"
    tiny.export(file, overwrite=True)
    assert program(file) is not None


def test_nothing_is_left_of_a_write_that_fails(tiny, tmp_path, monkeypatch):
    def full(source, target):
        with open(target, "wb") as half:
            half.write(b"half")
        raise OSError("no space left on the device")

    monkeypatch.setattr(exporting.shutil, "copyfile", full)
    with pytest.raises(OSError, match="no space"):
        tiny.export(tmp_path / "model.pt2")
    assert os.listdir(tmp_path) == []


def test_arguments_that_do_not_fit_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"the suffix of .* must be \.onnx or \.pt2, got '\.h5'"):
        model.export(tmp_path / "model.h5")
    with pytest.raises(ValueError, match="form must be 'padded' or 'jagged', got 'ragged'"):
        model.export(tmp_path / "model.onnx", form="ragged")
    with pytest.raises(ValueError, match=r"the suffix must be \.onnx for quantize=True"):
        model.export(tmp_path / "model.pt2", quantize=True)
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        model.export(tmp_path / "model.pt2", tolerance=0)
    with pytest.raises(TypeError, match="events must be an EventDataset"):
        model.export(tmp_path / "model.pt2", events=np.zeros(3))
    assert os.listdir(tmp_path) == []


class Own(AbsHead):
    """A head that says nothing of plain tensors."""

    def get_out_size(self):
        return 2

    def forward(self, x):
        return x


class Asking(CatEmbHead):
    """A head that asks for a number, which no graph can."""

    def embed(self, cont, codes):
        return super().embed(cont, codes) if float(cont.sum()) < 1e6 else cont


def test_heads_that_cannot_be_exported_say_why(tmp_path):
    def of(head):
        return Model(ModelBuilder("classification", 1, ["a", "b"], {"body": SMALL}, head=head))

    with pytest.raises(TypeError, match="Own cannot be exported: it has no embed for plain tensors"):
        of(lambda **kargs: Own(kargs["cont_feats"])).export(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"Asking, body or tail cannot be captured by torch\.export: GuardOn"):
        of(Asking).export(tmp_path / "model.onnx")


class Conv(AbsConv1dHead):
    def get_layers(self, in_c, act="relu", bn=False, **kargs):
        return nn.Sequential(self.get_conv1d_block(in_c, 4, kernel_sz=3, act=act), nn.AdaptiveAvgPool1d(1))


def test_a_precision_without_kernels_is_told(tmp_path):
    head = partial(Conv, vecs=["a", "b", "c"], feats_per_vec=["px"])
    model = Model(ModelBuilder("classification", 1, ["a_px", "b_px", "c_px"], {"body": SMALL}, head=head))
    model.model.double()
    with pytest.raises(ValueError, match=r"float32: export a float32 model, model\.model\.float\(\)"):
        model.export(tmp_path / "model.onnx")
    assert model.export(tmp_path / "model.pt2").deviation < 1e-12


def test_a_model_of_nan_is_refused(tmp_path):
    model = Model(ModelBuilder("classification", 1, ["a"], {"body": SMALL}))
    model.tail.dense.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="the model itself gives NaN"):
        model.export(tmp_path / "model.pt2")


def test_the_jagged_form_is_refused_where_it_loses_slots(tmp_path):
    schema = EventSchema(vecs=("a", "b", "c"), feats_per_vec=("px", "py", "pz", "E"), targets=("label",))
    rng = np.random.default_rng(0)
    columns = {f"{v}_{f}": rng.normal(size=20) + 9 * (f == "E") for v in "abc" for f in ("px", "py", "pz", "E")}
    for name in columns:
        if name.startswith("a_"):
            columns[name][3] = np.nan  # the first object is absent
    from lumigraph import EventDataset

    events = EventDataset.from_columns({**columns, "label": np.arange(20) % 2}, schema)
    head = {"n_particles": 2, "bn": False}
    model = Model(ModelBuilder.from_dataset(events, head=LorentzBoostNet, model_args={"head": head, "body": SMALL}))
    with pytest.raises(ValueError, match="use form='padded'"):
        model.export(tmp_path / "model.pt2", form="jagged", events=events)
    assert model.export(tmp_path / "model.pt2", events=events).deviation < 1e-6


def test_a_missing_library_is_named_with_the_way_to_get_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'lumigraph\[export\]'"):
        tiny.export(tmp_path / "model.onnx")


def test_the_model_is_left_as_it_is(tiny, tmp_path):
    model = tiny
    model.model.train()
    before, random = model.get_weights(), torch.get_rng_state()
    model.export(tmp_path / "model.pt2")
    assert all(torch.equal(before[name], value) for name, value in model.get_weights().items())
    assert all(m.training for m in model.model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(("off", "rounding", "accepted"), [(6e-5, 2e-5, True), (1e-4, 2e-5, False), (6e-5, 0.0, False)])
def test_what_the_model_itself_loses_by_rounding_is_allowed(off, rounding, accepted):
    model = torch.full((5, 1), 0.5)
    file, exact = model.clone(), model.double()
    file[3], exact[3] = model[3] + off, model[3].double() - rounding
    found = Comparison(model, file, exact, "classification", {})
    if accepted:
        found.check(1e-5)
    else:
        with pytest.raises(ValueError, match="in 1 of 5 events"):
            found.check(1e-5)


# ---------------------------------------------------------------------------------------------------- quantisation


@pytest.mark.parametrize("head", [LorentzBoostNet, AutoExtractLorentzBoostNet])
def test_quantised_boosts_take_any_number_of_slots(head, events, tmp_path):
    options = {"depth": 1, "width": 8, "n_singles": 2, "n_pairs": 2} if head is AutoExtractLorentzBoostNet else {}
    args = {"head": {"matrix_head": partial(head, n_particles=3, **options)}, "body": SMALL}
    model = Model(ModelBuilder.from_dataset(events, head=MultiHead, model_args=args, all_events=load_sample()))
    report = model.export(tmp_path / "model.onnx", quantize=True)
    assert 0 < report.deviation < 1  # weights are random


def test_a_quantised_model_is_smaller_and_its_loss_is_reported(events, tmp_path):
    torch.manual_seed(0)
    wide = {**SIZES, "intfunc_depth": 2, "intfunc_width": 64, "outfunc_out_sz": 32, "agg_method": "mean"}
    args = {"head": {"matrix_head": partial(InteractionNet, **wide)}, "body": {"depth": 2, "width": 64}}
    builder = ModelBuilder.from_dataset(events, head=MultiHead, model_args=args, all_events=load_sample())
    model = Model(builder).fit(3, events, 32, lr=3e-3, progress_bar=False)
    report = model.export(tmp_path / "model.onnx", quantize=True, events=events)
    before, after = report.sizes
    assert after == report.path.stat().st_size < 0.8 * before
    assert 1e-5 < report.deviation < 0.3
    assert report.tolerance is None
    of_model, of_file = report.merits["auc"]
    assert of_model.value > 0.7
    assert of_file.value == pytest.approx(of_model.value, abs=0.02)
    assert of_file.value != of_model.value
    assert "not limited" in str(report)


@pytest.mark.parametrize(("noise", "accepted"), [(0.01, True), (0.5, False), (float("nan"), False)])
def test_a_quantised_model_that_says_something_else_is_refused(noise, accepted):
    generator = torch.Generator().manual_seed(0)
    model = torch.rand(500, 1, generator=generator)
    file = model + noise * torch.randn(500, 1, generator=generator)
    found = Comparison(model, file, model.double(), "classification", {})
    if accepted:
        found.check_sane()
    else:
        with pytest.raises(ValueError, match="the quantised model does not agree with the model"):
            found.check_sane()
