"""The tables of runs hang together: every name exists, is what its table says, and is scored on what is shown."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tadlib import report, studies
from tadlib.evaluation import KINDS, scores
from tadlib.networks import ZOO
from tadlib.training import Pass, fit

CLIPS = ("SampleClip", "Vid4/calendar", "Vid4/city", "Vid4/foliage", "Vid4/walk")
VIDEO = [name for name, run in studies.ALL.items() if ZOO[run.model].frames > 1]
ON_CLIPS = (*studies.TABLE_5, *studies.AIMS)


def test_every_list_names_runs_that_exist():
    named = {*studies.ARCHITECTURES, *studies.NOISY, *studies.OTHER_SCALES, *studies.TABLE_3, *studies.VARIED,
             *studies.LIKENESS, *studies.KINK, *studies.TABLE_4, *studies.COLOUR_NOISY, *studies.COLOUR_FRONT}
    named |= set(ON_CLIPS)
    named |= {run.name for of in studies.ALL.values() for run in of.start}
    named |= {name for grid in studies.EPSILON.values() for name in grid.values()}
    assert named <= set(studies.ALL)
    sliced = [name for part in studies.GPU_SLICES.values() for name in part.runs]
    assert len(set(sliced)) == len(sliced) and set(sliced) <= set(studies.ALL)


def test_an_epsilon_stands_for_a_run_with_it_or_for_one_without_a_ball():
    for reading, grid in studies.EPSILON.items():
        for epsilon, name in grid.items():
            run = studies.ALL[name]
            assert (run.epsilon, run.reading) == (epsilon, reading) or (name == "eps_0" and run.epsilon == 0)


def test_study_nets_are_trained_equally_within_images_colour_and_video():
    longer = ("tool_x4", "robust", "tool_x2", "tool_color", "aetad_direct4_long")
    shorter = ("aetad_video", "direct", *studies.AIMS)  # fine-tunings
    study = [run for run in studies.ALL.values() if run.steps and run.name not in longer + shorter + studies.BATCHES
             and ZOO[run.model].family != "own"]

    def kind(run):
        return "video" if ZOO[run.model].frames > 1 else ZOO[run.model].task

    images, clips = ("DIV2K_crops", "BSDS_train"), ("VideoTrain", "BSDS_train")
    assert {(kind(run), run.steps, run.batch, run.patch, run.train) for run in study} == {
        ("sr", studies.STEPS, 8, 96, images), ("colour", studies.STEPS, 8, 64, images),
        ("video", studies.STEPS, 8, 128, clips)}
    runs = [studies.ALL[name] for name in studies.ARCHITECTURES]
    assert all((run.model, run.scale, run.beta) == (run.name, 4, 0.02) for run in runs)
    assert len({run.recipe for run in runs}) == 1
    tuned = [studies.ALL[name] for name in shorter]  # what they start from was trained long enough
    assert all(run.start and run.steps <= studies.STEPS / 4 and (run.batch, run.rate) == (8, 0.25) for run in tuned)
    joint = {"joint_x4", "joint_still"}  # these start from a trained net and have to learn what it could not
    assert {run.name for run in study if run.rate != 1} == joint


def test_a_run_starts_from_runs_of_the_tables_and_freezes_only_what_it_got_from_them():
    starting = {name: run for name, run in studies.ALL.items() if run.start}
    assert set(starting) == {"aetad_video", "sofvsr_tad", "direct", "aim_farneback", "aim_flow", "joint_x4",
                             "joint_still", "robust"}
    for name, run in starting.items():
        assert all(earlier == studies.ALL[earlier.name] for earlier in run.start), name
    assert {name for name, run in studies.ALL.items() if run.frozen or run.rate != 1 or run.aim} <= set(starting)
    assert [studies.ALL["direct"].start[-1].model, studies.ALL["direct"].frozen] == ["sofvsr", "decoder"]
    assert [studies.ALL["sofvsr_tad"].start[0].model, studies.ALL["sofvsr_tad"].frozen] == ["aetad", "encoder"]


@pytest.mark.parametrize("profile", ["smoke", "gpu"])
def test_what_a_run_starts_from_is_of_its_own_profile(profile):
    run = studies.run("sofvsr_tad", profile)
    while run.start:
        run, = run.start
        assert run == studies.run(run.name, profile)
    assert (run.name, run.profile) == ("aetad", profile)


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
    assert differing("joint_x4", "joint_still") == {"neighbours"}
    assert differing("aim_farneback", "aim_flow") == {"aim"}
    assert differing("sofvsr", "sofvsr_tad") == {"model", "start", "frozen"}
    assert differing("aetad", "aetad_video") == {"steps", "rate", "train", "start"}


def test_the_epsilon_study_differs_in_the_ball_alone():
    runs = [studies.ALL[name] for grid in studies.EPSILON.values() for name in grid.values()]
    assert {(run.model, run.alpha, run.beta, run.latent, run.noise, run.seed) for run in runs} == {
        ("aetad", 1, 0.1, "l1", 0, 0)}


def todo(name: str, profile: str = "cpu") -> list[studies.Scoring]:
    return studies.scoring(studies.run(name, profile))


@pytest.mark.parametrize("name", [name for name in studies.ALL if name not in VIDEO])
def test_every_run_on_images_is_scored_on_the_main_sets_first(name):
    first, *further = todo(name)
    assert first.sets == ("Sample", "Set5", "Set14")
    assert first.scale is None and first.kinds == KINDS
    large = [s for s in further if "BSDS100" in s.sets]
    assert bool(large) == (name in studies.TABLE_3 + studies.TABLE_4)


def test_video_runs_are_scored_on_clips_and_what_sees_several_frames_on_nothing_else():
    assert studies.clips("cpu") == studies.clips("gpu") == CLIPS
    on_clips = {name: [s for s in todo(name) if set(s.sets) & set(CLIPS)] for name in studies.ALL}
    wanted = studies.Scoring(CLIPS, kinds=("SHRT", "SLR"))
    assert on_clips == {name: [wanted] if name in ON_CLIPS else [] for name in studies.ALL}
    assert set(VIDEO) < set(ON_CLIPS)
    assert all(todo(name) == [wanted] for name in VIDEO)


def test_noise_is_drawn_more_than_once_for_the_curve_and_for_the_card():
    for name in studies.ALL:
        noisy = [s for s in todo(name) if "noise:0.11" in s.channels]
        curve, card = (("Set14",), studies.NOISES), (("Set5", "Set14"), studies.HAPPENS)
        assert [(s.sets, s.channels) for s in noisy] == [
            *([curve] if name in studies.NOISY + studies.COLOUR_NOISY else []),
            *([card] if name in studies.CARD else [])]
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
    sent = {name for name in studies.ALL if any("jpeg:90" in s.channels for s in todo(name))}
    assert sent == {"original", *studies.COLOUR_SENT, *studies.CARD}


def test_a_stand_in_is_scored_as_the_run_it_stands_in_for_but_on_the_sample():
    run = studies.run("eps_0")
    own, other = studies.scoring(replace(run, name="eps_0_sample")), studies.scoring(run)
    assert [s._replace(sets=()) for s in own] == [s._replace(sets=()) for s in other]
    assert {s.sets for s in own[1:]} == {("Sample",)} and {s.sets for s in other[1:]} == {("Set14",), ("Set5", "Set14")}


def test_in_a_smoke_run_all_is_on_the_crop_or_the_small_clip():
    for name in studies.ALL:
        sets = ([("SampleCrop",)] if name not in VIDEO else []) + ([("SampleClip",)] if name in ON_CLIPS else [])
        assert {s.sets for s in todo(name, "smoke")} == set(sets)


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


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_at_every_profile_equal_training_is_equal_and_no_two_runs_are_the_same(profile):
    runs = {name: studies.run(name, profile) for name, run in studies.ALL.items() if run.steps}
    assert len({str(run.differing()) for run in runs.values()}) == len(runs)
    assert len({(runs[name].steps, runs[name].batch) for name in studies.ARCHITECTURES}) == 1
    assert len({run.steps * run.batch * run.patch**2 for run in map(runs.get, studies.BATCHES)}) == 1
    ratio = runs["aetad_direct4_long"].steps / runs["aetad_direct4"].steps
    assert ratio == studies.ALL["aetad_direct4_long"].steps / studies.ALL["aetad_direct4"].steps


@pytest.mark.parametrize("name", ["noise_trained", "color_noise_trained"])
def test_every_step_of_a_training_with_noise_has_a_channel_that_can_be_sent(name):
    """A sigma below 0.0001 is written as 2e-05, which was once taken for no number: at step 1,042."""
    run = studies.run(name, "gpu")
    step_of = Pass(run, torch.nn.Identity())
    for step in range(run.steps):
        step_of.channel(torch.zeros(1, 1, 1, 1), step)
