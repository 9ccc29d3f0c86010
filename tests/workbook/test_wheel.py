"""The wheel: what `./run_all.sh --wheel` builds is small, whole, and does in any folder what the clone does."""
from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import files, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import tadlib
from tadlib.__main__ import main
from tadlib.data import sets
from tadlib.files import write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
from tadlib.tool import models
from workbook import studies

pytestmark = pytest.mark.slow
MODELS = {"tool_x4", "tool_x2", "tool_color", "robust", "joint_x4"}
FEW = {k: v for k, v in os.environ.items() if not k.startswith(("TAD_", "VIRTUAL_ENV", "PYTHON"))}


def listed() -> list[Path]:
    """The clone's files as git would commit them, so that nothing which only lies here gets into the wheel."""
    found = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [Path(name) for name in found.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """As one types it, in a copy whose .venv is this Python and says that it is installed."""
    copy = tmp_path_factory.mktemp("clone")
    for name in listed():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    python = copy / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    state = subprocess.run("{ pwd; cat pyproject.toml constraints.txt; } | cksum", shell=True, cwd=copy,
                           capture_output=True, text=True, check=True)
    (copy / ".venv" / "installed").write_text(state.stdout)
    done = subprocess.run([copy / "run_all.sh", "--wheel"], cwd=copy.parent, env=FEW, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    built, = (copy / "dist").iterdir()
    assert done.stdout.splitlines()[-1].startswith(f"dist/{built.name}: ")
    return built


def test_the_wheel_is_small_and_holds_the_library_and_its_models_and_nothing_else(wheel):
    assert wheel.name == f"tadlib-{tadlib.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 36e6
    with zipfile.ZipFile(wheel) as packed:
        sizes = {file.filename: file.file_size for file in packed.infolist()}
        facts, = (name for name in sizes if name.endswith(".dist-info/METADATA"))
        about = packed.read(facts).decode()
        entries = packed.read(facts.replace("METADATA", "entry_points.txt")).decode()
        stored = {name: packed.read(name) for name in sizes if name.startswith("tadlib/models/")}
    inside = {Path(name) for name in sizes if ".dist-info/" not in name}
    models = {file.parts[2].rpartition("-")[0]: file.parts[2] for file in inside if file.name == "weights.safetensors"}
    before = {start for folder in models.values() for start in led_to(ROOT / "results" / "cpu" / "runs" / folder)}
    assert any(start.startswith("tool_x4_short-") for start in before)
    assert models.keys() == MODELS <= studies.KEPT
    code = {file for file in listed() if file.parts[0] == "tadlib"}
    assert Path("tadlib/py.typed") in code and Path("tadlib/data/sets.toml") in code
    assert inside == code | {Path("tadlib/models", folder, name) for folder in models.values()
                             for name in ("record.json", "scores.csv", "weights.safetensors")} | {
        Path("tadlib/models", folder, name + way) for name, folder in models.items()
        for way in ("_down.onnx", "_up.onnx", "_refine.onnx")} | {
        Path("tadlib/models", folder, "record.json") for folder in before}  # of the others: how long they were trained
    for name, data in stored.items():
        if not name.endswith(".onnx"):
            assert data == (ROOT / "results" / "cpu" / "runs" / Path(name).relative_to("tadlib/models")).read_bytes()
    assert "tadlib = tadlib.__main__:" in entries
    assert "License-Expression: MIT" in about and "Provides-Extra: video" in about
    assert asked_for(wheel) == {"numpy", "onnxruntime", "pillow", "tqdm"}


def led_to(folder: Path) -> set[str]:
    """The folders of the runs that it goes on from, back to the first."""
    earlier = json.loads((folder / "record.json").read_text()).get("start", [])
    return {*earlier, *(one for start in earlier for one in led_to(folder.with_name(start)))}


def asked_for(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        facts, = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        asked = email.message_from_bytes(packed.read(facts)).get_all("Requires-Dist", [])
    return {need.name for need in map(Requirement, asked) if not need.marker}


def closure(wheel: Path) -> set[str]:
    """What the wheel asks for, and what those ask for."""
    found: set[str] = set()
    todo = [*asked_for(wheel)]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            asked = map(Requirement, requires(name) or [])
            todo += [need.name for need in asked if not need.marker or need.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of an environment that holds the wheel and what it asks for, and nothing else at all."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    packages, = place.glob("lib/python*/site-packages")
    for name in closure(wheel):
        for file in files(name) or []:
            source, target = Path(str(file.locate())), packages / file
            if ".." not in file.parts and source.suffix != ".pyc" and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-index", wheel], check=True, env=FEW, timeout=300)  # lacks it nothing?
    return python


def tadlib_of(installed: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([installed.with_name("tadlib"), *map(str, arguments)], cwd=cwd, capture_output=True,
                          text=True, env=FEW, timeout=300)


def test_the_environment_has_no_torch_and_is_small(installed, capsys):
    packages, = installed.parent.parent.glob("lib/python*/site-packages")
    for name in ("torch", "pandas", "safetensors", "onnx", "av", "workbook"):
        done = subprocess.run([installed, "-c", f"import {name}"], cwd=packages, env=FEW, capture_output=True,
                              text=True, timeout=60)
        assert "ModuleNotFoundError" in done.stderr, name
    sizes: dict[str, int] = {}
    for path in packages.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            top = path.relative_to(packages).parts[0]
            sizes[top] = sizes.get(top, 0) + path.stat().st_size
    with capsys.disabled():
        largest = sorted(sizes, key=sizes.get, reverse=True)[:6]
        print(f"\n{sum(sizes.values()) / 1e6:.0f} MB installed:",
              ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in largest))
    assert 100e6 < sum(sizes.values()) < 250e6


WAYS = {"x4": ("downscale", "upscale", []), "x2": ("downscale", "upscale", ["--scale", "2"]),
        "colour": ("decolorize", "colorize", []), "robust": ("downscale", "upscale", ["--model", "robust"])}


@pytest.mark.parametrize(("there", "back", "options"), WAYS.values(), ids=WAYS)
def test_without_torch_the_sample_goes_down_and_up_as_the_clone_does_it_with_torch(installed, tmp_path, monkeypatch,
                                                                                   there, back, options):
    """Also a picture whose sides are multiples of nothing, and one that is cut into tiles."""
    source, small, large = (tmp_path / name for name in ("source", "small", "large"))
    pictures = {name: to_array(image) for name, image in sets.load("Sample").items()}
    any_picture = next(iter(pictures.values()))
    if "robust" in options:  # the same words as tool_x4: one is enough
        pictures = {}
    pictures |= {"odd": any_picture[:93, :127], "wide": np.tile(any_picture[:53, :400], (1, 3, 1))[:, :1101]}
    for name, picture in pictures.items():
        write_png(source / f"{name}.png", picture)
    for arguments in ((there, source, small), (back, small, large)):
        done = tadlib_of(installed, *arguments, *options, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (
            0, f"{len(pictures)} of {len(pictures)} images written to {arguments[2]}\n"), done.stderr
    for name in [name for name in os.environ if name.startswith("TAD_")]:
        monkeypatch.delenv(name)
    ours, again = tmp_path / "ours", tmp_path / "again"
    assert main([there, str(source), str(ours), *options, "--backend", "torch"]) == 0
    assert main([back, str(small), str(again), *options, "--backend", "torch"]) == 0  # of the same small pictures
    for name, picture in pictures.items():
        for theirs, mine in ((small, ours), (large, again)):
            with Image.open(theirs / f"{name}.png") as one, Image.open(mine / f"{name}.png") as other:
                assert (one.size, one.mode, one.info) == (other.size, other.mode, other.info)
                assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1, name
        with Image.open(large / f"{name}.png") as result:
            assert result.size == picture.shape[1::-1]
    assert not list(installed.parent.parent.rglob("results"))


def test_without_torch_a_small_picture_is_refined(installed, tmp_path, photo):
    write_png(tmp_path / "photo.png", to_array(photo[:, :93, :126]))
    errors = []
    for steps in ("0", "3"):
        for arguments in (["downscale", "photo.png", "small.png", "--refine", steps],
                          ["upscale", "small.png", "big.png"]):
            done = tadlib_of(installed, *arguments, cwd=tmp_path)
            told = [line for line in done.stderr.splitlines() if " images in " not in line]  # on a slow machine
            assert (done.returncode, told) == (0, [])
        with Image.open(tmp_path / "big.png") as big, Image.open(tmp_path / "photo.png") as original:
            errors.append(np.square(np.asarray(big).astype(float) - np.asarray(original)).mean())
    assert errors[1] < 0.95 * errors[0]


def test_the_command_of_an_installed_wheel_lists_its_models_what_they_are_for_and_their_scores(installed, tmp_path):
    done = tadlib_of(installed, "models", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert {row.split()[0] for row in rows} == MODELS and head.split()[0] == "model"
    listed = json.loads(tadlib_of(installed, "models", "--json", cwd=tmp_path).stdout)
    said = {entry["model"]: entry for entry in listed}
    assert all(20 < said[name]["psnr_rgb"]["Sample"] < 60 for name in ("tool_x4", "tool_x2", "tool_color", "robust"))
    for name in MODELS:  # counted by torch here, read from the ONNX files there
        here = models.facts(name)
        assert said[name]["for"] == here["for"] and here["for"].startswith("tool: ")
        assert said[name]["steps"] == here["steps"] and said["tool_x4"]["steps"] == 37_000
        assert said[name]["multiply_adds"] == pytest.approx(here["multiply_adds"], abs=0.5)
    version = tadlib_of(installed, "--version", cwd=tmp_path)
    assert version.stdout.split()[-1] == tadlib.__version__


@pytest.mark.parametrize("arguments", [["evaluate", "--model", "tool_x4"], ["downscale", "clip.mp4", "small"],
                                       ["downscale", "photo.png", "small.jpg", "--for", "jpeg:90"],
                                       ["downscale", "photo.png", "small.png", "--backend", "torch"]],
                         ids=["evaluate", "a video", "JPEG", "torch"])
def test_what_needs_more_than_the_wheel_brings_says_what_to_install(installed, tmp_path, photo, arguments):
    (tmp_path / "clip.mp4").write_bytes(b"anything")
    write_png(tmp_path / "photo.png", to_array(photo))
    done = tadlib_of(installed, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    line, = done.stderr.splitlines()
    assert line.startswith("tadlib: ") and "tadlib[" in line
