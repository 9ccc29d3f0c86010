"""What refining the small image gives and costs: results/<profile>/refined.csv.

A row is one image of a set, one model, scale and number of steps, the channel that the code was made for and the one
that it met. Measured by the protocol of tadlib/evaluation/protocol.py, of 8-bit codes, no border cropped.
"""
from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from tadlib.channel import Channel
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import compare, luma, psnr
from tadlib.files import replacing
from tadlib.machine import best_device
from tadlib.pixels import crop_to_multiple, to_codes, to_float
from tadlib.run import Run
from tadlib.settings import results
from tadlib.tasks import guidance
from tadlib.tool.descent import settles_from
from tadlib.tool.refine import PLAIN, made_for, precision, refine
from workbook import studies
from workbook.claims import PRINTED_CLIPS
from workbook.measurements import per_image
from workbook.records import read_table

KEYS = ["run", "scale", "set", "image", "channel", "met", "steps", "likeness", "settled"]
STEPS = (0, 3, 5, 10, 30)
EQUAL = "as before"  # the small image at least as close to bicubic as without refinement
HELD_OUT = "held-out crops"  # in place of a set's name: those of the training images on which choices are made
ACCIDENTS = ("noise:0.02", "jpeg:90", "webp:85", "resize:0.9")


@dataclass(frozen=True)
class Plan:
    """One thing to measure: codes of a run for the images (the first so many, by name) of these sets.

    Each is made for `channel` and sent through that and all of `met`; `likeness` as in tadlib.tool.refine, `scale` the
    run's own if not given. Raises BadInput for a channel that is none, or that edits or moves the picture.
    """

    run: str
    sets: tuple[str, ...] = ("Set5",)
    steps: tuple[int, ...] = STEPS
    channel: str = "8bit"
    met: tuple[str, ...] = ()
    likeness: float | None = None
    scale: int | None = None
    first: int | None = None
    settle: bool = True  # False: the code is rounded all at once, for comparison

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.first, self.scale)):
            raise BadInput("--first and --scale have to be 1 at least")

    def settles(self, steps: int) -> bool:
        return self.settle and settles_from(steps) < steps and Channel.parse(self.channel) == PLAIN

    @property
    def weight(self) -> str:
        """Of likeness, as refined.csv has it."""
        return EQUAL if self.likeness is None else f"{self.likeness:g}"

    def ways(self) -> dict[str, Channel]:
        return {str(way): made_for(way) for way in map(Channel.parse, (self.channel, *self.met))}


PLANS = (  # what notebook 08 shows; `python -m workbook refine` without a run measures what lacks of it
    Plan("tool_x4", ("Set5", "Set14", HELD_OUT)),
    Plan("tool_x4", PRINTED_CLIPS, (0, 10)),
    Plan("tool_x4", ("BSDS100", "Urban100"), (0, 10, 30)),
    Plan("tool_color", ("Set5",), (0, 3, 5, 10, 30)),
    Plan("tool_color", ("Set14",), (0, 10, 30)),
    Plan("tool_x2", ("Set5", "Set14"), (0, 3, 10, 30)),
    *(Plan(name, (HELD_OUT,), (0, 30)) for name in ("tool_x2", "tool_color")),
    *(Plan(name, (HELD_OUT,), (30,), settle=False) for name in ("tool_x4", "tool_x2", "tool_color")),
    *(Plan(name, ("BSDS100", "Urban100"), (0, 10), first=20) for name in ("tool_x2", "tool_color")),
    Plan("aetad", steps=(0, 3, 10)),
    Plan("no_tad", steps=(0, 10, 30), likeness=0.3),
    Plan("no_tad", ("Set14",), (0, 30), likeness=0.3),
    *(Plan("tool_x4", steps=(3, 10), likeness=weight) for weight in (0.0, 0.1, 0.3, 1.0, 3.0)),
    Plan("tool_x4", steps=(0, 10), met=ACCIDENTS),
    Plan("robust", steps=(0, 10), met=ACCIDENTS),
    Plan("robust", steps=(0, 10), channel="jpeg:90", met=("8bit", *ACCIDENTS)),
    Plan("robust", ("Set5", "Set14"), (0, 10, 30), "jpeg:90"),
    Plan("tool_x4", ("Set5", "Set14"), (0,), "jpeg:90"),
    *(Plan("robust", steps=(0, 10), channel=f"jpeg:{quality}") for quality in (50, 70)),
    *(Plan("aetad_any_scale", steps=(0, 10), scale=scale) for scale in (8, 16)),
)
QUICK = (Plan("tool_x4", ("SampleCrop",), (0, 1)),)  # the same of a smoke run


def path(profile: str = "cpu") -> Path:
    return results(profile) / "refined.csv"


def read(profile: str = "cpu") -> pd.DataFrame:
    """What was measured. Raises BadInput where nothing was, or the file is damaged."""
    absent = "not measured yet (python -m workbook refine)"
    return read_table(path(profile), ("model", *KEYS), ("image", "likeness"), absent)


def present(profile: str = "cpu") -> pd.DataFrame:
    """Of what was measured, that of the trainings that are stored now: a run that is trained anew is another one. Where
    codes of a set were measured settled and rounded at once, the settled ones, if they are as many.
    """
    rows = _of_now(profile)
    same = [key for key in KEYS if key not in ("image", "settled")]
    count = {settled: rows["settled"].eq(settled).groupby([rows[key] for key in same]).transform("sum")
             for settled in (False, True)}
    return rows[rows["settled"] == (count[True] > 0) & (count[True] >= count[False])].reset_index(drop=True)


def _of_now(profile: str) -> pd.DataFrame:
    rows = read(profile)
    names = [name for name in rows["model"].unique() if name in studies.ALL]
    folders = {name: studies.trained(name, profile).folder.name for name in names}
    return rows[rows["run"] == rows["model"].map(folders)].reset_index(drop=True)


def settling(profile: str = "cpu") -> pd.DataFrame:
    """What it is worth that a code settles, on the held-out crops: a row for each model and number of steps that was
    measured both ways.

    Columns: RGB PSNR, Y PSNR and likeness (RGB), each of the code rounded at once and settled.
    """
    rows = at_equal_likeness(_of_now(profile))
    by = rows[rows["set"] == HELD_OUT].groupby(["model", "steps", "settled"], sort=False)
    names = {(column, settled): f"{what}, {way}"
             for column, what in (("psnr_rgb", "RGB"), ("psnr_y", "Y"), ("slr_rgb", "likeness"))
             for settled, way in ((False, "at once"), (True, "settled"))}
    wide = by[["psnr_rgb", "psnr_y", "slr_rgb"]].mean().unstack("settled").reindex(columns=list(names))
    return wide.set_axis(list(names.values()), axis=1).dropna().reset_index()


def _images(plan: Plan, run: Run, name: str) -> list[tuple[str, Tensor]]:
    return list((sets.held_out(run.train) if name == HELD_OUT else sets.load(name)).items())[: plan.first]


@torch.no_grad()
def measure(plan: Plan, profile: str = "cpu") -> Path:
    """Refine and store what lacks of a plan. Raises BadInput, MissingData where a set is not here."""
    known = read(profile) if path(profile).exists() else pd.DataFrame(columns=KEYS)
    ways = plan.ways()
    channel = Channel.parse(plan.channel)
    trained = studies.trained(plan.run, profile)
    if trained.run.net.head.frames > 1:
        raise BadInput(f"{plan.run}: its decoder looks at several frames; here single images are refined")
    device = best_device()
    net, guide = trained.network().to(device), trained.run.guide
    scale = plan.scale or trained.run.scale
    try:
        net.passes(scale)
    except ValueError as error:
        raise BadInput(f"{plan.run}: {error}") from None
    for set_name in plan.sets:
        images = _images(plan, trained.run, set_name)
        for image, codes in tqdm(images, desc=f"{plan.run}, {set_name}", unit="image", disable=None):
            hr = crop_to_multiple(codes, scale)
            x_gd = guidance(to_float(hr).to(device), scale, guide)
            slr = net.encode(to_float(hr).to(device), scale, x_gd)
            rows = []
            for steps in plan.steps:
                keys = {way: [trained.folder.name, scale, set_name, image, str(channel), way, steps,
                              plan.weight, plan.settles(steps)] for way in ways}
                lacking = {way: key for way, key in keys.items()
                           if not (len(known) and (known[KEYS] == key).all(axis=1).any())}
                if not lacking:
                    continue
                start = time.perf_counter()
                better = refine(net, hr[None], slr, x_gd, scale, steps, plan.likeness, channel,
                                settle=plan.settle) if steps else slr
                seconds = time.perf_counter() - start
                phases = (False, *[True] * plan.settles(steps))
                computed = [precision(net, scale, device, settling) for settling in phases]
                small, ordinary = to_codes(better)[0].cpu(), to_codes(x_gd)[0].cpu()
                for way, key in lacking.items():
                    arrived = ways[way].send(better, torch.Generator().manual_seed(0))
                    found = compare(to_codes(net.decode(arrived, scale))[0].cpu(), hr, scale)
                    rows.append(dict(zip(KEYS, key, strict=True)) | found | {
                        "model": plan.run, "pixels": hr[0].numel(), "seconds": seconds,
                        "lr_bytes": ways[way].bytes(better), "slr_rgb": min(100.0, psnr(small, ordinary)),
                        "slr_y": min(100.0, psnr(luma(small), luma(ordinary))),
                        "threads": torch.get_num_threads(),
                        "precision": " then ".join(dict.fromkeys(computed))})
            if rows:
                new = pd.DataFrame(rows).round(4)
                if path(profile).exists():  # again: another process may have measured something else meanwhile
                    new = pd.concat([read(profile), new], ignore_index=True).drop_duplicates(KEYS, keep="last")
                known = new
                with replacing(path(profile)) as temporary:
                    known.to_csv(temporary, index=False)
    return path(profile)


def means(profile: str = "cpu") -> pd.DataFrame:
    """A row for each model, scale, set, channel (made for, met), steps and weight of likeness: mean PSNR, SSIM,
    likeness and bytes, how many images, of how many (`of`: that the set's scores have), and what the steps gained over
    none on the same images through the channel that was met.
    """
    rows = present(profile)
    rows["bits"] = 8 * rows["lr_bytes"] / rows["pixels"]  # per HR pixel
    same = ["model", "scale", "set", "image", "met"]
    plain = rows[rows["steps"] == 0].drop_duplicates(same).set_index(same)
    for column in ("psnr_rgb", "psnr_y"):
        before = plain[column].reindex(pd.MultiIndex.from_frame(rows[same])).to_numpy()
        rows[f"gain_{column[5:]}"] = rows[column] - before
    by = rows.groupby(["model", *KEYS[1:3], *KEYS[4:]], sort=False)
    measures = ["psnr_rgb", "psnr_y", "psnr_y_crop", "ssim_y", "slr_rgb", "slr_y", "lr_bytes", "bits", "gain_rgb",
                "gain_y"]
    table = by[measures].mean().join(by.size().rename("images")).reset_index()
    return table.assign(of=[_size(row.model, row.set, row.images, profile) for row in table.itertuples()])


def _size(name: str, place: str, images: int, profile: str) -> int:
    """How many images of a set a run was scored on; as many as were refined where it was not scored there."""
    try:
        return len(per_image(name, profile, place))
    except BadInput:
        return images


def at_equal_likeness(rows: pd.DataFrame) -> pd.DataFrame:
    """Those (of `read` or `means`) whose code was made for what it met, and is as like bicubic as before."""
    return rows[(rows["likeness"] == EQUAL) & (rows["channel"] == rows["met"])]


def table(profile: str = "cpu") -> pd.DataFrame:
    """`means` for a notebook; a smoke run measures its few rows first."""
    if profile == "smoke":
        for plan in QUICK:
            measure(plan, profile)
    return means(profile)


def missing(profile: str = "cpu") -> list[Plan]:
    """The plans of which sets are here and rows lack, be it of a single image."""
    known = _of_now(profile) if path(profile).exists() else pd.DataFrame(columns=["model", *KEYS[1:]])
    done = set(known[["model", *KEYS[1:]]].itertuples(index=False, name=None))
    out = []
    for plan in PLANS if profile != "smoke" else QUICK:
        run = studies.named(plan.run, profile)
        here = [name for name in plan.sets
                if (all(map(sets.is_here, run.train)) if name == HELD_OUT else sets.is_here(name))]
        lacking = tuple(name for name in here if not all(
            (plan.run, plan.scale or run.scale, name, image, str(Channel.parse(plan.channel)), way, steps, plan.weight,
             plan.settles(steps)) in done
            for image, _ in _images(plan, run, name) for way in plan.ways() for steps in plan.steps))
        out += [replace(plan, sets=lacking)] if lacking else []
    return out
