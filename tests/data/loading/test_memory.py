import contextlib
import os
import subprocess
import sys

import pytest
from torch import nn

from lumigraph import cli, training

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")

#: Page faults of ten rounds that each take and free 64 MB: with each of the settings, then with none.
COUNT = """
import os, resource, sys, torch
from lumigraph import keep_pages
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for setting in sys.argv[1:]:
    name, value = setting.split("=", 1)
    os.environ[name] = value
    print(keep_pages(), faults())
    del os.environ[name]
print(keep_pages(), faults() and faults())
"""


def run(script, *arguments, **environment):
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LUMIGRAPH_KEEP_PAGES")
    names += ("ARROW_DEFAULT_MEMORY_POOL",)
    environment = {**{k: v for k, v in os.environ.items() if k not in names}, **environment}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@on_linux
def test_pages_of_large_tensors_are_kept_unless_it_is_turned_off():
    settings = ("LUMIGRAPH_KEEP_PAGES=0", "MALLOC_TRIM_THRESHOLD_=1000", "GLIBC_TUNABLES=glibc.malloc.check=0")
    found = run(COUNT, *settings)
    kept, faults = found[::2], [int(number) for number in found[1::2]]
    assert kept == ["False", "False", "False", "True"]
    assert faults[-1] * 100 < min(faults[:-1])


@on_linux
@pytest.mark.parametrize("first", ["pyarrow", "lumigraph"])
@pytest.mark.parametrize(("environment", "backend"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "")])
def test_arrow_uses_the_memory_that_is_kept(first, environment, backend):
    script = f"""
import {first}, lumigraph
before = __import__("pyarrow").default_memory_pool().backend_name if {first == "pyarrow"} else None
lumigraph.keep_pages()
import pyarrow
print(pyarrow.default_memory_pool().backend_name, before)
"""
    found, before = run(script, **environment)
    assert found == (backend or "mimalloc")
    assert before in ("None", "mimalloc", "jemalloc")


def test_without_glibc_nothing_happens(monkeypatch):
    import ctypes

    from lumigraph.data.loading.memory import keep_pages

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_pages() is False


def test_training_and_the_command_keep_them(monkeypatch, plain_python):
    called = []
    for module in ("training.fitting", "cli.command"):
        monkeypatch.setattr(f"lumigraph.{module}.keep_pages", lambda name=module: called.append(name))
    with contextlib.suppress(Exception):
        training.fit(nn.Linear(1, 1), None, [], config=training.TrainConfig(n_epochs=1))
    cli.main(["metrics", "nothing.pt", "nothing.root"])
    assert called == ["training.fitting", "cli.command"]
