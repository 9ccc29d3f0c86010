"""Optical flow: true flow from files, the end-point error, the usual colours, what is seen in small frames.

A flow (2, H, W) or (B, 2, H, W) is in pixels of its own resolution, channels (x, y), from the centre frame to where the
same thing lies in its neighbour: `networks.sofvsr.warp(neighbour, flow)` gives the centre.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tadlib.channel import send
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import read_image
from tadlib.networks import TAD
from tadlib.networks.sofvsr import enlarge
from tadlib.pixels import crop_to_multiple, from_array, rgb_to_y
from tadlib.settings import data_folder, results
from tadlib.tasks import guidance
from tadlib.training.objectives import farneback
from workbook import tables
from workbook.records import read_table

UNKNOWN = 1e9  # what the files of Baker et al. 2011 hold where the truth is not known
SCENES = ("Dimetrodon", "Grove2", "Hydrangea", "RubberWhale", "Venus")  # of Middlebury


def read_flow(path: str | Path) -> Tensor:
    """A .flo file of Middlebury as (2, H, W); unknown vectors are NaN. Raises BadInput."""
    try:
        data = Path(path).read_bytes()
        w, h = np.frombuffer(data, "<i4", 2, 4).tolist()
        if data[:4] != b"PIEH" or min(w, h) < 1 or len(data) != 12 + 8 * w * h:
            raise ValueError("its header or its length does not fit")
        flow = torch.from_numpy(np.frombuffer(data, "<f4", offset=12).reshape(h, w, 2).copy()).permute(2, 0, 1)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a flow file ({getattr(error, 'strerror', None) or error})") from None
    return flow.where(flow.abs().amax(0) < UNKNOWN, torch.nan)


def end_point_error(flow: Tensor, truth: Tensor) -> float:
    """Mean distance of flow vectors (2, H, W) from the true ones, in pixels, where the truth is known."""
    return float((flow - truth).square().sum(0).sqrt().nanmean())


def painted(flow: Tensor, largest: float | None = None) -> Tensor:
    """A flow (2, H, W) as a picture, uint8 (3, H, W): hue is the direction, saturation the length; unknown is black.

    `largest` is the length of full saturation (by default that of the flow).
    """
    known = ~flow.isnan().any(0)
    x, y = torch.where(known, flow, 0).numpy()
    length = np.hypot(x, y)
    length = np.minimum(1, length / max(1e-6, largest or float(length.max())))
    hue = (np.degrees(np.arctan2(-y, -x)) / 2 + 90).round() % 180  # OpenCV's hues go from 0 to 180
    hsv = np.stack([hue, 255 * length, 255 * known.numpy()], -1).astype(np.uint8)
    return torch.from_numpy(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).permute(2, 0, 1)


def wheel(size: int = 96) -> Tensor:
    """The key to `painted`: the flow that points away from the middle, uint8 (3, size, size), black beyond length 1."""
    axis = torch.linspace(-1, 1, size)
    flow = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
    return painted(flow.where(flow.norm(dim=0) <= 1, torch.nan), 1.0)


def flow_scene(name: str, profile: str = "cpu") -> tuple[str, Tensor, Tensor, Tensor]:
    """A scene of Middlebury as (name, two frames uint8 (3, H, W), true flow (2, H, W)), or the synthetic clip's."""
    if profile != "smoke" and sets.is_here("Middlebury"):
        folder = data_folder() / "Middlebury" / name
        first, second = (from_array(read_image(folder / f"frame{n}.png")) for n in (10, 11))
        truth = read_flow(folder / "flow10.flo")
        return name, crop_to_multiple(first, 4), crop_to_multiple(second, 4), crop_to_multiple(truth, 4)
    first, second, *_ = sets.load("SampleClip").values()
    dy, dx = sets.registry()["SampleClip"]["pan"][3:]  # the window moves down and right, the picture up and left
    return "SampleClip", first, second, torch.tensor([-dx, -dy]).float().view(2, 1, 1).expand(2, *first.shape[1:])


@torch.inference_mode()
def flows(first: Tensor, second: Tensor, encoders: Mapping[str, TAD], vsr: TAD) -> dict[tuple[str, str], Tensor]:
    """The flow between two frames uint8 (3, H, W) by (what is looked at, by whom), each (2, H, W) in HR pixels.

    Looked at are the HR frames, their bicubic small ones, and those of the encoders (networks by name), as 8-bit codes;
    by Farneback's method and by the flow net of `vsr`, whose flow of small frames is the HR one.
    """
    hr = torch.stack([second, first]).float() / 255  # the neighbour, the centre
    seen = {"HR": hr, "bicubic": send(guidance(hr, 4))}
    seen |= {name: send(net.encode(hr, 4)) for name, net in encoders.items()}
    out = {}
    for name, frames in seen.items():
        neighbour, centre = rgb_to_y(frames).split(1)
        found = vsr.decoder.flow(neighbour, centre)
        out[name, "Farneback"] = enlarge(farneback(neighbour, centre), (hr.shape[-2], hr.shape[-1]))[0]
        out[name, "flow net"] = (found.lr if name == "HR" else found.hr)[0]
    return out


def flow_table(encoders: Mapping[str, TAD], vsr: TAD, profile: str = "cpu") -> pd.DataFrame:
    """The end-point error of `flows` on every scene: scene, frames, by, "end-point error" in pixels.

    Measured and stored where Middlebury is, else as it was stored (in a smoke run: on the synthetic clip).
    """
    path = results(profile) / "tables" / "flow.csv"
    if path.exists() and not sets.is_here("Middlebury"):
        return read_table(path, ("scene", "frames", "by", "end-point error"))
    rows = []
    for scene in SCENES:
        name, first, second, truth = flow_scene(scene, profile)
        rows += [{"scene": name, "frames": frames, "by": by, "end-point error": end_point_error(found, truth)}
                 for (frames, by), found in flows(first, second, encoders, vsr).items()]
    table = pd.DataFrame(rows).drop_duplicates(["scene", "frames", "by"]).round(3)
    tables.save(table, "flow", profile)
    return table
