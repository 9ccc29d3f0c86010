"""What a person adds: own networks, own runs, own training images; and what is said where something does not fit."""
from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tadlib.__main__ import main
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import read_image, write_png
from tadlib.networks import ZOO, Spec, build
from tadlib.pixels import to_array
from tadlib.run import Run
from tadlib.stored import Trained, folder, of
from tadlib.tool.video import Writer
from tadlib.training.fit import fit

MINE = Spec("mine", "own", "c8 u2 c16 = r c16 + c3", "c16 = r c16 + c12 p2")


@pytest.fixture
def mine(own_results, no_data, monkeypatch):
    """mine(**fields) -> the run of an own network, as if it stood in the table."""
    def add(**fields) -> Run:
        monkeypatch.setitem(ZOO, "mine", MINE)
        return Run("mine", "mine", **{"steps": 2, "batch": 2, "patch": 32} | fields)
    return add


def again() -> None:
    """As a new process: nothing of the sets is remembered."""
    sets.load.cache_clear()
    sets.fingerprint.cache_clear()


# ------------------------------------------------------------------------------------------------------- networks

ENDS = "ends with {} channels at {} times the size, and has to end with 3 at {}"


@pytest.mark.parametrize(("fields", "reason"), [
    ({"encoder": "c8 c4"}, f"network mine, encoder: {ENDS.format(4, 1, 0.5)}"),
    ({"decoder": "c16 c3"}, f"network mine, decoder: {ENDS.format(3, 1, 2)}"),
    ({"decoder": "c250 p2"}, "network mine, decoder: p2 in 'c250 p2': 250 channels are no multiple of 4"),
    ({"encoder": "x16 u2 c3"}, "network mine, encoder: unknown word 'x16'"),
    ({"task": "color"}, "network mine: task 'color'"), ({"skip": "bicubci"}, "skip 'bicubci'; there are")])
def test_a_row_that_does_not_fit_together_is_told_in_one_line(monkeypatch, fields, reason):
    monkeypatch.setitem(ZOO, "mine", replace(MINE, **fields))
    with pytest.raises(BadInput) as told:
        build("mine")
    assert reason in str(told.value) and len(str(told.value).splitlines()) == 1


def test_a_chain_without_inner_convolutions_can_be_trained(mine, monkeypatch):
    run = mine()
    monkeypatch.setitem(ZOO, "mine", replace(MINE, encoder="c8 u2 c3", decoder="c12 p2"))
    assert fit(run, quiet=True).record["steps"] == 2


def test_a_network_that_was_changed_is_not_taken_for_the_one_that_was_trained(mine, monkeypatch, capsys):
    run = mine()
    fit(run, quiet=True)
    monkeypatch.setitem(ZOO, "mine", replace(MINE, skip="bicubic"))
    for use in (lambda: fit(run), lambda: of(run).unchanged()):
        with pytest.raises(BadInput, match="the network mine was changed since this was trained"):
            use()
    assert fit(run, retrain=True, quiet=True).network().spec.skip == "bicubic"


def test_patches_have_to_be_a_multiple_of_the_scale(mine, own_results):
    with pytest.raises(BadInput, match="mine_sample: patches of 50 pixels are no multiple of 4, the scale"):
        fit(mine(patch=50), quiet=True)
    assert not list((own_results / "cpu" / "runs").iterdir())  # nor does an empty folder stay


# ------------------------------------------------------------------------------------------------------- images

def test_own_training_images_that_are_not_there_have_no_stand_in(mine, tmp_path):
    for train in ((str(tmp_path / "pics"),), ("SampleTrain", str(tmp_path / "pics")), str(tmp_path / "pics")):
        with pytest.raises(BadInput, match=f"^mine: no training data {tmp_path / 'pics'}"):
            fit(mine(train=train), quiet=True)


def test_where_registered_sets_are_not_here_the_stand_in_can_be_used(mine, capsys, photo, tmp_path):
    fit(mine(train=("DIV2K_crops", "BSDS_train")), quiet=True)
    write_png(tmp_path / "photo.png", to_array(photo))
    small, big = str(tmp_path / "small.png"), str(tmp_path / "big.png")
    assert main(["downscale", str(tmp_path / "photo.png"), small, "--model", "mine"]) == 0
    assert main(["upscale", small, big]) == 0
    assert read_image(big).shape == (96, 128, 3) and capsys.readouterr().err == ""
    assert main(["models"]) == 0 and "mine" in capsys.readouterr().out.split()


def test_a_model_stays_known_when_its_own_images_change(mine, write_set, photo, tmp_path, monkeypatch):
    pics = Path(write_set("pics", {"a": photo, "b": photo.flip(2)}))
    run = mine(train=(str(pics),))
    fit(run, quiet=True)
    write_png(tmp_path / "photo.png", to_array(photo))
    use = ["downscale", str(tmp_path / "photo.png"), str(tmp_path / "small.png"), "--model", "mine"]
    write_png(pics / "c.png", to_array(photo))
    again()
    load = sets.load
    monkeypatch.setattr(sets, "load", lambda name: load(name) if name != str(pics) else pytest.fail("was read"))
    assert main(use) == 0  # nor are they read
    for file in pics.iterdir():
        file.unlink()
    assert main(use) == 0
    assert of(run).record["run"] == folder(run).name
    assert Trained.open(folder(run)).run == run


# ------------------------------------------------------------------------------------------------------- what made it

def test_a_small_picture_that_does_not_say_what_made_it_is_told_of(no_data, own_results, photo, tmp_path, capsys):
    write_png(tmp_path / "photo.png", to_array(photo))
    small, jpeg, big = (str(tmp_path / name) for name in ("small.png", "small.jpg", "big.png"))
    for name in ("bicubic", "lanczos"):
        fit(Run(name, name, steps=0, train=()))
    assert main(["downscale", str(tmp_path / "photo.png"), small, "--model", "bicubic"]) == 0
    Image.open(small).save(jpeg)
    assert main(["upscale", jpeg, big, "--model", "bicubic"]) == 0  # said by the user: nothing to tell
    assert capsys.readouterr().err == ""
    assert main(["upscale", small, big, "--model", "lanczos"]) == 2
    assert "--model lanczos, but the picture says that it was made by model bicubic" in capsys.readouterr().err


def test_a_jpeg_is_taken_as_one_by_the_tool_and_that_is_said(photo, tmp_path, capsys):
    write_png(tmp_path / "small.png", to_array(photo))
    Image.open(tmp_path / "small.png").save(tmp_path / "small.jpg")
    assert main(["upscale", str(tmp_path / "small.jpg"), str(tmp_path / "big.png")]) == 0
    told = capsys.readouterr().err
    assert "does not say (any more) what made it: taken as one by tool_x4, see --model" in told


# ------------------------------------------------------------------------------------------------------- told to end

@pytest.mark.slow
def test_what_is_half_written_is_put_away_when_the_command_is_told_to_end(photo, tmp_path):
    with Writer(tmp_path / "clip.mp4") as writer:
        for n in range(600):
            writer.write(to_array(photo.roll(n, 2)))
    process = subprocess.Popen([sys.executable, "-m", "tadlib", "downscale", "clip.mp4", "small", "--model", "bicubic"],
                               cwd=tmp_path, stderr=subprocess.DEVNULL)
    until = time.time() + 60
    while not list(tmp_path.glob(".small*/frames/*.png")) and time.time() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
