"""What holds for every test: no time limit for Hypothesis, one thread, and the same random numbers each time."""

import importlib.util
import os
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

collect_ignore = ["compat/make_lumin_cases.py"]  # runs where LUMIN is, see there

settings.register_profile("lumigraph", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=400)  # --hypothesis-profile=search looks for new cases
settings.load_profile("lumigraph")
# tests are small: on a busy machine a second thread waits more than it works, in the processes that tests start too
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed torch before each test."""
    torch.manual_seed(0)
    return 0


@pytest.fixture
def plain_python():
    """Switch the checks of types and shapes off, as they are for a user; torch.compile cannot look through them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    torch._dynamo.reset()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Give a browser without a window and a network, where there is one."""
    path = Path(__file__).parent / "plotting" / "chromium.py"
    spec = importlib.util.spec_from_file_location("lumigraph_tests_chromium", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.find_chromium() is None:
        pytest.skip("there is no Chromium")
    browser = module.Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
