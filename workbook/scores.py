"""The scores of a run: what its scores.csv holds, what is missing in it measured, and a check by measuring again."""
from __future__ import annotations

from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tadlib.channel import Channel
from tadlib.data import sets as data
from tadlib.errors import BadInput
from tadlib.evaluation.protocol import KINDS, score
from tadlib.files import replacing
from tadlib.machine import best_device
from tadlib.stored import Trained
from workbook.records import read_table

MEASURED = ["scale", "set", "image", "pixels", "kind", "channel", "sigma", "draw", "psnr_rgb", "psnr_y",
            "psnr_rgb_crop", "psnr_y_crop", "ssim_y", "lr_bytes", "ciede2000"]  # what a run's scores.csv holds
COLUMNS = ["run", "model", "params", "task", "recipe", "skip", "guidance", "epsilon", "seed", "steps", *MEASURED]


def scores(trained: Trained, sets: tuple[str, ...], channels: tuple[str, ...] = ("8bit",), scale: int | None = None,
           kinds: tuple[str, ...] = KINDS, draws: int = 1, measure: bool = True) -> pd.DataFrame:
    """The rows of a trained run for these sets and channels at its scale or another, in COLUMNS.

    Stored rows are read; what is missing is measured (unless `measure` is False), if the set is here, and stored
    beside them. Raises BadInput for a channel that is none, and for damaged scores.
    """
    path = trained.folder / "scores.csv"
    rows, run = read(path), trained.run
    scale = scale or run.scale
    channels = tuple(str(Channel.parse(c)) for c in channels)
    network = None
    for name in sets:
        missing = _missing(rows, name, channels, scale, draws) if measure else ()
        if not missing:
            continue
        network = network or trained.network().to(best_device())
        new = score(network, data.load(name), scale, run.guide, missing, kinds, draws)
        new = new.assign(scale=scale, set=name).reindex(columns=MEASURED).round(4)
        rows = read(path)  # again: another process may have measured something else meanwhile
        rows = pd.concat([rows, new], ignore_index=True) if len(rows) else new
        rows = rows.drop_duplicates(["set", "image", "kind", "channel", "draw", "scale"], keep="last")
        with replacing(path) as temporary:
            rows.to_csv(temporary, index=False)
    asked = rows["set"].isin(sets) & rows["channel"].isin((*channels, "8bit")) & (rows["scale"] == scale)
    rows = rows[asked].reset_index(drop=True)
    if not len(rows):
        return rows.reindex(columns=COLUMNS)
    return rows.assign(run=trained.folder.name, model=run.model, params=trained.record["params"], task=run.net.task,
                       recipe=run.recipe, skip=run.net.skip, guidance=run.guide, epsilon=run.epsilon,
                       seed=run.seed, steps=run.steps)[COLUMNS]


def complete(trained: Trained, sets: tuple[str, ...], channels: tuple[str, ...] = ("8bit",), scale: int | None = None,
             kinds: tuple[str, ...] = KINDS, draws: int = 1) -> bool:
    """Whether `scores` would measure nothing. Raises BadInput for damaged scores."""
    rows = read(trained.folder / "scores.csv")
    channels = tuple(str(Channel.parse(c)) for c in channels)
    return not any(_missing(rows, name, channels, scale or trained.run.scale, draws) for name in sets)


def _missing(rows: pd.DataFrame, name: str, channels: tuple[str, ...], scale: int, draws: int) -> tuple[str, ...]:
    """The channels of which the rows lack this set, if it is here."""
    if not data.is_here(name):
        return ()
    here = rows[(rows["set"] == name) & (rows["kind"] == "SHRT") & (rows["scale"] == scale)]
    known = here.groupby("channel")["draw"].nunique()
    return tuple(c for c in channels if known.get(c, 0) < (draws if Channel.parse(c).sigma else 1))


def read(path: Path) -> pd.DataFrame:
    """What a scores.csv holds, in MEASURED; no rows where there is none. Raises BadInput where it is damaged."""
    if not path.exists():
        return pd.DataFrame(columns=MEASURED)
    words = ("set", "image", "kind", "channel")
    rows = read_table(path, words, words)
    numbers = rows.columns.intersection(["scale", "pixels", "draw", "psnr_rgb", "psnr_y", "lr_bytes"])
    if not all(is_numeric_dtype(rows[c]) for c in numbers):
        raise BadInput(f"{path}: damaged (not the scores of a run)")
    return rows.reindex(columns=MEASURED)  # older ones lack a column


def verify(trained: Trained, tolerance: float = 0.01) -> float:
    """Score the sample (or Set5, where it is) afresh and hold it against what is stored: the largest deviation in dB.

    Raises BadInput where it exceeds `tolerance`: then weights, code and stored scores do not belong together.
    """
    rows = read(trained.folder / "scores.csv")
    rows = rows[rows["scale"] == trained.run.scale]
    known = [n for n in ("Set5", "Sample", "SampleCrop", "SampleClip") if data.is_here(n) and (rows["set"] == n).any()]
    if not known:
        raise BadInput(f"{trained.folder.name}: no stored scores on a set that is here")
    rows = rows[rows["set"] == known[0]]
    channel = rows.loc[rows["kind"] == "SHRT", "channel"].iloc[0]
    rows = rows[(rows["channel"] == channel) & rows["kind"].isin(["SHRT", "SLR"])]
    fresh = score(trained.network(), data.load(known[0]), trained.run.scale, trained.run.guide, (channel,),
                  ("SHRT", "SLR"))
    fresh = fresh[fresh["draw"].isin(rows["draw"])]
    both = rows.merge(fresh, on=["image", "kind", "channel", "draw"], suffixes=("", "_now"))
    if not len(both) == len(fresh) == len(rows):
        raise BadInput(f"{trained.folder.name}: the stored scores on {known[0]} are of other images than are here "
                       "(--retrain makes them anew)")
    worst = (both["psnr_rgb"].clip(upper=100) - both["psnr_rgb_now"].clip(upper=100)).abs()
    if not worst.max() <= tolerance:
        raise BadInput(f"{trained.folder.name}: stored scores on {known[0]} are off by {worst.max():.3f} dB; "
                       "weights and scores do not belong together (--retrain makes both anew)")
    return float(worst.max())
