"""A stored training opens by itself from its folder, and only if it is whole: record, weights, scores."""
from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tadlib import settings, stored
from tadlib.errors import BadInput
from tadlib.networks import ZOO, build
from tadlib.run import Run
from tadlib.stored import Trained, describe
from tadlib.tool import models

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")
COMMITTED = settings.ROOT / "results" / "cpu" / "runs"


@pytest.fixture
def leave(own_results, no_data):
    """leave(run, **record) -> the run as if it had been trained: with weights of seed 100, and a record of them."""

    def write(run: Run = TINY, **record) -> Trained:
        folder = stored.folder(run)
        folder.mkdir(parents=True)
        torch.manual_seed(100)
        parts = build(run.model, start="default").state_dict()
        data = save({k: v.half() for k, v in parts.items() if k.split(".")[0] != run.frozen})
        (folder / "weights.safetensors").write_bytes(data)
        written = asdict(run) | {"start": [stored.folder(s).name for s in run.start], "run": folder.name, "params": 7,
                                 "network": run.net.words(), "weights": describe(data)}
        (folder / "record.json").write_text(json.dumps(written | record))
        return Trained(run, folder)

    return write


def told(trained: Trained, path: Path, *uses) -> str:
    """What is said of the file, by opening the folder's network, in one line that begins with its name."""
    for use in uses or (lambda: Trained.open(trained.folder).network(),):
        with pytest.raises(BadInput, match=f"^{path}: ") as error:
            use()
        assert len(str(error.value).splitlines()) == 1 and str(error.value).count(str(path)) == 1
    return str(error.value)


# ------------------------------------------------------------------------------------------------------- opening

def test_a_folder_says_by_itself_what_is_in_it(leave, tmp_path):
    earlier = replace(TINY, name="earlier", seed=5)
    run = replace(TINY, name="later", seed=1, scales=(2, 4), channels=("8bit", "jpeg:60..95"), start=(earlier,),
                  skip="bicubic", train=("SampleTrain", "Sample"))
    theirs, mine = leave(earlier), leave(run)
    got = Trained.open(mine.folder)
    assert got.run == run and got.folder == mine.folder
    assert stored.folder(got.run) == mine.folder
    elsewhere = shutil.copytree(theirs.folder.parent, tmp_path / "elsewhere")
    moved = Trained.open(elsewhere / mine.folder.name)
    assert moved.run == run
    assert all(torch.equal(a, b) for a, b in zip(moved.network().state_dict().values(),
                                                 mine.network().state_dict().values(), strict=True))
    assert moved.network().spec.skip == "bicubic" and not moved.network().training


def test_it_opens_where_the_zoo_has_another_network_of_that_name_but_is_not_taken_for_it(leave, monkeypatch):
    trained = leave()
    expected = trained.network().state_dict()
    monkeypatch.setitem(ZOO, "aetad_very_small", replace(ZOO["aetad_very_small"], decoder="c12 p2"))
    got = Trained.open(trained.folder)
    assert all(torch.equal(w, expected[k]) for k, w in got.network().state_dict().items())
    with pytest.raises(BadInput, match="the network aetad_very_small was changed since this was trained"):
        got.unchanged()


def test_a_frozen_part_is_read_from_where_it_was_trained(leave):
    earlier = replace(TINY, name="earlier", seed=5)
    theirs = leave(earlier)
    mine = leave(replace(TINY, start=(earlier,), frozen="decoder"))
    got = Trained.open(mine.folder).network().state_dict()
    assert all(torch.equal(w, theirs.network().state_dict()[k]) for k, w in got.items() if k.startswith("decoder"))
    (theirs.folder / "weights.safetensors").unlink()
    assert "this run keeps no weights" in told(mine, theirs.folder / "weights.safetensors")


def test_every_committed_run_opens_from_its_folder_alone():
    """But not whether its weights are right: test_golden.py."""
    folders = [record.parent for record in sorted(COMMITTED.glob("*/record.json")) if "_sample-" not in str(record)]
    assert len(folders) >= 94
    wrong = []
    for folder in folders:
        trained = Trained.open(folder)
        prints = {name: data["fingerprint"] for name, data in trained.record.get("data", {}).items()}
        if trained.run.label(prints) != folder.name or trained.unchanged().record["run"] != folder.name:
            wrong.append(folder.name)
    assert wrong == []


# ------------------------------------------------------------------------------------------------------- by name

def test_a_model_is_looked_for_in_the_named_folder_first_then_among_the_results(leave, monkeypatch, tmp_path):
    run = replace(TINY, profile=settings.TOOL_PROFILE)
    mine = leave(run)
    assert models.find("tiny").folder == mine.folder
    other = shutil.copytree(mine.folder, tmp_path / "models" / "tiny-01234567")
    monkeypatch.setenv("TAD_MODELS", str(tmp_path / "models"))
    assert models.find("tiny").folder == other
    shutil.rmtree(other)
    assert models.find("tiny").folder == mine.folder
    assert models.names() == ["tiny"]


def test_a_model_in_a_folder_of_another_name_is_called_what_its_record_says(leave, monkeypatch, tmp_path):
    mine = leave(replace(TINY, profile=settings.TOOL_PROFILE)).folder
    monkeypatch.setenv("TAD_MODELS", str(tmp_path / "models"))
    for place in ("models/weights", "models/my-net", "models"):
        shutil.copytree(mine, tmp_path / place, dirs_exist_ok=True)
        assert models.find("tiny").folder == tmp_path / place and models.names() == ["tiny"]
        record = json.loads((tmp_path / place / "record.json").read_text())
        (tmp_path / place / "record.json").write_text(json.dumps(record | {"name": "no\nname"}))
        assert models.find("tiny").folder == mine  # what it says is no name
        shutil.rmtree(tmp_path / place)


def test_a_model_without_weights_is_none_but_a_baseline_needs_none(leave, monkeypatch):
    run = replace(TINY, profile=settings.TOOL_PROFILE)
    (leave(run).folder / "weights.safetensors").unlink()
    bicubic = Run("bicubic", "bicubic", steps=0, train=())
    leave(bicubic)
    (stored.folder(bicubic) / "weights.safetensors").unlink()
    leave(replace(run, name="moving", model="sofvsr", scale=4))
    leave(replace(run, name="still", model="sofvsr", scale=4, seed=1))
    (stored.folder(replace(run, name="still", model="sofvsr", scale=4, seed=1)) / "weights.safetensors").unlink()
    assert models.names() == ["bicubic", "moving"]
    assert models.find("bicubic").network().parameters_count == 0
    with pytest.raises(BadInput, match=r"^no model 'tiny'; there are: bicubic, moving$"):
        models.find("tiny")


def test_a_stand_in_is_found_by_the_name_that_it_stands_for(leave):
    run = replace(TINY, profile=settings.TOOL_PROFILE)
    sample = leave(replace(run, name="tiny_sample"))
    assert models.find("tiny").folder == sample.folder and models.names() == ["tiny"]
    mine = leave(run)
    assert models.find("tiny").folder == mine.folder and models.names() == ["tiny"]


def test_where_nothing_is_stored_that_is_said(own_results, no_data):
    with pytest.raises(BadInput, match=r"^no model 'tiny'; there are: none yet$"):
        models.find("tiny")


# ------------------------------------------------------------------------------------------------------- by run

def test_a_stored_run_is_found_without_its_data(leave):
    run = replace(TINY, train=("DIV2K_crops",))
    assert stored.on_this_machine(run) == replace(run, name="tiny_sample", train=("SampleTrain",))
    assert not stored.is_trained(run)
    leave(run)
    assert stored.on_this_machine(run) == run
    assert stored.of(run).folder == stored.folder(run) and stored.is_trained(run)


def test_a_stand_in_is_its_own(own_results, no_data):
    once = stored.on_this_machine(replace(TINY, train=("BSDS_train",), start=(replace(TINY, train=("BSDS_train",)),)))
    assert once.name == "tiny_sample" and stored.on_this_machine(once) == once


# ------------------------------------------------------------------------------------------------------- damaged

DAMAGED = {"empty": lambda text: b"", "half": lambda text: text[: len(text) // 2],
           "zeros": lambda text: bytes(len(text)), "a list": lambda text: b"[]", "a number": lambda text: b"7",
           "bytes": lambda text: b"\xff\xfe\x00", "nothing in it": lambda text: b"{}",
           "endless": lambda text: b"[" * 100_000, "an unknown recipe": lambda text: text.replace(b"modern", b"modren"),
           "no network": lambda text: text.replace(b'"network"', b'"net"'),
           "another kind of network": lambda text: text.replace(b'"head": "image"', b'"head": "imago"'),
           "a network that does not fit": lambda text: text.replace(b'"c64 = r c64 + c256 p2 c3"', b'"c64 p3"'),
           "a number for a name": lambda text: text.replace(b'"model": "aetad_very_small"', b'"model": [1]'),
           "a text for a number": lambda text: text.replace(b'"scale": 2', b'"scale": "2"'),
           "a list for a text": lambda text: text.replace(b'"recipe": "modern"', b'"recipe": []')}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_record_is_told_in_one_line_that_names_the_file(leave, how):
    trained = leave()
    path = trained.folder / "record.json"
    before = path.read_bytes()
    path.write_bytes(DAMAGED[how](before))
    assert path.read_bytes() != before
    told(trained, path)


def test_a_damaged_record_of_one_model_does_not_hide_the_others(leave):
    run = replace(TINY, profile=settings.TOOL_PROFILE)
    broken, whole = leave(run), leave(replace(run, name="whole"))
    (broken.folder / "record.json").write_bytes(b"[]")
    assert models.find("whole").folder == whole.folder
    told(broken, broken.folder / "record.json", lambda: models.find("tiny").network())


@pytest.mark.parametrize("content", [b"", bytes(200), b"\xff\xfe\x00"], ids=["empty", "zeros", "bytes"])
def test_a_damaged_curve_is_told(leave, content):
    trained = leave()
    (trained.folder / "history.csv").write_bytes(content)
    told(trained, trained.folder / "history.csv", lambda: trained.history)
    (trained.folder / "history.csv").unlink()
    told(trained, trained.folder / "history.csv", lambda: trained.history)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("part", [0.001, 0.3, 0.6, 0.999])
def test_one_flipped_bit_in_the_weights_is_told(leave, part):
    trained = leave()
    path = trained.folder / "weights.safetensors"
    path.write_bytes(flipped(path.read_bytes(), int(part * path.stat().st_size)))
    assert "not the weights that its record tells of" in told(trained, path)


def other(state: dict, **changes) -> bytes:
    return save({k: v.half() for k, v in state.items()} | changes)


REPLACED = {
    "cut": lambda state: other(state)[:1000],
    "empty": lambda state: b"",
    "text": lambda state: b"I am no weights",
    "another net's": lambda state: other(build("aetad_small").state_dict()),
    "another shape": lambda state: other(state, **{"decoder.layers.0.weight": torch.zeros(64, 3, 1, 1).half()}),
    "a hole": lambda state: other({k: v for k, v in state.items() if k != "decoder.layers.0.weight"}),
    "one too many": lambda state: other(state, more=torch.zeros(1).half()),
    "not a number": lambda state: other(state, **{"decoder.layers.0.bias": torch.full((64,), torch.nan).half()}),
    "infinite": lambda state: other(state, **{"decoder.layers.0.bias": torch.full((64,), torch.inf).half()}),
    "32 bits": lambda state: save(state),
    "another 16 bits": lambda state: save({k: v.bfloat16() for k, v in state.items()}),
    "whole numbers": lambda state: other(state, **{"decoder.layers.0.bias": torch.zeros(64, dtype=torch.int16)}),
}


@pytest.mark.parametrize("what", REPLACED)
@pytest.mark.parametrize("recorded", [False, True], ids=["another hash", "its hash"])
def test_other_weights_are_told_also_where_the_record_tells_of_them(leave, what, recorded):
    trained = leave()
    path = trained.folder / "weights.safetensors"
    data = REPLACED[what](build(TINY.model).state_dict())
    path.write_bytes(data)
    if recorded:
        record = trained.record | {"weights": describe(data)}
        (trained.folder / "record.json").write_text(json.dumps(record))
    told(trained, path)


def test_a_record_that_tells_of_no_weights_vouches_for_none(leave):
    for record in ({"weights": None}, {"weights": {}}, {"weights": "sha"}, {"weights": {"sha256": 7}}):
        trained = leave(**record)
        told(trained, trained.folder / "weights.safetensors")
        shutil.rmtree(trained.folder)


def test_weights_that_are_not_there_are_told(leave):
    trained = leave()
    (trained.folder / "weights.safetensors").unlink()
    assert not trained.has_weights
    assert "this run keeps no weights" in told(trained, trained.folder / "weights.safetensors")
    shutil.rmtree(trained.folder)
    told(trained, trained.folder / "record.json")


def test_what_is_not_complete_has_no_weights_and_a_baseline_needs_none(leave):
    trained, baseline = leave(), leave(Run("bicubic", "bicubic", steps=0, train=(), profile="smoke"))
    (baseline.folder / "weights.safetensors").unlink()
    assert trained.has_weights and baseline.has_weights
    for run in (trained, baseline):
        (run.folder / "record.json").unlink()
        assert not run.has_weights


def test_a_model_opens_where_the_zoo_has_lost_its_row(leave, monkeypatch):
    trained = leave(TINY)
    before = trained.network().state_dict()
    monkeypatch.delitem(ZOO, TINY.model)
    opened = Trained.open(trained.folder)
    assert all(torch.equal(w, before[k]) for k, w in opened.network().state_dict().items())
    assert (opened.run.scale, opened.run.guide) == (TINY.scale, "bicubic")


def test_a_record_that_starts_from_itself_is_told(leave):
    trained = leave(TINY)
    record = json.loads((trained.folder / "record.json").read_text()) | {"start": [trained.folder.name]}
    (trained.folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match="not the record of a run"):
        Trained.open(trained.folder)
