"""Figures: comparisons with a zoomed crop, diagrams of networks, curves. They read records, and hold no numbers."""
from __future__ import annotations

import functools
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from adjustText import adjust_text
from IPython.display import Image as Picture
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image
from torch import Tensor

from tadlib.errors import BadInput
from tadlib.files import replacing
from tadlib.networks import Spec
from tadlib.networks.chain import layers
from tadlib.settings import ROOT, results

STAND_INS = "sample"  # in place of a profile: pictures of the sample instead of an absent set's; git ignores its folder


@functools.cache
def theme() -> None:
    """The look of every figure: once a process, and before a figure gets its axes."""
    sns.set_theme(style="whitegrid", palette="colorblind", font_scale=0.9)


def blank(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, in the theme; its parts make room for each other."""
    theme()
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, name: str, profile: str) -> Path:
    """Write results/<profile>/figures/<name>.png, or .jpg where that takes less than half the bytes; its path.

    Those are the photographs; a dozen of them as PNG would weigh megabytes, and 256 colours are enough for the rest. A
    file that looks the same is left alone, so that a repeated run changes nothing in git. Raises BadInput.
    """
    theme()  # of what is looked up when it is drawn
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    drawn, png, jpeg = Image.open(buffer).convert("RGB"), io.BytesIO(), io.BytesIO()
    drawn.quantize(256, dither=Image.Dither.NONE).save(png, "PNG", optimize=True)
    drawn.save(jpeg, "JPEG", quality=85, subsampling=0, optimize=True)
    photograph = 2 * jpeg.tell() < buffer.tell()
    data, suffix = (jpeg.getvalue(), ".jpg") if photograph else (png.getvalue(), ".png")
    path = results(profile) / "figures" / f"{name}{suffix}"
    if not path.exists() or not _look_alike(Image.open(path), Image.open(io.BytesIO(data))):
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        path.with_suffix(".jpg" if suffix == ".png" else ".png").unlink(missing_ok=True)
    return path


def show(figure: Figure, name: str, profile: str) -> Picture:
    """Save the figure and return it for a notebook cell to display."""
    path = save(figure, name, profile)
    return Picture(data=path.read_bytes(), format={".png": "png", ".jpg": "jpeg"}[path.suffix])


def drawn(name: str, profile: str = "cpu") -> Markdown:
    """A figure that was drawn elsewhere, for a cell to show: a link, which weighs nothing. Raises BadInput."""
    folders = [results(p) / "figures" for p in (profile, STAND_INS)]
    found = [f for folder in folders for f in sorted(folder.glob(f"{name}.*"))]
    if not found:
        raise BadInput(f"{folders[0] / name}: not there; run the notebook that draws it first")
    return Markdown(f"![{name}]({Path(os.path.relpath(found[0], ROOT / 'notebooks')).as_posix()})")


def animate(panels: Mapping[str, Tensor], name: str, profile: str, rate: float = 8, times: int = 2) -> Path:
    """Clips (T, 3, h, w), uint8, side by side under their names, as results/<profile>/figures/<name>.webp; its path.

    `times` enlarges by repeating pixels, `rate` is in frames a second. Raises BadInput.
    """
    theme()
    count = min(map(len, panels.values()))
    frames = []
    for n in range(count):
        figure = Figure(figsize=(1, 1), dpi=100)
        h, w = next(iter(panels.values())).shape[-2:]
        figure.set_size_inches(len(panels) * (times * w + 8) / 100, (times * h + 24) / 100)
        for column, (title, clip) in enumerate(panels.items()):
            left = (column * (times * w + 8) + 4) / (100 * figure.get_figwidth())
            size = times * w / (100 * figure.get_figwidth()), times * h / (100 * figure.get_figheight())
            picture(figure.add_axes((left, 0, *size)), clip[n], title)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        frames.append(Image.open(buffer).convert("RGB"))
    path = results(profile) / "figures" / f"{name}.webp"
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / rate), quality=60)
    if not path.exists() or path.read_bytes() != buffer.getvalue():
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
    return path


def pipeline(stages: list[tuple[str, str]], title: str = "", per_row: int = 7) -> Figure:
    """Boxes from left to right, row by row, with arrows between them: (what it is, its shape) for each."""
    rows = [stages[n : n + per_row] for n in range(0, len(stages), per_row)]
    figure = blank(1.75 * min(per_row, len(stages)), 1.25 * len(rows) + 0.35)
    ax = figure.subplots()
    ax.set(xlim=(-0.1, min(per_row, len(stages))), ylim=(-len(rows) + 0.35, 0.65), title=title)
    ax.set_axis_off()
    for r, row in enumerate(rows):
        for n, (name, shape) in enumerate(row):
            ax.add_patch(FancyBboxPatch((n + 0.04, -r - 0.28), 0.78, 0.56, boxstyle="round,pad=0.03",
                                        facecolor=_COLOURS["r" if shape else "a"], edgecolor="#444", linewidth=0.6))
            ax.text(n + 0.43, -r + 0.07, name, ha="center", va="center", fontsize=7.5)
            ax.text(n + 0.43, -r - 0.18, shape, ha="center", va="center", fontsize=6.5, color="#333")
            if n + 1 < len(row):
                ax.annotate("", (n + 1.02, -r), (n + 0.86, -r), arrowprops={"arrowstyle": "->", "color": "#444"})
    return figure


def _look_alike(a: Image.Image, b: Image.Image) -> bool:
    one, other = (np.asarray(x.convert("RGB"), dtype=float) for x in (a, b))
    return one.shape == other.shape and np.abs(one - other).mean() < 0.5


def picture(axes: Axes, image: Tensor, title: str = "") -> None:
    """Show uint8 (3 or 1, H, W), pixels as they are."""
    array = image.permute(1, 2, 0).numpy()
    axes.imshow(array.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def comparison(images: Mapping[str, Tensor], box: tuple[int, int, int], title: str = "") -> Figure:
    """Images of one size side by side; below each the square `box` (top, left, size), enlarged.

    The first image is shown whole with the box drawn in; titles are the dict's keys.
    """
    top, left, size = box
    n = len(images)
    first = next(iter(images.values()))
    ratio = first.shape[1] / first.shape[2]
    figure = blank(2.35 * n, 2.35 * ratio + 2.9)
    axes = figure.subplots(2, n, height_ratios=[ratio, 1], squeeze=False)
    for column, (name, image) in enumerate(images.items()):
        picture(axes[0, column], image, name)
        axes[0, column].add_patch(Rectangle((left, top), size, size, fill=False, edgecolor="#ffdd00", linewidth=1.5))
        picture(axes[1, column], image[:, top : top + size, left : left + size])
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


PER_LINE = 20  # blocks of a diagram
_COLOURS = {"c": "#9ecae1", "r": "#6baed6", "u": "#fdae6b", "p": "#fdae6b", "+": "#c7e9c0", "=": "#c7e9c0",
            "a": "#dddddd"}
_NAMES = {"c": "conv 3x3, {0}", "r": "resblock", "u": "unshuffle {0}", "p": "shuffle {0}", "a": "ReLU",
          "=": "remember", "+": "add"}


def diagram(spec: Spec) -> Figure:
    """The network as blocks, drawn from its spec (report, Fig. 8, 12, 13): one row for encoder, one for decoder."""
    luma = str(spec.head) == "luma"
    rows = []
    for part, chain, channels in (("encoder\nHR in", spec.encoder, 3),
                                  (f"decoder\n{'enlarged Y' if luma else 'SLR'} in", spec.decoder,
                                   spec.head.channels(spec.code))):
        walk = layers(chain, channels) if chain else []
        for n in range(0, len(walk), PER_LINE):
            rows.append(("" if n else part, walk[n : n + PER_LINE]))
    width = max(len(walk) for _, walk in rows) if rows else 1
    figure = blank(max(7.0, 0.66 * width + 1.4), 2.3 * max(1, len(rows)) + 0.5)
    axes = figure.subplots(max(1, len(rows)), 1, squeeze=False)[:, 0]
    for ax, (part, walk) in zip(axes, rows, strict=False):
        ax.set(xlim=(-1.3, width), ylim=(-1.6, 1.75))
        ax.set_axis_off()
        ax.text(-1.25, 0, part, va="center", fontsize=9)
        for x, (word, _, channels, size) in enumerate(walk):
            kind = word[0]
            ax.add_patch(FancyBboxPatch((x + 0.12, -1), 0.76, 2, boxstyle="round,pad=0.02", facecolor=_COLOURS[kind],
                                        edgecolor="#444", linewidth=0.6))
            ax.text(x + 0.5, 0, _NAMES[kind].format(word[1:]), rotation=90, ha="center", va="center", fontsize=8)
            ax.text(x + 0.5, -1.18, f"{channels}", ha="center", va="top", fontsize=7)
            relative = "" if kind in "=+" else f"{size:g}" if size >= 1 else f"1/{1 / size:g}"
            ax.text(x + 0.5, 1.18, relative, ha="center", va="bottom", fontsize=7)
        _arcs(ax, walk)
        ax.text(-1.25, -1.18, "channels", va="top", fontsize=7)
        ax.text(-1.25, 1.18, "size", va="bottom", fontsize=7)
    works = "works at the large size" if luma or spec.step == 1 else f"one step of factor {spec.step}"
    figure.suptitle(f"{spec.name}: {works}; skip: {spec.skip}", fontsize=10)
    return figure


def _arcs(ax: Axes, walk: list[tuple[str, int, int, float]]) -> None:
    """Lines from "remember" to "add"."""
    start = 0
    for x, (word, *_) in enumerate(walk):
        if word == "=":
            start = x
        elif word == "+":
            ax.plot([start + 0.5, start + 0.5, x + 0.5, x + 0.5], [1.02, 1.62, 1.62, 1.02], color="#2a8", linewidth=1)


def curves(rows: pd.DataFrame, x: str, y: str, by: str, xlabel: str, ylabel: str, title: str = "") -> Figure:
    """A line with markers for each value of the column `by`."""
    figure = blank(7, 4.2)
    ax = figure.subplots()
    for name, group in rows.groupby(by, sort=False):
        ax.plot(group[x], group[y], marker="o", markersize=4, label=str(name))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend(fontsize=8)
    return figure


def points(rows: pd.DataFrame, x: str, y: str, name: str, xlabel: str, ylabel: str, title: str = "",
           bars: tuple[str, str] | None = None) -> Figure:
    """A labelled point a row; `bars` as in `label_points`."""
    figure = blank(7, 4.4)
    ax = figure.subplots()
    label_points(ax, rows, x, y, name, bars)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return figure


def fronts(rows: pd.DataFrame, x: str, y: str, by: str, name: str, xlabel: str, ylabel: str) -> Figure:
    """A panel for each value of the column `set`; in it a line of labelled points for each value of `by`."""
    sets = list(rows["set"].unique())
    figure = blank(5.2 * len(sets), 5.0)
    for ax, set_name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        here = rows[rows["set"] == set_name]
        label_points(ax, here, x, y, name)
        for group, one in here.groupby(by, sort=False):
            one = one.sort_values(x)
            ax.plot(one[x], one[y], "o-", markersize=5, label=group)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=set_name)
        ax.legend(fontsize=8)
    return figure


def heat(card: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """The robustness card of one set: PSNR by what happened and by run, coloured by what it is above the first run."""
    values = card.pivot(index="happened", columns="run", values="psnr_rgb").loc[card["happened"].unique(), list(names)]
    figure = blank(1.05 * len(names) + 2, 0.29 * len(values) + 1.2)
    ax = figure.subplots()
    above = values.sub(values[names[0]], axis=0)
    sns.heatmap(above, annot=values, fmt=".1f", cmap="vlag_r", center=0, vmin=-6, vmax=6, ax=ax, annot_kws={"size": 8},
                cbar_kws={"label": f"dB above {names[0]}", "shrink": 0.5})
    ax.set(xlabel="", ylabel="", title=title)
    ax.tick_params(labelsize=8)
    ax.tick_params(axis="x", rotation=30)
    return figure


def label_points(ax: Axes, rows: pd.DataFrame, x: str, y: str, name: str,
                 bars: tuple[str, str] | None = None) -> None:
    """Draw labelled points into axes; labels step aside for each other and for the points.

    `bars` names the columns with the lower and the upper end of an error bar (NaN: none).
    """
    ends = [(rows[y] - rows[end]).abs().fillna(0) for end in bars] if bars else None
    ax.errorbar(rows[x], rows[y], yerr=ends, fmt="o", markersize=5, capsize=3 if bars else 0)
    ax.margins(0.12)
    labels = [ax.text(*point, fontsize=7) for point in zip(rows[x], rows[y], rows[name], strict=True)]
    figure = ax.get_figure(root=True)
    assert figure is not None  # the axes are of one
    figure.draw_without_rendering()  # else they have no size yet
    adjust_text(labels, list(rows[x]), list(rows[y]), ax=ax, expand=(1.3, 1.7), force_text=(0.3, 0.5), min_arrow_len=2,
                iter_lim=500,  # else it takes a second, and what comes out depends on the machine's speed
                arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.6})
