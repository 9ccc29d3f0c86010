"""What happens to X_SLR on its way to the decoder. One implementation for training, scores, sliders and tool.

A channel is written as text, its stages joined by "+", in the order in which they happen:

    "float"       nothing at all: not an image, for comparison only
    "8bit"        clamp and round to the 256 codes that a file can hold (every other stage includes it)
    "noise:0.1"   Gaussian noise of sigma 0.1 of the range: round, add, clamp, round; a fresh draw each time
    "jpeg:90"     JPEG file of quality 90, chroma halved (4:2:0); "jpeg444:90" with full chroma
    "webp:80"     lossy WebP file
    "png"         a PNG file: encodes, decodes, changes nothing
    "resize:0.9"  bicubic to 0.9 of the size and back
    "gamma:1.1"   every value to the power of 1.1
    "shift:1"     moved right by one pixel, the last column lost (who compares moves the result back)

"cycles:5" before them goes down and up four times before (scores do that: it takes a network). Training may draw one
for each image: "jpeg:50..95" also draws the number (`draw`).

In training the gradient passes straight through what has none (Bengio et al. 2013): d received / d X_SLR = 1 inside
the range. Through files of halved chroma it passes as far as the chroma does, else the encoder would hide there what
never arrives. At the range's ends and outside it is 0, clamping's own: passing it there too lets X_SLR run away, since
nothing that it does beyond the range changes the result any more (`aetad` diverged so within a thousand steps).
"""
from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from tadlib.errors import BadInput
from tadlib.pixels import from_array, to_array, to_codes, to_float
from tadlib.resize import interpolate


@dataclass(frozen=True)
class Kind:
    """A kind of stage: what it does to (B, C, h, w), and what a reader calls it ({} stands for its number)."""

    words: str
    send: Callable[[Tensor, str, Generator | None], Tensor]
    number: str | None = r"\d{1,9}(\.\d+)?(e-\d+)?"  # what it takes behind its name; None: nothing (2e-05 is Python's)
    usage: str = "a number as 90 or 0.1"
    edits: bool = False  # what it does to the small image a person wants of the large one as well
    moves: bool = False  # by so many pixels to the right: those at the left are none of the picture's
    file: Callable[..., bytes] | None = None  # uint8 (C, h, w) and the number as the bytes of such a file


def _file(words: str, form: str, halved: bool = False, quality: bool = True, **options: Any) -> Kind:
    """A file that is written and read, of a quality; `halved` says that its chroma is."""
    def write(codes: Tensor, value: str, **more: Any) -> bytes:
        buffer = io.BytesIO()
        more = options | more | ({"quality": int(value)} if value else {})
        Image.fromarray(to_array(codes)).save(buffer, form, **more)
        return buffer.getvalue()

    def send(x: Tensor, value: str, rng: Generator | None) -> Tensor:
        arrived = []
        for codes in to_codes(x):
            with Image.open(io.BytesIO(write(codes, value)), formats=(form,)) as picture:
                arrived.append(to_float(from_array(np.array(picture.convert("L" if len(codes) == 1 else "RGB")))))
        passes = x.clamp(0, 1)
        if halved and x.shape[1] == 3:
            passes = _halved_chroma(passes)
        return straight_through(passes, torch.cat(arrived).to(x.device))

    number = r"([1-9]\d?|100)?" if quality else None
    return Kind(words, send, number, "a quality, a whole number from 1 to 100", file=write)


def _noise(x: Tensor, value: str, rng: Generator | None) -> Tensor:
    return quantize(quantize(x) + float(value) * torch.randn(x.shape, generator=rng).to(x.device))


def _resize(x: Tensor, value: str, rng: Generator | None) -> Tensor:
    h, w = x.shape[-2:]
    other = (max(1, round(float(value) * h)), max(1, round(float(value) * w)))
    return quantize(interpolate(quantize(interpolate(quantize(x), other)), (h, w)))


def _gamma(x: Tensor, value: str, rng: Generator | None) -> Tensor:
    return quantize(quantize(x).clamp_min(1e-4) ** float(value))  # 0 ** g has no slope


def _shift(x: Tensor, value: str, rng: Generator | None) -> Tensor:
    if int(value) >= x.shape[-1]:
        raise BadInput(f"channel stage 'shift:{value}': the small image is only {x.shape[-1]} pixels wide")
    return F.pad(quantize(x), (int(value), 0, 0, 0), mode="replicate")[..., : x.shape[-1]]


KINDS = {
    "float": Kind("float code", lambda x, value, rng: x, None),
    "8bit": Kind("nothing", lambda x, value, rng: quantize(x), None),
    "noise": Kind("noise, sigma {}", _noise),
    "png": _file("PNG", "PNG", quality=False),
    "jpeg": _file("JPEG {}, 4:2:0", "JPEG", halved=True, subsampling="4:2:0"),
    "jpeg444": _file("JPEG {}, 4:4:4", "JPEG", subsampling="4:4:4"),
    "webp": _file("WebP {}", "WEBP", halved=True),
    "resize": Kind("resized by {} and back", _resize, r"0*\.\d*[1-9]\d*|[1-7](\.\d+)?|8",
                   "a factor above 0, of 8 at most"),
    "gamma": Kind("gamma {}", _gamma, edits=True),
    "shift": Kind("moved by {} pixel", _shift, r"\d{1,9}", "a whole number of pixels", moves=True),
}


class Stage(NamedTuple):
    """One thing that happens, with its number as text."""

    kind: str
    value: str

    @staticmethod
    def parse(text: str) -> Stage:
        kind, _, value = text.partition(":")
        if kind not in KINDS:
            raise BadInput(f"channel stage {text!r}: not one of {', '.join(KINDS)}")
        pattern = KINDS[kind].number
        if pattern is None and value:
            raise BadInput(f"channel stage {text!r}: takes no number")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise BadInput(f"channel stage {text!r}: takes {KINDS[kind].usage}")
        return Stage(kind, value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind

    def send(self, x: Tensor, rng: Generator | None) -> Tensor:
        return KINDS[self.kind].send(x, self.value, rng)

    @property
    def words(self) -> str:
        one_level = self == ("noise", f"{1 / 255:.5f}")
        return "noise, one grey level" if one_level else KINDS[self.kind].words.format(self.value)


@dataclass(frozen=True)
class Channel:
    """The stages in the order in which they happen, after so many times down and up."""

    stages: tuple[Stage, ...]
    cycles: int = 1

    @staticmethod
    @functools.lru_cache(maxsize=256)
    def parse(text: str) -> Channel:
        """The channel that a text says. Raises BadInput."""
        first, *rest = (part.strip() for part in text.split("+"))
        cycles = 1
        if first.startswith("cycles:"):
            times = first.removeprefix("cycles:")
            if not (times.isdecimal() and 1 <= int(times) <= 1000):
                raise BadInput(f"channel stage {first!r}: down and up happens once at least, and 1,000 times at most")
            cycles, (first, *rest) = int(times), rest or ["8bit"]
        return Channel(tuple(map(Stage.parse, (first, *rest))), cycles)

    def __str__(self) -> str:
        stages = "+".join(map(str, self.stages))
        return stages if self.cycles == 1 else f"cycles:{self.cycles}" + f"+{stages}" * (stages != "8bit")

    @property
    def sigma(self) -> float:
        """Of the noise in it; 0 where it is the same each time."""
        return next((float(stage.value) for stage in self.stages if stage.kind == "noise"), 0.0)

    @property
    def words(self) -> str:
        """What happens, to a reader."""
        stages = ", ".join(stage.words for stage in self.stages)
        if self.cycles == 1:
            return stages
        return f"{self.cycles} times down and up" + f", {stages}" * (stages != KINDS["8bit"].words)

    def send(self, slr: Tensor, rng: Generator | None = None) -> Tensor:
        """X_SLR (B, C, h, w), float, any range -> what arrives: same shape, [0, 1], on the 8-bit grid (but "float").

        `rng` makes the noise reproducible; it lives on the CPU.
        """
        for stage in self.stages:
            slr = stage.send(slr, rng)
        return slr

    def bytes(self, slr: Tensor, rng: Generator | None = None) -> int:
        """Bytes of the file as which X_SLR (1, C, h, w) goes through it: its last stage's kind, else a PNG."""
        *before, (kind, value) = self.stages
        if write := KINDS[kind].file:
            return len(write(to_codes(Channel((*before, Stage("8bit", ""))).send(slr, rng))[0], value))
        return len(png_bytes(to_codes(slr)[0]))  # noise comes over it on its way, and is not sent

    def wanted(self, image: Tensor, scale: int) -> tuple[Tensor, int]:
        """What should come of the HR image, uint8 (3, H, W): edited as the small one was, and without the columns that
        left it; and how many columns at the left of X_SHR have come in their stead.
        """
        for stage in self.stages:
            if KINDS[stage.kind].edits:
                image = to_codes(stage.send(to_float(image), None))[0]
        lost = scale * sum(int(stage.value) for stage in self.stages if KINDS[stage.kind].moves)
        return image[..., : image.shape[-1] - lost], lost


def png_bytes(codes: Tensor) -> bytes:
    """uint8 (C, h, w) as the bytes of a PNG file."""
    write = KINDS["png"].file
    assert write is not None
    return write(codes, "")


def send(slr: Tensor, channel: str | Channel = "8bit", rng: Generator | None = None) -> Tensor:
    """`Channel.send` of a channel or of its text. Raises BadInput for a text that is none."""
    return (channel if isinstance(channel, Channel) else Channel.parse(channel)).send(slr, rng)


def draw(channels: tuple[str, ...], rng: Generator) -> Channel:
    """One of the channels; of "kind:low..high" also a number between the two, whole where both are."""
    kind, low, high = _range(channels[int(torch.randint(len(channels), (), generator=rng).item())])
    if high is None:
        return Channel.parse(f"{kind}:{low}" if low else kind)
    number = float(low) + (float(high) - float(low)) * torch.rand((), generator=rng).item()
    return Channel.parse(f"{kind}:{number:.5f}" if "." in low + high else f"{kind}:{number:.0f}")


def check_draws(channels: tuple[str, ...]) -> None:
    """Raises BadInput unless each is a channel, or one with a range of numbers between two that it can have."""
    for text in channels:
        kind, low, high = _range(text)
        if high is not None and not (low and high):
            raise BadInput(f"channel stage {text!r}: a range is two numbers")
        for number in (low,) if high is None else (low, high):
            Channel.parse(f"{kind}:{number}" if number else kind)


def _range(text: str) -> tuple[str, str, str | None]:
    """"noise:0..0.1" -> ("noise", "0", "0.1"); without a range the number, if there is one, and None."""
    kind, _, value = text.partition(":")
    low, between, high = value.partition("..")
    return kind, low, high if between else None


def quantize(x: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to multiples of 1/255; the gradient passes through the rounding."""
    return straight_through(x.clamp(0, 1), x.clamp(0, 1).mul(255).round().div(255))


def _halved_chroma(x: Tensor) -> Tensor:
    """RGB (B, 3, h, w), luma of each pixel, chroma of 2x2 of them enlarged linearly, as 4:2:0 is read. Not rounded."""
    luma = (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    chroma = F.avg_pool2d(x - luma, 2, ceil_mode=True)  # (B, 3, ceil(h / 2), ceil(w / 2))
    return luma + F.interpolate(chroma, scale_factor=2.0, mode="bilinear")[..., : x.shape[-2], : x.shape[-1]]


def straight_through(x: Tensor, value: Tensor) -> Tensor:
    # x + (value - x) would lose the last bits of value: keep value exact, borrow only x's gradient
    return value.detach() + (x - x.detach()) if x.requires_grad else value
