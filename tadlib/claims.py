"""The ledger: every claim of the report, what it printed, what is measured here, and a verdict.

A claim is a number that speaks for it, and two thresholds: from `holds` on it holds, from `partly` on it holds partly.
No threshold was changed once it was committed (git log of this file): with the first ten runs of the study for what 01
and 02 ask, when a shorter training of `aetad` and `no_tad` had already shown 2 dB for `task_aware`; before any run for
colour and video. Differences between two models carry the 95 % interval of a paired bootstrap over images.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tadlib import report, studies
from tadlib.evaluation import scores
from tadlib.images import BadInput, replacing
from tadlib.networks import build
from tadlib.runs import is_trained, results
from tadlib.speed import speed_table

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


@dataclass(frozen=True)
class Claim:
    """One sentence of the report and how it is judged; `measure` is None for what cannot be tested."""

    id: str
    notebook: str
    section: str
    text: str
    printed: str
    number: str  # what the number is
    holds: float
    partly: float
    measure: Callable[[str], Measured] | None
    unit: str = "dB"
    at_most: bool = False  # the number has to stay below the thresholds
    remark: str = ""

    @property
    def threshold(self) -> str:
        if self.measure is None:
            return ""
        word = "at most" if self.at_most else "at least"
        return f"{self.number}: holds {word} {self.holds:g} {self.unit}, partly {word} {self.partly:g} {self.unit}"

    def verdict(self, value: float) -> str:
        sign = -1 if self.at_most else 1
        if sign * value >= sign * self.holds:
            return "holds"
        return "partly" if sign * value >= sign * self.partly else "not"


# ------------------------------------------------------------------------------------------- what is measured

def images(run: str, profile: str, set_name: str, scale: int | None = None, channel: str = "8bit",
           kind: str = "SHRT") -> pd.Series:
    """RGB PSNR of each image of a stored run, the mean over draws. Raises BadInput where it was not measured."""
    trained = report.stored(run, profile)
    if not is_trained(trained.run):
        raise BadInput(f"{run}: not trained yet")
    rows = scores(trained, (set_name,), (channel,), scale, measure=False)
    rows = rows[(rows["kind"] == kind) & (rows["channel"] == channel)]
    if not len(rows):
        raise BadInput(f"{run}: not measured on {set_name}, {channel}, x{scale or trained.run.scale}")
    return rows["psnr_rgb"].clip(upper=100).groupby(rows["image"]).mean()


def difference(a: pd.Series, b: pd.Series, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a - b over images and its 95 % interval, by a paired bootstrap with 10,000 resamples.

    Of fewer than five images there is no interval worth the name: NaN.
    """
    d = (a - b).to_numpy()
    if np.isnan(d).any():
        raise BadInput("the two models were scored on different images")
    if len(d) < 5:
        return float(d.mean()), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    resampled = d[rng.integers(0, len(d), (10_000, len(d)))].mean(1)
    return float(d.mean()), *map(float, np.quantile(resampled, (0.025, 0.975)))


def differences(pairs: list[tuple[str, str]], sets: tuple[str, ...], profile: str = "cpu") -> pd.DataFrame:
    """A row for each pair of runs and set: RGB dB by which the first exceeds the second, with its 95 % interval."""
    rows = []
    for a, b in pairs:
        for name in sets:
            value, low, high = difference(images(a, profile, name), images(b, profile, name))
            rows.append({"pair": f"{a} - {b}", "set": name, "dB": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def _sets(profile: str, wanted: tuple[str, ...] = SETS, run: str = "aetad") -> tuple[str, ...]:
    return report.scored_sets(run, profile, wanted)


def _advantage(a: str, b: str, sets: tuple[str, ...] = SETS, most: bool = False, **where):
    """By how much run a exceeds run b, on the set where it does so least (`most`: most)."""
    def measure(profile: str) -> Measured:
        usable = sets if sets == ("ColorDemo",) and profile != "smoke" else _sets(profile, sets, a)
        found = {s: difference(images(a, profile, s, **where), images(b, profile, s, **where)) for s in usable}
        value, low, high = (max if most else min)(found.values())
        return Measured(value, (a, b), ", ".join(f"{s} {d:+.2f}" for s, (d, _, _) in found.items()), low, high)
    return measure


def _over_each(run: str, rivals: tuple[str, ...], sets: tuple[str, ...] = SETS, most: bool = False):
    """The same for several rivals: the one which it exceeds least (`most`: most) counts."""
    def measure(profile: str) -> Measured:
        found = [_advantage(run, rival, sets, most)(profile) for rival in rivals]
        one = (max if most else min)(found, key=lambda m: m.value)
        return replace(one, runs=(run, *rivals), detail=f"{one.runs[1]}: {one.detail}")
    return measure


def _drop(run: str):
    """What noise of sigma 0.11 costs a run, in percent of its clean dB (the report's way of counting)."""
    def measure(profile: str) -> Measured:
        name = _sets(profile, ("Set14",))[0]
        clean, noisy = (images(run, profile, name, channel=c).mean() for c in ("8bit", "noise:0.11"))
        return Measured(100 * (clean - noisy) / clean, (run,), f"{name}: {clean:.2f} to {noisy:.2f} dB")
    return measure


def steps_to(run: str, profile: str, level: float, column: str = "held_out_shr", x: str = "step") -> float:
    """Steps (or another column) until a learning curve first reaches `level` dB, interpolated; NaN if it never does."""
    history = report.stored(run, profile).history
    above = history.index[history[column] >= level]
    if not len(above):
        return float("nan")
    last = above[0]
    if last == 0:
        return float(history[x].iloc[0])
    part = history.iloc[last - 1 : last + 1]
    return float(np.interp(level, part[column], part[x]))


def _quicker(fast: str, slow: str):
    """How many times as many steps `slow` takes to reach LEVEL as `fast` does."""
    def measure(profile: str) -> Measured:
        for run in (fast, slow):
            if not is_trained(studies.run(run, profile)):
                raise BadInput(f"{run}: not trained yet")
        quick, long = (steps_to(run, profile, LEVEL) for run in (fast, slow))
        if np.isnan(quick):
            raise BadInput(f"{fast}: never reaches {LEVEL:g} dB on the held-out crops")
        never = np.isnan(long)  # then the end of its training is a lower bound
        long = studies.run(slow, profile).steps if never else long
        detail = f"{LEVEL:g} dB on held-out crops after {quick:.0f} and {'more than ' * bool(never)}{long:.0f} steps"
        return Measured(long / quick, (fast, slow), detail)
    return measure


def _other_scales(profile: str) -> Measured:
    name = _sets(profile, ("Set14",))[0]
    lost = {s: images("eps_0", profile, name, s).mean() - images("eps_100_observed", profile, name, s).mean()
            for s in (2, 8, 16)}
    return Measured(float(np.mean(list(lost.values()))), ("eps_0", "eps_100_observed"),
                    name + ": " + ", ".join(f"x{s} {d:+.2f}" for s, d in lost.items()))


def _parity(profile: str) -> Measured:
    name = _sets(profile, ("Set14",))[0]
    at = {s: images("aetad_very_small", profile, name, s).mean() for s in (2, 4, 8, 16)}
    return Measured(at[16] - max(at[2], at[8]), ("aetad_very_small",),
                    name + ": " + ", ".join(f"x{s} {d:.2f}" for s, d in at.items()))


def _beyond_its_scale(profile: str) -> Measured:
    name = _sets(profile, ("Set5",))[0]
    value, low, high = difference(images("bicubic", profile, name, 4), images("aetad_x2", profile, name, 4))
    at = [images("aetad_x2", profile, name, s).mean() for s in (2, 4)]
    return Measured(value, ("bicubic", "aetad_x2"), f"{name}: x2 {at[0]:.2f}, x4 {at[1]:.2f}", low, high)


def _speed(profile: str) -> Measured:
    if not (results(profile) / "speed.csv").exists():
        raise BadInput("speed.csv: not measured yet (python -m tadlib speed)")
    table = speed_table(profile).set_index(["model", "scale"])
    both = [sum(table.loc[(m, 4), ["down s/MP", "up s/MP"]]) for m in ("aetad", "aetad_very_small")]
    return Measured(both[0] / both[1], ("aetad", "aetad_very_small"), f"{both[0]:.2f} and {both[1]:.2f} s a megapixel")


def _colour_gain(profile: str) -> Measured:
    name = _sets(profile, ("Set14",))[0]
    large, base = (images(n, profile, name).mean() for n in ("aetad_color_large", "aetad_color"))
    params = [build(n).parameters_count for n in ("aetad_color_large", "aetad_color")]
    return Measured(100 * (large / base - 1), ("aetad_color_large", "aetad_color"),
                    f"{name}: {large:.2f} against {base:.2f} dB; {params[0]:,} parameters against {params[1]:,}, "
                    f"{100 * (params[0] / params[1] - 1):+.1f} %")


def _fall(run: str):
    """By how many percent the task term falls in a training, from the first to the last tenth of its curve's points."""
    def measure(profile: str) -> Measured:
        if not is_trained(studies.run(run, profile)):
            raise BadInput(f"{run}: not trained yet")
        task = report.stored(run, profile).history["task"]
        count = max(1, len(task) // 10)
        first, last = task.iloc[:count].mean(), task.iloc[-count:].mean()
        return Measured(100 * (1 - last / first), (run,), f"{first:.2f} to {last:.2f} pixels")
    return measure


EPSILON, SISR, COLOUR = "01_epsilon_study", "02_sisr_architectures", "03_colorization"
VIDEO, FLOW = "04_video", "05_optical_flow"
TABLE_5 = ("Vid4/calendar", "Vid4/city")
CLAIMS = [
    Claim("noise_0", EPSILON, "4.1", "without the ball, noise of sigma 0.11 costs 42 % of the PSNR", "42 %",
          "drop of eps_0", 37, 27, _drop("eps_0"), "%"),
    Claim("noise_10", EPSILON, "4.1", "with epsilon = 10 the same noise costs only about 10 %", "10 %",
          "drop of eps_10_observed", 15, 25, _drop("eps_10_observed"), "%", at_most=True),
    Claim("robust", EPSILON, "4.1", "the ball's main contribution is robustness against noise",
          "42 % against 10 % lost at 0.11",
          "eps_10_observed over eps_0 at sigma 0.11", 1, 0.3,
          _advantage("eps_10_observed", "eps_0", ("Set14",), channel="noise:0.11")),
    Claim("quicker", EPSILON, "4.1, Fig. 16", "a larger epsilon speeds up convergence", "a curve",
          "steps of eps_0 over steps of eps_50_observed", 1.2, 1.05, _quicker("eps_50_observed", "eps_0"), "times",
          remark="seed 0 of each; with two more seeds of both (notebook 01) the ball is ahead in every pair"),
    Claim("too_large", EPSILON, "4.1, Fig. 15", "epsilon = 100 worsens the overall performance", "a curve",
          "clean, eps_10_observed over eps_100_observed", 0.3, 0.1,
          _advantage("eps_10_observed", "eps_100_observed", ("Set14",))),
    Claim("other_scales", EPSILON, "4.1, Table 1", "on scales not trained, accuracy worsens with epsilon",
          "x16: 18.9 to 13.2; x2: 8.4 to 10.9", "mean over x2, x8, x16, eps_0 over eps_100_observed", 0.5, 0.1,
          _other_scales),
    Claim("harmless", EPSILON, "4.1", "epsilon < 10 hardly affects the accuracy without noise", "no number",
          "most that a ball of 0.5 to 5 % of the range costs", 0.3, 0.6,
          _over_each("eps_0", ("eps_0.5", "eps_1", "eps_2", "eps_5"), most=True), at_most=True),
    Claim("trivial", EPSILON, "3.3, 4.1", "the ball prevents overfitting to the trivial solution X_SLR = X_GD",
          "no number", "at the report's weight, kink_ball_1 over kink_l1_0.1", 0.5, 0.2,
          _advantage("kink_ball_1", "kink_l1_0.1"), remark="there L1 does not stay at it; see the next row"),
    Claim("trap", EPSILON, "3.3, 4.1", "the same at twice that weight, at which L1 does stay there",
          "no number", "kink_ball_1_0.2 over kink_l1_0.2", 0.5, 0.2, _advantage("kink_ball_1_0.2", "kink_l1_0.2"),
          remark="added when the row above was known; its thresholds are that row's"),
    Claim("guidance", SISR, "3.4, Fig. 9", "adding the guidance image speeds up convergence", "a curve",
          "steps of aetad_unguided over steps of aetad", 1.2, 1.05, _quicker("aetad", "aetad_unguided"), "times"),
    Claim("iterative", SISR, "3.5, Fig. 10", "two steps of 2 are better than one step of 4", "a curve",
          "aetad over aetad_direct4, equal steps", 0.3, 0.1, _advantage("aetad", "aetad_direct4")),
    Claim("task_aware", SISR, "1, Fig. 1", "task-aware downscaling is a dramatic gain for the same decoder", "pictures",
          "aetad over no_tad, worst of four sets", 2, 1,
          _advantage("aetad", "no_tad", ("Set5", "Set14", "BSDS100", "Urban100"))),
    Claim("vdsr", SISR, "4.2", "no_tad is worse than other methods, e.g. VDSR", "Fig. 4", "vdsr over no_tad", 0.1, 0,
          _advantage("vdsr", "no_tad"), remark="in RGB; in Y, in which VDSR works, it is ahead by a tenth and less"),
    Claim("quarter_less", SISR, "4.2", "aetad_small is better than no_tad with 25 % fewer parameters", "25 %",
          "aetad_small over no_tad", 0.3, 0.1, _advantage("aetad_small", "no_tad"),
          remark="true of the PSNR at most: no_tad has 409,731 parameters, aetad_small 28 % more"),
    Claim("resblocks", SISR, "4.2", "resblocks beat plain convolutions at a similar number of parameters", "Fig. 17",
          "aetad_very_small over conv_only (both 375,926 parameters)", 0.3, 0.1,
          _advantage("aetad_very_small", "conv_only")),
    Claim("stagnates", SISR, "4.2", "beyond aetad_large more parameters hardly help", "Fig. 17",
          "aetad_very_large over aetad_large", 0.1, 0.3, _advantage("aetad_very_large", "aetad_large", most=True),
          at_most=True),
    Claim("large_drop", SISR, "4.2", "nets smaller than the baseline lose a lot of accuracy", "Fig. 17",
          "aetad over aetad_very_small", 0.5, 0.2, _advantage("aetad", "aetad_very_small")),
    Claim("44_percent", SISR, "abstract", "44 % fewer parameters at a similar accuracy",
          "-44 %; Set5 -1.51, Set14 -0.33", "aetad over aetad_very_small", 0.3, 0.6,
          _advantage("aetad", "aetad_very_small", ("Set5", "Set14", "BSDS100", "Urban100"), most=True), at_most=True),
    Claim("skip2", SISR, "4.2, Table 3", "aetad_skip2 does as well as the baseline of Kim et al. of the same size",
          "31.814 against 31.81 (Set5)", "aetad over aetad_skip2, both trained here", 0.1, 0.3,
          _advantage("aetad", "aetad_skip2", most=True), at_most=True),
    Claim("table3", SISR, "4.2, Table 3", "aetad_skip2 reaches 31.81 dB on Set5 and 28.67 dB on Set14",
          "31.814, 28.665", "", 0, 0, None,
          remark="study nets are trained a tenth as long here; the tool net stands in the README"),
    Claim("parity", SISR, "4.2, Table 2", "trained at x4, x2 and x8 collapse while x16 half survives",
          "8.5, 28.3, 7.8, 18.8", "x16 over the better of x2 and x8", 3, 1, _parity),
    Claim("overfits", SISR, "4.2, Fig. 18", "a net trained at x2 overfits on that scale", "a curve",
          "bicubic over aetad_x2 at x4", 0.3, 0, _beyond_its_scale),
    Claim("runtime", SISR, "Fig. 2", "the smaller net is much faster", "51 s and 18 s in a later version",
          "time of aetad over aetad_very_small", 2, 1.3, _speed, "times"),
    Claim("color_31", COLOUR, "abstract, Table 4", "colorization is 31 % better with 35.7 % more parameters",
          "31.26 against 23.78 dB on Set14",
          "dB of aetad_color_large over dB of aetad_color, both trained here", 20, 5, _colour_gain, "%"),
    Claim("equal_grey", COLOUR, "4.3, Fig. 20", "even colours that are alike in grey can be restored", "a picture",
          "aetad_color_large over no_tad_color on pictures of such objects", 3, 1,
          _advantage("aetad_color_large", "no_tad_color", ("ColorDemo",)),
          remark="two photographs; on a chart of equal greys the same net does hardly better than its rival"),
    Claim("everywhere", COLOUR, "4.1", "the ball's effect is similar over all other problems", "no number",
          "color_eps_10_observed over color_eps_0 at sigma 0.11", 1, 0.3,
          _advantage("color_eps_10_observed", "color_eps_0", ("Set14",), channel="noise:0.11"),
          remark="of colour alone, and of color_shuffle: the published colour nets have nothing to lose; not of video"),
    Claim("tad_vsr", VIDEO, "3.5, Table 5", "task-aware small frames help a VSR net",
          "18.573 against 19.190 (CALENDAR)",
          "sofvsr_tad over sofvsr, worse of two clips", 0.5, 0.2, _advantage("sofvsr_tad", "sofvsr", TABLE_5),
          remark="printed the other way round than a later version of the report has it"),
    Claim("frame_by_frame", VIDEO, "Table 5", "the autoencoder frame by frame beats both VSR nets",
          "21.297 against 19.190 and 18.573 (CALENDAR)",
          "aetad_video over the better of sofvsr and sofvsr_tad, worse of two clips", 0.5, 0.2,
          _over_each("aetad_video", ("sofvsr", "sofvsr_tad"), TABLE_5)),
    Claim("in_steps", VIDEO, "3.5", "training in steps is the most promising approach, above the direct one",
          "no number",
          "sofvsr_tad over direct, worse of two clips", 0.3, 0.1, _advantage("sofvsr_tad", "direct", TABLE_5)),
    Claim("flow", FLOW, "appendix", "the approach by optical flow does not converge", "no number",
          "fall of the motion error in aim_farneback", 5, 15, _fall("aim_farneback"), "%", at_most=True,
          remark="what falls is the latent term's doing: it pulls the frame back to bicubic; the flow has no gradient. "
                 "Batches differ by as much: notebook 05 averages more of them"),
]


def ledger(profile: str = "cpu", notebook: str | None = None) -> pd.DataFrame:
    """Every claim (of one notebook) with what stands for it now, a row each; nothing is trained for it."""
    rows = []
    for claim in CLAIMS:
        if notebook and claim.notebook != notebook:
            continue
        row = {"claim": claim.text, "section": claim.section, "printed": claim.printed, "measured": "", "detail": "",
               "low": None, "high": None, "threshold": claim.threshold, "verdict": "not testable", "runs": "",
               "remark": claim.remark, "id": claim.id}
        if claim.measure:
            try:
                found = claim.measure(profile)
                row |= {"measured": f"{found.value:.2f} {claim.unit}", "detail": found.detail,
                        "low": found.low, "high": found.high, "verdict": claim.verdict(found.value),
                        "runs": " ".join(report.stored(r, profile).folder.name for r in found.runs)}
            except BadInput as error:
                row |= {"verdict": "not measured", "remark": str(error)}
        rows.append(row)
    return pd.DataFrame(rows).round({"low": 2, "high": 2})


def table(profile: str = "cpu", notebook: str | None = None) -> pd.DataFrame:
    """The ledger as a notebook shows it: claim, what was printed, what is measured with its interval, verdict."""
    rows = ledger(profile, notebook)
    measured = [f"{r.measured} ({r.low:.2f} to {r.high:.2f})" if pd.notna(r.low) else r.measured
                for r in rows.itertuples()]
    return rows.assign(measured=measured).set_index("claim")[["printed", "measured", "verdict"]]


def reasons(profile: str = "cpu") -> pd.DataFrame:
    """The whole ledger for a reader: verdict, claim, what was printed, and a sentence that says why."""
    rows = ledger(profile)
    why = []
    for row in rows.itertuples():
        found = f"measured {row.measured} ({row.detail})" if row.detail else row.measured
        sentence = [found, row.threshold, row.remark]
        why.append("; ".join(part for part in sentence if part))
    return rows.assign(why=why)[["verdict", "claim", "section", "printed", "why"]]


def write(profile: str = "cpu") -> Path:
    """The whole ledger to results/<profile>/claims.csv."""
    path = results(profile) / "claims.csv"
    rows = ledger(profile)
    with replacing(path) as temporary:
        rows.to_csv(temporary, index=False)
    return path
