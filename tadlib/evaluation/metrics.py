"""Measures of one picture against another, uint8 tensors, in float64 (the protocol: protocol.py)."""
from __future__ import annotations

from math import inf, log10

from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor

from tadlib.pixels import rgb_to_y


def psnr(a: Tensor, b: Tensor, border: int = 0) -> float:
    """10 log10(255^2 / MSE) of two uint8 (or 0..255 float64) images (C, H, W), in dB; infinite if equal.

    `border` pixels are left out on each side (where anything is left then). Raises ValueError for unlike shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"images of unlike shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = (_inside(x, border).double() for x in (a, b))
    mse = (a - b).square().mean().item()
    return 10 * log10(255**2 / mse) if mse else inf


def _inside(x: Tensor, border: int) -> Tensor:
    if not border or min(x.shape[-2:]) <= 2 * border:
        return x
    return x[..., border:-border, border:-border]


def luma(codes: Tensor) -> Tensor:
    """uint8 RGB (3, H, W) -> Y in 16..235, float64 (1, H, W), not rounded. One channel counts as Y already."""
    return rgb_to_y(codes.double() / 255) * 255 if len(codes) == 3 else codes.double()


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of two uint8 images on Y, Gaussian window; NaN below 11 pixels."""
    if min(a.shape[-2:]) < 11:
        return float("nan")
    return structural_similarity(luma(a)[0].numpy(), luma(b)[0].numpy(), data_range=255, gaussian_weights=True,
                                 sigma=1.5, use_sample_covariance=False)


def colour_difference(a: Tensor, b: Tensor) -> float:
    """Mean CIEDE2000 of two uint8 RGB images (3, H, W): about 1 is just seen."""
    one, other = (rgb2lab(x.permute(1, 2, 0).numpy()) for x in (a, b))
    return float(deltaE_ciede2000(one, other).mean())


def compare(result: Tensor, truth: Tensor, border: int, structure: bool = True) -> dict[str, float]:
    """All measures of one uint8 image against another; SSIM, the slow one, only with `structure`."""
    y, y_truth = luma(result), luma(truth)
    return {
        "psnr_rgb": psnr(result, truth),
        "psnr_y": psnr(y, y_truth),
        "psnr_rgb_crop": psnr(result, truth, border),
        "psnr_y_crop": psnr(y, y_truth, border),
        "ssim_y": ssim(result, truth) if structure else float("nan"),
    }


EXTRA = {"ciede2000": colour_difference}  # what a task may measure besides (tasks.Task.extra)
