"""Figures: comparisons with a zoomed crop, diagrams of networks, curves. They read records, and hold no numbers."""
from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import count

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.text import Text
from torch import Tensor

from tadlib.networks import Spec
from tadlib.networks.chain import layers
from workbook import labels
from workbook.palette import MARKERS, TERMS, colour, family, styles

DPI = 110
WIDTH = 830  # CSS pixels, 96 to an inch: what a README leaves to a figure
LEAST = 8  # points: the smallest text at that width


@functools.cache
def theme() -> None:
    """The look of every figure: once a process, and before a figure gets its axes."""
    sns.set_theme(style="whitegrid", palette="colorblind", font_scale=0.9)


def blank(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, in the theme; its parts make room for each other."""
    theme()
    return Figure(figsize=(width, height), layout="constrained")


def least(width: float) -> float:
    """The points that text needs in a figure of that many inches to be LEAST points at WIDTH pixels or less."""
    return LEAST * 96 / DPI / min(1, WIDTH / (DPI * width))


def readable(figure: Figure) -> None:
    """Enlarge what text of a figure is smaller than `least`."""
    size = least(figure.get_figwidth())
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if any(float(label.get_fontsize()) < size for label in axis.get_ticklabels()):
                axis.set_tick_params(labelsize=size)  # of the ticks to come, too
    for text in figure.findobj(Text):
        text.set_fontsize(max(size, float(text.get_fontsize())))


def stamp(figure: Figure, text: str) -> None:
    """Write across a figure that it is not what it seems."""
    if text:
        figure.text(0.5, 0.5, text, ha="center", va="center", rotation=20, fontsize=16, color="#b00020", zorder=9,
                    bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "#b00020"})


def picture(axes: Axes, image: Tensor, title: str = "") -> None:
    """Show uint8 (3 or 1, H, W): pixels as squares from threefold on, shrunk through a filter that makes no pattern."""
    array = image.permute(1, 2, 0).numpy()
    axes.imshow(array.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="auto", resample=True)
    axes.set_title(title, fontsize=least(_width(axes)))
    axes.set_axis_off()


def side_by_side(images: Mapping[str, Tensor], times: int) -> Figure:
    """Images of one size, uint8 (3, h, w), in a row under their names, each pixel as `times` by `times`."""
    h, w = next(iter(images.values())).shape[-2:]
    figure = Figure(figsize=(len(images) * (times * w + 8) / DPI, (times * h + 24) / DPI), dpi=DPI)
    for column, (title, image) in enumerate(images.items()):
        left = (column * (times * w + 8) + 4) / (DPI * figure.get_figwidth())
        size = times * w / (DPI * figure.get_figwidth()), times * h / (DPI * figure.get_figheight())
        picture(figure.add_axes((left, 0, *size)), image, title)
    return figure


def comparison(images: Mapping[str, Tensor], box: tuple[int, int, int], title: str = "") -> Figure:
    """Images of one size side by side, of more than four in two rows; below each the square `box`, enlarged.

    `box` is (top, left, size), drawn into the first image; titles are the dict's keys.
    """
    top, left, size = box
    columns = len(images) if len(images) <= 4 else -(-len(images) // 2)
    rows = -(-len(images) // columns)
    first = next(iter(images.values()))
    ratio = first.shape[1] / first.shape[2]
    figure = blank(2.35 * columns, rows * (2.35 * ratio + 2.8) + 0.3 * bool(title))
    axes = figure.subplots(2 * rows, columns, height_ratios=[ratio, 1] * rows, squeeze=False)
    for n, (name, image) in enumerate(images.items()):
        row, column = divmod(n, columns)
        whole, part = axes[2 * row : 2 * row + 2, column]
        picture(whole, image, name)
        if not n:
            whole.add_patch(Rectangle((left, top), size, size, fill=False, edgecolor="#ffdd00", linewidth=1.5))
        picture(part, image[:, top : top + size, left : left + size])
    for ax in axes[-2:, len(images) - (rows - 1) * columns :].flat:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


PER_LINE = 12  # blocks of a diagram: a longer chain shows what it repeats once
Layer = tuple[str, int, int, float]  # of networks.chain.layers
_COLOURS = {"c": "#9ecae1", "r": "#6baed6", "u": "#fdae6b", "p": "#fdae6b", "+": "#c7e9c0", "=": "#c7e9c0",
            "a": "#dddddd"}
_NAMES = {"c": "conv 3x3, {0}", "r": "resblock", "u": "unshuffle {0}", "p": "shuffle {0}", "a": "ReLU",
          "=": "remember", "+": "add"}


def diagram(spec: Spec) -> Figure:
    """The network as blocks, drawn from its spec (report, Fig. 4, 5, 8, 12): one row for encoder, one for decoder."""
    luma = str(spec.head) == "luma"
    seen = "enlarged Y" if luma else "SLR" if spec.task == "sr" else "grey" if spec.encoder else "Y"
    rows = []
    for part, chain, channels in (("encoder\nHR in", spec.encoder, 3),
                                  (f"decoder\n{seen} in", spec.decoder, spec.head.channels(spec.code))):
        if chain:
            rows.append((part, *_folded(layers(chain, channels))))
    width = max((len(walk) for _, walk, _ in rows), default=1)
    figure = blank(max(7.0, 0.66 * width + 1.4), 2.3 * max(1, len(rows)) + 0.5)
    points = least(figure.get_figwidth())
    axes = figure.subplots(max(1, len(rows)), 1, squeeze=False)[:, 0]
    for ax, (part, walk, repeated) in zip(axes, rows, strict=False):
        ax.set(xlim=(-1.3, width), ylim=(-2.1 if repeated else -1.6, 1.75))
        ax.set_axis_off()
        ax.text(-1.25, 0, part, va="center", fontsize=points)
        for x, (word, _, channels, size) in enumerate(walk):
            kind = word[0]
            ax.add_patch(FancyBboxPatch((x + 0.12, -1), 0.76, 2, boxstyle="round,pad=0.02", facecolor=_COLOURS[kind],
                                        edgecolor="#444", linewidth=0.6))
            ax.text(x + 0.5, 0, _NAMES[kind].format(word[1:]), rotation=90, ha="center", va="center", fontsize=points)
            ax.text(x + 0.5, -1.18, f"{channels}", ha="center", va="top", fontsize=points)
            relative = "" if kind in "=+" else f"{size:g}" if size >= 1 else f"1/{1 / size:g}"
            ax.text(x + 0.5, 1.18, relative, ha="center", va="bottom", fontsize=points)
        _arcs(ax, walk)
        for first, last, times in repeated:
            ax.plot([first + 0.14, first + 0.14, last + 0.86, last + 0.86], [-1.5, -1.6, -1.6, -1.5], color="#444",
                    linewidth=1)
            ax.text((first + last + 1) / 2, -1.66, f"{times} times", ha="center", va="top", fontsize=points)
        ax.text(-1.25, -1.18, "channels", va="top", fontsize=points)
        ax.text(-1.25, 1.18, "size", va="bottom", fontsize=points)
    least_size = min((size for _, walk, _ in rows for *_, size in walk), default=1)
    works = (f"one step of factor {spec.step}" if spec.step > 1 and not luma else
             "works at the large size" if least_size == 1 else f"works at 1/{1 / least_size:g} of the large size")
    end = "colours: mean of the bins, enlarged, and Y" if str(spec.head) == "bins" else f"skip: {spec.skip}"
    figure.suptitle(f"{spec.name}: {works}; {end}", fontsize=10)
    return figure


def _folded(walk: list[Layer]) -> tuple[list[Layer], list[tuple[int, int, int]]]:
    """A chain; of one too long what it repeats (a word, or two in turn) once, and (first, last, times) of each."""
    if len(walk) <= PER_LINE:
        return walk, []
    shapes = [(word, channels, size) for word, _, channels, size in walk]
    out: list[Layer] = []
    repeated, n = [], 0
    while n < len(walk):
        found = [(unit, next(t for t in count(1) if shapes[n + t * unit :][:unit] != shapes[n:][:unit]))
                 for unit in (1, 2)]
        unit, times = max(found, key=lambda one: one[0] * (one[1] - 1))
        if times == 1:
            unit = 1
        else:
            repeated.append((len(out), len(out) + unit - 1, times))
        out += walk[n : n + unit]
        n += unit * times
    return out, repeated


def _arcs(ax: Axes, walk: list[Layer]) -> None:
    """Lines from "remember" to "add"."""
    start = 0
    for x, (word, *_) in enumerate(walk):
        if word == "=":
            start = x
        elif word == "+":
            ax.plot([start + 0.5, start + 0.5, x + 0.5, x + 0.5], [1.02, 1.62, 1.62, 1.02], color="#2a8", linewidth=1)


def curves(rows: pd.DataFrame, x: str, y: str, by: str, xlabel: str, ylabel: str, title: str = "") -> Figure:
    """A line, with its name at its end, for each value of the column `by`: names of runs."""
    figure = blank(7.5, 4.2)
    ax = figure.subplots()
    style = styles(list(rows[by].unique()))
    for name, group in rows.groupby(by, sort=False):
        ax.plot(group[x], group[y], label=str(name), **style[str(name)])
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    label_ends(ax)
    return figure


def label_ends(ax: Axes) -> None:
    """Write the label of each line of axes beside its right end, in its colour: last, for room is made there."""
    labels.ends(ax, least(_width(ax)))


def points(rows: pd.DataFrame, x: str, y: str, name: str, xlabel: str, ylabel: str, title: str = "",
           bars: tuple[str, str] | None = None) -> Figure:
    """A labelled point a row; `bars` as in `label_points`."""
    figure = blank(7.5, 4.4)
    ax = figure.subplots()
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    label_points(ax, rows, x, y, name, bars)
    return figure


def fronts(rows: pd.DataFrame, x: str, y: str, by: str, name: str, xlabel: str, ylabel: str) -> Figure:
    """A panel for each value of the column `set`; in it a line of labelled points for each value of `by`.

    Its first word is a key of palette.TERMS.
    """
    sets = list(rows["set"].unique())
    crowded = rows["set"].value_counts().max() > 6
    figure = blank(*(7.5, 3.9 * len(sets)) if crowded else (5.2 * len(sets), 4.6))
    panels = figure.subplots(*(len(sets), 1) if crowded else (1, len(sets)), squeeze=False)
    for ax, set_name in zip(panels.flat, sets, strict=True):
        for group, one in rows[rows["set"] == set_name].groupby(by, sort=False):
            one, shade = one.sort_values(x), TERMS[str(group).split()[0]]
            ax.plot(one[x], one[y], "--" if shade in [line.get_color() for line in ax.lines] else "-", color=shade,
                    label=group)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=set_name)
        here = rows[rows["set"] == set_name]
        label_points(ax, here, x, y, name, colours=[TERMS[str(group).split()[0]] for group in here[by]])
    if rows[by].nunique() > 1:
        figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=rows[by].nunique())
    return figure


def heat(card: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """The robustness card of one set: PSNR by what happened and by run, coloured by what it is above the first run."""
    values = card.pivot(index="happened", columns="run", values="psnr_rgb").loc[card["happened"].unique(), list(names)]
    figure = blank(1.05 * len(names) + 2, 0.29 * len(values) + 1.2)
    ax, size = figure.subplots(), least(figure.get_figwidth())
    above = values.sub(values[names[0]], axis=0)
    sns.heatmap(above, annot=values, fmt=".1f", cmap="vlag_r", center=0, vmin=-6, vmax=6, ax=ax,
                annot_kws={"size": size}, cbar_kws={"label": f"dB above {names[0]}", "shrink": 0.5})
    ax.set(xlabel="", ylabel="", title=title)
    ax.tick_params(labelsize=size)
    ax.tick_params(axis="x", rotation=30)
    return figure


def label_points(ax: Axes, rows: pd.DataFrame, x: str, y: str, name: str, bars: tuple[str, str] | None = None,
                 colours: Sequence[str] | None = None) -> None:
    """Draw labelled points into axes; labels step aside for all that is there when they are drawn.

    `bars` names the columns with the lower and the upper end of an error bar (NaN: none is drawn). The colours are
    those of the families of the runs, which the column `run` names where there is one, or else `name`.
    """
    runs = [str(run) for run in (rows["run"] if "run" in rows else rows[name])]
    seen = colours or [colour(run) for run in runs]
    for (_, row), run, shade in zip(rows.iterrows(), runs, seen, strict=True):
        ends = [[abs(row[y] - row[end])] for end in bars] if bars and row[list(bars)].notna().all() else None
        ax.errorbar(row[x], row[y], yerr=ends, fmt="o" if colours else MARKERS[family(run)], markersize=6, capsize=3,
                    color=shade)
    ax.margins(0.1)
    labels.beside(ax, list(rows[x]), list(rows[y]), list(rows[name]), seen, least(_width(ax)))


def _width(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None  # the axes are of one
    return figure.get_figwidth()
