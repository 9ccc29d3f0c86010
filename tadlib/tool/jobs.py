"""One piece of work for each file of a folder: a bad one stops none of the others, and what becomes of all is told."""
from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Protocol

from tadlib.errors import BadInput, tell

NO_MEMORY = re.compile(r"(?i)(allocate|out of) memory|map segment|start new thread|not enough memory|bad_alloc|"
                       r"could not create a (primitive|memory)")
Pair = tuple[Path, Path]  # what is read and what is written


class Work(Protocol):
    """What a command does with one picture (work.py)."""

    options: argparse.Namespace  # another process makes its own of them
    notes: dict[str, None]  # what is to be told in the end, each thing once
    growth: int  # pixels of what is made for one of what is read, at most

    def __call__(self, source: Path, target: Path) -> None: ...


def each(options: argparse.Namespace, work: Work, jpeg: bool = False) -> int:
    """work(in, out) for each pair of files; in a folder a bad one is told at the end and stops none of the others.

    With --skip-existing what is there already is left as it is; with --jobs several processes share a folder.
    """
    from tadlib.tool.pictures import inputs, left_out, pairs, refuse_inputs
    from tadlib.tool.progress import watched  # here: `--help` needs no tqdm

    source, target, skip = options.input, options.output, options.skip_existing
    todo = pairs(source, target, jpeg, options.recursive)
    known = inputs(todo)
    count = len(todo)
    todo = [(one, other) for one, other in todo if not (skip and other.exists())]

    def allowed(pair: Pair) -> None:
        refuse_inputs(pair[1], known)

    if len(todo) == 1 and not source.is_dir():
        allowed(todo[0])
        for pair in watched(todo, source.name, 1, "image"):
            _with_memory(work, *pair)
        return 0
    others = left_out(source, target, options.recursive) if source.is_dir() else ""
    jobs = min(options.jobs, len(todo))
    if jobs > 1:
        from tadlib.tool.workers import outcomes

        good = _all(todo, outcomes(todo, work, jobs, allowed), source.name, "image")
    else:
        good = _all(todo, (tried(work, pair, allowed) for pair in todo), source.name, "image")
    there = f", {count - len(todo)} were there" if skip else ""
    print(f"{good} of {count} images written to {target}{there}{others and f'; left out: {others}'}")
    return 2 if good < len(todo) else 0


def each_clip(todo: list[Pair], work: Callable[[Path, Path], object], options: argparse.Namespace) -> int:
    good = _all(todo, (tried(work, pair) for pair in todo), options.input.name, "clip")
    print(f"{good} of {len(todo)} clips written to {options.output}")
    return 2 if good < len(todo) else 0


def _all(todo: list[Pair], outcomes: Generator[BadInput | None, None, None], name: str, unit: str) -> int:
    """How many went well. What did not is told at the end, once each."""
    from tadlib.tool.progress import watched  # here: `--help` needs no tqdm

    good, bad = 0, dict[str, None]()
    with closing(outcomes):
        for _ in watched(todo, name, len(todo), unit):
            trouble = next(outcomes)
            good += trouble is None
            if trouble:
                bad[str(trouble)] = None
        next(outcomes, None)  # to its own end: closed before that, it would end processes that wait for more
    for line in bad:
        tell(line)
    return good


def tried(work: Callable[[Path, Path], object], pair: Pair, allowed: Callable[[Pair], None] = lambda pair: None
          ) -> BadInput | None:
    """What is wrong with a pair of files, if anything is."""
    try:
        allowed(pair)
        _with_memory(work, *pair)
    except BadInput as error:
        return error
    return None


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
