"""Picture files through a codec, and what a small picture says of itself.

The small image is an ordinary 8-bit PNG (for colorization a grey one of full size). Three facts travel in a text chunk
named "tad", as JSON: model, scale, and the original size, so that the result has exactly the input's size. Without the
chunk (a program that rewrote the pixels dropped it) the result is the small size times the scale. The frames of a clip
are such images, with its frames a second as a fourth fact.
"""
from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tadlib.errors import BadInput
from tadlib.files import MAX_PIXELS, Array, picture_files, read_image, read_picture, replacing, write_png
from tadlib.tasks import COLOUR
from tadlib.tool.codec import Codec

CHUNK = "tad"
JPEG = {".jpg", ".jpeg"}
RATE = re.compile(r"[1-9][0-9]{0,6}(/[1-9][0-9]{0,3})?")  # frames a second, as 25 or 30000/1001


@dataclass(frozen=True)
class Origin:
    """What the text chunk says of a small image."""

    model: str
    scale: int
    size: tuple[int, int]  # height, width of the original
    rate: str | None = None  # of a clip's frame: frames a second, see RATE

    def chunk(self) -> dict[str, str]:
        height, width = self.size
        facts = {"model": self.model, "scale": self.scale, "size": [width, height]}
        return {CHUNK: json.dumps(facts | ({"rate": self.rate} if self.rate else {}))}

    @staticmethod
    def of(info: dict, codes: Array) -> Origin | None:
        """The chunk of an opened picture, or a JPEG's comment; None without one, or if it was resized since."""
        try:
            facts = json.loads(info[CHUNK] if CHUNK in info else info["comment"])
            width, height = (int(n) for n in facts["size"])
            rate = str(facts.get("rate"))
            origin = Origin(str(facts["model"]), int(facts["scale"]), (height, width),
                            rate if RATE.fullmatch(rate) else None)
            fits = origin.scale > 0 and codes.shape[:2] == tuple(-(-n // origin.scale) for n in origin.size)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):  # the last: brackets without end
            return None
        return origin if fits else None


CodecFor = Callable[[Origin | None], Codec]


@dataclass(frozen=True)
class How:
    """How a small picture is made: refinement steps, their weight of likeness, and what it will meet."""

    refine: int = 0
    likeness: float | None = None
    channel: str = "8bit"


def check(how: How) -> None:
    """Raises BadInput for what cannot be done, before anything is."""
    from tadlib.channel import Channel

    if Channel.parse(how.channel).cycles > 1:
        raise BadInput(f"--for {how.channel}: cycles are no channel that a picture is made for")
    if how.refine < 0 or not (how.likeness is None or 0 <= how.likeness < math.inf):
        raise BadInput("--refine and --likeness have to be numbers from 0 on")


def downscale_file(codec: Codec, source: Path, target: Path, how: How = How()) -> None:
    """Any readable picture -> its small (or grey) PNG, or the JPEG that it was made for. Raises BadInput."""
    image = read_image(source)
    codes = codec.downscale(image, how.refine, how.likeness, how.channel)
    origin = Origin(codec.name, codec.scale, image.shape[:2])
    if target.suffix.lower() in JPEG:
        write_jpeg(target, codes, how.channel, origin)
    else:
        write_png(target, codes, origin.chunk())


def write_jpeg(target: Path, codes: Array, channel: str, origin: Origin) -> None:
    """The JPEG file that a channel ("jpeg:90") says, with the origin as its comment. Raises BadInput."""
    from tadlib.channel import KINDS, Channel
    from tadlib.pixels import from_array

    kind, value = Channel.parse(channel).stages[0]
    write = KINDS[kind].file
    assert write is not None  # pairs() has seen to it
    with replacing(target) as temporary:
        temporary.write_bytes(write(from_array(codes), value, comment=origin.chunk()[CHUNK]))


def upscale_file(codec_for: CodecFor, source: Path, target: Path) -> None:
    """A small (or grey) picture -> the large (or coloured) PNG, by the codec that `codec_for` finds for its text chunk.

    Raises BadInput, also for a picture with colours where a grey one is needed.
    """
    codes, info = read_picture(source)
    origin = Origin.of(info, codes)
    codec = chosen(codec_for, origin, source)
    size = result_size(codec, origin, codes, source)
    write_png(target, codec.upscale(received(codec, codes, source), size))


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
    known = origin is not None and origin.scale == codec.scale
    height, width = origin.size if origin and known else (n * codec.scale for n in codes.shape[:2])
    if height * width > MAX_PIXELS:
        raise BadInput(f"{source}: would become more than {MAX_PIXELS:,} pixels")
    return height, width


def pairs(source: Path, target: Path, jpeg: bool = False) -> list[tuple[Path, Path]]:
    """What to read and what to write: two files, or every picture of a folder to the same stem in another.

    A single target may be a JPEG with `jpeg`. Raises BadInput: nothing there, two pictures of one stem, a target that
    is no PNG, or one that is an input.
    """
    if not source.exists():
        raise BadInput(f"{source}: no such file or folder")
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise BadInput(f"{target}: is a file, but {source} is a folder: give a folder")
        if target.exists() and target.samefile(source):
            raise BadInput(f"{target}: is the input folder itself: results would replace the originals")
        found = picture_files(source)
        if not found:
            raise BadInput(f"{source}: holds no picture")
        count = Counter(f.stem for f in found)
        twice = [f.name for f in found if count[f.stem] > 1]
        if twice:
            raise BadInput(f"{source}: {' and '.join(twice)} would become one file; rename one")
        return [(f, target / f"{f.stem}.png") for f in found]
    if target.is_dir():
        target = target / f"{source.stem}.png"
    if target.suffix.lower() != ".png" and not (jpeg and target.suffix.lower() in JPEG):
        raise BadInput(f"{target}: results are written as PNG; give a name that ends in .png" + (
            "" if jpeg or target.suffix.lower() not in JPEG else ", or say which JPEG it is made for, --for jpeg:90"))
    if target.exists() and target.samefile(source):
        raise BadInput(f"{target}: input and output are the same file; choose another output")
    return [(source, target)]


def inputs(todo: list[tuple[Path, Path]]) -> set[tuple[int, int]]:
    """What the files that are read are to the system: the same for every name and link of one."""
    return {(s.st_dev, s.st_ino) for s in (source.stat() for source, _ in todo if source.exists())}


def refuse_inputs(target: Path, known: set[tuple[int, int]]) -> None:
    """Raises BadInput where a target is one of the inputs by another name; a link there is replaced, not followed."""
    if target.exists() and not target.is_symlink() and (target.stat().st_dev, target.stat().st_ino) in known:
        raise BadInput(f"{target}: is one of the inputs; choose another output")
