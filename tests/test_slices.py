"""Runs against the clock: they stop in time, travel as files, and go on elsewhere as if nothing had been."""
from __future__ import annotations

import time

import pytest
import torch
from safetensors.torch import load_file

from tadlib import slices, studies
from tadlib.__main__ import main
from tadlib.images import BadInput
from tadlib.runs import checkpoints, folder
from tadlib.training import OutOfTime, fit


@pytest.fixture
def run():
    return studies.run("aetad_direct4", "smoke")


def test_a_training_out_of_time_stops_with_a_checkpoint_and_goes_on(run, own_results, monkeypatch):
    monkeypatch.setenv("TAD_UNTIL", str(time.time() - 1))
    with pytest.raises(OutOfTime, match="aetad_direct4: out of time at step 1 of 3"):
        fit(run, quiet=True)
    assert not (folder(run) / "record.json").exists()
    assert torch.load(checkpoints("smoke") / folder(run).name / "state.pt", weights_only=True)["progress"]["step"] == 1
    monkeypatch.delenv("TAD_UNTIL")
    assert fit(run, quiet=True).record["steps"] == 3


def test_packed_runs_and_checkpoints_go_on_in_another_place(run, own_results, monkeypatch, tmp_path):
    other = studies.run("aetad_very_small", "smoke")
    done = load_file(fit(other, quiet=True).folder / "weights.safetensors")
    monkeypatch.setenv("TAD_UNTIL", str(time.time() - 1))
    with pytest.raises(OutOfTime):
        fit(run, quiet=True)
    archives = slices.pack([run.name, other.name, "no_tad"], "smoke", tmp_path / "out")

    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TAD_CHECKPOINTS", str(tmp_path / "elsewhere" / "checkpoints"))
    slices.unpack(archives, "smoke")
    monkeypatch.setenv("TAD_NO_TRAINING", "1")  # what was complete is complete
    assert all(torch.equal(w, done[k]) for k, w in load_file(fit(other).folder / "weights.safetensors").items())
    monkeypatch.delenv("TAD_NO_TRAINING")
    monkeypatch.delenv("TAD_UNTIL")
    state = checkpoints("smoke") / folder(run).name / "state.pt"
    assert torch.load(state, weights_only=True)["progress"]["step"] == 1
    assert fit(run, quiet=True).record["steps"] == 3


def test_no_packed_file_exceeds_the_limit(run, own_results, monkeypatch, tmp_path):
    fit(run, quiet=True)
    parts = [f.stat().st_size for f in folder(run).iterdir()]
    monkeypatch.setattr(slices, "FILE_LIMIT", max(parts))
    archives = slices.pack([run.name], "smoke", tmp_path)
    assert len(archives) == 2
    sizes = [a.stat().st_size for a in archives]
    again = slices.pack([run.name], "smoke", tmp_path)  # an old archive is not added to
    assert [a.stat().st_size for a in again] == sizes
    other = slices.pack([run.name], "smoke", tmp_path, "slice2")  # nor is that of another slice lost
    assert {*again, *other} == set(tmp_path.glob("*.tar")) and not {*again} & {*other}
    slices.pack(["no_tad"], "smoke", tmp_path)  # nothing was reached: no older archive stays, to be taken for it
    assert {*other} == set(tmp_path.glob("*.tar"))


def test_what_is_no_packed_slice_is_named(tmp_path, own_results, capsys):
    bad = tmp_path / "bad.tar"
    bad.write_text("no")
    with pytest.raises(BadInput, match=r"bad\.tar: not a packed slice"):
        slices.unpack([bad], "smoke")
    assert main(["slice", "9", "--out", str(tmp_path)]) == 2
    assert "no slice 9; there are: 1, 2, 3" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "reason"), [
    ((), "not all of its training data is here"), (("--beside", "-1"), "have to be above 0"),
    (("--minutes", "0"), "have to be above 0")])
def test_a_slice_that_would_come_to_nothing_does_not_begin(own_results, no_data, tmp_path, capsys, options, reason):
    assert main(["slice", "1", "--out", str(tmp_path / "out"), *options]) == 2
    assert reason in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_slice_from_the_command_line_trains_side_by_side(own_results, monkeypatch, tmp_path, capsys):
    two = studies.Slice(1, 2, ("aetad_direct4", "aetad_very_small"))
    monkeypatch.setattr(studies, "GPU_SLICES", {1: two})
    assert main(["slice", "1", "--profile", "smoke", "--minutes", "2", "--out", str(tmp_path / "out")]) == 0
    assert "complete: 2 of 2" in capsys.readouterr().out


def test_what_starts_from_another_run_waits_for_it(own_results, monkeypatch):
    events = []

    class Training:
        def __init__(self, command, env):
            self.name, self.polls = command[command.index("train") + 1], 0
            events.append(f"{self.name} begins")

        def poll(self):
            self.polls += 1
            if self.polls == 2:
                events.append(f"{self.name} ends")
            return 0 if self.polls == 2 else None

    monkeypatch.setattr(slices.subprocess, "Popen", Training)
    monkeypatch.setattr(slices.time, "sleep", lambda seconds: None)
    slices.work(("sofvsr_tad", "aetad_video", "sofvsr"), "smoke", 1, 2)
    assert sorted(events[:2]) == ["aetad_video begins", "sofvsr begins"]
    assert events.index("aetad_video ends") < events.index("sofvsr_tad begins")
