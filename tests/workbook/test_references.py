"""What is cited is in the list, under the label by which it is cited, and the list is read or refused by the line."""
from __future__ import annotations

import json
import re

import pytest

from tadlib.errors import BadInput
from tadlib.settings import ROOT
from workbook import references
from workbook.references import cited, listed, read

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ENTRY = "@misc{{{key},\n  author = {{{author}}},\n  title = {{T}},\n  year = {{{year}}},\n}}\n"


def entry(key: str = "a", author: str = "Kim, H.", year: str = "2018") -> str:
    return ENTRY.format(key=key, author=author, year=year)


def texts(notebook) -> list[str]:
    return ["".join(c["source"]) for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "markdown"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_what_a_notebook_cites_is_in_the_list(notebook):
    known = {r.label for r in read()}
    assert set(cited("\n".join(texts(notebook)))) <= known


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_a_work_is_never_named_with_its_year_but_by_a_link(notebook):
    """So that "Zhang et al. 2016" without a link does not stay behind."""
    families = {family for r in read() for family in r.families[:1]}
    for text in texts(notebook):
        bare = references.LINK.sub("", text)
        found = re.findall(rf"\b(?:{'|'.join(sorted(families))})(?: et al\.| and \w+)?,? \(?(?:19|20)\d\d", bare)
        assert not found, found


def test_the_reports_source_and_the_method_s_are_cited_where_a_reader_begins():
    for name in ("00_quickstart", "06_report"):
        text = "\n".join(texts(ROOT / "notebooks" / f"{name}.ipynb"))
        assert {"Kim et al., 2018", "Schaefer, 2019"} <= set(cited(text)), name


def test_labels_have_one_two_or_the_first_of_more_authors():
    text = (entry("a", "Jordan, Keller") + entry("b", "Kingma, Diederik P. and Ba, Jimmy")
            + entry("c", "Kim, H. and Choi, M. and Lim, B."))
    assert [r.label for r in read(text)] == ["Jordan, 2018", "Kim et al., 2018", "Kingma and Ba, 2018"]


def test_a_link_within_06_and_one_to_it_are_both_citations():
    assert cited("[Kim et al., 2018](06_report.ipynb#References), [Xia, 2018](#References), [x](01_epsilon.ipynb)") == [
        "Kim et al., 2018", "Xia, 2018"]


def test_the_list_names_all_escapes_what_it_has_to_and_links_what_can_be_read():
    page = listed().data
    assert page.count("<p>") == len(read())
    for reference in read():
        assert f"<b>{reference.label}.</b>" in page
    assert 'href="https://arxiv.org/abs/2005.05650"' in page and "Kyoung Mu Lee" in page


@pytest.mark.parametrize(("text", "reason"), [
    ("@misc{a,\n  title = T,\n}\n", "line 2: cannot be read"),
    ("@misc{a,\n", "a is not closed"),
    ("stray\n", "line 1: cannot be read: stray"),
    (entry() + entry(), "a is there twice"),
    (entry("a") + entry("b"), "Kim, 2018 is there twice"),
    ("@misc{a,\n  author = {Kim, H.},\n}\n", "a has no title and no year"),
    (entry(author="Heewon Kim"), "a has no authors as Family, Given"),
    ("@misc{a,\n  year = {2018},\n  year = {2019},\n}\n", "line 3: cannot be read"),
])
def test_what_cannot_be_read_is_named(text, reason):
    with pytest.raises(BadInput, match=reason):
        read(text)
