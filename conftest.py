"""What holds for tests, and for the examples in docstrings and pages: without an extra they are skipped."""

import doctest
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

EXTRAS = ("onnx", "onnxruntime", "onnxscript", "pythia8mc", "fastjet", "plotly", "captum", "sphinx", "triton")
MISSING = [name for name in EXTRAS if find_spec(name) is None]


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
