"""Figures: labels beside their points, files that change only where they look different, drawings of networks."""
from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tadlib import networks
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.settings import ROOT
from workbook import figures, tables

# ------------------------------------------------------------------------------------------------------- points

def test_every_point_has_its_label_and_no_two_labels_overlap():
    rows = pd.DataFrame({"x": [1, 1.1, 1.2, 9], "y": [20.0, 20.0, 20.1, 30.0], "run": ["a", "b", "c", "d"]})
    figure = figures.points(rows, "x", "y", "run", "steps", "dB")
    figure.draw_without_rendering()
    ax = figure.axes[0]
    boxes = {t.get_text(): t.get_window_extent() for t in ax.texts if t.get_text()}
    assert sorted(boxes) == ["a", "b", "c", "d"]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes.values(), 2))
    for x, y, name in rows.itertuples(index=False):  # beside its point, and not on it
        near = ax.transData.transform((x, y))
        assert not boxes[name].contains(*near) and abs(boxes[name].get_points() - near).max() < 60
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", "dB")
    again = figures.points(rows, "x", "y", "run", "steps", "dB").axes[0]  # else git would see a new picture each time
    assert [t.get_position() for t in again.texts] == [t.get_position() for t in ax.texts]


def test_bars_are_as_long_as_told_and_none_where_unknown():
    rows = pd.DataFrame({"x": [1, 2], "y": [5.0, 6.0], "run": ["a", "b"], "low": [4.9, float("nan")],
                         "high": [5.5, float("nan")]})
    bars, = figures.points(rows, "x", "y", "run", "", "", bars=("low", "high")).axes[0].collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([4.9, 5.5]), [6, 6]]


# ------------------------------------------------------------------------------------------------------- files

def test_a_photograph_is_shown_as_jpeg_and_a_plot_as_png(own_results):
    figure = Figure(figsize=(5, 5))
    figures.picture(figure.add_axes((0, 0, 1, 1)), sets.load("Sample")["astronaut"])
    assert figures.show(figure, "photo", "smoke").format == "jpeg"
    figure = Figure(figsize=(3, 3))
    figure.subplots().plot([1, 2])
    assert figures.show(figure, "plot", "smoke").format == "png"


def test_a_figure_that_looks_the_same_is_left_alone(own_results):
    def draw(height):
        figure = Figure(figsize=(2, 2))
        figure.subplots().bar([0], [height])
        return figures.save(figure, "bar", "cpu")

    path = draw(1.0)
    stamp = path.stat().st_mtime_ns
    draw(1.0)
    assert path.stat().st_mtime_ns == stamp
    before = path.read_bytes()
    figure = Figure(figsize=(3, 2))
    figure.subplots()
    figures.save(figure, "bar", "cpu")
    assert path.read_bytes() != before
    assert [p.name for p in path.parent.iterdir()] == ["bar.png"]


def test_a_figure_that_turns_from_a_plot_into_a_photograph_leaves_one_file(own_results):
    figure = Figure(figsize=(3, 3))
    figure.subplots().plot([1, 2])
    assert figures.save(figure, "one", "smoke").suffix == ".png"
    figure = Figure(figsize=(5, 5))
    figures.picture(figure.add_axes((0, 0, 1, 1)), sets.load("Sample")["astronaut"])
    path = figures.save(figure, "one", "smoke")
    assert path.suffix == ".jpg" and list(path.parent.iterdir()) == [path]


def test_an_animation_has_every_frame_of_every_panel(own_results, photo):
    clip = torch.stack([photo[:, :40, n : n + 60] for n in range(0, 10, 2)])
    path = figures.animate({"a": clip, "b": 255 - clip}, "moving", "smoke", times=1)
    assert path == own_results / "smoke" / "figures" / "moving.webp"
    with Image.open(path) as picture:
        assert picture.n_frames == 5 and picture.width >= 120 and picture.height >= 40
        first = np.asarray(picture.convert("RGB"), dtype=float)
    inside = first[-40:, 4:64].transpose(2, 0, 1)
    assert np.abs(inside - clip[0].numpy()).mean() < 12  # lossy, but the picture
    stamp, data = path.stat().st_mtime_ns, path.read_bytes()
    assert figures.animate({"a": clip, "b": 255 - clip}, "moving", "smoke", times=1).read_bytes() == data
    assert path.stat().st_mtime_ns == stamp


def test_what_another_notebook_has_not_made_yet_is_told(own_results):
    for ask in (tables.made, figures.drawn):
        with pytest.raises(BadInput, match="run the notebook that"):
            ask("fig99", "cpu")


def test_a_drawn_figure_is_shown_from_where_the_notebooks_are(own_results):
    figure = Figure()
    figure.subplots()
    path = figures.save(figure, "fig99", "cpu")
    link = re.fullmatch(r"!\[fig99\]\((.*)\)", figures.drawn("fig99", "cpu").data)[1]
    assert (ROOT / "notebooks" / link).resolve() == path.resolve()


# ------------------------------------------------------------------------------------------------------- drawings

def test_a_pipeline_names_every_stage():
    figure = figures.pipeline([(f"stage {n}", f"{n}x{n}") for n in range(9)], "all", per_row=4)
    texts = {t.get_text() for t in figure.axes[0].texts}
    assert {f"stage {n}" for n in range(9)} | {f"{n}x{n}" for n in range(9)} <= texts


MADE_OF_WORDS = [s.name for s in networks.ZOO.values() if s.decoder and not str(s.head).startswith("vsr")]


@pytest.mark.parametrize("name", MADE_OF_WORDS)
def test_every_network_that_is_made_of_words_can_be_drawn(name):
    figure = figures.diagram(networks.spec(name))
    texts = {t.get_text() for ax in figure.axes for t in ax.texts}
    assert f"decoder\n{'enlarged Y' if name == 'vdsr' else 'SLR'} in" in texts


# ------------------------------------------------------------------------------------------------------- the theme

FRESH = """
import importlib, matplotlib, pkgutil, workbook
before = dict(matplotlib.rcParams)
for module in pkgutil.walk_packages(workbook.__path__, "workbook."):
    importlib.import_module(module.name)
changed = {k: (v, matplotlib.rcParams[k]) for k, v in before.items() if matplotlib.rcParams[k] != v}
assert not changed, changed

from workbook import figures
figure = figures.blank(3, 2)
figure.subplots().plot([1, 2, 4])
print(figures.save(figure, "fresh", "smoke"))
assert dict(matplotlib.rcParams) != before
"""


def test_to_import_the_workbook_sets_nothing_and_a_figure_is_in_the_theme(own_results):
    """A fresh process draws what this one does, whatever it has drawn before."""
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figure = figures.blank(3, 2)
    figure.subplots().plot([1, 2, 4])
    assert Path(done.stdout.strip()).read_bytes() == figures.save(figure, "here", "smoke").read_bytes()
