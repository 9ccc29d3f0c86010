"""The README's tables of results, made from the stored records."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tadlib import settings
from tadlib.channel import Channel
from tadlib.run import Run
from tadlib.settings import ROOT
from workbook import costs, peers, pictures, refinement, scale, studies
from workbook.markup import markdown
from workbook.measurements import difference, per_image, seed_range, trained_for
from workbook.records import read_table
from workbook.summary import sentences
from workbook.tables import quoted, score_table

MADE = "<!-- {}: made by `python -m workbook readme` from results/cpu -->"
END = "<!-- end of {} -->"

# the kind, the sets, what the small image should resemble, and the runs as they are called there
TABLES: list[tuple[str, list[str], str, dict[str, str]]] = [
    ("down and up", [s for s in studies.SCORED if s != "Sample"], "LR to bicubic, Set5", {
        "bicubic": "bicubic, bicubic", "lanczos": "bicubic, Lanczos", "no_tad": "bicubic, `no_tad`",
        "aetad": "`aetad` (the report's)", "no_tad_x4": "bicubic, `no_tad_x4`", "tool_x4_short": "`tool_x4_short`",
        "tool_x4_middle": "`tool_x4_middle`", "tool_x4_24k": "`tool_x4_24k`", "tool_x4": "**`tool_x4`**",
        "robust_short": "`robust_short`", "robust_middle": "`robust_middle`", "robust_10k": "`robust_10k`",
        "robust_20k": "`robust_20k`",
        "robust": "**`robust`**, for lossy ways",
        "bicubic_x2": "bicubic, bicubic", "tool_x2_short": "`tool_x2_short`", "tool_x2": "**`tool_x2`**"}),
    ("colour from grey", [s for s in studies.SCORED if s != "Sample"], "grey to Y, Set5", {
        "grey": "Y alone, no colour", "cic_color": "Y, guessed (after Zhang et al.)",
        "aetad_color_large": "`aetad_color_large` (the report's)", "tool_color": "**`tool_color`**"}),
    ("video, down and up", list(studies.CLIPS), "LR to bicubic, calendar", {
        "bicubic": "bicubic, bicubic", "sofvsr": "bicubic, SOF-VSR", "aetad_video": "`aetad` frame by frame",
        "sofvsr_tad": "`aetad`, SOF-VSR (the report's recipe)", "tool_x4_short": "`tool_x4_short` frame by frame",
        "tool_x4_middle": "`tool_x4_middle` frame by frame", "tool_x4_24k": "`tool_x4_24k` frame by frame",
        "tool_x4": "**`tool_x4`** frame by frame",
        "joint_x4": "**`joint_x4`**, three frames"}),
]


def readme_table(profile: str = "cpu") -> str:
    """The README's results as Markdown, a table for each task: RGB / Y PSNR of each model on each set, and likeness."""
    tables = []
    for kind, sets, likeness, names in TABLES:
        rows = score_table(list(names), tuple(sets), profile, ("SHRT", "SLR"))
        sets = [s for s in sets if s != "VDIV2K" or (rows["set"] == s).any()]  # a column only where it was scored
        heads = ["scale", kind, "parameters", "trained", *(s.rpartition("/")[2] for s in sets), likeness]
        lines = []
        for name, shown in names.items():
            mine = rows[rows["run"] == name].set_index(["kind", "set"])
            one = [mine.loc[("SHRT", s)] if ("SHRT", s) in mine.index else None for s in sets]
            cells = ["not scored" if r is None else f"{r['psnr_rgb']:.2f} / {r['psnr_y']:.2f}" for r in one]
            close = mine["psnr_rgb"].get(("SLR", sets[0]), 100)
            trained = studies.trained(name, profile)
            lines.append([f"x{trained.run.scale}", shown, f"{trained.record['params']:,}", _trained(trained.run),
                          *cells, "the same" if close >= 100 else f"{close:.1f}"])
        tables.append(markdown(heads, lines))
    return "\n\n".join([*tables, _beside_others(profile)])


def _trained(run: Run) -> str:
    """Steps, of all goes, x patches x pixels of a training, briefly; and if it was on whole DIV2K, not on its crops."""
    if not run.trains:
        return ""
    steps, goes, starts = trained_for(run)
    own = f"{steps:,} x {run.batch} x {run.patch}²{', DIV2K' if 'DIV2K' in run.train else ''}"
    return own + f" in {goes} goes" * (goes > 1) + f" after `{'` and `'.join(starts)}`" * bool(starts)


def _beside_others(profile: str) -> str:
    """The tool nets among their peers (peers.py), PSNR of Y, ours in RGB as well, as Markdown."""
    rows = peers.table(profile)
    return markdown(list(rows.columns), rows.itertuples(index=False))


def refined_table(profile: str = "cpu") -> str:
    """What refinement gives on Set5 (refined.csv): RGB / Y PSNR by steps, likeness before and after, as Markdown."""
    rows = refinement.at_equal_likeness(refinement.means(profile)).query("set == 'Set5'")
    rows = rows[rows["model"].isin(studies.NEEDS["08_refinement"])]
    rows = rows[rows["scale"] == rows["model"].map(lambda name: studies.named(name, profile).scale)]  # each at its own
    steps = sorted(rows["steps"].unique())
    lines = []
    for (model, channel), one in rows.groupby(["model", "channel"], sort=False):
        at = one.set_index("steps")
        cells = [f"{at.psnr_rgb[n]:.2f} / {at.psnr_y[n]:.2f}" if n in at.index else "" for n in steps]
        way = "" if channel == "8bit" else f", through {Channel.parse(channel).words}"
        close = at["slr_rgb"]
        ends = close.iloc[[0, -1]] if len(close) > 1 else close
        lines.append([f"`{model}`{way}", *cells, ", ".join(f"{value:.1f}" for value in ends)])
    return markdown(["Set5", *("not refined" if n == 0 else f"{n} steps" for n in steps), "likeness"], lines)


def fuzzed_table(profile: str = "cpu") -> str:
    """What became of strange and spoiled input (fuzz.csv, by tests/fuzz.py), by kind, as Markdown."""
    rows = read_table(settings.results(profile) / "fuzz.csv", (
        "kind", "cases", "used", "refused", "killed", "troubles", "seconds_max", "megabytes_max", "minutes", "seed"))
    whole = rows.iloc[-1]
    heads = ["", "cases", "used", "refused", "ended by a signal", "in trouble", "longest, s", "memory, MB"]
    lines = [[row.kind, f"{row.cases:,}", f"{row.used:,}", f"{row.refused:,}", f"{row.killed:,}", f"{row.troubles}",
              f"{row.seconds_max:.0f}", f"{row.megabytes_max:,}"] for row in rows.itertuples()]
    return (f"The last long run: {whole['cases']:,} cases in {whole['minutes']:.0f} minutes on one busy core, seed "
            f"{whole['seed']}; in trouble: {whole['troubles']}.\n\n{markdown(heads, lines)}")


def lossy(profile: str = "cpu") -> str:
    """What `robust` costs and gives beside `tool_x4`, on two sets, as a sentence."""
    def apart(channel: str, sign: int = 1) -> str:
        found = sorted(sign * float(difference(per_image("robust", profile, name, channel=channel),
                                               per_image("tool_x4", profile, name, channel=channel))[0])
                       for name in ("Set5", "Set14"))
        return " to ".join(dict.fromkeys(f"{value:.1f}" for value in found))

    return (f"* {apart('8bit', -1)} dB less where nothing happens (RGB; Set5 and Set14),\n"
            f"* {apart('jpeg:90')} dB more than `tool_x4` after JPEG 90, {apart('jpeg444:90')} dB with full chroma,\n"
            f"* {apart('cycles:5', -1)} dB less after five times down and up, and a small image that is less like the "
            "ordinary one.")


def short(profile: str = "cpu") -> str:
    """The workbook in five paragraphs."""
    return "\n\n".join(sentences(profile, "notebooks/06_report.ipynb"))


def spread(profile: str = "cpu") -> str:
    """How far trainings of one and the same net differ: by seed, and on another machine, as a sentence."""
    def widest(names: Iterable[str], kind: str = "SHRT") -> float:
        ranges = [seed_range(name, "Set5", profile, kind) for name in names]
        return max(high - low for low, high in ranges if high > low)

    rows = score_table(["color_shuffle"], ("Set5",), profile, ("SHRT", "SLR")).set_index("kind")["psnr_rgb"]
    again = quoted()["color_shuffle_again"]["color_shuffle"]
    return ("* A training is one draw of many: three seeds of a net differ by up to "
            f"{widest(studies.SEEDS):.2f} dB on Set5 (RGB) and their small images' likeness by "
            f"{widest(studies.SEEDS, 'SLR'):.1f}, those of a colour net by {widest(studies.COLOUR_SEEDS):.2f} and "
            f"their grey images' distance from Y by {widest(studies.COLOUR_SEEDS, 'SLR'):.1f}; two nets of which "
            "there is one training each are not told apart by less. Other hardware is another "
            f"draw: `color_shuffle`, trained again from its row on another machine, gave {again['colours']:.2f} "
            f"instead of {rows['SHRT']:.2f} dB there, and a grey image {again['grey to Y']:.1f} instead of "
            f"{rows['SLR']:.1f} dB from Y.")


def captioned(text: str) -> str:
    """Each figure of results/cpu in a Markdown text with the caption of its file: as alt text, and below in small."""
    def one(match: re.Match[str]) -> str:
        caption = pictures.caption(settings.results("cpu") / "figures" / match["name"])
        if not caption:
            return match[0]
        return f"![{pictures.plain(caption)}](results/cpu/figures/{match['name']})<br><sub>{caption}</sub>"

    return re.sub(r"!\[[^\]]*\]\(results/cpu/figures/(?P<name>[^)]+)\)(<br><sub>.*?</sub>)?", one, text)


PASSAGES: dict[str, Callable[[], str]] = {
    "results": readme_table, "refined": refined_table, "fuzzed": fuzzed_table, "short": short, "spread": spread,
    "scale": scale.passage, "lossy": lossy, "backends": costs.backends, "refining": costs.refining, "jobs": costs.jobs}


def update_readme() -> bool:
    """Put tables and sentences between the README's marks, and captions to its figures; True if that changed the file.

    Raises ValueError without the marks.
    """
    path = ROOT / "README.md"
    old = path.read_text()
    new = captioned(old)
    for name, passage in PASSAGES.items():
        before, after = re.split(rf"<!-- {name}: [^>]* -->\n.*?{END.format(name)}", new, flags=re.DOTALL)
        new = f"{before}{MADE.format(name)}\n{passage()}\n{END.format(name)}{after}"
    if new != old:
        path.write_text(new)
    return new != old
