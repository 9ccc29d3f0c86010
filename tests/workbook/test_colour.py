"""Colours of equal grey, where the colour is hidden, what a shift does."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from tadlib.networks import build
from tadlib.pixels import rgb_to_y, to_codes, to_float
from workbook import colour


def test_the_chart_has_one_grey_and_many_colours():
    chart = colour.isoluminant(count=12, size=8, code=120)
    assert chart.shape == (3, 24, 32) and chart.dtype == torch.uint8
    assert to_codes(rgb_to_y(to_float(chart))).unique().tolist() == [120]
    patches = chart[:, ::8, ::8].reshape(3, -1).T.float()
    assert torch.cdist(patches, patches)[~torch.eye(12, dtype=torch.bool)].min() > 20
    assert (patches.max(1).values - patches.min(1).values).min() > 60


def test_a_grey_level_without_colours_is_told():
    with pytest.raises(ValueError, match="grey level"):
        colour.isoluminant(code=234)
    with pytest.raises(ValueError, match="no 12 colours"):
        colour.isoluminant(code=3)


def test_nothing_is_hidden_in_y_itself(photo):
    grey, back = colour.grey_and_back(build("grey"), photo)
    assert grey.shape == (1, 96, 128) and back.shape == photo.shape
    assert np.abs(colour.hidden(grey, photo)).max() <= 0.5 + 1e-6  # rounding
    assert (back.float().std(0) < 1).all()


def test_from_afar_a_pattern_of_2x2_pixels_is_the_grey_of_its_mean():
    pattern = torch.tensor([[[100, 140], [120, 120]]], dtype=torch.uint8).repeat(1, 3, 4)  # (1, 6, 8)
    assert torch.equal(colour.from_afar(pattern), torch.full((1, 3, 4), 120, dtype=torch.uint8))
    steps = torch.tensor([[[0, 0, 9, 9], [0, 0, 9, 9]]], dtype=torch.uint8)
    assert colour.from_afar(steps).tolist() == [[[0, 9]]]


def test_a_sheet_shows_every_picture_once_in_its_row_under_its_title(photo):
    grey = torch.zeros(1, 8, 8, dtype=torch.uint8)
    figure = colour.sheet({"colours": [("truth", photo), ("a\n9 dB", photo)], "of it": [("", grey), ("b", grey)]}, 4, 9)
    assert [ax.get_title() for ax in figure.axes] == ["truth", "a\n9 dB", "", "b"]
    assert [t.get_text() for ax in figure.axes for t in ax.texts] == ["colours", "of it"]
    shown = [ax.images[0].get_array() for ax in figure.axes]
    assert [a.shape for a in shown] == [(96, 128, 3)] * 2 + [(8, 8)] * 2
    assert figure.get_figwidth() == 4
    figure.draw_without_rendering()
    wide, square = (ax.get_position() for ax in figure.axes[::2])
    assert wide.width == pytest.approx(square.width, abs=0.02)  # a row of another shape is as wide


def test_a_spectrum_shows_a_pattern_at_its_frequency():
    stripes = np.tile([1.0, -1.0], (64, 32))  # the highest horizontal frequency
    power = colour.spectrum(stripes)
    assert np.unravel_index(power.argmax(), power.shape) == (32, 0)
    assert power.max() > np.median(power) + 50


def test_a_shift_harms_only_who_looks_at_where_pixels_lie(photo):
    still, moved = colour.shifted(build("grey"), photo, 0), colour.shifted(build("grey"), photo, 3)
    assert moved == pytest.approx(still, abs=0.3)  # each pixel for itself: but the frame
    torch.manual_seed(0)
    net = build("color_shuffle", start="default")
    grey = net.encode(to_float(photo), 1)
    a, b = (to_codes(net.decode(x, 1))[0] for x in (grey, grey.roll(1, 3)))
    assert not torch.equal(a, b.roll(-1, 2))
