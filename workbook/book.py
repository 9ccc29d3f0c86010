"""What the notebooks have in common, so that their cells say only what is their own.

>>> book = Book("07_robustness", profile)
>>> trained = book.fit()                                    # every run that the notebook needs, by name
>>> sets = book.scored("tool_x4", ("Set5", "Set14"))        # where it was scored; the sample where it was on neither
>>> book.scores(["tool_x4", "robust"], sets)                # mean stored scores, a DataFrame
>>> here = book.here("Set5")                                # or the sample, where that set is absent
>>> book.show(figure, "jpeg90", "What is lost.", of=here)   # saved, and displayed over its caption
>>> book.table(rows, "robustness")                          # saved, and handed on
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from torch import Tensor

from tadlib.data import sets
from tadlib.stored import Trained
from tadlib.training.fit import fit
from workbook import claims, figures, pictures, studies, tables
from workbook.scores import scores

STAND_IN = "stand-in: the bundled sample"


class Book:
    """One notebook at a profile ("cpu", "gpu" or "smoke"). Making it sets how figures and tables look in its kernel."""

    def __init__(self, notebook: str, profile: str = "cpu"):
        self.notebook, self.profile = notebook, profile
        self.numbers: dict[str, int] = {}  # of the figures shown, by name: a cell that is run again keeps its own
        figures.theme()
        pd.set_option("display.float_format", "{:.2f}".format)
        pd.set_option("display.max_colwidth", None)
        pd.set_option("display.max_rows", None)

    # ------------------------------------------------------------------------------------------ runs and scores

    def fit(self) -> dict[str, Trained]:
        """The notebook's runs by name (studies.NEEDS), loaded, or trained where they are not stored.

        Raises BadInput, FloatingPointError and OutOfTime as tadlib.training.fit does.
        """
        return {run.name: fit(run) for run in studies.needed(self.notebook, self.profile)}

    def scored(self, name: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the wanted sets (or clips) on which a run was scored or can be; else the sample."""
        return studies.scored_sets(name, self.profile, wanted)

    def scores(self, names: Sequence[str], wanted: tuple[str, ...], kinds: tuple[str, ...] = ("SHRT",),
               channels: tuple[str, ...] = ("8bit",), scale: int | None = None) -> pd.DataFrame:
        """Mean stored scores of runs: a row for each set, kind, channel, draw and run, in the order asked for."""
        return tables.score_table(list(names), wanted, self.profile, kinds, channels, scale)

    def by_image(self, name: str, wanted: tuple[str, ...], channels: tuple[str, ...] = ("8bit",),
                 kind: str = "SHRT") -> pd.DataFrame:
        """Stored scores of one run and kind, a row for each image (or frame), channel and draw; PSNR is not capped."""
        rows = scores(studies.trained(name, self.profile), wanted, channels, measure=False)
        return rows[(rows["kind"] == kind) & rows["channel"].isin(channels)].reset_index(drop=True)

    # ------------------------------------------------------------------------------------------ pictures

    def here(self, wanted: str) -> str:
        """The set or clip whose pictures a figure shows: the wanted one, or the sample where it is not here.

        In a smoke run it is the small sample at once.
        """
        clip = sets.is_clip(wanted)
        if self.profile == "smoke":
            return (studies.clips if clip else studies.image_sets)(self.profile)[0]
        return sets.here_or_sample((wanted,), "SampleClip" if clip else "Sample")[0]

    def show(self, figure: Figure, name: str, caption: str, of: str | None = None) -> None:
        """Save a figure as results/<profile>/figures/<name> and show it, numbered, over its caption.

        The caption is Markdown of a sentence or two, what is to be seen first; it lies in the file, and is the
        picture's alt text. `of` is the set whose pictures are in it: where that is the sample in an absent set's stead,
        the figure in git stays and is what is shown, so that it never contradicts what is written about it. Only where
        there is none the stand-in is shown; it says so, and goes to results/sample. Without `of` it is the sample's by
        intent, or holds no pictures.
        """
        if self._stands_in(of):
            figures.stamp(figure, STAND_IN)
        pictures.save(figure, name, self._place(of), caption)
        self.drawn(name)

    def animate(self, panels: Mapping[str, Tensor], name: str, caption: str, of: str | None = None) -> None:
        """Clips (T, 3, h, w), uint8, side by side as an animated picture, saved and shown as in `show`."""
        stamp = STAND_IN if self._stands_in(of) else ""
        pictures.animate(panels, name, self._place(of), caption, stamp)
        self.drawn(name)

    def drawn(self, name: str, caption: str | None = None) -> None:
        """Show a figure that was drawn before, over its caption or another. Raises BadInput: it is not there."""
        path = pictures.find(name, self.profile)
        text = caption or pictures.caption(path)
        number = self.numbers.setdefault(name, len(self.numbers) + 1)
        data, metadata = pictures.bundle(path, text)
        display(data, metadata=metadata, raw=True)
        display(Markdown(f"**Figure {number}.** {text}"))

    def _stands_in(self, of: str | None) -> bool:
        return self.profile != "smoke" and of is not None and "bundled" in sets.registry().get(of, {})

    def _place(self, of: str | None) -> str:
        return pictures.STAND_INS if self._stands_in(of) else self.profile

    # ------------------------------------------------------------------------------------------ results

    def table(self, rows: pd.DataFrame, name: str) -> pd.DataFrame:
        """Save a table as results/<profile>/tables/<name>.csv and hand it on."""
        tables.save(rows, name, self.profile)
        return rows

    def made(self, name: str) -> pd.DataFrame:
        """A table that another notebook made. Raises BadInput where it is not there."""
        return tables.made(name, self.profile)

    def claims(self) -> pd.DataFrame:
        """The notebook's claims with what is measured and the verdicts; the study's whole ledger is written, too."""
        if self.profile == "cpu":
            claims.write(self.profile)
        return claims.table(self.profile, self.notebook)
