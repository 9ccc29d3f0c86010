"""A list of runs against the clock, several side by side: for a machine that one has for minutes at a time.

`python -m workbook slice 1 --out OUT` trains the runs of slice 1 (studies.GPU_SLICES), stops in time, and packs what
was reached into tar files below OUT; `--resume OUT/*.tar` goes on from there, on this machine or another. Complete
runs come as their folders, unfinished ones as checkpoints.
"""
from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from tadlib.errors import BadInput
from tadlib.settings import checkpoints, results
from tadlib.stored import folder, is_trained
from workbook import studies

FILE_LIMIT = 15 * 2**20  # bytes of a packed file


def work(names: Sequence[str], profile: str, minutes: float, beside: int) -> list[str]:
    """Train the named runs, `beside` at a time, until done or out of time; the names of those that are complete."""
    until = time.time() + 60 * minutes
    threads = max(1, (os.cpu_count() or 1) // beside)
    environment = os.environ | {"TAD_UNTIL": str(until), "OMP_NUM_THREADS": str(threads)}
    waiting = [n for n in names if not is_trained(studies.named(n, profile))]
    running: dict[str, subprocess.Popen] = {}
    while (waiting and time.time() < until) or running:
        while len(running) < beside and time.time() < until:
            under_way = {*waiting, *running}  # what starts from one of these comes after it
            ready = (n for n in waiting if under_way.isdisjoint(s.name for s in studies.named(n, profile).start))
            if (name := next(ready, None)) is None:
                break
            waiting.remove(name)
            command = [sys.executable, "-m", "workbook", "train", name, "--profile", profile, "--score"]
            running[name] = subprocess.Popen(command, env=environment)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
        time.sleep(0.2)
    return [n for n in names if is_trained(studies.named(n, profile))]


def pack(names: Sequence[str], profile: str, out: Path, label: str = "slice") -> list[Path]:
    """What the runs have reached as files <profile>-<label>-1.tar, ... below `out`, in place of those that are there.

    None is larger than FILE_LIMIT where that can be.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{profile}-{label}-*.tar"):
        old.unlink()
    parts: list[tuple[str, Path]] = []  # (place in the archive, file)
    for name in names:
        target = folder(studies.named(name, profile))
        if (target / "record.json").exists():
            parts += [(f"runs/{target.name}/{f.name}", f) for f in sorted(target.iterdir()) if f.is_file()]
        elif (state := checkpoints(profile) / target.name / "state.pt").exists():
            parts.append((f"checkpoints/{target.name}/state.pt", state))
    archives: list[Path] = []
    size = FILE_LIMIT
    for place, file in parts:
        if size + file.stat().st_size > FILE_LIMIT:
            archives.append(out / f"{profile}-{label}-{len(archives) + 1}.tar")
            size = 0
        with tarfile.open(archives[-1], "a") as archive:
            archive.add(file, place)
        size += file.stat().st_size
    return archives


def unpack(archives: list[Path], profile: str) -> None:
    """Put packed runs and checkpoints where training finds them. Raises BadInput naming an unreadable file."""
    roots = {"runs": results(profile) / "runs", "checkpoints": checkpoints(profile)}
    for path in archives:
        try:
            with tarfile.open(path) as archive:
                for kind, root in roots.items():
                    members = [m for m in archive.getmembers() if m.name.startswith(f"{kind}/")]
                    for member in members:
                        member.name = member.name.removeprefix(f"{kind}/")
                    archive.extractall(root, members, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise BadInput(f"{path}: not a packed slice ({error})") from None
