"""What several rooms' tests share: results in a temporary folder, small pictures, real sets where they are."""
from __future__ import annotations

import pytest
import skimage.data
import torch
from torch import Tensor

from tadlib import datasets
from tadlib.images import write_png


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


CACHED = (datasets.load, datasets.fingerprint)  # as they are before a test puts something in their place


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
    """write_set(name, {stem: uint8 image}) -> the folder, as the name of a set of own images."""

    def write(name: str, images: dict[str, Tensor]) -> str:
        for stem, image in images.items():
            write_png(tmp_path / name / f"{stem}.png", image)
        return str(tmp_path / name)

    return write


@pytest.fixture
def real_set():
    """real_set("Set5") -> its images; the test is skipped where they are not."""

    def load(name: str) -> dict[str, Tensor]:
        if not datasets.is_here(name):
            pytest.skip(f"{name} is not on this machine (TAD_DATA)")
        return datasets.load(name)

    return load
