"""Many runs at once, on whatever an engine has: what lacks is trained and scored, each after what it starts from."""
from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tadlib import settings
from tadlib.errors import BadInput
from tadlib.files import STAND_IN
from tadlib.run import Run
from tadlib.stored import is_trained, of, on_this_machine
from workbook import scale, studies
from workbook.engines import FLAG, OUT_OF_TIME, Engine, Job, noted
from workbook.scores import complete

STATES = ("training", "scoring", "failed", "trained", "waiting", "stopped", "done")
PATIENCE = 30  # seconds that trainings have to write their checkpoints when a sweep is stopped
LOG_SECONDS = 60  # between two lines of the log on one training


def plan(names: Sequence[str], notebooks: Sequence[str], profile: str) -> list[Run]:
    """The named runs and those of the notebooks, or all, as far as they are not trained or not scored, each after what
    it starts from (trained again where its weights were not kept); first those with which the longest chain begins.
    Raises BadInput for a name that is none.
    """
    wanted = list(names)
    for start in notebooks:
        known = [n for notebook, needed in studies.NEEDS.items() if notebook.startswith(start) for n in needed]
        if not known:
            raise BadInput(f"--notebook {start}: no notebook with runs; there are {', '.join(studies.NEEDS)}")
        wanted += known
    found: dict[str, Run] = {}

    def put(run: Run, scored: bool) -> None:
        trained = of(run)
        run = trained.run
        if trained.has_weights:
            if not scored or all(complete(trained, *todo) for todo in studies.scoring(run)):
                return
        elif scored and is_trained(run):  # whatever is stored of it is all that there will be
            return
        for earlier in () if trained.has_weights else run.start:
            put(earlier, False)
        found.setdefault(run.name, run)

    for name in dict.fromkeys(wanted) if names or notebooks else studies.ALL:
        try:
            put(studies.named(name, profile), True)
        except KeyError as error:
            raise BadInput(error.args[0]) from None
    by_name = {name.removesuffix(STAND_IN): run for name, run in found.items()}
    return [by_name[name] for name in scale.longest_first(scale.tasks(list(by_name)))]


@dataclass
class Row:
    """What is known of one run of a sweep."""

    run: Run
    jobs: list[Any] = field(default_factory=list)  # handles of what is still to be done of it
    trouble: str = ""
    logged: tuple[str, float] = ("", 0.0)  # its last state in the log, and when

    def state(self, place: Path) -> tuple[str, str]:
        """In a word, and what there is to say of it."""
        if self.trouble:
            return "stopped" if OUT_OF_TIME in self.trouble else "failed", self.trouble
        if not self.jobs:
            return "done", ""
        facts = noted(place, self.run)
        if not facts:
            return "waiting", ""
        said = [f"step {facts['step']} of {self.run.steps}"] if "step" in facts else []
        said += [f"{facts['held_out']:.2f} dB"] if "held_out" in facts else []
        said += [f"{timedelta(seconds=facts['left'])} left"] if "left" in facts else []
        return facts["state"], ", ".join([*said, f"on {facts['node']}"])


class Board:
    """A line a run on a terminal, drawn anew each second; elsewhere, and in the log, one where something changes."""

    def __init__(self, rows: Sequence[Row], place: Path, log: Path):
        self.rows, self.place, self.log, self.began, self.drawn = rows, place, log, time.time(), 0
        log.parent.mkdir(parents=True, exist_ok=True)

    def show(self) -> None:
        states = [(row, *row.state(self.place)) for row in self.rows]
        width = max(len(row.run.name) for row in self.rows)
        lines = [f"{row.run.name:{width}}  {state:8}  {said}".rstrip() for row, state, said in states]
        for (row, state, _), line in zip(states, lines, strict=True):
            before, when = row.logged
            if state != before or (state == "training" and time.time() - when > LOG_SECONDS):
                row.logged = state, time.time()
                self.say(line, sys.stdout.isatty())
        if sys.stdout.isatty():
            busy = sorted(range(len(lines)), key=lambda n: STATES.index(states[n][1]))
            size = shutil.get_terminal_size()
            shown = [lines[n][: size.columns - 1] for n in sorted(busy[: size.lines - 2])] + [self.total()]
            print(f"\x1b[{self.drawn}F\x1b[J" * bool(self.drawn) + "\n".join(shown), flush=True)
            self.drawn = len(shown)

    def total(self) -> str:
        count = Counter(row.state(self.place)[0] for row in self.rows)
        words = ", ".join(f"{count[s]} {s}" for s in STATES if count[s])
        return f"{len(self.rows)} runs: {words}; {timedelta(seconds=round(time.time() - self.began))}"

    def say(self, line: str, quiet: bool = False) -> None:
        with self.log.open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        if not quiet:
            print(line, flush=True)


@contextmanager
def _places(profile: str) -> Iterator[tuple[Path, Path]]:
    """The sweep's own folders, at the checkpoints and at the results: while they are there it goes on."""
    name = f".sweep-{secrets.token_hex(4)}"
    places = settings.checkpoints(profile).resolve() / name, settings.results(profile).resolve() / name
    try:
        for place in places:
            place.mkdir(parents=True)
            (place / FLAG).write_text(name)
        yield places
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


def sweep(runs: Sequence[Run], engine: Engine, profile: str, threads: int = 1) -> int:
    """Train and score these, each after what it starts from: 0, or 3 if some failed or ran out of time, whose names
    are said last.

    When it is interrupted, trainings leave their checkpoints and end. Raises BadInput where not all nodes see the same.
    """
    if again := [run.name for run in runs if is_trained(run) and not of(run).has_weights]:
        print(f"trained again, since others start from them and their weights are not kept: {', '.join(again)}")
    environment = {k: v for k, v in os.environ.items() if k.startswith("TAD_")} | {
        "TAD_RESULTS": str(settings.results(profile).resolve().parent),
        "TAD_CHECKPOINTS": str(settings.checkpoints(profile).resolve().parent),
        "TAD_DATA": str(settings.data_folder().resolve())}
    rows = {run.name: Row(run) for run in runs}
    handles: dict[str, Any] = {}  # of the trainings
    open_: list[Any] = []
    try:
        with _places(profile) as places:
            engine.check(places, environment, sorted({n for run in runs for n in run.train}))
            for run in runs:
                after = [handles[s.name] for s in map(on_this_machine, run.start) if s.name in handles]
                if not of(run).has_weights:
                    handles[run.name] = engine.submit(Job(run, "train", places, environment, threads), after)
                    rows[run.name].jobs.append(handles[run.name])
                first = [handles[run.name]] if run.name in handles else []
                rows[run.name].jobs.append(engine.submit(Job(run, "score", places, environment, threads), first))
            open_ = [handle for row in rows.values() for handle in row.jobs]
            board = Board(list(rows.values()), places[0], settings.checkpoints(profile) / "sweep.log")
            while open_:
                board.show()
                for handle in engine.ended(open_, 1.0):
                    open_.remove(handle)
                    row = next(row for row in rows.values() if handle in row.jobs)
                    row.jobs.remove(handle)
                    row.trouble = row.trouble or engine.outcome(handle)
            board.show()
            board.say(board.total(), sys.stdout.isatty())
    except (KeyboardInterrupt, SystemExit):
        until = time.monotonic() + PATIENCE  # their folder is gone: trainings write their checkpoints now
        while open_ and time.monotonic() < until:
            ended = engine.ended(open_, 1.0)
            open_ = [handle for handle in open_ if handle not in ended]
        raise
    finally:
        engine.close(open_)
    late = [name for name, row in rows.items() if OUT_OF_TIME in row.trouble]
    if late:
        print(f"out of time, go on the next time: {', '.join(late)}")
    failed = [name for name, row in rows.items() if row.trouble and name not in late]
    if failed:
        print(f"failed: {', '.join(failed)}; the log is {settings.checkpoints(profile) / 'sweep.log'}")
    return 3 if late or failed else 0
