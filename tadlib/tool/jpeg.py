"""What a JPEG file lets through of a small change: the gradient for codes that are made for such a file.

In training the gradient passes straight through a file (channel.py), right on the mean over many pictures. Of one code
more is known: where each of its DCT coefficients stands between the whole numbers of steps to which the file rounds
it. One in the middle of a step moves nothing by moving a little, one at a step's edge moves by all of it. So half of
the gradient passes straight, the other half as 12 u^2, u in [-1/2, 1/2] the distance from the nearest whole number of
steps (12 u^2 is 1 on the mean where u is uniform). Halved chroma passes as libjpeg enlarges it, linearly. All of this
was chosen on held-out crops, for ten steps behind JPEG of quality 90 to 100.
"""
from __future__ import annotations

import functools
import io
import math

import torch
import torch.nn.functional as F
from PIL.JpegImagePlugin import JpegImageFile
from torch import Generator, Tensor

from tadlib.channel import KINDS, Channel, Stage, straight_through

SUBSAMPLED = {"jpeg": True, "jpeg444": False}  # the kinds of stage, and whether their chroma is halved
YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF's; chroma around 0
RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))  # and back
FINE = 2  # steps of so many levels and less: the file's own rounding of pixels and colours moves u too far to know it
N = 8  # side of a block


def send(channel: Channel, z: Tensor, rng: Generator | None = None) -> Tensor:
    """channel.send(z, rng), with a JPEG's own gradient."""
    for stage in channel.stages:
        if stage.kind in SUBSAMPLED:
            z = straight_through(unrounded(z.clamp(0, 1), stage), stage.send(z.detach(), rng))
        else:
            z = stage.send(z, rng)
    return z


def unrounded(x: Tensor, stage: Stage) -> Tensor:
    """(B, 3 or 1, h, w) in [0, 1] as such a file would hold it if it rounded nothing, with the gradient said above."""
    luma_table, chroma_table = _tables(stage)
    halved = SUBSAMPLED[stage.kind]
    if x.shape[1] == 1:
        return _rounded_slope(255 * x - 128, luma_table) / 255 + 128 / 255
    ycc = torch.einsum("dc,bchw->bdhw", x.new_tensor(YCC), 255 * x)
    luma = _rounded_slope(ycc[:, :1] - 128, luma_table) + 128
    chroma = ycc[:, 1:].flatten(0, 1)[:, None]  # (2 B, 1, h, w)
    if halved:
        chroma = F.avg_pool2d(chroma, 2, ceil_mode=True)
    chroma = _rounded_slope(chroma, chroma_table)
    if halved:
        chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear")[..., : x.shape[-2], : x.shape[-1]]
    ycc = torch.cat([luma, chroma[:, 0].unflatten(0, (-1, 2))], 1)
    return torch.einsum("cd,bdhw->bchw", x.new_tensor(RGB), ycc) / 255


def _rounded_slope(plane: Tensor, steps: Tensor) -> Tensor:
    """A plane (B, 1, h, w), itself; the gradient weighted coefficient by coefficient. `steps`: (1, 64, 1, 1)."""
    h, w = plane.shape[-2:]
    steps, basis = steps.to(plane), _basis().to(plane)
    blocks = F.pad(plane, (0, -w % N, 0, -h % N), mode="replicate")
    coefficients = F.conv2d(blocks, basis, stride=N) / steps  # (B, 64, blocks, blocks)
    u = (coefficients - coefficients.round()).detach()
    weight = torch.where(steps > FINE, 0.5 + 6 * u.square(), 1)
    coefficients = straight_through(coefficients * weight, coefficients)
    return F.conv_transpose2d(coefficients * steps, basis, stride=N)[..., :h, :w]


@functools.cache
def _tables(stage: Stage) -> tuple[Tensor, Tensor]:
    """The steps of luma and chroma coefficients, each (1, 64, 1, 1), as they stand in such a file."""
    write = KINDS[stage.kind].file
    assert write is not None
    with JpegImageFile(io.BytesIO(write(torch.zeros(3, N, N, dtype=torch.uint8), stage.value))) as picture:
        luma, chroma = (torch.tensor(table, dtype=torch.float32) for _, table in sorted(picture.quantization.items()))
    return luma.view(1, -1, 1, 1), chroma.view(1, -1, 1, 1)


@functools.cache
def _basis() -> Tensor:
    """The orthonormal DCT-II of 8x8 blocks: (64, 1, 8, 8), vertical frequency first."""
    k = torch.arange(N)
    one = torch.cos((2 * k + 1) * k[:, None] * math.pi / (2 * N)) * torch.where(k > 0, 2 / N, 1 / N).sqrt()[:, None]
    return torch.einsum("iy,jx->ijyx", one, one).reshape(N * N, 1, N, N)
