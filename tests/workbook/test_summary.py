"""What 06 opens with, and what it discloses of the trainings; a curve that grows in a cell."""
from __future__ import annotations

import base64

import pytest

from workbook import live, studies
from workbook.book import Book
from workbook.live import Curve
from workbook.summary import lengths, opening, sentences, trainings


def test_the_summary_has_five_sentences_whose_first_words_say_what_they_are_about():
    found = sentences()
    assert [s.partition("**")[2].partition("**")[0] for s in found] == [
        "What was claimed.", "What holds.", "What does not.", "New: why colour failed, and its cure.",
        "Beyond the report,"]
    assert "nan" not in " ".join(found)
    assert opening().split("\n\n") == sentences(report="")


def test_without_results_there_is_no_summary_and_it_says_why(own_results, no_data):
    assert opening("smoke").startswith("*No summary at the profile smoke: ")


def test_every_stored_training_is_counted_by_what_it_ran_on():
    stored = [studies.trained(n) for n in studies.ALL if studies.named(n).trains]
    records = [t.record for t in stored if (t.folder / "record.json").exists()]
    table = trainings()
    assert table["runs"].sum() == len(records)
    assert table["minutes"].sum() == pytest.approx(sum(r["minutes"] for r in records))
    assert "cic_color" in " ".join(table["rewinds"])


def test_a_training_s_length_is_said_with_what_it_started_from():
    assert lengths(studies.named("aetad")) == "1,200 steps of 8 patches of 96x96"
    assert lengths(studies.named("tool_x4")) == "37,000 steps of 64 patches of 64x64, in 5 goes"
    assert lengths(studies.named("robust_middle")) == "3,000 steps of 64 patches of 64x64, after tool_x4_middle"
    assert lengths(studies.named("aetad_video")) == "300 steps of 8 patches of 96x96, after aetad"
    assert lengths(studies.named("direct")).endswith(", after aetad_video and sofvsr")
    assert lengths(studies.named("tool_x2")).endswith(" of 48x48, after tool_x2_short")


class Shown:
    """A display that keeps what it was given."""

    def __init__(self, monkeypatch):
        self.outputs = []
        monkeypatch.setattr(live, "display", self)

    def __call__(self, data, **how):
        self.outputs.append((data, how))
        return self if how.get("display_id") else None

    def update(self, data, **how):
        self.outputs[0] = (data, how)


def test_a_curve_grows_in_one_picture_over_one_caption(monkeypatch):
    shown = Shown(monkeypatch)
    book = Book("00_quickstart", "smoke")
    curve = Curve(book, "It **grows**.", {"goal": 30.0})
    pictures = []
    for step, value in ((0, 10.0), (10, 20.0), (20, 25.0)):
        curve.add(step, value)
        pictures.append(shown.outputs[0][0]["image/png"])
    (picture, how), (caption, _) = shown.outputs
    assert len(set(pictures)) == 3 and base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert how["metadata"]["image/png"]["alt"] == "It grows."
    assert caption.data == "**Figure 1.** It **grows**." and book.numbers == {"live curve": 1}
