"""As a person sees it: JupyterLab with its sliders, and the pages, in a real browser (Debian's Chromium)."""
from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from bs4 import BeautifulSoup

from tadlib.files import write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
from workbook import site
from workbook.site.inside import SLIDERS

pytestmark = pytest.mark.slow
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PATIENCE = 240_000  # milliseconds for a notebook to run through, beside other tests


# ------------------------------------------------------------------------------------------------------- JupyterLab

@pytest.fixture(scope="module")
def lab(tmp_path_factory, request):
    """The folder of the notebooks in a JupyterLab that was started in notebooks/, as README does, or (".") above it;
    committed runs, no training, no data but the sample.
    """
    tmp_path, root = tmp_path_factory.mktemp("lab"), getattr(request, "param", "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "settings" / "@jupyterlab"
    for plugin, text in (("notebook-extension/tracker", '{"windowingMode": "none"}'),  # every cell is in the page
                         ("apputils-extension/notification", '{"fetchNews": "false", "checkForUpdates": false}')):
        file = settings / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    notebooks = tmp_path / "notebooks"  # a copy: JupyterLab saves
    shutil.copytree(ROOT / "notebooks", notebooks)
    environment = {k: v for k, v in os.environ.items() if k not in ("TAD_DATA", "TAD_RESULTS")}
    environment |= {"TAD_NO_TRAINING": "1", "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
                    "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "work")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
               "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={tmp_path / root}",
               "--LabApp.news_url=None", "--LabApp.extension_manager=readonly"]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=1)
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "lab.log").read_text()
                time.sleep(0.5)
        yield f"{address}/lab/tree/{notebooks.relative_to(tmp_path / root).as_posix()}"
    finally:
        server.terminate()  # it ends the kernels first, and was seen to hang there; they end without it, too
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def test_the_sliders_of_a_notebook_answer(lab, page, tmp_path, photo):
    page.goto(f"{lab}/01_epsilon_study.ipynb?reset", timeout=PATIENCE)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=PATIENCE)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=PATIENCE)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    handles, picture = page.locator(".noUi-handle"), page.locator(".widget-image")
    picture.wait_for(timeout=PATIENCE)
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    epsilon, sigma = handles.nth(0), handles.nth(1)

    def shown() -> str:
        return picture.get_attribute("src")

    def changes(before: str) -> str:
        page.wait_for_function("before => document.querySelector('.widget-image').src !== before", arg=before,
                               timeout=PATIENCE)
        return shown()

    first = shown()
    sigma.focus()
    page.keyboard.press("ArrowRight")
    noisy = changes(first)

    epsilon.scroll_into_view_if_needed()
    box = epsilon.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=5)
    page.mouse.move(x + 120, y, steps=10)
    page.wait_for_timeout(1500)
    assert shown() == noisy, "drawn while it was dragged"
    page.mouse.up()
    other = changes(noisy)

    write_png(tmp_path / "mine.png", to_array(photo))
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="own picture").click()
    chosen.value.set_files(tmp_path / "mine.png")
    changes(other)
    menu = page.locator(".widget-dropdown select").last
    assert menu.locator("option:checked").inner_text() == "mine.png"
    assert page.errors == []


@pytest.mark.parametrize("lab", ["notebooks", "."], indirect=True)
def test_no_picture_of_any_notebook_is_broken(lab, page):
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, 4)
        outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
        wanted = sum(any(kind.startswith("image/") for kind in o.get("data", {})) for o in outputs)
        page.goto(f"{lab}/{path.name}?reset", timeout=PATIENCE)
        page.wait_for_function("count => document.querySelectorAll('.jp-Notebook .jp-Cell').length === count",
                               arg=len(notebook.cells), timeout=PATIENCE)
        page.wait_for_function("count => document.querySelectorAll('.jp-Notebook .jp-OutputArea img').length >= count",
                               arg=wanted, timeout=PATIENCE)
        page.wait_for_function("[...document.images].every(i => i.complete)", timeout=PATIENCE)
        assert page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src.slice(0, 99))") == []
    assert page.errors == []


def test_no_picture_or_link_of_a_notebook_leads_above_its_folder():  # where JupyterLab and code hosts do not follow
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            shown = [o.get("data", {}) for o in cell.get("outputs", [])]
            texts = ["".join(data.get(kind, "")) for data in shown for kind in ("text/markdown", "text/html")]
            texts += [cell.source] if cell.cell_type == "markdown" else []
            links = [link for text in texts for link in re.findall(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)", text)]
            for link in ("".join(groups) for groups in links):
                if not re.match(r"https?:|#|data:", link):
                    assert (path.parent / link.partition("#")[0]).exists() and ".." not in link, (path.name, link)


# ------------------------------------------------------------------------------------------------------- the pages

WIDTHS = (390, 1000, 1600)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return site.build(NOTEBOOKS, tmp_path_factory.mktemp("site"))


def test_every_picture_of_the_pages_is_there_with_a_caption_and_an_alt_text_of_its_own(pages, page):
    for path in pages:
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach(i => { i.loading = 'eager' })")
        page.wait_for_function("[...document.querySelectorAll('main img')].every(i => i.complete)")
        assert page.evaluate("[...document.querySelectorAll('main img')].filter(i => !i.naturalWidth).length") == 0
        lacking = page.evaluate("""[...document.querySelectorAll('main img')].filter(i => !(i.alt.length > 9
            && i.hasAttribute('width') && i.closest('figure')?.querySelector('figcaption')?.textContent.length > 9))
            .map(i => i.getAttribute('src'))""")
        assert lacking == [], path.name
        alts = page.evaluate("[...document.querySelectorAll('figure.picture img')].map(i => i.alt)")
        assert len(set(alts)) == len(alts) > 0, path.name
    assert page.errors == []


def test_nothing_overflows_at_any_width(pages, page):
    for path in pages:
        page.goto(path.as_uri())
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (path.name, width)
    assert page.errors == []


def test_a_wide_screen_gets_larger_figures_and_a_phone_readable_ones(pages, page):
    page.goto(pages[0].as_uri())
    figure = page.locator("figure.picture img").first
    page.set_viewport_size({"width": 1600, "height": 900})
    assert figure.bounding_box()["width"] > 1000
    page.set_viewport_size({"width": 390, "height": 900})
    box = figure.locator("..")
    assert figure.bounding_box()["width"] > 500 and box.bounding_box()["width"] <= 390


def test_every_link_of_the_pages_leads_somewhere_and_none_is_heavy(pages):
    read = {path.name: BeautifulSoup(path.read_text(), "html.parser") for path in pages}
    for path in pages:
        assert path.stat().st_size < 3e6, path.name
        moved = {image["src"] for image in read[path.name].select("figure.drag img")}
        assert sum((path.parent / name).stat().st_size for name in moved) < 2e6, path.name
        for link in read[path.name].find_all("a", href=True):
            target, _, place = link["href"].partition("#")
            if "://" not in link["href"]:
                assert not target or (path.parent / target).exists(), (path.name, link["href"])
                assert not place or read[target or path.name].find(id=place), (path.name, link["href"])


def test_a_figure_is_enlarged_by_mouse_and_keyboard(pages, page):
    page.goto(pages[0].as_uri())
    dialog, figure = page.locator("#large"), page.locator("figure.picture a").first
    figure.click()
    assert dialog.is_visible() and page.evaluate("document.querySelector('#large img').naturalWidth") > 300
    dialog.locator("img").click()
    assert not dialog.is_visible()
    figure.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    assert dialog.locator("img").get_attribute("alt") == figure.locator("img").get_attribute("alt")
    page.keyboard.press("Escape")
    assert not dialog.is_visible() and page.url == pages[0].as_uri()


def test_every_slider_of_the_pages_answers_to_the_keyboard(pages, page):
    moved = set()
    for path in pages:
        page.goto(path.as_uri())
        for drag in page.locator("figure.drag").all():
            drag.scroll_into_view_if_needed()
            page.wait_for_function("[...document.querySelectorAll('.window img')].every(i => i.complete)")
            for control in drag.locator("label").all():
                said, seen = drag.locator(".said").all_inner_texts(), drag.locator(".panels").screenshot()
                position = control.locator("output").inner_text()
                control.locator("input").press("ArrowRight")
                assert control.locator("output").inner_text() != position
                assert drag.locator(".said").all_inner_texts() != said, path.name
                assert drag.locator(".panels").screenshot() != seen, path.name
                alt = drag.locator("img").last.get_attribute("alt")
                assert alt.endswith(drag.locator(".said").last.inner_text())
                moved.add(path.stem)
    assert moved == {path.stem for path in pages} & SLIDERS.keys() and page.errors == []


def test_without_scripts_a_slider_is_a_still_grid_and_a_figure_a_link(pages, browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(next(p for p in pages if p.stem == "01_epsilon_study").as_uri())
    assert not page.locator(".controls").is_visible() and page.locator("noscript img").first.is_visible()
    assert page.locator("noscript td").count() > 20
    page.locator("figure.picture a").first.click()
    assert "/pictures/" in page.url
    page.context.close()


def test_a_ledger_is_sorted_and_filtered(page, tmp_path):
    rows = [("b", 9.5, "holds"), ("a", 10.25, "not"), ("c", "\N{MINUS SIGN}2.0", "holds")]
    table = "".join(f'<tr><td>{name}</td><td>{value}</td><td class="verdict {verdict}">{verdict}</td></tr>'
                    for name, value, verdict in rows)
    ledger = nbformat.v4.new_output("display_data", data={"text/html": f"""<table class="ledger" data-sortable><thead>
        <tr><th>claim</th><th>measured, dB</th><th>verdict</th></tr></thead><tbody>{table}</tbody></table>"""})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Ledger"),
                                               nbformat.v4.new_code_cell("ledger", outputs=[ledger])])
    nbformat.write(notebook, tmp_path / "08_ledger.ipynb")
    page.goto(site.build([tmp_path / "08_ledger.ipynb"], tmp_path / "site")[0].as_uri())

    def shown():
        return [cell.inner_text() for cell in page.locator("tbody tr:visible td:first-child").all()]

    assert shown() == ["b", "a", "c"]
    page.get_by_role("button", name="measured, dB").press("Enter")
    assert shown() == ["c", "b", "a"]  # as numbers, not as text
    page.get_by_role("button", name="measured, dB").click()
    assert shown() == ["a", "b", "c"]
    page.get_by_label("verdict").select_option("holds")
    assert shown() == ["b", "c"] and page.locator(".filter output").inner_text() == "2 of 3"
    page.get_by_label("filter the table").fill("2.0")
    assert shown() == ["c"] and page.errors == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours = page.evaluate("""[...document.querySelectorAll('td.verdict')].map(c => getComputedStyle(c).color)
            .concat(getComputedStyle(document.body).backgroundColor)""")
        *verdicts, paper = (_luminance(colour) for colour in colours)
        assert len(set(verdicts)) == 2
        for verdict in verdicts:
            assert (max(verdict, paper) + 0.05) / (min(verdict, paper) + 0.05) >= 4.5  # WCAG 2.2, level AA


def _luminance(colour: str) -> float:
    """Relative, of a colour as a browser says it, "rgb(20, 96, 47)"."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in (int(v) / 255 for v in re.findall(r"\d+", colour)[:3])]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
