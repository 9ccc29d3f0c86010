"""What several rooms' tests share: results in a temporary folder, small pictures, real sets where they are."""
from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pandas as pd
import pytest
import skimage.data
import torch
from torch import Tensor

from tadlib import stored
from tadlib.data import sets
from tadlib.files import write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
from tadlib.tool import progress
from workbook.scores import COLUMNS


@pytest.fixture(autouse=True)
def _no_signs_of_life(monkeypatch):
    """What a command tells does not depend on how fast this machine is."""
    monkeypatch.setattr(progress, "FIRST", 1e6)


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """Runs and checkpoints of this test go to a folder of its own; training is allowed, in float32."""
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TAD_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("TAD_PRECISION", "32-true")
    monkeypatch.delenv("TAD_NO_TRAINING", raising=False)
    return tmp_path / "results"


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """As on a machine without any data: only the sample inside scikit-image is there."""
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.setenv("TAD_DATA", str(place))
    _forget()
    yield place
    _forget()


CACHED = (sets.load, sets.fingerprint)  # as they are before a test puts something in their place


def _forget() -> None:
    for function in CACHED:
        function.cache_clear()


@pytest.fixture(scope="session")
def photo() -> Tensor:
    """A real photograph's middle: uint8 (3, 96, 128)."""
    image = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)
    return image[:, 80:176, 160:288].contiguous()


@pytest.fixture
def write_set(tmp_path):
    """write_set(name, {stem: uint8 image (3, H, W)}) -> the folder, as the name of a set of own images."""

    def write(name: str, images: dict[str, Tensor]) -> str:
        for stem, image in images.items():
            write_png(tmp_path / name / f"{stem}.png", to_array(image))
        return str(tmp_path / name)

    return write


@pytest.fixture
def store(own_results, no_data):
    """store("aetad", rows, history) leaves a run of the cpu profile whose scores are these; returns its folder.

    A row is what it differs in from a plain score: {"set": "Set14", "image": "a", "psnr_rgb": 30.0}, for instance.
    """
    from workbook import studies

    def leave(name: str, rows: list[dict] = (), history: dict | None = None):
        run = studies.named(name)
        folder = stored.folder(run)
        folder.mkdir(parents=True)
        record = asdict(run) | {"run": folder.name, "params": 7, "network": run.net.words(),
                                "start": [stored.folder(earlier).name for earlier in run.start]}
        (folder / "record.json").write_text(json.dumps(record))
        plain = dict.fromkeys(COLUMNS, 0) | asdict(run) | {
            "run": folder.name, "params": 7, "set": "Set14", "image": "a", "pixels": 100, "kind": "SHRT",
            "channel": "8bit", "lr_bytes": 50}
        rows = [plain | row for row in rows]
        for row in rows:
            row["sigma"] = float(row["channel"].partition("noise:")[2] or 0)
        if rows:
            pd.DataFrame(rows)[COLUMNS].to_csv(folder / "scores.csv", index=False)
        if history:
            pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        return folder

    return leave


@pytest.fixture
def real_set():
    """real_set("Set5") -> its images; the test is skipped where they are not."""

    def load(name: str) -> dict[str, Tensor]:
        if not sets.is_here(name):
            pytest.skip(f"{name} is not on this machine (TAD_DATA)")
        return sets.load(name)

    return load


OFFLINE = """
import importlib, pkgutil, socket, sys
tried = []

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        tried.append((event, arguments))
        raise OSError("no network here")

sys.addaudithook(refuse)
package, code, *arguments = sys.argv[1:]
for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
main = importlib.import_module(package + ".__main__").main
exec(code)
assert not tried, tried
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError:
    print(*tried)
"""


@pytest.fixture
def offline():
    """offline("tadlib", code, *arguments): every module of a package is loaded and the code, which has `main` and its
    `arguments`, is done in a process that may open no connection; it fails where it tries to.
    """

    def run(package: str, code: str, *arguments: object) -> None:
        done = subprocess.run([sys.executable, "-c", OFFLINE, package, code, *map(str, arguments)], capture_output=True,
                              text=True, timeout=300, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        assert "socket.getaddrinfo" in done.stdout  # had one been opened, it would have been noticed

    return run
