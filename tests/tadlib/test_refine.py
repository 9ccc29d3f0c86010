"""Refinement: the small image gets better for its decoder, not less ordinary, without seams, and files of it work."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tadlib.__main__ import main
from tadlib.channel import Channel, Stage, _halved_chroma, send
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import psnr
from tadlib.files import read_image, read_picture, write_png
from tadlib.networks import build
from tadlib.pixels import from_array, to_array, to_codes, to_float, with_neighbours
from tadlib.tasks import guidance
from tadlib.tool import descent, jpeg, models, refine
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import Origin
from tadlib.tool.video import parts


@pytest.fixture(scope="module")
def net():
    return models.find("tool_x4").network()


def begun(net, photo, scale=4, guide="bicubic"):
    """X_HR as codes, X_SLR as it is encoded, X_GD."""
    hr = photo[None] if photo.ndim == 3 else photo
    x_gd = guidance(to_float(hr), scale, guide)
    with torch.no_grad():
        return hr, net.encode(to_float(hr), scale, x_gd), x_gd


def reached(net, hr, slr, scale=4, channel="8bit"):
    """PSNR of what is made of a code, and the code's mean squared distance is another matter."""
    with torch.no_grad():
        received = send(slr, channel)
        return psnr(to_codes(net.decode(with_neighbours(received, net.head.frames), scale)), hr)


def test_steps_help_and_the_small_image_stays_as_ordinary_as_it_was(net, photo):
    hr, slr, guide = begun(net, photo)
    found = [refine.refine(net, hr, slr, guide, 4, steps) for steps in (0, 2, 6)]
    quality = [reached(net, hr, z) for z in found]
    assert torch.equal(found[0], slr)
    assert quality[1] > quality[0] + 0.15 and quality[2] > quality[1] + 0.05
    assert all((z - guide).norm() <= (slr - guide).norm() * 1.0001 for z in found)


def test_with_many_steps_the_code_settles_on_whole_codes_and_is_better_for_it(photo):
    net = models.find("tool_color").network()
    hr, slr, guide = begun(net, photo[:, :48, :64], 1, "y")
    settled, again = (refine.refine(net, hr, slr, guide, 1, 18) for _ in range(2))
    assert torch.equal(settled, again) and torch.allclose(settled * 255, (settled * 255).round(), atol=1e-3)
    loose = refine.refine(net, hr, slr, guide, 1, 18, settle=False)
    assert not torch.allclose(loose * 255, (loose * 255).round(), atol=0.1)
    assert reached(net, hr, settled, 1) > reached(net, hr, loose, 1) + 0.05
    likenesses = [psnr(to_codes(z), to_codes(guide)) for z in (settled, slr)]
    assert likenesses[0] > likenesses[1] - 0.05


def test_with_a_weight_the_code_settles_too(net, photo):
    hr, slr, guide = begun(net, photo[:, :64, :64])
    settled, loose = (refine.refine(net, hr, slr, guide, 4, 12, 0.3, settle=settle) for settle in (True, False))
    assert torch.allclose(settled * 255, (settled * 255).round(), atol=1e-3)
    value = [refine.Loss(net, hr, guide, 4, 0.3, refine.PLAIN).loss(z, 0, False)[0] for z in (settled, loose, slr)]
    assert value[0] < value[1] + 1e-6 < value[2]


def test_eleven_steps_settle_and_ten_do_not(net, photo):
    hr, slr, guide = begun(net, photo[:, :32, :32])
    for steps, alike in ((10, True), (11, False)):
        both = [refine.refine(net, hr, slr, guide, 4, steps, settle=settle) for settle in (True, False)]
        assert torch.equal(*both) == alike
    assert [descent.settles_from(n) for n in (0, 3, 10, 11, 30)] == [0, 3, 10, 3, 10]


def test_only_a_plain_file_lets_the_code_settle(net, photo):
    hr, _, guide = begun(net, photo[:, :32, :32])
    made = [refine.Loss(net, hr, guide, 4, 0.0, Channel.parse(text)).settles
            for text in ("8bit", "jpeg:90", "noise:0.02", "float")]
    assert made == [True, False, False, False]


def test_a_weight_trades_likeness_for_quality(net, photo):
    hr, slr, guide = begun(net, photo)
    free, held = (refine.refine(net, hr, slr, guide, 4, 5, likeness) for likeness in (0.0, 3.0))
    assert (free - guide).norm() > (slr - guide).norm() > (held - guide).norm()
    assert reached(net, hr, free) > reached(net, hr, held)


def test_tiles_give_the_gradient_of_the_whole(net, photo, monkeypatch):
    monkeypatch.setenv("TAD_PRECISION", "32-true")  # bfloat16 would be half a percent off
    hr, slr, guide = begun(net, photo)
    of = refine.Loss(net, hr, guide, 4, 0.3, refine.PLAIN)
    whole = of.loss(slr, 0, backward=True)
    monkeypatch.setattr(descent, "SIDE", 8)
    tiled = of.loss(slr, 0, backward=True)
    assert tiled[0] == pytest.approx(whole[0], rel=1e-5)
    assert (tiled[1] - whole[1]).norm() < 1e-4 * whole[1].norm()


def test_the_gradient_is_that_of_the_loss(net, photo, monkeypatch):
    """Against a difference of losses of float codes, along the gradient."""
    monkeypatch.setenv("TAD_PRECISION", "32-true")
    hr, slr, guide = begun(net, photo[:, :64, :64])
    of = refine.Loss(net, hr, guide, 4, 0.3, Channel.parse("float"))

    def loss(z):
        return of.loss(z, 0, backward=False)[0]

    _, gradient = of.loss(slr, 0, backward=True)
    along = gradient / gradient.norm()
    slope = (loss(slr + 0.01 * along) - loss(slr - 0.01 * along)) / 0.02
    assert slope * slr.numel() == pytest.approx(float(gradient.norm()), rel=0.05)


def test_in_bfloat16_what_lies_between_two_codes_is_seen(net, photo, monkeypatch):
    hr, slr, guide = begun(net, photo[:, :64, :64])
    whole = (slr * 255).round() / 255
    between = whole + 0.3 / 255 * torch.randn(slr.shape, generator=torch.Generator().manual_seed(0)).sign()
    found = {}
    for precision in ("fp32", "bf16"):
        monkeypatch.setenv("TAD_PRECISION", precision)
        of = refine.Loss(net, hr, guide, 4, 0.0, refine.PLAIN)
        found[precision] = torch.stack([of.loss(z, 0, True, rounded=False)[1] for z in (whole, between)])
    bent = {precision: (there - here).flatten() for precision, (here, there) in found.items()}
    assert not refine._first(net)._forward_hooks
    monkeypatch.setattr(refine, "_in_float32", lambda *_: None)
    of = refine.Loss(net, hr, guide, 4, 0.0, refine.PLAIN)
    here, there = (of.loss(z, 0, True, rounded=False)[1] for z in (whole, between))
    blind = torch.cosine_similarity((there - here).flatten(), bent["fp32"], dim=0)
    assert torch.cosine_similarity(*bent.values(), dim=0) > blind + 0.05 > 0.5


def test_what_computes_in_bfloat16(net, monkeypatch):
    monkeypatch.setenv("TAD_PRECISION", "bf16")
    found = {name: [refine.precision(build(name), scale, torch.device("cpu"), settling) == "bf16-mixed"
                    for settling in (False, True)]
             for name, scale in (("tool_x4", 4), ("tool_x2", 2), ("aetad", 4), ("tool_color", 1), ("bicubic", 4))}
    assert found == {"tool_x4": [True, True], "tool_x2": [True, False], "aetad": [True, False],
                     "tool_color": [False, False], "bicubic": [False, False]}


def test_the_same_input_gives_the_same_bits_and_the_net_stays_as_it_was(net, photo):
    hr, slr, guide = begun(net, photo)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    needed = [p.requires_grad for p in net.parameters()]
    one, other = (refine.refine(net, hr, slr, guide, 4, 2, channel=Channel.parse("noise:0.02")) for _ in range(2))
    assert torch.equal(one, other)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == needed and all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("channel", ["jpeg:90", "noise:0.02", "jpeg:75+resize:0.9"])
def test_a_code_made_for_its_channel_is_better_behind_it(photo, channel):
    net = models.find("robust").network()
    hr, slr, guide = begun(net, photo)
    made = refine.refine(net, hr, slr, guide, 4, 4, channel=Channel.parse(channel))
    means = [np.mean([psnr(to_codes(net.decode(send(z, channel, torch.Generator().manual_seed(s)), 4)), hr)
                      for s in range(4)]) for z in (slr, made)]
    assert means[1] > means[0]


@pytest.mark.parametrize("channel", ["jpeg:90", "jpeg444:75"])
def test_what_a_jpeg_lets_through_is_worth_more_than_straight_through(photo, monkeypatch, channel):
    net, through = models.find("robust").network(), Channel.parse(channel)
    hr, slr, guide = begun(net, photo)
    own = refine.refine(net, hr, slr, guide, 4, 6, channel=through)
    monkeypatch.setattr(jpeg, "send", lambda channel, z, rng=None: channel.send(z, rng))
    straight = refine.refine(net, hr, slr, guide, 4, 6, channel=through)
    assert reached(net, hr, own, channel=channel) > reached(net, hr, straight, channel=channel) + 0.05


@pytest.mark.parametrize("plane, row, column, step", [(0, 0, 0, 16), (0, 1, 5, 58), (0, 5, 1, 35), (1, 1, 1, 21)])
@pytest.mark.parametrize("u, slope", [(0.0, 0.5), (12**-0.5, 1.0), (0.499, 2.0)])
def test_a_coefficient_in_the_middle_of_its_step_is_moved_half_and_one_at_the_edge_twice(plane, row, column, step, u,
                                                                                         slope):
    """The steps are those of the JPEG standard (ITU-T T.81, Annex K), which are written at quality 50."""
    wave = jpeg._basis()[8 * row + column, 0]  # (8, 8)
    to_ycc, to_rgb = torch.tensor(jpeg.YCC)[plane], torch.tensor(jpeg.RGB)[:, plane]
    direction = to_rgb[:, None, None] * wave  # of this coefficient alone
    x = (128 + direction * (3 + u) * step)[None] / 255
    x = x.requires_grad_()
    y = jpeg.unrounded(x, Stage("jpeg444", "50"))
    gradient, = torch.autograd.grad((torch.einsum("c,bchw->bhw", to_ycc, y) * wave).sum(), x)
    assert (gradient * direction).sum().item() == pytest.approx(slope, abs=0.02)
    finest, = torch.autograd.grad((jpeg.unrounded(x, Stage("jpeg444", "100")) * direction).sum(), x)
    assert torch.allclose(finest, direction, atol=1e-4)  # whose steps are no wider than a level


@pytest.mark.parametrize("size", [(96, 128), (21, 30)])
def test_unrounded_a_jpeg_is_the_picture_but_for_its_chroma(photo, size):
    x = to_float(photo[None, :, : size[0], : size[1]])
    assert torch.allclose(jpeg.unrounded(x, Stage("jpeg444", "75")), x, atol=1e-5)
    assert torch.allclose(jpeg.unrounded(x[:, :1], Stage("jpeg", "75")), x[:, :1], atol=1e-5)
    assert torch.allclose(jpeg.unrounded(x, Stage("jpeg", "75")), _halved_chroma(x), atol=1e-5)


def test_behind_a_jpeg_arrives_what_its_file_holds(photo):
    z = to_float(photo[None, :, :40, :40]).requires_grad_()
    for text in ("jpeg:90", "jpeg444:75", "jpeg", "jpeg:75+resize:0.9", "8bit"):
        for colours in (z, z[:, :1]):
            assert torch.equal(jpeg.send(Channel.parse(text), colours), send(colours, text))


def test_grey_images_and_three_frames_are_refined_too(photo):
    color = models.find("tool_color").network()
    hr, slr, guide = begun(color, photo[:, :48, :64], 1, "y")
    assert reached(color, hr, refine.refine(color, hr, slr, guide, 1, 3), 1) > reached(color, hr, slr, 1) + 0.3
    joint = models.find("joint_x4").network()
    clip = torch.stack([photo[:, :64, n : n + 64] for n in range(3)])
    hr, slr, guide = begun(joint, clip)
    assert reached(joint, hr, refine.refine(joint, hr, slr, guide, 4, 3)) > reached(joint, hr, slr) + 0.1


def test_what_cannot_be_refined_is_told(net, photo):
    hr, slr, guide = begun(net, photo[:, :32, :32])
    with pytest.raises(BadInput, match="below zero"):
        refine.refine(net, hr, slr, guide, 4, -1)
    for channel in ("shift:1", "gamma:1.1", "cycles:2+jpeg:90"):  # another large image would be wanted
        with pytest.raises(BadInput, match="is no channel that a small image is made for"):
            refine.refine(net, hr, slr, guide, 4, 1, channel=Channel.parse(channel))
    bins = models.find("cic_color").network()
    hr, slr, guide = begun(bins, photo[:, :32, :32], 1, "y")
    with pytest.raises(BadInput, match="no gradient"):
        refine.refine(bins, hr, slr, guide, 1, 1)


def test_the_codec_refines_odd_sizes(photo):
    codec = Codec.find("tool_x4")
    image = to_array(photo)[:71, :93]
    plain, better = (codec.downscale(image, refine=steps) for steps in (0, 3))
    assert plain.shape == better.shape == (18, 24, 3)
    results = [from_array(codec.upscale(codes, image.shape[:2])) for codes in (plain, better)]
    assert psnr(results[1], from_array(image)) > psnr(results[0], from_array(image)) + 0.1


def test_a_jpeg_that_was_made_for_says_what_made_it(tmp_path, photo):
    source, small, big = (tmp_path / name for name in ("in.png", "small.jpg", "big.png"))
    write_png(source, to_array(photo))
    options = ["--model", "robust", "--refine", "2", "--for", "jpeg:90"]
    assert main(["downscale", str(source), str(small), *options]) == 0
    codes, info = read_picture(small)
    assert Origin.of(info, codes) == Origin("robust", 4, photo.shape[-2:], weights=Codec.find("robust").weights)
    with Image.open(small) as picture:
        assert picture.format == "JPEG" and picture.layer[0][1:3] == (2, 2)  # chroma halved, as asked for
    assert main(["upscale", str(small), str(big)]) == 0
    assert read_image(big).shape == to_array(photo).shape


@pytest.mark.parametrize("options, word", [
    (["--refine", "-1"], "--refine"), (["--likeness", "-1"], "--likeness"), (["--likeness", "nan"], "--likeness"),
    (["--for", "jpeg:900"], "jpeg:900"), (["--for", "cycles:2"], "cycles"), ([], "--for jpeg:90"),
    (["--refine", "1", "--for", "shift:1"], "shift is no channel"),
    (["--refine", "1", "--for", "jpeg:90+gamma:1.1"], "gamma is no channel"),
    *((["--for", channel], "nothing without --refine") for channel in ("noise:0.1", "noise:0.1+jpeg:9")),
    (["--likeness", "1"], "nothing without --refine")])
def test_impossible_wishes_are_one_line(tmp_path, photo, capsys, options, word):
    source = tmp_path / "in.png"
    write_png(source, to_array(photo))
    assert main(["downscale", str(source), str(tmp_path / "small.jpg"), *options]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert word in line and not (tmp_path / "small.jpg").exists()


@pytest.mark.parametrize("length", [1, 4, 5, 6, 9, 10])
def test_a_clip_comes_in_parts_with_their_neighbours(length):
    clip = [np.full((1, 1, 1), n) for n in range(length)]
    found = list(parts(iter(clip), 4, 1))
    assert [int(n) for part, own in found for n in part[own].ravel()] == list(range(length))
    for part, own in found:
        first, last = (int(n) for n in part[own].ravel()[[0, -1]])
        assert [int(n) for n in part.ravel()] == list(range(max(0, first - 1), min(length, last + 2)))


@pytest.mark.slow
def test_refined_frames_of_a_clip_through_two_processes(tmp_path):
    from tadlib.data import sets

    clip = tmp_path / "clip"
    for name, frame in list(sets.load("SampleClip").items())[:5]:
        write_png(clip / f"{name}.png", to_array(frame)[:96, :96])

    def tool(*arguments):
        subprocess.run([sys.executable, "-m", "tadlib", *map(str, arguments)], check=True, capture_output=True)

    means = []
    for steps in (0, 3):
        small, big = tmp_path / f"small{steps}", tmp_path / f"big{steps}"
        tool("downscale", clip, small, "--model", "joint_x4", "--refine", steps)
        tool("upscale", small, big)
        means.append(np.mean([psnr(from_array(read_image(big / f"{n:06}.png")), from_array(read_image(f)))
                              for n, f in enumerate(sorted(clip.iterdir()))]))
    assert means[1] > means[0] + 0.1
