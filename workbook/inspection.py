"""Looking into a net and its training: what the passes make, what noise becomes, when the gate was open."""
from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from tadlib.channel import send
from tadlib.evaluation.protocol import means
from tadlib.networks import TAD
from tadlib.networks.chain import Chain
from tadlib.pixels import rgb_to_y, to_codes, to_float, with_neighbours
from tadlib.resize import upscale
from workbook import studies
from workbook.scores import scores


@torch.inference_mode()
def passes(net: TAD, image: Tensor, scale: int) -> list[Tensor]:
    """What the decoder has made after each of its passes: uint8 (3, H, W) -> float images (1, 3, ., .).

    The last one is X_SHR for a net without a skip. Raises ValueError for a scale that the net cannot do.
    """
    x = send(net.encode(to_float(image), scale))
    return [x := net.decoder(x) for _ in range(net.passes(scale))]


def noise_gain(name: str, profile: str = "cpu", sigma: float = 0.01) -> dict:
    """What small noise on X_SLR becomes in X_SHR, and how far X_SLR lies from the guidance, in 8-bit levels (RMS).

    gain = sqrt(MSE(sigma) - MSE(0)) / (255 sigma): 1 means as strong as it came. From the stored scores alone.
    """
    rows = scores(studies.trained(name, profile), (studies.best_set(profile),), ("8bit", f"noise:{sigma}"),
                  measure=False)
    error = 255**2 * 10 ** (-rows["psnr_rgb"].clip(upper=100) / 10)
    shrt = error[rows["kind"] == "SHRT"].groupby(rows["sigma"]).mean()
    close = error[(rows["kind"] == "SLR") & (rows["channel"] == "8bit")].mean()
    return {"run": name, "clean dB": means(rows).query("kind == 'SHRT' and sigma == 0")["psnr_rgb"].mean(),
            "X_SLR from guidance, levels": close**0.5,
            "gain": max(0.0, shrt[sigma] - shrt[0.0]) ** 0.5 / (255 * sigma)}


def share_open(history: pd.DataFrame) -> float:
    """The share of a training's steps at which the gate was open (a curve's rows hold means since the row before)."""
    steps = history["step"].diff().fillna(history["step"])
    return float((history["gate_open"] * steps).sum() / steps.sum())


@torch.no_grad()
def trace(net: TAD, hr: Tensor, scale: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Walk one image through encoder, guidance and decoder: (part, word, shape of the output) for each layer."""
    rows = [("input", "X_HR", tuple(hr.shape))]

    def walk(chain: Any, x: Tensor, part: str) -> None:
        for n in range(net.passes(scale) if isinstance(chain, Chain) else 0):
            for word, out in chain.steps(x):
                rows.append((f"{part}, pass {n + 1}", word, tuple(out.shape)))
            x = out

    walk(net.encoder, hr, "encoder")
    slr = net.encode(hr, scale)
    rows.append(("guidance", "+ X_GD = X_SLR", tuple(slr.shape)))
    seen = with_neighbours(slr, net.head.frames)
    walk(net.decoder, rgb_to_y(upscale(seen, scale)) if net.head.enlarged else seen, "decoder")
    rows.append(("output", "X_SHR", tuple(net.decode(seen, scale).shape)))
    return rows


@torch.inference_mode()
def down_and_up(model: TAD, frames: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Consecutive frames, uint8 (T, 3, H, W) -> the small ones and the large ones made from them, uint8.

    H and W must be multiples of the scale.
    """
    slr, shr = model(to_float(frames), scale)
    return to_codes(slr), to_codes(shr)
