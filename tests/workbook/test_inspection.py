"""Looking into a net and its training: passes, what noise becomes, when the gate was open."""
from __future__ import annotations

from math import log10

import pandas as pd
import pytest
import torch

from tadlib import networks
from tadlib.channel import send
from tadlib.pixels import to_float
from workbook import inspection


def db(mse: float) -> float:
    """PSNR of a mean squared error in 8-bit levels."""
    return 10 * log10(255**2 / mse)


# ------------------------------------------------------------------------------------------------------- noise

def test_gain_is_what_noise_adds_to_the_error_over_what_noise_was_sent(store):
    store("aetad", [{"set": "Set14"}])
    clean, noisy = {"a": 10.0, "b": 30.0}, {("a", 0): 30.0, ("a", 1): 40.0, ("b", 0): 50.0, ("b", 1): 60.0}
    store("eps_0", [{"image": i, "psnr_rgb": db(m)} for i, m in clean.items()]
          + [{"image": i, "draw": d, "channel": "noise:0.01", "psnr_rgb": db(m)} for (i, d), m in noisy.items()]
          + [{"image": i, "draw": d, "channel": "noise:0.01", "kind": "SLR", "psnr_rgb": db(6.5)} for i, d in noisy]
          + [{"image": i, "kind": "SLR", "psnr_rgb": db(m)} for i, m in (("a", 1), ("b", 17))])
    got = inspection.noise_gain("eps_0")
    assert got["run"] == "eps_0"
    assert got["gain"] == pytest.approx(25**0.5 / 2.55)  # mean squared errors 45 and 20; noise of 2.55 levels
    assert got["X_SLR from guidance, levels"] == pytest.approx(3)
    assert got["clean dB"] == pytest.approx((db(10) + db(30)) / 2)


def test_noise_that_costs_nothing_has_no_gain_and_equal_images_are_no_distance(store):
    store("aetad", [{"set": "Set14"}])
    store("bicubic", [{"psnr_rgb": 30}, {"channel": "noise:0.02", "psnr_rgb": 31},
                      {"kind": "SLR", "psnr_rgb": float("inf")}])
    got = inspection.noise_gain("bicubic", sigma=0.02)
    assert got["gain"] == 0
    assert got["X_SLR from guidance, levels"] < 0.01


# ------------------------------------------------------------------------------------------------------- curves

def test_the_open_share_weighs_each_point_by_the_steps_it_stands_for():
    history = pd.DataFrame({"step": [10, 20, 50], "gate_open": [1.0, 0.5, 0.0]})
    assert inspection.share_open(history) == pytest.approx((10 + 5) / 50)
    assert inspection.share_open(history.assign(gate_open=1.0)) == 1
    assert inspection.share_open(pd.DataFrame({"step": [7], "gate_open": [0.25]})) == 0.25


# ------------------------------------------------------------------------------------------------------- networks

@pytest.mark.parametrize(("model", "scale", "sizes"), [("aetad_very_small", 4, [2, 4]), ("aetad_direct4", 4, [4]),
                                                      ("no_tad", 8, [2, 4, 8])])
def test_passes_end_with_the_large_image(photo, model, scale, sizes):
    torch.manual_seed(0)
    net = networks.build(model).eval()
    found = inspection.passes(net, photo, scale)
    h, w = photo.shape[1] // scale, photo.shape[2] // scale
    assert [tuple(x.shape[-2:]) for x in found] == [(h * s, w * s) for s in sizes]
    with torch.no_grad():
        hr = to_float(photo)
        torch.testing.assert_close(found[-1], net.decode(send(net.encode(hr, scale)), scale))


def test_the_first_of_two_passes_is_what_the_decoder_makes_of_the_rounded_code(photo):
    torch.manual_seed(0)
    net = networks.build("aetad_very_small").eval()
    with torch.no_grad():
        expected = net.decoder(send(net.encode(to_float(photo), 4)))
    torch.testing.assert_close(inspection.passes(net, photo, 4)[0], expected)
