"""The task term of a training: one object a kind, (net, received, hr, scale) -> scalar in float32.

Which one a run has is said by its aim, or by its network's head (`BY_HEAD`); without a word it is L1 on X_SHR.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tadlib.data.patches import bin_weights
from tadlib.losses import bins_loss, sofvsr_loss, task_loss
from tadlib.networks import TAD, heads
from tadlib.networks.sofvsr import enlarge
from tadlib.pixels import rgb_to_y, to_codes
from tadlib.run import Run


class Objective(Protocol):
    """received: what arrived of X_SLR, (B * frames, C, h, w); hr: X_GT (B * frames, 3, H, W)."""

    power: int  # the loss grows with this power of an error: what counts as a jump of it (loop.JUMP)

    def __call__(self, net: TAD, received: Tensor, hr: Tensor, scale: int) -> Tensor: ...


class L1:
    """Mean absolute deviation of X_SHR (report, section 3.3)."""

    power = 1

    def __call__(self, net: TAD, received: Tensor, hr: Tensor, scale: int) -> Tensor:
        return task_loss(net.decode(net.head.seen(received), scale).float(), net.head.truth(hr))


class Bins:
    """Cross-entropy of colour bins, rare colours of the training sets counted more (Zhang et al. 2016)."""

    power = 1

    def __init__(self, run: Run):
        self.sets = run.train

    def __call__(self, net: TAD, received: Tensor, hr: Tensor, scale: int) -> Tensor:
        logits = net.repeated(received, scale).float()
        with torch.autocast(hr.device.type, enabled=False):  # 16 bits do not tell neighbouring bins apart
            return bins_loss(logits, hr, bin_weights(self.sets))


class Warped:
    """SOF-VSR's own loss, on Y: squared error, and how well its flow moves the neighbours (Wang et al. 2020)."""

    power = 2

    def __call__(self, net: TAD, received: Tensor, hr: Tensor, scale: int) -> Tensor:
        small, large = (net.head.seen(rgb_to_y(x)) for x in (received, hr))  # (B, 3, h, w), (B, 3, H, W)
        return sofvsr_loss(net.decoder, small, large)


class Motion:
    """How far the motion seen in small frames is from Farneback's in X_HR: HR pixels, mean L1.

    By "farneback" it is OpenCV's own flow that is seen, as in the report: no gradient comes back through it. By "flow"
    it is that of the decoder's flow net.
    """

    power = 2

    def __init__(self, by: str):
        self.by = by

    def __call__(self, net: TAD, received: Tensor, hr: Tensor, scale: int) -> Tensor:
        frames = net.head.frames
        small, large = (rgb_to_y(x).unflatten(0, (-1, frames)) for x in (received, hr))  # (clips, 3, 1, h, w)
        error = torch.zeros((), device=hr.device)
        for n in (0, frames - 1):
            truth = farneback(large[:, n], large[:, frames // 2])
            if self.by == "farneback":
                seen = farneback(small[:, n], small[:, frames // 2])
                seen = enlarge(seen, (truth.shape[-2], truth.shape[-1]))
            else:
                seen = net.decoder.flow(small[:, n], small[:, frames // 2]).hr
            error = error + (seen - truth).abs().mean() / 2
        return error.float()


BY_HEAD: dict[type[heads.Head], Callable[[Run], Objective]] = {heads.Bins: Bins, heads.Vsr: lambda run: Warped()}


def objective(run: Run) -> Objective:
    """The task term of a run."""
    return Motion(run.aim) if run.aim else BY_HEAD.get(type(run.net.head), lambda run: L1())(run)


def farneback(neighbour: Tensor, centre: Tensor) -> Tensor:
    """OpenCV's dense flow (Farneback 2003) between frames of Y (B, 1, H, W) in [0, 1] -> (B, 2, H, W), in pixels.

    The frames are rounded to 8 bit, as OpenCV takes them: no gradient comes back. Its parameters are those of OpenCV's
    tutorial.
    """
    import cv2  # here: no other training needs it

    pairs = zip(*(to_codes(x)[:, 0].cpu().numpy() for x in (neighbour, centre)), strict=True)
    flows = [cv2.calcOpticalFlowFarneback(c, n, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
             for n, c in pairs]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(centre.device)
