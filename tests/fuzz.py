"""Spoiled and strange input, case after case: python tests/fuzz.py --minutes 60 --seed 1 (see --help).

Each case is drawn from the seed and its number alone, and runs in a process of its own, forked from one in which all is
loaded, as a command is: its signals, its exit code, its memory. Of each is held: exit code 0 or 2 (130, 143, 129 where
it is killed); what it says on stderr is lines of the tool's own, without control characters, and where one file is the
trouble one of them; no traceback, no crash, no hang, not more memory than the budget; what was there is as it was, but
for the target, and that too where the command failed; what is there then is whole, and nothing is left half done.
"""
from __future__ import annotations

import argparse
import csv
import gc
import hashlib
import importlib
import os
import pkgutil
import random
import re
import resource
import select
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # else tests/tadlib, beside this file, is taken for tadlib

import av
import onnxruntime  # noqa: F401  loaded once, before the forks
import pandas as pd
import torch
from fuzz_cases import KINDS, Case, Seeds, killed
from PIL import Image

import tadlib
from tadlib.__main__ import main as tool
from tadlib.errors import LONGEST
from tadlib.files import LEFT, MEMORY
from tadlib.tool.commands import prepare
from workbook.__main__ import main as workbook

SPARE = 1 << 30  # bytes of address space above MEMORY: what asks for more is told that there is none
SECONDS = 120  # of the processor; ten times as many of the clock
PROGRESS = re.compile(r": \d+( of \d+)? (image|frame|clip)s in ")
NOTES = 5  # lines, at most, of a command that went well
TABLE = ["kind", "cases", "used", "refused", "killed", "troubles", "seconds_max", "megabytes_max", "minutes", "seed"]


class Outcome:
    """What became of a case."""

    def __init__(self, case: Case, number: int):
        self.case, self.number = case, number
        self.code, self.seconds, self.megabytes = 0, 0.0, 0.0
        self.said = self.printed = ""
        self.troubles: list[str] = []


def child(case: Case, beside: Path, ready: int, spare: int) -> None:
    """The command, in the forked process, which does not come back from here."""
    code = 1
    try:
        for number, name in ((0, os.devnull), (1, beside / "stdout"), (2, beside / "stderr")):
            handle = os.open(name, os.O_RDWR | os.O_CREAT)
            os.dup2(handle, number)
            os.close(handle)
        os.environ.update(case.environment, TMPDIR=str(beside / "tmp"))
        tempfile.tempdir = None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        prepare(quiet=case.room == "tadlib")
        os.write(ready, b".")
        code = (tool if case.room == "tadlib" else workbook)(case.arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = 1
    os._exit(code)


def run(case: Case, number: int, beside: Path) -> Outcome:
    """The case, in the current folder; `beside` is a folder for what it says."""
    outcome = Outcome(case, number)
    for name in ("stdout", "stderr"):
        (beside / name).write_bytes(b"")
    (beside / "tmp").mkdir(exist_ok=True)
    reading, writing = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(case, beside, writing, MEMORY + SPARE)
    os.close(writing)
    handle = os.pidfd_open(pid)
    try:
        if case.kill:
            os.read(reading, 1)  # its signals are set
            if not select.select([handle], [], [], case.kill[1])[0]:
                os.kill(pid, case.kill[0])
        if not select.select([handle], [], [], 10 * SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            outcome.troubles.append("hangs")
        _, status, used = os.wait4(pid, 0)
    finally:
        os.close(handle)
        os.close(reading)
    outcome.seconds = time.monotonic() - start
    outcome.megabytes = used.ru_maxrss / 1024
    outcome.code = os.waitstatus_to_exitcode(status)
    outcome.said, outcome.printed = ((beside / name).read_text("utf8", "backslashreplace")
                                     for name in ("stderr", "stdout"))
    return outcome


def here() -> dict[str, str]:
    """Everything below the current folder: a digest of each file, where each link leads."""
    found = {}
    for path in Path().rglob("*"):
        found[str(path)] = (f"to {path.readlink()}" if path.is_symlink() else "" if path.is_dir() else
                            hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def judge(outcome: Outcome, before: dict[str, str], after: dict[str, str], beside: Path, base: float) -> None:
    """What is wrong with it goes into its troubles."""
    case, troubles, code = outcome.case, outcome.troubles, outcome.code
    allowed = (0, 2, 129, 130, 143) if case.kill else (0, 2)
    if code not in allowed:
        troubles.append(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
    lines = outcome.said.splitlines()
    own = [line for line in lines if not PROGRESS.search(line)]
    if any(not line.startswith((f"{case.room}: ", "tadlib: ")) for line in lines):
        troubles.append("says what is not the tool's: " + repr(outcome.said[-1500:]))
    if not all(line.isprintable() for line in lines + outcome.printed.splitlines()) or "\x1b" in outcome.printed:
        troubles.append("prints control characters")
    if any(len(line) > LONGEST + 60 for line in lines):
        troubles.append("a line without end")
    if code == 2 and not own:
        troubles.append("says nothing")
    if len(own) > (1 if code else NOTES) and not case.several:
        troubles.append(f"{len(own)} lines: {own[:3]}")
    if outcome.megabytes > base + MEMORY / 2**20:
        troubles.append(f"{outcome.megabytes:.0f} MB")
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        mine = any(name == t or name.startswith(f"{t}/") for t in case.targets)
        used_up = mine and name.startswith("checkpoints")  # by the training that is complete
        if not mine or (code and not case.several and case.room == "tadlib" and not case.kill):
            troubles.append(f"{name} was changed")
        elif name not in after and not used_up:
            troubles.append(f"{name} is gone")
        elif (file := Path(name)).is_file():
            troubles.extend(unusable(file))
    left = [name for name in after if name not in before and LEFT in name]
    left += [str(p.relative_to(beside)) for p in (beside / "tmp").iterdir()]
    if left:
        troubles.append(f"left behind: {left}")


def unusable(file: Path) -> list[str]:
    """Why a result is none."""
    try:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                picture.load()
        elif file.suffix in (".mp4", ".mkv"):
            with av.open(str(file)) as container:
                assert sum(1 for _ in container.decode(video=0))
        elif file.suffix == ".csv":
            assert len(pd.read_csv(file))
        elif file.suffix == ".pt":
            torch.load(file, weights_only=True)
    except Exception as error:
        return [f"{file} is not whole ({error})"]
    return []


def one(number: int, seed: int, kinds: list, known: Seeds, place: Path, base: float) -> tuple[str, Outcome]:
    """Case number so of a seed: its kind, and what became of it. A killed command is typed once more, and goes on."""
    rng = random.Random(f"{seed} {number}")
    make, = rng.choices(kinds, [KINDS[kind] for kind in kinds])
    folder, beside = place / str(number), place / f"{number} said"
    for new in (folder, beside):
        new.mkdir()
    os.chdir(folder)
    case = make(rng, known)
    before = here()
    outcome = run(case, number, beside)
    after = here()
    judge(outcome, before, after, beside, base)
    if case.kill and not outcome.troubles:
        again = run(Case(case.arguments, case.targets, case.room, case.environment, True), number, beside)
        judge(again, after, here(), beside, base)
        outcome.troubles = [f"typed again: {trouble}" for trouble in again.troubles]
    os.chdir(place)
    return make.__name__, outcome


def table(rows: list[tuple[str, Outcome]], minutes: float, seed: int) -> list[dict]:
    """A row for each kind, and one for all."""
    found = []
    for kind in [*dict.fromkeys(make.__name__ for make in KINDS), "all"]:
        mine = [outcome for name, outcome in rows if kind in (name, "all")]
        codes = Counter(outcome.code for outcome in mine)
        if mine:
            found.append(dict(zip(TABLE, [
                kind, len(mine), codes[0], codes[2], sum(codes[c] for c in (129, 130, 143)),
                sum(bool(outcome.troubles) for outcome in mine), round(max(o.seconds for o in mine), 1),
                round(max(o.megabytes for o in mine)), round(minutes, 1), seed], strict=True)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Feed the commands spoiled and strange files; exit code 1 where one "
                                     "of them did what it must not.")
    parser.add_argument("--minutes", type=float, help="how long (default: as --cases says)")
    parser.add_argument("--cases", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn from (default: 0)")
    parser.add_argument("--kind", choices=[make.__name__ for make in KINDS], action="append",
                        help="only this kind (repeatable; a case's number then means another case)")
    parser.add_argument("--calm", action="store_true", help="without the killed ones: the machine's pace decides what "
                        "becomes of them (a case's number then means another case)")
    parser.add_argument("--only", type=int, metavar="N", help="only case number N, which is kept and told in full")
    parser.add_argument("--record", type=Path, metavar="CSV", help="where the table goes")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # a process with threads cannot be forked
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OMP_NUM_THREADS": "1"})
    kinds = [make for make in KINDS if make.__name__ in (options.kind or [make.__name__])
             and not (options.calm and make is killed)]
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(tadlib.__path__, "tadlib."):
        importlib.import_module(module.name)
    record = options.record and options.record.absolute()
    if options.only is not None:
        return alone(options.only, options.seed, kinds)
    with tempfile.TemporaryDirectory(prefix="fuzz") as top:
        known = Seeds(Path(top) / "home")
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        gc.freeze()  # what is there is not looked at again, and so not copied in each fork
        start, number, rows = time.monotonic(), 0, []
        while (time.monotonic() - start < 60 * options.minutes) if options.minutes else number < options.cases:
            kind, outcome = one(number, options.seed, kinds, known, Path(top), base)
            rows.append((kind, outcome))
            if outcome.troubles:
                print(f"case {number} ({kind}): {shlex.join(outcome.case.arguments)}\n    "
                      + "\n    ".join(outcome.troubles), flush=True)
            outcome.case = Case([])  # all that is not needed any more
            shutil.rmtree(Path(top) / str(number))
            shutil.rmtree(Path(top) / f"{number} said")
            number += 1
        minutes = (time.monotonic() - start) / 60
        gc.unfreeze()
        os.chdir("/")
    made = table(rows, minutes, options.seed)
    if record:
        with record.open("w", newline="") as file:
            writer = csv.DictWriter(file, TABLE, lineterminator="\n")
            writer.writeheader()
            writer.writerows(made)
    for row in made:
        print(f"{row['kind']:10} {row['cases']:6} cases: {row['used']} used, {row['refused']} refused, "
              f"{row['killed']} killed, {row['troubles']} in trouble; at most {row['seconds_max']} s, "
              f"{row['megabytes_max']} MB")
    return int(any(outcome.troubles for _, outcome in rows))


def alone(number: int, seed: int, kinds: list) -> int:
    """One case, whose folder is kept."""
    top = Path(tempfile.mkdtemp(prefix="fuzz"))
    known = Seeds(top / "home")
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kind, outcome = one(number, seed, kinds, known, top, base)
    print(f"{kind} in {top / str(number)}: {shlex.join(outcome.case.arguments)}\nexit code {outcome.code} after "
          f"{outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB\n{outcome.said}{outcome.printed}{outcome.troubles}")
    return int(bool(outcome.troubles))


if __name__ == "__main__":
    sys.exit(main())
