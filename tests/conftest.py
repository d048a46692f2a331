"""What holds for every test: no time limit for Hypothesis, one thread, and the same random numbers each time."""

import doctest
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

collect_ignore = ["compat/make_lumin_cases.py"]  # runs where LUMIN is, see there

EXTRAS = ("onnx", "onnxruntime", "onnxscript", "pythia8mc", "fastjet", "plotly", "captum", "sphinx", "triton")
MISSING = [name for name in EXTRAS if importlib.util.find_spec(name) is None]

settings.register_profile("lumigraph", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=400)  # --hypothesis-profile=search looks for new cases
settings.load_profile("lumigraph")
# tests are small: on a busy machine a second thread waits more than it works, in the processes that tests start too
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test or an example that needs an extra which is not installed, by the name of what is missing."""
    try:
        return (yield)
    except (ImportError, doctest.UnexpectedException) as failure:
        error = failure.exc_info[1] if isinstance(failure, doctest.UnexpectedException) else failure
        missing = getattr(error.__context__ or error, "name", None)
        if isinstance(error, ImportError) and missing and missing.partition(".")[0] in MISSING:
            pytest.skip(f"{missing} is not installed")
        raise


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
