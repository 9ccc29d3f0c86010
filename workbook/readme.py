"""The README's tables of results, made from the stored records."""
from __future__ import annotations

import re

from tadlib.channel import Channel
from tadlib.settings import ROOT
from workbook import refinement, studies
from workbook.tables import quoted, score_table

MADE = "<!-- {}: made by `python -m workbook readme` from results/cpu -->"
END = "<!-- end of {} -->"

# the kind, the sets, what the small image should resemble, and the runs as they are called there
TABLES: list[tuple[str, list[str], str, dict[str, str]]] = [
    ("down and up", [s for s in studies.SCORED if s != "Sample"], "LR to bicubic, Set5", {
        "bicubic": "bicubic, bicubic", "lanczos": "bicubic, Lanczos", "no_tad": "bicubic, `no_tad`",
        "aetad": "`aetad` (the report's)", "tool_x4": "**`tool_x4`**", "robust": "**`robust`**, for lossy ways",
        "bicubic_x2": "bicubic, bicubic", "tool_x2": "**`tool_x2`**"}),
    ("colour from grey", [s for s in studies.SCORED if s != "Sample"], "grey to Y, Set5", {
        "grey": "Y alone, no colour", "cic_color": "Y, guessed (after Zhang et al.)",
        "aetad_color_large": "`aetad_color_large` (the report's)", "tool_color": "**`tool_color`**"}),
    ("video, down and up", list(studies.CLIPS), "LR to bicubic, calendar", {
        "bicubic": "bicubic, bicubic", "sofvsr": "bicubic, SOF-VSR", "aetad_video": "`aetad` frame by frame",
        "sofvsr_tad": "`aetad`, SOF-VSR (the report's recipe)", "tool_x4": "**`tool_x4`** frame by frame",
        "joint_x4": "**`joint_x4`**, three frames"}),
]


def readme_table(profile: str = "cpu") -> str:
    """The README's results as Markdown, a table for each task: RGB / Y PSNR of each model on each set, and likeness."""
    tables = []
    for kind, sets, likeness, names in TABLES:
        heads = ["scale", kind, "parameters", *(s.rpartition("/")[2] for s in sets), likeness]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        rows = score_table(list(names), tuple(sets), profile, ("SHRT", "SLR"))
        for name, shown in names.items():
            mine = rows[rows["run"] == name].set_index(["kind", "set"])
            one = [mine.loc[("SHRT", s)] if ("SHRT", s) in mine.index else None for s in sets]
            cells = ["not scored" if r is None else f"{r['psnr_rgb']:.2f} / {r['psnr_y']:.2f}" for r in one]
            close = mine["psnr_rgb"].get(("SLR", sets[0]), 100)
            trained = studies.trained(name, profile)
            lines.append(f"| x{trained.run.scale} | {shown} | {trained.record['params']:,} | " + " | ".join(cells)
                         + f" | {'the same' if close >= 100 else f'{close:.1f}'} |")
        tables.append("\n".join(lines))
    return "\n\n".join([*tables, _beside_others(profile)])


def _beside_others(profile: str) -> str:
    """What others reach at x4, as they say (data/quoted.toml), and what the tool does: PSNR of Y as Markdown."""
    sets = [s for s in studies.SCORED if s != "Sample"]
    entries = {f"{name}, quoted": v for name, v in quoted()["rescaling_x4_y"].items() if name != "source"}
    mine = score_table(["tool_x4"], tuple(sets), profile).set_index("set")["psnr_y"]
    entries["**`tool_x4`**, measured here"] = mine.to_dict()
    lines = [f"| x4, Y alone | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{v[s]:.2f}' for s in sets)} |" for name, v in entries.items()]
    return "\n".join(lines)


def refined_table(profile: str = "cpu") -> str:
    """What refinement gives on Set5 (refined.csv): RGB / Y PSNR by steps, likeness before and after, as Markdown."""
    rows = refinement.means(profile).query("set == 'Set5' and likeness == 'as before' and met == channel")
    steps = sorted(rows["steps"].unique())
    lines = [f"| Set5 | {' | '.join('not refined' if n == 0 else f'{n} steps' for n in steps)} | likeness |",
             "|---" * (len(steps) + 2) + "|"]
    for (model, channel), one in rows.groupby(["model", "channel"], sort=False):
        at = one.set_index("steps")
        cells = [f"{at.psnr_rgb[n]:.2f} / {at.psnr_y[n]:.2f}" if n in at.index else "" for n in steps]
        way = "" if channel == "8bit" else f", through {Channel.parse(channel).words}"
        close = at["slr_rgb"]
        lines.append(f"| `{model}`{way} | {' | '.join(cells)} | " + (
            f"{close.iloc[0]:.1f}, {close.iloc[-1]:.1f} |" if len(close) > 1 else f"{close.iloc[0]:.1f} |"))
    return "\n".join(lines)


def update_readme() -> bool:
    """Put the tables between the README's marks; True if that changed the file. Raises ValueError without the marks."""
    path = ROOT / "README.md"
    old = new = path.read_text()
    for name, table in (("results", readme_table()), ("refined", refined_table())):
        before, after = re.split(rf"<!-- {name}: [^>]* -->\n.*?{END.format(name)}", new, flags=re.DOTALL)
        new = f"{before}{MADE.format(name)}\n{table}\n{END.format(name)}{after}"
    if new != old:
        path.write_text(new)
    return new != old
