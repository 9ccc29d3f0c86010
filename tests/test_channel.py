"""What arrives of X_SLR: 8-bit codes, noise of the stated size, real files; and what the gradient does there."""
from __future__ import annotations

import math

import pytest
import torch

from tadlib.channel import bytes_sent, draw, file_bytes, quantize, send
from tadlib.evaluation import psnr
from tadlib.images import read_image, to_codes, to_float, to_pil

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
    drawn = [draw(("8bit", "jpeg:60..95", "noise:0..0.1"), rng) for _ in range(300)]
    assert {d.partition(":")[0] for d in drawn} == {"8bit", "jpeg", "noise"}
    qualities = [d.partition(":")[2] for d in drawn if d.startswith("jpeg")]
    assert all(60 <= int(q) <= 95 for q in qualities) and len(set(qualities)) > 20
    assert all(0 <= float(d.partition(":")[2]) <= 0.1 for d in drawn if d.startswith("noise"))
    for d in drawn[:20]:
        assert send(torch.rand(1, 3, 16, 16), d, rng).shape == (1, 3, 16, 16)
    again = generator()
    assert [draw(("8bit", "jpeg:60..95", "noise:0..0.1"), again) for _ in range(300)] == drawn


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
    assert file_bytes(photo).startswith(b"\x89PNG")


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


@pytest.mark.parametrize(("channel", "name", "options"), [
    ("8bit", "x.png", {}), ("noise:0.1", "x.png", {}), ("png", "x.png", {}), ("webp:80", "x.webp", {"quality": 80}),
    ("jpeg:30", "x.jpg", {"quality": 30, "subsampling": "4:2:0"}),
    ("8bit+jpeg444:90", "x.jpg", {"quality": 90, "subsampling": "4:4:4"}),
    ("8bit + webp:80", "x.webp", {"quality": 80}),  # `send` takes spaces too
])
def test_bytes_sent_are_those_of_the_file(photo, tmp_path, channel, name, options):
    to_pil(photo).save(tmp_path / name, **options)
    assert bytes_sent(to_float(photo), channel) == (tmp_path / name).stat().st_size


def test_the_last_stages_file_is_the_one_that_counts_and_holds_what_the_ones_before_made(photo, tmp_path):
    first = to_codes(send(to_float(photo), "jpeg:20"))[0]
    to_pil(first).save(tmp_path / "x.webp", quality=80)
    to_pil(photo).save(tmp_path / "direct.webp", quality=80)
    sent = bytes_sent(to_float(photo), "jpeg:20+webp:80")
    assert sent == (tmp_path / "x.webp").stat().st_size != (tmp_path / "direct.webp").stat().st_size
    assert psnr(read_image(tmp_path / "x.webp"), to_codes(send(to_float(photo), "jpeg:20+webp:80"))[0]) == math.inf


@pytest.mark.parametrize("channel", ["jpg:90", "", "8bit+", "noise:lots", "noise:", "noise:1e5", "jpeg:best", "gif",
                                     "jpeg:0", "jpeg:101", "webp:90.5", "jpeg:1e-5", "8bit:7", "png:7", "float:1",
                                     "shift:4", "shift:0.5", "resize:0", "resize:999999999"])
def test_an_unknown_stage_or_an_impossible_number_is_told(channel):
    with pytest.raises(ValueError, match="channel stage '"):
        send(torch.zeros(1, 3, 4, 4), channel)
