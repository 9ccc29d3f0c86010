"""What stored scores and curves say: differences between runs with their intervals, and the numbers of the claims.

Nothing here trains or scores. What is lacking raises BadInput, in a line that names the run. Every PSNR is one of RGB
in dB, capped at 100; the mean is that over the images of a set.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tadlib.errors import BadInput
from tadlib.networks import build
from tadlib.run import Run
from tadlib.settings import results
from tadlib.stored import is_trained
from workbook import studies
from workbook.scores import scores
from workbook.speed import speed_table
from workbook.tables import made, score_table

SETS = ("Set5", "Set14")  # where nothing else is said: the worse of the two counts
LEVEL = 27.0  # dB on the held-out crops: "converged" for a comparison of speeds


@dataclass(frozen=True)
class Measured:
    """The number that speaks for a claim."""

    value: float
    runs: tuple[str, ...]
    detail: str = ""
    low: float | None = None  # of the 95 % interval
    high: float | None = None


Measure = Callable[[str], Measured]  # of a profile
Check = Callable[[str], tuple[bool, str]]  # of a profile: whether it is so, and the numbers that say it


# ------------------------------------------------------------------------------------------------ of runs by name

def per_image(run: str, profile: str, set_name: str, scale: int | None = None, channel: str = "8bit",
              kind: str = "SHRT") -> pd.Series:
    """RGB PSNR of each image of a stored run, the mean over draws. Raises BadInput where it was not measured."""
    trained = studies.trained(run, profile)
    if not is_trained(trained.run):
        raise BadInput(f"{run}: not trained yet")
    rows = scores(trained, (set_name,), (channel,), scale, measure=False)
    rows = rows[(rows["kind"] == kind) & (rows["channel"] == channel)]
    if not len(rows):
        raise BadInput(f"{run}: not measured on {set_name}, {channel}, x{scale or trained.run.scale}")
    return rows["psnr_rgb"].clip(upper=100).groupby(rows["image"]).mean()


def difference(a: pd.Series, b: pd.Series, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a - b over images and its 95 % interval, by a paired bootstrap with 10,000 resamples.

    Of fewer than five images there is no interval worth the name: NaN. Raises BadInput for unlike images.
    """
    d = (a - b).to_numpy()
    if np.isnan(d).any():
        raise BadInput("the two models were scored on different images")
    if len(d) < 5:
        return float(d.mean()), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    resampled = d[rng.integers(0, len(d), (10_000, len(d)))].mean(1)
    low, high = map(float, np.quantile(resampled, (0.025, 0.975)))
    return float(d.mean()), low, high


def differences(pairs: list[tuple[str, str]], sets: tuple[str, ...], profile: str = "cpu") -> pd.DataFrame:
    """A row for each pair of runs and set: RGB dB by which the first exceeds the second, with its 95 % interval."""
    rows = []
    for a, b in pairs:
        for name in sets:
            value, low, high = difference(per_image(a, profile, name), per_image(b, profile, name))
            rows.append({"pair": f"{a} - {b}", "set": name, "dB": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def seed_range(name: str, set_name: str, profile: str = "cpu", kind: str = "SHRT") -> tuple[float, float]:
    """Lowest and highest mean RGB PSNR over the seeds of a run (itself and its `_seed` siblings); NaN for one."""
    known = studies.SEEDS | studies.COLOUR_SEEDS
    family = [n for n in known.get(name, (name,)) if is_trained(studies.named(n, profile))]
    if len(family) < 2:
        return float("nan"), float("nan")
    found = score_table(family, (set_name,), profile, (kind,))["psnr_rgb"]
    return found.min(), found.max()


def steps_to(run: str, profile: str, level: float, column: str = "held_out_shr", x: str = "step") -> float:
    """Steps (or another column) until a learning curve first reaches `level` dB, interpolated; NaN if it never does."""
    history = studies.trained(run, profile).history
    above = history.index[history[column] >= level]
    if not len(above):
        return float("nan")
    last = above[0]
    if last == 0:
        return float(history[x].iloc[0])
    part = history.iloc[last - 1 : last + 1]
    return float(np.interp(level, part[column], part[x]))


def goes(run: Run) -> list[Run]:
    """The trainings of the same kind that a run is the last of, each gone on from the one before it."""
    found = [run]
    while found[0].start and all(getattr(found[0].start[0], f) == getattr(run, f)
                                 for f in ("model", "batch", "patch", "channels", "train")):
        found.insert(0, found[0].start[0])
    return found


def trained_for(run: Run) -> tuple[int, int, list[str]]:
    """Steps of all its `goes`, how many these are, and the names of the runs that the first of them starts from."""
    found = goes(run)
    return sum(go.steps for go in found), len(found), [start.name for start in found[0].start]


def whole_history(name: str, profile: str = "cpu") -> pd.DataFrame:
    """The learning curves of a run's `goes`, one behind the other."""
    parts, before = [], 0
    for go in goes(studies.named(name, profile)):
        curve = studies.trained(go.name, profile).history
        parts.append(curve.assign(step=curve["step"] + before))
        before += go.steps
    return pd.concat(parts, ignore_index=True)


# ------------------------------------------------------------------------------------------------------ of claims

def advantage(a: str, b: str, sets: tuple[str, ...] = SETS, most: bool = False, channel: str = "8bit") -> Measure:
    """By how much run a exceeds run b, on the set where it does so least (`most`: most)."""
    def measure(profile: str) -> Measured:
        usable = sets if sets == ("ColorDemo",) and profile != "smoke" else studies.scored_sets(a, profile, sets)
        found = {s: difference(per_image(a, profile, s, channel=channel), per_image(b, profile, s, channel=channel))
                 for s in usable}
        return of_sets(found, (a, b), most)
    return measure


def of_sets(found: dict[str, tuple[float, float, float]], runs: tuple[str, ...], most: bool = False) -> Measured:
    """Differences by set, each with its interval, as one number: the least of them (`most`: the largest)."""
    value, low, high = (max if most else min)(found.values())
    return Measured(value, runs, ", ".join(f"{s} {d:+.2f}" for s, (d, _, _) in found.items()), low, high)


def over_each(run: str, rivals: tuple[str, ...], sets: tuple[str, ...] = SETS, most: bool = False) -> Measure:
    """The same for several rivals: the one which it exceeds least (`most`: most) counts."""
    def measure(profile: str) -> Measured:
        found = [advantage(run, rival, sets, most)(profile) for rival in rivals]
        one = (max if most else min)(found, key=lambda m: m.value)
        return replace(one, runs=(run, *rivals), detail=f"{one.runs[1]}: {one.detail}")
    return measure


def drop(run: str) -> Measure:
    """What noise of sigma 0.11 costs a run, in percent of its clean dB (the report's way of counting)."""
    def measure(profile: str) -> Measured:
        name = studies.best_set(profile)
        clean, noisy = (per_image(run, profile, name, channel=c).mean() for c in ("8bit", "noise:0.11"))
        return Measured(100 * (clean - noisy) / clean, (run,), f"{name}: {clean:.2f} to {noisy:.2f} dB")
    return measure


def quicker(fast: str, slow: str) -> Measure:
    """How many times as many steps `slow` takes to reach LEVEL as `fast` does."""
    def measure(profile: str) -> Measured:
        for run in (fast, slow):
            if not is_trained(studies.named(run, profile)):
                raise BadInput(f"{run}: not trained yet")
        quick, long = (steps_to(run, profile, LEVEL) for run in (fast, slow))
        if np.isnan(quick):
            raise BadInput(f"{fast}: never reaches {LEVEL:g} dB on the held-out crops")
        never = np.isnan(long)  # then the end of its training is a lower bound
        long = studies.named(slow, profile).steps if never else long
        detail = f"{LEVEL:g} dB on held-out crops after {quick:.0f} and {'more than ' * bool(never)}{long:.0f} steps"
        others = [[steps_to(n, profile, LEVEL) for n in pair if is_trained(studies.named(n, profile))]
                  for pair in zip(studies.SEEDS.get(fast, ())[1:], studies.SEEDS.get(slow, ())[1:], strict=False)]
        again = " and ".join(f"{pair[1] / pair[0]:.2f}" for pair in others if len(pair) == 2)
        detail += again and f"; with other seeds {again} times"
        return Measured(long / quick, (fast, slow), detail)
    return measure


def motion_gain(run: str) -> Measure:
    """By how many percent motion is found better in a run's small frames than in bicubic ones (flow.csv, Farneback)."""
    def measure(profile: str) -> Measured:
        found = made("flow", profile, ("frames", "by", "end-point error"))
        error = found[found["by"] == "Farneback"].groupby("frames")["end-point error"].mean()
        if not {"bicubic", run} <= set(error.index):
            raise BadInput(f"flow.csv: nothing of {run} there (notebook 05 makes it)")
        ordinary, mine = error["bicubic"], error[run]
        return Measured(100 * (1 - mine / ordinary), (run,), f"{ordinary:.3f} to {mine:.3f} pixels")
    return measure


def other_scales(profile: str) -> Measured:
    """What epsilon = 100 loses at scales that were not trained, dB in the mean over x2, x8 and x16."""
    name = studies.best_set(profile)
    lost = {s: per_image("eps_0", profile, name, s).mean() - per_image("eps_100_observed", profile, name, s).mean()
            for s in (2, 8, 16)}
    return Measured(float(np.mean(list(lost.values()))), ("eps_0", "eps_100_observed"),
                    name + ": " + ", ".join(f"x{s} {d:+.2f}" for s, d in lost.items()))


def parity(profile: str) -> Measured:
    """By how many dB x16 is above the better of x2 and x8, for a net that was trained at x4."""
    name = studies.best_set(profile)
    at = {s: per_image("aetad_very_small", profile, name, s).mean() for s in (2, 4, 8, 16)}
    return Measured(at[16] - max(at[2], at[8]), ("aetad_very_small",),
                    name + ": " + ", ".join(f"x{s} {d:.2f}" for s, d in at.items()))


def beyond_its_scale(profile: str) -> Measured:
    """By how many dB bicubic exceeds at x4 a net that was trained at x2 alone."""
    name = studies.scored_sets("aetad", profile, ("Set5",))[0]
    value, low, high = difference(per_image("bicubic", profile, name, 4), per_image("aetad_x2", profile, name, 4))
    at = [per_image("aetad_x2", profile, name, s).mean() for s in (2, 4)]
    return Measured(value, ("bicubic", "aetad_x2"), f"{name}: x2 {at[0]:.2f}, x4 {at[1]:.2f}", low, high)


def times_faster(profile: str) -> Measured:
    """How many times as long aetad takes as aetad_very_small, down and up at x4."""
    if not (results(profile) / "speed.csv").exists():
        raise BadInput("speed.csv: not measured yet (python -m workbook speed)")
    table = speed_table(profile).set_index(["model", "scale"])
    both = [sum(table.loc[(m, 4), ["down s/MP", "up s/MP"]]) for m in ("aetad", "aetad_very_small")]
    return Measured(both[0] / both[1], ("aetad", "aetad_very_small"), f"{both[0]:.2f} and {both[1]:.2f} s a megapixel")


def colour_gain(run: str) -> Measure:
    """By how many percent of its dB a training of aetad_color_large exceeds aetad_color; its other seeds in words."""
    def measure(profile: str) -> Measured:
        name = studies.best_set(profile)
        large, base = (per_image(n, profile, name).mean() for n in (run, "aetad_color"))
        others = [n for n in studies.COLOUR_SEEDS.get(run, ())[1:] if is_trained(studies.named(n, profile))]
        again = " and ".join(f"{100 * (per_image(n, profile, name).mean() / base - 1):.0f}" for n in others)
        params = [build(n).parameters_count for n in ("aetad_color_large", "aetad_color")]
        return Measured(100 * (large / base - 1), (run, "aetad_color"),
                        f"{name}: {large:.2f} against {base:.2f} dB; {params[0]:,} parameters against {params[1]:,}, "
                        f"{100 * (params[0] / params[1] - 1):+.1f} %{again and f'; other seeds {again} %'}")
    return measure


# ------------------------------------------------------------------------------------------------------ conditions

def smaller(a: str, b: str) -> Check:
    """Whether network a has fewer parameters than network b."""
    def check(profile: str) -> tuple[bool, str]:
        mine, other = (build(n).parameters_count for n in (a, b))
        return mine < other, f"{mine:,} parameters against {other:,}, {100 * (mine / other - 1):+.0f} %"
    return check


def on_the_chart(a: str, b: str, lead: float) -> Check:
    """Whether run a exceeds run b by `lead` dB on the chart of equal greys (isoluminant.csv, notebook 03)."""
    def check(profile: str) -> tuple[bool, str]:
        psnr = made("isoluminant", profile, ("run", "PSNR")).set_index("run")["PSNR"]
        return psnr[a] - psnr[b] >= lead, f"chart of equal greys: {psnr[a]:.1f} dB against {psnr[b]:.1f}"
    return check
