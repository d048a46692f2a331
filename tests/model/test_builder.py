"""What a model is made of, beyond what the tests of models use: optimiser, chosen features, weights to start from."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from lumigraph import (
    EventDataset,
    EventSchema,
    InteractionNet,
    LorentzBoostNet,
    Model,
    ModelBuilder,
    MultiHead,
    SchemaError,
    load_sample,
)
from lumigraph.blocks import CatEmbedder, RecurrentHead, lookup_uniform_init
from lumigraph.training.config import TrainConfig

FEATS = [f"f{i}" for i in range(10)]
BODY = {"body": {"depth": 1, "width": 4}}


def builder(**options):
    return ModelBuilder("regression", 1, FEATS, **{"model_args": BODY, **options})


def data(n=64, seed=0):
    table = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 10)).astype(np.float32), columns=FEATS)
    table["y"] = table["f3"]
    return EventDataset.from_columns(table, EventSchema(event_feats=tuple(FEATS), targets=("y",))), table


# ------------------------------------------------------------------------------------------------------ the optimiser


@pytest.mark.parametrize(
    ("opt_args", "cls", "settings"),
    [
        (None, torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 1e-2}),
        ({"lr": 0.5}, torch.optim.Adam, {"lr": 0.5}),
        ({"LR": 0.5, "Weight_Decay": 0.1}, torch.optim.AdamW, {"lr": 0.5, "weight_decay": 0.1}),
        ({"opt": "SGD", "lr": 0.1, "momentum": 0.9}, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        ({"opt": torch.optim.RMSprop, "alpha": 0.5}, torch.optim.RMSprop, {"alpha": 0.5}),
    ],
)
def test_the_optimiser_is_what_opt_args_say(opt_args, cls, settings):
    model = Model(builder(opt_args=opt_args))
    assert type(model.opt) is cls
    assert {name: model.opt.param_groups[0][name] for name in settings} == settings


@pytest.mark.parametrize(
    ("opt_args", "error", "message"),
    [
        ({"opt": "adm"}, ValueError, "opt_args: opt must be an optimiser of torch.optim, got 'adm': did you mean adam"),
        ({"opt": nn.Linear}, TypeError, "opt must be a name or a class of torch.optim, got"),
        ({"opt": "sgd", "momentun": 1}, TypeError, "opt_args: SGD has no argument 'momentun': did you mean momentum"),
        ({"opt": "adam", "params": []}, TypeError, "opt_args: Adam has no argument 'params'"),
    ],
)
def test_an_optimiser_that_does_not_exist(opt_args, error, message):
    with pytest.raises(error, match=message):
        builder(opt_args=opt_args)


def test_only_what_is_trained_is_optimised():
    model = Model(builder(freeze_body=True))
    assert sum(p.numel() for p in model.opt.param_groups[0]["params"]) == model.get_param_count() < 50
    assert model.get_param_count(trainable=False) == 10 * 4 + 4 + 4 + 1


@pytest.mark.parametrize(
    ("opt_args", "told", "lr"),
    [
        (None, {}, 1e-3),
        ({"lr": 0.5}, {}, 0.5),
        ({"lr": 0.5}, {"lr": 0.5}, 0.5),
        (None, {"lr": 0.25}, 0.25),
        ({"lr": 0.5}, {"config": TrainConfig(weight_decay=0.5)}, 0.5),
        ({"opt": "sgd"}, {}, 1e-3),
        ({"opt": "sgd"}, {"config": TrainConfig(lr=0.125)}, 0.125),
        ({"opt": "sgd"}, {"config": TrainConfig(lr=0.125), "lr": 0.25}, 0.25),
    ],
)
def test_which_learning_rate_holds(opt_args, told, lr):
    events, _ = data()
    model = Model(builder(opt_args=opt_args))
    model.fit(1, events, 16, progress_bar=False, schedule="constant", **told)
    assert model.history["learning_rate"] == [lr]


@pytest.mark.parametrize(
    ("opt_args", "told", "message"),
    [
        ({"lr": 0.5}, {"lr": 0.25}, "lr must be the same in both places, got 0.5 in opt_args and 0.25 for the"),
        ({"lr": 0.5}, {"config": TrainConfig(lr=0.125)}, "lr must be the same .*, got 0.5 in opt_args and 0.125"),
        ({"weight_decay": 0.0}, {"weight_decay": 0.1}, "weight_decay must be the same .*, got 0.0 in opt_args and 0.1"),
    ],
)
def test_settings_that_contradict_each_other(opt_args, told, message):
    events, _ = data()
    with pytest.raises(ValueError, match=message):
        Model(builder(opt_args=opt_args)).fit(1, events, 16, progress_bar=False, **told)


@pytest.mark.parametrize("opt_args", [{"opt": "sgd", "lr": 0.1}, {"opt": "adam", "lr": 0.1}])
def test_the_optimiser_that_was_asked_for_is_the_one_that_trains(opt_args):
    events, _ = data(16)
    model = Model(builder(opt_args=opt_args))
    before = model.get_weights()
    model.fit(1, events, 16, progress_bar=False, schedule="constant", gradient_clip=None)
    by_hand = Model(builder(opt_args=opt_args))
    by_hand.set_weights(before)
    batch = next(iter(events.loader(16, shuffle=True, seed=0)))
    opt = by_hand.opt
    (by_hand.model(batch) - batch.y).square().mean().backward()
    opt.step()
    for name, value in by_hand.get_weights().items():
        torch.testing.assert_close(model.get_weights()[name], value, msg=name)


def test_a_decay_that_fit_is_told_makes_adam_an_adamw():
    watch = Watch()
    Model(builder(opt_args={"lr": 0.5})).fit(
        1, data()[0], 64, progress_bar=False, weight_decay=0.125, callbacks=[watch]
    )
    (opt,) = watch.optimisers
    assert type(opt) is torch.optim.AdamW
    assert (opt.defaults["lr"], opt.defaults["weight_decay"]) == (0.5, 0.125)


class Watch(Callback):
    def __init__(self):
        self.betas, self.optimisers = [], []

    def on_train_batch_end(self, trainer, *args):
        self.betas.append(trainer.optimizers[0].param_groups[0]["betas"][0])
        self.optimisers.append(trainer.optimizers[0])


@pytest.mark.parametrize(("mom", "lowest", "highest"), [(None, 0.85, 0.95), (0.5, 0.5, 0.5)])
def test_a_momentum_that_was_asked_for_outlasts_the_schedule(mom, lowest, highest):
    events, _ = data(64)
    model, watch = Model(builder()), Watch()
    if mom is not None:
        model.set_mom(mom)
    model.fit(1, events, 8, progress_bar=False, callbacks=[watch])
    assert (min(watch.betas), max(watch.betas)) == pytest.approx((lowest, highest), abs=0.01)
    assert len(watch.betas) == 8


def test_settings_of_a_model_do_not_reach_others_of_its_builder():
    first = builder(opt_args={"lr": 0.5})
    one, other = Model(first), Model(first)
    one.set_lr(0.25)
    one.set_mom(0.5)
    assert (one.get_lr(), other.get_lr(), first.opt_args) == (0.25, 0.5, {"lr": 0.5})
    assert other.get_mom() == 0.9


def test_settings_of_a_frozen_model():
    model = Model(builder())
    model.freeze_layers()
    assert model.get_lr() == 1e-3
    with pytest.raises(ValueError, match="no trainable parameter: all are frozen"):
        model.opt  # noqa: B018
    with pytest.raises(ValueError, match="Adagrad has no momentum"):
        Model(builder(opt_args={"opt": "adagrad"})).get_mom()


def test_learning_rate_and_momentum_are_set_for_the_next_training():
    model = Model(builder())
    model.set_lr(0.125)
    model.set_mom(0.5)
    assert (model.get_lr(), model.get_mom()) == (0.125, 0.5)
    assert type(model.opt) is torch.optim.AdamW
    sgd = Model(builder(opt_args={"opt": "sgd"}))
    sgd.set_mom(0.75)
    assert sgd.get_mom() == sgd.opt.param_groups[0]["momentum"] == 0.75


# --------------------------------------------------------------------------------------------------- chosen features


@pytest.mark.parametrize("embedder", [None, CatEmbedder(["c"], [3])])
def test_a_model_takes_its_own_part_of_the_columns(embedder):
    guaranteed, state = ["f7"], torch.get_rng_state()
    built = builder(cont_subsample_rate=0.4, guaranteed_feats=guaranteed, cat_embedder=embedder, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert guaranteed == ["f7"]
    assert len(built.cont_feats) == 4
    assert "f7" in built.cont_feats
    assert built.cont_feats == [FEATS[i] for i in built.input_mask]
    model = Model(built)
    x = torch.randn(1, 10)
    x = (x if embedder is None else torch.cat([x, torch.ones(1, 1)], dim=1)).requires_grad_()
    model.model(x).sum().backward()
    used = {FEATS[i] for i, g in enumerate(x.grad[0, :10]) if g != 0}
    assert used == set(built.cont_feats)


def test_the_choice_follows_from_the_seed():
    chosen = [builder(cont_subsample_rate=0.5, seed=s).cont_feats for s in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_tables_data_sets_and_files_keep_all_their_columns(tmp_path):
    events, table = data()
    built = ModelBuilder.from_dataset(events, "regression", cont_subsample_rate=0.3, guaranteed_feats=["f3"],
                                      model_args=BODY)  # fmt: skip
    model = Model(built)
    expected = model.predict(events)
    np.testing.assert_allclose(model.predict(table[FEATS[::-1]]), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(table[FEATS].to_numpy()), expected, rtol=1e-5)
    model.fit(1, events, 16, progress_bar=False)
    again = Model.load(model.save(tmp_path / "model.pt"))
    assert again.input_mask == model.input_mask
    np.testing.assert_array_equal(again.predict(table), model.predict(table))


def test_columns_may_be_chosen_by_hand():
    model = Model(builder(input_mask=np.array([4, 1])))
    assert model.model_builder.cont_feats == model.head.cont_feats == ["f4", "f1"]
    x = torch.randn(3, 10)
    np.testing.assert_array_equal(model.predict(x), model.model[2](model.body(x[:, [4, 1]])).detach())


def test_a_model_of_some_features_is_given_wider_tables(tmp_path):
    model = Model(ModelBuilder("regression", 1, ["f4", "f1"], cat_embedder=CatEmbedder(["c"], [3]), model_args=BODY))
    x, code = torch.randn(3, 10), torch.tensor([[0.0], [2.0], [1.0]])
    expected = model.predict(torch.cat([x[:, [4, 1]], code], dim=1))
    model.set_input_mask(np.array([4, 1]), FEATS)
    assert model.input_mask == [4, 1]
    table = pd.DataFrame(torch.cat([code, x], dim=1).numpy(), columns=["c", *FEATS])
    for each in (model, Model.load(model.save(tmp_path / "model.pt"))):
        np.testing.assert_array_equal(each.predict(torch.cat([x, code], dim=1)), expected)
        np.testing.assert_array_equal(each.predict(table), expected)


@pytest.mark.parametrize(
    ("mask", "names", "message"),
    [
        ([4, 2], FEATS, "column 2 must be the feature 'f1' according to mask, got 'f2'"),
        ([4, 1], None, "mask must hold 2 different columns below 2"),
        ([4, 10], FEATS, "mask must hold 2 different columns below 10"),
        ([4], FEATS, "mask must hold 2 different columns below 10"),
        ([4, 1.5], FEATS, "mask must hold 2 different columns below 10"),
    ],
)
def test_a_mask_that_does_not_fit_changes_nothing(mask, names, message, plain_python):
    model = Model(ModelBuilder("regression", 1, ["f4", "f1"], model_args=BODY))
    with pytest.raises(ValueError, match=message):
        model.set_input_mask(mask, names)
    assert model.input_mask is None
    assert model.predict(torch.zeros(3, 2)).shape == (3, 1)


def test_only_event_features_are_masked():
    net = Model(ModelBuilder("classification", 1, ["a_px", "b_px"], head=RecurrentHead, model_args={
        "head": {"vecs": ["a", "b"], "feats_per_vec": ["px"], "depth": 1, "width": 3}, **BODY}))  # fmt: skip
    with pytest.raises(TypeError, match="head must be a CatEmbHead to take an input mask, got RecurrentHead"):
        net.set_input_mask([1, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cont_subsample_rate": 0.0}, "cont_subsample_rate must be above 0 and at most 1, got 0"),
        (
            {"cont_subsample_rate": 0.5, "guaranteed_feats": ["f77"]},
            "guaranteed_feats must be continuous features, got 'f77': did",
        ),
        ({"cont_subsample_rate": 0.5, "head": InteractionNet}, "only for head=CatEmbHead"),
        ({"input_mask": [3, 10]}, r"input_mask must hold distinct integers from 0 to 9, got \[3, 10\]"),
        ({"input_mask": [3, 3]}, "input_mask must hold distinct integers"),
        ({"input_mask": [0.5]}, "input_mask must hold distinct integers"),
    ],
)
def test_features_that_cannot_be_chosen(options, message, plain_python):
    with pytest.raises(ValueError, match=message):
        builder(**options)


# ------------------------------------------------------------------------------------------------ weights to start from


def test_weights_to_start_from(tmp_path):
    model = Model(builder())
    path = model.save(tmp_path / "model.pt")
    torch.save(model.model.state_dict(), tmp_path / "state.pt")
    for file in (path, tmp_path / "state.pt"):
        again = Model(builder(pretrain_file=file))
        assert all(torch.equal(again.get_weights()[k], v) for k, v in model.get_weights().items())
    with pytest.raises(ValueError, match=r"the weights in .*model\.pt do not fit the model: .*layers\.0"):
        Model(builder(pretrain_file=path, model_args={"body": {"depth": 1, "width": 5}}))
    with pytest.raises(ValueError, match="there is no pretrain_file"):
        builder().load_pretrained(model.model)


class Touch:
    def __reduce__(self):
        return (open, ("touched", "w"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": {}, "opt": {}, "input_mask": None},
            r"model of LUMIN .* lumigraph\.compat\.lumin\.load_state_dict\(model, ",
        ),
        ({"model": {}, "opt": {}, "input_mask": np.arange(3)}, r"lumigraph\.compat\.lumin\.load_state_dict\(model, "),
        ({"weights": Touch()}, "is not a model of lumigraph"),
        ([1, 2], "must hold weights by name, got a list"),
        ({"epoch": 3}, r"do not fit the model: Missing key"),
    ],
)
def test_files_without_weights_to_start_from(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "start.pt")
    with pytest.raises(ValueError, match=message):
        Model(builder(pretrain_file="start.pt"))
    assert [p.name for p in tmp_path.iterdir()] == ["start.pt"]
    with pytest.raises(FileNotFoundError, match="there is no model file other"):
        Model(builder(pretrain_file="other.pt"))


def test_a_builder_like_another(tmp_path):
    first = builder(
        opt_args={"opt": "sgd", "lr": 0.1}, lookup_init=lookup_uniform_init, freeze_head=True, loss=nn.L1Loss
    )
    for source in (first, Model(first)):
        second = ModelBuilder.from_model_builder(source, freeze_body=True)
        assert (second.opt_args, second.lookup_init, second.loss) == (first.opt_args, lookup_uniform_init, nn.L1Loss)
        assert (second.freeze_head, second.freeze_body) == (False, True)
    changed = ModelBuilder.from_model_builder(first, loss="auto", opt_args={"lr": 1.0})
    assert (changed.loss, changed.opt_args) == ("auto", {"lr": 1.0})
    changed.model_args["body"]["width"] = 99
    changed.set_lr(5.0)
    assert first.model_args["body"]["width"] == 4
    assert first.opt_args["lr"] == 0.1
    with pytest.raises(TypeError, match="a ModelBuilder, a Model or the path of a saved model, got dict"):
        ModelBuilder.from_model_builder({})
    saved = builder(
        opt_args={"opt": torch.optim.RMSprop},
        lookup_init=lookup_uniform_init,
        cont_subsample_rate=0.5,
        freeze_head=True,
    )
    path = Model(saved).save(tmp_path / "model.pt")
    found = ModelBuilder.from_model_builder(path, pretrain_file=path, opt_args=None)
    for name in ("opt_args", "lookup_init", "cont_feats", "input_feats", "input_mask", "model_args", "n_out"):
        assert getattr(found, name) == getattr(saved, name), name
    assert (found.freeze_head, found.pretrain_file) == (False, path)
    x = torch.randn(3, 10)
    np.testing.assert_array_equal(Model(found).predict(x), Model.load(path).predict(x))


def test_parts_for_a_loop_of_ones_own():
    model, opt, loss, mask = builder(opt_args={"opt": "sgd"}, loss=nn.L1Loss).get_model()
    assert (type(opt), mask) == (torch.optim.SGD, None)
    x, y = torch.randn(5, 10), torch.randn(5, 1)
    torch.testing.assert_close(loss(model, x, y), (model(x) - y).abs()[:, 0])
    assert opt.param_groups[0]["params"][0] is next(model.parameters())
    assert builder().get_out_size() == 1


def test_no_continuous_features_at_all():
    model = Model(ModelBuilder("regression", 1, None, cat_embedder=CatEmbedder(["c"], [3]), model_args=BODY))
    assert model.predict(np.array([[2.0]])).shape == (1, 1)


# ------------------------------------------------------------------------------------------------------------ the model


def test_parts_by_number_and_name():
    model = Model(builder())
    assert model["head"] is model[0] is model.head
    assert model["tail"] is model[2]
    x, y = torch.randn(5, 10), torch.randn(5, 1)
    torch.testing.assert_close(model.loss(model.model, x, y), (model.model(x) - y).square()[:, 0])
    with pytest.raises(KeyError, match="got 'tial'"):
        model["tial"]


def test_freezing_a_model():
    model = Model(builder())
    model.freeze_layers()
    assert model.get_param_count() == 0
    model.unfreeze_layers()
    assert (
        model.get_param_count() == model.get_param_count(trainable=False) == sum(p.numel() for p in model.parameters())
    )


def test_weights_are_a_copy():
    model = Model(builder())
    kept = model.get_weights()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    assert not torch.equal(model.get_weights()["2.dense.bias"], kept["2.dense.bias"])
    model.set_weights(kept)
    assert torch.equal(model.get_weights()["2.dense.bias"], kept["2.dense.bias"])


def test_a_recurrent_model_saves_its_kind_of_cell(tmp_path):
    names = {"vecs": ["a", "b"], "feats_per_vec": ["px"]}
    args = {"head": {**names, "depth": 1, "width": 3, "rnn": nn.GRU}, **BODY}
    model = Model(ModelBuilder("classification", 1, ["a_px", "b_px"], head=RecurrentHead, model_args=args))
    again = Model.from_save(model.save(tmp_path / "model.pt"))
    assert type(again.head.rnn) is nn.GRU
    x = np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_the_feature_that_decides_is_the_most_important():
    events, _ = data(512)
    model = Model(builder(opt_args={"lr": 0.05}, model_args={"body": {"depth": 1, "width": 16}}))
    model.fit(8, events, 32, progress_bar=False)
    found = model.get_feat_importance(events, n_repeats=3)
    assert next(iter(found)) == "f3"
    assert found["f3"].value > 5 * max(e.value for name, e in found.items() if name != "f3")
    assert set(found) == set(FEATS)
    assert model.get_feat_importance(events, n_repeats=3) == found
    with pytest.raises(ValueError, match="n_repeats must be at least 2"):
        model.get_feat_importance(events, n_repeats=1)


def test_lists_of_the_caller_are_left_alone():
    args, opt, guaranteed = {"Body": {"depth": 1, "width": 3}}, {"LR": 1.0}, ["f1"]
    model = Model(builder(model_args=args, opt_args=opt, cont_subsample_rate=0.2, guaranteed_feats=guaranteed))
    model.set_lr(3.0)
    assert (args, opt, guaranteed) == ({"Body": {"depth": 1, "width": 3}}, {"LR": 1.0}, ["f1"])
    assert model.body.width == 3


def test_an_empty_epoch_is_an_error():
    events, _ = data()
    with pytest.raises(ValueError, match="no events"):
        Model(builder()).fit(1, events.select([]), 16, progress_bar=False)
    few = Model(builder()).fit(1, events.select(range(3)), 1000, progress_bar=False)  # fewer events than a batch
    assert len(few.history["train_loss"]) == 1


def test_partials_are_kept(tmp_path):
    net = partial(InteractionNet, vecs=["a", "b"], feats_per_vec=["px"], intfunc_depth=1, intfunc_width=3,
                  intfunc_out_sz=3, outfunc_depth=1, outfunc_width=3, outfunc_out_sz=5, agg_method="attention",
                  n_layers=2)  # fmt: skip
    model = Model(ModelBuilder("classification", 1, ["a_px", "b_px"], head=net, model_args=BODY))
    again = Model.load(model.save(tmp_path / "m.pt"))
    x = np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


# ----------------------------------------------------------------------------------------------- scaling of features

NET = partial(
    InteractionNet, intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3, outfunc_depth=1, outfunc_width=4,
    outfunc_out_sz=3, agg_method="sum",
)  # fmt: skip
STEPS = {"transforms": {"ht": "log", "E": "log", "px": "symlog"}, "clip": {"E": (1, 500), "met": (0, 200)}}


@pytest.fixture(scope="module")
def sample():
    return load_sample().select(range(400))


def scaled(sample, matrix_head=NET, **options):
    torch.manual_seed(0)
    args = {"head": {"matrix_head": matrix_head}, **BODY}
    return Model(ModelBuilder.from_dataset(sample, head=MultiHead, model_args=args, all_events=sample, **options))


@pytest.mark.parametrize("options", [{}, {"scaling": "robust", **STEPS}, {"scaling": "none", **STEPS}, {"clip": 2.0}])
def test_scaling_is_saved_in_the_model_and_the_same_for_a_loaded_one(sample, options, tmp_path):
    model = scaled(sample, **options)
    model.fit(1, sample, 100, progress_bar=False)
    expected = model.predict(sample)
    path = model.save(tmp_path / "model.pt")
    again = Model.load(path)
    np.testing.assert_array_equal(again.predict(sample), expected)
    assert list(again.get_weights()) == list(model.get_weights())
    other = scaled(sample)  # with a scaling of its own, which the weights replace
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(other.predict(sample), expected)
    grown = Model(ModelBuilder.from_model_builder(path, pretrain_file=path))
    np.testing.assert_array_equal(grown.predict(sample), expected)


def test_a_model_scales_as_a_preparation_by_hand_does(sample):
    model, raw = scaled(sample, scaling="none", **STEPS), scaled(sample, scaling="none")
    prepared, feats = sample.select(range(len(sample))), list(sample.schema.feats_per_vec)
    prepared.u = torch.stack([sample.u[:, 0].log(), sample.u[:, 1].clamp(0, 200)], dim=1)
    prepared.x = sample.x.clone()
    energy, px = feats.index("E"), feats.index("px")
    prepared.x[:, energy] = sample.x[:, energy].clamp(1, 500).log()
    prepared.x[:, px] = sample.x[:, px].sign() * (1 + sample.x[:, px].abs()).log()
    np.testing.assert_allclose(model.predict(sample), raw.predict(prepared), rtol=1e-4, atol=1e-6)
    assert not np.allclose(model.predict(sample), raw.predict(sample))


def test_without_steps_a_model_has_mean_and_deviation_only(sample):
    names = [name for name in scaled(sample).get_weights() if ".scale." in name]
    assert {name.rsplit(".", 1)[1] for name in names} == {"mean", "std"}


@pytest.mark.parametrize("options", [{"transforms": {"px": "symlog"}}, {"clip": {"E": (0, 100)}}])
def test_four_momenta_are_boosted_as_they_are(sample, options):
    name = next(iter(next(iter(options.values()))))
    with pytest.raises(ValueError, match=f"LorentzBoostNet takes four-momenta as they are, so that '{name}' can be"):
        scaled(sample, partial(LorentzBoostNet, n_particles=3), **options)


def test_further_features_beside_four_momenta_are_scaled(sample):
    net = partial(LorentzBoostNet, n_particles=3)
    model = scaled(sample, net, transforms={"log_pt": "symlog"}, clip={"eta": (-2, 2)}, scaling="robust")
    head = model.head.matrix_head
    further = [head.feats_per_vec[i] for i in head.further]
    assert head.scale.transform.tolist() == [2 if name == "log_pt" else 0 for name in further]
    assert head.scale.high.tolist() == [2 if name == "eta" else float("inf") for name in further]


def test_chosen_features_keep_their_own_scaling():
    events, _ = data()
    built = ModelBuilder.from_dataset(events, "regression", input_mask=[4, 1], transforms={"f1": "symlog"},
                                      clip={"f4": (-1, 1)}, model_args=BODY)  # fmt: skip
    scale = Model(built).head.scale
    assert scale.transform.tolist() == [0, 2]
    assert scale.high.tolist() == [1, float("inf")]
    torch.testing.assert_close(scale.mean[0], events.u[:, 4].clamp(-1, 1).mean())


def test_the_target_of_a_regression_is_standardised_whatever_becomes_of_features():
    events, table = data()
    for tail, standardised in (({}, True), ({"bias_init": 0.0}, False)):
        built = ModelBuilder.from_dataset(events, "regression", model_args={**BODY, "tail": tail}, scaling="none")
        assert ("y_mean" in built.model_args["tail"]) == standardised
        assert built.scales == {}
    built = ModelBuilder.from_dataset(events, "regression", model_args=BODY)
    assert built.model_args["tail"]["y_mean"] == pytest.approx([table["y"].mean()], rel=1e-5)
    assert built.model_args["tail"]["y_std"] == pytest.approx([table["y"].std(ddof=0)], rel=1e-5)


def test_a_feature_that_does_not_exist(sample):
    with pytest.raises(SchemaError, match="transforms must name features of the schema, got 'hT': did you mean ht"):
        scaled(sample, transforms={"hT": "log"})
