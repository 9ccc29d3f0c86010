"""The task-aware downscaling autoencoder (report, sections 3.1 and 3.2; Kim et al., ECCV 2018).

    X_SLR = g(X_HR) + X_GD                the encoder finds what to add to the guidance image
    X_SHR = f(channel(X_SLR)) [+ skip]    the decoder enlarges what arrived
"""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tadlib.channel import send
from tadlib.guidance import guidance, upscale
from tadlib.images import pad_to_multiple, rgb_to_chroma, rgb_to_y, ycbcr_to_rgb
from tadlib.networks import cic
from tadlib.networks.sofvsr import SOFVSR
from tadlib.networks.zoo import Spec, check, layers, radius


class Resblock(nn.Module):
    """x + Conv(ReLU(Conv(x))), no normalisation (report, section 3.2; Lim et al. 2017)."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu())  # (B, C, H, W)


class Chain(nn.Module):
    """Layers in a row as a line of words says (zoo): (B, channels, H, W) -> (B, C', H', W')."""

    def __init__(self, chain: str, channels: int):
        super().__init__()
        self.walk = layers(chain, channels)
        self.size = self.walk[-1][3]  # of the output, relative to the input
        self.granularity = round(1 / min(w[3] for w in self.walk))  # the input's sides must be multiples of it
        self.reach = radius(chain)
        make = {
            "c": lambda n, i, o: nn.Conv2d(i, o, 3, padding=1),
            "r": lambda n, i, o: Resblock(i),
            "u": lambda n, i, o: nn.PixelUnshuffle(n),
            "p": lambda n, i, o: nn.PixelShuffle(n),
        }
        self.layers = nn.ModuleList(
            make[word[0]](int(word[1:] or 0), i, o) if word[0] in make else nn.Identity()
            for word, i, o, _ in self.walk
        )

    def steps(self, x: Tensor):
        """Each word and what comes out of it, in turn."""
        memory = x
        for (word, *_), layer in zip(self.walk, self.layers, strict=True):
            if word == "=":
                memory = x
            else:
                x = x + memory if word == "+" else x.relu() if word == "a" else layer(x)
            yield word, x

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        *_, (_, out) = self.steps(pad_to_multiple(x, self.granularity))
        return out[..., : round(h * self.size), : round(w * self.size)]

    def last_conv(self) -> nn.Conv2d:
        return [m for m in self.layers if isinstance(m, nn.Conv2d)][-1]

    def inner_convolutions(self) -> list[nn.Parameter]:
        return [m.weight for m in self.modules() if isinstance(m, nn.Conv2d)][1:-1]


def around(n: int, length: int, count: int) -> list[int]:
    """The numbers of the `count` frames around number n of a clip of that length; at the ends the end repeats."""
    return [min(max(m, 0), length - 1) for m in range(n - count // 2, n + count // 2 + 1)]


def windows(x: Tensor, count: int) -> Tensor:
    """A clip (T, C, h, w) -> each frame between its neighbours, (T, count * C, h, w)."""
    return x[torch.tensor([around(n, len(x), count) for n in range(len(x))])].flatten(1, 2)


class TAD(nn.Module):
    """An architecture of the zoo as a module."""

    def __init__(self, spec: Spec):
        super().__init__()
        check(spec)
        self.spec = spec
        self.encoder = Chain(spec.encoder, 3) if spec.encoder else None
        if spec.vsr:
            self.decoder = SOFVSR(spec.vsr)
        else:
            self.decoder = Chain(spec.decoder, spec.seen) if spec.decoder else None
        if spec.start == "zero":
            for chain in filter(None, (self.encoder, self.decoder)):
                nn.init.zeros_(chain.last_conv().weight)
                nn.init.zeros_(chain.last_conv().bias)

    def passes(self, scale: int) -> int:
        """How often encoder and decoder are applied for this scale. Raises ValueError where it cannot be."""
        if self.spec.step == 1 or self.spec.luma or not self.spec.decoder:
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

        A decoder of several frames gets them one behind the other, (B, frames * C, h, w) as `windows` makes them, and
        returns the one in the middle.
        """
        channels = received.shape[1] // self.spec.frames
        seen, received = received, received.unflatten(1, (-1, channels))[:, self.spec.frames // 2]  # all, the middle
        if not self.spec.neighbours:
            seen = received.repeat(1, self.spec.frames, 1, 1)
        if self.spec.vsr:
            y = self.decoder(rgb_to_y(seen.unflatten(1, (-1, channels))).flatten(1, 2))  # (B, 3, h, w) -> (B, 1, H, W)
            return ycbcr_to_rgb(y, *rgb_to_chroma(upscale(received, scale, self.spec.skip)))
        if self.spec.luma:
            big = upscale(received, scale, self.spec.skip)
            y = rgb_to_y(big)
            return ycbcr_to_rgb(y + self.decoder(y), *rgb_to_chroma(big))
        if self.spec.head == "cic":
            y = pad_to_multiple(received, cic.SIZE)
            return cic.colours(self.decoded(y, scale), y)[..., : received.shape[-2], : received.shape[-1]]
        x = self.decoded(seen, scale)
        if self.spec.skip == "none":
            return x
        if self.spec.skip == "grey":
            neutral = torch.full_like(received, 128 / 255)
            big = ycbcr_to_rgb(received, neutral, neutral)
        else:
            big = upscale(received, scale, self.spec.skip)
        return big if self.decoder is None else x + big

    def decoded(self, received: Tensor, scale: int) -> Tensor:
        """The decoder's own output (B, C, H, W): without the skip, and before a head makes colours of it."""
        for _ in range(self.passes(scale) if self.decoder is not None else 0):
            received = self.decoder(received)  # (B, 3, h*step, w*step)
        return received

    def forward(self, hr: Tensor, scale: int, guide: Tensor | None = None, channel=send) -> tuple[Tensor, Tensor]:
        """Down and up: (X_SLR, X_SHR); `channel` is what happens to X_SLR in between, 8-bit rounding by default.

        Where the decoder sees several frames, the batch is a clip.
        """
        slr = self.encode(hr, scale, guide)
        return slr, self.decode(windows(channel(slr), self.spec.frames), scale)

    @property
    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def inner_convolutions(self) -> list[nn.Parameter]:
        """Weights of all convolutions but the first and last of each chain: those that Muon orthogonalises."""
        return [w for part in (self.encoder, self.decoder) if part is not None for w in part.inner_convolutions()]


def multiply_adds(model: TAD, scale: int) -> tuple[float, float]:
    """Multiply-adds per HR pixel, (down, up), of the convolutions."""
    s = model.spec

    def cost(chain: Chain | SOFVSR | None, passes: int, first_size: float, step: float) -> float:
        total = 0.0
        if isinstance(chain, SOFVSR):
            return chain.multiply_adds()
        for n in range(passes if chain is not None else 0):
            size = first_size * step**n
            for word, i, o, relative in chain.walk:
                macs = {"c": 9 * i * o, "r": 18 * i * i}.get(word[0], 0)
                total += macs * (size * relative) ** 2
        return total

    n = model.passes(scale)
    up_start = 1.0 if s.luma or s.step == 1 else 1 / scale
    return cost(model.encoder, n, 1.0, 1 / s.step), cost(model.decoder, n, up_start, s.step)


@torch.no_grad()
def trace(model: TAD, hr: Tensor, scale: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Walk one image through encoder, guidance and decoder: (part, word, shape of the output) for each layer."""
    rows = [("input", "X_HR", tuple(hr.shape))]

    def walk(chain: Chain | None, x: Tensor, part: str) -> None:
        for n in range(model.passes(scale) if chain is not None else 0):
            for word, out in chain.steps(x):
                rows.append((f"{part}, pass {n + 1}", word, tuple(out.shape)))
            x = out

    walk(model.encoder, hr, "encoder")
    slr = model.encode(hr, scale)
    rows.append(("guidance", "+ X_GD = X_SLR", tuple(slr.shape)))
    if not model.spec.vsr:
        seen = windows(slr, model.spec.frames)
        walk(model.decoder, rgb_to_y(upscale(slr, scale)) if model.spec.luma else seen, "decoder")
    rows.append(("output", "X_SHR", tuple(model.decode(windows(slr, model.spec.frames), scale).shape)))
    return rows
