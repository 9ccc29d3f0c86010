"""The ordinary ways down and up are the benchmarks': antialiased, a = -0.5, as Pillow resizes."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tadlib.pixels import from_array, to_array, to_codes, to_float
from tadlib.resize import INTERPOLATIONS, downscale, upscale

FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS}


def pillow(x: Tensor, h: int, w: int, kind: str) -> Tensor:
    """Pillow's resize of each channel in float: nothing rounded or clipped between its two passes."""
    planes = [Image.fromarray(plane.numpy().astype(np.float32)).resize((w, h), FILTERS[kind]) for plane in x[0]]
    return torch.stack([torch.from_numpy(np.array(p)) for p in planes])[None]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_downscaling_is_pillows(photo, kind, scale):
    x = to_float(photo[:, :, :120])
    reference = pillow(x, 96 // scale, 120 // scale, kind)
    torch.testing.assert_close(downscale(x, scale, kind), reference, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_upscaling_is_pillows(photo, kind, scale):
    x = to_float(photo[:, :24, :30])
    torch.testing.assert_close(upscale(x, scale, kind), pillow(x, 24 * scale, 30 * scale, kind), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lanczos_is_pillows_but_for_the_border(photo, scale):  # there Pillow cuts the kernel, here the image goes on
    x = to_float(photo[:, :24, :30])
    difference = (upscale(x, scale, "lanczos") - pillow(x, 24 * scale, 30 * scale, "lanczos")).abs()
    inner = difference[..., 3 * scale : -3 * scale, 3 * scale : -3 * scale]
    assert inner.max() < 1e-5
    assert difference.max() < 0.2


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_as_8_bit_images_they_are_pillows_to_one_level(photo, kind):
    calm = photo // 2 + 64  # no overshoot that Pillow would clip between its passes
    reference = from_array(np.array(Image.fromarray(to_array(calm)).resize((32, 24), FILTERS[kind]))).int()
    ours = to_codes(downscale(to_float(calm), 4, kind))[0].int()
    assert (ours - reference).abs().max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_a_constant_image_stays_constant(kind, scale):
    x = torch.full((1, 3, 24, 36), 0.3)
    assert (upscale(x, scale, kind) - 0.3).abs().max() < 1e-6
    if kind != "lanczos":
        assert (downscale(x, scale, kind) - 0.3).abs().max() < 1e-6


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_enlarging_by_three_keeps_the_pixels_at_its_centres(photo, kind):
    x = to_float(photo[:, :16, :16])
    torch.testing.assert_close(upscale(x, 3, kind)[..., 1::3, 1::3], x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_enlarging_turns_with_the_image(photo, kind):
    x = to_float(photo[:, :16, :20])
    torch.testing.assert_close(upscale(x.mT, 2, kind), upscale(x, 2, kind).mT, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("h", "w"), [(9, 8), (8, 9), (7, 7)])
def test_an_image_that_does_not_divide_is_refused(h, w):
    with pytest.raises(ValueError, match=f"{h}x{w} is not a multiple of 4: crop or pad first"):
        downscale(torch.zeros(1, 3, h, w), 4)


def test_scale_one_changes_nothing(photo):
    x = to_float(photo)
    assert downscale(x, 1) is x
    assert upscale(x, 1, "lanczos") is x
