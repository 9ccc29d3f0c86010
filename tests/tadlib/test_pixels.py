"""Codes and floats, BT.601, cropping and padding, moving windows and a frame's neighbours."""
from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr

from tadlib.pixels import (
    around,
    centre_crop,
    crop_to_multiple,
    from_array,
    pad_to_multiple,
    pan,
    rgb_to_chroma,
    rgb_to_y,
    to_array,
    to_codes,
    to_float,
    with_neighbours,
    ycbcr_to_rgb,
)

# ------------------------------------------------------------------------------------------------------- codes, colours

def test_codes_are_rounded_and_clamped_never_truncated():
    x = torch.tensor([-0.5, 0.0, 0.4, 0.6, 1.4, 1.6, 254.4, 254.6, 255.0, 300.0]) / 255
    assert to_codes(x).tolist() == [0, 0, 0, 1, 1, 2, 254, 255, 255, 255]


def test_all_codes_survive_float():
    codes = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert to_float(codes).shape == (1, 1, 16, 16)
    assert torch.equal(to_codes(to_float(codes))[0], codes)


def test_array_and_tensor_agree_on_which_side_is_which():
    array = np.zeros((2, 5, 3), np.uint8)
    array[1, 4] = 1, 2, 3
    image = from_array(array)
    assert (image.dtype, image.shape) == (torch.uint8, (3, 2, 5))
    assert image[:, 1, 4].tolist() == [1, 2, 3]
    assert to_array(image).dtype == np.uint8
    assert np.array_equal(to_array(image), array)
    grey = from_array(array[..., 2])
    assert grey.shape == (1, 2, 5) and grey[0, 1, 4] == 3
    assert np.array_equal(to_array(grey), array[..., 2])


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


# ------------------------------------------------------------------------------------------------------- clips

def places(h: int, w: int, third: int = 0) -> torch.Tensor:
    """An image that says in each pixel where it is: its row, its column, and a number of its own."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([y, x, torch.full_like(y, third)]).to(torch.uint8)


def test_a_pan_is_a_window_that_moves_by_the_same_step_each_frame():
    image = places(20, 30)
    frames = pan(image, 3, (8, 10), (2, -3))  # 8 rows and 14 columns to spare
    assert (frames.dtype, frames.shape) == (torch.uint8, (3, 3, 8, 10))
    assert all(torch.equal(f, image[:, 4 + 2 * n : 12 + 2 * n, 13 - 3 * n : 23 - 3 * n]) for n, f in enumerate(frames))


@pytest.mark.parametrize(("start", "step", "first", "last"), [
    ((0, 0), (2, 3), (0, 0), (4, 6)), ((0.999, 0.999), (2, 3), (8, 14), (12, 20)),
    ((0, 0), (-2, -3), (4, 6), (0, 0)), ((0.999, 0.999), (-2, -3), (12, 20), (8, 14)),
])
def test_a_pan_can_begin_wherever_it_stays_within_the_image(start, step, first, last):
    frames = pan(places(20, 30), 3, (8, 10), step, start)
    assert [tuple(frames[n, :2, 0, 0].tolist()) for n in (0, -1)] == [first, last]


def test_a_pan_over_too_small_an_image_is_refused():
    assert pan(places(12, 10), 3, (8, 10), (-2, 0)).shape == (3, 3, 8, 10)  # just fits
    with pytest.raises(ValueError, match="a window of 8 that moves by -2 in 3 frames does not fit into 11"):
        pan(places(11, 10), 3, (8, 10), (-2, 0))
    with pytest.raises(ValueError, match="a window of 10 that moves by 1 in 3 frames does not fit into 11"):
        pan(places(12, 11), 3, (8, 10), (0, 1))


def test_pan_moves_by_its_step_and_stays_inside():
    image = torch.arange(3 * 20 * 30).view(3, 20, 30)
    clip = pan(image, 5, (8, 10), (-3, 5))
    assert clip.shape == (5, 3, 8, 10)
    for a, b in pairwise(clip):
        assert torch.equal(a[:, :5, 5:], b[:, 3:, :5])
    with pytest.raises(ValueError, match="does not fit"):
        pan(image, 6, (8, 10), (-3, 5))


def test_around_a_frame_are_its_neighbours_and_at_the_ends_the_end_again():
    assert [around(n, 4, 3) for n in range(4)] == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert around(0, 1, 3) == [0, 0, 0]
    assert [around(n, 9, 5) for n in (0, 1, 8)] == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [6, 7, 8, 8, 8]]
    assert around(5, 9, 1) == [5]


@pytest.mark.parametrize("length", [1, 2, 4, 40])
def test_neighbours_put_each_frame_between_its_neighbours_along_channels(length):
    clip = torch.rand(length, 2, 3, 5)
    seen = with_neighbours(clip, 3)
    assert seen.shape == (length, 6, 3, 5)
    for n in range(length):
        assert torch.equal(seen[n], torch.cat([clip[max(0, n - 1)], clip[n], clip[min(length - 1, n + 1)]]))
    assert torch.equal(with_neighbours(clip, 1), clip)
