"""A folder's pictures in several processes of one thread each (--jobs): what comes of them, in the pictures' order."""
from __future__ import annotations

import argparse
import math
import os
import signal
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, connection, get_context, parent_process
from pathlib import Path
from threading import Thread

from tadlib import settings
from tadlib.errors import BadInput
from tadlib.files import COST, MEMORY, head
from tadlib.tool.jobs import Pair, Work, tried

BASE = 800_000_000  # bytes of a process beside its picture: torch, and what a net makes of a tile
REFINING = 700_000_000  # and where the small picture is refined: a tile's gradients
PIXEL = 12  # bytes for each pixel of a picture, whatever is done with it

Outcome = tuple[list[str], BadInput | None]  # what is to be told, and what is wrong


def outcomes(todo: list[Pair], work: Work, jobs: int, allowed: Callable[[Pair], None]
             ) -> Generator[BadInput | None, None, None]:
    """What is wrong with each pair, or None; the work's notes grow on the way, in the same order as in one process.

    All jobs together heed one budget of memory: large pictures wait for each other. When this is closed or interrupted,
    the processes end, and put away what they have half written.
    """
    strangers = set(active_children())
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (type(work), work.options))
    ahead: deque[Future[Outcome]] = deque()  # in order
    busy: dict[Future[Outcome], int] = {}  # with the bytes that each may take

    def came(future: Future[Outcome]) -> BadInput | None:
        try:
            notes, trouble = future.result()
        except BrokenProcessPool:
            return BadInput(f"one of {jobs} processes died, perhaps for lack of memory; fewer --jobs, and "
                            "--skip-existing to go on")
        work.notes.update(dict.fromkeys(notes))
        return trouble

    try:
        for pair in todo:
            needs = BASE + REFINING * bool(getattr(work.options, "refine", 0)) + _takes(pair[0], work.growth)
            while busy and (len(busy) == jobs or sum(busy.values()) + needs > _budget()):
                wait(busy, return_when=FIRST_COMPLETED)
                busy = {future: size for future, size in busy.items() if not future.done()}
                while ahead and ahead[0].done():
                    yield came(ahead.popleft())
            future = _submit(pool, pair, allowed)
            ahead.append(future)
            busy[future] = needs
        while ahead:
            yield came(ahead.popleft())
    except BaseException:
        for child in set(active_children()) - strangers:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, pair: Pair, allowed: Callable[[Pair], None]) -> Future[Outcome]:
    """Its outcome to come; at once, where it is not allowed or no process is left."""
    future: Future[Outcome] = Future()
    try:
        allowed(pair)
        return pool.submit(_do, pair)
    except BadInput as error:
        future.set_result(([], error))
    except BrokenProcessPool as error:
        future.set_exception(error)
    return future


def _budget() -> int:
    """Bytes that all jobs together may take: half of the machine's, at least what reading one picture may."""
    return max(MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def _takes(path: Path, growth: int) -> int:
    """Bytes that a picture may take, by its head; 0 where that cannot be read: whoever works on it will say so."""
    size, form = head(path)
    return math.prod(size) * max(PIXEL * growth, COST.get(form, 0))


# ------------------------------------------------------------------------------------------- within such a process

_work: Work


def _begin(kind: Callable[[argparse.Namespace], Work], options: argparse.Namespace) -> None:
    """One thread, and it ends in order: by SIGTERM, which a terminal's Ctrl-C makes the first process send, and when
    that one is no more.
    """
    from tadlib.tool.commands import prepare  # here: it imports what imports this

    global _work
    prepare(quiet=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings.put("OMP_NUM_THREADS", 1)  # torch is not loaded yet
    Thread(target=_end_with_parent, daemon=True).start()
    _work = kind(options)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _do(pair: Pair) -> Outcome:
    _work.notes.clear()
    try:
        trouble = tried(_work, pair)
    except SystemExit as end:  # the pool would send it home, and give us the next one
        os._exit(end.code if isinstance(end.code, int) else 1)
    return list(_work.notes), trouble
