"""What a network costs: seconds of a training step, seconds for a megapixel down and up, on this machine."""
from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tadlib import machine, networks
from tadlib.channel import send
from tadlib.files import replacing
from tadlib.networks import TAD
from tadlib.run import Run
from tadlib.settings import results
from tadlib.training.loop import Trainer
from workbook.records import read_table

COLUMNS = ("model", "scale", "down s/MP", "up s/MP")  # of speed.csv, among others


def _now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def seconds_per_megapixel(model: TAD, scale: int, side: int = 480, repeats: int = 3) -> tuple[float, float]:
    """(down, up): what encoding and decoding take for a million HR pixels, float32, the best of some repeats."""
    device = machine.best_device()
    hr = torch.rand(1, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    model = model.eval().to(device).to(memory_format=torch.channels_last)
    down, up = [], []
    for _ in range(repeats + 1):  # the first one warms up
        start = _now(device)
        received = send(model.encode(hr, scale))
        middle = _now(device)
        model.decode(received, scale)
        down.append(middle - start)
        up.append(_now(device) - middle)
    return min(down[1:]) * 1e6 / side**2, min(up[1:]) * 1e6 / side**2


def seconds_per_step(run: Run, repeats: int = 1) -> float:
    """What one training step of this run takes on this machine now: the median of so many, after one to warm up."""
    trainer = Trainer(run)
    frames = trainer.net.head.frames
    shape = (run.batch, *([frames] if frames > 1 else []), 3, run.patch, run.patch)
    codes = torch.randint(0, 256, shape, dtype=torch.uint8)
    times = []
    for n in range(repeats + 1):
        start = _now(trainer.device)
        trainer.step(codes, n)
        times.append(_now(trainer.device) - start)
    return float(np.median(times[1:]))


def measure_speed(profile: str = "cpu", side: int = 480) -> Path:
    """Time every super-resolution net, alone on this machine, and write results/<profile>/speed.csv."""
    rows = []
    for model, spec in networks.ZOO.items():
        if spec.task != "sr" or spec.head.frames > 1:
            continue
        for scale in (2, 4):
            net = networks.build(model)
            try:
                net.passes(scale)
            except ValueError:
                continue
            down, up = seconds_per_megapixel(net, scale, side)
            run = Run(model, model, scale=scale)
            step = seconds_per_step(run, 5) if net.parameters_count and profile != "smoke" else None
            rows.append({"model": model, "scale": scale, "params": net.parameters_count, "down s/MP": down,
                         "up s/MP": up, "training s/step": step, "side": side, **machine.facts()})
    path = results(profile) / "speed.csv"
    with replacing(path) as temporary:
        pd.DataFrame(rows).round(4).to_csv(temporary, index=False)
    return path


def speed_table(profile: str = "cpu") -> pd.DataFrame:
    """What `measure_speed` stored, measured now (roughly) where it is missing. The machine stands in each row."""
    path = results(profile) / "speed.csv"
    return read_table(path if path.exists() else measure_speed(profile, 64 if profile == "smoke" else 480), COLUMNS)
