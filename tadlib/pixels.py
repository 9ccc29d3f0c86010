"""Tensors of pixels: arrays, codes and floats, colour spaces, crop and pad, the frames of a clip.

An *image* is a uint8 tensor (3, H, W); a *batch* is a float tensor (B, C, H, W) in [0, 1].
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def from_array(array: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) or (H, W), as files have it -> a tensor (3 or 1, H, W)."""
    return torch.from_numpy((array[None] if array.ndim == 2 else array.transpose(2, 0, 1)).copy())


def to_array(image: Tensor) -> np.ndarray:
    """A uint8 tensor (3 or 1, H, W) -> (H, W, 3) or (H, W)."""
    array = image.cpu().numpy()
    return array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))


def to_float(image: Tensor) -> Tensor:
    """uint8 codes (..., C, H, W) -> float32 in [0, 1]; a single image gets a batch dimension."""
    x = image.float() / 255
    return x if x.ndim == 4 else x[None]


def to_codes(x: Tensor) -> Tensor:
    """Float (..., C, H, W) -> uint8 codes: clamped, and rounded, never truncated."""
    return x.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)


def rgb_to_y(x: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in the *limited* range: (..., 3, H, W) in [0, 1] -> (..., 1, H, W) in [16, 235] / 255.

    The Y of MATLAB and scikit-image `rgb2ycbcr`, in which SR papers count; Pillow's and OpenCV's is full range,
    which lowers a PSNR by exactly 20 log10(255 / 219) = 1.32 dB.
    """
    weights = x.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1)
    return ((x * weights).sum(-3, keepdim=True) + 16) / 255


def ycbcr_to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """Inverse of BT.601 limited range; each (..., 1, H, W) in [0, 1] with chroma centred at 128 / 255."""
    y, cb, cr = (y * 255 - 16) / 219, (cb * 255 - 128) / 224, (cr * 255 - 128) / 224
    return torch.cat([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], dim=-3)


def rgb_to_chroma(x: Tensor) -> tuple[Tensor, Tensor]:
    """Cb and Cr of BT.601 limited range, each (..., 1, H, W) in [16, 240] / 255."""
    blue = x.new_tensor([-37.797, -74.203, 112.0]).view(3, 1, 1)
    red = x.new_tensor([112.0, -93.786, -18.214]).view(3, 1, 1)
    cb, cr = (((x * w).sum(-3, keepdim=True) + 128) / 255 for w in (blue, red))
    return cb, cr


def crop_to_multiple(x: Tensor, m: int) -> Tensor:
    """Keep the top left (..., H - H % m, W - W % m): the "modcrop" of the SR benchmarks."""
    h, w = x.shape[-2] // m * m, x.shape[-1] // m * m
    return x[..., :h, :w]


def pad_to_multiple(x: Tensor, m: int) -> Tensor:
    """Repeat the last row and column of (..., H, W) until both sides are multiples of m."""
    h, w = x.shape[-2:]
    if h % m == 0 and w % m == 0:
        return x
    rows = torch.arange(h + -h % m, device=x.device).clamp_max(h - 1)
    columns = torch.arange(w + -w % m, device=x.device).clamp_max(w - 1)
    return x[..., rows, :][..., columns]  # any dtype, which F.pad cannot


def centre_crop(x: Tensor, size: int) -> Tensor:
    """The middle (..., size, size), or less where the image is smaller."""
    top, left = max(0, (x.shape[-2] - size) // 2), max(0, (x.shape[-1] - size) // 2)
    return x[..., top : top + size, left : left + size]


def around(n: int, length: int, count: int) -> list[int]:
    """The numbers of the `count` frames around number n of a clip of that length; at the ends the end repeats."""
    return [min(max(m, 0), length - 1) for m in range(n - count // 2, n + count // 2 + 1)]


def with_neighbours(clip: Tensor, count: int) -> Tensor:
    """A clip (T, C, h, w) -> each frame between its neighbours, (T, count * C, h, w)."""
    return clip[torch.tensor([around(n, len(clip), count) for n in range(len(clip))])].flatten(1, 2)


def pan(image: Tensor, count: int, size: tuple[int, int], step: tuple[int, int], start: tuple[float, float] = (0.5, 0.5)
        ) -> Tensor:
    """A clip out of a photograph (3, H, W): a window of `size` that moves by `step` (down, right) pixels a frame.

    uint8 (count, 3, *size); `start` in [0, 1) says where of all places that it can have. Raises ValueError if it has
    none.
    """
    corners = []
    for length, window, by, where in zip(image.shape[-2:], size, step, start, strict=True):
        room = length - window - abs(by) * (count - 1)
        if room < 0:
            raise ValueError(f"a window of {window} that moves by {by} in {count} frames does not fit into {length}")
        corners.append(int(where * (room + 1)) + max(0, -by) * (count - 1))
    (top, left), (h, w) = corners, size
    return torch.stack([image[:, top + n * step[0] :, left + n * step[1] :][:, :h, :w] for n in range(count)])
