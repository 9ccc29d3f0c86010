"""A curve that grows in a notebook's cell while something is trained there."""
from __future__ import annotations

import base64
import io
from collections.abc import Mapping

from IPython.display import DisplayHandle, Markdown, display

from workbook import figures
from workbook.book import Book
from workbook.pictures import plain


class Curve:
    """PSNR over steps, drawn anew with each point, under horizontal lines for what it may be held against.

    It is no figure of results/: it shows what this machine has just done. Numbered and captioned like those.
    """

    def __init__(self, book: Book, caption: str, lines: Mapping[str, float]):
        self.caption, self.lines = caption, lines
        self.points: list[tuple[int, float]] = []
        self.handle: DisplayHandle | None = None
        self.number = book.numbers.setdefault("live curve", len(book.numbers) + 1)

    def add(self, step: int, value: float) -> None:
        """One point more, dB; with the first the picture and its caption appear."""
        self.points.append((step, value))
        data, alt = {"image/png": self._drawn(), "text/plain": plain(self.caption)}, plain(self.caption)
        if self.handle is None:
            self.handle = display(data, metadata={"image/png": {"alt": alt}}, raw=True, display_id=True)
            display(Markdown(f"**Figure {self.number}.** {self.caption}"))
        else:
            self.handle.update(data, metadata={"image/png": {"alt": alt}}, raw=True)

    def _drawn(self) -> str:
        figure = figures.blank(6.5, 3.2)
        ax = figure.subplots()
        ax.plot(*zip(*self.points, strict=True), "o-", color="#d55e00", markersize=4)
        for name, value in self.lines.items():
            ax.axhline(value, color="#777777", linewidth=1)
            ax.annotate(name, (0, value), (2, 2), textcoords="offset points", fontsize=8, color="#444444")
        ax.set(xlabel="step, on this machine", ylabel="RGB PSNR of the photograph, dB", xlim=(0, None))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=figures.DPI)
        return base64.b64encode(buffer.getvalue()).decode()
