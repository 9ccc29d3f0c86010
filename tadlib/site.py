"""The pages that a batch ends with: each executed notebook and an index, to be read anywhere, without a network.

Formulas become MathML, which browsers draw by themselves; pictures lie inside the pages and can be enlarged.
"""
from __future__ import annotations

import html
import re
from pathlib import Path
from string import Template

import nbformat
from latex2mathml.converter import convert
from pygments.formatters import HtmlFormatter

PARTS = Path(__file__).resolve().parent / "page"


def build(executed: list[Path], site: Path) -> list[Path]:
    """Write a page for each executed notebook, and the index over all that are in `site` (the last one returned)."""
    site.mkdir(parents=True, exist_ok=True)
    titles = {p.stem: _title(p) for p in sorted(executed[0].parent.glob("[0-9][0-9]_*.ipynb"))}
    written = []
    for notebook in executed:
        written.append(site / f"{notebook.stem}.html")
        written[-1].write_text(_page(titles[notebook.stem], _body(notebook), titles, notebook.stem))
    ready = {stem: title for stem, title in titles.items() if (site / f"{stem}.html").exists()}
    items = "\n".join(f'<li><a href="{stem}.html">{html.escape(title)}</a></li>' for stem, title in ready.items())
    index = site / "index.html"
    name = "Task-aware downscaling"
    index.write_text(_page(name, f"<h1>{name}</h1>\n<ul>\n{items}\n</ul>", ready, "index"))
    return [*written, index]


def _title(notebook: Path) -> str:
    first = nbformat.read(notebook, 4).cells[0].source.splitlines()[0]
    return first.lstrip("# ").strip() or notebook.stem


def _page(title: str, body: str, titles: dict[str, str], here: str) -> str:
    links = [("index", "Task-aware downscaling"), *((stem, stem[:2]) for stem in titles)]
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
    exporter = HTMLExporter(config=config, template_name="page", extra_template_basedirs=[str(PARTS.parent)])
    shown = nbformat.read(notebook, 4)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas(cell.source)
    exporter.log.setLevel("ERROR")  # else it misses a description of every figure; the text around them is one
    body, _ = exporter.from_notebook_node(shown)
    return body.replace('<img alt="No description has been provided for this image"', '<img alt="figure"')


def formulas(markdown: str) -> str:
    """Its $$...$$ and $...$ as MathML; code in backticks stays as it is."""
    def one(match: re.Match) -> str:
        block, inline = match.group("block"), match.group("inline")
        if block is None and inline is None:
            return match.group(0)
        text = convert((block or inline).strip(), display="block" if block else "inline")
        return text.replace("\n", " ")

    return re.sub(r"```.*?```|`[^`]*`|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+?)\$", one, markdown, flags=re.S)
