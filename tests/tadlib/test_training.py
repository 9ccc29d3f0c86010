"""fit(run): names that never change, training that a killed process takes up again bit by bit, nothing lost."""
from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save

from tadlib import machine
from tadlib.channel import send
from tadlib.data import patches, sets
from tadlib.errors import BadInput, OutOfTime
from tadlib.evaluation.protocol import psnr_of_set
from tadlib.losses import latent_loss
from tadlib.networks import build
from tadlib.pixels import rgb_to_y, to_codes
from tadlib.run import Run
from tadlib.stored import Trained, describe, folder, is_trained, on_this_machine
from tadlib.tasks import guidance
from tadlib.training import fit as fitting
from tadlib.training import loop, objectives
from tadlib.training.fit import begin, fit
from tadlib.training.loop import Progress, Trainer, arrived, greyed
from tadlib.training.optim import make_optimizers, schedule

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")


@pytest.fixture
def quick(own_results, monkeypatch):
    """Own results, and a curve over one small corner: steps are what these tests look at."""
    monkeypatch.setattr(sets, "held_out", lambda names: {"corner": sets.load(names[0])["rocket"][:, :32, :32]})
    return own_results


@pytest.fixture
def batches(monkeypatch):
    """Which batches a training draws; `batches.stop = 4` kills it when it wants the fourth."""
    log = SimpleNamespace(drawn=[], stop=None)
    draws = {kind: kind.batch for kind in (patches.Patches, patches.ClipPatches)}

    def logged(self, count, rng):
        number = rng.initial_seed() % 1_000_003  # the training step (Run.generator), of any seed
        if number == log.stop:
            raise KeyboardInterrupt
        log.drawn.append(number)
        return draws[type(self)](self, count, rng)

    for kind in draws:
        monkeypatch.setattr(kind, "batch", logged)
    return log


@pytest.fixture
def left(quick):
    """left(run, seed) -> the run as if it had been trained before: with weights drawn from that seed."""

    def leave(run: Run, seed: int = 100) -> Trained:
        torch.manual_seed(seed)
        data = save({k: v.half() for k, v in build(run.model, start="default").state_dict().items()})
        folder(run).mkdir(parents=True)
        (folder(run) / "weights.safetensors").write_bytes(data)
        record = asdict(run) | {"network": run.net.words(), "weights": describe(data), "start": []}
        (folder(run) / "record.json").write_text(json.dumps(record))
        return fit(run)

    return leave


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return load_file(trained.folder / "weights.safetensors")


# ------------------------------------------------------------------------------------------------------- fit

def test_fit_trains_on_the_sample_and_leaves_a_whole_run(own_results, no_data):
    run = replace(TINY, name="narrow", scale=4)
    got = fit(run, quiet=True)
    assert got.folder == folder(run)
    assert got.folder.parent == own_results / "smoke" / "runs"
    assert sorted(f.name for f in got.folder.iterdir()) == ["history.csv", "record.json", "weights.safetensors"]
    record = got.record
    assert (record["run"], record["model"], record["params"]) == (got.folder.name, "aetad_very_small", 375_926)
    assert record["data"] == {"SampleTrain": {"images": 6, "fingerprint": sets.fingerprint("SampleTrain")}}
    assert (record["steps"], record["seed"], record["precision"]) == (3, 0, "32-true")
    assert {"cpu", "threads", "torch", "python"} <= set(record["machine"])
    assert record["network"] == run.net.words()
    assert record["weights"] == describe((got.folder / "weights.safetensors").read_bytes())
    history = got.history
    assert history["step"].tolist() == [1, 2, 3]
    assert set(history) == {"step", "seconds", "task", "latent", "gate_open", "of_observed", "of_range",
                            "of_observed_min", "of_observed_max", "of_range_min", "of_range_max",
                            "held_out_slr", "held_out_shr", "samplecrop_slr", "samplecrop_shr"}
    assert history.notna().all(axis=None)
    assert (history["gate_open"] == 1).all()
    assert got.network().parameters_count == 375_926
    assert not got.network().training
    assert Trained.open(got.folder).run == run


def test_curves_of_real_runs_are_over_the_test_sets_that_are_here(quick, no_data):
    run = replace(TINY, steps=1, profile="cpu")
    assert {"sample_slr", "sample_shr"} <= set(fit(run, quiet=True).history)


def test_a_watched_scale_has_its_own_columns_and_changes_nothing_else(quick, monkeypatch, tmp_path):
    plain = fit(TINY, quiet=True)
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "watched"))
    watched = fit(replace(TINY, watch=(4, 8)), quiet=True)
    assert watched.folder.name == plain.folder.name
    assert all(torch.equal(w, weights(watched)[k]) for k, w in weights(plain).items())
    both = plain.history.columns.drop("seconds")
    pd.testing.assert_frame_equal(watched.history[both], plain.history[both])
    assert set(watched.history) - set(plain.history) == {
        f"{name}_x{scale}_{what}" for name in ("held_out", "samplecrop") for scale in (4, 8) for what in ("slr", "shr")}
    crop = psnr_of_set(watched.network(), sets.load("SampleCrop"), 4, "bicubic")
    last = watched.history.iloc[-1]
    assert (last["samplecrop_x4_slr"], last["samplecrop_x4_shr"]) == pytest.approx(crop, abs=0.02)  # weights: 16 bit


def test_a_point_of_the_curve_is_the_mean_since_the_last_and_the_extremes_of_the_ratio():
    steps = [{"task": 0.2, "gate_open": True, "of_observed": 4.0, "of_range": 2.0},
             {"task": 0.4, "gate_open": False, "of_observed": 8.0, "of_range": 1.0}]
    trainer = SimpleNamespace(progress=Progress(step=2, seconds=1.234, terms=steps), precision="32-true", average=None)
    row = fitting._history_row(TINY, trainer, {})
    assert row == pytest.approx({"step": 2, "seconds": 1.23, "task": 0.3, "gate_open": 0.5, "of_observed": 6,
                                 "of_range": 1.5, "of_observed_min": 4, "of_observed_max": 8, "of_range_min": 1,
                                 "of_range_max": 2})


def test_a_second_fit_loads_and_writes_nothing(quick, batches):
    first = fit(TINY, quiet=True)
    times = {f.name: f.stat().st_mtime_ns for f in first.folder.iterdir()}
    batches.drawn.clear()
    second = fit(TINY, quiet=True)
    assert {f.name: f.stat().st_mtime_ns for f in second.folder.iterdir()} == times
    assert batches.drawn == []
    loaded = second.network().state_dict()
    assert all(torch.equal(loaded[k], w.float()) for k, w in weights(first).items())


def test_training_changes_the_weights_and_the_same_run_gives_the_same_ones(quick, monkeypatch, tmp_path):
    first = fit(TINY, quiet=True)
    start = TINY.build().state_dict()
    assert all((w.float() - start[k]).abs().max() > 0 for k, w in weights(first).items())
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "again"))
    second = fit(TINY, quiet=True)
    assert second.folder != first.folder
    assert all(torch.equal(w, weights(second)[k]) for k, w in weights(first).items())


def test_retrain_trains_again(quick, batches):
    fit(TINY, quiet=True)
    batches.drawn.clear()
    fit(TINY, retrain=True, quiet=True)
    assert batches.drawn == [0, 1, 2]


def test_a_baseline_is_a_run_without_training(quick, batches):
    run = Run("bicubic", "bicubic", steps=0, train=(), profile="smoke")
    assert not run.trains
    got = fit(run, quiet=True)
    assert is_trained(run)
    assert batches.drawn == []
    assert got.has_weights
    assert got.record["params"] == 0
    assert got.network().spec.name == "bicubic"


def test_the_loss_falls(quick):
    got = fit(replace(TINY, steps=40, recipe="modern"), quiet=True)
    task = got.history["task"]
    assert task.iloc[-1] < 0.7 * task.iloc[0]


# ------------------------------------------------------------------------------------------------------- resume

@pytest.fixture
def each_step(monkeypatch):
    """A checkpoint after each step; and one thread, so that sums are added in one order."""
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "0")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def whole_and_resumed(run, batches, monkeypatch, tmp_path, meanwhile=lambda: None):
    """The run in one go, and the run killed when it asks for batch 4, `meanwhile`, and taken up again."""
    whole = fit(run, quiet=True)
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "second"))
    batches.stop = 4
    with pytest.raises(KeyboardInterrupt):
        fit(run, quiet=True)
    assert not is_trained(run)
    meanwhile()
    batches.stop = None
    batches.drawn.clear()
    return whole, fit(run, quiet=True)


@pytest.mark.parametrize("changes", [
    {"recipe": "modern"}, {"recipe": "report"}, {"noise": 0.1, "epsilon": 1.0, "seed": 2}, {"scales": (2, 4, 8)},
    {"model": "joint_x4", "scale": 4, "start": (replace(TINY, model="tool_x4", scale=4, steps=1),)},
    {"model": "aetad_sofvsr", "scale": 4, "batch": 1},
    {"model": "aetad_sofvsr", "scale": 4, "batch": 1, "aim": "flow", "frozen": "decoder", "start": (
        replace(TINY, model="sofvsr", scale=4, steps=1),)},
], ids=["modern", "report", "noise", "scales", "clips", "sofvsr", "aim"])
def test_a_killed_training_goes_on_as_if_nothing_had_been(quick, each_step, batches, monkeypatch, tmp_path, changes):
    run = replace(TINY, steps=6, **changes)
    whole, resumed = whole_and_resumed(run, batches, monkeypatch, tmp_path)
    assert batches.drawn == [4, 5]  # it did go on, and did not start anew
    assert whole.folder != resumed.folder
    assert all(torch.equal(w, weights(resumed)[k]) for k, w in weights(whole).items())
    pd.testing.assert_frame_equal(whole.history.drop(columns="seconds"), resumed.history.drop(columns="seconds"))
    assert resumed.history["seconds"].is_monotonic_increasing  # those before the kill count too
    assert not list((tmp_path / "checkpoints").rglob("*.pt"))  # done with


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(quick, each_step, batches, monkeypatch, tmp_path,
                                                                capsys):
    def damage():
        newest, = (tmp_path / "checkpoints").rglob("state.pt")
        newest.write_bytes(newest.read_bytes()[:1000])

    whole, resumed = whole_and_resumed(replace(TINY, steps=6), batches, monkeypatch, tmp_path, damage)
    assert batches.drawn == [3, 4, 5]
    assert "damaged checkpoint passed over" in capsys.readouterr().out
    assert all(torch.equal(w, weights(resumed)[k]) for k, w in weights(whole).items())


def test_with_all_checkpoints_damaged_it_starts_anew(quick, each_step, batches, monkeypatch, tmp_path):
    def damage():
        for checkpoint in (tmp_path / "checkpoints").rglob("*.pt"):
            checkpoint.write_text("")

    whole, resumed = whole_and_resumed(replace(TINY, steps=6), batches, monkeypatch, tmp_path, damage)
    assert batches.drawn == [0, 1, 2, 3, 4, 5]
    assert all(torch.equal(w, weights(resumed)[k]) for k, w in weights(whole).items())


def flip(place: float):
    """Every checkpoint has one bit flipped, so far into it."""
    def damage(newest, previous):
        for path in (newest, previous):
            data = bytearray(path.read_bytes())
            data[int(place * len(data))] ^= 1
            path.write_bytes(data)
    return damage


def of_another_net(newest, previous):
    state = torch.load(newest, weights_only=True)
    state["model"] = state["average"] = build("aetad_small").state_dict()
    torch.save(state, newest)


def without_numbers(newest, previous):
    state = torch.load(newest, weights_only=True)
    next(iter(state["model"].values())).fill_(torch.nan)
    torch.save(state, newest)


UNUSABLE = {  # the newest checkpoint, and which batches are drawn then
    "a list": (lambda newest, previous: torch.save([1, 2], newest), [3, 4, 5]),
    "a number": (lambda newest, previous: torch.save(7, newest), [3, 4, 5]),
    "nothing in it": (lambda newest, previous: torch.save({}, newest), [3, 4, 5]),
    "another net's": (of_another_net, [3, 4, 5]),
    "no numbers": (without_numbers, [3, 4, 5]),
    "empty": (lambda newest, previous: newest.write_bytes(b""), [3, 4, 5]),
    "zeros": (lambda newest, previous: newest.write_bytes(bytes(newest.stat().st_size)), [3, 4, 5]),
    "both a list": (lambda newest, previous: [torch.save([], path) for path in (newest, previous)], [0, 1, 2, 3, 4, 5]),
    "a flipped bit": (flip(0.3), [0, 1, 2, 3, 4, 5]), "another": (flip(0.5), [0, 1, 2, 3, 4, 5]),
    "a third": (flip(0.8), [0, 1, 2, 3, 4, 5]),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run of six steps leaves, trained once: {name: weight}; and what it looked like after its fourth step."""
    return SimpleNamespace(weights=None, checkpoints=None)


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_checkpoint_is_passed_over(quick, each_step, batches, tmp_path, tmp_path_factory, whole, capsys,
                                               what):
    run = replace(TINY, steps=6)
    place = tmp_path / "checkpoints" / "smoke"
    if whole.weights is None:  # the same for all of these
        batches.stop = 4
        with pytest.raises(KeyboardInterrupt):
            fit(run, quiet=True)
        batches.stop = None
        kept = tmp_path_factory.mktemp("kept")
        whole.checkpoints = shutil.copytree(place, kept / "smoke")
        whole.weights = weights(fit(run, quiet=True))
        shutil.rmtree(folder(run))
    shutil.copytree(whole.checkpoints, place, dirs_exist_ok=True)
    damage, drawn = UNUSABLE[what]
    newest, = place.rglob("state.pt")
    damage(newest, newest.with_name("previous.pt"))
    batches.drawn.clear()
    capsys.readouterr()
    resumed = fit(run, quiet=True)
    assert batches.drawn == drawn
    assert capsys.readouterr().out.count("damaged checkpoint passed over") == len(drawn) // 3
    assert all(torch.equal(w, weights(resumed)[k]) for k, w in whole.weights.items())


def test_a_training_goes_on_at_the_precision_of_this_machine_and_its_record_names_both(quick, each_step, monkeypatch):
    """Begun where bf16 is slow, it may go on where it is fast: precision is no part of what a run is."""
    monkeypatch.delenv("TAD_PRECISION")
    monkeypatch.setattr(machine, "fastest_precision", lambda device: "32-true")
    monkeypatch.setenv("TAD_UNTIL", "1")
    with pytest.raises(OutOfTime):
        fit(TINY, quiet=True)
    monkeypatch.delenv("TAD_UNTIL")
    monkeypatch.setattr(machine, "fastest_precision", lambda device: "bf16-mixed")
    assert fit(TINY, quiet=True).record["precision"] == "32-true, bf16-mixed"


# ------------------------------------------------------------------------------------------------------- start

def state(net) -> dict[str, torch.Tensor]:
    return net.state_dict()


def test_a_run_begins_with_the_weights_of_the_run_it_starts_from(left):
    earlier = replace(TINY, seed=5)
    theirs = state(left(earlier).network())
    mine = state(begin(replace(TINY, start=(earlier,))))
    assert all(torch.equal(w, theirs[k]) for k, w in mine.items())
    fresh = state(TINY.build())
    assert not any(torch.equal(w, fresh[k]) for k, w in mine.items())
    assert all(torch.equal(w, fresh[k]) for k, w in state(begin(TINY)).items())


def test_of_two_runs_that_a_run_starts_from_the_later_counts_where_it_has_weights(left):
    one, other = replace(TINY, seed=5), replace(TINY, seed=6)
    up = replace(TINY, model="no_tad")  # the decoder of aetad, and no encoder
    down = replace(TINY, model="aetad")
    first, second = (state(left(run, n).network()) for n, run in enumerate((one, other), 100))
    assert all(torch.equal(w, second[k]) for k, w in state(begin(replace(TINY, start=(one, other)))).items())
    assert all(torch.equal(w, first[k]) for k, w in state(begin(replace(TINY, start=(other, one)))).items())
    theirs = [state(left(run, n).network()) for n, run in enumerate((down, up), 102)]
    for key, weight in state(begin(replace(down, seed=9, start=(down, up)))).items():
        assert torch.equal(weight, theirs[key.startswith("decoder")][key])


@pytest.mark.parametrize("neighbours", [True, False])
def test_a_decoder_widened_to_three_frames_does_at_first_what_it_did_with_one(left, neighbours):
    tool = replace(TINY, model="tool_x4", scale=4)
    run = replace(TINY, model="joint_x4", scale=4, start=(tool,), neighbours=neighbours)
    before, after = left(tool).network(), begin(run).eval()
    first, narrow = after.decoder.layers[0].weight, before.decoder.layers[0].weight
    assert torch.equal(first[:, 3:6], narrow)
    assert first[:, :3].abs().max() == first[:, 6:].abs().max() == 0
    clip = torch.stack(list(sets.load("SampleClip").values())[:4])[..., :64, :64] / 255
    with torch.no_grad():
        slr, shr = after(clip, 4)
        theirs = before(clip, 4)
    assert torch.equal(slr, theirs[0])
    torch.testing.assert_close(shr, theirs[1], atol=1e-6, rtol=0)
    assert (shr - build("bicubic")(clip, 4)[1]).abs().max() > 0.1  # which is not what a fresh one does


def test_a_row_that_does_not_start_at_zero_keeps_what_was_drawn_for_the_neighbours(left):
    tool = replace(TINY, model="tool_x4", scale=4)
    run = replace(TINY, model="joint_free", scale=4, start=(tool,))
    before, fresh, after = left(tool).network(), run.build(), begin(run)
    first, drawn = after.decoder.layers[0].weight, fresh.decoder.layers[0].weight
    assert torch.equal(first[:, 3:6], before.decoder.layers[0].weight)
    assert torch.equal(first[:, :3], drawn[:, :3]) and torch.equal(first[:, 6:], drawn[:, 6:])
    assert min(part.abs().max() for part in (first[:, :3], first[:, 6:])) > 0.05


def test_a_run_that_starts_from_an_untrained_one_trains_that_first(quick, batches):
    earlier = replace(TINY, name="earlier", steps=2)
    run = replace(TINY, steps=1, start=(earlier,))
    assert not is_trained(earlier)
    fit(run, quiet=True)
    assert is_trained(earlier)
    assert batches.drawn == [0, 1, 0]


@pytest.mark.parametrize(("model", "frozen"), [("aetad_very_small", "encoder"), ("aetad_very_small", "decoder"),
                                               ("aetad_sofvsr", "encoder"), ("aetad_sofvsr", "decoder")])
def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(left, monkeypatch, model, frozen):
    scale = 4 if model == "aetad_sofvsr" else 2
    earlier = replace(TINY, model=model, scale=scale, seed=5)
    theirs = state(left(earlier).network())
    made = []
    monkeypatch.setattr(fitting, "begin", lambda run: made.append(begin(run)) or made[-1])
    run = replace(TINY, model=model, scale=scale, batch=1, start=(earlier,), frozen=frozen)
    got = fit(run, quiet=True)
    assert list(got.record["start"]) == [folder(earlier).name]
    stored = {k.split(".")[0] for k in weights(got)}
    assert stored == {"encoder", "decoder"} - {frozen}  # once is enough
    for net in (made[0], got.network()):  # as trained, and as read again, its frozen part from the other run
        assert all(torch.equal(w, theirs[k]) == k.startswith(frozen) for k, w in state(net).items())


def test_where_the_frozen_part_is_not_to_be_had_it_is_told(left):
    earlier = replace(TINY, seed=5)
    lost = left(earlier).folder / "weights.safetensors"
    got = fit(replace(TINY, start=(earlier,), frozen="decoder"), quiet=True)
    lost.unlink()
    with pytest.raises(BadInput, match=f"^{lost}: this run keeps no weights"):
        got.network()


def test_what_is_frozen_has_no_optimizer(left):
    earlier = replace(TINY, seed=5)
    left(earlier)
    for recipe in ("modern", "report"):
        run = replace(TINY, start=(earlier,), frozen="encoder", recipe=recipe)
        net = begin(run)
        trained = {id(p) for o in make_optimizers(run, net) for g in o.param_groups for p in g["params"]}
        assert trained == {id(p) for p in net.decoder.parameters()}


def test_a_run_without_the_data_of_what_it_starts_from_is_a_stand_in_too(quick, no_data):
    earlier = replace(TINY, name="earlier", train=("DIV2K_crops",), steps=1)
    got = fit(replace(TINY, steps=1, start=(earlier,)), quiet=True)
    assert got.folder.name.startswith("tiny_sample-")
    (name,) = got.record["start"]
    assert name.startswith("earlier_sample-") and (quick / "smoke" / "runs" / name / "record.json").exists()


# ------------------------------------------------------------------------------------------------------- refusals

def test_where_training_is_forbidden_a_missing_run_is_told_and_a_stored_one_loads(quick, batches, monkeypatch):
    monkeypatch.setenv("TAD_NO_TRAINING", "1")
    with pytest.raises(BadInput, match=r"tiny-[0-9a-f]{8}: not among the stored runs, and training is forbidden"):
        fit(TINY, quiet=True)
    assert batches.drawn == []
    monkeypatch.delenv("TAD_NO_TRAINING")
    fit(TINY, quiet=True)
    monkeypatch.setenv("TAD_NO_TRAINING", "1")
    assert fit(TINY, quiet=True).has_weights


def test_retraining_where_it_is_forbidden_loses_nothing(quick, monkeypatch):
    before = weights(fit(TINY, quiet=True))
    monkeypatch.setenv("TAD_NO_TRAINING", "1")
    with pytest.raises(BadInput, match="forbidden"):
        fit(TINY, retrain=True, quiet=True)
    assert is_trained(TINY)
    monkeypatch.delenv("TAD_NO_TRAINING")
    assert all(torch.equal(w, before[k]) for k, w in weights(fit(TINY, quiet=True)).items())


def test_retraining_without_the_data_loses_nothing(quick, no_data):
    run = replace(TINY, train=("DIV2K_crops",))
    stored = folder(run)  # as committed: here without its data
    stored.mkdir(parents=True)
    (stored / "record.json").write_text(json.dumps({"name": run.name, "network": run.net.words()}))
    assert fit(run, quiet=True).folder == stored
    with suppress(BadInput):  # told, or trained on the sample under that one's name
        fit(run, retrain=True, quiet=True)
    assert (stored / "record.json").exists()


def test_training_that_breaks_down_is_told_and_leaves_no_run(quick, monkeypatch):
    monkeypatch.setattr(objectives, "task_loss", lambda shr, hr: (shr - hr).mean() * float("nan"))
    run = replace(TINY, steps=40)
    with pytest.raises(FloatingPointError, match="tiny: training broke down at step"):
        fit(run, quiet=True)
    assert not is_trained(run)


def test_without_its_data_a_run_is_trained_on_the_sample_under_another_name(quick, no_data):
    run = replace(TINY, train=("DIV2K_crops", "BSDS_train"))
    stand_in = on_this_machine(run)
    assert (stand_in.name, stand_in.train) == ("tiny_sample", ("SampleTrain",))
    got = fit(run, quiet=True)
    assert got.run == stand_in
    assert got.folder.name.startswith("tiny_sample-")
    assert not is_trained(run)


# ------------------------------------------------------------------------------------------------------- recipes

def test_the_reports_learning_rate_is_quartered_at_20_100_and_200_of_500():
    run = replace(TINY, recipe="report", steps=1000)
    rates = [schedule(run, step) for step in range(1000)]
    assert rates == [1.0] * 40 + [0.25] * 160 + [0.0625] * 200 + [0.015625] * 600


def test_the_modern_learning_rate_warms_up_and_falls_to_zero():
    rates = [schedule(replace(TINY, steps=1000), step) for step in range(1000)]
    assert rates[:3] == pytest.approx([0.01, 0.02, 0.03])
    assert rates[99] == rates[100] == max(rates) == 1
    assert all(np.diff(rates[100:]) < 0)
    assert 0 < rates[-1] < 1e-5
    assert rates[550] == pytest.approx(0.5)
    short = [schedule(replace(TINY, steps=50), step) for step in range(50)]  # warm for a fifth of it
    assert short[9] == short[10] == max(short) == 1 and short[-1] < 0.01


def test_the_report_trains_with_adam_and_the_modern_recipe_with_muon():
    net = TINY.build()
    adam, = make_optimizers(replace(TINY, recipe="report"), net)
    assert type(adam) is torch.optim.Adam
    assert (adam.defaults["lr"], adam.defaults["betas"], adam.defaults["eps"]) == (4e-4, (0.9, 0.999), 1e-8)
    modern = make_optimizers(TINY, net)
    assert [type(o).__name__ for o in modern] == ["Muon", "Adam"]
    trained = [id(p) for o in modern for g in o.param_groups for p in g["params"]]
    assert sorted(trained) == sorted(id(p) for p in net.parameters())  # each exactly once


@pytest.mark.parametrize("recipe", ["modern", "report"])
def test_the_rate_scales_every_learning_rate(recipe, quick):
    def rates(rate):
        run = replace(TINY, recipe=recipe, rate=rate)
        return [g["lr"] for o in make_optimizers(run, run.build()) for g in o.param_groups]

    assert rates(0.25) == pytest.approx([r / 4 for r in rates(1.0)])


def test_a_step_of_a_quarter_of_the_rate_goes_a_quarter_as_far(quick, monkeypatch):
    def moved(rate):
        made = []
        monkeypatch.setattr(fitting, "begin", lambda run: made.append(begin(run)) or made[-1])
        run = replace(TINY, steps=1, rate=rate)
        fit(run, quiet=True)
        start = run.build().state_dict()
        return {k: (w - start[k]).abs().max().item() for k, w in made[0].state_dict().items()}

    whole, quarter = moved(1.0), moved(0.25)
    assert all(quarter[k] == pytest.approx(whole[k] / 4, rel=0.02) for k in whole)


def on_grid(x: torch.Tensor) -> bool:
    return torch.equal(x, (x * 255).round() / 255)


def test_the_report_rounds_only_in_the_last_fifth():
    run = replace(TINY, recipe="report", steps=100)
    slr = torch.rand(1, 3, 8, 8) * 1.2 - 0.1
    assert all(arrived(run, slr, step) is slr for step in (0, 40, 79))
    assert all(on_grid(arrived(run, slr, step)) for step in (80, 99))


@pytest.mark.parametrize(("recipe", "step", "reaches"), [("report", 7, True), ("report", 8, False),
                                                         ("modern", 9, True)])
def test_the_reports_late_rounding_lets_no_gradient_to_the_encoder(quick, recipe, step, reaches):
    trainer = Trainer(replace(TINY, recipe=recipe, steps=10))
    task, latent = trainer.terms(some(trainer.run), step)
    task.backward(retain_graph=True)
    assert any(p.grad is not None for p in trainer.net.encoder.parameters()) == reaches
    assert all(p.grad is not None for p in trainer.net.decoder.parameters())
    trainer.net.zero_grad(set_to_none=True)
    latent.loss.backward()
    assert all(p.grad is not None for p in trainer.net.encoder.parameters())  # the latent term still teaches it


def test_the_modern_recipe_rounds_from_the_start():
    slr = torch.rand(1, 3, 8, 8) * 1.2 - 0.1
    assert on_grid(arrived(replace(TINY, steps=100), slr, 0))


def test_noise_in_training_is_drawn_anew_for_each_step_and_the_same_for_the_same():
    run = replace(TINY, noise=0.2)
    slr = torch.full((1, 3, 64, 64), 0.5)
    sigmas = [arrived(run, slr, step).std().item() for step in range(200)]
    assert all(on_grid(arrived(run, slr, step)) for step in range(3))
    assert max(sigmas) < 0.21
    assert np.mean(sigmas) == pytest.approx(0.1, abs=0.02)  # from 0 to 0.2
    assert torch.equal(arrived(run, slr, 7), arrived(run, slr, 7))
    assert not torch.equal(arrived(run, slr, 7), arrived(replace(run, seed=1), slr, 7))


def test_each_image_of_a_batch_goes_through_a_channel_of_its_own():
    run = replace(TINY, channels=("8bit", "noise:0.1..0.2"))
    slr = torch.full((40, 3, 16, 16), 100 / 255)
    received = arrived(run, slr, 3)
    disturbed = (received != slr).flatten(1).any(1)
    assert 8 < disturbed.sum() < 32 and on_grid(received)
    spread = received[disturbed].flatten(1).std(1)
    assert spread.min() > 0.08 and spread.max() < 0.22 and spread.std() > 0.01
    assert torch.equal(arrived(run, slr, 3), received) and not torch.equal(arrived(run, slr, 4), received)


def some(run: Run, count: int = 2) -> torch.Tensor:
    """The first patches of a run's training."""
    kind = patches.ClipPatches if run.net.head.frames > 1 else patches.Patches
    return kind(run.train, run.patch).batch(count, run.generator("patches", 0))


def test_the_terms_compare_the_right_images(quick):
    trainer = Trainer(replace(TINY, guidance="bilinear"))
    codes = some(trainer.run)
    task, latent = trainer.terms(codes, 0)
    hr = codes / 255
    guide = torch.nn.functional.interpolate(hr, (16, 16), mode="bilinear", antialias=True)
    slr = trainer.net.encode(hr, 2, guide)
    torch.testing.assert_close(latent.loss, (slr - guide).abs().mean())
    torch.testing.assert_close(task, (trainer.net.decode(send(slr), 2) - hr).abs().mean())
    assert latent.loss > 0 and latent.loss.requires_grad and task.requires_grad


@pytest.mark.parametrize(("latent", "reading"), [("l1", "observed"), ("l1", "levels"), ("l2", "range"),
                                                   ("hinge", "range")])
def test_the_ball_is_the_runs(quick, latent, reading):
    """Its size, what that is measured in, and the kind of the term: just below and above what the net begins with."""
    codes = some(TINY)
    slr = Trainer(TINY).net.encode(codes / 255, 2).detach()
    guide = guidance(codes / 255, 2)
    now = latent_loss(slr, guide)
    at = {"observed": now.of_observed, "levels": 2.55 * now.of_range, "range": now.of_range}[reading]
    for epsilon in (0.9 * at, 1.1 * at):
        trainer = Trainer(replace(TINY, epsilon=epsilon, reading=reading, latent=latent))
        found = trainer.terms(codes, 0)[1]
        assert found.open == (epsilon < at or latent == "hinge")
        torch.testing.assert_close(found.loss, latent_loss(slr, guide, epsilon, reading, latent).loss)


def test_some_patches_are_made_grey_the_same_ones_each_time(quick, photo):
    run = Run("colour", "color_shuffle", scale=1, grey=0.5, train=("SampleTrain",), profile="smoke")
    codes = photo[None, :, :32, :32].expand(8, -1, -1, -1)
    colours = codes / 255
    hr = greyed(run, colours, 3)
    grey = (hr == hr[:, :1]).flatten(1).all(1)
    assert 0 < grey.sum() < 8
    assert torch.equal(hr[~grey], colours[~grey])
    assert (to_codes(hr[grey]).float() / 255 - hr[grey]).abs().max() < 1e-6
    assert (rgb_to_y(hr) - rgb_to_y(colours)).abs().max() < 1 / 255
    assert torch.equal(hr, greyed(run, colours, 3)) and not torch.equal(hr, greyed(run, colours, 4))
    trainer = Trainer(run)
    task, latent = trainer.terms(codes, 3)  # these are what the net sees, and what it is compared with
    slr = trainer.net.encode(hr, 1, guidance(hr, 1, "y"))
    torch.testing.assert_close(task, (trainer.net.decode(send(slr), 1) - hr).abs().mean())
    torch.testing.assert_close(latent.loss, (slr - rgb_to_y(hr)).abs().mean())


class Recorded:
    """In place of an optimizer: it changes nothing, and knows how long the gradient was."""

    def __init__(self, net):
        self.params, self.norms = list(net.parameters()), []
        self.param_groups, self.state = [{"lr": 1.0, "params": self.params}], {}

    def step(self):
        self.norms.append(torch.stack([p.grad.norm() for p in self.params]).norm().item())

    def zero_grad(self, set_to_none):
        for p in self.params:
            p.grad = None


def test_the_gradient_is_at_most_half_as_long_as_one(quick):
    def norms(alpha):
        trainer = Trainer(replace(TINY, alpha=alpha, beta=0.0))
        trainer.optimizers, trainer.rates = [Recorded(trainer.net)], [[1.0]]
        trainer.step(some(trainer.run), 0)
        return trainer.optimizers[0].norms

    whole, = norms(1000.0)
    assert whole == pytest.approx(0.5, rel=1e-4)
    tenth, hundredth = norms(1e-3)[0], norms(1e-4)[0]
    assert tenth == pytest.approx(10 * hundredth, rel=1e-3) and tenth < 0.5  # a short one is left as it is


def test_weights_that_ran_away_go_back_to_their_average_without_their_momentum(quick):
    trainer = Trainer(replace(TINY, steps=100))
    codes = some(trainer.run)
    for n in range(3):
        trainer.step(codes, n)
    average = {k: v.clone() for k, v in trainer.average.state_dict().items()}
    trainer.progress.typical = 1e-9  # so that whatever comes is a jump
    trainer.step(codes, 50)
    assert trainer.progress.rewinds == 1
    assert all(torch.equal(v, average[k]) for k, v in trainer.net.state_dict().items())
    assert all(torch.equal(v, average[k]) for k, v in trainer.average.state_dict().items())
    assert not any(optimizer.state for optimizer in trainer.optimizers)


# ------------------------------------------------------------------------------------------------------- clips

def test_of_clips_the_middle_frames_are_compared(quick):
    torch.manual_seed(0)
    run = replace(TINY, model="joint_x4", scale=4)
    trainer = Trainer(run, build("joint_x4", start="default"))
    codes = some(run)
    task, latent = trainer.terms(codes, 0)
    slr = [trainer.net.encode(clip / 255, 4) for clip in codes]
    shr = torch.cat([trainer.net.decode(send(x).flatten(0, 1)[None], 4) for x in slr])
    torch.testing.assert_close(task, (shr - codes[:, 1] / 255).abs().mean())
    guide = guidance(codes.flatten(0, 1) / 255, 4)  # all frames have to resemble
    torch.testing.assert_close(latent.loss, (torch.cat(slr) - guide).abs().mean())


def test_what_sees_several_frames_has_a_curve_over_its_clip_alone(quick):
    run = replace(TINY, model="joint_x4", scale=4, steps=1)
    assert {c for c in fit(run, quiet=True).history if c.endswith(("_slr", "_shr"))} == {"held_out_slr", "held_out_shr"}


def test_a_step_works_at_its_own_scale(quick, monkeypatch):
    run = replace(TINY, scales=(2, 4, 8))
    trainer, codes, shapes = Trainer(run), torch.zeros(1, 3, 32, 32, dtype=torch.uint8), []
    monkeypatch.setattr(loop, "arrived", lambda run, slr, n: shapes.append(slr.shape) or slr)
    monkeypatch.setattr(trainer, "objective", lambda net, received, hr, scale: shapes.append(
        net.decode(received, scale).shape) or shapes.append(scale) or received.mean())
    for step in range(8):
        trainer.terms(codes, step)
        scale = run.scale_at(step)
        assert shapes[-3:] == [(1, 3, 32 // scale, 32 // scale), codes.shape, scale]


def test_history_has_about_20_points_denser_at_the_start_and_one_at_the_end():
    marks = sorted(fitting._history_steps(replace(TINY, steps=1000)))
    assert 14 <= len(marks) <= 24
    assert marks[-1] == 1000
    assert all(a <= b + 1 for a, b in zip(np.diff(marks), np.diff(marks)[1:], strict=False))


def test_scores_are_of_the_averaged_weights(quick):
    got = fit(replace(TINY, steps=1), quiet=True)
    start = replace(TINY, steps=1).build().state_dict()
    # the first average takes nine tenths of the first step: more than nothing, less than the step's own rate
    key = "decoder.layers.7.bias"
    moved = (weights(got)[key].float() - start[key]).abs().max().item()
    assert moved == pytest.approx(0.9 * 6e-4, rel=0.05)
