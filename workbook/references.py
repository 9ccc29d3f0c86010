"""What is cited: data/references.bib read, the labels under which notebooks cite it, and the list at the end of 06.

A notebook cites by an ordinary link whose text is the label: [Kim et al., 2018](06_report.ipynb#References). The file
is a strict subset of BibTeX (its first lines say which), for which no dependency is worth its place.
"""
from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from IPython.display import HTML

from tadlib.errors import BadInput
from tadlib.settings import ROOT

PLACE = ("journal", "booktitle", "howpublished")  # where it appeared, by kind of entry
LINK = re.compile(r"\[([^\]]+)\]\((?:06_report\.ipynb)?#References\)")


class Reference(NamedTuple):
    """One entry: its key, and its fields by name."""

    key: str
    fields: dict[str, str]

    @property
    def families(self) -> list[str]:
        return [author.partition(",")[0] for author in self.fields["author"].split(" and ")]

    @property
    def label(self) -> str:
        """As it is cited: one family name, two, or the first of more, and the year."""
        first, *others = self.families
        who = first if not others else f"{first} and {others[0]}" if len(others) == 1 else f"{first} et al."
        return f"{who}, {self.fields['year']}"


def read(text: str | None = None) -> list[Reference]:
    """Every entry of data/references.bib (or of a text), by label. Raises BadInput, with the line, for other BibTeX."""
    text = (ROOT / "data" / "references.bib").read_text() if text is None else text
    found = list(_entries(text.splitlines()))
    for one in found:
        lacking = [f for f in ("author", "title", "year") if f not in one.fields]
        if lacking or any("," not in author for author in one.fields["author"].split(" and ")):
            raise BadInput(f"references.bib: {one.key} has no {' and no '.join(lacking) or 'authors as Family, Given'}")
    for what in ([r.key for r in found], [r.label for r in found]):
        if twice := {w for w in what if what.count(w) > 1}:
            raise BadInput(f"references.bib: {', '.join(sorted(twice))} is there twice")
    return sorted(found, key=lambda r: r.label.casefold())


def _entries(lines: list[str]) -> Iterator[Reference]:
    entry: Reference | None = None
    for number, line in enumerate(lines, 1):
        opened, field = re.fullmatch(r"@\w+\{(\w+),", line), re.fullmatch(r"  (\w+) = \{([^{}]+)\},", line)
        if opened and entry is None:
            entry = Reference(opened[1], {})
        elif field and entry is not None and field[1] not in entry.fields:
            entry.fields[field[1]] = field[2]
        elif line == "}" and entry is not None:
            yield entry
            entry = None
        elif entry is not None or (line.strip() and not line.startswith("%")):
            raise BadInput(f"references.bib, line {number}: cannot be read: {line}")
    if entry is not None:
        raise BadInput(f"references.bib: {entry.key} is not closed")


def cited(markdown: str) -> list[str]:
    """The labels that a text links to the list of references."""
    return [" ".join(label.split()) for label in LINK.findall(markdown)]


def listed(labels: Collection[str] | None = None) -> HTML:
    """The list of references (or of those that are cited so) for a notebook: a paragraph each, its label first."""
    wanted = [reference for reference in read() if labels is None or reference.label in labels]
    return HTML("\n".join(f"<p>{_shown(reference)}</p>" for reference in wanted))


def _shown(reference: Reference) -> str:
    fields = {name: html.escape(value) for name, value in reference.fields.items()}
    names = [" ".join(reversed(author.split(", "))) for author in fields["author"].split(" and ")]
    where = [f"<i>{fields[p]}</i>" for p in PLACE if p in fields]
    if "volume" in fields:
        where.append(fields["volume"] + (f"({fields['number']})" if "number" in fields else ""))
    if "pages" in fields:
        where.append(f"pages {fields['pages'].replace('-', '–')}")
    title = f'<a href="{fields["url"]}">{fields["title"]}</a>' if "url" in fields else fields["title"]
    note = f" ({fields['note']})" if "note" in fields else ""
    where.append(fields["year"])
    return f"<b>{html.escape(reference.label)}.</b> {', '.join(names)}: {title}. {', '.join(where)}.{note}"
