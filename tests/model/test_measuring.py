"""What is measured of events, and how often they are read for it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import yaml

from lumigraph import EventDataset, EventSchema, InteractionNet, ModelBuilder, MultiHead
from lumigraph.cli import main
from lumigraph.data import SAMPLE_SCHEMA, EventStream, read_columns, sample_path, write_columns
from lumigraph.model.measuring import measured

NET = partial(
    InteractionNet, intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3, outfunc_depth=1, outfunc_width=4,
    outfunc_out_sz=3, agg_method="sum",
)  # fmt: skip
ARGS = {"head": {"matrix_head": NET}, "body": {"depth": 1, "width": 4}}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    columns = {name: values[:240] for name, values in read_columns(sample_path()).items()}
    return write_columns(tmp_path_factory.mktemp("events") / "events.parquet", columns)


@pytest.fixture
def reads(monkeypatch):
    """Chunks that are read, by the file that they are of."""
    found = []
    read = EventStream.events_of

    def counted(self, number):
        found.append(self.files[self.chunk_list[number].file])
        return read(self, number)

    monkeypatch.setattr(EventStream, "events_of", counted)
    return found


def test_training_events_are_gone_through_once_and_others_for_their_categories(file, reads):
    train, val = (EventStream(file, SAMPLE_SCHEMA, chunk_size=40) for _ in range(2))
    builder = ModelBuilder.from_dataset(train, head=MultiHead, model_args=ARGS)
    assert len(reads) == 6
    reads.clear()
    both = ModelBuilder.from_dataset(train, head=MultiHead, model_args=ARGS, all_events=[val])
    assert len(reads) == 12
    assert both.cat_embedder.cat_szs == builder.cat_embedder.cat_szs
    whole = ModelBuilder.from_dataset(train.read(), head=MultiHead, model_args=ARGS)
    np.testing.assert_allclose(builder.scales["x"].mean, whole.scales["x"].mean, rtol=1e-6)
    assert builder.cat_embedder.cat_szs == whole.cat_embedder.cat_szs


def test_several_classes_scales_and_categories_are_one_pass(file, reads):
    schema = replace(SAMPLE_SCHEMA, targets=("n_jets",), cat_feats=("lepton_flavour",))
    builder = ModelBuilder.from_dataset(EventStream(file, schema, chunk_size=40), "multiclass")
    assert len(reads) == 6
    assert builder.n_out == int(max(read_columns(file)["n_jets"])) + 1
    assert len(builder.cat_embedder.cat_szs) == 1


def test_nothing_is_read_if_there_is_nothing_to_measure(file, reads):
    schema = replace(SAMPLE_SCHEMA, cat_feats=())
    builder = ModelBuilder.from_dataset(EventStream(file, schema), scaling="none")
    assert (reads, builder.scales) == ([], {})
    regression = replace(schema, targets=("ht",), event_feats=("met",))
    ModelBuilder.from_dataset(EventStream(file, regression), "regression", scaling="none")
    assert len(reads) == 1  # the target is scaled in any case


def test_categories_of_other_events_are_known():
    schema = EventSchema(event_feats=("a",), cat_feats=("c",), targets=("y",))
    parts = [
        EventDataset.from_columns({"a": np.arange(3.0), "c": [0, 1, largest], "y": [0, 1, 1]}, schema)
        for largest in (1, 4, 2)
    ]
    described = ModelBuilder.from_schema(schema, cat_embedder={"max_emb_sz": 2})
    found = measured(described, parts[0], parts[1:])
    assert (found.cat_embedder.cat_szs, found.cat_embedder.emb_szs) == ([5], [2])
    assert described.cat_embedder == {"max_emb_sz": 2}  # as it was


CONFIG = {
    "data": {"in_memory": False, "event_schema": SAMPLE_SCHEMA.to_dict(), "batch_size": 64},
    "model": {
        "head": {"block": "MultiHead", "args": {"matrix_head": {"block": "InteractionNet", "args": NET.keywords}}},
        "body": {"block": "FullyConnected", "args": {"depth": 1, "width": 4}},
    },
    "training": {"n_epochs": 1, "progress_bar": False},
}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("model.head", {"block": "MultiHead", "args": {"matrix_had": {"block": "InteractionNet"}}}),
        (
            "model.head",
            {"block": "MultiHead", "args": {"matrix_head": {"block": "InteractionNet", "args": {"agg_metod": "sum"}}}},
        ),
        ("model.body", {"block": "FullyConnected", "args": {"dept": 1}}),
        ("model.tail", {"block": "ClassRegMulti", "args": {"y_rang": 1}}),
        ("model.opt_args", {"opt": "adam", "bettas": [0.9, 0.9]}),
        ("model.opt_args", {"lr": 0.5}),  # training.lr says something else
        ("model.loss", "L1Los"),
        ("model.cat_embedder", {"max_emb": 3}),
        ("model.transforms", {"hT": "log"}),
        ("data.loading", {"max_pair": 3}),
        ("data.reweight", {"feat": ["ht"]}),
        ("logger", {"name": "CSVLoger"}),
    ],
)
def test_a_misspelt_configuration_fails_before_any_event_is_read(file, reads, tmp_path, capsys, entry, value):
    config = {**CONFIG, "out": str(tmp_path / "run"), "data": {**CONFIG["data"], "file": str(file)}}
    config["training"] = {**CONFIG["training"], "lr": 0.25}
    *section, name = entry.split(".")
    target = config
    for key in section:
        target[key] = dict(target[key])
        target = target[key]
    target[name] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) != 0
    assert capsys.readouterr().err.startswith("lumigraph: error: ")
    assert reads == []
    assert not (tmp_path / "run").exists()


def test_a_right_configuration_reads_each_part_once_to_build_the_model(file, reads, tmp_path, monkeypatch):
    def stop(*arguments, **named):
        raise ValueError("built")

    monkeypatch.setattr("lumigraph.model.Model.fit", stop)
    monkeypatch.setattr(EventStream, "__len__", lambda self: 1)
    config = {**CONFIG, "out": str(tmp_path / "run"), "data": {**CONFIG["data"], "file": str(file)}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) == 1
    assert len(reads) == 3  # of training, validation and test events a chunk each
