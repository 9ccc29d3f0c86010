"""Killed, started twice, on a full disk, without a number for a loss: nothing is lost, nothing half done counts."""
from __future__ import annotations

import builtins
import hashlib
import io
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from tadlib import settings
from tadlib.data import patches, sets
from tadlib.errors import BadInput, OutOfTime
from tadlib.run import Run
from tadlib.settings import ROOT
from tadlib.stored import Trained, folder, is_trained
from tadlib.training import objectives
from tadlib.training.fit import fit
from workbook.scores import scores

RUN = Run("tiny", "aetad_very_small", scale=2, steps=24, batch=2, patch=32, train=("SampleTrain",), profile="smoke")
SHORT = replace(RUN, name="short", scale=4, steps=3)
WARM = multiprocessing.get_context("forkserver")  # forks from a process that has torch, and computed nothing yet
WARM.set_forkserver_preload(["pytest", "tadlib.training.fit", "torch._dynamo"])  # optimizers import it


def corner(names):
    return {"corner": sets.load(names[0])["rocket"][:, :32, :32]}


@pytest.fixture(autouse=True)
def each_step(own_results, no_data, monkeypatch):
    """A checkpoint after each step, a curve over one small corner, and sums that are added in one order."""
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sets, "held_out", corner)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def work(run: Run, environment: dict[str, str], log: Path, retrain: bool, gate: Path | None) -> None:
    """In a process of its own: fit, and write the batches drawn to `log`; batch 5 waits for `gate` to be there."""
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    sets.held_out = corner
    draw, until = patches.Patches.batch, time.time() + 60

    def logged(self, count, rng):
        number = rng.initial_seed()  # of seed 0: the training step (Run.generator)
        print("batch", number, flush=True)
        while gate and number == 5 and not gate.exists():
            assert time.time() < until  # the test that should open it is no more
            time.sleep(0.01)
        return draw(self, count, rng)

    patches.Patches.batch = logged
    with log.open("a") as file, redirect_stdout(file):
        trained = fit(run, retrain, quiet=True)
        print("weights", digest(trained.folder))


def start(log: Path, run: Run = RUN, retrain: bool = False, gate: Path | None = None):
    process = WARM.Process(target=work, args=(run, dict(os.environ), log, retrain, gate), daemon=True)
    process.start()
    return process


def finished(process) -> bool:
    process.join(60)
    return process.exitcode == 0


def wait_for(text: str, log: Path) -> None:
    until = time.time() + 60
    while not (log.exists() and text in log.read_text()):
        assert time.time() < until, f"no {text!r} in {log}"
        time.sleep(0.01)


def batches(log: Path) -> list[int]:
    return [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("batch")]


def digest(place: Path) -> str:
    """Of the weights and of the curve, without the times in it."""
    curve = pd.read_csv(place / "history.csv").drop(columns="seconds").to_csv()
    return hashlib.sha256((place / "weights.safetensors").read_bytes() + curve.encode()).hexdigest()


def contents(place: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(place.glob("*"))}


def step_of(name: str, run: Run) -> int:
    return torch.load(settings.checkpoints("smoke") / folder(run).name / name, weights_only=True)["progress"]["step"]


# ------------------------------------------------------------------------------------------------------- killed

@pytest.mark.slow
def test_killed_at_20_random_moments_the_weights_are_those_of_a_run_in_one_go(monkeypatch, tmp_path):
    log = tmp_path / "whole.log"
    process = start(log)
    wait_for("", log)  # the process has begun
    began = time.time()
    assert finished(process)
    took, whole = time.time() - began, digest(folder(RUN))
    assert batches(log) == list(range(24))
    rng, killed, resumed, trained = random.Random(0), 0, 0, 0
    while killed < 20 or not is_trained(RUN):
        if is_trained(RUN):  # complete before it was killed often enough: the same again from the start
            assert digest(folder(RUN)) == whole
            trained += 1
        monkeypatch.setenv("TAD_RESULTS", str(tmp_path / f"results {trained}"))
        log = tmp_path / f"{killed} {trained}.log"
        process = start(log)
        process.join(rng.uniform(0, 0.4 * took) if killed < 20 else 60)
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0
        drawn = batches(log) if log.exists() else []
        resumed += bool(drawn and drawn[0])
    assert digest(folder(RUN)) == whole
    assert sorted(contents(folder(RUN))) == ["history.csv", "record.json", "weights.safetensors"]
    assert not list((tmp_path / "checkpoints").rglob("*.pt"))
    assert resumed >= 5  # it did go on from checkpoints, not only start anew


@pytest.mark.parametrize("where", ["", "parser = commands.parser; commands.parser = lambda: (stop(), parser())[1]; "])
def test_ctrl_c_before_a_command_begins_and_while_it_reads_its_options_is_one_line(where):
    """The fuzz run found a traceback there."""
    script = ("import os, signal, sys\nfrom tadlib.__main__ import main\nfrom tadlib.tool import commands\n"
              "stop = lambda: os.kill(os.getpid(), signal.SIGINT)\ncommands.prepare()\n"
              f"{where or 'stop()'}\nsys.exit(main(['models']))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "tadlib: interrupted\n")


def test_what_a_killed_process_was_writing_is_cleared_away():
    run = SHORT
    for place in (folder(run), settings.checkpoints("smoke") / folder(run).name):
        (place / ".ipynb_checkpoints").mkdir(parents=True)
        (place / ".weights.safetensors.k3j2h1").write_text("half of them")
    fit(run, quiet=True)
    left = sorted(f.name for f in folder(run).iterdir())
    assert left == [".ipynb_checkpoints", "history.csv", "record.json", "weights.safetensors"]


def test_a_checkpoint_left_by_a_complete_training_is_not_gone_on_from(monkeypatch, tmp_path):
    """As where a process is killed between its last two acts: the record, and removing the checkpoint."""
    run = SHORT
    monkeypatch.setenv("TAD_UNTIL", "1")
    with pytest.raises(OutOfTime):
        fit(run, quiet=True)
    left = settings.checkpoints("smoke") / folder(run).name
    shutil.copytree(left, tmp_path / "left")  # with its times
    monkeypatch.delenv("TAD_UNTIL")
    fit(run, quiet=True)
    assert not left.exists()
    shutil.copytree(tmp_path / "left", left)
    drawn = []
    draw = patches.Patches.batch
    monkeypatch.setattr(patches.Patches, "batch",
                        lambda self, count, rng: drawn.append(rng.initial_seed()) or draw(self, count, rng))
    fit(run, retrain=True, quiet=True)
    assert drawn == [0, 1, 2]


# ------------------------------------------------------------------------------------------------------- two at once

@pytest.mark.slow
@pytest.mark.parametrize("retrain", [False, True])
def test_of_two_processes_one_trains_and_the_other_waits_and_takes_its_result(tmp_path, retrain):
    one, other, gate = tmp_path / "one.log", tmp_path / "other.log", tmp_path / "gate"
    if retrain:
        assert finished(start(tmp_path / "before.log"))
    first = start(one, retrain=retrain, gate=gate)
    wait_for("batch 5", one)
    second = start(other, retrain=retrain)
    wait_for("waiting", other)
    time.sleep(0.5)
    assert second.is_alive()
    gate.touch()
    assert finished(first) and finished(second)
    assert batches(one) == list(range(24))
    assert other.read_text().splitlines() == ["tiny: another process is training it; waiting for that",
                                              f"weights {digest(folder(RUN))}"]


@pytest.mark.slow
def test_where_the_training_process_is_killed_the_waiting_one_goes_on(tmp_path):
    one, other = tmp_path / "one.log", tmp_path / "other.log"
    first = start(one, gate=tmp_path / "never")
    wait_for("batch 5", one)
    second = start(other)
    wait_for("waiting", other)
    first.kill()
    assert finished(second)
    assert batches(other) == list(range(5, 24))
    assert finished(start(tmp_path / "later.log"))  # the lock's file is still there, and holds up nobody


@pytest.mark.slow
def test_a_waiting_process_is_out_of_time_too(tmp_path, monkeypatch, capsys):
    one, gate = tmp_path / "one.log", tmp_path / "gate"
    first = start(one, gate=gate)
    wait_for("batch 5", one)
    monkeypatch.setenv("TAD_UNTIL", str(time.time() + 0.3))
    with pytest.raises(OutOfTime, match=r"^tiny: out of time while another process was training it$"):
        fit(RUN, quiet=True)
    assert capsys.readouterr().out.count("waiting") == 1
    gate.touch()
    assert finished(first)


# ------------------------------------------------------------------------------------------------------- full disk

@pytest.fixture
def full(monkeypatch):
    """full("weights") makes every write to a file with that in its name end as on a full disk; full("") ends that."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full on this machine")
    whole, name = io.open, [""]

    def opened(file, mode="r", *more, **options):
        to_full = name[0] and "w" in mode and name[0] in str(file)
        return whole("/dev/full" if to_full else file, mode, *more, **options)

    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(builtins, "open", opened)
    return lambda part: name.__setitem__(0, part)


def train(*scored: str, retrain: bool = False) -> Trained:
    """The short run, trained and scored on these sets."""
    trained = fit(SHORT, retrain, quiet=True)
    if scored:
        scores(trained, scored)
    return trained


@pytest.mark.parametrize("name", ["state.pt", "record.json", "history.csv", "weights.safetensors"])
def test_a_full_disk_is_told_and_what_was_there_stays(full, name):
    place = folder(SHORT)
    for retrain in (False, True):  # nothing is there yet; and a whole run with its scores is
        before = contents(place) if place.exists() else {}
        full(name)
        with pytest.raises(BadInput, match=rf"/{name}: cannot be written \(No space left on device\)$"):
            train(retrain=retrain)
        assert contents(place) == before
        full("")
        train("SampleCrop")
    assert len(before) == 4


def test_a_full_disk_at_scoring_leaves_the_run_and_its_scores(full):
    place = train("SampleCrop").folder
    before = contents(place)
    full("scores.csv")
    line = rf"^{place / 'scores.csv'}: cannot be written \(No space left on device\)$"
    with pytest.raises(BadInput, match=line):
        train("SampleClip")
    assert contents(place) == before
    full("")
    train("SampleClip")
    assert set(pd.read_csv(place / "scores.csv")["set"]) == {"SampleCrop", "SampleClip"}


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one_before(full, monkeypatch, capsys):
    """Two mishaps in a row: the newest is damaged, and then no new one can be written."""
    run = SHORT
    draw = patches.Patches.batch

    def stop_at_2(self, count, rng):
        if rng.initial_seed() == 2:
            raise KeyboardInterrupt
        return draw(self, count, rng)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(patches.Patches, "batch", stop_at_2)
        fit(run, quiet=True)
    assert (step_of("state.pt", run), step_of("previous.pt", run)) == (2, 1)
    newest = settings.checkpoints("smoke") / folder(run).name / "state.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    full("state.pt")
    with pytest.raises(BadInput, match="No space left"):
        fit(run, quiet=True)
    assert step_of("previous.pt", run) == 1
    assert capsys.readouterr().out.count("damaged checkpoint passed over") == 1


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of 24 MB with results and checkpoints on it; small_disk(n) leaves only n bytes free on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    monkeypatch.setenv("TAD_RESULTS", str(disk / "results"))
    monkeypatch.setenv("TAD_CHECKPOINTS", str(disk / "checkpoints"))

    def leave(free: int | None = None) -> None:
        (disk / "filler").unlink(missing_ok=True)
        if free is not None:
            (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - free))

    yield leave
    subprocess.run(["umount", "-l", str(disk)], check=True)  # also where a failed test left a file open


def test_on_a_disk_that_is_really_full_a_later_run_goes_on(small_disk, monkeypatch):
    place = folder(SHORT)
    train()
    whole = digest(place)
    shutil.rmtree(place)

    newest = settings.checkpoints("smoke") / place.name / "state.pt"
    monkeypatch.setenv("TAD_UNTIL", "1")
    with pytest.raises(OutOfTime):  # one step, to see how large a checkpoint is
        train()
    monkeypatch.delenv("TAD_UNTIL")
    size = newest.stat().st_size
    shutil.rmtree(newest.parent)
    for free in (0, size // 2, size * 3 // 2):  # the last: one checkpoint and a half
        small_disk(free)
        with pytest.raises(BadInput, match=rf"^{newest}: cannot be written \(No space left on device\)$"):
            train()
        assert contents(place) == {}
        small_disk()
    assert [f.name for f in newest.parent.iterdir()] == ["state.pt"]
    assert step_of("state.pt", SHORT) == 1

    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "60")
    small_disk(100_000)  # and now the weights do not fit
    with pytest.raises(BadInput, match=r"weights\.safetensors: cannot be written"):
        train()
    assert contents(place) == {}
    small_disk()
    train()
    assert digest(place) == whole


# ------------------------------------------------------------------------------------------------------- no number

def test_a_loss_that_is_no_number_is_told_and_nothing_is_stored(monkeypatch):
    """Of three steps already: before, so short a training was over before its patience was, and counted."""
    monkeypatch.setattr(objectives, "task_loss", lambda shr, hr: (shr - hr).mean() * float("nan"))
    with pytest.raises(FloatingPointError, match=r"^short: training broke down at step 1 \(loss nan\); "
                                                 "lower the learning rate or change the seed$"):
        train()
    assert contents(folder(SHORT)) == {}
