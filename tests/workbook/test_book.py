"""What notebooks have in common: where a figure goes, which pictures are shown, what a table leaves."""
from __future__ import annotations

import re

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.settings import ROOT
from workbook import studies
from workbook.book import Book


def drawing() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([1, 2])
    return figure


@pytest.mark.parametrize(("profile", "of", "place"), [
    ("cpu", None, "cpu"), ("cpu", "Set5", "cpu"), ("cpu", "Vid4/city", "cpu"), ("cpu", "Sample", "sample"),
    ("cpu", "SampleClip", "sample"), ("smoke", "SampleCrop", "smoke"), ("smoke", "SampleClip", "smoke")])
def test_a_figure_of_stand_ins_never_takes_the_place_of_the_one_in_git(own_results, profile, of, place):
    shown = Book("00_quickstart", profile).show(drawing(), "one", of)
    path = own_results / place / "figures" / "one.png"
    assert path.read_bytes() == shown.data
    assert [f for f in own_results.rglob("*") if f.is_file()] == [path]


def test_an_animation_is_a_link_to_where_it_lies(own_results, photo):
    clip = torch.stack([photo[:, :32, n : n + 32] for n in range(3)])
    book = Book("04_video", "cpu")
    for of, place in (("Vid4/city", "cpu"), ("SampleClip", "sample")):
        text = book.animate({"a": clip}, f"moving_{place}", of).data
        link = re.fullmatch(rf"!\[moving_{place}\]\((.*)\)", text)[1]
        assert (ROOT / "notebooks" / link).resolve() == own_results / place / "figures" / f"moving_{place}.webp"


def test_pictures_are_those_of_the_wanted_set_or_the_sample(own_results, no_data, monkeypatch):
    book = Book("00_quickstart", "cpu")
    assert (book.here("Set5"), book.here("Vid4/city")) == ("Sample", "SampleClip")
    monkeypatch.setattr(sets, "is_here", lambda name: True)
    assert (book.here("Set5"), book.here("Vid4/city")) == ("Set5", "Vid4/city")
    smoke = Book("00_quickstart", "smoke")
    assert (smoke.here("Set5"), smoke.here("Vid4/city")) == ("SampleCrop", "SampleClip")


def test_a_table_is_saved_and_handed_on_and_read_by_others(own_results):
    rows = pd.DataFrame({"run": ["a", "b"], "dB": [1 / 3, 2.0]})
    assert Book("01_epsilon_study").table(rows, "mine") is rows
    path = own_results / "cpu" / "tables" / "mine.csv"
    assert path.read_text() == "run,dB\na,0.3333\nb,2.0000\n"
    stamp = path.stat().st_mtime_ns
    Book("01_epsilon_study").table(rows, "mine")
    assert path.stat().st_mtime_ns == stamp  # the same is left alone
    assert Book("06_report").made("mine")["dB"].tolist() == [0.3333, 2.0]
    for ask in (Book("06_report").made, Book("06_report").drawn):
        with pytest.raises(BadInput, match="run the notebook that"):
            ask("none")


def test_scores_are_means_and_by_image_they_are_as_stored(store):
    store("aetad", [{"image": i, "psnr_rgb": v} for i, v in (("a", 20.0), ("b", 120.0))]
          + [{"kind": "SLR", "psnr_rgb": 40.0}, {"channel": "jpeg:90", "psnr_rgb": 10.0}])
    book = Book("02_sisr_architectures")
    assert book.scored("aetad", ("Set14", "Urban100")) == ("Set14",)
    assert book.scores(["aetad"], ("Set14",))["psnr_rgb"].tolist() == [60.0]  # capped at 100
    assert book.scores(["aetad"], ("Set14",), ("SLR",))["psnr_rgb"].tolist() == [40.0]
    assert book.by_image("aetad", ("Set14",))["psnr_rgb"].tolist() == [20.0, 120.0]
    assert book.by_image("aetad", ("Set14",), ("jpeg:90",))["psnr_rgb"].tolist() == [10.0]
    assert book.by_image("aetad", ("Set14",), kind="SLR")["psnr_rgb"].tolist() == [40.0]


def test_a_notebook_gets_its_runs_by_name(own_results, no_data, monkeypatch):
    monkeypatch.setitem(studies.NEEDS, "00_quickstart", ["bicubic", "lanczos"])
    found = Book("00_quickstart", "smoke").fit()
    assert list(found) == ["bicubic", "lanczos"] and found["lanczos"].run == studies.named("lanczos", "smoke")
    assert Book("06_report", "smoke").fit() == {}


def test_the_ledger_is_written_by_the_study_alone(own_results, no_data):
    table = Book("01_epsilon_study", "smoke").claims()
    assert list(table.columns) == ["printed", "measured", "verdict"] and not own_results.exists()
    assert len(Book("01_epsilon_study", "cpu").claims()) == len(table)
    assert (own_results / "cpu" / "claims.csv").exists()
