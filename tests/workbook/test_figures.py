"""Figures: points and lines in the colours of their families, text that can be read, drawings of networks."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from tadlib import networks
from tadlib.settings import ROOT
from workbook import figures, flowchart, palette, pictures, refined
from workbook.refinement import EQUAL

# ------------------------------------------------------------------------------------------------------- points

def test_bars_are_as_long_as_told_and_there_is_none_where_nothing_is_known():
    rows = pd.DataFrame({"x": [1, 2], "y": [5.0, 6.0], "run": ["a", "b"], "low": [4.9, float("nan")],
                         "high": [5.5, float("nan")]})
    ax = figures.points(rows, "x", "y", "run", "steps", "dB", bars=("low", "high")).axes[0]
    ends = [segment[:, 1].tolist() for bars in ax.collections for segment in bars.get_segments()]
    assert ends == [pytest.approx([4.9, 5.5])]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", "dB")


def test_points_and_names_have_the_colour_of_their_family():
    rows = pd.DataFrame({"x": [1, 2], "y": [5.0, 6.0], "run": ["tool_x4", "bicubic"], "label": ["ours", "floor"]})
    for name in ("run", "label"):
        ax = figures.points(rows, "x", "y", name, "", "").axes[0]
        wanted = [palette.FAMILIES["own"], palette.FAMILIES["ordinary"]]
        assert [t.get_color() for t in ax.texts] == wanted == [line.get_color() for line in ax.lines]


def test_the_points_of_a_front_have_the_colour_of_its_line():
    rows = pd.DataFrame({"x": [1.0, 2, 1, 2], "y": [1.0, 2, 3, 4], "set": "s", "label": list("abcd"),
                         "term": ["L1", "L1", "ball 0.1", "ball 0.1"]})
    ax = figures.fronts(rows, "x", "y", "term", "label", "", "").axes[0]
    for one in (ax.lines, ax.texts):
        assert {line.get_color() for line in one} == {palette.TERMS["L1"], palette.TERMS["ball"]}


def test_refinement_is_drawn_in_the_colour_of_its_run_s_family():
    means = pd.DataFrame([{"model": "tool_x4", "set": name, "channel": "8bit", "met": "8bit", "steps": steps,
                           "likeness": likeness, "slr_rgb": 36.0 + n, "psnr_y": 35.0, "psnr_rgb": 31.0}
                          for n, likeness in enumerate(("0", "1", EQUAL)) for steps in (3, 10)
                          for name in ("Set5", "held-out crops")])
    history = pd.DataFrame({"step": [100, 1000], "held_out_shr": [29.0, 31.0]})
    small = {name: torch.full((3, 16, 16), 99 + n, dtype=torch.uint8) for n, name in enumerate("abc")}
    for figure, lines in ((refined.front(means, "tool_x4", "Set5"), 2), (refined.spectra(small), 2),
                          (refined.training_or_refining(history, means, "tool_x4"), 1)):
        found = figure.axes[0].lines[:lines]
        assert {line.get_color() for line in found} == {palette.FAMILIES["own"]}
        assert len({line.get_linestyle() for line in found}) == lines


# ------------------------------------------------------------------------------------------------------- text

def smallest(figure: Figure) -> float:
    """The points of the smallest text where a README shows the figure (830 CSS pixels, 96 to an inch)."""
    figure.draw_without_rendering()
    sizes = [float(t.get_fontsize()) for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    pixels = figures.DPI * figure.get_figwidth()
    return min(sizes) * figures.DPI / 96 * min(1, figures.WIDTH / pixels)


@pytest.mark.parametrize("width", [3, 7.5, 10.5, 14])
def test_no_text_of_a_saved_figure_is_smaller_than_eight_points_in_a_readme(own_results, width):
    figure = figures.blank(width, 3)
    ax = figure.subplots()
    ax.plot([1, 1000], label="small")
    ax.set_title("tiny", fontsize=4)
    ax.set(xscale="log")
    ax.legend(fontsize=5)
    ax.tick_params(labelsize=3)
    assert smallest(figure) < 8
    pictures.save(figure, "one", "smoke", "")
    assert smallest(figure) == pytest.approx(8, abs=0.01)


def test_what_is_drawn_here_needs_no_enlarging():
    card = pd.DataFrame({"happened": ["nothing", "JPEG"] * 2, "run": ["bicubic"] * 2 + ["robust"] * 2,
                         "psnr_rgb": [24.0, 23, 28, 27]})
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    for figure in (figures.diagram(networks.spec("vdsr")), figures.heat(card, ["bicubic", "robust"], "card"),
                   figures.comparison({f"picture {n}\n30.00 dB": image for n in range(6)}, (0, 0, 8), "look")):
        assert smallest(figure) >= 7.99


# ------------------------------------------------------------------------------------------------------- drawings

def test_a_pipeline_names_every_stage():
    figure = flowchart.pipeline([(f"stage {n}", f"{n}x{n}") for n in range(9)], "all", per_row=4)
    texts = {t.get_text() for t in figure.axes[0].texts}
    assert {f"stage {n}" for n in range(9)} | {f"{n}x{n}" for n in range(9)} <= texts


MADE_OF_WORDS = [s.name for s in networks.ZOO.values() if s.decoder and not str(s.head).startswith("vsr")]


@pytest.mark.parametrize("name", MADE_OF_WORDS)
def test_every_network_that_is_made_of_words_can_be_drawn(name):
    figure = figures.diagram(networks.spec(name))
    texts = {t.get_text() for ax in figure.axes for t in ax.texts}
    seen = {"vdsr": "enlarged Y", "cic_color": "Y", "no_tad_color": "Y"}.get(name, "grey" if "color" in name else "SLR")
    assert f"decoder\n{seen} in" in texts
    assert len(figure.axes) <= 2  # a line for each half


@pytest.mark.parametrize(("name", "words"), [
    ("aetad", "one step of factor 2"), ("vdsr", "works at the large size"), ("aetad_color", "works at the large size"),
    ("cic_color", "works at 1/4 of the large size"), ("tool_color", "works at 1/2 of the large size")])
def test_a_drawing_says_at_which_size_a_network_works(name, words):
    assert figures.diagram(networks.spec(name)).get_suptitle().startswith(f"{name}: {words};")


def test_what_a_long_chain_repeats_is_drawn_once():
    texts = [[t.get_text() for t in ax.texts] for ax in figures.diagram(networks.spec("vdsr")).axes]
    blocks = [t for t in texts[0] if t.startswith(("conv", "ReLU"))]
    assert blocks == ["conv 3x3, 64", "ReLU", "conv 3x3, 1"] and "19 times" in texts[0]
    encoder, decoder = ([t.get_text() for t in ax.texts] for ax in figures.diagram(networks.spec("tool_x4")).axes)
    assert decoder.count("resblock") == 1 and "12 times" in decoder
    assert encoder.count("resblock") == 4 and not any("times" in t for t in encoder)


# ------------------------------------------------------------------------------------------------------- the theme

FRESH = """
import importlib, matplotlib, pkgutil, workbook
before = dict(matplotlib.rcParams)
for module in pkgutil.walk_packages(workbook.__path__, "workbook."):
    importlib.import_module(module.name)
changed = {k: (v, matplotlib.rcParams[k]) for k, v in before.items() if matplotlib.rcParams[k] != v}
assert not changed, changed

from workbook import figures, pictures
figure = figures.blank(3, 2)
figure.subplots().plot([1, 2, 4])
print(pictures.save(figure, "fresh", "smoke", ""))
assert dict(matplotlib.rcParams) != before
"""


def test_to_import_the_workbook_sets_nothing_and_a_figure_is_in_the_theme(own_results):
    """A fresh process draws what this one does, whatever it has drawn before."""
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figure = figures.blank(3, 2)
    figure.subplots().plot([1, 2, 4])
    assert Path(done.stdout.strip()).read_bytes() == pictures.save(figure, "here", "smoke", "").read_bytes()
