"""Named sets of images: where they lie, whether they are here, their pixels.

A set is a folder of picture files below $TAD_DATA, or below `data/` of the project; what exists is registered in
`sets.toml` beside this file. "Sample" and "SampleTrain" come inside scikit-image and are always here.
"""
from __future__ import annotations

import functools
import hashlib
import math
import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from tadlib.data.mapped import IN_MEMORY, Images, add, shared
from tadlib.errors import BadInput, MissingData
from tadlib.files import SUFFIXES, head, natural, read_image
from tadlib.pixels import centre_crop, from_array, pan
from tadlib.settings import data_folder, decoded

TEST_SETS = ("Set5", "Set14", "BSDS100", "Urban100", "VDIV2K")
DEEP = "/**"  # ends the name of a folder of own images where the folders in it count too
HELD_OUT = 20  # so many crops of the training images are never trained on: what choices are made on
HELD_OUT_FRAMES = 6  # and so many frames at the end of a training clip


@functools.cache
def registry() -> dict[str, dict]:
    """What is known of each set, by name (sets.toml beside this file)."""
    return tomllib.loads((Path(__file__).parent / "sets.toml").read_text())


def is_registered(name: str) -> bool:
    """Whether a name is that of a set, or of a folder in one ("Vid4/city"); else it is a folder of own images."""
    return name.split("/")[0] in registry()


def files(name: str) -> list[Path]:
    """The picture files of a set, of one of its folders ("Vid4/city") or of any other, sorted; empty if it is not here.

    Frames of clips are in their natural order: hr2 before hr10. Of own images those in the folder itself (see DEEP).
    """
    entry = registry().get(name, {})
    if "bundled" in entry:
        return [_inside_skimage() / f for f in entry["bundled"]]
    folder = data_folder() / name if is_registered(name) else Path(name.removesuffix(DEEP))
    deep = is_registered(name) or name.endswith(DEEP)
    found = (f for f in folder.glob("**/*" if deep else "*") if f.suffix.lower() in SUFFIXES and not (
        deep and f.is_dir()) and not any(part.startswith(".") for part in f.relative_to(folder).parts))
    return sorted(found, key=natural if is_clip(name) else None)


@functools.cache
def _inside_skimage() -> Path:
    """The photographs of scikit-image, found without loading it. Raises MissingData."""
    if (package := find_spec("skimage")) is None:
        raise MissingData("the bundled sample lies inside scikit-image, which is not installed")
    return Path(package.origin or "").parent / "data"


def is_here(name: str) -> bool:
    """Whether all images of a registered set (of a folder: at least one) are here."""
    found = files(name)
    return bool(found) and len(found) >= registry().get(name, {}).get("images", 1)


def here_or_sample(names: tuple[str, ...], stand_in: str = "Sample") -> tuple[str, ...]:
    """Those of the named sets that are here; where none is, the bundled sample."""
    return tuple(n for n in names if is_here(n)) or (stand_in,)


@functools.lru_cache(maxsize=8)
def load(name: str, mapped: bool = True) -> Images:
    """All images of a set, kept in memory or, where they are too large and it may be `mapped`, in a file (mapped.py).

    `name` is a registered set or a folder of own images, of which a broken one stops no other. Raises MissingData,
    BadInput.
    """
    found = files(name)
    if not found:
        known = registry().get(name)
        place = f"see `python -m workbook data`; its place is {data_folder() / name}"
        hint = place if known else "no such set or folder"
        raise MissingData(f"{name}: not here ({hint})")
    entry = registry().get(name, {})
    if "pan" in entry:
        count, height, width, dy, dx = entry["pan"]
        frames = pan(_read(found[0]), count, (height, width), (dy, dx))
        return Images({f"{n:04}": frame for n, frame in enumerate(frames)})
    crop = entry.get("crop", 1 << 30)
    folder = Path(os.path.commonpath([f.parent for f in found]))
    stems = [f.relative_to(folder).with_suffix("").as_posix() for f in found]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise BadInput(f"{name}: two pictures there are named {twice[0]}; rename one")

    def pictures() -> Iterator[tuple[str, Tensor | str]]:
        for stem, file in zip(stems, found, strict=True):
            try:
                yield stem, centre_crop(_read(file), crop)
            except BadInput as error:
                yield stem, str(error)

    size = sum(3 * math.prod(min(side, crop) for side in head(f)[0]) for f in found) if mapped else 0
    if size > IN_MEMORY:  # known by what is seen without decoding it, at any place, by any machine
        seen = [(stem, crop, f.stat().st_size, f.stat().st_mtime_ns) for stem, f in zip(stems, found, strict=True)]
        key = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
        images = shared(decoded() / f"{key}.pixels", name, size, pictures())
    else:
        images = Images()
        for stem, picture in pictures():
            if isinstance(picture, str):
                images.broken += (picture,)
            else:
                images[stem] = picture
    if images.broken and (is_registered(name) or not images):
        raise BadInput(images.broken[0])
    return images


@functools.cache
def fingerprint(name: str) -> str:
    """What identifies a set: SHA-256 over stems, shapes and decoded pixels; a lossless re-encoding is the same set."""
    digest, images = hashlib.sha256(), load(name)
    for stem, image in images.items() if not images.fingerprint else ():
        add(digest, stem, image)
    return images.fingerprint or digest.hexdigest()[:16]


def known_fingerprint(name: str) -> str | None:
    """The fingerprint of the copy that the committed runs used, known without having the set."""
    return registry().get(name, {}).get("fingerprint")


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


def _read(path: Path) -> Tensor:
    return from_array(read_image(path))
