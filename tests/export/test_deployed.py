"""Exported models where neither lumigraph nor torch is: in a Python with onnxruntime only, and in C++."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lumigraph import EventDataset, InteractionNet, Model, ModelBuilder, MultiHead, from_jagged, load_sample
from lumigraph.data import SAMPLE_SCHEMA, read_columns, sample_path

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("plain_python")

EXAMPLES = Path(__file__).parents[2] / "examples" / "export"
SIZES = {
    "intfunc_depth": 1, "intfunc_width": 8, "intfunc_out_sz": 6,
    "outfunc_depth": 1, "outfunc_width": 8, "outfunc_out_sz": 5,
}  # fmt: skip


def run(*command, **env):
    environment = {**os.environ, "JAXTYPING_DISABLE": "1", "OMP_NUM_THREADS": "1", **env}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def build(schema, agg_method):
    events = EventDataset.from_columns(read_columns(sample_path("root")), schema)
    torch.manual_seed(0)
    net = partial(InteractionNet, agg_method=agg_method, **SIZES)
    args = {"head": {"matrix_head": net}, "body": {"depth": 1, "width": 8}}
    return Model(ModelBuilder.from_dataset(events, head=MultiHead, model_args=args)), events


@pytest.mark.parametrize(("agg_method", "most"), [("mean", None), ("flatten", 16)])
def test_the_python_example_scores_a_root_file_without_torch(agg_method, most, tmp_path):
    model, events = build(replace(SAMPLE_SCHEMA, max_particles=most), agg_method)
    model.export(tmp_path / "tth.onnx")
    alone = (
        "import runpy, sys; sys.modules.update(torch=None, lumigraph=None, torch_geometric=None); "
        f"sys.argv = ['score.py', 'tth.onnx', {str(sample_path('root'))!r}]; "
        f"runpy.run_path({str(EXAMPLES / 'score.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "3000 events -> scores.csv\n"
    found = np.genfromtxt(tmp_path / "scores.csv", names=True, delimiter=",")
    np.testing.assert_allclose(found["score"], model.predict(events)[:, 0], rtol=0, atol=1e-5)


def write_text(file, events):
    """Write events as score.cpp reads them."""
    with file.open("w") as text:
        for i in range(len(events)):
            batch = events.batch([i])
            numbers = [*batch.u[0].tolist(), *batch.cat[0].tolist()]
            print(len(batch.x), *numbers, file=text)
            for particle in batch.x.tolist():
                print(*(f"{number:.9g}" for number in particle), file=text)


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("g++")), reason="there is no compiler")
@pytest.mark.skipif(torch.version.cuda is not None, reason="CMake would ask for all of CUDA")
def test_the_cpp_example_gives_the_same_scores(tmp_path):
    model, _ = build(SAMPLE_SCHEMA, "sum")
    events = load_sample().select(range(200))
    model.export(tmp_path / "tth.pt2", form="jagged")
    run(sys.executable, EXAMPLES / "compile.py", tmp_path / "tth.pt2", tmp_path / "cpu.pt2")
    prefix = torch.utils.cmake_prefix_path
    run("cmake", "-S", EXAMPLES, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    write_text(tmp_path / "events.txt", events)
    with (tmp_path / "events.txt").open("a") as text:
        print("0 300 60 4 1", file=text)  # an event without particles
    none = {"u": torch.tensor([[300.0, 60.0]]), "cat": torch.tensor([[4, 1]])}
    empty = model.predict(from_jagged(torch.zeros(0, 13), lengths=torch.tensor([0]), **none))
    scores = run(tmp_path / "build" / "score", tmp_path / "cpu.pt2", tmp_path / "events.txt").split()
    expected = np.concatenate([model.predict(events), empty])[:, 0]
    np.testing.assert_allclose(np.array(scores, dtype=float), expected, rtol=0, atol=1e-5)
    cut = tmp_path / "cut.txt"
    cut.write_text((tmp_path / "events.txt").read_text().rsplit("\n", 3)[0])
    done = subprocess.run([tmp_path / "build" / "score", tmp_path / "cpu.pt2", cut], capture_output=True, text=True)
    assert done.returncode != 0
    assert "cut off" in done.stderr
