"""What we claim of refinement, in the ledger's manner (claims.py): ours, and no sentence of the report.

The thresholds were committed before what they judge was measured. Known at that time: Set5 of tool_x4 and tool_color,
`robust` through JPEG 90 on Set5, and throw-away measurements on held-out crops and Set14 of an earlier method.
"""
from __future__ import annotations

from tadlib.errors import BadInput
from workbook import refinement, studies
from workbook.claims import Claim
from workbook.measurements import Measure, Measured, difference, per_image

HERE = "08_refinement"


def gain(run: str, steps: int, sets: tuple[str, ...], over: int = 0, column: str = "psnr_y", channel: str = "8bit",
         met: str = "", likeness: str = refinement.EQUAL, scale: int | None = None, most: bool = False) -> Measure:
    """By how much `steps` exceed `over` steps in a column, on the set where they do so least (`most`: most)."""
    def measure(profile: str) -> Measured:
        rows = refinement.read(profile)
        factor = scale or studies.trained(run, profile).run.scale
        mine = rows[(rows["model"] == run) & (rows["channel"] == channel) & (rows["met"] == (met or channel))
                    & (rows["likeness"] == likeness) & (rows["scale"] == factor)]
        found = {}
        for name in sets:
            here = mine[mine["set"] == name].set_index("image")
            one, other = (here.loc[here["steps"] == n, column].clip(upper=100) for n in (steps, over))
            whole = per_image(run, profile, name).index  # which images the set has
            if not (set(whole) <= set(one.index) and set(whole) <= set(other.index)):
                raise BadInput(f"{run}: {steps} steps on {name} are not measured (python -m workbook refine {run})")
            found[name] = difference(one, other)
        value, low, high = (max if most else min)(found.values())
        return Measured(value, (run,), ", ".join(f"{s} {d:+.2f}" for s, (d, _, _) in found.items()), low, high)
    return measure


def growth(run: str, steps: int, set_name: str) -> Measure:
    """By how many percent the small file grows through refinement: the mean of a set's images."""
    def measure(profile: str) -> Measured:
        found = gain(run, steps, (set_name,), column="lr_bytes")  # its message, where nothing is measured
        found(profile)
        rows = refinement.means(profile)
        mine = rows[(rows["model"] == run) & (rows["set"] == set_name) & (rows["channel"] == "8bit")
                    & (rows["met"] == "8bit") & (rows["likeness"] == refinement.EQUAL)].set_index("steps")["lr_bytes"]
        return Measured(100 * (mine[steps] / mine[0] - 1), (run,), f"{mine[0]:.0f} to {mine[steps]:.0f} bytes")
    return measure


def _claim(id: str, text: str, number: str, holds: float, partly: float, measure: Measure, unit: str = "dB",
           at_most: bool = False) -> Claim:
    return Claim(id, HERE, "", text, "", number, holds, partly, measure, unit, at_most, fixed="2026-11-25", ours=True)


CLAIMS = [
    _claim("five_steps", "five steps raise tool_x4 by 0.6 dB (Y) at equal likeness",
          "5 steps over none, Set14", 0.6, 0.4, gain("tool_x4", 5, ("Set14",))),
    _claim("ten_steps", "ten steps raise it by 0.8 dB (Y)",
          "10 steps over none, Set14", 0.8, 0.6, gain("tool_x4", 10, ("Set14",))),
    _claim("saturates", "thirty steps bring little beyond ten",
          "30 steps over 10, Set14 (Y)", 0.1, 0.2, gain("tool_x4", 30, ("Set14",), 10, most=True), at_most=True),
    _claim("at_x2", "ten steps raise tool_x2 by 0.7 dB (Y)",
          "10 steps over none, Set5", 0.7, 0.5, gain("tool_x2", 10, ("Set5",))),
    _claim("hidden_colour", "ten steps raise tool_color by 1.2 dB (RGB), the grey image no less like Y",
          "10 steps over none, Set14", 1.2, 0.8, gain("tool_color", 10, ("Set14",), column="psnr_rgb")),
    _claim("any_decoder", "refining a bicubic small image makes a plain decoder task-aware, untrained",
          "30 steps for no_tad, weight 0.3, over bicubic (RGB), worse of two sets", 0.5, 0.3,
          gain("no_tad", 30, ("Set5", "Set14"), column="psnr_rgb", likeness="0.3")),
    _claim("for_jpeg", "a code can be made for the JPEG file that it becomes",
          "robust, made for JPEG 90 (4:2:0), 10 steps over none (RGB), Set14", 0.7, 0.4,
          gain("robust", 10, ("Set14",), column="psnr_rgb", channel="jpeg:90")),
    _claim("no_more_fragile", "a refined code is no more fragile: through noise of sigma 0.02 it is ahead",
          "tool_x4, 10 steps over none, both through noise:0.02 (RGB), Set5", 0, -0.3,
          gain("tool_x4", 10, ("Set5",), column="psnr_rgb", met="noise:0.02")),
    _claim("as_small", "the refined PNG is no larger", "growth of the bytes of tool_x4, 10 steps, Set14",
          1, 3, growth("tool_x4", 10, "Set14"), "%", at_most=True),
    _claim("at_x8", "refinement helps at x8 as well",
          "aetad_any_scale, 10 steps over none (RGB), x8, Set5", 0.3, 0.1,
          gain("aetad_any_scale", 10, ("Set5",), column="psnr_rgb", scale=8)),
]
