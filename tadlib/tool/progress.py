"""Signs of life of a long job: a bar where somebody looks, a line now and then where the output goes to a file."""
from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from tadlib.errors import plain, tell

T = TypeVar("T")
FIRST, EVERY = 2.0, 30.0  # seconds to the first line (what is done before says nothing), and between two


def watched(things: Iterable[T], name: str, total: int | None, unit: str) -> Iterator[T]:
    """The things, one after another, while how many of them are done is shown on stderr."""
    if sys.stderr.isatty():
        yield from tqdm(things, desc=plain(name), total=total, unit=unit)
        return
    start, due = time.monotonic(), FIRST
    for done, thing in enumerate(things):
        passed = time.monotonic() - start
        if passed >= due:
            left = f", {_minutes(passed / done * (total - done))} left" if total and done else ""
            tell(f"{name}: {done}{f' of {total}' if total else ''} {unit}s in {_minutes(passed)}{left}")
            due = passed + EVERY
        yield thing


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
