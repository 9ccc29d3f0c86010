"""Tables from records, and the pages that a batch ends with. Nothing here is typed in or trained."""
from __future__ import annotations

import html
from pathlib import Path

import pandas as pd

from tadlib import networks, studies, training
from tadlib.codec import available
from tadlib.datasets import ROOT, is_here
from tadlib.evaluation import means, scores
from tadlib.networks.tad import multiply_adds
from tadlib.training import Trained

README_MARKS = ("<!-- results: made by `python -m tadlib readme` from results/cpu -->", "<!-- end of results -->")


def stored(name: str, profile: str = "cpu") -> Trained:
    """A stored run by name."""
    return training.stored(studies.run(name, profile))


def score_table(names: list[str], sets: tuple[str, ...], profile: str = "cpu", kinds: tuple[str, ...] = ("SHRT",)
                ) -> pd.DataFrame:
    """Mean scores of stored runs: a row for each run, set and kind, in the order asked for."""
    rows = [means(scores(stored(name, profile), sets)).assign(run=name) for name in names]
    rows = pd.concat(rows, ignore_index=True)
    rows = rows[rows["kind"].isin(kinds)]
    place = {"set": sets, "kind": kinds, "run": tuple(names)}
    return rows.sort_values(list(place), key=lambda c: c.map(place[c.name].index)).reset_index(drop=True)


def best_set(profile: str) -> str:
    """The set for a study's main curve: Set14 if it is here or was scored (and not in a smoke run), else the sample."""
    path = stored("aetad", profile).folder / "scores.csv"
    scored = path.exists() and (pd.read_csv(path, usecols=["set"])["set"] == "Set14").any()
    usable = "Set14" in studies.sets(profile) and (scored or is_here("Set14"))
    return "Set14" if usable else studies.sets(profile)[0]


def models_table(profile: str = "cpu") -> pd.DataFrame:
    """What `python -m tadlib models` prints: name, network, scale, parameters, mean PSNR where it was scored."""
    rows = []
    for name in available(profile):
        trained = stored(name, profile)
        mean = means(scores(trained, ("Set5", "Set14", "Sample"))) if (trained.folder / "scores.csv").exists() else None
        row = {"model": name, "network": trained.run.model, "scale": trained.run.scale,
               "params": trained.record["params"], "steps": trained.run.steps}
        for set_name in ("Set5", "Set14", "Sample"):
            here = mean[(mean["set"] == set_name) & (mean["kind"] == "SHRT")] if mean is not None else ()
            row[f"{set_name} RGB dB"] = round(here["psnr_rgb"].iloc[0], 2) if len(here) else None
        rows.append(row)
    return pd.DataFrame(rows)


def architectures_table() -> pd.DataFrame:
    """Every architecture with its words, parameters and multiply-adds per HR pixel at x4 (report, Fig. 26)."""
    rows = []
    for name, spec in networks.ZOO.items():
        model = networks.build(name)
        down, up = multiply_adds(model, 1 if spec.task == "colour" else 4)
        rows.append({"name": name, "family": spec.family, "params": model.parameters_count, "MAC/px down": round(down),
                     "MAC/px up": round(up), "encoder": spec.encoder, "decoder": spec.decoder, "note": spec.note})
    return pd.DataFrame(rows)


def readme_table(profile: str = "cpu") -> str:
    """The README's results as Markdown: RGB / Y PSNR of each committed model on each set, and the LR's likeness."""
    sets = [s for s in studies.SCORED if s != "Sample"]
    lines = ["| scale | down and up | parameters | " + " | ".join(sets) + " | LR to bicubic, Set5 |",
             "|---|---|---|" + "---|" * (len(sets) + 1)]
    rows = score_table(list(_README_NAMES), tuple(sets), profile, ("SHRT", "SLR"))
    for name, shown in _README_NAMES.items():
        mine = rows[rows["run"] == name]
        run = studies.run(name, profile)
        cells = []
        for set_name in sets:
            one = mine[(mine["set"] == set_name) & (mine["kind"] == "SHRT")]
            cells.append(f"{one['psnr_rgb'].iloc[0]:.2f} / {one['psnr_y'].iloc[0]:.2f}" if len(one) else "not scored")
        close = mine[(mine["set"] == "Set5") & (mine["kind"] == "SLR")]["psnr_rgb"]
        likeness = "is bicubic" if not len(close) or close.iloc[0] >= 100 else f"{close.iloc[0]:.1f}"
        params = f"{stored(name, profile).record['params']:,}"
        lines.append(f"| x{run.scale} | {shown} | {params} | " + " | ".join(cells) + f" | {likeness} |")
    return "\n".join(lines)


_README_NAMES = {
    "bicubic": "bicubic, bicubic", "lanczos": "bicubic, Lanczos", "no_tad": "bicubic, `no_tad`",
    "aetad": "`aetad` (the report's)",
    "tool_x4": "**`tool_x4`**", "bicubic_x2": "bicubic, bicubic", "tool_x2": "**`tool_x2`**",
}


def update_readme() -> bool:
    """Put the table made from the records between the README's marks; True if that changed the file."""
    path = ROOT / "README.md"
    text = path.read_text()
    before, rest = text.split(README_MARKS[0])
    _, after = rest.split(README_MARKS[1])
    new = f"{before}{README_MARKS[0]}\n{readme_table()}\n{README_MARKS[1]}{after}"
    if new != text:
        path.write_text(new)
    return new != text


def pages(executed: list[Path], site: Path) -> list[Path]:
    """Executed notebooks as HTML pages, readable offline, and an index of them (the last of the returned paths)."""
    from nbconvert import HTMLExporter
    from nbconvert.writers import FilesWriter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.preprocessors = ["nbconvert.preprocessors.TagRemovePreprocessor"]
    config.TagRemovePreprocessor.remove_cell_tags = ["parameters", "injected-parameters"]
    config.TagRemovePreprocessor.remove_all_outputs_tags = ["widget"]
    config.HTMLExporter.mathjax_url = ""
    exporter = HTMLExporter(config=config)
    site.mkdir(parents=True, exist_ok=True)
    written = []
    for notebook in executed:
        body, resources = exporter.from_filename(str(notebook))
        resources["output_extension"] = ".html"
        FilesWriter(build_directory=str(site)).write(body, resources, notebook.stem)
        written.append(site / f"{notebook.stem}.html")
    every = sorted(site.glob("[0-9]*.html"))
    links = "\n".join(f'<li><a href="{p.name}">{html.escape(p.stem)}</a></li>' for p in every)
    index = site / "index.html"
    index.write_text(f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Task-aware downscaling</title>
<style>body{{font:1.1rem/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem}}</style>
<h1>Task-aware downscaling</h1><ol start="0">{links}</ol></html>""")
    return [*written, index]
