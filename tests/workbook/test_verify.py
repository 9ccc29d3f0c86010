"""Stored scores are held against fresh ones before they are shown: weights, code and scores have to belong together."""
from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from tadlib.errors import BadInput
from tadlib.networks import build
from tadlib.pixels import pan
from tadlib.run import Run
from workbook.scores import scores, verify


@pytest.fixture
def trained(tmp_path):
    """A stored run of the zero-started x4 tool net."""
    (tmp_path / "run-0").mkdir()
    return SimpleNamespace(run=Run("run", "tool_x4", scale=4, seed=3), folder=tmp_path / "run-0",
                           network=lambda: build("tool_x4").eval(), record={"params": 7})


def test_verify_finds_scores_that_do_not_belong_to_the_weights(trained, no_data, monkeypatch, photo):
    monkeypatch.setattr("tadlib.data.sets.load", lambda name: {"a": photo})
    scores(trained, ("Sample",))
    assert verify(trained) < 0.001
    stored = pd.read_csv(trained.folder / "scores.csv")
    stored["psnr_rgb"] += 0.02
    stored.to_csv(trained.folder / "scores.csv", index=False)
    with pytest.raises(BadInput, match=r"run-0: stored scores on Sample are off by 0\.02"):
        verify(trained)


@pytest.mark.parametrize("lost", ["a", "b"])
def test_verify_finds_an_image_whose_scores_are_missing(trained, no_data, monkeypatch, photo, lost):
    monkeypatch.setattr("tadlib.data.sets.load", lambda name: {"a": photo, "b": 255 - photo})
    scores(trained, ("Sample",))
    assert verify(trained) < 0.001
    kept = pd.read_csv(trained.folder / "scores.csv")
    kept[kept["image"] != lost].to_csv(trained.folder / "scores.csv", index=False)
    with pytest.raises(BadInput, match="run-0: "):
        verify(trained)


def test_what_was_scored_on_clips_alone_is_verified_on_the_bundled_one(trained, monkeypatch, photo):
    clip = dict(zip("abcd", pan(photo, 4, (48, 64), (3, 7)), strict=True))
    monkeypatch.setattr("tadlib.data.sets.load", lambda name: clip)
    torch.manual_seed(0)
    three = build("joint_x4", start="default").eval()
    trained.run, trained.network = Run("run", "joint_x4"), lambda: three
    scores(trained, ("SampleClip",), kinds=("SHRT", "SLR"))
    assert verify(trained) < 0.001
    trained.network = lambda: build("joint_x4", start="default", neighbours=False).eval()
    with pytest.raises(BadInput, match="run-0: stored scores on SampleClip are off by"):
        verify(trained)
