"""Sliders for notebooks: a picture that is drawn anew when a control is let go.

ipywidgets' own `interact` swallows errors and draws while one drags; this draws once on release, remembers what it
has drawn, lets the first drawing's error fail the cell, and shows a later one as text in place of the picture.
"""
from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import avg_pool2d

from tadlib.channel import send
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import luma, psnr
from tadlib.files import read_bytes
from tadlib.pixels import crop_to_multiple, from_array, to_codes, to_float
from tadlib.resize import upscale
from tadlib.stored import Trained
from tadlib.tasks import guidance
from workbook import figures

CHANNELS = ("8bit", "png", "jpeg:95", "jpeg:90", "jpeg:50", "webp:90")


def to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


class Viewer(widgets.VBox):
    """Controls above one picture: `draw(**values)` returns a Figure for the controls' values.

    >>> Viewer(lambda sigma: figure_for(sigma), sigma=[0.0, 0.05, 0.1])

    Each control is a keyword: its values in order, the first is the start; a slider for numbers, a menu for text. A
    dict is a slider whose positions have names: draw gets the value. `pictures`, by name, are a menu called "picture"
    with a button beside it that adds one's own: draw gets the name.
    """

    def __init__(self, draw: Callable[..., Figure], pictures: dict[str, Tensor] | None = None,
                 **controls: Sequence | Mapping) -> None:
        self.draw = draw
        self.drawn: dict[tuple, bytes] = {}
        self.uploaded = {} if pictures is None else pictures
        self.controls = {name: _control(name, values) for name, values in controls.items()}
        buttons = []
        if pictures is not None:
            self.controls["picture"] = _control("picture", list(pictures))
            self.upload = widgets.FileUpload(accept="image/*", description="own picture")
            self.upload.observe(self.add, names="value")
            buttons = [self.upload]
        self.image = widgets.Image(format="png")
        self.message = widgets.HTML()
        for control in self.controls.values():
            control.observe(lambda change: self.show(), names="value")
        self.image.value = self.picture()  # at once, so that its error fails the cell
        super().__init__([*self.controls.values(), *buttons, self.message, self.image])

    def picture(self) -> bytes:
        """The picture for the controls' present values, from memory if it was drawn before."""
        values = {name: control.value for name, control in self.controls.items()}
        key = tuple(control.index for control in self.controls.values())
        if key not in self.drawn:
            self.drawn[key] = to_png(self.draw(**values))
        return self.drawn[key]

    def show(self) -> None:
        try:
            self.image.value = self.picture()
            self.message.value = ""
        except Exception as error:  # a callback's error would vanish: show it where one looks
            self._tell(error)

    def add(self, change: Mapping) -> None:
        """Take what was uploaded among the pictures, and show it; what is none is told."""
        for file in change["new"]:
            try:
                self.uploaded[file["name"]] = from_array(read_bytes(bytes(file["content"]), file["name"]))
            except BadInput as error:
                self._tell(error)
                continue
            menu = self.controls["picture"]
            self.drawn.clear()  # one of that name may have been there
            if file["name"] in menu.options:
                self.show()
            else:
                menu.options = (*menu.options, file["name"])
                menu.value = file["name"]

    def _tell(self, error: Exception) -> None:
        self.message.value = f"<b style='color:#b00'>{type(error).__name__}: {error}</b>"


def _control(name: str, values: Sequence | Mapping) -> widgets.Widget:
    if isinstance(values, Mapping) or all(isinstance(v, int | float) for v in values):
        options = list(values.items()) if isinstance(values, Mapping) else values
        return widgets.SelectionSlider(options=options, description=name, continuous_update=False)
    return widgets.Dropdown(options=values, description=name)


def explorer(models: Mapping[str, Trained], pictures: dict[str, Tensor], sigmas: Sequence[float], of: str = "epsilon",
             channels: Sequence[str] = CHANNELS, size: int = 384) -> Viewer:
    """A Viewer on trained runs, by their names on the slider `of`: noise, channel and picture to choose.

    It shows the whole picture, shrunk by a whole factor to at most `size` pixels a side: X_HR, bicubic's result from
    X_GD (where there is a scale), what arrived of X_SLR, X_SHR and its error, each whole and a part of it enlarged.
    """
    networks = {name: trained.network() for name, trained in models.items()}

    @functools.lru_cache(maxsize=32)
    def encoded(model: str, picture: Tensor) -> tuple[Tensor, Tensor]:  # by identity: a name may be given again
        run = models[model].run
        hr = crop_to_multiple(_shrunk(picture, size), run.scale)
        with torch.inference_mode():
            x_gd = guidance(to_float(hr), run.scale, run.guide)
            return x_gd, networks[model].encode(to_float(hr), run.scale, x_gd)

    def draw(sigma: float, channel: str, picture: str, **chosen: str) -> Figure:
        model, scale = chosen[of], models[chosen[of]].run.scale
        hr = crop_to_multiple(_shrunk(pictures[picture], size), scale)
        if not hr.numel():
            raise BadInput(f"{picture}: smaller than the scale of {scale}")
        x_gd, slr = encoded(model, pictures[picture])
        way = f"noise:{sigma}+{channel}" if sigma else channel
        with torch.inference_mode():
            received, ordinary = (send(x, way, torch.Generator().manual_seed(0)) for x in (slr, x_gd))
            result = to_codes(networks[model].decode(received, scale))[0]
        small = to_codes(received)[0]
        likeness = min(100, psnr(small, to_codes(x_gd)[0]))
        error = (result.float() - hr.float()).abs().mean(0, keepdim=True)
        enlarged = small.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        shown = {"HR": hr}
        if scale > 1:
            plain = to_codes(upscale(ordinary, scale))[0]
            shown[f"bicubic: {_decibels(plain, hr)}"] = plain
        shown |= {
            f"what arrives, {likeness:.1f} dB from ordinary": enlarged,
            f"made of it: {_decibels(result, hr)}": result,
            "its error, x 8": (8 * error).clamp(0, 255).byte(),
        }
        part = min(hr.shape[1:]) // 4
        top = max(0, hr.shape[1] // 4 - part // 2)  # where a portrait has its face
        return figures.comparison(shown, box=(top, hr.shape[2] // 2 - part // 2, part))

    return Viewer(draw, pictures, **{of: {name: name for name in models}}, sigma=[0.0, *sigmas], channel=list(channels))


def _decibels(result: Tensor, hr: Tensor) -> str:
    return f"RGB {psnr(result, hr):.2f}, Y {psnr(luma(result), luma(hr)):.2f} dB"


def _shrunk(image: Tensor, size: int) -> Tensor:
    """uint8 (3, H, W) -> at most `size` a side, each pixel the mean of as many as it takes."""
    factor = math.ceil(max(image.shape[1:]) / size)
    return image if factor == 1 else to_codes(avg_pool2d(to_float(image), factor))[0]
