"""What there is to do: shrink and enlarge, or hide colours and show them; and X_GD, what X_SLR has to resemble."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a task is, is known without torch
    from torch import Tensor


@dataclass(frozen=True)
class Task:
    """One kind of small image."""

    name: str
    code: int  # channels of X_SLR
    guide: str  # the guidance unless a run says otherwise (`guidance`)
    commands: tuple[str, str]  # of the tool, there and back
    default: str  # the model that they use, by scale
    scale: int  # unless one is asked for
    extra: tuple[str, ...] = ()  # what is measured beside PSNR and SSIM (evaluation.metrics)


SR = Task("sr", 3, "bicubic", ("downscale", "upscale"), "tool_x{}", 4)
COLOUR = Task("colour", 1, "y", ("decolorize", "colorize"), "tool_color", 1, ("ciede2000",))
TASKS = {task.name: task for task in (SR, COLOUR)}


def guidance(hr: Tensor, scale: int, kind: str = "bicubic") -> Tensor:
    """X_GD of an HR batch (B, 3, H, W): the image (B, 3, H/scale, W/scale), or Y (B, 1, H, W) for kind "y".

    Clamped to [0, 1]; H and W must be multiples of scale (report, section 3.3).
    """
    from tadlib.pixels import rgb_to_y
    from tadlib.resize import downscale

    return rgb_to_y(hr) if kind == "y" else downscale(hr, scale, kind).clamp(0, 1)
