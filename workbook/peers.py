"""What others reach at making a picture small and large again, as they say, and our tool nets beside them.

All PSNR here is without a border of as many pixels as the scale, as IRN's code measures (its codes/test.py); CAR's and
that of the clips is quoted beside it as if it were.
"""
from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from tadlib import networks
from tadlib.networks.tad import multiply_adds
from workbook import refinement, studies
from workbook.claims import FOUR, PRINTED_CLIPS
from workbook.speed import speed_table
from workbook.tables import quoted, score_table

OURS = {4: ("aetad", "tool_x4", "robust"), 2: ("tool_x2",)}
STEPS = (10, 30)  # of refinement, in the column of its own
REFINED = f"after {' / '.join(map(str, STEPS))} refinement steps"


def table(profile: str = "cpu") -> pd.DataFrame:
    """A row for each method and scale; PSNR of Y as text, "Y / RGB" for ours, "" where nothing is known.

    Columns: scale, down and up, parameters, multiply-adds per HR pixel and seconds a megapixel (ours, down and up),
    a set each, likeness (RGB PSNR of the small image against bicubic, on the first of them), and Y after refinement,
    as far as it was measured.
    """
    rows = []
    for scale in (4, 2):
        for name, entry in quoted()["rescaling_y"].items():
            if name != "source" and entry["scale"] == scale:
                rows.append({"scale": f"x{scale}", "down and up": f"{name.rpartition(',')[0]}, quoted",
                             "parameters": f"{entry['params'] / 1e6:.2f} M",
                             **{s: f"{entry[s]:.2f}" for s in FOUR}})
        rows += [_ours(name, scale, profile) for name in OURS[scale]]
    columns = ["scale", "down and up", "parameters", "multiply-adds / HR pixel", "s / MP", *FOUR, "likeness, dB",
               REFINED]
    return pd.DataFrame(rows, columns=columns).fillna("")


def _ours(name: str, scale: int, profile: str) -> dict[str, str]:
    trained = studies.trained(name, profile)
    model = trained.run.model
    sets = studies.scored_sets(name, profile, FOUR)
    found = score_table([name], sets, profile, ("SHRT", "SLR")).set_index(["kind", "set"])
    down, up = multiply_adds(networks.build(model), scale)
    speed = speed_table(profile).set_index(["model", "scale"]).loc[(model, scale)]
    return {"scale": f"x{scale}", "down and up": f"`{name}`, measured here",
            "parameters": f"{trained.record['params'] / 1e6:.2f} M",
            "multiply-adds / HR pixel": f"{down / 1e3:.0f} k + {up / 1e3:.0f} k",
            "s / MP": f"{speed['down s/MP']:.2f} + {speed['up s/MP']:.2f}",
            **{s: f"{found.psnr_y_crop['SHRT', s]:.2f} / {found.psnr_rgb_crop['SHRT', s]:.2f}" for s in FOUR
               if ("SHRT", s) in found.index},
            "likeness, dB": f"{found.psnr_rgb['SLR', sets[0]]:.1f}",
            REFINED: _refined(name, profile)}


def _of(name: str, profile: str, places: Iterable[str]) -> pd.DataFrame:
    """What refinement gives a run, at its own scale and equal likeness, as a plain file, on those of the sets and clips
    that were measured whole: see refinement.means.
    """
    rows = refinement.at_equal_likeness(refinement.means(profile))
    own = rows["scale"] == studies.named(name, profile).scale
    rows = rows[(rows["model"] == name) & (rows["channel"] == "8bit") & own & rows["set"].isin(places)]
    return rows[rows["images"] == rows["of"]]


def _refined(name: str, profile: str) -> str:
    rows = _of(name, profile, FOUR)
    wide = rows[rows["steps"].isin(STEPS)].pivot(index="set", columns="steps", values="psnr_y_crop").reindex(FOUR)
    found = {place: " / ".join("-" if pd.isna(value) else f"{value:.2f}" for value in row)
             for place, row in wide.reindex(columns=STEPS).iterrows() if not row.isna().all()}
    at_once = set(rows.loc[(rows["steps"] == max(STEPS)) & ~rows["settled"], "set"])  # measured before codes settled
    return ", ".join(f"{place} {text}{' (rounded at once)' * (place in at_once)}" for place, text in found.items())


def irn(scale: int = 4) -> dict[str, float]:
    """What IRN prints at x4 or x2, PSNR of Y, by set and, at x4, by clip (frame by frame)."""
    images, frames = quoted()["rescaling_y"][f"IRN, x{scale}"], quoted()["rescaling_vid4_y"]["IRN, frame by frame"]
    clips = {clip: frames[clip.split("/")[1]] for clip in PRINTED_CLIPS} if scale == 4 else {}
    return {name: images[name] for name in FOUR} | clips


def beside_irn(name: str, profile: str = "cpu") -> pd.DataFrame:
    """PSNR of Y where IRN prints its own: a row for each set or clip that was measured whole.

    Columns: where, images, what is printed, ours by refinement steps (NaN where not measured), likeness of the code
    that was refined most (RGB), and how it came to be whole.
    """
    theirs = irn(studies.named(name, profile).scale)
    rows = _of(name, profile, theirs)
    lines = []
    for place, printed in theirs.items():
        one = rows[rows["set"] == place].set_index("steps").sort_index()
        if len(one):
            ours = {f"{n} steps" if n else "not refined": one["psnr_y_crop"].get(n, float("nan")) for n in (0, *STEPS)}
            lines.append({"": place, "images": int(one["images"].max()), "IRN, quoted": printed, **ours,
                          "likeness": one["slr_rgb"].iloc[-1],
                          "rounded": "as it settled" if one["settled"].iloc[-1] else "at once"})
    return pd.DataFrame(lines)
