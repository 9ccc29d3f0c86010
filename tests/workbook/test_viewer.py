"""Sliders without a kernel: what they draw, when, what they remember, and how they say what went wrong."""
from __future__ import annotations

import io
from datetime import datetime
from types import SimpleNamespace

import ipywidgets
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tadlib.networks import build
from tadlib.pixels import to_array
from workbook import studies
from workbook.viewer import Viewer, explorer


def _viewer(calls):
    def draw(sigma, kind):
        if sigma == 0.3:
            raise ValueError("too noisy")
        calls.append((sigma, kind))
        figure = Figure(figsize=(1, 1))
        figure.text(0.1, 0.5, f"{kind} {sigma}")
        return figure

    return Viewer(draw, sigma=[0.0, 0.1, 0.3], kind=["a", "b"])


def test_a_slider_draws_once_for_each_value_and_shows_errors():
    calls = []
    viewer = _viewer(calls)
    sigma, kind = viewer.controls["sigma"], viewer.controls["kind"]
    assert isinstance(sigma, ipywidgets.SelectionSlider) and not sigma.continuous_update
    assert isinstance(kind, ipywidgets.Dropdown)
    first = bytes(viewer.image.value)
    assert first.startswith(b"\x89PNG")
    sigma.value = 0.1
    assert bytes(viewer.image.value) != first
    sigma.value = 0.0
    assert bytes(viewer.image.value) == first
    assert calls == [(0.0, "a"), (0.1, "a")]  # the third picture came from memory
    sigma.value = 0.3
    assert "too noisy" in viewer.message.value
    kind.value = "b"
    sigma.value = 0.1
    assert viewer.message.value == ""
    assert calls[-1] == (0.1, "b")


def test_a_viewer_that_cannot_draw_at_all_fails_its_cell():
    with pytest.raises(ZeroDivisionError):
        Viewer(lambda sigma: 1 / 0, sigma=[0.0])


# ------------------------------------------------------------------------------------------------------- pictures

@pytest.fixture
def trained():
    """An untrained network as a run that was trained."""
    torch.manual_seed(0)
    net = build("aetad_very_small").eval()
    return SimpleNamespace(run=studies.named("aetad_very_small"), network=lambda: net)


@pytest.fixture
def view(trained, photo):
    return explorer({"0": trained, "10 %": trained}, {"photo": photo}, [0.1], channels=["8bit", "jpeg:50"], size=64)


def upload(viewer, name, data):
    viewer.upload.value = ({"name": name, "type": "image/png", "size": len(data), "content": memoryview(data),
                            "last_modified": datetime.now()},)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(to_array(image)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_explorer_answers_to_every_control(view):
    seen = {bytes(view.image.value)}
    for name, value in (("sigma", 0.1), ("channel", "jpeg:50"), ("sigma", 0.0)):
        view.controls[name].value = value
        seen.add(bytes(view.image.value))
    assert len(seen) == 4 and view.message.value == ""
    drawn = len(view.drawn)
    view.controls["channel"].value = "8bit"  # as at the start
    assert len(view.drawn) == drawn and bytes(view.image.value) in seen


def test_named_positions_are_a_slider(view):
    slider = view.controls["epsilon"]
    assert isinstance(slider, ipywidgets.SelectionSlider) and not slider.continuous_update
    assert [label for label, _ in slider.options] == ["0", "10 %"]


def test_an_own_picture_joins_the_menu_and_is_shown(view, photo):
    before = bytes(view.image.value)
    upload(view, "mine.png", png(255 - photo[:, :50, :70]))
    assert view.controls["picture"].options == ("photo", "mine.png")
    assert view.controls["picture"].value == "mine.png"
    assert bytes(view.image.value) != before and view.message.value == ""
    mine = bytes(view.image.value)
    upload(view, "mine.png", png(photo[:, :50, :70]))  # another one of that name
    assert bytes(view.image.value) != mine and view.controls["picture"].options == ("photo", "mine.png")


def test_what_is_no_picture_is_told_and_changes_nothing(view):
    before = bytes(view.image.value)
    upload(view, "notes.txt", b"no picture at all")
    assert "notes.txt: cannot be read (not an image" in view.message.value
    assert bytes(view.image.value) == before and view.controls["picture"].options == ("photo",)


def test_a_picture_too_small_for_the_model_is_told(view, photo):
    upload(view, "dot.png", png(photo[:, :2, :2]))
    assert "dot.png: smaller than the scale of 4" in view.message.value
    view.controls["picture"].value = "photo"
    assert view.message.value == ""
