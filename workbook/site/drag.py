"""A slider as HTML: a figure whose panels each show one cell of a picture that holds all of its states.

The script (page.js) moves the cells by native range inputs. Without scripts the first state is there, and below it all
of them as still grids with what is said of each.
"""
from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tadlib.errors import BadInput
from workbook.site import sliders

BASIS = ("The photograph (bundled with scikit-image, public domain) is halved first; the numbers are of this picture "
         "alone, before it became WebP.")


def section(name: str, pictures: Path) -> str:
    """The slider of that name, its pictures in that folder; or, in one sentence, what is missing for it."""
    try:
        told = sliders.states(name, pictures)
    except BadInput as error:
        print(f"slider {name}: {error}")
        return f'<p class="missing">A slider is missing here: {html.escape(str(error))}.</p>'
    panels = "\n".join(_panel(panel, f"{pictures.name}/{panel['picture']}") for panel in told["panels"])
    controls = "\n".join(_control(*control) for control in told["controls"].items())
    still = "\n".join(_grid(panel, told["controls"], f"{pictures.name}/{panel['picture']}") for panel in told["panels"]
                      if _count(panel) != (1, 1))
    return (f'<figure class="drag" id="slider-{name}">\n<h3>{html.escape(told["title"])}</h3>\n'
            f'<div class="panels">\n{panels}\n</div>\n<div class="controls" hidden>\n{controls}\n</div>\n'
            f'<figcaption>{html.escape(told["caption"])} {BASIS}</figcaption>\n'
            f"<noscript>\n{still}\n</noscript>\n</figure>")


def _count(panel: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of its states."""
    return len(panel["said"]), len(panel["said"][0])


def _control(name: str, positions: Sequence[str]) -> str:
    first, every = html.escape(positions[0]), html.escape("|".join(positions))
    return (f'<label><span>{html.escape(name)}</span><input type="range" min="0" max="{len(positions) - 1}" step="1" '
            f'value="0" autocomplete="off" aria-valuetext="{first}" data-names="{every}"><output>{first}</output>'
            "</label>")


def _panel(panel: dict[str, Any], picture: str) -> str:
    rows, columns = _count(panel)
    title, said = html.escape(panel["title"]), [html.escape(text) for text in chain(*panel["said"])]
    return (f'<div class="panel{" small" * panel["small"]}" data-rows="{rows}" data-columns="{columns}" '
            f'data-said="{"|".join(said)}" style="--rows: {rows}; --columns: {columns}"><p>{title}</p>'
            f'<div class="window"><img src="{picture}" width="{panel["width"] * columns}" '
            f'height="{panel["height"] * rows}" loading="lazy" alt="{title}: {said[0]}"></div>'
            f'<p class="said">{said[0]}</p></div>')


def _grid(panel: dict[str, Any], controls: dict[str, Sequence[str]], picture: str) -> str:
    """All states at once, and what is said of each in a table."""
    ways = zip(("from top to bottom", "from left to right"), controls.items(), _count(panel), strict=False)
    lines = [f"{way} {name}: {', '.join(positions)}" for way, (name, positions), count in ways if count > 1]
    told = html.escape(f"{panel['title']}, all states; {'; '.join(lines)}")
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in panel["said"])
    return f'<p>{told}</p>\n<img src="{picture}" loading="lazy" alt="{told}">\n<table><tbody>{rows}</tbody></table>'
