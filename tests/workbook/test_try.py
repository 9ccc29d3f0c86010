"""The page "Try it" in a real browser (Debian's Chromium), opened as a file: as the command, without a request."""
from __future__ import annotations

import json
import re
import shutil
import time

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tadlib.__main__ import main
from tadlib.data import sets
from tadlib.files import read_image, read_picture, write_png
from tadlib.pixels import from_array, pad_to_multiple, to_array, to_codes, to_float
from tadlib.resize import downscale, upscale
from tadlib.tool import export, models
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import Origin
from workbook import site
from workbook.site import try_page

PATIENCE = 300_000  # milliseconds for a picture of half a megapixel, beside other tests


def test_the_lock_pins_the_engine_and_holds_no_address():
    lock = (try_page.SOURCES / "package-lock.json").read_text()
    wanted = json.loads((try_page.SOURCES / "package.json").read_text())["dependencies"]
    packages = json.loads(lock)["packages"]
    assert "://" not in lock and "resolved" not in lock
    assert re.fullmatch(r"\d+\.\d+\.\d+", wanted["onnxruntime-web"])
    assert packages["node_modules/onnxruntime-web"]["version"] == wanted["onnxruntime-web"]
    assert all("integrity" in package for name, package in packages.items() if name)


def test_without_npm_the_page_says_so_and_the_other_pages_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(try_page, "BUILD", tmp_path / "build")
    monkeypatch.setattr(try_page.shutil, "which", lambda name: None)
    *pages, index = site.build(sorted(try_page.ROOT.glob("notebooks/00_*.ipynb")), tmp_path / "site")
    assert pages and index.exists()
    page = (tmp_path / "site" / "try.html").read_text()
    assert "needs npm" in page and "<script type=\"text/plain\"" not in page


# ------------------------------------------------------------------------------------------------- in the browser

@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The page, as a batch leaves it among the others."""
    if not shutil.which("npm"):
        pytest.skip("no npm on this machine")
    folder = tmp_path_factory.mktemp("site")
    site.build(sorted(try_page.ROOT.glob("notebooks/00_*.ipynb")), folder)
    page = folder / "try.html"
    if "npm could not" in page.read_text():
        pytest.skip("npm could not fetch the engine: no network")
    return page


@pytest.fixture
def page(page, tried):
    """The page, open; what went wrong is in `page.errors`, and every request that left it in `page.asked`."""
    page.asked = []
    page.context.on("request", lambda request: page.asked.append(request.url))
    page.goto(tried.as_uri())
    yield page
    assert page.errors == []
    assert [url for url in page.asked if not url.startswith(("blob:", "data:"))] == [tried.as_uri()]


def done(page, patience=PATIENCE):
    """Waits for the result; returns what the page says then."""
    page.wait_for_function("document.querySelector('#say.wrong') || !document.querySelector('#result').hidden",
                           timeout=patience)
    return page.locator("#say").inner_text()


def saved(page, button, path):
    """What a button saves, as read by us."""
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(path)
    return read_picture(path)


def sample(page, name, path):
    """A bundled photograph's file, as it lies in the page."""
    script = "name => [...document.querySelectorAll('#samples button')].find(b => b.innerText === name).style" \
             ".backgroundImage.match(/base64,([^\")]+)/)[1]"
    path.write_bytes(try_page.base64.b64decode(page.evaluate(script, name)))
    return path


def furthest(a, b):
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def decibels(a, b):
    return 10 * np.log10(255**2 / max(float(np.mean((a.astype(float) - b) ** 2)), 1e-9))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way", "down", "up"), [
    ("chelsea", "tool_x4", ["downscale"], ["upscale"]),
    ("coffee", "tool_x2", ["downscale", "--scale", "2"], ["upscale"]),
    ("chelsea", "tool_color", ["decolorize"], ["colorize"])])
def test_a_bundled_photograph_comes_out_as_from_the_command(page, tmp_path, name, way, down, up):
    photograph = sample(page, name, tmp_path / "photograph.jpg")
    page.locator(f"input[value={way}]").check()
    page.get_by_role("button", name=name).click()
    said = done(page)

    codes, info = saved(page, "Save the small PNG", tmp_path / "small.png")
    large, _ = saved(page, "Save the result", tmp_path / "large.png")
    assert main([*down, str(photograph), str(tmp_path / "ours.png")]) == 0
    assert main([*up, str(tmp_path / "ours.png"), str(tmp_path / "ours_large.png")]) == 0
    ours, facts = read_picture(tmp_path / "ours.png")
    assert furthest(codes, ours) <= 2 and info["tad"] == facts["tad"]
    assert furthest(large, read_image(tmp_path / "ours_large.png")) <= 2
    original = read_image(photograph)
    shown = re.search(r"([0-9.]+) dB RGB, [0-9.]+ dB Y, \w+ ([0-9.]+) dB RGB", said)
    assert abs(float(shown[1]) - decibels(large, original)) < 0.02
    assert float(shown[1]) > float(shown[2]) + 1  # than the ordinary way

    assert main([*up, str(tmp_path / "small.png"), str(tmp_path / "theirs_large.png")]) == 0  # the page's, by us
    assert furthest(large, read_image(tmp_path / "theirs_large.png")) <= 2
    page.locator("#little").set_input_files(tmp_path / "ours.png")  # ours, by the page
    assert done(page) == f"enlarged by {way}"
    assert furthest(saved(page, "Save the result", tmp_path / "back.png")[0], large) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("way", try_page.WAYS)
def test_a_refined_small_image_is_that_of_the_library(page, tmp_path, way):
    photograph = skimage.data.astronaut()[:98, 128:330]
    write_png(tmp_path / "photograph.png", photograph)
    page.locator("input[name=steps][value='3']").check()
    page.locator(f"input[value={way}]").check()
    page.locator("#photo").set_input_files(tmp_path / "photograph.png")
    said = done(page)
    codes, _ = saved(page, "Save the small PNG", tmp_path / "small.png")
    export.export(way, tmp_path / way)
    codec = Codec.open(tmp_path / way, backend="onnx")
    plain, ours = codec.downscale(photograph), codec.downscale(photograph, refine=3)
    codes = codes[..., 0] if ours.ndim == 2 else codes
    assert furthest(codes, ours) <= 2 and decibels(codes, ours) > decibels(codes, plain) + 6
    assert "refined in 3 steps" in said
    shown, before = (decibels(codec.upscale(small, photograph.shape[:2]), photograph) for small in (ours, plain))
    assert abs(float(re.search(r"([0-9.]+) dB RGB", said)[1]) - shown) < 0.05 and shown > before + 0.3
    like = page.locator("#all figure", has_text=re.compile("small image|hides the colours")).first.inner_text()
    assert 25 < float(re.search(r"([0-9.]+) dB from", like)[1]) < 60


@pytest.mark.slow
def test_in_tiles_and_of_odd_sizes_it_is_as_in_one_piece_and_bicubic_is_the_library_s(page, tmp_path):
    odd = np.tile(skimage.data.astronaut()[100:231, 60:430], (1, 3, 1))[:, :1101]  # 131 x 1101
    write_png(tmp_path / "odd.png", odd)
    page.locator("#photo").set_input_files(tmp_path / "odd.png")
    said = done(page)
    codes, info = saved(page, "Save the small PNG", tmp_path / "small.png")
    large, _ = saved(page, "Save the result", tmp_path / "large.png")
    whole = Codec(Codec.find("tool_x4").backend, tile=4000)
    assert Origin.of(info, codes).size == odd.shape[:2]
    assert furthest(codes, whole.downscale(odd)) <= 1 and furthest(large, whole.upscale(codes, odd.shape[:2])) <= 1

    small = to_codes(downscale(to_float(pad_to_multiple(from_array(odd), 4)), 4).clamp(0, 1))[0]
    plain = to_array(to_codes(upscale(to_float(small), 4).clamp(0, 1))[0])[:131, :1101]
    assert abs(float(re.search(r"bicubic ([0-9.]+)", said)[1]) - decibels(plain, odd)) < 0.02


@pytest.mark.slow
def test_what_cannot_be_done_is_said_and_the_page_goes_on(page, tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    page.locator("#photo").set_input_files(tmp_path / "no.png")
    assert "cannot be read" in done(page)
    other = np.zeros((8, 8, 3), np.uint8)
    write_png(tmp_path / "other.png", other, Origin("aetad", 4, (32, 32)).chunk())
    page.locator("#little").set_input_files(tmp_path / "other.png")
    page.wait_for_function("document.querySelector('#say').innerText.includes('aetad')", timeout=PATIENCE)
    page.locator("input[value=tool_color]").check()
    write_png(tmp_path / "colours.png", skimage.data.astronaut()[:32, :32])
    page.locator("#little").set_input_files(tmp_path / "colours.png")
    page.wait_for_function("document.querySelector('#say').innerText.includes('has colours')", timeout=PATIENCE)
    page.locator("#little").set_input_files(tmp_path / "other.png")
    write_png(tmp_path / "plain.png", other)  # says nothing: by the way that is chosen
    page.locator("#little").set_input_files(tmp_path / "plain.png")
    page.locator("#result").wait_for(timeout=PATIENCE)
    assert page.locator("#say").inner_text() == "enlarged by tool_color"
    page.evaluate("document.querySelector('#result').hidden = true")
    write_png(tmp_path / "cropped.png", other, Origin("tool_x2", 2, (90, 90)).chunk())  # still by what made it
    page.locator("#photo").set_input_files(tmp_path / "cropped.png")
    assert done(page) == "enlarged by tool_x2"
    page.evaluate("document.querySelector('#result').hidden = true")
    write_png(tmp_path / "older.png", other, Origin("tool_x2", 2, (16, 16), weights="0123abcd").chunk())
    page.locator("#photo").set_input_files(tmp_path / "older.png")
    assert done(page) == "enlarged by tool_x2, but made by other weights of it: worse than it could be"
    page.evaluate("document.querySelector('#result').hidden = true")
    write_png(tmp_path / "odd.png", other, Origin("tool_x2", 2, (16, 16), weights="no digest").chunk())
    page.locator("#photo").set_input_files(tmp_path / "odd.png")
    assert done(page) == "enlarged by tool_x2"
    assert page.locator("#all figure", has_text="task-aware").inner_text().endswith("16 × 16")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_every_width_and_answers_to_the_keyboard(page, tmp_path, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    fits = "document.documentElement.scrollWidth <= window.innerWidth"
    assert page.evaluate(fits)
    write_png(tmp_path / "photograph.png", skimage.data.astronaut()[:128, 128:320])
    page.locator("#photo").set_input_files(tmp_path / "photograph.png")
    done(page)
    page.locator("#loupe figure").nth(2).wait_for()
    assert page.evaluate(fits)
    slider = page.locator("#slider")
    slider.focus()
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.querySelector('#wipe')).getPropertyValue('--edge')") == "0%"
    page.locator("#wipe").focus()
    before = page.evaluate("document.querySelector('#spot').style.left")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("before => document.querySelector('#spot').style.left !== before", arg=before)
    reached = set()  # by Tab alone
    page.evaluate("document.activeElement.blur()")
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    assert {"photo", "little", "chelsea", "slider", "wipe", "Save the small PNG", "Save the result"} <= reached


@pytest.mark.slow
def test_a_running_picture_can_be_stopped_and_another_be_dropped(page, tmp_path):
    page.get_by_role("button", name="astronaut").click()
    page.get_by_role("button", name="Stop").click()
    assert page.locator("#say").inner_text() == "stopped" and not page.locator("#bar").is_visible()
    write_png(tmp_path / "small.png", np.full((10, 12, 3), 99, np.uint8), Origin("tool_x4", 4, (38, 46)).chunk())
    page.evaluate("""bytes => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([Uint8Array.from(bytes)], "small.png", { type: "image/png" }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    }""", list((tmp_path / "small.png").read_bytes()))
    assert done(page) == "enlarged by tool_x4"  # its chunk says that it is no photograph
    assert page.locator("#all figure", has_text="task-aware").inner_text().endswith("46 × 38")


@pytest.fixture(scope="module")
def layerless():
    """The files of a network without layers, as they lie in the page: whole pictures pass in seconds."""
    files = export.graphs(models.find("bicubic"), "tool_x4")
    return {f"f_{name.removesuffix('.onnx')}": try_page.packed(content) for name, content in files.items()}


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["whole, without layers", "the tool until it is stopped"])
def test_as_many_pixels_as_cameras_have_pass_while_the_page_answers(page, tmp_path, layerless, whole):
    width, height = (6000, 4000) if whole else (4000, 3000)
    picture = Image.fromarray(read_image(sets.files("Sample")[2])).resize((width, height), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "large.jpg", quality=90)
    page.evaluate("""files => {
      for (const [id, text] of Object.entries(files)) if (document.getElementById(id))
        document.getElementById(id).textContent = text;
      window.late = [], window.seen = new Set();
      new MutationObserver(() => seen.add(document.querySelector("#say").textContent)).observe(
        document.querySelector("#say"), { childList: true });
      addEventListener("keydown", event => requestAnimationFrame(() => late.push(performance.now() - event.timeStamp)));
    }""", layerless if whole else {})
    page.locator("#photo").set_input_files(tmp_path / "large.jpg")
    page.locator("#bar").wait_for(timeout=PATIENCE)
    until = time.time() + PATIENCE / 1000
    tiles = "[...seen].filter(said => said.includes('tiles')).length"
    while page.locator("#bar").is_visible() and time.time() < until and (whole or page.evaluate(tiles) < 8):
        page.keyboard.press("Shift")
        page.wait_for_timeout(100)
    count, late = page.evaluate(tiles), sorted(page.evaluate("late"))
    print(f"{count} tiles, {len(late)} keys, at most {late[-1]:.0f} ms until the next frame")
    assert len(late) > 10 and late[9 * len(late) // 10] < 200  # one that others on the machine held up is no matter
    if whole:
        assert done(page).startswith("PSNR task-aware") and count > 40
        small, info = saved(page, "Save the small PNG", tmp_path / "small.png")
        assert small.shape == (height // 4, width // 4, 3) and Origin.of(info, small).size == (height, width)
        assert page.evaluate("document.querySelector('#all canvas').width") == 1600
    else:
        assert count >= 8
        page.get_by_role("button", name="Stop").click()
        assert page.locator("#say").inner_text() == "stopped" and not page.locator("#bar").is_visible()
