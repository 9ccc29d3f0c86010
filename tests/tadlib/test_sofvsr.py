"""SOF-VSR: parameters and work as published, warping along known flows, losses that are least where they should be."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tadlib.losses import flow_loss, sofvsr_loss, total_variation
from tadlib.networks import build
from tadlib.networks.sofvsr import SOFVSR, Flows, enlarge, warp
from tadlib.networks.tad import multiply_adds
from tadlib.pixels import rgb_to_y, to_float


@pytest.fixture
def y(photo):
    return rgb_to_y(to_float(photo))  # (1, 1, 96, 128)


def constant(dx: float, dy: float, h: int, w: int) -> torch.Tensor:
    return torch.tensor([float(dx), dy]).view(1, 2, 1, 1).expand(1, 2, h, w)


@pytest.mark.parametrize(("scale", "total", "flow"), [(4, 1_639_676, 617_772), (2, 1_596_584, 595_284)])
def test_parameters_are_as_published(scale, total, flow):
    net = SOFVSR(scale)
    assert sum(p.numel() for p in net.parameters()) == total
    assert sum(p.numel() for p in net.flow.parameters()) == flow
    biased = [n for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d) and m.bias is not None]
    assert biased == ["flow.level1.tail", "flow.level2.tail", "flow.level3.tail", "tail"]


def dense(layers: int, channels: int) -> int:
    """Multiply-adds of a dense block of growth 32 for a pixel."""
    return sum(9 * (channels + 32 * n) * 32 for n in range(layers)) + (channels + 32 * layers) * channels


@pytest.mark.parametrize("scale", [2, 4])
def test_multiply_adds_are_those_of_its_convolutions(scale):
    n = scale**2
    sr = 9 * (3 + 2 * n) * 64 + 5 * dense(5, 64) + 6 * 64 * n + 9 * n * n  # at the LR size, as all but level 1
    level = {o: 2 * dense(4, 32) + 9 * 64 * o + 9 * o * o for o in (2, 2 * n)}
    flow = (9 * 2 * 32 + level[2]) / 4 + (9 * 6 * 32 + level[2]) + (9 * 6 * 32 + level[2 * n])
    assert SOFVSR(scale).multiply_adds() == pytest.approx((sr + 2 * flow) / n)


def test_multiply_adds_of_a_net_whose_decoder_it_is():
    down, up = multiply_adds(build("aetad_sofvsr"), 4)
    assert down == multiply_adds(build("aetad"), 4)[0]
    assert up == multiply_adds(build("sofvsr"), 4)[1] == SOFVSR(4).multiply_adds()
    assert multiply_adds(build("sofvsr"), 4)[0] == 0


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
def test_shapes(scale, size):
    frames = torch.rand(2, 3, *size)
    sr, (before, after) = SOFVSR(scale).with_flows(frames)
    big = tuple(n * scale for n in size)
    assert sr.shape == (2, 1, *big)
    for flow in (before, after):
        assert flow.half.shape == (2, 2, size[0] // 2, size[1] // 2)
        assert flow.lr.shape == (2, 2, *size) and flow.hr.shape == (2, 2, *big)


def test_warping_along_a_known_translation_brings_the_frame_back(y):
    moved = y.roll((3, 5), (2, 3))  # three down, five to the right
    back = warp(moved, constant(5, 3, 96, 128))
    assert torch.allclose(back[..., :-3, :-5], y[..., :-3, :-5], atol=1e-5)
    assert torch.allclose(warp(y, constant(0, 0, 96, 128)), y, atol=1e-5)


def test_half_a_pixel_is_the_mean_of_two(y):
    half = warp(y, constant(0.5, 0, 96, 128))
    assert torch.allclose(half[..., :-1], (y[..., :-1] + y[..., 1:]) / 2, atol=1e-5)


def test_beyond_the_border_the_border_is_repeated(y):
    out = warp(y, constant(-1000, 0, 96, 128))
    assert torch.allclose(out, y[..., :1].expand_as(y), atol=1e-5)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_far_from_the_corner_a_flow_of_16_bits_is_exact_too(kind):
    """bfloat16 holds whole numbers up to 256 only: a position computed in it is off by pixels."""
    frame = torch.rand(1, 1, 3, 1200, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(warp(frame, torch.zeros(1, 2, 3, 1200, dtype=kind)), frame, atol=1e-3)
    moved = warp(frame.to(kind), constant(3, 0, 3, 1200).to(kind))
    assert moved.dtype == torch.float32
    assert torch.allclose(moved[..., :-3], frame[..., 3:], atol=6e-3)  # what the frame itself lost to 16 bits


def test_a_flow_grows_with_its_frame():
    big = enlarge(constant(1, -2, 6, 8), (24, 32))
    assert torch.allclose(big, constant(4, -8, 24, 32))


def test_the_hr_flow_moves_the_lr_frame_by_a_part_for_each_phase():
    """A flow of 4 HR pixels is one LR pixel: all 16 moved frames are the frame one pixel further."""
    frame = torch.rand(1, 1, 6, 8)
    moved = SOFVSR(4)._moved(frame, constant(4, 0, 24, 32))
    assert moved.shape == (1, 16, 6, 8)
    assert torch.allclose(moved[..., :-1], frame[..., 1:].expand(1, 16, 6, 7), atol=1e-5)
    flow = torch.zeros(1, 2, 24, 32)
    flow[:, 0, 1::4, 2::4] = 4  # only phase (1, 2), the seventh
    one = SOFVSR(4)._moved(frame, flow)
    still = [n for n in range(16) if torch.allclose(one[:, n], frame[:, 0], atol=1e-5)]
    assert still == [n for n in range(16) if n != 6]


def test_the_true_flow_has_a_smaller_loss_than_none_or_its_opposite(y):
    hr, lr = y, F.interpolate(y, scale_factor=0.25, mode="bilinear", antialias=True)
    moved_hr = hr.roll(8, 3)
    moved_lr = F.interpolate(moved_hr, scale_factor=0.25, mode="bilinear", antialias=True)

    def loss(dx):
        flows = Flows(constant(dx / 8, 0, 12, 16), constant(dx / 4, 0, 24, 32), constant(dx, 0, 96, 128))
        return flow_loss(flows, moved_lr, lr, moved_hr, hr)

    assert loss(8.0) < 0.5 * loss(0.0) < loss(-8.0)


def test_variation_is_none_for_a_constant_flow_and_known_for_a_ramp():
    assert total_variation(constant(3, 4, 5, 6)) == 0
    ramp = torch.arange(6.0).expand(1, 2, 5, 6)
    assert total_variation(ramp) == 1


def test_the_loss_reaches_every_parameter(y):
    hr = torch.cat([y.roll(n, 3) for n in (-2, 0, 2)], 1)[..., :64, :64]
    lr = F.interpolate(hr, scale_factor=0.25, mode="bilinear", antialias=True)
    net = SOFVSR(4)
    sofvsr_loss(net, lr, hr).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
