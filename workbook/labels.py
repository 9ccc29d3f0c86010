"""Names beside points and at the ends of lines, in their colours: nothing to look up in a legend.

All places are found in pixels of the drawn axes, and follow from what is drawn there alone.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from numpy.typing import NDArray

Floats = NDArray[np.floating]
_ANGLES = np.radians([20, -20, 90, -90, 160, 200, 45, -45, 135, 225, 0, 180, 65, -65, 115, 245])
_DISTANCES = np.array([8.0, 13, 20, 30, 42, 56, 72])  # pixels from a point to the edge of its label
_NEAR = 13  # pixels: up to there no line is needed
_STEP = 3  # pixels between the samples of what is in the way


def beside(ax: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str], colours: Sequence[str],
           size: float) -> None:
    """Write a name beside each point, off the points, the lines and the other names; a thin line leads to a far one.

    Call it when all else is in the axes. `size` of the text in points.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None  # the axes are of one
    texts = [ax.annotate(name, (a, b), (0, 0), textcoords="offset points", color=c, fontsize=size, ha="center",
                         va="center", arrowprops={"arrowstyle": "-", "color": c, "linewidth": 0.6, "shrinkA": 1,
                                                  "shrinkB": 3})
             for name, a, b, c in zip(names, x, y, colours, strict=True)]
    figure.draw_without_rendering()  # else nothing has a place yet
    at = ax.transData.transform(np.column_stack([x, y]))
    extents = [Text.get_window_extent(text) for text in texts]  # without the line
    half = np.array([(e.width / 2 + 1, e.height / 2) for e in extents])
    busy, frame = _busy(ax, at), ax.get_window_extent().get_points() + np.array([[2], [-2]])
    towards = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
    side = (1.5 * towards).clip(-1, 1)  # the text ends at the point's side, wherever it is not just above or below
    centres, away = at.copy(), np.zeros(len(texts))
    for _ in range(3):  # each finds its best place with the others where they are now
        for n in range(len(texts)):
            others = np.arange(len(texts)) != n
            tried = (at[n] + towards * _DISTANCES[:, None, None] + side * half[n]).reshape(-1, 2)  # places x 2
            cost = np.add.outer(_DISTANCES, 0.3 * np.arange(len(_ANGLES))).ravel()
            cost += 25 * _inside(busy, tried, half[n]).sum(1)
            cost += 200 * (_inside(centres[others], tried, half[others] + half[n])).sum(1)
            cost += 500 * ((tried - half[n] < frame[0]) | (tried + half[n] > frame[1])).any(1)
            cost += 15 * _inside(at[others], tried, half[n] + 7).sum(1)  # it would seem to be another's name
            way = at[n] + np.linspace(0.1, 1, 10)[:, None, None] * (tried - at[n])  # the line to the name
            cost += 25 * (np.abs(way[:, :, None] - centres[others]) < half[others]).all(3).any(0).sum(1)
            cost += 25 * (np.abs(way[:6, :, None] - at[others]) < 5).all(3).any(0).sum(1) * (cost > _NEAR)
            best = int(cost.argmin())
            centres[n], away[n] = tried[best], _DISTANCES[best // len(_ANGLES)]
    for text, place, centre, d in zip(texts, at, centres, away, strict=True):
        text.set_position(tuple((centre - place) * 72 / figure.dpi))
        text.set_in_layout(False)
        if d <= _NEAR and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)


def _inside(points: Floats, centres: Floats, half: Floats) -> NDArray[np.bool_]:
    """Which points (n) lie in which boxes (m), given by their centres and half their sizes: (m, n)."""
    return np.logical_and.reduce(np.abs(points - centres[:, None]) < half, 2)


def _busy(ax: Axes, at: Floats) -> Floats:
    """Pixels where something is drawn: lines, error bars and points, a sample every _STEP pixels."""
    paths = [line.get_transform().transform(np.asarray(line.get_xydata())) for line in ax.lines
             if line.get_linestyle() != "None"]
    for bars in (c for c in ax.collections if isinstance(c, LineCollection)):
        paths += [ax.transData.transform(segment) for segment in bars.get_segments()]
    samples = [at + np.array(aside) for aside in itertools.product((-4, 0, 4), repeat=2)]
    for path in paths:
        for one, other in itertools.pairwise(path):
            samples.append(np.linspace(one, other, 2 + int(np.hypot(*(other - one)) / _STEP)))
    return np.concatenate(samples)


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
