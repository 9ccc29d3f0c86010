"""The wheel: what `./run_all.sh --wheel` builds is small, whole, and does in any folder what the clone does."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import files, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import tadlib
from tadlib.files import write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
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
    assert wheel.stat().st_size < 26e6
    with zipfile.ZipFile(wheel) as packed:
        sizes = {file.filename: file.file_size for file in packed.infolist()}
        facts, = (name for name in sizes if name.endswith(".dist-info/METADATA"))
        about = packed.read(facts).decode()
        entries = packed.read(facts.replace("METADATA", "entry_points.txt")).decode()
        stored = {name: packed.read(name) for name in sizes if name.startswith("tadlib/models/")}
    inside = {Path(name) for name in sizes if ".dist-info/" not in name}
    models = {file.parts[2].rpartition("-")[0]: file.parts[2] for file in inside if file.parts[1] == "models"}
    assert models.keys() == MODELS <= studies.KEPT
    code = {file for file in listed() if file.parts[0] == "tadlib"}
    assert Path("tadlib/py.typed") in code and Path("tadlib/data/sets.toml") in code
    assert inside == code | {Path("tadlib/models", folder, name) for folder in models.values()
                             for name in ("record.json", "scores.csv", "weights.safetensors")} | {
        Path("tadlib/models", folder, name + way) for name, folder in models.items()
        for way in ("_down.onnx", "_up.onnx")}
    for name, data in stored.items():
        if not name.endswith(".onnx"):
            assert data == (ROOT / "results" / "cpu" / "runs" / Path(name).relative_to("tadlib/models")).read_bytes()
    assert "tadlib = tadlib.__main__:" in entries
    assert "License-Expression: MIT" in about and "Provides-Extra: video" in about
    needed = {line.split()[1].partition(">")[0] for line in about.splitlines()
              if line.startswith("Requires-Dist: ") and "extra" not in line}
    assert needed == {"numpy", "onnxruntime", "pillow", "tqdm"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel in it and none of the libraries, which are there already."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", target, wheel], check=True, env=FEW, timeout=300)
    return target


# Only what the wheel asks for is there: to import anything else fails, as where it was never installed.
COMMANDS = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))
from tadlib.__main__ import main
import tadlib
print(tadlib.__file__)
photo = sys.argv[2]
for arguments in (["downscale", photo, "small.png"], ["upscale", "small.png", "big.png"],
                  ["downscale", photo, "half.png", "--scale", "2"], ["upscale", "half.png", "twice.png"],
                  ["downscale", photo, "hard.png", "--model", "robust"], ["upscale", "hard.png", "soft.png"],
                  ["decolorize", photo, "grey.png"], ["colorize", "grey.png", "colour.png"]):
    assert main(arguments) == 0, arguments
"""
ABSENT = ["workbook", "adjustText", "av", "cv2", "IPython", "ipykernel", "ipywidgets", "jupyterlab", "latex2mathml",
          "matplotlib", "nbconvert", "nbformat", "onnx", "pandas", "papermill", "pooch", "pygments", "pytest",
          "requests", "safetensors", "seaborn", "skimage", "torch", "torchvision", "traitlets"]


def test_a_wheel_without_torch_does_elsewhere_what_the_clone_does_with_it(installed, tmp_path, monkeypatch, photo):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for place in (outside, inside):
        place.mkdir()
    write_png(tmp_path / "photo.png", to_array(photo[:, :93, :126]))  # no multiple of any scale
    arguments = [json.dumps(ABSENT), str(tmp_path / "photo.png")]
    done = subprocess.run([sys.executable, "-c", COMMANDS, *arguments], cwd=outside, capture_output=True, text=True,
                          env=FEW | {"PYTHONPATH": str(installed)}, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.splitlines()[0]).is_relative_to(installed)
    for name in [name for name in os.environ if name.startswith("TAD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(inside)
    for name in ("small", "half", "hard", "grey"):
        options = {"half": ["--scale", "2"], "hard": ["--model", "robust"]}.get(name, [])
        command = "decolorize" if name == "grey" else "downscale"
        assert clone([command, arguments[1], f"{name}.png", *options]) == 0
    for name, back in (("small", "big"), ("half", "twice"), ("hard", "soft"), ("grey", "colour")):
        command = "colorize" if name == "grey" else "upscale"
        assert clone([command, str(outside / f"{name}.png"), f"{back}.png"]) == 0  # of the same small image
    made = sorted(file.name for file in inside.iterdir())
    assert made == sorted(file.name for file in outside.iterdir()) and len(made) == 8
    for name in made:
        with Image.open(outside / name) as theirs, Image.open(inside / name) as ours:
            assert (theirs.size, theirs.mode, theirs.info) == (ours.size, ours.mode, ours.info)
            assert np.abs(np.asarray(theirs).astype(int) - np.asarray(ours)).max() <= 1, name
    with Image.open(outside / "big.png") as big, Image.open(outside / "small.png") as small:
        assert big.size == (126, 93) and small.size == (32, 24)
    assert not list(installed.rglob("results")) and not list(outside.glob("*/"))


def test_what_the_wheel_brings_along_is_small_too(installed, capsys):
    """The wheel, what it asks for, and what those ask for."""
    found: set[str] = set()
    todo = ["numpy", "onnxruntime", "pillow", "tqdm"]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            asked = map(Requirement, requires(name) or [])
            todo += [need.name for need in asked if not need.marker or need.marker.evaluate({"extra": ""})]
    sizes = {name: sum(path.stat().st_size for path in (Path(str(file.locate())) for file in files(name) or [])
                       if path.is_file() and path.suffix != ".pyc") for name in sorted(found)}
    sizes["tadlib"] = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    with capsys.disabled():
        print(f"\n{sum(sizes.values()) / 1e6:.0f} MB installed:",
              ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items()))
    assert sum(sizes.values()) < 250e6 and "torch" not in sizes


def clone(arguments: list[str]) -> int:
    from tadlib.__main__ import main

    return main(arguments)


def test_the_command_of_an_installed_wheel_lists_its_models_and_their_scores(installed, tmp_path):
    done = subprocess.run([installed / "bin" / "tadlib", "models"], cwd=tmp_path, capture_output=True, text=True,
                          env=FEW | {"PYTHONPATH": str(installed)}, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert {row.split()[0] for row in rows} == MODELS and head.split()[0] == "model"
    scored = {row.split()[0]: row.split()[-1] for row in rows}
    assert all(20 < float(scored[name]) < 60 for name in ("tool_x4", "tool_x2", "tool_color", "robust")), scored
    version = subprocess.run([installed / "bin" / "tadlib", "--version"], cwd=tmp_path, capture_output=True, text=True,
                             env=FEW | {"PYTHONPATH": str(installed)}, timeout=300)
    assert version.stdout.split()[-1] == tadlib.__version__


LACKING = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))
from tadlib.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("arguments", [["evaluate", "--model", "tool_x4"], ["downscale", "clip.mp4", "small"]],
                         ids=["evaluate", "a video"])
def test_what_needs_more_than_the_wheel_brings_says_what_to_install(installed, tmp_path, arguments):
    (tmp_path / "clip.mp4").write_bytes(b"anything")
    done = subprocess.run([sys.executable, "-c", LACKING, json.dumps(ABSENT), *arguments], cwd=tmp_path,
                          capture_output=True, text=True, env=FEW | {"PYTHONPATH": str(installed)}, timeout=300)
    assert done.returncode == 2
    line, = done.stderr.splitlines()
    assert line.startswith("tadlib: ") and "tadlib[" in line
