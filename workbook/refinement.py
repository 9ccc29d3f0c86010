"""What refining the small image gives and costs: results/<profile>/refined.csv, and what is claimed of it.

A row is one image of a set, one model, scale and number of steps, the channel that the code was made for and the one
that it met. Measured by the protocol of tadlib/evaluation/protocol.py, of 8-bit codes, no border cropped.
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

KEYS = ["run", "scale", "set", "image", "channel", "met", "steps", "likeness"]
STEPS = (0, 3, 5, 10, 30)
EQUAL = "as before"  # the small image at least as close to bicubic as without refinement


def path(profile: str = "cpu") -> Path:
    return results(profile) / "refined.csv"


def read(profile: str = "cpu") -> pd.DataFrame:
    """What was measured. Raises BadInput where nothing was, or the file is damaged."""
    try:
        rows = pd.read_csv(path(profile), dtype={"image": str, "likeness": str})
    except FileNotFoundError:
        raise BadInput(f"{path(profile)}: not measured yet (python -m workbook refine)") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path(profile)}: damaged ({error})") from None
    return rows


@torch.no_grad()
def measure(names: Sequence[str], wanted: Sequence[str], steps: Sequence[int] = STEPS, channel: str = "8bit",
            met: Sequence[str] = (), likeness: float | None = None, scale: int | None = None,
            first: int | None = None, profile: str = "cpu") -> Path:
    """Refine every image (the first so many) of the sets for each run, and store what comes of it; what is stored is
    not measured again. The code is made for `channel`, and sent through that and each of `met`; `likeness` as in
    tadlib.tool.refine, `scale` the run's own if not given.
    """
    known = read(profile) if path(profile).exists() else pd.DataFrame(columns=KEYS)
    weight = EQUAL if likeness is None else f"{likeness:g}"
    made_for = Channel.parse(channel)
    ways = {str(way): way for way in (made_for, *map(Channel.parse, met))}
    for name in names:
        trained = studies.trained(name, profile)
        net, guide = trained.network(), trained.run.guide
        factor = scale or trained.run.scale
        for set_name in wanted:
            images = list(sets.load(set_name).items())[:first]
            for image, codes in tqdm(images, desc=f"{name}, {set_name}", unit="image", disable=None):
                hr = crop_to_multiple(codes, factor)
                x_gd = guidance(to_float(hr), factor, guide)
                slr = net.encode(to_float(hr), factor, x_gd)
                rows = []
                for count in steps:
                    keys = {way: [trained.folder.name, factor, set_name, image, str(made_for), way, count, weight]
                            for way in ways}
                    lacking = {way: key for way, key in keys.items()
                               if not (len(known) and (known[KEYS] == key).all(axis=1).any())}
                    if not lacking:
                        continue
                    start = time.perf_counter()
                    better = refine(net, hr[None], slr, x_gd, factor, count, likeness, made_for) if count else slr
                    seconds = time.perf_counter() - start
                    small, ordinary = to_codes(better)[0], to_codes(x_gd)[0]
                    for way, key in lacking.items():
                        arrived = ways[way].send(better, torch.Generator().manual_seed(0))
                        found = compare(to_codes(net.decode(arrived, factor))[0], hr, factor)
                        rows.append(dict(zip(KEYS, key, strict=True)) | found | {
                            "model": name, "pixels": hr[0].numel(), "seconds": seconds,
                            "lr_bytes": ways[way].bytes(better), "slr_rgb": min(100.0, psnr(small, ordinary)),
                            "slr_y": min(100.0, psnr(luma(small), luma(ordinary))),
                            "threads": torch.get_num_threads(), "precision": machine.fastest_precision(slr.device)})
                if rows:
                    new = pd.DataFrame(rows).round(4)
                    known = pd.concat([known, new], ignore_index=True) if len(known) else new
                    with replacing(path(profile)) as temporary:
                        known.to_csv(temporary, index=False)
    return path(profile)


def means(profile: str = "cpu") -> pd.DataFrame:
    """A row for each model, scale, set, channel (made for, met), steps and weight of likeness: mean PSNR, SSIM,
    likeness and bytes, the median of seconds a megapixel, and how many images.
    """
    rows = read(profile)
    rows["s/MP"] = rows["seconds"] / rows["pixels"] * 1e6
    by = rows.groupby(["model", *KEYS[1:3], *KEYS[4:]], sort=False)
    measures = ["psnr_rgb", "psnr_y", "ssim_y", "slr_rgb", "slr_y", "lr_bytes"]
    table = by[measures].mean().join(by["s/MP"].median()).join(by.size().rename("images"))
    return table.reset_index()
