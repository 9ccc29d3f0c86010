"""How long the whole study takes on more devices: simulated from what its trainings took (scale.csv holds it)."""
from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from tadlib import settings
from tadlib.errors import BadInput
from workbook import studies
from workbook.palette import FAMILIES
from workbook.records import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEVICES = (1, 2, 4, 8, 16, 32, 64)


class Task(NamedTuple):
    minutes: float  # of training, without scoring
    after: tuple[str, ...]  # the runs that it starts from


def tasks(names: Sequence[str] = tuple(studies.ALL)) -> dict[str, Task]:
    """These runs as the stored records of profile cpu tell of them; no minutes where there is no record."""
    def minutes(name: str) -> float:
        try:
            return float(studies.trained(name).record["minutes"])
        except BadInput:
            return 0.0

    return {name: Task(minutes(name), tuple(s.name for s in studies.ALL[name].start)) for name in names}


def chains(todo: Mapping[str, Task]) -> dict[str, list[str]]:
    """For each task the longest chain of those that wait for each other, from it on."""
    followers: dict[str, list[str]] = {name: [] for name in todo}
    for name, task in todo.items():
        for earlier in task.after:
            followers.get(earlier, []).append(name)

    @cache
    def chain(name: str) -> tuple[str, ...]:
        return name, *max(map(chain, followers[name]), key=lambda c: length(c, todo), default=())

    return {name: list(chain(name)) for name in todo}


def length(chain: Sequence[str], todo: Mapping[str, Task]) -> float:
    """Minutes of tasks one after the other."""
    return sum(todo[name].minutes for name in chain)


def longest_first(todo: Mapping[str, Task]) -> list[str]:
    """The tasks by the length of the chain that begins with each: what waits for others begins early enough."""
    found = chains(todo)
    return sorted(todo, key=lambda name: -length(found[name], todo))


def hours(todo: Mapping[str, Task], order: Sequence[str], devices: int) -> float:
    """Until all is done, where each device that is free takes the first task in the order that may begin."""
    waiting, done, now = list(order), set[str](), 0.0
    running: list[tuple[float, str]] = []
    while waiting or running:
        for name in [n for n in waiting if done.issuperset(a for a in todo[n].after if a in todo)]:
            if len(running) < devices:
                heappush(running, (now + todo[name].minutes, name))
                waiting.remove(name)
        now, ended = heappop(running)
        done.add(ended)
    return now / 60


def simulated() -> pd.DataFrame:
    """Rows of scale.csv: a quantity in hours by the number of devices."""
    todo = tasks()
    best, whole = longest_first(todo), length(list(todo), todo) / 60
    limit = length(chains(todo)[best[0]], todo) / 60
    return pd.DataFrame([{"part": "simulated", "quantity": quantity, "devices": n, "value": round(value, 4)}
                         for n in DEVICES for quantity, value in (
                             ("longest chain first", hours(todo, best, n)),
                             ("in the order of the tables", hours(todo, list(todo), n)),
                             ("ideal", whole / n), ("longest chain", limit))])


def stored() -> pd.DataFrame:
    """scale.csv: what `python benchmarks/scale.py` left."""
    return read_table(settings.results("cpu") / "scale.csv", ("part", "quantity", "devices", "value"))


def drawn(rows: pd.DataFrame) -> Figure:
    """The simulated hours over the number of devices."""
    from workbook import figures  # here: a sweep draws nothing

    figure = figures.blank(7.5, 3.4)
    ax = figure.subplots()
    looks = {"in the order of the tables": (FAMILIES["report"], "--s"), "longest chain first": (FAMILIES["own"], "-o"),
             "ideal": (FAMILIES["ordinary"], ":"), "longest chain": (FAMILIES["hardened"], "-.")}
    for quantity, (colour, look) in looks.items():
        mine = rows[(rows.part == "simulated") & (rows.quantity == quantity)]
        ax.plot(mine.devices, mine.value, look, color=colour, label=quantity, markersize=4)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(DEVICES, [str(n) for n in DEVICES])
    ticks = (0.2, 0.5, 1, 2, 5, 10)
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel="devices", ylabel="hours, simulated")
    ax.legend()
    return figure


def passage() -> str:
    """What the README says of it: every number from scale.csv, names from the records."""
    rows = stored()
    table = rows[rows.part == "simulated"].pivot(index="quantity", columns="devices", values="value")
    said = rows[rows.part == "measured"].set_index("quantity")["value"]
    todo = tasks()
    trainings = [name for name in todo if studies.named(name).trains]
    *early, last = (f"`{name}`" for name in chains(todo)[longest_first(todo)[0]])
    chain = f"{', '.join(early)} and {last}"
    best, limit = table.loc["longest chain first"], table.loc["longest chain"].iloc[0]
    enough = next(n for n in best.index if best[n] < 1.01 * limit)
    most = best.index[-1]
    falling = ", ".join(f"{best[n]:.1f} on {n:.0f}" for n in best.index if 1 < n <= enough)
    machines = {studies.trained(name).record["machine"]["cpu"] for name in trainings}
    text = (
        f"**How far that goes.** Simulated for profile `cpu` from the minutes that its {len(trainings)} stored "
        f"trainings took (on processors of {len(machines)} kinds, without scoring), one run a device: "
        f"the whole study takes {best.iloc[0]:.1f} hours on one device, {falling}, and no less on {most:.0f} (ideal: "
        f"{table.loc['ideal', most]:.2f}), since {chain} take {limit:.2f} hours one after the other; only shorter "
        "schedules or several devices for one run would lift that. A sweep takes the longest chain first: in the order "
        f"of the tables {enough:.0f} devices would need {table.loc['in the order of the tables', enough]:.1f} hours. "
        f"Measured with {said['runs']:.0f} smoke runs on two cores, beside other work (a load of {said['load']:.0f}, "
        f"at a niceness of {said['niceness']:.0f}): {said['runs an hour, 1 worker']:.0f} runs an hour with one worker, "
        f"{said['runs an hour, 2 workers']:.0f} with two, {said['sweep to commands']:.2f} of the time of as many "
        f"`train` commands in turn; Ray's start, {said['start of Ray, s']:.0f} s, is not in that, and a task costs "
        f"{said['a task, ms']:.1f} ms (`benchmarks/scale.py`).")
    return "\n".join(textwrap.wrap(text, 119, break_long_words=False, break_on_hyphens=False))
