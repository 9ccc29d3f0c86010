"""A trained model as a tool: file in, file out, any size, in tiles.

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from tadlib import clips
from tadlib.channel import send
from tadlib.guidance import guidance
from tadlib.images import (
    MAX_PIXELS,
    BadInput,
    pad_to_multiple,
    read_image,
    read_picture,
    to_codes,
    to_float,
    write_png,
)
from tadlib.networks.zoo import spec
from tadlib.runs import Trained, best_device, is_trained, results, stored
from tadlib.studies import ALL, run

CHUNK = "tad"
RATE = re.compile(r"[1-9][0-9]{0,6}(/[1-9][0-9]{0,3})?")  # frames a second, as 25 or 30000/1001
TILE = 768  # HR pixels a side: bounds the memory, costs about a tenth of the time in overlap


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
    def of(info: dict, small: tuple[int, int]) -> Origin | None:
        """The chunk of an opened picture; None if there is none, or if the picture was resized since."""
        try:
            facts = json.loads(info[CHUNK])
            width, height = (int(n) for n in facts["size"])
            rate = str(facts.get("rate"))
            origin = Origin(str(facts["model"]), int(facts["scale"]), (height, width),
                            rate if RATE.fullmatch(rate) else None)
            fits = origin.scale > 0 and small == tuple(-(-n // origin.scale) for n in origin.size)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):  # the last: brackets without end
            return None
        return origin if fits else None


class Codec:
    """Both ways through a trained network, for uint8 images of any size.

    >>> codec = Codec.find("tool_x4")
    >>> small = codec.downscale(image)  # uint8 (3, H, W) -> (3, ceil(H / 4), ceil(W / 4))
    >>> big = codec.upscale(small, image.shape[-2:])  # -> (3, H, W)
    """

    def __init__(self, trained: Trained, tile: int = TILE):
        self.name, self.scale = trained.run.name, trained.run.scale
        self.guide = trained.run.guide
        self.network = trained.network()
        self.task = self.network.spec.task
        self.frames = self.network.spec.frames  # of a clip, that the decoder looks at
        self.tile = tile
        self.device = best_device()
        self.network.to(self.device)

    @staticmethod
    def find(name: str | None = None, scale: int | None = None, profile: str = "cpu", task: str | None = "sr"
             ) -> Codec:
        """The stored model of that name; without a name the tool net of that task and scale (4 if not said).

        Raises BadInput for a model that is not stored, or is for another task (None: any will do) or scale.
        """
        if name is None:
            name = "tool_color" if task == "colour" else f"tool_x{scale or 4}"
        if name not in available(profile):
            raise BadInput(f"no model {name!r}; there are: {', '.join(available(profile)) or 'none yet'}")
        found = stored(run(name, profile))
        if task and spec(found.run.model).task != task:
            use = "downscale and upscale" if task == "colour" else "decolorize and colorize"
            raise BadInput(f"model {name!r} is one for {use}")
        if scale and scale != found.run.scale:
            raise BadInput(f"model {name!r} scales by {found.run.scale}, not by {scale}")
        codec = Codec(found)
        codec.name = name  # where there is only its stand-in, too: that is how it is asked for
        return codec

    @torch.inference_mode()
    def downscale(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W) -> X_SLR as uint8 codes (3, ceil(H / scale), ceil(W / scale)), or (1, H, W) for colour."""
        network, scale = self.network, self.scale

        def encode(hr: Tensor) -> Tensor:
            hr = to_float(hr).to(self.device).contiguous(memory_format=torch.channels_last)
            return to_codes(send(network.encode(hr, scale, guidance(hr, scale, self.guide))))[0].cpu()

        chain = network.encoder
        reach = chain.reach if chain is not None else 0
        # each pass sees further by the factor; bicubic sees 2 LR pixels
        reach = sum(reach * network.spec.step**n for n in range(network.passes(scale))) + 2 * scale
        grid = math.lcm(scale, chain.granularity if chain is not None else 1)
        padded = pad_to_multiple(image, scale)
        return _tiled(encode, padded, self.tile, reach, grid, 1, scale)

    @torch.inference_mode()
    def upscale(self, codes: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """X_SLR as uint8 (3 or 1, h, w) -> X_SHR as uint8 (3, H, W); `size` (H, W) crops h*scale x w*scale.

        A decoder that looks at several frames takes them along channels, (frames * 3, h, w), for the middle one.
        """
        network, scale = self.network, self.scale

        def decode(small: Tensor) -> Tensor:
            received = to_float(small).to(self.device).contiguous(memory_format=torch.channels_last)
            return to_codes(network.decode(received, scale))[0].cpu()

        reach = network.decoder.reach if network.decoder is not None else 0
        if network.spec.luma:
            reach /= scale  # it works at the large size
        reach = sum(reach / network.spec.step**n for n in range(network.passes(scale))) + 3  # lanczos sees 3
        grid = network.decoder.granularity if network.decoder is not None else 1
        big = _tiled(decode, codes, max(16, self.tile // scale), reach, grid, scale, 1)
        return big if size is None else big[:, : size[0], : size[1]]


def _tiled(work: Callable[[Tensor], Tensor], x: Tensor, tile: int, reach: float, grid: int, up: int, down: int
           ) -> Tensor:
    """work(x) in tiles: uint8 (C, H, W) -> (C', H*up/down, W*up/down), the same as in one piece.

    Each tile is cut with `reach` more pixels on every side than it keeps, on a grid that shuffles and
    interpolation share with the whole, so what it keeps has seen all that it would have seen.
    """
    h, w = x.shape[-2:]
    tile = max(grid, tile // grid * grid)
    halo = math.ceil(reach / grid) * grid
    if h <= tile + 2 * halo and w <= tile + 2 * halo:
        return work(x)
    out = None
    corners = [(top, left) for top in range(0, h, tile) for left in range(0, w, tile)]
    for top, left in tqdm(corners, desc="tiles", disable=None, leave=False):
        above, before = max(0, top - halo), max(0, left - halo)
        bottom, right = min(h, top + tile), min(w, left + tile)
        piece = work(x[:, above : bottom + halo, before : right + halo])
        if out is None:
            out = torch.empty(len(piece), h * up // down, w * up // down, dtype=torch.uint8)
        t, b, a, le, ri, be = (n * up // down for n in (top, bottom, above, left, right, before))
        out[:, t:b, le:ri] = piece[:, t - a : b - a, le - be : ri - be]
    return out


def available(profile: str = "cpu") -> list[str]:
    """Names of the stored models that have weights, baselines included."""
    records = (results(profile) / "runs").glob("*-*/record.json")
    there = {record.parent.name.rpartition("-")[0].removesuffix("_sample") for record in records}
    found = {name: stored(run(name, profile)) for name in ALL if name in there}
    return [name for name, trained in found.items() if is_trained(trained.run) and trained.has_weights]


def downscale_file(codec: Codec, source: Path, target: Path) -> None:
    """Any readable picture -> its small (or grey) PNG. Raises BadInput."""
    image = read_image(source)
    write_png(target, codec.downscale(image), Origin(codec.name, codec.scale, tuple(image.shape[-2:])).chunk())


def upscale_file(codec_for: Callable[[Origin | None], Codec], source: Path, target: Path) -> None:
    """A small (or grey) picture -> the large (or coloured) PNG, by the codec that `codec_for` finds for its text chunk.

    Raises BadInput, also for a picture with colours where a grey one is needed.
    """
    codes, info = read_picture(source)
    origin = Origin.of(info, tuple(codes.shape[-2:]))
    codec = _codec(codec_for, origin, source)
    size = _size(codec, origin, codes, source)
    codes = _received(codec, codes, source).repeat(codec.frames, 1, 1)  # a picture is a clip of one frame
    write_png(target, codec.upscale(codes, size))


def downscale_clip(codec: Codec, source: Path, target: Path) -> int:
    """A video file (or a folder of frames) -> a folder of small (or grey) PNG frames; how many. Raises BadInput.

    One frame at a time is in memory. Each carries its text chunk, and in it the clip's frames a second.
    """
    if clips.is_video(target):
        raise BadInput(f"{target}: the small frames must stay exact, in a video file they do not; give a folder")
    rate = str(clips.rate(source))
    with clips.Writer(target) as writer:
        for image in _watched(clips.frames(source), source):
            writer.write(codec.downscale(image), Origin(codec.name, codec.scale, tuple(image.shape[-2:]), rate).chunk())
    return writer.count


def upscale_clip(codec_for: Callable[[Origin | None], Codec], source: Path, target: Path) -> int:
    """A folder of small (or grey) PNG frames -> a video file, or a folder of PNG frames; how many. Raises BadInput.

    The first frame's text chunk decides for all; one that says otherwise is refused. As many frames are in memory as
    the decoder looks at.
    """
    if source.is_file():
        raise BadInput(f"{source}: a clip comes back from its folder of small PNG frames, for a video file is lossy")
    origin = first_origin(source)
    codec = _codec(codec_for, origin, source)

    def received() -> Iterator[Tensor]:
        for file, info, codes in clips.pictures(source):
            if Origin.of(info, tuple(codes.shape[-2:])) not in (None, origin):
                raise BadInput(f"{file}: is of another clip, or by another model, than the first frame")
            yield _received(codec, codes, file)

    rate = Fraction(origin.rate) if origin and origin.rate else clips.FOLDER_RATE
    with clips.Writer(target, rate) as writer:
        for codes in _watched(clips.windows(received(), codec.frames), source):
            writer.write(codec.upscale(codes, _size(codec, origin, codes, source)))
    return writer.count


def first_origin(folder: Path) -> Origin | None:
    """What the text chunk of a folder's first frame says. Raises BadInput."""
    _, info, codes = next(clips.pictures(folder))
    return Origin.of(info, tuple(codes.shape[-2:]))


def _codec(codec_for: Callable[[Origin | None], Codec], origin: Origin | None, source: Path) -> Codec:
    """The codec for what the source's text chunk says; an error names the source."""
    try:
        return codec_for(origin)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None


def _watched(frames: Iterator[Tensor], source: Path) -> Iterator[Tensor]:
    return tqdm(frames, desc=source.name, total=clips.count(source), unit="frame", disable=None)


def _received(codec: Codec, codes: Tensor, source: Path) -> Tensor:
    """A picture's codes as this codec takes them, (3 or 1, h, w)."""
    if codec.task != "colour":
        return codes
    if not (codes == codes[:1]).all():
        raise BadInput(f"{source}: has colours already; colorize takes the grey picture that decolorize made")
    return codes[:1]


def _size(codec: Codec, origin: Origin | None, codes: Tensor, source: Path) -> tuple[int, int]:
    """The result's size; a chunk of another scale says nothing of it. Raises BadInput: one that we would not read."""
    known = origin is not None and origin.scale == codec.scale
    height, width = origin.size if known else (n * codec.scale for n in codes.shape[-2:])
    if height * width > MAX_PIXELS:
        raise BadInput(f"{source}: would become more than {MAX_PIXELS:,} pixels")
    return height, width


def pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """What to read and what to write: two files, or every picture of a folder to the same stem in another.

    Raises BadInput: nothing there, two pictures of one stem, a target that is no PNG, or source and target the same.
    """
    if not source.exists():
        raise BadInput(f"{source}: no such file or folder")
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise BadInput(f"{target}: is a file, but {source} is a folder: give a folder")
        if target.exists() and target.samefile(source):
            raise BadInput(f"{target}: is the input folder itself: results would replace the originals")
        found = clips.frame_files(source)
        if not found:
            raise BadInput(f"{source}: holds no picture")
        count = Counter(f.stem for f in found)
        twice = [f.name for f in found if count[f.stem] > 1]
        if twice:
            raise BadInput(f"{source}: {' and '.join(twice)} would become one file; rename one")
        return [(f, target / f"{f.stem}.png") for f in found]
    if target.is_dir():
        target = target / f"{source.stem}.png"
    if target.suffix.lower() != ".png":
        raise BadInput(f"{target}: results are written as PNG; give a name that ends in .png")
    if target.exists() and target.samefile(source):
        raise BadInput(f"{target}: input and output are the same file; choose another output")
    return [(source, target)]
