"""Runs against the clock: they stop in time, travel as files, and go on elsewhere as if nothing had been."""
from __future__ import annotations

import io
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tadlib.errors import BadInput, OutOfTime
from tadlib.settings import checkpoints, results
from tadlib.stored import folder
from tadlib.training.fit import fit
from workbook import slices, studies
from workbook.__main__ import main


@pytest.fixture
def run():
    return studies.named("aetad_direct4", "smoke")


def test_a_training_out_of_time_stops_with_a_checkpoint_and_goes_on(run, own_results, monkeypatch):
    monkeypatch.setenv("TAD_UNTIL", str(time.time() - 1))
    with pytest.raises(OutOfTime, match="aetad_direct4: out of time at step 1 of 3"):
        fit(run, quiet=True)
    assert not (folder(run) / "record.json").exists()
    assert torch.load(checkpoints("smoke") / folder(run).name / "state.pt", weights_only=True)["progress"]["step"] == 1
    monkeypatch.delenv("TAD_UNTIL")
    assert fit(run, quiet=True).record["steps"] == 3


def test_packed_runs_and_checkpoints_go_on_in_another_place(run, own_results, monkeypatch, tmp_path):
    other = studies.named("aetad_very_small", "smoke")
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


SECRET = b"nobody's business"


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.devmajor, info.devminor = kind, target, mode, 1, 3
    info.size = len(SECRET) if kind == tarfile.REGTYPE else 0
    return info


HOSTILE = {  # what a packed slice may hold that is none of ours; {outside} is a folder beside the results
    "a path up": [member("runs/../../../outside/evil")],
    "a path up from the checkpoints": [member("checkpoints/../../outside/evil")],
    "a whole path": [member("runs/{outside}/evil")],
    "a link out": [member("runs/way", tarfile.SYMTYPE, "{outside}")],
    "a link up": [member("runs/way", tarfile.SYMTYPE, "../../../outside")],
    "a file through a link": [member("runs/way", tarfile.SYMTYPE, "{outside}"), member("runs/way/evil")],
    "another's file": [member("runs/secret", tarfile.LNKTYPE, "../../../outside/secret")],
    "another's file by its whole path": [member("runs/secret", tarfile.LNKTYPE, "{outside}/secret")],
    "a pipe": [member("runs/pipe", tarfile.FIFOTYPE)],
    "a device": [member("runs/null", tarfile.CHRTYPE)],
    "a program of its owner's": [member("runs/aetad-1/run", mode=0o6777)],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_packed_slice_stays_where_it_belongs(own_results, tmp_path, what):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    for root in (results("smoke") / "runs", checkpoints("smoke")):
        root.mkdir(parents=True)  # where they are not, even a path that leads out ends in an error of its own
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for info in HOSTILE[what]:
            info = info.replace(name=info.name.format(outside=outside), linkname=info.linkname.format(outside=outside))
            archive.addfile(info, io.BytesIO(SECRET))

    def everything(place: Path) -> dict[Path, bytes]:
        return {f: f.read_bytes() if f.is_file() else b"" for f in place.rglob("*")}

    before = everything(outside)
    with suppress(BadInput):
        slices.unpack([tmp_path / "evil.tar"], "smoke")
    assert everything(outside) == before and (outside / "secret").stat().st_nlink == 1
    assert {f.name for f in tmp_path.iterdir()} == {"outside", "evil.tar", "results", "checkpoints"}
    for root in (results("smoke"), checkpoints("smoke")):
        for file in root.rglob("*"):
            assert not file.is_symlink() and (file.is_dir() or file.is_file()), file
            assert not file.stat().st_mode & 0o6022, file  # not run as its owner, not written by others


@pytest.mark.parametrize("what", ["a path up", "a link out", "another's file", "a pipe"])
def test_a_packed_slice_that_leads_out_is_refused_in_one_line(own_results, tmp_path, monkeypatch, capsys, what):
    monkeypatch.setattr(slices, "work", lambda *_: pytest.fail("trained all the same"))
    for root in (results("smoke") / "runs", checkpoints("smoke")):
        root.mkdir(parents=True)
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for info in HOSTILE[what]:
            archive.addfile(info.replace(linkname=info.linkname.format(outside="/")), io.BytesIO(SECRET))
    options = ["slice", "1", "--profile", "smoke", "--out", str(tmp_path / "out"), "--resume", f"{tmp_path}/evil.tar"]
    assert main(options) == 2
    line, = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/evil.tar: not a packed slice (" in line and not (tmp_path / "out").exists()


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
