"""A self-contained page of HTML: headings, tables and pictures, without scripts or external resources."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

__all__ = ["cards", "details", "figure", "gallery", "page", "paragraph", "png", "section", "table"]

#: Dots per inch of pictures, and of the screen that they are laid out for.
_DPI, _SCREEN = 160, 96

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 70rem; background: white; color: #1a1a1a;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.8rem 0 0.6rem; padding-top: 0.6rem; border-top: 2px solid #0072b2; font-size: 1.35rem; }
h3 { margin: 1.8rem 0 0.4rem; font-size: 1.08rem; }
p { margin: 0.4rem 0; max-width: 48rem; }
.subtitle { color: #555; max-width: none; overflow-wrap: anywhere; }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; }
a { color: #0072b2; }
.cards { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 1rem 0; }
.card { border: 1px solid #ddd; border-radius: 6px; padding: 0.6rem 1rem; min-width: 9rem; }
.card b { display: block; font-size: 1.25rem; font-weight: 600; white-space: nowrap; }
.card span { color: #555; font-size: 0.9rem; }
.gallery { display: grid; gap: 1.4rem 1.6rem; margin: 1rem 0; align-items: start;
           grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--least)), 1fr)); }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 0.4rem; color: #444; font-size: 0.9rem; line-height: 1.4; }
.missing { border: 1px dashed #aaa; padding: 0.8rem; color: #555; font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.92rem; }
th, td { padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid #e4e4e4; text-align: left; vertical-align: top; }
thead th { border-bottom: 1.5px solid #888; white-space: nowrap; }
td { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { margin: 0.6rem 0; padding: 0.8rem 1rem; background: #f5f5f5; border-radius: 6px; overflow-x: auto;
      font: 0.85rem/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
summary { cursor: pointer; color: #0072b2; }
@media print { body { max-width: none; padding: 0; } nav { display: none; } }
"""

# Browsers then load nothing, whatever is in a name or a caption.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, subtitle: str, sections: Iterable[tuple[str, str]]) -> str:
    """Return a page of sections, each a heading and its HTML, with a list of the headings at the top.

    Examples
    --------
    >>> made = page("A & B", "", [("Data", paragraph("none"))])
    >>> "<h1>A &amp; B</h1>" in made, '<a href="#data">Data</a>' in made
    (True, True)
    """
    kept = [(heading, _anchor(heading), content) for heading, content in sections if content]
    links = "".join(f'<a href="#{anchor}">{html.escape(heading)}</a>' for heading, anchor, _ in kept)
    body = "".join(f'<section id="{anchor}"><h2>{html.escape(h)}</h2>\n{text}</section>\n' for h, anchor, text in kept)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body><header>"
        f'<h1>{html.escape(title)}</h1><p class="subtitle">{html.escape(subtitle)}</p><nav>{links}</nav></header>\n'
        f"<main>{body}</main></body></html>\n"
    )


def _anchor(heading: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in heading.lower())


def section(heading: str, *content: str) -> str:
    """Return content below a subheading; an empty string without content."""
    text = "\n".join(part for part in content if part)
    return f"<h3>{html.escape(heading)}</h3>\n{text}" if text else ""


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def cards(values: Iterable[tuple[str, str]]) -> str:
    """Return names and values as cards, to be seen first."""
    made = [f'<div class="card"><b>{html.escape(v)}</b><span>{html.escape(name)}</span></div>' for name, v in values]
    return f'<div class="cards">{"".join(made)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int | None = None) -> str:
    """Return a table; all columns after the first ``texts`` are numbers, aligned to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        looks = [' class="number"' if texts is not None and i >= texts else "" for i in range(len(cells))]
        made = [f"<{tag}{look}>{html.escape(cell)}</{tag}>" for look, cell in zip(looks, cells, strict=True)]
        return f"<tr>{''.join(made)}</tr>"

    top = f"<thead>{line(head, 'th')}</thead>" if head else ""
    return f'<div class="wide"><table>{top}<tbody>{"".join(line(row, "td") for row in rows)}</tbody></table></div>'


def details(summary: str, text: str) -> str:
    """Return text of fixed width that unfolds below its summary."""
    return f"<details><summary>{html.escape(summary)}</summary><pre>{html.escape(text)}</pre></details>"


def figure(draw: Callable[[], Axes], caption: str) -> str:
    """Return a picture with its caption, or the reason if it cannot be drawn."""
    before = set(plt.get_fignums())
    try:
        picture = png(draw(), _DPI)
    except ValueError as error:
        for number in set(plt.get_fignums()) - before:  # figures that were left unfinished
            plt.close(number)
        return (
            f'<figure><div class="missing">{html.escape(caption)} Not drawn: {html.escape(str(error))}</div></figure>'
        )
    # the width in the header of the PNG file
    width = int.from_bytes(base64.b64decode(picture[:64])[16:20], "big") * _SCREEN // _DPI
    text = html.escape(caption)
    image = f'<img src="data:image/png;base64,{picture}" width="{width}" alt="{text}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def gallery(figures: Iterable[str], least: str = "26rem") -> str:
    """Return figures side by side, each at least ``least`` wide."""
    made = "\n".join(figures)
    return f'<div class="gallery" style="--least: {least}">{made}</div>' if made else ""


def png(ax: Axes, dpi: int) -> str:
    """Return the figure of these axes as a PNG image in base64, and close it."""
    image = io.BytesIO()
    drawn: Any = ax.figure
    drawn.savefig(image, dpi=dpi, bbox_inches="tight", format="png")
    plt.close(drawn)
    return base64.b64encode(image.getvalue()).decode()
