"""Signs of life of a long job: a bar where somebody looks, a line now and then where the output goes to a file."""
from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from threading import Event, Thread
from typing import TypeVar

from tqdm import tqdm

from tadlib.errors import plain, tell

T = TypeVar("T")
FIRST, EVERY = 5.0, 30.0  # seconds to the first line (what is done before says nothing), and between two


def watched(things: Iterable[T], name: str, total: int | None, unit: str) -> Iterator[T]:
    """The things, one after another, while how many of them are done is shown on stderr; also while one takes long."""
    if sys.stderr.isatty():
        yield from tqdm(things, desc=plain(name), total=total, unit=unit, disable=total == 1)
        return
    start, over, done = time.monotonic(), Event(), 0

    def live() -> None:
        pause = FIRST
        while not over.wait(pause):
            tell(said(name, done, total, unit, time.monotonic() - start))
            pause = EVERY

    Thread(target=live, daemon=True).start()
    try:
        for thing in things:
            yield thing
            done += 1
    finally:
        over.set()


def said(name: str, done: int, total: int | None, unit: str, passed: float) -> str:
    """The line after so many seconds."""
    left = f", {_minutes(passed / done * (total - done))} left" if total and done else ""
    return f"{name}: {done}{f' of {total}' if total else ''} {unit}s in {_minutes(passed)}{left}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
