"""Five minutes of somebody who has never seen the project: five questions, and where each is answered.

Read are README's opening (to "What it reaches") and 06's (to its first verdict). CONTRIBUTING says why.
"""
from __future__ import annotations

import json
import re

import pytest

from tadlib.settings import ROOT
from workbook import summary
from workbook.claims import VERDICTS, ledger
from workbook.verdicts import counts

QUESTIONS = {  # question -> what its answer has to contain, in both openings
    "What is task-aware downscaling?": ["training both sides together", "far more than an ordinary one"],
    "What did the report claim?": ["What was claimed", "robust", "44 %", "colour and video"],
    "What of it holds, and how much is it worth?": ["What holds", "claims that can be tested hold", "dB (RGB, x4"],
    "What of it does not hold?": ["What does not", "claims fail", "31 % better", "VSR net"],
    "What is new here?": ["New: why colour failed, and its cure", "pixel shuffle at both ends", "Beyond the report"],
}


def readme() -> str:
    return (ROOT / "README.md").read_text().partition("## What it reaches")[0]


def report() -> str:
    """06 to its first verdict: what its cells say and show, pictures by their captions."""
    cells = json.loads((ROOT / "notebooks" / "06_report.ipynb").read_text())["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        if source.startswith("## The verdicts"):
            return "\n".join(parts)
        parts.append(source if cell["cell_type"] == "markdown" else "")
        parts += ["".join(output["data"].get("text/markdown", "")) for output in cell.get("outputs", [])
                  if "data" in output]
    raise AssertionError("06 has no heading '## The verdicts'")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("opening", [readme, report], ids=["README", "06"])
def test_the_question_is_answered_in_the_opening(opening, question):
    text = " ".join(opening().split())
    assert [part for part in QUESTIONS[question] if part not in text] == []


@pytest.mark.parametrize("opening", [readme, report], ids=["README", "06"])
def test_the_sentences_of_an_opening_are_those_of_the_records(opening):
    links = {readme: "notebooks/06_report.ipynb", report: ""}
    for sentence in summary.sentences("cpu", links[opening]):
        assert sentence in opening(), "run `python -m workbook readme`, or 06 again"


def test_both_openings_show_a_picture_of_the_method_the_verdicts_and_what_is_new():
    for picture in ("fig01_quickstart", "verdicts", "isoluminant_chart"):
        assert f"results/cpu/figures/{picture}." in readme(), picture
    cells = json.loads((ROOT / "notebooks" / "06_report.ipynb").read_text())["cells"]
    opening = cells[: next(n for n, c in enumerate(cells) if "## The verdicts" in "".join(c["source"]))]
    shown = [kind for c in opening for o in c.get("outputs", []) for kind in o.get("data", {}) if "image/" in kind]
    assert len(shown) == 3


def test_the_opening_can_be_read_in_five_minutes():
    for text in (readme(), report()):
        prose = re.sub(r"```.*?```|<!--.*?-->|!\[.*?\]\([^)]*\)|<sub>.*?</sub>", " ", text, flags=re.S)
        assert len(prose.split()) < 700, len(prose.split())


def test_a_summary_of_other_verdicts_is_not_printed(monkeypatch):
    monkeypatch.setitem(summary.SAID, "flow", "not")
    assert "the summary was written for other verdicts: flow is 'holds'" in summary.opening()


def test_what_holds_what_does_not_and_the_rest_are_all_claims():
    claims = ledger().query("whose == 'the report'")
    number = counts(claims)
    assert list(number) == [v for v in VERDICTS if v in number] and sum(number.values()) == len(claims)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0*.ipynb")), ids=lambda path: path.name[:2])
def test_a_notebook_ends_with_what_it_does_not_show_and_two_exercises_with_solutions(path):
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    end = text.partition("## What this does not show")[2]
    exercises = re.split("## (?:Two e|E)xercises", end)[1]
    assert len(re.findall("<details><summary>(?:A s|S)olution</summary>", exercises)) == 2
    assert exercises.count("</details>") == 2
    for code in re.findall(r"```python\n(.*?)```", exercises, re.S):
        compile(code, path.name, "exec")


def test_the_solutions_of_06_run_as_they_stand():
    cells = json.loads((ROOT / "notebooks" / "06_report.ipynb").read_text())["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    from workbook import claims, tables

    given = {"claims": claims, "tables": tables, "ledger": ledger()}
    first, second = re.findall(r"```python\n(.*?)```", text.partition("## Exercises")[2], re.S)
    exec(first, given)
    assert len(given["close"]) == 6 and {"task_aware", "task_aware_tool"} < set(given["close"])  # as is said there
    exec(second, given)
    assert given["claim"].verdict(given["gain"]) == "partly"
