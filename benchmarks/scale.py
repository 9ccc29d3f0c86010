"""How far a sweep scales: six smoke runs as a sweep and as commands, and the whole study simulated on more devices.

Measured, on this machine: seconds until Ray is there, of a task that does nothing, of a sweep with one and with two
workers, and of one `train` command after the other. Simulated: workbook/scale.py. Where the machine does other work,
"load" says so, and what was measured is to be read with that.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from tadlib import machine, settings
from workbook import scale, studies
from workbook.engines import Ray
from workbook.pictures import save
from workbook.sweep import plan, sweep

TASKS = 200
CAPTION = ("With the longest chain first, the hours of the whole study go down with the number of devices to those of "
           "that chain, and no further. Simulated from the minutes of the stored trainings.")


def elsewhere(place: Path) -> None:
    """Results and checkpoints of now on are kept there, and the data is the bundled sample."""
    (place / "data").mkdir(parents=True)
    for name, folder in (("RESULTS", "results"), ("CHECKPOINTS", "checkpoints"), ("DATA", "data")):
        settings.put(f"TAD_{name}", place / folder)


def swept(names: list[str], workers: int, place: Path) -> dict[str, float]:
    """Seconds of Ray's start, of a task, and of the sweep without that start."""
    elsewhere(place)
    start = time.perf_counter()
    engine = Ray(None, os.cpu_count() / workers, 0)
    begun = time.perf_counter()
    runs = plan(names, [], "smoke")
    assert sweep(runs, Waiting(engine), "smoke") == 0
    done = time.perf_counter()
    nothing = engine.ray.remote(lambda: 0).options(num_cpus=0)
    engine.ray.get([nothing.remote() for _ in range(TASKS)])  # workers are there now
    warm = time.perf_counter()
    engine.ray.get([nothing.remote() for _ in range(TASKS)])
    task = (time.perf_counter() - warm) / TASKS
    engine.close([])
    return {"start": begun - start, "sweep": done - begun, "task": task}


class Waiting:
    """An engine that a sweep does not close."""

    def __init__(self, engine: Ray):
        self.check, self.submit, self.ended, self.outcome = engine.check, engine.submit, engine.ended, engine.outcome

    def close(self, handles: list) -> None:
        assert not handles


def commanded(names: list[str], place: Path) -> float:
    """Seconds of a `train` command each, one after the other."""
    elsewhere(place)
    start = time.perf_counter()
    for name in names:
        subprocess.run([sys.executable, "-m", "workbook", "train", name, "--profile", "smoke"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def measured(count: int) -> pd.DataFrame:
    names = [run.name for run in studies.ALL.values() if run.trains and not run.start and run.scale > 1][:count]
    load = os.getloadavg()[0]
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        alone = commanded(names, Path(folder, "commands"))
        two = swept(names, 2, Path(folder, "two"))
        one = swept(names, 1, Path(folder, "one"))
    found = {"runs": count, "start of Ray, s": two["start"], "a task, ms": 1000 * two["task"],
             "commands, s": alone, "their sweep, s": two["sweep"], "sweep to commands": two["sweep"] / alone,
             "runs an hour, 1 worker": 3600 * count / one["sweep"],
             "runs an hour, 2 workers": 3600 * count / two["sweep"], "load": load,
             "niceness": os.nice(0)}
    facts = {name: fact for name, fact in machine.facts().items() if name != "threads"}
    return pd.DataFrame([{"part": "measured", "quantity": name, "value": round(value, 4), **facts}
                         for name, value in found.items()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true", help="only what is computed from records; the rest stays")
    parser.add_argument("--keep", action="store_true", help="write results/cpu/scale.csv and its figure")
    options = parser.parse_args()
    place = settings.results("cpu")
    rows = scale.simulated()
    before = dict(os.environ)
    first = scale.stored().query("part == 'measured'") if options.simulate else measured(6)
    os.environ.clear()
    os.environ.update(before)
    rows = pd.concat([first, rows], ignore_index=True)
    print(rows[["part", "quantity", "devices", "value"]].to_string())
    if options.keep:
        rows.to_csv(place / "scale.csv", index=False)
        save(scale.drawn(rows), "scale", "cpu", CAPTION)
