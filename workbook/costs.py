"""What the tool costs, told from the records of the benchmarks (results/cpu), as Markdown for the README."""
from __future__ import annotations

import pandas as pd

from tadlib import settings
from workbook.markup import markdown
from workbook.records import read_table


def _record(name: str, profile: str, *columns: str) -> pd.DataFrame:
    return read_table(settings.results(profile) / f"{name}.csv", ("model", "cpu", "gpu", *columns))


def _where(rows: pd.DataFrame) -> str:
    """The machine of a record."""
    one = rows.iloc[0]
    gpu = one["gpu"] if isinstance(one["gpu"], str) and one["gpu"] else "no GPU"
    return f"{one['cpu']}, {one['cores' if 'cores' in rows else 'threads']} cores, {gpu}"


def backends(profile: str = "cpu") -> str:
    """Both backends beside each other (backends.csv, by benchmarks/backends.py)."""
    rows = _record("backends", profile, "threads", "what", "unit", "by torch", "by onnxruntime")
    lines = [[row["what"], f"{row['by torch']:.3g} {row['unit']}", f"{row['by onnxruntime']:.3g} {row['unit']}"]
             for _, row in rows.iterrows()]
    return markdown([f"`{rows['model'][0]}`; {_where(rows)}", "PyTorch", "onnxruntime"], lines)


def refining(profile: str = "cpu") -> str:
    """Seconds and memory of refinement (refine_cost.csv, by benchmarks/refine.py), as a sentence."""
    rows = _record("refine_cost", profile, "threads", "precision", "steps", "megapixels", "s/MP a step", "peak GB")
    rows = rows[rows["model"] == rows["model"][0]]
    some = rows[rows["steps"] > 0].groupby("precision")["s/MP a step"].agg(["min", "max"]).sort_values("min")
    words = {"bf16-mixed": "bfloat16", "32-true": "float32"}
    seconds = " and ".join(f"{least:.1f} to {most:.1f} in {words[str(kind)]}"
                           for kind, least, most in some.itertuples())
    spans = [f"{size:g} megapixels" if size != 1 else "a megapixel" for size in sorted(rows["megapixels"].unique())]
    return (f"A step of `{rows['model'][0]}` took {seconds}, in seconds a megapixel ({_where(rows)}), in PyTorch, and "
            f"the whole command at most {rows['peak GB'].max():.2f} GB, for {' as for '.join(spans)}: "
            "`benchmarks/refine.py` says what it takes on your machine.")


def jobs(profile: str = "cpu") -> str:
    """Two jobs against one (jobs.csv, by benchmarks/jobs.py), as a sentence."""
    rows = _record("jobs", profile, "cores", "command", "side", "ratio")
    ratios = " and ".join(f"{row['ratio']:.1f} ({row['command']})" for _, row in rows.iterrows())
    return (f"Two jobs made {ratios} times the pictures a second that one made (`{rows['model'][0]}`, pictures of "
            f"{rows['side'][0]} x {rows['side'][0]}; {_where(rows)}).")
