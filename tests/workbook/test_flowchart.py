"""Boxes and arrows: each box says what it is, each arrow goes from edge to edge of its two."""
from __future__ import annotations

import pytest
from matplotlib.text import Annotation

from workbook.flowchart import Box, flowchart

PLAN = {"a": Box("frames", "3x8x8", 0, 0.5), "b": Box("net", "", 1, 0), "c": Box("loss", "one number", 2, 1)}


def test_a_flowchart_has_a_box_a_stage_and_an_arrow_a_pair():
    figure = flowchart(PLAN, [("a", "b"), ("b", "c"), ("a", "c")], "all")
    (ax,) = figure.axes
    texts = [t.get_text() for t in ax.texts]
    assert {"frames", "3x8x8", "net", "loss", "one number"} <= set(texts) and ax.get_title() == "all"
    arrows = [t for t in ax.texts if isinstance(t, Annotation)]
    assert [(tuple(t.xyann), tuple(t.xy)) for t in arrows] == [((0, 0.5), (1, 0)), ((1, 0), (2, 1)), ((0, 0.5), (2, 1))]


def test_a_box_lies_where_the_plan_says_and_none_touches_another():
    figure = flowchart(PLAN | {"d": Box("below", "x", 1, 1)}, [])
    figure.draw_without_rendering()
    places = [patch.get_window_extent() for patch in figure.axes[0].patches]
    assert len(places) == 4
    assert places[0].x1 < places[1].x0 < places[2].x0 and places[1].y0 > places[3].y1  # rows count from the top
    assert not any(one.overlaps(other) for n, one in enumerate(places) for other in places[:n])


def test_an_arrow_to_nowhere_is_told():
    with pytest.raises(KeyError):
        flowchart(PLAN, [("a", "z")])
