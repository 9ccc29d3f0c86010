"""What notebooks have in common: where a figure goes, which pictures are shown, what a table leaves."""
from __future__ import annotations

import base64
import itertools
import json
import re

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.settings import ROOT
from workbook import studies
from workbook.book import STAND_IN, Book
from workbook.pictures import plain


def drawing() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([1, 2])
    return figure


@pytest.fixture
def shown(monkeypatch):
    """What cells show: (data, metadata) for each output."""
    outputs = []

    def display(what, metadata=None, raw=False):
        outputs.append((what if raw else {"text/markdown": what.data}, metadata))

    monkeypatch.setattr("workbook.book.display", display)
    return outputs


@pytest.mark.parametrize(("profile", "of", "place"), [
    ("cpu", None, "cpu"), ("cpu", "Set5", "cpu"), ("cpu", "Vid4/city", "cpu"), ("cpu", "Sample", "sample"),
    ("cpu", "SampleClip", "sample"), ("smoke", "SampleCrop", "smoke"), ("smoke", "SampleClip", "smoke")])
def test_a_figure_is_one_picture_over_its_numbered_caption(own_results, shown, profile, of, place):
    Book("00_quickstart", profile).show(drawing(), "one", "Two **bold** `points` [@kim2018].", of)
    path = own_results / place / "figures" / "one.png"
    assert list(own_results.glob("*/figures/*.*")) == [path]
    (data, metadata), (below, _) = shown
    assert base64.b64decode(data["image/png"]) == path.read_bytes()
    assert metadata == {"image/png": {"alt": "Two bold points."}}
    assert below == {"text/markdown": "**Figure 1.** Two **bold** `points` [@kim2018]."}


def test_figures_are_counted_in_a_notebook_and_keep_their_numbers(own_results, shown):
    one = Book("00_quickstart")
    for name in ("a", "b", "a"):  # the last is a cell that is run again
        one.show(drawing(), name, f"This is {name}.")
    one.drawn("b", "Seen from elsewhere.")
    assert [out["text/markdown"] for out, _ in shown[1::2]] == [
        "**Figure 1.** This is a.", "**Figure 2.** This is b.", "**Figure 1.** This is a.",
        "**Figure 2.** Seen from elsewhere."]
    assert shown[6][1] == {"image/png": {"alt": "Seen from elsewhere."}}


def test_where_a_set_is_absent_the_figure_in_git_is_shown_and_stays(own_results, shown):
    committed, stand_in = (own_results / place / "figures" / "one.png" for place in ("cpu", "sample"))
    Book("00_quickstart").show(drawing(), "one", "Of Set5.", "Set5")
    before = committed.read_bytes()
    Book("00_quickstart").show(drawing(), "one", "Of Set5, drawn where it is not.", "Sample")
    assert committed.read_bytes() == before and stand_in.exists()
    assert shown[2:] == shown[:2]
    committed.unlink()
    Book("00_quickstart").show(drawing(), "one", "Of Set5.", "Sample")
    assert base64.b64decode(shown[4][0]["image/png"]) == stand_in.read_bytes() != before


def test_a_stand_in_says_in_the_picture_that_it_is_one(own_results, shown):
    figure = drawing()
    Book("00_quickstart").show(figure, "one", "Of Set5.", "Set5")
    assert not figure.texts
    Book("00_quickstart").show(figure, "two", "Of Set5.", "Sample")
    assert [text.get_text() for text in figure.texts] == [STAND_IN]


def test_an_animation_is_shown_like_a_figure(own_results, shown, photo):
    clip = torch.stack([photo[:, :32, n : n + 32] for n in range(3)])
    Book("04_video").animate({"a": clip}, "moving", "It moves.", "Vid4/city")
    path = own_results / "cpu" / "figures" / "moving.webp"
    (data, metadata), (below, _) = shown
    assert base64.b64decode(data["image/webp"]) == path.read_bytes()
    assert metadata == {"image/webp": {"alt": "It moves."}} and below["text/markdown"] == "**Figure 1.** It moves."
    Book("04_video").animate({"a": 255 - clip}, "moving", "It moves.", "SampleClip")
    assert (own_results / "sample" / "figures" / "moving.webp").exists() and shown[2:] == shown[:2]


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


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda n: n.stem)
def test_every_picture_of_a_committed_notebook_is_in_it_with_an_alt_text_and_a_numbered_caption_below(notebook):
    outputs = [o for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code" for o in c["outputs"]]
    alts, numbers = {}, []
    for picture, below in itertools.zip_longest(outputs, outputs[1:]):
        kinds = [kind for kind in picture.get("data", {}) if kind.startswith("image/")]
        for kind in kinds:
            caption = re.fullmatch(r"\*\*Figure (\d+)\.\*\* (.+)", "".join(below["data"]["text/markdown"]), re.S)
            assert picture["metadata"][kind]["alt"] == plain(caption[2])
            numbers.append(int(caption[1]))
            assert alts.setdefault(numbers[-1], plain(caption[2])) == plain(caption[2])
        assert "](../" not in "".join(picture.get("data", {}).get("text/markdown", ""))
    assert list(dict.fromkeys(numbers)) == list(range(1, len(alts) + 1))
    assert len(set(alts.values())) == len(alts), "two figures have one caption"
