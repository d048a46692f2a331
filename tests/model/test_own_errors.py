"""Errors in code of a user's own arrive as they are, with the line they are from; nothing of the data is blamed."""

import traceback
from dataclasses import replace

import numpy as np
import pytest
import torch

from lumigraph import CatEmbHead, Model, ModelBuilder
from lumigraph.blocks import AbsMatrixHead
from lumigraph.data import SAMPLE_SCHEMA, EventStream, read_columns, sample_path, write_columns
from lumigraph.events.batches import particles_of

SCHEMA = replace(SAMPLE_SCHEMA, cat_feats=(), event_feats=())


class Mine(AbsMatrixHead):
    """A head whose author counts four axes."""

    row_wise = True

    def __init__(self, cont_feats, vecs, feats_per_vec, broken=False, freeze=False, **kargs):
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        self.broken = broken
        self.dense = torch.nn.Linear(1, 3)

    def get_out_size(self):
        return 3

    def forward(self, x):
        rows = particles_of(x).x
        if self.broken:
            _a, _b, _c, _d = rows.shape
        return self.dense(x.ptr.diff().float()[:, None])

    def embed(self, rows, mask):
        if self.broken:
            _a, _b, _c, _d = rows.shape
        return self.dense(mask.sum(1, keepdim=True).float())


@pytest.fixture
def stream(tmp_path):
    columns = {name: values[:60] for name, values in read_columns(sample_path()).items()}
    return EventStream(write_columns(tmp_path / "events.root", columns), SCHEMA, chunk_size=32)


@pytest.fixture
def model():
    model = Model(ModelBuilder.from_schema(SCHEMA, head=Mine, scaling="none"))
    model.head.broken = True
    return model


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(
    "attempt",
    [
        lambda model, events, folder: model.predict(events),
        lambda model, events, folder: model.evaluate(events),
        lambda model, events, folder: model.metrics(events),
        lambda model, events, folder: model.fit(1, events, 16, val=events, progress_bar=False),
        lambda model, events, folder: model.export(folder / "model.pt2"),
        lambda model, events, folder: model.get_feat_importance(events, n_repeats=2),
        lambda model, events, folder: model.predict_to_file(sample_path("root"), folder / "scores.root"),
    ],
    ids=["predict", "evaluate", "metrics", "fit", "export", "importance", "predict_to_file"],
)
def test_a_mistake_in_a_head_of_ones_own_is_shown_where_it_is(model, stream, tmp_path, attempt, in_memory):
    with pytest.raises(ValueError, match=r"^not enough values to unpack \(expected 4, got [23]\)") as raised:
        attempt(model, stream.read() if in_memory else stream, tmp_path)
    assert type(raised.value) is ValueError
    assert raised.value.__cause__ is None
    line = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert (line.filename, "_d = rows.shape" in (line.line or "")) == (__file__, True)


class Calibrated(CatEmbHead):
    """A head with an error whose text could be taken for one of the data, and whose class takes two arguments."""

    def embed(self, cont, codes):
        raise Missing("event 4711 of the calibration is missing", 3)


class Missing(ValueError):
    def __init__(self, message, period):
        super().__init__(message, period)
        self.period = period


def test_the_text_of_a_foreign_error_is_not_read(stream):
    events = replace(SCHEMA, collections=(), feats_per_vec=(), max_particles=None, event_feats=("ht", "met"))
    data = EventStream(stream.files, events)
    model = Model(ModelBuilder("classification", 1, ["ht", "met"], head=Calibrated, schema=events))
    for attempt in (model.predict, model.evaluate):
        with pytest.raises(Missing) as raised:
            attempt(data)
        assert raised.value.args == ("event 4711 of the calibration is missing", 3)
        assert raised.value.period == 3
    with pytest.raises(Missing):
        model.predict(np.zeros((3, 2)))
