"""Looking into grey images: colours of equal grey, where the colour is hidden, what a small accident does to it."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tadlib.channel import send
from tadlib.evaluation.metrics import psnr
from tadlib.networks import TAD
from tadlib.pixels import rgb_to_y, to_codes, to_float
from workbook import figures


def isoluminant(count: int = 12, size: int = 24, code: int = 120) -> Tensor:
    """A chart of flat patches whose Y is the same 8-bit code: uint8 (3, 3 * size, count / 3 * size), hues in order.

    Raises ValueError for a code that no saturated colour has.
    """
    axis = torch.arange(0, 256, 5, dtype=torch.uint8)
    rgb = torch.cartesian_prod(axis, axis, axis)  # (N, 3)
    y = to_codes(rgb_to_y(rgb.float().view(-1, 3, 1, 1) / 255)).flatten()
    rgb = rgb[y == code].float()
    if len(rgb) < count:
        raise ValueError(f"no {count} colours have the grey level {code}")
    chroma = rgb - rgb.mean(1, keepdim=True)
    hue = torch.atan2(3**0.5 * (chroma[:, 1] - chroma[:, 2]), 2 * chroma[:, 0] - chroma[:, 1] - chroma[:, 2])
    turns = hue / (2 * torch.pi) * count
    chosen = []
    for n in range(count):
        off = (turns - n + count / 2) % count - count / 2  # from the wanted hue, in sectors
        strong = (off.abs() < 0.5) & (chroma.norm(dim=1) > 60)
        if not strong.any():
            raise ValueError(f"grey level {code} has no strong colour of hue {360 * n // count} degrees")
        chosen.append(rgb[strong][off[strong].abs().argmin()])
    chart = torch.stack(chosen).view(3, count // 3, 3).permute(2, 0, 1)  # (3, 3, count / 3)
    return chart.to(torch.uint8).repeat_interleave(size, 1).repeat_interleave(size, 2)


@torch.inference_mode()
def grey_and_back(network: TAD, image: Tensor, channel: str = "8bit") -> tuple[Tensor, Tensor]:
    """uint8 (3, H, W) -> what arrives of its grey image, uint8 (1, H, W), and the colours from it, uint8 (3, H, W).

    Noise in the channel is drawn anew, the same each time. Raises BadInput for a text that is no channel.
    """
    received = send(network.encode(to_float(image), 1), channel, torch.Generator().manual_seed(0))
    return to_codes(received)[0], to_codes(network.decode(received, 1))[0]


def from_afar(grey: Tensor) -> Tensor:
    """A grey image, uint8 (1, H, W) of even sides, as seen where 2x2 pixels merge: means, (1, H / 2, W / 2)."""
    return grey.float().unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4)).round().to(torch.uint8)


def sheet(rows: Mapping[str, Sequence[tuple[str, Tensor]]], width: float = 7.5, size: float = 7) -> Figure:
    """Rows of pictures, (title, uint8 (3 or 1, h, w)) each, with the row's own name at its left.

    A picture is as wide as its column, whatever its resolution; a row is as high as its first picture is then.
    `width` in inches, `size` of the letters in points.
    """
    line = 1.35 * size / 72  # inches
    margin = line * max(name.count("\n") + bool(name) for name in rows)
    columns = max(map(len, rows.values()))
    ratios = [row[0][1].shape[1] / row[0][1].shape[2] for row in rows.values()]
    titles = sum(max(title.count("\n") + bool(title) for title, _ in row) for row in rows.values())
    figure = figures.blank(width, sum(ratios) * (width - margin) / columns + line * titles + 0.04 * len(rows))
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    axes = figure.subplots(len(rows), columns, height_ratios=ratios, squeeze=False)
    for (name, row), places in zip(rows.items(), axes, strict=True):
        for ax, (title, image) in zip(places, row, strict=True):
            figures.picture(ax, image)
            ax.set_title(title, fontsize=size, pad=3)
        places[0].text(-0.03, 0.5, name, rotation=90, ha="right", va="center", ma="center", fontsize=size,
                       transform=places[0].transAxes)
    return figure


def hidden(grey: Tensor, image: Tensor) -> np.ndarray:
    """The grey image (1, H, W) minus Y of the colour image (3, H, W), in 8-bit levels: float (H, W)."""
    return (grey.double() - 255 * rgb_to_y(to_float(image).double())[0])[0].numpy()


def spectrum(pattern: np.ndarray) -> np.ndarray:
    """Power of a pattern (H, W) by frequency, in dB, zero frequency in the middle: Hann window, mean removed."""
    window = np.outer(*map(np.hanning, pattern.shape))
    power = np.abs(np.fft.fftshift(np.fft.fft2((pattern - pattern.mean()) * window))) ** 2
    return 10 * np.log10(power / power.size + 1e-9)


@torch.inference_mode()
def shifted(network: TAD, image: Tensor, pixels: int = 1) -> float:
    """RGB PSNR where the grey image (3, H, W) arrives moved to the right by some pixels (dB; the frame is left out)."""
    received = send(network.encode(to_float(image), 1))
    back = to_codes(network.decode(received.roll(pixels, 3), 1))[0].roll(-pixels, 2)
    border = 8 + pixels
    return psnr(back, image, border)
