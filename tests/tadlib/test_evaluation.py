"""The written protocol, held against known answers: numbers by hand, scikit-image, and the literature's Set5."""
from __future__ import annotations

from math import inf, isnan, log10
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tadlib.channel import KINDS, Channel, send
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import colour_difference, compare, luma, psnr, ssim
from tadlib.evaluation.protocol import means, psnr_of_set, score
from tadlib.files import read_image, write_png
from tadlib.networks import build
from tadlib.networks.heads import Head
from tadlib.pixels import (
    crop_to_multiple,
    from_array,
    pan,
    rgb_to_y,
    to_array,
    to_codes,
    to_float,
    with_neighbours,
    ycbcr_to_rgb,
)
from tadlib.resize import upscale
from tadlib.run import Run
from tadlib.tasks import guidance
from workbook.scores import COLUMNS, read, scores

MEASURES = ["psnr_rgb", "psnr_y", "psnr_rgb_crop", "psnr_y_crop", "ssim_y"]


def disturbed(image: torch.Tensor, sigma: float = 8, seed: int = 0) -> torch.Tensor:
    noise = sigma * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + noise).round().clamp(0, 255).to(torch.uint8)


class Stub:
    """In place of a network: the small image is the guidance, the large one is whatever `decode` says."""

    encoder, head, spec = None, Head(), SimpleNamespace(task="sr")

    def __init__(self, decode):
        self.decode = decode

    def parameters(self):
        return iter(())

    def encode(self, hr, scale, guide):
        return guide


# ------------------------------------------------------------------------------------------------------- PSNR

def test_psnr_by_hand():
    black = torch.zeros(3, 2, 2, dtype=torch.uint8)
    one_off = black.clone()
    one_off[0, 1, 1] = 10
    assert psnr(black, black + 1) == pytest.approx(48.1308, abs=1e-4)  # MSE 1: 20 log10(255)
    assert psnr(black, one_off) == pytest.approx(38.9226, abs=1e-4)  # MSE 100/12
    assert psnr(black, black + 255) == pytest.approx(0)


def test_psnr_is_that_of_scikit_image(photo):
    other = disturbed(photo)
    assert psnr(photo, other) == pytest.approx(peak_signal_noise_ratio(photo.numpy(), other.numpy(), data_range=255))


def test_psnr_is_symmetric_and_does_not_wrap_around():
    a, b = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.full((1, 4, 4), 200, dtype=torch.uint8)
    assert psnr(a, b) == psnr(b, a) == pytest.approx(20 * log10(255 / 200))


def test_equal_images_have_infinite_psnr(photo):
    assert psnr(photo, photo.clone()) == inf


def test_unlike_shapes_are_told(photo):
    with pytest.raises(ValueError, match=r"unlike shapes: \(3, 96, 128\) and \(3, 96, 124\)"):
        psnr(photo, photo[..., :124])


def test_the_border_is_left_out_on_all_four_sides(photo):
    framed = 255 - photo
    framed[:, 4:-4, 4:-4] = photo[:, 4:-4, 4:-4]
    assert psnr(photo, framed, border=4) == inf
    assert psnr(photo, framed, border=3) < 60
    for y, x in ((4, 50), (-5, 50), (50, 4), (50, -5)):  # the first pixels that count
        touched = photo.clone()
        touched[:, y, x] ^= 255
        assert psnr(photo, touched, border=4) < 60


def test_where_the_border_is_all_there_is_the_whole_image_counts():
    a, b = torch.zeros(3, 6, 8, dtype=torch.uint8), torch.ones(3, 6, 8, dtype=torch.uint8)
    assert psnr(a, b, border=3) == psnr(a, b)


# ------------------------------------------------------------------------------------------------------- luma

def test_luma_is_of_limited_range():
    black_white = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2).expand(3, 1, 2)
    assert luma(black_white).flatten().tolist() == pytest.approx([16, 235])
    assert luma(black_white).dtype == torch.float64


def test_one_channel_counts_as_luma_already(photo):
    assert torch.equal(luma(photo[:1]), photo[:1].double())


def test_full_range_y_would_lose_exactly_1_32_db(photo):
    other = disturbed(photo)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.double).view(3, 1, 1)
    full = [(x.double() * weights).sum(0, keepdim=True) for x in (photo, other)]
    gap = compare(other, photo, 4)["psnr_y"] - psnr(*full)
    assert gap == pytest.approx(20 * log10(255 / 219), abs=1e-4)
    assert gap == pytest.approx(1.32, abs=0.005)


def test_y_is_not_rounded(photo):
    dim = photo.clone()
    dim[2] = (dim[2].int() ^ 1).to(torch.uint8)  # blue off by one: 0.1 in Y, which rounding would often hide
    assert compare(dim, photo, 0)["psnr_y"] == pytest.approx(20 * log10(255 * 255 / 24.966), abs=1e-6)


def test_grey_disturbance_is_worth_1_32_db_more_in_y_and_the_crop_is_applied(photo):
    shifted = (photo.clamp(0, 250) + 5).to(torch.uint8)
    got = compare(shifted, photo.clamp(0, 250), 4)
    assert got["psnr_rgb"] == pytest.approx(20 * log10(255 / 5))
    assert got["psnr_y"] == pytest.approx(20 * log10(255 / 5 * 255 / 219), abs=1e-6)
    framed = photo.clone()
    framed[:, :4] ^= 255
    assert compare(framed, photo, 4)["psnr_rgb_crop"] == compare(framed, photo, 4)["psnr_y_crop"] == inf
    assert compare(framed, photo, 4)["psnr_rgb"] < 30


# ------------------------------------------------------------------------------------------------------- SSIM

def _ssim_of_the_paper(a: torch.Tensor, b: torch.Tensor) -> float:
    """Wang et al. 2004, equations 13 to 17, written anew: 11x11 Gaussian window of sigma 1.5, where it fits."""
    t = torch.arange(-5.0, 6.0, dtype=torch.double)
    line = torch.exp(-(t**2) / (2 * 1.5**2))
    window = (line[:, None] * line[None, :] / line.sum() ** 2)[None, None]

    def blur(x):
        return F.conv2d(x, window)

    x, y = luma(a)[None], luma(b)[None]
    mx, my = blur(x), blur(y)
    vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean().item()


def test_ssim_is_the_papers_on_y(photo):
    other = disturbed(photo)
    assert ssim(photo, other) == pytest.approx(_ssim_of_the_paper(photo, other), abs=1e-6)
    assert 0.5 < ssim(photo, other) < 0.97


def test_ssim_of_equal_images_is_one_and_of_tiny_ones_undefined(photo):
    assert ssim(photo, photo) == pytest.approx(1)
    assert ssim(photo[:, :11, :11], photo[:, :11, :11]) == pytest.approx(1)
    assert isnan(ssim(photo[:, :10, :11], photo[:, :10, :11]))


# ------------------------------------------------------------------------------------------------------- score

def test_a_baseline_has_rows_for_the_large_and_the_small_image(photo):
    rows = score(build("bicubic"), {"a": photo, "b": 255 - photo}, 4, "bicubic")
    assert rows[["image", "kind"]].to_numpy().tolist() == [["a", "SHRT"], ["a", "SLR"], ["b", "SHRT"], ["b", "SLR"]]
    assert (rows.loc[rows["kind"] == "SLR", MEASURES[:4]] == inf).all(axis=None)  # it is the guidance
    assert set(rows["channel"]) == {"8bit"}
    assert set(rows["sigma"]) == {0.0}


def test_a_network_has_cross_play_too_once_for_each_image(photo):
    torch.manual_seed(0)
    channels = ("8bit", "noise:0.1", "jpeg:90")
    rows = score(build("aetad_very_small").eval(), {"a": photo}, 4, "bicubic", channels)
    assert sorted(zip(rows["kind"], rows["channel"], strict=True)) == sorted(
        [("SHRT", c) for c in channels] + [("SLR", c) for c in channels] + [("SHRB", "8bit"), ("SLRB", "8bit")])
    assert rows.set_index(["kind", "channel"]).loc[("SHRT", "noise:0.1"), "sigma"] == 0.1
    assert rows[MEASURES[:4]].notna().all(axis=None)
    assert rows["ssim_y"].isna().tolist() == (rows["sigma"] > 0).tolist()  # the slow measure only where it is shown


def test_shrt_decodes_the_code_shrb_the_guidance_and_slrb_is_the_code_enlarged(photo):
    torch.manual_seed(0)
    net = build("aetad_very_small", skip="bicubic").eval()
    rows = score(net, {"a": photo}, 4, "bicubic").set_index("kind")
    hr = to_float(photo)
    with torch.no_grad():
        x_gd = guidance(hr, 4)
        code = to_codes(net.encode(hr, 4, x_gd))[0]
        shrt = to_codes(net.decode(to_float(code), 4))[0]
        shrb = to_codes(net.decode(to_float(to_codes(x_gd)[0]), 4))[0]
        slrb = to_codes(upscale(to_float(code), 4))[0]
    assert rows.loc["SHRT", "psnr_rgb"] == psnr(shrt, photo)
    assert rows.loc["SHRT", "psnr_rgb_crop"] == psnr(shrt, photo, 4)
    assert rows.loc["SHRB", "psnr_rgb"] == psnr(shrb, photo)
    assert rows.loc["SLR", "psnr_rgb"] == psnr(code, to_codes(x_gd)[0])
    assert rows.loc["SLRB", "psnr_rgb"] == psnr(slrb, photo)
    assert len({round(v, 3) for v in rows["psnr_rgb"]}) == 4
    assert rows.loc["SLRB", "lr_bytes"] == rows.loc["SHRT", "lr_bytes"] != rows.loc["SHRB", "lr_bytes"]


def test_only_the_kinds_asked_for_are_measured(photo):
    rows = score(build("tool_x4"), {"a": photo}, 4, "bicubic", kinds=("SHRT", "SLRB"))
    assert rows["kind"].tolist() == ["SHRT", "SLRB"]
    assert score(build("tool_x4"), {"a": photo}, 4, "bicubic", kinds=("SHRT",))["kind"].tolist() == ["SHRT"]


def test_a_zero_started_tool_scores_as_bicubic(photo):
    tool = score(build("tool_x4"), {"a": photo}, 4, "bicubic").set_index("kind")[MEASURES]
    plain = score(build("bicubic"), {"a": photo}, 4, "bicubic").set_index("kind")[MEASURES]
    for kind in ("SHRT", "SHRB", "SLRB"):
        assert tool.loc[kind].to_dict() == pytest.approx(plain.loc["SHRT"].to_dict(), abs=1e-6)


def test_the_output_is_rounded_not_truncated(photo):
    for offset, db in ((0.6, 20 * log10(255)), (0.4, inf)):
        above = Stub(lambda received, scale, o=offset: to_float(photo.clamp(1, 250)) + o / 255)
        rows = score(above, {"a": photo.clamp(1, 250)}, 4, "bicubic").set_index("kind")
        assert rows.loc["SHRT", "psnr_rgb"] == pytest.approx(db)


def test_the_decoder_never_sees_fraction_bits(photo):
    seen = []

    def decode(received, scale):
        seen.append(received)
        return to_float(photo)

    score(Stub(decode), {"a": photo}, 4, "bicubic")
    assert torch.equal(seen[0], to_codes(seen[0]).float() / 255)


def test_colour_is_scored_at_full_size_from_a_grey_image(photo):
    rows = score(build("grey"), {"a": photo}, 1, "y").set_index("kind")
    assert rows.loc["SHRT", "psnr_y"] > 55 > 30 > rows.loc["SHRT", "psnr_rgb"]  # the light is right, the colours lack
    assert rows.loc["SLR", "psnr_rgb"] == inf
    plain = to_codes(ycbcr_to_rgb(rgb_to_y(to_float(photo)), *[torch.full((1, 1, 96, 128), 128 / 255)] * 2))[0]
    assert rows.loc["SHRT", "ciede2000"] == pytest.approx(colour_difference(plain, photo), abs=0.2)
    assert isnan(rows.loc["SLR", "ciede2000"])
    both = score(build("color_shuffle"), {"a": photo}, 1, "y", ("8bit", "float", "noise:0.1"))
    assert set(both["kind"]) == {"SHRT", "SLR", "SHRB"}  # bicubic has nothing to say here
    assert score(build("bicubic"), {"a": photo}, 4, "bicubic")["ciede2000"].isna().all()


def test_colour_difference_is_zero_for_equal_images_and_a_known_one_for_a_known_pair():
    white, grey = (torch.full((3, 4, 4), v, dtype=torch.uint8) for v in (255, 119))
    assert colour_difference(white, white) == 0
    assert colour_difference(white, grey) == pytest.approx(50 / 1.369, abs=0.1)  # L 100, 50: dL / S_L


def test_hr_is_cropped_to_the_scale_at_the_bottom_right(photo):
    odd = photo[:, :94, :127]
    rows = score(build("bicubic"), {"a": odd}, 4, "bicubic")
    same = score(build("bicubic"), {"a": photo[:, :92, :124]}, 4, "bicubic")
    pd.testing.assert_frame_equal(rows, same)
    assert set(rows["pixels"]) == {92 * 124}


def test_lr_bytes_are_those_of_the_png(photo, tmp_path):
    rows = score(build("bicubic"), {"a": photo}, 4, "bicubic").set_index("kind")
    small = to_codes(guidance(to_float(photo), 4))[0]
    write_png(tmp_path / "small.png", to_array(small))
    assert rows.loc["SHRT", "lr_bytes"] == (tmp_path / "small.png").stat().st_size


def test_draws_of_noise_differ_and_are_the_same_in_every_scoring(photo):
    def drawn(draws):
        rows = score(build("bicubic"), {"a": photo}, 4, "bicubic", ("8bit", "noise:0.05"), ("SHRT",), draws)
        return rows.set_index(["channel", "draw"])["psnr_rgb"]

    three = drawn(3)
    assert three.index.tolist() == [("8bit", 0), ("noise:0.05", 0), ("noise:0.05", 1), ("noise:0.05", 2)]
    assert three.nunique() == 4
    pd.testing.assert_series_equal(drawn(2), three.iloc[:3])  # a draw is its own seed


def sent(photo, channel):
    return score(build("bicubic"), {"a": photo}, 4, "bicubic", (channel,), ("SHRT",))["lr_bytes"].item()


def test_lr_bytes_of_a_file_sent_are_those_of_that_file(photo):
    small = to_codes(guidance(to_float(photo), 4))[0]
    assert sent(photo, "jpeg:30") == len(KINDS["jpeg"].file(small, "30")) < sent(photo, "jpeg:90")
    assert sent(photo, "jpeg:90") < sent(photo, "8bit") == sent(photo, "noise:0.1")


def test_lr_bytes_of_a_noisy_file_are_the_same_in_every_scoring(photo):
    assert len({sent(photo, "noise:0.1+jpeg:90") for _ in range(5)}) == 1


def test_colour_is_scored_against_luma(photo):
    torch.manual_seed(0)
    rows = score(build("aetad_color_small").eval(), {"a": photo[:, :32, :40]}, 1, "y").set_index("kind")
    assert set(rows.index) == {"SHRT", "SLR", "SHRB"}
    assert rows.loc["SLR", "psnr_rgb"] == rows.loc["SLR", "psnr_y"]  # one channel: Y is all there is


def test_psnr_of_set_is_the_mean_and_capped_at_100(photo):
    images = {"a": photo, "b": disturbed(photo)}
    slr, shr = psnr_of_set(build("bicubic"), images, 4, "bicubic")
    rows = score(build("bicubic"), images, 4, "bicubic")
    assert slr == 100
    assert shr == pytest.approx(rows.loc[rows["kind"] == "SHRT", "psnr_rgb"].mean(), abs=1e-3)


# ------------------------------------------------------------------------------------------------------- clips

@pytest.fixture
def clip(photo):
    return dict(zip("abcd", pan(photo, 4, (50, 65), (3, 7)), strict=True))  # crops at scale 4


@pytest.fixture
def three():
    """A network whose decoder sees three frames, with weights that make much of them."""
    torch.manual_seed(0)
    return build("joint_x4", start="default").eval()


def by_hand(net, clip, channel="8bit"):
    """What is received of each frame, and the frames made of three of them at a time: uint8."""
    with torch.no_grad():
        slr = [net.encode(to_float(crop_to_multiple(i, 4)), 4) for i in clip.values()]
        received = torch.cat([send(x, channel) for x in slr])
        return slr, received, [to_codes(net.decode(x[None], 4))[0] for x in with_neighbours(received, 3)]


@pytest.mark.parametrize("channel", ["8bit", "jpeg:60", "float"])
def test_a_clip_is_scored_frame_by_frame_each_with_its_neighbours(three, clip, channel):
    rows = score(three, clip, 4, "bicubic", (channel,)).set_index(["kind", "image"])
    assert set(rows.index) == {(kind, image) for kind in ("SHRT", "SLR") for image in "abcd"}  # no cross play
    slr, received, made = by_hand(three, clip, channel)
    for n, (name, image) in enumerate(clip.items()):  # both ends, and what has two neighbours
        truth = crop_to_multiple(image, 4)
        assert rows.loc[("SHRT", name), "psnr_rgb"] == pytest.approx(psnr(made[n], truth), abs=1e-4)
        close = psnr(to_codes(received[n]), to_codes(guidance(to_float(truth), 4))[0])
        assert rows.loc[("SLR", name), "psnr_rgb"] == pytest.approx(close, abs=1e-4)
        sent = Channel.parse(channel).bytes(slr[n], torch.Generator())  # its own, whatever the decoder sees besides
        assert rows.loc[("SHRT", name), "lr_bytes"] == rows.loc[("SLR", name), "lr_bytes"] == sent
    assert set(rows["pixels"]) == {48 * 64}


def test_the_ends_of_a_clip_are_their_own_neighbours(three, clip):
    rows = score(three, {"a": clip["a"]}, 4, "bicubic").set_index("kind")
    with torch.no_grad():
        received = send(three.encode(to_float(crop_to_multiple(clip["a"], 4)), 4))
        made = to_codes(three.decode(received.repeat(1, 3, 1, 1), 4))[0]
    assert rows.loc["SHRT", "psnr_rgb"] == pytest.approx(psnr(made, crop_to_multiple(clip["a"], 4)), abs=1e-4)
    within = score(three, clip, 4, "bicubic").set_index(["kind", "image"])
    assert abs(within.loc[("SHRT", "a"), "psnr_rgb"] - rows.loc["SHRT", "psnr_rgb"]) > 1e-3  # there b is seen, too


def test_noise_on_a_clip_is_the_same_in_every_scoring_and_other_for_each_draw(three, clip):
    def drawn():
        rows = score(three, clip, 4, "bicubic", ("noise:0.1",), ("SHRT",), 2)
        return rows.set_index(["image", "draw"])["psnr_rgb"]

    first = drawn()
    assert first.nunique() == len(first) == 8
    pd.testing.assert_series_equal(first, drawn())


def test_psnr_of_a_clip_is_the_mean_of_its_scores(three, clip):
    mean = score(three, clip, 4, "bicubic").groupby("kind")["psnr_rgb"].mean()
    assert psnr_of_set(three, clip, 4, "bicubic") == pytest.approx((mean["SLR"], mean["SHRT"]), abs=1e-4)


# ---------------------------------------------------------------------------------------------------- stored scores

@pytest.fixture
def trained(tmp_path):
    """A stored run of the zero-started x4 tool net; `asked` counts how often its network was needed."""
    asked = []

    def network():
        asked.append(1)
        return build("tool_x4").eval()

    (tmp_path / "run-0").mkdir()
    return SimpleNamespace(run=Run("run", "tool_x4", scale=4, seed=3), folder=tmp_path / "run-0", network=network,
                           asked=asked, record={"params": build("tool_x4").parameters_count})


def test_scores_are_stored_and_read_again(trained, write_set, photo):
    own = write_set("own", {"a": photo, "b": 255 - photo})
    rows = scores(trained, (own,))
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 8  # two images, four kinds
    facts = rows.iloc[0]
    assert (facts["run"], facts["model"], facts["seed"], facts["scale"]) == ("run-0", "tool_x4", 3, 4)
    assert (facts["task"], facts["skip"], facts["guidance"], facts["set"]) == ("sr", "bicubic", "bicubic", own)
    assert facts["params"] == build("tool_x4").parameters_count
    again = scores(trained, (own,))
    assert len(trained.asked) == 1  # nothing measured anew
    pd.testing.assert_frame_equal(rows, again, check_dtype=False)


def test_a_further_channel_is_measured_and_added(trained, write_set, photo):
    own = write_set("own", {"a": photo})
    scores(trained, (own,))
    both = scores(trained, (own,), ("8bit", "jpeg:90"))
    assert sorted(zip(both["kind"], both["channel"], strict=True)) == [
        ("SHRB", "8bit"), ("SHRT", "8bit"), ("SHRT", "jpeg:90"), ("SLR", "8bit"), ("SLR", "jpeg:90"),
        ("SLRB", "8bit")]


def test_another_scale_is_scored_and_kept_apart(trained, write_set, photo):
    own = write_set("own", {"a": photo})
    trained.network = lambda: build("bicubic")
    at_4, at_2 = scores(trained, (own,)), scores(trained, (own,), scale=2)
    assert (set(at_4["scale"]), set(at_2["scale"])) == ({4}, {2})
    assert at_2["psnr_rgb"].min() > at_4["psnr_rgb"].min() + 1
    pd.testing.assert_frame_equal(scores(trained, (own,), measure=False), at_4, check_dtype=False)


def test_further_draws_are_measured_once(trained, write_set, photo):
    own = write_set("own", {"a": photo})
    one = scores(trained, (own,), ("noise:0.1",), kinds=("SHRT",))
    three = scores(trained, (own,), ("noise:0.1",), kinds=("SHRT",), draws=3)
    assert three["draw"].tolist() == [0, 1, 2]
    assert three["psnr_rgb"].iloc[0] == one["psnr_rgb"].item()
    assert len(trained.asked) == 2
    scores(trained, (own,), ("noise:0.1",), kinds=("SHRT",), draws=3)
    scores(trained, (own,), ("noise:0.1",), kinds=("SHRT",))
    assert len(trained.asked) == 2


def test_what_is_not_to_be_measured_is_not(trained, write_set, photo):
    own = write_set("own", {"a": photo})
    assert scores(trained, (own,), measure=False).empty
    scores(trained, (own,))
    assert set(scores(trained, (own,), ("noise:0.1",), measure=False)["channel"]) == {"8bit"}
    assert scores(trained, (own,), scale=2, measure=False).empty
    assert len(trained.asked) == 1


def test_what_another_process_stores_meanwhile_is_kept(trained, write_set, photo):
    one, other = write_set("one", {"a": photo}), write_set("other", {"b": photo})

    def network():  # asked for after the stored rows were read
        scores(SimpleNamespace(**vars(trained) | {"network": lambda: build("bicubic")}), (other,))
        return build("tool_x4")

    scores(SimpleNamespace(**vars(trained) | {"network": network}), (one,))
    assert set(pd.read_csv(trained.folder / "scores.csv")["set"]) == {one, other}


def test_a_disturbed_channel_first_does_not_hide_the_plain_one(trained, write_set, photo):
    own = write_set("own", {"a": photo})
    scores(trained, (own,), ("noise:0.1",))
    plain = scores(trained, (own,), ("8bit",))
    assert sorted(plain["kind"]) == ["SHRB", "SHRT", "SLR", "SLRB"]


def test_images_named_by_numbers_keep_their_names(trained, write_set, photo):
    own = write_set("own", {"001": photo, "101085": 255 - photo})
    scores(trained, (own,))
    assert list(scores(trained, (own,))["image"].unique()) == ["001", "101085"]
    more = scores(trained, (own,), ("8bit", "png"))
    assert (more.groupby(["image", "kind", "channel"]).size() == 1).all()
    assert (more["kind"] == "SHRB").sum() == 2


def test_a_set_that_is_not_here_has_no_rows(trained, no_data):
    assert len(scores(trained, ("Set5",))) == 0


def test_of_two_sets_each_is_scored_by_its_own_images(trained, write_set, photo):
    """Of equal names, so that a mix-up is not seen by them."""
    one, other = write_set("one", {"a": photo}), write_set("other", {"a": disturbed(photo)})
    trained.network = lambda: build("bicubic")
    both = scores(trained, (one, other), kinds=("SHRT",)).set_index("set")
    for name in (one, other):
        alone, = score(build("bicubic"), sets.load(name), 4, "bicubic", kinds=("SHRT",)).to_dict("records")
        assert both.loc[name, "psnr_rgb"] == pytest.approx(alone["psnr_rgb"], abs=1e-4)
        assert both.loc[name, "lr_bytes"] == alone["lr_bytes"]
    assert both["psnr_rgb"].nunique() == 2
    stored_too = scores(trained, (other, one), kinds=("SHRT",)).set_index("set")
    assert stored_too["psnr_rgb"].to_dict() == both["psnr_rgb"].to_dict()


def test_means_are_over_images_with_psnr_capped():
    base = dict.fromkeys(COLUMNS, "x") | {"params": 1, "scale": 4, "sigma": 0.0, "ciede2000": 2.0}
    rows = pd.DataFrame([base | dict.fromkeys(MEASURES, v) | {"lr_bytes": b, "kind": k}
                         for v, b, k in ((30.0, 100, "SHRT"), (40.0, 300, "SHRT"), (inf, 7, "SLR"), (50.0, 7, "SLR"))])
    got = means(rows).set_index("kind")
    assert got.loc["SHRT", ["psnr_rgb", "psnr_y_crop", "lr_bytes"]].tolist() == [35, 35, 200]
    assert got.loc["SLR", "psnr_rgb"] == 75


def test_means_keep_draws_and_scales_apart():
    base = dict.fromkeys(COLUMNS, "x") | {"sigma": 0.1, "ciede2000": 2.0} | dict.fromkeys(MEASURES, 30.0)
    rows = pd.DataFrame([base | {"draw": d, "scale": s, "lr_bytes": 1} for d in (0, 1) for s in (2, 4) for _ in "ab"])
    assert means(rows)[["draw", "scale"]].to_numpy().tolist() == [[0, 2], [0, 4], [1, 2], [1, 4]]


@pytest.mark.parametrize("content", [
    b"", b"[]", bytes(400), b"nothing of it", b"\xff\xfe\x00", b"image,kind\na,SHRT\n", "half",
], ids=["empty", "brackets", "zeros", "text", "bytes", "other columns", "half"])
def test_damaged_scores_are_told_in_one_line_that_names_the_file(trained, write_set, photo, content):
    own = write_set("own", {"a": photo, "b": 255 - photo})
    scores(trained, (own,))
    path = trained.folder / "scores.csv"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    before = path.read_bytes()
    for use in (lambda: read(path), lambda: scores(trained, (own,))):
        with pytest.raises(BadInput, match=f"^{path}: ") as told:
            use()
        assert len(str(told.value).splitlines()) == 1
    assert path.read_bytes() == before


def test_scores_that_are_not_there_yet_are_none(trained):
    assert read(trained.folder / "scores.csv").empty


# ------------------------------------------------------------------------------------------------------- the literature

@pytest.mark.parametrize(("scale", "rgb", "y"), [(4, 26.69, 28.42), (2, 31.80, 33.66)])  # Y: ANCHORS, crop = scale
def test_bicubic_on_set5_is_the_literatures(real_set, scale, rgb, y):
    rows = score(build("bicubic"), real_set("Set5"), scale, "bicubic")
    got = rows[rows["kind"] == "SHRT"][MEASURES].mean()
    assert got["psnr_rgb"] == pytest.approx(rgb, abs=0.02)
    assert got["psnr_y_crop"] == pytest.approx(y, abs=0.05)


def test_bicubic_through_files_and_pillow_agrees_with_score(real_set, tmp_path):
    """The same path outside of the library: Pillow down, PNG, Pillow up."""
    truth = crop_to_multiple(real_set("Set5")["butterfly"], 4)
    h, w = truth.shape[1:]
    Image.fromarray(to_array(truth)).resize((w // 4, h // 4), 3).save(tmp_path / "small.png")
    small = read_image(tmp_path / "small.png")
    again = from_array(np.array(Image.fromarray(small).resize((w, h), 3)))
    rows = score(build("bicubic"), {"butterfly": truth}, 4, "bicubic").set_index("kind")
    assert rows.loc["SHRT", "psnr_rgb"] == pytest.approx(psnr(again, truth), abs=0.02)
    ours = send(guidance(to_float(truth), 4))
    assert psnr(to_codes(ours)[0], from_array(small)) > 50


# ------------------------------------------------------------------------------- what a person does to the small image

def test_an_edit_of_the_small_image_is_wanted_in_the_large_one(photo):
    """A perfect x1 codec loses nothing to a shift or to a gamma, only what they themselves round away."""
    rows = score(build("bicubic"), {"a": photo}, 1, "bicubic",
                 ("8bit", "shift:3", "gamma:1.1", "shift:1+gamma:1.1 + shift:2"), ("SHRT",))
    assert (rows["psnr_rgb"] == inf).all()
    both, alone = score(build("bicubic"), {"a": photo}, 1, "bicubic", ("gamma:1.1+jpeg:50", "jpeg:50"),
                        ("SHRT",))["psnr_rgb"]
    assert both == pytest.approx(alone, abs=1)  # the file's loss counts beside an edit, too


def test_a_shift_of_the_small_image_moves_the_large_one_by_scale_times_as_much(photo):
    still, moved = score(build("bicubic"), {"a": photo}, 4, "bicubic", ("8bit", "shift:1"), ("SHRT",))["psnr_rgb"]
    assert moved == pytest.approx(still, abs=0.3)


def test_five_cycles_are_five_times_the_way_down_and_up(photo):
    network, image = build("bicubic"), photo
    for _ in range(5):
        image = to_codes(network(to_float(image), 4)[1])[0]
    row, = score(network, {"a": photo}, 4, "bicubic", ("cycles:5",), ("SHRT",)).to_dict("records")
    assert row["psnr_rgb"] == pytest.approx(psnr(image, photo), abs=1e-6)
    once, = score(network, {"a": photo}, 4, "bicubic", ("cycles:1",), ("SHRT",))["psnr_rgb"]
    assert row["psnr_rgb"] < once - 0.1
    sent, = score(network, {"a": photo}, 4, "bicubic", ("cycles:5+jpeg:30",), ("SHRT",))["psnr_rgb"]
    assert sent < row["psnr_rgb"] - 0.05
    with pytest.raises(BadInput, match="several frames"):
        score(build("joint_x4"), {"a": photo}, 4, "bicubic", ("cycles:5",), ("SHRT",))
