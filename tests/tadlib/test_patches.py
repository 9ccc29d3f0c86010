"""Training patches and clips: a function of the generator alone, turned every way, never of what is held out."""
from __future__ import annotations

import pytest
import torch

from tadlib.data import sets
from tadlib.data.patches import PAN, ClipPatches, Patches
from tadlib.data.sets import HELD_OUT
from tadlib.errors import BadInput


def flat(value: int, h: int = 20, w: int = 24) -> torch.Tensor:
    return torch.full((3, h, w), value, dtype=torch.uint8)


def rng(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


# ------------------------------------------------------------------------------------------------------- patches

@pytest.fixture
def numbered(write_set):
    """45 flat images, each of the value of its number: what is in a patch says where it came from."""
    return write_set("numbered", {f"{i:03}": flat(i) for i in range(45)})


def test_a_batch_is_a_function_of_its_generator(numbered):
    one, other = Patches((numbered,), 16), Patches((numbered,), 16)
    for _ in range(3):
        other.batch(4, rng(2))  # what was drawn before does not matter
    batch = one.batch(8, rng(5))
    assert torch.equal(batch, other.batch(8, rng(5)))
    assert not torch.equal(batch, one.batch(8, rng(6)))


def test_a_batch_is_uint8_of_the_asked_shape(numbered):
    batch = Patches((numbered,), 16).batch(5, rng())
    assert (batch.dtype, batch.shape) == (torch.uint8, (5, 3, 16, 16))


def test_held_out_images_are_never_trained_on(numbered, write_set):
    further = write_set("further", {f"{i}": flat(100 + i) for i in range(3)})
    patches = Patches((numbered, further), 16)
    drawn = {int(p[0, 0, 0]) for n in range(60) for p in patches.batch(16, rng(n))}
    held = {int(i[0, 0, 0]) for i in sets.held_out((numbered, further)).values()}
    assert held == set(range(25, 45))
    assert len(held) == HELD_OUT
    assert drawn == {*range(25), 100, 101, 102}  # and each of the others is


def test_a_small_set_is_not_thinned_out_and_says_so(write_set):
    small = write_set("small", {f"{i}": flat(i) for i in range(6)})
    assert len(Patches((small,), 16).images) == 6
    assert list(sets.held_out((small,))) == [f"{i} (trained on)" for i in range(6)]


def test_a_patch_is_a_flipped_or_transposed_piece_of_an_image_each_in_an_eighth_of_the_draws(write_set):
    h, w, size = 12, 15, 8
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    patches = Patches((write_set("one", {"a": torch.stack([y, x, y + x]).to(torch.uint8)}),), size)
    counts, corners = {}, set()
    for patch in patches.batch(800, rng()).int():
        rows_grow = bool((patch[0].diff(dim=0) != 0).all())  # else the patch is transposed
        upright = patch if rows_grow else patch.mT
        top, left = int(upright[0].min()), int(upright[1].min())
        flips = (upright[0, 0, 0] > upright[0, -1, 0]).item(), (upright[1, 0, 0] > upright[1, 0, -1]).item()
        piece = torch.stack([y, x, y + x])[:, top : top + size, left : left + size]
        assert torch.equal(upright.flip([d for d, f in zip((1, 2), flips, strict=True) if f]), piece.int())
        counts[rows_grow, *flips] = counts.get((rows_grow, *flips), 0) + 1
        corners.add((top, left))
    assert len(counts) == 8
    assert all(60 < n < 140 for n in counts.values())  # 100 each, within four deviations
    assert corners == {(t, le) for t in range(h - size + 1) for le in range(w - size + 1)}


def test_images_below_the_patch_size_are_left_out(write_set):
    mixed = write_set("mixed", {"big": flat(1, 32, 32), "thin": flat(2, 100, 8)})
    assert len(Patches((mixed,), 16).images) == 1
    with pytest.raises(BadInput, match="no image has 64 pixels on each side"):
        Patches((mixed,), 64)


# ------------------------------------------------------------------------------------------------------- clips

def places(h: int, w: int, third: int = 0) -> torch.Tensor:
    """An image that says in each pixel where it is: its row, its column, and a number of its own."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([y, x, torch.full_like(y, third)]).to(torch.uint8)


STILL = 200  # what the still image says in its third channel, where frames have their number


@pytest.fixture
def moving(no_data, write_set):
    """A training clip of 12 frames, of which the last 6 are held out, and a set of one still image."""
    write_set("data/VideoTrain/clip", {f"hr{n}": places(30, 34, n) for n in range(12)})
    return "VideoTrain", write_set("still", {"a": places(40, 44, STILL)})


def upright(patch: torch.Tensor) -> tuple[torch.Tensor, tuple[bool, bool, bool]]:
    """A patch (frames, 3, size, size) as it lay in its image, and how its first frame had been turned for that."""
    turned = not bool((patch[0, 0].diff(dim=0) != 0).all())
    patch = patch.mT if turned else patch
    flips = [bool(patch[0, 0, 0, 0] > patch[0, 0, -1, 0]), bool(patch[0, 1, 0, 0] > patch[0, 1, 0, -1])]
    return patch.flip([d for d, f in zip((2, 3), flips, strict=True) if f]), (turned, *flips)


def test_a_batch_of_clips_is_a_function_of_its_generator(moving):
    one, other = ClipPatches(moving, 16), ClipPatches(moving, 16)
    other.batch(4, rng(2))
    batch = one.batch(8, rng(5))
    assert (batch.dtype, batch.shape) == (torch.uint8, (8, 3, 3, 16, 16))
    assert torch.equal(batch, other.batch(8, rng(5)))
    assert not torch.equal(batch, one.batch(8, rng(6)))


def test_frames_of_a_clip_are_three_in_a_row_at_one_place_and_never_held_out(moving):
    drawn, ways = set(), {}
    patches = [p for p in ClipPatches(moving, 16).batch(1600, rng()) if p[0, 2, 0, 0] < STILL]
    for patch in patches:
        frames, way = upright(patch)
        numbers = [int(f[2, 0, 0]) for f in frames]
        step = numbers[1] - numbers[0]
        assert step in (1, -1) and numbers[2] - numbers[1] == step
        top, left = frames[0, :2, 0, 0].tolist()
        piece = [places(30, 34, n)[:, top : top + 16, left : left + 16] for n in numbers]
        assert torch.equal(frames, torch.stack(piece))
        drawn |= set(numbers)
        ways[*way, step] = ways.get((*way, step), 0) + 1
    assert list(sets.held_out(moving)) == [f"hr{n}" for n in range(6, 12)]
    assert drawn == set(range(6))
    assert 720 < len(patches) < 880  # each set in half of the draws
    assert len(ways) == 16  # flipped, mirrored, turned, backwards: each by itself in half of them
    assert all(22 < n < 78 for n in ways.values())


def test_a_window_moves_steadily_over_a_still_image(moving):
    image, steps, tops = places(40, 44, STILL), [], set()
    for patch in ClipPatches(moving, 16).batch(1600, rng()):
        if patch[0, 2, 0, 0] < STILL:
            continue
        frames, _ = upright(patch)
        (top, left), second = frames[0, :2, 0, 0].tolist(), frames[1, :2, 0, 0].tolist()
        down, right = second[0] - top, second[1] - left
        piece = [image[:, top + n * down :, left + n * right :][:, :16, :16] for n in range(3)]
        assert torch.equal(frames, torch.stack(piece))
        steps.append((down, right))
        tops |= {top} if down == 0 else set()
    assert len(set(steps)) > 150  # of 169: the two directions are drawn apart
    assert len(tops) > 15  # of 25 places
    for direction in zip(*steps, strict=True):
        counts = [direction.count(by) for by in range(-PAN, PAN + 1)]
        assert sum(counts) == len(steps)
        assert all(0.6 < 13 * n / len(steps) < 1.4 for n in counts)  # no step is rarer, the longest neither


def test_all_frames_of_a_patch_are_turned_alike_each_way_in_an_eighth_of_the_draws(moving):
    counts = {}
    for patch in ClipPatches(moving, 16).batch(800, rng()):
        (way,) = {upright(frame[None])[1] for frame in patch}
        counts[way] = counts.get(way, 0) + 1
    assert len(counts) == 8
    assert all(60 < n < 140 for n in counts.values())


def test_a_set_too_small_for_clips_is_told_and_smaller_images_are_left_out(moving, write_set):
    with pytest.raises(BadInput, match="VideoTrain: no image has the 31 pixels on each side that training on clips"):
        ClipPatches(moving, 31 - 2 * PAN)
    assert ClipPatches(moving, 30 - 2 * PAN).batch(1, rng()).shape == (1, 3, 3, 18, 18)
    mixed = write_set("mixed", {"big": places(28, 28, STILL), "thin": places(100, 27, 7)})
    assert {int(n) for n in ClipPatches((mixed,), 16).batch(50, rng())[:, :, 2].unique()} == {STILL}


def test_the_real_held_out_crops_are_not_among_the_training_images(real_set):
    real_set("DIV2K_crops")
    held = {i.numpy().tobytes() for i in sets.held_out(("DIV2K_crops",)).values()}
    trained = {i[:, :128, :128].numpy().tobytes() for i in Patches(("DIV2K_crops",), 96).images}
    assert (len(held), len(trained)) == (20, 780)
    assert not held & trained
