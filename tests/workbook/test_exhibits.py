"""Single figures and tables: rate against distortion, equal bytes, the stages of SOF-VSR."""
from __future__ import annotations

import pandas as pd
import pytest

from tadlib import networks
from workbook import exhibits


def test_equal_bytes_are_interpolated_image_by_image_over_the_logarithm():
    rates = pd.DataFrame([("a", "jpeg:10", 100, 20), ("a", "jpeg:90", 10_000, 40), ("a", "webp:90", 1, 99),
                          ("b", "jpeg:10", 50, 25), ("b", "jpeg:90", 500, 35)],
                         columns=["image", "channel", "lr_bytes", "psnr_rgb"])
    mine = pd.DataFrame({"image": ["a", "b"], "lr_bytes": [1000, 5000]})
    assert exhibits.at_equal_bytes(rates, mine, "jpeg") == pytest.approx((30 + 35) / 2)


def test_rate_is_bits_per_hr_pixel_and_both_are_means_over_images(store):
    store("aetad", [{"image": "a", "pixels": 100, "lr_bytes": 50, "psnr_rgb": 30},
                    {"image": "b", "pixels": 400, "lr_bytes": 100, "psnr_rgb": 32},
                    {"kind": "SLR", "pixels": 100, "lr_bytes": 9999}])
    store("original", [{"channel": c, "pixels": 100, "lr_bytes": b, "psnr_rgb": v} for c, b, v in (
        ("8bit", 700, 100), ("jpeg:90", 100, 40), ("jpeg:10", 10, 25), ("webp:90", 80, 41))])
    figure, table = exhibits.rate_distortion(["aetad"])
    found = {(r.model, r.channel): (r.bits, r.psnr_rgb) for r in table.itertuples()}
    assert found == {("aetad", "8bit"): (3, 31), ("original", "jpeg:90"): (8, 40), ("original", "jpeg:10"): (0.8, 25),
                     ("original", "webp:90"): (6.4, 41)}
    jpeg, webp, own = figure.axes[0].lines
    assert jpeg.get_xydata().tolist() == [[0.8, 25], [8, 40]]  # from the smallest file on
    assert webp.get_xydata().tolist() == [[6.4, 41]]
    assert own.get_xydata().tolist() == [[3, 31]]
    assert [ax.get_title() for ax in figure.axes] == ["Set14"]


def test_the_stages_of_sofvsr_have_the_shapes_that_its_modules_put_out():
    stages = exhibits.sofvsr_stages(networks.build("sofvsr"), 64)
    assert stages[0] == ("three HR frames", "3x3x64x64") and stages[6][1] == "3x64x64"
    assert ("neighbours moved", "32x16x16") in stages and stages[-1] == ("shuffle: HR Y", "1x64x64")
    assert ("bicubic, each frame", "3x3x16x16") in stages and ("flow at half LR size", "2x8x8") in stages
    assert ("encoder, each frame", "3x3x16x16") in exhibits.sofvsr_stages(networks.build("aetad_sofvsr"), 64)
