"""Which runs exist, at which profile, and which notebook needs them. A new run is one line here.

Study nets are the report's, trained equally (STEPS of batch 8 at 96x96) and compared with each other. Tool nets are
what a person uses, trained longer. The two are never mixed in one figure without saying so.
"""
from __future__ import annotations

from dataclasses import replace

from tadlib.networks import ZOO
from tadlib.training import PROFILES, Run

SCORED = ("Sample", "Set5", "Set14", "BSDS100")  # Urban100 is as large as five times all of these
STEPS = {"cpu": 1000, "gpu": 20_000}  # of every study net of a profile

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
    tool = ZOO[found.model].family == "tool"
    return replace(found, steps=60_000 if tool else STEPS["gpu"], batch=16)


def sets(profile: str) -> tuple[str, ...]:
    """The sets on which a profile's runs are scored, as far as they are here; the sample always is."""
    return ("SampleCrop",) if profile == "smoke" else SCORED


def runs(notebook: str, profile: str = "cpu") -> list[Run]:
    """What a notebook needs, in the order in which it should be trained."""
    return [run(name, profile) for name in NEEDS.get(notebook, [])]
