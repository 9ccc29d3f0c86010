"""Figures as files: the same is left alone, what differs is replaced; the caption lies in the file."""
from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tadlib.data import sets
from tadlib.errors import BadInput
from workbook import figures, pictures, tables


def plot(**drawn) -> Figure:
    figure = Figure(figsize=(3, 3))
    figure.subplots().set(**{"xlim": (0, 1)} | drawn)
    return figure


def photograph() -> Figure:
    figure = Figure(figsize=(5, 5))
    figures.picture(figure.add_axes((0, 0, 1, 1)), sets.load("Sample")["astronaut"])
    return figure


def test_a_photograph_is_kept_as_jpeg_and_a_plot_as_png(own_results):
    assert pictures.save(photograph(), "photo", "smoke", "").suffix == ".jpg"
    assert pictures.save(plot(), "plot", "smoke", "").suffix == ".png"


@pytest.mark.parametrize("draw", [plot, photograph])
def test_what_is_the_same_is_left_alone(own_results, draw):
    path = pictures.save(draw(), "one", "cpu", "A caption.")
    stamp = path.stat().st_mtime_ns
    assert pictures.save(draw(), "one", "cpu", "A caption.") == path and path.stat().st_mtime_ns == stamp
    with Image.open(path) as image:  # the same pixels, as somebody else would have compressed them
        if image.format == "PNG":
            info = pictures.PngInfo()
            info.add_text("Description", "A caption.")
            image.save(path, "PNG", compress_level=1, pnginfo=info)
    other = path.read_bytes()
    pictures.save(draw(), "one", "cpu", "A caption.")
    assert path.read_bytes() == other


def test_a_drawing_that_differs_in_a_letter_and_a_caption_that_differs_replace_the_file(own_results):
    path = pictures.save(plot(title="left"), "one", "cpu", "A caption.")
    seen = [path.read_bytes()]
    for title, caption in (("lift", "A caption."), ("lift", "Another caption."), (None, "Another caption.")):
        pictures.save(plot(title=title), "one", "cpu", caption)
        assert path.read_bytes() not in seen
        assert pictures.caption(path) == caption
        seen.append(path.read_bytes())
    assert [p.name for p in path.parent.glob("*.*")] == ["one.png"]


def test_a_figure_that_turns_from_a_plot_into_a_photograph_leaves_one_file(own_results):
    assert pictures.save(plot(), "one", "smoke", "").suffix == ".png"
    path = pictures.save(photograph(), "one", "smoke", "")
    assert path.suffix == ".jpg" and list(path.parent.glob("*.*")) == [path]


def test_every_kind_of_file_keeps_its_caption(own_results, photo):
    text = "A *caption* of 3 \N{MULTIPLICATION SIGN} 4 dB, \N{GREEK SMALL LETTER SIGMA} = 0.05 [@kim2018]."
    clip = torch.stack([photo[:, :40, :60]] * 2)
    for path in (pictures.save(plot(), "plot", "smoke", text), pictures.save(photograph(), "photo", "smoke", text),
                 pictures.animate({"a": clip}, "moving", "smoke", text)):
        assert pictures.caption(path) == text
        data, metadata = pictures.bundle(path, text)
        kind, = metadata
        assert kind == {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}[path.suffix]
        assert base64.b64decode(data[kind]) == path.read_bytes()
        assert metadata[kind]["alt"] == data["text/plain"] == "A caption of 3 × 4 dB, σ = 0.05."


@pytest.mark.parametrize(("markdown", "text"), [
    ("**Bold** and *slanted*, `code_with_underscores`.", "Bold and slanted, code_with_underscores."),
    ("See [notebook 02](02_sisr_architectures.ipynb#x).", "See notebook 02."),
    ("With $\\sigma = 0.05$ [@kim2018; @xiao2020], 2 * 3.", "With sigma = 0.05, 2 * 3."),
    ("two\nlines", "two lines")])
def test_an_alt_text_is_the_caption_without_its_marks(markdown, text):
    assert pictures.plain(markdown) == text


def test_an_animation_has_every_frame_of_every_panel(own_results, photo):
    clip = torch.stack([photo[:, :40, n : n + 60] for n in range(0, 10, 2)])
    path = pictures.animate({"a": clip, "b": 255 - clip}, "moving", "smoke", "It moves.", times=1)
    assert path == own_results / "smoke" / "figures" / "moving.webp"
    with Image.open(path) as picture:
        assert picture.n_frames == 5 and picture.width >= 120 and picture.height >= 40
        first = np.asarray(picture.convert("RGB"), dtype=float)
    inside = first[-40:, 4:64].transpose(2, 0, 1)
    assert np.abs(inside - clip[0].numpy()).mean() < 12  # lossy, but the picture
    stamp = path.stat().st_mtime_ns
    pictures.animate({"a": clip, "b": 255 - clip}, "moving", "smoke", "It moves.", times=1)
    assert path.stat().st_mtime_ns == stamp
    last = clip.clone()
    last[-1] = 255 - last[-1]
    pictures.animate({"a": last, "b": 255 - clip}, "moving", "smoke", "It moves.", times=1)
    assert path.stat().st_mtime_ns != stamp  # one frame is another


def test_what_another_notebook_has_not_made_yet_is_told(own_results):
    for ask in (tables.made, pictures.find):
        with pytest.raises(BadInput, match="run the notebook that"):
            ask("fig99", "cpu")


def test_a_stand_in_is_found_only_where_there_is_no_other(own_results):
    mine, stand_in = (pictures.save(plot(), "fig99", profile, "") for profile in ("cpu", pictures.STAND_INS))
    assert pictures.find("fig99", "cpu") == mine
    mine.unlink()
    assert pictures.find("fig99", "cpu") == stand_in


def test_shrinking_makes_no_pattern_that_is_not_in_the_image(own_results):
    """A checkerboard of single pixels is grey from afar; nearest neighbours would leave all its contrast, as bars."""
    board = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(160, 160).expand(3, -1, -1)
    for size in (2.0, 1.5, 1.3):
        figure = Figure(figsize=(size, size))
        figures.picture(figure.add_axes((0, 0, 1, 1)), board)
        with Image.open(pictures.save(figure, "board", "smoke", "")) as image:
            seen = np.asarray(image.convert("L"), dtype=float)[8:-8, 8:-8]
        assert abs(seen.mean() - 127.5) < 3 and seen.std() < 12


def test_enlarged_pixels_are_squares(own_results):
    figure = Figure(figsize=(1, 1))
    figures.picture(figure.add_axes((0, 0, 1, 1)), torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8))
    with Image.open(pictures.save(figure, "pixels", "smoke", "")) as image:
        assert set(np.unique(np.asarray(image.convert("L")))) == {0, 255}
