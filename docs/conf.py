"""How Sphinx builds these pages: `make docs`."""

import functools
import re
import sys
from html import escape
from importlib import import_module
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any

from docutils.nodes import Node, SkipNode, Text, document, literal_block, math_block
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))  # the source beside these pages, whatever else is installed

from lumigraph import __version__  # noqa: E402

project = "lumigraph"
author = project_copyright = "The lumigraph developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# pages
myst_enable_extensions = ["attrs_block", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

# docstrings
default_role = "py:obj"  # numpydoc's single backticks
autosummary_generate = False  # its tables alone: each name is described on the page of its module
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # "u, cat, y, weight" stay together

# A name of lumigraph that is described nowhere is an error, except the names of types that a signature uses. Names of
# other libraries are not looked up, so that the pages build without a network.
_TYPES_IN_SIGNATURES = (
    r"lumigraph\.(data\.columns\.(assembly\.Arrays|jagged\.Jagged)|model\.measuring\.Described"
    r"|data\.loading\.(chunked_files\.ChunkedFiles|chunks\.Chunk|loader\.EpochPlan|reweighting\.Kind|stream\.Table))"
)
nitpick_ignore_regex = [("py:.*", r"(?!lumigraph).*"), ("py:class", _TYPES_IN_SIGNATURES)]

# looks
html_theme = "furo"
html_math_renderer = "mathml"
toc_object_entries_show_parents = "hide"
html_title = f"lumigraph {version}"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]


def plain_references(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Write references as a list: as footnotes, [1] of one docstring would be that of all others on the page."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"(?<=\s)\[(\d+)\]_", r"[\1]", re.sub(r"^(\s*)\.\. \[(\d+)\] ", r"\1\2. ", line))


def link_by_object(app: Sphinx, env: Any, node: Any, contnode: Node) -> Any:
    """Link a name to where its object is described under another one: ``lumigraph.Model`` is in ``lumigraph.model``."""
    target = str(node.get("reftarget"))
    if node.get("refdomain") != "py" or not target.startswith("lumigraph."):
        return None
    found = imported(target)
    if isinstance(found, ModuleType):  # it exists, but has no page
        return contnode
    domain, wanted = env.get_domain("py"), identity(found)
    for name in domain.objects:
        if name.startswith("lumigraph.") and wanted is not None and identity(imported(name)) == wanted:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return None


def imported(name: str) -> Any:
    """Return the object of a dotted name, or None."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            return functools.reduce(getattr, parts[i:], import_module(".".join(parts[:i])))
        except (ImportError, AttributeError):
            continue
    return None


def identity(found: Any) -> Any:
    """Return what is the same for the same function or class, bound methods included."""
    if isinstance(found, MethodType):
        return id(found.__func__), id(found.__self__)
    return id(found) if callable(found) else None


def strip_examples(app: Sphinx, doctree: document) -> None:
    """Leave out the empty line at the end of an example, which is there for the doctest."""
    for block in doctree.findall(literal_block):
        block.rawsource = block.astext().rstrip("\n")
        block.children = [Text(block.rawsource)]


def write_math(translator: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers draw without a script and without a network."""
    formula = re.sub(r"\\[bB]igg?[lmr]?(?![A-Za-z])", "", node.astext())  # delimiters of MathML grow by themselves
    try:
        written = tex2mathml(formula, as_block=isinstance(node, math_block))
    except MathError as error:
        getLogger(__name__).warning("MathML cannot write %s: %s", formula, error, location=node)
        written = f"<code>{escape(formula)}</code>"
    translator.body.append(written)
    raise SkipNode


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("autodoc-process-docstring", plain_references)
    app.connect("doctree-read", strip_examples)
    app.connect("missing-reference", link_by_object)
