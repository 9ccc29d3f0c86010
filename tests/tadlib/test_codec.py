"""The tool: any picture down to a small PNG and back, as two processes joined only by that file."""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from tadlib import settings
from tadlib.__main__ import main
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation import metrics
from tadlib.files import read_image, read_picture, write_png
from tadlib.pixels import from_array, rgb_to_y, to_array, to_codes, to_float
from tadlib.run import Run
from tadlib.stored import Trained, describe
from tadlib.tasks import COLOUR, SR
from tadlib.tool import models
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import Origin, downscale_file, pairs, upscale_file
from tadlib.tool.torch_backend import TorchBackend


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return metrics.psnr(from_array(a), from_array(b))


def apart(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two pictures, in grey levels."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def images(name: str) -> dict[str, np.ndarray]:
    return {stem: to_array(image) for stem, image in sets.load(name).items()}


def sample(stem: str) -> np.ndarray:
    return images("Sample")[stem]


def luma(image: np.ndarray) -> np.ndarray:
    """Y as 8-bit codes (H, W)."""
    return to_array(to_codes(rgb_to_y(to_float(from_array(image))))[0])


def tadlib(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "tadlib", *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, cwd=settings.ROOT)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return sample("chelsea")[100:221, 150:305]  # 121 x 155: odd on purpose


@pytest.fixture
def untrained(tmp_path) -> Callable[..., Codec]:
    """untrained(model, scale, tile) -> a codec with random weights, whose every part acts.

    A net that starts at zero would hide a fault of tiling.
    """

    def make(model: str, scale: int, tile: int) -> Codec:
        run = Run(model, model, scale=scale)
        net = run.build()
        torch.manual_seed(0)
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.06)
        data = save({k: v.half() for k, v in net.state_dict().items()})
        (tmp_path / "weights.safetensors").write_bytes(data)
        record = asdict(run) | {"network": run.net.words(), "weights": describe(data)}
        (tmp_path / "record.json").write_text(json.dumps(record))
        return Codec(TorchBackend(Trained.open(tmp_path)), tile)

    return make


@pytest.mark.parametrize(("model", "scale"), [("aetad_very_small", 4), ("tool_x4", 4), ("tool_x2", 2), ("vdsr", 4),
                                              ("bicubic", 4), ("lanczos", 4), ("aetad_direct4", 4), ("tool_color", 1),
                                              ("cic_color", 1)])
def test_tiles_leave_no_seam(untrained, model, scale):
    image = sample("coffee")[:301, :270]
    whole, tiled = untrained(model, scale, 100_000), untrained(model, scale, 64)
    small = whole.downscale(image)
    assert apart(small, tiled.downscale(image)) <= 1
    big = whole.upscale(small)
    assert apart(big, tiled.upscale(small)) <= 1


@pytest.mark.parametrize("model", ["joint_x4", "sofvsr"])
def test_tiles_of_three_frames_leave_no_seam(untrained, model):
    image = sample("coffee")
    whole, tiled = untrained(model, 4, 100_000), untrained(model, 4, 64)
    seen = np.stack([whole.downscale(image[n : n + 297, n : n + 273]) for n in range(3)])  # (3, 75, 69, 3)
    big = whole.upscale(seen, (297, 273))
    assert big.shape == (297, 273, 3)
    assert apart(big, tiled.upscale(seen, (297, 273))) <= 1


def test_a_single_picture_is_its_own_neighbour(untrained, tmp_path, photo):
    codec = untrained("joint_x4", 4, 100_000)
    write_png(tmp_path / "photo.png", photo)
    downscale_file(codec, tmp_path / "photo.png", tmp_path / "small.png")
    upscale_file(lambda origin: codec, tmp_path / "small.png", tmp_path / "big.png")
    small = read_image(tmp_path / "small.png")
    expected = codec.upscale(np.stack([small] * 3), photo.shape[:2])
    assert np.array_equal(read_image(tmp_path / "big.png"), expected)
    assert np.array_equal(codec.upscale(small, photo.shape[:2]), expected)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (33, 50), (301, 270)])
def test_colour_goes_into_a_grey_image_of_the_same_size_and_back(untrained, shape):
    image = sample("coffee")[: shape[0], : shape[1]]
    whole, tiled = untrained("color_shuffle", 1, 100_000), untrained("color_shuffle", 1, 64)
    grey = whole.downscale(image)
    assert grey.shape == shape and grey.dtype == np.uint8
    assert apart(grey, tiled.downscale(image)) <= 1
    back = whole.upscale(grey)
    assert back.shape == (*shape, 3)
    assert apart(back, tiled.upscale(grey)) <= 1


def test_decolorize_and_colorize_files(untrained, tmp_path, photo):
    codec = untrained("color_shuffle", 1, 100_000)
    write_png(tmp_path / "photo.png", photo)
    downscale_file(codec, tmp_path / "photo.png", tmp_path / "grey.png")
    grey = Image.open(tmp_path / "grey.png")
    assert (grey.mode, grey.size) == ("L", (155, 121))
    assert json.loads(grey.info["tad"])["scale"] == 1
    grey.convert("RGB").save(tmp_path / "rewritten.png")  # three equal channels, and no chunk: still a grey picture
    for name in ("grey", "rewritten"):
        upscale_file(lambda origin: codec, tmp_path / f"{name}.png", tmp_path / f"{name}_back.png")
    one, other = (read_image(tmp_path / f"{n}_back.png") for n in ("grey", "rewritten"))
    assert one.shape == photo.shape and np.array_equal(one, other)
    with pytest.raises(BadInput, match=r"photo\.png: has colours already"):
        upscale_file(lambda origin: codec, tmp_path / "photo.png", tmp_path / "never.png")
    assert not (tmp_path / "never.png").exists()


@pytest.mark.parametrize("command", ["decolorize", "colorize"])
def test_a_model_for_another_task_is_told(tmp_path, photo, command):
    write_png(tmp_path / "photo.png", photo)
    done = tadlib(command, "--model", "tool_x4", tmp_path / "photo.png", tmp_path / "out.png")
    assert (done.returncode, done.stderr) == (2, "tadlib: model 'tool_x4' is one for downscale and upscale\n")
    assert not (tmp_path / "out.png").exists()


def test_down_and_up_as_two_processes_joined_by_a_rewritten_png(tmp_path, photo):
    write_png(tmp_path / "photo.png", photo)
    assert tadlib("downscale", tmp_path / "photo.png", tmp_path / "small.png").returncode == 0
    small = Image.open(tmp_path / "small.png")
    assert (small.size, small.mode, small.format) == ((39, 31), "RGB", "PNG")  # ceil(155 / 4), ceil(121 / 4)
    made_by = models.find("tool_x4").record["weights"]["sha256"][:8]
    assert json.loads(small.info["tad"]) == {"model": "tool_x4", "scale": 4, "size": [155, 121], "weights": made_by}

    Image.fromarray(np.array(small)).save(tmp_path / "pixels.png")  # the pixels alone: the chunk is gone
    assert tadlib("upscale", tmp_path / "small.png", tmp_path / "big.png").returncode == 0
    assert tadlib("upscale", tmp_path / "pixels.png", tmp_path / "plain.png").returncode == 0
    big, plain = read_image(tmp_path / "big.png"), read_image(tmp_path / "plain.png")
    assert big.shape == photo.shape
    assert plain.shape == (124, 156, 3)
    assert np.array_equal(plain[:121, :155], big)
    interpolated = Codec.find("bicubic")
    baseline = interpolated.upscale(interpolated.downscale(photo), photo.shape[:2])
    assert psnr(big, photo) > psnr(baseline, photo) + 2


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 3), (33, 50)])
def test_any_size_comes_back_exactly(scale, shape):
    codec = Codec.find(scale=scale)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    small = codec.downscale(image)
    assert small.shape == (-(-shape[0] // scale), -(-shape[1] // scale), 3)
    assert codec.upscale(small, shape).shape == image.shape


def test_a_grey_picture_comes_back_almost_grey(tmp_path, photo):
    codec = Codec.find("tool_x4")
    grey = np.array(Image.fromarray(photo).convert("L").convert("RGB"))
    back = codec.upscale(codec.downscale(grey), grey.shape[:2]).astype(float)
    assert np.abs(back - back.mean(-1, keepdims=True)).mean() < 3  # grey levels


def test_a_chunk_is_believed_only_where_it_fits():
    good = Origin("tool_x4", 4, (121, 155)).chunk()
    small = np.empty((31, 39, 3), np.uint8)
    assert Origin.of(good, small) == Origin("tool_x4", 4, (121, 155))
    resized = np.empty((62, 78, 3), np.uint8)  # since: model and scale are still what they were
    assert Origin.of(good, resized) == Origin("tool_x4", 4, None)
    assert Origin.of({}, small) is None
    for text in ("", "[]", '{"model": "m", "scale": 0, "size": [1, 1]}', '{"scale": 4}', "null"):
        assert Origin.of({"tad": text}, small) is None, text


def test_a_picture_made_by_other_weights_is_enlarged_and_that_is_told(tmp_path, photo, capsys):
    path = {name: str(tmp_path / f"{name}.png") for name in ("photo", "small", "older", "big", "odd")}
    write_png(Path(path["photo"]), photo)
    assert main(["downscale", path["photo"], path["small"]]) == main(["upscale", path["small"], path["big"]]) == 0
    assert capsys.readouterr().err == ""
    codes, info = read_picture(Path(path["small"]))
    origin, codec = Origin.of(info, codes), Codec.find("tool_x4")
    assert origin == Origin("tool_x4", 4, photo.shape[:2], weights=codec.weights)
    assert codec.weights == models.find("tool_x4").record["weights"]["sha256"][:8]
    write_png(Path(path["older"]), codes, replace(origin, weights="0123abcd").chunk())
    for options in ([], ["--model", "tool_x4"]):
        assert main(["upscale", path["older"], path["big"], *options]) == 0
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert f"other weights of tool_x4 (0123abcd) than those here ({codec.weights})" in said
    write_png(Path(path["odd"]), codes, replace(origin, weights="\x1b[2J").chunk())  # no digest: not believed
    assert main(["upscale", path["odd"], path["big"]]) == 0
    assert capsys.readouterr().err == ""


SHA = "0123abcd" * 8


@pytest.mark.parametrize(("record", "said"), [
    ({"weights": {"sha256": SHA}, "network": {"encoder": "c64"}}, SHA[:8]),
    ({"weights": {"sha256": SHA}, "network": {"encoder": ""}}, None),  # the ordinary small image: no weights made it
    ({"weights": {"sha256": SHA}, "network": {"encoder": "c64"}, "frozen": "decoder"}, None),  # a half lies elsewhere
    *(({"weights": odd, "network": {"encoder": "c64"}}, None) for odd in (None, "x", {"sha256": 5}, {"sha256": "zz"})),
    ({}, None)])
def test_which_weights_made_a_picture_is_said_where_they_alone_did(record, said):
    assert models.weights(record) == said


def test_pairs_of_two_folders_keep_the_stems(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.jpg", "a.webp"):
        Image.new("RGB", (4, 4)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    found = pairs(tmp_path / "in", tmp_path / "out")
    assert [(i.name, o.name) for i, o in found] == [("a.webp", "a.png"), ("b.jpg", "b.png")]


def test_a_codec_is_opened_from_a_folder_alone(untrained, tmp_path, photo):
    made = untrained("tool_x2", 2, 100_000)
    codec = Codec.open(tmp_path)
    assert (codec.name, codec.scale, codec.task, codec.frames) == ("tool_x2", 2, SR, 1)
    assert np.array_equal(codec.downscale(photo), made.downscale(photo))
    with pytest.raises(BadInput, match="record"):
        Codec.open(tmp_path / "none")


def test_without_a_name_it_is_the_tool_net_of_task_and_scale():
    assert [Codec.find().name, Codec.find(scale=2).name, Codec.find(task="colour").name] == [
        "tool_x4", "tool_x2", "tool_color"]
    assert Codec.find("tool_color", task=None).task is COLOUR


def test_the_committed_models_are_there():
    assert {"bicubic", "lanczos", "no_tad", "aetad", "tool_x4", "tool_x2"} <= set(models.names())


@pytest.mark.slow
@pytest.mark.parametrize(("model", "set_name", "at_least"), [
    ("tool_x4", "Set5", 31.4), ("tool_x4", "Set14", 28.0), ("tool_x2", "Set5", 37.7), ("aetad", "Set5", 29.8)])
def test_promised_quality_through_files_rewritten_from_their_pixels(tmp_path, model, set_name, at_least):
    if not sets.is_here(set_name):
        pytest.skip(f"{set_name} is not here")
    run = ["--model", model]
    for stem, image in images(set_name).items():
        write_png(tmp_path / "in" / f"{stem}.png", image)
    assert tadlib("downscale", tmp_path / "in", tmp_path / "small", *run).returncode == 0
    (tmp_path / "pixels").mkdir()
    for file in (tmp_path / "small").iterdir():
        Image.fromarray(np.array(Image.open(file))).save(tmp_path / "pixels" / file.name)
    assert tadlib("upscale", tmp_path / "pixels", tmp_path / "big", *run).returncode == 0
    bicubic = Codec.find("bicubic_x2" if model == "tool_x2" else "bicubic")
    quality, likeness = [], []
    for stem, image in images(set_name).items():
        back = read_image(tmp_path / "big" / f"{stem}.png")[: image.shape[0], : image.shape[1]]
        quality.append(psnr(back, image))
        small = read_image(tmp_path / "pixels" / f"{stem}.png")
        likeness.append(psnr(small, bicubic.downscale(image)))
    assert np.mean(quality) >= at_least
    if model.startswith("tool"):
        assert np.mean(likeness) >= 34


@pytest.mark.slow
@pytest.mark.parametrize(("set_name", "at_least"), [("Set5", 39.5), ("Set14", 36.5)])
def test_promised_colours_through_grey_files_rewritten_from_their_pixels(tmp_path, set_name, at_least):
    if not sets.is_here(set_name):
        pytest.skip(f"{set_name} is not here")
    for stem, image in images(set_name).items():
        write_png(tmp_path / "in" / f"{stem}.png", image)
    assert tadlib("decolorize", tmp_path / "in", tmp_path / "grey").returncode == 0
    (tmp_path / "pixels").mkdir()
    for file in (tmp_path / "grey").iterdir():
        pixels = np.array(Image.open(file))
        assert pixels.ndim == 2
        Image.fromarray(pixels).save(tmp_path / "pixels" / file.name)
    assert tadlib("colorize", tmp_path / "pixels", tmp_path / "back").returncode == 0
    quality, likeness = [], []
    for stem, image in images(set_name).items():
        quality.append(psnr(read_image(tmp_path / "back" / f"{stem}.png"), image))
        likeness.append(psnr(read_image(tmp_path / "pixels" / f"{stem}.png")[..., 0], luma(image)))
    assert np.mean(quality) >= at_least
    assert np.mean(likeness) >= 31


@pytest.mark.parametrize("stem", ["chelsea", "coffee"])
def test_what_is_grey_already_comes_back_grey(stem):
    grey = np.dstack([luma(sample(stem))] * 3)
    codec = Codec.find(task="colour")
    back = codec.upscale(codec.downscale(grey))
    assert psnr(back, grey) >= 40
