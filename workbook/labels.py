"""Names beside points and at the ends of lines, in their colours: nothing to look up in a legend.

All places are found in the drawn axes, and follow from what is drawn there alone.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation, Text
from numpy.typing import NDArray

Floats = NDArray[np.floating]
_ANGLES = np.radians([20, -20, 90, -90, 160, 200, 45, -45, 135, 225, 0, 180, 65, -65, 115, 245, 75, -75, 105, 255])
# in hundredths of an inch, as all that is beside points
_DISTANCES = np.array([8.0, 13, 20, 30, 42, 56, 72])  # from a point to the edge of its label
_NEAR = 13  # up to there no line is needed
_STEP = 3  # between the samples of what is in the way


def beside(ax: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str], colours: Sequence[str],
           size: float) -> None:
    """Write a name beside each point, off the points, the lines and the other names; a thin line leads to a far one.

    `size` of the text in points. Whatever comes into the axes later is heeded, too.
    """
    ax.add_artist(_Places(list(zip(x, y, strict=True)), [
        ax.annotate(name, (a, b), (0, 0), textcoords="offset points", color=c, fontsize=size, ha="center", va="center",
                    in_layout=False, arrowprops={"arrowstyle": "-", "color": c, "linewidth": 0.6, "shrinkA": 1,
                                                 "shrinkB": 3})
        for name, a, b, c in zip(names, x, y, colours, strict=True)]))


class _Places(Artist):
    """Finds the places of names whenever their axes are drawn: before that nothing is where it will be seen."""

    def __init__(self, points: Sequence[tuple[float, float]], texts: Sequence[Annotation]) -> None:
        super().__init__()
        self.points, self.texts = points, texts
        self.set_in_layout(False)

    def draw(self, renderer: RendererBase) -> None:
        """Move the names; they are drawn after this, since their zorder is higher."""
        ax, figure = self.axes, self.get_figure(root=True)
        assert ax is not None and figure is not None  # it is in axes, and they are of a figure
        unit = figure.dpi / 100  # pixels
        at = ax.transData.transform(self.points) / unit
        extents = [Text.get_window_extent(text, renderer) for text in self.texts]  # without the line
        half = np.array([(e.width / 2, e.height / 2) for e in extents]) / unit + (1, 0)
        frame = ax.get_window_extent().get_points() / unit + ((2,), (-2,))
        bars = [ax.transData.transform(segment) / unit for c in ax.collections if isinstance(c, LineCollection)
                for segment in c.get_segments()]
        lines = [line.get_transform().transform(np.asarray(line.get_xydata())) / unit for line in ax.lines
                 if line.get_linestyle() != "None"]
        centres, away = _found(at, half, _samples(lines), _samples(bars), frame)
        for text, place, centre, d in zip(self.texts, at, centres, away, strict=True):
            text.set_position(tuple((centre - place) * 0.72))  # in points
            assert text.arrow_patch is not None
            text.arrow_patch.set_visible(d > _NEAR)


def _found(at: Floats, half: Floats, lines: Floats, bars: Floats, frame: Floats) -> tuple[Floats, Floats]:
    """Centres of the names of points, and how far each is away, by half the sizes of the names.

    `lines` and `bars` are samples of what is drawn, `frame` the corners of what the names stay within.
    """
    busy = np.concatenate([lines, bars, *(at + np.array(step) for step in itertools.product((-4, 0, 4), repeat=2))])
    towards = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
    side = (1.5 * towards).clip(-1, 1)  # the text ends at the point's side, wherever it is not just above or below
    others, each = ~np.eye(len(at), dtype=bool), list(range(len(at)))
    places = at[:, None, None] + towards * _DISTANCES[:, None, None] + side * half[:, None, None]
    places = places.reshape(len(at), -1, 2)  # names x places x 2
    ways = at[:, None, None] + np.linspace(0.1, 1, 10)[:, None, None] * (places - at[:, None])[:, None]  # the lines
    away = np.repeat(_DISTANCES, len(_ANGLES))
    costs = np.tile(away + np.tile(0.3 * np.arange(len(_ANGLES)), len(_DISTANCES)), (len(at), 1))
    for n, tried, cost in zip(each, places, costs, strict=True):  # whatever the other names do
        cost += 25 * _inside(busy, tried, half[n]).sum(1)
        cost += 500 * ((tried - half[n] < frame[0]) | (tried + half[n] > frame[1])).any(1)
        for near, margin in ((at[others[n]], 10), (bars, 7)):  # it would seem to be another's name
            cost += 15 * _inside(near, tried, half[n] + margin).sum(1)
        cost += 25 * (np.abs(ways[n, :6, :, None] - at[others[n]]) < 5).all(3).any(0).sum(1) * (away > _NEAR)

    def settled(first: int) -> tuple[float, list[int]]:
        """What it costs, and which places are taken, where this name chooses first, and each three times."""
        centres, paid, taken = at.copy(), [0.0] * len(at), [0] * len(at)
        for n in 3 * [*each[first:], *each[:first]]:
            theirs, size = centres[others[n]], half[others[n]]
            cost = costs[n] + 200 * _inside(theirs, places[n], size + half[n]).sum(1)
            cost += 25 * (np.abs(ways[n, :, :, None] - theirs) < size).all(3).any(0).sum(1)
            taken[n] = int(cost.argmin())
            centres[n], paid[n] = places[n, taken[n]], cost[taken[n]]
        return sum(paid), taken

    _, taken = min(map(settled, each))
    return places[each, taken], away[taken]


def _inside(points: Floats, centres: Floats, half: Floats) -> NDArray[np.bool_]:
    """Which points (n) lie in which boxes (m), given by their centres and half their sizes: (m, n)."""
    return np.logical_and.reduce(np.abs(points - centres[:, None]) < half, 2)


def _samples(paths: Sequence[Floats]) -> Floats:
    """What paths go through, a point every _STEP: (n, 2)."""
    pairs = [pair for path in paths for pair in itertools.pairwise(path)]
    return np.concatenate([np.empty((0, 2)), *(np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / _STEP))
                                               for a, b in pairs)])


def ends(ax: Axes, size: float) -> None:
    """Write the label of each line of axes beside its right end, in its colour; what lies too close moves apart.

    Call it last: room is made at the right. `size` of the text in points.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    lines = [line for line in lines if np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all(1).any()]
    figure.draw_without_rendering()
    frame = ax.get_window_extent()
    paths = [np.asarray(line.get_xydata(), dtype=float) for line in lines]
    paths = [path[np.isfinite(path).all(1)] for path in paths]
    tips = np.array([ax.transData.transform(path[path[:, 0].argmax()]) for path in paths]).reshape(-1, 2)
    order = np.argsort(tips[:, 1], kind="stable")
    places, step = tips[order, 1], 1.25 * size * figure.dpi / 72
    for _ in range(500):  # push neighbours apart until all have room
        gaps = np.diff(places) - step
        if (gaps > -0.01).all():
            break
        for n in np.flatnonzero(gaps < 0):
            places[n] += gaps[n] / 2
            places[n + 1] -= gaps[n] / 2
    for n, place in zip(order, places, strict=True):
        colour = lines[n].get_color()
        tip = (tips[n] - frame.min) / (frame.width, frame.height)
        ax.annotate(str(lines[n].get_label()), tuple(tip), (1.04, (place - frame.y0) / frame.height), "axes fraction",
                    "axes fraction", color=colour, fontsize=size, va="center", annotation_clip=False,
                    arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3,
                                "relpos": (0, 0.5)})
