"""The tables of runs hang together: every name exists, what is compared can be compared, what is shown is scored."""
from __future__ import annotations

import fnmatch
import subprocess
from dataclasses import replace

import pytest
import torch

from tadlib import stored
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.protocol import KINDS
from tadlib.networks import ZOO
from tadlib.run import Run
from tadlib.settings import ROOT
from tadlib.training.fit import fit
from tadlib.training.loop import arrived
from workbook import exhibits, studies, tables
from workbook.scores import scores

CLIPS = ("SampleClip", *studies.CLIPS)
VIDEO = [name for name, run in studies.ALL.items() if ZOO[run.model].head.frames > 1]
ON_CLIPS = (*studies.TABLE_5, *studies.AIMS)
TRAINING = {name: run for name, run in studies.ALL.items() if run.steps}


def differing(a: str, b: str) -> set[str]:
    """The fields in which two runs differ, their names apart."""
    return {k for k, v in vars(studies.ALL[a]).items() if vars(studies.ALL[b])[k] != v} - {"name"}


# ------------------------------------------------------------------------------------------------------- names

def test_every_list_names_runs_that_exist():
    named = {*studies.ARCHITECTURES, *studies.NOISY, *studies.OTHER_SCALES, *studies.TABLE_3, *studies.VARIED,
             *studies.LIKENESS, *studies.KINK, *studies.BATCHES, *studies.TABLE_4, *studies.COLOUR_NOISY,
             *studies.COLOUR_FRONT, *studies.COLOUR_PARTS, *studies.COLOUR_SENT, *studies.PUBLISHED, *studies.GUESSING,
             *studies.CARD, *studies.KEPT, *ON_CLIPS}
    named |= {name for names in (*studies.SEEDS.values(), *studies.RECIPES.values()) for name in names}
    named |= {name for names in studies.NEEDS.values() for name in names}
    named |= {run.name for of in studies.ALL.values() for run in of.start}
    named |= {name for grid in (*studies.EPSILON.values(), studies.COLOUR_EPSILON) for name in grid.values()}
    assert named <= set(studies.ALL)
    assert all(name == run.name for name, run in studies.ALL.items())


def test_every_notebook_has_its_runs_and_a_wrong_name_is_told():
    assert set(studies.NEEDS) <= {n.stem for n in (ROOT / "notebooks").glob("*.ipynb")}
    for notebook, names in studies.NEEDS.items():
        assert [run.name for run in studies.needed(notebook, "smoke")] == list(names)
        assert {run.profile for run in studies.needed(notebook, "smoke")} == {"smoke"}
    assert studies.needed("06_report") == []
    with pytest.raises(KeyError, match="nonesuch"):
        studies.named("nonesuch")
    with pytest.raises(ValueError, match="huge"):
        studies.named("aetad", "huge")


def test_git_keeps_the_weights_that_the_study_says_are_loaded():
    lines = (ROOT / ".gitignore").read_text().splitlines()
    allowed = [line.removeprefix("!results/cpu/runs/").removesuffix("/weights.safetensors")
               for line in lines if line.startswith("!")]
    assert all(line == f"!results/cpu/runs/{glob}/weights.safetensors"
               for line, glob in zip([line for line in lines if line.startswith("!")], allowed, strict=True))
    matched = {glob: {n for n in studies.ALL if fnmatch.fnmatchcase(f"{n}-0123abcd", glob)} for glob in allowed}
    assert set().union(*matched.values()) == studies.KEPT
    assert all(matched.values()), matched  # no line is idle
    assert len(allowed) == len(set(allowed))


def test_git_itself_reads_the_exceptions_so():
    places = {f"results/{profile}/runs/{name}{own}-0123abcd/weights.safetensors": (profile, name, own)
              for profile in ("cpu", "gpu", "smoke") for name in studies.ALL for own in ("", "_sample")}
    asked = subprocess.run(["git", "check-ignore", "--no-index", "--stdin"], cwd=ROOT, input="\n".join(places),
                           capture_output=True, text=True, timeout=60)
    if asked.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    kept = {where for place, where in places.items() if place not in asked.stdout.splitlines()}
    assert kept == {("cpu", name, "") for name in studies.KEPT}


# ------------------------------------------------------------------------------------------------------- comparisons

def test_an_epsilon_stands_for_a_run_with_it_or_for_one_without_a_ball():
    for reading, grid in studies.EPSILON.items():
        for epsilon, name in grid.items():
            run = studies.ALL[name]
            assert (run.epsilon, run.reading) == (epsilon, reading) or (name == "eps_0" and run.epsilon == 0)


def kind(run) -> str:
    return "video" if ZOO[run.model].head.frames > 1 else ZOO[run.model].task


def test_study_nets_are_trained_equally_within_images_colour_and_video():
    """Those that begin from scratch; the batches and the run that is longer on purpose are compared on other terms."""
    longer = {b for a in TRAINING for b in TRAINING if differing(a, b) == {"steps"}
              and TRAINING[b].steps > TRAINING[a].steps}
    study = [run for run in TRAINING.values()
             if ZOO[run.model].family == "study" and not run.start and run.name not in longer]
    assert len(study) > len(studies.ARCHITECTURES)
    how = {(kind(run), run.steps, run.batch, run.patch, run.train, run.rate) for run in study}
    assert sorted(one[0] for one in how) == ["colour", "sr", "video"]
    assert {(steps, batch, rate) for _, steps, batch, _, _, rate in how} == {(studies.STEPS, 8, 1)}


def test_architectures_differ_in_the_network_alone():
    first, *others = studies.ARCHITECTURES
    assert all(differing(first, name) == {"model"} for name in others)
    assert all(studies.ALL[name].model == name for name in studies.ARCHITECTURES)
    first, *others = studies.PUBLISHED
    assert all(differing(first, name) == {"model"} for name in (*others, *studies.GUESSING))


def weights_of(runs) -> set[str]:
    return {key for run in runs for key in run.build().state_dict()}


def test_a_run_starts_from_runs_of_the_tables_and_freezes_only_what_it_got_from_them():
    for name, run in studies.ALL.items():
        assert all(earlier == studies.ALL[earlier.name] for earlier in run.start), name
        if run.frozen:
            frozen = {key for key in run.build().state_dict() if key.split(".")[0] == run.frozen}
            assert frozen and frozen <= weights_of(run.start), name
        assert run.start or not (run.frozen or run.aim or run.rate != 1), name


def took(run: Run) -> int:
    """Steps of a run and of the longest chain that it starts from."""
    return run.steps + max(map(took, run.start), default=0)


def test_what_goes_on_from_trained_weights_goes_on_gently_and_for_less_long_than_they_took():
    tuned = [run for run in TRAINING.values() if run.start and weights_of([run]) <= weights_of(run.start)]
    assert tuned
    for run in tuned:
        before = run.start[-1]
        length = {field: getattr(run, field) for field in ("steps", "batch", "patch", "rate", "ema")}
        if replace(before, name=run.name, start=run.start, **length) == run:
            continue  # the same training, continued: not what this is about
        assert run.rate <= 0.75 and run.steps < max(map(took, run.start)), run.name


@pytest.mark.parametrize("profile", ["smoke", "gpu"])
def test_what_a_run_starts_from_is_of_its_own_profile(profile):
    for name in studies.ALL:
        for earlier in studies.named(name, profile).start:
            assert earlier == studies.named(earlier.name, profile) and earlier.profile == profile


def test_batches_spend_the_same_number_of_pixels():
    runs = [studies.ALL[name] for name in studies.BATCHES]
    assert len({run.steps * run.batch * run.patch**2 for run in runs}) == 1


def test_what_is_compared_differs_in_one_thing():
    assert all(differing(*pair) == {"recipe"} for pair in studies.RECIPES.values())
    assert all(differing(model, n) == {"seed"} for model, names in studies.SEEDS.items() for n in names[1:])
    assert all(len(differing("aetad", name)) == 1 for name in studies.VARIED[1:])
    assert len({frozenset(differing("aetad", name)) for name in studies.VARIED}) == len(studies.VARIED)
    assert all(differing("aetad", n) <= {"beta", "epsilon", "reading"} for n in studies.LIKENESS)
    assert len({studies.ALL[n].model for n in studies.KINK}) == 1
    assert differing("aetad_direct4", "aetad_direct4_long") == {"steps"}
    assert differing("joint_x4", "joint_still") == {"neighbours"}
    assert differing(*studies.AIMS) == {"aim"}
    assert differing("sofvsr", "sofvsr_tad") == {"model", "start", "frozen"}
    assert differing("aetad", "aetad_video") == {"steps", "rate", "train", "start"}


def test_the_epsilon_study_differs_in_the_ball_alone():
    for names in (*(grid.values() for grid in studies.EPSILON.values()), studies.COLOUR_EPSILON.values()):
        first, *others = dict.fromkeys(names)
        assert studies.ALL[first].epsilon == 0
        assert all(differing(first, name) <= {"epsilon", "reading"} for name in others)


# ------------------------------------------------------------------------------------------------------- scoring

def todo(name: str, profile: str = "cpu") -> list[studies.Scoring]:
    return studies.scoring(studies.named(name, profile))


def test_every_run_on_images_is_scored_on_the_main_sets_first():
    for name in set(studies.ALL) - set(VIDEO):
        first, *further = todo(name)
        assert first.sets == ("Sample", "Set5", "Set14"), name
        assert first.scale is None and first.kinds == KINDS, name
        large = [s for s in further if "BSDS100" in s.sets]
        assert bool(large) == (name in studies.TABLE_3 + studies.TABLE_4), name


def test_video_runs_are_scored_on_clips_and_what_sees_several_frames_on_nothing_else():
    assert studies.clips("cpu") == studies.clips("gpu") == CLIPS and all(map(sets.is_clip, CLIPS))
    on_clips = {name: [s for s in todo(name) if set(s.sets) & set(CLIPS)] for name in studies.ALL}
    wanted = studies.Scoring(CLIPS, kinds=("SHRT", "SLR"))
    assert on_clips == {name: [wanted] if name in ON_CLIPS else [] for name in studies.ALL}
    assert set(VIDEO) < set(ON_CLIPS)
    assert all(todo(name) == [wanted] for name in VIDEO)


def test_noise_is_drawn_more_than_once_for_the_curve_and_for_the_card():
    for name in studies.ALL:
        noisy = [s for s in todo(name) if "noise:0.11" in s.channels]
        every = name in ("bicubic", "eps_0", "eps_10_observed", "eps_100_observed", "noise_trained", "tool_x4")
        curve = (("Set14",), studies.EVERY_NOISE if every else studies.NOISES)
        card = (("Set5", "Set14"), studies.HAPPENS)
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
    run = studies.named("eps_0")
    own, other = studies.scoring(replace(run, name="eps_0_sample")), studies.scoring(run)
    assert [s._replace(sets=()) for s in own] == [s._replace(sets=()) for s in other]
    assert {s.sets for s in own[1:]} == {("Sample",)} and {s.sets for s in other[1:]} == {("Set14",), ("Set5", "Set14")}


def test_in_a_smoke_run_all_is_on_the_crop_or_the_small_clip():
    for name in studies.ALL:
        wanted = ([("SampleCrop",)] if name not in VIDEO else []) + ([("SampleClip",)] if name in ON_CLIPS else [])
        assert {s.sets for s in todo(name, "smoke")} == set(wanted)


def test_what_is_scored_once_fills_the_tables(own_results, no_data):
    """The scorings of two baselines, carried out as `train` does, on the smoke profile; tables add nothing to them."""
    for name in ("bicubic", "original"):
        trained = fit(studies.named(name, "smoke"))
        for wanted in studies.scoring(trained.run):
            scores(trained, *wanted)
    path = studies.trained("bicubic", "smoke").folder / "scores.csv"
    before = path.read_bytes()
    assert tables.noise_table(["bicubic"], "smoke")["sigma"].tolist() == [
        0, *sorted((*studies.SIGMAS, 0.17, 0.28, 0.39, 0.44))]
    assert tables.scale_table(["bicubic"], "smoke").notna().all(axis=None)
    card = tables.card(["bicubic"], ("SampleCrop",), "smoke")
    assert card["channel"].tolist() == ["8bit", *studies.HAPPENS] and card["psnr_rgb"].notna().all()
    assert exhibits.rate_distortion([], "smoke")[1]["channel"].tolist() == list(studies.FILES_OF_HR)
    assert path.read_bytes() == before


# ------------------------------------------------------------------------------------------------------- profiles

@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_at_every_profile_equal_training_is_equal_and_no_two_runs_are_the_same(profile):
    runs = {name: studies.named(name, profile) for name in TRAINING}
    assert len({str(run.differing()) for run in runs.values()}) == len(runs)
    assert len({(runs[name].steps, runs[name].batch) for name in studies.ARCHITECTURES}) == 1
    assert len({run.steps * run.batch * run.patch**2 for run in map(runs.get, studies.BATCHES)}) == 1
    ratio = runs["aetad_direct4_long"].steps / runs["aetad_direct4"].steps
    assert ratio == studies.ALL["aetad_direct4_long"].steps / studies.ALL["aetad_direct4"].steps


def test_the_gpu_profile_trains_on_whole_div2k_where_it_is_or_was_and_no_other_profile_does(own_results, no_data,
                                                                                           monkeypatch):
    crops, whole = ("DIV2K_crops", "BSDS_train"), ("DIV2K", "BSDS_train")
    assert studies.named("aetad", "gpu").train == crops
    known = stored.folder(replace(studies.named("aetad", "gpu"), train=whole))
    known.mkdir(parents=True)
    (known / "record.json").write_text("{}")
    assert [studies.named(name, "gpu").train for name in ("aetad", "no_tad")] == [whole, crops]
    monkeypatch.setattr(sets, "is_here", lambda name: True)
    assert studies.named("no_tad", "gpu").train == studies.named("robust", "gpu").start[0].train == whole
    assert studies.named("sofvsr", "gpu").train == ("VideoTrain", "BSDS_train")
    assert studies.named("no_tad", "cpu") == studies.ALL["no_tad"] and studies.named("no_tad").train == crops


def test_vdiv2k_is_scored_and_shown_where_it_is_and_nowhere_else(store, monkeypatch):
    store("aetad", [{"set": "Set5"}])
    assert studies.scored_sets("aetad", "cpu", sets.TEST_SETS) == ("Set5",)
    monkeypatch.setattr(sets, "is_here", lambda name: name in ("Set5", "VDIV2K"))
    assert studies.scored_sets("aetad", "cpu", sets.TEST_SETS) == ("Set5", "VDIV2K")
    assert any("VDIV2K" in todo.sets for todo in studies.scoring(studies.named("tool_x4")))


def test_a_smoke_run_is_short_and_needs_no_data():
    for name in TRAINING:
        run = studies.named(name, "smoke")
        assert (run.steps, run.train) == (3, ("SampleTrain",)) and run.batch * run.patch**2 <= 2 * 32**2


def test_every_step_of_a_training_with_noise_has_a_channel_that_can_be_sent():
    """A sigma below 0.0001 is written as 2e-05, which was once taken for no number: at step 1,042."""
    for name in ("noise_trained", "color_noise_trained"):
        run = studies.named(name, "gpu")
        assert run.noise
        for step in range(run.steps):
            arrived(run, torch.zeros(1, 1, 1, 1), step)


def test_a_row_that_cannot_be_trained_is_told_where_the_table_is_made():
    with pytest.raises(BadInput, match="run mine"):
        replace(studies.ALL["aetad"], name="mine", aim="farnebak")
