"""Draws docs/pairs.png, the picture in performance.md: `python docs/draw_pairs.py`."""

from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

EVENTS = (5, 3, 7)
BLUE, ORANGE, GREY, DARK = "#0072B2", "#E69F00", "#d9d9d9", "#444444"


def box(ax: Axes, x: float, y: float, width: float, height: float, colour: str, line: float = 0.6) -> None:
    """Draw a rectangle."""
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="white", linewidth=line))


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=DARK, linewidth=1.2))


def pairs(ax: Axes, x: float) -> None:
    """Draw the pairs of three events: a row per receiver, a column per sender."""
    first = 0
    for n in EVENTS:
        for i in range(n):
            for j in range(n):
                if i != j:
                    box(ax, x + first + j, first + i, 1, 1, GREY)
        first += n


def main() -> None:
    """Draw both ways side by side."""
    total = sum(EVENTS)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(35, 24))

    pairs(left, 0)
    for k, name in enumerate(("$x_i, x_j$", "layer 1", "act.", "layer 2", "act.")):
        x = total + 3.2 + 3.3 * k
        for row in range(62):
            box(left, x, row * total / 62, 1.7, total / 62, ORANGE, 0.15)
        left.text(x + 0.85, total + 0.5, name, ha="center", va="top", fontsize=8.5)
    arrow(left, (total + 0.4, total / 2), (total + 2.8, total / 2))
    left.set_title("A list of edges: every layer of every pair\ngoes to memory and comes back", fontsize=10.5)
    left.set_xlim(-1.6, total + 18.4)

    pairs(right, 0)
    first, start = EVENTS[0] + EVENTS[1], EVENTS[0] + EVENTS[1] + 2
    for i in range(2):
        for j in range(EVENTS[2]):
            if j != i + 2:
                box(right, first + j, start + i, 1, 1, BLUE)
    for particle in range(total):
        box(right, total + 4.4, particle, 1.6, 1, BLUE if start <= particle < start + 2 else GREY)
    arrow(right, (total + 0.4, start + 1), (total + 4.0, start + 1))
    right.text(total + 2.1, start + 0.4, "$\\Sigma_j$", ha="center", va="bottom", fontsize=11)
    right.text(total + 5.2, total + 0.5, "sums per\nparticle", ha="center", va="top", fontsize=8.5)
    right.text(5.6, 2.2, "a tile of pairs: all its layers\nrun in cache", fontsize=8.5, color=BLUE, va="center")
    right.set_title("lumigraph: tile by tile, and only\nsums are written", fontsize=10.5)
    right.set_xlim(-1.6, total + 7.4)

    for ax in (left, right):
        ax.set_ylim(total + 2.6, -0.6)
        ax.set_aspect("equal")
        ax.axis("off")
        ax.text(total / 2, total + 0.5, "senders $j$ of three events", ha="center", va="top", fontsize=8.5)
        ax.text(-0.5, total / 2, "receivers $i$", ha="right", va="center", rotation=90, fontsize=8.5)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("pairs.png"), dpi=150)


if __name__ == "__main__":
    main()
