"""The scale study: its simulation on small plans that one can do by hand, and its record as the records say."""
from __future__ import annotations

import pandas as pd
import pytest

from tadlib.settings import ROOT
from workbook import scale, studies
from workbook.scale import Task, chains, hours, longest_first
from workbook.sweep import plan

PLAN = {"a": Task(60, ()), "b": Task(60, ()), "c": Task(120, ()), "d": Task(120, ("c",)), "e": Task(30, ("c",))}


def test_a_device_takes_the_first_that_may_begin():
    assert hours(PLAN, list(PLAN), 1) == pytest.approx(6.5)
    assert hours(PLAN, list(PLAN), 2) == pytest.approx(5)  # c has to wait for a place, and d for c
    assert hours(PLAN, ["c", "d", "a", "b", "e"], 2) == pytest.approx(4)
    assert hours(PLAN, list(PLAN), 3) == hours(PLAN, list(PLAN), 64) == pytest.approx(4)  # the longest chain


def test_the_longest_chain_is_first_and_what_it_starts_from_before_it():
    assert chains(PLAN)["c"] == ["c", "d"] and chains(PLAN)["a"] == ["a"]
    assert longest_first(PLAN) == ["c", "d", "a", "b", "e"]
    nothing_known = {name: Task(0, task.after) for name, task in PLAN.items()}
    assert longest_first(nothing_known) == list(PLAN)  # the order stays


def test_a_sweep_takes_the_longest_chain_first(store):
    for name in ("aetad", "tool_x4_short"):
        store(name)
    minutes = {"aetad": 5.0, "tool_x4_short": 3.0}
    for folder in (studies.trained(name).folder for name in minutes):
        text = (folder / "record.json").read_text()
        (folder / "record.json").write_text(text[:-1] + f', "minutes": {minutes[folder.name.rpartition("-")[0]]}}}')
    names = [run.name for run in plan(["bicubic", "robust_short", "aetad_video"], [], "smoke")]
    assert names == ["aetad", "tool_x4_short", "bicubic", "robust_short", "aetad_video"]


def test_the_record_is_what_the_stored_trainings_say_now():
    stored = scale.stored()
    said = stored[stored.part == "simulated"][["part", "quantity", "devices", "value"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(said, scale.simulated(), check_dtype=False,  # the command that makes it so:
                                  obj="python benchmarks/scale.py --simulate --keep; python -m workbook readme")


def test_no_number_of_devices_beats_the_ideal_or_the_longest_chain():
    table = scale.simulated().pivot(index="devices", columns="quantity", values="value")
    for order in ("longest chain first", "in the order of the tables"):
        assert (table[order] >= table[["ideal", "longest chain"]].max(axis=1) - 1e-3).all()
    assert (table["longest chain first"] <= table["in the order of the tables"] + 1e-3).all()


def test_the_readme_says_what_the_record_says():
    assert scale.passage() in (ROOT / "README.md").read_text(), "run `python -m workbook readme`"
