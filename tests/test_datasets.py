"""The registry, the sample that is always here, and patches that depend on seed and number alone."""
from __future__ import annotations

import re

import pytest
import torch

from tadlib import datasets
from tadlib.datasets import HELD_OUT, MissingData, Patches
from tadlib.images import BadInput, read_image, to_pil


def flat(value: int, h: int = 20, w: int = 24) -> torch.Tensor:
    return torch.full((3, h, w), value, dtype=torch.uint8)


# ------------------------------------------------------------------------------------------------------- registry

def test_the_registry_names_every_set():
    assert set(datasets.registry()) == {"Set5", "Set14", "BSDS100", "Urban100", "DIV2K_crops", "BSDS_train", "Vid4",
                                        "VideoTrain", "Middlebury", "ColorDemo", "Sample", "SampleTrain",
                                        "SampleCrop"}
    assert set(datasets.TEST_SETS) <= set(datasets.registry())


@pytest.mark.parametrize("name", datasets.registry())
def test_an_entry_is_complete(name):
    entry = datasets.registry()[name]
    assert set(entry) - {"bundled", "crop"} == {"use", "fingerprint", "images", "about", "licence", "address"}
    assert isinstance(entry["images"], int)
    assert entry["images"] > 0
    assert re.fullmatch("[0-9a-f]{16}", entry["fingerprint"])
    assert entry["address"].startswith("https://")
    assert all(isinstance(entry[key], str) and entry[key] for key in ("use", "about", "licence"))
    assert len(entry.get("bundled", range(entry["images"]))) == entry["images"]
    assert datasets.known_fingerprint(name) == entry["fingerprint"]


def test_no_set_is_for_training_and_testing():
    uses = {name: entry["use"] for name, entry in datasets.registry().items()}
    assert {name for name, use in uses.items() if use == "train"} == {"DIV2K_crops", "BSDS_train", "SampleTrain"}
    assert not set(datasets.registry()["Sample"]["bundled"]) & set(datasets.registry()["SampleTrain"]["bundled"])


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


def test_the_sample_is_the_one_of_the_stored_runs():
    assert datasets.fingerprint("Sample") == datasets.known_fingerprint("Sample")


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
