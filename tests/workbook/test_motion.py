"""Optical flow: files are read or told, errors and colours are what one expects, a table is measured once."""
from __future__ import annotations

import itertools
import struct
import warnings

import pytest
import torch
from torch import Tensor, nan

from tadlib import networks, settings
from tadlib.errors import BadInput
from tadlib.files import read_image
from tadlib.networks.sofvsr import warp
from tadlib.pixels import from_array, rgb_to_y, to_float
from tadlib.training.objectives import farneback
from workbook import motion
from workbook.motion import end_point_error, painted, read_flow, wheel


def constant(dx: float, dy: float, h: int = 4, w: int = 5) -> Tensor:
    return torch.tensor([dx, dy]).view(2, 1, 1).repeat(1, h, w)


# ------------------------------------------------------------------------------------------------------- files

def flo(width: int, height: int, *vectors: tuple[float, float]) -> bytes:
    """A .flo file as Middlebury describes it: a tag, width and height, then x and y of each vector, row by row."""
    return b"PIEH" + struct.pack("<ii", width, height) + b"".join(struct.pack("<ff", *v) for v in vectors)


def test_a_flow_file_is_read_row_by_row_with_unknown_vectors_as_nan(tmp_path):
    path = tmp_path / "a.flo"
    path.write_bytes(flo(3, 2, (1, 2), (3, 4), (1.6666667e9, 1.6666667e9), (-5.5, 6), (0, 1e10), (9, 0.25)))
    flow = read_flow(path)
    assert flow.dtype == torch.float32
    expected = torch.tensor([[[1, 3, nan], [-5.5, nan, 9]], [[2, 4, nan], [6, nan, 0.25]]])
    torch.testing.assert_close(flow, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(read_flow(str(path)).nan_to_num(), flow.nan_to_num())


@pytest.mark.parametrize("data", [
    b"", b"PIEH", b"PIEH\x01\x00\x00", b"not a flow file at all", flo(2, 1, (1, 2)), flo(1, 1, (1, 2), (3, 4)),
    flo(1, 1, (1, 2))[:-1], b"HEIP" + flo(1, 1, (1, 2))[4:], flo(-1, -1, (1, 2)), flo(-1, 1, (1, 2)), flo(0, 0),
    flo(2**31 - 1, 2**31 - 1), flo(2**30, 8, (1, 2)),
], ids=["empty", "tag alone", "cut header", "text", "too short", "too long", "cut", "wrong tag", "negative",
        "one negative", "no pixels", "huge", "overflow"])
def test_a_bad_flow_file_is_told_in_one_line(tmp_path, data):
    path = tmp_path / "bad.flo"
    path.write_bytes(data)
    with warnings.catch_warnings(), pytest.raises(BadInput, match=r"bad\.flo: not a flow file \(.+\)$") as told:
        warnings.simplefilter("error")
        read_flow(path)
    assert "\n" not in str(told.value)


def test_a_flow_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"none\.flo: not a flow file \(No such file or directory\)"):
        read_flow(tmp_path / "none.flo")
    with pytest.raises(BadInput, match=r"not a flow file \(Is a directory\)"):
        read_flow(tmp_path)


def test_farneback_on_a_real_scene_is_near_the_truth_and_the_truth_is_of_that_sign():
    folder = settings.data_folder() / "Middlebury" / "RubberWhale"
    if not folder.exists():
        pytest.skip("Middlebury is not on this machine (TAD_DATA)")
    centre, neighbour = (rgb_to_y(to_float(from_array(read_image(folder / f"frame{n}.png")))) for n in (10, 11))
    truth, found = read_flow(folder / "flow10.flo"), farneback(neighbour, centre)[0]
    assert truth.shape == found.shape
    assert 0 < truth.isnan().float().mean() < 0.1
    assert end_point_error(found, truth) < 0.5 * end_point_error(torch.zeros_like(truth), truth)
    assert (warp(neighbour, truth.nan_to_num()[None]) - centre).abs().mean() < 0.6 * (neighbour - centre).abs().mean()


# ------------------------------------------------------------------------------------------------------- error

def test_the_end_point_error_by_hand():
    truth = torch.zeros(2, 1, 4)
    flow = torch.tensor([[[3.0, 0, 0, 5]], [[4.0, 0, 1, 12]]])
    assert end_point_error(flow, truth) == pytest.approx((5 + 0 + 1 + 13) / 4)
    assert end_point_error(flow, flow) == 0
    assert isinstance(end_point_error(flow, truth), float)


def test_where_the_truth_is_unknown_no_error_counts():
    flow, truth = constant(3, 4, 1, 3), torch.tensor([[[0, nan, 3.0]], [[0, nan, 4.0]]])
    assert end_point_error(flow, truth) == pytest.approx(2.5)  # 5 and 0


# ------------------------------------------------------------------------------------------------------- colours

def hue(dx: float, dy: float) -> float:
    """Degrees on the colour circle of what the picture of a flow shows."""
    r, g, b = (painted(constant(dx, dy))[:, 0, 0].double() / 255).tolist()
    return torch.atan2(torch.tensor(3**0.5 * (g - b)), torch.tensor(2 * r - g - b)).rad2deg().item() % 360


def test_opposite_directions_have_opposite_hues_and_each_its_own():
    right, down, left, up = (hue(*v) for v in ((1, 0), (0, 1), (-1, 0), (0, -1)))
    for one, other in ((right, left), (down, up)):
        assert (one - other) % 360 == pytest.approx(180, abs=3)
    assert (down - right) % 180 == pytest.approx(90, abs=3)
    assert hue(5, 0) == hue(1, 0)  # whatever the length


def test_the_hue_goes_once_around():
    angles = torch.arange(0, 360, 10).deg2rad()
    hues = torch.tensor([hue(float(a.cos()), float(a.sin())) for a in angles])
    steps = (hues.roll(-1) - hues) % 360
    steps = torch.where(steps > 180, steps - 360, steps)
    assert abs(steps.sum()) == pytest.approx(360, abs=1)
    assert (steps.abs() - 10).abs().max() < 6 and (steps.sign() == steps[0].sign()).all()


def test_no_motion_is_white_the_unknown_black_and_saturation_the_length():
    flow = torch.tensor([[[0.0, nan, 2.0, 4.0]], [[0.0, 1.0, 0.0, 0.0]]])
    picture = painted(flow)
    assert (picture.dtype, picture.shape) == (torch.uint8, (3, 1, 4))
    white, black, half, full = picture[:, 0].T
    assert white.tolist() == [255] * 3 and black.tolist() == [0] * 3
    assert (full.max(), full.min()) == (255, 0)
    assert half.max() == 255 and half.min() == pytest.approx(128, abs=1)


def test_a_length_can_be_that_of_full_saturation_and_longer_ones_look_alike():
    assert torch.equal(painted(constant(2, 0), 4), painted(constant(1, 0), 2))
    assert painted(constant(2, 0), 4).min() > 100 and painted(constant(2, 0)).min() == 0
    assert torch.equal(painted(constant(9, 0), 4), painted(constant(4, 0), 4))
    assert (painted(torch.zeros(2, 3, 3)) == 255).all()  # of no motion at all there is no longest
    assert (painted(torch.full((2, 3, 3), nan)) == 0).all()


def test_the_wheel_shows_each_direction_where_it_points_to():
    key = wheel(65)
    assert (key.dtype, key.shape) == (torch.uint8, (3, 65, 65))
    assert (key[:, 32, 32] > 250).all()
    assert (key[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    for (y, x), direction in {(32, 64): (1, 0), (32, 0): (-1, 0), (64, 32): (0, 1), (0, 32): (0, -1)}.items():
        assert (key[:, y, x].int() - painted(constant(*direction), 1)[:, 0, 0].int()).abs().max() <= 2
    assert wheel().shape == (3, 96, 96)


# ------------------------------------------------------------------------------------------------------- table

def test_flow_is_measured_where_the_scenes_are_or_as_it_was_stored(own_results, no_data, monkeypatch):
    torch.manual_seed(0)
    encoders, vsr = {"mine": networks.build("aetad").eval()}, networks.build("sofvsr").eval()
    table = motion.flow_table(encoders, vsr, "smoke").set_index(["frames", "by"])["end-point error"]
    assert set(table.index) == set(itertools.product(("HR", "bicubic", "mine"), ("Farneback", "flow net")))
    assert max(table["HR", "Farneback"], table["bicubic", "Farneback"]) < 0.3 < table["bicubic", "flow net"]
    monkeypatch.setattr(motion, "flows", lambda *args: pytest.fail("measured again"))
    again = motion.flow_table(encoders, vsr, "smoke").set_index(["frames", "by"])["end-point error"]
    assert again.to_dict() == table.to_dict()
