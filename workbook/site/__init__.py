"""The pages that a batch ends with: each executed notebook, the report first, to be read anywhere, without a network.

Formulas become MathML, which browsers draw by themselves; pictures lie in pictures/ beside the pages, at twice the
resolution where a batch drew them so, and can be enlarged.
"""
from __future__ import annotations

import html
import re
from pathlib import Path
from string import Template

import nbformat
from pygments.formatters import HtmlFormatter

from workbook.site import try_page
from workbook.site.inside import PARTS, PICTURES, REPORT, body

TRY = "try"
NAME = "Task-aware downscaling"


def build(executed: list[Path], site: Path) -> list[Path]:
    """Write a page for each executed notebook, and the index over all that are in `site` (the last one returned).

    The index is the report, if it was ever executed beside these, below links to all other pages; one of these is
    "Try it" (try_page.py), which no notebook makes.
    """
    site.mkdir(parents=True, exist_ok=True)
    folder = executed[0].parent
    titles = {p.stem: _title(p) for p in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if p.stem != REPORT}
    now = {notebook.stem for notebook in executed}
    ready = {stem: title for stem, title in titles.items() if stem in now or (site / f"{stem}.html").exists()}
    written = []
    for notebook in executed:
        if notebook.stem != REPORT:
            written.append(site / f"{notebook.stem}.html")
            written[-1].write_text(_page(titles[notebook.stem], body(notebook, site), ready, notebook.stem))
    (site / f"{TRY}.html").write_text(_page("Try it", try_page.body(), ready, TRY))
    items = f'<li><a href="{TRY}.html">Try it: your own photograph, down and up, in this browser</a></li>\n'
    items += "\n".join(f'<li><a href="{stem}.html">{html.escape(title)}</a></li>' for stem, title in ready.items())
    report = body(folder / f"{REPORT}.ipynb", site) if (folder / f"{REPORT}.ipynb").exists() else ""
    index = site / "index.html"
    index.write_text(_page(NAME, f"<h1>{NAME}</h1>\n<ul>\n{items}\n</ul>\n{report}", ready, "index"))
    _sweep(site)
    return [*written, index]


def _sweep(site: Path) -> None:
    """Take away pictures that no page shows any more."""
    shown = {name for page in site.glob("*.html") for name in re.findall(rf'"{PICTURES}/([^"]+)"', page.read_text())}
    for picture in (site / PICTURES).glob("*.*"):
        if picture.name not in shown:
            picture.unlink()


def _title(notebook: Path) -> str:
    first = nbformat.read(notebook, 4).cells[0].source.splitlines()[0]
    return first.lstrip("# ").strip() or notebook.stem


def _page(title: str, inside: str, titles: dict[str, str], here: str) -> str:
    links = [("index", NAME), (TRY, "Try it"), *((stem, stem[:2]) for stem in titles)]
    nav = "\n".join(f'<a href="{stem}.html"{" aria-current=page" if stem == here else ""} '
                    f'title="{html.escape(titles.get(stem, text))}">{html.escape(text)}</a>' for stem, text in links)
    light, dark = (HtmlFormatter(style=s).get_style_defs(".highlight") for s in ("default", "github-dark"))
    style = f"{(PARTS / 'style.css').read_text()}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    frame = Template((PARTS / "frame.html").read_text())
    return frame.substitute(title=html.escape(title), nav=nav, body=inside, style=style,
                            script=(PARTS / "page.js").read_text())
