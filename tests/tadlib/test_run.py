"""What a run is: the fields of its hash, the network, draws and scales that it stands for; and what cannot be one."""
from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest
import torch

from tadlib.errors import BadInput
from tadlib.run import RECIPE_VERSION, Run

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")

CHANGES = {"model": "aetad", "scale": 4, "steps": 4, "batch": 3, "patch": 48, "seed": 1, "recipe": "report",
           "alpha": 2.0, "beta": 0.5, "beta_start": 0.1, "grey": 0.1, "latent": "l2", "epsilon": 1.0,
           "reading": "levels", "guidance": "bilinear", "skip": "bicubic", "noise": 0.1, "added": False,
           "scales": (2, 4), "train": ("Sample",), "start": (TINY,), "frozen": "encoder", "rate": 0.5,
           "neighbours": False, "aim": "flow", "channels": ("jpeg:90",), "ema": 0.999}


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
    monkeypatch.setitem(RECIPE_VERSION, "modern", 99)
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


# ------------------------------------------------------------------------------------------------------- what is drawn

SEEDS = {"network": lambda seed, step: seed, "patches": lambda seed, step: seed * 1_000_003 + step,
         "channel": lambda seed, step: seed * 7_919 + step, "grey": lambda seed, step: seed * 6_700_417 + step,
         "scale": lambda seed, step: seed * 15_485_863 + step}  # those of the stored runs


@pytest.mark.parametrize("purpose", SEEDS)
def test_draws_are_those_with_which_the_stored_runs_were_trained(purpose):
    for seed, step in ((0, 0), (2, 0)) if purpose == "network" else ((0, 0), (0, 7), (2, 0), (2, 7)):
        expected = torch.Generator().manual_seed(SEEDS[purpose](seed, step))
        assert replace(TINY, seed=seed).generator(purpose, step).get_state().equal(expected.get_state())


# ------------------------------------------------------------------------------------------------------- what is no run

@pytest.mark.parametrize(("field", "value", "line"), [
    ("recipe", "modren", "recipe 'modren'; there are 'modern', 'report'"), ("recipe", "", "recipe ''"),
    ("latent", "l3", "latent 'l3'"), ("reading", "percent", "reading 'percent'"),
    ("guidance", "bicubci", "guidance 'bicubci'"), ("skip", "bicubci", "skip 'bicubci'"),
    ("aim", "farnebak", "aim 'farnebak'; there are '', 'farneback', 'flow'"), ("frozen", "both", "frozen 'both'"),
    ("channels", ("jpg:90",), "channel stage 'jpg:90': "),
    ("channels", ("8bit", "jpeg:60..101"), "channel stage 'jpeg:101'"),
    ("channels", ("noise:lots",), "channel stage 'noise:lots'"), ("model", "adtea", "no network 'adtea'; there are: "),
    ("scale", 0, "scale"), ("batch", 0, "batch"), ("patch", -1, "patch"), ("steps", -1, "steps"), ("ema", 1.0, "ema"),
])
def test_what_cannot_be_trained_is_told_when_the_run_is_made(field, value, line):
    with pytest.raises(BadInput, match=f"^run tiny: .*{line}") as told:
        replace(TINY, **{field: value})
    assert len(str(told.value).splitlines()) == 1


def test_a_set_named_without_a_tuple_is_one_set():
    assert replace(TINY, train="SampleTrain") == TINY
    assert replace(TINY, train=["SampleTrain"]).label({"SampleTrain": "x"}) == TINY.label({"SampleTrain": "x"})


@pytest.mark.parametrize("changes", [
    {"recipe": "report"}, {"latent": "hinge", "epsilon": 0.8}, {"reading": "observed"}, {"guidance": "bilinear"},
    {"skip": "bicubic"}, {"aim": "flow", "model": "aetad_sofvsr", "scale": 4}, {"frozen": "decoder"},
    {"channels": ("8bit", "jpeg:60..95", "noise:0..0.1", "resize:0.85..1.0")}, {"profile": "gpu"}])
def test_what_can_be_trained_can_be_made(changes):
    assert replace(TINY, **changes).build().parameters_count > 0
