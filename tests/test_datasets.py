"""The registry, the sample that is always here, and patches and clips that depend on seed and number alone."""
from __future__ import annotations

import re

import pytest
import torch

from tadlib import datasets
from tadlib.clips import pan
from tadlib.datasets import HELD_OUT, PAN, ClipPatches, MissingData, Patches
from tadlib.images import BadInput, read_image, to_pil


def flat(value: int, h: int = 20, w: int = 24) -> torch.Tensor:
    return torch.full((3, h, w), value, dtype=torch.uint8)


# ------------------------------------------------------------------------------------------------------- registry

def test_the_registry_names_every_set():
    assert set(datasets.registry()) == {"Set5", "Set14", "BSDS100", "Urban100", "DIV2K_crops", "BSDS_train", "Vid4",
                                        "VideoTrain", "Middlebury", "ColorDemo", "Sample", "SampleTrain",
                                        "SampleCrop", "SampleClip"}
    assert set(datasets.TEST_SETS) <= set(datasets.registry())


@pytest.mark.parametrize("name", datasets.registry())
def test_an_entry_is_complete(name):
    entry = datasets.registry()[name]
    optional = {"bundled", "crop", "pan", "archives", "members", "flow"}
    assert set(entry) - optional == {"use", "fingerprint", "images", "about", "licence", "address"}
    assert isinstance(entry["images"], int)
    assert entry["images"] > 0
    assert re.fullmatch("[0-9a-f]{16}", entry["fingerprint"])
    assert entry["address"].startswith("https://")
    assert all(isinstance(entry[key], str) and entry[key] for key in ("use", "about", "licence"))
    assert all(address.startswith("https://") for address in entry.get("archives", []))
    assert ("archives" in entry) == ("members" in entry)
    assert len(entry.get("bundled", range(entry["images"]))) == entry["images"]
    assert datasets.known_fingerprint(name) == entry["fingerprint"]


def test_no_set_is_for_training_and_testing():
    uses = {name: entry["use"] for name, entry in datasets.registry().items()}
    assert {name for name, use in uses.items() if use == "train"} == {"DIV2K_crops", "BSDS_train", "SampleTrain"}
    assert {name for name, use in uses.items() if use == "video training"} == {"VideoTrain"}
    for name in ("Sample", "SampleCrop", "SampleClip"):
        assert not set(datasets.registry()[name]["bundled"]) & set(datasets.registry()["SampleTrain"]["bundled"])


@pytest.mark.parametrize("name", ["Sample", "SampleTrain", "SampleCrop"])
def test_the_sample_is_here_without_any_data(no_data, name):
    assert datasets.is_here(name)
    images = datasets.load(name)
    assert len(images) == datasets.registry()[name]["images"]
    assert all(i.dtype == torch.uint8 and i.shape[0] == 3 for i in images.values())


def test_the_sample_crop_is_the_middle_of_a_sample_image(no_data):
    whole, crop = datasets.load("Sample")["chelsea"], datasets.load("SampleCrop")["chelsea"]
    assert whole.shape == (3, 300, 451)
    assert torch.equal(crop, whole[:, 86:214, 161:289])


def test_the_sample_clip_is_a_window_that_moves_over_a_sample_image(no_data):
    whole, clip = datasets.load("Sample")["chelsea"], datasets.load("SampleClip")
    assert list(clip) == [f"{n:04}" for n in range(8)] and datasets.is_here("SampleClip")
    # 300 - 160 - 14 = 126 rows to spare and 451 - 208 - 35 = 208 columns: it begins at half of both
    assert all(torch.equal(f, whole[:, 63 + 2 * n :, 104 + 5 * n :][:, :160, :208])
               for n, f in enumerate(clip.values()))


@pytest.mark.parametrize("name", ["Sample", "SampleTrain", "SampleCrop", "SampleClip"])
def test_the_sample_is_the_one_of_the_stored_runs(name):
    assert datasets.fingerprint(name) == datasets.known_fingerprint(name)


def test_real_sets_are_those_of_the_stored_runs(real_set):
    assert len(real_set("Set5")) == 5
    assert datasets.fingerprint("Set5") == datasets.known_fingerprint("Set5")


# ------------------------------------------------------------------------------------------------------- here or not

def test_an_absent_set_is_told_with_its_place(no_data):
    assert not datasets.is_here("Set5")
    with pytest.raises(MissingData) as told:
        datasets.load("Set5")
    assert issubclass(MissingData, BadInput)
    assert all(part in str(told.value) for part in ("Set5", "python -m tadlib data", str(no_data / "Set5")))


def test_an_unknown_set_is_told(no_data):
    with pytest.raises(MissingData, match=r"Set6: not here \(no such set or folder\)"):
        datasets.load("Set6")


def test_a_set_with_images_missing_is_not_here(no_data, write_set):
    write_set("data/Set5", {f"{i}": flat(i) for i in range(4)})
    assert not datasets.is_here("Set5")
    write_set("data/Set5", {"4": flat(4)})
    assert datasets.is_here("Set5")


def test_the_sample_stands_in_where_nothing_is_here(no_data, write_set):
    assert datasets.here_or_sample(("Set5", "Set14")) == ("Sample",)
    write_set("data/Set5", {f"{i}": flat(i) for i in range(5)})
    assert datasets.here_or_sample(("Set5", "Set14")) == ("Set5",)


def test_a_folder_of_own_images_is_a_set(write_set, tmp_path):
    own = write_set("own", {"b": flat(2), "sub/a": flat(1)})
    (tmp_path / "own" / "notes.txt").write_text("not an image")
    (tmp_path / "own" / "._b.png").write_text("what a Mac leaves")
    assert {stem: int(i[0, 0, 0]) for stem, i in datasets.load(own).items()} == {"b": 2, "sub/a": 1}


def test_of_two_files_of_one_stem_none_is_lost_in_silence(write_set, tmp_path):
    own = write_set("own", {"photo": flat(1)})
    to_pil(flat(2)).save(tmp_path / "own" / "photo.bmp")
    try:
        images = datasets.load(own)
    except BadInput as told:  # refusing is fine, too
        assert "photo" in str(told)
    else:
        assert len(images) == 2


# ------------------------------------------------------------------------------------------------------- clips

def test_frames_of_a_clip_are_in_their_natural_order_and_other_images_in_that_of_their_names(no_data, write_set):
    names = ("hr10", "hr2", "hr1", "hr02b")
    write_set("data/VideoTrain/clip", {name: flat(n) for n, name in enumerate(names)})
    write_set("data/Set5", {name: flat(n) for n, name in enumerate(names)})
    own = write_set("own", {name: flat(n) for n, name in enumerate(names)})
    assert list(datasets.load("VideoTrain")) == ["hr1", "hr2", "hr02b", "hr10"]
    assert list(datasets.load("Set5")) == list(datasets.load(own)) == ["hr02b", "hr1", "hr10", "hr2"]


def test_the_clips_of_a_set_can_be_had_one_by_one(no_data, write_set):
    write_set("data/Vid4/city", {"9": flat(1), "10": flat(2)})
    write_set("data/Vid4/walk", {"0": flat(3)})
    assert [f.relative_to(no_data).as_posix() for f in datasets.files("Vid4/city")] == ["Vid4/city/9.png",
                                                                                       "Vid4/city/10.png"]
    assert {stem: int(i[0, 0, 0]) for stem, i in datasets.load("Vid4/city").items()} == {"9": 1, "10": 2}
    assert list(datasets.load("Vid4")) == ["city/9", "city/10", "walk/0"]
    assert [datasets.is_here(n) for n in ("Vid4", "Vid4/city", "Vid4/foliage")] == [False, True, False]
    with pytest.raises(MissingData, match=r"Vid4/foliage: not here"):
        datasets.load("Vid4/foliage")


def test_clips_are_told_from_images(write_set):
    assert all(map(datasets.is_clip, ("Vid4", "Vid4/city", "VideoTrain", "SampleClip")))
    assert not any(map(datasets.is_clip, ("Set5", "BSDS_train", "Sample", "Middlebury", write_set("own", {}))))


def test_the_real_clips_are_in_the_order_in_which_they_were_taken(real_set):
    for name, frames in (("Vid4/city", [f"{n:08}" for n in range(34)]), ("VideoTrain", [f"hr{n}" for n in range(31)])):
        if not datasets.is_here(name):
            pytest.skip(f"{name} is not on this machine (TAD_DATA)")
        assert [f.stem for f in datasets.files(name)] == frames


def places(h: int, w: int, third: int = 0) -> torch.Tensor:
    """An image that says in each pixel where it is: its row, its column, and a number of its own."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([y, x, torch.full_like(y, third)]).to(torch.uint8)


def test_a_pan_is_a_window_that_moves_by_the_same_step_each_frame():
    image = places(20, 30)
    frames = pan(image, 3, (8, 10), (2, -3))  # 8 rows and 14 columns to spare
    assert (frames.dtype, frames.shape) == (torch.uint8, (3, 3, 8, 10))
    assert all(torch.equal(f, image[:, 4 + 2 * n : 12 + 2 * n, 13 - 3 * n : 23 - 3 * n]) for n, f in enumerate(frames))


@pytest.mark.parametrize(("start", "step", "first", "last"), [
    ((0, 0), (2, 3), (0, 0), (4, 6)), ((0.999, 0.999), (2, 3), (8, 14), (12, 20)),
    ((0, 0), (-2, -3), (4, 6), (0, 0)), ((0.999, 0.999), (-2, -3), (12, 20), (8, 14)),
])
def test_a_pan_can_begin_wherever_it_stays_within_the_image(start, step, first, last):
    frames = pan(places(20, 30), 3, (8, 10), step, start)
    assert [tuple(frames[n, :2, 0, 0].tolist()) for n in (0, -1)] == [first, last]


def test_a_pan_over_too_small_an_image_is_refused():
    assert pan(places(12, 10), 3, (8, 10), (-2, 0)).shape == (3, 3, 8, 10)  # just fits
    with pytest.raises(ValueError, match="a window of 8 that moves by -2 in 3 frames does not fit into 11"):
        pan(places(11, 10), 3, (8, 10), (-2, 0))
    with pytest.raises(ValueError, match="a window of 10 that moves by 1 in 3 frames does not fit into 11"):
        pan(places(12, 11), 3, (8, 10), (0, 1))


# ------------------------------------------------------------------------------------------------------- fingerprint

def test_a_lossless_re_encoding_has_the_same_fingerprint(write_set, tmp_path, photo):
    one = write_set("one", {"a": photo, "b": flat(7)})
    (tmp_path / "other").mkdir()
    to_pil(photo).save(tmp_path / "other" / "a.webp", lossless=True)
    to_pil(flat(7)[:1]).save(tmp_path / "other" / "b.bmp")  # grey file, same pixels
    assert datasets.fingerprint(one) == datasets.fingerprint(str(tmp_path / "other"))


def test_one_pixel_one_name_or_one_shape_changes_it(write_set, photo):
    touched = photo.clone()
    touched[1, 40, 50] ^= 1
    prints = [datasets.fingerprint(write_set(name, images)) for name, images in {
        "same": {"a": photo}, "pixel": {"a": touched}, "name": {"b": photo}, "fewer": {"a": photo[:, 1:]},
        "more": {"a": photo, "b": photo}, "turned": {"a": photo.reshape(3, 128, 96)},
    }.items()]
    assert len(set(prints)) == len(prints)


# ------------------------------------------------------------------------------------------------------- patches

@pytest.fixture
def numbered(write_set):
    """45 flat images, each of the value of its number: what is in a patch says where it came from."""
    return write_set("numbered", {f"{i:03}": flat(i) for i in range(45)})


def test_a_batch_is_a_function_of_seed_and_number(numbered):
    one, other = Patches((numbered,), 16), Patches((numbered,), 16)
    for _ in range(3):
        other.batch(9, 4, seed=2)  # what was drawn before does not matter
    batch = one.batch(5, 8, seed=1)
    assert torch.equal(batch, other.batch(5, 8, seed=1))
    assert not torch.equal(batch, one.batch(6, 8, seed=1))
    assert not torch.equal(batch, one.batch(5, 8, seed=2))


def test_a_batch_is_uint8_of_the_asked_shape(numbered):
    batch = Patches((numbered,), 16).batch(0, 5, seed=0)
    assert (batch.dtype, batch.shape) == (torch.uint8, (5, 3, 16, 16))


def test_held_out_images_are_never_trained_on(numbered, write_set):
    further = write_set("further", {f"{i}": flat(100 + i) for i in range(3)})
    patches = Patches((numbered, further), 16)
    drawn = {int(p[0, 0, 0]) for n in range(60) for p in patches.batch(n, 16, seed=0)}
    held = {int(i[0, 0, 0]) for i in datasets.held_out((numbered, further)).values()}
    assert held == set(range(25, 45))
    assert len(held) == HELD_OUT
    assert drawn == {*range(25), 100, 101, 102}  # and each of the others is


def test_a_small_set_is_not_thinned_out_and_says_so(write_set):
    small = write_set("small", {f"{i}": flat(i) for i in range(6)})
    assert len(Patches((small,), 16).images) == 6
    assert list(datasets.held_out((small,))) == [f"{i} (trained on)" for i in range(6)]


def test_held_out_crops_are_at_most_128_pixels(write_set):
    big = write_set("big", {f"{i:02}": flat(i, 130, 100) for i in range(41)})
    assert {tuple(i.shape) for i in datasets.held_out((big,)).values()} == {(3, 128, 100)}


def test_a_patch_is_a_flipped_or_transposed_piece_of_an_image_each_in_an_eighth_of_the_draws(write_set):
    h, w, size = 12, 15, 8
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    patches = Patches((write_set("one", {"a": torch.stack([y, x, y + x]).to(torch.uint8)}),), size)
    counts, corners = {}, set()
    for patch in patches.batch(0, 800, seed=0).int():
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


def test_a_batch_of_clips_is_a_function_of_seed_and_number(moving):
    one, other = ClipPatches(moving, 16), ClipPatches(moving, 16)
    other.batch(9, 4, seed=2)
    batch = one.batch(5, 8, seed=1)
    assert (batch.dtype, batch.shape) == (torch.uint8, (8, 3, 3, 16, 16))
    assert torch.equal(batch, other.batch(5, 8, seed=1))
    assert not torch.equal(batch, one.batch(6, 8, seed=1))
    assert not torch.equal(batch, one.batch(5, 8, seed=2))


def test_frames_of_a_clip_are_three_in_a_row_at_one_place_and_never_held_out(moving):
    drawn, ways = set(), {}
    patches = [p for p in ClipPatches(moving, 16).batch(0, 1600, seed=0) if p[0, 2, 0, 0] < STILL]
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
    assert list(datasets.held_out(moving)) == [f"hr{n}" for n in range(6, 12)]
    assert drawn == set(range(6))
    assert 720 < len(patches) < 880  # each set in half of the draws
    assert len(ways) == 16  # flipped, mirrored, turned, backwards: each by itself in half of them
    assert all(22 < n < 78 for n in ways.values())


def test_a_window_moves_steadily_over_a_still_image(moving):
    image, steps, tops = places(40, 44, STILL), [], set()
    for patch in ClipPatches(moving, 16).batch(0, 1600, seed=0):
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
    for patch in ClipPatches(moving, 16).batch(0, 800, seed=0):
        (way,) = {upright(frame[None])[1] for frame in patch}
        counts[way] = counts.get(way, 0) + 1
    assert len(counts) == 8
    assert all(60 < n < 140 for n in counts.values())


def test_a_set_too_small_for_clips_is_told_and_smaller_images_are_left_out(moving, write_set):
    with pytest.raises(BadInput, match="VideoTrain: no image has the 31 pixels on each side that training on clips"):
        ClipPatches(moving, 31 - 2 * PAN)
    assert ClipPatches(moving, 30 - 2 * PAN).batch(0, 1, 0).shape == (1, 3, 3, 18, 18)
    mixed = write_set("mixed", {"big": places(28, 28, STILL), "thin": places(100, 27, 7)})
    assert {int(n) for n in ClipPatches((mixed,), 16).batch(0, 50, 0)[:, :, 2].unique()} == {STILL}


def test_held_out_of_a_clip_are_the_middles_of_its_last_six_frames(no_data, write_set):
    frames = {f"hr{n}": places(20, 300, n) for n in range(11)}
    write_set("data/VideoTrain/clip", frames)
    held = datasets.held_out(("VideoTrain", "SampleTrain"))
    assert list(held) == [f"hr{n}" for n in range(5, 11)]  # hr10 is the last
    assert all(torch.equal(i, frames[stem][:, :, 22:278]) for stem, i in held.items())


def test_the_real_held_out_crops_are_not_among_the_training_images(real_set):
    real_set("DIV2K_crops")
    held = {i.numpy().tobytes() for i in datasets.held_out(("DIV2K_crops",)).values()}
    trained = {i[:, :128, :128].numpy().tobytes() for i in Patches(("DIV2K_crops",), 96).images}
    assert (len(held), len(trained)) == (20, 780)
    assert not held & trained


def test_a_broken_file_in_a_set_is_told(write_set, tmp_path):
    own = write_set("own", {"a": flat(1)})
    (tmp_path / "own" / "b.png").write_text("no image")
    with pytest.raises(BadInput, match=r"b\.png: cannot be read"):
        datasets.load(own)
    assert read_image(tmp_path / "own" / "a.png").shape == (3, 20, 24)
