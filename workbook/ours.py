"""What we claim of refinement, in the ledger's manner (claims.py): ours, and no sentence of the report.

The thresholds were committed before what they judge was measured. Known at that time: Set5 of tool_x4 and tool_color,
`robust` through JPEG 90 on Set5, and throw-away measurements on held-out crops and Set14 of an earlier method.
"""
from __future__ import annotations

from tadlib.errors import BadInput
from workbook import refinement, studies
from workbook.claims import Claim
from workbook.measurements import Measure, Measured, difference

HERE = "08_refinement"
FIRST_20 = 20  # images of BSDS100 and Urban100, by name, where refining all of them takes hours


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
            if not len(one) or not len(other):
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


CLAIMS = [
    Claim("five_steps", HERE, "", "five steps raise tool_x4 by 0.6 dB (Y) at equal likeness", "",
          "5 steps over none, Set14", 0.6, 0.4, gain("tool_x4", 5, ("Set14",))),
    Claim("ten_steps", HERE, "", "ten steps raise it by 0.8 dB (Y)", "",
          "10 steps over none, Set14", 0.8, 0.6, gain("tool_x4", 10, ("Set14",))),
    Claim("saturates", HERE, "", "thirty steps bring little beyond ten", "",
          "30 steps over 10, Set14 (Y)", 0.1, 0.2, gain("tool_x4", 30, ("Set14",), 10, most=True), at_most=True),
    Claim("at_x2", HERE, "", "ten steps raise tool_x2 by 0.7 dB (Y)", "",
          "10 steps over none, Set5", 0.7, 0.5, gain("tool_x2", 10, ("Set5",))),
    Claim("hidden_colour", HERE, "", "ten steps raise tool_color by 1.2 dB (RGB), the grey image no less like Y", "",
          "10 steps over none, Set14", 1.2, 0.8, gain("tool_color", 10, ("Set14",), column="psnr_rgb")),
    Claim("any_decoder", HERE, "", "refining a bicubic small image makes a plain decoder task-aware, untrained",
          "",
          "30 steps for no_tad, weight 0.3, over bicubic (RGB), worse of two sets", 0.5, 0.3,
          gain("no_tad", 30, ("Set5", "Set14"), column="psnr_rgb", likeness="0.3")),
    Claim("for_jpeg", HERE, "", "a code can be made for the JPEG file that it becomes", "",
          "robust, made for JPEG 90 (4:2:0), 10 steps over none (RGB), Set14", 0.7, 0.4,
          gain("robust", 10, ("Set14",), column="psnr_rgb", channel="jpeg:90")),
    Claim("no_more_fragile", HERE, "", "a refined code is no more fragile: through noise of sigma 0.02 it is ahead",
          "",
          "tool_x4, 10 steps over none, both through noise:0.02 (RGB), Set5", 0, -0.3,
          gain("tool_x4", 10, ("Set5",), column="psnr_rgb", met="noise:0.02")),
    Claim("as_small", HERE, "", "the refined PNG is no larger", "", "growth of the bytes of tool_x4, 10 steps, Set14",
          1, 3, growth("tool_x4", 10, "Set14"), "%", at_most=True),
    Claim("other_scales", HERE, "", "refinement helps at x8 and x16 as well", "",
          "aetad_any_scale, 10 steps over none (RGB), x8, Set5", 0.3, 0.1,
          gain("aetad_any_scale", 10, ("Set5",), column="psnr_rgb", scale=8)),
]
