"""The task-aware downscaling autoencoder (report, sections 3.1 and 3.2; Kim et al., ECCV 2018).

    X_SLR = g(X_HR) + X_GD                the encoder finds what to add to the guidance image
    X_SHR = f(channel(X_SLR)) [+ skip]    the decoder enlarges what arrived
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tadlib.channel import send
from tadlib.networks.chain import Chain
from tadlib.networks.zoo import Spec, check
from tadlib.pixels import with_neighbours
from tadlib.tasks import guidance


class TAD(nn.Module):
    """An architecture of the zoo as a module."""

    encoder: Any  # a Chain, or None
    decoder: Any  # what the head makes: it has reach, granularity, multiply_adds and inner_convolutions; or None

    def __init__(self, spec: Spec):
        super().__init__()
        check(spec)
        self.spec = spec
        self.head = spec.head
        self.encoder = Chain(spec.encoder, 3) if spec.encoder else None
        self.decoder = self.head.decoder(spec)
        if spec.start == "zero":
            for chain in (part for part in (self.encoder, self.decoder) if part is not None):
                nn.init.zeros_(chain.last_conv().weight)
                nn.init.zeros_(chain.last_conv().bias)

    def passes(self, scale: int) -> int:
        """How often encoder and decoder are applied for this scale. Raises ValueError where it cannot be."""
        if self.spec.step == 1 or self.head.enlarged or not self.spec.decoder:
            return 1  # these work at the final size
        n = round(math.log(scale, self.spec.step))
        if self.spec.step**n != scale:
            raise ValueError(f"{self.spec.name} scales by powers of {self.spec.step}, not by {scale}")
        return n

    def encode(self, hr: Tensor, scale: int, guide: Tensor | None = None) -> Tensor:
        """X_HR (B, 3, H, W) in [0, 1] -> X_SLR (B, 3, H/scale, W/scale), or (B, 1, H, W) for colour; not rounded.

        `guide` is X_GD, made here (bicubic, or Y) if not given. "Zero" guidance is a tensor of zeros.
        """
        if guide is None:
            guide = guidance(hr, scale, self.spec.guided)
        if self.encoder is None:
            return guide
        x = hr
        for _ in range(self.passes(scale)):
            x = self.encoder(x)  # (B, 3, H/step, W/step)
        return x + guide if self.spec.added else x

    def decode(self, received: Tensor, scale: int) -> Tensor:
        """What arrived of X_SLR (B, C, h, w) -> X_SHR (B, 3, h*scale, w*scale); neither clamped nor rounded.

        A decoder of several frames gets them one behind the other, (B, frames * C, h, w) as `with_neighbours` makes
        them, and returns the one in the middle.
        """
        return self.head.image(self, received, scale)

    def repeated(self, x: Tensor, scale: int) -> Tensor:
        """The decoder's own output (B, C, H, W), applied as often as the scale asks, before the head."""
        for _ in range(self.passes(scale) if self.decoder is not None else 0):
            x = self.decoder(x)  # (B, 3, H*step, W*step)
        return x

    def forward(self, hr: Tensor, scale: int, guide: Tensor | None = None,
                channel: Callable[[Tensor], Tensor] = send) -> tuple[Tensor, Tensor]:
        """Down and up: (X_SLR, X_SHR); `channel` is what happens to X_SLR in between, 8-bit rounding by default.

        Where the decoder sees several frames, the batch is a clip.
        """
        slr = self.encode(hr, scale, guide)
        return slr, self.decode(with_neighbours(channel(slr), self.head.frames), scale)

    @property
    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def inner_convolutions(self) -> list[Tensor]:
        """Weights of all convolutions but the first and last of each chain: those that Muon orthogonalises."""
        return [w for part in (self.encoder, self.decoder) if part is not None for w in part.inner_convolutions()]


def multiply_adds(net: TAD, scale: int) -> tuple[float, float]:
    """Multiply-adds per HR pixel, (down, up), of the convolutions."""
    passes = range(0 if net.encoder is None else net.passes(scale))
    down = sum((net.encoder.multiply_adds(net.spec.step**-n) for n in passes), 0.0)
    return down, net.head.multiply_adds(net, scale)
