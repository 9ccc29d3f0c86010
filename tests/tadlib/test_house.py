"""The house stands as it was drawn: who may import whom, what is loaded when, how much there is of it."""
from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tadlib.settings import ROOT

FLOORS = (("errors", "settings", "pixels", "resize"), ("files", "channel", "tasks", "machine"), ("networks", "data"),
          ("losses", "run"), ("evaluation", "stored"), ("training",), ("tool", "__main__"))
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
           for path in sorted((ROOT / "tadlib").rglob("*.py"))}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Every module that a file may import, as far as its text says; or only those that it does when it is imported."""
    def nodes(parent: ast.AST) -> Iterator[ast.AST]:
        for node in ast.iter_child_nodes(parent):
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            if everywhere or not (inside or types):
                yield node
                yield from nodes(node)

    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def test_every_room_has_its_floor():
    assert {room(module) for module in MODULES} == {*FLOOR, ""}


def test_no_room_imports_one_on_a_higher_floor():
    above = [f"{module} imports {other}" for module, path in MODULES.items() if module != "tadlib"
             for other in imports(path) if other.startswith("tadlib.")
             if FLOOR[room(other)] > FLOOR[room(module)]]
    assert above == []


def test_nobody_is_needed_by_what_he_needs():
    graph = {module: {other for other in imports(path, everywhere=False) if other in MODULES and other != module}
             for module, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_library_does_not_know_the_workbook():
    knowing = [module for module, path in MODULES.items() for name in imports(path) if name.split(".")[0] == "workbook"]
    assert knowing == []


def test_the_library_is_thin():
    files = [path for module, path in MODULES.items() if room(module) != "tool"]
    lines = sum(len(path.read_text().splitlines()) for path in files)
    # asked for were 3,100: training on several processes and pictures read in strips took what was left, and more;
    # sets larger than memory (data/mapped.py and what asks for it) another 120
    assert len(files) <= 34 and lines <= 3420, (len(files), lines)


def loaded(*arguments: str) -> set[str]:
    """The modules that Python has imported when it has done this."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in names or "tadlib" in names  # they were listed
    return names


HEAVY = {"torch", "pandas", "av", "cv2", "skimage"}


@pytest.mark.parametrize("arguments", [("-m", "tadlib", "--help"), ("-m", "tadlib", "downscale", "--help"),
                                       ("-c", "import tadlib; tadlib.__version__")])
def test_a_word_of_help_loads_nothing_heavy(arguments):
    assert loaded(*arguments) & HEAVY == set()


def test_the_networks_load_neither_films_nor_tables_nor_sets():
    names = loaded("-c", "import tadlib.networks")
    assert "torch" in names
    assert names & {"av", "pandas", "cv2", "skimage.io", "tadlib.files", "tadlib.stored"} == set()
    assert not any(name.startswith("tadlib.data") for name in names)


def test_what_the_package_exports_is_there_when_it_is_asked_for():
    import tadlib

    for name in tadlib.__all__:
        assert getattr(tadlib, name) is not None
    with pytest.raises(AttributeError, match="module 'tadlib' has no attribute 'nonesuch'"):
        tadlib.nonesuch  # noqa: B018
