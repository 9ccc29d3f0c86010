"""What refining the small image gives and costs: results/<profile>/refined.csv, a row for each image, model and steps.

Measured by the protocol of tadlib/evaluation/protocol.py, no border cropped, of 8-bit codes after the channel.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from tadlib import machine
from tadlib.channel import Channel
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import compare, luma, psnr
from tadlib.files import replacing
from tadlib.pixels import crop_to_multiple, to_codes, to_float
from tadlib.settings import results
from tadlib.tasks import guidance
from tadlib.tool.refine import refine
from workbook import studies

KEYS = ["run", "set", "image", "channel", "steps", "likeness"]
STEPS = (0, 3, 5, 10, 30)


def path(profile: str = "cpu") -> Path:
    return results(profile) / "refined.csv"


def read(profile: str = "cpu") -> pd.DataFrame:
    """What was measured. Raises BadInput where nothing was, or the file is damaged."""
    try:
        rows = pd.read_csv(path(profile), dtype={"image": str})
    except FileNotFoundError:
        raise BadInput(f"{path(profile)}: not measured yet (python -m workbook refine)") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path(profile)}: damaged ({error})") from None
    return rows


@torch.no_grad()
def measure(names: Sequence[str], wanted: Sequence[str], steps: Sequence[int] = STEPS, channel: str = "8bit",
            likeness: float | None = None, first: int | None = None, profile: str = "cpu") -> Path:
    """Refine every image (the first so many) of the sets for each run, and store what comes of it; what is stored is
    not measured again. `likeness` as in tadlib.tool.refine.
    """
    known = read(profile) if path(profile).exists() else pd.DataFrame(columns=KEYS)
    weight = "as before" if likeness is None else f"{likeness:g}"
    way = Channel.parse(channel)
    for name in names:
        trained = studies.trained(name, profile)
        net, scale, guide = trained.network(), trained.run.scale, trained.run.guide
        for set_name in wanted:
            images = list(sets.load(set_name).items())[:first]
            for image, codes in tqdm(images, desc=f"{name}, {set_name}", unit="image", disable=None):
                hr = crop_to_multiple(codes, scale)
                x_gd = guidance(to_float(hr), scale, guide)
                slr = net.encode(to_float(hr), scale, x_gd)
                rows = []
                for count in steps:
                    key = [trained.folder.name, set_name, image, str(way), count, weight]
                    if len(known) and (known[KEYS] == key).all(axis=1).any():
                        continue
                    start = time.perf_counter()
                    better = refine(net, hr[None], slr, x_gd, scale, count, likeness, way) if count else slr
                    seconds = time.perf_counter() - start
                    arrived = way.send(better, torch.Generator().manual_seed(0))
                    found = compare(to_codes(net.decode(arrived, scale))[0], hr, scale)
                    small, ordinary = to_codes(better)[0], to_codes(x_gd)[0]
                    rows.append(dict(zip(KEYS, key, strict=True)) | found | {
                        "model": name, "pixels": hr[0].numel(), "seconds": seconds, "lr_bytes": way.bytes(better),
                        "slr_rgb": min(100.0, psnr(small, ordinary)),
                        "slr_y": min(100.0, psnr(luma(small), luma(ordinary))),
                        "threads": torch.get_num_threads(), "precision": machine.fastest_precision(slr.device)})
                if rows:
                    new = pd.DataFrame(rows).round(4)
                    known = pd.concat([known, new], ignore_index=True) if len(known) else new
                    with replacing(path(profile)) as temporary:
                        known.to_csv(temporary, index=False)
    return path(profile)


def means(profile: str = "cpu") -> pd.DataFrame:
    """A row for each model, set, channel, steps and weight of likeness: mean PSNR, and seconds a megapixel."""
    rows = read(profile)
    rows["s/MP"] = rows["seconds"] / rows["pixels"] * 1e6
    by = rows.groupby(["model", "set", "channel", "steps", "likeness"], sort=False)
    measures = ["psnr_rgb", "psnr_y", "ssim_y", "slr_rgb", "slr_y", "lr_bytes"]
    table = by[measures].mean().join(by["s/MP"].median()).join(by.size().rename("images"))
    return table.reset_index()
