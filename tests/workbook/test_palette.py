"""The palette: seen on white, told apart by everyone, and the same for a family wherever it stands."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from workbook import palette, studies

# What light of linear RGB looks like without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1)
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colour: str, sight: str) -> np.ndarray:
    """In CIELAB, by somebody who sees so."""
    light = np.clip(np.array(SIGHT[sight]) @ linear(colour), 0, 1)
    return rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("colour", [*palette.FAMILIES.values(), *palette.shades(6), *palette.shades(6, "Purples")])
def test_every_colour_stands_out_from_white(colour):
    """WCAG 2.1 asks for 3 of graphics."""
    assert 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_are_told_apart(sight):
    """15 by CIEDE2000 is several times what is just seen side by side."""
    for colours in (palette.FAMILIES.values(), palette.TERMS.values()):
        for one, other in itertools.combinations(colours, 2):
            assert deltaE_ciede2000(seen(one, sight), seen(other, sight)) > 15, (one, other)


def test_a_family_is_also_told_by_its_marker():
    assert palette.MARKERS.keys() == palette.FAMILIES.keys()
    assert len(set(palette.MARKERS.values())) == len(palette.MARKERS)


@pytest.mark.parametrize(("name", "family"), [
    ("bicubic", "ordinary"), ("grey", "ordinary"), ("JPEG", "ordinary"), ("no_tad", "one-sided"), ("vdsr", "one-sided"),
    ("sofvsr", "one-sided"), ("cic_color", "one-sided"), ("aetad_skip2", "report"), ("eps_50_observed", "report"),
    ("sofvsr_tad", "report"), ("aetad_color_large", "report"), ("conv_only_large", "no ReLU"), ("tool_x4", "own"),
    ("color_shuffle", "own"), ("joint_x4", "own"), ("robust", "hardened"), ("noise_trained", "hardened")])
def test_the_family_of_a_run(name, family):
    assert palette.family(name) == family and palette.colour(name) == palette.FAMILIES[family]


def test_every_run_has_a_family():
    assert {palette.family(name) for name in studies.ALL} == set(palette.FAMILIES)


def test_members_of_a_family_differ_by_their_dashes():
    styles = palette.styles(["aetad", "tool_x4", "aetad_skip", "robust", "aetad_large"])
    looks = [(style["color"], str(style["linestyle"])) for style in styles.values()]
    assert len(set(looks)) == len(looks)
    assert styles["aetad"]["color"] == styles["aetad_large"]["color"] != styles["tool_x4"]["color"]
