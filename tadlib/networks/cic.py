"""A colorizer by classification after Zhang, Isola and Efros, "Colorful Image Colorization" (ECCV 2016): the rival that
guesses colours from grey, where task-aware decolorization hides them in it.

From their method: colour as a distribution over bins of the ab plane of CIELAB, 10 wide (section 2.1); soft targets
over the 5 nearest bins with a Gaussian of sigma 5; rare colours weighted up with lambda = 1/2 (section 2.2); the
annealed mean with T = 0.38 (section 2.3). Not from it: their network (eight blocks, 32 M parameters, 1.3 M images).
Ours has the size of the report's nets and sees the same images as they do, so it knows far fewer objects.
"""
from __future__ import annotations

import functools
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tadlib.pixels import ycbcr_to_rgb

GRID = 10  # width of a bin in a and b
NEAREST, SIGMA = 5, 5.0  # of the soft target
TEMPERATURE = 0.38
SIZE = 4  # the net predicts at a quarter of the size, as theirs does


@functools.cache
def bins() -> Tensor:
    """The bins of the ab plane that 8-bit RGB reaches: centres (260, 2), float32."""
    from skimage.color import rgb2lab  # here, so that other networks do without scikit-image

    axis = np.arange(0, 256, 5)
    rgb = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3) / 255
    reached = np.unique(np.round(rgb2lab(rgb)[:, 1:] / GRID).astype(int), axis=0)
    return torch.from_numpy(reached * GRID).float()


def to_lab(rgb: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] -> CIELAB (B, 3, H, W), L in 0..100."""
    from skimage.color import rgb2lab

    lab = rgb2lab(rgb.detach().float().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy())
    return torch.from_numpy(lab).float().permute(0, 3, 1, 2).to(rgb.device)


def nearest(ab: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """ab (N, 2) -> the nearest bins (N, count) and their distances, nearest first."""
    distance = torch.cdist(ab, bins().to(ab.device))
    near = distance.topk(count, largest=False)
    return near.indices, near.values


def soft_targets(ab: Tensor) -> Tensor:
    """ab (N, 2) -> distributions over the bins (N, Q): a Gaussian over the 5 nearest."""
    index, distance = nearest(ab, NEAREST)
    weight = torch.exp(-(distance**2) / (2 * SIGMA**2))
    out = torch.zeros(len(ab), len(bins()), device=ab.device)
    return out.scatter_(1, index, weight / weight.sum(1, keepdim=True))


def small_ab(rgb: Tensor) -> Tensor:
    """ab of RGB (B, 3, H, W) at a quarter of the size, as (B * H/4 * W/4, 2)."""
    return to_lab(F.avg_pool2d(rgb, SIZE))[:, 1:].permute(0, 2, 3, 1).reshape(-1, 2)


def coloured(logits: Tensor, y: Tensor) -> Tensor:
    """The annealed mean of logits (B, Q, h, w) as colours of Y (B, 1, H, W) -> RGB (B, 3, H, W), without gradient."""
    from skimage.color import lab2rgb

    p = (logits.detach().float() / TEMPERATURE).softmax(1)  # (B, Q, h, w)
    ab = torch.einsum("bqhw,qc->bchw", p, bins().to(p.device))
    ab = F.interpolate(ab, y.shape[-2:], mode="bilinear")  # (B, 2, H, W)
    neutral = torch.full_like(y, 128 / 255)
    light = to_lab(ycbcr_to_rgb(y, neutral, neutral))[:, :1]  # of the grey pixel
    lab = torch.cat([light, ab], 1).permute(0, 2, 3, 1).cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # colours that no screen shows are clipped, as they should be
        rgb = lab2rgb(lab)
    return torch.from_numpy(rgb).float().permute(0, 3, 1, 2).to(y.device)
