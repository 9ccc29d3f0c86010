"""What the workbook's commands say of what the library does: trained, told, killed, out of time, on a full disk."""
from __future__ import annotations

import builtins
import io
import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tadlib import settings
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import read_image, write_png
from tadlib.networks import ZOO, Spec
from tadlib.pixels import to_array
from tadlib.run import Run
from tadlib.stored import folder, is_trained
from tadlib.tool.codec import Codec
from tadlib.training import objectives
from workbook import studies
from workbook.__main__ import main
from workbook.measurements import motion_gain
from workbook.speed import speed_table

SHORT = "aetad_very_small"  # a run of the studies: three steps of the smoke profile
MINE = Spec("mine", "own", "c8 u2 c16 = r c16 + c3", "c16 = r c16 + c12 p2")


@pytest.fixture(autouse=True)
def elsewhere(own_results, no_data):
    """Results of its own, and no data."""


@pytest.fixture
def mine(monkeypatch):
    """mine(**fields) -> the run of an own network, as if it stood in the tables."""
    def add(**fields) -> Run:
        monkeypatch.setitem(ZOO, "mine", MINE)
        monkeypatch.setitem(studies.ALL, "mine", Run("mine", "mine", **{"steps": 2, "batch": 2, "patch": 32} | fields))
        return studies.named("mine")
    return add


def short() -> Run:
    return studies.named(SHORT, "smoke")


def train(*options: str) -> int:
    return main(["train", SHORT, "--profile", "smoke", *options])


def one_line(capsys) -> str:
    line, = capsys.readouterr().err.splitlines()
    return line


def contents(place: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(place.glob("*"))}


# ------------------------------------------------------------------------------------------------------- names

FROZEN = {"aetad": "e3fad099", "no_tad": "a8033152", "aetad_very_small": "87064dbb", "aetad_skip2": "a1cdd043",
          "aetad_very_large": "e863e942", "eps_0": "ea25ebb2", "eps_100_observed": "f6d4851a",
          "aetad_any_scale": "a23374f6", "vdsr": "f9327610", "kink_l2_1": "439f9454"}


def committed_label(name: str) -> str:
    run = studies.named(name)
    return run.label({n: sets.known_fingerprint(n) for n in run.train})


def test_folder_names_of_committed_runs_are_frozen():
    assert {name: committed_label(name) for name in FROZEN} == {n: f"{n}-{code}" for n, code in FROZEN.items()}


def test_every_committed_folder_is_the_label_of_a_run():
    committed = {r.parent.name for r in (settings.ROOT / "results" / "cpu" / "runs").glob("*/record.json")}
    committed = {name for name in committed if "_sample-" not in name}  # stand-ins are not in git
    assert committed and committed <= {committed_label(name) for name in studies.ALL}


def test_profiles_of_a_run():
    cpu, gpu, smoke = (studies.named("aetad", p) for p in ("cpu", "gpu", "smoke"))
    assert (cpu.steps, cpu.patch, cpu.batch) == (1200, 96, 8)
    assert gpu.steps > cpu.steps
    assert (smoke.steps, smoke.train) == (3, ("SampleTrain",))
    assert studies.named("bicubic", "smoke").steps == 0
    with pytest.raises(KeyError, match="no run 'adtea'; there are: "):
        studies.named("adtea")
    with pytest.raises(ValueError, match="no profile 'tpu'; there are: smoke, cpu, gpu"):
        studies.named("aetad", "tpu")


# ------------------------------------------------------------------------------------------------------- own

def test_a_row_that_does_not_fit_together_is_told_in_one_line(mine, monkeypatch, capsys):
    mine()
    monkeypatch.setitem(ZOO, "mine", replace(MINE, decoder="c250 p2"))
    assert main(["networks"]) == 2
    assert one_line(capsys) == "workbook: network mine, decoder: p2 in 'c250 p2': 250 channels are no multiple of 4"


def test_own_training_images_that_are_not_there_have_no_stand_in(mine, capsys, tmp_path):
    mine(train=("SampleTrain", str(tmp_path / "pics")))
    assert main(["train", "mine"]) == 2
    assert one_line(capsys).startswith(f"workbook: mine: no training data {tmp_path / 'pics'}")


def test_where_registered_sets_are_not_here_the_stand_in_is_told_and_can_be_used(mine, capsys, photo, tmp_path):
    mine(train=("DIV2K_crops", "BSDS_train"))
    assert main(["train", "mine", "--score", "SampleCrop"]) == 0
    assert "workbook: mine: its data is not here; this is its stand-in" in capsys.readouterr().err
    codec = Codec.find("mine")
    assert codec.upscale(codec.downscale(to_array(photo))).shape == (96, 128, 3)


def test_training_again_on_changed_own_images_is_advised(mine, write_set, photo, capsys):
    pics = Path(write_set("pics", {"a": photo}))
    mine(train=(str(pics),))
    assert main(["train", "mine", "--score", "SampleCrop"]) == 0
    write_png(pics / "b.png", to_array(photo.flip(1)))
    sets.load.cache_clear()  # as a new process
    sets.fingerprint.cache_clear()
    capsys.readouterr()
    assert main(["train", "mine", "--score", "SampleCrop"]) == 0
    assert one_line(capsys) == f"workbook: mine: {pics} was changed since (--retrain)"
    assert read_image(pics / "b.png").shape == (96, 128, 3)


# ----------------------------------------------------------------------------------------------------- what goes wrong

@pytest.mark.parametrize(("name", "value"), [("TAD_UNTIL", "abc"), ("TAD_CHECKPOINT_SECONDS", "abc"),
                                             ("TAD_PRECISION", "fp64")])
def test_a_bad_setting_is_one_line(monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    assert train("--score") == 2
    assert one_line(capsys).startswith(f"workbook: {name}={value}: has to be ")
    assert not folder(short()).exists()


def test_a_training_that_is_out_of_time_is_one_line_and_a_code_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("TAD_UNTIL", "1")
    assert train("--score") == 3
    assert one_line(capsys) == f"workbook: {SHORT}: out of time at step 1 of 3; goes on from there"


def test_a_loss_that_is_no_number_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(objectives, "task_loss", lambda shr, hr: (shr - hr).mean() * float("nan"))
    assert train("--score") == 2
    assert one_line(capsys) == (f"workbook: {SHORT}: training broke down at step 1 (loss nan); "
                                "lower the learning rate or change the seed")


@pytest.mark.parametrize("name", ["record.json", "scores.csv"])
def test_a_full_disk_is_one_line_and_what_was_there_stays(monkeypatch, capsys, name):
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full on this machine")
    assert train("--score", "SampleCrop") == 0
    before, whole = contents(folder(short())), io.open
    capsys.readouterr()

    def opened(file, mode="r", *more, **options):
        return whole("/dev/full" if "w" in mode and name in str(file) else file, mode, *more, **options)

    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(builtins, "open", opened)
    assert train("--score", "SampleClip", *(["--retrain"] if name == "record.json" else [])) == 2
    path = folder(short()) / name
    assert one_line(capsys) == f"workbook: {path}: cannot be written (No space left on device)"
    assert contents(folder(short())) == before


def test_a_damaged_record_is_one_line(capsys):
    assert train("--score") == 0
    path = folder(short()) / "record.json"
    for content in (b"", path.read_bytes()[:300], bytes(300), b"[]"):
        path.write_bytes(content)
        capsys.readouterr()
        assert train("--score") == 2
        assert one_line(capsys).startswith(f"workbook: {path}: damaged")


def test_damaged_scores_are_one_line(capsys):
    assert train("--score", "SampleCrop") == 0
    path = folder(short()) / "scores.csv"
    for content in (b"", path.read_bytes()[:300], bytes(300), b"[]"):
        path.write_bytes(content)
        capsys.readouterr()
        assert train("--score", "SampleCrop") == 2
        assert one_line(capsys).startswith(f"workbook: {path}: damaged")


def test_options_of_refine_without_a_run_are_refused(capsys):
    for options in (["--set", "Set14"], ["--steps", "3"], ["--for", "jpeg:90"], ["--first", "0"], ["--at-once"]):
        assert main(["refine", *options]) == 2
        assert "takes no option but --profile" in one_line(capsys)


@pytest.mark.parametrize("content", [b"", b"model,sca", b"a,b\n1,2\n", bytes(300)])
def test_damaged_tables_of_claims_are_one_line(own_results, content):
    tables = own_results / "cpu" / "tables"
    tables.mkdir(parents=True)
    motion = motion_gain("aetad")
    for path, look in ((own_results / "cpu" / "speed.csv", speed_table), (tables / "flow.csv", lambda: motion("cpu"))):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=rf"{path.name}: damaged \("):
            look()
    (tables / "flow.csv").write_text("frames,by,end-point error\nbicubic,Farneback,1\n")
    with pytest.raises(BadInput, match="nothing of aetad"):
        motion("cpu")


def test_a_broken_picture_stops_no_other_fingerprint(no_data, photo, capsys):
    for n in range(5):
        write_png(no_data / "Set5" / f"{n}.png", to_array(photo))
    (no_data / "Set5" / "3.png").write_bytes(b"no picture")
    names = [name for name in sets.registry() if sets.is_here(name)]
    assert "Set5" in names and len(names) > 1
    assert main(["data", "--fingerprint"]) == 2
    assert "none: a picture cannot be read" in capsys.readouterr().out
    assert main(["data", "--fingerprint", "--json"]) == 2
    said = capsys.readouterr()
    prints = {entry["set"]: entry["fingerprint"] for entry in json.loads(said.out) if "fingerprint" in entry}
    assert list(prints) == names and [name for name in names if not prints[name]] == ["Set5"]
    assert "3.png" in said.err and len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_the_command_killed_twice_goes_on_to_the_same_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = short()
    command = [sys.executable, "-m", "workbook", "train", SHORT, "--profile", "smoke", "--score"]
    assert subprocess.run(command, cwd=settings.ROOT, timeout=120).returncode == 0
    whole = (folder(run) / "weights.safetensors").read_bytes()
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "again"))
    state = settings.checkpoints("smoke") / folder(run).name / "state.pt"
    for at_checkpoint in (False, True):
        process = subprocess.Popen(command, cwd=settings.ROOT, stdout=subprocess.DEVNULL)
        if at_checkpoint:
            while not state.exists():
                assert process.poll() is None
                time.sleep(0.002)
        else:
            time.sleep(random.Random(1).uniform(0, 3))
        process.kill()
        assert process.wait() == -9
        assert not is_trained(run)
    assert subprocess.run(command, cwd=settings.ROOT, timeout=120).returncode == 0
    assert (folder(run) / "weights.safetensors").read_bytes() == whole


def test_the_workbook_opens_no_connection_unless_it_is_asked_for_a_download(offline):
    offline("workbook", 'assert main(["networks"]) == main(["data"]) == 0')
