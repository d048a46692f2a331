"""Trainings on two ranks, and trainings that are killed and resumed, in processes of their own."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

SETUP = """
import json, os, signal, sys
import numpy as np, torch
torch.set_num_threads(1)
from functools import partial
from lightning.pytorch.callbacks import Callback
from lumigraph import EventSchema, InteractionNet, Model, ModelBuilder, MultiHead
from lumigraph.data import EventDataset, EventStream, write_columns

SCHEMA = EventSchema(collections=("Jet",), feats_per_vec=("px", "py", "pz", "E"), event_feats=("number",),
                     targets=("label",), weight="w")

def table(size, seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 7, size)
    p = rng.normal(size=(n.sum(), 3))
    jets = [p[:, 0], p[:, 1], p[:, 2], np.sqrt((p**2).sum(1) + 1)]
    import awkward as ak
    columns = {f"Jet_{k}": ak.unflatten(v.astype("f4"), n) for k, v in zip(SCHEMA.feats_per_vec, jets)}
    w = np.where(rng.random(size) < 0.2, -0.3, 1.0) * rng.uniform(0.5, 2, size)
    return {**columns, "number": np.arange(size), "label": (n + rng.normal(size=size) > 3).astype("i1"), "w": w}

def model(train, do=0.0):
    net = partial(InteractionNet, intfunc_depth=1, intfunc_width=8, intfunc_out_sz=8, outfunc_depth=1, outfunc_width=8,
                  outfunc_out_sz=8, agg_method="sum", do=do)
    torch.manual_seed(0)
    return Model(ModelBuilder.from_dataset(train, head=MultiHead, model_args={
        "head": {"matrix_head": net}, "body": {"depth": 1, "width": 8, "do": do}}))

class Watch(Callback):
    "Write down which events each step has."
    def __init__(self, file, kill_after=0):
        self.file, self.left = file, kill_after
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        step = {"step": trainer.global_step, "epoch": trainer.current_epoch, "rank": trainer.global_rank,
                "events": batch.u[:, 0].int().tolist()}
        with open(self.file, "a") as stream:
            stream.write(json.dumps(step) + "\\n")
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def run(script, folder, *args):
    file = folder / "script.py"  # which Lightning runs again for every further rank
    file.write_text(SETUP + textwrap.dedent(script))
    environment = {**os.environ, "JAXTYPING_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", str(file), str(folder), *map(str, args)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


KILLED = """
folder, kind = sys.argv[1:]
write_columns(f"{folder}/events.parquet", table(660, 0))
source = {"stream": partial(EventStream, chunk_size=50), "memory": EventDataset.from_file}[kind]
train = source(f"{folder}/events.parquet", SCHEMA)

def training(name, kill_after=0):
    fitted = model(train, do=0.2).fit(
        3, train, 30, folder=f"{folder}/{name}", resume=True, progress_bar=False, seed=3, checkpoint_every=4,
        callbacks=[Watch(f"{folder}/{name}.log", kill_after)])
    fitted.save(f"{folder}/{name}.pt", overwrite=True)

training("undisturbed")
random, kills = np.random.default_rng(5), 0
while not os.path.exists(f"{folder}/killed.pt"):
    child = os.fork()
    if child == 0:
        training("killed", int(random.integers(5, 11)) if kills < 10 else 0)
        os._exit(0)
    random.integers(5, 11)
    status = os.waitpid(child, 0)[1]
    kills += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
print(kills)
"""


@pytest.mark.parametrize("kind", ["stream", "memory"])
def test_killed_ten_times_it_sees_the_same_events_and_ends_with_the_same_weights(tmp_path, kind):
    assert int(run(KILLED, tmp_path, kind)) == 10
    undisturbed, killed = (
        [json.loads(line) for line in (tmp_path / f"{name}.log").read_text().splitlines()]
        for name in ("undisturbed", "killed")
    )
    expected = {step["step"]: step for step in undisturbed}
    assert len(expected) == len(undisturbed) == 3 * 22
    assert len(killed) > len(undisturbed)
    assert {step["step"] for step in killed} == set(expected)
    assert all(step == expected[step["step"]] for step in killed)
    first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("undisturbed", "killed"))
    assert all(torch.equal(first["state"][k], second["state"][k]) for k in first["state"])
    assert first["history"]["train_loss"] == pytest.approx(second["history"]["train_loss"], rel=1e-12)


RANKS = """
folder, devices, batch_size, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
name = f"{kind}{devices}"
if os.environ.get("LOCAL_RANK", "0") == "0":
    for part, size in (("train", 211), ("val", 97)):
        write_columns(f"{folder}/{name}_{part}.parquet", table(size, len(part)))
source = {"stream": partial(EventStream, chunk_size=50), "memory": EventDataset.from_file}[kind]
train, val = (source(f"{folder}/{name}_{part}.parquet", SCHEMA) for part in ("train", "val"))
rank = os.environ.get("LOCAL_RANK", "0")
fitted = model(train).fit(
    3, train, batch_size, val=val, folder=f"{folder}/{name}", progress_bar=False, seed=1, accelerator="cpu",
    devices=devices, strategy="ddp" if devices > 1 else "auto", callbacks=[Watch(f"{folder}/{name}_{rank}.log")])
if rank == "0":
    print(json.dumps(fitted.history))
    fitted.save(f"{folder}/{name}.pt")
"""


def steps(tmp_path, name, ranks):
    return [json.loads(line) for r in range(ranks) for line in (tmp_path / f"{name}_{r}.log").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["stream", "memory"])
def test_two_ranks_see_each_event_once_and_learn_what_one_process_learns(tmp_path, kind):
    two = json.loads(run(RANKS, tmp_path, 2, 16, kind).splitlines()[-1])
    seen = steps(tmp_path, f"{kind}2", 2)
    for epoch in range(3):
        own = [[e for s in seen if (s["epoch"], s["rank"]) == (epoch, r) for e in s["events"]] for r in (0, 1)]
        assert sorted(own[0] + own[1]) == list(range(211))
        assert abs(len(own[0]) - len(own[1])) <= 1
    assert len({tuple(s["events"]) for s in seen}) == len(seen)
    if kind == "stream":  # which mixes other events when it is shared
        assert np.isfinite(two["val_loss"]).all()
        return
    one = json.loads(run(RANKS, tmp_path, 1, 32, kind).splitlines()[-1])
    together = {}
    for s in seen:
        together.setdefault(s["step"], set()).update(s["events"])
    assert together == {s["step"]: set(s["events"]) for s in steps(tmp_path, f"{kind}1", 1)}
    for name in ("train_loss", "val_loss"):
        assert two[name] == pytest.approx(one[name], rel=1e-4)
    first, second = (torch.load(tmp_path / f"{kind}{n}.pt", weights_only=True)["state"] for n in (1, 2))
    assert all(torch.allclose(first[k], second[k], atol=1e-4) for k in first)
