"""The pages: complete without a network, formulas drawn, code folded away, nothing of the machine in them."""
from __future__ import annotations

import base64
import re

import nbformat
import pytest

from workbook import site

PNG = base64.b64encode(bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c6360606000000004000146a1b4"
    "b50000000049454e44ae426082")).decode()


@pytest.fixture
def executed(tmp_path):
    """Two executed notebooks in a folder."""
    def output(kind, **data):
        return nbformat.v4.new_output(kind, **data)

    paths = []
    for stem, title in (("00_first", "First & foremost"), ("01_second", "The second")):
        code = nbformat.v4.new_code_cell("print(1 + 1)", outputs=[
            output("stream", text="1234567890 " * 40), output("display_data", data={"image/png": PNG})])
        cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\nSo $\\epsilon > 0$, but `$HOME` stays.\n\n$$x^2$$"),
                 nbformat.v4.new_code_cell("profile = 'cpu'", metadata={"tags": ["parameters"]}), code,
                 nbformat.v4.new_code_cell("slider", metadata={"tags": ["widget"]}, outputs=[
                     output("stream", text="a dead widget")])]
        paths.append(tmp_path / "executed" / f"{stem}.ipynb")
        paths[-1].parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), paths[-1])
    return paths


def test_every_notebook_becomes_a_page_and_the_index_leads_to_all(executed, tmp_path):
    *pages, index = site.build(executed, tmp_path / "site")
    assert [p.name for p in pages] == ["00_first.html", "01_second.html"] and index.name == "index.html"
    text = index.read_text()
    assert '<a href="00_first.html">First &amp; foremost</a>' in text and 'href="01_second.html"' in text


def test_one_notebook_alone_adds_to_what_is_there(executed, tmp_path):
    site.build(executed, tmp_path / "site")
    *pages, index = site.build(executed[1:], tmp_path / "site")
    assert [p.name for p in pages] == ["01_second.html"]
    assert "00_first.html" in index.read_text()
    alone = site.build(executed[:1], tmp_path / "other")[-1].read_text()
    assert 'href="00_first.html"' in alone and '<li><a href="01_second.html"' not in alone


def test_the_index_is_the_report_with_its_linked_pictures_inside(executed, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.png").write_bytes(base64.b64decode(PNG))
    drawn = nbformat.v4.new_output("display_data", data={"text/markdown": "![a](../results/a.png)"})
    cells = [nbformat.v4.new_markdown_cell("# The report"), nbformat.v4.new_code_cell("drawn", outputs=[drawn])]
    report = tmp_path / "executed" / f"{site.REPORT}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), report)
    written = site.build([*executed, report], tmp_path / "site")
    assert [p.name for p in written] == ["00_first.html", "01_second.html", "index.html"]
    for index in (written[-1], site.build(executed[:1], tmp_path / "site")[-1]):  # also where another one is run alone
        text = index.read_text()
        assert "The report" in text and f"data:image/png;base64,{PNG}" in text and "../" not in text
        assert 'href="00_first.html"' in text and site.REPORT not in text


def test_a_page_shows_the_results_and_folds_the_code(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0].read_text()
    assert f"data:image/png;base64,{PNG}" in re.sub(r"\s", "", page.replace("data:image", " data:image"))
    assert re.search(r'<details class="code"><summary>code</summary>.*print', page, re.S)
    assert "profile" not in page and "a dead widget" not in page
    assert "Out[" not in page and "In\xa0[" not in page and "In [" not in page


def test_formulas_are_drawn_without_a_network(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0].read_text()
    assert page.count("<math") == 2 and re.search("<mi>(&#x003F5;|\u03f5)</mi>", page) and "<code>$HOME</code>" in page
    assert not re.search(r'(src|href)="(https?:)?//', page) and "cdn" not in page.lower()


def test_a_page_is_for_light_and_dark_and_for_every_width(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0].read_text()
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert re.search(r"pre \{[^}]*overflow-x: auto", page) and re.search(r"img \{[^}]*max-width: 100%", page)
