"""Sliders without a kernel: all states in one picture, drawn once, readable without scripts, and what is said is so."""
from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from tadlib.data import sets
from tadlib.evaluation.metrics import psnr
from tadlib.pixels import from_array
from workbook.site import drag, sliders


@pytest.fixture
def slider(tmp_path, monkeypatch):
    """A slider "mine" of two rows and three columns, beside a still picture."""
    def flat(value):
        return torch.full((3, 4, 4), value, dtype=torch.uint8)

    made = []

    def make():
        made.append(1)
        moved = sliders.Panel("made of it", [[flat(60 * r + 20 * c) for c in range(3)] for r in range(2)],
                              [[f"{r}{c} dB" for c in range(3)] for r in range(2)], small=True)
        return sliders.Drag("Drag & see", {"\u03b5": ("0", "1"), "\u03c3": ("none", "a little", "much")},
                            [sliders.Panel("original", [[flat(9)]], [["4 x 4"]]), moved], "It moves.")

    monkeypatch.setattr(sliders, "BUILD", tmp_path / "build")
    monkeypatch.setitem(sliders.SLIDERS, "mine", ((), make))
    return made


def test_the_states_of_a_slider_lie_in_one_picture_and_all_is_told_without_scripts(slider, tmp_path):
    soup = BeautifulSoup(drag.section("mine", tmp_path / "pictures"), "html.parser")
    still, moved = soup.select(".panel")
    assert (moved["data-rows"], moved["data-columns"]) == ("2", "3")
    assert moved["data-said"].split("|") == ["00 dB", "01 dB", "02 dB", "10 dB", "11 dB", "12 dB"]
    whole = Image.open(tmp_path / moved.find("img")["src"])
    assert whole.size == (12, 8) and whole.getpixel((9, 5)) == (100, 100, 100)
    assert moved.find("img")["loading"] == "lazy" and moved.find("img")["alt"] == "made of it: 00 dB"
    assert [i["max"] for i in soup.select("input[type=range]")] == ["1", "2"]
    assert soup.select_one(".controls").has_attr("hidden"), "shown by the script, which they need"
    plain = soup.find("noscript")
    assert "from left to right \u03c3: none, a little, much" in plain.get_text() and plain.find("img")["alt"]
    assert [td.get_text() for td in plain.find_all("td")] == moved["data-said"].split("|")
    assert still.find("img")["src"] not in str(plain) and "It moves." in soup.find("figcaption").get_text()


def test_a_slider_is_drawn_once(slider, tmp_path):
    assert drag.section("mine", tmp_path / "one" / "pictures") == drag.section("mine", tmp_path / "two" / "pictures")
    assert len(slider) == 1 and len(list((tmp_path / "two" / "pictures").iterdir())) == 2


def test_a_slider_whose_nets_are_not_stored_is_told_in_its_place(own_results, no_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sliders, "BUILD", tmp_path / "build")
    told = drag.section("refinement", tmp_path / "pictures")
    assert 'class="missing"' in told and "has no record.json" in told and "slider refinement" in capsys.readouterr().out


def test_the_photograph_of_the_sliders_is_whole():
    whole = sets.load("Sample")[sliders.PHOTOGRAPH].float()
    mine = sliders.photograph().float()
    assert mine.shape == (3, 256, 256)
    assert (mine - whole.view(3, 256, 2, 256, 2).mean((2, 4))).abs().max() <= 0.5


@pytest.mark.slow
def test_what_a_slider_says_is_the_psnr_of_what_it_shows(tmp_path):
    told = sliders.states("refinement", tmp_path)
    original, plain, _, large = told["panels"]
    hr, bicubic, whole = (from_array(np.array(Image.open(tmp_path / p["picture"]).convert("RGB")))
                          for p in (original, plain, large))
    shown = [whole[:, 128 * n : 128 * (n + 1), :128] for n in range(4)]  # rows: steps; columns: how likeness is held
    small = [[float(re.search(r"[\d.]+", said)[0]) for said in row] for row in told["panels"][2]["said"]]
    assert len(set(small[0])) == 1 and small[3][4] > small[3][0] + 1 > small[3][1]  # a weight of 3, none, of 0
    values = [float(re.search(r"RGB ([\d.]+) dB", row[0])[1]) for row in large["said"]]
    assert values == sorted(values) and values[0] > float(re.search(r"RGB ([\d.]+)", plain["said"][0][0])[1]) + 2
    for said, image in zip(values, shown, strict=True):
        assert abs(psnr(image, hr) - said) < 1.5  # both went through WebP
    assert psnr(bicubic, hr) < psnr(shown[0], hr)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 2e6
