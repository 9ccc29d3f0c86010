"""What a training compares: X_SHR, colour bins, SOF-VSR's own loss, or motion; and OpenCV's flow, by its sign."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tadlib.data.patches import ClipPatches, bin_weights
from tadlib.losses import bins_loss, sofvsr_loss, task_loss
from tadlib.networks import ZOO, build
from tadlib.networks.sofvsr import enlarge, warp
from tadlib.pixels import rgb_to_y, to_float
from tadlib.run import Run
from tadlib.tasks import guidance
from tadlib.training.loop import arrived
from tadlib.training.objectives import L1, Bins, Motion, Warped, farneback, objective

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")

# ------------------------------------------------------------------------------------------------------- which one

def test_a_run_has_the_objective_of_its_aim_or_of_its_head():
    for name, kind in {"aetad": L1, "vdsr": L1, "color_shuffle": L1, "joint_x4": L1, "cic_color": Bins,
                       "sofvsr": Warped, "aetad_sofvsr": Warped}.items():
        assert type(objective(replace(TINY, model=name))) is kind, name
    for aim in ("farneback", "flow"):
        found = objective(replace(TINY, model="aetad_sofvsr", aim=aim))
        assert type(found) is Motion and found.by == aim
    squares = {s.name for s in ZOO.values() if objective(replace(TINY, model=s.name)).power == 2}
    assert squares == {"sofvsr", "aetad_sofvsr"}  # what a jump of the loss is held against


def test_an_image_is_compared_with_the_image():
    net, hr = TINY.build(), torch.rand(2, 3, 16, 16)
    received = torch.rand(2, 3, 8, 8)
    assert objective(TINY)(net, received, hr, 2) == task_loss(net.decode(received, 2), hr)


def test_a_classifier_is_compared_by_its_scores(photo):
    run = Run("cic", "cic_color", scale=1, train=("SampleTrain",), profile="smoke")
    net, hr = run.build(), to_float(photo[:, :32, :32])
    y = rgb_to_y(hr)
    logits = net.repeated(y, 1)
    assert logits.shape == (1, 260, 8, 8)
    weights = bin_weights(("SampleTrain",))
    assert objective(run)(net, y, hr, 1) == bins_loss(logits, hr, weights)
    with torch.autocast("cpu", torch.bfloat16):  # the layers alone compute in 16 bits
        coarse, term = net.repeated(y, 1), objective(run)(net, y, hr, 1)
    assert term == bins_loss(coarse.float(), hr, weights) != bins_loss(logits, hr, weights)


# ------------------------------------------------------------------------------------------------------- motion

def on_clips(size: int, count: int, **fields):
    """(the task term of a training step, X_GD, X_SLR, the network, the codes), with weights that change much."""
    torch.manual_seed(0)
    run = replace(TINY, model="aetad_sofvsr", scale=4, **fields)
    net = build("aetad_sofvsr", start="default")
    codes = ClipPatches(run.train, size).batch(count, run.generator("patches", 0))
    hr = codes.flatten(0, 1) / 255
    guide = guidance(hr, 4)
    slr = net.encode(hr, 4, guide)
    return objective(run)(net, arrived(run, slr, 0), hr, 4), guide, slr, net, codes


def test_sofvsr_gives_its_own_loss_of_luma():
    task, _, slr, net, codes = on_clips(32, 2)
    received = arrived(TINY, slr, 0)
    small, large = rgb_to_y(received), rgb_to_y(codes.flatten(0, 1) / 255)
    expected = sofvsr_loss(net.decoder, small.view(2, 3, 8, 8), large.view(2, 3, 32, 32))
    assert task.ndim == 0
    torch.testing.assert_close(task, expected)


def test_motion_as_opencv_sees_it_teaches_the_encoder_nothing_and_as_the_flow_net_sees_it_something():
    seen, guide, slr, net, _ = on_clips(64, 1, aim="farneback")
    assert seen.ndim == 0 and seen > 0
    assert not seen.requires_grad  # it counts in the loss, and no gradient comes from it
    alone, *both = (torch.autograd.grad(loss, list(net.encoder.parameters()), retain_graph=True)
                    for latent in [(slr - guide).abs().mean()] for loss in (latent, latent + seen, latent + 100 * seen))
    assert all(torch.equal(g, a) for found in both for g, a in zip(found, alone, strict=True))
    flow, _, _, net, _ = on_clips(64, 1, aim="flow")
    assert all(g.abs().max() > 1e-6 for g in torch.autograd.grad(flow, list(net.encoder.parameters())))


def test_motion_is_held_against_that_in_the_hr_frames_in_hr_pixels():
    error, _, slr, _, codes = on_clips(64, 1, aim="farneback")
    small, large = rgb_to_y(arrived(TINY, slr, 0)), rgb_to_y(codes[0] / 255)
    by_hand = [(enlarge(farneback(small[n : n + 1], small[1:2]), (64, 64)) - farneback(large[n : n + 1], large[1:2])
                ).abs().mean() for n in (0, 2)]
    assert error.item() == pytest.approx(float(sum(by_hand) / 2), rel=1e-5)


# ------------------------------------------------------------------------------------------------------- farneback

@pytest.fixture
def moved(photo):
    """A centre frame (1, 1, 72, 96) of Y; moved(dx, dy): its neighbour, in which all lies so far right and down."""
    y = rgb_to_y(to_float(photo))

    def by(dx: int, dy: int) -> Tensor:
        return y[..., 12 - dy : 84 - dy, 16 - dx : 112 - dx]

    return by


@pytest.mark.parametrize(("dx", "dy"), [(3, 2), (-2, 3), (4, -1), (0, -3)])
def test_a_known_translation_is_found_with_the_sign_that_warp_expects(moved, dx, dy):
    centre, neighbour = moved(0, 0), moved(dx, dy)
    flow = farneback(neighbour, centre)
    assert (flow.dtype, flow.shape) == (torch.float32, (1, 2, 72, 96))
    assert flow[0].flatten(1).median(1).values.tolist() == pytest.approx([dx, dy], abs=0.2)

    def error(x):
        return (x - centre)[..., 8:-8, 8:-8].abs().mean()

    assert error(warp(neighbour, flow)) < 0.3 * error(neighbour)
    assert error(warp(neighbour, -flow)) > error(neighbour)


def test_each_frame_of_a_batch_has_its_own_flow_and_no_gradient(moved):
    centre, neighbours = moved(0, 0).repeat(2, 1, 1, 1), torch.cat([moved(3, 0), moved(0, -2)])
    flows = farneback(neighbours.requires_grad_(), centre.requires_grad_())
    assert not flows.requires_grad
    assert flows.shape == (2, 2, 72, 96)
    for n, neighbour in enumerate((moved(3, 0), moved(0, -2))):
        assert torch.equal(flows[n : n + 1], farneback(neighbour, moved(0, 0)))


def test_frames_are_clamped_and_rounded_to_8_bit(moved):
    centre, neighbour = moved(0, 0), moved(2, 1).mul(255).round() / 255
    assert torch.equal(farneback(neighbour + 0.4 / 255, centre), farneback(neighbour, centre))
    assert not torch.equal(farneback((neighbour * 255 + 0.6 * (neighbour > 0.4)) / 255, centre),
                           farneback(neighbour, centre))
    assert torch.equal(farneback(neighbour, 2 * centre - 0.5), farneback(neighbour, (2 * centre - 0.5).clamp(0, 1)))


def test_still_frames_have_no_flow(moved):
    assert farneback(moved(0, 0), moved(0, 0))[..., 8:-8, 8:-8].abs().max() < 0.02
