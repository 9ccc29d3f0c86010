"""Single figures and tables of the notebooks that are more than a line of tables.py and one of figures.py."""
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tadlib.channel import KINDS
from tadlib.networks import TAD
from workbook import figures, palette, studies
from workbook.flowchart import Box
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
    figure = figures.blank(7.5, 4.4 * len(sets))
    for ax, set_name in zip(figure.subplots(len(sets), 1, squeeze=False).flat, sets, strict=True):
        here = table[table["set"] == set_name]
        shown = here[here["model"].isin(names)].assign(label=lambda rows: rows["model"] + ", small PNG")
        for kind, one in files_of_hr(ax, here).items():
            shown = pd.concat([shown, one.iloc[len(one) // 4 :][:1].assign(label=f"{kind.upper()} of the HR image")])
        ax.set(xscale="log", xlabel="bits per HR pixel", ylabel="RGB PSNR, dB", title=set_name)
        ax.set_xticks((0.25, 0.5, 1, 2, 4), ("0.25", "0.5", "1", "2", "4"))
        ax.set_xticks((), minor=True)
        figures.label_points(ax, shown.rename(columns={"run": "folder", "model": "run"}), "bits", "psnr_rgb", "label")
    return figure, table


def files_of_hr(ax: Axes, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Draw the curves of JPEG and WebP files of the HR image, from rows of `rate_distortion`; the rows of each kind."""
    found = {}
    for kind, style in (("jpeg", ":"), ("webp", "-")):
        one = rows[(rows["model"] == "original") & rows["channel"].str.startswith(f"{kind}:")].sort_values("bits")
        ax.plot(one["bits"], one["psnr_rgb"], style, marker=".", color=palette.colour("original"),
                label=f"{KINDS[kind].words.split()[0]} of the HR image")
        found[kind] = one
    return found


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
def sofvsr_stages(net: TAD, side: int = 128) -> tuple[dict[str, Box], list[tuple[str, str]]]:
    """What three HR frames go through in a TAD whose decoder is SOF-VSR: boxes and arrows for flowchart.

    The first row is the whole way, the others what happens inside SOF-VSR, which a frame and its two neighbours enter.
    The shapes are those that the modules put out.
    """
    parts = ("flow.level1", "flow.level2", "flow.level3", "head", "blocks.4", "bottleneck", "tail")
    seen = {}
    hooks = [net.decoder.get_submodule(part).register_forward_hook(
        lambda module, inputs, out, part=part: seen.update({part: (inputs[0].shape[1:], out.shape[1:])}))
        for part in parts]
    slr, shr = net(torch.zeros(3, 3, side, side), net.decoder.scale)
    for hook in hooks:
        hook.remove()

    def shape(size: Sequence[int]) -> str:
        return "x".join(map(str, size))

    large, small = shr.shape[-2:], slr.shape[-2:]
    whole = [("three HR frames", shape((3, 3, side, side))),
             ("encoder, each\nframe" if net.encoder else "bicubic, each\nframe", shape(slr.shape)),
             ("8 bit, PNG files", ""), ("Y of the three", shape((3, *small))),
             ("SOF-VSR,\nsee below", shape((1, *large))), ("+ enlarged\nchroma", ""),
             ("HR centre frame", shape(shr.shape[1:]))]
    boxes = {text: Box(text, size, column, 0) for column, (text, size) in enumerate(whole)}
    arrows = list(pairwise(boxes))

    frames, *sides = seen["head"][0]  # what it sees: three frames, and the neighbours moved
    levels = (("flow, half\nLR size", "flow.level1"), ("flow, LR size", "flow.level2"),
              ("flow, HR\ndetail", "flow.level3"))
    for row, who, start in ((1, "before", 1.4), (3, "after", 2.6)):
        way = [(f"Y of the frame\n{who}", shape((1, *small))), *((text, shape(seen[part][1])) for text, part in levels),
               ("moved along\nthe flow", shape(((frames - 3) // 2, *sides)))]
        here = {f"{who} {n}": Box(text, size, n, row if n else start) for n, (text, size) in enumerate(way)}
        boxes |= here
        arrows += [*pairwise(here), ("centre", f"{who} 1"), (f"{who} {len(way) - 1}", "all"), (f"{who} 0", "all")]
    boxes |= {"centre": Box("Y of the centre", shape((1, *small)), 1, 2),
              "all": Box("the three and\nthe moved: conv", shape(seen["head"][1]), 5, 2),
              "blocks": Box("5 dense blocks", shape(seen["blocks.4"][1]), 6, 2),
              "last": Box("1x1 and 3x3\nconv", shape(seen["tail"][1]), 6, 3),
              "out": Box("shuffle: HR Y", shape((1, *large)), 6, 4)}
    return boxes, [*arrows, ("centre", "all"), ("all", "blocks"), ("blocks", "last"), ("last", "out")]
