"""Pictures come in as RGB (every kind of them, and what is none: test_hostile.py); PNGs go out whole."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from torch import Tensor

from tadlib.errors import BadInput
from tadlib.files import FORMATS, SUFFIXES, natural, picture_files, read_bytes, read_image, replacing, write_png
from tadlib.pixels import to_array


@pytest.fixture(scope="module")
def picture(photo: Tensor) -> np.ndarray:
    """A real photograph's middle as a file holds it: uint8 (96, 128, 3)."""
    return to_array(photo)


# ------------------------------------------------------------------------------------------------------- reading

def test_sloppy_exif_does_not_spoil_a_good_picture(tmp_path):
    path = tmp_path / "sloppy.jpg"
    exif = Image.Exif()
    exif[274], exif[271] = 6, "x"
    Image.new("RGB", (16, 8), "red").save(path, exif=exif)
    data = path.read_bytes()
    assert b"\x01\x0f\x00\x02" in data  # tag 271, a text: rename it to one that should be a number
    path.write_bytes(data.replace(b"\x01\x0f\x00\x02", b"\x01\x17\x00\x02"))
    got = read_image(path)
    assert sorted(got.shape) == [3, 8, 16]
    assert got[..., 0].min() > 240


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path, picture, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(picture).save(tmp_path / f"picture{suffix}", **options)
    assert np.array_equal(read_image(tmp_path / f"picture{suffix}"), picture)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_what_counts_as_a_picture_can_be_read(tmp_path, picture, suffix):
    kind = {".jfif": "JPEG", ".pnm": "PPM"}.get(suffix)
    Image.fromarray(picture).save(tmp_path / f"picture{suffix}", kind)
    with Image.open(tmp_path / f"picture{suffix}") as opened:
        assert opened.format in FORMATS
    assert read_image(tmp_path / f"picture{suffix}").shape == picture.shape


def test_bytes_are_read_as_a_file_is(tmp_path, picture):
    write_png(tmp_path / "picture.png", picture)
    assert np.array_equal(read_bytes((tmp_path / "picture.png").read_bytes(), "sent"), picture)
    with pytest.raises(BadInput, match=r"^sent: cannot be read"):
        read_bytes(b"no picture", "sent")


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 40 40
%%EndComments
0 0 1 setrgbcolor 0 0 40 40 rectfill
showpage
%%EOF
"""


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png", "picture.eps"])
def test_a_program_in_a_pictures_clothes_is_not_started(tmp_path, monkeypatch, name):
    """Pillow draws PostScript by Ghostscript, whatever the file is called."""
    ghostscript, started = tmp_path / "bin" / "gs", tmp_path / "started"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {started}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # not looked for yet
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises(BadInput, match=r"picture\.\w+: cannot be read \(not an image, or "):
        read_image(tmp_path / name)
    assert not started.exists()
    with pytest.raises(OSError), Image.open(tmp_path / name) as opened:
        opened.load()
    assert started.exists()  # the trap was set: Pillow by itself does start it


def test_reading_leaves_pillows_own_limit_as_it_was(tmp_path, picture, monkeypatch):
    write_png(tmp_path / "picture.png", picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    assert read_image(tmp_path / "picture.png").shape == picture.shape  # ours counts
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(BadInput):
        read_image(tmp_path / "broken.png")
    assert Image.MAX_IMAGE_PIXELS == 99


def test_pictures_of_a_folder_come_in_natural_order(tmp_path):
    names = ["hr1.png", "hr2.png", "hr10.bmp", "hr10.png", "hr010b2.png", "x.JPG"]
    for name in reversed(names):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").touch()
    assert [f.name for f in picture_files(tmp_path)] == names
    assert [f.name for f in sorted((tmp_path / name for name in reversed(names)), key=natural)] == names
    with pytest.raises(BadInput, match=r"none: no such file or folder$"):
        picture_files(tmp_path / "none")
    with pytest.raises(BadInput, match=r"notes\.txt: is no folder$"):
        picture_files(tmp_path / "notes.txt")


# ------------------------------------------------------------------------------------------------------- writing

def test_a_written_png_reads_back_with_its_text(tmp_path, picture):
    path = tmp_path / "new" / "folder" / "picture.png"
    write_png(path, picture, {"tadlib": '{"size": [96, 128]}', "Zeichen": "größer"})
    assert np.array_equal(read_image(path), picture)
    with Image.open(path) as opened:
        opened.load()
        assert opened.format == "PNG"
        assert opened.text == {"tadlib": '{"size": [96, 128]}', "Zeichen": "größer"}


def test_one_channel_is_written_as_grey(tmp_path, picture):
    write_png(tmp_path / "grey.png", picture[..., 0])
    with Image.open(tmp_path / "grey.png") as opened:
        assert opened.mode == "L"
    assert np.array_equal(read_image(tmp_path / "grey.png"), picture[..., :1].repeat(3, 2))


@pytest.mark.parametrize("trouble", [RuntimeError("encoder"), OSError("disk full"), KeyboardInterrupt()])
def test_when_writing_fails_the_old_file_stays_and_nothing_else(tmp_path, picture, monkeypatch, trouble):
    path = tmp_path / "picture.png"
    write_png(path, picture)
    before = path.read_bytes()

    def half_written(self, target, **options):
        Path(target).write_bytes(b"half")
        raise trouble

    monkeypatch.setattr(Image.Image, "save", half_written)
    with pytest.raises(BadInput if isinstance(trouble, OSError) else type(trouble)):
        write_png(path, 255 - picture)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_told(tmp_path, picture):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"picture\.png: cannot be written"):
        write_png(tmp_path / "file" / "picture.png", picture)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadInput, match=r"folder\.png: cannot be written"):
        write_png(tmp_path / "folder.png", picture)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_replaced_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").write_text("")
    with replacing(tmp_path / "ours") as temporary:
        temporary.write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_result_replaces_a_link_and_keeps_what_the_link_points_to(tmp_path, picture):
    write_png(tmp_path / "file.png", picture)
    (tmp_path / "link.png").symlink_to(tmp_path / "file.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "missing.png")
    for name in ("link.png", "nowhere.png"):
        write_png(tmp_path / name, 255 - picture)
        assert not (tmp_path / name).is_symlink()
        assert np.array_equal(read_image(tmp_path / name), 255 - picture)
        assert (tmp_path / name).stat().st_mode & 0o777 == (tmp_path / "file.png").stat().st_mode & 0o777
    assert np.array_equal(read_image(tmp_path / "file.png"), picture)
    assert not (tmp_path / "missing.png").exists()


def test_a_result_keeps_the_rights_of_the_file_before(tmp_path, picture):
    write_png(tmp_path / "file.png", picture)
    (tmp_path / "file.png").chmod(0o640)
    write_png(tmp_path / "file.png", 255 - picture)
    assert (tmp_path / "file.png").stat().st_mode & 0o777 == 0o640
    assert np.array_equal(read_image(tmp_path / "file.png"), 255 - picture)


def test_of_two_names_of_one_file_the_other_keeps_what_it_had(tmp_path, picture):
    write_png(tmp_path / "file.png", picture)
    (tmp_path / "name.png").hardlink_to(tmp_path / "file.png")
    write_png(tmp_path / "name.png", 255 - picture)
    assert np.array_equal(read_image(tmp_path / "file.png"), picture)


def test_a_write_protected_file_is_not_replaced(tmp_path, picture, monkeypatch):
    write_png(tmp_path / "file.png", picture)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(BadInput, match="cannot be written \\(it is write-protected"):
        write_png(tmp_path / "file.png", 255 - picture)
    assert np.array_equal(read_image(tmp_path / "file.png"), picture)
