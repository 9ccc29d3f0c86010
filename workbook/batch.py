"""The whole workbook at once: plan, train what is missing, execute the notebooks, verify, write pages."""
from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tadlib import stored
from tadlib.errors import BadInput
from tadlib.run import Run
from tadlib.settings import ROOT, results
from tadlib.stored import is_trained, on_this_machine
from tadlib.training.fit import fit
from workbook import site, studies
from workbook.scores import scores, verify
from workbook.speed import seconds_per_step


def notebooks(only: Sequence[str]) -> list[Path]:
    """The numbered notebooks, or those whose names start with one of `only`; the report, which reads what the others
    made, comes last. Raises BadInput where one has none.
    """
    every = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"), key=lambda n: (n.stem == site.REPORT, n.name))
    for start in only:
        if not any(n.name.startswith(start) for n in every):
            raise BadInput(f"--only {start}: no such notebook; there are {', '.join(n.stem for n in every)}")
    return [n for n in every if not only or n.name.startswith(tuple(only))]


def batch(profile: str = "cpu", only: Sequence[str] = (), retrain: bool = False) -> int:
    """Everything `./run_all.sh` does once the environment stands; 0, or 1 where a notebook failed. Raises BadInput."""
    started = time.time()
    chosen = notebooks(only)
    wanted = {run.name: run for n in chosen for run in studies.needed(n.stem, profile)}
    _train(list(wanted.values()), retrain)
    executed = []
    for number, notebook in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {notebook.name}", end=" ", flush=True)
        start = time.time()
        out = ROOT / "build" / profile / notebook.name
        trouble = _execute(notebook, out, profile)
        if trouble:
            print(f"\nFAILED {notebook.relative_to(ROOT)}, {trouble}\nas far as it came: {out}", file=sys.stderr)
            return 1
        executed.append(out)
        print(f"- {time.time() - start:.0f} s", flush=True)
    for name, run in tqdm(wanted.items(), desc="verifying stored scores", disable=None, leave=False):
        trained = fit(run)
        if trained.has_weights and (worst := verify(trained)) >= 5e-5:  # below that it would print as zero
            print(f"verified {name}: a fresh score differs by at most {worst:.4f} dB from the stored one")
    print(f"verified {len(wanted)} runs")
    pages = site.build(executed, ROOT / "build" / profile / "site")
    _name("figures", sorted((results(profile) / "figures").glob("*.*")), started)
    _name("tables", sorted((results(profile) / "tables").glob("*.csv")), started)
    _name("pages", pages, started)
    print(f"done in {time.time() - started:.0f} s; start reading at {pages[-1]}")
    return 0


def _train(runs: list[Run], retrain: bool) -> None:
    """Train (and score) what is missing, after saying how long that will take."""
    plan = list(map(on_this_machine, runs))
    plan = [run for run in plan if (retrain and run.trains) or not is_trained(run)]
    plan = list(dict.fromkeys(run for wanted in plan for run in (*_starts(wanted, retrain), wanted)))
    minutes = {run.name: run.steps * seconds_per_step(run) / 60 for run in plan if run.trains}
    if minutes:
        print(f"to train: {len(minutes)} runs, about {sum(minutes.values()):.0f} minutes on this machine")
        for run in plan:
            if run.name in minutes:
                print(f"  {run.name:16} {run.model} x{run.scale}, {run.steps} steps, about {minutes[run.name]:.1f} min")
    else:
        print("nothing to train: every run is stored")
    for run in plan:
        fit(run, retrain or (is_trained(run) and not stored.of(run).has_weights))
    for trained in tqdm(list(map(stored.of, runs)), desc="scoring", disable=None, leave=False):
        if trained.has_weights:
            for wanted in studies.scoring(trained.run):
                scores(trained, *wanted)


def _starts(run: Run, retrain: bool) -> list[Run]:
    """What has to be trained before a run, in that order: what it starts from and is not here with its weights, which
    git keeps of few; with `retrain` all that it starts from.
    """
    missing = [s.run for s in map(stored.of, run.start) if retrain or not s.has_weights]
    return [each for s in missing for each in (*_starts(s, retrain), s)]


def _execute(notebook: Path, out: Path, profile: str) -> str | None:
    """Run one notebook with papermill; what went wrong, in one line with the cell, or None."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(notebook), str(out), parameters={"profile": profile}, kernel_name="python3",
                                   progress_bar=False, extra_arguments=["--log-level=ERROR"])
    except PapermillExecutionError as error:
        first = error.source.strip().splitlines()[0] if error.source.strip() else ""
        return f"cell {error.exec_count} ({first}): {error.ename}: {error.evalue}"
    except Exception as error:  # a dead or missing kernel, an unreadable notebook
        return f"{type(error).__name__}: {error}"
    return None


def _name(what: str, paths: list[Path], since: float) -> None:
    """Say what was made, fresh files first told apart from those that were there and are the same."""
    fresh = sum(p.stat().st_mtime >= since for p in paths)
    print(f"{what}: {len(paths)} ({fresh} written now)")
    for path in paths:
        print(f"  {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
