"""What a run is: names that never change, profiles, the network and the scales that it stands for."""
from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest
import torch

from tadlib import datasets, runs, studies
from tadlib.networks import ZOO
from tadlib.runs import Run

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")

FROZEN = {"aetad": "e3fad099", "no_tad": "a8033152", "aetad_very_small": "87064dbb", "aetad_skip2": "a1cdd043",
          "aetad_very_large": "e863e942", "eps_0": "ea25ebb2", "eps_100_observed": "f6d4851a",
          "aetad_any_scale": "a23374f6", "tool_x4": "e2b03947", "vdsr": "f9327610", "kink_l2_1": "439f9454",
          "tool_x2": "f0e27f85"}


CHANGES = {"model": "aetad", "scale": 4, "steps": 4, "batch": 3, "patch": 48, "seed": 1, "recipe": "report",
           "alpha": 2.0, "beta": 0.5, "beta_start": 0.1, "grey": 0.1, "latent": "l2", "epsilon": 1.0,
           "reading": "levels", "guidance": "bilinear", "skip": "bicubic", "noise": 0.1, "added": False,
           "scales": (2, 4), "train": ("Sample",), "start": (TINY,), "frozen": "encoder", "rate": 0.5,
           "neighbours": False, "aim": "flow", "channels": ("jpeg:90",)}


def committed_label(name):
    run = studies.run(name, "cpu")
    return run.label({n: datasets.known_fingerprint(n) for n in run.train})


@pytest.mark.parametrize("name", FROZEN)
def test_folder_names_of_committed_runs_are_frozen(name):
    assert committed_label(name) == f"{name}-{FROZEN[name]}"


def test_every_committed_folder_is_the_label_of_a_run():
    committed = {r.parent.name for r in (datasets.ROOT / "results" / "cpu" / "runs").glob("*/record.json")}
    stand_ins = {name for name in committed if "_sample-" in name}  # not in git
    assert committed
    assert committed - stand_ins <= {committed_label(name) for name in studies.ALL}


def test_a_new_field_with_a_default_orphans_no_run():
    @dataclass(frozen=True)
    class Later(Run):
        brand_new: float = 0.0

    prints = {"SampleTrain": "0123456789abcdef"}
    later = Later(**{f.name: getattr(TINY, f.name) for f in fields(TINY)})
    assert later.label(prints) == TINY.label(prints)
    assert replace(later, brand_new=1.0).label(prints) != TINY.label(prints)


def test_every_field_but_name_profile_and_watch_is_in_the_hash(monkeypatch):
    prints = dict.fromkeys(("SampleTrain", "Sample"), "0123456789abcdef")

    def code(run, prints=prints):
        return run.label(prints).rpartition("-")[2]

    assert {f.name for f in fields(Run)} == {*CHANGES, "name", "profile", "watch"}  # a new field: say what it does
    assert len({code(TINY), *(code(replace(TINY, **{k: v})) for k, v in CHANGES.items())}) == len(CHANGES) + 1
    assert code(replace(TINY, name="other", profile="cpu", watch=(8,))) == code(TINY)
    assert code(TINY, {"SampleTrain": "another"}) != code(TINY)
    before = code(TINY)
    monkeypatch.setitem(runs.RECIPE_VERSION, "modern", 99)
    assert code(TINY) != before


def test_what_a_run_starts_from_is_in_its_hash_with_every_field_that_is_in_its_own():
    def code(*start):
        return replace(TINY, start=start).label({"SampleTrain": "0123456789abcdef"})

    changed = [replace(TINY, **{k: v}) for k, v in CHANGES.items()]
    assert len({code(), code(TINY), *map(code, changed)}) == len(CHANGES) + 2
    nested = [replace(TINY, start=(one,)) for one in changed]  # and what that one started from
    assert len({code(TINY), *map(code, nested)}) == len(CHANGES) + 1
    one = changed[0]
    assert len({code(TINY, one), code(one, TINY), code(one), code(TINY), code(TINY, TINY)}) == 5  # the later wins
    assert code(replace(TINY, name="other", profile="cpu", watch=(8,))) == code(TINY)


def test_a_new_field_of_what_a_run_starts_from_orphans_no_run():
    @dataclass(frozen=True)
    class Later(Run):
        brand_new: float = 0.0

    def later(run, **changes):
        mine = {f.name: getattr(run, f.name) for f in fields(run)}
        return Later(**mine | {"start": tuple(map(later, run.start))} | changes)

    prints = {"SampleTrain": "0123456789abcdef"}
    middle = replace(TINY, seed=1, start=(TINY,))
    run = replace(TINY, seed=2, start=(middle, TINY))
    assert later(run).start[0].start == (later(TINY),)
    assert later(run).label(prints) == run.label(prints)
    assert later(run, start=(later(middle, start=(later(TINY, brand_new=1.0),)), later(TINY))).label(
        prints) != run.label(prints)


def test_runs_are_called_what_the_studies_call_them():
    assert all(name == run.name and run.model in ZOO for name, run in studies.ALL.items())
    assert {name for names in studies.NEEDS.values() for name in names} <= set(studies.ALL)
    codes = [r.label(dict.fromkeys(r.train, "x")) for r in studies.ALL.values()]
    assert len(set(codes)) == len(codes)


def test_profiles_of_a_run():
    cpu, gpu, smoke = (studies.run("aetad", p) for p in ("cpu", "gpu", "smoke"))
    assert (cpu.steps, cpu.patch, cpu.batch) == (1200, 96, 8)
    assert gpu.steps > cpu.steps
    assert (smoke.steps, smoke.train) == (3, ("SampleTrain",))
    assert studies.run("bicubic", "smoke").steps == 0
    with pytest.raises(KeyError, match="no run 'adtea'; there are: "):
        studies.run("adtea")
    with pytest.raises(ValueError, match="no profile 'tpu'; there are: smoke, cpu, gpu"):
        studies.run("aetad", "tpu")


def test_a_seed_fixes_the_initial_network_and_leaves_the_global_random_numbers_alone():
    torch.manual_seed(5)
    one = TINY.build().state_dict()
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)
    same, other = TINY.build().state_dict(), replace(TINY, seed=1).build().state_dict()
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["decoder.layers.0.weight"], other["decoder.layers.0.weight"])


def test_a_run_can_change_skip_and_guidance():
    assert TINY.build().spec.skip == "none"
    assert replace(TINY, skip="bicubic").build().spec.skip == "bicubic"
    assert TINY.guide == "bicubic"
    assert replace(TINY, guidance="bilinear").guide == "bilinear"
    assert replace(TINY, model="aetad_color", scale=1).guide == "y"


def test_a_run_can_leave_the_guidance_out_of_the_encoders_output():
    assert TINY.build().spec.added
    assert not replace(TINY, added=False).build().spec.added


def test_the_latent_weight_rises_in_the_second_quarter():
    run = replace(TINY, steps=1000, beta_start=0.01, beta=0.31)
    assert [run.beta_at(s) for s in (0, 250, 375, 500, 999)] == pytest.approx([0.01, 0.01, 0.16, 0.31, 0.31])
    assert [replace(TINY, beta=0.3).beta_at(s) for s in (0, 2)] == [0.3, 0.3]


def test_a_step_has_the_runs_scale_or_one_drawn_from_its_scales():
    assert {TINY.scale_at(step) for step in range(20)} == {2}
    run = replace(TINY, scales=(2, 4, 8, 16))
    drawn = [run.scale_at(step) for step in range(400)]
    assert drawn == [run.scale_at(step) for step in range(400)]  # a resumed run draws the same
    assert drawn != [replace(run, seed=1).scale_at(step) for step in range(400)]
    assert all(drawn.count(scale) == pytest.approx(100, abs=35) for scale in run.scales)
    assert len(set(drawn)) == 4
