"""The two tasks: what X_SLR has to resemble, and what each of them calls its things."""
from __future__ import annotations

import pytest
import torch

from tadlib.networks import ZOO
from tadlib.pixels import rgb_to_y, to_float
from tadlib.resize import downscale
from tadlib.tasks import COLOUR, SR, TASKS, guidance


def test_guidance_is_clamped_where_downscaling_overshoots():
    edge = torch.zeros(1, 3, 32, 32)
    edge[..., 16:] = 1
    assert downscale(edge, 2).min() < -0.01
    assert downscale(edge, 2).max() > 1.01
    assert torch.equal(guidance(edge, 2), downscale(edge, 2).clamp(0, 1))


def test_guidance_of_colour_is_luma_at_full_size(photo):
    x = to_float(photo)
    assert torch.equal(guidance(x, 1, "y"), rgb_to_y(x))
    assert guidance(x, 1, "y").shape == (1, 1, 96, 128)


def test_guidance_kinds_differ(photo):
    x = to_float(photo)
    assert (guidance(x, 4, "bicubic") - guidance(x, 4, "bilinear")).abs().max() > 0.02


@pytest.mark.parametrize(("h", "w"), [(9, 8), (8, 9), (7, 7)])
def test_an_image_that_does_not_divide_has_no_guidance(h, w):
    with pytest.raises(ValueError, match=f"{h}x{w} is not a multiple of 4: crop or pad first"):
        guidance(torch.zeros(1, 3, h, w), 4)


def test_a_task_says_how_many_channels_its_code_has_and_what_guides_it():
    assert TASKS == {"sr": SR, "colour": COLOUR}
    assert [(task.code, task.guide) for task in (SR, COLOUR)] == [(3, "bicubic"), (1, "y")]
    assert all((s.code, s.guided) == (TASKS[s.task].code, TASKS[s.task].guide) for s in ZOO.values())
    x = torch.rand(1, 3, 8, 8)
    for task, scale in ((SR, 4), (COLOUR, 1)):
        assert guidance(x, scale, task.guide).shape == (1, task.code, 8 // scale, 8 // scale)
    assert not set(SR.commands) & set(COLOUR.commands)
