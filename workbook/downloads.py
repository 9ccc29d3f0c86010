"""`python -m workbook data --download SET`: a set from its official archives, kept only if it has the right pixels
(where sets.toml knows them: any are taken for whole DIV2K and VDIV2K).

Archives and what is unpacked of them lie in SET.part, beside the set's place, until all of it is there and checked.
Nothing else in the project opens a connection, but npm for the page "Try it" (site/try_page.py).
"""
from __future__ import annotations

import hashlib
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pooch
import requests

from tadlib import settings
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import SUFFIXES, read_bytes, save_png
from tadlib.pixels import centre_crop, from_array, to_array

KEPT = SUFFIXES | {".flo"}
LARGEST = 2**28  # bytes of one file; more is none of our pictures, and a small archive can hold very much of nothing


def download(name: str) -> bool:
    """Fetch a registered set into the data folder; False if it is there already. Raises BadInput.

    What is broken or has other pixels than the registry says is removed; what a lost connection left is gone on from.
    """
    entry = sets.registry().get(name)
    if entry is None:
        raise BadInput(f"{name}: no such set; there are {', '.join(sets.registry())}")
    if sets.is_here(name):
        return False
    place = settings.data_folder() / name
    if "archives" not in entry:
        raise BadInput(f"{name}: no archive is known that could be fetched from here; get its {entry['images']} "
                       f"pictures from {entry['address']} and put them in {place}")
    if place.is_file() or any(place.glob("*")):
        raise BadInput(f"{place}: has something in it, but not the whole set; move that away first")
    part = place.with_name(f"{name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        archives = [_fetch(address, part) for address in entry["archives"]]
        try:
            with tempfile.TemporaryDirectory(dir=part) as temporary:
                complete = Path(temporary) / name
                for archive in archives:
                    _unpack(archive, entry, complete)
                _check(entry, complete)
                complete.rename(place)
        except BadInput as error:
            shutil.rmtree(part)
            raise BadInput(f"{name}: {error}; nothing of it is kept") from None
        shutil.rmtree(part)
    except OSError as error:
        raise BadInput(f"{error.filename or part}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            part.rmdir()  # where nothing has come
    return True


def _fetch(address: str, folder: Path) -> Path:
    """The file at an address, downloaded into a folder, from where an earlier try was interrupted."""
    file = folder / address.rsplit("/", 1)[1]
    if file.exists():
        return file
    print(address, flush=True)
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("ab") as out:
            def begins(answer: requests.Response, **_: object) -> None:
                answer.raw.headers.pop("Content-Encoding", None)  # some call a .tgz a gzipped .tar: leave it packed
                if answer.status_code in (200, 416):  # all of it, by a server that knows no ranges; or there is no rest
                    out.truncate(0)

            http = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=2**16, hooks={"response": begins},
                                        headers={"Range": f"bytes={out.tell()}-", "Accept-Encoding": "identity"})
            http(address, out, None)
    except requests.RequestException as error:
        answer, kept = error.response, part.stat().st_size
        reason = f"{answer.status_code} {answer.reason}" if answer is not None else type(error).__name__
        if not kept:
            part.unlink()
        rest = f"; {kept:,} bytes of it are kept, and the same command goes on from there" if kept else ""
        raise BadInput(f"{address}: cannot be fetched ({reason}){rest}") from None
    return part.rename(file)


def _unpack(archive: Path, entry: dict, folder: Path) -> None:
    """Write what the entry's pattern names to `folder`, each at the path that the pattern's groups make."""
    try:
        for name, opened in _members(archive):
            if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise BadInput(f"{archive.name} has a path that leads out of it ({name!r})")
            match = re.fullmatch(entry["members"], name)
            if not match or Path(name).suffix.lower() not in KEPT:
                continue
            path = folder / "".join(match.groups())
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened() as source:
                data = source.read(LARGEST)
            if "crop" in entry:
                save_png(path, to_array(centre_crop(from_array(read_bytes(data, name)), entry["crop"])))
            else:
                path.write_bytes(data)
    except Exception as error:  # a broken archive fails in many ways; what has a number is the disk's fault
        if isinstance(error, BadInput) or getattr(error, "errno", None):
            raise
        raise BadInput(f"{archive.name} cannot be unpacked ({error})") from None


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The plain files in a zip or tar, no folders and no links: path, and what opens it. A picture holds itself."""
    if archive.suffix in SUFFIXES:
        yield archive.name, partial(archive.open, "rb")
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                    yield member.filename, partial(packed.open, member)
    else:
        with tarfile.open(archive) as packed:
            for entry in packed:
                if entry.isreg():
                    yield entry.name, partial(packed.extractfile, entry)


def _check(entry: dict, folder: Path) -> None:
    """Raise BadInput unless the folder's pixels (and flow files) are those of the registry, where it knows them."""
    if not any(folder.rglob("*")):
        raise BadInput("none of its pictures is in what was fetched")
    whole = f"{folder}{sets.DEEP}"
    if broken := sets.load(whole).broken:
        raise BadInput(broken[0])
    flow = b"".join(f.read_bytes() for f in sorted(folder.rglob("*.flo")))
    found = {"fingerprint": sets.fingerprint(whole), "flow": hashlib.sha256(flow).hexdigest()[:16]}
    if any(entry.get(key, value) != value for key, value in found.items()):
        raise BadInput("other pixels than those of the stored runs")
