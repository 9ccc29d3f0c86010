"""A better small image for the decoder that there is: some gradient steps on X_SLR itself.

The encoder guesses X_SLR in one pass. Here the code z is moved so that what the frozen decoder makes of it, after the
channel, comes closer to X_HR, while it stays as close to X_GD as the encoder's was:

    min MSE(decode(channel(z)), X_HR)   with   MSE(z, X_GD) <= MSE(X_SLR, X_GD)

or, with a weight for likeness, of the sum MSE(...) + likeness * MSE(z, X_GD) without that bound. Decoder, file and
reader stay as they are (Xu et al. 2022, HCD; content-adaptive encoding in learned codecs). It is a spectral projected
gradient (Birgin, Martinez and Raydan 2000): steps along the gradient, as long as Barzilai and Borwein (1988) measure
them from the two points before, then back onto the ball. So there is no rate to tune, where that of Adam is ten times
larger for x4 than for colour, and no weight.

The gradient is exact, whatever the picture's size: the decoder is run and differentiated in tiles, each with the halo
that it sees, and every tile adds its share to the one gradient of the one code. So there are no seams, memory is
bounded by the tile, and a channel that is a file sees the whole picture, as it will.
"""
from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from tadlib.channel import Channel
from tadlib.errors import BadInput
from tadlib.machine import fastest_precision
from tadlib.networks import TAD
from tadlib.pixels import with_neighbours

SIDE = 192  # of a tile, in pixels of the decoder's layers: about a gigabyte with its gradients
FIRST = 1 / 255  # how far the first step moves the code, root mean square; from then on steps are measured
LAST = 0.7  # the last step, of its measured length: what is left is the noise of rounding
PLAIN = Channel.parse("8bit")
LONGER = 4.0  # a step is so many times as long as the one before, at most


def refine(net: TAD, hr: Tensor, slr: Tensor, guide: Tensor, scale: int, steps: int, likeness: float | None = None,
           channel: Channel = PLAIN, seed: int = 0) -> Tensor:
    """X_SLR (B, C, h, w), float -> a better one for these pictures, not rounded.

    hr: uint8 (B, 3, h*scale, w*scale); guide: X_GD (B, C, h, w). Where the decoder sees several frames the batch is a
    clip, and all of its frames are moved together. Without `likeness` the result is as like X_GD as X_SLR was, or more;
    with it, it weighs the deviation: 0 is none of one's concern. The best of all points is returned, so that it is
    never worse than the first. A channel with noise is drawn anew at each step from `seed`. Raises BadInput where the
    decoder takes no gradient, and for steps or likeness below zero.
    """
    if steps < 0 or not (likeness is None or 0 <= likeness < math.inf):
        raise BadInput("refinement takes a whole number of steps and a likeness, neither of them below zero")
    if not net.head.refinable:
        raise BadInput(f"{net.spec.name}: its decoder passes no gradient back to the small image")
    learning = [p for p in net.parameters() if p.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with torch.inference_mode(False):
            return _descend(net, hr, slr.clone(), guide.clone(), scale, steps, likeness, channel, seed)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _descend(net: TAD, hr: Tensor, z: Tensor, guide: Tensor, scale: int, steps: int, likeness: float | None,
             channel: Channel, seed: int) -> Tensor:
    radius = float((z - guide).norm()) if likeness is None else math.inf
    best, least = z, math.inf
    before: tuple[Tensor, Tensor] | None = None  # the point before and the gradient there
    length = 0.0
    for n in tqdm(range(steps + 1), desc="refining", unit="step", disable=None, leave=False):
        rng = torch.Generator().manual_seed(seed + n)
        loss, gradient = _loss(net, hr, z, guide, scale, likeness or 0.0, channel, rng, backward=n < steps)
        if loss < least:
            best, least = z, loss
        if gradient is None:
            break
        if before is None:
            length = FIRST / max(float(gradient.square().mean().sqrt()), 1e-12)
        else:
            moved, bent = z - before[0], gradient - before[1]
            curvature = float((moved * bent).sum())
            if curvature > 0:  # else the loss bends the other way there, or all is noise: go on as before
                length = min(float(moved.square().sum()) / curvature, LONGER * length)
        before = z, gradient
        away = z - (LAST if n == steps - 1 else 1) * length * gradient - guide
        z = guide + away * min(1.0, radius / max(float(away.norm()), 1e-12))
    return best


def _loss(net: TAD, hr: Tensor, z: Tensor, guide: Tensor, scale: int, likeness: float, channel: Channel,
          rng: torch.Generator, backward: bool) -> tuple[float, Tensor | None]:
    """L(z) and its gradient, times the number of values in z (so that it does not depend on the size)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        sent = channel.send(z, rng)
        apart = likeness * (z - guide).square().mean()
    received = sent.detach()
    share = torch.zeros_like(received)  # of each received value in the error
    error = 0.0
    fast = fastest_precision(z.device) == "bf16-mixed"
    for inside, outside in _tiles(net, z.shape[-2:], scale):
        with torch.set_grad_enabled(backward):
            piece = received[..., outside[0], outside[1]].contiguous(memory_format=torch.channels_last)
            piece.requires_grad_(backward)
            with torch.autocast(z.device.type, torch.bfloat16, enabled=fast):
                out = net.decode(with_neighbours(piece, net.head.frames), scale)
            large = [slice(i.start * scale, i.stop * scale) for i in inside]
            own = [slice((i.start - o.start) * scale, (i.stop - o.start) * scale)
                   for i, o in zip(inside, outside, strict=True)]
            truth = hr[..., large[0], large[1]].to(z.device).float() / 255
            part = (out[..., own[0], own[1]].float() - truth).square().sum() / hr.numel()
        error += float(part.detach())
        if backward:
            share[..., outside[0], outside[1]] += torch.autograd.grad(part, piece)[0]
    loss = error + float(apart.detach())
    if not backward:
        return loss, None
    gradient, = torch.autograd.grad([sent, apart], z, [share, torch.ones_like(apart)])
    return loss, gradient * z.numel()


def _tiles(net: TAD, size: torch.Size, scale: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """The parts of a small image (h, w) whose results are counted, each with the larger part that it sees."""
    grid = net.head.granularity(net)
    side = SIDE * grid
    halo = math.ceil(net.head.reach(net, scale) / grid) * grid
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            inside = (slice(top, min(size[0], top + side)), slice(left, min(size[1], left + side)))
            rows, columns = (slice(max(0, i.start - halo), min(n, i.stop + halo))
                             for i, n in zip(inside, size, strict=True))
            yield inside, (rows, columns)
