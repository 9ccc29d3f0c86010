"""`python -m workbook publish`: the notebooks that the last batch executed, back in their place and cleaned."""
from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from tadlib.errors import BadInput
from tadlib.files import replacing
from tadlib.settings import ROOT


def publish(profile: str = "cpu") -> list[Path]:
    """Put the executed notebooks of the last batch in notebooks/, cleaned: what a reader on a code host sees.

    Dropped are the cell that papermill injected, outputs of widgets (they need a kernel), times and paths, and what is
    on stderr: how far something had come. What a cell printed is in one piece, however the kernel sent it. One that
    failed or was interrupted is left out, and that is told. Raises BadInput for one that is damaged.
    """
    written = []
    for executed in sorted((ROOT / "build" / profile).glob("[0-9][0-9]_*.ipynb")):
        target = ROOT / "notebooks" / executed.name
        try:
            notebook = nbformat.read(executed, 4)
        except ValueError:
            raise BadInput(f"{executed}: damaged; run it again (python -m workbook batch)") from None
        if not all(_ran(cell) for cell in notebook.cells):
            print(f"{target.name}: left as it is, for it was not executed to its end", file=sys.stderr)
            continue
        kept = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
        if target.exists() and [c.source for c in kept] != [c.source for c in nbformat.read(target, 4).cells]:
            print(f"{target.name}: left as it is, for it was changed since it was executed", file=sys.stderr)
            continue
        count, whole = 0, CoalesceStreamsPreprocessor()
        for cell in kept:
            tags = cell.metadata.get("tags", [])
            cell.metadata = {"tags": tags} if tags else {}
            if cell.cell_type == "code":
                count += 1
                cell.execution_count = count
                shown = [output for output in cell.outputs if output.get("name") != "stderr"]
                cell.outputs = [] if "widget" in tags else shown
                whole.preprocess_cell(cell, {}, count)
                for output in cell.outputs:
                    if "execution_count" in output:
                        output.execution_count = count
        notebook.cells = kept
        names = notebook.metadata.kernelspec
        notebook.metadata = {"kernelspec": names, "language_info": {"name": "python"}}
        with replacing(target) as temporary:
            nbformat.write(notebook, temporary)
        written.append(target)
    return written


def _ran(cell: nbformat.NotebookNode) -> bool:
    """Whether papermill came to the end of a cell, as it notes there."""
    return cell.metadata.get("papermill", {}).get("status", "completed") == "completed"
