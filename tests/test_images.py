"""Pictures come in as RGB (every kind of them, and what is none: test_hostile.py); PNGs go out whole."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr

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
    assert got[0].min() > 240


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path, photo, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    to_pil(photo).save(tmp_path / f"photo{suffix}", **options)
    assert torch.equal(read_image(tmp_path / f"photo{suffix}"), photo)


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
