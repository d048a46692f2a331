"""Training: weights, schedules, early stopping, errors, and resuming after a kill."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from lumigraph import EventDataset, EventSchema
from lumigraph.training import fit
from lumigraph.training.config import TrainConfig

SCHEMA = EventSchema(event_feats=("a", "b"), targets=("label",), weight="w")


def events(num=200, weight=1.0, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, num))
    label = (a + 0.5 * b + 0.3 * rng.normal(size=num) > 0).astype(float)
    return EventDataset.from_columns({"a": a, "b": b, "label": label, "w": np.full(num, weight)}, SCHEMA)


def loss(module, batch):
    return nn.functional.binary_cross_entropy_with_logits(module(batch.u), batch.y, reduction="none")[:, 0]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def train(module, data, val=None, n_epochs=3, **options):
    fields = {k: options.pop(k) for k in list(options) if k in TrainConfig.__dataclass_fields__}
    config = TrainConfig(n_epochs=n_epochs, progress_bar=False, **fields)
    loader = data.loader(32, shuffle=True, seed=config.seed)
    return fit(module, loss, loader, None if val is None else val.loader(100), config=config, **options)


def test_any_module_learns_from_batches():
    module = network()
    history = train(module, events(600), events(200, seed=1), n_epochs=10, lr=0.02)
    assert history["epoch"] == list(range(10))
    assert history["val_loss"][-1] < 0.5 * history["val_loss"][0] or history["val_loss"][-1] < 0.3
    assert list(history) == ["epoch", "train_loss", "val_loss", "learning_rate"]
    assert not module.training


def test_the_best_weights_are_kept_not_the_last():
    module = network()
    val = events(100, seed=1)
    val.y[30:] = 1 - val.y[30:]  # the better the training events are known, the worse these
    history = train(module, events(100), val, n_epochs=8, lr=0.02, schedule="constant")
    assert min(history["val_loss"]) < history["val_loss"][-1]  # or this test shows nothing
    with torch.no_grad():
        assert float(loss(module, val.batch()).mean()) == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_without_validation_the_last_weights_are_kept():
    history = train(network(), events(64))
    assert "val_loss" not in history
    assert len(history["train_loss"]) == 3


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, second, other = network(), network(), network()
    for module, seed in ((first, 1), (second, 1), (other, 2)):
        torch.rand(3)  # what was drawn before must not matter
        train(module, events(), seed=seed)
    states = [m.state_dict() for m in (first, second, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not all(torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    module = network()
    torch.manual_seed(5)
    train(module, events())
    assert torch.equal(torch.rand(3), expected)


def test_the_loss_is_the_mean_of_weight_times_loss():
    """A step on events of which half weigh nothing is a step on the other half."""
    data = events(64)
    data.weight[32:] = 0.0
    half = data.select(range(32))
    modules = [network().eval(), network().eval()]
    for module in modules:
        module[2].p = 0.0
    for module, part in zip(modules, (data, half), strict=True):
        config = TrainConfig(n_epochs=1, progress_bar=False, schedule="constant", gradient_clip=None)
        fit(module, loss, part.loader(64), config=config, mean_weight=float(part.weight.mean()))
    for a, b in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_weights_of_both_signs_give_a_finite_loss():
    data = events(128)
    data.weight[::4] = -1.0
    history = train(network(), data, data, mean_weight=float(data.weight.mean()))
    assert np.isfinite(history["train_loss"] + history["val_loss"]).all()


@pytest.mark.parametrize(("schedule", "last"), [("one_cycle", 0.0), ("cosine", 0.0), ("constant", 0.01)])
def test_schedules_end_where_they_should(schedule, last):
    history = train(network(), events(), n_epochs=4, lr=0.01, schedule=schedule)
    assert history["learning_rate"][-1] == pytest.approx(last, abs=5e-4)


def test_patience_stops_a_training_that_does_not_improve():
    val = events(50, seed=3)
    val.y[:] = 1 - val.y  # the better it learns, the worse it gets here
    history = train(network(), events(), val, n_epochs=30, lr=0.02, patience=3)
    assert len(history["epoch"]) < 30


def test_a_folder_with_a_training_is_kept_unless_resumed(tmp_path):
    train(network(), events(), events(50), folder=tmp_path)
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(FileExistsError, match="resume=True"):
        train(network(), events(), events(50), folder=tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == "epoch,train_loss,val_loss,learning_rate"


def test_resuming_a_finished_training_changes_nothing(tmp_path):
    first = network()
    history = train(first, events(), events(50), folder=tmp_path)
    again = network()
    assert train(again, events(), events(50), folder=tmp_path, resume=True) == history
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_stopped_in_the_validation_and_resumed_nothing_of_the_epoch_is_missing(tmp_path):
    class Stop(Callback):
        def on_validation_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                raise RuntimeError("stopped")

    options = {"n_epochs": 4, "patience": 3, "checkpoint_every": 1}
    undisturbed, resumed = network(), network()
    history = train(undisturbed, events(), events(50), **options, folder=tmp_path / "undisturbed")
    with pytest.raises(RuntimeError, match="stopped"):
        train(network(), events(), events(50), **options, folder=tmp_path / "stopped", callbacks=[Stop()])
    again = train(resumed, events(), events(50), **options, folder=tmp_path / "stopped", resume=True)
    assert again.keys() == history.keys()
    assert all(again[name] == pytest.approx(history[name], rel=1e-9) for name in history)
    assert all(torch.equal(a, b) for a, b in zip(undisturbed.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("more", [0, 1])
def test_a_folder_that_was_moved_still_knows_its_best_weights(tmp_path, more):
    val = events(100, seed=1)
    val.y[30:] = 1 - val.y[30:]
    options = {"lr": 0.02, "schedule": "constant"}
    train(network(), events(100), val, n_epochs=6, folder=tmp_path / "there", **options)
    (tmp_path / "there").rename(tmp_path / "here")
    module = network()
    history = train(module, events(100), val, n_epochs=6 + more, folder=tmp_path / "here", resume=True, **options)
    assert min(history["val_loss"]) < history["val_loss"][-1]  # or this test shows nothing
    with torch.no_grad():
        assert float(loss(module, val.batch()).mean()) == pytest.approx(min(history["val_loss"]), rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_epochs": 5}, "n_epochs=3, not 5"),
        ({"lr": 0.5}, "lr=0.001, not 0.5"),
        ({"schedule": "cosine"}, "schedule='one_cycle', not 'cosine'"),
        ({"seed": 1}, "seed=0, not 1"),
        ({"val": None}, "validation=True, not False"),
        ({"data": events(100)}, "batches per epoch=7, not 4"),
        ({"module": nn.Linear(2, 1)}, "of another model, in which '0.bias' differs"),
    ],
)
def test_another_training_is_not_resumed(tmp_path, changed, message):
    arguments = {"module": network(), "data": events(), "val": events(50), "folder": tmp_path}
    train(**arguments)
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match=message):
        train(**{**arguments, **changed}, resume=True)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_damaged_checkpoint_is_said_to_be_one_and_can_be_replaced(tmp_path):
    train(network(), events(), folder=tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"last\.ckpt is not a checkpoint, or is damaged"):
        train(network(), events(), folder=tmp_path, resume=True)
    assert train(network(), events(), folder=tmp_path, overwrite=True)["epoch"] == [0, 1, 2]


def test_what_is_replaced_is_kept_until_all_settings_are_known_to_be_right(tmp_path):
    train(network(), events(), folder=tmp_path)
    with pytest.raises(ValueError, match="devices=0"):
        train(network(), events(), folder=tmp_path, overwrite=True, accelerator="cpu", devices=0)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.fixture
def interruptible():
    """Let an interruption be one, which the background jobs of a shell ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_says_so_and_leaves_signals_as_they_were(tmp_path, interruptible, number):
    class Stop(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.current_epoch == 1:
                os.kill(os.getpid(), number)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    kind = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(kind, match=r"--resume\) continues from its last checkpoint") as stopped:
        train(network(), events(), folder=tmp_path, callbacks=[Stop()])
    assert getattr(stopped.value, "code", "text") not in (0, None)  # which a batch system takes for a success
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_validation_events_that_tell_nothing_are_an_error():
    weightless, broken = events(50, weight=-1.0), events(50)
    broken.u[3] = torch.inf
    with pytest.raises(ValueError, match="weights of the validation events must have a positive sum, got -50"):
        train(network(), events(), weightless)
    with pytest.raises(ValueError, match="the validation loss is nan in epoch 0"):
        train(network(), events(), broken)


def test_errors_are_sentences():
    frozen = network().requires_grad_(False)
    with pytest.raises(ValueError, match="all are frozen"):
        train(frozen, events())
    with pytest.raises(ValueError, match="mean weight"):
        train(network(), events(), mean_weight=0.0)
    bad = events()
    bad.u[3] = torch.inf
    with pytest.raises(ValueError, match="training loss is nan"):
        train(network(), bad)
    for options in ({"n_epochs": 0}, {"lr": 0}, {"lr": float("nan")}, {"patience": 0}, {"schedule": "linear"}):
        # an option outside its set is caught by the types already where these are checked, as in this test
        with pytest.raises((ValueError, TypeError), match=next(iter(options))):
            TrainConfig(**options)


SCRIPT = """
import os, signal, sys, torch
from functools import partial
from lumigraph import InteractionNet, Model, ModelBuilder, MultiHead, load_sample
folder, kill_at = sys.argv[1], int(sys.argv[2])
train, val, _ = load_sample().split((0.03, 0.02, 0.01), seed=0)
net = partial(InteractionNet, intfunc_depth=1, intfunc_width=8, intfunc_out_sz=8, outfunc_depth=1, outfunc_width=8,
              outfunc_out_sz=8, agg_method="sum", do=0.1, bn=True)
torch.manual_seed(0)
model = Model(ModelBuilder.from_dataset(train, head=MultiHead, model_args={
    "head": {"matrix_head": net}, "body": {"depth": 1, "width": 8, "do": 0.2}}, all_events=load_sample()))
steps, step = [0], torch.optim.AdamW.step
def counted(self, *args, **kwargs):
    steps[0] += 1
    if steps[0] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args, **kwargs)
torch.optim.AdamW.step = counted
model.fit(4, train, 64, val=val, folder=folder, resume=True, progress_bar=False, seed=3)
model.save(os.path.join(folder, "model.pt"), overwrite=True)
"""


def test_killed_in_the_middle_of_an_epoch_and_resumed_gives_the_same_weights(tmp_path):
    def run(folder, kill_at=0):
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), str(tmp_path / folder), str(kill_at)]
        return subprocess.run(command, capture_output=True, env={**os.environ, "JAXTYPING_DISABLE": "1"}).returncode

    assert run("undisturbed") == 0
    assert run("killed", kill_at=25) == -signal.SIGKILL  # 10 steps an epoch: in the middle of the third
    rows = (tmp_path / "killed" / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + 2
    assert run("killed") == 0
    first, second = (torch.load(tmp_path / f / "model.pt", weights_only=True) for f in ("undisturbed", "killed"))
    assert first["history"] == second["history"]
    assert first["state"].keys() == second["state"].keys()
    assert all(torch.equal(first["state"][k], second["state"][k]) for k in first["state"])
