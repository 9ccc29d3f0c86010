"""L = alpha L_TASK + beta L_LATENT, with the epsilon-ball (report, section 3.3).

    L_TASK   = L1(X_GT, X_SHR)
    L_LATENT = L1(X_GD, X_SLR)  where  ||L1 / d_max|| >= epsilon,  else 0
"""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tadlib.machine import over_all
from tadlib.networks import cic
from tadlib.networks.sofvsr import SOFVSR, Flows, warp

# The report never states epsilon's unit: what the mean deviation is divided by before it is held against epsilon.
READINGS = {
    "observed": "percent of the largest deviation observed in the batch (the literal reading)",
    "range": "percent of the full range [0, 1]",
    "levels": "8-bit levels",
}
LATENTS = ("l1", "l2", "hinge")


class Latent(NamedTuple):
    """The latent term and what it was decided on."""

    loss: Tensor  # scalar with gradient
    open: bool  # the gate: True where the term counts
    of_observed: float  # mean deviation in percent of the largest observed one
    of_range: float  # mean deviation in percent of the range


def task_loss(shr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute deviation of X_SHR from X_GT: (B, 3, H, W) twice -> scalar."""
    return (shr - hr).abs().mean()


def latent_loss(slr: Tensor, guide: Tensor, epsilon: float = 0.0, reading: str = "range", kind: str = "l1") -> Latent:
    """Deviation of X_SLR from X_GD, (B, C, h, w) twice, outside the epsilon-ball.

    `kind` "l1" as in the report, "l2" the squared error, both with the report's gate: one hard decision a batch.
    "hinge" has no gate: each pixel pays for what exceeds epsilon (in percent of the range).
    Raises ValueError for an unknown reading or kind.
    """
    deviation = (slr - guide).abs()
    mean, largest = over_all(deviation.detach().mean()), over_all(deviation.detach().max(), largest=True)
    of_observed = float(100 * mean / largest.clamp_min(1e-12))
    of_range = float(100 * mean)
    if reading not in READINGS:
        raise ValueError(f"reading {reading!r}: not one of {', '.join(READINGS)}")
    measured = {"observed": of_observed, "range": of_range, "levels": 2.55 * of_range}[reading]
    if kind == "hinge":
        loss, gate = (deviation - epsilon / 100).clamp_min(0).mean(), True
    elif kind in LATENTS:
        loss, gate = deviation.mean() if kind == "l1" else deviation.square().mean(), measured >= epsilon
    else:
        raise ValueError(f"latent term {kind!r}: not one of {', '.join(LATENTS)}")
    return Latent(loss if gate else torch.zeros_like(loss), gate, of_observed, of_range)


def bins_loss(logits: Tensor, hr: Tensor, weights: Tensor) -> Tensor:
    """Rebalanced cross-entropy of logits (B, Q, H/4, W/4) against the colours of X_GT (B, 3, H, W) -> scalar.

    `weights` (Q,): what a colour counts (Zhang et al. 2016, section 2.2; data.patches.bin_weights).
    """
    target = cic.soft_targets(cic.small_ab(hr))  # (N, Q)
    weight = weights.to(hr.device)[target.argmax(1)]
    scores = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).float()
    return -(weight * (target * scores.log_softmax(1)).sum(1)).mean()


def total_variation(flow: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring flow vectors, (B, 2, H, W) -> scalar."""
    return flow.diff(dim=3).abs().mean() + flow.diff(dim=2).abs().mean()


def flow_loss(flows: Flows, neighbour: Tensor, centre: Tensor, neighbour_hr: Tensor, centre_hr: Tensor) -> Tensor:
    """How badly the neighbour, moved along the flow, matches the centre, at three levels (Wang et al., section III-D).

    Frames are LR (B, 1, h, w) and HR (B, 1, H, W). MSE plus 0.01 of the flow's variation; level 2 counts a quarter,
    level 1 an eighth.
    """
    def level(flow: Tensor, x: Tensor, y: Tensor) -> Tensor:
        size = flow.shape[-2:]
        x, y = (F.interpolate(i, size, mode="bilinear", antialias=True) if i.shape[-2:] != size else i for i in (x, y))
        return F.mse_loss(warp(x, flow), y) + 0.01 * total_variation(flow)

    return (level(flows.hr, neighbour_hr, centre_hr) + 0.25 * level(flows.lr, neighbour, centre)
            + 0.125 * level(flows.half, neighbour, centre))


def sofvsr_loss(model: SOFVSR, frames: Tensor, frames_hr: Tensor) -> Tensor:
    """MSE of the HR centre frame plus 0.01 of the mean flow loss of both neighbours.

    frames: LR Y (B, 3, h, w); frames_hr: (B, 3, H, W).
    """
    sr, flows = model.with_flows(frames)
    sr = sr.float()
    lr, hr = frames.split(1, dim=1), frames_hr.split(1, dim=1)
    motion = sum(flow_loss(flow, lr[n], lr[1], hr[n], hr[1]) for flow, n in zip(flows, (0, 2), strict=True)) / 2
    return F.mse_loss(sr, hr[1]) + 0.01 * motion
