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
    jpeg, webp, *own = figure.axes[0].lines
    assert jpeg.get_xydata().tolist() == [[0.8, 25], [8, 40]]  # from the smallest file on
    assert webp.get_xydata().tolist() == [[6.4, 41]]
    assert [3, 31] in [point.get_xydata()[0].tolist() for point in own]
    assert {text.get_text() for text in figure.axes[0].texts} == {
        "aetad, small PNG", "JPEG of the HR image", "WEBP of the HR image"}
    assert [ax.get_title() for ax in figure.axes] == ["Set14"]


def test_the_stages_of_sofvsr_have_the_shapes_that_its_modules_put_out():
    boxes, _ = exhibits.sofvsr_stages(networks.build("sofvsr"), 64)
    shapes = {(" ".join(box.text.split()), box.shape) for box in boxes.values()}
    assert {("three HR frames", "3x3x64x64"), ("bicubic, each frame", "3x3x16x16"), ("HR centre frame", "3x64x64"),
            ("flow, half LR size", "2x8x8"), ("moved along the flow", "16x16x16"),
            ("shuffle: HR Y", "1x64x64")} <= shapes
    encoded, _ = exhibits.sofvsr_stages(networks.build("aetad_sofvsr"), 64)
    assert any(box[:2] == ("encoder, each\nframe", "3x3x16x16") for box in encoded.values())


def test_both_neighbours_and_the_centre_enter_sofvsr_each_neighbour_with_the_centre():
    _, arrows = exhibits.sofvsr_stages(networks.build("sofvsr"), 64)
    into = {end: {start for start, other in arrows if other == end} for _, end in arrows}
    assert into["before 1"] == {"before 0", "centre"} and into["after 1"] == {"after 0", "centre"}
    assert into["all"] == {"before 0", "after 0", "before 4", "after 4", "centre"}
