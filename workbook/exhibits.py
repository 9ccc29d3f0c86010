"""Single figures and tables of the notebooks that are more than a line of tables.py and one of figures.py."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from tadlib.networks import TAD
from workbook import figures, studies
from workbook.scores import scores


def rate_distortion(names: list[str], profile: str = "cpu") -> tuple[Figure, pd.DataFrame]:
    """PSNR against bits per HR pixel: small images as PNG, and JPEG and WebP files of the HR image, per set."""
    sets = studies.scored_sets("aetad", profile, ("Set5", "Set14"))
    rows = []
    for name in ["original", *names]:
        trained = studies.trained(name, profile)
        found = scores(trained, sets, studies.FILES_OF_HR if name == "original" else ("8bit",), measure=False)
        found = found[found["kind"] == "SHRT"]
        found = found[(found["channel"] != "8bit") | (name != "original")].copy()
        found["bits"] = 8 * found["lr_bytes"] / found["pixels"]
        mean = found.groupby(["set", "channel"], sort=False)[["bits", "psnr_rgb", "psnr_y"]].mean()
        rows.append(mean.reset_index().assign(model=name, run=trained.folder.name))
    table = pd.concat(rows, ignore_index=True)
    figure = figures.blank(4.9 * len(sets), 4.2)
    for ax, set_name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        here = table[table["set"] == set_name]
        for kind in ("jpeg", "webp"):
            one = here[(here["model"] == "original") & here["channel"].str.startswith(f"{kind}:")].sort_values("bits")
            ax.plot(one["bits"], one["psnr_rgb"], ".-", label=f"{kind.upper()} of the HR image")
        for name in names:
            one = here[here["model"] == name]
            ax.plot(one["bits"], one["psnr_rgb"], "s", label=f"{name}, small image as PNG")
        ax.set(xscale="log", xlabel="bits per HR pixel", ylabel="RGB PSNR, dB", title=set_name)
        ax.set_xticks((0.25, 0.5, 1, 2, 4), ("0.25", "0.5", "1", "2", "4"))
        ax.set_xticks((), minor=True)
        ax.legend(fontsize=7)
    return figure, table


def at_equal_bytes(rates: pd.DataFrame, mine: pd.DataFrame, kind: str) -> float:
    """Mean RGB PSNR of files of a kind ("jpeg", "webp") with as many bytes as `mine` has for the same images.

    `rates`: rows of the run "original", several qualities an image; PSNR is interpolated over log bytes, and is that of
    the best or worst quality beyond them.
    """
    found = []
    for row in mine.itertuples():
        one = rates[(rates["image"] == row.image) & rates["channel"].str.startswith(f"{kind}:")].sort_values("lr_bytes")
        found.append(np.interp(math.log(row.lr_bytes), np.log(one["lr_bytes"]), one["psnr_rgb"]))
    return float(np.mean(found))


@torch.no_grad()
def sofvsr_stages(net: TAD, side: int = 128) -> list[tuple[str, str]]:
    """What three HR frames go through in a TAD whose decoder is SOF-VSR: (stage, shape), for figures.pipeline.

    The first seven are the whole way, the others what happens inside SOF-VSR. The shapes are those that the modules put
    out, the flow net's for one neighbour.
    """
    names = {"flow.level1": "flow at half LR size", "flow.level2": "flow at LR size", "flow.level3": "flow, HR detail",
             "head": "all frames: conv", "blocks.4": "5 dense blocks", "bottleneck": "concat, 1x1 conv",
             "tail": "3x3 conv"}
    seen = {}
    hooks = [net.decoder.get_submodule(part).register_forward_hook(
        lambda module, inputs, out, part=part: seen.update({part: (inputs[0].shape[1:], out.shape[1:])}))
        for part in names]
    slr, shr = net(torch.zeros(3, 3, side, side), net.decoder.scale)
    for hook in hooks:
        hook.remove()

    def shape(size: Sequence[int]) -> str:
        return "x".join(map(str, size))

    large, small = shr.shape[-2:], slr.shape[-2:]
    inside = [(text, shape(seen[part][1])) for part, text in names.items()]
    frames, *sides = seen["head"][0]  # what it sees: three frames, and the neighbours moved
    return [("three HR frames", shape((3, 3, side, side))),
            ("encoder, each frame" if net.encoder else "bicubic, each frame", shape(slr.shape)),
            ("8 bit, PNG files", ""), ("Y of the three", shape((3, *small))),
            ("SOF-VSR, see below", shape((1, *large))), ("+ enlarged chroma", ""),
            ("HR centre frame", shape(shr.shape[1:])), *inside[:3], ("neighbours moved", shape((frames - 3, *sides))),
            *inside[3:], ("shuffle: HR Y", shape((1, *large)))]
