"""A new folder of frames: claimed by one process, and there when all frames are."""
from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from tadlib.errors import BadInput
from tadlib.files import LEFT, SUFFIXES, Array, save_png


class Waiting(NamedTuple):
    """The folder in which frames wait, and how one is put there."""

    place: Path

    def __call__(self, number: int, image: Array, text: dict[str, str] | None, time: Fraction | None) -> None:
        save_png(self.place / f"{number:06}.png", image, text)


@contextmanager
def new_folder(path: Path) -> Iterator[Waiting]:
    """Frames into a folder, whole or not at all. Raises BadInput: it holds something, another process writes there."""
    if path.is_file() or path.suffix.lower() in SUFFIXES:
        raise BadInput(f"{path}: frames go into a folder; give the name of one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # inside where there is a folder: it may be the current one, or another disk, and stays what it is
        place = path if path.is_dir() else path.parent
        with _claimed(place / f".{path.name[:50]}{LEFT}", path) as outer:
            if path.is_dir() and any(file != outer for file in path.iterdir()):
                raise BadInput(f"{path}: holds something already; frames go into a new or an empty folder")
            inner = outer / "frames"
            inner.mkdir()
            yield Waiting(inner)
            if place == path:
                for file in sorted(inner.iterdir()):
                    file.rename(path / file.name)
            else:
                inner.rename(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from None


@contextmanager
def _claimed(outer: Path, path: Path) -> Iterator[Path]:
    """The hidden folder in which frames for `path` wait: of one process alone, without what a killed one left."""
    outer.mkdir(exist_ok=True)
    place = os.open(outer, os.O_RDONLY | os.O_NOFOLLOW)
    handle = -1
    try:
        try:
            handle = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=place)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # not every disk has locks
                pass
            mine = os.fstat(place).st_ino == outer.stat().st_ino  # else its owner has just taken it away
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise BadInput(f"{path}: another process is writing its frames there")
        shutil.rmtree(outer / "frames", ignore_errors=True)
        try:
            yield outer
        finally:
            shutil.rmtree(outer, ignore_errors=True)
    finally:
        os.close(place)
        if handle >= 0:
            os.close(handle)
