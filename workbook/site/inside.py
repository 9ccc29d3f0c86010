"""An executed notebook as the inside of a page: pictures as files beside it, tables in boxes, links between pages."""
from __future__ import annotations

import base64
import html
import io
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from latex2mathml.converter import convert
from nbformat import NotebookNode
from PIL import Image

from tadlib.settings import results
from workbook import references
from workbook.pictures import LARGE, MIME, key
from workbook.site import drag

PARTS = Path(__file__).resolve().parent  # frame, style, script and template lie beside this file
REPORT = "06_report"  # is the page that one begins with
LIST = "References"  # the heading of the list of what is cited, and its place in the page
PICTURES = "pictures"  # the folder beside the pages
SLIDERS = {"01_epsilon_study": "epsilon", "03_colorization": "likeness", "08_refinement": "refinement"}
CAPTION = re.compile(r"\*\*Figure (?P<number>\d+)\.\*\*")
NUMBER = re.compile(r"[-+\N{MINUS SIGN}±~<>≤≥]?\s*(\d[\d.,]*|nan)(\s*[/±]\s*\d[\d.,]*)*\s*[%×]?", re.I)


def body(notebook: Path, site: Path) -> str:
    """The page's inside; what it shows lies in site/pictures afterwards."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.exclude_input_prompt = config.HTMLExporter.exclude_output_prompt = True
    config.HTMLExporter.preprocessors = ["nbconvert.preprocessors.TagRemovePreprocessor"]
    config.TagRemovePreprocessor.remove_cell_tags = ["parameters", "injected-parameters"]
    exporter = HTMLExporter(config=config, template_name=PARTS.name, extra_template_basedirs=[str(PARTS.parent)])
    shown = nbformat.read(notebook, 4)
    _prepare(shown, notebook.stem, site / PICTURES)
    text, _ = exporter.from_notebook_node(shown)
    soup = BeautifulSoup(text, "html.parser")
    for table in soup.find_all("table"):
        boxed(soup, table)
    for link in soup.find_all("a", href=re.compile(r"^\d\d_\w+\.ipynb(#|$)")):
        own = link["href"] == f"{REPORT}.ipynb#{LIST}" and soup.find(id=LIST)
        page = re.sub(rf"^{REPORT}\.", "index.", str(link["href"])).replace(".ipynb", ".html")
        link["href"] = f"#{LIST}" if own else page
    return str(soup)


def _prepare(notebook: NotebookNode, stem: str, pictures: Path) -> None:
    """Its formulas as MathML, its pictures as figures, in place of widgets the slider that answers without a kernel."""
    large = {p.stem.rpartition("-")[2]: p for p in results("cpu").parent.glob(f"*/figures/{LARGE}/*.webp")}
    slider = drag.section(SLIDERS[stem], pictures) if stem in SLIDERS else ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas(cell.source)
        elif cell.cell_type == "code" and "widget" in cell.metadata.get("tags", []):
            cell.outputs = [_html(slider)] if slider else []
            slider = ""
        elif cell.cell_type == "code":
            cell.outputs = _figures(cell.outputs, pictures, large)
    if slider:
        notebook.cells.append(nbformat.v4.new_code_cell("", outputs=[_html(slider)]))
    labels = {label for cell in notebook.cells for label in references.cited(cell.source)}
    if labels and stem != REPORT:  # which lists all
        notebook.cells.append(nbformat.v4.new_markdown_cell(f"## {LIST}\n\n{references.listed(labels).data}"))


def _html(text: str) -> NotebookNode:
    return nbformat.v4.new_output("display_data", data={"text/html": text})


def _figures(outputs: list[NotebookNode], pictures: Path, large: Mapping[str, Path]) -> list[NotebookNode]:
    """Each picture with the caption that follows it as one figure; all else stays."""
    shown: list[NotebookNode] = []
    waiting = list(outputs)
    while waiting:
        output = waiting.pop(0)
        data = output.get("data", {})
        kind = next((kind for kind in MIME.values() if kind in data), None)
        if "text/markdown" in data:
            data["text/markdown"] = formulas("".join(data["text/markdown"]))
        if kind is None:
            shown.append(output)
            continue
        following = "".join(waiting[0].get("data", {}).get("text/markdown", "")) if waiting else ""
        caption = following if CAPTION.match(following) else ""
        if caption:
            waiting.pop(0)
        alt = output.metadata.get(kind, {}).get("alt", "")
        shown.append(_html(_figure(base64.b64decode("".join(data[kind])), kind, alt, caption, pictures, large)))
    return shown


def _figure(data: bytes, kind: str, alt: str, caption: str, pictures: Path, large: Mapping[str, Path]) -> str:
    """A picture as a file and what shows it: a link to the file, which a script makes an enlargement in place."""
    from nbconvert.filters import markdown2html

    better = large.get(key(data))
    name = better.name if better else f"{key(data)}.{kind.partition('/')[2]}"
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / name).write_bytes(better.read_bytes() if better else data)
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    number = CAPTION.match(caption)
    identity = f' id="figure-{number["number"]}"' if number else ""
    below = f"<figcaption>{markdown2html(formulas(caption))}</figcaption>" if caption else ""
    return (f'<figure class="picture"{identity} style="--width: {width}px"><a href="{PICTURES}/{name}"><img '
            f'src="{PICTURES}/{name}" width="{width}" height="{height}" loading="lazy" alt="{html.escape(alt)}"></a>'
            f"{below}</figure>")


def boxed(soup: BeautifulSoup, table: Tag) -> None:
    """A table in a box that scrolls, with one head: pandas names the index below the columns, in a row of its own.
    Columns of numbers are marked; they are counted from the right, for there no cell spans rows.
    """
    for named, below in itertools.pairwise(table.select("thead > tr")):
        cells, names = named.find_all("th"), below.find_all("th")
        over = [(c, n) for c, n in zip(cells, names, strict=False) if n.get_text(strip=True)]
        if len(cells) == len(names) and not any(c.get_text(strip=True) for c, _ in over):
            for cell, name in over:
                cell.string = name.get_text(strip=True)
            below.decompose()
    rows = [row.find_all(["td", "th"]) for row in table.find_all("tr")]
    for column in range(1, 1 + max(map(len, rows), default=0)):
        one = [row[-column] for row in rows if len(row) >= column]
        texts = [text for cell in one if cell.name == "td" and (text := cell.get_text(strip=True))]
        if texts and sum(bool(NUMBER.fullmatch(text)) for text in texts) > len(texts) / 2:
            for cell in one:
                if cell.name == "td" or cell.find_parent("thead"):
                    cell["class"] = "number"
    table.wrap(soup.new_tag("div", attrs={"class": "wide", "tabindex": "0", "role": "region", "aria-label": "table"}))


def formulas(markdown: str) -> str:
    """Its $$...$$ and $...$ as MathML; code in backticks stays as it is."""
    def one(match: re.Match[str]) -> str:
        block, inline = match.group("block"), match.group("inline")
        if block is None and inline is None:
            return match.group(0)
        text = convert((block or inline).strip(), display="block" if block else "inline")
        return text.replace("\n", " ")

    return re.sub(r"```.*?```|`[^`]*`|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+?)\$", one, markdown, flags=re.S)
