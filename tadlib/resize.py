"""The ordinary ways down and up.

All resizing is antialiased: torch's bicubic with antialias has a = -0.5, the kernel of MATLAB and Pillow, in which the
benchmarks are made. (Without antialias a = -0.75 and the small image aliases: many dB lost.)
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

INTERPOLATIONS = ("bicubic", "bilinear", "lanczos")


def downscale(x: Tensor, scale: int, kind: str = "bicubic") -> Tensor:
    """(B, C, H, W) -> (B, C, H/scale, W/scale), antialiased "bicubic" or "bilinear"; not clamped."""
    h, w = x.shape[-2:]
    if h % scale or w % scale:
        raise ValueError(f"{h}x{w} is not a multiple of {scale}: crop or pad first")
    size = (h // scale, w // scale)
    return x if scale == 1 else interpolate(x, size, kind)


def upscale(x: Tensor, scale: int, kind: str = "bicubic") -> Tensor:
    """(B, C, h, w) -> (B, C, h*scale, w*scale) by "bicubic", "bilinear" or "lanczos" (a = 3); not clamped."""
    if scale == 1:
        return x
    if kind == "lanczos":
        return _lanczos(_lanczos(x, scale), scale, vertical=True)
    size = (x.shape[-2] * scale, x.shape[-1] * scale)
    return interpolate(x, size, kind)


def interpolate(x: Tensor, size: tuple[int, int], kind: str = "bicubic") -> Tensor:
    """(B, C, H, W) -> (B, C, *size), antialiased "bicubic" or "bilinear"; not clamped."""
    # enlarging, antialias changes only the kernel: a = -0.5, the benchmarks' bicubic
    return F.interpolate(x, size, mode=kind, antialias=True)


def _lanczos(x: Tensor, scale: int, vertical: bool = False) -> Tensor:
    """Enlarge one axis with the Lanczos-3 kernel sinc(t) sinc(t / 3), |t| < 3, as a grouped transposed filter."""
    x = x.transpose(-1, -2) if vertical else x
    b, c, h, w = x.shape
    centre = (torch.arange(scale, device=x.device, dtype=x.dtype) + 0.5) / scale - 0.5  # of each phase, in LR pixels
    taps = torch.arange(-3, 4, device=x.device, dtype=x.dtype)
    t = centre[:, None] - taps[None, :]  # (scale, 7)
    kernel = torch.where(t.abs() < 3, torch.sinc(t) * torch.sinc(t / 3), 0)
    kernel = kernel / kernel.sum(1, keepdim=True)
    rows = F.pad(x.reshape(b * c, 1, h, w), (3, 3, 0, 0), mode="replicate")
    phases = F.conv2d(rows, kernel.view(scale, 1, 1, 7))  # (b*c, scale, h, w)
    x = phases.permute(0, 2, 3, 1).reshape(b, c, h, w * scale)
    return x.transpose(-1, -2) if vertical else x
