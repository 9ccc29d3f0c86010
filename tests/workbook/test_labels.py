"""Labels: beside their points and lines, off whatever else is drawn, the same each time."""
from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from tadlib.settings import ROOT
from workbook import figures

CROWDED = pd.DataFrame({"x": [1, 1.1, 1.2, 9, 1.15], "y": [20.0, 20.0, 20.1, 30.0, 20.05], "run": list("abcde")})


def boxes(ax: Axes) -> dict:
    ax.get_figure().draw_without_rendering()
    return {t.get_text(): Text.get_window_extent(t) for t in ax.texts}


def test_every_point_has_its_label_beside_it_and_no_two_labels_overlap():
    ax = figures.points(CROWDED, "x", "y", "run", "steps", "dB").axes[0]
    found = boxes(ax)
    assert list(found) == list("abcde")
    assert not any(one.overlaps(other) for one, other in itertools.combinations(found.values(), 2))
    for x, y, name in CROWDED.itertuples(index=False):
        near = ax.transData.transform((x, y))
        assert not found[name].contains(*near) and np.abs(found[name].get_points() - near).max() < 90
    again = figures.points(CROWDED, "x", "y", "run", "steps", "dB").axes[0]  # else git would see a new picture
    boxes(again)
    assert [t.get_position() for t in again.texts] == [t.get_position() for t in ax.texts]


def inside(ax: Axes, box: Bbox, x: list[float], y: list[float]) -> bool:
    """Does a straight line from one point of the axes to another go through the box?"""
    return any(box.contains(*point) for point in ax.transData.transform(np.linspace(*zip(x, y, strict=True), 300)))


def test_a_name_steps_aside_for_a_line_that_comes_into_the_axes_later():
    ax = figures.points(CROWDED, "x", "y", "run", "steps", "dB").axes[0]
    middle = boxes(ax)["a"]
    (left, y), (right, _) = ax.transData.inverted().transform([(middle.x0, middle.y0 + middle.height / 2),
                                                               (middle.x1, middle.y1)])
    ax.plot([left, right], [y, y], scalex=False, scaley=False)
    assert inside(ax, middle, [left, right], [y, y]) and not inside(ax, boxes(ax)["a"], [left, right], [y, y])


def test_a_name_does_not_stand_beside_the_error_bar_of_another():
    def drawn(x: float) -> Axes:
        ax = figures.blank(3.75, 4).subplots()
        ax.set(xlim=(0, 10), ylim=(0, 10))
        rows = pd.DataFrame({"x": [9, x], "y": [5, 3], "run": ["a_name_that_is_long", "b"], "low": [np.nan, 3],
                             "high": [np.nan, 8]})
        figures.label_points(ax, rows, "x", "y", "run", ("low", "high"))
        return ax

    ax = drawn(1)
    name = boxes(ax)["a_name_that_is_long"]
    near = ax.transData.inverted().transform((name.x0 - 3, 0))[0]
    assert inside(ax, name.padded(5), [near] * 2, [3, 8])  # where the other's bar is to stand now
    ax = drawn(near)
    assert not inside(ax, boxes(ax)["a_name_that_is_long"].padded(5), [near] * 2, [3, 8])


@pytest.mark.parametrize("name", ["fig17", "kink"])
def test_in_the_crowded_figures_no_label_lies_on_a_point_a_line_or_another(name):
    rows = pd.read_csv(ROOT / "results" / "cpu" / "tables" / f"{name}.csv")
    if name == "kink":
        rows = rows[rows["slr"] < 60].assign(label=lambda r: r["term"] + " " + r["weight"].astype(str))
        axes = figures.fronts(rows, "slr", "shr", "term", "label", "", "").axes
    else:
        axes = [figures.points(one, "params", "psnr_rgb", "run", "", "", bars=("low", "high")).axes[0]
                for _, one in rows.groupby("set")]
    for ax in axes:
        found = list(boxes(ax).values())
        assert not any(one.overlaps(other) for one, other in itertools.combinations(found, 2))
        at = [point for line in ax.lines for point in ax.transData.transform(line.get_xydata())]
        assert not any(box.contains(*point) for box in found for point in at)
        frame = ax.get_window_extent()
        assert all(frame.contains(*corner) for box in found for corner in box.get_points())


def test_the_names_of_lines_stand_at_their_ends_in_their_order_and_colour():
    rows = pd.DataFrame({"step": [1, 2] * 3, "dB": [1, 5.0, 1, 5.01, 1, 9],
                         "run": np.repeat(["aetad", "tool_x4", "robust"], 2)})
    ax = figures.curves(rows, "step", "dB", "run", "step", "dB").axes[0]
    found = boxes(ax)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(found.values(), 2))
    assert found["aetad"].y0 < found["tool_x4"].y0 < found["robust"].y0
    assert all(box.x0 > ax.get_window_extent().x1 for box in found.values())
    assert [t.get_color() for t in ax.texts] == [line.get_color() for line in ax.lines]
    assert ax.get_legend() is None


def test_a_line_that_goes_backwards_is_named_at_its_right_end_and_one_without_points_not_at_all():
    figure = figures.blank(6, 3)
    ax = figure.subplots()
    ax.plot([3, 2, 1], [1, 2, 9], label="back")
    ax.plot([float("nan")] * 2, [1, 2], label="unknown")
    figures.label_ends(ax)
    text, = ax.texts
    assert text.get_text() == "back"
    assert text.xy == pytest.approx(tuple(ax.transAxes.inverted().transform(ax.transData.transform((3, 1)))), abs=0.02)
