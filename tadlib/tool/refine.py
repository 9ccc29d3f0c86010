"""The small image refined for its decoder (descent.py), with torch's gradients: any channel, any device."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tadlib import machine
from tadlib.channel import KINDS, Channel
from tadlib.errors import BadInput
from tadlib.networks import TAD
from tadlib.pixels import with_neighbours
from tadlib.tool.codec import Tiling
from tadlib.tool.descent import descend, large, tiles

PLAIN = Channel.parse("8bit")


def refine(net: TAD, hr: Tensor, slr: Tensor, guide: Tensor, scale: int, steps: int, likeness: float | None = None,
           channel: Channel = PLAIN, seed: int = 0, settle: bool = True) -> Tensor:
    """X_SLR (B, C, h, w), float -> a better one for these pictures, to be rounded; see descent.descend.

    hr: uint8 (B, 3, h*scale, w*scale); guide: X_GD (B, C, h, w). Where the decoder sees several frames the batch is a
    clip, and all of its frames are moved together. A channel with noise is drawn anew at each step from `seed`. Without
    `settle` the code is rounded all at once, for comparison. Raises BadInput where the decoder takes no gradient, for a
    channel that no small image is made for, and for steps or likeness below zero.
    """
    check(net)
    made_for(channel)
    learning = [p for p in net.parameters() if p.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with torch.inference_mode(False):
            of = Loss(net, hr, guide.clone(), scale, likeness or 0.0, channel, seed, settle)
            return descend(of, slr.clone(), steps, likeness)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def check(net: TAD) -> None:
    """Raises BadInput where the decoder takes no gradient."""
    if not net.head.refinable:
        raise BadInput(f"{net.spec.name}: its decoder passes no gradient back to the small image")


def made_for(channel: Channel) -> Channel:
    """The channel itself, where the large image that is wanted stays what it was: only then can a small one be made for
    it. Raises BadInput for cycles (they take a network), and for stages that edit or move the picture.
    """
    others = [stage.kind for stage in channel.stages if KINDS[stage.kind].edits or KINDS[stage.kind].moves]
    if channel.cycles > 1 or others:
        raise BadInput(f"{channel}: {(others or ['cycles'])[0]} is no channel that a small image is made for")
    return channel


def precision(scale: int, device: torch.device) -> str:
    """What the decoder computes in until the code settles (from then on float32): float32 for colour, as bfloat16 keeps
    less than the differences in which it hides (three steps came out 0.8 dB lower); else the machine's.
    """
    return machine.precision(device) if scale > 1 else "32-true"


@dataclass
class Loss:
    """See descent.Objective."""

    net: TAD
    hr: Tensor
    guide: Tensor
    scale: int
    likeness: float
    channel: Channel
    seed: int = 0
    settle: bool = True

    @property
    def settles(self) -> bool:
        return self.settle and self.channel == PLAIN

    def norm(self, x: Tensor) -> float:
        return float(x.norm())

    def loss(self, z: Tensor, step: int, backward: bool, rounded: bool = True) -> tuple[float, Tensor | None]:
        net, scale = self.net, self.scale
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            sent = self.channel.send(z, torch.Generator().manual_seed(self.seed + step)) if rounded else z.clamp(0, 1)
            apart = self.likeness * (z - self.guide).square().mean()
        received = sent.detach()
        share = torch.zeros_like(received)  # of each received value in the error
        error = 0.0
        # bfloat16 rounds what it is given about as much as 8 bits do: no way to see what lies between them
        fast = rounded and precision(scale, z.device) == "bf16-mixed"
        tiling = Tiling(net.head.reach(net, scale), net.head.granularity(net))
        for inside, outside in tiles((z.shape[-2], z.shape[-1]), tiling):
            with torch.set_grad_enabled(backward):
                piece = received[(..., *outside)].contiguous(memory_format=torch.channels_last)
                piece.requires_grad_(backward)
                with torch.autocast(z.device.type, torch.bfloat16, enabled=fast):
                    out = net.decode(with_neighbours(piece, net.head.frames), scale)
                truth = self.hr[(..., *large(inside, scale))].to(z.device).float() / 255
                own = out[(..., *large(inside, scale, outside))].float()
                part = (own - truth).square().sum() / self.hr.numel()
            error += float(part.detach())
            if backward:
                share[(..., *outside)] += torch.autograd.grad(part, piece)[0]
        loss = error + float(apart.detach())
        if not backward:
            return loss, None
        gradient, = torch.autograd.grad([sent, apart], z, [share, torch.ones_like(apart)])
        return loss, gradient * z.numel()
