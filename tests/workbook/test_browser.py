"""As a person sees it: JupyterLab with its sliders, and the pages, in a real browser (Debian's Chromium)."""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tadlib.files import write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
from workbook import site

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")]
PATIENCE = 240_000  # milliseconds for a notebook to run through, beside other tests


@pytest.fixture(scope="module")
def browser():
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page; what went wrong in it or was said on its console as an error is in `page.errors`."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
    yield page
    page.close()


# ------------------------------------------------------------------------------------------------------- JupyterLab

@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab on the notebooks, committed runs, no training, no data but the sample."""
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
               "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={notebooks}",
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
        yield address
    finally:
        server.terminate()
        server.wait(30)


def test_the_sliders_of_a_notebook_answer(lab, page, tmp_path, photo):
    page.goto(f"{lab}/lab/tree/01_epsilon_study.ipynb?reset", timeout=PATIENCE)
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


# ------------------------------------------------------------------------------------------------------- the pages

@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return site.build(sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_overflows_and_every_picture_and_link_is_there(pages, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    for path in pages:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path.name
        broken = page.evaluate("[...document.images].filter(i => i.src && !(i.complete && i.naturalWidth)).length")
        assert broken == 0, path.name
        links = page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
        assert links and all((path.parent / link.split("#")[0]).exists() for link in links if "://" not in link), links
    assert page.errors == []


def test_a_figure_can_be_enlarged(pages, page):
    page.goto(pages[0].as_uri())
    dialog = page.locator("#large")
    assert not dialog.is_visible()
    page.locator("main img").first.click()
    assert dialog.is_visible() and page.evaluate("document.querySelector('#large img').naturalWidth") > 300
    dialog.click()
    assert not dialog.is_visible()
