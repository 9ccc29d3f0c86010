"""What arrives of X_SLR: 8-bit codes, noise of the stated size, real files; and what the gradient does there."""
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tadlib.channel import KINDS, Channel, _halved_chroma, check_draws, draw, png_bytes, quantize, send
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import psnr
from tadlib.files import read_image
from tadlib.pixels import from_array, to_array, to_codes, to_float

STAGES = ["8bit", "noise:0.1", "png", "jpeg:90", "jpeg444:90", "webp:80", "resize:0.9", "gamma:1.1", "shift:1"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rounding_to_the_256_codes():
    x = torch.tensor([-3.0, -0.1, 0.0, 0.4 / 255, 0.6 / 255, 99.49 / 255, 99.51 / 255, 254.6 / 255, 1.0, 1.7])
    codes = torch.tensor([0, 0, 0, 0, 1, 99, 100, 255, 255, 255])
    assert torch.equal(quantize(x), codes / 255)


@pytest.mark.parametrize("channel", [*STAGES, "noise:0.02+jpeg:90"])
def test_what_arrives_is_an_8_bit_image(channel):
    x = torch.randn(2, 3, 17, 22, generator=generator())  # far out of range
    received = send(x, channel, generator())
    assert received.shape == x.shape
    assert torch.equal(received, to_codes(received).float() / 255)


def test_float_changes_nothing():
    x = torch.randn(1, 3, 4, 4)
    assert send(x, "float") is x


def gradient(x: torch.Tensor, channel: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a weighted sum of what arrives: (gradient at x, the weights)."""
    x = x.clone().requires_grad_()
    weights = torch.randn(x.shape, generator=generator(1))
    (send(x, channel, generator()) * weights).sum().backward()
    return x.grad, weights


@pytest.mark.parametrize("channel", ["8bit", "png", "jpeg444:90"])
def test_the_gradient_passes_straight_through_inside_the_range_and_not_outside(channel):
    x = torch.linspace(-1, 2, 3 * 16 * 16).view(1, 3, 16, 16)
    got, weights = gradient(x, channel)
    assert torch.equal(got, torch.where((x >= 0) & (x <= 1), weights, 0))


@pytest.mark.parametrize("channel", ["noise:0.05", "noise:0.02+jpeg444:90"])
def test_the_gradient_passes_straight_through_noise(channel):
    got, weights = gradient(torch.linspace(0.4, 0.6, 3 * 16 * 16).view(1, 3, 16, 16), channel)
    assert torch.equal(got, weights)


@pytest.mark.parametrize("channel", ["jpeg:90", "webp:80"])
def test_of_halved_chroma_only_the_mean_of_four_pixels_gets_a_gradient(channel):
    """As much as a file of 4:2:0 keeps: luma pixel by pixel, chroma by twos."""
    x = torch.full((1, 3, 16, 16), 0.5).requires_grad_()
    received = send(x, channel)
    stripes = torch.ones(16, 16)
    stripes[:, ::2] = -1
    red = torch.tensor([0.701, -0.299, -0.299]).view(3, 1, 1)  # its luma is 0
    grey = torch.ones(3, 1, 1)
    for colour, pattern, share in ((red, stripes, 0), (red, torch.ones(16, 16), 1), (grey, stripes, 1)):
        got, = torch.autograd.grad((received * colour * pattern).sum(), x, retain_graph=True)
        along = (got * colour * pattern).sum() / (colour * pattern).square().sum()
        assert along.item() == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("channel", ["jpeg:100", "webp:100"])
def test_a_reader_enlarges_halved_chroma_linearly(photo, channel):
    x = to_float(photo[None, :, :96, :128])
    luma = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), x)[:, None]
    by_blocks = luma + F.interpolate(F.avg_pool2d(x - luma, 2), scale_factor=2.0)
    apart = [float((other - send(x, channel)).abs().mean()) for other in (_halved_chroma(x), by_blocks, x)]
    assert apart[0] < apart[1] < apart[2]


def test_stages_that_a_photo_program_makes():
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 30, 40)
    assert (send(ramp, "resize:0.9") - ramp).abs().max() < 0.02  # a ramp survives
    checks = (torch.arange(30)[:, None] + torch.arange(40)) % 2 * 1.0
    assert send(checks.expand(1, 3, 30, 40), "resize:0.5").std() < 0.05  # the finest pattern does not
    assert (send(ramp, "gamma:2") - ramp**2).abs().max() < 0.005
    moved = send(ramp, "shift:3")
    assert torch.equal(moved[..., 3:], quantize(ramp)[..., :-3])
    assert torch.equal(moved[..., :3], quantize(ramp)[..., :1].expand(-1, -1, -1, 3))


def test_drawing_a_channel():
    rng = generator()
    drawn = [str(draw(("8bit", "jpeg:60..95", "noise:0..0.1"), rng)) for _ in range(300)]
    assert {d.partition(":")[0] for d in drawn} == {"8bit", "jpeg", "noise"}
    qualities = [d.partition(":")[2] for d in drawn if d.startswith("jpeg")]
    assert all(60 <= int(q) <= 95 for q in qualities) and len(set(qualities)) > 20
    assert all(0 <= float(d.partition(":")[2]) <= 0.1 for d in drawn if d.startswith("noise"))
    for d in drawn[:20]:
        assert send(torch.rand(1, 3, 16, 16), d, rng).shape == (1, 3, 16, 16)
    again = generator()
    assert [str(draw(("8bit", "jpeg:60..95", "noise:0..0.1"), again)) for _ in range(300)] == drawn


@pytest.mark.parametrize("channel", STAGES)
def test_with_gradient_the_values_are_exactly_the_same(channel):
    x = torch.rand(1, 3, 16, 16, generator=generator(1))
    plain = send(x, channel, generator())
    assert torch.equal(plain, send(x.clone().requires_grad_(), channel, generator()).detach())


def test_noise_comes_after_rounding_and_before_clamping_and_rounding_again():
    sigma = 0.4 / 255
    x = torch.rand(1, 3, 40, 40, generator=generator(1)) * 1.4 - 0.2
    noise = torch.randn(x.shape, generator=generator(7))
    codes = (x.clamp(0, 1) * 255).round()
    by_hand = (codes + 255 * sigma * noise).clamp(0, 255).round()
    unrounded_first = (x * 255 + 255 * sigma * noise).clamp(0, 255).round()
    received = send(x, f"noise:{sigma}", generator(7)) * 255
    assert (received.round() == by_hand).float().mean() > 0.999  # float ties aside
    assert (by_hand == unrounded_first).float().mean() < 0.9  # this example can tell the two apart


def test_noise_is_a_fresh_draw_unless_seeded():
    x = torch.full((1, 3, 16, 16), 0.5)
    assert torch.equal(send(x, "noise:0.1", generator(3)), send(x, "noise:0.1", generator(3)))
    assert not torch.equal(send(x, "noise:0.1", generator(3)), send(x, "noise:0.1", generator(4)))
    assert not torch.equal(send(x, "noise:0.1"), send(x, "noise:0.1"))


def test_noise_of_sigma_measures_sigma_of_the_range():
    received = send(torch.full((1, 3, 200, 200), 0.5), "noise:0.08", generator())
    assert received.std().item() == pytest.approx(0.08, rel=0.01)
    assert received.mean().item() == pytest.approx(128 / 255, abs=0.001)


def test_noise_of_sigma_zero_is_rounding():
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(send(x, "noise:0"), send(x, "8bit"))


def test_a_png_file_changes_nothing(photo):
    codes = to_float(photo)
    assert torch.equal(send(codes, "png"), codes)
    assert png_bytes(photo).startswith(b"\x89PNG")


@pytest.mark.parametrize(("channel", "low", "high"), [
    ("jpeg:90", 30, 45), ("jpeg:30", 25, 36), ("jpeg444:90", 32, 48), ("webp:80", 30, 45),
])
def test_a_lossy_file_changes_a_little(photo, channel, low, high):
    assert low < psnr(to_codes(send(to_float(photo), channel))[0], photo) < high


def test_a_lower_quality_costs_more_and_halved_chroma_costs_more(photo):
    db = {c: psnr(to_codes(send(to_float(photo), c))[0], photo) for c in ("jpeg444:90", "jpeg:90", "jpeg:30")}
    assert db["jpeg444:90"] > db["jpeg:90"] + 0.2
    assert db["jpeg:90"] > db["jpeg:30"] + 2


def test_each_image_of_a_batch_takes_its_own_file(photo):
    batch = torch.cat([to_float(photo), 1 - to_float(photo)])
    received = send(batch, "jpeg:90")
    assert torch.equal(received[1:], send(batch[1:], "jpeg:90"))
    assert psnr(to_codes(received[1]), 255 - photo) > 30


@pytest.mark.parametrize("channel", ["png", "jpeg:90", "webp:80"])
def test_one_channel_codes_travel_as_grey_files(photo, channel):
    grey = to_float(photo[:1])
    received = send(grey, channel)
    assert received.shape == grey.shape
    assert psnr(to_codes(received)[0], photo[:1]) > 30


def test_stages_happen_in_the_order_written(photo):
    x = to_float(photo)
    chained = send(x, "noise:0.02+jpeg:90", generator(5))
    assert torch.equal(chained, send(send(x, "noise:0.02", generator(5)), "jpeg:90"))
    assert not torch.equal(chained, send(x, "jpeg:90+noise:0.02", generator(5)))
    assert not math.isinf(psnr(to_codes(chained)[0], photo))


def saved(photo: torch.Tensor, path, **options):
    Image.fromarray(to_array(photo)).save(path, **options)
    return path


@pytest.mark.parametrize(("channel", "name", "options"), [
    ("8bit", "x.png", {}), ("noise:0.1", "x.png", {}), ("png", "x.png", {}), ("webp:80", "x.webp", {"quality": 80}),
    ("jpeg:30", "x.jpg", {"quality": 30, "subsampling": "4:2:0"}),
    ("8bit+jpeg444:90", "x.jpg", {"quality": 90, "subsampling": "4:4:4"}),
    ("8bit + webp:80", "x.webp", {"quality": 80}),  # spaces are taken too
])
def test_bytes_are_those_of_the_file(photo, tmp_path, channel, name, options):
    path = saved(photo, tmp_path / name, **options)
    assert Channel.parse(channel).bytes(to_float(photo), generator()) == path.stat().st_size


def test_the_last_stages_file_is_the_one_that_counts_and_holds_what_the_ones_before_made(photo, tmp_path):
    first = to_codes(send(to_float(photo), "jpeg:20"))[0]
    small = saved(first, tmp_path / "x.webp", quality=80)
    direct = saved(photo, tmp_path / "direct.webp", quality=80)
    sent = Channel.parse("jpeg:20+webp:80").bytes(to_float(photo), generator())
    assert sent == small.stat().st_size != direct.stat().st_size
    arrived = to_codes(send(to_float(photo), "jpeg:20+webp:80"))[0]
    assert psnr(from_array(read_image(small)), arrived) == math.inf


UNKNOWN = ["jpg:90", "", "8bit+", "noise:lots", "noise:", "noise:1e5", "jpeg:best", "gif", "jpeg:0", "jpeg:101",
           "webp:90.5", "jpeg:1e-5", "8bit:7", "png:7", "float:1", "shift:0.5", "resize:0", "resize:999999999",
           "cycles:0", "cycles:x", "8bit+cycles:2", "jpeg:60..95"]


@pytest.mark.parametrize("channel", UNKNOWN)
def test_an_unknown_stage_or_an_impossible_number_is_told_when_the_text_is_read(channel):
    with pytest.raises(BadInput, match="channel stage '"):
        Channel.parse(channel)
    with pytest.raises(BadInput, match="channel stage '"):
        send(torch.zeros(1, 3, 4, 4), channel)


def test_a_shift_of_more_than_the_width_is_told():
    with pytest.raises(BadInput, match="channel stage 'shift:4': the small image is only 4 pixels wide"):
        send(torch.zeros(1, 3, 4, 4), "shift:4")
    assert send(torch.zeros(1, 3, 4, 5), "shift:4").shape == (1, 3, 4, 5)


@pytest.mark.parametrize("text", [*STAGES, "float", "noise:0.02+jpeg:90", "cycles:5", "cycles:5+jpeg:30",
                                  "noise:0.00392", "noise:2e-05", "jpeg"])
def test_a_channel_is_written_as_it_was_read(text):
    channel = Channel.parse(text)
    assert str(channel) == text
    assert Channel.parse(str(channel)) == channel
    assert hash(channel) == hash(Channel.parse(text))
    assert str(Channel.parse(text.replace("+", " + "))) == text


def test_a_channel_says_what_happens_in_it():
    assert Channel.parse("cycles:5").cycles == 5 and Channel.parse("cycles:5+jpeg:30").cycles == 5
    assert Channel.parse("8bit").cycles == 1
    assert [Channel.parse(t).sigma for t in ("8bit", "noise:0.1", "jpeg:90+noise:0.02")] == [0, 0.1, 0.02]
    texts = [Channel.parse(t).words for t in (*STAGES, "float", "jpeg444:90+shift:1")]
    assert len(set(texts)) == len(texts) and all(texts)


def test_a_channel_sends_what_its_text_sends(photo):
    for text in (*STAGES, "noise:0.02+jpeg:90"):
        x = to_float(photo)
        assert torch.equal(Channel.parse(text).send(x, generator()), send(x, text, generator()))
        assert torch.equal(send(x, Channel.parse(text), generator()), send(x, text, generator()))


def test_what_a_channel_wants_of_the_large_image(photo):
    def wanted(text):
        return Channel.parse(text).wanted(photo, 4)

    for text in ("8bit", "jpeg:90", "noise:0.1", "resize:0.9", "float"):
        image, lost = wanted(text)
        assert torch.equal(image, photo) and lost == 0
    image, lost = wanted("gamma:2")
    assert (image.int() - (photo.double() / 255).square().mul(255).round().int()).abs().max() <= 1 and lost == 0
    for text in ("shift:3", "shift:1+jpeg:90+shift:2"):
        image, lost = wanted(text)
        assert torch.equal(image, photo[..., :-12]) and lost == 12


def test_ranges_are_checked_before_anything_is_drawn_from_them():
    check_draws(("8bit", "jpeg:60..95", "noise:0..0.1", "webp:80"))
    for text in ("jpeg:60..101", "jpeg:0..95", "noise:0..lots", "noise:..1", "fog", "8bit:1..2", "jpeg:60.."):
        with pytest.raises(BadInput, match="channel stage '"):
            check_draws(("8bit", text))


def test_every_kind_of_stage_is_tried_here():
    assert {Channel.parse(text).stages[0].kind for text in (*STAGES, "float")} == set(KINDS)
