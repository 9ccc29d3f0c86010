"""Picture files through a codec, and what a small picture says of itself.

The small image is an ordinary 8-bit PNG (for colorization a grey one of full size). Four facts travel in a text chunk
named "tad", as JSON: model, scale, original size, so that the result has exactly that, and which weights. Without the
chunk (a program that rewrote the pixels dropped it) the result is the small size times the scale; where it was cropped
or resized since, model and scale are still believed. The frames of a clip are such images, with more facts.
"""
from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from tadlib.errors import BadInput, plain
from tadlib.files import MAX_PIXELS, Array, natural, picture_files, read_picture, replacing, write_png
from tadlib.files import SUFFIXES as PICTURES
from tadlib.tasks import COLOUR
from tadlib.tool.beside import beside
from tadlib.tool.codec import Codec
from tadlib.tool.colours import to_srgb

CHUNK = "tad"
JPEG = {".jpg", ".jpeg"}
RATE = re.compile(r"[1-9][0-9]{0,6}(/[1-9][0-9]{0,3})?")  # frames a second, as 25 or 30000/1001
ASPECT = re.compile(r"[1-9][0-9]{0,4}(/[1-9][0-9]{0,4})?")
TIME = re.compile(r"(0|[1-9][0-9]{0,15})(/[1-9][0-9]{0,11})?")
LATEST = 10**6  # seconds: no clip is longer
SOUND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")  # a file beside the frames: its name leads nowhere else
MADE_BY = re.compile(r"[0-9a-f]{8}")  # the beginning of the weights' SHA-256
FACTS = {"weights": MADE_BY, "rate": RATE, "time": TIME, "aspect": ASPECT, "sound": SOUND, "lead": TIME}


@dataclass(frozen=True)
class Origin:
    """What the text chunk says of a small image."""

    model: str
    scale: int
    size: tuple[int, int] | None  # height, width of the original; None: it was cropped or resized since
    rate: str | None = None  # of a clip's frame: frames a second, see RATE
    time: str | None = None  # when it is shown, in seconds after the first, where that is not its turn
    aspect: str | None = None  # width of a pixel by its height, where it is no square
    sound: str | None = None  # of a clip with sound: the file beside the frames that holds it
    lead: str | None = None  # seconds from that file's beginning to the first frame
    weights: str | None = None  # the model's, see MADE_BY

    def chunk(self) -> dict[str, str]:
        height, width = self.size or (0, 0)
        more = {name: getattr(self, name) for name in FACTS}
        facts = {"model": self.model, "scale": self.scale, "size": [width, height]}
        return {CHUNK: json.dumps(facts | {k: v for k, v in more.items() if v})}

    @staticmethod
    def of(info: dict, codes: Array) -> Origin | None:
        """The chunk of an opened picture, or a JPEG's comment; None without one. Without size, if it was resized."""
        try:
            facts = json.loads(info[CHUNK] if CHUNK in info else info["comment"])
            origin = Origin(str(facts["model"]), int(facts["scale"]), None)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):  # the last: brackets without end
            return None
        if origin.scale <= 0:
            return None
        more = {name: said for name, form in FACTS.items() if isinstance(said := facts.get(name), str)
                and form.fullmatch(said) and not (form is TIME and Fraction(said) > LATEST)}
        origin = Origin(origin.model, origin.scale, None, **more)
        try:
            width, height = (int(n) for n in facts["size"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return origin
        fits = codes.shape[:2] == (-(-height // origin.scale), -(-width // origin.scale))
        return replace(origin, size=(height, width)) if fits else origin


CodecFor = Callable[[Origin | None], Codec]


@dataclass(frozen=True)
class How:
    """How a small picture is made: refinement steps, their weight of likeness, and what it will meet."""

    refine: int = 0
    likeness: float | None = None
    channel: str = "8bit"
    location: bool = False  # whether it says where the picture was taken

    @property
    def is_jpeg(self) -> bool:
        """Whether what it will meet is a JPEG file and nothing else: then a single target may be that file."""
        return self.channel.startswith("jpeg") and "+" not in self.channel


def check(how: How, target: Path) -> None:
    """Raises BadInput for what cannot be done, or would do nothing, before anything is."""
    if how.channel != How.channel:
        from tadlib.channel import Channel  # here: they take torch
        from tadlib.tool.refine import made_for

        made_for(Channel.parse(how.channel))
        if not (how.refine or how.channel == "png" or (how.is_jpeg and target.suffix.lower() in JPEG)):
            raise BadInput(f"--for {how.channel} does nothing without --refine")
    if how.refine < 0 or not (how.likeness is None or 0 <= how.likeness < math.inf):
        raise BadInput("--refine and --likeness have to be numbers from 0 on")
    if how.likeness is not None and not how.refine:
        raise BadInput("--likeness does nothing without --refine")


def downscale_file(codec: Codec, source: Path, target: Path, how: How = How()) -> list[str]:
    """Any readable picture -> its small (or grey) PNG, or the JPEG that it was made for. Raises BadInput.

    Returns what is to be told: which of several pictures in it was taken.
    """
    image, info = read_picture(source, prepare=to_srgb)
    codes = codec.downscale(image, how.refine, how.likeness, how.channel)
    origin = Origin(codec.name, codec.scale, image.shape[:2], weights=codec.weights)
    if target.suffix.lower() in JPEG:
        write_jpeg(target, codes, how.channel, origin, **beside(info, how.location))
    else:
        write_png(target, codes, origin.chunk(), **beside(info, how.location))
    return several(source, info)


def several(source: Path, info: dict) -> list[str]:
    count = info.get("pictures", 1)
    return [f"{source}: holds {count} pictures; the first is taken"] if count > 1 else []


def write_jpeg(target: Path, codes: Array, channel: str, origin: Origin, **more: Any) -> None:
    """The JPEG file that a channel ("jpeg:90") says, with the origin as its comment; `more` is what Pillow writes
    beside the pixels: exif, dpi. Raises BadInput.
    """
    from tadlib.channel import KINDS, Channel
    from tadlib.pixels import from_array

    kind, value = Channel.parse(channel).stages[0]
    write = KINDS[kind].file
    assert write is not None  # pairs() has seen to it
    with replacing(target) as temporary:
        temporary.write_bytes(write(from_array(codes), value, comment=origin.chunk()[CHUNK], **more))


def upscale_file(codec_for: CodecFor, source: Path, target: Path) -> list[str]:
    """A small (or grey) picture -> the large (or coloured) PNG, by the codec that `codec_for` finds for its text chunk.

    Returns what is to be told. Raises BadInput, also for a picture with colours where a grey one is needed.
    """
    codes, info = read_picture(source, prepare=to_srgb)
    origin = Origin.of(info, codes)
    codec = chosen(codec_for, origin, source)
    size = result_size(codec, origin, codes, source)
    write_png(target, codec.upscale(received(codec, codes, source), size), **beside(info, location=True))
    return several(source, info)


def chosen(codec_for: CodecFor, origin: Origin | None, source: Path) -> Codec:
    """The codec for what the source's text chunk says; an error names the source."""
    try:
        return codec_for(origin)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None


def received(codec: Codec, codes: Array, source: Path) -> Array:
    """A picture's codes (h, w, 3) as this codec takes them, (h, w, 3) or (h, w). Raises BadInput."""
    if codec.task is not COLOUR:
        return codes
    if not (codes == codes[..., :1]).all():
        raise BadInput(f"{source}: has colours already; colorize takes the grey picture that decolorize made")
    return codes[..., 0]


def result_size(codec: Codec, origin: Origin | None, codes: Array, source: Path) -> tuple[int, int]:
    """The result's size; a chunk of another scale says nothing of it. Raises BadInput: one that we would not read."""
    known = origin.size if origin and origin.scale == codec.scale else None
    height, width = known or (n * codec.scale for n in codes.shape[:2])
    if height * width > MAX_PIXELS:
        raise BadInput(f"{source}: would become more than {MAX_PIXELS:,} pixels")
    return height, width


def pairs(source: Path, target: Path, jpeg: bool = False, recursive: bool = False) -> list[tuple[Path, Path]]:
    """What to read and what to write: two files, or every picture of a folder to the same stem in another.

    A single target may be a JPEG with `jpeg`; with `recursive` folders in the folder count too. Raises BadInput:
    nothing there, two pictures of one stem, a target that is no PNG or no folder, or one that is an input.
    """
    if not source.exists():
        raise BadInput(f"{source}: no such file or folder")
    if source.is_dir():
        check_folder(source, target)
        found = inside(source, target) if recursive else picture_files(source)
        if not found:
            others = left_out(source, target, recursive)
            raise BadInput(f"{source}: holds no picture{others and f' ({others})'}")
        count = Counter(f.with_suffix("") for f in found)
        twice = [f.relative_to(source).as_posix() for f in found if count[f.with_suffix("")] > 1]
        if twice:
            raise BadInput(f"{source}: {' and '.join(twice)} would become one file; rename one")
        return [(f, target / f.relative_to(source).with_suffix(".png")) for f in found]
    if target.is_dir():
        target = target / f"{source.stem}.png"
    if target.suffix.lower() != ".png" and not (jpeg and target.suffix.lower() in JPEG):
        raise BadInput(f"{target}: results are written as PNG; give a name that ends in .png" + (
            "" if jpeg or target.suffix.lower() not in JPEG else ", or say which JPEG it is made for, --for jpeg:90"))
    if target.exists() and target.samefile(source):
        raise BadInput(f"{target}: input and output are the same file; choose another output")
    return [(source, target)]


def check_folder(source: Path, target: Path) -> None:
    """Raises BadInput where a folder's results cannot go to this target."""
    if target.exists() and not target.is_dir():
        raise BadInput(f"{target}: is a file, but {source} is a folder: give a folder")
    if target.exists() and target.samefile(source):
        raise BadInput(f"{target}: is the input folder itself: results would replace the originals")
    if target.suffix.lower() in PICTURES and not target.exists():
        raise BadInput(f"{target}: is named as a picture, but {source} is a folder: give the name of a folder")


def inside(source: Path, target: Path, suffixes: Collection[str] = PICTURES) -> list[Path]:
    """The pictures of a folder and of those in it, in natural order; not what is hidden, nor what is in `target`."""
    there = Path(os.path.realpath(target))  # not resolve(), which fails on links in a circle
    found = (f for f in source.rglob("*") if f.suffix.lower() in suffixes
             and not any(part.startswith(".") for part in f.relative_to(source).parts)
             and there not in Path(os.path.realpath(f)).parents and not f.is_dir())
    return sorted(found, key=natural)


def left_out(source: Path, target: Path | None, recursive: bool) -> str:
    """What of a folder is no picture, in words: "2 .heic, 1 folders (see --recursive)"; "" where there is nothing.

    The results' folder is not counted, nor what is hidden.
    """
    others: Counter[str] = Counter()
    there = target and Path(os.path.realpath(target))
    for file in source.rglob("*") if recursive else source.iterdir():
        if file.suffix.lower() in PICTURES or any(part.startswith(".") for part in file.relative_to(source).parts):
            continue
        real = Path(os.path.realpath(file))
        if there in (real, *real.parents):
            continue
        if file.is_dir():
            others["folders (see --recursive)"] += not recursive
        else:
            others[plain(file.suffix.lower())[:20] or "without a suffix"] += 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()) if count)


def inputs(todo: list[tuple[Path, Path]]) -> set[tuple[int, int]]:
    """What the files that are read are to the system: the same for every name and link of one."""
    return {(s.st_dev, s.st_ino) for s in (source.stat() for source, _ in todo if source.exists())}


def refuse_inputs(target: Path, known: set[tuple[int, int]]) -> None:
    """Raises BadInput where a target is one of the inputs by another name; a link there is replaced, not followed."""
    if target.exists() and not target.is_symlink() and (target.stat().st_dev, target.stat().st_ino) in known:
        raise BadInput(f"{target}: is one of the inputs; choose another output")
