"""The classifier after Zhang et al. 2016: bins, soft targets, rebalancing, the annealed mean."""
from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2lab

from tadlib.data import sets
from tadlib.data.patches import bin_weights
from tadlib.evaluation.metrics import psnr
from tadlib.losses import bins_loss
from tadlib.networks import build, cic
from tadlib.pixels import rgb_to_y, to_codes, to_float


def test_every_8_bit_colour_lies_within_a_bin():
    rgb = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    ab = torch.from_numpy(rgb2lab(rgb.numpy())[:, 1:]).float()
    _, distance = cic.nearest(ab, 1)
    assert distance.max() <= 50**0.5 + 1e-3  # half the diagonal of a bin
    assert len(cic.bins()) == len(cic.bins().unique(dim=0))
    assert build("cic_color").decoder.walk[-1][2] == len(cic.bins())


def test_a_soft_target_is_a_distribution_over_the_five_nearest_bins_with_the_nearest_first():
    ab = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    target = cic.soft_targets(ab)
    assert target.sum(1) == pytest.approx(1)
    assert (target > 0).sum(1).tolist() == [5, 5]
    assert cic.bins()[target.argmax(1)].tolist() == [[0, 0], [0, 0]]
    ratio = target[0].topk(2).values
    assert ratio[1] / ratio[0] == pytest.approx(torch.exp(torch.tensor(-(10**2) / (2 * 5**2))).item(), rel=1e-4)


def test_rare_colours_weigh_more_and_the_mean_over_pixels_is_one(write_set):
    image = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    image[:, :4, :4] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]  # one of 256 coarse pixels is red
    weight = bin_weights((write_set("mostly_grey", {"a": image}),))
    grey = cic.nearest(torch.zeros(1, 2), 1)[0].item()
    red = cic.nearest(torch.from_numpy(rgb2lab([[[1.0, 0, 0]]])[0, :, 1:]).float(), 1)[0].item()
    assert weight[red] > 5 * weight[grey]
    assert (255 * weight[grey] + weight[red]) / 256 == pytest.approx(1, abs=1e-5)


def test_scores_of_the_true_colours_bring_them_back_on_the_light_of_y(photo):
    hr = to_float(photo)
    target = cic.soft_targets(cic.small_ab(hr)).view(1, 24, 32, -1).permute(0, 3, 1, 2)
    back = cic.coloured((target + 1e-9).log() * cic.TEMPERATURE, rgb_to_y(hr))
    grey = build("grey").decode(rgb_to_y(hr), 1)
    got, without = (psnr(to_codes(x)[0], photo) for x in (back, grey))
    assert got > without + 5


def test_the_loss_is_least_at_the_target_and_moves_the_network(photo):
    hr, weights = to_float(photo), bin_weights(("SampleTrain",))
    target = cic.soft_targets(cic.small_ab(hr)).view(1, 24, 32, -1).permute(0, 3, 1, 2)
    right, even = (target + 1e-6).log(), torch.zeros_like(target)
    assert bins_loss(right, hr, weights) < 0.5 * bins_loss(even, hr, weights)
    net = build("cic_color")
    bins_loss(net.repeated(net.encode(hr, 1), 1), hr, weights).backward()
    assert net.decoder.last_conv().weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (33, 50)])
def test_any_size_gets_colours(size):
    assert build("cic_color").decode(torch.rand(1, 1, *size), 1).shape == (1, 3, *size)


def test_light_is_kept(photo):
    y = rgb_to_y(to_float(photo))
    lab = cic.to_lab(build("cic_color").decode(y, 1))
    grey = cic.to_lab(build("grey").decode(y, 1))
    assert (lab[:, 0] - grey[:, 0]).abs().mean() < 1.5  # but where a colour is out of gamut


def test_known_sets_are_counted_once():
    bin_weights.cache_clear()
    assert torch.equal(bin_weights(("SampleTrain",)), bin_weights(("SampleTrain",)))
    assert bin_weights.cache_info().hits == 1
    assert sets.is_here("SampleTrain")
