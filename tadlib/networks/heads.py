"""How X_SHR comes of what the decoder makes: plain objects without weights, one a kind of decoder.

A new kind is a subclass here or in a file of its own, and a row of the zoo that names it. `word` is what a record calls
it; a number behind it is the one field that a head may have.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tadlib.errors import BadInput
from tadlib.networks import cic
from tadlib.networks.chain import Chain
from tadlib.networks.sofvsr import SOFVSR
from tadlib.pixels import pad_to_multiple, rgb_to_chroma, rgb_to_y, ycbcr_to_rgb
from tadlib.resize import upscale

if TYPE_CHECKING:
    from tadlib.networks.tad import TAD
    from tadlib.networks.zoo import Spec


@dataclass(frozen=True)
class Head:
    """The decoder's output is an image, to which the ordinary one may be added."""

    number: int = 0  # what follows the word, where something does

    word = "image"
    enlarged = False  # True: the decoder works at the large size, in one pass
    refinable = True  # a gradient comes back from X_SHR to what arrived
    chained = True  # the decoder is a chain of words that ends with an image of the right size

    def __str__(self) -> str:
        return f"{self.word}{self.number or ''}"

    @property
    def frames(self) -> int:
        """How many consecutive small frames the decoder sees; it makes the one in the middle."""
        return 1

    def channels(self, code: int) -> int:
        """That the decoder sees, of small images of so many."""
        return code * self.frames

    def decoder(self, spec: Spec) -> nn.Module | None:
        """The module; None where the row names none."""
        return Chain(spec.decoder, self.channels(spec.code)) if spec.decoder else None

    def seen(self, received: Tensor) -> Tensor:
        """A training batch of small images (B * frames, C, h, w) as `image` takes it: (B, frames * C, h, w)."""
        return received.unflatten(0, (-1, self.frames)).flatten(1, 2) if self.frames > 1 else received

    def truth(self, hr: Tensor) -> Tensor:
        """Of such a batch of HR images those that X_SHR is compared with: (B, 3, H, W)."""
        return hr[self.frames // 2 :: self.frames]

    def image(self, net: TAD, received: Tensor, scale: int) -> Tensor:
        """What arrived of X_SLR (B, frames * C, h, w) -> X_SHR (B, 3, h*scale, w*scale)."""
        x = net.repeated(received, scale)
        big = plain(received, scale, net.spec.skip)
        return x if big is None else big if net.decoder is None else x + big

    def reach(self, net: TAD, scale: int) -> float:
        """How far an output pixel sees, in small pixels; the ordinary ways (Lanczos: 3) included."""
        reach = 0 if net.decoder is None else net.decoder.reach / (scale if self.enlarged else 1)
        return sum(reach / net.spec.step**n for n in range(net.passes(scale))) + 3

    def granularity(self, net: TAD) -> int:
        """The small sides must be multiples of it for a tile to be what it is in the whole."""
        return net.decoder.granularity if net.decoder is not None else 1

    def multiply_adds(self, net: TAD, scale: int) -> float:
        """Of the decoder's convolutions, for a pixel of X_SHR."""
        first = 1 if self.enlarged else 1 / scale
        passes = range(0 if net.decoder is None else net.passes(scale))
        return sum(net.decoder.multiply_adds(first * net.spec.step**n) for n in passes)


IMAGE = Head()


def plain(received: Tensor, scale: int, skip: str) -> Tensor | None:
    """The ordinary large image (B, 3, h*scale, w*scale) of a small or grey one; None without a skip."""
    if skip == "none":
        return None
    if skip == "grey":
        neutral = torch.full_like(received, 128 / 255)
        return ycbcr_to_rgb(received, neutral, neutral)
    return upscale(received, scale, skip)


@dataclass(frozen=True)
class Luma(Head):
    """The decoder works on Y of the enlarged image, chroma is interpolated (VDSR)."""

    word = "luma"
    enlarged = True

    def channels(self, code: int) -> int:
        return 1

    def image(self, net: TAD, received: Tensor, scale: int) -> Tensor:
        big = upscale(received, scale, net.spec.skip)
        y = rgb_to_y(big)
        return ycbcr_to_rgb(y + net.decoder(y), *rgb_to_chroma(big))


@dataclass(frozen=True)
class Bins(Head):
    """The decoder's output are scores of colour bins, at a quarter of the size (networks/cic.py)."""

    word = "bins"
    chained = False
    refinable = False

    def image(self, net: TAD, received: Tensor, scale: int) -> Tensor:
        y = pad_to_multiple(received, cic.SIZE)
        return cic.coloured(net.decoder(y), y)[..., : received.shape[-2], : received.shape[-1]]


@dataclass(frozen=True)
class Clip(Head):
    """The decoder sees several frames, one behind the other, and makes the one in the middle."""

    number: int = 3  # of frames
    word = "clip"

    @property
    def frames(self) -> int:
        return self.number

    def image(self, net: TAD, received: Tensor, scale: int) -> Tensor:
        middle = self.middle(received)
        seen = received if net.spec.neighbours else middle.repeat(1, self.frames, 1, 1)
        big = plain(middle, scale, net.spec.skip)
        return net.repeated(seen, scale) if big is None else big + net.repeated(seen, scale)

    def middle(self, received: Tensor) -> Tensor:
        """Of frames behind each other (B, frames * C, h, w) the one in the middle, (B, C, h, w)."""
        return received.unflatten(1, (self.frames, -1))[:, self.frames // 2]


@dataclass(frozen=True)
class Vsr(Clip):
    """SOF-VSR ("sofvsr4" in the row, for x4) makes Y of the middle frame from Y of three; chroma is interpolated."""

    number: int = 0
    word = "vsr"
    chained = False

    @property
    def frames(self) -> int:
        return 3

    def decoder(self, spec: Spec) -> nn.Module:
        return SOFVSR(int(spec.decoder.removeprefix("sofvsr")))

    def image(self, net: TAD, received: Tensor, scale: int) -> Tensor:
        middle = self.middle(received)
        seen = received if net.spec.neighbours else middle.repeat(1, self.frames, 1, 1)
        y = net.decoder(rgb_to_y(seen.unflatten(1, (self.frames, -1))).flatten(1, 2))  # (B, 3, h, w) -> (B, 1, H, W)
        return ycbcr_to_rgb(y, *rgb_to_chroma(upscale(middle, scale, net.spec.skip)))

    def multiply_adds(self, net: TAD, scale: int) -> float:
        return net.decoder.multiply_adds()


def named(text: str) -> Head:
    """The head that a record calls so ("image", "clip3"). Raises BadInput."""
    match = re.fullmatch(r"([a-z_]+)(\d{0,3})", text)
    for kind in _kinds(Head):
        if match and kind.word == match[1]:
            return kind(*map(int, filter(None, match.groups()[1:])))
    raise BadInput(f"no kind of decoder {text!r}; there are: {', '.join(kind.word for kind in _kinds(Head))}")


def _kinds(head: type[Head]) -> Iterator[type[Head]]:
    yield head
    for kind in head.__subclasses__():
        yield from _kinds(kind)
