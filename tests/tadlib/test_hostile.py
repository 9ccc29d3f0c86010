"""Whatever a person gives the tool: it does what is right, or says in one line what is wrong and leaves no trace."""
from __future__ import annotations

import ast
import errno
import io
import json
import os
import pickle
import resource
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, PngImagePlugin
from safetensors.torch import save

from tadlib import settings, stored
from tadlib.__main__ import main
from tadlib.files import read_image
from tadlib.networks import build
from tadlib.run import Run
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import Origin
from tadlib.tool.video import Writer

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # 0, 5, .. 235
DARK = RAMP <= 100
HALVES = np.zeros((8, 16), np.uint8)  # as stored: dark left, bright right
HALVES[:, 8:] = 255
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))


def data(picture: Image.Image, kind: str = "PNG", text: str | None = None, **options) -> bytes:
    """A picture file; `text` is what stands in the chunk in which the tool says what it did."""
    if text is not None:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("tad", text)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of any chunks, also such as Pillow would not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in [(b"IHDR", header), *chunks, (b"IEND", b"")])


def pixels(array: np.ndarray) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(b"".join(b"\0" + line.astype(">u2").tobytes() for line in array))


def palette(**options) -> bytes:
    picture = Image.fromarray((~DARK).astype(np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 10, 250])
    return data(picture, **options)


def two(dark: tuple, bright: tuple) -> np.ndarray:
    return np.where(DARK[..., None], dark, bright)


def turned(picture: Image.Image, orientation: int, kind: str, **options) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return data(picture, kind, exif=exif, **options)


def chunk(model: str, scale: int, height: int, width: int) -> str:
    return Origin(model, scale, (height, width)).chunk()["tad"]


# ---- what is right

RGB = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=2)
DEEP = np.array([[0, 128, 129, 257], [25_700, 32_896, 65_406, 65_535]], dtype=np.uint16)
DEEP_AS_8 = np.array([[0, 0, 1, 1], [100, 128, 254, 255]])
FLOAT = np.array([[-1, 0, 0.5], [0.2, 1, np.nan], [1e30, np.inf, -np.inf]], dtype=np.float32)
ROW = np.arange(20_000, dtype=np.uint8)[None]
RED, BLUE = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
MOVING = {"save_all": True, "append_images": [BLUE]}

GOOD = {  # file -> what it holds, what is right as grey (H, W) or RGB (H, W, 3)
    "grey.png": (data(Image.fromarray(RAMP)), RAMP),
    "one_bit.png": (data(Image.fromarray(~DARK)), ~DARK * 255),
    "palette.png": (palette(), two((255, 0, 0), (0, 10, 250))),
    "palette_alpha.png": (palette(transparency=0), two((255, 255, 255), (0, 10, 250))),
    "palette_fifth.png": (palette(transparency=b"\x33\xff"), two((255, 204, 204), (0, 10, 250))),
    "alpha.png": (data(Image.new("RGBA", (3, 2), (255, 0, 100, 51))), np.full((2, 3, 3), (255, 204, 224))),
    "alpha.webp": (data(Image.new("RGBA", (3, 2), (255, 0, 100, 51)), "WEBP", lossless=True),
                   np.full((2, 3, 3), (255, 204, 224))),
    "grey_alpha.png": (data(Image.new("LA", (3, 2), (100, 0))), np.full((2, 3), 255)),
    "grey_keyed.png": (data(Image.fromarray(RAMP), transparency=50), np.where(RAMP == 50, 255, RAMP)),
    "deep.png": (data(Image.fromarray(DEEP)), DEEP_AS_8),
    "deep.tif": (data(Image.fromarray(DEEP), "TIFF"), DEEP_AS_8),
    "deep_rgb.png": (png(8, 6, 16, 2, pixels(RGB.astype(np.uint16) * 257)), RGB),
    "float.tif": (data(Image.fromarray(FLOAT), "TIFF"), np.array([[0, 0, 128], [51, 255, 0], [255, 255, 0]])),
    "print.tif": (data(Image.new("CMYK", (5, 3), (0, 255, 255, 0)), "TIFF"), np.full((3, 5, 3), (255, 0, 0))),
    "print.jpg": (data(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95),
                  np.full((16, 16, 3), (255, 0, 0))),
    "profile.png": (data(Image.fromarray(RGB), icc_profile=b"no profile"), RGB),
    "moving.gif": (data(RED, "GIF", **MOVING), np.full((4, 4, 3), (255, 0, 0))),
    "moving.webp": (data(RED, "WEBP", lossless=True, **MOVING), np.full((4, 4, 3), (255, 0, 0))),
    "moving.png": (data(RED, **MOVING), np.full((4, 4, 3), (255, 0, 0))),
    "turned.jpg": (turned(Image.fromarray(HALVES), 6, "JPEG", quality=100), np.rot90(HALVES, -1)),
    "turned.png": (turned(Image.fromarray(RGB), 8, "PNG"), np.rot90(RGB)),
    "turned.tif": (turned(Image.fromarray(RGB), 3, "TIFF"), RGB[::-1, ::-1]),
    "mirrored.png": (turned(Image.fromarray(RGB), 5, "PNG"), RGB.transpose(1, 0, 2)),
    "unturnable.png": (turned(Image.fromarray(RGB), 99, "PNG"), RGB),
    "torn_exif.jpg": (data(RED, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0"), np.full((4, 4, 3), (254, 0, 0))),
    "png.jpg": (data(Image.fromarray(RGB)), RGB),
    "png.xyz": (data(Image.fromarray(RGB)), RGB),
    "more_behind.png": (data(Image.fromarray(RGB)) + b"\0" * 1000 + b"PK\3\4", RGB),
    "größe two.png": (data(Image.fromarray(RGB)), RGB),
    "dot.png": (data(Image.new("RGB", (1, 1), (1, 2, 3))), np.array([[[1, 2, 3]]])),
    "row.png": (data(Image.fromarray(ROW)), ROW),
    "column.png": (data(Image.fromarray(ROW.T)), ROW.T),
    "long.png": (data(Image.fromarray(ROW.repeat(8, 0))), ROW.repeat(8, 0)),
}


@pytest.fixture
def here(tmp_path, monkeypatch, no_data) -> Path:
    """An empty current folder."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("name", GOOD)
def test_what_can_be_read_is_read_right_and_comes_back_in_its_size(here, capfd, name):
    content, right = GOOD[name]
    (here / name).write_bytes(content)
    image, bicubic = read_image(name), Codec.find("bicubic")
    right = np.broadcast_to(np.atleast_3d(right), (*right.shape[:2], 3)).astype(int)
    assert image.shape == right.shape
    assert np.abs(image - right).max() <= (9 if b"JFIF" in content or b"Adobe" in content else 0)
    assert main(["downscale", name, "small.png", "--model", "bicubic"]) == 0
    assert np.array_equal(read_image("small.png"), bicubic.downscale(image))
    assert main(["upscale", "small.png", "big.png"]) == 0
    assert np.array_equal(read_image("big.png"), bicubic.upscale(bicubic.downscale(image), image.shape[:2]))
    assert {p.name for p in here.iterdir()} == {name, "small.png", "big.png"}
    several = f"tadlib: {name}: holds 2 pictures; the first is taken\n"
    assert capfd.readouterr() == ("", several if name.startswith("moving") else "")


TINY = NOISE.crop((0, 0, 9, 8))
ODD = {  # what stands in the chunk of a small picture that is 9 pixels wide and 8 high, and is as nothing
    "none": None,
    "empty": "",
    "no JSON": "}{",
    "no object": "[1, 2]",
    "nothing in it": "{}",
    "of another picture": chunk("bicubic", 4, 32, 40),
    "no size": '{"model": "bicubic", "scale": 4, "size": "large"}',
    "three sizes": '{"model": "bicubic", "scale": 4, "size": [36, 32, 3]}',
    "an endless size": '{"model": "bicubic", "scale": 4, "size": [Infinity, 32]}',
    "no number": '{"model": "bicubic", "scale": NaN, "size": [36, 32]}',
    "scale 0": '{"model": "bicubic", "scale": 0, "size": [36, 32]}',
    "below 0": '{"model": "bicubic", "scale": -4, "size": [-36, -32]}',
    "digits without end": '{"model": "bicubic", "scale": ' + "9" * 10_000 + ', "size": [36, 32]}',
    "brackets without end": "[" * 100_000,
    "an absurd scale": chunk("bicubic", 10**9, 8 * 10**9, 9 * 10**9),
}


@pytest.mark.parametrize("what", ODD)
def test_a_chunk_that_cannot_be_is_as_none(here, capfd, what):
    (here / "small.png").write_bytes(data(TINY, text=ODD[what]))
    assert main(["upscale", "small.png", "big.png", "--model", "bicubic"]) == 0
    assert np.array_equal(read_image("big.png"), Codec.find("bicubic").upscale(np.array(TINY)))
    assert capfd.readouterr().err == ""


# ---- what is wrong

def broken(name: str, part: float = 0.5) -> bytes:
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name[-3:])
    whole = data(NOISE, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    return whole[: int(len(whole) * part)]


def damaged_tiff(path: Path) -> None:
    """Its index is whole, its compressed pixels are not: then libtiff itself prints to stderr."""
    whole = bytearray(data(NOISE, "TIFF", compression="tiff_adobe_deflate"))
    whole[600:900] = bytes(300)
    path.write_bytes(whole)


def cut_video(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:  # the index first, so that it opens
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = NOISE.size
        for n in range(9):
            container.mux(stream.encode(av.VideoFrame.from_image(ImageChops.offset(NOISE, n))))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[:-600])


FILES = {  # name -> bytes, a function that makes it, or what is in the folder
    "good.png": data(NOISE),
    "text.png": b"I am no picture",
    "text.xyz": b"I am no picture",
    "two\nlines.png": b"I am no picture",
    "void.png": b"",
    "zeros.png": bytes(1000),
    "head.png": b"\x89PNG\r\n\x1a\n",
    "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "cut.png": broken("cut.png"),
    "cut.jpg": broken("cut.jpg"),
    "cut.gif": broken("cut.gif"),
    "cut.bmp": broken("cut.bmp"),
    "cut.tif": broken("cut.tif"),
    "cut.webp": data(NOISE, "WEBP")[:-99],
    "cut.avif": data(NOISE, "AVIF")[:-99],
    "itemless.avif": data(NOISE, "AVIF").replace(b"iloc", b"free"),
    "damaged.tif": damaged_tiff,
    "flipped.png": data(NOISE).replace(b"IDAT", b"IDAT\1", 1),
    "bomb.png": png(60_000, 60_000, 8, 2, (b"IDAT", zlib.compress(bytes(99)))),
    "bomb.gif": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + data(NOISE, "GIF")[10:],
    "bomb.jpg": data(NOISE, "JPEG").replace(struct.pack(">HH", 32, 40), struct.pack(">HH", 65_000, 65_000)),
    "bomb.bmp": data(NOISE, "BMP").replace(struct.pack("<II", 40, 32), struct.pack("<II", 99_999, 99_999)),
    "bomb_text.png": png(1, 1, 8, 0, (b"zTXt", b"tad\0\0" + zlib.compress(bytes(10**8))),
                         (b"IDAT", zlib.compress(bytes(2)))),
    "no_bomb.png": png(14_000, 14_000, 1, 0, (b"IDAT", zlib.compress(bytes(99)))),  # below the limit, but empty
    "grows.png": data(Image.new("1", (3600, 3600))),  # x4: above it
    "pipe.png": os.mkfifo,
    "device.png": lambda path: path.symlink_to("/dev/zero"),
    "loop.png": lambda path: path.symlink_to(path),
    "loop": lambda path: path.symlink_to(path),
    "same.png": lambda path: (path.with_name("other.png").write_bytes(data(NOISE)), path.symlink_to("other.png")),
    "other_model.png": data(TINY, text=chunk("nonesuch", 4, 32, 36)),
    "other_scale.png": data(TINY, text=chunk("bicubic", 10**9, 8 * 10**9, 9 * 10**9)),
    "other_task.png": data(TINY.convert("L"), text=chunk("grey", 1, 8, 9)),
    "of_x2.png": data(TINY, text=chunk("bicubic_x2", 2, 15, 17)),
    "text.mp4": b"I am no video",
    "void.mp4": b"",
    "cut.mp4": cut_video,
    "none": {},
    "pictures": {"a.png": data(NOISE), "b.png": data(NOISE)},
    "twins": {"a.png": data(NOISE), "a.bmp": data(NOISE)},
    "bad_set": {"a.png": data(NOISE), "b.png": b"I am no picture"},
    "tiny_set": {"a.png": data(TINY.crop((0, 0, 1, 1)))},
    "mixed": {"1.png": data(TINY, text=chunk("bicubic", 4, 32, 36)),
              "2.png": data(TINY, text=chunk("lanczos", 4, 32, 36))},
    "foreign": {"1.png": data(TINY, text=chunk("nonesuch", 4, 32, 36))},
    "out.png": b"an old result",
    "out.mp4": b"an old result",
}
LONG = "a" * 300
UNKNOWN = "cannot be read (not an image, or of none of the formats PNG, JPEG, "
BAD = {  # command -> how the one line begins, after "tadlib: "
    "downscale missing.png out.png": "missing.png: no such file or folder",
    "downscale text.png out.png": f"text.png: {UNKNOWN}",
    "upscale text.png out.png": f"text.png: {UNKNOWN}",
    "decolorize text.png out.png": f"text.png: {UNKNOWN}",
    "colorize text.png out.png": f"text.png: {UNKNOWN}",
    "downscale text.xyz out.png": f"text.xyz: {UNKNOWN}",
    "downscale 'two\nlines.png' out.png": f"two lines.png: {UNKNOWN}",
    "downscale void.png out.png": f"void.png: {UNKNOWN}",
    "downscale zeros.png out.png": f"zeros.png: {UNKNOWN}",
    "downscale head.png out.png": "head.png: cannot be read (",
    "downscale svg.png out.png": f"svg.png: {UNKNOWN}",
    "downscale cut.png out.png": "cut.png: cannot be read (image file is truncated",
    "downscale cut.jpg out.png": "cut.jpg: cannot be read (image file is truncated",
    "downscale cut.gif out.png": "cut.gif: cannot be read (image file is truncated",
    "downscale cut.bmp out.png": "cut.bmp: cannot be read (image file is truncated",
    "downscale cut.tif out.png": "cut.tif: cannot be read (",
    "downscale cut.webp out.png": "cut.webp: cannot be read (",
    "downscale cut.avif out.png": "cut.avif: cannot be read (",
    "downscale itemless.avif out.png": "itemless.avif: cannot be read (",
    "downscale flipped.png out.png": "flipped.png: cannot be read (",
    "upscale cut.png out.png": "cut.png: cannot be read (",
    "downscale bomb.png out.png": "bomb.png: more than 200,000,000 pixels\n",
    "downscale bomb.gif out.png": "bomb.gif: more than 200,000,000 pixels\n",
    "downscale bomb.jpg out.png": "bomb.jpg: more than 200,000,000 pixels\n",
    "downscale bomb.bmp out.png": "bomb.bmp: more than 200,000,000 pixels\n",
    "upscale bomb_text.png out.png": "bomb_text.png: cannot be read (Decompressed data too large",
    "downscale no_bomb.png out.png": "no_bomb.png: cannot be read (image file is truncated",
    "upscale grows.png out.png": "grows.png: would become more than 200,000,000 pixels\n",
    "downscale pipe.png out.png": "pipe.png: is no ordinary file",
    "downscale device.png out.png": "device.png: is no ordinary file",
    "downscale loop.png out.png": "loop.png: no such file or folder\n",
    f"downscale {LONG}.png out.png": f"{LONG}.png: File name too long\n",
    f"downscale good.png {LONG}.png": f"{LONG}.png: File name too long\n",
    "downscale good.png missing": "missing: results are written as PNG",
    "downscale good.png out.jpg": "out.jpg: results are written as PNG",
    "downscale good.png text.png/out.png": "text.png/out.png: cannot be written (",
    "downscale good.png good.png": "good.png: input and output are the same file",
    "downscale good.png .": "good.png: input and output are the same file",
    "upscale same.png other.png": "other.png: input and output are the same file",
    "downscale pictures pictures": "pictures: is the input folder itself",
    "downscale pictures pictures/../pictures": "pictures/../pictures: is the input folder itself",
    "downscale pictures out.png": "out.png: is a file, but pictures is a folder",
    "downscale none out": "none: holds no picture\n",
    "downscale twins out": "twins: a.bmp and a.png would become one file; rename one\n",
    "downscale good.png out.png --model nonesuch": "no model 'nonesuch'; there are: ",
    "downscale pictures out --model nonesuch": "no model 'nonesuch'; there are: ",
    "upscale pictures out --model nonesuch": "no model 'nonesuch'; there are: ",
    "downscale good.png out.png --model tool_x4 --scale 2": "model 'tool_x4' scales by 4, not by 2\n",
    "upscale of_x2.png out.png --model bicubic --scale 2": "model 'bicubic' scales by 4, not by 2\n",
    "downscale good.png out.png --model grey": "model 'grey' is one for decolorize and colorize\n",
    "decolorize good.png out.png --model bicubic": "model 'bicubic' is one for downscale and upscale\n",
    "colorize of_x2.png out.png": "of_x2.png: model 'bicubic_x2' is one for downscale and upscale\n",
    "colorize good.png out.png --model grey": "good.png: has colours already",
    "upscale other_task.png out.png": "other_task.png: model 'grey' is one for decolorize and colorize\n",
    "upscale other_model.png out.png": "other_model.png: no model 'nonesuch'; there are: ",
    "upscale other_scale.png out.png": "other_scale.png: model 'bicubic' scales by 4, not by 1000000000\n",
    "downscale missing.mp4 out": "missing.mp4: no such file or folder\n",
    "downscale text.mp4 out": "text.mp4: cannot be read as a video (",
    "downscale void.mp4 out": "void.mp4: cannot be read as a video (",
    "downscale cut.mp4 out --model bicubic": "cut.mp4: breaks off, or is damaged, after ",
    "downscale cut.mp4 out.mp4": "out.mp4: the small frames must stay exact",
    "upscale cut.mp4 out": "cut.mp4: a clip comes back from its folder of small PNG frames",
    "upscale bad_set out.mp4 --model bicubic": f"bad_set/b.png: {UNKNOWN}",
    "upscale mixed out.mp4": "mixed/2.png: is of another clip, or by another model",
    "upscale foreign out.mp4": "foreign: no model 'nonesuch'",
    "upscale foreign out.mp4 --model bicubic": "foreign: --model bicubic, but the picture says that it was made by "
                                               "model nonesuch\n",
    "upscale of_x2.png out.png --model bicubic": "of_x2.png: --model bicubic, but the picture says that it was made by "
                                                 "model bicubic_x2\n",
    "upscale of_x2.png out.png --scale 4": "of_x2.png: --scale 4, but the picture says that it was made by scale 2\n",
    "downscale pictures new.jpg": "new.jpg: is named as a picture, but pictures is a folder",
    "upscale pictures new.png --model bicubic": "new.png: is named as a picture, but pictures is a folder",
    "upscale pictures text.png/out.mp4 --model bicubic": "text.png/out.mp4: cannot be written (",
    "upscale none out.mp4": "none: holds no picture\n",
    "evaluate --model nonesuch": "no model 'nonesuch'; there are: ",
    "evaluate --model bicubic --set Set99": "Set99: not here (no such set or folder)\n",
    "evaluate --model bicubic --set good.png": "good.png: not here (no such set or folder)\n",
    "evaluate --model bicubic --set tiny_set": "a: smaller than the scale of 4",
    "evaluate --model bicubic --set SampleCrop --channel fog": "channel stage 'fog': ",
    "evaluate --model bicubic --set SampleCrop --channel ''": "channel stage '': ",
    "evaluate --model bicubic --set SampleCrop --channel noise:much": "channel stage 'noise:much': ",
    "evaluate --model bicubic --set SampleCrop --channel noise:nan": "channel stage 'noise:nan': ",
    "evaluate --model bicubic --set SampleCrop --channel noise:-1": "channel stage 'noise:-1': ",
    "evaluate --model bicubic --set SampleCrop --channel shift:9999": "chelsea: its small image is only 32 pixels ",
    "evaluate --model bicubic --set SampleCrop --channel cycles:0": "channel stage 'cycles:0': ",
    "evaluate --model joint_x4 --set Sample": "joint_x4 looks at 3 frames of a clip, and these images are of several ",
    "evaluate --model bicubic --set SampleCrop --channel resize:inf": "channel stage 'resize:inf': ",
    f"evaluate --model bicubic --set SampleCrop --channel jpeg:{10**30}": f"channel stage 'jpeg:{10**30}': ",
}


def lay(place: Path, content) -> None:
    if isinstance(content, dict):
        place.mkdir(exist_ok=True)
        for name, inner in content.items():
            lay(place / name, inner)
    elif callable(content):
        content(place)
    else:
        place.write_bytes(content)


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def refused(arguments: list[str], line: str, folder: Path, capfd) -> None:
    """Exit code 2, one line that begins so, and below the folder all is as it was: no result, no half of one."""
    before = everything(folder)
    assert main(arguments) == 2
    printed, error = capfd.readouterr()
    assert error.startswith(f"tadlib: {line}") and error.endswith("\n") and error.count("\n") == 1, error
    assert printed == ""
    assert everything(folder) == before


@pytest.mark.parametrize("command", BAD)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(here, capfd, command):
    arguments = shlex.split(command)
    for name, content in FILES.items():
        if any(name in (word, word.split("/")[0]) for word in arguments) or name == "out.png":
            lay(here / name, content)
    refused(arguments, BAD[command], here.parent, capfd)


def test_what_libtiff_prints_by_itself_is_not_shown(here):
    lay(here, {"damaged.tif": damaged_tiff})
    done = tadlib("-m", "tadlib", "downscale", here / "damaged.tif", here / "out.png", "--model", "bicubic")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tadlib: {here / 'damaged.tif'}: cannot be read (") and done.stderr.count("\n") == 1
    assert [p.name for p in here.iterdir()] == ["damaged.tif"]


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 40 40
%%EndComments
0 0 1 setrgbcolor 0 0 40 40 rectfill
showpage
%%EOF
"""


PROGRAMS = {  # what readers start programs for, or follow to other files
    "EPS": POSTSCRIPT, "PDF": b"%PDF-1.4\n1 0 obj<</OpenAction<</S/Launch/F(sh)>>>>endobj\n",
    "DOS EPS": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(POSTSCRIPT), 0, 0, 0, 0, 0) + POSTSCRIPT,
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4hHI", 0, 0, 40, 40, 96, 0) + bytes(99),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_in_a_pictures_clothes_is_one_line_alone_and_in_a_folder(here, monkeypatch, capfd, kind):
    """And is not started: test_files.py."""
    lay(here, {"eps.jpg": PROGRAMS[kind], "in": {"eps.jpg": PROGRAMS[kind], "good.png": FILES["good.png"]}})
    for command in ("downscale", "upscale", "decolorize", "colorize"):
        refused([command, "eps.jpg", "out.png"], f"eps.jpg: {UNKNOWN}", here, capfd)
    assert main(["downscale", "in", "out", "--model", "bicubic"]) == 2
    printed, error = capfd.readouterr()
    assert error.startswith(f"tadlib: in/eps.jpg: {UNKNOWN}") and error.count("\n") == 1
    assert printed == "1 of 2 images written to out\n"
    assert [p.name for p in (here / "out").iterdir()] == ["good.png"]


# ---- what is not ours to write over

@pytest.mark.parametrize("command", ["downscale", "upscale"])
def test_a_link_among_the_results_is_replaced_and_what_it_points_to_is_kept(here, capfd, command):
    lay(here, {"in": {n: data(ImageChops.offset(NOISE, i)) for i, n in enumerate(("a.png", "b.png", "c.png"))},
               "other.png": FILES["good.png"], "out": {}})
    (here / "out" / "a.png").symlink_to("../in/a.png")
    (here / "out" / "b.png").symlink_to(here / "other.png")
    (here / "out" / "c.png").symlink_to("nowhere.png")
    before = everything(here / "in") | {here / "other.png": FILES["good.png"]}
    assert main([command, "in", "out", "--model", "bicubic"]) == 0
    assert capfd.readouterr() == ("3 of 3 images written to out\n", "")
    after = everything(here)
    assert all(after[path] == content for path, content in before.items())
    bicubic = Codec.find("bicubic")
    for path in (here / "in").iterdir():
        result = here / "out" / path.name
        assert not result.is_symlink()
        assert np.array_equal(read_image(result), getattr(bicubic, command)(read_image(path)))
    assert len(after) == 3 + 3 + 3  # nothing was made where the third link pointed to


def test_a_result_that_would_replace_one_of_the_inputs_is_refused_and_stops_none_of_the_others(here, capfd):
    lay(here, {"in": {"a.png": data(NOISE), "b.png": data(NOISE)}, "out": {}})
    (here / "out" / "b.png").hardlink_to(here / "in" / "a.png")  # another name of it
    before = everything(here / "in")
    assert main(["downscale", "in", "out", "--model", "bicubic"]) == 2
    assert capfd.readouterr() == ("1 of 2 images written to out\n",
                                  "tadlib: out/b.png: is one of the inputs; choose another output\n")
    assert everything(here / "in") == before and (here / "out" / "b.png").read_bytes() == data(NOISE)
    assert read_image("out/a.png").shape == (8, 10, 3)


def test_a_single_result_replaces_a_link_but_never_the_input(here, capfd):
    lay(here, {"good.png": data(NOISE), "other.png": b"mine"})
    (here / "link.png").symlink_to("other.png")
    assert main(["downscale", "good.png", "link.png", "--model", "bicubic"]) == 0
    assert (here / "other.png").read_bytes() == b"mine" and not (here / "link.png").is_symlink()
    for name, make in {"soft.png": Path.symlink_to, "hard.png": Path.hardlink_to}.items():
        make(here / name, here / "good.png")
        command = ["downscale", "good.png", name, "--model", "bicubic"]
        refused(command, f"{name}: input and output are the same file", here, capfd)


def test_a_film_replaces_a_link_too(here, capfd):
    lay(here, {"clip": CLIP, "other.mp4": b"mine"})
    (here / "out.mp4").symlink_to("other.mp4")
    assert main(["upscale", "clip", "out.mp4"]) == 0
    assert (here / "other.mp4").read_bytes() == b"mine" and not (here / "out.mp4").is_symlink()


CLIP = {f"{n}.png": data(NOISE, text=chunk("bicubic", 4, 128, 160)) for n in range(2)}


@pytest.mark.parametrize("command", ["downscale good.png out.png", "downscale clip.mp4 out", "upscale clip out.mp4",
                                     "upscale good.png new/out.png"])
def test_a_disk_that_is_full_is_told_and_what_was_there_stays(here, capfd, command):
    lay(here, {name: FILES[name] for name in ("good.png", "out.png", "out.mp4")} | {"clip": CLIP, "new": {}})
    with Writer("clip.mp4") as writer:
        writer.write(np.array(NOISE))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # a file ends there as it does on a full disk
    try:
        line = f"{command.split()[-1]}: cannot be written (File too large)"
        refused([*command.split(), "--model", "bicubic"], line, here, capfd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


FAULTS = {  # what the system refuses -> where, how, command, line
    "space": (Image.Image, "save", OSError(errno.ENOSPC, "No space left on device"),
              "downscale good.png out.png", "out.png: cannot be written (No space left on device)\n"),
    "writing": (tempfile, "mkstemp", PermissionError(errno.EACCES, "Permission denied"),
                "downscale good.png out.png", "out.png: cannot be written (Permission denied)\n"),
    "reading": (Image, "open", PermissionError(errno.EACCES, "Permission denied"),
                "downscale good.png out.png", "good.png: no permission to read it\n"),
    "listing": (Path, "iterdir", PermissionError(errno.EACCES, "Permission denied", "pictures"),
                "downscale pictures out", "pictures: Permission denied\n"),
    "memory": (Image.Image, "load", MemoryError("no memory"),
               "upscale good.png out.png", "good.png: cannot be read (no memory)\n"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_the_system_refuses_is_told(here, monkeypatch, capfd, what):
    owner, name, error, command, line = FAULTS[what]
    lay(here, {name: FILES[name] for name in ("good.png", "out.png", "pictures")})

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(owner, name, refuse)
    refused([*command.split(), "--model", "bicubic"], line, here.parent, capfd)


def tadlib(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          cwd=settings.ROOT)


def test_in_a_folder_the_bad_are_told_at_the_end_and_stop_none(here):
    good = {name.replace(".", "_") + Path(name).suffix: content for name, (content, _) in GOOD.items()}
    del good["png_xyz.xyz"]  # in a folder the suffix decides
    bad = {"bad.png": b"I am no picture", "damaged.tif": damaged_tiff, "folder.png": {}, "row.jpg": broken("cut.jpg")}
    lay(here / "in", good | bad | {"notes.txt": b"no picture", ".hidden.png": b"no picture"})
    down = tadlib("-m", "tadlib", "downscale", here / "in", here / "small", "--model", "bicubic")
    assert down.returncode == 2
    lines = [line for line in down.stderr.splitlines() if not line.endswith("holds 2 pictures; the first is taken")
             and " images in " not in line]  # how it goes, on a slow machine
    assert [line.split(": ")[1] for line in lines] == [str(here / "in" / name) for name in sorted(bad)], lines
    told = f"{len(good)} of {len(good) + len(bad)} images written to {here / 'small'}; left out: 1 .txt\n"
    assert down.stdout == told
    up = tadlib("-m", "tadlib", "upscale", here / "small", here / "big")
    assert up.returncode == 0 and all(" images in " in line for line in up.stderr.splitlines())
    assert {p.name for p in (here / "small").iterdir()} == {p.name for p in (here / "big").iterdir()}
    for name in good:
        assert read_image(here / "big" / f"{Path(name).stem}.png").shape == read_image(here / "in" / name).shape, name


# ---- what must never happen

class Trap:
    """An object whose pickle makes a folder as soon as somebody unpickles it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def saved(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    torch.save(trap, buffer)
    return buffer.getvalue()


WEIGHTS = {
    "cut": lambda whole, trap: whole[:1000],
    "empty": lambda whole, trap: b"",
    "text": lambda whole, trap: b"I am no weights",
    "a header without end": lambda whole, trap: struct.pack("<Q", 1 << 60) + b"{",
    "another net's": lambda whole, trap: save({k: v.half() for k, v in build("tool_x2").state_dict().items()}),
    "another shape": lambda whole, trap: whole.replace(b"[64,64,3,3]", b"[64,32,6,3]"),
    "a pickle": lambda whole, trap: pickle.dumps(trap),
    "a checkpoint": lambda whole, trap: saved(trap),
}


@pytest.mark.parametrize("what", WEIGHTS)
@pytest.mark.parametrize("recorded", [False, True], ids=["another hash", "its hash"])
def test_weights_that_are_none_are_told_and_never_executed(here, own_results, capfd, what, recorded):
    """Also where a stranger's record tells of just these weights."""
    run, trap = Run("tool_x4", "tool_x4"), Trap(here / "trap")
    folder = stored.folder(run)
    lay(here, {name: FILES[name] for name in ("good.png", "out.png")})
    whole = save({k: v.half() for k, v in run.build().state_dict().items()})
    assert b"[64,64,3,3]" in whole
    data = WEIGHTS[what](whole, trap)
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(data)
    record = asdict(run) | {"network": run.net.words(), "weights": stored.describe(data if recorded else whole)}
    (folder / "record.json").write_text(json.dumps(record))
    refused(["downscale", "good.png", "out.png"], f"{folder / 'weights.safetensors'}: ", here.parent, capfd)
    pickle.loads(pickle.dumps(trap))
    assert trap.folder.is_dir()  # it was armed


def test_the_library_unpickles_nothing_and_makes_no_code_of_text():
    files = [file for room in ("tadlib", "workbook") for file in (settings.ROOT / room).rglob("*.py")]
    assert len(files) > 40
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert names.isdisjoint({"pickle", "marshal", "shelve", "joblib", "dill"}), file
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call not in ("eval", "exec"), file
                assert not call.endswith(("torch.load", "np.load")) or "weights_only=True" in ast.unparse(node), file


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{}/a.ts\n#EXT-X-ENDLIST\n",
    "FFmpeg": "ffconcat version 1.0\nfile 'http://127.0.0.1:{}/a.ts'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {} RTP/AVP 96\n",
    "DASH": '<?xml version="1.0"?><MPD><Period><BaseURL>http://127.0.0.1:{}/</BaseURL></Period></MPD>',
    "a redirection": "[Reference]\nRef1=http://127.0.0.1:{}/a.asf\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_list_of_addresses_in_place_of_a_video_is_not_followed(here, capfd, kind):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        (here / "clip.mp4").write_text(PLAYLISTS[kind].format(server.getsockname()[1]))
        refused(["downscale", "clip.mp4", "out"], "clip.mp4: cannot be read as a video (", here, capfd)
        with pytest.raises(BlockingIOError):  # nobody knocks
            server.accept()


def test_a_list_of_files_in_place_of_a_video_is_not_followed(here, capfd):
    with Writer("neighbour.mp4") as writer:
        writer.write(np.array(NOISE))
    (here / "clip.mp4").write_text("ffconcat version 1.0\nfile neighbour.mp4\n")
    refused(["downscale", "clip.mp4", "out"], "clip.mp4: cannot be read as a video (", here, capfd)


def test_neither_library_nor_tool_opens_a_connection(here, offline):
    (here / "good.png").write_bytes(data(NOISE))
    offline("tadlib", """
from tadlib.tool import progress
progress.FIRST = 1e6  # not a word of how it goes on a slow machine
good, small, big = arguments
for down, up in (("downscale", "upscale"), ("decolorize", "colorize")):
    assert main([down, good, small]) == main([up, small, big]) == 0
""", *(here / f"{name}.png" for name in ("good", "small", "big")))
    assert read_image(here / "big.png").shape == (32, 40, 3)
