"""A set too large for memory lies decoded in one file: the same set and batches, made once, whole or not at all."""
from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from tadlib import settings
from tadlib.data import mapped, sets
from tadlib.data.mapped import shared
from tadlib.data.patches import ClipPatches, Patches
from tadlib.errors import BadInput
from tadlib.files import head


def noise(seed: int, h: int = 40, w: int = 44) -> torch.Tensor:
    return torch.randint(256, (3, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def again() -> None:
    """As a new process."""
    sets.load.cache_clear()
    sets.fingerprint.cache_clear()


def made() -> list[str]:
    """What lies where the decoded sets are, but for locks."""
    return sorted(f.name for f in settings.decoded().glob("*") if f.suffix != ".lock")


@pytest.fixture
def nothing_fits(own_results, monkeypatch):
    """nothing_fits() makes every set too large for memory from there on."""

    def begin() -> None:
        again()
        monkeypatch.setattr(sets, "IN_MEMORY", 0)

    yield begin
    again()


@pytest.fixture
def own(write_set):
    return write_set("own", {f"{n:02}": noise(n, 30 + n, 50 - n) for n in range(8)})


def in_file(images: sets.Images) -> bool:
    """Whether all images share one storage: that of the file."""
    return len({i.untyped_storage().data_ptr() for i in images.values()}) == 1 < len(images)


# ------------------------------------------------------------------------------------------------------- the same set

def test_a_set_in_its_file_is_the_set_in_memory_and_so_are_its_batches(own, nothing_fits, no_data, write_set):
    write_set("data/VideoTrain/clip", {f"hr{n}": noise(n) for n in range(12)})
    kinds = (Patches, (own, "SampleTrain")), (ClipPatches, ("VideoTrain", own))

    def batches() -> list[torch.Tensor]:
        return [kind(names, 16).batch(24, torch.Generator().manual_seed(n)) for kind, names in kinds for n in (1, 2)]

    before, kept, known = batches(), dict(sets.load(own)), sets.fingerprint(own)
    assert not in_file(sets.load(own)) and made() == []
    nothing_fits()
    assert all(torch.equal(a, b) for a, b in zip(before, batches(), strict=True))
    images = sets.load(own)
    assert in_file(images) and list(images) == list(kept) and sets.fingerprint(own) == known
    assert all(torch.equal(images[stem], kept[stem]) for stem in kept)
    assert len(made()) == 3


def test_what_fits_stays_in_memory_and_what_one_scores_too(own, nothing_fits, monkeypatch):
    size = sum(3 * (30 + n) * (50 - n) for n in range(8))
    again()
    monkeypatch.setattr(sets, "IN_MEMORY", size)
    assert not in_file(sets.load(own))
    nothing_fits()
    assert not in_file(sets.load(own, mapped=False)) and made() == []
    again()
    monkeypatch.setattr(sets, "IN_MEMORY", size - 1)
    assert in_file(sets.load(own))


def test_it_is_decoded_once_and_anew_when_a_picture_changes_but_not_when_the_folder_moves(own, nothing_fits,
                                                                                          monkeypatch, write_set):
    nothing_fits()
    known = sets.fingerprint(own)
    first = made()
    again()
    with monkeypatch.context() as patch:
        patch.setattr(sets, "_read", lambda path: pytest.fail("was decoded again"))
        patch.setattr(mapped, "add", lambda *_: pytest.fail("was hashed again"))
        assert sets.fingerprint(own) == known
        moved = str(Path(own).rename(Path(own).with_name("moved")))
        assert sets.fingerprint(moved) == known and made() == first
    write_set("moved", {"00": noise(99)})
    again()
    assert sets.fingerprint(moved) != known and len(made()) == 2
    assert torch.equal(sets.load(moved)["00"], noise(99))


def test_of_broken_pictures_the_same_is_said(own, nothing_fits, no_data, write_set):
    named = write_set("data/Set5", {f"{n}": noise(n) for n in range(4)})
    for folder in (own, named):
        Path(folder, "x.png").write_text("no image")
    broken = sets.load(own).broken
    nothing_fits()
    for _ in range(2):  # also where the file is there already
        again()
        assert sets.load(own).broken == broken != () and len(sets.load(own)) == 8
        with pytest.raises(BadInput, match=r"x\.png: cannot be read"):
            sets.load("Set5")


def test_a_files_own_word_on_its_size_is_taken(tmp_path):
    Image.new("L", (70, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    assert [head(tmp_path / f"{stem}.png")[0] for stem in "abc"] == [(70, 30), (0, 0), (0, 0)]


# ------------------------------------------------------------------------------------------------------- made once

def test_who_comes_while_it_is_made_waits_and_reads_it(tmp_path, monkeypatch):
    path, begun, told = tmp_path / "a.pixels", threading.Event(), threading.Event()

    def slowly():
        begun.set()
        assert told.wait(30)
        yield "a", noise(1)

    def never():
        raise AssertionError("was decoded twice")
        yield

    monkeypatch.setattr(mapped, "print", lambda text, **_: told.set() if "waiting for that" in text else None,
                        raising=False)
    first = threading.Thread(target=shared, args=(path, "Toy", 1, slowly()))
    first.start()
    assert begun.wait(30)
    assert torch.equal(shared(path, "Toy", 1, never())["a"], noise(1))
    first.join()


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from tadlib.data.mapped import shared
def pictures():
    yield "a", torch.zeros(3, 500, 500, dtype=torch.uint8)
    os.kill(os.getpid(), signal.SIGKILL)
shared(Path(sys.argv[1]), "Toy", 1, pictures())
"""


def test_one_that_is_killed_while_making_it_leaves_nothing_half(tmp_path):
    path = tmp_path / "a.pixels"
    done = subprocess.run([sys.executable, "-c", KILLED, path], timeout=120)
    assert done.returncode == -signal.SIGKILL and not path.exists()
    assert torch.equal(shared(path, "Toy", 1, [("a", noise(1))])["a"], noise(1))
    assert {f.name for f in tmp_path.iterdir()} <= {"a.pixels", "a.pixels.lock"}


@pytest.mark.parametrize("rest", [0, 5, 300])
def test_one_that_breaks_off_is_made_anew(own, nothing_fits, rest):
    nothing_fits()
    known = sets.fingerprint(own)
    path, = settings.decoded().glob("*.pixels")
    path.write_bytes(path.read_bytes()[:rest])
    again()
    assert sets.fingerprint(own) == known and torch.equal(sets.load(own)["03"], noise(3, 33, 47))


# ------------------------------------------------------------------------------------------------------- no room

def test_where_there_is_no_room_for_it_one_line_says_how_much_it_takes(own, nothing_fits, monkeypatch):
    nothing_fits()
    with monkeypatch.context() as patch:
        patch.setattr(mapped.shutil, "disk_usage", lambda _: SimpleNamespace(free=30_000))
        with pytest.raises(BadInput) as told:
            sets.load(own)
    assert str(told.value) == (f"{settings.decoded()}: {own} takes 0.0 GB decoded, and 0.0 GB are free there "
                               "(TAD_CHECKPOINTS names another place)")
    assert made() == []

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "add", full)
        with pytest.raises(BadInput, match=r"\.pixels: cannot be written \(No space left on device\)"):
            sets.load(own)
    assert made() == []
    assert in_file(sets.load(own))


def test_a_place_that_cannot_be_made_is_told(own, nothing_fits, monkeypatch, tmp_path):
    nothing_fits()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAD_CHECKPOINTS", str(tmp_path / "file"))
    with pytest.raises(BadInput, match=r"file/decoded: cannot be written \(Not a directory\)"):
        sets.load(own)
