"""What stored scores and curves say: differences with their intervals, image by image; steps to a level."""
from __future__ import annotations

from math import isnan

import numpy as np
import pandas as pd
import pytest

from tadlib.errors import BadInput
from workbook import measurements
from workbook.measurements import difference, seed_range, steps_to


def on(set_name: str, *values: float, **where) -> list[dict]:
    """Scores of images a, b, ... of a set."""
    return [{"set": set_name, "image": i, "psnr_rgb": v} | where for i, v in zip("abcdef", values, strict=False)]


# ------------------------------------------------------------------------------------------------------- differences

def test_a_constant_difference_has_an_interval_of_no_width():
    a = pd.Series([30.5, 25.5, 41.5, 20.5, 35.5], list("vwxyz"))
    assert difference(a, a - 1.5) == (1.5, 1.5, 1.5)


def test_a_handful_of_images_has_no_interval():
    a = pd.Series([30.5, 25.5, 41.5, 20.5], list("wxyz"))
    mean, low, high = difference(a, a - 1.5)
    assert mean == 1.5 and np.isnan([low, high]).all()


def test_images_are_paired_by_name():
    a, b = pd.Series([30.0, 20.0], ["x", "y"]), pd.Series([18.0, 28.0], ["y", "x"])
    assert difference(a, b)[0] == 2


def test_the_interval_is_that_of_the_mean():
    """Against the normal approximation, on 100 images whose own spread is far larger than that of the difference."""
    rng = np.random.default_rng(3)
    b = pd.Series(rng.normal(30, 10, 100))
    a = b + rng.normal(0.5, 0.2, 100)
    mean, low, high = difference(a, b)
    half = 1.96 * (a - b).std() / 10
    assert mean == pytest.approx((a - b).mean())
    assert (low, high) == (pytest.approx(mean - half, abs=0.1 * half), pytest.approx(mean + half, abs=0.1 * half))
    assert difference(a, b) == (mean, low, high)
    assert difference(a, b, seed=1) != (mean, low, high)


def test_differences_have_a_row_for_each_pair_and_set(store):
    for name, add in (("aetad", 2), ("no_tad", 0), ("bicubic", -1)):
        store(name, [{"set": s, "image": i, "psnr_rgb": v + add} for s in ("Set5", "Set14")
                     for i, v in zip("abcde", (30, 25, 20, 35, 40), strict=True)])
    table = measurements.differences([("aetad", "no_tad"), ("bicubic", "no_tad")], ("Set14", "Set5"))
    assert table.values.tolist() == [
        ["aetad - no_tad", "Set14", 2, 2, 2], ["aetad - no_tad", "Set5", 2, 2, 2],
        ["bicubic - no_tad", "Set14", -1, -1, -1], ["bicubic - no_tad", "Set5", -1, -1, -1]]


def test_scores_of_different_images_are_not_compared():
    with pytest.raises(BadInput, match="scored on different images"):
        difference(pd.Series([30.0, 31.0], ["x", "y"]), pd.Series([30.0, 31.0], ["x", "z"]))


# ------------------------------------------------------------------------------------------------- of runs by name

def test_an_image_counts_once_the_mean_of_its_draws_and_capped(store):
    store("eps_0", [{"channel": "noise:0.11", "draw": d, "psnr_rgb": v} for d, v in enumerate((10, 11, 15))]
          + on("Set14", 99, channel="8bit") + on("Set14", 70, kind="SLR", channel="noise:0.11"))
    store("bicubic", on("Set14", float("inf"), 30.0))
    assert measurements.per_image("eps_0", "cpu", "Set14", channel="noise:0.11").to_dict() == {"a": 12}
    assert measurements.per_image("eps_0", "cpu", "Set14", channel="noise:0.11", kind="SLR").to_dict() == {"a": 70}
    assert measurements.per_image("bicubic", "cpu", "Set14").to_dict() == {"a": 100, "b": 30}


def test_what_was_not_trained_or_not_measured_is_told(store):
    with pytest.raises(BadInput, match="aetad: not trained yet"):
        measurements.per_image("aetad", "cpu", "Set14")
    store("aetad", on("Set14", 30))
    with pytest.raises(BadInput, match="aetad: not measured on Set14, 8bit, x8"):
        measurements.per_image("aetad", "cpu", "Set14", 8)
    with pytest.raises(BadInput, match=r"not measured on Set5, noise:0\.5, x4"):
        measurements.per_image("aetad", "cpu", "Set5", channel="noise:0.5")


def test_the_range_of_seeds_is_that_of_their_means(store):
    for name, values in (("aetad", (30, 32)), ("aetad_seed1", (31, 32)), ("aetad_seed2", (29, 32.4)),
                         ("aetad_very_small", (10, 10)), ("aetad_very_small_seed1", (10, 11))):
        store(name, [{"image": i, "psnr_rgb": v} for i, v in zip("ab", values, strict=True)])
    assert seed_range("aetad", "Set14") == pytest.approx((30.7, 31.5))
    assert seed_range("aetad_very_small", "Set14") == pytest.approx((10, 10.5))


def test_one_training_or_none_has_no_range(store):
    assert all(map(isnan, seed_range("aetad", "Set14")))
    store("aetad", [{"psnr_rgb": 30}])
    assert all(map(isnan, seed_range("aetad", "Set14")))


# ------------------------------------------------------------------------------------------------------- curves

def test_steps_to_a_level_are_interpolated_at_its_first_crossing(store):
    store("aetad", history={"step": [100, 200, 300, 400, 500], "held_out_shr": [20, 24, 26, 23, 30]})
    assert steps_to("aetad", "cpu", 25) == pytest.approx(250)
    assert steps_to("aetad", "cpu", 24) == pytest.approx(200)
    assert steps_to("aetad", "cpu", 28) == pytest.approx(400 + 100 * 5 / 7)  # on the way up again
    assert steps_to("aetad", "cpu", 15) == 100  # before the first point: not known better
    assert isnan(steps_to("aetad", "cpu", 31))


def test_a_level_can_be_asked_of_another_column_in_other_units(store):
    store("aetad", history={"step": [1, 2], "seconds": [10, 30], "held_out_shr": [0, 0], "set5_shr": [20, 22]})
    assert steps_to("aetad", "cpu", 21, "set5_shr", "seconds") == pytest.approx(20)
