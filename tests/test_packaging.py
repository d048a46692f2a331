"""What the package says of itself: imports, dependencies, environments, files."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx
import pytest

import lumigraph

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = {"torch": "pytorch", "torch-geometric": "pytorch_geometric", "torch-scatter": "pytorch_scatter"}


def run(code):
    env = {**os.environ, "JAXTYPING_DISABLE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout


def test_importing_loads_no_plotting_no_file_reader_and_no_lightning():
    code = """
import sys, torch_geometric
from importlib import import_module
heavy = {"matplotlib", "networkx", "uproot", "awkward", "h5py", "onnx", "onnxruntime",
         "lightning", "torchmetrics", "plotly", "captum"} - set(sys.modules)
for name in ("lumigraph", *(f"lumigraph.{part}" for part in ("blocks", "data", "metrics", "model", "training"))):
    import_module(name)
    print(name, "loads", sorted(heavy & set(sys.modules)))
"""
    lines = run(code).splitlines()
    assert len(lines) == 6
    assert all(line.endswith(" loads []") for line in lines), lines


def test_public_names_exist_and_are_sorted():
    assert all(hasattr(lumigraph, name) for name in lumigraph.__all__)
    assert len(set(lumigraph.__all__)) == len(lumigraph.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", lumigraph.__version__)


def third_party_imports():
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"lumigraph"}


def distribution(requirement):
    return re.match(r"[A-Za-z0-9_-]+", requirement).group().lower()


def test_every_import_is_a_declared_dependency():
    extras = PROJECT["optional-dependencies"]
    requirements = [*PROJECT["dependencies"], *extras["interactive"], *extras["explain"]]
    declared = {distribution(r).replace("-", "_").replace("pyyaml", "yaml") for r in requirements}
    # the one is a part of matplotlib, the other is there where a notebook runs
    assert third_party_imports() - {"mpl_toolkits", "IPython"} <= declared


def test_environment_yml_mirrors_pyproject():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    conda = dict(re.match(r"\s+- ([\w-]+)>=(\S+)", line).groups() for line in lines if ">=" in line)
    wanted = {"python": PROJECT["requires-python"].removeprefix(">=")}
    for requirement in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["scatter"]]:
        name = distribution(requirement)
        wanted[CONDA.get(name, name)] = requirement.split(">=")[1]
    assert conda == wanted


def test_requirements_have_lower_bounds_only():
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]:
        for requirement in group:
            assert re.fullmatch(r"[A-Za-z0-9_-]+(\[\w+\])?>=[\d.]+", requirement), requirement


def test_constraints_pin_everything_that_is_required():
    pinned = dict(
        line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    extras = PROJECT["optional-dependencies"]
    for requirement in itertools.chain(PROJECT["dependencies"], *extras.values()):
        if requirement in extras["scatter"]:  # not installed by the Makefile
            continue
        assert distribution(requirement) in pinned, requirement
    assert pinned["torch"] == "2.13.0"


def test_the_papers_of_the_house_are_there():
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", ".ci/run", "Makefile"):
        assert (ROOT / name).stat().st_size > 100, name
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert lumigraph.__version__ in (ROOT / "CITATION.cff").read_text()


# imports of a higher floor, made inside the function that needs them
NAMED = {("lumigraph.blocks.heads.cat_emb_head", "lumigraph.plotting"), ("lumigraph.model.model", "lumigraph.export")}


def test_no_files_import_each_other():
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("lumigraph", exclude_type_checking_imports=True, cache_dir=None)
    imports = networkx.DiGraph(
        (file, other)
        for file in graph.modules
        for other in graph.find_modules_directly_imported_by(file)
        if (file, other) not in NAMED
    )
    assert [circle for circle in networkx.strongly_connected_components(imports) if len(circle) > 1] == []
