"""The registry, the sample that is always here, sets of own images, what identifies a set."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from tadlib.data import sets
from tadlib.errors import BadInput, MissingData
from tadlib.pixels import to_array


def flat(value: int, h: int = 20, w: int = 24) -> torch.Tensor:
    return torch.full((3, h, w), value, dtype=torch.uint8)


def places(h: int, w: int, third: int = 0) -> torch.Tensor:
    """An image that says in each pixel where it is: its row, its column, and a number of its own."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([y, x, torch.full_like(y, third)]).to(torch.uint8)


# ------------------------------------------------------------------------------------------------------- registry

UNSEEN = {"DIV2K", "VDIV2K"}  # nobody has said yet which pixels are theirs

def test_the_registry_names_every_set():
    assert set(sets.registry()) == {"Set5", "Set14", "BSDS100", "Urban100", "DIV2K_crops", "BSDS_train", "Vid4",
                                        "VideoTrain", "Middlebury", "ColorDemo", "Sample", "SampleTrain",
                                        "SampleCrop", "SampleClip", *UNSEEN}
    assert set(sets.TEST_SETS) <= set(sets.registry())


@pytest.mark.parametrize("name", sets.registry())
def test_an_entry_is_complete(name):
    entry = sets.registry()[name]
    optional = {"bundled", "crop", "pan", "archives", "members", "flow", "fingerprint"}
    assert set(entry) - optional == {"use", "images", "about", "licence", "address"}
    assert isinstance(entry["images"], int)
    assert entry["images"] > 0
    assert (name in UNSEEN) == ("fingerprint" not in entry)
    assert name in UNSEEN or re.fullmatch("[0-9a-f]{16}", entry["fingerprint"])
    assert entry["address"].startswith("https://")
    assert all(isinstance(entry[key], str) and entry[key] for key in ("use", "about", "licence"))
    assert all(address.startswith("https://") for address in entry.get("archives", []))
    assert ("archives" in entry) == ("members" in entry)
    assert len(entry.get("bundled", range(entry["images"]))) == entry["images"]
    assert sets.known_fingerprint(name) == entry.get("fingerprint")


def test_no_set_is_for_training_and_testing():
    uses = {name: entry["use"] for name, entry in sets.registry().items()}
    assert {name for name, use in uses.items() if use == "train"} == {"DIV2K", "DIV2K_crops", "BSDS_train",
                                                                          "SampleTrain"}
    assert {name for name, use in uses.items() if use == "video training"} == {"VideoTrain"}
    for name in ("Sample", "SampleCrop", "SampleClip"):
        assert not set(sets.registry()[name]["bundled"]) & set(sets.registry()["SampleTrain"]["bundled"])


@pytest.mark.parametrize("name", ["Sample", "SampleTrain", "SampleCrop"])
def test_the_sample_is_here_without_any_data(no_data, name):
    assert sets.is_here(name)
    images = sets.load(name)
    assert len(images) == sets.registry()[name]["images"]
    assert all(i.dtype == torch.uint8 and i.shape[0] == 3 for i in images.values())


def test_the_sample_crop_is_the_middle_of_a_sample_image(no_data):
    whole, crop = sets.load("Sample")["chelsea"], sets.load("SampleCrop")["chelsea"]
    assert whole.shape == (3, 300, 451)
    assert torch.equal(crop, whole[:, 86:214, 161:289])


def test_the_sample_clip_is_a_window_that_moves_over_a_sample_image(no_data):
    whole, clip = sets.load("Sample")["chelsea"], sets.load("SampleClip")
    assert list(clip) == [f"{n:04}" for n in range(8)] and sets.is_here("SampleClip")
    # 300 - 160 - 14 = 126 rows to spare and 451 - 208 - 35 = 208 columns: it begins at half of both
    assert all(torch.equal(f, whole[:, 63 + 2 * n :, 104 + 5 * n :][:, :160, :208])
               for n, f in enumerate(clip.values()))


@pytest.mark.parametrize("name", ["Sample", "SampleTrain", "SampleCrop", "SampleClip"])
def test_the_sample_is_the_one_of_the_stored_runs(name):
    assert sets.fingerprint(name) == sets.known_fingerprint(name)


def test_real_sets_are_those_of_the_stored_runs(real_set):
    assert len(real_set("Set5")) == 5
    assert sets.fingerprint("Set5") == sets.known_fingerprint("Set5")


# ------------------------------------------------------------------------------------------------------- here or not

def test_an_absent_set_is_told_with_its_place(no_data):
    assert not sets.is_here("Set5")
    with pytest.raises(MissingData) as told:
        sets.load("Set5")
    assert issubclass(MissingData, BadInput)
    assert all(part in str(told.value) for part in ("Set5", "python -m workbook data", str(no_data / "Set5")))


def test_an_unknown_set_is_told(no_data):
    with pytest.raises(MissingData, match=r"Set6: not here \(no such set or folder\)"):
        sets.load("Set6")


def test_a_set_with_images_missing_is_not_here(no_data, write_set):
    write_set("data/Set5", {f"{i}": flat(i) for i in range(4)})
    assert not sets.is_here("Set5")
    write_set("data/Set5", {"4": flat(4)})
    assert sets.is_here("Set5")


def test_the_sample_stands_in_where_nothing_is_here(no_data, write_set):
    assert sets.here_or_sample(("Set5", "Set14")) == ("Sample",)
    write_set("data/Set5", {f"{i}": flat(i) for i in range(5)})
    assert sets.here_or_sample(("Set5", "Set14")) == ("Set5",)


def test_a_folder_of_own_images_is_a_set(write_set, tmp_path):
    own = write_set("own", {"b": flat(2), "sub/a": flat(1)})
    (tmp_path / "own" / "notes.txt").write_text("not an image")
    (tmp_path / "own" / "._b.png").write_text("what a Mac leaves")
    write_set("own/.trash", {"c": flat(3)})
    assert {stem: int(i[0, 0, 0]) for stem, i in sets.load(own).items()} == {"b": 2}
    assert {stem: int(i[0, 0, 0]) for stem, i in sets.load(own + sets.DEEP).items()} == {"b": 2, "sub/a": 1}


def test_of_two_files_of_one_stem_none_is_lost_in_silence(write_set, tmp_path):
    own = write_set("own", {"photo": flat(1)})
    Image.fromarray(to_array(flat(2))).save(tmp_path / "own" / "photo.bmp")
    try:
        images = sets.load(own)
    except BadInput as told:  # refusing is fine, too
        assert "photo" in str(told)
    else:
        assert len(images) == 2


def test_a_broken_file_stops_no_others_of_a_folder_but_a_registered_set(no_data, write_set, tmp_path):
    own, named = write_set("own", {"a": flat(1)}), write_set("data/Set5", {f"{n}": flat(n) for n in range(4)})
    for folder in (own, named):
        Path(folder, "b.png").write_text("no image")
    images = sets.load(own)
    assert list(images) == ["a"] and len(images.broken) == 1 and f"{own}/b.png: cannot be read" in images.broken[0]
    (tmp_path / "own" / "a.png").unlink()
    sets.load.cache_clear()
    for name in (own, "Set5"):
        with pytest.raises(BadInput, match=r"b\.png: cannot be read"):
            sets.load(name)


# ------------------------------------------------------------------------------------------------------- clips

def test_frames_of_a_clip_are_in_their_natural_order_and_other_images_in_that_of_their_names(no_data, write_set):
    names = ("hr10", "hr2", "hr1", "hr02b")
    write_set("data/VideoTrain/clip", {name: flat(n) for n, name in enumerate(names)})
    write_set("data/Set5", {name: flat(n) for n, name in enumerate(names)})
    own = write_set("own", {name: flat(n) for n, name in enumerate(names)})
    assert list(sets.load("VideoTrain")) == ["hr1", "hr2", "hr02b", "hr10"]
    assert list(sets.load("Set5")) == list(sets.load(own)) == ["hr02b", "hr1", "hr10", "hr2"]


def test_the_clips_of_a_set_can_be_had_one_by_one(no_data, write_set):
    write_set("data/Vid4/city", {"9": flat(1), "10": flat(2)})
    write_set("data/Vid4/walk", {"0": flat(3)})
    assert [f.relative_to(no_data).as_posix() for f in sets.files("Vid4/city")] == ["Vid4/city/9.png",
                                                                                       "Vid4/city/10.png"]
    assert {stem: int(i[0, 0, 0]) for stem, i in sets.load("Vid4/city").items()} == {"9": 1, "10": 2}
    assert list(sets.load("Vid4")) == ["city/9", "city/10", "walk/0"]
    assert [sets.is_here(n) for n in ("Vid4", "Vid4/city", "Vid4/foliage")] == [False, True, False]
    with pytest.raises(MissingData, match=r"Vid4/foliage: not here"):
        sets.load("Vid4/foliage")


def test_clips_are_told_from_images(write_set):
    assert all(map(sets.is_clip, ("Vid4", "Vid4/city", "VideoTrain", "SampleClip")))
    assert not any(map(sets.is_clip, ("Set5", "BSDS_train", "Sample", "Middlebury", write_set("own", {}))))


def test_the_real_clips_are_in_the_order_in_which_they_were_taken(real_set):
    for name, frames in (("Vid4/city", [f"{n:08}" for n in range(34)]), ("VideoTrain", [f"hr{n}" for n in range(31)])):
        if not sets.is_here(name):
            pytest.skip(f"{name} is not on this machine (TAD_DATA)")
        assert [f.stem for f in sets.files(name)] == frames


# ------------------------------------------------------------------------------------------------------- held out

def test_held_out_crops_are_at_most_128_pixels(write_set):
    big = write_set("big", {f"{i:02}": flat(i, 130, 100) for i in range(41)})
    assert {tuple(i.shape) for i in sets.held_out((big,)).values()} == {(3, 128, 100)}


def test_held_out_of_a_clip_are_the_middles_of_its_last_six_frames(no_data, write_set):
    frames = {f"hr{n}": places(20, 300, n) for n in range(11)}
    write_set("data/VideoTrain/clip", frames)
    held = sets.held_out(("VideoTrain", "SampleTrain"))
    assert list(held) == [f"hr{n}" for n in range(5, 11)]  # hr10 is the last
    assert all(torch.equal(i, frames[stem][:, :, 22:278]) for stem, i in held.items())


# ------------------------------------------------------------------------------------------------------- fingerprint

def test_a_lossless_re_encoding_has_the_same_fingerprint(write_set, tmp_path, photo):
    one = write_set("one", {"a": photo, "b": flat(7)})
    (tmp_path / "other").mkdir()
    Image.fromarray(to_array(photo)).save(tmp_path / "other" / "a.webp", lossless=True)
    Image.fromarray(to_array(flat(7)[:1])).save(tmp_path / "other" / "b.bmp")  # grey file, same pixels
    assert sets.fingerprint(one) == sets.fingerprint(str(tmp_path / "other"))


def test_one_pixel_one_name_or_one_shape_changes_it(write_set, photo):
    touched = photo.clone()
    touched[1, 40, 50] ^= 1
    prints = [sets.fingerprint(write_set(name, images)) for name, images in {
        "same": {"a": photo}, "pixel": {"a": touched}, "name": {"b": photo}, "fewer": {"a": photo[:, 1:]},
        "more": {"a": photo, "b": photo}, "turned": {"a": photo.reshape(3, 128, 96)},
    }.items()]
    assert len(set(prints)) == len(prints)
