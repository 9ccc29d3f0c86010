"""The small image refined for its decoder (descent.py), with torch's gradients: any channel, any device."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tadlib import machine
from tadlib.channel import KINDS, Channel
from tadlib.errors import BadInput
from tadlib.networks import TAD
from tadlib.pixels import with_neighbours
from tadlib.tool import jpeg
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


def precision(net: TAD, scale: int, device: torch.device, settling: bool = False) -> str:
    """What the decoder computes in, "32-true" or "bf16-mixed": the machine's, but float32 for colour, as bfloat16 keeps
    less than the differences in which it hides (three steps came out 0.8 dB lower). While a code settles float32 as
    well (thirty steps of tool_x2: 0.045 dB lower), but for chains of one step of 4, where it made no difference
    (tool_x4, held-out crops).
    """
    if net.decoder is None or scale == 1 or (settling and not (net.head.chained and net.spec.step >= 4)):
        return "32-true"
    return machine.precision(device)


@contextmanager
def in_bfloat16(net: TAD, device: torch.device, between: bool) -> Iterator[None]:
    """Layers of the decoder in bfloat16; `between` 8-bit codes the first of them in float32: bfloat16 rounds what it is
    given about as much as 8 bits do, and could not tell what lies there from the codes themselves.
    """
    hooks = [_first(net).register_forward_hook(_in_float32)] if between else []
    try:
        with torch.autocast(device.type, torch.bfloat16):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _first(net: TAD) -> nn.Conv2d:
    return next(layer for layer in net.decoder.modules() if isinstance(layer, nn.Conv2d))


def _in_float32(layer: nn.Module, received: tuple[Tensor, ...], _: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    with torch.autocast(received[0].device.type, enabled=False):
        return layer._conv_forward(received[0].float(), layer.weight, layer.bias)


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
            rng = torch.Generator().manual_seed(self.seed + step)
            sent = jpeg.send(self.channel, z, rng) if rounded else z.clamp(0, 1)
            apart = self.likeness * (z - self.guide).square().mean()
        received = sent.detach()
        share = torch.zeros_like(received)  # of each received value in the error
        error = 0.0
        fast = precision(net, scale, z.device, not rounded) == "bf16-mixed"
        tiling = Tiling(net.head.reach(net, scale), net.head.granularity(net))
        for inside, outside in tiles((z.shape[-2], z.shape[-1]), tiling):
            with torch.set_grad_enabled(backward):
                piece = received[(..., *outside)].contiguous(memory_format=torch.channels_last)
                piece.requires_grad_(backward)
                with in_bfloat16(net, z.device, not rounded) if fast else nullcontext():
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
