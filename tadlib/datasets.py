"""Named sets of images: where they lie, whether they are here, and training patches from memory.

A set is a folder of picture files below $TAD_DATA, or below `data/` of the project; what exists is registered in
`data/sets.toml`. "Sample" and "SampleTrain" come inside scikit-image and are always here.
"""
from __future__ import annotations

import functools
import hashlib
import os
import tomllib
from collections import Counter
from pathlib import Path

import skimage
import torch
from torch import Tensor

from tadlib.clips import natural, pan
from tadlib.images import SUFFIXES, BadInput, centre_crop, read_image

ROOT = Path(__file__).resolve().parent.parent
TEST_SETS = ("Set5", "Set14", "BSDS100", "Urban100")
HELD_OUT = 20  # so many crops of the training images are never trained on: what choices are made on
HELD_OUT_FRAMES = 6  # and so many frames at the end of a training clip
PAN = 6  # pixels a frame, at most, by which a window moves over a still image in each direction to make a clip of it


class MissingData(BadInput):
    """A set is asked for that is not on this machine."""


@functools.cache
def registry() -> dict[str, dict]:
    return tomllib.loads((ROOT / "data" / "sets.toml").read_text())


def is_registered(name: str) -> bool:
    """Whether a name is that of a set, or of a folder in one ("Vid4/city"); else it is a folder of own images."""
    return name.split("/")[0] in registry()


def data_folder() -> Path:
    """$TAD_DATA if it is set, else the project's own data/."""
    return Path(os.environ.get("TAD_DATA") or ROOT / "data")


def files(name: str) -> list[Path]:
    """The picture files of a set, of one of its folders ("Vid4/city") or of any other, sorted; empty if it is not here.

    Frames of clips are in their natural order: hr2 before hr10.
    """
    entry = registry().get(name, {})
    if "bundled" in entry:
        return [Path(skimage.__file__).parent / "data" / f for f in entry["bundled"]]
    folder = data_folder() / name if is_registered(name) else Path(name)
    found = (f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    return sorted(found, key=natural if is_clip(name) else None)


def is_here(name: str) -> bool:
    """Whether all images of a registered set (of a folder: at least one) are here."""
    found = files(name)
    return bool(found) and len(found) >= registry().get(name, {}).get("images", 1)


def here_or_sample(names: tuple[str, ...], stand_in: str = "Sample") -> tuple[str, ...]:
    """Those of the named sets that are here; where none is, the bundled sample."""
    return tuple(n for n in names if is_here(n)) or (stand_in,)


@functools.lru_cache(maxsize=8)
def load(name: str) -> dict[str, Tensor]:
    """All images of a set, uint8 (3, H, W) by file stem, kept in memory. Raises MissingData.

    `name` is a registered set or a folder of own images.
    """
    found = files(name)
    if not found:
        known = registry().get(name)
        hint = f"see `python -m tadlib data`; its place is {data_folder() / name}" if known else "no such set or folder"
        raise MissingData(f"{name}: not here ({hint})")
    entry = registry().get(name, {})
    if "pan" in entry:
        count, height, width, dy, dx = entry["pan"]
        frames = pan(read_image(found[0]), count, (height, width), (dy, dx))
        return {f"{n:04}": frame for n, frame in enumerate(frames)}
    crop = entry.get("crop", 1 << 30)
    folder = Path(os.path.commonpath([f.parent for f in found]))
    stems = [f.relative_to(folder).with_suffix("").as_posix() for f in found]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise BadInput(f"{name}: two pictures there are named {twice[0]}; rename one")
    return {stem: centre_crop(read_image(f), crop) for stem, f in zip(stems, found, strict=True)}


@functools.cache
def fingerprint(name: str) -> str:
    """What identifies a set: SHA-256 over stems, shapes and decoded pixels; a lossless re-encoding is the same set."""
    digest = hashlib.sha256()
    for stem, image in load(name).items():
        digest.update(f"{stem} {tuple(image.shape)}".encode())
        digest.update(image.numpy().tobytes())
    return digest.hexdigest()[:16]


def known_fingerprint(name: str) -> str | None:
    """The fingerprint of the copy that the committed runs used, known without having the set."""
    return registry().get(name, {}).get("fingerprint")


class Patches:
    """Random training patches from images held in memory as uint8: no files, no workers, no loader.

    Batch number n of a seed is a function of (seed, n) alone, so a resumed run sees what the uninterrupted one saw.
    """

    def __init__(self, names: tuple[str, ...], size: int):
        spared = held_out(names)
        images = [i for stem, i in load(names[0]).items() if stem not in spared]
        images += [i for name in names[1:] for i in load(name).values()]
        self.size = size
        self.images = [i for i in images if min(i.shape[-2:]) >= size]
        if not self.images:
            raise BadInput(f"{', '.join(names)}: no image has {size} pixels on each side, as training needs")

    def batch(self, number: int, count: int, seed: int) -> Tensor:
        """uint8 (count, 3, size, size), flipped and transposed with probability 1/2 each (report, 3.4)."""
        rng = torch.Generator().manual_seed(seed * 1_000_003 + number)
        draws = torch.rand(count, 6, generator=rng).tolist()
        out = torch.empty(count, 3, self.size, self.size, dtype=torch.uint8)
        for row, (which, y, x, flip, mirror, transpose) in zip(out, draws, strict=True):
            image = self.images[int(which * len(self.images))]
            top = int(y * (image.shape[1] - self.size + 1))
            left = int(x * (image.shape[2] - self.size + 1))
            patch = image[:, top : top + self.size, left : left + self.size]
            patch = patch.flip([d for d, p in ((1, flip), (2, mirror)) if p < 0.5])
            row.copy_(patch.mT if transpose < 0.5 else patch)
        return out


class ClipPatches:
    """Random patches of three consecutive frames, from clips and from still images, as `Patches` otherwise.

    Each set is drawn from equally often. Over a still image a window moves steadily, by whole pixels: a clip without
    noise, without anything that moves by itself, and with a motion that a small image sees to a fraction of a pixel.
    """

    frames = 3

    def __init__(self, names: tuple[str, ...], size: int):
        spared = held_out(names)
        self.size = size
        self.sets = []  # of each set its clips (T, 3, H, W); a still image is one of a single frame
        for name in names:
            frames = [i for stem, i in load(name).items() if name != names[0] or stem not in spared]
            large = [i for i in frames if min(i.shape[-2:]) >= size + (self.frames - 1) * PAN]
            clips = [torch.stack(frames)] if is_clip(name) else [i[None] for i in large]
            if not large:
                raise BadInput(f"{name}: no image has the {size + (self.frames - 1) * PAN} pixels on each side that "
                               "training on clips needs")
            self.sets.append(clips)

    def batch(self, number: int, count: int, seed: int) -> Tensor:
        """uint8 (count, 3 frames, 3, size, size); flipped, transposed and reversed with probability 1/2 each."""
        rng = torch.Generator().manual_seed(seed * 1_000_003 + number)
        out = torch.empty(count, self.frames, 3, self.size, self.size, dtype=torch.uint8)
        for row, draws in zip(out, torch.rand(count, 11, generator=rng).tolist(), strict=True):
            which, what, when, y, x, dy, dx, flip, mirror, transpose, reverse = draws
            clips = self.sets[int(which * len(self.sets))]
            clip = clips[int(what * len(clips))]
            if len(clip) == 1:
                step = [int(d * (2 * PAN + 1)) - PAN for d in (dy, dx)]
                clip = pan(clip[0], self.frames, (self.size, self.size), tuple(step), (y, x))
            else:
                first = int(when * (len(clip) - self.frames + 1))
                top, left = (int(p * (n - self.size + 1)) for p, n in zip((y, x), clip.shape[-2:], strict=True))
                clip = clip[first : first + self.frames, :, top : top + self.size, left : left + self.size]
            clip = clip.flip([d for d, p in ((0, reverse), (2, flip), (3, mirror)) if p < 0.5])
            row.copy_(clip.mT if transpose < 0.5 else clip)
        return out


def is_clip(name: str) -> bool:
    """Whether a set's images are consecutive frames."""
    entry = registry().get(name.split("/")[0], {})
    return entry.get("use", "").startswith("video")


def held_out(names: tuple[str, ...]) -> dict[str, Tensor]:
    """The crops on which choices are made, uint8 (3, <= 128, <= 128): the last 20 images of the first set.

    Of a clip they are the middles, 256 pixels wide, of its last 6 frames. A small set (the sample) has too few images
    to spare: then corners of its images stand in, marked by their name.
    """
    first = load(names[0])
    if is_clip(names[0]):
        return {s: centre_crop(i, 256) for s, i in list(first.items())[-HELD_OUT_FRAMES:]}
    if len(first) > 2 * HELD_OUT:
        return {s: i[:, :128, :128] for s, i in list(first.items())[-HELD_OUT:]}
    return {f"{s} (trained on)": i[:, :128, :128] for s, i in first.items()}
