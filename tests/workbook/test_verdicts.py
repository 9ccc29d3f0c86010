"""The ledger as it is shown: every claim has its box and its row, and nothing is said by colour alone."""
from __future__ import annotations

import re

import pandas as pd
import pytest

from workbook import figures
from workbook.claims import CLAIMS, VERDICTS, ledger
from workbook.markup import beside, cell, table
from workbook.verdicts import LOOKS, THEMES, WORDS, board, counts, ledger_table


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return ledger()


def test_every_verdict_has_a_sign_and_every_claim_words_for_its_box():
    assert list(LOOKS) == list(VERDICTS)
    assert len({sign for _, _, sign in LOOKS.values()}) == len(VERDICTS)
    assert {c.id for c in CLAIMS if not c.ours} <= WORDS.keys() and {c.notebook for c in CLAIMS} <= THEMES.keys()


def test_the_board_has_a_box_for_each_claim_of_the_report_and_counts_them(whole):
    figure = board(whole)
    texts = [t.get_text() for t in figure.axes[0].texts]
    claims = whole[whole["whose"] == "the report"]
    for id in claims["id"]:
        assert texts.count(WORDS[id]) == 1
    assert f"✓ holds: {counts(claims)['holds']}" in texts


def test_no_text_of_the_board_leaves_its_box(whole):
    figure = board(whole)
    figures.readable(figure)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    for text in (t for t in ax.texts if t.get_text() in WORDS.values()):
        box = text.get_window_extent().transformed(ax.transData.inverted())
        assert box.x1 < int(text.get_position()[0]) + 0.99 and abs(box.height) < 0.9, text.get_text()


def test_the_table_has_a_row_a_claim_with_its_verdict_rule_and_change(whole):
    page = ledger_table(whole).data
    assert page.startswith('<table class="ledger" data-sortable>')
    assert re.findall(r'<tr data-verdict="([^"]*)">', page) == whole["verdict"].tolist()
    assert page.count("Rule changed 2026-11-25:") == 3
    assert '<td class="number" align="right">−0.31</td>' in page  # the number, and its unit beside it


def test_numbers_of_a_table_have_equally_many_digits_and_stand_on_the_right():
    rows = pd.DataFrame({"run": ["`a`", "b < c"], "n": [1200, 7], "dB": [1.234, None], "yes": [True, False]})
    page = table(rows, {"dB": "PSNR, dB"}).data
    assert '<th scope="col" class="number" align="right">PSNR, dB</th>' in page
    for part in ("<code>a</code>", "b &lt; c", ">1,200</td>", ">1.23</td>", 'align="right"></td>', ">yes</td>"):
        assert part in page, part
    assert [cell(v, 1) for v in (-1.25, 5, None, float("nan"))] == ["−1.2", "5", "", ""]


def test_printed_stands_above_measured_in_one_table():
    printed = pd.DataFrame({"Set5": [1.0]}, index=["a"])
    measured = pd.DataFrame({"params": [7], "Set5": [2.0]}, index=["b"])
    page = beside(printed, measured, "network", digits={"params": 0}).data
    assert page.index("printed") < page.index("measured") and page.index(">params<") < page.index(">Set5<")
    assert ">7</td>" in page and ">2.00</td>" in page
