"""The tables of runs hang together: every name exists, is what its table says, and is scored on what is shown."""
from __future__ import annotations

from dataclasses import replace

import pytest

from tadlib import report, studies
from tadlib.evaluation import KINDS, scores
from tadlib.networks import ZOO
from tadlib.training import fit


def test_every_list_names_runs_that_exist():
    named = {*studies.ARCHITECTURES, *studies.NOISY, *studies.OTHER_SCALES, *studies.TABLE_3, *studies.VARIED,
             *studies.LIKENESS, *studies.KINK}
    named |= {name for grid in studies.EPSILON.values() for name in grid.values()}
    assert named <= set(studies.ALL)
    sliced = [name for part in studies.GPU_SLICES.values() for name in part.runs]
    assert len(set(sliced)) == len(sliced) and set(sliced) <= set(studies.ALL)


def test_an_epsilon_stands_for_a_run_with_it_or_for_one_without_a_ball():
    for reading, grid in studies.EPSILON.items():
        for epsilon, name in grid.items():
            run = studies.ALL[name]
            assert (run.epsilon, run.reading) == (epsilon, reading) or (name == "eps_0" and run.epsilon == 0)


def test_study_nets_are_trained_equally():
    longer = ("tool_x4", "tool_x2", "tool_color", "aetad_direct4_long")
    study = [run for run in studies.ALL.values() if run.steps and run.name not in longer + studies.BATCHES]
    assert {(run.steps, run.batch, run.patch, run.scale == 1) for run in study} == {
        (studies.STEPS, 8, 96, False), (studies.STEPS, 8, 64, True)}
    runs = [studies.ALL[name] for name in studies.ARCHITECTURES]
    assert all((run.model, run.scale, run.beta) == (run.name, 4, 0.02) for run in runs)
    assert len({run.recipe for run in runs}) == 1


def test_batches_spend_the_same_number_of_pixels():
    runs = [studies.ALL[name] for name in studies.BATCHES]
    assert len({run.steps * run.batch * run.patch**2 for run in runs}) == 1


def test_what_is_compared_differs_in_one_thing():
    def differing(a, b):
        return {k for k, v in vars(studies.ALL[a]).items() if vars(studies.ALL[b])[k] != v} - {"name"}

    assert all(differing(*pair) == {"recipe"} for pair in studies.RECIPES.values())
    assert all(differing(model, n) == {"seed"} for model, names in studies.SEEDS.items() for n in names[1:])
    assert [differing("aetad", name) for name in studies.VARIED[1:]] == [{"added"}, {"guidance"}, {"skip"}]
    assert all(differing("aetad", n) <= {"beta", "epsilon", "reading"} for n in studies.LIKENESS)
    assert {studies.ALL[n].model for n in studies.KINK} == {"tool_x4"}
    assert differing("aetad_direct4", "aetad_direct4_long") == {"steps"}


def test_the_epsilon_study_differs_in_the_ball_alone():
    runs = [studies.ALL[name] for grid in studies.EPSILON.values() for name in grid.values()]
    assert {(run.model, run.alpha, run.beta, run.latent, run.noise, run.seed) for run in runs} == {
        ("aetad", 1, 0.1, "l1", 0, 0)}


def todo(name: str, profile: str = "cpu") -> list[studies.Scoring]:
    return studies.scoring(studies.run(name, profile))


@pytest.mark.parametrize("name", studies.ALL)
def test_every_run_is_scored_on_the_main_sets_first(name):
    first, *further = todo(name)
    assert first.sets == ("Sample", "Set5", "Set14")
    assert first.scale is None and first.kinds == KINDS
    large = [s for s in further if "BSDS100" in s.sets]
    assert bool(large) == (name in studies.TABLE_3 + studies.TABLE_4)


def test_noise_is_drawn_more_than_once_and_on_one_set():
    for name in studies.ALL:
        noisy = [s for s in todo(name) if "noise:0.11" in s.channels]
        assert [(s.sets, s.channels) for s in noisy] == (
            [(("Set14",), studies.NOISES)] if name in studies.NOISY + studies.COLOUR_NOISY else [])
        assert all(s.draws > 1 for s in noisy)


def test_other_scales_are_those_of_the_table():
    scored = {name: {s.scale for s in todo(name) if s.scale} for name in studies.ALL}
    assert {name for name, at in scored.items() if at == {2, 8, 16}} == set(studies.OTHER_SCALES)
    assert scored["aetad_x2"] == {4}
    for name in studies.OTHER_SCALES:
        net = ZOO[studies.ALL[name].model]
        assert net.step == 2 or not net.decoder  # any power of two


def test_the_original_is_sent_as_files_and_nothing_else():
    assert {s.channels for s in todo("original")} == {studies.FILES_OF_HR}
    assert {"jpeg:90", "webp:2"} <= set(studies.FILES_OF_HR)
    assert not any("jpeg:90" in s.channels for name in studies.ALL if name != "original" for s in todo(name))


def test_a_stand_in_is_scored_as_the_run_it_stands_in_for_but_on_the_sample():
    run = studies.run("eps_0")
    own, other = studies.scoring(replace(run, name="eps_0_sample")), studies.scoring(run)
    assert [s._replace(sets=()) for s in own] == [s._replace(sets=()) for s in other]
    assert {s.sets for s in own[1:]} == {("Sample",)} and {s.sets for s in other[1:]} == {("Set14",)}


def test_in_a_smoke_run_all_is_on_the_crop():
    for name in studies.ALL:
        assert {s.sets for s in todo(name, "smoke")} == {("SampleCrop",)}


def test_what_is_scored_once_fills_the_tables(own_results, no_data):
    """The scorings of two baselines, carried out as `train` does, on the smoke profile; tables add nothing to them."""
    for name in ("bicubic", "original"):
        trained = fit(studies.run(name, "smoke"))
        for wanted in studies.scoring(trained.run):
            scores(trained, *wanted)
    path = report.stored("bicubic", "smoke").folder / "scores.csv"
    before = path.read_bytes()
    assert report.noise_table(["bicubic"], "smoke")["sigma"].tolist() == [0, *studies.SIGMAS]
    assert report.scale_table(["bicubic"], "smoke").notna().all(axis=None)
    assert report.rate_distortion([], "smoke")[1]["channel"].tolist() == list(studies.FILES_OF_HR)
    assert path.read_bytes() == before
