"""The pages: they build without a warning, their links lead somewhere, and they describe every public name."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PUBLIC_FILES = (
    "compat.lumin",
    "data.loading.memory",
    "events.adapters",
    "events.batches",
    "events.errors",
    "events.graph",
    "events.schema",
    "kinematics",
    "metrics.torchmetrics",
    "training.losses",
    "training.scaling",
    "model.importance",
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------------------- the build


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder of the built pages; any warning of Sphinx is a failure."""
    for library in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("pages")
    options = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "-b", "html", "-d", folder / "doctrees"]
    env = {**os.environ, "JAXTYPING_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sphinx", *options, DOCS, folder / "html"]
    found = subprocess.run(command, capture_output=True, text=True, env=env)
    assert found.returncode == 0, found.stdout + found.stderr
    return folder / "html"


class Links(HTMLParser):
    """Where a page leads, what it shows, and the places in it that can be led to."""

    def __init__(self, page):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.add(attrs.get("id"))
        target = attrs.get("href" if tag in ("a", "link") else "src")
        if target and not urlsplit(target).scheme:
            self.targets.append(target)


def broken_links(folder):
    pages = {page.resolve(): Links(page) for page in folder.rglob("*.html")}
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchor = unquote(parts.fragment)
            if not file.exists() or (anchor and file in pages and anchor not in pages[file].anchors):
                yield f"{page.name}: {target}"


def test_the_links_of_all_pages_lead_somewhere(built):
    assert len(list(built.rglob("*.html"))) > len(PAGES)  # the index and the search besides
    assert list(broken_links(built)) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        "<p id='here'><a href='b.html#there'>b</a> <a href='#here'>a</a> <img src='c.png'>"
    )
    (tmp_path / "b.html").write_text("<p id='elsewhere'>")
    assert sorted(broken_links(tmp_path)) == ["a.html: b.html#there", "a.html: c.png"]


def test_the_start_page_shows_a_picture_first(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    assert page.index("event.png") < page.index("pip install lumigraph")


# ------------------------------------------------------------------------------------------------------ every name


def described_names(built):
    """Return the names that the inventory of the pages holds: four lines of header, then a compressed line per name."""
    lines = zlib.decompress((built / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    return {line.split()[0] for line in lines if line.split()[1].startswith("py:")}


def resolve(name):
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:  # a method, or a module that is not a package
        return None


def public_modules():
    """Return the package, all packages in it that say what is public, and files of a subject of their own."""
    package = ROOT / "src" / "lumigraph"
    names = ("lumigraph", *(f"lumigraph.{place.parent.name}" for place in sorted(package.glob("*/__init__.py"))))
    modules = [importlib.import_module(name) for name in (*names, *(f"lumigraph.{name}" for name in PUBLIC_FILES))]
    return [module for module in modules if hasattr(module, "__all__")]


def public_names():
    for module in public_modules():
        yield from (f"{module.__name__}.{name}" for name in module.__all__)


def missing_names(described):
    """Public names that have no description, neither under their own name nor under another one of the same object."""
    elsewhere = {id(found) for name in described if callable(found := resolve(name))}
    for name in public_names():
        found = resolve(name)
        if name not in described and not (callable(found) and id(found) in elsewhere):
            yield name


def test_every_public_name_is_described(built):
    assert list(missing_names(described_names(built))) == []


def test_a_public_name_without_a_description_is_found(built):
    described = described_names(built)
    for gone in ("lumigraph.blocks.InteractionNet", "lumigraph.data.FUNCTIONS", "lumigraph.kinematics.mass2"):
        last = gone.rpartition(".")[2]
        assert gone in missing_names({name for name in described if name.rpartition(".")[2] != last}), gone


# ------------------------------------------------------------------------------------------------ text and pictures


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_python_example_is_run(page):
    """Only what begins with a prompt is a doctest."""
    for block in re.findall(r"^```(?:python|pycon)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M):
        assert block.startswith(">>> "), block
        assert block.endswith("\n\n"), f"an empty line ends the last output, else the fence is part of it: {block}"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")], ids=lambda p: p.name
)
def test_links_between_files_hold_before_the_build_too(page):
    """As on the pages of a code host."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert urlsplit(target).scheme or (page.parent / target).exists(), target


def test_the_diagrams_are_those_of_the_contracts():
    diagrams = load("draw_diagrams")
    for name, drawn in (("floors", diagrams.draw_floors()), ("model", diagrams.draw_model())):
        assert (DOCS / f"{name}.svg").read_text(encoding="utf-8") == drawn, "run: python docs/draw_diagrams.py"


def test_the_diagram_of_the_floors_has_every_module_once():
    drawn = load("draw_diagrams").draw_floors()
    modules = {
        p.stem for p in (ROOT / "src" / "lumigraph").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    for module in modules - {"__init__"}:
        assert drawn.count(f">{module}</text>") == 1, module
    assert "data alone imports awkward, uproot" in drawn


def test_the_architecture_page_lists_every_module_of_the_contracts():
    diagrams = load("draw_diagrams")
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert page == diagrams.with_modules(page), "run: python docs/draw_diagrams.py"
    assert page.count("\n   cli\n") == page.count("\n   version\n") == 1
