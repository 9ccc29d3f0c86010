"""Layers in a row as a line of words says (the words: zoo)."""
from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor, nn

from tadlib.pixels import pad_to_multiple


def words(chain: str) -> list[str]:
    """A chain as its single words: "c64 r*2" -> ["c64", "r", "r"]."""
    out = []
    for word in chain.split():
        word, _, times = word.partition("*")
        out += [word] * int(times or 1)
    return out


def layers(chain: str, channels: int) -> list[tuple[str, int, int, float]]:
    """The chain with its shapes: (word, channels in, channels out, size relative to the input's) for each word.

    Raises ValueError where the words do not fit together. This one walk feeds builder, diagram and counts.
    """
    out, size, memory = [], 1.0, None
    for word in words(chain):
        if not re.fullmatch(r"[cup][1-9]\d*|[ra=+]", word):
            raise ValueError(f"unknown word {word!r} in {chain!r}")
        kind, number = word[0], int(word[1:] or 0)
        before = channels
        if kind == "c":
            channels = number
        elif kind == "u":
            channels, size = channels * number**2, size / number
        elif kind == "p":
            if channels % number**2:
                raise ValueError(f"{word} in {chain!r}: {channels} channels are no multiple of {number**2}")
            channels, size = channels // number**2, size * number
        elif kind == "=":
            memory = (channels, size)
        elif kind == "+" and memory != (channels, size):
            raise ValueError(f"+ in {chain!r}: {memory} was remembered, {(channels, size)} is here")
        out.append((word, before, channels, size))
    return out


def radius(chain: str) -> float:
    """How far one output pixel sees in each direction, in pixels of the chain's input."""
    reach = 0.0
    size = 1.0
    for word, _, _, after in layers(chain, 12):
        reach += {"c": 1, "r": 2}.get(word[0], 0) / size
        reach += (1 / after if word[0] in "up" else 0)  # a shuffle moves by less than one coarse pixel
        size = after
    return reach


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

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
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

    def multiply_adds(self, size: float) -> float:
        """Of its convolutions for a pixel of a picture that is 1 / size times as large a side as the input."""
        macs = {"c": lambda i, o: 9 * i * o, "r": lambda i, o: 18 * i * i}
        return sum(macs[word[0]](i, o) * (size * relative) ** 2 for word, i, o, relative in self.walk
                   if word[0] in macs)

    def last_conv(self) -> nn.Conv2d:
        return [m for m in self.layers if isinstance(m, nn.Conv2d)][-1]

    def inner_convolutions(self) -> list[Tensor]:
        return [m.weight for m in self.modules() if isinstance(m, nn.Conv2d)][1:-1]
