"""Model files: plain data only, and clear words for what is not a model."""

import contextlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph import EventDataset, EventSchema, Model, ModelBuilder
from lumigraph.blocks import AbsBody
from lumigraph.blocks.registry import to_object, to_plain


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(0)
    return Model(ModelBuilder("classification", 1, ["a", "b"])).save(tmp_path / "model.pt")


def test_a_model_file_holds_plain_data_only(path):
    content = torch.load(path, weights_only=True)  # refuses anything else
    assert content["format"] == "lumigraph model"
    assert content["builder"]["head"] == {"block": "CatEmbHead"}


def test_another_process_loads_it_and_predicts_the_same(path):
    script = (
        "import sys, numpy as np; from lumigraph import Model;"
        "np.save(sys.argv[2], Model.load(sys.argv[1]).predict(np.ones((2, 2), dtype=np.float32)))"
    )
    out = path.with_suffix(".npy")
    subprocess.run([sys.executable, "-c", script, path, out], check=True, env={**os.environ, "JAXTYPING_DISABLE": "1"})
    np.testing.assert_array_equal(np.load(out), Model.load(path).predict(np.ones((2, 2), dtype=np.float32)))


def test_a_builder_like_that_of_a_saved_model_scales_as_it_does(tmp_path):
    schema = EventSchema(event_feats=("a", "b"), targets=("y",))
    rng = np.random.default_rng(0)
    data = EventDataset.from_columns(
        {"a": rng.exponential(9, 50), "b": rng.normal(size=50), "y": np.arange(50) % 2}, schema
    )
    options = {"scaling": "robust", "transforms": {"a": "log"}, "clip": {"a": (0.1, 20.0)}}
    saved = Model(ModelBuilder.from_dataset(data, **options)).save(tmp_path / "scaled.pt")
    expected = Model.load(saved).head.scale(data.u)
    for source in (saved, Model.load(saved)):
        found = Model(ModelBuilder.from_model_builder(source)).head.scale(data.u)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def test_code_in_a_model_file_is_never_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "history": Evil()}, path)
    with pytest.raises(ValueError, match=r"model\.pt is not a model of lumigraph, or is damaged"):
        Model.load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"model\.pt is not a model of lumigraph"):
        Model.load(path)
    assert not (tmp_path / "executed").exists()


def test_what_is_no_model_is_said_to_be_none(path, tmp_path):
    whole = path.read_bytes()
    for cut in (0, 1, 10, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="is not a model of lumigraph"):
            Model.load(path)
    path.write_text("not a model\n")
    with pytest.raises(ValueError, match="is not a model of lumigraph"):
        Model.load(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="is not a model of lumigraph"):
        Model.load(path)
    with pytest.raises(FileNotFoundError, match="there is no model file"):
        Model.load(tmp_path / "nowhere.pt")


def test_damaged_bytes_are_refused_or_harmless(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(ValueError):  # and nothing else
            Model.load(path)


def test_a_file_of_a_newer_version_says_so(path):
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": 99, "lumigraph": "9.9"}, path)
    with pytest.raises(ValueError, match=r"written by lumigraph 9\.9"):
        Model.load(path)


def test_weights_that_do_not_fit_are_named(path):
    content = torch.load(path, weights_only=True)
    del content["state"]["2.dense.weight"]
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"do not fit the model: .*2\.dense\.weight"):
        Model.load(path)


class Own(AbsBody):
    def __init__(self, n_in, feat_map, **options):
        super().__init__(n_in, feat_map)
        self.layer = nn.Linear(n_in, 3)

    def get_out_size(self):
        return 3

    def forward(self, x):
        return self.layer(x)


def test_a_block_of_ones_own_is_loaded_with_its_builder(tmp_path):
    builder = ModelBuilder("classification", 1, ["a"], body=Own)
    model = Model(builder)
    path = model.save(tmp_path / "own.pt")
    with pytest.raises(ValueError, match=r"model_builder=\.\.\."):
        Model.load(path)
    x = np.ones((2, 1), dtype=np.float32)
    np.testing.assert_array_equal(Model.load(path, model_builder=builder).predict(x), model.predict(x))


def test_loading_into_a_model_turns_it_into_the_saved_one(path, tmp_path):
    model = Model(ModelBuilder("regression", 2, ["a", "b", "c"]))
    x = np.ones((2, 2), dtype=np.float32)
    assert model.load(path) is model
    assert model.objective == "classification"
    np.testing.assert_array_equal(model.predict(x), Model.load(path).predict(x))
    own = Model(ModelBuilder("classification", 1, ["a"], body=Own))
    other = Model(own.model_builder)
    other.load(own.save(tmp_path / "own.pt"))  # it has the builder already
    np.testing.assert_array_equal(other.predict(x[:, :1]), own.predict(x[:, :1]))


def test_a_load_that_fails_leaves_the_model_as_it_was(path):
    model = Model(ModelBuilder("regression", 2, ["a", "b", "c"]))
    before = model.get_weights()
    content = torch.load(path, weights_only=True)
    torch.save({**content, "state": {}}, path)
    with pytest.raises(ValueError, match="do not fit the model"):
        model.load(path)
    assert model.objective == "regression"
    assert all(torch.equal(model.get_weights()[name], value) for name, value in before.items())


def test_loading_is_documented_wherever_it_is_called(path):
    assert Model.load.__doc__ == Model.load(path).load.__doc__
    assert "plain data" in Model.load.__doc__


def test_tensors_and_recurrent_cells_are_plain():
    found = to_plain({"y_range": torch.tensor([[0.0, 1.0]]), "rnn": nn.LSTM})
    assert found == {"y_range": [[0.0, 1.0]], "rnn": "LSTM"}


def test_only_lumigraphs_own_blocks_are_looked_up():
    with pytest.raises(ValueError, match=r"no block 'os\.system'"):
        to_object({"block": "os.system", "args": {}})
    with pytest.raises(ValueError, match="got 'depth' beside FullyConnected"):
        to_object({"block": "FullyConnected", "depth": 3})
    with pytest.raises(TypeError, match="neither plain data"):
        to_plain(lambda: None)


def test_a_failed_save_leaves_nothing_behind(path, monkeypatch):
    before = path.read_bytes()

    def full(content, stream):
        stream.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        Model(ModelBuilder("classification", 1, ["a"])).save(path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.pt"]


def test_others_may_read_a_model_where_the_umask_lets_them(path):
    before = os.umask(0o022)
    try:
        Model(ModelBuilder("classification", 1, ["a"])).save(path, overwrite=True)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
