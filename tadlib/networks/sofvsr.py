"""SOF-VSR: super-resolve the optical flow, move the neighbours along it, then super-resolve the centre frame.

After Wang, Guo, Lin, Deng and An, "Deep Video Super-Resolution Using HR Optical Flow Estimation" (IEEE TIP 2020; ACCV
2018): three LR frames of Y in, the HR centre frame of Y out. Convolutions have no bias but the last of each part.
A flow (B, 2, H, W) is in pixels of its own resolution, channels (x, y): `warp` takes a pixel from where it points to.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tadlib.pixels import pad_to_multiple

SLOPE = 0.1  # of the leaky ReLU


def conv(i: int, o: int, size: int = 3, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(i, o, size, padding=size // 2, bias=bias)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """x (B, C, H, W) taken from p + flow(p), flow (B, 2, H, W) in pixels: bilinear, the border repeated."""
    h, w = x.shape[-2:]
    flow = flow.float()  # 16 bits do not hold a position
    rows = torch.arange(h, device=x.device)[:, None] + flow[:, 1]  # (B, H, W)
    columns = torch.arange(w, device=x.device) + flow[:, 0]
    grid = torch.stack([2 * columns / max(1, w - 1) - 1, 2 * rows / max(1, h - 1) - 1], dim=-1)
    return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=True)


def enlarge(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow (B, 2, h, w) at another resolution: (B, 2, H, W), in that resolution's pixels."""
    factor = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]]).view(2, 1, 1)
    return F.interpolate(flow, size, mode="bilinear") * factor


class DenseBlock(nn.Module):
    """Residual dense block (Zhang et al. 2018): 3x3 convolutions that see all before them, 1x1 fusion, residual."""

    def __init__(self, layers: int, channels: int, growth: int = 32):
        super().__init__()
        self.dense = nn.ModuleList(conv(channels + n * growth, growth) for n in range(layers))
        self.fusion = conv(channels + layers * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.dense:
            seen = torch.cat([seen, F.leaky_relu(layer(seen), SLOPE)], 1)  # (B, C + n * growth, H, W)
        return x + self.fusion(seen)


class FlowLevel(nn.Module):
    """One of the three levels of the flow net: (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.head = conv(inputs, 32)
        self.blocks = nn.ModuleList(DenseBlock(4, 32) for _ in range(2))
        self.bottleneck = conv(64, outputs)
        self.tail = conv(outputs, outputs, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        first = self.blocks[0](self.head(x))
        return self.tail(self.bottleneck(torch.cat([first, self.blocks[1](first)], 1))).float()


class Flows(NamedTuple):
    """The flow from a neighbour to the centre at three resolutions."""

    half: Tensor  # (B, 2, h/2, w/2)
    lr: Tensor  # (B, 2, h, w)
    hr: Tensor  # (B, 2, h * scale, w * scale)


class FlowNet(nn.Module):
    """OFRnet: the flow between two LR frames (B, 1, h, w), refined from half the LR size up to the HR size."""

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale
        self.level1, self.level2 = FlowLevel(2, 2), FlowLevel(6, 2)
        self.level3 = FlowLevel(6, 2 * scale**2)

    def forward(self, neighbour: Tensor, centre: Tensor) -> Flows:
        h, w = centre.shape[-2:]
        small = [F.interpolate(x, (max(1, h // 2), max(1, w // 2)), mode="bilinear", antialias=True)
                 for x in (neighbour, centre)]
        half = self.level1(torch.cat(small, 1))
        coarse = enlarge(half, (h, w))
        lr = coarse + self.level2(self._with(neighbour, centre, coarse))
        detail = F.pixel_shuffle(self.level3(self._with(neighbour, centre, lr)), self.scale)  # (B, 2, h*scale, w*scale)
        return Flows(half, lr, enlarge(lr, (h * self.scale, w * self.scale)) + detail)

    @staticmethod
    def _with(neighbour: Tensor, centre: Tensor, flow: Tensor) -> Tensor:
        moved = warp(neighbour, flow)
        return torch.cat([neighbour, centre, moved, centre - moved, flow], 1)  # (B, 6, h, w)


class SOFVSR(nn.Module):
    """Three LR frames of Y, (B, 3, h, w) in [0, 1], centre in the middle -> HR centre Y (B, 1, h*scale, w*scale).

    1,639,676 parameters at x4 (flow 617,772), 1,596,584 at x2.
    """

    granularity = 2  # the flow begins at half the LR size
    reach = 64  # LR pixels that an output is taken to depend on: 31 by SRnet's convolutions, the rest by flows

    def __init__(self, scale: int = 4):
        super().__init__()
        self.scale = scale
        self.flow = FlowNet(scale)
        self.head = conv(3 + 2 * scale**2, 64)
        self.blocks = nn.ModuleList(DenseBlock(5, 64) for _ in range(5))
        self.bottleneck = conv(6 * 64, scale**2, 1)
        self.tail = conv(scale**2, scale**2, bias=True)

    def forward(self, frames: Tensor) -> Tensor:
        h, w = frames.shape[-2:]
        whole = self.with_flows(pad_to_multiple(frames, self.granularity))[0]
        return whole[..., : h * self.scale, : w * self.scale]  # (B, 1, h * scale, w * scale)

    def with_flows(self, frames: Tensor) -> tuple[Tensor, tuple[Flows, Flows]]:
        """The HR centre frame, and the flows of the frames before and after it."""
        before, centre, after = frames.split(1, dim=1)
        flows = self.flow(before, centre), self.flow(after, centre)
        moved = [self._moved(x, flow.hr) for x, flow in zip((before, after), flows, strict=True)]
        x = self.head(torch.cat([frames, *moved], 1))  # (B, 3 + 2 scale^2, h, w) -> (B, 64, h, w)
        outputs = [x]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return F.pixel_shuffle(self.tail(self.bottleneck(torch.cat(outputs, 1))), self.scale), flows

    def inner_convolutions(self) -> list[Tensor]:
        """The weights that Muon orthogonalises: those inside the dense blocks."""
        blocks = (b for b in self.modules() if isinstance(b, DenseBlock))
        return [m.weight for b in blocks for m in b.dense if isinstance(m, nn.Conv2d)]

    @torch.no_grad()
    def multiply_adds(self) -> float:
        """Multiply-adds of the convolutions for a pixel of the HR frame."""
        with FlopCounterMode(display=False) as counted:
            self(torch.zeros(1, 3, 16, 16))
        return counted.get_total_flops() / 2 / (16 * self.scale) ** 2

    def _moved(self, frame: Tensor, flow: Tensor) -> Tensor:
        """The frame (B, 1, h, w) moved along each of the LR flows that the HR flow consists of: (B, scale^2, h, w)."""
        b, _, h, w = frame.shape
        n = self.scale**2
        parts = F.pixel_unshuffle(flow, self.scale) / self.scale  # (B, 2 n, h, w), in LR pixels
        parts = parts.view(b, 2, n, h, w).transpose(1, 2).reshape(b * n, 2, h, w)
        return warp(frame.repeat_interleave(n, 0), parts).view(b, n, h, w)
