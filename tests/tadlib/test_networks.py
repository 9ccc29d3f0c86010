"""The networks are those that the report prints, layer by layer."""
from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tadlib.channel import send
from tadlib.errors import BadInput
from tadlib.networks import ZOO, Spec, build, spec
from tadlib.networks.chain import Chain, layers, radius, words
from tadlib.networks.heads import Bins, Clip, Head, Luma, Vsr, named
from tadlib.networks.tad import multiply_adds
from tadlib.pixels import rgb_to_chroma, rgb_to_y
from tadlib.resize import upscale
from tadlib.tasks import guidance

PRINTED = {  # parameters as printed in the report, or computed from its public code (FACTS, section 1)
    "aetad_very_small": 375_926,
    "aetad_small": 523_638,
    "aetad": 671_350,
    "aetad_skip": 671_350,
    "aetad_skip2": 671_350,
    "aetad_large": 819_062,
    "aetad_very_large": 1_299_126,
    "aetad_direct4": 668_922,
    "no_tad": 409_731,
    "conv_only": 375_926,
    "conv_only_large": 449_782,
    "conv_only_very_large": 966_390,
    "conv_only_very_large2": 1_814_710,
    "vdsr": 665_921,
    "aetad_color_small": 232_516,
    "aetad_color": 527_940,
    "aetad_color_large": 716_836,
    "aetad_color_very_large": 1_155_716,
    "conv_only_color_large": 306_372,
    "sofvsr": 1_639_676,
}
NETS = [name for name, s in ZOO.items() if s.family != "baseline"]
COLOUR = [name for name in NETS if ZOO[name].task == "colour"]


def scale_of(name: str) -> int:
    return 1 if ZOO[name].task == "colour" else 4 if ZOO[name].step == 4 or isinstance(ZOO[name].head, Vsr) else 2


def image(h: int, w: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------------- sizes

@pytest.mark.parametrize("name", PRINTED)
def test_parameters_are_as_printed(name):
    assert build(name).parameters_count == PRINTED[name]


def test_every_net_of_the_report_has_a_printed_count():
    ours = {"no_tad_color", "color_shuffle", "cic_color", "aetad_sofvsr"}
    assert set(PRINTED) | ours == {name for name, s in ZOO.items() if s.family == "study"}


@pytest.mark.parametrize("name", ["tool_x2", "tool_x4", "tool_color", "joint_x4"])
def test_tool_nets_stay_within_their_budget(name):
    assert 0 < build(name).parameters_count <= 1_300_000


@pytest.mark.parametrize("name", ["bicubic", "lanczos"])
def test_baselines_have_no_parameters(name):
    assert build(name).parameters_count == 0


# ------------------------------------------------------------------------------------------------------- shapes

@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("name", ["aetad_very_small", "aetad_skip2", "conv_only_large", "no_tad", "tool_x2", "bicubic"])
def test_one_step_nets_go_down_and_up_by_any_power_of_two(name, scale):
    net = build(name).eval()
    with torch.no_grad():
        slr = net.encode(image(5 * scale, 7 * scale), scale)  # odd sides of the small image
        shr = net.decode(slr, scale)
    assert slr.shape == (1, 3, 5, 7)
    assert shr.shape == (1, 3, 5 * scale, 7 * scale)


@pytest.mark.parametrize("name", ["aetad_direct4", "tool_x4"])
def test_direct_nets_take_one_pass_for_x4(name):
    net = build(name)
    assert net.passes(4) == 1
    with torch.no_grad():
        slr, shr = net(image(20, 28), 4)
    assert (slr.shape, shr.shape) == ((1, 3, 5, 7), (1, 3, 20, 28))


@pytest.mark.parametrize("name", COLOUR)
def test_colour_nets_make_one_channel_of_three_and_back(name):
    with torch.no_grad():
        grey, rgb = build(name)(image(9, 11), 1)
    assert (grey.shape, rgb.shape) == ((1, 1, 9, 11), (1, 3, 9, 11))


def test_a_chain_pads_for_its_unshuffle_and_crops_again():
    assert Chain("u4 c12 p2 c12 p2 c3", 3)(image(5, 7)).shape == (1, 3, 5, 7)


def test_an_image_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="9x8 is not a multiple of 4"):
        build("aetad_very_small").encode(image(9, 8), 4)


@pytest.mark.parametrize(("name", "scale"), [("aetad_direct4", 2), ("aetad_direct4", 8), ("tool_x4", 2), ("aetad", 3)])
def test_a_scale_that_no_number_of_steps_makes_is_refused(name, scale):
    with pytest.raises(ValueError, match=f"{name} scales by powers of {ZOO[name].step}, not by {scale}"):
        build(name).passes(scale)


# ------------------------------------------------------------------------------------------------------- what they are

def test_no_tad_passes_the_guidance_on():
    net, hr = build("no_tad"), image(16, 24)
    guide = image(4, 6, seed=1)
    assert torch.equal(net.encode(hr, 4, guide), guide)
    assert torch.equal(net.encode(hr, 4), guidance(hr, 4, "bicubic"))


def test_the_guidance_can_be_left_out():
    assert all(s.added for s in ZOO.values())
    net, hr = build("aetad_very_small", added=False), image(16, 24)
    with torch.no_grad():
        assert torch.equal(net.encode(hr, 4, image(4, 6)), net.encoder(net.encoder(hr)))


def test_at_x4_one_encoder_runs_twice_and_the_guidance_is_added_once():
    net, hr = build("aetad_very_small"), image(16, 24)
    guide = image(4, 6, seed=1)
    with torch.no_grad():
        assert torch.equal(net.encode(hr, 4, guide), net.encoder(net.encoder(hr)) + guide)
        assert torch.equal(net.decode(guide, 4), net.decoder(net.decoder(guide)))


def _departure_from_affine(name: str) -> float:
    torch.manual_seed(0)
    net = build(name).double()
    a, b = image(16, 16, 1).double() * 4 - 2, image(16, 16, 2).double() * 4 - 2

    def f(x):
        return net.decoder(net.encoder(x))

    with torch.no_grad():
        together = f(a + b)
        return float((f(a) + f(b) - f(torch.zeros_like(a)) - together).abs().max() / together.abs().max())


@pytest.mark.parametrize("name", [n for n in NETS if n.startswith("conv_only")])
def test_nets_without_relu_are_affine(name):
    assert _departure_from_affine(name) < 1e-12


@pytest.mark.parametrize("name", ["aetad_very_small", "aetad", "aetad_color_small"])
def test_nets_with_resblocks_are_not_affine(name):
    assert _departure_from_affine(name) > 1e-3


def test_the_only_relu_of_the_reports_autoencoders_is_in_the_resblock():
    assert not any("a" in words(s.encoder) + words(s.decoder) for n, s in ZOO.items() if n.startswith("aetad"))


def test_unshuffle_undoes_shuffle_and_orders_channels_as_it_does():
    x = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    down = nn.PixelUnshuffle(2)(x)
    assert down.shape == (1, 8, 2, 3)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                assert torch.equal(down[0, 4 * c + 2 * i + j], x[0, c, i::2, j::2])
    assert torch.equal(nn.PixelShuffle(2)(down), x)
    assert torch.equal(Chain("u2 p2", 2)(x), x)


def test_a_skip_adds_what_was_remembered():
    chain = Chain("c2 = c2 +", 2).double()
    x = image(6, 6).double()[:, :2]
    first, second = chain.layers[0], chain.layers[2]
    assert torch.equal(chain(x), second(first(x)) + first(x))


def test_skip2_adds_the_same_tensor_twice_and_skip_a_new_one():
    assert words(ZOO["aetad_skip2"].encoder) == ["c8", "c16", "u2", "=", "r", "r", "+", "r", "c64", "+", "c3"]
    assert words(ZOO["aetad_skip"].encoder) == ["c8", "c16", "u2", "=", "r", "r", "+", "=", "r", "c64", "+", "c3"]


@pytest.mark.parametrize("name", ["tool_x2", "tool_x4", "tool_color", "joint_x4"])
def test_tool_nets_start_as_their_skip(name):
    net, scale = build(name), scale_of(name)
    hr = image(16, 24)
    with torch.no_grad():
        slr, shr = net(hr, scale)
    assert torch.equal(slr, guidance(hr, scale, net.spec.guided))
    ordinary = build("grey").decode(send(slr), 1) if scale == 1 else upscale(send(slr), scale, "bicubic")
    assert torch.equal(shr, ordinary)


@pytest.mark.parametrize("name", [n for n in NETS if ZOO[n].encoder])
def test_gradient_reaches_the_encoder_through_the_8_bit_channel(name):
    torch.manual_seed(0)
    net, scale = build(name), scale_of(name)
    hr = image(8, 8)
    _, shr = net(hr, scale)  # 8-bit rounding in between
    (shr - hr).square().mean().backward()
    gradient = net.encoder.last_conv().weight.grad
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


def test_a_bicubic_skip_adds_the_enlarged_image():
    torch.manual_seed(0)
    plain = build("aetad_very_small")
    skipping = build("aetad_very_small", skip="bicubic")
    skipping.load_state_dict(plain.state_dict())
    code = image(5, 7)
    with torch.no_grad():
        added = skipping.decode(code, 2) - plain.decode(code, 2)
    torch.testing.assert_close(added, upscale(code, 2, "bicubic"), atol=1e-6, rtol=0)


def test_vdsr_changes_only_the_luma_of_the_enlarged_image():
    torch.manual_seed(0)
    net, code = build("vdsr"), image(5, 7)
    big = upscale(code, 4, "bicubic")
    with torch.no_grad():
        change = net.decode(code, 4) - big
        nn.init.zeros_(net.decoder.last_conv().weight)
        nn.init.zeros_(net.decoder.last_conv().bias)
        torch.testing.assert_close(net.decode(code, 4), big, atol=1e-5, rtol=0)
    assert change.abs().max() > 1e-3
    grey = change.mean(1, keepdim=True).expand_as(change)  # the same in red, green and blue
    torch.testing.assert_close(change, grey, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["aetad", "vdsr", "tool_x4"])
def test_muon_gets_all_convolutions_but_the_first_and_last_of_each_chain(name):
    net = build(name)
    chains = [c for c in (net.encoder, net.decoder) if c is not None]
    convolutions = [[m.weight for m in c.modules() if isinstance(m, nn.Conv2d)] for c in chains]
    inner = {id(p) for p in net.inner_convolutions()}
    assert len(inner) == sum(map(len, convolutions)) - 2 * len(chains)
    for chain, weights in zip(chains, convolutions, strict=True):
        assert weights[-1] is chain.last_conv().weight
        assert not inner & {id(weights[0]), id(weights[-1])}


# ------------------------------------------------------------------------------------------------------- clips

def seen_by(net, frames):
    with torch.no_grad():
        return net.decode(frames.flatten(0, 1)[None], 4)


@pytest.mark.parametrize("name", ["joint_x4", "aetad_sofvsr"])
def test_a_decoder_of_three_frames_sees_its_neighbours_or_its_own_frame_three_times(name):
    torch.manual_seed(0)
    net = build(name, start="default").eval()
    still = build(name, start="default", neighbours=False).eval()
    still.load_state_dict(net.state_dict())
    frames = torch.rand(3, 3, 6, 8)
    for changed in (0, 1, 2):
        other = frames.clone()
        other[changed] = 1 - other[changed]
        assert not torch.equal(seen_by(net, frames), seen_by(net, other))
        assert torch.equal(seen_by(still, frames), seen_by(still, other)) == (changed != 1)
    thrice = frames[1].expand(3, -1, -1, -1)
    assert torch.equal(seen_by(still, frames), seen_by(net, thrice))


def test_a_batch_that_goes_through_a_net_of_three_frames_is_a_clip():
    torch.manual_seed(0)
    net, clip = build("joint_x4", start="default").eval(), torch.rand(4, 3, 16, 24)
    with torch.no_grad():
        slr, shr = net(clip, 4)
        alone = net.decode(send(slr)[1:4].flatten(0, 1)[None], 4)
    assert (slr.shape, shr.shape) == ((4, 3, 4, 6), (4, 3, 16, 24))
    torch.testing.assert_close(shr[2:3], alone)


def test_sofvsr_makes_the_luma_of_three_frames_and_interpolates_the_chroma_of_the_middle_one():
    torch.manual_seed(0)
    net, frames = build("sofvsr").eval(), torch.rand(3, 3, 6, 8)
    shr = seen_by(net, frames)
    with torch.no_grad():
        y = net.decoder(rgb_to_y(frames).transpose(0, 1))
    torch.testing.assert_close(rgb_to_y(shr), y, atol=1e-5, rtol=0)
    chroma = rgb_to_chroma(upscale(frames[1:2], 4, "bicubic"))
    for mine, interpolated in zip(rgb_to_chroma(shr), chroma, strict=True):
        torch.testing.assert_close(mine, interpolated, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------------- counts, walks

@pytest.mark.parametrize(("name", "scale", "down", "up"), [
    # by hand, convolution a -> b costs 9 a b at its output's pixels. Encoder: 216 + 1,152 at full size,
    # 73,728 + 36,864 + 1,728 at a quarter of the pixels; decoder: 1,728 + 73,728 + 36,864 + 147,456 at a quarter, 1,728
    ("aetad_very_small", 2, 1368 + 112_320 / 4, 259_776 / 4 + 1728),
    ("aetad_very_small", 4, 29_448 * (1 + 1 / 4), 66_672 * (1 + 1 / 4)),
    ("tool_x4", 4, (27_648 + 4 * 73_728 + 1728) / 16, (1728 + 12 * 73_728 + 27_648) / 16),
    ("vdsr", 4, 0, 576 + 18 * 36_864 + 576),
    ("aetad_color_small", 1, 216 + 4608 + 73_728 + 36_864 + 576, 576 + 73_728 + 36_864 + 4608 + 216),
    ("joint_x4", 4, (27_648 + 4 * 73_728 + 1728) / 16, (3 * 1728 + 12 * 73_728 + 27_648) / 16),
    ("bicubic", 4, 0, 0),
])
def test_multiply_adds_per_pixel(name, scale, down, up):
    assert multiply_adds(build(name), scale) == pytest.approx((down, up))


@pytest.mark.parametrize("chain", ["c8", "r", "u2 c64 r*2 c3", "c64 r c12 p2", "u4 c64 r c48 p4",
                                   "c8 c16 u2 = r c64 + c3"])
def test_no_output_pixel_sees_further_than_the_radius(chain):
    torch.manual_seed(0)
    net = Chain(chain, 12).double()
    x = torch.randn(1, 12, 48, 48, dtype=torch.double, requires_grad=True)
    y = net(x)
    at = y.shape[-1] // 2
    y[..., at, at].sum().backward()
    rows, columns = (x.grad.abs().sum((0, 1)) > 0).nonzero().T
    centre = (at + 0.5) / net.size - 0.5  # of that output pixel, in pixels of the input
    seen = max(float((side - centre).abs().max()) for side in (rows, columns))
    assert 0 < seen <= radius(chain)


# ------------------------------------------------------------------------------------------------------- grammar

def test_words_repeat():
    assert words("c64 r*3 +") == ["c64", "r", "r", "r", "+"]


def test_layers_carry_channels_and_sizes():
    assert layers("c8 u2 c16 p2", 3) == [("c8", 3, 8, 1), ("u2", 8, 32, 0.5), ("c16", 32, 16, 0.5), ("p2", 16, 4, 1)]


@pytest.mark.parametrize(("chain", "says"), [
    ("c64 q3 c3", "unknown word 'q3'"),
    ("c64 +", "None was remembered"),
    ("= c64 +", r"\(3, 1.0\) was remembered, \(64, 1.0\) is here"),
    ("c64 = u2 c64 +", "was remembered"),
    ("c6 p4", "6 channels are no multiple of 16"),
    ("c64 u", "unknown word 'u'"),  # a number is missing
    ("c64 p", "unknown word 'p'"),
    ("c c3", "unknown word 'c'"),
    ("cx", "unknown word 'cx'"),
])
def test_a_chain_that_does_not_fit_is_told(chain, says):
    with pytest.raises(ValueError, match=says):
        layers(chain, 3)


def test_an_unknown_net_is_told_with_the_known_ones():
    with pytest.raises(KeyError, match="no network 'resnet'; there are: aetad_very_small, "):
        spec("resnet")


# ------------------------------------------------------------------------------------------------------- heads

def test_a_head_is_called_what_a_record_calls_it():
    assert [str(h) for h in (Head(), Luma(), Bins(), Clip(3), Clip(5), Vsr(4))] == [
        "image", "luma", "bins", "clip3", "clip5", "vsr4"]
    for s in ZOO.values():
        assert named(str(s.head)) == s.head
    assert (Clip(5).frames, Vsr(4).frames, Vsr(2).frames, Luma().frames) == (5, 3, 3, 1)
    with pytest.raises(BadInput, match="no kind of decoder 'clipp3'; there are: image, luma, "):
        named("clipp3")


def test_a_network_has_the_head_of_its_row():
    for name in ("aetad", "vdsr", "cic_color", "joint_x4", "sofvsr"):
        assert build(name).head is ZOO[name].head


def test_a_head_says_which_frames_it_takes_of_a_training_batch_and_with_which_it_is_compared():
    received, hr = torch.rand(6, 3, 4, 5), torch.rand(6, 3, 16, 20)
    assert torch.equal(Head().seen(received), received) and torch.equal(Head().truth(hr), hr)
    assert torch.equal(Clip(3).seen(received), received.view(2, 9, 4, 5))
    assert torch.equal(Clip(3).truth(hr), hr[[1, 4]])


@pytest.mark.parametrize("name", ZOO)
def test_the_words_of_a_network_are_all_that_is_needed_to_build_it_again(name):
    written = json.loads(json.dumps(ZOO[name].words()))
    assert Spec.of(written) == ZOO[name]


@pytest.mark.parametrize("words", [{}, {"head": "image"}, {"name": "a", "heads": 3}, None, [], "aetad", 7])
def test_words_that_describe_no_network_are_told(words):
    with pytest.raises(BadInput):
        Spec.of(words)
