"""fit(run): names that never change, training that a killed process takes up again bit by bit, nothing lost."""
from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from tadlib import datasets, runs, studies, training
from tadlib.channel import send
from tadlib.evaluation import psnr_of_set
from tadlib.flow import farneback
from tadlib.images import BadInput, rgb_to_y, to_codes
from tadlib.networks import build, cic
from tadlib.networks.sofvsr import enlarge, sofvsr_loss
from tadlib.networks.tad import windows
from tadlib.runs import Run, folder, is_trained, on_this_machine
from tadlib.training import fit

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")


@pytest.fixture
def quick(own_results, monkeypatch):
    """Own results, and a curve over one small corner: steps are what these tests look at."""
    monkeypatch.setattr(datasets, "held_out", lambda names: {"corner": datasets.load(names[0])["rocket"][:, :32, :32]})
    return own_results


@pytest.fixture
def batches(monkeypatch):
    """Which batches a training draws; `batches.stop = 4` kills it when it wants the fourth."""
    log = SimpleNamespace(drawn=[], stop=None)
    draws = {kind: kind.batch for kind in (datasets.Patches, datasets.ClipPatches)}

    def logged(self, number, count, seed):
        if number == log.stop:
            raise KeyboardInterrupt
        log.drawn.append(number)
        return draws[type(self)](self, number, count, seed)

    for kind in draws:
        monkeypatch.setattr(kind, "batch", logged)
    return log


@pytest.fixture
def left(quick):
    """left(run, seed) -> the run as if it had been trained before: with weights drawn from that seed."""

    def leave(run: Run, seed: int = 100) -> runs.Trained:
        torch.manual_seed(seed)
        folder(run).mkdir(parents=True)
        save_file(build(run.model, start="default").state_dict(), folder(run) / "weights.safetensors")
        (folder(run) / "record.json").write_text("{}")
        return fit(run)

    return leave


def weights(trained: runs.Trained) -> dict[str, torch.Tensor]:
    return load_file(trained.folder / "weights.safetensors")


# ------------------------------------------------------------------------------------------------------- fit

def test_fit_trains_on_the_sample_and_leaves_a_whole_run(own_results, no_data):
    run = replace(studies.run("aetad", "smoke"), name="narrow", model="aetad_very_small")
    got = fit(run, quiet=True)
    assert got.folder == folder(run)
    assert got.folder.parent == own_results / "smoke" / "runs"
    assert sorted(f.name for f in got.folder.iterdir()) == ["history.csv", "record.json", "weights.safetensors"]
    record = got.record
    assert (record["run"], record["model"], record["params"]) == (got.folder.name, "aetad_very_small", 375_926)
    assert record["data"] == {"SampleTrain": {"images": 6, "fingerprint": datasets.fingerprint("SampleTrain")}}
    assert (record["steps"], record["seed"], record["precision"]) == (3, 0, "32-true")
    assert {"cpu", "threads", "torch", "python"} <= set(record["machine"])
    history = got.history
    assert history["step"].tolist() == [1, 2, 3]
    assert set(history) == {"step", "seconds", "task", "latent", "gate_open", "of_observed", "of_range",
                            "of_observed_min", "of_observed_max", "of_range_min", "of_range_max",
                            "held_out_slr", "held_out_shr", "samplecrop_slr", "samplecrop_shr"}
    assert history.notna().all(axis=None)
    assert (history["gate_open"] == 1).all()
    assert got.network().parameters_count == 375_926
    assert not got.network().training


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
    crop = psnr_of_set(watched.network(), datasets.load("SampleCrop"), 4, "bicubic")
    last = watched.history.iloc[-1]
    assert (last["samplecrop_x4_slr"], last["samplecrop_x4_shr"]) == pytest.approx(crop, abs=0.02)  # weights: 16 bit


def test_a_point_of_the_curve_is_the_mean_since_the_last_and_the_extremes_of_the_ratio():
    steps = [{"task": 0.2, "gate_open": True, "of_observed": 4.0, "of_range": 2.0},
             {"task": 0.4, "gate_open": False, "of_observed": 8.0, "of_range": 1.0}]
    row = training._history_row(TINY, TINY.build(), training._Progress(step=2, seconds=1.234, terms=steps), {}, "")
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
    run = studies.run("bicubic", "smoke")
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


# ------------------------------------------------------------------------------------------------------- start

def state(net) -> dict[str, torch.Tensor]:
    return net.state_dict()


def test_a_run_begins_with_the_weights_of_the_run_it_starts_from(left):
    earlier = replace(TINY, seed=5)
    theirs = state(left(earlier).network())
    mine = state(training.begin(replace(TINY, start=(earlier,))))
    assert all(torch.equal(w, theirs[k]) for k, w in mine.items())
    fresh = state(TINY.build())
    assert not any(torch.equal(w, fresh[k]) for k, w in mine.items())
    assert all(torch.equal(w, fresh[k]) for k, w in state(training.begin(TINY)).items())


def test_of_two_runs_that_a_run_starts_from_the_later_counts_where_it_has_weights(left):
    one, other = replace(TINY, seed=5), replace(TINY, seed=6)
    up = replace(TINY, model="no_tad")  # the decoder of aetad, and no encoder
    down = replace(TINY, model="aetad")
    first, second = (state(left(run, n).network()) for n, run in enumerate((one, other), 100))
    assert all(torch.equal(w, second[k]) for k, w in state(training.begin(replace(TINY, start=(one, other)))).items())
    assert all(torch.equal(w, first[k]) for k, w in state(training.begin(replace(TINY, start=(other, one)))).items())
    theirs = [state(left(run, n).network()) for n, run in enumerate((down, up), 102)]
    for key, weight in state(training.begin(replace(down, seed=9, start=(down, up)))).items():
        assert torch.equal(weight, theirs[key.startswith("decoder")][key])


@pytest.mark.parametrize("neighbours", [True, False])
def test_a_decoder_widened_to_three_frames_does_at_first_what_it_did_with_one(left, neighbours):
    tool = replace(TINY, model="tool_x4", scale=4)
    run = replace(TINY, model="joint_x4", scale=4, start=(tool,), neighbours=neighbours)
    before, after = left(tool).network(), training.begin(run).eval()
    first, narrow = after.decoder.layers[0].weight, before.decoder.layers[0].weight
    assert torch.equal(first[:, 3:6], narrow)
    assert first[:, :3].abs().max() == first[:, 6:].abs().max() == 0
    clip = torch.stack(list(datasets.load("SampleClip").values())[:4])[..., :64, :64] / 255
    with torch.no_grad():
        slr, shr = after(clip, 4)
        theirs = before(clip, 4)
    assert torch.equal(slr, theirs[0])
    torch.testing.assert_close(shr, theirs[1], atol=1e-6, rtol=0)
    assert (shr - build("bicubic")(clip, 4)[1]).abs().max() > 0.1  # which is not what a fresh one does


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
    monkeypatch.setattr(training, "begin", lambda run, begin=training.begin: made.append(begin(run)) or made[-1])
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
        net = training.begin(run)
        trained = {id(p) for o in training.make_optimizers(run, net) for g in o.param_groups for p in g["params"]}
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
    (stored / "record.json").write_text(json.dumps({"run": stored.name}))
    assert fit(run, quiet=True).folder == stored
    with suppress(BadInput):  # told, or trained on the sample under that one's name
        fit(run, retrain=True, quiet=True)
    assert (stored / "record.json").exists()


def test_weights_of_another_shape_are_told(quick):
    got = fit(TINY, quiet=True)
    save_file(build("aetad_small").state_dict(), got.folder / "weights.safetensors")
    with pytest.raises(BadInput, match=r"weights\.safetensors: not the weights of aetad_very_small") as told:
        got.network()
    assert "\n" not in str(told.value)


def test_damaged_and_missing_weights_are_told(quick):
    got = fit(TINY, quiet=True)
    (got.folder / "weights.safetensors").write_bytes(b"rubbish")
    with pytest.raises(BadInput, match="not the weights of aetad_very_small"):
        got.network()
    (got.folder / "weights.safetensors").unlink()
    assert not got.has_weights
    with pytest.raises(BadInput, match="this run keeps no weights"):
        got.network()


def test_training_that_breaks_down_is_told_and_leaves_no_run(quick, monkeypatch):
    monkeypatch.setattr(training, "task_loss", lambda shr, hr: (shr - hr).mean() * float("nan"))
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


def test_a_stored_run_is_found_without_its_data(quick, no_data):
    run = replace(TINY, train=("DIV2K_crops",))
    stored = quick / "smoke" / "runs" / run.label({"DIV2K_crops": datasets.known_fingerprint("DIV2K_crops")})
    stored.mkdir(parents=True)
    (stored / "record.json").write_text("{}")
    assert on_this_machine(run) == run
    assert folder(run) == stored


# ------------------------------------------------------------------------------------------------------- recipes

def test_the_reports_learning_rate_is_quartered_at_20_100_and_200_of_500():
    run = replace(TINY, recipe="report", steps=1000)
    rates = [training._schedule(run, step) for step in range(1000)]
    assert rates == [1.0] * 40 + [0.25] * 160 + [0.0625] * 200 + [0.015625] * 600


def test_the_modern_learning_rate_warms_up_and_falls_to_zero():
    rates = [training._schedule(replace(TINY, steps=1000), step) for step in range(1000)]
    assert rates[:3] == pytest.approx([0.01, 0.02, 0.03])
    assert rates[99] == rates[100] == max(rates) == 1
    assert all(np.diff(rates[100:]) < 0)
    assert 0 < rates[-1] < 1e-5
    assert rates[550] == pytest.approx(0.5)


def test_the_report_trains_with_adam_and_the_modern_recipe_with_muon():
    net = TINY.build()
    adam, = training.make_optimizers(replace(TINY, recipe="report"), net)
    assert type(adam) is torch.optim.Adam
    assert (adam.defaults["lr"], adam.defaults["betas"], adam.defaults["eps"]) == (4e-4, (0.9, 0.999), 1e-8)
    modern = training.make_optimizers(TINY, net)
    assert [type(o).__name__ for o in modern] == ["Muon", "Adam"]
    trained = [id(p) for o in modern for g in o.param_groups for p in g["params"]]
    assert sorted(trained) == sorted(id(p) for p in net.parameters())  # each exactly once


@pytest.mark.parametrize("recipe", ["modern", "report"])
def test_the_rate_scales_every_learning_rate(recipe, quick):
    def rates(rate):
        run = replace(TINY, recipe=recipe, rate=rate)
        return [g["lr"] for o in training.make_optimizers(run, run.build()) for g in o.param_groups]

    assert rates(0.25) == pytest.approx([r / 4 for r in rates(1.0)])


def test_a_step_of_a_quarter_of_the_rate_goes_a_quarter_as_far(quick, monkeypatch):
    def moved(rate):
        made = []
        monkeypatch.setattr(training, "begin", lambda run, begin=begin: made.append(begin(run)) or made[-1])
        run = replace(TINY, steps=1, rate=rate)
        fit(run, quiet=True)
        start = run.build().state_dict()
        return {k: (w - start[k]).abs().max().item() for k, w in made[0].state_dict().items()}

    begin = training.begin
    whole, quarter = moved(1.0), moved(0.25)
    assert all(quarter[k] == pytest.approx(whole[k] / 4, rel=0.02) for k in whole)


def on_grid(x: torch.Tensor) -> bool:
    return torch.equal(x, (x * 255).round() / 255)


def test_the_report_rounds_only_in_the_last_fifth():
    step_of = training.Pass(replace(TINY, recipe="report", steps=100), TINY.build()).channel
    slr = torch.rand(1, 3, 8, 8) * 1.2 - 0.1
    assert all(step_of(slr, step) is slr for step in (0, 40, 79))
    assert all(on_grid(step_of(slr, step)) for step in (80, 99))


@pytest.mark.parametrize(("recipe", "step", "reaches"), [("report", 7, True), ("report", 8, False),
                                                         ("modern", 9, True)])
def test_the_reports_late_rounding_lets_no_gradient_to_the_encoder(recipe, step, reaches):
    run = replace(TINY, recipe=recipe, steps=10)
    net = run.build()
    _, _, slr, shr = training.Pass(run, net)(datasets.Patches(run.train, 32).batch(0, 2, 0), step)
    shr.sum().backward()
    assert any(p.grad is not None for p in net.encoder.parameters()) == reaches
    assert all(p.grad is not None for p in net.decoder.parameters())
    assert slr.requires_grad  # the latent term still teaches it


def test_the_modern_recipe_rounds_from_the_start():
    slr = torch.rand(1, 3, 8, 8) * 1.2 - 0.1
    assert on_grid(training.Pass(replace(TINY, steps=100), TINY.build()).channel(slr, 0))


def test_noise_in_training_is_drawn_anew_for_each_step_and_the_same_for_the_same():
    net = TINY.build()
    channel = training.Pass(replace(TINY, noise=0.2), net).channel
    slr = torch.full((1, 3, 64, 64), 0.5)
    sigmas = [channel(slr, step).std().item() for step in range(200)]
    assert all(on_grid(channel(slr, step)) for step in range(3))
    assert max(sigmas) < 0.21
    assert np.mean(sigmas) == pytest.approx(0.1, abs=0.02)  # from 0 to 0.2
    assert torch.equal(channel(slr, 7), channel(slr, 7))
    assert not torch.equal(channel(slr, 7), training.Pass(replace(TINY, noise=0.2, seed=1), net).channel(slr, 7))


def test_each_image_of_a_batch_goes_through_a_channel_of_its_own():
    run = replace(TINY, channels=("8bit", "noise:0.1..0.2"))
    channel = training.Pass(run, TINY.build()).channel
    slr = torch.full((40, 3, 16, 16), 100 / 255)
    received = channel(slr, 3)
    disturbed = (received != slr).flatten(1).any(1)
    assert 8 < disturbed.sum() < 32 and on_grid(received)
    spread = received[disturbed].flatten(1).std(1)
    assert spread.min() > 0.08 and spread.max() < 0.22 and spread.std() > 0.01
    assert torch.equal(channel(slr, 3), received) and not torch.equal(channel(slr, 4), received)


def test_one_pass_compares_the_right_images():
    run = replace(TINY, guidance="bilinear")
    codes = datasets.Patches(run.train, 32).batch(0, 2, 0)
    hr, guide, slr, shr = training.Pass(run, run.build())(codes, 0)
    assert torch.equal(hr, codes / 255)
    expected = torch.nn.functional.interpolate(hr, (16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(guide, expected)
    assert (slr.shape, shr.shape) == (guide.shape, hr.shape)
    assert slr.requires_grad


def test_some_patches_are_made_grey_the_same_ones_each_time(photo):
    run = Run("colour", "color_shuffle", scale=1, grey=0.5, train=("SampleTrain",), profile="smoke")
    step_of, codes = training.Pass(run, run.build()), photo[None, :, :32, :32].expand(8, -1, -1, -1)
    hr, guide, _, shr = step_of(codes, 3)
    grey = (hr == hr[:, :1]).flatten(1).all(1)
    assert 0 < grey.sum() < 8
    assert torch.equal(hr[~grey], codes[~grey].float() / 255)
    assert (to_codes(hr[grey]).float() / 255 - hr[grey]).abs().max() < 1e-6
    assert (rgb_to_y(hr) - rgb_to_y(codes.float() / 255)).abs().max() < 1 / 255
    assert guide.shape == (8, 1, 32, 32) and shr.shape == hr.shape
    assert torch.equal(hr, step_of(codes, 3)[0]) and not torch.equal(hr, step_of(codes, 4)[0])


def test_a_classifier_is_compared_by_its_scores(photo):
    run = Run("cic", "cic_color", scale=1, train=("SampleTrain",), profile="smoke")
    step_of = training.Pass(run, run.build())
    hr, _, _, out = step_of(photo[None, :, :32, :32], 0)
    assert out.shape == (1, 260, 8, 8)
    assert step_of.task(out, hr) == cic.loss(out, hr, ("SampleTrain",))


# ------------------------------------------------------------------------------------------------------- clips

def a_clip_pass(model: str, size: int = 32, count: int = 2, **fields):
    """(what a pass gives, the network, the codes) for patches of three frames, with weights that change much."""
    torch.manual_seed(0)
    run = replace(TINY, model=model, scale=4, **fields)
    net = build(model, start="default")
    codes = datasets.ClipPatches(run.train, size).batch(0, count, 0)
    return training.Pass(run, net)(codes, 0), net, codes


def test_of_clips_the_middle_frames_are_compared():
    (hr, guide, slr, shr), net, codes = a_clip_pass("joint_x4")
    assert torch.equal(hr, codes[:, 1] / 255)
    assert slr.shape == guide.shape == (6, 3, 8, 8)  # all frames have to resemble
    assert shr.shape == hr.shape
    for n, clip in enumerate(codes):
        alone = net.decode(windows(send(net.encode(clip / 255, 4)), 3)[1:2], 4)
        torch.testing.assert_close(shr[n : n + 1], alone)


def test_a_pass_of_sofvsr_gives_its_own_loss_of_luma():
    (_, _, slr, out), net, codes = a_clip_pass("aetad_sofvsr")
    small, large = rgb_to_y(send(slr)), rgb_to_y(codes.flatten(0, 1) / 255)
    expected = sofvsr_loss(net.decoder, small.view(2, 3, 8, 8), large.view(2, 3, 32, 32))
    torch.testing.assert_close(out, expected)
    assert training.Pass(TINY, net).task(out, None) is out


def test_motion_as_opencv_sees_it_teaches_the_encoder_nothing_and_as_the_flow_net_sees_it_something():
    (_, guide, slr, seen), net, _ = a_clip_pass("aetad_sofvsr", 64, 1, aim="farneback")
    assert seen.ndim == 0 and seen > 0
    assert not seen.requires_grad  # it counts in the loss, and no gradient comes from it
    alone, *both = (torch.autograd.grad(loss, list(net.encoder.parameters()), retain_graph=True)
                    for latent in [(slr - guide).abs().mean()] for loss in (latent, latent + seen, latent + 100 * seen))
    assert all(torch.equal(g, a) for found in both for g, a in zip(found, alone, strict=True))
    (*_, flow), net, _ = a_clip_pass("aetad_sofvsr", 64, 1, aim="flow")
    assert all(g.abs().max() > 1e-6 for g in torch.autograd.grad(flow, list(net.encoder.parameters())))


def test_motion_is_held_against_that_in_the_hr_frames_in_hr_pixels():
    (_, _, slr, error), _, codes = a_clip_pass("aetad_sofvsr", 64, 1, aim="farneback")
    small, large = rgb_to_y(send(slr)), rgb_to_y(codes[0] / 255)
    by_hand = [(enlarge(farneback(small[n : n + 1], small[1:2]), (64, 64)) - farneback(large[n : n + 1], large[1:2])
                ).abs().mean() for n in (0, 2)]
    assert error.item() == pytest.approx(float(sum(by_hand) / 2), rel=1e-5)


def test_what_sees_several_frames_has_a_curve_over_its_clip_alone(quick):
    run = replace(TINY, model="joint_x4", scale=4, steps=1)
    assert {c for c in fit(run, quiet=True).history if c.endswith(("_slr", "_shr"))} == {"held_out_slr", "held_out_shr"}


def test_a_pass_works_at_its_steps_scale():
    run = replace(TINY, scales=(2, 4, 8))
    step_of, codes = training.Pass(run, run.build()), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    for step in range(8):
        _, guide, slr, shr = step_of(codes, step)
        assert guide.shape == slr.shape == (1, 3, 32 // run.scale_at(step), 32 // run.scale_at(step))
        assert shr.shape == codes.shape


def test_history_has_about_20_points_denser_at_the_start_and_one_at_the_end():
    marks = sorted(training._history_steps(replace(TINY, steps=1000)))
    assert 14 <= len(marks) <= 24
    assert marks[-1] == 1000
    assert all(a <= b + 1 for a, b in zip(np.diff(marks), np.diff(marks)[1:], strict=False))


def test_scores_are_of_the_averaged_weights(quick):
    got = fit(replace(TINY, steps=1), quiet=True)
    start = replace(TINY, steps=1).build().state_dict()
    # the first average takes nine tenths of the first step: more than nothing, less than the step's own rate
    key = "decoder.layers.7.bias"
    moved = (weights(got)[key].float() - start[key]).abs().max().item()
    assert moved == pytest.approx(0.9 * 6e-4, rel=0.3)
