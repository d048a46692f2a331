"""Models: building, training, predicting from every form of input, evaluating, saving."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from lumigraph import (
    CatEmbedder,
    CatEmbHead,
    EventDataset,
    EventSchema,
    InteractionNet,
    LorentzBoostNet,
    Model,
    ModelBuilder,
    MultiHead,
    SchemaError,
    load_sample,
    to_columns,
)
from lumigraph.data import EventStream, read_columns, sample_path, write_columns
from lumigraph.events.errors import EventError

SIZES = {
    "intfunc_depth": 2, "intfunc_width": 16, "intfunc_out_sz": 8, "outfunc_depth": 1, "outfunc_width": 8,
    "outfunc_out_sz": 8, "agg_method": "mean",
}  # fmt: skip
NET = partial(InteractionNet, **SIZES)


@pytest.fixture(scope="module")
def events():
    return load_sample()


@pytest.fixture(scope="module")
def parts(events):
    return events.split((0.05, 0.02, 0.03), seed=0)


@pytest.fixture
def model(events, parts):
    torch.manual_seed(0)
    return Model(
        ModelBuilder.from_dataset(
            parts[0], head=MultiHead, model_args={"head": {"matrix_head": NET}}, all_events=events
        )
    )


@pytest.mark.parametrize("matrix_head", [NET, partial(LorentzBoostNet, n_particles=4)])
def test_training_on_the_sample_separates_signal_from_background(events, parts, matrix_head):
    train, val, test = parts
    torch.manual_seed(0)
    args = {"head": {"matrix_head": matrix_head}, "body": {"depth": 1, "width": 32, "do": 0.2}}
    model = Model(ModelBuilder.from_dataset(train, head=MultiHead, model_args=args, all_events=events))
    model.fit(10, train, 32, val=val, lr=3e-3, progress_bar=False)
    found = model.metrics(test)
    assert found["auc"].value > 0.7
    assert found["events"] == len(test)
    assert found["rejection at 30%"].value > found["rejection at 50%"].value > 1
    assert found["loss"] == pytest.approx(model.evaluate(test))


def test_all_forms_of_input_give_the_same_predictions(model, events, parts):
    test = parts[2].select(range(40))
    expected = model.predict(test)
    batch = test.batch()
    np.testing.assert_array_equal(model.predict(batch), expected)
    np.testing.assert_allclose(model.predict(test, bs=7), expected, rtol=1e-4)
    assert isinstance(model.predict(test, as_np=False), torch.Tensor)
    # the same events as (flat, matrix) and as one flat table, absent particles being NaN
    matrix, mask = to_columns(batch, model.head.matrix_head.n_v if model.head.matrix_head.n_v > 1 else None)
    matrix = matrix.masked_fill(~mask.unsqueeze(1), torch.nan)
    flat = torch.cat([batch.u, batch.cat.float()], dim=1)
    np.testing.assert_allclose(model.predict((flat, matrix)), expected, rtol=1e-4)
    np.testing.assert_allclose(model.predict([flat.numpy(), matrix.numpy()], bs=3), expected, rtol=1e-4)
    cells = matrix.transpose(1, 2).flatten(1)
    table = torch.cat([batch.u, cells, batch.cat.float()], dim=1).numpy()
    np.testing.assert_allclose(model.predict(table), expected, rtol=1e-4)
    names = [*model.model_builder.cont_feats, *events.schema.cat_feats]
    frame = pd.DataFrame(table, columns=names)[names[::-1]]  # found by name, whatever the order
    np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-4)
    with pytest.raises(SchemaError, match="column 'ht' is missing"):
        model.predict(frame.drop(columns="ht"))


def test_a_file_is_predicted_in_its_order_and_alike_from_parquet_and_root(model, events):
    from_root = EventDataset.from_file(sample_path("root"), events.schema)
    scores = model.predict(sample_path("root"))
    row = {int(n): i for i, n in enumerate(events.ids["event"])}
    same = events.select([row[int(n)] for n in from_root.ids["event"]])
    np.testing.assert_allclose(scores, model.predict(same), atol=1e-4)
    columns = model.score_columns(from_root)
    assert list(columns) == ["event", "score"]
    np.testing.assert_array_equal(columns["event"], from_root.ids["event"])
    np.testing.assert_array_equal(columns["score"], scores[:, 0])


def test_a_model_without_schema_predicts_arrays_but_no_files():
    model = Model(ModelBuilder("classification", 1, ["a", "b"]))
    assert model.predict(np.zeros((0, 2), dtype=np.float32)).shape == (0, 1)
    assert model.predict(np.zeros((3, 2))).shape == (3, 1)
    with pytest.raises(SchemaError, match="no schema"):
        model.predict("events.root")


def test_a_tuple_is_counted_by_its_events_not_by_its_length(model, parts):
    batch = parts[2].select(range(5)).batch()
    matrix, mask = to_columns(batch)
    matrix = matrix.masked_fill(~mask.unsqueeze(1), torch.nan)
    flat = torch.cat([batch.u, batch.cat.float()], dim=1)
    assert model.predict((flat, matrix)).shape == (5, 1)
    whole = model.evaluate(parts[2].select(range(5)))
    assert model.evaluate((flat, matrix), batch.y, batch.weight, bs=2) == pytest.approx(whole, rel=1e-5)
    with pytest.raises(ValueError, match=r"flat part must have . events, as the matrix has, got 4"):
        model.predict((flat[:4], matrix))
    with pytest.raises(ValueError, match="got 4 targets for more events"):
        model.evaluate((flat, matrix), batch.y[:4])


def test_the_loss_of_an_evaluation_is_weighted():
    model = Model(ModelBuilder("regression", 1, ["a"]))
    x, y = np.zeros((2, 1), dtype=np.float32), np.array([1.0, 3.0])
    constant = float(model.predict(x)[0, 0])
    expected = (3 * (constant - 1) ** 2 + (constant - 3) ** 2) / 4
    assert model.evaluate(x, y, np.array([3.0, 1.0])) == pytest.approx(expected, rel=1e-6)


def multiclass_events(num=300):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, num))
    columns = {"a": a, "b": b, "kind": np.argmax([a, b, -a - b], axis=0), "size": 1000 + 200 * a}
    return columns


def test_multiclass_gives_probabilities_as_array_and_as_tensor():
    schema = EventSchema(event_feats=("a", "b"), targets=("kind",))
    data = EventDataset.from_columns(multiclass_events(), schema)
    torch.manual_seed(0)
    builder = ModelBuilder.from_dataset(data, "multiclass", model_args={"body": {"depth": 1, "width": 16}})
    model = Model(builder).fit(20, data, 32, lr=0.02, progress_bar=False)
    assert model.n_out == model.get_out_size() == 3
    for out in (model.predict(data), model.predict(data, as_np=False).numpy()):
        np.testing.assert_allclose(out.sum(1), 1, rtol=1e-5)
    assert model.metrics(data)["accuracy"].value > 0.9
    assert list(model.score_columns(data)) == ["row", "score_0", "score_1", "score_2"]


def test_a_regression_learns_a_target_of_any_scale():
    schema = EventSchema(event_feats=("a", "b"), targets=("size",))
    data = EventDataset.from_columns(multiclass_events(), schema)
    torch.manual_seed(0)
    builder = ModelBuilder.from_dataset(data, "regression", model_args={"body": {"depth": 1, "width": 16}})
    model = Model(builder).fit(20, data, 32, lr=0.02, progress_bar=False)
    found = model.metrics(data)
    assert found["resolution"].value < 50  # of a target that spreads by 200 around 1000
    assert abs(found["bias"].value) < 30
    assert list(model.score_columns(data)) == ["row", "size_pred"]


def test_standardisation_is_fitted_on_training_events_only_and_applied_everywhere(events, parts):
    train = parts[0]
    builder = ModelBuilder.from_dataset(train, head=MultiHead, model_args={"head": {"matrix_head": NET}})
    model = Model(builder)
    of_particles = train.weight.repeat_interleave(train.ptr.diff())
    for scale, values, weights in (
        (model.head.matrix_head.scale, train.x, of_particles),
        (model.head.flat_head.scale, train.u, train.weight),
    ):
        values, weights = values.double().numpy(), weights.double().numpy()
        mean = np.average(values, axis=0, weights=weights)
        std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
        np.testing.assert_allclose(scale.mean, mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(scale.std, std, rtol=1e-6)
    assert not torch.allclose(model.head.flat_head.scale.mean, events.u.mean(0))
    raw = Model(
        ModelBuilder.from_dataset(train, head=MultiHead, model_args={"head": {"matrix_head": NET}}, scaling="none")
    )
    assert torch.equal(raw.head.flat_head.scale.mean, torch.zeros(2))


def test_the_caller_is_left_with_what_he_gave(events, parts):
    args = {"head": {"matrix_head": NET}}
    builder = ModelBuilder.from_dataset(parts[0], head=MultiHead, model_args=args, all_events=events)
    Model(builder)
    Model(builder)
    assert args == {"head": {"matrix_head": NET}}
    assert "vecs" not in NET.keywords


def test_builder_errors_name_the_argument():
    with pytest.raises(
        ValueError, match=r"objective must be one of .* got 'Clasification': did you mean classification"
    ):
        ModelBuilder("Clasification", 1, ["a"])
    with pytest.raises(ValueError, match="no part 'heads': did you mean head"):
        ModelBuilder("classification", 1, ["a"], model_args={"heads": {}})
    with pytest.raises(TypeError, match="body FullyConnected has no argument 'dept': did you mean depth"):
        ModelBuilder("classification", 1, ["a"], model_args={"body": {"dept": 3}})
    with pytest.raises(TypeError, match="InteractionNet has no argument 'agg_metod'"):
        Model(ModelBuilder("classification", 1, ["a"], head=InteractionNet, model_args={"head": {
            **SIZES, "vecs": ["j"], "feats_per_vec": ["px"], "agg_metod": "sum"}}))  # fmt: skip
    assert ModelBuilder("CLASSIFICATION", 1, ["a"]).objective == "classification"


@pytest.mark.parametrize(
    "options",
    [
        {"model_args": 3}, {"model_args": {"body": [1]}}, {"model_args": {3: {}}}, {"opt_args": "adam"},
        {"schema": 3}, {"cont_feats": "ht"}, {"head": "CatEmbHead"}, {"body": None}, {"tail": 3},
    ],
)  # fmt: skip
def test_arguments_of_another_type_are_named(options, plain_python):
    with pytest.raises((TypeError, ValueError), match=next(iter(options)) + r"(\['body'\])? must"):
        ModelBuilder(**{"objective": "classification", "n_out": 1, "cont_feats": ["a"], **options})


def test_what_is_no_builder_and_no_data_set(model, plain_python):
    with pytest.raises(TypeError, match=r"must be a ModelBuilder, got 'model.pt'; Model.load reads"):
        Model("model.pt")
    with pytest.raises(TypeError, match="fy must be an EventDataset or an EventStream, got NoneType"):
        ModelBuilder.from_dataset(None)
    for method in (partial(model.fit, 1), model.get_feat_importance, model.score_columns):
        with pytest.raises(TypeError, match=r"events must be an EventDataset( or an EventStream)?, got Tensor"):
            method(torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(2), r"a flat table must have the shape \(events, columns\), got \(2,\)"),
        ([[1.0, 2.0]], r"must be \(flat, matrix\), got 1 parts"),
        ((None, torch.zeros(3, 2)), "the matrix must have the shape"),
    ],
)
def test_inputs_of_another_form(inputs, message):
    with pytest.raises(ValueError, match=message):
        Model(ModelBuilder("classification", 1, ["a", "b"])).predict(inputs)


@pytest.mark.parametrize("bs", [0, -1])
def test_a_part_has_at_least_one_event(bs):
    with pytest.raises(ValueError, match=f"bs must be at least 1, got {bs}"):
        Model(ModelBuilder("classification", 1, ["a", "b"])).predict(torch.zeros(3, 2), bs=bs)


@pytest.mark.parametrize(
    ("objective", "n_out", "targets", "message"),
    [
        ("classification", 1, [0, 2, 1], "target 2 is not a label"),
        ("multiclass", 3, [0, -1, 1], "target -1 is not a label"),
        ("regression", 2, [[0, np.nan]] * 3, "target nan is not a number"),
        ("regression", 2, [0, 1, 2], r"targets must have the shape \(events, 2\), got \(3, 1\)"),
        ("multiclass", 3, [[0, 1]] * 3, r"targets must have the shape \(events, 1\), got \(3, 2\)"),
    ],
)
def test_targets_that_are_none(objective, n_out, targets, message):
    with pytest.raises(ValueError, match=message):
        Model(ModelBuilder(objective, n_out, ["a", "b"])).evaluate(torch.zeros(3, 2), np.array(targets))


def test_weights_of_another_model_are_refused(model):
    with pytest.raises(ValueError, match="the weights in weights do not fit the model"):
        model.set_weights({})


def test_fit_errors_are_sentences(model, parts):
    with pytest.raises(TypeError, match="no option 'patient': did you mean patience"):
        model.fit(1, parts[0], patient=3)
    with pytest.raises(SchemaError, match="no targets"):
        model.fit(1, EventDataset.from_file(sample_path("root"), parts[0].schema, labelled=False))
    wrong = parts[0].select(range(10))
    wrong.y = wrong.y + 1
    with pytest.raises(SchemaError, match="target 2 is not a label"):
        model.fit(1, wrong)
    with pytest.raises(ValueError, match="no events"):
        model.fit(1, parts[0].select([]))


def tuple_of(events):
    """Return events as (flat, matrix)."""
    batch = events.batch()
    matrix, mask = to_columns(batch)
    return torch.cat([batch.u, batch.cat.float()], dim=1), matrix.masked_fill(~mask.unsqueeze(1), torch.nan)


def test_a_category_beyond_the_embedding_names_feature_and_code(model, parts):
    odd = parts[2].select(range(5))
    odd.cat[3, 0] = 40
    number = odd.numbers[3]  # in the table that the events are from, not in the chunk that was being predicted
    for bs in (1, 2, 100):
        for method in (model.predict, model.evaluate):
            with pytest.raises(
                EventError, match=f"event {number}: category 'n_jets' must have a code from 0 to .* got 40"
            ) as raised:
                method(odd, bs=bs)
            assert (raised.value.event, raised.value.column) == (number, "n_jets")
        with pytest.raises(EventError, match=r"event 1: category 'n_jets' must have a code from 0 to .* got 40"):
            model.predict(tuple_of(odd.select([2, 3])), bs=bs)


def test_a_negative_energy_is_refused_by_the_boost_network(events, parts):
    args = {"head": {"matrix_head": partial(LorentzBoostNet, n_particles=3)}}
    model = Model(ModelBuilder.from_dataset(parts[0], head=MultiHead, model_args=args, all_events=events))
    odd = parts[2].select(range(5))
    odd.x[int(odd.ptr[2]) + 1, 3] *= -1
    with pytest.raises(EventError, match=f"event {odd.numbers[2]}: particle 'particle1' must have E >= .* got E = -"):
        model.predict(odd)


def test_save_and_load_in_the_models_own_words(model, parts, tmp_path):
    model.fit(1, parts[0], progress_bar=False)
    path = model.save(tmp_path / "deep" / "model.pt")
    loaded = Model.load(path)
    np.testing.assert_array_equal(loaded.predict(parts[2]), model.predict(parts[2]))
    assert loaded.history == model.history
    assert loaded.schema == model.schema
    assert repr(loaded) == repr(model)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(path)
    assert path.read_bytes() == before
    model.save(path, overwrite=True)


def test_every_objective_and_loss_survives_saving(tmp_path):
    embedder = CatEmbedder(["c"], [4], emb_szs=[3])
    for i, (objective, n_out, tail) in enumerate(
        [("multiclass", 3, {}), ("regression", 2, {"y_range": np.array([[0, 1], [2, 3]])}), ("classification", 2, {})]
    ):
        builder = ModelBuilder(
            objective, n_out, ["a"], cat_embedder=embedder, freeze_body=True, model_args={"tail": tail}, head=CatEmbHead
        )
        model = Model(builder)
        loaded = Model.load(model.save(tmp_path / f"{i}.pt"))
        x = np.array([[0.3, 1.0], [0.1, 3.0]], dtype=np.float32)
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
        assert loaded.get_param_count() == model.get_param_count() < model.get_param_count(trainable=False)


def test_the_same_events_from_csv_and_hdf5_get_the_same_scores(model, events, tmp_path):
    from lumigraph.data import read_columns

    columns = {k: v[:50] for k, v in read_columns(sample_path()).items()}
    expected = model.predict(EventDataset.from_columns(columns, events.schema))
    for suffix in ("csv", "h5", "parquet", "root"):
        path = write_columns(tmp_path / f"events.{suffix}", columns)
        np.testing.assert_allclose(model.predict(path), expected, rtol=2e-4, atol=1e-5)


def test_no_events_are_predicted_but_not_evaluated(model, parts):
    nothing = parts[0].select([])
    assert model.predict(nothing).shape == (0, 1)
    assert [len(column) for column in model.score_columns(nothing).values()] == [0, 0]
    with pytest.raises(ValueError, match="must have a positive sum of weights, got 0 for 0 events"):
        model.metrics(nothing)
    weightless = parts[0].select(range(5))
    weightless.weight[:] = 0.0
    with pytest.raises(ValueError, match="must have a positive sum of weights, got 0"):
        model.evaluate(weightless)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_and_evaluating_leave_the_mode_as_it_was(training):
    model = Model(ModelBuilder("regression", 1, ["a"], model_args={"body": {"depth": 1, "width": 8, "do": 0.5}}))
    model.model.train(training)
    x = np.ones((20, 1), dtype=np.float32)
    assert len(np.unique(model.predict(x))) == 1  # without dropout
    assert model.evaluate(x, np.zeros(20)) == pytest.approx(float(model.predict(x)[0, 0]) ** 2, rel=1e-5)
    assert model.model.training is model.body.training is training
    with pytest.raises(ValueError, match="the flat input must be"):
        model.predict(np.ones((20, 3)))
    assert model.model.training is training


def test_weights_and_targets_go_together():
    model = Model(ModelBuilder("regression", 1, ["a"]))
    with pytest.raises(ValueError, match="weights must be as many as the 3 targets, got 1"):
        model.evaluate(np.ones((3, 1)), np.ones(3), np.ones(1))


def test_every_kind_of_feature_has_its_importance(model, parts):
    test = parts[2].select(range(100))
    given = {name: getattr(test, name).clone() for name in ("u", "cat", "x")}
    found = model.get_feat_importance(test, n_repeats=2, seed=1)
    schema = test.schema
    assert set(found) == {*schema.event_feats, *schema.cat_feats, *schema.feats_per_vec}
    assert all(torch.equal(getattr(test, name), value) for name, value in given.items())
    assert found != model.get_feat_importance(test, n_repeats=2, seed=2)


def test_the_importance_of_a_feature_is_that_of_weighted_events():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400))
    columns = {"a": a, "b": b, "w": (np.arange(400) < 200) * 1.0}
    columns["y"] = np.where(columns["w"] > 0, a, b)  # only events without weight look at b
    data = EventDataset.from_columns(columns, EventSchema(event_feats=("a", "b"), targets=("y",), weight="w"))
    torch.manual_seed(0)
    model = Model(ModelBuilder.from_dataset(data, "regression", model_args={"body": {"depth": 1, "width": 16}}))
    model.fit(30, data, 32, lr=0.02, progress_bar=False)
    found = model.get_feat_importance(data)
    assert found["a"].value > 20 * abs(found["b"].value)


def test_an_event_of_a_file_that_a_model_cannot_take_is_named_by_its_number_there(model, tmp_path):
    columns = {name: values[:60] for name, values in read_columns(sample_path()).items()}
    good = write_columns(tmp_path / "a.parquet", columns)
    odd = np.asarray(columns["n_jets"]).copy()
    odd[41] = 40
    labels = np.asarray(columns["label"]).copy()
    labels[41] = 3
    wrong = write_columns(tmp_path / "b.parquet", {**columns, "n_jets": odd})
    mislabelled = write_columns(tmp_path / "c.root", {**columns, "label": labels})
    schema = replace(model.schema, event_selection=f"event != {columns['event'][3]}")
    events = EventStream([good, wrong], schema, chunk_size=32)
    found = r"b.parquet: event 41: category 'n_jets' must have a code from 0 to .* got 40"
    for attempt in (
        lambda: model.predict(events),
        lambda: model.predict(wrong, bs=7),
        lambda: model.predict_to_file([good, wrong], tmp_path / "scores.root"),
        lambda: model.evaluate(events),
    ):
        with pytest.raises(ValueError, match=found):
            attempt()
    labelled = EventStream([good, mislabelled], schema, chunk_size=32)
    for attempt in (
        lambda: model.evaluate(labelled),
        lambda: model.fit(1, labelled, progress_bar=False),
        lambda: model.fit(1, EventStream(good, schema), val=labelled, loading={"num_workers": 1}, progress_bar=False),
    ):
        with pytest.raises(SchemaError, match=r"c.root: event 41: target 3 is not a label .* in column 'label'"):
            attempt()


def test_files_that_have_no_events_or_other_columns_are_named(model, tmp_path):
    columns = {name: values[:60] for name, values in read_columns(sample_path()).items()}
    nothing = write_columns(tmp_path / "a.parquet", {name: values[:0] for name, values in columns.items()})
    with pytest.raises(ValueError, match=r"a.parquet: events must have a positive sum of weights, got 0 for 0 events"):
        model.evaluate(nothing)
    with pytest.raises(ValueError, match=r"a.parquet: there are no events"):
        model.fit(1, EventStream(nothing, model.schema))
    good = write_columns(tmp_path / "b.parquet", columns)
    more = write_columns(tmp_path / "c.parquet", {**columns, "more": np.arange(60)})
    with pytest.raises(SchemaError, match=r"c.parquet: .*column 'more' is int64, but missing in the first"):
        model.predict_to_file([nothing, good, more], tmp_path / "scores.root", columns="all")
    assert len(read_columns(tmp_path / "scores.partial.root")["score"]) == 60


def test_a_feature_that_cannot_be_measured_is_named_by_its_event_in_its_file(tmp_path):
    ht, label = np.full(50, 3.0), np.arange(50) % 2
    write_columns(tmp_path / "a.parquet", {"ht": ht, "met": np.arange(50.0), "label": label})
    odd = np.where(np.arange(50) == 41, -999.0, ht)
    write_columns(tmp_path / "b.parquet", {"ht": odd, "met": np.arange(50.0), "label": label})
    schema = EventSchema(event_feats=("ht",), targets=("label",), event_selection="met > 20")
    stream = EventStream(tmp_path / "*.parquet", schema, chunk_size=15)
    with pytest.raises(SchemaError, match=r"b\.parquet: event 41: 'ht' must be at least 0 for its logarithm, got -999"):
        ModelBuilder.from_dataset(stream, transforms={"ht": "log"})


def test_targets_given_beside_a_data_set_are_taken_a_batch_at_a_time(model, parts):
    events, seen = parts[2], []
    model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].num_graphs))
    y, weight = 1 - events.y, torch.arange(1.0, len(events) + 1)
    batch = events.batch()
    expected = model.evaluate(batch, y, weight)
    seen.clear()
    assert model.evaluate(events, y, weight, bs=100) == pytest.approx(expected, rel=1e-5)
    assert max(seen) == 100
    with pytest.raises(ValueError, match=f"targets must be as many as the {len(events)} events, got 3"):
        model.evaluate(events, y[:3])
