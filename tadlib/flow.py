"""Optical flow: OpenCV's estimate, true flow from files, the end-point error, the usual colours.

A flow (2, H, W) or (B, 2, H, W) is in pixels of its own resolution, channels (x, y), from the centre frame to where the
same thing lies in its neighbour: `networks.sofvsr.warp(neighbour, flow)` gives the centre.
"""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from tadlib.images import BadInput, to_codes

UNKNOWN = 1e9  # what the files of Baker et al. 2011 hold where the truth is not known


def farneback(neighbour: Tensor, centre: Tensor) -> Tensor:
    """OpenCV's dense flow (Farneback 2003) between frames of Y (B, 1, H, W) in [0, 1] -> (B, 2, H, W).

    The frames are rounded to 8 bit, as OpenCV takes them: no gradient comes back. Its parameters are those of OpenCV's
    tutorial.
    """
    pairs = zip(*(to_codes(x)[:, 0].cpu().numpy() for x in (neighbour, centre)), strict=True)
    flows = [cv2.calcOpticalFlowFarneback(c, n, None, 0.5, 3, 15, 3, 5, 1.2, 0) for n, c in pairs]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(centre.device)


def read_flow(path: str | Path) -> Tensor:
    """A .flo file of Middlebury as (2, H, W); unknown vectors are NaN. Raises BadInput."""
    try:
        data = Path(path).read_bytes()
        w, h = np.frombuffer(data, "<i4", 2, 4).tolist()
        if data[:4] != b"PIEH" or min(w, h) < 1 or len(data) != 12 + 8 * w * h:
            raise ValueError("its header or its length does not fit")
        flow = torch.from_numpy(np.frombuffer(data, "<f4", offset=12).reshape(h, w, 2).copy()).permute(2, 0, 1)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a flow file ({getattr(error, 'strerror', None) or error})") from None
    return flow.where(flow.abs().amax(0) < UNKNOWN, torch.nan)


def end_point_error(flow: Tensor, truth: Tensor) -> float:
    """Mean distance of flow vectors (2, H, W) from the true ones, in pixels, where the truth is known."""
    return float((flow - truth).square().sum(0).sqrt().nanmean())


def colours(flow: Tensor, largest: float | None = None) -> Tensor:
    """A flow (2, H, W) as a picture, uint8 (3, H, W): hue is the direction, saturation the length; unknown is black.

    `largest` is the length of full saturation (by default that of the flow).
    """
    known = ~flow.isnan().any(0)
    x, y = torch.where(known, flow, 0).numpy()
    length = np.hypot(x, y)
    length = np.minimum(1, length / max(1e-6, largest or float(length.max())))
    hue = (np.degrees(np.arctan2(-y, -x)) / 2 + 90).round() % 180  # OpenCV's hues go from 0 to 180
    hsv = np.stack([hue, 255 * length, 255 * known.numpy()], -1).astype(np.uint8)
    return torch.from_numpy(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).permute(2, 0, 1)


def wheel(size: int = 96) -> Tensor:
    """The key to `colours`: the flow that points away from the middle, uint8 (3, size, size), black beyond length 1."""
    axis = torch.linspace(-1, 1, size)
    flow = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
    return colours(flow.where(flow.norm(dim=0) <= 1, torch.nan), 1.0)
