"""A stored network as a backend of the codec, in torch, float32."""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tadlib.channel import Channel, send
from tadlib.machine import best_device
from tadlib.networks import TAD
from tadlib.pixels import from_array, to_array, to_codes, to_float
from tadlib.stored import Trained
from tadlib.tasks import TASKS, guidance
from tadlib.tool.codec import Tiling
from tadlib.tool.models import weights
from tadlib.tool.refine import check, refine


class TorchBackend:
    """See codec.Backend. Raises BadInput where the weights are missing or unfit."""

    def __init__(self, trained: Trained):
        self.network = net = trained.network()
        self.device = best_device()
        net.to(self.device)
        self.name, self.scale, self.guide = trained.run.name, trained.run.scale, trained.run.guide
        self.weights = weights(trained.record)
        self.task, self.frames = TASKS[net.spec.task], net.head.frames
        self.down, self.up = tilings(net, self.scale)

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> np.ndarray:
        hr = self._floats(image[None])
        codes = to_codes(send(self.network.encode(hr, self.scale, guidance(hr, self.scale, self.guide))))[0]
        return np.atleast_3d(to_array(codes))

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        received = self._floats(codes).flatten(0, 1)[None]  # (1, frames * C, h, w)
        received = received.contiguous(memory_format=torch.channels_last)
        return to_array(to_codes(self.network.decode(received, self.scale))[0])

    def check(self, channel: str) -> None:
        check(self.network)

    def refine(self, images: np.ndarray, codes: np.ndarray, steps: int, likeness: float | None, channel: str
               ) -> np.ndarray:
        hr = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            guides = [guidance(to_float(image).to(self.device), self.scale, self.guide) for image in hr]
        slr = refine(self.network, hr, self._floats(codes), torch.cat(guides), self.scale, steps, likeness,
                     Channel.parse(channel))
        return to_codes(slr).cpu().permute(0, 2, 3, 1).numpy()

    def _floats(self, images: np.ndarray) -> Tensor:
        """uint8 (N, H, W, C) -> floats (N, C, H, W)."""
        codes = torch.stack([from_array(image if image.shape[-1] == 3 else image[..., 0]) for image in images])
        return to_float(codes).to(self.device).contiguous(memory_format=torch.channels_last)


def tilings(net: TAD, scale: int) -> tuple[Tiling, Tiling]:
    """What a tile needs on the way down and up."""
    # each pass sees further by the factor; bicubic sees 2 LR pixels
    reach = net.encoder.reach if net.encoder is not None else 0
    reach = sum(reach * net.spec.step**n for n in range(net.passes(scale))) + 2 * scale
    grid = math.lcm(scale, net.encoder.granularity if net.encoder is not None else 1)
    return Tiling(reach, grid), Tiling(net.head.reach(net, scale), net.head.granularity(net))
