"""L = alpha L_TASK + beta L_LATENT, with the epsilon-ball (report, section 3.3).

    L_TASK   = L1(X_GT, X_SHR)
    L_LATENT = L1(X_GD, X_SLR)  where  ||L1 / d_max|| >= epsilon,  else 0
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

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
    mean, largest = deviation.detach().mean(), deviation.detach().max()
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
