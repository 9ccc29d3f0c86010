"""The two terms of the loss, and the epsilon-ball at its edge. Deviations here are exact binary fractions."""
from __future__ import annotations

import pytest
import torch

from tadlib.losses import latent_loss, task_loss

STEP = 1e-4  # just under, just over


def half_deviating(d: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A code that leaves the guidance image by d on half of its pixels: mean d / 2, largest d."""
    guide = torch.full((1, 3, 4, 4), 0.5)
    slr = guide.clone()
    slr[..., ::2] += d
    return slr.requires_grad_(), guide


# mean deviation 1/64 of the range, largest 1/32
EDGE = {"observed": 50.0, "range": 100 / 64, "levels": 255 / 64}


@pytest.mark.parametrize("reading", EDGE)
def test_the_gate_at_its_edge(reading):
    slr, guide = half_deviating(1 / 32)
    just_under = latent_loss(slr, guide, EDGE[reading] * (1 + STEP), reading)  # the deviation is below epsilon
    just_over = latent_loss(slr, guide, EDGE[reading] * (1 - STEP), reading)
    assert (just_under.open, just_under.loss.item()) == (False, 0)
    assert (just_over.open, just_over.loss.item()) == (True, 1 / 64)


@pytest.mark.parametrize("reading", ["observed", "range"])
def test_on_the_edge_the_gate_is_open(reading):  # the report writes >=
    assert latent_loss(*half_deviating(1 / 32), EDGE[reading], reading).open


@pytest.mark.parametrize("reading", EDGE)
@pytest.mark.parametrize("d", [0.0, 1 / 1024, 1 / 2])
def test_epsilon_zero_is_always_open(reading, d):
    got = latent_loss(*half_deviating(d), 0.0, reading)
    assert got.open
    assert got.loss.item() == d / 2


def test_the_literal_reading_ignores_the_size_of_the_deviation():
    for d in (1 / 1024, 1 / 4):
        got = latent_loss(*half_deviating(d), 20, "observed")
        assert got.open
        assert got.of_observed == 50
        assert got.of_range == 50 * d


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_inside_the_ball_there_is_neither_loss_nor_gradient(kind):
    slr, guide = half_deviating(1 / 32)
    hr, shr = torch.zeros(1), (slr * 0).sum()[None]  # hangs on slr, without pulling it
    got = latent_loss(slr, guide, 2, "range", kind)
    (task_loss(shr, hr) + got.loss).backward()
    assert got.loss.item() == 0
    assert torch.equal(slr.grad, torch.zeros_like(slr))


def test_outside_the_ball_the_gradient_is_the_sign():
    slr, guide = half_deviating(1 / 32)
    latent_loss(slr, guide, 1, "range").loss.backward()
    assert torch.equal(slr.grad[..., ::2], torch.full((1, 3, 4, 2), 1 / 48))
    assert slr.grad[..., 1::2].abs().max() == 0


def test_l2_by_hand():
    slr, guide = half_deviating(1 / 4)
    assert latent_loss(slr, guide, kind="l2").loss.item() == 1 / 32


def test_hinge_lets_each_pixel_pay_for_what_exceeds_epsilon():
    guide = torch.zeros(1, 1, 1, 4)
    slr = torch.tensor([0.0, 1 / 32, -3 / 32, 1 / 8]).view(1, 1, 1, 4).requires_grad_()
    got = latent_loss(slr, guide, 100 / 16, kind="hinge")  # allowed: 1/16
    assert got.open
    assert got.loss.item() == (1 / 32 + 1 / 16) / 4
    got.loss.backward()
    assert slr.grad.flatten().tolist() == [0, 0, -1 / 4, 1 / 4]


def test_task_loss_is_the_mean_absolute_deviation():
    assert task_loss(torch.tensor([0.0, 1.0, 0.5]), torch.tensor([0.5, 0.5, 0.5])).item() == pytest.approx(1 / 3)


def test_unknown_words_are_told():
    with pytest.raises(ValueError, match="reading 'percent': not one of observed, range, levels"):
        latent_loss(*half_deviating(0.1), reading="percent")
    with pytest.raises(ValueError, match="latent term 'ssim': not one of l1, l2, hinge"):
        latent_loss(*half_deviating(0.1), kind="ssim")
