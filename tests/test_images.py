"""Every picture file that people have comes in as RGB; what is no picture is told in one line; PNGs go out whole."""
from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

from tadlib import images
from tadlib.images import (
    BadInput,
    centre_crop,
    crop_to_multiple,
    from_pil,
    pad_to_multiple,
    read_image,
    replacing,
    rgb_to_chroma,
    rgb_to_y,
    to_codes,
    to_float,
    to_pil,
    write_png,
    ycbcr_to_rgb,
)

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # 0, 5, .. 235


def grey_of(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.uint8)).expand(3, -1, -1)


def png_16_bit_rgb(path: Path, array: np.ndarray) -> None:
    """uint16 (H, W, 3) as PNG of 16 bit per channel, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w, _ = array.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


# ------------------------------------------------------------------------------------------------------- reading

def test_grey_becomes_three_equal_channels(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.equal(read_image(tmp_path / "grey.png"), grey_of(RAMP))


def test_one_bit(tmp_path):
    Image.fromarray(RAMP > 100).save(tmp_path / "bits.png")
    assert torch.equal(read_image(tmp_path / "bits.png"), grey_of((RAMP > 100) * 255))


def test_palette(tmp_path):
    picture = Image.fromarray((RAMP > 100).astype(np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 10, 250])
    picture.save(tmp_path / "palette.png")
    got = read_image(tmp_path / "palette.png")
    assert got[:, 0, 0].tolist() == [255, 0, 0]
    assert got[:, -1, -1].tolist() == [0, 10, 250]


def test_palette_with_alpha_lies_on_white(tmp_path):
    picture = Image.fromarray((RAMP > 100).astype(np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 10, 250])
    picture.save(tmp_path / "palette.png", transparency=0)
    got = read_image(tmp_path / "palette.png")
    assert got[:, 0, 0].tolist() == [255, 255, 255]
    assert got[:, -1, -1].tolist() == [0, 10, 250]


def test_half_transparent_lies_on_white(tmp_path):
    Image.new("RGBA", (3, 2), (255, 0, 100, 51)).save(tmp_path / "alpha.png")  # a fifth
    got = read_image(tmp_path / "alpha.png")
    assert got.shape == (3, 2, 3)
    assert got[:, 0, 0].tolist() == [255, 204, 224]


def test_grey_with_alpha_lies_on_white(tmp_path):
    Image.new("LA", (3, 2), (100, 0)).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png").unique().tolist() == [255]


def test_16_bit_grey_is_scaled_to_8(tmp_path):
    array = np.array([[0, 128, 129, 257], [25_700, 32_896, 65_406, 65_535]], dtype=np.uint16)
    Image.fromarray(array).save(tmp_path / "deep.png")
    expected = np.array([[0, 0, 1, 1], [100, 128, 254, 255]])
    assert torch.equal(read_image(tmp_path / "deep.png"), grey_of(expected))


def test_16_bit_rgb_is_scaled_to_8(tmp_path):
    codes = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=2)
    png_16_bit_rgb(tmp_path / "deep.png", codes.astype(np.uint16) * 257)
    assert torch.equal(read_image(tmp_path / "deep.png"), torch.from_numpy(codes).permute(2, 0, 1))


def test_float_tiff_is_taken_as_0_to_1(tmp_path):
    Image.fromarray(np.array([[-1.0, 0.0, 0.5], [0.2, 1.0, np.nan]], dtype=np.float32)).save(tmp_path / "f.tif")
    assert read_image(tmp_path / "f.tif")[0].tolist() == [[0, 0, 128], [51, 255, 0]]


def test_exif_rotation_is_applied(tmp_path):
    array = np.zeros((8, 16), np.uint8)
    array[:, 8:] = 255  # as stored: dark left, bright right
    exif = Image.Exif()
    exif[274] = 6  # to be turned a quarter clockwise
    Image.fromarray(array).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    got = read_image(tmp_path / "turned.jpg")
    assert got.shape == (3, 16, 8)
    assert got[:, :8].max() < 10  # dark top
    assert got[:, 8:].min() > 245


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
    assert got[0].min() > 240


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    got = read_image(tmp_path / "print.jpg").float().mean((1, 2))
    assert got[0] > 230
    assert got[1:].max() < 40


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert read_image(tmp_path / "dot.png").flatten().tolist() == [1, 2, 3]


def test_of_an_animation_the_first_frame(tmp_path):
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "moving.gif")[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path, photo, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    to_pil(photo).save(tmp_path / f"photo{suffix}", **options)
    assert torch.equal(read_image(tmp_path / f"photo{suffix}"), photo)


# ------------------------------------------------------------------------------------------------------- bad input

def _cut(path: Path, kind: str) -> None:
    Image.effect_noise((64, 64), 50).save(path, format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "missing.png": lambda p: None,
    "folder.png": lambda p: p.mkdir(),
    "text.png": lambda p: p.write_text("this is no picture\n"),
    "empty.png": lambda p: p.write_bytes(b""),
    "cut.png": lambda p: _cut(p, "PNG"),
    "cut.jpg": lambda p: _cut(p, "JPEG"),
    "head.png": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_told_in_one_line_with_its_name(tmp_path, name):
    BAD[name](tmp_path / name)
    with pytest.raises(BadInput) as told:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_picture_beyond_the_limit_is_told(tmp_path, monkeypatch):
    Image.new("1", (200, 200)).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(BadInput, match=r"vast\.png: more than 200,000,000 pixels"):
        read_image(tmp_path / "vast.png")
    assert images.MAX_PIXELS == 200_000_000


# ------------------------------------------------------------------------------------------------------- writing

def test_a_written_png_reads_back_with_its_text(tmp_path, photo):
    path = tmp_path / "new" / "folder" / "photo.png"
    write_png(path, photo, {"tadlib": '{"size": [96, 128]}', "Zeichen": "größer"})
    assert torch.equal(read_image(path), photo)
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.text == {"tadlib": '{"size": [96, 128]}', "Zeichen": "größer"}


def test_one_channel_is_written_as_grey(tmp_path, photo):
    write_png(tmp_path / "grey.png", photo[:1])
    with Image.open(tmp_path / "grey.png") as picture:
        assert picture.mode == "L"
    assert torch.equal(read_image(tmp_path / "grey.png"), photo[:1].expand(3, -1, -1))


@pytest.mark.parametrize("trouble", [RuntimeError("encoder"), OSError("disk full"), KeyboardInterrupt()])
def test_when_writing_fails_the_old_file_stays_and_nothing_else(tmp_path, photo, monkeypatch, trouble):
    path = tmp_path / "photo.png"
    write_png(path, photo)
    before = path.read_bytes()

    def half_written(self, target, **options):
        Path(target).write_bytes(b"half")
        raise trouble

    monkeypatch.setattr(Image.Image, "save", half_written)
    with pytest.raises(BadInput if isinstance(trouble, OSError) else type(trouble)):
        write_png(path, 255 - photo)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_told(tmp_path, photo):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"photo\.png: cannot be written"):
        write_png(tmp_path / "file" / "photo.png", photo)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadInput, match=r"folder\.png: cannot be written"):
        write_png(tmp_path / "folder.png", photo)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_replaced_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").write_text("")
    with replacing(tmp_path / "ours") as temporary:
        temporary.write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


# ------------------------------------------------------------------------------------------------------- codes, colours

def test_codes_are_rounded_and_clamped_never_truncated():
    x = torch.tensor([-0.5, 0.0, 0.4, 0.6, 1.4, 1.6, 254.4, 254.6, 255.0, 300.0]) / 255
    assert to_codes(x).tolist() == [0, 0, 0, 1, 1, 2, 254, 255, 255, 255]


def test_all_codes_survive_float():
    codes = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert to_float(codes).shape == (1, 1, 16, 16)
    assert torch.equal(to_codes(to_float(codes))[0], codes)


def test_pil_and_tensor_agree_on_which_side_is_which():
    picture = Image.new("RGB", (5, 2))
    picture.putpixel((4, 1), (1, 2, 3))
    image = from_pil(picture)
    assert image.shape == (3, 2, 5)
    assert image[:, 1, 4].tolist() == [1, 2, 3]
    assert to_pil(image).tobytes() == picture.tobytes()


def test_ycbcr_is_that_of_scikit_image(photo):
    reference = torch.from_numpy(rgb2ycbcr(photo.permute(1, 2, 0).numpy())).permute(2, 0, 1)  # 16..235, 16..240
    x = photo.double() / 255
    got = torch.cat([rgb_to_y(x), *rgb_to_chroma(x)]) * 255
    torch.testing.assert_close(got, reference, atol=1e-3, rtol=0)


def test_luma_of_black_white_and_the_primaries():
    x = torch.eye(3, dtype=torch.double).view(3, 3, 1, 1)  # red, green, blue
    white_and_black = torch.stack([torch.ones(3, 1, 1), torch.zeros(3, 1, 1)]).double()
    assert (rgb_to_y(white_and_black) * 255).flatten().tolist() == pytest.approx([235, 16])
    assert (rgb_to_y(x) * 255).flatten().tolist() == pytest.approx([81.481, 144.553, 40.966])


def test_colour_spaces_round_trip(photo):
    x = photo.double()[None] / 255
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_y(x), *rgb_to_chroma(x)), x, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------------- crop and pad

def test_crop_keeps_the_top_left():
    x = torch.arange(70).view(1, 7, 10)
    assert torch.equal(crop_to_multiple(x, 4), x[:, :4, :8])
    assert torch.equal(crop_to_multiple(x, 1), x)


def test_pad_repeats_the_last_row_and_column():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(padded, 4) is padded
    assert pad_to_multiple(torch.ones(1, 3, 1, 1), 4).sum() == 48


def test_centre_crop():
    x = torch.arange(35).view(1, 5, 7)
    assert centre_crop(x, 3).tolist() == [[[9, 10, 11], [16, 17, 18], [23, 24, 25]]]
    assert torch.equal(centre_crop(x, 6), x[..., :6])
    assert torch.equal(centre_crop(x, 100), x)
