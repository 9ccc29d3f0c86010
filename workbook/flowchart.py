"""Boxes and arrows: what goes into what in a method. Places are in columns from the left and rows from the top."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from workbook import figures

WIDTH, HEIGHT = 1.22, 0.72  # inches from one column or row to the next: seven columns fill a page
COMPUTES, HANDS_ON = "#cfe3f2", "#eeeeee"  # a stage with a shape, and one without


class Box(NamedTuple):
    """A stage: what it is (lines of at most 18 letters), the shape of what it puts out, and its place."""

    text: str
    shape: str
    column: float
    row: float


def flowchart(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str]], title: str = "") -> Figure:
    """Boxes by name, and arrows from one name to another, straight from edge to edge. Raises KeyError for no box."""
    columns, rows = (1 + max(place) for place in zip(*((b.column, b.row) for b in boxes.values()), strict=True))
    figure = figures.blank(WIDTH * columns, HEIGHT * rows + 0.3 * bool(title))
    ax = figure.subplots()
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
    patches = {}
    for name, box in boxes.items():
        x, y = box.column, box.row
        patches[name] = ax.add_patch(FancyBboxPatch(
            (x - 0.41, y - 0.33), 0.82, 0.66, boxstyle="round,pad=0,rounding_size=0.06", edgecolor="#444",
            facecolor=COMPUTES if box.shape else HANDS_ON, linewidth=0.6, mutation_aspect=WIDTH / HEIGHT, zorder=2))
        ax.text(x, y - 0.1 * bool(box.shape), box.text, ha="center", va="center", fontsize=8, linespacing=0.95)
        ax.text(x, y + 0.21, box.shape, ha="center", va="center", fontsize=8, color="#555")
    for start, end in arrows:
        (x0, y0), (x1, y1) = ((boxes[name].column, boxes[name].row) for name in (start, end))
        ax.annotate("", (x1, y1), (x0, y0), zorder=1, arrowprops={
            "arrowstyle": "-|>", "color": "#444", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
            "patchA": patches[start], "patchB": patches[end]})
    return figure


def pipeline(stages: Sequence[tuple[str, str]], title: str = "", per_row: int = 7) -> Figure:
    """Stages one after the other, row by row: (what it is, the shape of what it puts out) for each."""
    boxes = {str(n): Box(text, shape, n % per_row, n // per_row) for n, (text, shape) in enumerate(stages)}
    arrows = [(one, other) for one, other in pairwise(boxes) if boxes[one].row == boxes[other].row]
    return flowchart(boxes, arrows, title)
