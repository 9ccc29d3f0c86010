"""What is timed: down apart from up, a step with its optimizers, each net at the scales it can; stored once."""
from __future__ import annotations

import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tadlib import machine, networks
from tadlib.run import Run
from workbook import speed
from workbook.speed import seconds_per_megapixel

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")


def test_seconds_per_megapixel_tell_down_from_up_and_count_the_hr_pixels():
    class Slow(torch.nn.Module):
        def encode(self, hr, scale):
            time.sleep(0.01)
            return hr[..., ::scale, ::scale]

        def decode(self, received, scale):
            time.sleep(0.05)

    down, up = seconds_per_megapixel(Slow(), 4, side=100)  # a hundredth of a megapixel
    assert 1 <= down < 4 < 5 <= up < 20


@pytest.mark.parametrize(("recipe", "optimizers"), [("report", 1), ("modern", 2)])
def test_the_time_of_a_step_includes_its_optimizers(recipe, optimizers):
    stepped = []
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: stepped.append(optimizer))
    try:
        seconds = speed.seconds_per_step(replace(TINY, recipe=recipe), repeats=2)
    finally:
        hook.remove()
    assert seconds > 0
    assert len(stepped) == 3 * optimizers  # one to warm up
    assert len(set(stepped)) == optimizers


def test_stored_speeds_are_shown_and_not_measured_again(own_results):
    path = own_results / "cpu" / "speed.csv"
    path.parent.mkdir(parents=True)
    stored = "model,scale,down s/MP,up s/MP\nold,4,1.5,2.5\n"
    path.write_text(stored)
    assert speed.speed_table("cpu").to_dict("records") == [
        {"model": "old", "scale": 4, "down s/MP": 1.5, "up s/MP": 2.5}]
    assert path.read_text() == stored


def test_speeds_are_measured_at_the_scales_that_a_net_can(own_results, monkeypatch):
    few = ("aetad_very_small", "aetad_direct4", "tool_x2", "bicubic", "aetad_color_small")
    monkeypatch.setattr(networks, "ZOO", {name: networks.ZOO[name] for name in few})
    table = speed.speed_table("smoke")
    assert list(zip(table["model"], table["scale"], strict=True)) == [
        ("aetad_very_small", 2), ("aetad_very_small", 4), ("aetad_direct4", 4), ("tool_x2", 2), ("tool_x2", 4),
        ("bicubic", 2), ("bicubic", 4)]
    assert set(table["side"]) == {64}
    assert (table.loc[table["params"] > 0, ["down s/MP", "up s/MP"]] > 0).all(axis=None)
    assert table["training s/step"].isna().all()
    assert set(table["cpu"]) == {machine.facts()["cpu"]}
    pd.testing.assert_frame_equal(speed.speed_table("smoke"), table)  # now from the file
