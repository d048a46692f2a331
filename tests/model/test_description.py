"""The description of a model: what Python, YAML and the file of a model share."""

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph import (
    CatEmbedder,
    EventDataset,
    EventSchema,
    InteractionNet,
    Model,
    ModelBuilder,
    MultiHead,
    SchemaError,
    load_sample,
)
from lumigraph.blocks import lookup_uniform_init
from lumigraph.cli.configuration import FROM_EVENTS, ModelConfig
from lumigraph.data import sample_path
from lumigraph.model import Description

DATA = Path(__file__).parent / "data"
BODY = {"body": {"depth": 1, "width": 4}}


def test_every_field_is_in_the_configuration_and_in_the_file_of_a_model(tmp_path):
    names = {f.name for f in fields(Description)}
    assert {f.name for f in fields(ModelConfig)} | set(FROM_EVENTS) == names
    path = Model(ModelBuilder("classification", 1, ["a"])).save(tmp_path / "model.pt")
    assert set(torch.load(path, weights_only=True)["builder"]) == names


def test_every_field_has_a_help_text(capsys):
    from lumigraph.cli.command import _parser

    with pytest.raises(SystemExit):
        _parser().parse_args(["fit", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for name in {f.name for f in fields(Description)} - set(FROM_EVENTS):
        text = printed.rsplit(f" --model.{name} ", 1)[1].partition("(type:" if name != "head" else "(required")[0]
        assert len(text.split()) > 2, name


GIVEN = {
    "cat_embedder": {"max_emb_sz": 2}, "cont_subsample_rate": 0.5, "guaranteed_feats": ["met"], "loss": "L1Loss",
    "opt_args": {"opt": "sgd", "momentum": 0.5}, "lookup_init": "lookup_uniform_init", "freeze_body": True, "seed": 3,
    "scaling": "robust", "transforms": {"ht": "log"}, "clip": {"met": [0, 100]}, "model_args": BODY,
}  # fmt: skip


def test_a_description_of_plain_data_is_that_of_objects(tmp_path):
    events = load_sample().select(range(100))
    objects = {
        **GIVEN, "loss": nn.L1Loss, "lookup_init": lookup_uniform_init,
        "opt_args": {"OPT": torch.optim.SGD, "momentum": 0.5},
    }  # fmt: skip
    builders = [ModelBuilder.from_dataset(events, **given) for given in (GIVEN, objects)]
    models = []
    for builder in builders:
        torch.manual_seed(0)
        models.append(Model(builder))
    assert models[0].head.cat_embedder.emb_szs == [2, 2]
    assert (len(builders[0].cont_feats), "met" in builders[0].cont_feats) == (1, True)
    assert builders[0].get_opt_args() == {"lr": 1e-3, "opt": "sgd", "momentum": 0.5}
    assert not any(p.requires_grad for p in models[0].body.parameters())
    batch = events.batch()
    expected = (models[0].model(batch) - batch.y).abs()[:, 0]
    torch.testing.assert_close(models[0].loss(models[0].model, batch, batch.y), expected)
    np.testing.assert_array_equal(models[0].predict(events), models[1].predict(events))
    again = Model.load(models[0].save(tmp_path / "model.pt"))
    np.testing.assert_array_equal(again.predict(events), models[0].predict(events))
    lost = {f.name for f in fields(Description)} - {"scales", "cat_embedder"}
    assert {n for n in lost if getattr(again.model_builder, n) != getattr(builders[0], n)} == set()
    assert again.model_builder.plain() == builders[0].plain()


def test_a_block_of_plain_data_is_taken_apart():
    head = {"block": "InteractionNet", "args": {
        "intfunc_depth": 1, "intfunc_width": 3, "intfunc_out_sz": 3, "outfunc_depth": 1, "outfunc_width": 3,
        "outfunc_out_sz": 2, "agg_method": "sum",
    }}  # fmt: skip
    schema = EventSchema(collections=("Jet",), feats_per_vec=("px", "py"), targets=("y",))
    builder = ModelBuilder.from_schema(schema, head=head, loss={"block": "HuberLoss", "args": {"delta": 2.0}})
    assert builder.head is InteractionNet
    assert builder.model_args["head"]["vecs"] == list(schema.slot_names)
    assert builder.plain()["loss"] == {"block": "HuberLoss", "args": {"delta": 2.0}}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"loss": "L1loss"},
            ValueError,
            "loss must be 'auto' or a loss of torch.nn, got 'L1loss': did you mean L1Loss",
        ),
        ({"loss": 3}, TypeError, "loss must be a function of predictions and targets, or the name of one, got 3"),
        (
            {"cat_embedder": {"max_emb": 3}},
            TypeError,
            "cat_embedder has no argument 'max_emb': did you mean max_emb_sz",
        ),
        ({"cat_embedder": {"cat_names": ["a"]}}, TypeError, "cat_embedder has no argument 'cat_names'"),
        ({"cat_embedder": 3}, TypeError, "cat_embedder must be a CatEmbedder or its arguments by name, got 3"),
        (
            {"lookup_init": "lookup_norm_init"},
            ValueError,
            "no block 'lookup_norm_init': did you mean lookup_normal_init",
        ),
        ({"body": {"blok": "FullyConnected"}}, TypeError, r"the body must be a class of blocks, .*\{'blok': 'FullyCo"),
        ({"n_out": None}, ValueError, "n_out must be a number of outputs, got None"),
    ],
)
def test_what_does_not_fit_is_named(options, error, message, plain_python):
    with pytest.raises(error, match=message):
        ModelBuilder(**{"objective": "classification", "n_out": 1, "cont_feats": ["a"], **options}).build_model()


# -------------------------------------------------------------------------------------------------- files of before


@pytest.fixture(scope="module")
def predictions():
    return json.loads((DATA / "predictions.json").read_text())


def test_a_classification_of_format_1_loads_and_predicts_the_same(predictions, tmp_path):
    model = Model.load(DATA / "classification.pt")
    events = EventDataset.from_file(sample_path(), model.schema).select(range(20))
    np.testing.assert_allclose(model.predict(events)[:, 0], predictions["classification"], rtol=0, atol=1e-6)
    builder = model.model_builder
    assert (builder.head, builder.cat_embedder.cat_names) == (MultiHead, ["n_jets", "lepton_flavour"])
    assert builder.opt_args == {"opt": "adamw", "lr": 3e-3, "weight_decay": 0.02}
    assert builder.scales["u"].transforms == ["log", None]
    assert len(model.history["train_loss"]) == 2
    again = Model.load(model.save(tmp_path / "model.pt"))  # in the format of today
    np.testing.assert_array_equal(again.predict(events), model.predict(events))
    fresh = Model(ModelBuilder.from_model_builder(DATA / "classification.pt"))
    for name in ("mean", "std", "low", "high"):
        torch.testing.assert_close(getattr(fresh.head.flat_head.scale, name), getattr(model.head.flat_head.scale, name))


def test_a_regression_of_format_1_loads_and_predicts_the_same(predictions):
    model = Model.load(DATA / "regression.pt")
    events = EventDataset.from_file(sample_path(), model.schema).select(range(20))
    found = model.predict(events)[:, 0]
    np.testing.assert_allclose(found, predictions["regression"], rtol=1e-6)
    assert (model.input_mask, model.model_builder.lookup_init) == ([1, 0], lookup_uniform_init)
    assert model.get_param_count() < model.get_param_count(trainable=False)


def test_a_path_of_this_machine_is_not_needed_to_load_a_model(tmp_path):
    first = Model(ModelBuilder("regression", 1, ["a"], cat_embedder=CatEmbedder(["c"], [3])))
    first.head.save_embeds(tmp_path / "embeds")
    start = first.save(tmp_path / "start.pt")
    embedder = CatEmbedder(["c"], [3], emb_load_path=tmp_path / "embeds")
    second = Model(ModelBuilder("regression", 1, ["a"], cat_embedder=embedder, pretrain_file=start))
    path = second.save(tmp_path / "second.pt")
    start.unlink()
    (tmp_path / "embeds" / "c.h5").unlink()
    x = np.array([[0.5, 2.0]], dtype=np.float32)
    np.testing.assert_array_equal(Model.load(path).predict(x), first.predict(x))


# ------------------------------------------------------------------------------- describe first, measure second

NET = partial(
    InteractionNet, intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3, outfunc_depth=1, outfunc_width=4,
    outfunc_out_sz=3, agg_method="sum",
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_args": {"head": {"matrix_head": NET, "flat_had": 3}}}, "has an argument 'flat_had'"),
        ({"model_args": {"head": {"matrix_head": partial(NET, agg_metod="sum")}}}, "no argument 'agg_metod'"),
        ({"model_args": {"head": {"matrix_head": partial(NET, agg_method="sun")}}}, "agg_method"),
        ({"model_args": {"body": {"dept": 3}}}, "the body FullyConnected has no argument 'dept'"),
        (
            {"model_args": {"head": {"matrix_head": NET}, "body": {"act": "rellu"}}},
            "act must be an activation, got 'rellu'",
        ),
        ({"model_args": {"tail": {"y_rang": 3}}}, "the tail ClassRegMulti has no argument 'y_rang'"),
        ({"opt_args": {"opt": "adm"}}, "did you mean adam"),
        ({"opt_args": {"lr": -1.0}}, "[Ii]nvalid learning rate"),
        ({"loss": "MSELos"}, "did you mean MSELoss"),
        ({"scaling": "robst"}, "did you mean robust"),
        ({"transforms": {"hT": "log"}}, "did you mean ht"),
        ({"clip": {"ht": 3}}, "clip"),
        ({"cat_embedder": {"emb_szs": [1]}}, "must be equally long"),
        ({"pretrain_file": "nowhere.pt"}, "there is no model file nowhere.pt"),
        ({"n_out": 0}, "n_out must be at least 1"),
    ],
)
def test_what_is_misspelt_is_found_from_names_alone(options, message, plain_python):
    state = torch.get_rng_state()
    args = {"head": {"matrix_head": NET}}
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        ModelBuilder.from_schema(load_sample().schema, head=MultiHead, **{"model_args": args, **options})
    assert torch.equal(torch.get_rng_state(), state)


def test_targets_are_needed():
    with pytest.raises(SchemaError, match="no targets: name them in the schema"):
        ModelBuilder.from_schema(replace(load_sample().schema, targets=()))
