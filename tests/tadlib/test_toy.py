"""A new kind of decoder is one file, with its head, and a row of the zoo: this file and `TOY`. Nothing else knows."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tadlib.__main__ import main
from tadlib.files import read_image, write_png
from tadlib.networks import TAD, ZOO, Spec, build
from tadlib.networks.heads import Head, named
from tadlib.networks.tad import multiply_adds
from tadlib.pixels import to_array
from tadlib.resize import upscale
from tadlib.run import Run
from tadlib.stored import Trained
from tadlib.tool.codec import Codec
from tadlib.tool.torch_backend import TorchBackend
from tadlib.training.fit import fit
from workbook.scores import scores


class Sharpener(nn.Module):
    """One convolution over the large picture: (B, 3, H, W) -> (B, 3, H, W)."""

    reach, granularity = 2, 1

    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(3, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.only(x)

    def inner_convolutions(self) -> list[nn.Parameter]:
        return []


@dataclass(frozen=True)
class Sharpened(Head):
    """The decoder sees the enlarged picture, and what it makes is added to it."""

    word = "toy"
    enlarged = True
    chained = False

    def decoder(self, spec: Spec) -> nn.Module:
        return Sharpener()

    def image(self, net: TAD, received: Tensor, scale: int) -> Tensor:
        big = upscale(received, scale)
        return big + net.decoder(big)

    def reach(self, net: TAD, scale: int) -> float:
        return net.decoder.reach / scale + 2  # bicubic sees 2 LR pixels

    def multiply_adds(self, net: TAD, scale: int) -> float:
        return 25 * 3 * 3


TOY = Spec("toy", "own", "u4 c16 c3", "sharpener", step=4, head=Sharpened())


@pytest.fixture
def trained(own_results, no_data, monkeypatch) -> Trained:
    monkeypatch.setitem(ZOO, "toy", TOY)
    run = Run("toy", "toy", scale=4, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")
    return fit(run, quiet=True)


def test_a_decoder_of_ones_own_is_trained_stored_scored_and_used(trained, monkeypatch, photo, tmp_path, capfd):
    assert trained.history["step"].tolist() == [1, 2, 3]
    start, mine = trained.run.build().state_dict(), trained.network().state_dict()
    assert all(not torch.equal(w, start[k].half().float()) for k, w in mine.items())
    assert trained.record["network"]["head"] == "toy" and named("toy") == Sharpened()
    assert Trained.open(trained.folder).run == trained.run

    rows = scores(trained, ("SampleCrop",))
    assert sorted(rows["kind"]) == ["SHRB", "SHRT", "SLR", "SLRB"]
    assert pd.read_csv(trained.folder / "scores.csv")["psnr_rgb"].between(5, 60).all()

    monkeypatch.setenv("TAD_MODELS", str(trained.folder.parent))
    write_png(tmp_path / "photo.png", to_array(photo)[:93, :121])
    small, big = str(tmp_path / "small.png"), str(tmp_path / "big.png")
    assert main(["downscale", str(tmp_path / "photo.png"), small, "--model", "toy"]) == 0
    assert main(["upscale", small, big]) == 0
    assert capfd.readouterr().err == ""
    assert read_image(small).shape == (24, 31, 3) and read_image(big).shape == (93, 121, 3)
    assert main(["models"]) == 0 and "toy" in capfd.readouterr().out.split()


def test_its_tiles_leave_no_seam(trained):
    picture = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    whole, tiled = Codec.open(trained.folder), Codec(TorchBackend(trained), 64)
    small = whole.downscale(picture)
    assert np.abs(small.astype(int) - tiled.downscale(picture)).max() <= 1
    assert np.abs(whole.upscale(small).astype(int) - tiled.upscale(small)).max() <= 1


def test_it_is_counted(monkeypatch):
    monkeypatch.setitem(ZOO, "toy", TOY)
    assert multiply_adds(build("toy"), 4) == ((48 * 16 + 16 * 3) * 9 / 16, 225)
