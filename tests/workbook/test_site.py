"""The pages: complete without a network, pictures beside them, formulas drawn, code folded away."""
from __future__ import annotations

import base64
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from workbook import figures, pictures, references, site
from workbook.pictures import key
from workbook.site import inside

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
            output("stream", text="1234567890 " * 40),
            output("display_data", data={"image/png": PNG}, metadata={"image/png": {"alt": "A <dot> is seen."}}),
            output("display_data", data={"text/markdown": "**Figure 7.** A `<dot>` is *seen*, of $x$ pixels."}),
            output("display_data", data={"text/markdown": "And so on."})])
        cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\nSo $\\epsilon > 0$, but `$HOME` stays.\n\n$$x^2$$\n\n"
                                               "[The first](00_first.ipynb#figure-7), [the report](06_report.ipynb)"),
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


def test_the_index_is_the_report(executed, tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# The report"), nbformat.v4.new_code_cell("1")]
    report = tmp_path / "executed" / f"{site.REPORT}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), report)
    written = site.build([*executed, report], tmp_path / "site")
    assert [p.name for p in written] == ["00_first.html", "01_second.html", "index.html"]
    for index in (written[-1], site.build(executed[:1], tmp_path / "site")[-1]):  # also where another one is run alone
        text = index.read_text()
        assert "The report" in text and 'href="00_first.html"' in text and site.REPORT not in text


def test_a_page_shows_the_results_and_folds_the_code(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0].read_text()
    assert re.search(r'<details class="code"><summary>code</summary>.*print', page, re.S) and "And so on." in page
    assert "profile" not in page and "a dead widget" not in page
    assert "Out[" not in page and "In\xa0[" not in page and "In [" not in page


def test_a_picture_is_a_figure_with_its_caption_and_lies_beside_the_page(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0]
    (figure,) = BeautifulSoup(page.read_text(), "html.parser").find_all("figure")
    image, caption = figure.find("img"), figure.find("figcaption")
    assert figure["id"] == "figure-7" and caption.get_text().startswith("Figure 7. A <dot> is seen, of")
    assert caption.find("math") and caption.find("em") and page.read_text().count("Figure 7.") == 1
    assert image["alt"] == "A <dot> is seen." and image["loading"] == "lazy"
    assert (image["width"], image["height"]) == ("1", "1")
    assert (page.parent / image["src"]).read_bytes() == base64.b64decode(PNG)
    assert figure.find("a")["href"] == image["src"], "without scripts it is enlarged by a link"
    assert "data:image" not in page.read_text()


def test_a_rendering_at_twice_the_resolution_takes_the_place_of_its_own_picture_only(executed, tmp_path, monkeypatch):
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "results"))
    large = tmp_path / "results" / "cpu" / "figures" / "large"
    large.mkdir(parents=True)
    for name, color in ((f"dot-{key(base64.b64decode(PNG))}", "red"), ("dot-0123456789abcdef", "blue")):
        Image.new("RGB", (2, 2), color).save(large / f"{name}.webp", lossless=True)
    page = site.build(executed, tmp_path / "site")[0]
    image = BeautifulSoup(page.read_text(), "html.parser").find("figure").find("img")
    assert Image.open(page.parent / image["src"]).getpixel((0, 0)) == (255, 0, 0) and image["width"] == "1"
    assert len(list((page.parent / "pictures").iterdir())) == 1


def test_a_figure_is_drawn_at_twice_the_resolution_once_for_each_picture(own_results):
    def saved(*ends):
        figure = figures.blank(2, 1)
        figure.subplots().plot(ends)
        path = pictures.save(figure, "line", "cpu", "It rises.")
        (large,) = (path.parent / "large").iterdir()
        return path, large, large.stat().st_mtime_ns

    path, large, made = saved(0, 1)
    assert Image.open(large).size == tuple(2 * n for n in Image.open(path).size)
    assert key(path.read_bytes()) in large.name
    assert saved(0, 1) == (path, large, made)
    assert saved(1, 0)[1].name != large.name


def test_pictures_that_no_page_shows_any_more_are_taken_away(executed, tmp_path):
    site.build(executed, tmp_path / "site")
    old = tmp_path / "site" / "pictures" / "old.png"
    old.write_bytes(b"")
    site.build(executed[:1], tmp_path / "site")
    assert not old.exists() and len(list(old.parent.iterdir())) == 1


def test_links_between_notebooks_lead_from_page_to_page(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[1].read_text()
    assert '<a href="00_first.html#figure-7">The first</a>' in page and '<a href="index.html">the report</a>' in page
    assert ".ipynb" not in page


def test_what_a_notebook_cites_is_listed_at_the_end_of_its_page(tmp_path):
    label = references.read()[0].label
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell(f"# Citing\n\nAs in ([{label}](06_report.ipynb#References)).")])
    nbformat.write(notebook, tmp_path / "05_citing.ipynb")
    page = BeautifulSoup(site.build([tmp_path / "05_citing.ipynb"], tmp_path / "site")[0].read_text(), "html.parser")
    assert page.find("a", string=label)["href"] == "#References"
    entries = page.find(id="References").find_all_next("p")
    assert len(entries) == 1 and entries[0].get_text().startswith(f"{label}.")


def test_a_table_scrolls_in_a_box_and_its_numbers_are_aligned():
    table = """<table><thead><tr><th></th><th>PSNR, dB</th><th>why</th></tr>
        <tr><th>run</th><th></th><th></th></tr></thead>
        <tbody><tr><th rowspan="2">a</th><td>31.25</td><td>3 words more</td></tr>
        <tr><td>-0.5</td><td>as it is</td></tr></tbody></table>"""
    soup = BeautifulSoup(table, "html.parser")
    inside.boxed(soup, soup.find("table"))
    assert soup.find("table").parent["class"] == ["wide"] and soup.find("div")["tabindex"] == "0"
    assert [c.get_text() for c in soup.select(".number")] == ["PSNR, dB", "31.25", "-0.5"]
    assert [c.get_text() for c in soup.select("thead th")] == ["run", "PSNR, dB", "why"]  # one row


def test_formulas_are_drawn_without_a_network(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0].read_text()
    assert page.count("<math") == 3 and re.search("<mi>(&#x003F5;|\u03f5)</mi>", page) and "<code>$HOME</code>" in page
    assert not re.search(r'(src|href)="(https?:)?//', page) and "cdn" not in page.lower()


def test_a_page_is_for_light_and_dark_and_for_every_width(executed, tmp_path):
    page = site.build(executed, tmp_path / "site")[0].read_text()
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert re.search(r"pre \{[^}]*overflow-x: auto", page) and re.search(r"img \{[^}]*max-width: 100%", page)
