"""Which runs exist, at which profile, and which notebook needs them. A new run is one line here.

Study nets are the report's, trained equally (as many steps of the same batch: the defaults of training.Run) and
compared with each other. Tool nets are what a person uses, trained longer. The two are never mixed in one figure
without saying so.
"""
from __future__ import annotations

from dataclasses import replace

from tadlib.datasets import TEST_SETS
from tadlib.networks import ZOO
from tadlib.training import PROFILES, Run

SCORED = ("Sample", *(s for s in TEST_SETS if s != "Urban100"))  # that one is as large as five times the others
GPU_STEPS = {"study": 20_000, "tool": 60_000}  # of batch 16, by family

_STUDY = [
    Run("aetad", "aetad"),
    Run("no_tad", "no_tad"),
]
_TOOLS = [
    Run("tool_x4", "tool_x4", scale=4, steps=3000, batch=16, beta=0.045),
    Run("tool_x2", "tool_x2", scale=2, steps=2000, batch=8, beta=0.03),
]
_BASELINES = [
    Run("bicubic", "bicubic", scale=4, steps=0, train=()),
    Run("lanczos", "lanczos", scale=4, steps=0, train=()),
    Run("bicubic_x2", "bicubic", scale=2, steps=0, train=()),
]
ALL = {run.name: run for run in _BASELINES + _STUDY + _TOOLS}

NEEDS = {  # notebook -> names of runs
    "00_quickstart": ["bicubic", "lanczos", "no_tad", "aetad", "tool_x4", "tool_x2", "bicubic_x2"],
    "01_epsilon_study": ["bicubic", "aetad", "tool_x4"],
}


def run(name: str, profile: str = "cpu") -> Run:
    """The named run at a profile: "cpu" as in the table, "gpu" longer, "smoke" a few steps on the bundled sample.

    Raises KeyError for a name that no table has, ValueError for an unknown profile.
    """
    if name not in ALL:
        raise KeyError(f"no run {name!r}; there are: {', '.join(ALL)}")
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    found = replace(ALL[name], profile=profile)
    if profile == "cpu" or not found.steps:
        return found
    if profile == "smoke":
        return replace(found, steps=3, batch=2, patch=32, train=("SampleTrain",))
    return replace(found, steps=GPU_STEPS[ZOO[found.model].family], batch=16)


def sets(profile: str) -> tuple[str, ...]:
    """The sets on which a profile's runs are scored, as far as they are here; the sample always is."""
    return ("SampleCrop",) if profile == "smoke" else SCORED


def runs(notebook: str, profile: str = "cpu") -> list[Run]:
    """What a notebook needs, in the order in which it should be trained."""
    return [run(name, profile) for name in NEEDS.get(notebook, [])]
