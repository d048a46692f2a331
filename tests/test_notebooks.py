"""The notebooks run from top to bottom in an empty folder, without a warning, and are committed with their outputs.

Here they train for one epoch, in turn in one process, since a process takes seconds to start.
``python tests/test_notebooks.py`` runs them as they are and writes their outputs into them.
"""

import os
import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
jupyter_client = pytest.importorskip("jupyter_client")
run_sync = pytest.importorskip("jupyter_core.utils").run_sync
pytest.importorskip("ipykernel")
pytest.importorskip("captum")  # of the notebooks that explain

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))

# Nothing is left of the notebook before, and warnings are what pyproject.toml says of them; a kernel without ipywidgets
# tells so when it imports PyG, whatever one does.
STRICT = """
%reset -f
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="`torch.jit")
warnings.filterwarnings("ignore", message="IProgress not found")
warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="ipykernel")
"""

QUICK = """
from lumigraph import Model
Model.fit = lambda self, n_epochs, *args, fit=Model.fit, **options: fit(self, 1, *args, **options)
"""

LARGEST_FILE, LARGEST_OUTPUT, LONGEST_TEXT = 500_000, 200_000, 4_000
PATHS = re.compile(r"(?<![\w/.:])(/(home|root|tmp|usr|work|private|Users|opt|mnt|var)/|[A-Z]:\\)")


def read(path):
    return nbformat.read(path, as_version=4)


def run(notebook, folder, kernel=None):
    """Run a notebook in a folder or in a kernel that is there; an error or a warning is a CellExecutionError."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "JAXTYPING_DISABLE": "1"}
    env.pop("MPLBACKEND", None)  # a kernel has its own, which puts pictures into outputs
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, km=kernel, timeout=300, resources=resources)
    try:
        client.execute(env=env)
    finally:
        if kernel is not None:
            client.kc.stop_channels()
    del notebook.cells[0]
    for number, cell in enumerate(code_cells(notebook), start=1):
        cell.execution_count, cell.metadata = number, {}
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """Return what a cell puts out: texts, results and pictures, not their contents."""
    found = [output.get("name") or sorted(output.data) for output in cell.outputs]
    # what is printed may come in one piece or in several
    return [kind for i, kind in enumerate(found) if i == 0 or kind != found[i - 1]]


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def each_notebook(test):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)(test)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 6


@each_notebook
def test_a_notebook_is_committed_with_its_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run it from top to bottom"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)


@each_notebook
def test_a_notebook_is_small_and_holds_no_path_of_a_machine(path):
    assert path.stat().st_size < LARGEST_FILE
    notebook = read(path)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not PATHS.search(cell.source), cell.source
        for output in cell.get("outputs", []):
            pictures = output.get("data", {}).get("image/png", "")
            assert len(pictures) < LARGEST_OUTPUT
            for text in strings({k: v for k, v in output.items() if k != "data"} | dict(output.get("data", {}))):
                if text is not pictures:
                    assert len(text) < LONGEST_TEXT, text[:200]
                    assert not PATHS.search(text), text


@pytest.mark.parametrize("text", ["/home/me/a.root", "in /tmp/x", "'/usr/lib", r"C:\Users\me"])
def test_paths_of_machines_are_recognised(text):
    assert PATHS.search(text)


@pytest.mark.parametrize("text", ["https://arxiv.org/abs/1", "a/b", "examples/tmp/x.root", "1/eps"])
def test_other_slashes_are_no_paths(text):
    assert not PATHS.search(text)


def notebook_of(code):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def kernel(folder):
    """A process that works in the empty folder, in which models train for one epoch."""
    kernel = jupyter_client.AsyncKernelManager()
    run(notebook_of(QUICK), folder, kernel)
    yield kernel
    run_sync(kernel.shutdown_kernel)(now=True)


def test_a_warning_in_a_cell_stops_a_notebook(kernel, folder):
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="mind"):
        run(notebook_of("import warnings\nwarnings.warn('mind')"), folder, kernel)


def test_a_notebook_knows_nothing_of_the_one_before(kernel, folder):
    run(notebook_of("left = 1"), folder, kernel)
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="NameError"):
        run(notebook_of("left"), folder, kernel)


@each_notebook
def test_a_notebook_runs_in_an_empty_folder_and_leaves_nothing_there(path, kernel, folder):
    committed = [kinds(cell) for cell in code_cells(read(path))]
    notebook = run(read(path), folder, kernel)
    assert [kinds(cell) for cell in code_cells(notebook)] == committed, "its outputs are not of this notebook"
    assert list(folder.iterdir()) == []


if __name__ == "__main__":
    import tempfile

    for file in map(Path, sys.argv[1:] or NOTEBOOKS):
        with tempfile.TemporaryDirectory() as empty:
            nbformat.write(run(read(file), empty), file)
