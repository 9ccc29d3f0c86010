"""The second backend: the commands without torch, which backend is chosen, and what is said where torch is needed."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tadlib.__main__ import main
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import psnr
from tadlib.files import write_png
from tadlib.pixels import from_array, to_array
from tadlib.settings import ROOT
from tadlib.tool import descent, models
from tadlib.tool.codec import Codec
from tadlib.tool.export import export

TOOLS = ("tool_x4", "tool_x2", "tool_color")
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("torch", "safetensors", "pandas", "onnx")))  # to import one of them fails
from tadlib.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def carried(tmp_path_factory) -> Path:
    """A folder of models with the tools in it as ONNX files, and nothing else."""
    top = tmp_path_factory.mktemp("models")
    for name in TOOLS:
        export(name, top / name)
    return top


def without_torch(carried: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    """`tadlib ARGUMENTS` in a Python in which torch cannot be imported."""
    environment = os.environ | {"TAD_MODELS": str(carried), "TAD_RESULTS": str(carried / "none")}
    return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True,
                          cwd=ROOT, env=environment, timeout=300)


def codes(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """Three of the Sample's pictures, cut to sizes that are multiples of nothing."""
    folder = tmp_path_factory.mktemp("sample")
    for number, (name, image) in enumerate(sorted(sets.load("Sample").items())[:3]):
        write_png(folder / f"{name}.png", to_array(image[:, : 101 + 7 * number, : 150 - 13 * number]))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("there, back, options", [("downscale", "upscale", []), ("decolorize", "colorize", []),
                                                  ("downscale", "upscale", ["--scale", "2"])],
                         ids=["x4", "colour", "x2"])
def test_where_torch_cannot_be_imported_the_samples_go_down_and_up_as_with_it(carried, sample, tmp_path, there, back,
                                                                              options):
    small, large, theirs, again = (tmp_path / name for name in ("small", "large", "theirs", "again"))
    for arguments in ((there, sample, small), (back, small, large)):
        done = without_torch(carried, *arguments, *options)
        assert (done.returncode, done.stdout) == (0, f"3 of 3 images written to {arguments[2]}\n"), done.stderr
    assert main([there, str(sample), str(theirs), *options, "--backend", "torch"]) == 0
    assert main([back, str(small), str(again), *options, "--backend", "torch"]) == 0
    for original in sample.iterdir():
        assert np.abs(codes(small / original.name) - codes(theirs / original.name)).max() <= 1
        assert np.abs(codes(large / original.name) - codes(again / original.name)).max() <= 1
        assert codes(large / original.name).shape == codes(original).shape


def test_what_needs_torch_names_it_in_one_line_and_the_rest_does_without(carried, sample, tmp_path):
    source = next(sample.iterdir())
    listed = without_torch(carried, "models")
    assert listed.returncode == 0 and [line.split()[0] for line in listed.stdout.splitlines()[1:]] == sorted(TOOLS)
    for arguments in (["downscale", source, tmp_path / "s.png", "--for", "jpeg:90"],
                      ["downscale", source, tmp_path / "s.jpg", "--for", "jpeg:90", "--refine", "3"],
                      ["downscale", source, tmp_path / "s.png", "--backend", "torch"],
                      ["evaluate", "--model", "tool_x4"], ["export", "tool_x4", tmp_path / "out"]):
        done = without_torch(carried, *arguments)
        assert done.returncode == 2 and not done.stdout
        line, = done.stderr.splitlines()
        assert "pip install 'tadlib[torch]'" in line
    assert not list(tmp_path.iterdir())


def test_the_plain_way_with_onnx_loads_no_torch(carried, sample, tmp_path):
    program = ("import sys; from tadlib.__main__ import main; code = main(sys.argv[1:]); "
               "sys.exit(code or ('torch' in sys.modules and 9))")
    arguments = ["downscale", next(sample.iterdir()), tmp_path / "small.png", "--backend", "onnx"]
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, timeout=120,
                          env=os.environ | {"TAD_MODELS": str(carried)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def kind(codec: Codec) -> str:
    return type(codec.backend).__name__


def test_torch_is_taken_where_it_is_and_the_weights_are_and_nobody_says_otherwise(carried, tmp_path, monkeypatch):
    assert kind(Codec.find("tool_x4")) == "TorchBackend"
    monkeypatch.setenv("TAD_MODELS", str(carried))
    assert kind(Codec.find("tool_x4")) == "OnnxBackend"  # all that is there
    assert kind(Codec.find("robust")) == "TorchBackend"
    both = tmp_path / "both" / "tool_x4-0"
    both.mkdir(parents=True)
    for path in (*(carried / "tool_x4").iterdir(), models.place("robust").folder / "weights.safetensors"):
        (both / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("TAD_MODELS", str(tmp_path / "both"))
    (both / "weights.safetensors").write_bytes(
        (next((ROOT / "results/cpu/runs").glob("tool_x4-*")) / "weights.safetensors").read_bytes())
    assert kind(Codec.find("tool_x4")) == "TorchBackend"
    assert kind(Codec.find("tool_x4", backend="onnx")) == kind(Codec.open(both, backend="onnx")) == "OnnxBackend"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert kind(Codec.find("tool_x4")) == "OnnxBackend"


def test_a_model_without_onnx_files_says_how_to_get_them_and_refinement_what_it_needs(carried, sample, tmp_path):
    with pytest.raises(BadInput, match="`tadlib export robust FOLDER` makes them"):
        Codec.find("robust", backend="onnx")
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(BadInput, match=r"jpeg:90 takes torch, .* pip install 'tadlib\[torch\]'"):
        Codec.open(carried / "tool_x4", backend="onnx").downscale(image, refine=1, channel="jpeg:90")
    for path in (carried / "tool_x4").glob("tool_x4_[du]*.onnx"):  # as an older export left it
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadInput, match=r"tool_x4_refine.onnx: not there; .* pip install 'tadlib\[torch\]'"):
        Codec.open(tmp_path, backend="onnx").downscale(image, refine=1)
    up = tmp_path / "tool_x4_up.onnx"  # like the refining half of before, it takes whole codes
    up.with_name("tool_x4_refine.onnx").write_bytes(up.read_bytes())
    with pytest.raises(BadInput, match=r"tool_x4_refine.onnx: of an earlier version; `tadlib export` writes it anew"):
        Codec.open(tmp_path, backend="onnx").downscale(image, refine=1)


def test_what_cannot_be_refined_is_one_line_for_a_whole_folder(carried, sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TAD_MODELS", str(carried))
    wishes = (["downscale", "--backend", "onnx", "--for", "jpeg:90"], ["decolorize", "--model", "cic_color"])
    for command, *options in wishes:
        assert main([command, str(sample), str(tmp_path / "out"), "--refine", "2", *options]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", TOOLS)
def test_refined_without_torch_is_refined_as_with_it(carried, photo, monkeypatch, name):
    """In float32: where torch takes bfloat16 for its gradients, it is further from itself than that."""
    monkeypatch.setenv("TAD_PRECISION", "32-true")
    monkeypatch.setattr(descent, "SIDE", 11)  # tiles, whose halo reaches over the edges or does not
    image = to_array(photo)[:75, :107]
    ours, theirs = Codec.open(carried / name, backend="onnx"), Codec.find(name, task=None, backend="torch")
    plain, ordinary = theirs.downscale(image), theirs.downscale(image, refine=3)
    better = ours.downscale(image, refine=3)
    assert np.abs(better.astype(int) - ordinary).max() <= 2
    quality = [psnr(from_array(theirs.upscale(small, image.shape[:2])), from_array(image))
               for small in (plain, ordinary, better)]
    assert quality[2] == pytest.approx(quality[1], abs=0.02) and quality[2] > quality[0] + 0.2
    many = [psnr(from_array(theirs.upscale(codec.downscale(image, refine=12), image.shape[:2])), from_array(image))
            for codec in (ours, theirs)]  # the code settles, and where it does a last bit of a sum decides
    assert many[0] == pytest.approx(many[1], abs=0.1) and min(many) > quality[2]
    weighed = ours.downscale(image, refine=2, likeness=3.0)
    assert np.abs(weighed.astype(int) - theirs.downscale(image, refine=2, likeness=3.0)).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("there, back", [("downscale", "upscale"), ("decolorize", "colorize")])
def test_where_torch_cannot_be_imported_refinement_makes_the_large_pictures_better(carried, sample, tmp_path, there,
                                                                                   back):
    means = []
    for steps in ("0", "3"):
        small, large = tmp_path / f"small{steps}", tmp_path / f"large{steps}"
        for arguments in ((there, sample, small, "--refine", steps), (back, small, large)):
            done = without_torch(carried, *arguments)
            assert done.returncode == 0, done.stderr
        means.append(np.mean([np.square(codes(large / path.name) - codes(path)).mean() for path in sample.iterdir()]))
    assert means[1] < 0.95 * means[0]


def test_what_is_no_digest_of_weights_is_not_taken_for_one(carried, tmp_path):
    for path in (carried / "tool_x2").glob("*.onnx"):
        model = onnx.load(path)
        next(entry for entry in model.metadata_props if entry.key == "made_by").value = "\x1b[31mmine"
        onnx.save(model, tmp_path / path.name)
    assert Codec.open(tmp_path, backend="onnx").weights is None


BROKEN = {"no ONNX at all": b"anything", "cut off": None, "nothing": b""}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_one_line_that_names_it(carried, tmp_path, data):
    whole = (carried / "tool_x2" / "tool_x2_up.onnx").read_bytes()
    for way in ("down", "up"):
        (tmp_path / f"tool_x2_{way}.onnx").write_bytes(whole[: len(whole) // 2] if data is None else data)
    with pytest.raises(BadInput) as told:
        Codec.open(tmp_path)
    assert str(told.value).startswith(f"{tmp_path / 'tool_x2_down.onnx'}: ") and len(str(told.value).splitlines()) == 1


def test_a_foreign_onnx_file_is_told_from_one_of_ours(carried, tmp_path):
    import onnx

    for way in ("down", "up"):
        model = onnx.load(carried / "tool_x2" / f"tool_x2_{way}.onnx")
        del model.metadata_props[:]
        onnx.save(model, tmp_path / f"tool_x2_{way}.onnx")
    with pytest.raises(BadInput, match=r"tool_x2_down\.onnx: does not say what it is"):
        Codec.open(tmp_path)


def test_models_and_evaluate_give_json(write_set, photo, capsys):
    assert main(["models", "--json"]) == 0
    said = {entry["model"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert said["tool_x4"]["scale"] == 4 and said["tool_x4"]["params"] > 1e6
    assert main(["evaluate", "--model", "bicubic", "--set", write_set("mine", {"a": photo}), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in scored["images"]} == {row["kind"] for row in scored["mean"]} >= {"SHRT"}
    assert scored["images"][0]["psnr_rgb"] == pytest.approx(scored["mean"][0]["psnr_rgb"])


def test_an_onnx_pair_alone_in_a_folder_of_models_is_listed_and_used(carried, tmp_path, monkeypatch, capsys):
    for path in (carried / "tool_x2").glob("*.onnx"):
        (tmp_path / path.name.replace("tool_x2", "mine")).write_bytes(path.read_bytes())
    monkeypatch.setenv("TAD_MODELS", str(tmp_path))
    assert main(["models"]) == 0
    assert "mine" in capsys.readouterr().out.splitlines()[[*models.names()].index("mine") + 1]
    assert Codec.find("mine").downscale(np.zeros((9, 9, 3), np.uint8)).shape == (5, 5, 3)


def test_what_is_there_already_is_left_alone_if_one_asks_for_it(sample, tmp_path, capsys):
    there = tmp_path / sorted(sample.iterdir())[1].name
    there.write_bytes(b"mine")
    assert main(["downscale", str(sample), str(tmp_path), "--model", "bicubic", "--skip-existing"]) == 0
    assert there.read_bytes() == b"mine" and len(list(tmp_path.glob("*.png"))) == 3
    assert "2 of 3 images written" in capsys.readouterr().out
    assert main(["downscale", str(sample), str(tmp_path), "--model", "bicubic", "--skip-existing"]) == 0
    assert main(["downscale", str(sample), str(tmp_path), "--model", "bicubic"]) == 0
    assert there.read_bytes() != b"mine"
