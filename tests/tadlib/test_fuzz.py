"""The fuzz run (tests/fuzz.py): some cases of each kind, that it would notice what is wrong, and its figures."""
from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import fuzz_seeds
import pytest
from fuzz import Case, Outcome, here, judge
from fuzz_cases import KINDS

from tadlib.__main__ import main
from tadlib.files import FORMATS, write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
from tadlib.tool.films import DEMUXERS


@pytest.mark.slow
def test_strange_and_spoiled_files_do_no_harm(tmp_path):
    record = tmp_path / "fuzz.csv"
    done = subprocess.run([sys.executable, "tests/fuzz.py", "--cases", "150", "--calm", "--record", record], cwd=ROOT,
                          capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout
    rows = {row["kind"]: row for row in csv.DictReader(record.open())}
    assert set(rows) == {kind.__name__ for kind in KINDS} - {"killed"} | {"all"}
    assert int(rows["all"]["cases"]) == 150
    for kind in ("picture", "chunk", "clip", "frames"):  # some of it is still usable: more is tried than a first check
        assert int(rows[kind]["used"]) and int(rows[kind]["refused"]), rows[kind]


def test_it_begins_with_every_listed_format():
    assert {form for _, form, _ in fuzz_seeds.pictures(random.Random(0))} == set(FORMATS)
    known = {"mp4", "mov", "matroska", "webm", "avi", "mpeg", "mpegts", "flv", "asf", "yuv4mpegpipe", "nut", "mxf"}
    assert known <= set(DEMUXERS)
    assert {fuzz_seeds.FORMS.get(end := name.partition(".")[2], end) for name in fuzz_seeds.CLIPS} == known


@pytest.fixture
def folder(tmp_path, monkeypatch, photo) -> Path:
    """An input and an old result, in the current folder."""
    place = tmp_path / "case"
    place.mkdir()
    (tmp_path / "said" / "tmp").mkdir(parents=True)
    monkeypatch.chdir(place)
    write_png("in.png", to_array(photo))
    write_png("out.png", to_array(photo))
    return place


def half(place: Path) -> None:
    (place / "out.png").write_bytes((place / "in.png").read_bytes()[:200])


WRONG = {  # what happens -> exit code, stderr, what is done to the folder, what the judge says
    "a traceback": (1, "Traceback (most recent call last):\n", None, "exit code 1"),
    "a crash": (-11, "", None, "killed by SIGSEGV"),
    "silence": (2, "", None, "says nothing"),
    "two lines": (2, "tadlib: one\ntadlib: two\n", None, "2 lines"),
    "another's words": (2, "tadlib: one\nwarning: two\n", None, "not the tool's"),
    "an escape": (2, "tadlib: \x1b[2J\n", None, "control characters"),
    "a spoiled input": (0, "", lambda place: (place / "in.png").write_bytes(b"new"), "in.png was changed"),
    "an input that is gone": (0, "", lambda place: (place / "in.png").unlink(), "in.png was changed"),
    "another file": (0, "", lambda place: (place / "other.png").write_bytes(b"new"), "other.png was changed"),
    "half a result": (0, "", half, "out.png is not whole"),
    "a lost target": (0, "", lambda place: (place / "out.png").unlink(), "out.png is gone"),
    "a result of what failed": (2, "tadlib: one\n", lambda place: (place / "out.png").write_bytes(b"new"), "changed"),
    "a rest": (2, "tadlib: one\n", lambda place: (place / ".out.k3.tad-part").touch(), "left behind"),
    "a rest elsewhere": (2, "tadlib: one\n", lambda place: (place / "../said/tmp/x").touch(), "left behind"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_noticed(folder, what):
    code, said, change, told = WRONG[what]
    outcome, before = Outcome(Case(["downscale", "in.png", "out.png"], ("out.png",)), 0), here()
    outcome.code, outcome.said = code, said
    if change:
        change(folder)
    judge(outcome, before, here(), folder.parent / "said", 0)
    assert any(told in trouble for trouble in outcome.troubles), outcome.troubles


@pytest.mark.parametrize(("code", "said", "several"), [(0, "", False), (2, "tadlib: one\n", False),
                                                       (2, "tadlib: one\ntadlib: two\n", True)])
def test_what_is_right_is_none(folder, photo, code, said, several):
    outcome, before = Outcome(Case(["downscale", "in.png", "out.png"], ("out.png",), several=several), 0), here()
    outcome.code, outcome.said = code, said
    if code == 0:
        write_png("out.png", to_array(photo[:, :8]))
    judge(outcome, before, here(), folder.parent / "said", 0)
    assert outcome.troubles == []


def test_more_memory_than_the_budget_is_noticed(folder):
    outcome, before = Outcome(Case([]), 0), here()
    outcome.megabytes = 3_500.0
    judge(outcome, before, here(), folder.parent / "said", 500)
    assert outcome.troubles == ["3500 MB"]


def test_a_film_whose_codec_is_not_known_is_one_line(tmp_path, monkeypatch, capsys):
    """The fuzz run found a traceback there."""
    monkeypatch.chdir(tmp_path)
    whole = fuzz_seeds.clip("ffv1.mkv", random.Random(0))
    Path("film.mkv").write_bytes(whole.replace(b"V_FFV1", b"V_NONE"))
    assert main(["downscale", "film.mkv", "out", "--model", "bicubic"]) == 2
    assert capsys.readouterr().err.startswith("tadlib: film.mkv: cannot be read as a video (")
    assert not Path("out").exists()


def test_the_record_is_of_a_run_without_trouble():
    *kinds, whole = csv.DictReader((ROOT / "results" / "cpu" / "fuzz.csv").open())
    assert {row["kind"] for row in kinds} == {kind.__name__ for kind in KINDS}
    assert int(whole["cases"]) == sum(int(row["cases"]) for row in kinds)
    assert all(row["troubles"] == "0" for row in kinds)
