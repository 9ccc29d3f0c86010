"""The ledger as a reader sees it: a board of coloured verdicts, and a table that says how each of them came about."""
from __future__ import annotations

import html

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from workbook import figures
from workbook.claims import VERDICTS
from workbook.markup import NUMBER, TEXT, cell, text

PER_ROW = 5
# a strong and a pale colour of each verdict, and a sign: nothing is said by the colour alone (Okabe and Ito's palette)
LOOKS = {
    "holds": ("#009e73", "#cdebe1", "✓"), "partly": ("#e69f00", "#fbe6bf", "~"), "not": ("#d55e00", "#f7d3bd", "✗"),
    "not testable": ("#777777", "#e6e6e6", "–"), "not measured": ("#777777", "#e6e6e6", "?")}
THEMES = {"01_epsilon_study": "the ball", "02_sisr_architectures": "super-\nresolution", "03_colorization": "colour",
          "04_video": "video", "05_optical_flow": "optical flow"}
WORDS = {  # of each claim, for a box of two lines
    "noise_0": "noise costs 42 %\nwithout the ball", "noise_10": "... and 10 %\nwith it",
    "robust": "the ball is for\nrobustness", "quicker": "a larger ball\nis quicker",
    "too_large": "epsilon 100 is\ntoo large",
    "other_scales": "the ball harms\nother scales", "harmless": "epsilon below 10\nis harmless",
    "trivial": "saved from the\ntrivial solution", "guidance": "adding guidance\nis quicker",
    "iterative": "two steps of 2\nbeat one of 4", "task_aware": "joint training:\na dramatic gain",
    "vdsr": "no_tad is below\nVDSR", "quarter_less": "better, with 25 %\nfewer weights",
    "resblocks": "resblocks beat\nconvolutions", "stagnates": "larger nets\nhardly help",
    "large_drop": "smaller nets\nlose a lot", "44_percent": "as accurate, 44 %\nfewer weights",
    "skip2": "skip2 equals\nthe baseline", "table3": "31.81 dB\non Set5", "parity": "x2, x8 collapse,\nx16 survives",
    "overfits": "trained at x2:\nfails at x4", "runtime": "the small net is\nmuch faster",
    "color_31": "colours 31 %\nbetter", "equal_grey": "equal greys are\ntold apart",
    "everywhere": "the ball works\neverywhere", "tad_vsr": "task-aware frames\nhelp a VSR net",
    "frame_by_frame": "frame by frame\nbeats VSR nets", "in_steps": "training in steps\nbeats direct",
    "flow": "flow does not\nconverge"}

def board(ledger: pd.DataFrame) -> Figure:
    """Every claim of the report as a box in the colour of its verdict, a row or more for each notebook."""
    rows: list[tuple[str, pd.DataFrame]] = []
    claims = ledger[ledger["whose"] == "the report"]
    for notebook, mine in claims.groupby("notebook", sort=False):
        for start in range(0, len(mine), PER_ROW):
            rows.append(("" if start else THEMES[str(notebook)], mine.iloc[start : start + PER_ROW]))
    figure = figures.blank(7.5, 0.43 * len(rows) + 0.35)
    ax = figure.subplots()
    ax.set(xlim=(-0.72, PER_ROW), ylim=(len(rows), -0.75))
    ax.set_axis_off()
    for y, (theme, mine) in enumerate(rows):
        ax.text(-0.7, y + 0.5, theme, va="center", fontsize=8, fontweight="bold")
        for x, row in enumerate(mine.itertuples()):
            strong, pale, sign = LOOKS[row.verdict]
            ax.add_patch(Rectangle((x + 0.02, y + 0.05), 0.96, 0.9, facecolor=pale))
            ax.add_patch(Rectangle((x + 0.02, y + 0.05), 0.04, 0.9, facecolor=strong))
            ax.text(x + 0.12, y + 0.5, sign, va="center", ha="center", fontsize=9, fontweight="bold", color="#222222")
            ax.text(x + 0.19, y + 0.5, WORDS.get(row.id, row.id), va="center", fontsize=7, linespacing=1.1)
    for x, (verdict, number) in enumerate(counts(claims).items()):
        strong, pale, sign = LOOKS[verdict]
        ax.add_patch(Rectangle((x + 0.02, -0.6), 0.04, 0.45, facecolor=strong))
        ax.text(x + 0.1, -0.37, f"{sign} {verdict}: {number}", va="center", fontsize=8)
    return figure


def counts(claims: pd.DataFrame) -> dict[str, int]:
    """How many claims there are of each verdict, in the order of VERDICTS, those of none left out."""
    found = claims["verdict"].value_counts()
    return {v: int(found[v]) for v in VERDICTS if v in found}


def ledger_table(ledger: pd.DataFrame) -> HTML:
    """Claims as a table that pages let sort and filter: number and unit apart, and what a verdict is made of."""
    heads = {"verdict": TEXT, "claim": TEXT, "section": TEXT, "printed": TEXT, "measured": NUMBER, "unit": TEXT,
             "95 % from": NUMBER, "to": NUMBER, "how it was judged": TEXT}
    lines = []
    for row in ledger.itertuples():
        number, _, unit = row.measured.partition(" ")
        changed = f"Rule changed {row.changed}." if row.changed else ""
        judged = "<br>".join(text(part) for part in (row.rule, row.detail, row.remark, changed) if part)
        lines.append(
            f'<tr data-verdict="{row.verdict}"><td class="verdict {row.verdict}"{TEXT}>{LOOKS[row.verdict][2]} '
            f"{row.verdict}</td><td{TEXT}>{text(row.claim)}</td><td{TEXT}>{text(row.section)}</td>"
            f"<td{TEXT}>{text(row.printed)}</td><td{NUMBER}>{html.escape(number).replace('-', '−')}</td>"
            f"<td{TEXT}>{text(unit)}</td><td{NUMBER}>{cell(row.low)}</td><td{NUMBER}>{cell(row.high)}</td>"
            f"<td{TEXT}>{judged}</td></tr>")
    head = "".join(f'<th scope="col"{side}>{name}</th>' for name, side in heads.items())
    body = "\n".join(lines)
    return HTML(f'<table class="ledger" data-sortable>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
                "</table>")
