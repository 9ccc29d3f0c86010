"""The pages that a batch ends with: each executed notebook, the report first, to be read anywhere, without a network.

Formulas become MathML, which browsers draw by themselves; pictures lie inside the pages and can be enlarged.
"""
from __future__ import annotations

import base64
import html
import mimetypes
import re
from pathlib import Path
from string import Template

import nbformat
from latex2mathml.converter import convert
from pygments.formatters import HtmlFormatter

from tadlib.settings import ROOT
from workbook.site import try_page

PARTS = Path(__file__).resolve().parent  # frame, style and template lie beside this file
REPORT = "06_report"  # is the page that one begins with
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
            written[-1].write_text(_page(titles[notebook.stem], _body(notebook), ready, notebook.stem))
    (site / f"{TRY}.html").write_text(_page("Try it", try_page.body(), ready, TRY))
    items = f'<li><a href="{TRY}.html">Try it: your own photograph, down and up, in this browser</a></li>\n'
    items += "\n".join(f'<li><a href="{stem}.html">{html.escape(title)}</a></li>' for stem, title in ready.items())
    report = _body(folder / f"{REPORT}.ipynb") if (folder / f"{REPORT}.ipynb").exists() else ""
    index = site / "index.html"
    index.write_text(_page(NAME, f"<h1>{NAME}</h1>\n<ul>\n{items}\n</ul>\n{report}", ready, "index"))
    return [*written, index]


def _title(notebook: Path) -> str:
    first = nbformat.read(notebook, 4).cells[0].source.splitlines()[0]
    return first.lstrip("# ").strip() or notebook.stem


def _page(title: str, body: str, titles: dict[str, str], here: str) -> str:
    links = [("index", NAME), (TRY, "Try it"), *((stem, stem[:2]) for stem in titles)]
    nav = "\n".join(f'<a href="{stem}.html"{" aria-current=page" if stem == here else ""} '
                    f'title="{html.escape(titles.get(stem, text))}">{html.escape(text)}</a>' for stem, text in links)
    light, dark = (HtmlFormatter(style=s).get_style_defs(".highlight") for s in ("default", "github-dark"))
    style = f"{(PARTS / 'style.css').read_text()}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    frame = Template((PARTS / "frame.html").read_text())
    return frame.substitute(title=html.escape(title), nav=nav, body=body, style=style)


def _body(notebook: Path) -> str:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.exclude_input_prompt = config.HTMLExporter.exclude_output_prompt = True
    config.HTMLExporter.preprocessors = ["nbconvert.preprocessors.TagRemovePreprocessor"]
    config.TagRemovePreprocessor.remove_cell_tags = ["parameters", "injected-parameters"]
    config.TagRemovePreprocessor.remove_all_outputs_tags = ["widget"]
    exporter = HTMLExporter(config=config, template_name=PARTS.name, extra_template_basedirs=[str(PARTS.parent)])
    shown = nbformat.read(notebook, 4)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas(cell.source)
    exporter.log.setLevel("ERROR")  # else it misses a description of every figure; the text around them is one
    body, _ = exporter.from_notebook_node(shown)
    body = re.sub(r'src="(\.\./[^"]+)"', lambda match: f'src="{_inside(ROOT / "notebooks" / match[1])}"', body)
    return body.replace('<img alt="No description has been provided for this image"', '<img alt="figure"')


def _inside(picture: Path) -> str:
    """A linked picture's bytes as an address: pages lie elsewhere than notebooks, and alone."""
    kind = mimetypes.guess_type(picture.name)[0]
    return f"data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def formulas(markdown: str) -> str:
    """Its $$...$$ and $...$ as MathML; code in backticks stays as it is."""
    def one(match: re.Match[str]) -> str:
        block, inline = match.group("block"), match.group("inline")
        if block is None and inline is None:
            return match.group(0)
        text = convert((block or inline).strip(), display="block" if block else "inline")
        return text.replace("\n", " ")

    return re.sub(r"```.*?```|`[^`]*`|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+?)\$", one, markdown, flags=re.S)
