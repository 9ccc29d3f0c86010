"""Pictures of a folder in several processes: the same files and words as in one, one budget, and an orderly end."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tadlib.__main__ import main
from tadlib.errors import BadInput
from tadlib.settings import ROOT
from tadlib.tool import jobs, workers
from tadlib.tool.export import export


@pytest.fixture(scope="module")
def carried(tmp_path_factory) -> Path:
    """A model that starts without torch, as a folder of models."""
    place = tmp_path_factory.mktemp("models")
    export("tool_x2", place / "tool_x2")
    return place / "tool_x2"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six small pictures; one is broken, two are of two pages, and nothing says what made them."""
    place = tmp_path / "in"
    place.mkdir()
    photo = skimage.data.astronaut()
    for n in range(5):
        picture, more = (Image.fromarray(photo[40 * n : 40 * n + 30, :36]) for _ in range(2))
        picture.save(place / f"{n}.tif", save_all=True, append_images=[more] if n in (1, 3) else [])
    (place / "2b.tif").write_bytes(b"no picture")
    return place


def contents(place: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(place.iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "more"), [("downscale", ["--model", "tool_x2", "--refine", "1"]),
                                               ("upscale", ["--scale", "2", "--backend", "onnx"])])
def test_two_processes_leave_and_say_what_one_does(carried, folder, tmp_path, monkeypatch, capfd, command, more):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if "onnx" in more:
        monkeypatch.setenv("TAD_MODELS", str(carried))
    said, left = [], []
    for count in (1, 2):
        out = tmp_path / str(count)
        out.mkdir()
        (out / "0.png").write_bytes(b"mine")
        assert main([command, str(folder), str(out), "--skip-existing", "--jobs", str(count), *more]) == 2
        told = capfd.readouterr()
        said.append((told.out.replace(str(out), "OUT"), [x for x in told.err.splitlines() if " images in " not in x]))
        left.append(contents(out))
    assert said[0] == said[1] and left[0] == left[1]
    assert "4 of 6 images written to OUT, 1 were there" in said[0][0] and left[0].pop("0.png") == b"mine"
    assert sorted(left[0]) == ["1.png", "2.png", "3.png", "4.png"]
    assert [line.count("2 pictures") for line in said[0][1]].count(1) == 2


def test_what_is_wrong_in_the_same_words_with_every_picture_is_told_once(capsys):
    pairs = [(Path(name), Path("out")) for name in "abc"]
    trouble = [BadInput("no gradient here"), None, BadInput("no gradient here")]
    assert jobs._all(pairs, (outcome for outcome in trouble), "in", "image") == 1
    assert capsys.readouterr().err == "tadlib: no gradient here\n"


def test_jobs_have_to_be_a_number_from_one_on(folder, tmp_path, capsys):
    for wrong in ("0", "-1", "two"):
        with pytest.raises(SystemExit) as end:
            main(["downscale", str(folder), str(tmp_path / "out"), "--jobs", wrong])
        assert end.value.code == 2 and "--jobs" in capsys.readouterr().err


class Slow:
    """In place of a command's work: how many are at it at once, and who was there."""

    options, growth = Namespace(), 1

    def __init__(self):
        self.notes, self.at, self.most, self.lock = dict[str, None](), 0, 0, threading.Lock()

    def __call__(self, pair: jobs.Pair) -> workers.Outcome:
        with self.lock:
            self.at += 1
            self.most = max(self.most, self.at)
        time.sleep(0.2 if pair[0].stem == "0" else 0.01)
        with self.lock:
            self.at -= 1
        return [pair[0].stem], BadInput(pair[0].stem) if pair[0].stem == "2" else None


@pytest.mark.parametrize(("budget", "refine", "most"), [
    (10**12, 0, 4), (2 * workers.BASE + 1_000_000, 0, 2), (2 * workers.BASE + 1_000_000, 3, 1), (0, 0, 1)])
def test_pictures_are_taken_together_as_far_as_the_budget_goes_and_told_in_their_order(
        folder, monkeypatch, budget, refine, most):
    work = Slow()
    work.options = Namespace(refine=refine)  # a picture that is refined takes more
    monkeypatch.setattr(workers, "ProcessPoolExecutor", lambda count, *start: ThreadPoolExecutor(count))
    monkeypatch.setattr(workers, "_do", work)
    monkeypatch.setattr(workers, "_budget", lambda: budget)

    def allowed(pair: jobs.Pair) -> None:
        if pair[0].stem == "3":
            raise BadInput("3")

    todo = [(path, Path("out")) for path in sorted(folder.iterdir())]
    got = [trouble and str(trouble) for trouble in workers.outcomes(todo, work, 4, allowed)]
    assert got == [None, None, "2", None, "3", None] and list(work.notes) == ["0", "1", "2", "2b", "4"]
    assert work.most <= most and (most < 4 or work.most > 1)


def test_what_a_picture_may_take_is_known_from_its_head(folder, tmp_path):
    assert workers._takes(folder / "0.tif", 1) == 30 * 36 * workers.PIXEL
    assert workers._takes(folder / "0.tif", 16) == 16 * 30 * 36 * workers.PIXEL
    os.mkfifo(tmp_path / "pipe.png")
    for nothing in (folder / "2b.tif", folder, tmp_path / "pipe.png", tmp_path / "absent.png"):
        assert workers._takes(nothing, 1) == 0


def session(number: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            found += [int(entry.name)] if int(own) == number and state != "Z" else []
    return found


def worker(number: int) -> int:
    """A process of such a session that computes."""
    return next(pid for pid in session(number) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code", "words"), [
    (signal.SIGINT, 130, ["tadlib: interrupted"]), (signal.SIGTERM, 143, []),
    (signal.SIGKILL, 2, ["tadlib: one of 2 processes died, perhaps for lack of memory; fewer --jobs, and "
                         "--skip-existing to go on"])])
def test_an_end_from_outside_leaves_no_process_and_no_half_file(carried, tmp_path, end, code, words):
    """As a terminal sends it, to all of them; SIGTERM as a scheduler does, to the first; SIGKILL to one that works."""
    (tmp_path / "in").mkdir()
    picture = Image.fromarray(np.tile(skimage.data.astronaut(), (2, 2, 1)))
    for n in range(40):
        picture.save(tmp_path / "in" / f"{n}.png", compress_level=0)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tadlib", "downscale", str(tmp_path / "in"), str(out), "--model", "tool_x2",
               "--backend", "onnx", "--jobs", "2"]
    child = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TAD_MODELS": str(carried)}, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.time() + 120
    while not list(out.glob("[0-9]*.png")) and time.time() < until:
        time.sleep(0.05)
        assert child.poll() is None, child.communicate()
    if end == signal.SIGINT:
        os.killpg(child.pid, end)
    else:
        os.kill(child.pid if end == signal.SIGTERM else worker(child.pid), end)
    _, told = child.communicate(timeout=60)
    assert child.returncode == code
    assert [line for line in told.splitlines() if " images in " not in line] == words
    until = time.time() + 20
    while session(child.pid) and time.time() < until:
        time.sleep(0.1)
    assert session(child.pid) == []
    made = sorted(out.iterdir())
    if end == signal.SIGKILL:  # nobody can clear away what he was writing then; the next command does
        made = [path for path in made if path.name[0] != "."]
    assert 0 < len(made) < 40 and all(path.suffix == ".png" and path.name[0] != "." for path in made)
    for path in made:
        assert Image.open(path).size == (512, 512)
