"""Tables as HTML for notebooks and pages: numbers right-aligned with equally many digits, units in the heads; and as
Markdown for the README.
"""
from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from IPython.display import HTML

NUMBER, TEXT = ' class="number" align="right"', ' style="text-align:left"'  # for a code host; for JupyterLab


def table(rows: pd.DataFrame, heads: Mapping[str, str] | None = None, digits: int | Mapping[str, int] = 2) -> HTML:
    """Rows as a table, the index left out.

    `heads` renames columns, units included ("Set5, dB"); `digits` are those behind the point of floats, of all columns
    or by column. Whole numbers get commas, NaN and None stay empty, `backticks` in texts become code.
    """
    names = {c: (heads or {}).get(c, str(c)) for c in rows.columns}
    sides = {c: NUMBER if pd.api.types.is_numeric_dtype(rows[c]) and rows[c].dtype != bool else TEXT for c in rows}
    head = "".join(f'<th scope="col"{sides[c]}>{text(names[c])}</th>' for c in rows.columns)
    places = {c: digits if isinstance(digits, int) else digits.get(str(c), 2) for c in rows.columns}
    lines = ["".join(f"<td{sides[c]}>{cell(value, places[c])}</td>" for c, value in zip(rows.columns, row, strict=True))
             for row in rows.itertuples(index=False)]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return HTML(f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>")


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts as a README has it."""
    lines = [f"| {' | '.join(line)} |" for line in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


def cell(value: object, digits: int = 2) -> str:
    """One value as `table` writes it."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.{digits}f}".replace("-", "−")
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    return text(str(value))


def text(markdown: str) -> str:
    """A text escaped, `code` in backticks marked as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(markdown, quote=False))


def beside(printed: pd.DataFrame, measured: pd.DataFrame, name: str, heads: Mapping[str, str] | None = None,
           digits: int | Mapping[str, int] = 2) -> HTML:
    """What was printed above what was measured, a table of both: the indexes under `name`, then their columns."""
    both = pd.concat({"printed": printed, "measured": measured}, names=["", name]).reset_index()
    order = ["", name, *measured.columns, *(c for c in printed.columns if c not in measured.columns)]
    return table(both[order], heads, digits)
