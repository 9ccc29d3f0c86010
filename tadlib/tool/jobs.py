"""One piece of work for each file of a folder: a bad one stops none of the others, and what becomes of all is told."""
from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from tadlib.errors import BadInput, tell

NO_MEMORY = re.compile(r"(?i)(allocate|out of) memory|map segment|start new thread|not enough memory|bad_alloc|"
                       r"could not create a (primitive|memory)")


def each(options: argparse.Namespace, work: Callable[[Path, Path], list[str]], notes: dict[str, None],
          jpeg: bool = False) -> int:
    """work(in, out) for each pair of files; in a folder a bad one is told at the end and stops none of the others.

    With --skip-existing what is there already is left as it is. What `work` returns goes into the notes.
    """
    from tadlib.tool.pictures import inputs, left_out, pairs, refuse_inputs

    source, target, skip = options.input, options.output, options.skip_existing
    todo = pairs(source, target, jpeg, options.recursive)
    known = inputs(todo)
    count = len(todo)
    todo = [(one, other) for one, other in todo if not (skip and other.exists())]

    def checked(one: Path, other: Path) -> None:
        refuse_inputs(other, known)
        notes.update(dict.fromkeys(work(one, other)))

    if len(todo) == 1 and not source.is_dir():
        _with_memory(checked, *todo[0])
        return 0
    others = left_out(source, target, options.recursive) if source.is_dir() else ""
    bad = _all(todo, checked, source.name, "image")
    there = f", {count - len(todo)} were there" if skip else ""
    print(f"{len(todo) - bad} of {count} images written to {target}{there}{others and f'; left out: {others}'}")
    return 2 if bad else 0


def each_clip(todo: list[tuple[Path, Path]], work: Callable[[Path, Path], int], options: argparse.Namespace) -> int:
    bad = _all(todo, work, options.input.name, "clip")
    print(f"{len(todo) - bad} of {len(todo)} clips written to {options.output}")
    return 2 if bad else 0


def _all(todo: list[tuple[Path, Path]], work: Callable[[Path, Path], object], name: str, unit: str) -> int:
    """How many went wrong, told at the end."""
    from tadlib.tool.progress import watched  # here: `--help` needs no tqdm

    bad: list[BadInput] = []
    for one, other in watched(todo, name, len(todo), unit):
        try:
            _with_memory(work, one, other)
        except BadInput as error:
            bad.append(error)
    for trouble in bad:
        tell(trouble)
    return len(bad)


def _with_memory(work: Callable[[Path, Path], object], one: Path, other: Path) -> None:
    try:
        work(one, other)
    except Exception as error:
        if lacks_memory(error):
            raise BadInput(f"{one}: there is not enough memory for it") from None
        raise


def lacks_memory(error: BaseException) -> bool:
    """Whether it says, in any library's words, that there is no memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError) and NO_MEMORY.search(str(error)) is not None)
