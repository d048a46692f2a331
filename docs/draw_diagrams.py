"""Draws floors.svg and model.svg, the pictures in architecture.md and concepts.md: `python docs/draw_diagrams.py`.

The floors, and the modules listed in architecture.md, are those of the import contracts in pyproject.toml.
"""

import re
import tomllib
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BLUE, ORANGE, GREY, DARK = "#d6e8f5", "#fbe8c6", "#f2f2f2", "#333333"
FONT = "font-family='system-ui, sans-serif'"


def contracts() -> list[dict[str, Any]]:
    """Return the import contracts."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return project["tool"]["importlinter"]["contracts"]


def floors() -> list[list[str]]:
    """Return the modules of each floor, the highest floor first."""
    layers = next(contract["layers"] for contract in contracts() if contract["type"] == "layers")
    return [re.split(r"\s*[|:]\s*", layer) for layer in layers]


def libraries() -> dict[str, list[str]]:
    """Return the libraries that one module alone may import, by module."""
    modules = {name for floor in floors() for name in floor} - {"version"}
    found: dict[str, list[str]] = {}
    for contract in contracts():
        if contract["type"] == "forbidden":
            allowed = modules - {name.split(".")[1] for name in contract["source_modules"]}
            for name in sorted(allowed):
                found[name] = contract["forbidden_modules"]
    return found


def text(x: float, y: float, words: str, size: int = 15, weight: str = "normal", anchor: str = "middle") -> str:
    """Return a line of text."""
    return (
        f"<text x='{x:g}' y='{y:g}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' {FONT} "
        f"fill='{DARK}'>{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    """Return a rectangle."""
    return (
        f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='5' fill='{colour}' stroke='{DARK}' "
        "stroke-width='0.8'/>"
    )


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return an arrow."""
    ends = f"x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}'"
    return f"<line {ends} stroke='{DARK}' stroke-width='1.5' marker-end='url(#tip)'/>"


def svg(width: float, height: float, title: str, parts: list[str]) -> str:
    """Return a picture."""
    tip = (
        "<defs><marker id='tip' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='8' markerHeight='8' orient='auto'>"
        f"<path d='M 0 0 L 10 5 L 0 10 z' fill='{DARK}'/></marker></defs>"
    )
    size = f"viewBox='0 0 {width:g} {height:g}' width='{width:g}' height='{height:g}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size}>"
    ground = "<rect width='100%' height='100%' fill='white'/>"
    return "\n".join([head, f"<title>{escape(title)}</title>", tip, ground, *parts, "</svg>", ""])


def draw_floors() -> str:
    """Return the picture of the floors: a row of modules for each, the highest on top."""
    rows, alone = floors(), libraries()
    left, width, pitch, height, gap = 80, 700, 44, 32, 10
    parts = []
    for row, modules in enumerate(rows):
        y = 12 + pitch * row
        parts.append(text(46, y + 21, str(len(rows) - 1 - row), 13))
        each = (width - gap * (len(modules) - 1)) / len(modules)
        for column, module in enumerate(modules):
            x = left + column * (each + gap)
            parts.append(box(x, y, each, height, ORANGE if module in alone else BLUE))
            parts.append(text(x + each / 2, y + 21, module, 14))
    bottom = 12 + pitch * len(rows)
    parts.append(arrow(20, 18, 20, bottom - 18))
    parts.append(f"<g transform='rotate(-90 14 {bottom / 2:g})'>{text(14, bottom / 2, 'imports', 13)}</g>")
    for line, (module, names) in enumerate(sorted(alone.items())):
        y = bottom + 20 + 24 * line
        parts += [
            box(left, y - 13, 18, 16, ORANGE),
            text(left + 28, y, f"{module} alone imports {', '.join(names)}", 13, anchor="start"),
        ]
    return svg(left + width + 20, bottom + 16 + 24 * len(alone), "The floors of lumigraph", parts)


def draw_model() -> str:
    """Return the picture of a model: from an event through head, body and tail to a prediction."""
    inputs = (("particles", "x (N, F)"), ("event features", "u (B, G)"), ("categories", "cat (B, C)"))
    stages = (
        ("head", "the input side", ORANGE, "(B, width)"),
        ("body", "hidden layers", BLUE, "(B, width)"),
        ("tail", "the output side", BLUE, ""),
    )
    parts = []
    for i, (what, shape) in enumerate(inputs):
        y = 10 + 60 * i
        parts += [box(5, y, 125, 50, GREY), text(67, y + 22, what), text(67, y + 41, shape, 14)]
        parts.append(arrow(130, y + 25, 178, 75 + 20 * i))
    for i, (name, role, colour, shape) in enumerate(stages):
        x = 180 + 205 * i
        parts += [box(x, 60, 120, 70, colour), text(x + 60, 90, name, 19, "bold"), text(x + 60, 115, role, 14)]
        parts += [arrow(x + 120, 95, x + 203, 95), text(x + 161, 84, shape, 13)]
    parts += [box(795, 70, 100, 50, GREY), text(845, 92, "prediction"), text(845, 111, "(B, outputs)", 14)]
    parts.append(text(445, 178, "B events with N particles in all", 14))
    return svg(900, 195, "A model of head, body and tail", parts)


def with_modules(page: str) -> str:
    """Return the text of architecture.md with the modules of all floors in its table."""
    modules = "".join(f"   {module}\n" for floor in floors() for module in floor)
    return re.sub(r"(?<=autosummary::\n\n)(   \w+\n)+", modules, page)


def main() -> None:
    """Draw both, and list the modules."""
    page = HERE / "architecture.md"
    page.write_text(with_modules(page.read_text(encoding="utf-8")), encoding="utf-8")
    (HERE / "floors.svg").write_text(draw_floors(), encoding="utf-8")
    (HERE / "model.svg").write_text(draw_model(), encoding="utf-8")


if __name__ == "__main__":
    main()
