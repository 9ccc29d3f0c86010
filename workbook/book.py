"""What the notebooks have in common, so that their cells say only what is their own.

>>> book = Book("07_robustness", profile)
>>> trained = book.fit()                                    # every run that the notebook needs, by name
>>> sets = book.scored("tool_x4", ("Set5", "Set14"))        # where it was scored; the sample where it was on neither
>>> book.scores(["tool_x4", "robust"], sets)                # mean stored scores, a DataFrame
>>> here = book.here("Set5")                                # or the sample, where that set is absent
>>> book.show(figure, "jpeg90", of=here)                    # saved, and displayed
>>> book.table(rows, "robustness")                          # saved, and handed on
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import Image as Picture
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch import Tensor

from tadlib.data import sets
from tadlib.stored import Trained
from tadlib.training.fit import fit
from workbook import claims, figures, studies, tables
from workbook.scores import scores


class Book:
    """One notebook at a profile ("cpu", "gpu" or "smoke"). Making it sets how figures and tables look in its kernel."""

    def __init__(self, notebook: str, profile: str = "cpu"):
        self.notebook, self.profile = notebook, profile
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

    def show(self, figure: Figure, name: str, of: str | None = None) -> Picture:
        """Save a figure as results/<profile>/figures/<name> and return it for the cell to display.

        `of` is the set whose pictures are in it: where that is the sample in an absent set's stead, the figure goes to
        results/sample, so that the one in git stays. Without `of` it is the sample's by intent, or holds no pictures.
        """
        return figures.show(figure, name, self._place(of))

    def animate(self, panels: Mapping[str, Tensor], name: str, of: str | None = None) -> Markdown:
        """Clips (T, 3, h, w), uint8, side by side as an animated picture, saved as in `show`; a link to it."""
        figures.animate(panels, name, self._place(of))
        return self.drawn(name)

    def _place(self, of: str | None) -> str:
        sample = of is not None and "bundled" in sets.registry().get(of, {})
        return figures.STAND_INS if sample and self.profile == "cpu" else self.profile

    # ------------------------------------------------------------------------------------------ results

    def table(self, rows: pd.DataFrame, name: str) -> pd.DataFrame:
        """Save a table as results/<profile>/tables/<name>.csv and hand it on."""
        tables.save(rows, name, self.profile)
        return rows

    def made(self, name: str) -> pd.DataFrame:
        """A table that another notebook made. Raises BadInput where it is not there."""
        return tables.made(name, self.profile)

    def drawn(self, name: str) -> Markdown:
        """A figure that another notebook drew, as a link. Raises BadInput where it is not there."""
        return figures.drawn(name, self.profile)

    def claims(self) -> pd.DataFrame:
        """The notebook's claims with what is measured and the verdicts; the study's whole ledger is written, too."""
        if self.profile == "cpu":
            claims.write(self.profile)
        return claims.table(self.profile, self.notebook)
