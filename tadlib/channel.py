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

Training may draw one for each image: "jpeg:50..95" also draws the number (`draw`).

In training the gradient passes straight through what has none (Bengio et al. 2013): d received / d X_SLR = 1 inside
the range. Through files of halved chroma it passes as far as the chroma does, else the encoder would hide there what
never arrives. At the range's ends and outside it is 0, clamping's own: passing it there too lets X_SLR run away, since
nothing that it does beyond the range changes the result any more (`aetad` diverged so within a thousand steps).
"""
from __future__ import annotations

import io
import re

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tadlib.guidance import interpolate
from tadlib.images import from_pil, to_codes, to_float, to_pil


def send(slr: Tensor, channel: str = "8bit", generator: torch.Generator | None = None) -> Tensor:
    """X_SLR (B, C, h, w), float, any range -> what arrives: same shape, [0, 1], on the 8-bit grid (but "float").

    `generator` makes the noise reproducible; it lives on the CPU. Raises ValueError for an unknown stage.
    """
    received = slr
    for stage in channel.split("+"):
        received = _stage(received, stage.strip(), generator)
    return received


def _stage(x: Tensor, stage: str, generator: torch.Generator | None) -> Tensor:
    kind, _, value = stage.partition(":")
    try:
        _check(kind, value, x.shape[-1])
        if kind == "float":
            return x
        if kind == "8bit":
            return quantize(x)
        if kind == "noise":
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            return quantize(quantize(x) + float(value) * noise)
        if kind == "resize":
            size = x.shape[-2:]
            other = [max(1, round(float(value) * n)) for n in size]
            return quantize(interpolate(quantize(interpolate(quantize(x), other)), size))
        if kind == "gamma":
            return quantize(quantize(x).clamp_min(1e-4) ** float(value))  # 0 ** g has no slope
        if kind == "shift":
            return F.pad(quantize(x), (int(value), 0, 0, 0), mode="replicate")[..., : x.shape[-1]]
        if kind in FILES:
            arrived = torch.cat([_file(codes, kind, value) for codes in to_codes(x)])
            passes = x.clamp(0, 1)
            if kind in HALVED and x.shape[1] == 3:
                passes = _halved_chroma(passes)
            return _straight_through(passes, arrived.to(x.device))
    except ValueError as error:
        raise ValueError(f"channel stage {stage!r}: {error}") from None
    raise ValueError(f"channel stage {stage!r}: not one of float, 8bit, noise:SIGMA, resize:FACTOR, gamma:POWER, "
                     f"shift:PIXELS, {', '.join(FILES)}")


def _check(kind: str, value: str, width: int) -> None:
    """Raises ValueError for a value that the kind of stage cannot have; unknown kinds pass."""
    if value and not re.fullmatch(r"\d{1,9}(\.\d+)?(e-\d+)?", value):  # the last: Python writes 0.00002 as 2e-05
        raise ValueError(f"{value!r} is not a number as 90 or 0.1")
    if value and kind in ("float", "8bit", "png"):
        raise ValueError("takes no number")
    if value and kind in FILES and not (value.isdecimal() and 1 <= int(value) <= 100):
        raise ValueError(f"a quality is a whole number from 1 to 100, not {value}")
    if kind == "shift" and not (value.isdecimal() and int(value) < width):
        raise ValueError(f"whole pixels, fewer than the {width} of the small image's width")
    if kind == "resize" and not 0 < float(value) <= 8:
        raise ValueError("a factor above 0, of 8 at most")


def draw(channels: tuple[str, ...], generator: torch.Generator) -> str:
    """One of the channels; of "kind:low..high" also a number between the two, whole where both are."""
    kind, _, value = channels[torch.randint(len(channels), (), generator=generator).item()].partition(":")
    if ".." not in value:
        return f"{kind}:{value}" if value else kind
    low, high = value.split("..")
    number = float(low) + (float(high) - float(low)) * torch.rand((), generator=generator).item()
    return f"{kind}:{number:.5f}" if "." in low + high else f"{kind}:{number:.0f}"


def quantize(x: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to multiples of 1/255; the gradient passes through the rounding."""
    return _straight_through(x.clamp(0, 1), x.clamp(0, 1).mul(255).round().div(255))


def _halved_chroma(x: Tensor) -> Tensor:
    """RGB (B, 3, h, w) with the luma of each pixel and the chroma of 2x2 of them, as 4:2:0 keeps it. Not rounded."""
    luma = (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    chroma = F.avg_pool2d(x - luma, 2, ceil_mode=True)  # (B, 3, ceil(h / 2), ceil(w / 2))
    return luma + F.interpolate(chroma, scale_factor=2.0)[..., : x.shape[-2], : x.shape[-1]]


def _straight_through(x: Tensor, value: Tensor) -> Tensor:
    # x + (value - x) would lose the last bits of value: keep value exact, borrow only x's gradient
    return value.detach() + (x - x.detach()) if x.requires_grad else value


FILES = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {"subsampling": "4:2:0"}),
    "jpeg444": ("JPEG", {"subsampling": "4:4:4"}),
    "webp": ("WEBP", {}),
}
HALVED = ("jpeg", "webp")  # chroma


def file_bytes(codes: Tensor, kind: str = "png", quality: int | None = None) -> bytes:
    """uint8 (C, h, w) as the bytes of an image file of that kind."""
    form, options = FILES[kind]
    buffer = io.BytesIO()
    picture = to_pil(codes)
    picture.save(buffer, format=form, **options, **({"quality": quality} if quality is not None else {}))
    return buffer.getvalue()


def bytes_sent(slr: Tensor, channel: str = "8bit", generator: torch.Generator | None = None) -> int:
    """Bytes of the file as which X_SLR (1, C, h, w) goes through the channel: its last stage's kind, else a PNG."""
    *before, last = (stage.strip() for stage in channel.split("+"))
    kind, _, value = last.partition(":")
    if kind in FILES:
        codes = to_codes(send(slr, "+".join(before) or "8bit", generator))[0]
        return len(file_bytes(codes, kind, int(value) if value else None))
    return len(file_bytes(to_codes(slr)[0]))  # noise comes over it on its way, and is not sent


def _file(codes: Tensor, kind: str, value: str) -> Tensor:
    data = file_bytes(codes, kind, int(value) if value else None)
    picture = Image.open(io.BytesIO(data)).convert("L" if len(codes) == 1 else "RGB")
    return to_float(from_pil(picture))
