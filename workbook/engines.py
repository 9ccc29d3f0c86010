"""Where the jobs of a sweep are computed: on a Ray cluster, or as SLURM jobs through submitit.

Both are extras. A job is sent whole: what it needs lies on a file system that every node sees.
"""
from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from tadlib import settings
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import replacing
from tadlib.run import Run
from tadlib.stored import is_trained, of, on_this_machine
from tadlib.training.fit import fit
from tadlib.training.loop import Progress
from workbook import studies

RETRIES = 5  # a node that dies takes its job along; another goes on from the checkpoint
OUT_OF_TIME = "out of time"  # in what is said of a training that stopped at $TAD_UNTIL: it goes on the next time
FLAG = "sweep"  # a file that says which sweep's a place is
NOTE_SECONDS = 1.0  # between two notes of a training


@dataclass(frozen=True)
class Job:
    """One run's training or scoring, as it is sent to another process."""

    run: Run
    act: Literal["train", "score"]
    places: tuple[Path, ...]  # folders of this sweep, at the checkpoints and at the results; gone when it stops
    environment: dict[str, str]
    threads: int

    def __call__(self, *before: str) -> str:
        """What went wrong, in one line; "" if nothing did. `before`: what came of the jobs that it waited for."""
        troubles = list(filter(None, before))
        if troubles and self.act == "score":
            return troubles[0]
        if troubles:
            return OUT_OF_TIME if all(OUT_OF_TIME in t for t in troubles) else "what it starts from failed"
        import torch

        os.environ.update(self.environment)
        torch.set_num_threads(self.threads)
        try:
            if trouble := sees(self.places) or lacks(self.run.train):
                return trouble
            if on_this_machine(self.run) != self.run:
                return f"{platform.node()}: not all that it takes is here"
            if self.act == "train":
                note(self.places[0], self.run, "training")
                again = is_trained(self.run) and not of(self.run).has_weights  # another one starts from them
                fit(self.run, retrain=again, quiet=True, watch=self._watch())
                note(self.places[0], self.run, "trained")
            else:
                note(self.places[0], self.run, "scoring")
                self._score()
        except Exception as error:  # told in the driver's words: a traceback of another machine says little more
            kind = "" if isinstance(error, BadInput | FloatingPointError) else f"{type(error).__name__}: "
            return " ".join(f"{kind}{error}".split()) or type(error).__name__
        return ""

    def _watch(self) -> Any:
        """Notes how far a training is, and stops it with its checkpoint when the sweep is stopped."""
        last = time.monotonic()

        def watch(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last < NOTE_SECONDS:
                return
            last = time.monotonic()
            if not (self.places[0] / FLAG).exists():
                settings.put("TAD_UNTIL", 0)
                return
            left = (self.run.steps - progress.step) * progress.seconds / progress.step
            quality = {"held_out": progress.rows[-1]["held_out_shr"]} if progress.rows else {}
            note(self.places[0], self.run, "training", step=progress.step, left=round(left), **quality)

        return watch

    def _score(self) -> None:
        from workbook.scores import scores

        trained = of(self.run)
        for wanted in studies.scoring(self.run) if trained.has_weights else ():
            scores(trained, *wanted)

    def checkpoint(self, *before: str) -> Any:
        """What submitit calls when SLURM takes the machine away: the same again, later; training has its own."""
        return import_module("submitit").helpers.DelayedSubmission(self, *before)


def note(place: Path, run: Run, state: str, **facts: Any) -> None:
    """Leave a word of a run for whoever looks on, if the sweep still goes on."""
    if (place / FLAG).exists():
        with suppress(BadInput), replacing(place / f"{run.name}.json") as temporary:  # no training ends for a word
            temporary.write_text(json.dumps({"state": state, "node": platform.node(), "pid": os.getpid()} | facts))


def noted(place: Path, run: Run) -> dict:
    """The last word left of a run; nothing where there is none."""
    with suppress(OSError, ValueError):
        return dict(json.loads((place / f"{run.name}.json").read_text()))
    return {}


def sees(places: Sequence[Path], mark: str = "") -> str:
    """"" if this process reads what the driver wrote there (and, with a mark, leaves it there), else why not."""
    for place in places:
        try:
            if (place / FLAG).read_text() != place.name:
                raise FileNotFoundError
            if mark:
                (place / mark).write_text(mark)
        except OSError as error:
            reason = "the sweep was stopped, or " if not mark else ""
            return (f"{platform.node()}: {place.parent}: {reason}what the driver writes there is not seen, or nothing "
                    f"can be written ({error.strerror or 'not there'}); TAD_RESULTS and TAD_CHECKPOINTS have to lie "
                    "on a file system of all nodes")
    return ""


def lacks(names: Sequence[str]) -> str:
    """"" if these sets are here, else which are not."""
    absent = [n for n in names if not sets.is_here(n)]
    return f"{platform.node()}: no training data {', '.join(absent)} (TAD_DATA)" if absent else ""


class Engine(Protocol):
    """What computes jobs. A handle is an engine's own word for one."""

    def check(self, places: Sequence[Path], environment: dict[str, str], names: Sequence[str]) -> None:
        """Raises BadInput unless all nodes see these places and have these sets, as far as that can be known."""
    def submit(self, job: Job, after: Sequence[Any]) -> Any: ...
    def ended(self, handles: Sequence[Any], seconds: float) -> list[Any]:
        """Those that have ended, after some seconds at most."""
    def outcome(self, handle: Any) -> str:
        """What went wrong with one that has ended, or ""."""
    def close(self, handles: Sequence[Any]) -> None:
        """End what still goes on of these, and what the engine itself started."""


def package(name: str) -> ModuleType:
    """An extra's package. Raises BadInput with the command that installs it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        extra = {"submitit": "slurm"}.get(name, name)
        raise BadInput(f"this takes the package {name}: pip install -c constraints.txt -e '.[{extra}]'") from None


class Ray:
    """Jobs as tasks of a Ray cluster: that of an address, else one started here, on loopback and without dashboard.

    Raises BadInput where no cluster answers, or none of its nodes has what a run takes.
    """

    def __init__(self, address: str | None, cpus: float, gpus: float | None):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "150")  # a busy machine takes longer than its 10
        os.environ.setdefault("RAY_agent_register_timeout_ms", "150000")  # and than 30 s
        os.environ.setdefault("RAY_worker_niceness", "0")  # as `train` has it, not 15
        self.ray = ray = package("ray")
        self.files = None
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            self.files = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
            quiet |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_temp_dir": self.files.name,
                      "object_store_memory": 80 * 2**20}  # about its least: what jobs exchange is words
        try:
            ray.init(address or "local", **quiet)
        except Exception as error:  # of a start that takes too long it says so with a plain Exception
            self.close([])
            where = f"--address {address}: no Ray cluster" if address else "Ray could not be started here"
            raise BadInput(f"{where} ({' '.join(str(error).split())[:200]})") from None
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        self.gpus = float(any(n.get("GPU") for n in nodes)) if gpus is None else gpus
        self.cpus = cpus
        if not any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= self.gpus for n in nodes):
            self.close([])
            raise BadInput(f"no node has the {cpus:g} CPUs and {self.gpus:g} GPUs of a run")

    def check(self, places: Sequence[Path], environment: dict[str, str], names: Sequence[str]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        def look(mark: str) -> str:
            os.environ.update(environment)
            return sees(places, mark) or lacks(names)

        ids = [n["NodeID"] for n in self.ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
        here = {i: self.ray.remote(look).options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(i, soft=False)).remote(i) for i in ids}
        for node, handle in here.items():
            trouble = self.outcome(handle)
            if trouble := trouble or next((f"{p.parent}: what node {node[:8]} wrote there is not seen here"
                                           for p in places if not (p / node).exists()), ""):
                raise BadInput(trouble)

    def submit(self, job: Job, after: Sequence[Any]) -> Any:
        needs = {"num_cpus": self.cpus, "num_gpus": self.gpus} if job.act == "train" else {"num_cpus": 1}
        task = self.ray.remote(_call).options(name=f"{job.act} {job.run.name}", max_retries=RETRIES, **needs)
        return task.remote(job, *after)

    def ended(self, handles: Sequence[Any], seconds: float) -> list[Any]:
        return self.ray.wait(list(handles), num_returns=len(handles), timeout=seconds)[0]

    def outcome(self, handle: Any) -> str:
        try:
            return str(self.ray.get(handle))
        except self.ray.exceptions.RayError as error:  # its worker died, and no other could do it
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"

    def close(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            self.ray.cancel(handle, force=True)
        self.ray.shutdown()
        if self.files:
            self.files.cleanup()


def _call(job: Job, *before: str) -> str:
    return job(*before)


@dataclass
class _Queued:
    """A job of SLURM's that is submitted as soon as those before it have ended."""

    job: Job
    after: list[_Queued] = field(default_factory=list)
    submitted: Any = None


class Slurm:
    """Jobs of SLURM through submitit: queued again by themselves when they are preempted or out of their hours.

    `cluster` "local" runs them as processes of this machine.
    """

    def __init__(self, place: Path, cpus: float, gpus: float | None, partition: str | None, hours: float,
                 cluster: str = "slurm"):
        submitit = package("submitit")
        if gpus is not None and gpus != round(gpus):
            raise BadInput("--gpus-per-run: SLURM gives whole GPUs only")
        again: dict[str, Any] = {"slurm_max_num_timeout": 100} if cluster == "slurm" else {}
        try:
            self.executor = submitit.AutoExecutor(folder=place, cluster=cluster, **again)
        except RuntimeError as error:
            raise BadInput(f"--engine slurm: {str(error).splitlines()[0]}") from None
        whole = {"name": "tad", "timeout_min": max(1, round(60 * hours)), "cpus_per_task": max(1, round(cpus))}
        self.executor.update_parameters(**whole, **({"gpus_per_node": round(gpus)} if gpus else {}),
                                        **({"slurm_partition": partition} if partition else {}))

    def check(self, places: Sequence[Path], environment: dict[str, str], names: Sequence[str]) -> None:
        """Each job looks for itself: which nodes there will be is SLURM's choice."""

    def submit(self, job: Job, after: Sequence[_Queued]) -> _Queued:
        queued = _Queued(job, list(after))
        self._advance(queued)
        return queued

    def _advance(self, queued: _Queued) -> bool:
        """Submit it if it is its turn; whether it has ended, or never will begin for the sweep was stopped."""
        goes_on = (queued.job.places[0] / FLAG).exists()
        if queued.submitted is None and goes_on and all(map(self._advance, queued.after)):
            queued.submitted = self.executor.submit(queued.job, *map(self.outcome, queued.after))
        return bool(queued.submitted.done()) if queued.submitted else not goes_on

    def ended(self, handles: Sequence[_Queued], seconds: float) -> list[_Queued]:
        found = [h for h in handles if self._advance(h)]
        if not found:
            time.sleep(seconds)
        return found

    def outcome(self, handle: _Queued) -> str:
        try:
            return str(handle.submitted.result())
        except Exception as error:  # submitit's own: a job that died, whose node was lost, that was cancelled
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"

    def close(self, handles: Sequence[_Queued]) -> None:
        for queued in handles:
            if queued.submitted is not None and not queued.submitted.done():
                queued.submitted.cancel(check=False)
