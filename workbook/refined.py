"""Figures of notebook 08: what refining the small image gives, costs and looks like. They read refinement.means."""
from __future__ import annotations

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tadlib.channel import Channel
from tadlib.networks import TAD
from tadlib.pixels import rgb_to_y, to_codes, to_float
from tadlib.tasks import guidance
from tadlib.tool.refine import refine
from workbook import figures, palette
from workbook.colour import spectrum
from workbook.exhibits import files_of_hr
from workbook.refinement import EQUAL, at_equal_likeness

TIMES = 8  # differences of small images are shown so many times as large


def sets_in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows (of refinement.means), a set of which the first images alone were measured named so."""
    return rows.assign(set=[row.set if row.images == row.of else f"{row.set}, first {row.images}"
                            for row in rows.itertuples()])


def by_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """PSNR as "Y / RGB", a row for each model, set and channel (made for and met), a column for each steps."""
    texts = rows.assign(psnr=[f"{y:.2f} / {rgb:.2f}" for y, rgb in zip(rows["psnr_y"], rows["psnr_rgb"], strict=True)],
                        channel=[Channel.parse(c).words for c in rows["channel"]])
    wide = sets_in_words(texts).pivot(index=["model", "scale", "set", "channel"], columns="steps", values="psnr")
    wide.columns = ["not refined" if n == 0 else f"{n} steps" for n in wide.columns]
    return wide.fillna("").reset_index()


def bytes_by_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Mean bytes of the small PNG, a row for each model and set, a column for each number of steps."""
    rows = sets_in_words(at_equal_likeness(table))
    wide = rows[rows["channel"] == "8bit"].pivot(index=["model", "scale", "set"], columns="steps", values="lr_bytes")
    wide.columns = ["not refined" if n == 0 else f"{n} steps" for n in wide.columns]
    return wide.reset_index()


def gains(table: pd.DataFrame, column: str, title: str) -> Figure:
    """What so many steps gain over none: a line for each model, scale, set and channel that was measured whole."""
    rows = at_equal_likeness(table)
    rows = rows[rows["images"] == rows["of"]]
    figure = figures.blank(7.6, 4.6)
    ax = figure.subplots()
    kin: list[str] = []  # families of the lines so far
    for (model, scale, name, channel), one in rows.groupby(["model", "scale", "set", "channel"], sort=False):
        if one["steps"].max() > 0 and (one["steps"] == 0).any():
            way = "" if channel == "8bit" else f", {Channel.parse(channel).words}"
            size = f" x{scale}" if model == "aetad_any_scale" else ""
            one = one.sort_values("steps")
            family = palette.family(model)
            ax.plot(one["steps"], one[f"gain_{column}"], marker=palette.MARKERS[family], markersize=4,
                    color=palette.FAMILIES[family], linestyle=palette.DASHES[kin.count(family) % len(palette.DASHES)],
                    label=f"{model}{size}, {name}{way}")
            kin.append(family)
    ax.set(xlabel="refinement steps", ylabel=f"gain over none, dB ({'Y' if column == 'y' else 'RGB'})", title=title)
    ax.set_xscale("symlog", linthresh=3)
    ticks = sorted(rows["steps"].unique())
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.set_xticks((), minor=True)
    figures.label_ends(ax)
    return figure


def front(table: pd.DataFrame, model: str, set_name: str) -> Figure:
    """Likeness against PSNR of Y: a line of weights for each number of steps, and the points at equal likeness."""
    rows = table[(table["model"] == model) & (table["set"] == set_name) & (table["channel"] == "8bit")
                 & (table["met"] == "8bit")]
    figure, style = figures.blank(7.2, 4.4), palette.styles([model])[model]
    ax = figure.subplots()
    for n, (steps, one) in enumerate(rows[rows["likeness"] != EQUAL].groupby("steps")):
        one = one.sort_values("slr_rgb")
        ax.plot(one["slr_rgb"], one["psnr_y"], **style | {"linestyle": palette.DASHES[n]},
                label=f"{steps} steps, by weight of likeness")
        for row in one.itertuples() if steps == 10 else ():
            ax.annotate(row.likeness, (row.slr_rgb, row.psnr_y), (5, 5), textcoords="offset points", fontsize=8)
    equal = rows[(rows["likeness"] == EQUAL)].sort_values("steps")
    ax.plot(equal["slr_rgb"], equal["psnr_y"], "ks", markersize=5, label="no less like than before (the default)")
    for row in equal[equal["steps"].isin((0, 3))].itertuples():
        words = f"{row.steps} steps" if row.steps else "not refined"
        ax.annotate(words, (row.slr_rgb, row.psnr_y), (7, -4), textcoords="offset points", fontsize=8)
    ax.set(xlabel="likeness: RGB PSNR of the small image against bicubic, dB", ylabel="PSNR of Y, dB",
           title=f"{model}, {set_name}")
    ax.legend(fontsize=8, handlelength=3.5)  # long enough to tell the dashes
    return figure


@torch.no_grad()
def codes(net: TAD, hr: Tensor, scale: int, steps: int) -> dict[str, Tensor]:
    """uint8 (3, H, W) -> uint8 (C, h, w): the small image by bicubic, by the encoder, and refined in so many steps."""
    x_gd = guidance(to_float(hr), scale, net.spec.guided)
    slr = net.encode(to_float(hr), scale, x_gd)
    better = refine(net, hr[None], slr, x_gd, scale, steps)
    return {"bicubic": to_codes(x_gd)[0], "encoder": to_codes(slr)[0], f"refined, {steps} steps": to_codes(better)[0]}


def looks(small: dict[str, Tensor]) -> Figure:
    """The images of `codes`; below, what the others add to the first, and what the last adds to the one before."""
    names = list(small)
    first, *_, before, last = small.values()

    def apart(one: Tensor, other: Tensor) -> Tensor:
        return (128 + TIMES * (one.float() - other.float())).clamp(0, 255).to(torch.uint8)

    figure = figures.blank(9.0, 6.4)
    axes = figure.subplots(2, 3)
    for ax, (name, image) in zip(axes[0], small.items(), strict=True):
        figures.picture(ax, image, name)
    below = {f"{names[1]} - {names[0]}, x{TIMES}": apart(before, first),
             f"{names[2]} - {names[0]}, x{TIMES}": apart(last, first),
             f"refined - {names[1]}, x{TIMES}": apart(last, before)}
    for ax, (name, image) in zip(axes[1], below.items(), strict=True):
        figures.picture(ax, image, name)
    return figure


def spectra(small: dict[str, Tensor], model: str = "tool_x4") -> Figure:
    """Power of what is added to bicubic, in Y, by distance from frequency zero: a line for each image of `codes`.

    `model` is the run whose net made them: the lines are of its colour.
    """
    first, *others = (rgb_to_y(to_float(x))[0, 0].double() for x in small.values())
    figure, style = figures.blank(7.2, 3.6), palette.styles([model])[model]
    ax = figure.subplots()
    ways = ("--", "white"), ("-", style["color"])  # not refined and refined, as in `rates`
    for name, one, (dash, face) in zip(list(small)[1:], others, ways, strict=True):
        power = torch.from_numpy(spectrum((255 * (one - first)).numpy()))
        h, w = power.shape
        y, x = torch.meshgrid(torch.arange(h) - h // 2, torch.arange(w) - w // 2, indexing="ij")
        ring = (((y / h) ** 2 + (x / w) ** 2).sqrt() * 40).long()  # bins of 1/40 of the sampling frequency
        radii = [r for r in range(20) if (ring == r).any()]
        means = [float(power[ring == r].mean()) for r in radii]
        ax.plot([r / 40 for r in radii], means, **style | {"linestyle": dash, "markerfacecolor": face}, label=name)
    ax.set(xlabel="frequency, cycles per pixel of the small image", ylabel="power of what is added, dB")
    ax.legend(fontsize=8)
    return figure


def card(table: pd.DataFrame, set_name: str) -> pd.DataFrame:
    """RGB PSNR by what the code met (rows), and by model, what it was made for and steps (columns)."""
    rows = table[(table["set"] == set_name) & (table["likeness"] == EQUAL) & table["model"].isin(("tool_x4", "robust"))
                 & table["steps"].isin((0, 10))]
    met = [m for m in dict.fromkeys(["8bit", *rows["met"]]) if rows.loc[rows["met"] == m, "model"].nunique() > 1]
    rows = rows[rows["met"].isin(met) & ~((rows["steps"] == 0) & (rows["channel"] != "8bit"))]
    made = ["not refined" if not n else f"{n} steps" if c == "8bit" else f"made for {Channel.parse(c).words}, {n} steps"
            for c, n in zip(rows["channel"], rows["steps"], strict=True)]
    out = rows.assign(made=made, happened=[Channel.parse(m).words for m in rows["met"]])
    wide = out.pivot_table(index="happened", columns=["model", "made"], values="psnr_rgb", sort=False)
    wide.columns = [f"{model}, {way}, dB" for model, way in wide.columns]
    return wide.reindex([Channel.parse(m).words for m in met]).reset_index()


def rates(table: pd.DataFrame, files: pd.DataFrame, set_name: str) -> Figure:
    """RGB PSNR over bits per HR pixel: refined small images as JPEG and PNG, JPEG and WebP of HR (`files`)."""
    figure = figures.blank(7.2, 4.6)
    ax = figure.subplots()
    files_of_hr(ax, files[files["set"] == set_name])
    rows = at_equal_likeness(table[table["set"] == set_name])
    for label, model, channel, steps, mark in (
            ("robust, small JPEG, not refined", "robust", "jpeg:", 0, "s--"),
            ("robust, small JPEG, refined for it", "robust", "jpeg:", 10, "o-"),
            ("tool_x4, small PNG, not refined", "tool_x4", "8bit", 0, "s"),
            ("tool_x4, small PNG, refined", "tool_x4", "8bit", 10, "o")):
        one = rows[(rows["model"] == model) & rows["channel"].str.startswith(channel) & (rows["steps"] == steps)]
        one = one.sort_values("bits")
        if len(one):
            ax.plot(one["bits"], one["psnr_rgb"], mark, color=palette.colour(model), markersize=5, label=label,
                    markerfacecolor=None if steps else "white")
    ax.set(xscale="log", xlabel="bits per HR pixel", ylabel="RGB PSNR, dB", title=set_name)
    ax.set_xticks((0.125, 0.25, 0.5, 1, 2), ("0.125", "0.25", "0.5", "1", "2"))
    ax.set_xticks((), minor=True)
    ax.legend(fontsize=8)
    return figure


def training_or_refining(history: pd.DataFrame, table: pd.DataFrame, model: str) -> Figure:
    """The learning curve of a run on the held-out crops (RGB), and how high refinement lifts its end."""
    rows = at_equal_likeness(table)
    rows = rows[(rows["model"] == model) & (rows["set"] == "held-out crops")].sort_values("steps")
    figure = figures.blank(7.2, 4.2)
    ax = figure.subplots()
    ax.plot(history["step"], history["held_out_shr"], color=palette.colour(model), label=f"training of {model}")
    for row in rows[rows["steps"].isin((0, 3, 10))].itertuples():
        ax.axhline(row.psnr_rgb, linestyle=":", linewidth=1, color="0.4")
        words = f"{row.steps} refinement steps" if row.steps else "the end of the training"
        ax.annotate(words, (history["step"].min(), row.psnr_rgb), (0, -10), textcoords="offset points", fontsize=8)
    ax.set(xscale="log", xlabel="training step", ylabel="held-out crops, RGB PSNR, dB")
    ax.set_xticks((200, 500, 1000, 2000, 5000, 15000, 37000),
                  ("200", "500", "1k", "2k", "5k", "15k", "37k"))
    ax.set_xticks((), minor=True)
    ax.set_ylim(history["held_out_shr"].max() - 3, history["held_out_shr"].max() + 1)
    ax.legend(fontsize=8, loc="lower right")
    return figure
