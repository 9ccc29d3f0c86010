"""Sliders for notebooks: a picture that is drawn anew when a control is let go.

ipywidgets' own `interact` swallows errors and draws while one drags; this draws once on release, remembers what it
has drawn, lets the first drawing's error fail the cell, and shows a later one as text in place of the picture.
"""
from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from matplotlib.figure import Figure


def to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


class Viewer(widgets.VBox):
    """Controls above one picture: `draw(**values)` returns a Figure for the controls' values.

    >>> Viewer(lambda sigma: figure_for(sigma), sigma=[0.0, 0.05, 0.1])

    Each control is a keyword: its values in order, the first is the start; a slider for numbers, a menu for text.
    """

    def __init__(self, draw: Callable[..., Figure], **controls: Sequence):
        self.draw = draw
        self.pictures: dict[tuple, bytes] = {}
        self.controls = {
            name: widgets.SelectionSlider(options=values, description=name, continuous_update=False)
            if all(isinstance(v, int | float) for v in values)
            else widgets.Dropdown(options=values, description=name)
            for name, values in controls.items()
        }
        self.image = widgets.Image(format="png")
        self.message = widgets.HTML()
        for control in self.controls.values():
            control.observe(lambda change: self.show(), names="value")
        self.image.value = self.picture()  # at once, so that its error fails the cell
        super().__init__([*self.controls.values(), self.message, self.image])

    def picture(self) -> bytes:
        """The picture for the controls' present values, from memory if it was drawn before."""
        values = {name: control.value for name, control in self.controls.items()}
        key = tuple(values.values())
        if key not in self.pictures:
            self.pictures[key] = to_png(self.draw(**values))
        return self.pictures[key]

    def show(self) -> None:
        try:
            self.image.value = self.picture()
            self.message.value = ""
        except Exception as error:  # a callback's error would vanish: show it where one looks
            self.message.value = f"<b style='color:#b00'>{type(error).__name__}: {error}</b>"
